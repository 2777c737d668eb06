// SPDX-License-Identifier: GPL-2.0

//! A directory whose blocks are of any bytes, looked at and changed, as it is and as an indexed one.
//!
//! A host program. An `expect` is what must hold: libFuzzer reports the panic, and that is the finding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ondisk::{
    dir::{
        FileType,
        Patch, //
    },
    directory::{
        self,
        Layout,
        Read,
        Slot,
        Store, //
    },
    Error, //
};
use ondisk_fuzz::*;

/// The directory.
struct Dir {
    layout: Layout,
    blocks: Vec<Vec<u8>>,
    indexed: bool,
}

impl Read for Dir {
    type Error = Error;
    type View = Vec<u8>;
    type Block = Vec<u8>;

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn blocks(&self) -> u32 {
        self.blocks.len() as u32
    }

    fn is_indexed(&self) -> bool {
        self.indexed
    }

    fn view(&mut self, block: u32) -> Result<Vec<u8>, Error> {
        let block = self.blocks.get(block as usize).ok_or(Error::TooSmall)?;
        self.layout.format().verify(block, CSUM).ok();
        self.layout.format().check(block).ok();
        Ok(block.clone())
    }

    fn read(&mut self, block: u32) -> Result<Vec<u8>, Error> {
        self.view(block)
    }

    fn error(&self, _block: u32, error: Error) -> Error {
        error
    }
}

impl Store for Dir {
    fn append(&mut self, count: u32) -> Result<u32, Error> {
        let first = self.blocks();
        for _ in 0..count {
            self.blocks.push(vec![0; self.layout.format().block_size()]);
        }
        Ok(first)
    }

    fn create(&mut self, _block: u32) -> Result<Vec<u8>, Error> {
        Ok(vec![0xa5; self.layout.format().block_size()])
    }

    fn write(&mut self, block: u32, mut bytes: Vec<u8>) -> Result<(), Error> {
        self.layout.format().seal(&mut bytes, CSUM)?;
        self.blocks[block as usize] = bytes;
        Ok(())
    }

    fn patch(&mut self, block: u32, view: Vec<u8>, patch: &Patch) -> Result<(), Error> {
        let format = self.layout.format();
        let mut bytes = view.clone();
        patch.apply(&mut bytes);
        if let Some((at, csum)) = format.sealing(&view, patch, CSUM)? {
            bytes[at..at + 4].copy_from_slice(&csum);
        }
        // What was right stays right; what was wrong stays wrong.
        let right = |bytes: &[u8]| format.verify(bytes, CSUM).is_ok();
        assert_eq!(right(&view), right(&bytes));
        self.blocks[block as usize] = bytes;
        Ok(())
    }

    fn set_indexed(&mut self) {
        self.indexed = true;
    }
}

/// A block that says what a block of its kind must, and then `data`.
fn block(layout: &Layout, nr: u32, indexed: bool, data: &[u8]) -> Vec<u8> {
    let format = layout.format();
    let mut block = vec![0; format.block_size()];
    match (nr, indexed) {
        (0, true) => {
            // `.`, `..` up to the end, the root of an index of one level, and its limit.
            block[..24].copy_from_slice(
                b"\x0c\0\0\0\x0c\0\x01\x02.\0\0\0\x02\0\0\0\xf4\x0f\x02\x02..\0\0",
            );
            block[28..34].copy_from_slice(&[1, 8, 0, 0, 0xfb, 1]);
        }
        (0, false) => format.init_dots(&mut block, 12, 2),
        _ => format.init(&mut block),
    }
    // Each piece says where in the block it goes.
    for piece in data.chunks_exact(6) {
        let at = usize::from(u16::from_le_bytes([piece[0], piece[1]])) % (block.len() - 4);
        block[at..at + 4].copy_from_slice(&piece[2..]);
    }
    block
}

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let Some([indexed, count, len, ops]) = take(&mut data) else {
        return;
    };
    let layout = Layout::new(&geometry());
    let indexed = indexed % 2 == 1;
    let mut blocks = Vec::new();
    for nr in 0..u32::from(count % 8) {
        let (piece, rest) = data.split_at(data.len().min(usize::from(len) * 6));
        blocks.push(block(&layout, nr, indexed, piece));
        data = rest;
    }
    let mut dir = Dir {
        layout,
        blocks,
        indexed,
    };
    let mut slots = [Slot::default(); 64];
    for _ in 0..ops {
        let Some([op, len]) = take(&mut data) else {
            return;
        };
        let (name, rest) = data.split_at(data.len().min(len.into()));
        data = rest;
        if op % 8 == 0 {
            let mut room = 1000;
            let from = u64::from(op) << 55;
            directory::visit(&mut dir, from, &mut slots, |pos, _| {
                assert!(pos >= from);
                room -= 1;
                room > 0
            })
            .ok();
            directory::is_empty(&mut dir).ok();
            continue;
        }
        let found = directory::lookup(&mut dir, name);
        match (op % 3, found) {
            // An error may come from the checksum of an index block whose limit is a lie.
            (0, Ok(Some(place))) => {
                directory::remove(&mut dir, &place).ok();
            }
            (1, Ok(Some(place))) => {
                directory::set_ino(&mut dir, &place, 13, FileType::Fifo).ok();
            }
            (_, Ok(None)) if directory::insert(&mut dir, name, 13, FileType::Regular).is_ok() => {
                let found = directory::lookup(&mut dir, name);
                // An index that is out of order may hide it, and for dots only one block is looked at.
                let hidden = dir.indexed || name.starts_with(b".");
                assert!(hidden || matches!(found, Ok(Some(_))));
            }
            _ => {}
        }
    }
});
