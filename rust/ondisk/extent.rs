// SPDX-License-Identifier: GPL-2.0

//! Nodes of an extent tree: the 60 bytes of `i_block` and the blocks below it.
//!
//! A node is a header and an array of 12-byte entries in ascending order of their first logical
//! block: extents in a leaf (`eh_depth` 0), else index entries that each name the block of a node one
//! level down. A node in a block of its own ends in a checksum. Format:
//! [`ifork.rst`](srctree/Documentation/filesystems/ext4/ifork.rst).
//!
//! This file knows one node. What several make together is in [`super::tree`].
//!
//! Logical blocks are `u32`, and the last one a file can have is `u32::MAX - 1`: so the end of any
//! range, exclusive, is a `u32` too.

pub use super::bytes::Bytes;

use super::{
    BlockNr,
    BlockRun,
    Blocks,
    Csum,
    Error,
    Result, //
};

/// Bytes of the root, which is all of `i_block`.
pub const ROOT_SIZE: usize = 60;

/// `eh_depth` of the root can be this at most.
pub const MAX_DEPTH: usize = 5;

/// Blocks in the longest written extent.
pub const MAX_LEN: u32 = 32768;

/// Blocks in the longest unwritten extent.
pub const MAX_UNWRITTEN_LEN: u32 = MAX_LEN - 1;

/// The least that a node in a block must be able to hold: splits always find room then. A block of
/// 1 KiB holds 84.
pub const MIN_CAPACITY: usize = 6;

const MAGIC: u16 = 0xf30a;
const HEADER: usize = 12;
const ENTRY: usize = 12;
const TAIL: usize = 4;

/// The most entries that fit a node of `size` bytes: the root, which has no checksum, or a block.
///
/// A block whose size is a power of two has four bytes to spare, so the checksum costs no entry.
const fn capacity(size: usize) -> usize {
    let tail = if size == ROOT_SIZE { 0 } else { TAIL };
    size.saturating_sub(HEADER + tail) / ENTRY
}

/// A run of blocks of a file and the run of blocks of the file system that holds it.
///
/// # Invariants
///
/// `lblk + len` is at most `u32::MAX`; the length is at most [`MAX_LEN`], or [`MAX_UNWRITTEN_LEN`] if
/// unwritten. That the blocks exist is the invariant of [`BlockRun`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidExtent {
    lblk: u32,
    run: BlockRun,
    unwritten: bool,
}

#[expect(clippy::len_without_is_empty, reason = "an extent is never empty")]
impl ValidExtent {
    /// The extent that maps the blocks from `lblk` on to `run`, unless it would be too long for one or
    /// would leave the range of logical blocks.
    pub fn new(lblk: u32, run: BlockRun, unwritten: bool) -> Result<Self> {
        if run.len() > Self::max_len(unwritten) {
            return Err(Error::Corrupt("extent too long"));
        }
        if lblk.checked_add(run.len()).is_none() {
            return Err(Error::Corrupt("extent leaves the range of logical blocks"));
        }
        // INVARIANT: Just checked.
        Ok(Self {
            lblk,
            run,
            unwritten,
        })
    }

    /// The length of the longest extent.
    pub const fn max_len(unwritten: bool) -> u32 {
        if unwritten {
            MAX_UNWRITTEN_LEN
        } else {
            MAX_LEN
        }
    }

    /// The first logical block.
    pub const fn lblk(&self) -> u32 {
        self.lblk
    }

    /// The number of blocks, at least one.
    pub const fn len(&self) -> u32 {
        self.run.len()
    }

    /// One past the last logical block.
    pub const fn end(&self) -> u32 {
        // Cannot overflow, by the type's invariant.
        self.lblk + self.run.len()
    }

    /// The blocks of the file system.
    pub const fn run(&self) -> BlockRun {
        self.run
    }

    /// The first block of the file system.
    pub const fn pblk(&self) -> BlockNr {
        self.run.start()
    }

    /// Whether the blocks are allocated but read as zeros.
    pub const fn is_unwritten(&self) -> bool {
        self.unwritten
    }

    /// Whether `lblk` lies in it.
    pub const fn contains(&self, lblk: u32) -> bool {
        self.lblk <= lblk && lblk < self.end()
    }

    /// What of it lies in the logical blocks from `from` up to, not including, `to`.
    pub fn part(&self, from: u32, to: u32) -> Option<Self> {
        let lblk = self.lblk.max(from);
        let run = self
            .run
            .part(lblk - self.lblk, to.min(self.end()).checked_sub(lblk)?)?;
        // INVARIANT: A part of `self`, for which they hold.
        Some(Self {
            lblk,
            run,
            unwritten: self.unwritten,
        })
    }

    /// The same blocks in the state given; nothing if they are too many for one extent then.
    pub fn with_unwritten(&self, unwritten: bool) -> Option<Self> {
        Self::new(self.lblk, self.run, unwritten).ok()
    }

    /// The same blocks of the file system, `by` blocks further on in the file, or further to its
    /// beginning; nothing if that leaves the range of logical blocks.
    pub fn shifted(&self, by: i64) -> Option<Self> {
        let lblk = u32::try_from(i64::from(self.lblk).checked_add(by)?).ok()?;
        Self::new(lblk, self.run, self.unwritten).ok()
    }

    /// The one extent that both make, if `next` continues `self` in the file and on the disk, is in the
    /// same state, and the whole is not too long.
    pub fn merge(&self, next: &Self, blocks: &Blocks) -> Option<Self> {
        if self.end() != next.lblk
            || self.run.end() != next.pblk().get()
            || self.unwritten != next.unwritten
        {
            return None;
        }
        let len = self.len().checked_add(next.len())?;
        let run = blocks.run(self.pblk().get(), len).ok()?;
        Self::new(self.lblk, run, self.unwritten).ok()
    }

    fn decode(entry: Entry, blocks: &Blocks) -> Result<Self> {
        let [b0, b1, b2, b3, l0, l1, h0, h1, s0, s1, s2, s3] = entry.0;
        let raw = u32::from(u16::from_le_bytes([l0, l1]));
        let (len, unwritten) = match raw.checked_sub(MAX_LEN) {
            None | Some(0) => (raw, false),
            Some(len) => (len, true),
        };
        let start = u64::from_le_bytes([s0, s1, s2, s3, h0, h1, 0, 0]);
        let run = blocks
            .run(start, len)
            .map_err(|_| Error::Corrupt("extent outside the file system"))?;
        Self::new(u32::from_le_bytes([b0, b1, b2, b3]), run, unwritten)
    }
}

/// The 12 bytes of one entry, as they are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry([u8; ENTRY]);

impl Entry {
    /// The index entry of the node in block `child`, which covers the blocks from `key` on.
    pub fn index(key: u32, child: BlockNr) -> Self {
        let [b0, b1, b2, b3] = key.to_le_bytes();
        let [s0, s1, s2, s3, h0, h1, ..] = child.get().to_le_bytes();
        Self([b0, b1, b2, b3, s0, s1, s2, s3, h0, h1, 0, 0])
    }

    /// The first logical block that the entry covers, which is its key in the node.
    pub const fn key(self) -> u32 {
        let [b0, b1, b2, b3, ..] = self.0;
        u32::from_le_bytes([b0, b1, b2, b3])
    }

    /// The block of the node that the index entry names.
    fn child(self, blocks: &Blocks) -> Result<BlockNr> {
        let [_, _, _, _, s0, s1, s2, s3, h0, h1, ..] = self.0;
        blocks
            .block(u64::from_le_bytes([s0, s1, s2, s3, h0, h1, 0, 0]))
            .map_err(|_| Error::Corrupt("extent index outside the file system"))
    }
}

impl From<ValidExtent> for Entry {
    fn from(extent: ValidExtent) -> Self {
        let [b0, b1, b2, b3] = extent.lblk.to_le_bytes();
        // At most 65535, by the invariants of the extent.
        let raw = extent.len() + if extent.unwritten { MAX_LEN } else { 0 };
        let [l0, l1, ..] = raw.to_le_bytes();
        let [s0, s1, s2, s3, h0, h1, ..] = extent.pblk().get().to_le_bytes();
        Self([b0, b1, b2, b3, l0, l1, h0, h1, s0, s1, s2, s3])
    }
}

/// A node whose header makes sense.
///
/// # Invariants
///
/// `entries <= max`, `max` entries fit the bytes and are as many as the format wants there, `depth` is
/// at most [`MAX_DEPTH`]. The entries themselves are checked as they are decoded; their order is only
/// known to hold after [`Node::check`].
#[derive(Clone, Debug)]
pub struct Node<B> {
    bytes: B,
    entries: usize,
    max: usize,
    depth: usize,
}

impl<B: Bytes> Node<B> {
    /// Takes bytes for a node if their header makes sense.
    pub fn new(bytes: B) -> Result<Self> {
        let [m0, m1, e0, e1, x0, x1, d0, d1] = bytes.read_at(0).ok_or(Error::TooSmall)?;
        let entries = usize::from(u16::from_le_bytes([e0, e1]));
        let max = usize::from(u16::from_le_bytes([x0, x1]));
        let depth = usize::from(u16::from_le_bytes([d0, d1]));
        let capacity = capacity(bytes.size());
        if u16::from_le_bytes([m0, m1]) != MAGIC {
            return Err(Error::Corrupt("extent node: bad magic"));
        }
        // e2fsck, too, tolerates two entries less than there could be.
        if max > capacity || max + 2 < capacity {
            return Err(Error::Corrupt("extent node: bad eh_max"));
        }
        if bytes.size() != ROOT_SIZE && max < MIN_CAPACITY {
            return Err(Error::TooSmall);
        }
        if entries > max {
            return Err(Error::Corrupt("extent node: more entries than fit"));
        }
        if depth > MAX_DEPTH {
            return Err(Error::Corrupt("extent node: too deep"));
        }
        // INVARIANT: Just checked.
        Ok(Self {
            bytes,
            entries,
            max,
            depth,
        })
    }

    /// The number of entries.
    pub const fn entries(&self) -> usize {
        self.entries
    }

    /// The number of entries that fit.
    pub const fn max(&self) -> usize {
        self.max
    }

    /// The number of levels below.
    pub const fn depth(&self) -> usize {
        self.depth
    }

    /// The entry at `pos`, if there is one.
    pub fn entry(&self, pos: usize) -> Option<Entry> {
        if pos >= self.entries {
            return None;
        }
        self.bytes.read_at(HEADER + ENTRY * pos).map(Entry)
    }

    /// The key of the entry at `pos`, if there is one.
    pub fn key(&self, pos: usize) -> Option<u32> {
        if pos >= self.entries {
            return None;
        }
        self.bytes
            .read_at(HEADER + ENTRY * pos)
            .map(u32::from_le_bytes)
    }

    /// The extent at `pos` of a leaf, if there is one.
    pub fn extent(&self, pos: usize, blocks: &Blocks) -> Result<Option<ValidExtent>> {
        self.entry(pos)
            .map(|entry| ValidExtent::decode(entry, blocks))
            .transpose()
    }

    /// The block of the child at `pos` of an index node.
    pub fn child(&self, pos: usize, blocks: &Blocks) -> Result<BlockNr> {
        self.entry(pos)
            .ok_or(Error::Corrupt("extent index is empty"))?
            .child(blocks)
    }

    /// The number of entries whose key is `lblk` or less: the entry that would hold `lblk` is the one
    /// before that position.
    pub fn find(&self, lblk: u32) -> usize {
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.key(middle).is_some_and(|key| key <= lblk) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Checks every entry and the order of all: ascending, without overlap.
    ///
    /// To be done once when a node is read; takes time proportional to its entries.
    pub fn check(&self, blocks: &Blocks) -> Result {
        let mut free_from = 0;
        for entry in (0..self.entries).filter_map(|pos| self.entry(pos)) {
            if entry.key() < free_from {
                return Err(Error::Corrupt("extent entries overlap or out of order"));
            }
            free_from = if self.depth == 0 {
                ValidExtent::decode(entry, blocks)?.end()
            } else {
                entry.child(blocks)?;
                entry.key().saturating_add(1)
            };
        }
        Ok(())
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Node<B> {
    /// Makes `bytes` an empty node of the depth given.
    ///
    /// The entries and the checksum are left as they are.
    pub fn init(mut bytes: B, depth: usize) -> Result<Self> {
        let size = bytes.as_ref().len();
        let max = capacity(size);
        if depth > MAX_DEPTH {
            return Err(Error::Full);
        }
        let header = bytes.as_mut().get_mut(..HEADER).ok_or(Error::TooSmall)?;
        header.fill(0);
        put_u16(header, 0, usize::from(MAGIC));
        put_u16(header, 4, max);
        put_u16(header, 6, depth);
        Self::new(bytes)
    }

    /// Replaces the `remove` entries from `pos` on by `insert`.
    ///
    /// Fails with [`Error::Full`], and changes nothing, if that would be more than fit.
    pub fn splice(&mut self, pos: usize, remove: usize, insert: &[Entry]) -> Result {
        let rest = pos.saturating_add(remove);
        let Some(tail) = self.entries.checked_sub(rest) else {
            return Err(Error::TooSmall);
        };
        let entries = pos + insert.len() + tail;
        if entries > self.max {
            return Err(Error::Full);
        }
        let array = self.array();
        // All in bounds: both ends of the tail are at most `max` entries in.
        array.copy_within(
            ENTRY * rest..ENTRY * (rest + tail),
            ENTRY * (pos + insert.len()),
        );
        for (to, from) in array.chunks_exact_mut(ENTRY).skip(pos).zip(insert) {
            to.copy_from_slice(&from.0);
        }
        self.set_entries(entries);
        Ok(())
    }

    /// Replaces the key of the entry at `pos`.
    pub fn set_key(&mut self, pos: usize, key: u32) {
        if let Some(entry) = self.array().chunks_exact_mut(ENTRY).nth(pos) {
            for (to, from) in entry.iter_mut().zip(key.to_le_bytes()) {
                *to = from;
            }
        }
    }

    /// Appends the entries of `self` from `pos` on to those of `to`, and drops them here.
    ///
    /// Fails with [`Error::Full`], and changes nothing, if they do not fit there.
    pub fn move_tail<C>(&mut self, pos: usize, to: &mut Node<C>) -> Result
    where
        C: AsRef<[u8]> + AsMut<[u8]>,
    {
        let count = self.entries.saturating_sub(pos);
        let at = to.entries;
        if at + count > to.max {
            return Err(Error::Full);
        }
        let from = self.array().chunks_exact(ENTRY).skip(pos);
        let target = to.array().chunks_exact_mut(ENTRY).skip(at);
        for (to, from) in target.zip(from.take(count)) {
            to.copy_from_slice(from);
        }
        to.set_entries(at + count);
        self.set_entries(self.entries - count);
        Ok(())
    }

    /// Changes the depth, which is for the root that gains or loses a level.
    pub fn set_depth(&mut self, depth: usize) -> Result {
        if depth > MAX_DEPTH {
            return Err(Error::Full);
        }
        // INVARIANT: Just checked.
        self.depth = depth;
        put_u16(self.bytes.as_mut(), 6, depth);
        Ok(())
    }

    /// The bytes of the node.
    pub fn into_bytes(self) -> B {
        self.bytes
    }

    fn set_entries(&mut self, entries: usize) {
        // INVARIANT: The callers have made sure that it is at most `max`.
        self.entries = entries;
        put_u16(self.bytes.as_mut(), 2, entries);
    }

    /// The bytes of all `max` entries.
    fn array(&mut self) -> &mut [u8] {
        let end = HEADER + ENTRY * self.max;
        self.bytes.as_mut().get_mut(HEADER..end).unwrap_or_default()
    }
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Node<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// Makes `root` the root of a tree that maps nothing, as a new file has it.
pub fn init_root(root: &mut [u8; ROOT_SIZE]) -> Result {
    root.fill(0);
    Node::init(root, 0).map(drop)
}

/// Checks a node that came from disk, all of it: header, entries, order.
///
/// `bytes` are those of the root or of a whole block. What it says about the logical blocks that its
/// parent leaves it is for [`super::tree`] to check.
pub fn check(bytes: &[u8], blocks: &Blocks) -> Result {
    Node::new(bytes)?.check(blocks)
}

/// Whether the checksum of the node in `block` is right. `csum` is that of the inode:
/// [`Csum::for_inode`].
pub fn verify(block: &[u8], csum: Csum) -> Result {
    let at = tail_offset(block)?;
    let (node, tail) = block.split_at_checked(at).ok_or(Error::TooSmall)?;
    let found = tail.first_chunk().ok_or(Error::TooSmall)?;
    if u32::from_le_bytes(*found) != csum.with(node).value() {
        return Err(Error::Checksum("extent node"));
    }
    Ok(())
}

/// Puts the checksum of the node in `block` where it belongs. `csum` is that of the inode.
pub fn seal(block: &mut [u8], csum: Csum) -> Result {
    let at = tail_offset(block)?;
    let (node, tail) = block.split_at_mut_checked(at).ok_or(Error::TooSmall)?;
    let tail = tail.first_chunk_mut().ok_or(Error::TooSmall)?;
    *tail = csum.with(node).value().to_le_bytes();
    Ok(())
}

/// Where the checksum of the node in `block` is: after the last entry that fits.
fn tail_offset(block: &[u8]) -> Result<usize> {
    Node::new(block).map(|node| HEADER + ENTRY * node.max)
}

/// Stores `value`, which is known to fit, in two bytes at `offset`.
fn put_u16(bytes: &mut [u8], offset: usize, value: usize) {
    let [low, high, ..] = value.to_le_bytes();
    if let Some([first, second]) = bytes.get_mut(offset..).and_then(|b| b.first_chunk_mut()) {
        (*first, *second) = (low, high);
    }
}
