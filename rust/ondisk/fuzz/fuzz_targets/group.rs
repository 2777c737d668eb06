// SPDX-License-Identifier: GPL-2.0

//! A group descriptor of any bytes, and the bitmaps that follow from it.
//!
//! A host program. An `expect` is what must hold: libFuzzer reports the panic, and that is the finding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ondisk::GroupDesc;
use ondisk_fuzz::*;

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let Some([group]) = take::<1>(&mut data) else {
        return;
    };
    let (geometry, group) = (geometry(), u32::from(group));
    let Ok(mut desc) = GroupDesc::decode(&geometry, group, data) else {
        return;
    };
    let mut bits = [0; 4096];
    desc.init_inode_bitmap(&geometry, &mut bits)
        .expect("it has room");
    desc.seal_inode_bitmap(&geometry, &bits)
        .expect("it is whole");
    desc.verify_inode_bitmap(&geometry, &bits).ok();
    if desc.init_block_bitmap(&geometry, &mut bits).is_ok() {
        desc.seal_block_bitmap(&geometry, &bits)
            .expect("it is whole");
        desc.verify_block_bitmap(&geometry, &bits).ok();
    }
    let mut out = data.to_vec();
    desc.encode(&geometry, &mut out).expect("it was decoded");
    assert_eq!(GroupDesc::decode(&geometry, group, &out), Ok(desc));
});
