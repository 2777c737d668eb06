// SPDX-License-Identifier: GPL-2.0

//! Inodes.
use super::{map::Extents, INode};
use crate::vfs::Timespec;
use kernel::{prelude::*, sync::atomic::Atomic};

/// What belongs to one inode, beside `struct inode`.
#[pin_data]
pub struct Info {
    /// `i_flags` of the format.
    pub flags: Atomic<u32>,
    /// `i_crtime`: when the inode was made.
    pub crtime: Timespec,
    /// `i_block`: the root of the extent tree, or what stands in its place.
    #[pin]
    pub extents: Extents,
    /// `i_projid`.
    pub projid: u32,
}

impl Info {
    /// Of an inode that is not initialised yet.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            flags: Atomic::new(0),
            crtime: Timespec::default(),
            extents <- Extents::new(),
            projid: 0,
        })
    }
}

/// See [`FileSystem::write_inode`](crate::vfs::FileSystem::write_inode).
pub fn write(_inode: &INode) -> Result {
    Ok(())
}

/// See [`FileSystem::sync_inode`](crate::vfs::FileSystem::sync_inode).
pub fn sync(_inode: &INode) -> Result {
    Ok(())
}

/// See [`FileSystem::evict_inode`](crate::vfs::FileSystem::evict_inode).
pub fn evict(_inode: &INode, _delete: bool) {}

/// The inode `ino`.
pub fn get(sb: &super::SuperBlock, ino: u64) -> Result<kernel::sync::aref::ARef<INode>> {
    let _ = sb.inode_place(ino)?;
    Err(EIO)
}
