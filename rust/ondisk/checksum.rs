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

    /// What the checksum `value` becomes when `old`, which `after` more bytes follow, is replaced by
    /// `new` of the same length. The other bytes are not looked at: if one of them is not what it was,
    /// the new checksum is as wrong as the old one.
    ///
    /// A crc is linear: it changes by that of the difference, moved over what follows by multiplying
    /// with a power of x.
    #[must_use]
    pub fn replaced(self, value: u32, old: &[u8], new: &[u8], after: usize) -> u32 {
        let mut difference = [0; 64];
        let mut crc = 0;
        for (old, new) in old.chunks(64).zip(new.chunks(64)) {
            for ((to, old), new) in difference.iter_mut().zip(old).zip(new) {
                *to = old ^ new;
            }
            crc = (self.update)(crc, difference.get(..old.len()).unwrap_or_default());
        }
        value ^ power::moved(crc, after)
    }

    /// The checksum of what came so far.
    pub const fn value(self) -> u32 {
        self.seed
    }
}

/// Remainders modulo the polynomial of crc32c. As in the checksum itself, the highest bit is the lowest
/// power of x.
mod power {
    /// The polynomial, without its highest power.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    /// 1.
    const ONE: u32 = 1 << 31;
    /// As many bytes as the first table goes.
    const STEP: usize = 64;

    /// Moving over 0 to 63 bytes, and over none, one, two... times 64 bytes: a block has 64 KiB at most.
    static BYTES: [u32; STEP] = powers(times_x(ONE, 8));
    static STEPS: [u32; 1024] = powers(times_x(ONE, 8 * STEP));

    /// `a` times x, `count` times.
    const fn times_x(mut a: u32, count: usize) -> u32 {
        let mut nr = 0;
        while nr < count {
            a = (a >> 1) ^ (POLYNOMIAL & (a & 1).wrapping_neg());
            nr += 1;
        }
        a
    }

    /// `a` times `b`.
    const fn product(a: u32, mut b: u32) -> u32 {
        let (mut sum, mut rest) = (0, a);
        while rest != 0 {
            sum ^= b & (rest >> 31).wrapping_neg();
            b = times_x(b, 1);
            rest <<= 1;
        }
        sum
    }

    /// The powers of `base`, from that of zero on.
    const fn powers<const N: usize>(base: u32) -> [u32; N] {
        let mut powers = [ONE; N];
        let mut nr = 1;
        while nr < N {
            powers[nr] = product(base, powers[nr - 1]);
            nr += 1;
        }
        powers
    }

    /// The crc of something that `bytes` zeros follow, whose own is `crc`.
    pub(super) fn moved(crc: u32, bytes: usize) -> u32 {
        let (steps, bytes) = (STEPS.get(bytes / STEP), BYTES.get(bytes % STEP));
        let steps = steps.map_or(0, |power| product(crc, *power));
        bytes.map_or(0, |power| product(steps, *power))
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
