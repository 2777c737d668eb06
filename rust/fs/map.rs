// SPDX-License-Identifier: GPL-2.0

//! Which blocks hold a file: the extent tree of an inode, or its block pointers, kept in memory at the
//! root.
//!
//! Readers ask [`map_blocks`]. The last extent found is remembered, so that a run of faults or reads
//! within one extent costs no walk and does not touch the lock of the tree.
//!
//! Changes are [`allocate`], [`convert_blocks`], [`zero_unwritten`], [`remove_blocks`], [`shift_left`] and
//! [`shift_right`]. Each step of one is a transaction of bounded size, in which the tree goes from one
//! complete state to the next. Blocks that are in the tree as written hold data or zeros, never what
//! somebody else left there: they are zeroed, or unwritten, before they get in.

use super::{
    alloc::{
        self,
        Goal,
        Request, //
    },
    error::{
        corrupt,
        report,
        At, //
    },
    meta::{
        Format,
        MetaBlock,
        View, //
    },
    INode,
    Transaction, //
};
use crate::{
    new_rwsem,
    ondisk::{
        self,
        extent::{
            self,
            ValidExtent, //
        },
        fork::Fork,
        tree::{
            self,
            Root, //
        },
        BlockNr,
        Blocks,
        Csum, //
    },
    prelude::*,
    vfs::{
        latch::Latch,
        transaction::MAX_FORGOTTEN,
        Credits,
        FileType,
        RwSem, //
    }, //
};
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Relaxed,
    Release, //
};

pub use tree::END;

/// The extent tree of one inode, as far as it is in memory.
#[pin_data]
pub struct Extents {
    #[pin]
    root: RwSem<Root>,
    /// An extent of the tree. Filled with `root` held at least shared, emptied with it held
    /// exclusively, before a change: so what is found here was true a moment ago, no less than what a
    /// walk of the tree finds.
    recent: Latch<Option<ValidExtent>>,
    /// Another number after each change.
    generation: Atomic<u64>,
    /// Whether the tree has changes that no `fsync` was asked for since.
    unsynced: Atomic<bool>,
}

impl Extents {
    /// An initialiser, for an inode without blocks.
    pub fn new() -> impl PinInit<Self> {
        let mut root = [0; extent::ROOT_SIZE];
        // Cannot fail: a root has room for a header.
        let _ = extent::init_root(&mut root);
        pin_init!(Self {
            root <- new_rwsem!(root, c"rdaxfs extents"),
            recent: Latch::new(None),
            generation: Atomic::new(0),
            unsynced: Atomic::new(false),
        })
    }

    /// Takes the root that was read from disk, or that a new inode begins with.
    pub fn load(&self, root: Root) {
        *self.root.write() = root;
    }

    /// The root, to be written to disk.
    pub fn root(&self) -> Root {
        *self.root.read()
    }

    /// This is the tree of a file that is written while that of another is locked: a quota file.
    pub fn set_inner(&self) {
        self.root.set_inner();
    }

    /// A number that is another one after each change.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Acquire)
    }

    /// Whether there are changes that may not be on disk.
    #[inline]
    pub fn is_unsynced(&self) -> bool {
        self.unsynced.load(Relaxed)
    }

    /// Notes whether there are changes that may not be on disk: cleared before they are written, set
    /// again if that fails.
    pub fn set_unsynced(&self, unsynced: bool) {
        self.unsynced.store(unsynced, Relaxed);
    }

    #[inline(always)]
    fn recent(&self, lblk: u32) -> Option<ValidExtent> {
        self.recent.get()?.filter(|extent| extent.contains(lblk))
    }
}

/// What holds a block of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nothing: it reads as zeros.
    Hole,
    /// This block, and those after it.
    Written(BlockNr),
    /// The same, but it reads as zeros.
    Unwritten(BlockNr),
}

/// What holds a run of blocks of a file.
#[derive(Clone, Copy)]
pub struct Mapping {
    /// The first block of the run.
    pub lblk: u32,
    /// The number of blocks, at least one.
    pub len: u32,
    /// What holds them.
    pub place: Place,
}

impl Mapping {
    /// The part of `extent` that begins with `lblk`, which lies in it.
    #[inline(always)]
    fn of(extent: &ValidExtent, lblk: u32) -> Self {
        let start = extent
            .run()
            .nth(lblk - extent.lblk())
            .unwrap_or(extent.pblk());
        Self {
            lblk,
            len: extent.end() - lblk,
            place: match extent.is_unwritten() {
                true => Place::Unwritten(start),
                false => Place::Written(start),
            },
        }
    }
}

/// What new blocks of a file hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Zeros, by decree.
    Unwritten,
    /// Zeros, which are on the device.
    Zeroed,
    /// What the caller puts there within the transaction: metadata.
    Written,
}

/// What holds `lblk` and the blocks after it. Takes the extent lock shared, if it takes it.
#[inline(always)]
pub fn map_blocks(inode: &INode, lblk: u32) -> Result<Mapping> {
    let extents = &inode.data().get_ref().extents;
    if let Some(extent) = extents.recent(lblk) {
        return Ok(Mapping::of(&extent, lblk));
    }
    walk(inode, lblk)
}

/// [`map_blocks`] by the tree itself.
#[cold]
fn walk(inode: &INode, lblk: u32) -> Result<Mapping> {
    let extents = &inode.data().get_ref().extents;
    let root = extents.root.read();
    let found = fork(inode).lookup(&root, &mut Nodes { inode }, lblk)?;
    if let tree::Mapping::Extent(extent) = found {
        if inode.sb().data().groups.has_metadata(extent.run()) {
            let at = At::inode(inode.ino(), extent.pblk().get());
            return Err(corrupt(
                inode.sb(),
                "extent",
                at,
                fmt!("metadata of a group, or the journal"),
            ));
        }
        extents.recent.set(Some(extent));
    }
    Ok(mapping(found, lblk))
}

fn mapping(found: tree::Mapping, lblk: u32) -> Mapping {
    match found {
        tree::Mapping::Extent(extent) => Mapping::of(&extent, lblk),
        tree::Mapping::Hole { end } => Mapping {
            lblk,
            len: end.saturating_sub(lblk).max(1),
            place: Place::Hole,
        },
    }
}

/// The most blocks that one step of a change touches: nodes, what allocates or frees them, and the
/// inode; `data` for the blocks of the file itself.
fn credits(inode: &INode, data: Credits) -> Credits {
    let nodes = fork(inode).nodes_touched(&inode.data().extents.root());
    let nodes = Credits(nodes as u32);
    nodes + alloc::ALLOC_CREDITS * nodes.0 + data + Credits(1)
}

/// The most blocks that one call of [`allocate`] touches.
pub fn allocate_credits(inode: &INode) -> Credits {
    credits(inode, alloc::ALLOC_CREDITS)
}

/// Allocates blocks for the hole that begins with, or has, `lblk`: at least one, at most `len`, not
/// more than the hole. What holds `lblk` now; that is no new block if it was no hole.
///
/// Takes the extent lock. [`ENOSPC`], [`EFBIG`] past the last block a file can have.
pub fn allocate(
    tx: &Transaction<'_>,
    inode: &INode,
    lblk: u32,
    len: u32,
    fill: Fill,
) -> Result<(Mapping, bool)> {
    let fork = fork(inode);
    let fill = match fill {
        // Pointers cannot tell of unwritten blocks.
        Fill::Unwritten if !fork.has_extents() => Fill::Zeroed,
        fill => fill,
    };
    let unwritten = fill == Fill::Unwritten;
    let room = fork.room(lblk, unwritten);
    if room == 0 {
        return Err(EFBIG);
    }
    change(tx, inode, |root, nodes| {
        let end = match fork.lookup(root, nodes, lblk)? {
            tree::Mapping::Hole { end } => end,
            found => return Ok((mapping(found, lblk), false)),
        };
        let request = Request {
            goal: goal(root, nodes, lblk)?,
            len: len.min(end - lblk).clamp(1, room),
            lblk,
            tree: false,
        };
        let run = alloc::alloc_blocks(tx, inode, request)?;
        let added = (|| {
            if fill == Fill::Zeroed {
                zero(inode, run.start(), run.len())?;
            }
            let extent = ValidExtent::new(lblk, run, unwritten)
                .map_err(|error| report(tx.sb(), "extent", At::inode(inode.ino(), 0), error))?;
            fork.insert(root, nodes, extent)?;
            Ok((Mapping::of(&extent, lblk), true))
        })();
        if added.is_err() {
            alloc::free_blocks(tx, inode, run)?;
        }
        added
    })
}

/// Where the block for `lblk` is best: after that of the one before, or as far behind the file's first
/// as `lblk` is, or near the inode.
fn goal(root: &Root, nodes: &mut Edit<'_>, lblk: u32) -> Result<Goal> {
    let (blocks, fork) = (blocks(nodes.inode), fork(nodes.inode));
    let mut near = |from: u32, extra: u32| -> Result<Option<BlockNr>> {
        Ok(match fork.lookup(root, nodes, from)? {
            tree::Mapping::Extent(extent) => {
                let at = extent.pblk().get() + u64::from(from - extent.lblk()) + u64::from(extra);
                blocks.block(at).ok()
            }
            _ => None,
        })
    };
    if let Some(behind) = near(lblk.saturating_sub(1), 1)? {
        return Ok(Goal::Behind(behind));
    }
    Ok(near(0, lblk)?.map_or(Goal::Inode, Goal::At))
}

/// Makes what there is of the blocks `from..to` unwritten, or written: then they hold their data.
///
/// In each transaction that this takes, `reached` is told up to which byte of the file it is done.
pub fn convert_blocks(
    inode: &INode,
    from: u32,
    to: u32,
    unwritten: bool,
    mut reached: impl FnMut(u64),
) -> Result {
    let mut lblk = from;
    while lblk < to {
        let tx = Transaction::start(inode.sb(), convert_credits(inode))?;
        lblk = convert_some(&tx, inode, lblk, to, unwritten)?;
        reached(u64::from(lblk) << inode.sb().block_bits());
    }
    Ok(())
}

/// The most blocks that one call of [`convert_some`] touches.
pub fn convert_credits(inode: &INode) -> Credits {
    credits(inode, Credits(0))
}

/// One step of [`convert_blocks`]. Returns where the next one begins.
pub fn convert_some(
    tx: &Transaction<'_>,
    inode: &INode,
    from: u32,
    to: u32,
    unwritten: bool,
) -> Result<u32> {
    change(tx, inode, |root, nodes| {
        fork(inode).convert(root, nodes, from, to, unwritten)
    })
}

/// Makes `lblk` and the blocks after it, at most `len`, zeros on the device if they are unwritten.
/// What holds `lblk` now, and whether that was done.
pub fn zero_unwritten(inode: &INode, lblk: u32, len: u32) -> Result<(Mapping, bool)> {
    let tx = Transaction::start(inode.sb(), credits(inode, Credits(0)))?;
    change(&tx, inode, |root, nodes| {
        let found = mapping(fork(inode).lookup(root, nodes, lblk)?, lblk);
        let Place::Unwritten(start) = found.place else {
            return Ok((found, false));
        };
        let len = found.len.min(len);
        zero(inode, start, len)?;
        fork(inode).convert(root, nodes, lblk, lblk + len, false)?;
        let place = Place::Written(start);
        Ok((Mapping { lblk, len, place }, true))
    })
}

/// Unmaps the blocks `from..to` and frees what held them. Nobody may use them any more.
pub fn remove_blocks(inode: &INode, from: u32, to: u32) -> Result {
    let mut end = to;
    while from < end {
        let data = alloc::free_credits(inode.sb(), tree::MAX_REMOVED as u32);
        let tx = Transaction::start(inode.sb(), credits(inode, data))?;
        end = remove_some(&tx, inode, from, end)?;
    }
    Ok(())
}

/// Moves the blocks from `from` on by `by` blocks to the left, where there are none. Nobody may use
/// them meanwhile. A leaf of the tree at a time: see [`tree::shift_left`].
pub fn shift_left(inode: &INode, from: u32, by: u32) -> Result {
    let mut next = from;
    while next < END {
        let tx = Transaction::start(inode.sb(), credits(inode, Credits(0)))?;
        next = change(&tx, inode, |root, nodes| {
            tree::shift_left(root, nodes, next, by)
        })?;
    }
    Ok(())
}

/// Moves the blocks from `from` on by `by` blocks to the right, as [`shift_left`] does. [`EFBIG`], and
/// nothing has moved, if that is further than a file can go.
pub fn shift_right(inode: &INode, from: u32, by: u32) -> Result {
    let mut to = END;
    while from < to {
        let tx = Transaction::start(inode.sb(), credits(inode, Credits(0)))?;
        to = change(&tx, inode, |root, nodes| {
            tree::shift_right(root, nodes, from, to, by)
        })?;
    }
    Ok(())
}

/// Takes back what [`allocate`] did in this transaction, in a few calls, for the blocks `from..to`.
pub fn unallocate(tx: &Transaction<'_>, inode: &INode, from: u32, to: u32) -> Result {
    let mut end = to;
    while from < end {
        end = remove_some(tx, inode, from, end)?;
    }
    Ok(())
}

/// Blocks that may be in the journal that one step removes, so that those, and the nodes above, can be
/// forgotten.
const MAX_JOURNALED: u32 = MAX_FORGOTTEN / 2;

/// One step of [`remove_blocks`]. Returns the end of what remains to be done, or `from`.
fn remove_some(tx: &Transaction<'_>, inode: &INode, from: u32, end: u32) -> Result<u32> {
    // What is not a file's data was written through the buffer cache.
    let journaled = inode.kind() != FileType::Regular || inode.sb().data().journals_data;
    let max = if journaled {
        MAX_JOURNALED
    } else {
        alloc::max_freed(inode.sb())
    };
    change(tx, inode, |root, nodes| {
        let removed = fork(inode).remove(root, nodes, from, end, max)?;
        for extent in removed.extents() {
            let run = extent.run();
            if journaled {
                (run.start().get()..run.end()).for_each(|nr| tx.forget(nr));
            }
            alloc::free_blocks(tx, inode, run)?;
        }
        Ok(removed.rest().unwrap_or(from))
    })
}

/// One step of a change, with the extent lock held exclusively.
fn change<R>(
    tx: &Transaction<'_>,
    inode: &INode,
    step: impl FnOnce(&mut Root, &mut Edit<'_>) -> Result<R>,
) -> Result<R> {
    let extents = &inode.data().get_ref().extents;
    let mut root = extents.root.write();
    // Nobody else fills it meanwhile.
    extents.recent.set(None);
    let ret = step(&mut root, &mut Edit { tx, inode });
    extents
        .generation
        .store(extents.generation.load(Relaxed).wrapping_add(1), Release);
    inode.data().get_ref().note_data_change(tx);
    drop(root);
    inode.mark_dirty();
    ret
}

/// Zeroes blocks on the device, and waits. Nothing of them is cached.
///
/// Not every device with DAX zeroes its memory when it is asked: dm-log-writes asks the one below for 4096
/// pages in place of one, and is refused. As a block device it does.
fn zero(inode: &INode, start: BlockNr, len: u32) -> Result {
    let sb = inode.sb();
    let bits = sb.block_bits();
    let (addr, len) = (start.get() << bits, u64::from(len) << bits);
    match &sb.data().get_ref().dax {
        Some(dax) if dax.zero(addr, len).is_ok() => Ok(()),
        _ => sb.zero_device(addr, len),
    }
}

/// How the inode tells of its blocks. It has blocks, or may have some.
#[inline]
pub fn fork(inode: &INode) -> Fork {
    Fork::of(
        inode.data().flags.load(Relaxed),
        inode.sb().block_size() as u32,
    )
}

/// Whether the inode has blocks, as its map tells.
pub fn has_blocks(inode: &INode) -> bool {
    !fork(inode).is_empty(&inode.data().extents.root())
}

/// [`EFBIG`] if a file of `size` bytes has more blocks than its map can tell of.
pub fn check_size(inode: &INode, size: u64) -> Result {
    let blocks = size.div_ceil(inode.sb().block_size() as u64);
    if blocks > fork(inode).limit().into() {
        return Err(EFBIG);
    }
    Ok(())
}

fn blocks(inode: &INode) -> Blocks {
    inode.sb().data().get_ref().geometry().blocks()
}

/// What begins the checksums of the metadata blocks of an inode, if there are checksums.
pub fn csum(inode: &INode) -> Option<Csum> {
    let csum = inode.sb().data().get_ref().geometry().csum();
    csum.map(|csum| csum.for_inode(inode.ino() as u32, inode.generation()))
}

/// A node of the tree of an inode, or a block of pointers, which has no checksum.
struct NodeFormat {
    fork: Fork,
    csum: Option<Csum>,
    blocks: Blocks,
}

impl NodeFormat {
    fn of(inode: &INode) -> Self {
        let fork = fork(inode);
        Self {
            fork,
            csum: csum(inode).filter(|_| fork.has_extents()),
            blocks: blocks(inode),
        }
    }
}

impl Format for NodeFormat {
    const NAME: &'static str = "block map";

    fn verify(&self, bytes: &[u8]) -> ondisk::Result {
        if let Some(csum) = self.csum {
            extent::verify(bytes, csum)?;
        }
        self.fork.check(bytes, &self.blocks)
    }

    fn seal(&self, bytes: &mut [u8]) -> ondisk::Result {
        match self.csum {
            Some(csum) => extent::seal(bytes, csum),
            None => Ok(()),
        }
    }
}

/// The nodes of a tree, to look at. The extent lock is held.
struct Nodes<'a> {
    inode: &'a INode,
}

impl tree::Read for Nodes<'_> {
    type Error = Error;
    type View = View;

    fn blocks(&self) -> Blocks {
        blocks(self.inode)
    }

    fn view(&mut self, at: BlockNr) -> Result<View> {
        let format = NodeFormat::of(self.inode);
        View::read(self.inode.sb(), Some(self.inode), at, &format)
    }

    fn error(&self, at: Option<BlockNr>, error: ondisk::Error) -> Error {
        let at = At::inode(self.inode.ino(), at.map_or(0, BlockNr::get));
        report(self.inode.sb(), NodeFormat::NAME, at, error)
    }
}

/// The nodes of a tree, to be changed. The extent lock is held exclusively.
struct Edit<'t> {
    tx: &'t Transaction<'t>,
    inode: &'t INode,
}

impl tree::Read for Edit<'_> {
    type Error = Error;
    type View = View;

    fn blocks(&self) -> Blocks {
        blocks(self.inode)
    }

    fn view(&mut self, at: BlockNr) -> Result<View> {
        Nodes { inode: self.inode }.view(at)
    }

    fn error(&self, at: Option<BlockNr>, error: ondisk::Error) -> Error {
        Nodes { inode: self.inode }.error(at, error)
    }
}

impl<'t> tree::Store for Edit<'t> {
    type Node = MetaBlock<'t, NodeFormat>;

    fn read(&mut self, at: BlockNr) -> Result<Self::Node> {
        MetaBlock::read(self.tx, Some(self.inode), at, NodeFormat::of(self.inode))
    }

    fn write(&mut self, _at: BlockNr, node: Self::Node) -> Result {
        node.commit()
    }

    fn alloc(&mut self, goal: BlockNr) -> Result<(BlockNr, Self::Node)> {
        let request = Request {
            goal: Goal::At(goal),
            lblk: 0,
            len: 1,
            tree: true,
        };
        let run = alloc::alloc_blocks(self.tx, self.inode, request)?;
        let at = run.start();
        match MetaBlock::create(self.tx, Some(self.inode), at, NodeFormat::of(self.inode)) {
            Ok(node) => Ok((at, node)),
            Err(err) => {
                alloc::free_blocks(self.tx, self.inode, run)?;
                Err(err)
            }
        }
    }

    fn free(&mut self, at: BlockNr) -> Result {
        self.tx.forget(at.get());
        alloc::free_blocks(self.tx, self.inode, at.into())
    }
}
