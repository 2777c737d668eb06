// SPDX-License-Identifier: GPL-2.0

//! What each block of the device is used for (`FS_IOC_GETFSMAP`): nothing, the file system itself, or a file,
//! of which the bitmaps do not tell which.
//!
//! The answer is put together group by group and written to user memory between them: with a group locked,
//! a fault there could come back for the same lock.
//!
//! C header: [`include/uapi/linux/fsmap.h`](srctree/include/uapi/linux/fsmap.h)

use core::ops::Range;
use zerocopy::FromZeros as _;
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes, //
};

use super::{
    group::Group,
    ioctl::user,
    SuperBlock, //
};
use crate::{
    ondisk::bitmap,
    prelude::*, //
};

/// `FMH_OF_DEV_T`: devices are told by their numbers.
const BY_DEVICE_NUMBER: u32 = 1;
/// `FMR_OF_SPECIAL_OWNER`: the owner is not an inode.
const SPECIAL_OWNER: u32 = 0x10;
/// `FMR_OF_LAST`: nothing of what was asked for comes after this one.
const LAST: u32 = 0x20;

/// `struct fsmap`: bytes of a device and what they are used for, or where a search begins or ends.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Record {
    device: u32,
    flags: u32,
    physical: u64,
    owner: u64,
    offset: u64,
    length: u64,
    reserved: [u64; 3],
}

/// `struct fsmap_head`; records follow it in the memory of the caller.
#[derive(FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Head {
    iflags: u32,
    oflags: u32,
    /// Records that there is room for; zero, to have them counted only.
    count: u32,
    /// Records that are there.
    entries: u32,
    reserved: [u64; 6],
    low: Record,
    high: Record,
}

impl Head {
    /// The bytes that are asked for: those of `device`, or none. [`EINVAL`] for what has no meaning.
    fn wanted(&self, device: u32) -> Result<Range<u64>> {
        let (low, high) = (&self.low, &self.high);
        let reserved = [self.reserved.as_slice(), &low.reserved, &high.reserved];
        let unused = reserved.into_iter().flatten().all(|word| *word == 0);
        let known = |key: &Record| [0, device, u32::MAX].contains(&key.device);
        if self.iflags != 0 || !unused || !known(low) || !known(high) {
            return Err(EINVAL);
        }
        // The last record of an answer is the low key for the next: what comes after it is wanted.
        let start = low.physical.checked_add(low.length).ok_or(EINVAL)?;
        if (low.device, start) > (high.device, high.physical) {
            return Err(EINVAL);
        }
        let start = match low.device {
            at if at < device => 0,
            at if at == device => start,
            _ => u64::MAX,
        };
        let end = match high.device {
            at if at < device => 0,
            at if at == device => high.physical.saturating_add(1),
            _ => u64::MAX,
        };
        Ok(start..end)
    }
}

/// What blocks are used for: `FMR_OWN_FREE` and its like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Free = 1,
    Unknown = 2,
    Metadata = 3,
}

/// The records of the answer, which go to user memory as soon as it is known where they end.
struct Answer {
    device: u32,
    /// The binary logarithm of the block size.
    bits: u32,
    /// Where the records are wanted, and how many fit; zero, to have them counted.
    records: usize,
    room: u32,
    entries: u32,
    /// The last run, which may go on.
    pending: Option<(Range<u64>, Owner)>,
}

impl Answer {
    /// Adds a run of blocks that comes after all others, or nothing if it is empty.
    fn add(&mut self, run: Range<u64>, owner: Owner) -> Result {
        match &mut self.pending {
            _ if run.is_empty() => {}
            Some((last, of)) if last.end == run.start && *of == owner => last.end = run.end,
            _ => {
                self.flush(0)?;
                self.pending = Some((run, owner));
            }
        }
        Ok(())
    }

    /// Whether there is no room for the last run, let alone for others.
    fn is_full(&self) -> bool {
        self.room > 0 && self.entries >= self.room
    }

    /// Writes the last run, if there is room.
    fn flush(&mut self, flags: u32) -> Result {
        let Some((run, owner)) = self
            .pending
            .take_if(|_| self.room == 0 || self.entries < self.room)
        else {
            return Ok(());
        };
        if self.room > 0 {
            let record = Record {
                device: self.device,
                flags: SPECIAL_OWNER | flags,
                physical: run.start << self.bits,
                owner: owner as u64,
                offset: 0,
                length: (run.end - run.start) << self.bits,
                reserved: [0; 3],
            };
            let at = size_of::<Record>().wrapping_mul(self.entries as usize);
            let to = user(self.records.wrapping_add(at), size_of::<Record>());
            to.writer().write_slice(record.as_bytes())?;
        }
        self.entries = self.entries.saturating_add(1);
        Ok(())
    }

    /// Adds the blocks `wanted` of one group.
    fn add_group(&mut self, sb: &SuperBlock, group: &Group, wanted: Range<u64>) -> Result {
        let data = sb.data().get_ref();
        let run = data
            .geometry()
            .group_blocks(group.nr())
            .map_err(|_| EUCLEAN)?;
        let (first, end) = (run.start().get(), run.end().min(wanted.end));
        let mut at = first.max(wanted.start);
        let bits = group.block_bits(sb)?;
        let free = bitmap::clear_runs(&bits, (at - first) as u32..(end - first) as u32)
            .map(|run| first + u64::from(run.start)..first + u64::from(run.end));
        let metadata = data.groups.metadata(at..end);
        let (mut free, mut metadata) = (free.peekable(), metadata.peekable());
        loop {
            let next = match (free.peek(), metadata.peek()) {
                (Some(run), Some(other)) if run.start < other.start => (free.next(), Owner::Free),
                (Some(_), None) => (free.next(), Owner::Free),
                _ => (metadata.next(), Owner::Metadata),
            };
            let (Some(run), owner) = next else { break };
            // A bitmap may say of metadata that it is free.
            let run = run.start.max(at)..run.end.max(at);
            self.add(at..run.start, Owner::Unknown)?;
            at = run.end;
            self.add(run, owner)?;
        }
        self.add(at..end, Owner::Unknown)
    }
}

/// Answers `FS_IOC_GETFSMAP`, with a [`Head`] at `arg`. [`EINTR`] if a signal comes meanwhile.
pub fn get(sb: &SuperBlock, arg: usize) -> Result {
    let mut head = Head::new_zeroed();
    user(arg, size_of::<Head>())
        .reader()
        .read_slice(head.as_mut_bytes())?;
    let device = sb.device_number();
    let wanted = head.wanted(device)?;
    let data = sb.data().get_ref();
    let (blocks, bits) = (data.geometry().blocks(), sb.block_bits());
    let first = (wanted.start >> bits).max(blocks.first());
    let end = wanted.end.div_ceil(1 << bits).min(blocks.end());
    let mut answer = Answer {
        device,
        bits,
        records: arg.wrapping_add(size_of::<Head>()),
        room: head.count,
        entries: 0,
        pending: None,
    };
    if first < end {
        let group_of = |nr| {
            let block = data.geometry().block(nr).map_err(|_| EUCLEAN)?;
            Ok::<_, Error>(data.geometry().group_of(block).0)
        };
        for nr in group_of(first)?..=group_of(end - 1)? {
            let group = data.groups.get(nr).ok_or(EUCLEAN)?;
            answer.add_group(sb, group, first..end)?;
            if answer.is_full() {
                break;
            }
            if kernel::current!().signal_pending() {
                return Err(EINTR);
            }
        }
    }
    answer.flush(LAST)?;
    head.oflags = BY_DEVICE_NUMBER;
    head.entries = answer.entries;
    user(arg, size_of::<Head>())
        .writer()
        .write_slice(head.as_bytes())
}
