// SPDX-License-Identifier: GPL-2.0
//! Inode flags and projects, and what is asked of the whole file system: to be shut down, frozen, trimmed,
//! named.

use super::{free, pattern, refused, statx};
use crate::harness::{Bed, Test, ALL, BOTH, RAM};
use crate::stage;
use crate::sys::{self, attrs, Mapping};
use anyhow::{ensure, Context, Result};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("attributes::immutable", ALL, immutable),
        Test::new("attributes::append", BOTH, append),
        Test::new("attributes::flags_kept", BOTH, flags_kept),
        Test::new("attributes::noatime", RAM, noatime),
        Test::bare("attributes::projects", BOTH, projects),
        Test::new("attributes::by_path", RAM, by_path),
        Test::new("attributes::unknown_requests", RAM, unknown_requests),
        Test::bare("attributes::set_generation", RAM, set_generation),
        Test::new("attributes::label", BOTH, label),
        Test::new("attributes::uuid", BOTH, uuid),
        Test::new("attributes::freeze", ALL, freeze),
        Test::new("attributes::trim", BOTH, trim),
        Test::bare("attributes::discard", RAM, discard),
        Test::bare("attributes::usage", RAM, usage),
        Test::bare("attributes::backups", RAM, backups),
        Test::new("attributes::shutdown_clean", ALL, shutdown_clean),
        Test::new("attributes::shutdown_refuses", ALL, shutdown_refuses).corrupt(),
    ]
}

const SYNC: u32 = 0x8;
const COMPR: u32 = 0x4;
const IMMUTABLE: u32 = 0x10;
const APPEND: u32 = 0x20;
const NODUMP: u32 = 0x40;
const NOATIME: u32 = 0x80;
const DIRSYNC: u32 = 0x10000;

fn immutable(bed: &mut Bed) -> Result<()> {
    let path = bed.path("file");
    std::fs::write(&path, pattern(1, 0, 8192))?;
    let old = bed.open("file")?;
    let map = Mapping::shared(&old, 8192)?;
    map.touch_read();
    sys::set_flags(&old, sys::flags(&old)? | IMMUTABLE)?;
    refused(File::options().write(true).open(&path), Errno::PERM, "opening for writing")?;
    refused(std::fs::remove_file(&path), Errno::PERM, "unlink")?;
    refused(std::fs::rename(&path, bed.path("other")), Errno::PERM, "rename")?;
    refused(std::fs::hard_link(&path, bed.path("other")), Errno::PERM, "link")?;
    let mode = PermissionsExt::from_mode(0o600);
    refused(std::fs::set_permissions(&path, mode), Errno::PERM, "chmod")?;
    let set = rustix::fs::setxattr(&path, "user.u", b"", rustix::fs::XattrFlags::empty());
    refused(set, Errno::PERM, "setxattr")?;
    ensure!(std::fs::read(&path)? == pattern(1, 0, 8192));
    // Through what was opened before.
    refused(old.write_all_at(b"x", 0), Errno::PERM, "writing")?;
    refused(old.set_len(10), Errno::PERM, "truncating")?;
    let end = sys::in_child(|| {
        map.write(0, b"x");
        0
    })?;
    ensure!(end == sys::End::Signal(libc::SIGBUS), "storing ended with {end:?}");
    drop(map);
    drop(old);
    bed.again()?;
    refused(File::options().write(true).open(&path), Errno::PERM, "mounted again")?;
    let file = File::open(&path)?;
    sys::set_flags(&file, sys::flags(&file)? & !IMMUTABLE)?;
    bed.open("file")?.write_all_at(b"y", 0)?;
    // A directory, too.
    std::fs::create_dir(bed.path("dir"))?;
    let dir = File::open(bed.path("dir"))?;
    sys::set_flags(&dir, sys::flags(&dir)? | IMMUTABLE)?;
    refused(File::create(bed.path("dir/new")), Errno::PERM, "creating in it")?;
    Ok(sys::set_flags(&dir, sys::flags(&dir)? & !IMMUTABLE)?)
}

fn append(bed: &mut Bed) -> Result<()> {
    let path = bed.path("file");
    std::fs::write(&path, "text")?;
    let file = bed.open("file")?;
    sys::set_flags(&file, sys::flags(&file)? | APPEND)?;
    drop(file);
    bed.again()?;
    refused(File::options().write(true).open(&path), Errno::PERM, "opening for writing")?;
    refused(std::fs::remove_file(&path), Errno::PERM, "unlink")?;
    let mut file = File::options().append(true).open(&path)?;
    file.write_all(b" and more")?;
    refused(file.set_len(2), Errno::PERM, "truncating")?;
    ensure!(std::fs::read(&path)? == b"text and more");
    Ok(sys::set_flags(&file, sys::flags(&file)? & !APPEND)?)
}

/// Set, told by every interface, inherited, and told by ext4.
fn flags_kept(bed: &mut Bed) -> Result<()> {
    std::fs::create_dir(bed.path("dir"))?;
    let dir = File::open(bed.path("dir"))?;
    let all = SYNC | NODUMP | NOATIME | DIRSYNC;
    sys::set_flags(&dir, sys::flags(&dir)? | all)?;
    ensure!(sys::flags(&dir)? & all == all);
    let inherited = bed.create("dir/file")?;
    ensure!(sys::flags(&inherited)? & all == all & !DIRSYNC, "{:x}", sys::flags(&inherited)?);
    std::fs::create_dir(bed.path("dir/sub"))?;
    ensure!(sys::flags(File::open(bed.path("dir/sub"))?)? & all == all);
    inherited.write_all_at(b"synchronous", 0)?;
    let other = bed.create("file")?;
    let told = COMPR | IMMUTABLE | APPEND | NODUMP;
    for flag in [0, COMPR, IMMUTABLE, APPEND, NODUMP] {
        sys::set_flags(&other, sys::flags(&other)? & !told | flag)?;
        let attributes = statx(&bed.path("file"))?.stx_attributes.bits() as u32;
        ensure!(attributes & told == flag, "statx says {attributes:x}, not {flag:x}");
    }
    sys::set_flags(&other, sys::flags(&other)? & !told)?;
    drop(other);
    refused(sys::set_flags(&inherited, DIRSYNC), Errno::OPNOTSUPP, "dirsync of a file")?;
    drop((dir, inherited));
    bed.by_ext4(|root| {
        let flags = sys::flags(File::open(root.join("dir"))?)?;
        ensure!(flags & all == all, "ext4 reads {flags:x}");
        let flags = sys::flags(File::open(root.join("dir/file"))?)?;
        ensure!(flags & all == all & !DIRSYNC, "ext4 reads {flags:x}");
        Ok(())
    })?;
    ensure!(sys::flags(File::open(bed.path("dir"))?)? & all == all);
    Ok(())
}

fn noatime(bed: &mut Bed) -> Result<()> {
    let path = bed.path("file");
    std::fs::write(&path, "text")?;
    let file = File::open(&path)?;
    sys::set_flags(&file, sys::flags(&file)? | NOATIME)?;
    let before = std::fs::metadata(&path)?;
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::write(bed.path("other"), "text")?;
    std::fs::read(&path)?;
    let after = std::fs::metadata(&path)?;
    ensure!((before.atime(), before.atime_nsec()) == (after.atime(), after.atime_nsec()));
    Ok(())
}

const XFLAG_PROJINHERIT: u32 = 0x200;

fn projects(bed: &mut Bed) -> Result<()> {
    bed.mkfs(stage::IMAGE, &["-O", "project,quota"])?;
    if bed.mount().is_err() {
        crate::skip!("images with quota cannot be written");
    }
    std::fs::create_dir(bed.path("dir"))?;
    let dir = File::open(bed.path("dir"))?;
    attrs::set_xflags_and_project(&dir, XFLAG_PROJINHERIT, 4711)?;
    std::fs::write(bed.path("dir/file"), "text")?;
    std::fs::create_dir(bed.path("dir/sub"))?;
    std::fs::write(bed.path("other"), "text")?;
    drop(dir);
    bed.again()?;
    let told = |name: &str| attrs::xflags_and_project(File::open(bed.path(name))?);
    ensure!(told("dir")? == (XFLAG_PROJINHERIT, 4711), "{:?}", told("dir")?);
    ensure!(told("dir/sub")? == (XFLAG_PROJINHERIT, 4711), "{:?}", told("dir/sub")?);
    ensure!(told("dir/file")?.1 == 4711 && told("other")?.1 == 0);
    bed.by_ext4(|root| {
        let told = attrs::xflags_and_project(File::open(root.join("dir/file"))?)?;
        ensure!(told.1 == 4711, "ext4 reads {told:?}");
        Ok(())
    })
}

/// By the system calls that take a path. Links and device nodes have no flags, as with ext4.
fn by_path(bed: &mut Bed) -> Result<()> {
    const XFLAG_NODUMP: u64 = 0x80;
    std::os::unix::fs::symlink("nowhere", bed.path("link"))?;
    std::fs::write(bed.path("file"), "text")?;
    std::fs::create_dir(bed.path("dir"))?;
    for name in ["file", "dir"] {
        let path = bed.path(name);
        let before = attrs::file_getattr(&path).context(name)?;
        let wanted = attrs::FileAttr { xflags: before.xflags | XFLAG_NODUMP, ..before };
        attrs::file_setattr(&path, &wanted).context(name)?;
        ensure!(attrs::file_getattr(&path)?.xflags & XFLAG_NODUMP != 0, "{name}");
    }
    refused(attrs::file_getattr(&bed.path("link")), Errno::OPNOTSUPP, "flags of a link")?;
    bed.again()?;
    for name in ["file", "dir"] {
        let told = attrs::file_getattr(&bed.path(name))?;
        ensure!(told.xflags & XFLAG_NODUMP != 0, "{name}: {told:?}, mounted again");
    }
    Ok(())
}

/// What e2fsprogs and others ask to see whether a file system can do it.
fn unknown_requests(bed: &mut Bed) -> Result<()> {
    let (file, donor) = (bed.create("file")?, bed.create("donor")?);
    refused(attrs::move_extents(&file, &donor, 1), Errno::OPNOTSUPP, "to change blocks")?;
    refused(attrs::unknown(&file), Errno::NOTTY, "what nobody knows")?;
    refused(attrs::unknown(File::open(bed.dir())?), Errno::NOTTY, "the same of a directory")
}

fn set_generation(bed: &mut Bed) -> Result<()> {
    bed.mkfs(stage::IMAGE, &[])?;
    bed.mount()?;
    let file = bed.create("file")?;
    let result = attrs::set_generation(&file, 1);
    refused(result, Errno::NOTTY, "a generation where it begins checksums")?;
    drop(file);
    bed.unmount()?;
    bed.mkfs(stage::IMAGE, &["-O", "^metadata_csum,^metadata_csum_seed,^orphan_file"])?;
    bed.mount()?;
    let file = bed.create("file")?;
    attrs::set_generation(&file, 0x1234_5678)?;
    ensure!(sys::generation(&file)? == 0x1234_5678);
    drop(file);
    bed.again()?;
    ensure!(sys::generation(File::open(bed.path("file"))?)? == 0x1234_5678);
    Ok(())
}

fn label(bed: &mut Bed) -> Result<()> {
    let root = || File::open(bed.dir());
    ensure!(attrs::label(root()?)?.is_empty());
    attrs::set_label(root()?, "sixteen letters!")?;
    ensure!(attrs::label(root()?)? == "sixteen letters!");
    refused(attrs::set_label(root()?, "seventeen letters"), Errno::INVAL, "a longer one")?;
    attrs::set_label(root()?, "short")?;
    let device = bed.image.device().to_string_lossy().into_owned();
    let text = stage::run("dumpe2fs", &["-h", &device])?;
    ensure!(text.contains("short") && !text.contains("letters"), "{text}");
    bed.again()?;
    ensure!(attrs::label(File::open(bed.dir())?)? == "short");
    Ok(())
}

fn uuid(bed: &mut Bed) -> Result<()> {
    let root = || File::open(bed.dir());
    let old = attrs::uuid(root()?)?;
    ensure!(old.len() == 16 && attrs::uuid_on_disk(root()?)? == old, "{old:?}");
    let path = attrs::sysfs_path(root()?)?;
    let device = bed.image.device().file_name().context("a name")?.to_string_lossy().into_owned();
    ensure!(path == format!("{}/{device}", bed.config.fstype), "{path}");
    ensure!(std::path::Path::new("/sys/fs").join(&path).is_dir(), "no /sys/fs/{path}");
    let new = [0xa5; 16];
    // With checksums that begin with it, as mke2fs 1.47.0 makes them, it cannot change.
    if bed.place == crate::harness::Place::Ram {
        return refused(attrs::set_uuid(root()?, &new), Errno::OPNOTSUPP, "another UUID");
    }
    attrs::set_uuid(root()?, &new)?;
    ensure!(attrs::uuid_on_disk(root()?)? == new);
    bed.again()?;
    ensure!(attrs::uuid(File::open(bed.dir())?)? == new);
    Ok(())
}

/// Frozen, the image is one that was unmounted cleanly, and writers wait.
fn freeze(bed: &mut Bed) -> Result<()> {
    let root = File::open(bed.dir())?;
    let file = bed.create("file")?;
    file.write_all_at(&pattern(1, 0, 100_000), 0)?;
    attrs::freeze(&root)?;
    refused(attrs::freeze(&root), Errno::BUSY, "freezing it again")?;
    let state = stage::run("dumpe2fs", &["-h", &bed.image.device().to_string_lossy()])?;
    ensure!(state.lines().any(|l| l.starts_with("Filesystem state") && l.ends_with(" clean")));
    let path = bed.path("written");
    let writer = sys::Child::start(|| std::fs::write(&path, "late").is_err().into())?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    ensure!(!path.exists(), "written while frozen");
    attrs::thaw(&root)?;
    ensure!(writer.wait()? == sys::End::Exit(0) && std::fs::read(&path)? == b"late");
    refused(attrs::thaw(&root), Errno::INVAL, "thawing it again")?;
    Ok(())
}

fn trim(bed: &mut Bed) -> Result<()> {
    let root = File::open(bed.dir())?;
    if bed.place.is_dax() {
        return refused(attrs::trim(&root, 0, u64::MAX, 0), Errno::OPNOTSUPP, "trimming pmem");
    }
    std::fs::write(bed.path("kept"), pattern(1, 0, 500_000))?;
    std::fs::write(bed.path("gone"), pattern(2, 0, 500_000))?;
    rustix::fs::syncfs(&root)?;
    std::fs::remove_file(bed.path("gone"))?;
    let available = free(bed.dir())?.0 * 4096;
    let done = attrs::trim(&root, 0, u64::MAX, 0)?;
    ensure!(done == available, "{done} bytes were discarded, {available} are free");
    ensure!(attrs::trim(&root, 0, 1 << 20, 0)? < 1 << 20, "beyond the range");
    ensure!(attrs::trim(&root, 0, u64::MAX, 64 << 20)? < available, "pieces that are too short");
    refused(attrs::trim(&root, 1 << 50, 4096, 0), Errno::INVAL, "a range beyond the device")?;
    drop(root);
    bed.again()?;
    ensure!(std::fs::read(bed.path("kept"))? == pattern(1, 0, 500_000), "a file was discarded");
    Ok(())
}

/// What blocks are used for is told for all of the device, and with any room; and what is free is what ext4 says is.
fn usage(bed: &mut Bed) -> Result<()> {
    use attrs::{usage, Usage};
    const FREE: u64 = 1;
    const LAST: u32 = 0x20;
    let start = Usage::default();
    let all = |file: &File, room| -> Result<Vec<Usage>> {
        let (mut all, mut from) = (Vec::new(), start);
        loop {
            let (found, _) = usage(file, [from, Usage::END], room)?;
            from = *found.last().with_context(|| format!("nothing more after {from:?}"))?;
            all.extend(found);
            if from.flags & LAST != 0 {
                return Ok(all);
            }
        }
    };
    // Runs of free bytes; ext4 has one end with each group.
    let free_runs = |all: &[Usage]| {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for run in all.iter().filter(|run| run.owner == FREE) {
            match runs.last_mut() {
                Some((start, len)) if *start + *len == run.physical => *len += run.length,
                _ => runs.push((run.physical, run.length)),
            }
        }
        runs
    };
    for (size, block) in [("300M", "4096"), ("60M", "1024")] {
        bed.mkfs(size, &["-b", block])?;
        bed.mount()?;
        for n in 0..40 {
            std::fs::write(bed.path(format!("{n}")), pattern(n, 0, 70_000))?;
        }
        rustix::fs::sync();
        for n in (0..40).step_by(3) {
            std::fs::remove_file(bed.path(format!("{n}")))?;
        }
        rustix::fs::sync();
        let root = File::open(bed.dir())?;
        let whole = all(&root, 512)?;
        let mut end = if block == "1024" { 1024 } else { 0 };
        for run in &whole {
            ensure!(run.physical == end && run.length > 0, "a gap at {end}: {run:?}");
            end += run.length;
        }
        ensure!(end == size.trim_end_matches('M').parse::<u64>()? << 20, "it ends at {end}");
        let of_free = free_runs(&whole);
        let bytes = of_free.iter().map(|(_, len)| len).sum::<u64>();
        let expected = rustix::fs::fstatvfs(&root)?;
        ensure!(bytes == expected.f_bfree * expected.f_bsize, "{bytes} bytes are free");
        ensure!(of_free.len() > 5 && whole.iter().any(|run| run.owner == 2), "{whole:?}");
        let counted = usage(&root, [start, Usage::END], 0)?.1;
        ensure!(counted as usize == whole.len(), "{counted} records, {} came", whole.len());
        let mut by_one = all(&root, 1)?;
        ensure!(by_one == whole, "{by_one:?}, with room {whole:?}");
        // From the middle of one to the middle of the next.
        let [one, next] = [whole[1], whole[2]];
        let block = u64::from(u32::try_from(expected.f_bsize)?);
        let [low, high] = [one.length / block / 2 * block, block / 2];
        let keys = [
            Usage { physical: one.physical + low, length: 0, ..one },
            Usage { physical: next.physical + high, ..next },
        ];
        by_one = usage(&root, keys, 512)?.0;
        let clipped = [
            Usage { physical: one.physical + low, length: one.length - low, ..one },
            Usage { length: block, flags: next.flags | LAST, ..next },
        ];
        ensure!(by_one == clipped, "{keys:?}: {by_one:?}, not {clipped:?}");
        for keys in [
            [Usage::END, start],
            [Usage { reserved: [0, 0, 1], ..start }, Usage::END],
            [Usage { device: one.device + 1, ..start }, Usage::END],
            [Usage { length: u64::MAX, ..one }, Usage::END],
            [next, one],
        ] {
            refused(usage(&root, keys, 512), Errno::INVAL, &format!("{keys:?}"))?;
        }
        drop(root);
        bed.unmount()?;
        let oracle = bed.image.mount("ext4", "ro")?;
        let of_ext4 = free_runs(&all(&File::open(oracle.dir())?, 512)?);
        oracle.unmount()?;
        ensure!(of_free == of_ext4, "ext4 says {of_ext4:?}, here it was {of_free:?}");
    }
    Ok(())
}

/// What a removed file had is discarded once its removal is committed, and only with the option.
fn discard(bed: &mut Bed) -> Result<()> {
    for (options, discarded) in [("nodiscard", false), ("discard", true)] {
        bed.mkfs("64M", &[])?;
        bed.mount_with(options)?;
        let root = File::open(bed.dir())?;
        let bytes = pattern(3, 0, 1 << 20);
        std::fs::write(bed.path("gone"), &bytes)?;
        std::fs::write(bed.path("kept"), &bytes)?;
        rustix::fs::syncfs(&root)?;
        let blocks = bed.image.ask("blocks gone")?;
        let block = blocks.split_whitespace().next().context("no blocks")?.parse::<u64>()?;
        std::fs::remove_file(bed.path("gone"))?;
        rustix::fs::syncfs(&root)?;
        drop(root);
        // A ram disk forgets what is discarded.
        let left = bed.image.peek(block * 4096, 4096)?;
        let expected = if discarded { vec![0; 4096] } else { bytes[..4096].to_vec() };
        ensure!(left == expected, "{options}: block {block} is not what it should be");
        ensure!(std::fs::read(bed.path("kept"))? == bytes, "{options}: a file was discarded");
        bed.unmount()?;
    }
    Ok(())
}

/// The label reaches every backup of the super block, each of which e2fsck could use.
fn backups(bed: &mut Bed) -> Result<()> {
    bed.mkfs("300M", &[])?;
    bed.mount()?;
    attrs::set_label(File::open(bed.dir())?, "in all of them")?;
    bed.unmount()?;
    let device = bed.image.device().to_string_lossy().into_owned();
    for backup in ["0", "32768"] {
        let text = match backup {
            "0" => stage::run("dumpe2fs", &["-h", &device])?,
            _ => stage::run(
                "dumpe2fs",
                &["-h", "-o", &format!("superblock={backup}"), "-o", "blocksize=4096", &device],
            )?,
        };
        ensure!(text.contains("in all of them"), "backup {backup}: {text}");
    }
    Ok(())
}

fn shutdown_clean(bed: &mut Bed) -> Result<()> {
    let root = File::open(bed.dir())?;
    let file = bed.create("file")?;
    file.write_all_at(&pattern(1, 0, 300_000), 0)?;
    refused(attrs::shut_down(&root, 3), Errno::INVAL, "a fourth way")?;
    attrs::shut_down(&root, 0)?;
    refused(file.write_all_at(b"x", 0), Errno::IO, "writing")?;
    drop((root, file));
    bed.unmount()?;
    stage::run("e2fsck", &["-fn", &bed.image.device().to_string_lossy()])?;
    bed.mount()?;
    ensure!(std::fs::read(bed.path("file"))? == pattern(1, 0, 300_000));
    Ok(())
}

fn shutdown_refuses(bed: &mut Bed) -> Result<()> {
    for how in [1, 2] {
        let root = File::open(bed.dir())?;
        std::fs::create_dir_all(bed.path("dir"))?;
        std::fs::write(bed.path("dir/closed"), "text")?;
        let mut file = bed.create("file")?;
        file.write_all_at(&pattern(1, 0, 300_000), 0)?;
        rustix::fs::syncfs(&root)?;
        file.write_all_at(&pattern(2, 0, 100_000), 0)?;
        attrs::shut_down(&root, how)?;
        attrs::shut_down(&root, how).unwrap_or(());
        let io = Errno::IO;
        refused(file.write_all_at(b"x", 0), io, "writing")?;
        refused(file.read_exact(&mut [0; 10]), io, "reading")?;
        refused(rustix::fs::fsync(&file), io, "fsync")?;
        refused(file.set_len(5), io, "truncating")?;
        refused(Mapping::shared(&file, 4096), io, "mapping")?;
        refused(File::open(bed.path("file")), io, "opening")?;
        refused(File::create(bed.path("new")), io, "creating")?;
        refused(std::fs::create_dir(bed.path("newdir")), io, "mkdir")?;
        refused(std::fs::remove_file(bed.path("file")), io, "unlink")?;
        refused(std::fs::rename(bed.path("file"), bed.path("f")), io, "rename")?;
        let list = std::fs::read_dir(bed.path("dir")).and_then(|mut d| d.next().transpose());
        refused(list, io, "reading a directory")?;
        let set = rustix::fs::fsetxattr(&file, "user.u", b"", rustix::fs::XattrFlags::empty());
        refused(set, io, "setxattr")?;
        refused(rustix::fs::syncfs(&root), io, "syncfs")?;
        drop((root, file));
        bed.unmount()?;
        // What had not been written is gone, and may have left half a change behind.
        stage::run_status("e2fsck", &["-fy", &bed.image.device().to_string_lossy()])?;
        bed.mount()?;
        ensure!(std::fs::metadata(bed.path("file"))?.len() == 300_000, "a file that was synced");
    }
    Ok(())
}
