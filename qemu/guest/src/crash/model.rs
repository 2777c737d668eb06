// SPDX-License-Identifier: GPL-2.0
//! What is known of a tree of files while operations are done on it: what it is now, and what of that must
//! still be there after a crash.
//!
//! An entry of a directory must be there if nothing was done to it since a `sync`, or since an `fsync` of
//! the file or of the directory; the bytes of a file, if nothing was done to them since it was synced. All
//! else may be as it was at any time since. But every byte of a file is its own or zero: it is written in
//! cells that say whose they are.

use anyhow::{ensure, Context, Result};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Directories, and names in each.
pub const DIRS: usize = 6;
const NAMES: usize = 40;
/// Bytes of a cell, and of the part that is the same in all cells of a file.
pub const CELL: u64 = 16;
const WHOSE: usize = 8;
/// The name of the attribute that files get.
pub const ATTRIBUTE: &str = "user.crash";

/// How bytes are written.
#[derive(Clone, Copy, Debug)]
pub enum How {
    Buffered,
    Direct,
    Mapped,
    /// Through a mapping with MAP_SYNC or, of a file that is not DAX, with `msync`.
    MappedSynchronous,
    Synchronous,
}

/// What `fallocate` does.
#[derive(Clone, Copy, Debug)]
pub enum Allocate {
    Keep,
    Extend,
    Punch,
    Zero,
    Collapse,
    Insert,
}

/// One operation. Names are numbers; it fits the tree that it is done on.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    Create(usize),
    /// A file without a name that then gets one.
    Temporary(usize),
    Symlink(usize, usize),
    Mkdir(usize),
    Rmdir(usize),
    Fifo(usize),
    Write(usize, How, u64, usize),
    Truncate(usize, u64),
    Allocate(usize, Allocate, u64, u64),
    Unlink(usize),
    /// Unlinks a file that stays open.
    Hold(usize),
    /// Closes what stayed open.
    Release,
    Rename(usize, usize),
    Exchange(usize, usize),
    Link(usize, usize),
    SetAttribute(usize, usize),
    RemoveAttribute(usize),
    Chmod(usize, u32),
    SetDax(usize, bool),
    Fsync(usize),
    Fdatasync(usize),
    FsyncDir(usize),
    Sync,
}

/// What a name is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    File(usize),
    Symlink(usize),
    Dir,
    Fifo,
}

#[derive(Clone, Copy)]
struct Name {
    entry: Option<Entry>,
    /// It is so on the disk.
    synced: bool,
}

/// A regular file.
pub struct Node {
    ino: u64,
    birth: u32,
    /// What it holds.
    pub bytes: Vec<u8>,
    attribute: usize,
    mode: u32,
    /// These are so on the disk.
    synced: bool,
    attributes_synced: bool,
    /// The bytes were, before the write that is under way.
    synced_before: bool,
}

/// The tree.
pub struct Model {
    names: Vec<Name>,
    nodes: Vec<Node>,
    /// How many files stay open without a name.
    pub held: usize,
}

/// The path of a name: short ones, and long ones that fill their directories.
pub fn path(root: &Path, name: usize) -> PathBuf {
    let long = 8 + name * 37 % 190;
    root.join(format!("d{}/{:0>long$}", name / NAMES, name))
}

/// The target of a symlink of so many bytes.
pub fn target(len: usize) -> String {
    "t".repeat(len)
}

/// The value of so many bytes of the attribute.
pub fn value(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + len) as u8).collect()
}

impl Model {
    /// The tree as it is after the directories were made and synced.
    pub fn new() -> Self {
        let nothing = Name { entry: None, synced: true };
        Self { names: vec![nothing; DIRS * NAMES], nodes: Vec::new(), held: 0 }
    }

    /// How many names there may be.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// What the name is.
    pub fn entry(&self, name: usize) -> Option<Entry> {
        self.names[name].entry
    }

    /// The file that has this name, which is one's.
    pub fn node(&self, name: usize) -> &Node {
        match self.names[name].entry {
            Some(Entry::File(node)) => &self.nodes[node],
            entry => unreachable!("{name} is {entry:?}"),
        }
    }

    /// Whether the file has the attribute.
    pub fn has_attribute(&self, name: usize) -> bool {
        self.node(name).attribute > 0
    }

    fn node_mut(&mut self, name: usize) -> &mut Node {
        match self.names[name].entry {
            Some(Entry::File(node)) => &mut self.nodes[node],
            entry => unreachable!("{name} is {entry:?}"),
        }
    }

    /// What a write of operation `number` puts into the file from byte `at` on.
    pub fn cells(&self, name: usize, number: u32, at: u64, len: usize) -> Vec<u8> {
        let node = self.node(name);
        let mut bytes = Vec::with_capacity(len);
        for cell in at / CELL..(at + len as u64) / CELL {
            bytes.extend((node.ino as u32).to_le_bytes());
            bytes.extend(node.birth.to_le_bytes());
            bytes.extend(number.to_le_bytes());
            bytes.extend((cell as u32).to_le_bytes());
        }
        bytes
    }

    /// The operation has begun: what it changes is not as it was synced any more.
    pub fn begin(&mut self, op: Op) {
        match op {
            Op::Create(name)
            | Op::Temporary(name)
            | Op::Symlink(name, _)
            | Op::Mkdir(name)
            | Op::Rmdir(name)
            | Op::Fifo(name)
            | Op::Unlink(name)
            | Op::Hold(name)
            | Op::Link(_, name) => self.names[name].synced = false,
            Op::Rename(from, to) | Op::Exchange(from, to) => {
                self.names[from].synced = false;
                self.names[to].synced = false;
            }
            Op::Write(name, ..) | Op::Truncate(name, _) | Op::Allocate(name, ..) => {
                if self.is_file(name) {
                    let node = self.node_mut(name);
                    (node.synced_before, node.synced) = (node.synced, false);
                }
            }
            Op::SetAttribute(name, _) | Op::RemoveAttribute(name) | Op::Chmod(name, _) => {
                if self.is_file(name) {
                    self.node_mut(name).attributes_synced = false;
                }
            }
            Op::Release
            | Op::SetDax(..)
            | Op::Fsync(_)
            | Op::Fdatasync(_)
            | Op::FsyncDir(_)
            | Op::Sync => {}
        }
    }

    /// Whether the name is a file's; one that has begun before others ended may not be there yet.
    fn is_file(&self, name: usize) -> bool {
        matches!(self.names[name].entry, Some(Entry::File(_)))
    }

    /// The operation is done: as its `number`, with this inode if it has made a file.
    pub fn end(&mut self, op: Op, number: u32, ino: u64) {
        match op {
            Op::Create(name) | Op::Temporary(name) => {
                let node = Node {
                    ino,
                    birth: number,
                    bytes: Vec::new(),
                    attribute: 0,
                    mode: 0o644,
                    synced: false,
                    attributes_synced: false,
                    synced_before: false,
                };
                self.names[name].entry = Some(Entry::File(self.nodes.len()));
                self.nodes.push(node);
            }
            Op::Symlink(name, len) => self.names[name].entry = Some(Entry::Symlink(len)),
            Op::Mkdir(name) => self.names[name].entry = Some(Entry::Dir),
            Op::Fifo(name) => self.names[name].entry = Some(Entry::Fifo),
            Op::Rmdir(name) | Op::Unlink(name) => self.names[name].entry = None,
            Op::Hold(name) => {
                self.names[name].entry = None;
                self.held += 1;
            }
            Op::Release => self.held -= 1,
            Op::Link(from, to) => self.names[to].entry = self.names[from].entry,
            Op::Rename(from, to) => self.names[to].entry = self.names[from].entry.take(),
            Op::Exchange(a, b) => {
                let entry = self.names[a].entry;
                self.names[a].entry = self.names[b].entry;
                self.names[b].entry = entry;
            }
            Op::Write(name, how, at, len) => self.write(name, number, how, at, len),
            Op::Truncate(name, len) => self.node_mut(name).bytes.resize(len as usize, 0),
            Op::Allocate(name, what, at, len) => self.allocate(name, what, at, len),
            Op::SetAttribute(name, len) => self.node_mut(name).attribute = len,
            Op::RemoveAttribute(name) => self.node_mut(name).attribute = 0,
            Op::Chmod(name, mode) => self.node_mut(name).mode = mode,
            Op::SetDax(..) => {}
            Op::Fsync(name) => self.synced(name),
            Op::Fdatasync(name) => self.node_mut(name).synced = true,
            Op::FsyncDir(dir) => {
                self.names[dir * NAMES..(dir + 1) * NAMES].iter_mut().for_each(|n| n.synced = true);
            }
            Op::Sync => {
                self.names.iter_mut().for_each(|name| name.synced = true);
                self.nodes.iter_mut().for_each(|node| {
                    (node.synced, node.attributes_synced) = (true, true);
                });
            }
        }
    }

    /// The file was synced, and with it every name that it has.
    fn synced(&mut self, name: usize) {
        let node = self.node_mut(name);
        (node.synced, node.attributes_synced) = (true, true);
        let entry = self.names[name].entry;
        self.names.iter_mut().filter(|n| n.entry == entry).for_each(|n| n.synced = true);
    }

    fn write(&mut self, name: usize, number: u32, how: How, at: u64, len: usize) {
        let cells = self.cells(name, number, at, len);
        let node = self.node_mut(name);
        let (from, to) = (at as usize, at as usize + len);
        if node.bytes.len() < to {
            node.bytes.resize(to, 0);
        }
        node.bytes[from..to].copy_from_slice(&cells);
        // Of the bytes, only these.
        let before = node.synced_before;
        match how {
            How::Synchronous => {
                self.synced(name);
                self.node_mut(name).synced = before;
            }
            How::MappedSynchronous => node.synced = before,
            How::Buffered | How::Direct | How::Mapped => {}
        }
    }

    fn allocate(&mut self, name: usize, what: Allocate, at: u64, len: u64) {
        let bytes = &mut self.node_mut(name).bytes;
        let (from, to) = (at as usize, (at + len) as usize);
        match what {
            Allocate::Keep => {}
            Allocate::Extend => bytes.resize(bytes.len().max(to), 0),
            Allocate::Punch | Allocate::Zero => {
                let to = to.min(bytes.len());
                bytes[from.min(to)..to].fill(0);
            }
            Allocate::Collapse => drop(bytes.drain(from..to)),
            Allocate::Insert => drop(bytes.splice(from..from, vec![0; len as usize])),
        }
    }

    /// Compares what is below `root` after a crash with what must be there. Returns how many files had to
    /// be there with every byte.
    pub fn check(&self, root: &Path) -> Result<u64> {
        let mut whole = 0;
        for (number, name) in self.names.iter().enumerate() {
            let path = path(root, number);
            let found = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                found => Some(found.with_context(|| format!("{}", path.display()))?),
            };
            if let Some(found) = found.as_ref().filter(|found| found.is_file()) {
                nothing_foreign(&path, found)?;
            }
            if name.synced {
                whole += self.check_name(name, &path, found).with_context(|| {
                    format!("name {number}, synced as {:?}, {}", name.entry, path.display())
                })?;
            }
        }
        Ok(whole)
    }

    fn check_name(&self, name: &Name, path: &Path, found: Option<Metadata>) -> Result<u64> {
        let Some(entry) = name.entry else {
            ensure!(found.is_none(), "it is back");
            return Ok(0);
        };
        let found = found.context("it is lost")?;
        match entry {
            Entry::Dir => ensure!(found.is_dir(), "no directory"),
            Entry::Fifo => ensure!(found.file_type().is_fifo(), "no pipe"),
            Entry::Symlink(len) => {
                ensure!(fs::read_link(path)?.as_os_str() == target(len).as_str(), "another target");
            }
            Entry::File(node) => return self.check_file(&self.nodes[node], path, &found),
        }
        Ok(0)
    }

    fn check_file(&self, node: &Node, path: &Path, found: &Metadata) -> Result<u64> {
        ensure!(found.is_file(), "no file");
        ensure!(found.ino() == node.ino, "inode {}, expected {}", found.ino(), node.ino);
        if node.attributes_synced {
            let mode = found.mode() & 0o7777;
            ensure!(mode == node.mode, "mode {mode:o}, expected {:o}", node.mode);
            let mut bytes = vec![0; 8192];
            let len = match rustix::fs::getxattr(path, ATTRIBUTE, &mut bytes) {
                Err(rustix::io::Errno::NODATA) => 0,
                len => len?,
            };
            ensure!(bytes[..len] == value(node.attribute), "another attribute: {len} bytes");
        }
        if node.synced {
            crate::tests::same_bytes(&fs::read(path)?, &node.bytes, "its bytes")?;
        }
        Ok(u64::from(node.synced))
    }
}

/// Every cell of a file is zero, or is that inode's, and that of the same life of it.
fn nothing_foreign(path: &Path, found: &Metadata) -> Result<()> {
    let bytes = fs::read(path)?;
    let mut whose = None;
    let ino = (found.ino() as u32).to_le_bytes();
    for (n, cell) in bytes.chunks(CELL as usize).enumerate() {
        let (head, rest) = cell.split_at(cell.len().min(WHOSE));
        // Of one that was cut off, the rest is zero.
        let len =
            head.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1).min(ino.len());
        let mut same = head[..len] == ino[..len];
        if rest.iter().any(|byte| *byte != 0) {
            same &= head.starts_with(&ino) && *whose.get_or_insert(head) == head;
        }
        ensure!(
            same,
            "{}, inode {}: byte {} is of something else: {cell:02x?}",
            path.display(),
            found.ino(),
            n * CELL as usize
        );
    }
    Ok(())
}
