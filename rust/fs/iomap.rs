// SPDX-License-Identifier: GPL-2.0

//! Answers to iomap: one [`Begin`] for each purpose that it asks for mappings.
//!
//! | purpose | a hole | unwritten blocks |
//! |---|---|---|
//! | [`Read`], [`Report`] | a hole | unwritten |
//! | [`BufferedWrite`], [`DirectWrite`] | allocates unwritten blocks | unwritten, until the data is on them |
//! | [`DaxWrite`] | allocates zeroed blocks | zeroes them first |
//! | [`Zero`] | a hole | unwritten |
//!
//! [`ReportAttributes`] is not about the file's bytes; [`write_to_journal`] writes back instead of iomap.

use super::{
    alloc,
    inode::{
        data_reached,
        is_unsynced, //
    },
    map::{
        self,
        Fill,
        Mapping,
        Place, //
    },
    space,
    xattr,
    INode,
    RdaxFs,
    Transaction, //
};
use crate::{
    prelude::*,
    vfs::{
        iomap::{
            self,
            Begin,
            Map,
            Request, //
        },
        journaled::Dirty,
        Credits, //
    }, //
};

/// The blocks that one request to allocate asks for at most, for DAX: as much as is zeroed at once.
const MAX_ZEROED: u64 = 1 << 23;

/// The same where blocks stay unwritten: as much as one extent takes.
const MAX_UNWRITTEN: u64 = 1 << 27;

/// The block with the first byte of the request. [`EFBIG`] for what no file has.
#[inline(always)]
fn first(inode: &INode, pos: u64) -> Result<u32> {
    u32::try_from(pos.wrapping_shr(inode.sb().block_bits())).map_err(|_| EFBIG)
}

/// The blocks from `first` up to the last one of the request, or as many as are in `max` bytes.
fn count(inode: &INode, request: &Request, first: u32, max: u64) -> u32 {
    let end = request.pos.saturating_add(request.len.min(max));
    let end = u32::try_from(end.div_ceil(inode.sb().block_size() as u64)).unwrap_or(map::END);
    end.saturating_sub(first).max(1)
}

/// `mapping` in bytes; `generation` is that of the tree from before it was looked up.
#[inline(always)]
fn bytes(inode: &INode, mapping: Mapping, generation: u64) -> Result<Map> {
    let bits = inode.sb().block_bits();
    let place = match mapping.place {
        Place::Hole => iomap::Place::Hole,
        Place::Written(at) => iomap::Place::Written(at.get().wrapping_shl(bits)),
        Place::Unwritten(at) => iomap::Place::Unwritten(at.get().wrapping_shl(bits)),
    };
    let offset = u64::from(mapping.lblk).wrapping_shl(bits);
    let len = u64::from(mapping.len).wrapping_shl(bits);
    Ok(Map::new(offset, len, place)?.of_generation(generation))
}

/// What is at `pos`.
#[inline(always)]
pub(super) fn existing(inode: &INode, pos: u64) -> Result<Map> {
    let generation = inode.data().extents.generation();
    bytes(
        inode,
        map::map_blocks(inode, first(inode, pos)?)?,
        generation,
    )
}

/// What is there, or what is allocated for it now, and whether that is so.
fn allocated(inode: &INode, lblk: u32, len: u32, fill: Fill) -> Result<(Mapping, bool)> {
    alloc::retry(inode.sb(), || {
        let tx = Transaction::start(inode.sb(), map::allocate_credits(inode))?;
        map::allocate(&tx, inode, lblk, len, fill)
    })
}

/// Reading, by whatever path: nothing is allocated.
pub struct Read;

impl Begin<RdaxFs> for Read {
    #[inline]
    fn begin(inode: &INode, request: Request) -> Result<Map> {
        existing(inode, request.pos)
    }
}

/// Telling user space what is where.
pub struct Report;

impl Begin<RdaxFs> for Report {
    fn begin(inode: &INode, request: Request) -> Result<Map> {
        existing(inode, request.pos)
    }
}

/// Telling user space where the extended attributes are: those in the inode or, if there are none, those
/// in the block.
pub struct ReportAttributes;

impl Begin<RdaxFs> for ReportAttributes {
    fn begin(inode: &INode, request: Request) -> Result<Map> {
        let (place, len) = match xattr::place(inode)?.ok_or(ENOENT)? {
            xattr::Place::INode { at, len } => (iomap::Place::Inline(at), len),
            xattr::Place::Block(nr) => (
                iomap::Place::Written(nr.get().wrapping_shl(inode.sb().block_bits())),
                inode.sb().block_size() as u64,
            ),
        };
        if request.pos >= len {
            return Err(ENOENT);
        }
        Map::new(0, len, place)
    }
}

/// Zeroing a part of a block: what reads as zeros anyway stays as it is.
pub struct Zero;

impl Begin<RdaxFs> for Zero {
    fn begin(inode: &INode, request: Request) -> Result<Map> {
        existing(inode, request.pos)
    }
}

/// Writing into the page cache, by write or by store.
///
/// The blocks are allocated here, and not when the page is written back, so that a write that finds
/// no space says so.
pub struct BufferedWrite;

impl Begin<RdaxFs> for BufferedWrite {
    fn begin(inode: &INode, request: Request) -> Result<Map> {
        let generation = inode.data().extents.generation();
        let lblk = first(inode, request.pos)?;
        let found = map::map_blocks(inode, lblk)?;
        if found.place != Place::Hole {
            return bytes(inode, found, generation);
        }
        if request.nowait() {
            return Err(EAGAIN);
        }
        let len = count(inode, &request, lblk, MAX_UNWRITTEN);
        let (mapping, new) = allocated(inode, lblk, len, Fill::Unwritten)?;
        // The generation after the allocation: if the tree changes between the two lines, the mapping
        // is found stale although it may not be.
        let generation = if new {
            generation.wrapping_add(1)
        } else {
            generation
        };
        Ok(bytes(inode, mapping, generation)?.newly_allocated(new))
    }
}

/// Writing around the page cache.
pub struct DirectWrite;

impl Begin<RdaxFs> for DirectWrite {
    fn begin(inode: &INode, request: Request) -> Result<Map> {
        let lblk = first(inode, request.pos)?;
        let found = map::map_blocks(inode, lblk)?;
        // Beyond the end there is the size to be synced as well.
        let end = request.pos.saturating_add(request.len);
        let dirty = end > inode.data().disk_size() || is_unsynced(inode);
        match found.place {
            Place::Written(_) => return Ok(bytes(inode, found, 0)?.needs_sync(dirty)),
            // Part of a block may have to be zeroed, or the blocks to be converted.
            _ if request.overwrite_only() => return Err(EAGAIN),
            Place::Unwritten(_) => return Ok(bytes(inode, found, 0)?.needs_sync(true)),
            Place::Hole if request.nowait() => return Err(EAGAIN),
            Place::Hole => {}
        }
        let len = count(inode, &request, lblk, MAX_UNWRITTEN);
        let (mapping, new) = allocated(inode, lblk, len, Fill::Unwritten)?;
        Ok(bytes(inode, mapping, 0)?
            .newly_allocated(new)
            .needs_sync(true))
    }
}

/// Writing to the device's memory, by write or by store.
pub struct DaxWrite;

impl Begin<RdaxFs> for DaxWrite {
    #[inline]
    fn begin(inode: &INode, request: Request) -> Result<Map> {
        let lblk = first(inode, request.pos)?;
        let found = map::map_blocks(inode, lblk)?;
        let dirty = is_unsynced(inode);
        match found.place {
            Place::Written(_) => return Ok(bytes(inode, found, 0)?.needs_sync(dirty)),
            _ if request.nowait() => return Err(EAGAIN),
            _ => {}
        }
        // New, or zeroed since just now: pages of zeros that are mapped there must go.
        let len = count(inode, &request, lblk, MAX_ZEROED);
        let (mapping, new) = match allocated(inode, lblk, len, Fill::Zeroed)? {
            (found, _) if matches!(found.place, Place::Unwritten(_)) => {
                map::zero_unwritten(inode, lblk, len)?
            }
            done => done,
        };
        Ok(bytes(inode, mapping, 0)?
            .newly_allocated(new)
            .needs_sync(true))
    }
}

/// The blocks of data that one transaction takes at most: few enough for the smallest journal.
const MAX_JOURNALED: u32 = 64;

/// Makes dirty data part of a transaction, and with it that it is part of the file. See
/// [`Operations::write_to_journal`](crate::vfs::aspace::Operations::write_to_journal).
///
/// Blocks become written ones last: if that fails, or reaches only some, what the others hold does not
/// count.
pub fn write_to_journal(inode: &INode, pos: u64, len: u64, data: &Dirty<'_>) -> Result<(Map, u64)> {
    let (from, to) = space::covering(inode, pos, len)?;
    let found = map::map_blocks(inode, from)?;
    // Nobody asks how long that holds: the folio is locked.
    let map = bytes(inode, found, 0)?;
    let (Place::Written(start) | Place::Unwritten(start)) = found.place else {
        return Ok((map, len));
    };
    let count = found.len.min(to - from).min(MAX_JOURNALED);
    let bits = inode.sb().block_bits();
    let credits = map::convert_credits(inode) + Credits(count);
    let tx = Transaction::start(inode.sb(), credits)?;
    for n in 0..u64::from(count) {
        data.write_block(&tx, pos + (n << bits), start.get() + n)?;
    }
    let reached = match found.place {
        Place::Unwritten(_) => map::convert_some(&tx, inode, from, from + count, false)?,
        _ => from + count,
    };
    inode.data().get_ref().note_data_change(&tx);
    let done = u64::from(reached.min(to) - from) << bits;
    data_reached(inode, pos + done);
    Ok((map, done))
}
