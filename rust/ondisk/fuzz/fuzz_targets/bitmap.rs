// SPDX-License-Identifier: GPL-2.0

//! A bitmap of any bytes, and questions about any ranges of it.
//!
//! A host program. An `expect` is what must hold: libFuzzer reports the panic, and that is the finding.

#![no_main]

use std::num::NonZero;

use libfuzzer_sys::fuzz_target;
use ondisk::bitmap::{
    self,
    Align, //
};
use ondisk_fuzz::*;

fn target(mut data: &[u8]) -> Option<()> {
    let range = take_u32(&mut data)?..take_u32(&mut data)?;
    let (goal, want) = (take_u32(&mut data)?, take_u32(&mut data)?);
    let align = Align {
        unit: NonZero::new(take_u32(&mut data)?)?,
        phase: take_u32(&mut data)?,
    };
    let free = |run: &core::ops::Range<u32>| {
        assert!(range.start <= run.start && run.start < run.end && run.end <= range.end);
        assert_eq!(bitmap::count_set(data, run.clone()), 0);
    };
    bitmap::clear_runs(data, range.clone()).for_each(|run| free(&run));
    let runs = [
        bitmap::find(data, range.clone(), goal, want),
        bitmap::find_aligned(data, range.clone(), goal, want, align),
    ];
    for run in runs.into_iter().flatten() {
        free(&run);
        assert!(run.end - run.start <= want);
        let mut bits = data.to_vec();
        bitmap::set(&mut bits, run.clone()).expect("it was free");
        bitmap::clear(&mut bits, run).expect("it is in use");
        assert_eq!(bits, data);
    }
    Some(())
}

fuzz_target!(|data: &[u8]| {
    target(data);
});
