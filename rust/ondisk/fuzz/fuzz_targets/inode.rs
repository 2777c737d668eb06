// SPDX-License-Identifier: GPL-2.0

//! An inode of any bytes: what is decoded can be encoded, and is the same then.
//!
//! A host program. An `expect` is what must hold: libFuzzer reports the panic, and that is the finding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ondisk::Inode;
use ondisk_fuzz::*;

fuzz_target!(|data: &[u8]| {
    let geometry = geometry();
    // Short inputs are inodes that end in zeros.
    let mut bytes = [0; 256];
    for (to, from) in bytes.iter_mut().zip(data) {
        *to = *from;
    }
    let Ok(inode) = Inode::decode(&geometry, 12, &bytes) else {
        return;
    };
    inode.device();
    let mut out = bytes;
    inode
        .encode(&geometry, 12, &mut out)
        .expect("it was decoded");
    assert_eq!(Inode::decode(&geometry, 12, &out), Ok(inode));
});
