// SPDX-License-Identifier: GPL-2.0
//! Operations of all kinds, each on a directory of a known content, to see what becomes of it when one
//! of them fails. None of them allocates much itself: its own memory must not be what is missing.

use super::super::pattern;
use crate::sys::{self, Aligned, Mapping};
use anyhow::Result;
use rustix::fs::{
    self as rfs, AtFlags, FallocateFlags, Mode, OFlags, RenameFlags, XattrFlags, CWD,
};
use rustix::io::Errno;
use rustix::mm::{Advice, MsyncFlags};
use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{symlink, FileExt, OpenOptionsExt};
use std::path::Path;

/// One operation.
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// Whether it is done as a whole or not at all.
    pub whole: bool,
    /// Does it in a directory that [`furnish`] has made.
    pub work: fn(&Path) -> io::Result<()>,
}

const fn whole(name: &'static str, work: fn(&Path) -> io::Result<()>) -> Step {
    Step { name, whole: true, work }
}

const fn partial(name: &'static str, work: fn(&Path) -> io::Result<()>) -> Step {
    Step { name, whole: false, work }
}

/// What an operation says where others before it were not done, or were: a whiteout may have a file's name.
pub const OTHERWISE: &[Errno] = &[
    Errno::NOENT,
    Errno::EXIST,
    Errno::NOTEMPTY,
    Errno::INVAL,
    Errno::NODATA,
    Errno::PERM,
    Errno::NXIO,
];

/// The target of a symlink that needs a block.
const LONG: &str =
    "a/path/that/is/longer/than/what/fits/into/an/inode/and/so/is/in/a/block/of/its/own";

/// Makes `dir` with what the operations work on.
pub fn furnish(dir: &Path) -> Result<()> {
    fs::create_dir(dir)?;
    for name in ["dir", "empty"] {
        fs::create_dir(dir.join(name))?;
    }
    fs::write(dir.join("file"), pattern(1, 0, 40_000))?;
    fs::hard_link(dir.join("file"), dir.join("dir/link"))?;
    fs::write(dir.join("single"), pattern(2, 0, 9_000))?;
    fs::write(dir.join("dir/other"), pattern(3, 0, 5_000))?;
    // More extents than there is room for in the inode.
    let scattered = File::create(dir.join("scattered"))?;
    for n in (0..12).rev() {
        scattered.write_all_at(&pattern(4, n, 4096), n * 8192)?;
    }
    symlink("file", dir.join("short"))?;
    symlink(LONG, dir.join("long"))?;
    rfs::setxattr(dir.join("file"), "user.small", b"value", XattrFlags::empty())?;
    rfs::setxattr(dir.join("single"), "user.large", &[7; 900], XattrFlags::empty())?;
    Ok(())
}

fn open(dir: &Path, name: &str) -> io::Result<File> {
    File::options().read(true).write(true).open(dir.join(name))
}

fn allocate(dir: &Path, name: &str, flags: FallocateFlags, at: u64, len: u64) -> io::Result<()> {
    Ok(rfs::fallocate(open(dir, name)?, flags, at, len)?)
}

fn rename(dir: &Path, from: &str, to: &str, flags: RenameFlags) -> io::Result<()> {
    Ok(rfs::renameat_with(CWD, dir.join(from), CWD, dir.join(to), flags)?)
}

/// Has write faults at all pages of a file, as stores would have, with an error instead of SIGBUS.
fn store(dir: &Path, name: &str, len: usize) -> io::Result<()> {
    let map = Mapping::shared(open(dir, name)?, len)?;
    map.advise(Advice::LinuxPopulateWrite)?;
    Ok(map.sync(MsyncFlags::SYNC)?)
}

/// Reads or writes around the page cache.
fn direct(dir: &Path, name: &str) -> io::Result<File> {
    let flags = OFlags::DIRECT.bits() as i32;
    File::options().read(true).write(true).custom_flags(flags).open(dir.join(name))
}

/// Reads all names, and what `stat` says of each.
fn list(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        entry?.metadata()?;
    }
    Ok(())
}

const KEEP: FallocateFlags = FallocateFlags::KEEP_SIZE;
const PUNCH: FallocateFlags = FallocateFlags::PUNCH_HOLE.union(KEEP);

/// All of them.
pub const STEPS: &[Step] = &[
    whole("create", |dir| File::create_new(dir.join("new")).map(drop)),
    whole("mkdir", |dir| fs::create_dir(dir.join("new"))),
    whole("symlink", |dir| symlink("file", dir.join("new"))),
    whole("symlink_long", |dir| symlink(LONG, dir.join("new"))),
    whole("fifo", |dir| {
        let kind = rfs::FileType::Fifo;
        Ok(rfs::mknodat(CWD, dir.join("new"), kind, Mode::RWXU, 0)?)
    }),
    whole("link", |dir| fs::hard_link(dir.join("single"), dir.join("new"))),
    whole("unlink", |dir| fs::remove_file(dir.join("single"))),
    whole("unlink_scattered", |dir| fs::remove_file(dir.join("scattered"))),
    whole("unlink_link", |dir| fs::remove_file(dir.join("dir/link"))),
    whole("rmdir", |dir| fs::remove_dir(dir.join("empty"))),
    whole("rename", |dir| rename(dir, "file", "new", RenameFlags::NOREPLACE)),
    whole("rename_over", |dir| rename(dir, "file", "single", RenameFlags::empty())),
    whole("rename_dir", |dir| rename(dir, "empty", "dir/moved", RenameFlags::empty())),
    whole("rename_exchange", |dir| rename(dir, "single", "dir/other", RenameFlags::EXCHANGE)),
    whole("rename_whiteout", |dir| rename(dir, "single", "dir/new", RenameFlags::WHITEOUT)),
    whole("tmpfile", |dir| {
        let flags = OFlags::TMPFILE | OFlags::RDWR;
        let file = rfs::openat(CWD, dir, flags, Mode::RUSR | Mode::WUSR)?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let to = dir.join("new");
        Ok(rfs::linkat(CWD, path.as_str(), CWD, to, AtFlags::SYMLINK_FOLLOW)?)
    }),
    whole("chmod", |dir| Ok(rfs::chmod(dir.join("file"), Mode::RWXU)?)),
    whole("setxattr", |dir| {
        let flags = XattrFlags::empty();
        Ok(rfs::setxattr(dir.join("file"), "user.more", b"more", flags)?)
    }),
    whole("setxattr_large", |dir| {
        let flags = XattrFlags::empty();
        Ok(rfs::setxattr(dir.join("file"), "user.large", &[8; 900], flags)?)
    }),
    whole("setxattr_over", |dir| {
        let flags = XattrFlags::REPLACE;
        Ok(rfs::setxattr(dir.join("single"), "user.large", &[9; 1_200], flags)?)
    }),
    whole("removexattr", |dir| Ok(rfs::removexattr(dir.join("single"), "user.large")?)),
    whole("readdir", list),
    whole("read", |dir| open(dir, "scattered")?.read_exact_at(&mut [0; 30_000], 0)),
    whole("read_direct", |dir| {
        direct(dir, "file")?.read_exact_at(&mut Aligned::new(8192, 0), 4096)
    }),
    whole("read_mapped", |dir| {
        let map = Mapping::read_only(open(dir, "file")?, 40_000)?;
        Ok(map.advise(Advice::LinuxPopulateRead)?)
    }),
    whole("getxattr", |dir| {
        rfs::listxattr(dir.join("single"), &mut [0; 100])?;
        rfs::getxattr(dir.join("single"), "user.large", &mut [0; 2_000])?;
        Ok(())
    }),
    whole("readlink", |dir| {
        rfs::readlinkat_raw(CWD, dir.join("long"), &mut [MaybeUninit::uninit(); 256])?;
        Ok(())
    }),
    whole("statfs", |dir| rfs::statfs(dir).map(drop).map_err(Into::into)),
    partial("write_new", |dir| File::create(dir.join("new"))?.write_all_at(&[5; 30_000], 0)),
    partial("write_over", |dir| {
        let file = open(dir, "file")?;
        file.write_all_at(&[6; 20_000], 1_000)?;
        file.sync_all()
    }),
    partial("append", |dir| {
        let file = open(dir, "single")?;
        file.write_all_at(&[7; 30_000], 9_000)?;
        file.sync_data()
    }),
    partial("write_holes", |dir| {
        let file = open(dir, "scattered")?;
        file.write_all_at(&[8; 60_000], 3_000)?;
        file.sync_all()
    }),
    partial("write_direct", |dir| {
        direct(dir, "scattered")?.write_all_at(&Aligned::new(16_384, 9), 8_192)
    }),
    partial("store", |dir| store(dir, "file", 40_000)),
    partial("store_holes", |dir| store(dir, "scattered", 90_000)),
    partial("truncate", |dir| open(dir, "scattered")?.set_len(20_001)),
    partial("extend", |dir| open(dir, "file")?.set_len(1_000_000)),
    partial("allocate", |dir| allocate(dir, "scattered", FallocateFlags::empty(), 0, 300_000)),
    partial("allocate_beyond", |dir| allocate(dir, "single", KEEP, 0, 300_000)),
    partial("punch", |dir| allocate(dir, "scattered", PUNCH, 10_000, 50_000)),
    partial("zero", |dir| allocate(dir, "file", FallocateFlags::ZERO_RANGE, 5_000, 20_000)),
    partial("collapse", |dir| {
        allocate(dir, "scattered", FallocateFlags::COLLAPSE_RANGE, 8_192, 16_384)
    }),
    partial("insert", |dir| {
        allocate(dir, "scattered", FallocateFlags::INSERT_RANGE, 8_192, 16_384)
    }),
    partial("sync", |dir| Ok(rfs::syncfs(File::open(dir)?)?)),
    partial("switch", |dir| {
        let file = open(dir, "single")?;
        let dax = sys::xflags(&file)? & sys::XFLAG_DAX != 0;
        sys::set_xflag_dax(&file, !dax)?;
        file.read_exact_at(&mut [0; 9_000], 0)
    }),
];
