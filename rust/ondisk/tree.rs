// SPDX-License-Identifier: GPL-2.0

//! Extent trees: which blocks of the file system hold the blocks of a file.
//!
//! A tree is its root, the 60 bytes of `i_block`, and the nodes below, which a [`Store`] reads, writes,
//! allocates and frees. Every change is one call of [`insert`], [`convert`], [`remove`],
//! [`shift_left`] or [`shift_right`], and works in the same way: walk from the root to one leaf over private copies of the nodes, allocate what new
//! nodes it takes, change the copies, and only then hand them to [`Store::write`] and set the root. So
//! an error before that leaves the tree as it was, and no call touches more nodes than
//! [`nodes_touched`] says: a transaction can reserve room for it.
//!
//! # Invariants of a tree
//!
//! All leaves are equally deep. Extents ascend and do not overlap. The key of a node in its parent is
//! that of its first entry (when read, it may be less). No node but the root is empty.
//!
//! # Trees made by an enemy
//!
//! The depth of a child must be one less than its parent's, so no walk is longer than
//! [`MAX_DEPTH`] even if blocks form a cycle. The keys of a child must lie between its own key in the
//! parent and the next one, so what is found for a logical block is about that block.

mod edit;

use self::edit::Edit;
use super::extent::{
    Bytes,
    Node,
    ValidExtent,
    MAX_DEPTH,
    MAX_UNWRITTEN_LEN,
    ROOT_SIZE, //
};
use super::{
    BlockNr,
    Blocks,
    Error, //
};

/// The root of a tree: `i_block`.
pub type Root = [u8; ROOT_SIZE];

/// One past the last logical block that a file can have.
pub const END: u32 = u32::MAX;

/// The most extents that one call of [`remove`] takes out of the tree.
pub const MAX_REMOVED: usize = 16;

/// The most nodes in blocks that one call changes, makes or frees, for a root of the depth given.
///
/// These are the nodes of one path, a new one beside each, and one more for a new level.
pub const fn nodes_touched(depth: usize) -> usize {
    2 * depth + 1
}

/// The most nodes that one call allocates, for a root of the depth given.
pub const fn nodes_allocated(depth: usize) -> usize {
    depth + 1
}

/// `eh_depth` of a root, for [`nodes_touched`]; [`MAX_DEPTH`] if it makes no sense.
pub fn depth(root: &Root) -> usize {
    Node::new(root).map_or(MAX_DEPTH, |node| node.depth())
}

/// Whether a root that makes sense maps nothing.
pub fn is_empty(root: &Root) -> bool {
    Node::new(root).is_ok_and(|node| node.entries() == 0)
}

/// What reads the nodes of a tree.
pub trait Read {
    /// What can go wrong.
    type Error;

    /// A node in place, from which a lookup copies only what it needs.
    type View: Bytes;

    /// The block numbers of the file system.
    fn blocks(&self) -> Blocks;

    /// The node in block `at`, its checksum verified and its entries checked
    /// ([`check`](super::extent::check)) since it was read from disk.
    fn view(&mut self, at: BlockNr) -> Result<Self::View, Self::Error>;

    /// The error for what is wrong with the node in block `at`, or with the root.
    ///
    /// [`Error::Full`] is not the tree's fault: it is as deep as can be.
    fn error(&self, at: Option<BlockNr>, error: Error) -> Self::Error;
}

/// What reads and changes the nodes of a tree.
pub trait Store: Read {
    /// A private copy of a node, the size of a block.
    type Node: AsRef<[u8]> + AsMut<[u8]>;

    /// A copy of the node in block `at`, verified as for [`Read::view`].
    fn read(&mut self, at: BlockNr) -> Result<Self::Node, Self::Error>;

    /// Makes `node` the content of block `at`, which it was read from or allocated for, and puts the
    /// checksum in ([`seal`](super::extent::seal)).
    ///
    /// Calls of it and of [`Store::free`] for one change come after all that can fail in the tree. If
    /// one of them fails, the tree on disk may be half changed.
    fn write(&mut self, at: BlockNr, node: Self::Node) -> Result<(), Self::Error>;

    /// Allocates a block for a node, if possible near `goal`. Its content does not matter.
    fn alloc(&mut self, goal: BlockNr) -> Result<(BlockNr, Self::Node), Self::Error>;

    /// Frees the block of a node that is no longer part of the tree.
    fn free(&mut self, at: BlockNr) -> Result<(), Self::Error>;
}

/// What a tree says of one logical block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// It lies in this extent.
    Extent(ValidExtent),
    /// It is not mapped, nor is any block from it up to, not including, `end`.
    Hole {
        /// Where the next extent begins, or [`END`].
        end: u32,
    },
}

/// What the tree has for logical block `lblk`.
///
/// Reads one node a level, and of each only what a binary search looks at.
pub fn lookup<R: Read>(root: &Root, store: &mut R, lblk: u32) -> Result<Mapping, R::Error> {
    let blocks = store.blocks();
    let mut span = Span { low: 0, high: END };
    let step = |node: Node<&Root>| span.step(&node, &blocks, lblk).map(|s| (s, node.depth()));
    let (mut step, mut depth) = Node::new(root)
        .and_then(step)
        .map_err(|error| store.error(None, error))?;
    loop {
        let at = match step {
            Step::Found(mapping) => return Ok(mapping),
            Step::Down(at) => at,
        };
        let view = store.view(at)?;
        step = child(view, depth)
            .and_then(|node| span.step(&node, &blocks, lblk))
            .map_err(|error| store.error(Some(at), error))?;
        depth -= 1;
    }
}

/// The extent that holds `lblk`, or else the next one after it.
pub fn next_extent<R: Read>(
    root: &Root,
    store: &mut R,
    mut lblk: u32,
) -> Result<Option<ValidExtent>, R::Error> {
    // The end of a hole is where an extent begins, or, in a tree not made by us, the key of a node
    // that has it further on: one more step then for each level.
    while lblk < END {
        match lookup(root, store, lblk)? {
            Mapping::Extent(extent) => return Ok(Some(extent)),
            Mapping::Hole { end } => lblk = end,
        }
    }
    Ok(None)
}

/// Adds `extent`, none of whose blocks may be mapped yet. It becomes one with its neighbours where
/// that is possible.
pub fn insert<S: Store>(
    root: &mut Root,
    store: &mut S,
    extent: ValidExtent,
) -> Result<(), S::Error> {
    let mut edit = Edit::new(root, store);
    edit.descend(extent.lblk())?;
    let pos = edit.leaf_pos;
    let left = edit.extent_before(pos)?;
    let right = edit.extent(pos)?;
    if left.is_some_and(|left| left.end() > extent.lblk())
        || right.map_or(edit.span.high, |right| right.lblk()) < extent.end()
    {
        return Err(edit.leaf_error(Error::Corrupt("extent to be added is mapped already")));
    }
    edit.replace(pos, 0, [Some(extent), None, None])?;
    edit.publish(root)
}

/// Makes what the first extent in the logical blocks from `from` up to `to` has there `unwritten` or
/// written, as told, and answers from where to go on: all is done when that is `to`.
///
/// Each call converts at most one extent, and looks at one leaf. Holes stay holes.
pub fn convert<S: Store>(
    root: &mut Root,
    store: &mut S,
    from: u32,
    to: u32,
    unwritten: bool,
) -> Result<u32, S::Error> {
    if from >= to {
        return Ok(to);
    }
    let mut edit = Edit::new(root, store);
    edit.descend(from)?;
    let mut pos = edit.leaf_pos;
    let before = edit.extent_before(pos)?.filter(|e| e.contains(from));
    let found = match before {
        Some(_) => before,
        None => edit.extent(pos)?,
    };
    pos -= usize::from(before.is_some());
    let Some(extent) = found else {
        return Ok(edit.span.high.min(to));
    };
    if extent.lblk() >= to || extent.is_unwritten() == unwritten {
        return Ok(extent.end().min(to));
    }
    let begin = extent.lblk().max(from);
    let end = to.min(begin.saturating_add(MAX_UNWRITTEN_LEN));
    let part = extent.part(begin, end);
    let Some(changed) = part.and_then(|part| part.with_unwritten(unwritten)) else {
        return Ok(to);
    };
    let before = extent.part(0, changed.lblk());
    let after = extent.part(changed.end(), END);
    edit.replace(pos, 1, [before, Some(changed), after])?;
    edit.publish(root)?;
    Ok(changed.end())
}

/// What [`remove`] took out of a tree.
#[derive(Clone, Copy, Debug, Default)]
pub struct Removed {
    extents: [Option<ValidExtent>; MAX_REMOVED],
    count: usize,
    rest: Option<u32>,
}

impl Removed {
    /// The extents taken out, from the last to the first: their blocks are the caller's to free.
    pub fn extents(&self) -> impl Iterator<Item = ValidExtent> + '_ {
        self.extents.iter().flatten().copied()
    }

    /// If there may be more to remove: the end of the range that is left.
    pub fn rest(&self) -> Option<u32> {
        self.rest
    }

    pub(super) fn set_rest(&mut self, rest: Option<u32>) {
        self.rest = rest;
    }

    /// Notes one more; tells whether there was room.
    pub(super) fn push(&mut self, extent: ValidExtent) -> bool {
        let Some(slot) = self.extents.get_mut(self.count) else {
            return false;
        };
        *slot = Some(extent);
        self.count += 1;
        true
    }
}

/// Unmaps logical blocks of the range from `from` up to, not including, `to`, beginning at its right
/// end.
///
/// Each call takes at most [`MAX_REMOVED`] extents, all from one leaf; to unmap all, call it again with
/// [`Removed::rest`] for `to` while there is one. Each call leaves a complete tree, so that each can be
/// a transaction of its own. It allocates nodes only where the range begins and ends within one extent.
pub fn remove<S: Store>(
    root: &mut Root,
    store: &mut S,
    from: u32,
    to: u32,
) -> Result<Removed, S::Error> {
    remove_at_most(root, store, from, to, u32::MAX)
}

/// [`remove`] that takes at most `max` blocks, at least one, in one call.
pub fn remove_at_most<S: Store>(
    root: &mut Root,
    store: &mut S,
    from: u32,
    to: u32,
    max: u32,
) -> Result<Removed, S::Error> {
    let mut removed = Removed::default();
    if from >= to {
        return Ok(removed);
    }
    let mut room = max.max(1);
    let mut edit = Edit::new(root, store);
    edit.descend(to - 1)?;
    let end = edit.leaf_pos;
    let mut pos = end;
    let (mut before, mut after) = (None, None);
    loop {
        let Some(extent) = edit.extent_before(pos)? else {
            // In a leaf further to the left there may be more.
            removed.rest = Some(edit.span.low).filter(|low| *low > from);
            break;
        };
        let least = extent.end().min(to).saturating_sub(room);
        let Some(part) = extent.part(from.max(least), to) else {
            // It lies before the range, or there is no room for any of it.
            removed.rest = Some(extent.end()).filter(|end| room == 0 && *end > from);
            break;
        };
        if !removed.push(part) {
            removed.rest = Some(extent.end());
            break;
        }
        pos -= 1;
        room = room.saturating_sub(part.len());
        before = extent.part(0, part.lblk());
        after = after.or(extent.part(to, END));
        if before.is_some() {
            removed.rest = Some(part.lblk()).filter(|lblk| *lblk > from);
            break;
        }
    }
    if removed.count > 0 {
        edit.replace(pos, end - pos, [before, after, None])?;
        edit.shrink()?;
        edit.publish(root)?;
    }
    Ok(removed)
}

/// Moves all extents from `from` on, of which the `by` blocks before it have none, by `by` blocks to the
/// left, and answers from where to go on: all is done when that is [`END`].
///
/// Each call moves the extents of one leaf, and leaves a complete tree: so each can be a transaction of
/// its own. It allocates nothing. Nobody may use the tree in between.
pub fn shift_left<S: Store>(
    root: &mut Root,
    store: &mut S,
    from: u32,
    by: u32,
) -> Result<u32, S::Error> {
    let mut edit = Edit::new(root, store);
    edit.descend(from)?;
    let next = edit.span.high;
    let first = edit.position(from)?;
    let room = edit.extent_before(first)?.map_or(0, |left| left.end());
    if edit.extent(first)?.is_some() {
        if from.checked_sub(by).is_none_or(|to| to < room) {
            return Err(edit.leaf_error(Error::Corrupt("extent to be moved has no room")));
        }
        edit.shift(first..usize::MAX, -i64::from(by))?;
        // What meets again there becomes one.
        edit.replace(first, 1, [edit.extent(first)?, None, None])?;
        edit.publish(root)?;
    }
    Ok(next)
}

/// Moves all extents from `from` up to `to`, which is [`END`] in the first call, by `by` blocks to the
/// right, and answers what `to` is in the next: all is done when that is `from`. An extent that `from`
/// lies in is cut in two.
///
/// As for [`shift_left`], from the last leaf to the first; what is allocated is for the cut. The first
/// call fails with [`Error::TooLarge`], and nothing has moved, if blocks would get past [`END`].
pub fn shift_right<S: Store>(
    root: &mut Root,
    store: &mut S,
    from: u32,
    to: u32,
    by: u32,
) -> Result<u32, S::Error> {
    if from >= to {
        return Ok(from);
    }
    let mut edit = Edit::new(root, store);
    edit.descend(to - 1)?;
    let rest = edit.span.low.max(from);
    let end = edit.leaf_pos;
    let last = edit.extent_before(end)?.map_or(0, |last| last.end());
    let room = edit.extent(end)?.map_or(edit.span.high, |next| next.lblk());
    if last > from && last.checked_add(by).is_none_or(|last| last > room) {
        return Err(edit.leaf_error(if room == END {
            Error::TooLarge
        } else {
            Error::Corrupt("extent to be moved has no room")
        }));
    }
    let first = edit.position(from)?;
    edit.shift(first..end, i64::from(by))?;
    let cut = edit.extent_before(first)?.filter(|e| e.contains(from));
    if let Some(extent) = cut {
        let after = extent.part(from, END).and_then(|e| e.shifted(by.into()));
        edit.replace(first - 1, 1, [extent.part(0, from), after, None])?;
    } else if first < end {
        edit.replace(first, 1, [edit.extent(first)?, None, None])?;
    }
    edit.publish(root)?;
    Ok(rest)
}

/// The logical blocks that a node may have entries for.
#[derive(Clone, Copy)]
struct Span {
    low: u32,
    high: u32,
}

/// Where a lookup goes from one node.
enum Step {
    Down(BlockNr),
    Found(Mapping),
}

impl Span {
    /// Whether all keys of `node` are within.
    fn check<B: Bytes>(&self, node: &Node<B>) -> Result<(), Error> {
        let last = node.entries().checked_sub(1).and_then(|pos| node.key(pos));
        if node.key(0).is_some_and(|key| key < self.low) || last >= Some(self.high) {
            return Err(Error::Corrupt("extent node: key outside its range"));
        }
        Ok(())
    }

    /// The span of the child that is to the left of position `next`, or of the first one.
    ///
    /// What is left of the first one's key is its as well: where a new first entry goes.
    fn narrow<B: Bytes>(&mut self, node: &Node<B>, next: usize) {
        if let Some(pos) = next.checked_sub(1) {
            self.low = node.key(pos).unwrap_or(self.low);
        }
        self.high = node.key(next.max(1)).unwrap_or(self.high);
    }

    /// Looks `lblk` up in `node`. If that leads to a child, `self` becomes the child's span.
    fn step<B: Bytes>(
        &mut self,
        node: &Node<B>,
        blocks: &Blocks,
        lblk: u32,
    ) -> Result<Step, Error> {
        self.check(node)?;
        let next = node.find(lblk);
        let end = node.key(next).unwrap_or(self.high);
        let Some(pos) = next.checked_sub(1) else {
            return Ok(Step::Found(Mapping::Hole { end }));
        };
        if node.depth() > 0 {
            self.narrow(node, next);
            return node.child(pos, blocks).map(Step::Down);
        }
        match node.extent(pos, blocks)? {
            Some(extent) if extent.end() > end => Err(Error::Corrupt("extents overlap")),
            Some(extent) if extent.contains(lblk) => Ok(Step::Found(Mapping::Extent(extent))),
            _ => Ok(Step::Found(Mapping::Hole { end })),
        }
    }
}

/// Takes `bytes` for a child of a node of depth `parent`.
fn child<B: Bytes>(bytes: B, parent: usize) -> Result<Node<B>, Error> {
    let node = Node::new(bytes)?;
    if node.depth() + 1 != parent {
        return Err(Error::Corrupt(
            "extent node: depth is not its parent's less one",
        ));
    }
    if node.entries() == 0 {
        return Err(Error::Corrupt("extent node: empty"));
    }
    Ok(node)
}
