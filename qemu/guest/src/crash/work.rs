// SPDX-License-Identifier: GPL-2.0
//! Operations of all kinds, chosen at random and done one after the other on a mounted file system.

use super::model::{path, target, value, Allocate, Entry, How, Model, Op, ATTRIBUTE, CELL, DIRS};
use crate::sys::{self, Aligned, Mapping, PAGE};
use anyhow::{Context, Result};
use rustix::fs::{self as rfs, AtFlags, FallocateFlags, FileType, Mode, OFlags, RenameFlags, CWD};
use rustix::io::Errno;
use rustix::mm::MsyncFlags;
use std::fs::{self, File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{symlink, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The longest that files become: more than what fits beside the root of an extent tree when it has holes.
const LONGEST: u64 = 96 << 10;
/// Files that stay open without a name, at most.
const HELD: usize = 8;

/// Numbers that look random, and are the same for the same seed.
pub struct Random(u64);

impl Random {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }
}

/// Makes the directories that a new [`Model`] has.
pub fn prepare(root: &Path) -> Result<()> {
    for dir in 0..DIRS {
        fs::create_dir(root.join(format!("d{dir}")))?;
    }
    rfs::sync();
    Ok(())
}

/// Somebody who works on a file system.
pub struct Worker {
    root: PathBuf,
    random: Random,
    /// What the tree is.
    pub model: Model,
    held: Vec<File>,
    number: u32,
}

impl Worker {
    /// One who finds what [`prepare`] has left, and counts operations from `number` on.
    pub fn new(root: &Path, seed: u64, number: u32) -> Self {
        let (root, random) = (root.to_owned(), Random::new(seed));
        Self { root, random, model: Model::new(), held: Vec::new(), number }
    }

    /// Chooses the next operation.
    pub fn choose(&mut self) -> Op {
        loop {
            if let Some(op) = self.try_choose() {
                return op;
            }
        }
    }

    fn try_choose(&mut self) -> Option<Op> {
        let names = self.model.len() as u64;
        let (a, b) = (self.random.below(names) as usize, self.random.below(names) as usize);
        let (entry, other) = (self.model.entry(a), self.model.entry(b));
        let kind = self.random.below(100);
        let op = match (entry, kind) {
            (_, 0) => Op::Sync,
            (_, 1..4) => Op::FsyncDir(a % DIRS),
            (_, 4) if self.model.held > 0 => Op::Release,
            (None, 0..50) => Op::Create(a),
            (None, 50..60) => Op::Temporary(a),
            (None, 60..70) => Op::Symlink(a, 1 + self.random.below(200) as usize),
            (None, 70..80) => Op::Mkdir(a),
            (None, 80..85) => Op::Fifo(a),
            (Some(Entry::Dir), 0..40) => Op::Rmdir(a),
            (Some(Entry::Dir), 40..) if other.is_none() => Op::Rename(a, b),
            (Some(Entry::Symlink(_) | Entry::Fifo), 0..50) => Op::Unlink(a),
            (Some(Entry::Symlink(_) | Entry::Fifo), 50..) if other.is_none() => Op::Rename(a, b),
            (Some(Entry::File(_)), _) => self.choose_for(a, b, other, kind)?,
            _ => return None,
        };
        Some(op)
    }

    /// An operation on the file `a`, and perhaps on the name `b`.
    fn choose_for(&mut self, a: usize, b: usize, other: Option<Entry>, kind: u64) -> Option<Op> {
        let len = self.model.node(a).bytes.len() as u64;
        let at = self.random.below(LONGEST * 2 / 3) / CELL * CELL;
        let count = (CELL + self.random.below(LONGEST / 3)) / CELL * CELL;
        let block = PAGE as u64;
        let (page, pages) = (at / block * block, (count / block + 1) * block);
        let file = matches!(other, Some(Entry::File(_)));
        Some(match kind {
            4..20 => Op::Write(a, How::Buffered, at, count as usize),
            20..25 => Op::Write(a, How::Buffered, len / CELL * CELL, count as usize),
            25..30 => Op::Write(a, How::Direct, page, pages as usize),
            30..33 => Op::Write(a, How::Synchronous, at, count as usize),
            33..36 if at + count <= len => Op::Write(a, How::Mapped, at, count as usize),
            36..38 if at + count <= len => Op::Write(a, How::MappedSynchronous, at, count as usize),
            38..43 => Op::Truncate(a, self.random.below(len + block)),
            43..45 => Op::Allocate(a, Allocate::Keep, at, count),
            45..47 => Op::Allocate(a, Allocate::Extend, at, count),
            47..50 => Op::Allocate(a, Allocate::Punch, at, count),
            50..52 if at + count <= len => Op::Allocate(a, Allocate::Zero, at, count),
            52..54 if page + pages < len => Op::Allocate(a, Allocate::Collapse, page, pages),
            54..56 if page < len && len < LONGEST => {
                Op::Allocate(a, Allocate::Insert, page, pages.min(8 * block))
            }
            56..62 => Op::Unlink(a),
            62..65 if self.model.held < HELD => Op::Hold(a),
            65..70 if a != b && (other.is_none() || file) && self.differ(a, b) => Op::Rename(a, b),
            70..72 if a != b && file && self.differ(a, b) => Op::Exchange(a, b),
            72..75 if other.is_none() => Op::Link(a, b),
            75..78 => Op::SetAttribute(a, 1 + self.random.below(2000) as usize),
            78 if self.model.has_attribute(a) => Op::RemoveAttribute(a),
            79..81 => Op::Chmod(a, 0o600 + self.random.below(0o200) as u32),
            81 => Op::SetDax(a, self.random.below(2) == 1),
            82..95 => Op::Fsync(a),
            95..100 => Op::Fdatasync(a),
            _ => return None,
        })
    }

    /// Whether two names are not links to one file, of which a rename does nothing.
    fn differ(&self, a: usize, b: usize) -> bool {
        self.model.entry(a) != self.model.entry(b)
    }

    /// Does an operation. Returns its number, and the inode that it has made.
    pub fn perform(&mut self, op: Op) -> Result<u64> {
        let number = self.number;
        self.number += 1;
        self.model.begin(op);
        let ino = self.act(op, number).with_context(|| format!("operation {number}: {op:?}"))?;
        self.model.end(op, number, ino);
        Ok(ino)
    }

    /// Notes the next operation as done, with the inode that it has made, where it was another one who did it.
    pub fn recall(&mut self, ino: u64) {
        let op = self.choose();
        self.model.begin(op);
        self.model.end(op, self.number, ino);
        self.number += 1;
    }

    fn path(&self, name: usize) -> PathBuf {
        path(&self.root, name)
    }

    fn open(&self, name: usize, flags: OFlags) -> Result<File> {
        let mut options = File::options();
        options.read(true).write(true).custom_flags(flags.bits() as i32);
        Ok(options.open(self.path(name))?)
    }

    fn act(&mut self, op: Op, number: u32) -> Result<u64> {
        match op {
            Op::Create(name) => {
                let file = File::create_new(self.path(name))?;
                return Ok(file.metadata()?.ino());
            }
            Op::Temporary(name) => return self.temporary(name),
            Op::Symlink(name, len) => symlink(target(len), self.path(name))?,
            Op::Mkdir(name) => fs::create_dir(self.path(name))?,
            Op::Rmdir(name) => fs::remove_dir(self.path(name))?,
            Op::Fifo(name) => {
                rfs::mknodat(CWD, self.path(name), FileType::Fifo, Mode::from_raw_mode(0o600), 0)?
            }
            Op::Write(name, how, at, len) => self.write(name, how, at, len, number)?,
            Op::Truncate(name, len) => self.open(name, OFlags::empty())?.set_len(len)?,
            Op::Allocate(name, what, at, len) => self.allocate(name, what, at, len)?,
            Op::Unlink(name) => fs::remove_file(self.path(name))?,
            Op::Hold(name) => {
                self.held.push(self.open(name, OFlags::empty())?);
                fs::remove_file(self.path(name))?;
            }
            Op::Release => drop(self.held.remove(0)),
            Op::Rename(from, to) => fs::rename(self.path(from), self.path(to))?,
            Op::Exchange(a, b) => {
                let flags = RenameFlags::EXCHANGE;
                rfs::renameat_with(CWD, self.path(a), CWD, self.path(b), flags)?;
            }
            Op::Link(from, to) => fs::hard_link(self.path(from), self.path(to))?,
            Op::SetAttribute(name, len) => {
                let flags = rfs::XattrFlags::empty();
                rfs::setxattr(self.path(name), ATTRIBUTE, &value(len), flags)?;
            }
            Op::RemoveAttribute(name) => rfs::removexattr(self.path(name), ATTRIBUTE)?,
            Op::Chmod(name, mode) => {
                fs::set_permissions(self.path(name), Permissions::from_mode(mode))?
            }
            Op::SetDax(name, dax) => {
                sys::set_xflag_dax(self.open(name, OFlags::empty())?, dax)?;
            }
            Op::Fsync(name) => self.open(name, OFlags::empty())?.sync_all()?,
            Op::Fdatasync(name) => self.open(name, OFlags::empty())?.sync_data()?,
            Op::FsyncDir(dir) => File::open(self.root.join(format!("d{dir}")))?.sync_all()?,
            Op::Sync => rfs::syncfs(File::open(&self.root)?)?,
        }
        Ok(0)
    }

    fn temporary(&self, name: usize) -> Result<u64> {
        let path = self.path(name);
        let dir = path.parent().context("a directory")?;
        let flags = OFlags::TMPFILE.bits() as i32;
        let file = File::options().write(true).mode(0o644).custom_flags(flags).open(dir)?;
        let by_fd = format!("/proc/self/fd/{}", file.as_raw_fd());
        rfs::linkat(CWD, by_fd, CWD, &path, AtFlags::SYMLINK_FOLLOW)?;
        Ok(file.metadata()?.ino())
    }

    fn write(&self, name: usize, how: How, at: u64, len: usize, number: u32) -> Result<()> {
        let bytes = self.model.cells(name, number, at, len);
        match how {
            How::Buffered => self.open(name, OFlags::empty())?.write_all_at(&bytes, at)?,
            How::Synchronous => self.open(name, OFlags::SYNC)?.write_all_at(&bytes, at)?,
            How::Direct => {
                self.open(name, OFlags::DIRECT)?.write_all_at(&Aligned::of(&bytes), at)?
            }
            How::Mapped => {
                let map = Mapping::shared(self.open(name, OFlags::empty())?, at as usize + len)?;
                map.write(at as usize, &bytes);
            }
            How::MappedSynchronous => {
                let (file, len) = (self.open(name, OFlags::empty())?, at as usize + len);
                match Mapping::synchronous(&file, len) {
                    Err(Errno::OPNOTSUPP) => {
                        let map = Mapping::shared(&file, len)?;
                        map.write(at as usize, &bytes);
                        map.sync(MsyncFlags::SYNC)?;
                    }
                    map => map?.write(at as usize, &bytes),
                }
            }
        }
        Ok(())
    }

    fn allocate(&self, name: usize, what: Allocate, at: u64, len: u64) -> Result<()> {
        let flags = match what {
            Allocate::Keep => FallocateFlags::KEEP_SIZE,
            Allocate::Extend => FallocateFlags::empty(),
            Allocate::Punch => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            Allocate::Zero => FallocateFlags::ZERO_RANGE,
            Allocate::Collapse => FallocateFlags::COLLAPSE_RANGE,
            Allocate::Insert => FallocateFlags::INSERT_RANGE,
        };
        Ok(rfs::fallocate(self.open(name, OFlags::empty())?, flags, at, len)?)
    }
}
