// SPDX-License-Identifier: GPL-2.0

//! The block of extended attributes that an inode can have.
//!
//! rdaxfs does not know attributes yet, and leaves those it finds as they are; but with its last
//! link an inode gives up its block, which others may share.
//!
//! Invariant: a block's count of inodes is changed under the lock of [`SuperData`], since the inodes
//! that share it are not otherwise kept from each other.
//!
//! [`SuperData`]: super::SuperData

use super::{
    alloc,
    error::{
        report,
        At, //
    },
    meta::{
        Format,
        MetaBlock, //
    },
    INode,
    Transaction, //
};
use crate::{
    ondisk::{
        self,
        xattr::Header,
        BlockNr,
        Csum, //
    },
    vfs::Credits, //
};
use kernel::prelude::*;

/// A block of extended attributes.
struct Attributes {
    csum: Option<Csum>,
    nr: BlockNr,
}

impl Format for Attributes {
    const NAME: &'static str = "extended attributes";

    fn verify(&self, bytes: &[u8]) -> ondisk::Result {
        Header::decode(self.csum, self.nr, bytes).map(|_| ())
    }

    fn seal(&self, bytes: &mut [u8]) -> ondisk::Result {
        Header::seal(self.csum, self.nr, bytes)
    }
}

impl Attributes {
    /// How many inodes have the block, whatever its checksum says.
    fn refcount(&self, bytes: &[u8]) -> ondisk::Result<u32> {
        Header::decode(None, self.nr, bytes).map(Header::refcount)
    }
}

/// The inode gives up its block of attributes, which is freed if no other inode has it.
///
/// Takes the lock of attribute blocks and group locks. The caller forgets the block in the inode.
pub fn free_block(inode: &INode, nr: BlockNr) -> Result {
    let sb = inode.sb();
    let data = sb.data().get_ref();
    let format = Attributes {
        csum: data.geometry().csum(),
        nr,
    };
    let tx = Transaction::start(sb, Credits(1) + alloc::ALLOC_CREDITS)?;
    let _guard = data.attributes.lock();
    let mut block = MetaBlock::read(&tx, Some(inode), nr, format)?;
    let refcount = block.format().refcount(&block).map_err(|error| {
        let at = At::inode(inode.ino(), nr.get());
        report(sb, Attributes::NAME, at, error)
    })?;
    if refcount > 1 {
        Header::set_refcount(&mut block, refcount - 1).map_err(|_| EIO)?;
        return block.commit();
    }
    drop(block);
    tx.forget(nr.get());
    alloc::free_blocks(&tx, inode, nr.into())
}
