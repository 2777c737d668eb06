// SPDX-License-Identifier: GPL-2.0
//! What the VFS does with a file system: whiteouts, overlays, idmapped mounts, handles, leases, swap
//! files, loop devices, and the options that belong to the mount.

use super::{pattern, refused, same_bytes, statx};
use crate::harness::{Bed, Test, ALL, BOTH, DAX, RAM};
use crate::stage::{self, SCRATCH};
use crate::sys::{self, End, Mapping};
use anyhow::{ensure, Context, Result};
use rustix::fs::{renameat_with, AtFlags, MemfdFlags, RenameFlags, StatxFlags, CWD};
use rustix::io::Errno;
use rustix::mm::Advice;
use std::fs::File;
use std::os::unix::fs::{chown, symlink, FileExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("vfs::whiteout", RAM, whiteout),
        Test::new("vfs::overlay", BOTH, overlay),
        Test::new("vfs::access_times", RAM, access_times),
        Test::new("vfs::lazytime", RAM, lazytime),
        Test::new("vfs::sync_and_dirsync", RAM, sync_and_dirsync),
        Test::new("vfs::idmapped", RAM, idmapped),
        Test::new("vfs::handles", RAM, handles),
        Test::new("vfs::control_groups", RAM, control_groups),
        Test::new("vfs::leases", BOTH, leases),
        Test::new("vfs::swap_file", RAM, swap_file),
        Test::new("vfs::swap_file_refused", DAX, |bed| refuse_swap(bed, false)),
        Test::new("vfs::swap_file_with_holes", RAM, |bed| refuse_swap(bed, true)),
        Test::new("vfs::loop_device", ALL, loop_device),
        Test::new("vfs::copy_file_range", ALL, copy_file_range),
        Test::new("vfs::statx", ALL, direct_io_alignment),
        Test::new("vfs::fiemap", ALL, fiemap),
    ]
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Runs lines of Python, with `argument` as its `sys.argv[1]`.
fn python(lines: &str, argument: &Path) -> Result<String> {
    stage::run("python3", &["-c", lines, &text(argument)])
}

fn is_whiteout(path: &Path) -> Result<bool> {
    let found = std::fs::symlink_metadata(path)?;
    Ok(found.file_type().is_char_device() && found.rdev() == 0)
}

fn whiteout(bed: &mut Bed) -> Result<()> {
    let before = super::free(bed.dir())?;
    std::fs::create_dir(bed.path("dir"))?;
    std::fs::write(bed.path("a"), "a")?;
    std::fs::write(bed.path("victim"), "victim")?;
    std::fs::create_dir(bed.path("sub"))?;
    let rename = |from: &str, to: &str, flags: RenameFlags| {
        renameat_with(CWD, bed.path(from), CWD, bed.path(to), flags | RenameFlags::WHITEOUT)
    };
    rename("a", "dir/b", RenameFlags::empty())?;
    rename("dir/b", "victim", RenameFlags::empty())?;
    rename("sub", "dir/sub", RenameFlags::NOREPLACE)?;
    refused(rename("victim", "dir/b", RenameFlags::NOREPLACE), Errno::EXIST, "NOREPLACE")?;
    refused(rename("victim", "dir", RenameFlags::EXCHANGE), Errno::INVAL, "EXCHANGE")?;
    bed.again()?;
    for name in ["a", "dir/b", "sub"] {
        ensure!(is_whiteout(&bed.path(name))?, "{name} is no whiteout");
    }
    ensure!(std::fs::read(bed.path("victim"))? == b"a");
    ensure!(std::fs::metadata(bed.path("dir"))?.nlink() == 3);
    for name in ["a", "dir/b", "sub", "victim"] {
        std::fs::remove_file(bed.path(name))?;
    }
    std::fs::remove_dir_all(bed.path("dir"))?;
    ensure!(super::free(bed.dir())? == before, "{before:?}, then {:?}", super::free(bed.dir())?);
    Ok(())
}

/// All layers of an overlay lie here.
fn overlay(bed: &mut Bed) -> Result<()> {
    for dir in ["lower", "lower/dir", "upper", "work", "merged"] {
        std::fs::create_dir(bed.path(dir))?;
    }
    std::fs::write(bed.path("lower/changed"), pattern(1, 0, 100_000))?;
    std::fs::write(bed.path("lower/gone"), "gone")?;
    std::fs::write(bed.path("lower/moved"), "moved")?;
    std::fs::write(bed.path("lower/dir/kept"), "kept")?;
    symlink("kept", bed.path("lower/dir/link"))?;
    let layers = format!(
        "lowerdir={},upperdir={},workdir={}",
        text(&bed.path("lower")),
        text(&bed.path("upper")),
        text(&bed.path("work"))
    );
    let merged = bed.path("merged");
    let mount =
        || stage::run("mount", &["-t", "overlay", "overlay", "-o", &layers, &text(&merged)]);
    mount()?;
    let used = (|| -> Result<()> {
        File::options().write(true).open(merged.join("changed"))?.write_all_at(b"new", 5)?;
        std::fs::remove_file(merged.join("gone"))?;
        std::fs::rename(merged.join("moved"), merged.join("there"))?;
        std::fs::write(merged.join("dir/new"), "new")?;
        let map = Mapping::shared(
            &File::options().read(true).write(true).open(merged.join("dir/new"))?,
            3,
        )?;
        map.write(0, b"NEW");
        Ok(())
    })();
    stage::run("umount", &[&text(&merged)])?;
    used.context("on the overlay")?;
    bed.again()?;
    ensure!(is_whiteout(&bed.path("upper/gone"))? && is_whiteout(&bed.path("upper/moved"))?);
    let merged = bed.path("merged");
    stage::run("mount", &["-t", "overlay", "overlay", "-o", &layers, &text(&merged)])?;
    let seen = (|| -> Result<()> {
        let mut expected = pattern(1, 0, 100_000);
        expected[5..8].copy_from_slice(b"new");
        same_bytes(&std::fs::read(merged.join("changed"))?, &expected, "copied up")?;
        ensure!(!merged.join("gone").exists() && !merged.join("moved").exists());
        ensure!(std::fs::read(merged.join("there"))? == b"moved");
        ensure!(std::fs::read(merged.join("dir/new"))? == b"NEW");
        ensure!(std::fs::read(merged.join("dir/link"))? == b"kept");
        ensure!(std::fs::read_dir(&merged)?.count() == 3);
        Ok(())
    })();
    stage::run("umount", &[&text(&merged)])?;
    seen.context("on the overlay, mounted again")
}

fn remount(bed: &Bed, options: &str) -> Result<()> {
    stage::run("mount", &["-o", &format!("remount,{options}"), &text(bed.dir())]).map(|_| ())
}

fn access_times(bed: &mut Bed) -> Result<()> {
    let path = bed.path("file");
    std::fs::write(&path, "text")?;
    let moved = |what: &str| -> Result<bool> {
        let atime = || -> Result<_> {
            let stat = statx(&path)?;
            Ok((stat.stx_atime.tv_sec, stat.stx_atime.tv_nsec))
        };
        let before = atime()?;
        sleep(Duration::from_millis(20));
        std::fs::read(&path).context(what.to_owned())?;
        Ok(atime()? > before)
    };
    remount(bed, "noatime")?;
    ensure!(!moved("noatime")?, "noatime: the time moves");
    remount(bed, "strictatime")?;
    ensure!(moved("strictatime")? && moved("strictatime")?, "strictatime: it does not move");
    remount(bed, "relatime")?;
    ensure!(!moved("relatime")?, "relatime: it moves again within a day");
    sleep(Duration::from_millis(20));
    std::fs::write(&path, "changed")?;
    ensure!(moved("relatime")?, "relatime: it does not move after a write");
    Ok(())
}

/// Times that were only kept in memory reach the disk with the last of the mount, or by fsync.
fn lazytime(bed: &mut Bed) -> Result<()> {
    remount(bed, "lazytime,strictatime")?;
    ensure!(std::fs::read_to_string("/proc/self/mountinfo")?.contains("lazytime"), "not shown");
    let path = bed.path("file");
    std::fs::write(&path, "text")?;
    File::open(&path)?.sync_all()?;
    sleep(Duration::from_millis(20));
    std::fs::read(&path)?;
    let atime = |path: &Path| -> Result<(i64, u32)> {
        let stat = statx(path)?;
        Ok((stat.stx_atime.tv_sec, stat.stx_atime.tv_nsec))
    };
    let set = atime(&path)?;
    bed.again()?;
    ensure!(atime(&bed.path("file"))? == set, "the time of the last access is lost");
    Ok(())
}

fn sync_and_dirsync(bed: &mut Bed) -> Result<()> {
    let (fstype, device) = (bed.config.fstype.clone(), text(bed.image.device()));
    let place = text(bed.dir());
    for option in ["sync", "dirsync"] {
        bed.unmount()?;
        stage::run("mount", &["-t", &fstype, "-o", option, &device, &place])?;
        let info = std::fs::read_to_string("/proc/self/mountinfo")?;
        let shown = info.lines().rev().find(|line| line.contains(&place));
        ensure!(shown.is_some_and(|line| line.contains(option)), "{option} is not shown");
        let dir = Path::new(&place).join(option);
        std::fs::create_dir(&dir)?;
        std::fs::write(dir.join("a"), pattern(1, 0, 50_000))?;
        std::fs::rename(dir.join("a"), dir.join("b"))?;
        symlink("b", dir.join("link"))?;
        std::fs::remove_file(dir.join("link"))?;
        same_bytes(&std::fs::read(dir.join("b"))?, &pattern(1, 0, 50_000), option)?;
        stage::run("umount", &[&place])?;
        bed.mount()?;
    }
    Ok(())
}

/// Mounts a directory a second time for as long as `work` takes, there with owners 5000 to 5099 for 0 to 99
/// on disk.
pub(super) fn idmapped_mount<T>(dir: &Path, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let other = Path::new(SCRATCH).join("idmapped");
    std::fs::create_dir_all(&other)?;
    let arguments = ["--bind", "-o", "X-mount.idmap=b:0:5000:100", &text(dir), &text(&other)];
    stage::run("mount", &arguments)?;
    let done = work(&other);
    stage::run("umount", &[&text(&other)])?;
    done
}

fn idmapped(bed: &mut Bed) -> Result<()> {
    let base = bed.path("base");
    std::fs::create_dir(&base)?;
    chown(&base, Some(3), Some(4))?;
    idmapped_mount(&base, |other| {
        let stat = std::fs::metadata(other)?;
        ensure!((stat.uid(), stat.gid()) == (5003, 5004), "{} {}", stat.uid(), stat.gid());
        let end = sys::in_child(|| {
            let work = || -> std::io::Result<()> {
                sys::become_user(5003)?;
                std::fs::write(other.join("file"), "text")?;
                std::fs::create_dir(other.join("dir"))?;
                symlink("file", other.join("link"))?;
                std::fs::set_permissions(other.join("file"), PermissionsExt::from_mode(0o640))?;
                std::fs::rename(other.join("file"), other.join("dir/file"))?;
                let temporary = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR;
                rustix::fs::open(other, temporary, 0o600.into())?;
                let (from, to) = (other.join("link"), other.join("dir/link"));
                Ok(renameat_with(CWD, from, CWD, to, RenameFlags::WHITEOUT)?)
            };
            work().map_or(1, |()| 0)
        })?;
        ensure!(end == End::Exit(0), "the user whom it belongs to: {end:?}");
        for name in ["dir", "dir/file", "dir/link", "link"] {
            let stat = std::fs::symlink_metadata(base.join(name))?;
            ensure!((stat.uid(), stat.gid()) == (3, 5003 - 5000), "{name}: {}", stat.uid());
        }
        ensure!(is_whiteout(&base.join("link"))?);
        chown(other.join("dir"), Some(5042), None)?;
        ensure!(std::fs::metadata(base.join("dir"))?.uid() == 42, "chown");
        let unmapped = chown(other.join("dir"), Some(7), None);
        refused(unmapped, Errno::OVERFLOW, "an owner that the mount does not know")
    })
}

/// What is written back is counted for the control group that has written it.
fn control_groups(bed: &mut Bed) -> Result<()> {
    let base = Path::new(SCRATCH).join("cgroup");
    std::fs::create_dir_all(&base)?;
    let (at, file) = (text(&base), text(&bed.path("file")));
    stage::run("mount", &["-t", "cgroup2", "cgroup2", &at])?;
    let script = format!(
        "set -e; echo +memory +io >{at}/cgroup.subtree_control; mkdir -p {at}/writer
        echo $$ >{at}/writer/cgroup.procs
        dd if=/dev/zero of={file} bs=1M count=4 status=none
        echo $$ >{at}/cgroup.procs
        sync {file}; cat {at}/writer/io.stat"
    );
    let said = stage::run("sh", &["-c", &script]);
    let _ = std::fs::remove_dir(base.join("writer"));
    stage::run("umount", &[&at])?;
    let said = said?;
    let written = said.split_whitespace().filter_map(|word| word.strip_prefix("wbytes="));
    let written: u64 = written.filter_map(|number| number.parse::<u64>().ok()).sum();
    ensure!(written >= 4 << 20, "{written} of 4 MiB counted: {said:?}");
    Ok(())
}

/// A file found again by its handle, and not once it is gone.
fn handles(bed: &mut Bed) -> Result<()> {
    std::fs::create_dir(bed.path("dir"))?;
    std::fs::write(bed.path("dir/file"), "text")?;
    let lines = "
import ctypes, os, sys
c = ctypes.CDLL(None, use_errno=True)
top = sys.argv[1]
def handle(path):
    h = ctypes.create_string_buffer((128).to_bytes(4, 'little') + bytes(132), 136)
    m = ctypes.c_int()
    assert c.name_to_handle_at(-100, path.encode(), h, ctypes.byref(m), 0) == 0, ctypes.get_errno()
    return h
def at(h):
    fd = c.open_by_handle_at(root, h, os.O_RDONLY)
    return fd if fd >= 0 else -ctypes.get_errno()
root = os.open(top, os.O_RDONLY)
file, dir = handle(top + '/dir/file'), handle(top + '/dir')
open('/proc/sys/vm/drop_caches', 'w').write('2')
fd = at(file)
assert os.read(fd, 9) == b'text'
os.close(fd)
assert 'file' in os.listdir(at(dir))
os.unlink(top + '/dir/file')
assert at(file) == -116, at(file)
open(top + '/dir/file', 'w').write('another')
assert at(file) == -116, at(file)
file.raw = file.raw[:8] + b'\\xff' * 128
assert at(file) == -116, at(file)
# Of an inode that was never in use.
file.raw = file.raw[:8] + (5000).to_bytes(4, 'little') + bytes(124)
assert at(file) == -116, at(file)
";
    python(lines, bed.dir())?;
    let log = bed.log();
    let blamed = log.iter().find(|line| line.contains("inode 5000"));
    ensure!(blamed.is_none(), "the image is blamed for a wrong handle: {blamed:?}");
    Ok(())
}

fn leases(bed: &mut Bed) -> Result<()> {
    std::fs::write(bed.path("file"), "text")?;
    let lines = "
import fcntl, os, signal, sys, time
path = sys.argv[1]
broken = []
signal.signal(signal.SIGIO, lambda *_: broken.append(1))
fd = os.open(path, os.O_RDONLY)
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
assert fcntl.fcntl(fd, fcntl.F_GETLEASE) == fcntl.F_RDLCK
try:
    os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    assert False, 'opened for writing'
except BlockingIOError:
    pass
time.sleep(0.05)
assert broken
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
";
    python(lines, &bed.path("file")).map(|_| ())
}

fn swap_file(bed: &mut Bed) -> Result<()> {
    let path = bed.path("swap");
    bed.create("swap")?.write_all_at(&vec![0; 16 << 20], 0)?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
    stage::run("mkswap", &[&text(&path)])?;
    stage::run("swapon", &[&text(&path)])?;
    let used = (|| -> Result<()> {
        let file = File::open(&path)?;
        let writing = File::options().write(true).open(&path).and_then(|f| f.set_len(5));
        refused(writing, Errno::TXTBSY, "truncating a swap file")?;
        refused(std::fs::remove_file(&path), Errno::PERM, "removing a swap file")?;
        drop(file);
        let memory = rustix::fs::memfd_create("memory", MemfdFlags::CLOEXEC)?;
        let memory = File::from(memory);
        memory.set_len(8 << 20)?;
        let map = Mapping::shared(&memory, 8 << 20)?;
        map.write(0, &pattern(1, 0, 8 << 20));
        map.advise(Advice::LinuxPageOut)?;
        let swaps = std::fs::read_to_string("/proc/swaps")?;
        let kib = |line: &str| line.split_whitespace().nth(3)?.parse::<u64>().ok();
        let out = swaps.lines().find(|line| line.contains("/swap ")).and_then(kib);
        ensure!(out.is_some_and(|out| out > 4_000), "nothing was swapped out:\n{swaps}");
        same_bytes(&map.read(0, 8 << 20), &pattern(1, 0, 8 << 20), "swapped out and in")
    })();
    stage::run("swapoff", &[&text(&path)])?;
    used?;
    bed.open("swap")?.set_len(5)?;
    Ok(())
}

fn refuse_swap(bed: &mut Bed, holes: bool) -> Result<()> {
    let file = bed.create("swap")?;
    file.write_all_at(&vec![0; 1 << 20], 0)?;
    let path = text(&bed.path("swap"));
    stage::run("chmod", &["600", &path])?;
    stage::run("mkswap", &[&path])?;
    if holes {
        let punch = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&file, punch, 500_000, 100_000)?;
    }
    file.sync_all()?;
    let (status, said) = stage::run_status("swapon", &[&path])?;
    // By the kernel, or by swapon itself, which counts the blocks.
    let why = ["Invalid argument", "holes"].iter().any(|why| said.contains(why));
    ensure!(status != 0 && why, "swapon: {status}, {said}");
    Ok(())
}

/// An ext4 in a file, through a loop device.
fn loop_device(bed: &mut Bed) -> Result<()> {
    bed.create("image")?.set_len(24 << 20)?;
    let image = text(&bed.path("image"));
    stage::run("mke2fs", &["-q", "-t", "ext4", &image])?;
    let dir = Path::new(SCRATCH).join("loop");
    std::fs::create_dir_all(&dir)?;
    for round in 0..2 {
        stage::run("mount", &["-t", "ext4", "-o", "loop,discard", &image, &text(&dir)])?;
        let used = (|| -> Result<()> {
            let path = dir.join("file");
            if round == 1 {
                same_bytes(&std::fs::read(&path)?, &pattern(0, 0, 5 << 20), "read again")?;
                std::fs::remove_file(&path)?;
            }
            Ok(std::fs::write(&path, pattern(round, 0, 5 << 20))?)
        })();
        stage::run("umount", &[&text(&dir)])?;
        used?;
        stage::run("e2fsck", &["-fn", &image])?;
    }
    Ok(())
}

fn copy_file_range(bed: &mut Bed) -> Result<()> {
    let (from, to) = (bed.create("from")?, bed.create("to")?);
    from.write_all_at(&pattern(1, 0, 1 << 20), 0)?;
    let copy = |mut at: u64, mut at_to: u64, len: usize, to: &File| -> Result<()> {
        let mut left = len;
        while left > 0 {
            left -= rustix::fs::copy_file_range(&from, Some(&mut at), to, Some(&mut at_to), left)?;
        }
        Ok(())
    };
    copy(1_000, 5, 700_000, &to)?;
    same_bytes(&super::read_at(&to, 5, 700_000)?, &pattern(1, 1_000, 700_000), "another file")?;
    copy(0, 2 << 20, 500_000, &from)?;
    let found = super::read_at(&from, 2 << 20, 500_000)?;
    same_bytes(&found, &pattern(1, 0, 500_000), "the same file")
}

fn direct_io_alignment(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    // STATX_MNT_ID and STATX_DIOALIGN
    let wanted = StatxFlags::from_bits_retain(0x1000 | 0x2000);
    let stat = rustix::fs::statx(&file, "", AtFlags::EMPTY_PATH, wanted)?;
    ensure!(stat.stx_mask & 0x3000 == 0x3000, "mask {:#x}", stat.stx_mask);
    let info = std::fs::read_to_string("/proc/self/mountinfo")?;
    let dir = text(bed.dir());
    let line = info.lines().rev().find(|line| line.split(' ').nth(4) == Some(&dir));
    let id = line.and_then(|line| line.split(' ').next()?.parse::<u64>().ok());
    ensure!(id == Some(stat.stx_mnt_id), "{id:?} {}", stat.stx_mnt_id);
    let (memory, offset) = (stat.stx_dio_mem_align, stat.stx_dio_offset_align);
    ensure!(memory > 0 && memory <= 4096 && [512, 4096].contains(&offset), "{memory} {offset}");
    let dir = rustix::fs::statx(CWD, bed.dir(), AtFlags::empty(), wanted)?;
    ensure!(dir.stx_dio_mem_align == 0, "a directory has an alignment");
    Ok(())
}

/// Written, unwritten, and holes, the dirty ones after they were written back.
fn fiemap(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    file.write_all_at(&pattern(1, 0, 65_536), 0)?;
    let allocate = rustix::fs::FallocateFlags::empty();
    rustix::fs::fallocate(&file, allocate, 1 << 20, 1 << 20)?;
    file.write_all_at(b"x", (1 << 20) + 200_000)?;
    let path = text(&bed.path("file"));
    let map = stage::run("xfs_io", &["-r", "-c", "fiemap -v", &path])?;
    ensure!(map.contains("0x800") && map.contains("hole"), "no unwritten blocks, no hole:\n{map}");
    let said = stage::run("filefrag", &["-v", "-s", &path])?;
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("..")).collect();
    ensure!(lines.len() == 4, "extents:\n{said}");
    let unwritten: Vec<bool> = lines.iter().map(|line| line.contains("unwritten")).collect();
    ensure!(unwritten == [false, true, false, true], "after a sync:\n{said}");
    ensure!(lines[3].contains("last"), "the last one is not marked:\n{said}");
    Ok(())
}
