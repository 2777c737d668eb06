// SPDX-License-Identifier: GPL-2.0
//! 9: the file below something else: swap, a loop device, overlayfs. 10: changes against each other.

use super::maps::{by_calls, by_mapping};
use super::{needs_live, prepared, storm, Go, LEN};
use crate::harness::{Bed, Test, INODE};
use crate::skip;
use crate::stage::{run, Image};
use crate::sys::{self, attack::swap, Child, End, Mapping};
use crate::tests::{is_dax, pattern, read_at, refused, same_bytes};
use anyhow::{ensure, Context, Result};
use rustix::io::Errno;
use rustix::mount::{mount, unmount, MountFlags, UnmountFlags};
use std::ffi::CString;
use std::fs::{create_dir_all, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("switch::swap_file", INODE, swap_file),
        Test::new("switch::loop_device", INODE, loop_device).seconds(240),
        Test::new("switch::overlay", INODE, overlay),
        Test::new("switch::two_processes", INODE, two_processes).seconds(240),
    ]
}

/// ETXTBSY while the file is swapped to.
fn swap_file(bed: &mut Bed) -> Result<()> {
    needs_live(bed)?;
    let (file, path) = (bed.create("swap")?, bed.path("swap"));
    std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    file.write_all_at(&vec![0; 8 << 20], 0)?;
    run("mkswap", &[&path.to_string_lossy()])?;
    for dax in [false, true, false] {
        sys::set_xflag_dax(&file, dax)?;
        file.sync_all()?;
        if dax {
            // There is no page cache to swap from and to.
            refused(swap(&path, true), Errno::INVAL, "swapon of a DAX file")?;
            continue;
        }
        swap(&path, true).context("swapon")?;
        let change = sys::set_xflag_dax(&file, !dax);
        let mode = is_dax(&file)?;
        swap(&path, false).context("swapoff")?;
        refused(change, Errno::TXTBSY, "a change of a swap file")?;
        ensure!(mode == dax, "refused, and done");
    }
    let header = read_at(&file, 4086, 10)?;
    same_bytes(&header, b"SWAPSPACE2", "the header")
}

/// A loop device. Gone on drop.
struct Loop(String);

impl Loop {
    fn of(path: &std::path::Path, direct: bool) -> Result<Self> {
        let direct = if direct { "--direct-io=on" } else { "--direct-io=off" };
        match run("losetup", &["-f", "--show", direct, &path.to_string_lossy()]) {
            Ok(name) => Ok(Self(name.trim().to_owned())),
            Err(error) => skip!("no loop device: {error:#}"),
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = run("losetup", &["-d", &self.0]);
    }
}

/// A file system in the file, used while the mode of the file changes.
fn loop_device(bed: &mut Bed) -> Result<()> {
    needs_live(bed)?;
    let (file, path) = (bed.create("image")?, bed.path("image"));
    file.set_len(24 << 20)?;
    for direct in [false, true] {
        let device = Loop::of(&path, direct)?;
        let image = Image::on(&device.0);
        image.mkfs("", &[])?;
        let inner = image.mount("ext4", "")?;
        let (name, limit) = (inner.dir().join("file"), storm(bed, 10) / 2);
        let go = Go::new(&file, limit, [3; 2]);
        go.run(&[
            Box::new(|go: &Go| go.change_on()),
            Box::new(|go| {
                for round in 0.. {
                    if !go.on() {
                        break;
                    }
                    let inner = File::create(&name)?;
                    inner.write_all_at(&pattern(round, 0, 300_000), 0)?;
                    inner.sync_all()?;
                    rustix::fs::fadvise(&inner, 0, None, rustix::fs::Advice::DontNeed)?;
                    let found = std::fs::read(&name)?;
                    go.tally.same(&found, &pattern(round, 0, 300_000), "in the loop device")?;
                }
                Ok(())
            }),
        ])?;
        println!("direct {direct}: {}", go.tally);
        go.tally.leave()?;
        go.tally.at_least(go.least)?;
        inner.unmount()?.fsck().context("in the loop device")?;
    }
    Ok(())
}

/// An overlayfs whose layers lie on the file system. Unmounted on drop.
struct Overlay(std::path::PathBuf);

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// Asked for through overlayfs, and refused while mapped through it.
fn overlay(bed: &mut Bed) -> Result<()> {
    needs_live(bed)?;
    let dir = |name: &str| -> Result<std::path::PathBuf> {
        let path = bed.path(name);
        create_dir_all(&path)?;
        Ok(path)
    };
    let (lower, upper, work) = (dir("lower")?, dir("upper")?, dir("work")?);
    std::fs::write(lower.join("lower"), pattern(1, 0, LEN))?;
    std::fs::write(upper.join("upper"), pattern(1, 0, LEN))?;
    let at = Overlay("/run/guest-overlay".into());
    create_dir_all(&at.0)?;
    let show = |path: &std::path::Path| path.display().to_string();
    let options =
        format!("lowerdir={},upperdir={},workdir={}", show(&lower), show(&upper), show(&work));
    let options = CString::new(options)?;
    if let Err(error) = mount("none", &at.0, "overlay", MountFlags::empty(), options.as_c_str()) {
        skip!("overlayfs: {error}");
    }
    for (name, below) in [("upper", &upper), ("lower", &lower)] {
        let real = File::options().read(true).write(true).open(below.join(name))?;
        for dax in [true, false, true] {
            let above = File::open(at.0.join(name))?;
            let map = Mapping::read_only(&above, LEN)?;
            map.touch_read();
            refused(sys::set_xflag_dax(&real, dax), Errno::BUSY, "mapped through overlayfs")?;
            drop(map);
            sys::set_xflag_dax(&real, dax).context("after munmap")?;
            let map = Mapping::read_only(&above, LEN)?;
            same_bytes(&map.read(0, LEN), &pattern(1, 0, LEN), "mapped through overlayfs")?;
            same_bytes(&read_at(&above, 0, LEN)?, &pattern(1, 0, LEN), "read through overlayfs")?;
        }
    }
    // A change through overlayfs reaches the file of the upper layer, after copying it there.
    for name in ["upper", "lower"] {
        let above = File::options().read(true).write(true).open(at.0.join(name))?;
        for dax in [false, true] {
            sys::set_xflag_dax(&above, dax).with_context(|| format!("{name} through overlayfs"))?;
            ensure!(is_dax(&File::open(upper.join(name))?)? == dax, "{name}: no change below");
        }
        same_bytes(&read_at(&above, 0, LEN)?, &pattern(1, 0, LEN), name)?;
    }
    drop(at);
    Ok(())
}

/// Two processes change the mode of one file, both against what the other wants, and use it.
fn two_processes(bed: &mut Bed) -> Result<()> {
    let file = prepared(bed, "file")?;
    let limit = storm(bed, 20);
    let run = |lane: usize| -> Result<()> {
        let wanted = lane == 0;
        let go = Go::new(&file, limit, if wanted { [5, 0] } else { [0, 5] });
        go.run(&[
            by_mapping(2 * lane, 4),
            by_calls(2 * lane + 1, 4),
            Box::new(move |go: &Go| {
                while go.on() {
                    // Nobody else asks for this mode.
                    if is_dax(go.file)? != wanted {
                        go.change(wanted)?;
                    }
                }
                Ok(())
            }),
        ])?;
        println!("process {lane}: {}", go.tally);
        go.tally.leave()?;
        go.tally.at_least(go.least)
    };
    let other = Child::start(|| match run(1) {
        Ok(()) => 0,
        Err(error) => {
            println!("{error:#}");
            1
        }
    })?;
    run(0)?;
    ensure!(other.wait()? == End::Exit(0), "see the output");
    Ok(())
}
