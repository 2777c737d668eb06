// SPDX-License-Identifier: GPL-2.0

//! Metadata blocks as typed private copies.
//!
//! Invariant: the bytes in a [`Block`] or a [`MetaBlock`] were found right by their [`Format`] when
//! they were read, and nobody else can change them. Those of a [`MetaBlock`] get into the buffer
//! cache by [`commit`](MetaBlock::commit) alone, which seals them first; a few bytes of a block that is in
//! [`View`] are changed in place, with a checksum that follows.

use super::{
    error::{
        report,
        At, //
    },
    INode,
    SuperBlock,
    Transaction, //
};
use crate::{
    ondisk::{
        self,
        bytes::Bytes,
        BlockNr, //
    },
    prelude::*,
    vfs::{
        self,
        Buffer, //
    }, //
};
use core::ops::{
    Deref,
    DerefMut, //
};

/// What is in a metadata block, and how its checksum is made.
///
/// The value knows the checksum's beginning, which for a block of an inode is the inode's.
pub trait Format {
    /// What a message calls it.
    const NAME: &'static str;

    /// Checks the checksum, and what else must hold before the block is used.
    fn verify(&self, bytes: &[u8]) -> ondisk::Result;

    /// Sets the checksum.
    fn seal(&self, bytes: &mut [u8]) -> ondisk::Result;
}

/// Copies the block `nr` out of the buffer cache, verified.
fn copy<F: Format>(
    sb: &SuperBlock,
    owner: Option<&INode>,
    nr: BlockNr,
    format: &F,
) -> Result<(Buffer, KVec<u8>)> {
    let buffer = sb.read_buffer(nr.get())?;
    let bytes = buffer.to_vec()?;
    if !buffer.verified() {
        format.verify(&bytes).map_err(|error| {
            let at = At::inode(owner.map_or(0, |inode| inode.ino()), nr.get());
            report(sb, F::NAME, at, error)
        })?;
        buffer.set_verified();
    }
    Ok((buffer, bytes))
}

/// A private copy of a metadata block, to look at.
pub struct Block {
    bytes: KVec<u8>,
}

impl Block {
    /// Reads the block `nr` of `owner`, or of no inode, as a `format`.
    ///
    /// The caller holds the lock of whatever the block belongs to, so that nobody changes it.
    /// [`EIO`] if it cannot be read, [`EUCLEAN`] if it is not right.
    pub fn read<F: Format>(
        sb: &SuperBlock,
        owner: Option<&INode>,
        nr: BlockNr,
        format: &F,
    ) -> Result<Self> {
        let (_, bytes) = copy(sb, owner, nr, format)?;
        Ok(Self { bytes })
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A metadata block in place, of which a search copies out only what it looks at.
pub struct View {
    buffer: Buffer,
}

impl View {
    /// Finds the block `nr` as [`Block::read`] does, whose bytes were verified since they were read.
    pub fn read<F: Format>(
        sb: &SuperBlock,
        owner: Option<&INode>,
        nr: BlockNr,
        format: &F,
    ) -> Result<Self> {
        let buffer = sb.read_buffer(nr.get())?;
        if buffer.verified() {
            return Ok(Self { buffer });
        }
        let (buffer, _) = copy(sb, owner, nr, format)?;
        Ok(Self { buffer })
    }

    /// Changes the bytes that `pieces` say, one of which is to be the checksum. As for
    /// [`MetaBlock::read`].
    pub fn patch<'a>(
        &self,
        tx: &Transaction<'_>,
        owner: &INode,
        pieces: impl Iterator<Item = (usize, &'a [u8])> + Clone,
    ) -> Result {
        tx.write_pieces(&self.buffer, pieces, Some(owner))
    }
}

impl Bytes for View {
    fn size(&self) -> usize {
        self.buffer.size()
    }

    fn read_at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.buffer.read_at(offset, &mut bytes).ok()?;
        Some(bytes)
    }

    fn copy_at(&self, offset: usize, to: &mut [u8]) -> Option<()> {
        self.buffer.read_at(offset, to).ok()
    }
}

/// A private copy of a metadata block, to be changed within a transaction.
///
/// Dropping it without [`commit`](Self::commit) discards the change.
pub struct MetaBlock<'t, F: Format> {
    tx: &'t Transaction<'t>,
    owner: Option<&'t INode>,
    format: F,
    buffer: Buffer,
    bytes: KVec<u8>,
}

impl<'t, F: Format> MetaBlock<'t, F> {
    /// Reads the block `nr` of `owner`, or of no inode, as a `format`.
    ///
    /// The caller holds the lock of whatever the block belongs to exclusively. [`EIO`] if it cannot
    /// be read, [`EUCLEAN`] if it is not right.
    pub fn read(
        tx: &'t Transaction<'t>,
        owner: Option<&'t INode>,
        nr: BlockNr,
        format: F,
    ) -> Result<Self> {
        let (buffer, bytes) = copy(tx.sb(), owner, nr, &format)?;
        Ok(Self {
            tx,
            owner,
            format,
            buffer,
            bytes,
        })
    }

    /// The block `nr`, which was just allocated, with all zeroes.
    pub fn create(
        tx: &'t Transaction<'t>,
        owner: Option<&'t INode>,
        nr: BlockNr,
        format: F,
    ) -> Result<Self> {
        let buffer = tx.create(nr.get())?;
        let bytes = vfs::zeroes(buffer.size());
        Ok(Self {
            tx,
            owner,
            format,
            buffer,
            bytes,
        })
    }

    /// What the block is.
    pub fn format(&self) -> &F {
        &self.format
    }

    /// The block's number.
    pub fn nr(&self) -> u64 {
        self.buffer.nr()
    }

    /// Puts other bytes in place of all.
    pub fn fill_from(&mut self, bytes: &[u8]) {
        for (to, from) in self.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
    }

    /// Makes the change part of the transaction.
    pub fn commit(mut self) -> Result {
        let at = At::inode(self.owner.map_or(0, |inode| inode.ino()), self.nr());
        self.format
            .seal(&mut self.bytes)
            .map_err(|error| report(self.tx.sb(), F::NAME, at, error))?;
        self.tx.write_at(&self.buffer, 0, &self.bytes, self.owner)
    }
}

impl<F: Format> Deref for MetaBlock<'_, F> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<F: Format> DerefMut for MetaBlock<'_, F> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl<F: Format> AsRef<[u8]> for MetaBlock<'_, F> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<F: Format> AsMut<[u8]> for MetaBlock<'_, F> {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}
