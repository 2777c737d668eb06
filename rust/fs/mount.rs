// SPDX-License-Identifier: GPL-2.0

//! Mounting.
use super::{options::Options, stats::Stats, INode, SuperBlock};
use crate::{
    ondisk::Geometry,
    vfs::{writeback, Context, DaxDevice, New, StatFs},
};
use kernel::{prelude::*, sync::aref::ARef};

/// What belongs to a mounted file system.
#[pin_data]
pub struct SuperData {
    /// The DAX side of the device, if it has one.
    pub dax: Option<DaxDevice>,
    /// Where writeback of the page cache is completed: `writeback::Queue::new(sb.id())`.
    pub completions: writeback::Queue,
    /// Counters.
    pub stats: Stats,
    geometry: Geometry,
    options: Options,
}

impl SuperData {
    /// The facts of the superblock.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// What is done about errors.
    pub fn errors(&self) -> super::options::Errors {
        super::options::Errors::Continue
    }

    /// The options in force.
    pub fn options(&self) -> Options {
        self.options
    }
}

/// See [`FileSystem::fill_super`](crate::vfs::FileSystem::fill_super).
pub fn fill_super(
    _sb: &mut SuperBlock<New>,
    _fc: &Context,
    _options: Options,
) -> Result<Pin<KBox<SuperData>>> {
    Err(EINVAL)
}

/// See [`FileSystem::root`](crate::vfs::FileSystem::root).
pub fn root(_sb: &SuperBlock) -> Result<ARef<INode>> {
    Err(EINVAL)
}

/// See [`FileSystem::reconfigure`](crate::vfs::FileSystem::reconfigure).
pub fn reconfigure(_sb: &SuperBlock, _fc: &Context, _options: Options, _read_only: bool) -> Result {
    Err(EINVAL)
}

/// See [`FileSystem::put_super`](crate::vfs::FileSystem::put_super).
pub fn put_super(_sb: &SuperBlock) {}

/// See [`FileSystem::sync_fs`](crate::vfs::FileSystem::sync_fs).
pub fn sync_fs(_sb: &SuperBlock, _wait: bool) -> Result {
    Ok(())
}

/// See [`FileSystem::statfs`](crate::vfs::FileSystem::statfs).
pub fn statfs(_sb: &SuperBlock) -> Result<StatFs> {
    Err(EINVAL)
}

/// Notes an error in the super block.
pub fn record_error(_sb: &SuperBlock, _what: &'static str, _at: super::error::At) {}
