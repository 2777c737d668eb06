// SPDX-License-Identifier: GPL-2.0

//! A file mapped by pointers, in `i_block` and in blocks, which are of any bytes, looked at and changed.
//!
//! A host program. An `expect` is what must hold: libFuzzer reports the panic, and that is the finding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ondisk::{
    extent::ValidExtent,
    fork::Fork,
    tree::Read, //
};
use ondisk_fuzz::{
    nodes::Nodes,
    *, //
};

/// Bytes of a block of pointers: four of them, so that a file has 12 + 4 + 16 + 64 blocks.
const SIZE: u32 = 16;

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let (Some(mut root), Some([nodes, ops])) = (take(&mut data), take(&mut data)) else {
        return;
    };
    let fork = Fork::of(0, SIZE);
    let mut nodes = Nodes::take(fork, SIZE as usize, nodes.into(), &mut data);
    for _ in 0..ops {
        let Some([op, lblk, len, max]) = take(&mut data) else {
            return;
        };
        // One in 256 is beyond what a file can have.
        let lblk = if lblk == 255 {
            u32::MAX
        } else {
            u32::from(lblk)
        };
        let before = root;
        let failed = match op % 3 {
            0 => fork.lookup(&root, &mut nodes, lblk).is_err(),
            1 => {
                let (end, max) = (lblk.saturating_add(len.into()), max.max(1).into());
                fork.remove(&mut root, &mut nodes, lblk, end, max).is_err()
            }
            _ => {
                let run = nodes.blocks().run(u64::from(op) << 8, len.into());
                let extent = run.and_then(|run| ValidExtent::new(lblk, run, false));
                match extent {
                    Ok(extent) => fork.insert(&mut root, &mut nodes, extent).is_err(),
                    Err(_) => continue,
                }
            }
        };
        assert!(!failed || root == before);
    }
});
