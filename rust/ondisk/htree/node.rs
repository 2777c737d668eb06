// SPDX-License-Identifier: GPL-2.0

//! One block of a directory's index.

use super::super::bytes::Bytes;
use super::super::dir::put;
use super::super::directory::Layout;
use super::super::{
    Csum,
    Error,
    Result, //
};

/// Bytes of an entry: a hash, or, in the first, limit and count; and a block.
const ENTRY: usize = 8;

/// Bytes of `dx_tail`: some that mean nothing, and the checksum.
const TAIL: usize = 8;

/// Where `dx_root_info` is: after `.` and `..`.
const INFO: usize = 24;
const INFO_LEN: u8 = 8;

/// Where the entries of the root are.
const ROOT_ENTRIES: usize = INFO + INFO_LEN as usize;

/// Where the entries of other nodes are: after the header of a free record.
const NODE_ENTRIES: usize = 8;

/// Block numbers have 28 bits, the others are reserved.
const BLOCK_MASK: u32 = 0x0fff_ffff;

/// What the root says of the whole index.
#[derive(Clone, Copy)]
pub(super) struct Info {
    /// `hash_version`.
    pub(super) version: u8,
    /// Levels of nodes, the root among them.
    pub(super) levels: usize,
}

/// An index node whose header makes sense.
///
/// # Invariants
///
/// There is room for `limit` entries from byte `first` on; `count` is from 1 to `limit`.
pub(super) struct Node<B> {
    bytes: B,
    first: usize,
    limit: usize,
    count: usize,
}

impl<B: Bytes> Node<B> {
    /// The root, which is block 0.
    pub(super) fn root(bytes: B, layout: &Layout) -> Result<(Self, Info)> {
        let [z0, z1, z2, z3, version, info_len, indirect, flags] =
            bytes.read_at(INFO).ok_or(Error::TooSmall)?;
        if [z0, z1, z2, z3] != [0; 4] || info_len != INFO_LEN || flags & 1 != 0 {
            return Err(Error::Corrupt("directory index: bad root"));
        }
        let levels = usize::from(indirect) + 1;
        if levels > layout.max_levels() {
            return Err(Error::Corrupt("directory index: too many levels"));
        }
        let node = Self::new(bytes, ROOT_ENTRIES, layout)?;
        Ok((node, Info { version, levels }))
    }

    /// A node below the root.
    pub(super) fn inner(bytes: B, layout: &Layout) -> Result<Self> {
        let [0, 0, 0, 0, l0, l1, 0, _] = bytes.read_at(0).ok_or(Error::TooSmall)? else {
            return Err(Error::Corrupt("directory index: bad node"));
        };
        // A block of 64 KiB has a length that does not fit.
        let len = usize::from(u16::from_le_bytes([l0, l1]));
        let size = bytes.size();
        if len != size && !(size == 0x10000 && matches!(len, 0 | 0xffff)) {
            return Err(Error::Corrupt("directory index: bad node"));
        }
        Self::new(bytes, NODE_ENTRIES, layout)
    }

    /// The node at the level given, counted from the root.
    pub(super) fn at_level(level: usize, bytes: B, layout: &Layout) -> Result<Self> {
        match level {
            0 => Self::root(bytes, layout).map(|(node, _)| node),
            _ => Self::inner(bytes, layout),
        }
    }

    fn new(bytes: B, first: usize, layout: &Layout) -> Result<Self> {
        let [l0, l1, c0, c1] = bytes.read_at(first).ok_or(Error::TooSmall)?;
        let limit = usize::from(u16::from_le_bytes([l0, l1]));
        let count = usize::from(u16::from_le_bytes([c0, c1]));
        if limit != capacity(bytes.size(), first, layout) {
            return Err(Error::Corrupt("directory index: bad limit"));
        }
        if count == 0 || count > limit {
            return Err(Error::Corrupt("directory index: bad count"));
        }
        // INVARIANT: Just checked.
        Ok(Self {
            bytes,
            first,
            limit,
            count,
        })
    }

    /// The number of entries.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Whether no entry fits any more.
    pub(super) const fn is_full(&self) -> bool {
        self.count == self.limit
    }

    /// The block of entry `pos`, if there is one.
    pub(super) fn block(&self, pos: usize) -> Option<u32> {
        let at = self.entry(pos)? + 4;
        self.bytes
            .read_at(at)
            .map(|b| u32::from_le_bytes(b) & BLOCK_MASK)
    }

    /// The hash of entry `pos`, if there is one; that of the first is as low as can be.
    pub(super) fn hash(&self, pos: usize) -> Option<u32> {
        let at = self.entry(pos)?;
        match pos {
            0 => Some(0),
            _ => self.bytes.read_at(at).map(u32::from_le_bytes),
        }
    }

    /// The last entry whose hash is at most `hash`.
    pub(super) fn find(&self, hash: u32) -> usize {
        let (mut low, mut high) = (1, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.hash(middle).is_some_and(|h| h <= hash) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low - 1
    }

    /// Where entry `pos` is, if there is one.
    fn entry(&self, pos: usize) -> Option<usize> {
        (pos < self.count).then_some(self.first + ENTRY * pos)
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Node<B> {
    /// Makes `bytes`, which begin with `.` and `..`, the root of an index of one leaf.
    pub(super) fn init_root(
        mut bytes: B,
        layout: &Layout,
        version: u8,
        block: u32,
    ) -> Result<Self> {
        let info = [0, 0, 0, 0, version, INFO_LEN, 0, 0];
        put(bytes.as_mut(), INFO, &info);
        Self::init(bytes, ROOT_ENTRIES, layout, block)
    }

    /// Makes `bytes` a node below the root, whose first entry is `block`.
    pub(super) fn init_inner(mut bytes: B, layout: &Layout, block: u32) -> Result<Self> {
        let block_ = bytes.as_mut();
        block_.fill(0);
        let [l0, l1, ..] = block_.len().min(0xffff).to_le_bytes();
        put(block_, 4, &[l0, l1]);
        Self::init(bytes, NODE_ENTRIES, layout, block)
    }

    fn init(bytes: B, first: usize, layout: &Layout, block: u32) -> Result<Self> {
        let limit = capacity(bytes.as_ref().len(), first, layout);
        // INVARIANT: That is how many fit; there is one.
        let mut node = Self {
            bytes,
            first,
            limit,
            count: 1,
        };
        if limit < 2 {
            return Err(Error::TooSmall);
        }
        let [l0, l1, ..] = limit.to_le_bytes();
        put(node.bytes.as_mut(), first, &[l0, l1]);
        node.set_count(1);
        put(node.bytes.as_mut(), first + 4, &block.to_le_bytes());
        Ok(node)
    }

    /// Adds an entry at `pos`, which is not the first.
    pub(super) fn insert(&mut self, pos: usize, hash: u32, block: u32) -> Result {
        if self.is_full() {
            return Err(Error::Full);
        }
        if pos == 0 || pos > self.count {
            return Err(Error::TooSmall);
        }
        let (from, end) = (self.first + ENTRY * pos, self.first + ENTRY * self.count);
        // In bounds, since the node is not full.
        self.bytes.as_mut().copy_within(from..end, from + ENTRY);
        self.put(pos, hash, block);
        self.set_count(self.count + 1);
        Ok(())
    }

    /// Moves the entries from `pos` on to `to`, whose first one is that at `pos` already: its hash
    /// goes to the parent.
    pub(super) fn move_tail<C>(&mut self, pos: usize, to: &mut Node<C>) -> Result
    where
        C: AsRef<[u8]> + AsMut<[u8]>,
    {
        for from in pos + 1..self.count {
            let entry = self.hash(from).zip(self.block(from));
            let (hash, block) = entry.ok_or(Error::TooSmall)?;
            to.insert(from - pos, hash, block)?;
        }
        self.set_count(pos.max(1));
        Ok(())
    }

    /// Makes the root that gave all its entries away the parent of the node that has them.
    pub(super) fn set_only(&mut self, block: u32, levels: usize) {
        let [indirect, ..] = levels.saturating_sub(1).to_le_bytes();
        put(self.bytes.as_mut(), INFO + 6, &[indirect]);
        put(self.bytes.as_mut(), self.first + 4, &block.to_le_bytes());
        self.set_count(1);
    }

    fn put(&mut self, pos: usize, hash: u32, block: u32) {
        let [h0, h1, h2, h3] = hash.to_le_bytes();
        let [b0, b1, b2, b3] = block.to_le_bytes();
        let at = self.first + ENTRY * pos;
        put(self.bytes.as_mut(), at, &[h0, h1, h2, h3, b0, b1, b2, b3]);
    }

    fn set_count(&mut self, count: usize) {
        // INVARIANT: From 1 to the limit, as the callers made sure.
        self.count = count;
        let [c0, c1, ..] = count.to_le_bytes();
        put(self.bytes.as_mut(), self.first + 2, &[c0, c1]);
    }
}

/// How many entries fit a block from byte `first` on.
fn capacity(size: usize, first: usize, layout: &Layout) -> usize {
    let tail = if layout.format().has_csum() { TAIL } else { 0 };
    size.saturating_sub(first + tail) / ENTRY
}

/// The checksum of an index block: what it should be, and where it is stored.
fn checksum(block: &[u8], csum: Csum) -> Result<(u32, usize)> {
    let no_room = Error::Corrupt("directory index: no room for a checksum");
    let [l0, l1] = block.read_at(4).ok_or(Error::TooSmall)?;
    let first = match u16::from_le_bytes([l0, l1]) {
        // The record of `.`.
        12 => ROOT_ENTRIES,
        _ => NODE_ENTRIES,
    };
    let [l0, l1, c0, c1] = block.read_at(first).ok_or(Error::TooSmall)?;
    let limit = usize::from(u16::from_le_bytes([l0, l1]));
    let count = usize::from(u16::from_le_bytes([c0, c1]));
    let tail = first + ENTRY * limit;
    let used = block.get(..first + ENTRY * count.min(limit));
    let reserved = block.get(tail..tail + 4);
    if tail + TAIL > block.len() {
        return Err(no_room);
    }
    let (used, reserved) = used.zip(reserved).ok_or(no_room)?;
    Ok((csum.with(used).with(reserved).with_u32(0).value(), tail + 4))
}

/// Whether the checksum of an index block is right. `csum` is that of the inode.
pub(in super::super) fn verify(block: &[u8], csum: Csum) -> Result {
    let (value, at) = checksum(block, csum)?;
    match block.read_at(at).map(u32::from_le_bytes) {
        Some(found) if found == value => Ok(()),
        _ => Err(Error::Checksum("directory index")),
    }
}

/// Puts the checksum of an index block in. `csum` is that of the inode.
pub(in super::super) fn seal(block: &mut [u8], csum: Csum) -> Result {
    let (value, at) = checksum(block, csum)?;
    put(block, at, &value.to_le_bytes());
    Ok(())
}
