// SPDX-License-Identifier: GPL-2.0
//! The mode of a file, page cache or DAX: what decides it, who tells it, and changing it live.

use super::switch::needs_live;
use super::{is_dax, pattern, read_at, refused, same_bytes};
use crate::events::Events;
use crate::harness::{Bed, Place, Test, BOTH, INODE, RAM};
use crate::smaps;
use crate::sys::{self, End, Mapping, DAX_FL, PAGE, XFLAG_DAX};
use anyhow::{ensure, Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::process::Command;
use std::time::Duration;

pub fn tests() -> Vec<Test> {
    vec![
        Test::bare("mode::decided_by", INODE, decided_by),
        Test::bare("mode::decided_by_no_dax_device", RAM, decided_by_device),
        Test::new("mode::inherited", INODE, inherited),
        Test::new("mode::interfaces", INODE, interfaces),
        Test::new("mode::set_on_disk", INODE, set_on_disk),
        Test::new("mode::at_once", INODE, at_once),
        Test::new("mode::dirty_pages", INODE, dirty_pages),
        Test::new("mode::busy_shared", INODE, |bed| busy(bed, |f| Mapping::shared(f, LEN))),
        Test::new("mode::busy_read_only", INODE, |bed| busy(bed, |f| Mapping::read_only(f, LEN))),
        Test::new("mode::busy_private", INODE, |bed| busy(bed, |f| Mapping::private(f, LEN))),
        Test::new("mode::busy_untouched", INODE, busy_untouched),
        Test::new("mode::busy_after_close", INODE, busy_after_close),
        Test::new("mode::busy_after_fork", INODE, busy_after_fork),
        Test::new("mode::busy_after_split", INODE, busy_after_split),
        Test::new("mode::busy_after_move", INODE, busy_after_move),
        Test::new("mode::busy_executed", INODE, busy_executed),
        Test::new("mode::busy_map_sync", INODE, busy_map_sync),
        Test::new("mode::no_change_is_no_change", INODE, no_change),
        Test::new("mode::refusals", INODE, refusals),
        Test::new("mode::many_switches", INODE, many_switches),
        Test::new("mode::deferred", INODE, deferred),
        Test::new("mode::traced", INODE, traced),
        Test::new("mode::not_here", BOTH, not_here),
    ]
}

const LEN: usize = 3 << 20;

/// Opens a file with the flag set or clear from the start, by way of its directory.
fn made(bed: &Bed, name: &str, dax: bool) -> Result<File> {
    let dir = bed.path(if dax { "dax" } else { "cached" });
    if !dir.exists() {
        std::fs::create_dir(&dir)?;
        sys::set_xflag_dax(File::open(&dir)?, dax)?;
    }
    let path = dir.join(name);
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    ensure!(is_dax(&file)? == dax, "{name} begins as {}", if dax { "page cache" } else { "DAX" });
    Ok(file)
}

/// The mode of a file by mount option and flag, on a device that has DAX.
fn decided_by(bed: &mut Bed) -> Result<()> {
    let cases = [
        ("", false, false),
        ("", true, true),
        ("dax=inode", false, false),
        ("dax=inode", true, true),
        ("dax=always", false, true),
        ("dax=always", true, true),
        ("dax", false, true),
        ("dax=never", false, false),
        ("dax=never", true, false),
    ];
    decide(bed, &cases)
}

/// Without DAX in the device the flag is kept and has no effect.
fn decided_by_device(bed: &mut Bed) -> Result<()> {
    decide(bed, &[("", true, false), ("dax=inode", true, false), ("dax=never", true, false)])
}

fn decide(bed: &mut Bed, cases: &[(&str, bool, bool)]) -> Result<()> {
    bed.mkfs("64M", &[])?;
    for (n, (options, flag, expected)) in cases.iter().enumerate() {
        bed.mount_with(options)?;
        let (name, what) = (format!("file-{n}"), format!("{options:?}, flag {flag}"));
        let file = bed.create(&name)?;
        sys::set_xflag_dax(&file, *flag).with_context(|| what.clone())?;
        drop(file);
        // Evicted and read again: the deferred form of the change has happened as well.
        bed.unmount()?;
        bed.mount_with(options)?;
        let file = bed.open(&name)?;
        ensure!(is_dax(&file)? == *expected, "{what}: DAX is {}", is_dax(&file)?);
        let kept = sys::xflags(&file)? & XFLAG_DAX != 0;
        ensure!(kept == *flag, "{what}: the flag reads back as {kept}");
        file.write_all_at(&pattern(1, 0, 10_000), 0)?;
        same_bytes(&read_at(&file, 0, 10_000)?, &pattern(1, 0, 10_000), &what)?;
        drop(file);
        bed.unmount()?;
    }
    bed.mount()
}

fn inherited(bed: &mut Bed) -> Result<()> {
    let dir = bed.path("dir");
    std::fs::create_dir(&dir)?;
    sys::set_xflag_dax(File::open(&dir)?, true)?;
    std::fs::create_dir(dir.join("sub"))?;
    let flagged = |file: &File| Ok::<_, anyhow::Error>(sys::flags(file)? & DAX_FL != 0);
    ensure!(flagged(&File::open(dir.join("sub"))?)?, "a new directory");
    for name in ["file", "sub/file"] {
        let file = File::create(dir.join(name))?;
        ensure!(flagged(&file)? && is_dax(&file)?, "a new file {name}");
    }
    let flags = OFlags::TMPFILE | OFlags::RDWR;
    let nameless = File::from(rustix::fs::open(&dir, flags, Mode::from(0o600))?);
    ensure!(flagged(&nameless)? && is_dax(&nameless)?, "a temporary file");
    std::os::unix::fs::symlink("file", dir.join("link"))?;
    sys::set_xflag_dax(File::open(&dir)?, false)?;
    let later = File::create(dir.join("later"))?;
    ensure!(!flagged(&later)? && !is_dax(&later)?, "a file made after the flag was cleared");
    ensure!(is_dax(&File::open(dir.join("file"))?)?, "an older file");
    let plain = bed.create("plain")?;
    ensure!(!flagged(&plain)? && !is_dax(&plain)?, "a file elsewhere");
    Ok(())
}

/// Both ioctls read and write the same flag, and `statx` tells what it came to.
fn interfaces(bed: &mut Bed) -> Result<()> {
    let dir = bed.path("dir");
    std::fs::create_dir(&dir)?;
    for target in [File::open(&dir)?, bed.create("file")?] {
        let both = || -> Result<(bool, bool)> {
            Ok((sys::flags(&target)? & DAX_FL != 0, sys::xflags(&target)? & XFLAG_DAX != 0))
        };
        ensure!(both()? == (false, false));
        let plain = sys::flags(&target)?;
        sys::set_xflag_dax(&target, true)?;
        ensure!(both()? == (true, true), "after FS_IOC_FSSETXATTR");
        sys::set_flags(&target, plain)?;
        ensure!(both()? == (false, false), "cleared by FS_IOC_SETFLAGS");
        sys::set_flags(&target, plain | DAX_FL)?;
        ensure!(both()? == (true, true), "after FS_IOC_SETFLAGS");
        sys::set_xflag_dax(&target, false)?;
        ensure!(both()? == (false, false), "cleared by FS_IOC_FSSETXATTR");
    }
    let text = crate::stage::run("chattr", &["+x", &bed.path("file").to_string_lossy()])?;
    ensure!(text.is_empty(), "chattr says {text}");
    let text = crate::stage::run("lsattr", &["-d", &bed.path("file").to_string_lossy()])?;
    ensure!(text.split(' ').next().is_some_and(|flags| flags.contains('x')), "lsattr: {text}");
    Ok(())
}

/// The flag reaches the inode on disk, where debugfs and ext4 see it.
fn set_on_disk(bed: &mut Bed) -> Result<()> {
    sys::set_xflag_dax(&bed.create("file")?, true)?;
    sys::set_xflag_dax(&bed.create("other")?, true)?;
    sys::set_xflag_dax(&bed.open("other")?, false)?;
    bed.unmount()?;
    let stat = |name: &str| bed.image.ask(&format!("stat {name}"));
    ensure!(stat("file")?.contains("Flags: 0x2080000"), "{}", stat("file")?);
    ensure!(stat("other")?.contains("Flags: 0x80000"), "{}", stat("other")?);
    bed.mount()?;
    bed.by_ext4(|root| {
        ensure!(is_dax(&File::open(root.join("file"))?)?, "ext4 does not see the flag");
        ensure!(!is_dax(&File::open(root.join("other"))?)?, "ext4 sees a flag that was cleared");
        sys::set_xflag_dax(File::open(root.join("other"))?, true)?;
        Ok(())
    })?;
    ensure!(is_dax(&bed.open("other")?)?, "the flag that ext4 set");
    Ok(())
}

fn switched(file: &File, dax: bool, what: &str) -> Result<()> {
    sys::set_xflag_dax(file, dax).with_context(|| what.to_owned())?;
    ensure!(is_dax(file)? == dax, "{what}: done, but statx says otherwise");
    ensure!((sys::flags(file)? & DAX_FL != 0) == dax, "{what}: the flag says otherwise");
    Ok(())
}

/// On an open file the change holds from the next system call on, bytes intact, both ways.
fn at_once(bed: &mut Bed) -> Result<()> {
    needs_live(bed)?;
    let file = bed.create("file")?;
    let other = bed.open("file")?;
    let mut model = pattern(1, 0, LEN);
    file.write_all_at(&model, 0)?;
    for round in 0..6 {
        let dax = round % 2 == 0;
        switched(&file, dax, &format!("round {round}"))?;
        ensure!(is_dax(&other)? == dax, "a second descriptor sees the old mode");
        same_bytes(&read_at(&other, 0, LEN)?, &model, "read after the change")?;
        let map = Mapping::shared(&other, LEN)?;
        ensure!(smaps::has_flag(&map, "mm")? == dax, "{}", smaps::of(&map)?);
        same_bytes(&map.read(0, LEN), &model, "mapped after the change")?;
        map.write(round * 5_000, &pattern(round as u64 + 2, 0, 5_000));
        model[round * 5_000..round * 5_000 + 5_000].copy_from_slice(&pattern(
            round as u64 + 2,
            0,
            5_000,
        ));
        drop(map);
        file.write_all_at(b"round", 100_000 + round as u64)?;
        model[100_000 + round..100_005 + round].copy_from_slice(b"round");
        same_bytes(&read_at(&other, 0, LEN)?, &model, "read after a store")?;
    }
    drop((file, other));
    bed.again()?;
    same_bytes(&std::fs::read(bed.path("file"))?, &model, "mounted again")
}

/// Dirty pages, a hole, a size off the page, unwritten bytes behind the end: all survive.
fn dirty_pages(bed: &mut Bed) -> Result<()> {
    needs_live(bed)?;
    for (n, len) in [1, 100, PAGE - 1, PAGE, PAGE + 1, 100_001, LEN].into_iter().enumerate() {
        let file = bed.create(&format!("file-{n}"))?;
        let mut model = vec![0; len];
        let at = len / 3;
        file.set_len(len as u64)?;
        file.write_all_at(&pattern(n as u64, 0, len - at), at as u64)?;
        model[at..].copy_from_slice(&pattern(n as u64, 0, len - at));
        Mapping::shared(&file, len)?.write(0, b"m");
        model[0] = b'm';
        switched(&file, true, &format!("{len} bytes to DAX"))?;
        same_bytes(&read_at(&file, 0, len)?, &model, "on DAX")?;
        Mapping::shared(&file, len)?.write(len - 1, b"d");
        model[len - 1] = b'd';
        file.set_len(len as u64 + 5_000)?;
        model.resize(len + 5_000, 0);
        switched(&file, false, &format!("{len} bytes from DAX"))?;
        same_bytes(&read_at(&file, 0, model.len())?, &model, "back")?;
    }
    Ok(())
}

/// EBUSY while `map` maps the file, in both directions and by both ioctls; done after munmap.
fn busy(bed: &mut Bed, map: fn(&File) -> rustix::io::Result<Mapping>) -> Result<()> {
    needs_live(bed)?;
    for dax in [false, true] {
        let file = made(bed, "file", dax)?;
        file.write_all_at(&pattern(1, 0, LEN), 0)?;
        let mapping = map(&file)?;
        mapping.touch_read();
        refuses(&file, dax)?;
        same_bytes(&mapping.read(0, LEN), &pattern(1, 0, LEN), "mapped bytes")?;
        drop(mapping);
        switched(&file, !dax, "after munmap")?;
        same_bytes(&read_at(&file, 0, LEN)?, &pattern(1, 0, LEN), "bytes after the change")?;
    }
    Ok(())
}

/// A change from the mode `dax` is refused with EBUSY, and nothing changes.
fn refuses(file: &File, dax: bool) -> Result<()> {
    let flags = sys::flags(file)?;
    refused(sys::set_xflag_dax(file, !dax), Errno::BUSY, "FS_IOC_FSSETXATTR while mapped")?;
    refused(sys::set_flags(file, flags ^ DAX_FL), Errno::BUSY, "FS_IOC_SETFLAGS while mapped")?;
    ensure!(is_dax(file)? == dax && sys::flags(file)? == flags, "a refused change left traces");
    Ok(())
}

/// A mapping counts although no page of it was ever touched.
fn busy_untouched(bed: &mut Bed) -> Result<()> {
    needs_live(bed)?;
    for dax in [false, true] {
        let file = made(bed, "file", dax)?;
        file.set_len(LEN as u64)?;
        let map = Mapping::new(&file, 0, LEN, ProtFlags::empty(), MapFlags::SHARED)?;
        refuses(&file, dax)?;
        drop(map);
        switched(&file, !dax, "after munmap")?;
    }
    Ok(())
}

fn busy_after_close(bed: &mut Bed) -> Result<()> {
    needs_live(bed)?;
    for dax in [false, true] {
        let file = made(bed, "file", dax)?;
        file.write_all_at(&pattern(1, 0, LEN), 0)?;
        let map = Mapping::shared(&file, LEN)?;
        drop(file);
        let file = made(bed, "file", dax)?;
        refuses(&file, dax)?;
        map.write(0, b"still mapped");
        drop(map);
        switched(&file, !dax, "after munmap")?;
        same_bytes(&read_at(&file, 0, 12)?, b"still mapped", "bytes")?;
    }
    Ok(())
}

/// The child of a fork holds the mapping after its parent gave it up.
fn busy_after_fork(bed: &mut Bed) -> Result<()> {
    needs_live(bed)?;
    for dax in [false, true] {
        let file = made(bed, "file", dax)?;
        file.write_all_at(&pattern(1, 0, LEN), 0)?;
        let map = Mapping::shared(&file, LEN)?;
        let (from, to) = rustix::pipe::pipe()?;
        let child = sys::Child::start(|| {
            // Returns when the parent writes.
            let _ = rustix::io::read(&from, &mut [0; 1]);
            i32::from(map.read(0, LEN) != pattern(1, 0, LEN))
        })?;
        drop(map);
        refuses(&file, dax)?;
        rustix::io::write(&to, b"x")?;
        ensure!(child.wait()? == End::Exit(0), "the child read other bytes");
        switched(&file, !dax, "after the child ended")?;
    }
    Ok(())
}

/// mprotect splits a mapping, munmap takes parts away: busy until the last part is gone.
fn busy_after_split(bed: &mut Bed) -> Result<()> {
    needs_live(bed)?;
    for dax in [false, true] {
        let file = made(bed, "file", dax)?;
        file.write_all_at(&pattern(1, 0, LEN), 0)?;
        let mut map = Mapping::shared(&file, LEN)?;
        map.protect(PAGE, PAGE, MprotectFlags::READ)?;
        refuses(&file, dax)?;
        map.protect(PAGE, PAGE, MprotectFlags::READ | MprotectFlags::WRITE)?;
        refuses(&file, dax)?;
        map.truncate(2 * PAGE)?;
        refuses(&file, dax)?;
        map.truncate(PAGE)?;
        map.write(0, b"one page");
        refuses(&file, dax)?;
        drop(map);
        switched(&file, !dax, "after the last munmap")?;
        same_bytes(&read_at(&file, 0, 8)?, b"one page", "bytes")?;
    }
    Ok(())
}

fn busy_after_move(bed: &mut Bed) -> Result<()> {
    needs_live(bed)?;
    for dax in [false, true] {
        let file = made(bed, "file", dax)?;
        file.set_len(LEN as u64)?;
        let mut map = Mapping::shared(&file, PAGE)?;
        map.write(0, b"moves");
        map.remap(LEN)?;
        refuses(&file, dax)?;
        same_bytes(&map.read(0, 5), b"moves", "bytes")?;
        drop(map);
        switched(&file, !dax, "after munmap")?;
    }
    Ok(())
}

/// A running program is mapped.
fn busy_executed(bed: &mut Bed) -> Result<()> {
    needs_live(bed)?;
    for dax in [false, true] {
        drop(made(bed, "program", dax)?);
        let path = bed.path(if dax { "dax/program" } else { "cached/program" });
        std::fs::write(&path, std::fs::read("/usr/bin/sleep")?)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
        let mut child = Command::new(&path).arg("60").spawn()?;
        // `spawn` returns when exec cannot fail any more, which is before the program is mapped.
        let maps = format!("/proc/{}/maps", child.id());
        while !std::fs::read_to_string(&maps)?.contains("/program") {
            std::thread::sleep(Duration::from_millis(5));
        }
        let file = File::open(&path)?;
        let checked = refuses(&file, dax);
        child.kill()?;
        child.wait()?;
        checked?;
        switched(&file, !dax, "after the program ended")?;
        ensure!(Command::new(&path).arg("0").status()?.success(), "it does not run any more");
    }
    Ok(())
}

fn busy_map_sync(bed: &mut Bed) -> Result<()> {
    needs_live(bed)?;
    let file = made(bed, "file", true)?;
    file.set_len(LEN as u64)?;
    let map = Mapping::synchronous(&file, LEN).context("MAP_SYNC")?;
    map.touch_write(4);
    refuses(&file, true)?;
    drop(map);
    switched(&file, false, "after munmap")?;
    let found = read_at(&file, 0, LEN)?;
    ensure!(found.iter().step_by(PAGE).all(|b| *b == 4), "bytes after the change");
    refused(
        Mapping::synchronous(&file, LEN),
        Errno::OPNOTSUPP,
        "MAP_SYNC after the change to the page cache",
    )
}

/// Setting the flag to what it is already succeeds, mapped or not.
fn no_change(bed: &mut Bed) -> Result<()> {
    needs_live(bed)?;
    for dax in [false, true] {
        let file = made(bed, "file", dax)?;
        file.set_len(LEN as u64)?;
        let map = Mapping::shared(&file, LEN)?;
        map.touch_write(1);
        sys::set_xflag_dax(&file, dax).context("FS_IOC_FSSETXATTR to what it is")?;
        sys::set_flags(&file, sys::flags(&file)?).context("FS_IOC_SETFLAGS to what it is")?;
        ensure!(is_dax(&file)? == dax);
    }
    Ok(())
}

fn refusals(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    let end = sys::in_child(|| {
        let refused = sys::become_user(1000).and_then(|()| sys::set_xflag_dax(&file, true));
        let code = refused.err().and_then(|e| e.raw_os_error());
        i32::from(code != Some(libc::EPERM))
    })?;
    ensure!(end == End::Exit(0), "another user's change: {end:?}, expected EPERM");
    ensure!(!is_dax(&file)?);
    // JOURNAL_DATA, ENCRYPT, VERITY and INLINE_DATA exclude DAX; the first can be put on any file.
    bed.create("journal")?;
    drop(file);
    bed.unmount()?;
    bed.image.debugfs(&["set_inode_field journal flags 0x84000"])?;
    bed.mount()?;
    let journal = File::open(bed.path("journal"))?;
    if bed.config.is_rdaxfs() {
        let what = "DAX on a file whose data is journaled";
        refused(sys::set_xflag_dax(&journal, true), Errno::OPNOTSUPP, what)?;
    }
    drop(journal);
    std::fs::remove_file(bed.path("journal"))?;
    bed.mounted().remount("ro")?;
    let file = File::open(bed.path("file"))?;
    refused(sys::set_xflag_dax(&file, true), Errno::ROFS, "on a read-only mount")?;
    drop(file);
    bed.mounted().remount("rw")?;
    Ok(())
}

/// Thousands of switches of one file, each followed by a look at every byte of a small file.
fn many_switches(bed: &mut Bed) -> Result<()> {
    needs_live(bed)?;
    let file = bed.create("file")?;
    let count = if bed.config.short { 300 } else { 3_000 };
    let mut model = pattern(1, 0, 40_000);
    file.write_all_at(&model, 0)?;
    let before = super::free(bed.dir())?;
    for n in 0..count {
        switched(&file, n % 2 == 0, &format!("switch {n}"))?;
        let at = n * 131 % 39_000;
        file.write_all_at(&pattern(n as u64, 0, 100), at as u64)?;
        model[at..at + 100].copy_from_slice(&pattern(n as u64, 0, 100));
        same_bytes(&read_at(&file, 0, 40_000)?, &model, &format!("after switch {n}"))?;
    }
    ensure!(super::free(bed.dir())? == before, "switching costs blocks");
    Ok(())
}

/// `dax_switch=deferred`: as upstream, the change waits for the last close.
fn deferred(bed: &mut Bed) -> Result<()> {
    if bed.config.is_rdaxfs() {
        bed.unmount()?;
        bed.mount_with("dax=inode,dax_switch=deferred")?;
        let mounts = std::fs::read_to_string("/proc/mounts")?;
        ensure!(mounts.contains(",dax_switch=deferred"), "not shown: {mounts}");
    }
    let file = bed.create("file")?;
    file.write_all_at(&pattern(1, 0, LEN), 0)?;
    let map = Mapping::shared(&file, LEN)?;
    for dax in [true, false, true] {
        sys::set_xflag_dax(&file, dax)?;
        ensure!(!is_dax(&file)?, "the mode changed while the file was open");
        ensure!((sys::flags(&file)? & DAX_FL != 0) == dax, "the flag is not stored");
    }
    map.write(0, b"stored when it was to be DAX");
    drop((file, map));
    let file = bed.open("file")?;
    ensure!(is_dax(&file)?, "the mode did not change after the last close");
    same_bytes(&read_at(&file, 0, 28)?, b"stored when it was to be DAX", "bytes")?;
    same_bytes(&read_at(&file, 100, LEN - 100)?, &pattern(1, 0, LEN)[100..], "bytes")
}

/// Trace events tell of mappings, of faults with their path and result, and of changes with the reason
/// of a refusal.
fn traced(bed: &mut Bed) -> Result<()> {
    needs_live(bed)?;
    let file = bed.create("file")?;
    file.write_all_at(&pattern(1, 0, LEN), 0)?;
    let events = Events::record()?;
    let about = |name: &str, words: &[&str]| -> Result<()> {
        let told = events.of(name)?;
        let found = told.iter().any(|line| words.iter().all(|word| line.contains(word)));
        ensure!(found, "{name} does not tell {words:?}: {told:?}");
        Ok(())
    };
    let ino = format!("ino {} ", file.metadata()?.ino());
    for (dax, path, other) in [(true, "page-cache", "dax"), (false, "dax", "page-cache")] {
        let map = Mapping::shared(&file, LEN)?;
        map.touch_read();
        map.write(0, b"x");
        refused(sys::set_xflag_dax(&file, dax), Errno::BUSY, "while mapped")?;
        drop(map);
        switched(&file, dax, "after munmap")?;
        let (path, to) = (format!("path {path} "), format!("to {other}"));
        about("rdaxfs_mmap", &[&ino, &path])?;
        about("rdaxfs_switch", &[&ino, &to])?;
        about("rdaxfs_switch_refused", &[&ino, &to, "reason \"mapped\" error -16"])?;
        about("rdaxfs_switch_done", &[&ino, &to])?;
    }
    let (cached, direct) = ("path page-cache ", "path dax ");
    about("rdaxfs_page_mkwrite", &[&ino, cached, "order 0", "pgoff 0x0 "])?;
    about("rdaxfs_page_mkwrite_done", &[&ino, cached, "result LOCKED"])?;
    about("rdaxfs_fault", &[&ino, direct, "pgoff 0x"])?;
    about("rdaxfs_fault_done", &[&ino, direct, "result NOPAGE"])
}

/// Under `dax=always`, and without DAX in the device, the flag is stored and changes nothing.
fn not_here(bed: &mut Bed) -> Result<()> {
    let dax = bed.place == Place::Dax;
    let file = bed.create("file")?;
    for flag in [true, false, true] {
        sys::set_xflag_dax(&file, flag)?;
        ensure!(is_dax(&file)? == dax, "the mode changed");
        ensure!((sys::flags(&file)? & DAX_FL != 0) == flag, "the flag is not stored");
    }
    Ok(())
}
