// SPDX-License-Identifier: GPL-2.0

//! Block pointers: which blocks of the file system hold the blocks of a file, before there were extents.
//!
//! `i_block` is then fifteen numbers of blocks. Twelve are those of the file's first blocks; the other
//! three name a block full of numbers of blocks, a block full of numbers of such blocks, and so on. 0
//! stands for no block. Format: [`ifork.rst`](srctree/Documentation/filesystems/ext4/ifork.rst).
//!
//! A change works as in [`super::tree`], through the same traits: private copies of the pointer blocks on
//! the one path from the root, changed, and written when nothing can fail any more. There are no
//! unwritten blocks, and no checksums.
//!
//! # What an enemy can do
//!
//! How deep a pointer block is follows from where it is named, so that no walk is longer than
//! [`MAX_DEPTH`]. A number is taken for a block only if there is such a block. What is named twice is
//! freed twice, which the bitmaps notice.

use super::extent::{
    Bytes,
    ValidExtent,
    MAX_LEN, //
};
use super::tree::{
    Mapping,
    Read,
    Removed,
    Root,
    Store,
    END, //
};
use super::{
    BlockNr,
    Blocks,
    Error,
    Result, //
};

/// Pointer blocks between the root and the data, at most.
pub const MAX_DEPTH: usize = 3;

/// Pointers of the root that name blocks of the file.
const DIRECT: u32 = 12;

/// Bytes of a pointer.
const POINTER: usize = 4;

/// The pointers of a file system with blocks of a certain size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indirect {
    /// Base-2 logarithm of the pointers in a block.
    bits: u32,
}

/// The way from the root to the pointer for one block of a file.
///
/// The pointer at level 0 is in the root, that at level `depth` names the block itself.
#[derive(Clone, Copy)]
struct Path {
    lblk: u32,
    /// The number of the block among those of its depth.
    nth: u64,
    depth: usize,
    bits: u32,
}

impl Path {
    /// Base-2 logarithm of the blocks that the pointer at `level` is for.
    fn shift(&self, level: usize) -> u32 {
        self.bits * self.depth.saturating_sub(level) as u32
    }

    /// The position of the pointer at `level` in its block, or in the root.
    fn slot(&self, level: usize) -> usize {
        match level {
            0 if self.depth == 0 => self.lblk as usize,
            0 => DIRECT as usize + self.depth - 1,
            _ => (self.nth >> self.shift(level)) as usize & ((1 << self.bits) - 1),
        }
    }

    /// The pointers that lie beside that for the block.
    fn slots(&self) -> usize {
        match self.depth {
            0 => DIRECT as usize,
            _ => 1 << self.bits,
        }
    }

    /// The first block that the pointer at `level` is for.
    fn start(&self, level: usize) -> u32 {
        let within = self.nth & ((1 << self.shift(level)) - 1);
        // Not more than `lblk`.
        self.lblk - within as u32
    }

    /// One past the last.
    fn end(&self, level: usize) -> u32 {
        let end = u64::from(self.start(level)) + (1 << self.shift(level));
        u32::try_from(end).unwrap_or(END)
    }
}

impl Indirect {
    /// The pointers of a file system with blocks of `block_size` bytes, a power of two.
    pub const fn new(block_size: u32) -> Self {
        Self {
            bits: (block_size / POINTER as u32).trailing_zeros(),
        }
    }

    /// The number of blocks that a file can have, [`END`] if that is no limit.
    pub fn limit(self) -> u32 {
        let blocks = u64::from(DIRECT)
            + (1 << self.bits)
            + (1 << (2 * self.bits))
            + (1u64 << (3 * self.bits));
        u32::try_from(blocks).unwrap_or(END)
    }

    fn path(self, lblk: u32) -> Option<Path> {
        let (mut nth, mut depth) = (u64::from(lblk), 0);
        let mut count = u64::from(DIRECT);
        while nth >= count {
            nth -= count;
            depth += 1;
            count = 1 << (self.bits * depth as u32);
            if depth > MAX_DEPTH {
                return None;
            }
        }
        (lblk < END).then_some(Path {
            lblk,
            nth,
            depth,
            bits: self.bits,
        })
    }

    /// The blocks from `lblk` on whose pointers lie side by side: the most that [`insert`](Self::insert)
    /// takes. 0 for what no file has.
    pub fn room(self, lblk: u32) -> u32 {
        let rest = |path: Path| path.slots() - path.slot(path.depth);
        self.path(lblk).map_or(0, |path| rest(path) as u32)
    }

    /// What there is for logical block `lblk`. The end of a hole may be followed by another one.
    pub fn lookup<R: Read>(
        self,
        root: &Root,
        store: &mut R,
        lblk: u32,
    ) -> Result<Mapping, R::Error> {
        let Some(path) = self.path(lblk) else {
            return Ok(Mapping::Hole { end: END });
        };
        let blocks = store.blocks();
        if path.depth == 0 {
            return found(root, &path, &blocks).map_err(|error| store.error(None, error));
        }
        let mut at = None;
        let mut nr = pointer(root, path.slot(0));
        for level in 1..=path.depth {
            if nr == 0 {
                let end = path.end(level - 1);
                return Ok(Mapping::Hole { end });
            }
            let child = blocks.block(nr).map_err(|_| store.error(at, OUTSIDE))?;
            at = Some(child);
            let view = store.view(child)?;
            if level == path.depth {
                return found(&view, &path, &blocks).map_err(|error| store.error(at, error));
            }
            nr = pointer(&view, path.slot(level));
        }
        Ok(Mapping::Hole { end: lblk + 1 })
    }

    /// Adds `extent`, no longer than [`room`](Self::room), none of whose blocks may be there yet.
    ///
    /// [`Error::TooLarge`] if pointers cannot tell of it.
    pub fn insert<S: Store>(
        self,
        root: &mut Root,
        store: &mut S,
        extent: ValidExtent,
    ) -> Result<(), S::Error> {
        let path = self.path(extent.lblk());
        let fits = extent.len() <= self.room(extent.lblk()) && extent.run().end() <= 1 << 32;
        let Some(path) = path.filter(|_| fits && !extent.is_unwritten()) else {
            return Err(store.error(None, Error::TooLarge));
        };
        let mut edit = Edit::new(root, store, path);
        let done = edit.add(extent);
        if done.is_err() {
            edit.take_back()?;
        }
        done?;
        edit.publish(root)
    }

    /// Unmaps blocks of the range from `from` up to, not including, `to`, as [`super::tree::remove`] does.
    ///
    /// Each call takes blocks whose pointers lie side by side, at most `max`, and frees what pointer blocks
    /// become empty.
    pub fn remove<S: Store>(
        self,
        root: &mut Root,
        store: &mut S,
        from: u32,
        to: u32,
        max: u32,
    ) -> Result<Removed, S::Error> {
        let mut to = to.min(self.limit());
        while from < to {
            let Some(path) = self.path(to - 1) else {
                break;
            };
            let mut edit = Edit::new(root, store, path);
            if let Some(level) = edit.descend()? {
                to = path.start(level);
                continue;
            }
            let first = path.start(path.depth.saturating_sub(1));
            let first = if path.depth == 0 { 0 } else { first };
            let mut removed = edit.clear(from.max(first), to, max)?;
            if removed.extents().next().is_none() {
                to = first;
                continue;
            }
            if removed.rest().is_none() {
                removed.set_rest(Some(first).filter(|first| *first > from));
            }
            edit.prune();
            edit.publish(root)?;
            return Ok(removed);
        }
        Ok(Removed::default())
    }
}

/// Checks a pointer block that came from disk.
pub fn check(bytes: &[u8], blocks: &Blocks) -> Result {
    for slot in 0..bytes.len() / POINTER {
        match pointer(&bytes, slot) {
            0 => {}
            nr => blocks.block(nr).map(|_| ()).map_err(|_| OUTSIDE)?,
        }
    }
    Ok(())
}

const OUTSIDE: Error = Error::Corrupt("block pointer outside the file system");

/// The pointer at `slot`.
fn pointer<B: Bytes>(node: &B, slot: usize) -> u64 {
    let bytes = node.read_at(POINTER.saturating_mul(slot));
    bytes.map_or(0, u32::from_le_bytes).into()
}

/// What the pointers in `node` say of the last step of `path`, and of the blocks after it.
fn found<B: Bytes>(node: &B, path: &Path, blocks: &Blocks) -> Result<Mapping> {
    let slot = path.slot(path.depth);
    let first = pointer(node, slot);
    let step = u64::from(first != 0);
    let continues = |n: &usize| pointer(node, slot + n) == first + step * *n as u64;
    let rest = (path.slots() - slot).min(MAX_LEN as usize);
    let len = 1 + (1..rest).take_while(continues).count() as u32;
    if first == 0 {
        let end = path.lblk.saturating_add(len);
        return Ok(Mapping::Hole { end });
    }
    let run = blocks.run(first, len).map_err(|_| OUTSIDE)?;
    let len = len.min(END - path.lblk);
    let run = run.part(0, len).ok_or(OUTSIDE)?;
    ValidExtent::new(path.lblk, run, false).map(Mapping::Extent)
}

/// A private copy of a pointer block.
struct Level<N> {
    at: BlockNr,
    node: N,
    dirty: bool,
    /// It was allocated for this change.
    fresh: bool,
}

/// A change under way: private copies of the root and of the pointer blocks on one path.
struct Edit<'a, S: Store> {
    store: &'a mut S,
    path: Path,
    root: Root,
    /// The pointer block with the pointer of level 1, and those below.
    levels: [Option<Level<S::Node>>; MAX_DEPTH],
    freed: [Option<BlockNr>; MAX_DEPTH],
}

impl<'a, S: Store> Edit<'a, S> {
    fn new(root: &Root, store: &'a mut S, path: Path) -> Self {
        Self {
            store,
            path,
            root: *root,
            levels: [const { None }; MAX_DEPTH],
            freed: [None; MAX_DEPTH],
        }
    }

    fn level(&mut self, level: usize) -> Option<&mut Level<S::Node>> {
        self.levels.get_mut(level.checked_sub(1)?)?.as_mut()
    }

    /// The block of pointers that has the pointer at `level`; that of the root has no number.
    fn at(&mut self, level: usize) -> Option<BlockNr> {
        self.level(level).map(|level| level.at)
    }

    /// The pointer at `slot` beside that at `level`.
    fn get(&mut self, level: usize, slot: usize) -> u64 {
        match self.level(level) {
            Some(level) => pointer(&level.node.as_ref(), slot),
            None => pointer(&self.root, slot),
        }
    }

    /// Changes it. [`Error::TooLarge`] for a number of more than 32 bits.
    fn set(&mut self, level: usize, slot: usize, nr: u64) -> Result {
        let nr = u32::try_from(nr).map_err(|_| Error::TooLarge)?;
        let bytes = match self.level(level) {
            Some(level) => {
                level.dirty = true;
                level.node.as_mut()
            }
            None => self.root.as_mut(),
        };
        let place = bytes.chunks_exact_mut(POINTER).nth(slot);
        place
            .ok_or(Error::TooSmall)?
            .copy_from_slice(&nr.to_le_bytes());
        Ok(())
    }

    /// Copies the pointer blocks of the path. If there is one missing, the level of the pointer that is
    /// 0.
    fn descend(&mut self) -> Result<Option<usize>, S::Error> {
        for level in 0..self.path.depth {
            let nr = self.get(level, self.path.slot(level));
            if nr == 0 {
                return Ok(Some(level));
            }
            let parent = self.at(level);
            let at = self.store.blocks().block(nr);
            let at = at.map_err(|_| self.store.error(parent, OUTSIDE))?;
            let node = self.store.read(at)?;
            self.put(level, at, node, false);
        }
        Ok(None)
    }

    /// Puts a pointer block below the pointer at `level`.
    fn put(&mut self, level: usize, at: BlockNr, node: S::Node, fresh: bool) {
        if let Some(slot) = self.levels.get_mut(level) {
            *slot = Some(Level {
                at,
                node,
                dirty: fresh,
                fresh,
            });
        }
    }

    /// Sets the pointers for `extent`, allocating what pointer blocks there are none of.
    fn add(&mut self, extent: ValidExtent) -> Result<(), S::Error> {
        let path = self.path;
        if let Some(missing) = self.descend()? {
            for level in missing..path.depth {
                let (at, mut node) = self.store.alloc(extent.pblk())?;
                node.as_mut().fill(0);
                self.put(level, at, node, true);
                self.link(level, path.slot(level), at.get())?;
            }
        }
        let first = path.slot(path.depth);
        for n in 0..extent.len() as usize {
            if self.get(path.depth, first + n) != 0 {
                let error = Error::Corrupt("block to be added is mapped already");
                let at = self.at(path.depth);
                return Err(self.store.error(at, error));
            }
            self.link(path.depth, first + n, extent.pblk().get() + n as u64)?;
        }
        Ok(())
    }

    fn link(&mut self, level: usize, slot: usize, nr: u64) -> Result<(), S::Error> {
        self.set(level, slot, nr)
            .map_err(|error| self.store.error(None, error))
    }

    /// Frees what was allocated for a change that failed.
    fn take_back(&mut self) -> Result<(), S::Error> {
        for level in self.levels.iter().flatten().filter(|level| level.fresh) {
            self.store.free(level.at)?;
        }
        Ok(())
    }

    /// Clears the pointers for the blocks `from..to`, the last being that of the path, from the right,
    /// and tells what they named: at most `max` blocks.
    fn clear(&mut self, from: u32, to: u32, max: u32) -> Result<Removed, S::Error> {
        let mut removed = Removed::default();
        let depth = self.path.depth;
        let last = self.path.slot(depth);
        let mut end = to;
        let mut room = max;
        while from < end {
            if room == 0 {
                removed.set_rest(Some(end));
                break;
            }
            let slot = last - (to - end) as usize;
            let nr = self.get(depth, slot);
            if nr == 0 {
                end -= 1;
                continue;
            }
            let mut len = 1;
            while len < room.min(MAX_LEN).min(end - from)
                && nr > len.into()
                && self.get(depth, slot - len as usize) == nr.wrapping_sub(len.into())
            {
                len += 1;
            }
            let start = nr - u64::from(len - 1);
            let extent = self
                .store
                .blocks()
                .run(start, len)
                .and_then(|run| ValidExtent::new(end - len, run, false));
            let at = self.at(depth);
            let extent = extent.map_err(|_| self.store.error(at, OUTSIDE))?;
            if !removed.push(extent) {
                removed.set_rest(Some(end));
                break;
            }
            for n in 0..len as usize {
                self.link(depth, slot - n, 0)?;
            }
            end -= len;
            room -= len;
        }
        Ok(removed)
    }

    /// Takes the pointer blocks out that have become empty.
    fn prune(&mut self) {
        for level in (0..self.path.depth).rev() {
            let is_empty = |level: &mut Level<S::Node>| level.node.as_ref().iter().all(|b| *b == 0);
            let gone = self.levels.get_mut(level);
            let Some(gone) = gone.and_then(|slot| slot.take_if(is_empty)) else {
                return;
            };
            if let Some(slot) = self.freed.get_mut(level) {
                *slot = Some(gone.at);
            }
            // Cannot fail: the pointer was read there.
            let _ = self.set(level, self.path.slot(level), 0);
        }
    }

    /// Hands the changed pointer blocks to the store and sets the root: the end of the change.
    fn publish(&mut self, root: &mut Root) -> Result<(), S::Error> {
        for slot in &mut self.levels {
            if let Some(level) = slot.take_if(|level| level.dirty) {
                self.store.write(level.at, level.node)?;
            }
        }
        *root = self.root;
        for at in self.freed.into_iter().flatten() {
            self.store.free(at)?;
        }
        Ok(())
    }
}
