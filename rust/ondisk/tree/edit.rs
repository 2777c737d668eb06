// SPDX-License-Identifier: GPL-2.0

//! A change of an extent tree: private copies of one path, edited, then published.

use core::{
    array,
    ops::Range, //
};

use super::super::extent::{
    Entry,
    Node,
    ValidExtent,
    MAX_DEPTH, //
};
use super::super::{
    BlockNr,
    Blocks,
    Error, //
};
use super::{
    child,
    Root,
    Span,
    Store,
    END, //
};

/// A node of the path below the root.
struct Level<N> {
    at: BlockNr,
    node: N,
    dirty: bool,
    /// Of an index node, the position of the child on the path.
    pos: usize,
}

/// A change under way: private copies of the nodes from the root to a leaf.
///
/// Levels are counted from the root, which is level 0, to the leaf.
///
/// # Invariants
///
/// `levels[n]` is there for `n < depth`, and is level `n + 1`.
pub(super) struct Edit<'a, S: Store> {
    store: &'a mut S,
    blocks: Blocks,
    root: Root,
    root_pos: usize,
    levels: [Option<Level<S::Node>>; MAX_DEPTH],
    depth: usize,
    /// Nodes allocated, to be used in this change.
    spare: [Option<(BlockNr, S::Node)>; MAX_DEPTH + 1],
    /// New nodes beside those of the path.
    fresh: [Option<(BlockNr, S::Node)>; MAX_DEPTH + 1],
    /// Blocks of nodes that are no longer part of the tree.
    freed: [Option<BlockNr>; 2 * MAX_DEPTH],
    /// In the leaf, the number of extents that begin at the block looked for or before.
    pub(super) leaf_pos: usize,
    /// The blocks that the leaf is for.
    pub(super) span: Span,
}

impl<'a, S: Store> Edit<'a, S> {
    /// A change of which no path is known yet; [`descend`](Self::descend) comes next.
    ///
    /// Cannot fail, so that this large value is made where it stays; and is not copied from a constant, nodes
    /// that are not there and all.
    pub(super) fn new(root: &Root, store: &'a mut S) -> Self {
        let blocks = store.blocks();
        // INVARIANT: No levels yet.
        Self {
            store,
            blocks,
            root: *root,
            root_pos: 0,
            levels: array::from_fn(|_| None),
            depth: 0,
            spare: array::from_fn(|_| None),
            fresh: array::from_fn(|_| None),
            freed: [None; 2 * MAX_DEPTH],
            leaf_pos: 0,
            span: Span { low: 0, high: END },
        }
    }

    /// Copies the path to the leaf for `lblk`.
    pub(super) fn descend(&mut self, lblk: u32) -> Result<(), S::Error> {
        loop {
            let level = self.depth;
            let mut span = self.span;
            let blocks = self.blocks;
            let (pos, depth, at) = self.look(level, |node| {
                span.check(node)?;
                let pos = node.find(lblk);
                if node.depth() == 0 {
                    return Ok((pos, 0, None));
                }
                span.narrow(node, pos);
                let pos = pos.saturating_sub(1);
                Ok((pos, node.depth(), Some(node.child(pos, &blocks)?)))
            })?;
            self.span = span;
            let Some(at) = at else {
                self.leaf_pos = pos;
                return Ok(());
            };
            self.set_pos(level, pos);
            self.push(level, at, depth)?;
        }
    }

    /// Reads the node in block `at`, a child of the deepest one so far, which has the depth given.
    fn push(&mut self, level: usize, at: BlockNr, parent: usize) -> Result<(), S::Error> {
        let node = self.store.read(at)?;
        child(node.as_ref(), parent).map_err(|error| self.store.error(Some(at), error))?;
        // The depths of nodes count down from that of the root, so there is a slot.
        if let Some(slot) = self.levels.get_mut(level) {
            *slot = Some(Level {
                at,
                node,
                dirty: false,
                pos: 0,
            });
            // INVARIANT: One more at the end.
            self.depth = level + 1;
        }
        Ok(())
    }

    fn level(&self, level: usize) -> Option<&Level<S::Node>> {
        self.levels.get(level.checked_sub(1)?)?.as_ref()
    }

    fn level_mut(&mut self, level: usize) -> Option<&mut Level<S::Node>> {
        self.levels.get_mut(level.checked_sub(1)?)?.as_mut()
    }

    /// The position, in the node at `level`, of the child on the path.
    fn pos(&self, level: usize) -> usize {
        self.level(level).map_or(self.root_pos, |level| level.pos)
    }

    fn set_pos(&mut self, level: usize, pos: usize) {
        match self.level_mut(level) {
            Some(level) => level.pos = pos,
            None => self.root_pos = pos,
        }
    }

    pub(super) fn leaf_error(&self, error: Error) -> S::Error {
        self.store
            .error(self.level(self.depth).map(|l| l.at), error)
    }

    /// Looks at the node at `level`.
    fn look<T>(
        &self,
        level: usize,
        f: impl FnOnce(&Node<&[u8]>) -> Result<T, Error>,
    ) -> Result<T, S::Error> {
        let (at, bytes) = match self.level(level) {
            Some(level) => (Some(level.at), level.node.as_ref()),
            None => (None, self.root.as_ref()),
        };
        Node::new(bytes)
            .and_then(|node| f(&node))
            .map_err(|error| self.store.error(at, error))
    }

    /// Changes the node at `level`.
    fn change<T>(
        &mut self,
        level: usize,
        f: impl FnOnce(&mut Node<&mut [u8]>) -> Result<T, Error>,
    ) -> Result<T, S::Error> {
        let slot = level.checked_sub(1).and_then(|n| self.levels.get_mut(n));
        let (at, bytes) = match slot.and_then(|slot| slot.as_mut()) {
            Some(level) => {
                level.dirty = true;
                (Some(level.at), level.node.as_mut())
            }
            None => (None, self.root.as_mut()),
        };
        Node::new(bytes)
            .and_then(|mut node| f(&mut node))
            .map_err(|error| self.store.error(at, error))
    }

    /// The extent at `pos` of the leaf.
    pub(super) fn extent(&self, pos: usize) -> Result<Option<ValidExtent>, S::Error> {
        self.look(self.depth, |leaf| leaf.extent(pos, &self.blocks))
    }

    /// The extent before position `pos` of the leaf.
    pub(super) fn extent_before(&self, pos: usize) -> Result<Option<ValidExtent>, S::Error> {
        match pos.checked_sub(1) {
            Some(pos) => self.extent(pos),
            None => Ok(None),
        }
    }

    /// The position in the leaf of the first extent that begins with `lblk` or after.
    pub(super) fn position(&self, lblk: u32) -> Result<usize, S::Error> {
        self.look(self.depth, |leaf| {
            let pos = leaf.find(lblk);
            let before = pos.checked_sub(1).filter(|p| leaf.key(*p) == Some(lblk));
            Ok(before.unwrap_or(pos))
        })
    }

    /// Moves the extents at `range` of the leaf by `by` blocks, where they find room.
    pub(super) fn shift(&mut self, range: Range<usize>, by: i64) -> Result<(), S::Error> {
        let blocks = self.blocks;
        self.change(self.depth, |leaf| {
            for at in range.start..range.end.min(leaf.entries()) {
                let moved = leaf.extent(at, &blocks)?.and_then(|e| e.shifted(by));
                let moved = moved.ok_or(Error::Corrupt("extent to be moved has no room"))?;
                leaf.set_key(at, moved.lblk());
            }
            Ok(())
        })
    }

    /// Replaces the `remove` extents from `pos` of the leaf on by those given, merged with each other
    /// and with their neighbours.
    ///
    /// At most two more may be given than are removed.
    pub(super) fn replace(
        &mut self,
        mut pos: usize,
        mut remove: usize,
        extents: [Option<ValidExtent>; 3],
    ) -> Result<(), S::Error> {
        let left = self.extent_before(pos)?;
        let right = self.extent(pos + remove)?;
        let given = extents.iter().flatten();
        // A neighbour that does not merge stays where it is.
        let merge = |a: Option<ValidExtent>, b: Option<&ValidExtent>| {
            a.zip(b)
                .is_some_and(|(a, b)| a.merge(b, &self.blocks).is_some())
        };
        let left = left.filter(|_| merge(left, given.clone().next()));
        let right = right.filter(|_| merge(given.clone().last().copied(), right.as_ref()));
        pos -= usize::from(left.is_some());
        remove += usize::from(left.is_some()) + usize::from(right.is_some());

        let mut merged = [None; 3];
        let mut last = 0;
        for extent in left.iter().chain(given).chain(&right) {
            let before: Option<ValidExtent> = merged.get(last).copied().flatten();
            let whole = before.and_then(|before| before.merge(extent, &self.blocks));
            last += usize::from(before.is_some() && whole.is_none());
            if let Some(slot) = merged.get_mut(last) {
                *slot = Some(whole.unwrap_or(*extent));
            }
        }
        match merged.map(|extent| extent.map(Entry::from)) {
            [Some(a), Some(b), Some(c)] => self.splice(pos, remove, &[a, b, c]),
            [Some(a), Some(b), None] => self.splice(pos, remove, &[a, b]),
            [Some(a), None, _] => self.splice(pos, remove, &[a]),
            [None, ..] => self.splice(pos, remove, &[]),
        }
    }

    /// Replaces entries of the leaf, and splits or drops nodes as that asks for.
    fn splice(&mut self, pos: usize, remove: usize, insert: &[Entry]) -> Result<(), S::Error> {
        let leaf = self.depth;
        let room = self.look(leaf, |node| {
            Ok(node.max() + remove >= node.entries() + insert.len())
        })?;
        if room {
            self.change(leaf, |node| node.splice(pos, remove, insert))?;
            return self.settle(leaf, pos);
        }
        self.reserve()?;
        self.change(leaf, |node| node.splice(pos, remove, &[]))?;
        if self.is_root_full()? {
            self.grow()?;
        }
        self.insert_split(pos, insert)
    }

    /// Whether a split of the leaf means one of every node above it.
    fn is_root_full(&self) -> Result<bool, S::Error> {
        Ok(self.splits()? == self.depth && self.is_full(0)?)
    }

    fn is_full(&self, level: usize) -> Result<bool, S::Error> {
        // A leaf that is to be split is full, whatever was removed first.
        Ok(level == self.depth || self.look(level, |node| Ok(node.entries() == node.max()))?)
    }

    /// How many nodes below the root, from the leaf up, have no room for one more.
    fn splits(&self) -> Result<usize, S::Error> {
        let mut count = 0;
        while count < self.depth && self.is_full(self.depth - count)? {
            count += 1;
        }
        Ok(count)
    }

    /// Allocates the nodes that a split of the leaf takes. On an error none stays allocated.
    fn reserve(&mut self) -> Result<(), S::Error> {
        let full = self.is_root_full()?;
        if full && self.depth == MAX_DEPTH {
            return Err(self.store.error(None, Error::Full));
        }
        let goal = match self.level(self.depth) {
            Some(leaf) => leaf.at,
            None => self
                .extent(0)?
                .ok_or_else(|| self.leaf_error(Error::Full))?
                .pblk(),
        };
        let count = self.splits()? + usize::from(full);
        for slot in self.spare.iter_mut().take(count) {
            match self.store.alloc(goal) {
                Ok(node) => *slot = Some(node),
                Err(error) => {
                    for (at, _) in self.spare.iter_mut().filter_map(Option::take) {
                        self.store.free(at)?;
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Takes a reserved node and makes it one of the depth given.
    fn take_spare(&mut self, depth: usize) -> Result<(BlockNr, S::Node), S::Error> {
        let spare = self.spare.iter_mut().find_map(Option::take);
        let (at, mut node) = spare.ok_or_else(|| self.store.error(None, Error::Full))?;
        Node::init(node.as_mut(), depth).map_err(|error| self.store.error(Some(at), error))?;
        Ok((at, node))
    }

    /// Adds a level: moves the entries of the root to a new node, its only child.
    fn grow(&mut self) -> Result<(), S::Error> {
        let depth = self.look(0, |root| Ok(root.depth()))?;
        let (at, mut node) = self.take_spare(depth)?;
        self.change(0, |root| {
            let mut child = Node::new(node.as_mut())?;
            root.move_tail(0, &mut child)?;
            root.set_depth(depth + 1)?;
            // In a leaf from which all was removed there is no key; settling it sets the right one.
            root.splice(0, 0, &[Entry::index(child.key(0).unwrap_or(0), at)])
        })?;
        // The deepest slot is free, since the tree was not as deep as can be.
        self.levels.rotate_right(1);
        if let Some(slot) = self.levels.first_mut() {
            *slot = Some(Level {
                at,
                node,
                dirty: true,
                pos: self.root_pos,
            });
        }
        self.root_pos = 0;
        // INVARIANT: One more at the beginning.
        self.depth += 1;
        Ok(())
    }

    /// Inserts entries at `pos` of the leaf, and splits it and the nodes above as needed.
    fn insert_split(&mut self, mut pos: usize, insert: &[Entry]) -> Result<(), S::Error> {
        let mut index;
        let mut insert = insert;
        for level in (0..=self.depth).rev() {
            let fits = self.look(
                level,
                |node| Ok(node.entries() + insert.len() <= node.max()),
            )?;
            if fits {
                self.change(level, |node| node.splice(pos, 0, insert))?;
                return self.settle(level, pos);
            }
            let depth = self.look(level, |node| Ok(node.depth()))?;
            let (at, mut bytes) = self.take_spare(depth)?;
            let key = self.change(level, |left| {
                let mut right = Node::new(bytes.as_mut())?;
                split(left, &mut right, pos, insert)?;
                right.key(0).ok_or(Error::Full)
            })?;
            if let Some(slot) = self.fresh.get_mut(level) {
                *slot = Some((at, bytes));
            }
            self.settle(level, pos)?;
            index = [Entry::index(key, at)];
            insert = &index;
            pos = level.checked_sub(1).map_or(0, |parent| self.pos(parent)) + 1;
        }
        Ok(())
    }

    /// Makes the nodes above agree with what was done at `pos` of the node at `level`: if that node is
    /// empty it goes, and if it begins elsewhere its key changes.
    fn settle(&mut self, level: usize, pos: usize) -> Result<(), S::Error> {
        let (mut level, mut pos) = (level, pos);
        while let Some(parent) = level.checked_sub(1) {
            let first = self.look(level, |node| Ok(node.key(0)))?;
            let at = self.pos(parent);
            match first {
                Some(_) if pos > 0 => return Ok(()),
                Some(key) => {
                    if self.look(parent, |node| Ok(node.key(at) == Some(key)))? {
                        return Ok(());
                    }
                    self.change(parent, |node| {
                        node.set_key(at, key);
                        Ok(())
                    })?;
                }
                None => {
                    self.drop_level(level);
                    self.change(parent, |node| node.splice(at, 1, &[]))?;
                }
            }
            (level, pos) = (parent, at);
        }
        self.change(0, |root| match root.entries() {
            0 => root.set_depth(0),
            _ => Ok(()),
        })
    }

    /// Takes the node at `level` out of the path; its block is to be freed.
    fn drop_level(&mut self, level: usize) {
        let Some(rest) = level.checked_sub(1).and_then(|n| self.levels.get_mut(n..)) else {
            return;
        };
        let gone = rest.first_mut().and_then(Option::take);
        rest.rotate_left(1);
        if let Some(gone) = gone {
            // INVARIANT: One less, and those after it moved up.
            self.depth -= 1;
            self.note_freed(gone.at);
        }
    }

    fn note_freed(&mut self, at: BlockNr) {
        if let Some(slot) = self.freed.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(at);
        }
    }

    /// Removes levels that are not needed: while the root has one child whose entries fit the root,
    /// they move there.
    pub(super) fn shrink(&mut self) -> Result<(), S::Error> {
        let blocks = self.blocks;
        loop {
            let (depth, only) = self.look(0, |root| {
                let only = root.depth() > 0 && root.entries() == 1;
                let at = only.then(|| root.child(0, &blocks)).transpose()?;
                Ok((root.depth(), at))
            })?;
            let Some(at) = only else {
                return Ok(());
            };
            if self.level(1).is_none_or(|level| level.at != at) {
                // The one on the path has gone, and with it the path.
                self.push(0, at, depth)?;
            }
            let max = self.look(0, |root| Ok(root.max()))?;
            if self.look(1, |node| Ok(node.entries()))? > max {
                return Ok(());
            }
            let Some(mut child) = self.levels.first_mut().and_then(Option::take) else {
                return Ok(());
            };
            self.change(0, |root| {
                root.splice(0, 1, &[])?;
                root.set_depth(depth - 1)?;
                Node::new(child.node.as_mut())?.move_tail(0, root)
            })?;
            self.levels.rotate_left(1);
            // INVARIANT: One less, and those after it moved up.
            self.depth -= 1;
            self.note_freed(at);
        }
    }

    /// Hands the changed nodes to the store and sets the root: the end of the change.
    pub(super) fn publish(&mut self, root: &mut Root) -> Result<(), S::Error> {
        for slot in &mut self.levels {
            if let Some(level) = slot.take_if(|level| level.dirty) {
                self.store.write(level.at, level.node)?;
            }
        }
        for slot in &mut self.fresh {
            if let Some((at, node)) = slot.take() {
                self.store.write(at, node)?;
            }
        }
        // INVARIANT: What is left in the levels is not looked at again.
        self.depth = 0;
        *root = self.root;
        for at in self.freed.into_iter().flatten() {
            self.store.free(at)?;
        }
        Ok(())
    }
}

/// Moves the upper part of `left` to the empty node `right` and inserts entries at what was `pos`.
///
/// A file that grows at its end fills its nodes: then nothing moves, and the new entries go to the
/// new node.
fn split(
    left: &mut Node<&mut [u8]>,
    right: &mut Node<&mut [u8]>,
    pos: usize,
    insert: &[Entry],
) -> Result<(), Error> {
    let entries = left.entries();
    let middle = if pos == entries { pos } else { entries / 2 };
    left.move_tail(middle, right)?;
    if pos < entries && pos <= middle {
        left.splice(pos, 0, insert)
    } else {
        right.splice(pos - middle, 0, insert)
    }
}
