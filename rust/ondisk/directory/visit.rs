// SPDX-License-Identifier: GPL-2.0

//! Listing a directory.

use super::super::dir::{
    DirEntry,
    Format, //
};
use super::super::hash::Hasher;
use super::super::htree::Cursor;
use super::super::sort::sort_by_key;
use super::super::Error;
use super::Read;

/// The position after all entries. It fits a signed integer, as all positions do.
pub const END: u64 = i64::MAX as u64;

/// An entry that is about to be listed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slot {
    pos: u64,
    block: u32,
    offset: u32,
}

/// Lists the entries whose position is `from` or higher, in the order of their positions. Answers with
/// the position to go on from: that of the entry which `emit` did not take, or [`END`].
///
/// `emit` is told the position of each, and may be stopped by answering `false`. If an error ends the
/// listing, the last position that it was told is where to go on.
///
/// The work is done in `slots`, whose content does not matter. With as many as a block has entries (one
/// for 12 bytes) each block is read once; with less, but at least one, more often.
pub fn visit<R: Read>(
    dir: &mut R,
    from: u64,
    slots: &mut [Slot],
    mut emit: impl FnMut(u64, &DirEntry<'_>) -> bool,
) -> Result<u64, R::Error> {
    let layout = *dir.layout();
    let may_become_indexed = layout.can_index && dir.blocks() == 1;
    if !(dir.is_indexed() || may_become_indexed) {
        return in_order_of_blocks(dir, from, emit);
    }
    let mut blocks = Blocks { dir, last: None };
    for (pos, name) in (0..FIRST).zip(DOTS) {
        if pos < from {
            continue;
        }
        let block = blocks.read(0)?;
        let found = layout.format.find(&block, name);
        let entry = found.and_then(|found| {
            let found = found.ok_or(Error::Corrupt("directory has no dots"))?;
            layout.format.entry_at(block, found.offset)
        });
        match entry {
            Ok(entry) if emit(pos, &entry) => {}
            Ok(_) => return Ok(pos),
            Err(error) => return Err(blocks.dir.error(0, error)),
        }
    }
    in_order_of_hash(&mut blocks, from.max(FIRST), slots, emit)
}

/// The blocks of a directory, of which the last one read is kept: mostly it is wanted again.
struct Blocks<'d, R: Read> {
    dir: &'d mut R,
    last: Option<(u32, R::Block)>,
}

impl<R: Read> Blocks<'_, R> {
    fn read(&mut self, nr: u32) -> Result<&[u8], R::Error> {
        let block = match self.last.take() {
            Some((last, block)) if last == nr => block,
            _ => self.dir.read(nr)?,
        };
        let (_, block) = self.last.insert((nr, block));
        Ok((*block).as_ref())
    }
}

/// Whether positions are hashes: there is an index, or will be one when the only block is full.
pub fn is_in_order_of_hash<R: Read>(dir: &R) -> bool {
    dir.is_indexed() || dir.layout().can_index && dir.blocks() == 1
}

/// The names whose positions are not their hashes, but 0 and 1.
const DOTS: [&[u8]; 2] = [b".", b".."];

/// The first position of another name.
const FIRST: u64 = DOTS.len() as u64;

/// A position is the byte at which the record is.
fn in_order_of_blocks<R: Read>(
    dir: &mut R,
    from: u64,
    mut emit: impl FnMut(u64, &DirEntry<'_>) -> bool,
) -> Result<u64, R::Error> {
    let format = *dir.layout().format();
    let size = format.block_size() as u64;
    let first = u32::try_from(from / size).unwrap_or(u32::MAX);
    for nr in first..dir.blocks() {
        let block = dir.read(nr)?;
        // From the block's beginning: at `from` a record may have ceased to be.
        for entry in format.entries(block.as_ref()) {
            let entry = entry.map_err(|error| dir.error(nr, error))?;
            let pos = u64::from(nr) * size + entry.offset as u64;
            if pos >= from && !emit(pos, &entry) {
                return Ok(pos);
            }
        }
    }
    Ok(END)
}

/// A position is the hash of the name.
fn in_order_of_hash<R: Read>(
    blocks: &mut Blocks<'_, R>,
    from: u64,
    slots: &mut [Slot],
    mut emit: impl FnMut(u64, &DirEntry<'_>) -> bool,
) -> Result<u64, R::Error> {
    let format = *blocks.dir.layout().format();
    let mut from = from;
    let mut steps = blocks.dir.blocks();
    while from < END {
        let mut list = Gathered {
            slots,
            len: 0,
            left_out: None,
        };
        let next = gather(blocks, &format, from, &mut list)?;
        let left_out = list.left_out;
        for slot in list.sorted() {
            let bytes = blocks.read(slot.block)?;
            match format.entry_at(bytes, slot.offset as usize) {
                Ok(entry) if emit(slot.pos, &entry) => {}
                Ok(_) => return Ok(slot.pos),
                Err(error) => return Err(blocks.dir.error(slot.block, error)),
            }
        }
        from = match (left_out, next) {
            (Some(pos), _) => pos.max(from + 1),
            (None, Some(pos)) => pos.max(from),
            (None, None) => END,
        };
        if left_out.is_none() {
            steps = steps
                .checked_sub(1)
                .ok_or(Error::Corrupt("directory index: runs in circles"))
                .map_err(|error| blocks.dir.error(0, error))?;
        }
    }
    Ok(END)
}

/// Collects the entries, from position `from` on, of the leaf that has it, and of those that have names
/// of the same hash as the end of that. Answers with the position at which the next leaf begins.
fn gather<R: Read>(
    blocks: &mut Blocks<'_, R>,
    format: &Format,
    from: u64,
    list: &mut Gathered<'_>,
) -> Result<Option<u64>, R::Error> {
    if !blocks.dir.is_indexed() {
        let hasher = blocks.dir.layout().new_hasher();
        let hasher = hasher.map_err(|error| blocks.dir.error(0, error))?;
        return gather_leaf(blocks, format, &hasher, 0, from, list).map(|()| None);
    }
    let mut cursor = Cursor::descend(blocks.dir, |_| hash_of(from))?;
    loop {
        let hasher = cursor.hasher;
        gather_leaf(blocks, format, &hasher, cursor.leaf, from, list)?;
        match cursor.next(blocks.dir)? {
            // Bit 0: the hash of the leaf before goes on in this one.
            Some(hash) if hash & 1 != 0 => continue,
            next => return Ok(next.map(|hash| position(hash, 0))),
        }
    }
}

/// Collects entries of one leaf.
fn gather_leaf<R: Read>(
    blocks: &mut Blocks<'_, R>,
    format: &Format,
    hasher: &Hasher,
    nr: u32,
    from: u64,
    list: &mut Gathered<'_>,
) -> Result<(), R::Error> {
    for entry in format.entries(blocks.read(nr)?) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Err(blocks.dir.error(nr, error)),
        };
        let hash = hasher.hash(entry.name);
        let pos = position(hash.major, hash.minor);
        if pos >= from && !entry.is_dot() {
            list.add(Slot {
                pos,
                block: nr,
                offset: entry.offset as u32,
            });
        }
    }
    Ok(())
}

/// The position of names of this hash.
fn position(major: u32, minor: u32) -> u64 {
    (u64::from(major >> 1) << 32 | u64::from(minor)).max(FIRST)
}

/// The `major` hash of names at a position.
fn hash_of(pos: u64) -> u32 {
    // Positions have 63 bits.
    ((pos >> 32) as u32) << 1
}

/// As many of the entries collected as there is room for: those of the lowest positions.
struct Gathered<'a> {
    slots: &'a mut [Slot],
    len: usize,
    /// The lowest position for which there was no room.
    left_out: Option<u64>,
}

impl<'a> Gathered<'a> {
    fn add(&mut self, mut slot: Slot) {
        if let Some(free) = self.slots.get_mut(self.len) {
            *free = slot;
            self.len += 1;
            return;
        }
        if let Some(highest) = self.slots.iter_mut().max_by_key(|slot| slot.pos) {
            if slot.pos < highest.pos {
                core::mem::swap(&mut slot, highest);
            }
        }
        self.left_out = Some(self.left_out.map_or(slot.pos, |pos| pos.min(slot.pos)));
    }

    /// The entries in order, without those at a position that some were left out of, unless there are
    /// no others.
    fn sorted(self) -> &'a [Slot] {
        let slots = self.slots.get_mut(..self.len).unwrap_or_default();
        sort_by_key(slots, |slot| (slot.pos, slot.block, slot.offset));
        let whole = match self.left_out {
            Some(pos) => slots.partition_point(|slot| slot.pos < pos),
            None => self.len,
        };
        match whole {
            0 => slots,
            whole => slots.get(..whole).unwrap_or_default(),
        }
    }
}
