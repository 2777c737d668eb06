// SPDX-License-Identifier: GPL-2.0

//! An extent tree whose root and nodes are of any bytes, looked at and changed.
//!
//! A host program. An `expect` is what must hold: libFuzzer reports the panic, and that is the finding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ondisk::{
    extent::{
        self,
        ValidExtent, //
    },
    fork::Fork,
    tree::{
        self,
        Read, //
    }, //
};
use ondisk_fuzz::{
    nodes::Nodes,
    *, //
};

/// Bytes of a node: six entries and the checksum.
const SIZE: usize = 88;

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let (Some(mut root), Some([nodes, ops])) = (take(&mut data), take(&mut data)) else {
        return;
    };
    let mut nodes = Nodes::take(Fork::Extents, SIZE, nodes.into(), &mut data);
    extent::check(&root, &nodes.blocks()).ok();
    for _ in 0..ops {
        let (Some(lblk), Some([op, len])) = (take_u32(&mut data), take(&mut data)) else {
            return;
        };
        let end = lblk.saturating_add(len.into());
        let before = root;
        let failed = match op % 7 {
            0 => tree::lookup(&root, &mut nodes, lblk).is_err(),
            1 => tree::next_extent(&root, &mut nodes, lblk).is_err(),
            2 => tree::convert(&mut root, &mut nodes, lblk, end, op > 127).is_err(),
            3 => tree::remove(&mut root, &mut nodes, lblk, end).is_err(),
            4 => tree::shift_left(&mut root, &mut nodes, lblk, len.into()).is_err(),
            5 => tree::shift_right(&mut root, &mut nodes, lblk, tree::END, len.into()).is_err(),
            _ => {
                let run = nodes.blocks().run(u64::from(op) << 8, len.into());
                let extent = run.and_then(|run| ValidExtent::new(lblk, run, len > 127));
                match extent {
                    Ok(extent) => tree::insert(&mut root, &mut nodes, extent).is_err(),
                    Err(_) => continue,
                }
            }
        };
        assert!(!failed || root == before);
    }
});
