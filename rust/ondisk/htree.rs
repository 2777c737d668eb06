// SPDX-License-Identifier: GPL-2.0

//! The index of a directory: which block has the names of which hashes.
//!
//! The first block of an indexed directory is the root of a tree, with `.` and `..` before it. Nodes
//! map ranges of hashes to blocks of the directory: of nodes one level down or, from the lowest level,
//! of leaves, which are ordinary directory blocks. Each entry says from which hash on its block is
//! meant, but for a node's first, whose place the node's limit and count take: its hash is that of the
//! node. Bit 0 of an entry's hash says that the block before has names of the very same hash: whoever
//! does not find such a name there goes on to the next. Format:
//! [`directory.rst`](srctree/Documentation/filesystems/ext4/directory.rst).
//!
//! # Indexes made by an enemy
//!
//! The root says how many levels there are, so no walk down is longer than that. A walk from leaf to
//! leaf ends after as many steps as the directory has blocks.

mod node;

use zerocopy::{
    little_endian::{
        U16,
        U32, //
    },
    FromBytes as _, //
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

pub(super) use self::node::{
    seal,
    verify, //
};

use self::node::Node;
use super::dir::{
    FileType,
    Format, //
};
use super::directory::{
    Layout,
    Place,
    Read,
    Store, //
};
use super::hash::Hasher;
use super::sort::sort_by_key;
use super::{
    Error,
    Result, //
};

/// The most levels of index nodes, the root among them, that any directory can have.
pub const MAX_LEVELS: usize = 3;

/// A way from the root to a leaf.
///
/// # Invariants
///
/// `levels` is from 1 to [`MAX_LEVELS`].
#[derive(Clone)]
pub(super) struct Cursor {
    /// What the directory's names are hashed with.
    pub(super) hasher: Hasher,
    /// The leaf.
    pub(super) leaf: u32,
    /// Node and position in it, from the root down.
    path: [(u32, usize); MAX_LEVELS],
    levels: usize,
    /// How many more leaves may be visited.
    steps: u32,
}

impl Cursor {
    /// Goes to the first leaf that can have names of the hash that `hash` answers.
    pub(super) fn descend<R: Read>(
        dir: &mut R,
        hash: impl FnOnce(&Hasher) -> u32,
    ) -> Result<Self, R::Error> {
        let layout = *dir.layout();
        let view = dir.view(0)?;
        let (hasher, levels, hash, pos, leaf) = Node::root(view, &layout)
            .and_then(|(root, info)| {
                let hasher = layout.hasher(info.version)?;
                let hash = hash(&hasher);
                let pos = root.find(hash);
                let block = child(root.block(pos), dir.blocks())?;
                Ok((hasher, info.levels, hash, pos, block))
            })
            .map_err(|error| dir.error(0, error))?;
        let mut cursor = Self {
            hasher,
            leaf,
            path: [(0, pos); MAX_LEVELS],
            levels,
            steps: dir.blocks(),
        };
        cursor.descend_from(dir, 1, |node| node.find(hash))?;
        Ok(cursor)
    }

    /// Goes on to the next leaf, and answers with its hash as the index has it; nothing if it was the
    /// last one.
    pub(super) fn next<R: Read>(&mut self, dir: &mut R) -> Result<Option<u32>, R::Error> {
        let layout = *dir.layout();
        self.steps = self
            .steps
            .checked_sub(1)
            .ok_or_else(|| dir.error(0, Error::Corrupt("directory index: runs in circles")))?;
        for level in (0..self.levels).rev() {
            let Some((block, pos)) = self.path.get_mut(level) else {
                continue;
            };
            let view = dir.view(*block)?;
            let next = Node::at_level(level, view, &layout)
                .and_then(|node| match node.hash(*pos + 1) {
                    Some(hash) => Ok(Some((hash, child(node.block(*pos + 1), dir.blocks())?))),
                    None => Ok(None),
                })
                .map_err(|error| dir.error(*block, error))?;
            if let Some((hash, block)) = next {
                *pos += 1;
                self.leaf = block;
                self.descend_from(dir, level + 1, |_| 0)?;
                return Ok(Some(hash));
            }
        }
        Ok(None)
    }

    /// Goes down from the block that `leaf` is now, which is the node at `level`, and to the child that
    /// `choose` says.
    fn descend_from<R: Read>(
        &mut self,
        dir: &mut R,
        level: usize,
        choose: impl Fn(&Node<R::View>) -> usize,
    ) -> Result<(), R::Error> {
        let layout = *dir.layout();
        for level in level..self.levels {
            let block = self.leaf;
            let view = dir.view(block)?;
            let (pos, next) = Node::inner(view, &layout)
                .and_then(|node| {
                    let pos = choose(&node);
                    Ok((pos, child(node.block(pos), dir.blocks())?))
                })
                .map_err(|error| dir.error(block, error))?;
            if let Some(place) = self.path.get_mut(level) {
                *place = (block, pos);
            }
            self.leaf = next;
        }
        Ok(())
    }
}

/// The block that an index entry names, if the directory has it and it is not the root.
fn child(block: Option<u32>, blocks: u32) -> Result<u32> {
    block
        .filter(|block| (1..blocks).contains(block))
        .ok_or(Error::Corrupt("directory index: no such block"))
}

/// Looks for `name`, which is neither `.` nor `..`.
pub(super) fn lookup<R: Read>(dir: &mut R, name: &[u8]) -> Result<Option<Place>, R::Error> {
    let format = *dir.layout().format();
    let mut hash = 0;
    let mut cursor = Cursor::descend(dir, |hasher| {
        hash = hasher.hash(name).major;
        hash
    })?;
    loop {
        let block = cursor.leaf;
        let view = dir.view(block)?;
        let found = format
            .find(&view, name)
            .map_err(|error| dir.error(block, error))?;
        if let Some(found) = found {
            return Ok(Some(Place { block, found }));
        }
        if cursor.next(dir)? != Some(hash | 1) {
            return Ok(None);
        }
    }
}

/// Adds an entry; splits what is full.
pub(super) fn insert<S: Store>(
    dir: &mut S,
    name: &[u8],
    ino: u32,
    file_type: FileType,
) -> Result<(), S::Error> {
    let format = *dir.layout().format();
    let mut hash = 0;
    let cursor = Cursor::descend(dir, |hasher| {
        hash = hasher.hash(name).major;
        hash
    })?;
    let view = dir.view(cursor.leaf)?;
    match format.inserting(&view, name, ino, file_type) {
        Ok(patch) => dir.patch(cursor.leaf, view, &patch),
        Err(Error::Full) => {
            let leaf = dir.read(cursor.leaf)?;
            split(dir, &cursor, leaf, |pivot, left, right| {
                let block = if hash >= pivot { right } else { left };
                format.insert(block, name, ino, file_type)
            })
        }
        Err(error) => Err(dir.error(cursor.leaf, error)),
    }
}

/// Splits the leaf that `cursor` is at, whose copy is `left`, lets `add` put something in one of the
/// halves (the right one has the hashes from the first argument on), and tells the index.
fn split<S: Store>(
    dir: &mut S,
    cursor: &Cursor,
    mut left: S::Block,
    add: impl FnOnce(u32, &mut [u8], &mut [u8]) -> Result,
) -> Result<(), S::Error> {
    let layout = *dir.layout();
    let format = layout.format();
    let leaf_error = |dir: &S, error| dir.error(cursor.leaf, error);
    if format.entries(left.as_ref()).take(2).count() < 2 {
        let error = Error::Corrupt("directory block: full, but has no two entries");
        return Err(leaf_error(dir, error));
    }

    // Copies of the nodes from the lowest level up to the first that is not full.
    let mut copies = [const { None }; MAX_LEVELS];
    let mut full = 0;
    for level in (0..cursor.levels).rev() {
        let (block, _) = cursor.path.get(level).copied().unwrap_or_default();
        let bytes = dir.read(block)?;
        let is_full = Node::at_level(level, bytes.as_ref(), &layout)
            .map(|node| node.is_full())
            .map_err(|error| dir.error(block, error))?;
        if let Some(slot) = copies.get_mut(level) {
            *slot = Some(bytes);
        }
        if !is_full {
            break;
        }
        full += 1;
    }
    if full == cursor.levels && cursor.levels == layout.max_levels() {
        return Err(dir.error(0, Error::Full));
    }

    // One for the leaf and one for each full node: the root, too, moves its entries to a new one.
    let count = 1 + full as u32;
    let first = dir.append(count)?;
    let mut fresh = [const { None }; MAX_LEVELS + 1];
    for (slot, block) in fresh.iter_mut().zip(first..first.saturating_add(count)) {
        *slot = Some((block, dir.create(block)?));
    }
    let mut fresh = fresh.into_iter().flatten();
    let mut take = |dir: &S| fresh.next().ok_or_else(|| dir.error(0, Error::Full));

    let (new, mut right) = take(dir)?;
    let pivot = split_leaf(format, &cursor.hasher, left.as_mut(), right.as_mut())
        .map_err(|error| leaf_error(dir, error))?;
    add(pivot & !1, left.as_mut(), right.as_mut()).map_err(|error| leaf_error(dir, error))?;
    dir.write(cursor.leaf, left)?;
    dir.write(new, right)?;

    let mut entry = (pivot, new);
    let copies = copies.into_iter().zip(cursor.path).enumerate().rev();
    for (level, (copy, (block, pos))) in copies {
        let Some(mut bytes) = copy else {
            continue;
        };
        let (hash, child) = entry;
        let mut node = Node::at_level(level, bytes.as_mut(), &layout)
            .map_err(|error| dir.error(block, error))?;
        if !node.is_full() {
            node.insert(pos + 1, hash, child)
                .map_err(|error| dir.error(block, error))?;
            return dir.write(block, bytes);
        }
        let (new, mut other) = take(dir)?;
        let moved = if level == 0 {
            grow(&mut node, other.as_mut(), &layout, cursor.levels, new)
                .and_then(|mut below| below.insert(pos + 1, hash, child))
                .map(|()| 0)
        } else {
            split_node(&mut node, other.as_mut(), &layout, (pos + 1, hash, child))
        };
        entry = (moved.map_err(|error| dir.error(block, error))?, new);
        dir.write(block, bytes)?;
        dir.write(new, other)?;
    }
    Ok(())
}

/// Moves all entries of the root to a new node in block `new`, its only child from now on.
fn grow<'a>(
    root: &mut Node<&mut [u8]>,
    below: &'a mut [u8],
    layout: &Layout,
    levels: usize,
    new: u32,
) -> Result<Node<&'a mut [u8]>> {
    let first = root.block(0).ok_or(Error::TooSmall)?;
    let mut below = Node::init_inner(below, layout, first)?;
    root.move_tail(0, &mut below)?;
    root.set_only(new, levels + 1);
    Ok(below)
}

/// Moves the upper half of a node's entries to a new one and adds an entry to one of them. Answers
/// with the hash from which on the new one is meant.
fn split_node(
    left: &mut Node<&mut [u8]>,
    right: &mut [u8],
    layout: &Layout,
    (pos, hash, block): (usize, u32, u32),
) -> Result<u32> {
    let middle = left.count() / 2;
    let entry = left.hash(middle).zip(left.block(middle));
    let (pivot, first) = entry.ok_or(Error::TooSmall)?;
    let mut right = Node::init_inner(right, layout, first)?;
    left.move_tail(middle, &mut right)?;
    if pos <= middle {
        left.insert(pos, hash, block)?;
    } else {
        right.insert(pos - middle, hash, block)?;
    }
    Ok(pivot)
}

/// An entry of a leaf that is to be split.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct MapEntry {
    hash: U32,
    offset: U16,
    size: U16,
}

impl MapEntry {
    /// What a leaf is split by: no two entries have the same.
    fn key(&self) -> (u32, usize) {
        (self.hash.get(), usize::from(self.offset.get()))
    }
}

/// Moves the upper half, by hash and by size, of the entries of `left` to `right`. Answers with the
/// hash from which on `right` is meant, bit 0 being set if `left` has names of the same.
///
/// Afterwards there is room in both for a name of any length.
fn split_leaf(format: &Format, hasher: &Hasher, left: &mut [u8], right: &mut [u8]) -> Result<u32> {
    // The block that will be the right half has room to sort in: 8 bytes for each record, which has
    // 12 or more.
    let map = <[MapEntry]>::mut_from_bytes(right).map_err(|_| Error::TooSmall)?;
    let mut count = 0;
    for (slot, entry) in map.iter_mut().zip(format.entries(left)) {
        let entry = entry?;
        *slot = MapEntry {
            hash: hasher.hash(entry.name).major.into(),
            offset: (entry.offset as u16).into(),
            size: (entry.size() as u16).into(),
        };
        count += 1;
    }
    let map = map.get_mut(..count).unwrap_or_default();
    sort_by_key(map, |entry| entry.key());

    let mut size = 0;
    let upper = map.iter().rev().take_while(|entry| {
        size += usize::from(entry.size.get());
        size - usize::from(entry.size.get()) / 2 <= format.block_size() / 2
    });
    let middle = match count - upper.count() {
        0 => count / 2,
        middle => middle,
    };
    let below = middle.checked_sub(1).and_then(|n| map.get(n));
    let (below, pivot) = below.zip(map.get(middle)).ok_or(Error::TooSmall)?;
    let continued = u32::from(below.hash == pivot.hash);
    let pivot = pivot.key();

    format.partition(left, right, |entry| {
        (hasher.hash(entry.name).major, entry.offset) >= pivot
    })?;
    Ok(pivot.0 | continued)
}

/// Makes the directory of one block an indexed one: its entries move to a leaf, its first block becomes
/// the root of the index.
pub(super) fn create<S: Store>(dir: &mut S) -> Result<(), S::Error> {
    let layout = *dir.layout();
    let format = layout.format();
    let mut root = dir.read(0)?;
    let dots = format.find(&root.as_ref(), b".").and_then(|dot| {
        let dotdot = format.find(&root.as_ref(), b"..")?;
        dot.zip(dotdot)
            .ok_or(Error::Corrupt("directory has no dots"))
    });
    let (dot, dotdot) = dots.map_err(|error| dir.error(0, error))?;
    let block = dir.append(1)?;
    let mut leaf = dir.create(block)?;
    format
        .partition(root.as_mut(), leaf.as_mut(), |entry| !entry.is_dot())
        .and_then(|()| {
            root.as_mut().fill(0);
            let rest = format.block_size() - dotdot.offset;
            format.put_dots(root.as_mut(), dot.ino, dotdot.ino, rest);
            let version = layout.new_hasher()?.version();
            Node::init_root(root.as_mut(), &layout, version, block).map(drop)
        })
        .map_err(|error| dir.error(0, error))?;
    dir.write(block, leaf)?;
    dir.write(0, root)?;
    dir.set_indexed();
    Ok(())
}
