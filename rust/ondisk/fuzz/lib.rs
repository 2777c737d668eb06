// SPDX-License-Identifier: GPL-2.0

//! What the fuzz targets share: a sound file system, as far as there is one without a device.
//!
//! A checksum would keep the fuzzer from everything behind it. So the function handed in says 0 to
//! whatever it is given, and a structure passes whose checksum field is 0.
//!
//! A host program. An `expect` is what must hold: libFuzzer reports the panic, and that is the finding.

pub mod nodes;

use ondisk::{
    superblock::SIZE,
    Csum,
    Geometry, //
};

/// A checksum of anything: 0.
pub fn no_crc(_: u32, _: &[u8]) -> u32 {
    0
}

/// Begins all checksums.
pub const CSUM: Csum = Csum {
    update: no_crc,
    seed: 0,
};

/// Bytes of the device.
pub const DEVICE: u64 = 1 << 30;

/// The superblock of a file system of 300 MiB in blocks of 4 KiB, as mke2fs would make it.
pub fn superblock() -> [u8; SIZE] {
    let mut sb = [0; SIZE];
    let mut put = |offset: usize, value: u32| {
        sb[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    };
    put(0x00, 3 * 25_600); // inodes_count
    put(0x04, 76_800); // blocks_count_lo
    put(0x18, 2); // log_block_size
    put(0x1c, 2); // log_cluster_size
    put(0x20, 32_768); // blocks_per_group
    put(0x24, 32_768); // clusters_per_group
    put(0x28, 25_600); // inodes_per_group
    put(0x38, 0x0001_ef53); // magic, state
    put(0x4c, 1); // rev_level
    put(0x54, 11); // first_ino
    put(0x58, 256); // inode_size
    put(0x5c, 0x103c); // feature_compat
    put(0x60, 0x22c2); // feature_incompat
    put(0x64, 0x046b); // feature_ro_compat
    put(0xcc, 36 << 16); // reserved_gdt_blocks
    put(0xe0, 8); // journal_inum
    put(0xfc, 64 << 16 | 1); // desc_size, def_hash_version
    put(0x15c, 32 << 16 | 32); // min_extra_isize, want_extra_isize
    put(0x174, 1 << 8 | 4); // checksum_type, log_groups_per_flex
    put(0x280, 12); // orphan_file_inum
    sb
}

/// The geometry of [`superblock`].
pub fn geometry() -> Geometry {
    Geometry::parse(&superblock(), no_crc, DEVICE).expect("the superblock is sound")
}

/// The `N` bytes that `data` begins with; `data` is what follows them.
pub fn take<const N: usize>(data: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = data.split_first_chunk()?;
    *data = rest;
    Some(*first)
}

/// The number that `data` begins with.
pub fn take_u32(data: &mut &[u8]) -> Option<u32> {
    take(data).map(u32::from_le_bytes)
}
