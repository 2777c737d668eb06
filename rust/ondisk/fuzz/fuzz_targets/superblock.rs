// SPDX-License-Identifier: GPL-2.0

//! A sound superblock with bits flipped: what is accepted must hold what a geometry promises.
//!
//! A host program. An `expect` is what must hold: libFuzzer reports the panic, and that is the finding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ondisk::{
    superblock::SuperBlock,
    Geometry, //
};
use ondisk_fuzz::*;

fuzz_target!(|data: &[u8]| {
    let mut sb = superblock();
    for (to, from) in sb.iter_mut().zip(data) {
        *to ^= from;
    }
    let Ok(geometry) = Geometry::parse(&sb, no_crc, DEVICE) else {
        return;
    };
    let last = geometry.groups() - 1;
    for group in [0, 1, last / 2, last, last.wrapping_add(1)] {
        if let Ok(blocks) = geometry.group_blocks(group) {
            assert_eq!(geometry.group_of(blocks.start()), (group, 0));
            assert!(blocks.end() <= geometry.blocks().end());
            assert!(blocks.end() << geometry.block_bits() <= DEVICE);
        }
        if let Ok((_, offset)) = geometry.desc_place(group) {
            let end = offset + usize::from(geometry.desc_size());
            assert!(end <= geometry.block_size() as usize);
        }
    }
    for ino in [1, geometry.first_ino(), geometry.inodes()] {
        let place = geometry.inode(ino).expect("the inode is there");
        assert!(place.block < geometry.inode_table_blocks());
        assert_eq!(geometry.ino(place.group, place.bit), Ok(ino));
    }
    assert!(geometry.overhead_blocks() <= geometry.blocks().end());

    let sb = SuperBlock::from_bytes_mut(&mut sb);
    sb.set_state(sb.state());
    sb.set_free_blocks_count(sb.free_blocks_count());
    sb.record_error(i64::MAX, "a function", u32::MAX, u64::MAX);
    sb.seal(CSUM);
    sb.verify(CSUM).expect("it was sealed");
});
