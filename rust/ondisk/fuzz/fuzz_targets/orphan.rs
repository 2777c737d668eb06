// SPDX-License-Identifier: GPL-2.0

//! A block of the orphan file of any bytes.
//!
//! A host program. An `expect` is what must hold: libFuzzer reports the panic, and that is the finding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ondisk::orphan;
use ondisk_fuzz::*;

fuzz_target!(|data: &[u8]| {
    let nr = geometry().block(77).expect("the block is there");
    let accepted = orphan::verify(Some(CSUM), nr, data).is_ok();
    let mut block = data.to_vec();
    if let Ok(entries) = orphan::entries_mut(&mut block) {
        entries.iter_mut().for_each(|entry| entry.set(12));
        orphan::seal(Some(CSUM), nr, &mut block).expect("there is room for the tail");
        orphan::verify(Some(CSUM), nr, &block).expect("it was sealed");
    } else {
        assert!(!accepted || data.len() % 4 != 0);
    }
});
