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
    tree::{
        self,
        Read,
        Store, //
    },
    BlockNr,
    Blocks,
    Error, //
};
use ondisk_fuzz::*;

/// Bytes of a node: six entries and the checksum.
const SIZE: usize = 88;

/// Nodes one after the other, the first being block 1. New ones are added at the end.
struct Nodes(Vec<Vec<u8>>);

impl Nodes {
    fn index(at: BlockNr) -> usize {
        at.get() as usize - 1
    }
}

impl Read for Nodes {
    type Error = Error;
    type View = Vec<u8>;

    fn blocks(&self) -> Blocks {
        Blocks::new(1, 1 << 20).expect("a range of blocks")
    }

    fn view(&mut self, at: BlockNr) -> Result<Vec<u8>, Error> {
        let node = self.0.get(Self::index(at)).ok_or(Error::TooSmall)?;
        extent::verify(node, CSUM).ok();
        Ok(node.clone())
    }

    fn error(&self, _at: Option<BlockNr>, error: Error) -> Error {
        error
    }
}

impl Store for Nodes {
    type Node = Vec<u8>;

    fn read(&mut self, at: BlockNr) -> Result<Vec<u8>, Error> {
        self.view(at)
    }

    fn write(&mut self, at: BlockNr, mut node: Vec<u8>) -> Result<(), Error> {
        extent::seal(&mut node, CSUM)?;
        self.0[Self::index(at)] = node;
        Ok(())
    }

    fn alloc(&mut self, _goal: BlockNr) -> Result<(BlockNr, Vec<u8>), Error> {
        self.0.push(Vec::new());
        Ok((self.blocks().block(self.0.len() as u64)?, vec![0xa5; SIZE]))
    }

    fn free(&mut self, _at: BlockNr) -> Result<(), Error> {
        Ok(())
    }
}

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let (Some(mut root), Some([nodes, ops])) = (take(&mut data), take(&mut data)) else {
        return;
    };
    let mut nodes = Nodes(
        data.chunks(SIZE)
            .take(nodes.into())
            .map(<[u8]>::to_vec)
            .collect(),
    );
    let mut data = data.get(nodes.0.len() * SIZE..).unwrap_or_default();
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
