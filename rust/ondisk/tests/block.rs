// SPDX-License-Identifier: GPL-2.0

//! Block numbers are what they promise.

use ondisk::{
    Blocks,
    Error, //
};
use proptest::prelude::*;

#[test]
fn bounds() {
    let blocks = Blocks::new(1, 100).unwrap();
    assert!(blocks.block(0).is_err());
    assert_eq!(blocks.block(1).unwrap().get(), 1);
    assert_eq!(blocks.block(99).unwrap().get(), 99);
    assert_eq!(
        blocks.block(100),
        Err(Error::Corrupt("block number out of range"))
    );
    assert!(blocks.run(90, 10).is_ok());
    assert!(blocks.run(90, 11).is_err());
    assert!(blocks.run(90, 0).is_err());
    assert!(Blocks::new(2, 1).is_err());
    assert!(Blocks::new(0, (1 << 48) + 1).is_err());
}

proptest! {
    #[test]
    fn a_run_lies_on_the_file_system(first in 0u64..10, end: u64, start: u64, len: u32, skip: u32, max: u32) {
        let Ok(blocks) = Blocks::new(first, end >> 16) else { return Ok(()) };
        let Ok(run) = blocks.run(start >> 16, len) else { return Ok(()) };
        prop_assert!(run.start().get() >= blocks.first() && run.end() <= blocks.end());
        if let Some(part) = run.part(skip, max) {
            prop_assert!(part.start() >= run.start() && part.end() <= run.end());
            prop_assert!(part.len() >= 1 && part.len() <= max);
        }
        prop_assert_eq!(run.nth(len), None);
    }
}
