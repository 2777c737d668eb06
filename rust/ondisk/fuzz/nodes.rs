// SPDX-License-Identifier: GPL-2.0

//! The blocks of a file's map, in memory.
//!
//! A host program. An `expect` is what must hold: libFuzzer reports the panic, and that is the finding.

use ondisk::{
    extent,
    fork::Fork,
    tree::{
        Read,
        Store, //
    },
    BlockNr,
    Blocks,
    Error, //
};

/// Nodes of an extent tree, or blocks of pointers, one after the other, the first being block 1. New ones
/// are added at the end.
pub struct Nodes {
    fork: Fork,
    size: usize,
    nodes: Vec<Vec<u8>>,
}

impl Nodes {
    /// Up to `count` nodes of `size` bytes, with which `data` begins; `data` is what follows them.
    pub fn take(fork: Fork, size: usize, count: usize, data: &mut &[u8]) -> Self {
        let count = count.min(data.len() / size);
        let (nodes, rest) = data.split_at(count * size);
        *data = rest;
        let nodes = nodes.chunks(size).map(<[u8]>::to_vec).collect();
        Self { fork, size, nodes }
    }

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
        let node = self.nodes.get(Self::index(at)).ok_or(Error::TooSmall)?;
        if self.fork.has_extents() {
            extent::verify(node, super::CSUM).ok();
        }
        self.fork.check(node, &self.blocks()).ok();
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
        if self.fork.has_extents() {
            extent::seal(&mut node, super::CSUM)?;
        }
        self.nodes[Self::index(at)] = node;
        Ok(())
    }

    fn alloc(&mut self, _goal: BlockNr) -> Result<(BlockNr, Vec<u8>), Error> {
        self.nodes.push(Vec::new());
        let nr = self.nodes.len() as u64;
        Ok((self.blocks().block(nr)?, vec![0xa5; self.size]))
    }

    fn free(&mut self, _at: BlockNr) -> Result<(), Error> {
        Ok(())
    }
}
