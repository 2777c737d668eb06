// SPDX-License-Identifier: GPL-2.0

//! The block allocator.
use super::{INode, Transaction};
use crate::{
    ondisk::{BlockNr, BlockRun},
    vfs::Credits,
};
use kernel::prelude::*;

/// Blocks that [`alloc_blocks`] changes: a bitmap and a block of group descriptors.
pub const ALLOC_CREDITS: Credits = Credits(2);

/// What is wanted of [`alloc_blocks`].
#[derive(Clone, Copy)]
pub struct Request {
    /// Where the run should begin if it can: the end of the extent before. Without, near the inode.
    pub goal: Option<BlockNr>,
    /// The blocks wanted, at least 1. Fewer may be had. From 2 MiB on, the run is aligned to 2 MiB
    /// on the device where the free blocks allow it.
    pub len: u32,
}

/// Allocates a run of 1 to `request.len` blocks for `inode`, and counts them in `i_blocks`.
///
/// Takes a group lock. [`ENOSPC`] if there is nothing left for the caller, [`EUCLEAN`] if a group's
/// bitmap or descriptor is not right.
pub fn alloc_blocks(_tx: &Transaction<'_>, _inode: &INode, _request: Request) -> Result<BlockRun> {
    Err(ENOSPC)
}

/// The blocks that [`free_blocks`] changes for a run of `len` blocks.
pub fn free_credits(_len: u32) -> Credits {
    Credits(2)
}

/// Frees a run of blocks of `inode`, and takes them from `i_blocks`. The run may span groups.
///
/// Metadata blocks are to be forgotten ([`Transaction::forget`]) first. [`EUCLEAN`] if one of the
/// blocks is free already, or is not for an inode to have.
pub fn free_blocks(_tx: &Transaction<'_>, _inode: &INode, _run: BlockRun) -> Result {
    Err(EIO)
}
