// SPDX-License-Identifier: GPL-2.0

//! Blocks of the orphan file.
//!
//! With `orphan_file` the inodes that are to be freed when nobody has them open any more are not in a
//! list through the inode table, but in the blocks of a file of their own
//! ([`Geometry::orphan_file_ino`](super::Geometry::orphan_file_ino)): arrays of inode numbers, 0 where
//! there is none, and a tail with a magic number and the checksum.
//!
//! See [`orphan.rst`](srctree/Documentation/filesystems/ext4/orphan.rst).

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

/// `ob_magic`.
const MAGIC: u32 = 0x0b10_ca04;

/// The last bytes of a block.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
struct Tail {
    magic: U32,
    checksum: U32,
}

const _: () = assert!(size_of::<Tail>() == 8);

/// Checks a block that was read: `nr` of the orphan file, whose checksum begins with `csum`
/// ([`Csum::for_inode`]), if the file system has checksums.
pub fn verify(csum: Option<Csum>, nr: BlockNr, block: &[u8]) -> Result {
    let (entries, tail) = Tail::ref_from_suffix(block).map_err(|_| Error::TooSmall)?;
    if tail.magic.get() != MAGIC {
        return Err(Error::Corrupt("not a block of the orphan file"));
    }
    match csum {
        Some(csum) if tail.checksum.get() != checksum(csum, nr, entries) => {
            Err(Error::Checksum("orphan file"))
        }
        _ => Ok(()),
    }
}

/// Writes the tail of the block, with the checksum that [`verify`] expects.
pub fn seal(csum: Option<Csum>, nr: BlockNr, block: &mut [u8]) -> Result {
    let (entries, tail) = Tail::mut_from_suffix(block).map_err(|_| Error::TooSmall)?;
    tail.magic = MAGIC.into();
    if let Some(csum) = csum {
        tail.checksum = checksum(csum, nr, entries).into();
    }
    Ok(())
}

/// The inode numbers of the block, 0 where there is none. None has been checked.
pub fn entries(block: &[u8]) -> Result<&[U32]> {
    let (entries, _) = Tail::ref_from_suffix(block).map_err(|_| Error::TooSmall)?;
    <[U32]>::ref_from_bytes(entries).map_err(|_| Error::TooSmall)
}

/// The inode numbers of the block, to change.
pub fn entries_mut(block: &mut [u8]) -> Result<&mut [U32]> {
    let (entries, _) = Tail::mut_from_suffix(block).map_err(|_| Error::TooSmall)?;
    <[U32]>::mut_from_bytes(entries).map_err(|_| Error::TooSmall)
}

fn checksum(csum: Csum, nr: BlockNr, entries: &[u8]) -> u32 {
    csum.with(&nr.get().to_le_bytes()).with(entries).value()
}
