// SPDX-License-Identifier: GPL-2.0

//! Reading directories, at positions that stay what they are while entries come and go.
//!
//! Which positions entries have, and that they keep them, is the business of
//! [`ondisk::directory`](crate::ondisk::directory): in a directory with an index they are the hashes of
//! the names, in 63 bits, behind `.` and `..` at 0 and 1. A reader that takes only 31 bits gets the upper
//! half, which orders the names in the same way.
//!
//! Names can share a position: hardly ever one of 63 bits, now and then one of 31. When the reader's room
//! ends between two such names, the open file remembers which one was the last.

use super::{
    dir::Reader,
    ioctl,
    INode,
    RdaxFs, //
};
use crate::{
    ondisk::{
        dir::{
            DirEntry,
            FileType, //
        },
        directory::{
            is_in_order_of_hash,
            visit,
            Slot,
            END, //
        }, //
    },
    prelude::*,
    vfs::{
        file::File,
        inode::LockedShared,
        readdir::{
            DirContext,
            Operations,
            PositionWidth, //
        }, //
    }, //
};

/// The operations of an open directory.
pub struct OpenDir;

/// What is kept for an open directory.
#[derive(Default)]
pub struct Cursor {
    /// Where the last call stopped, if the position that the reader was told does not say it all.
    stopped: Option<Stop>,
    /// Room for [`visit`] to work in.
    slots: KVec<Slot>,
}

/// Where the reader's room ended, between two entries at one position.
struct Stop {
    /// The position that the reader was told.
    told: u64,
    /// The position of the next entry.
    pos: u64,
    /// The last name that was taken at `pos`; empty if there was none.
    taken: KVec<u8>,
}

#[vtable]
impl Operations for OpenDir {
    type FileSystem = RdaxFs;
    type Cursor = Cursor;

    fn iterate(
        dir: &LockedShared<RdaxFs>,
        cursor: &mut Cursor,
        ctx: &mut DirContext<'_>,
    ) -> Result {
        let slots = &mut cursor.slots;
        if slots.is_empty() {
            // As many entries as a block can have, of at least 12 bytes each.
            slots.resize(dir.sb().block_size() / 12, Slot::default(), GFP_KERNEL)?;
        }
        let positions = Positions::of(dir, ctx.width());
        let stopped = cursor.stopped.take().filter(|stop| stop.told == ctx.pos());
        let (from, taken) = match stopped {
            Some(stop) => (stop.pos, stop.taken),
            None => (positions.whole(ctx.pos()), KVec::new()),
        };
        let mut listing = Listing {
            ctx,
            positions,
            skipping: !taken.is_empty(),
            lost: false,
            last: from,
            name: taken,
        };
        let mut reader = Reader::new(dir);
        let mut next = visit(&mut reader, from, slots, |pos, entry| {
            listing.take(pos, entry)
        })?;
        if listing.lost || listing.skipping {
            // The last name that was taken is gone. Better some names twice than one not at all.
            (listing.skipping, listing.lost) = (false, false);
            listing.name.clear();
            next = visit(&mut reader, from, slots, |pos, entry| {
                listing.take(pos, entry)
            })?;
        }
        cursor.stopped = listing.stop(next);
        Ok(())
    }

    fn end(width: PositionWidth) -> u64 {
        match width {
            PositionWidth::Narrow => NARROW_END,
            PositionWidth::Wide => END,
        }
    }

    fn fsync(dir: &INode, _datasync: bool) -> Result {
        dir.sync()?;
        dir.sb().flush_device()
    }

    fn ioctl(dir: &File<RdaxFs>, cmd: u32, arg: usize) -> Result<isize> {
        ioctl::ioctl(dir, cmd, arg)
    }
}

/// The position behind all entries, for a reader that takes 31 bits.
const NARROW_END: u64 = i32::MAX as u64;

/// The positions of a directory, and how a reader is told them.
#[derive(Clone, Copy)]
enum Positions {
    /// As they are.
    Whole,
    /// In 31 bits: places in a directory without index.
    NarrowPlaces,
    /// In 31 bits: hashes.
    NarrowHashes,
}

impl Positions {
    fn of(dir: &INode, width: PositionWidth) -> Self {
        match width {
            PositionWidth::Wide => Self::Whole,
            PositionWidth::Narrow if is_in_order_of_hash(&Reader::new(dir)) => Self::NarrowHashes,
            PositionWidth::Narrow => Self::NarrowPlaces,
        }
    }

    /// What the reader is told of a position.
    fn told(self, pos: u64) -> u64 {
        match (self, pos) {
            (Self::Whole, pos) => pos,
            (_, END) => NARROW_END,
            (Self::NarrowPlaces, pos) | (_, pos @ 0..=1) => pos,
            (Self::NarrowHashes, pos) => (pos >> 32).max(2),
        }
    }

    /// The first position of those that the reader is told this of.
    fn whole(self, told: u64) -> u64 {
        match (self, told) {
            (Self::Whole, told) => told,
            (_, NARROW_END..) => END,
            (Self::NarrowPlaces, told) | (_, told @ 0..=2) => told,
            (Self::NarrowHashes, told) => told << 32,
        }
    }
}

/// Entries on their way to the reader.
struct Listing<'a, 'c> {
    ctx: &'a mut DirContext<'c>,
    positions: Positions,
    /// Entries at position `last` are skipped, until `name` was seen.
    skipping: bool,
    /// It was not.
    lost: bool,
    /// The position of the entry that was taken last.
    last: u64,
    /// Its name.
    name: KVec<u8>,
}

impl Listing<'_, '_> {
    /// Offers one entry to the reader. Returns whether to go on.
    fn take(&mut self, pos: u64, entry: &DirEntry<'_>) -> bool {
        if self.skipping {
            self.lost = pos != self.last;
            self.skipping = *entry.name != *self.name;
            return !self.lost;
        }
        let told = self.positions.told(pos);
        self.ctx.set_pos(told);
        if !self
            .ctx
            .emit(entry.name, entry.ino.into(), dtype(entry.file_type))
        {
            return false;
        }
        // Behind the entry: if what follows cannot be read, the next call is to say so at once.
        self.ctx.set_pos(told + 1);
        self.last = pos;
        self.name.clear();
        // Without memory the reader may get a name twice.
        let _ = self.name.extend_from_slice(entry.name, GFP_KERNEL);
        true
    }

    /// Notes that the listing stopped at position `next`.
    fn stop(self, next: u64) -> Option<Stop> {
        let told = self.positions.told(next);
        self.ctx.set_pos(told);
        if next == END || self.name.is_empty() || told != self.positions.told(self.last) {
            return None;
        }
        Some(Stop {
            told,
            pos: next,
            taken: if next == self.last {
                self.name
            } else {
                KVec::new()
            },
        })
    }
}

/// The type of an entry, as `getdents(2)` tells it (`DT_*`): the format bits of its mode.
fn dtype(file_type: FileType) -> u8 {
    match file_type {
        FileType::Unknown => 0,
        FileType::Fifo => 1,
        FileType::CharDevice => 2,
        FileType::Directory => 4,
        FileType::BlockDevice => 6,
        FileType::Regular => 8,
        FileType::Symlink => 10,
        FileType::Socket => 12,
    }
}
