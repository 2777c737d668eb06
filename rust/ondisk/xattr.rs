// SPDX-License-Identifier: GPL-2.0

//! The header of a block of extended attributes.
//!
//! rdaxfs has no extended attributes yet, but frees inodes that do, and inodes with the same
//! attributes may share a block: [`Header::refcount`] tells how many do.
//!
//! See [`attributes.rst`](srctree/Documentation/filesystems/ext4/attributes.rst).

use core::mem::offset_of;

use zerocopy::{
    little_endian::U32,
    FromBytes as _, //
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

use super::block::BlockNr;
use super::checksum::Csum;
use super::error::{
    Error,
    Result, //
};

/// `h_magic`.
const MAGIC: u32 = 0xea02_0000;

/// What such a block begins with.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Header {
    magic: U32,
    refcount: U32,
    blocks: U32,
    hash: U32,
    checksum: U32,
    reserved: [U32; 3],
}

const _: () = assert!(size_of::<Header>() == 32);

impl Header {
    /// The header of the block `nr`, which was read. `csum` is the file system's.
    pub fn decode(csum: Option<Csum>, nr: BlockNr, block: &[u8]) -> Result<&Self> {
        let (header, _) = Self::ref_from_prefix(block).map_err(|_| Error::TooSmall)?;
        if header.magic.get() != MAGIC || header.blocks.get() != 1 || header.refcount.get() == 0 {
            return Err(Error::Corrupt("header of extended attributes"));
        }
        match csum {
            Some(csum) if header.checksum.get() != checksum(csum, nr, block) => {
                Err(Error::Checksum("extended attributes"))
            }
            _ => Ok(header),
        }
    }

    /// How many inodes have the block.
    pub fn refcount(&self) -> u32 {
        self.refcount.get()
    }

    /// Sets [`Self::refcount`] of the block, and its checksum.
    pub fn set_refcount(
        csum: Option<Csum>,
        nr: BlockNr,
        block: &mut [u8],
        refcount: u32,
    ) -> Result {
        let (header, _) = Self::mut_from_prefix(block).map_err(|_| Error::TooSmall)?;
        header.refcount = refcount.into();
        if let Some(csum) = csum {
            let checksum = checksum(csum, nr, block);
            let (header, _) = Self::mut_from_prefix(block).map_err(|_| Error::TooSmall)?;
            header.checksum = checksum.into();
        }
        Ok(())
    }
}

fn checksum(csum: Csum, nr: BlockNr, block: &[u8]) -> u32 {
    const AT: usize = offset_of!(Header, checksum);
    csum.with(&nr.get().to_le_bytes())
        .with_hole(block, AT..AT + 4)
        .value()
}
