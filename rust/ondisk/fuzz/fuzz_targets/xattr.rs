// SPDX-License-Identifier: GPL-2.0

//! A block of extended attributes of any bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ondisk::xattr::Header;
use ondisk_fuzz::*;

fuzz_target!(|data: &[u8]| {
    let nr = geometry().block(77).expect("the block is there");
    let Ok(header) = Header::decode(Some(CSUM), nr, data) else {
        return;
    };
    let (mut block, refcount) = (data.to_vec(), header.refcount());
    let changed = refcount.wrapping_add(1).max(1);
    Header::set_refcount(Some(CSUM), nr, &mut block, changed).expect("it was decoded");
    let header = Header::decode(Some(CSUM), nr, &block).expect("and still is");
    assert_eq!(header.refcount(), changed);
});
