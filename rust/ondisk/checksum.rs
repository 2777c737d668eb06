// SPDX-License-Identifier: GPL-2.0

//! Checksums of metadata: crc32c ([`Csum`]), and the crc16 that group descriptors had before it.
//!
//! With `metadata_csum` every metadata structure carries the crc32c of itself, begun with the UUID of
//! the file system and, for what belongs to one inode, with that inode's number and generation: a
//! block that went to the wrong place does not pass. The table of ingredients is in
//! [`checksums.rst`](srctree/Documentation/filesystems/ext4/checksums.rst).

use core::ops::Range;

/// A crc32c under way.
///
/// It is a value: [`Csum::with`] answers with the checksum after more bytes and leaves the original
/// as it was, so the checksum after the UUID is computed at mount and begins all others.
///
/// The function that computes is the user's: the kernel's `crc32c` in the module, a crate on the host.
#[derive(Clone, Copy)]
pub struct Csum {
    /// `update(crc, bytes)`: crc32c (Castagnoli, reflected, without final inversion) of `bytes` begun
    /// with `crc`.
    pub update: fn(u32, &[u8]) -> u32,
    /// The checksum of what came so far.
    pub seed: u32,
}

impl Csum {
    /// A checksum of nothing yet, begun with all ones as ext4 begins its own.
    pub const fn new(update: fn(u32, &[u8]) -> u32) -> Self {
        Self { update, seed: !0 }
    }

    /// The checksum after `bytes` too.
    #[must_use]
    pub fn with(self, bytes: &[u8]) -> Self {
        Self {
            seed: (self.update)(self.seed, bytes),
            ..self
        }
    }

    /// The checksum after `bytes` too, those in `hole` counting as zeros: the checksum itself is there.
    /// It is of four bytes at most.
    #[must_use]
    pub fn with_hole(self, bytes: &[u8], hole: Range<usize>) -> Self {
        let before = bytes.get(..hole.start).unwrap_or(bytes);
        let zeros = [0; 4];
        let zeros = zeros.get(..hole.len()).unwrap_or(&zeros);
        let after = bytes.get(hole.end..).unwrap_or_default();
        self.with(before).with(zeros).with(after)
    }

    /// The checksum after `nr` too, which counts as four little-endian bytes.
    #[must_use]
    pub fn with_u32(self, nr: u32) -> Self {
        self.with(&nr.to_le_bytes())
    }

    /// Of the file system's checksum, the one that begins all those of inode `ino`.
    #[must_use]
    pub fn for_inode(self, ino: u32, generation: u32) -> Self {
        self.with(&(u64::from(ino) | u64::from(generation) << 32).to_le_bytes())
    }

    /// The checksum of what came so far.
    pub const fn value(self) -> u32 {
        self.seed
    }
}

impl core::fmt::Debug for Csum {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Csum({:#010x})", self.seed)
    }
}

/// The CRC-16 of `bytes` begun with `crc` (polynomial 0x8005, reflected), which the group descriptors
/// of a file system with `gdt_csum` carry. Bit by bit: it is for 62 bytes of an old image.
pub fn crc16(crc: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(crc, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xa001 } else { 0 }
        })
    })
}
