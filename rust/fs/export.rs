// SPDX-License-Identifier: GPL-2.0

//! File handles: from the number and the generation that one holds to the inode.

use kernel::sync::aref::ARef;

use super::{
    dir,
    inode,
    INode,
    RdaxFs,
    SuperBlock, //
};
use crate::{
    prelude::*,
    vfs::export::Operations, //
};

/// How handles find their inodes.
pub struct Handles;

impl Operations for Handles {
    type FileSystem = RdaxFs;

    fn inode(sb: &SuperBlock, ino: u64, generation: u32) -> Result<ARef<INode>> {
        let inode = inode::iget_of_handle(sb, ino)?;
        if generation != 0 && inode.generation() != generation {
            return Err(ESTALE);
        }
        Ok(inode)
    }

    fn parent(dir: &INode) -> Result<ARef<INode>> {
        inode::iget(dir.sb(), dir::parent(dir)?.into())
    }
}
