// SPDX-License-Identifier: GPL-2.0

//! What is in `i_block` of an inode with blocks: the root of an extent tree, or block pointers.
//!
//! The flag [`EXTENTS`](flag::EXTENTS) tells; it does not change while an inode is in use.

use super::extent::{
    self,
    ValidExtent,
    ROOT_SIZE, //
};
use super::indirect::{
    self,
    Indirect, //
};
use super::inode::flag;
use super::tree::{
    self,
    Mapping,
    Read,
    Removed,
    Root,
    Store, //
};
use super::{
    Blocks,
    Error,
    Result, //
};

/// How the blocks of a file are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// By an extent tree: [`super::tree`].
    Extents,
    /// By block pointers: [`super::indirect`].
    Indirect(Indirect),
}

impl Fork {
    /// What an inode with these `flags` has, on a file system with blocks of `block_size` bytes.
    pub fn of(flags: u32, block_size: u32) -> Self {
        if flags & flag::EXTENTS != 0 {
            Self::Extents
        } else {
            Self::Indirect(Indirect::new(block_size))
        }
    }

    /// The root of a file without blocks.
    pub fn new_root(self) -> Root {
        let mut root = [0; ROOT_SIZE];
        if self == Self::Extents {
            // Cannot fail: a root has room for a header.
            let _ = extent::init_root(&mut root);
        }
        root
    }

    /// Whether a root that makes sense maps nothing.
    pub fn is_empty(self, root: &Root) -> bool {
        match self {
            Self::Extents => tree::is_empty(root),
            Self::Indirect(_) => root.iter().all(|byte| *byte == 0),
        }
    }

    /// Whether blocks can be unwritten, and move within the file.
    pub fn has_extents(self) -> bool {
        self == Self::Extents
    }

    /// The number of blocks that a file can have.
    pub fn limit(self) -> u32 {
        match self {
            Self::Extents => tree::END,
            Self::Indirect(pointers) => pointers.limit(),
        }
    }

    /// The most blocks from `lblk` on that [`insert`](Self::insert) takes; 0 for what no file has.
    pub fn room(self, lblk: u32, unwritten: bool) -> u32 {
        match self {
            Self::Extents if lblk == tree::END => 0,
            Self::Extents => ValidExtent::max_len(unwritten),
            Self::Indirect(pointers) => pointers.room(lblk),
        }
    }

    /// The most blocks of the map itself that one change touches, the root being as given.
    pub fn nodes_touched(self, root: &Root) -> usize {
        match self {
            // One level more than now: the tree may have grown when it is changed.
            Self::Extents => tree::nodes_touched(tree::depth(root) + 1),
            Self::Indirect(_) => indirect::MAX_DEPTH,
        }
    }

    /// Checks a block of the map that came from disk.
    pub fn check(self, bytes: &[u8], blocks: &Blocks) -> Result {
        match self {
            Self::Extents => extent::check(bytes, blocks),
            Self::Indirect(_) => indirect::check(bytes, blocks),
        }
    }

    /// See [`tree::lookup`].
    pub fn lookup<R: Read>(
        self,
        root: &Root,
        store: &mut R,
        lblk: u32,
    ) -> Result<Mapping, R::Error> {
        match self {
            Self::Extents => tree::lookup(root, store, lblk),
            Self::Indirect(pointers) => pointers.lookup(root, store, lblk),
        }
    }

    /// See [`tree::insert`].
    pub fn insert<S: Store>(
        self,
        root: &mut Root,
        store: &mut S,
        extent: ValidExtent,
    ) -> Result<(), S::Error> {
        match self {
            Self::Extents => tree::insert(root, store, extent),
            Self::Indirect(pointers) => pointers.insert(root, store, extent),
        }
    }

    /// See [`tree::convert`]. [`Error::Unsupported`] where blocks cannot be unwritten.
    pub fn convert<S: Store>(
        self,
        root: &mut Root,
        store: &mut S,
        from: u32,
        to: u32,
        unwritten: bool,
    ) -> Result<u32, S::Error> {
        match self {
            Self::Extents => tree::convert(root, store, from, to, unwritten),
            Self::Indirect(_) if unwritten => {
                Err(store.error(None, Error::Unsupported("unwritten blocks")))
            }
            Self::Indirect(_) => Ok(to),
        }
    }

    /// See [`tree::remove_at_most`].
    pub fn remove<S: Store>(
        self,
        root: &mut Root,
        store: &mut S,
        from: u32,
        to: u32,
        max: u32,
    ) -> Result<Removed, S::Error> {
        match self {
            Self::Extents => tree::remove_at_most(root, store, from, to, max),
            Self::Indirect(pointers) => pointers.remove(root, store, from, to, max),
        }
    }
}
