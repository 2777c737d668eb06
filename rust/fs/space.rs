// SPDX-License-Identifier: GPL-2.0

//! The space of a file: truncation, preallocation, holes.
//!
//! What reads as zeros must be zeros before it can be read: a block that a file ends in is zeroed past
//! the end whenever the file becomes longer, since a mapping may have stored there; and when it
//! becomes shorter, so that what was cut off does not come back.
//!
//! Blocks are freed with `invalidate_lock` held, after nothing maps or caches them any more: in DAX
//! mode they are the very memory that was mapped, and DMA may still be under way to it.

use super::{
    alloc,
    inode::{
        self,
        resized, //
    },
    iomap::Zero,
    map::{
        self,
        Fill,
        Place, //
    },
    mount,
    orphan,
    INode,
    RdaxFs,
    Transaction, //
};
use crate::{
    prelude::*,
    vfs::{
        file::{
            Fallocate, //
            File,
        },
        inode::Locked,
        mode::{
            InvalidateExclusive,
            Mode,
            Stable, //
        }, //
    }, //
};
use kernel::sync::atomic::Relaxed;

/// As much as one DAX entry can cover: storing to one byte of it makes all of it dirty.
const DAX_ENTRY: u64 = 2 << 20;

/// The blocks that are zeroed on the device at once.
const MAX_ZEROED: u32 = 1 << 12;

/// The blocks that have a byte of the `len` from `pos` on: the first, and one past the last.
pub fn covering(inode: &INode, pos: u64, len: u64) -> Result<(u32, u32)> {
    let bits = inode.sb().block_bits();
    let end = pos.checked_add(len).ok_or(EFBIG)?;
    let to = u32::try_from(end.div_ceil(1 << bits)).map_err(|_| EFBIG)?;
    Ok(((pos >> bits) as u32, to))
}

/// The blocks all of whose bytes are among the `len` from `pos` on: the first, and one past the last.
fn within(inode: &INode, pos: u64, len: u64) -> Result<(u32, u32)> {
    let bits = inode.sb().block_bits();
    let end = pos.checked_add(len).ok_or(EFBIG)?;
    let from = u32::try_from(pos.div_ceil(1 << bits)).map_err(|_| EFBIG)?;
    Ok((from, u32::try_from(end >> bits).unwrap_or(map::END)))
}

/// [`EFBIG`] if the file cannot be `size` bytes long by its format. Otherwise, the super block says
/// afterwards that there may be files as long as that.
pub fn allow_size(inode: &INode, size: u64) -> Result {
    map::check_size(inode, size)?;
    if size > i32::MAX as u64 {
        mount::allow_large_files(inode.sb())?;
    }
    Ok(())
}

/// Makes the file `size` bytes long.
pub fn set_size(io: &Locked<RdaxFs>, size: u64) -> Result {
    allow_size(io, size)?;
    io.wait_for_direct_io();
    if size == io.size() {
        // What was allocated past the end goes, as ext4 and XFS have it.
        return trim(io);
    }
    if size > io.size() {
        zero_tail(io, size)?;
        write_added(io, size)?;
        let lock = io.invalidate_exclusive();
        io.set_size_and_truncate(&lock, size);
        resized(io);
        return Ok(());
    }
    write_added(io, size)?;
    let bits = io.sb().block_bits();
    let mut lock = io.invalidate_exclusive();
    // The block that the file will end in is the first that is not freed.
    let tail = size.next_multiple_of(1 << bits) - size;
    unmap(io, &mut lock, size, u64::MAX)?;
    zero(io, &lock, size, tail)?;
    io.set_size_and_truncate(&lock, size);
    if size == 0 {
        io.data().emptied.store(true, Relaxed);
    }
    let (from, _) = within(io, size, 0)?;
    // The smaller size is stored together with the place in the list of orphans, not before.
    orphaned(io, || {
        resized(io);
        map::remove_blocks(io, from, map::END)
    })?
}

/// Writes back what was added to the file before `end` and is not part of it on disk yet, since the size
/// there is about to be set past it.
fn write_added(io: &Locked<RdaxFs>, end: u64) -> Result {
    let from = io.data().disk_size();
    if from >= end.min(io.size()) {
        return Ok(());
    }
    io.write_and_wait(from as i64, end.min(io.size()) as i64 - 1)
}

/// Does something that takes several transactions, between which the file has blocks past its end. After
/// a crash they are freed.
pub fn orphaned<R>(io: &Locked<RdaxFs>, operation: impl FnOnce() -> R) -> Result<R> {
    let credits = inode::WRITE_CREDITS + orphan::CREDITS;
    orphan::add(&Transaction::start(io.sb(), credits)?, io)?;
    let done = operation();
    let tx = Transaction::start(io.sb(), credits)?;
    match io.nlink() {
        // It stays one until it is freed.
        0 => io.mark_dirty(),
        _ => orphan::remove(&tx, io, 0)?,
    }
    Ok(done)
}

/// Frees the blocks past the end of the file, that a write asked for and did not fill.
pub fn trim(io: &Locked<RdaxFs>) -> Result {
    let mut lock = io.invalidate_exclusive();
    unmap(
        io,
        &mut lock,
        io.size().next_multiple_of(1 << io.sb().block_bits()),
        u64::MAX,
    )?;
    let (from, _) = within(io, io.size(), 0)?;
    map::remove_blocks(io, from, map::END)
}

/// Zeroes what is between the end of the file and the end of its block, or `end` if that comes first. On
/// the device as well, before the file is longer there: nobody shall read what was truncated.
pub fn zero_tail(io: &Locked<RdaxFs>, end: u64) -> Result {
    let size = io.size();
    let end = end.min(size.next_multiple_of(1 << io.sb().block_bits()));
    if size >= end {
        return Ok(());
    }
    {
        let lock = io.invalidate_exclusive();
        zero(io, &lock, size, end - size)?;
    }
    io.write_and_wait(size as i64, end as i64 - 1)
}

/// Zeroes `len` bytes from `pos` on, where blocks hold anything else.
fn zero(io: &Locked<RdaxFs>, lock: &InvalidateExclusive<'_, RdaxFs>, pos: u64, len: u64) -> Result {
    if len == 0 {
        return Ok(());
    }
    match io.mode() {
        Mode::Dax(dax) => dax.zero::<Zero>(io, lock, pos, len),
        Mode::PageCache(pages) => pages.zero::<Zero>(io, lock, pos, len),
    }
}

/// Lets go of what is mapped or cached between the bytes `pos` and `end`, whose blocks will be freed or
/// exchanged. What is around them in the same page is kept, on the device.
fn unmap(
    io: &Locked<RdaxFs>,
    lock: &mut InvalidateExclusive<'_, RdaxFs>,
    pos: u64,
    end: u64,
) -> Result {
    let last = end.saturating_sub(1).min(i64::MAX as u64);
    match io.mode() {
        Mode::Dax(dax) => {
            // An entry is forgotten whole, so what it has of the rest of the file is flushed.
            let around = (pos / DAX_ENTRY * DAX_ENTRY) as i64;
            io.write_and_wait(
                around,
                last.saturating_add(DAX_ENTRY).min(i64::MAX as u64) as i64,
            )?;
            dax.break_layout(io, lock, pos, last)
        }
        Mode::PageCache(pages) if end < u64::MAX => {
            io.write_and_wait(pos as i64, last as i64)?;
            pages.remove_pages(lock, pos, last);
            Ok(())
        }
        // To the end of the file: `set_size_and_truncate` does that, with no need to write.
        Mode::PageCache(_) => Ok(()),
    }
}

/// `fallocate(2)`.
pub fn fallocate(file: &File<RdaxFs>, mode: Fallocate, pos: u64, len: u64) -> Result {
    let io = file.inode().lock();
    if mode != Fallocate::PunchHole && !map::fork(&io).has_extents() {
        return Err(EOPNOTSUPP);
    }
    io.wait_for_direct_io();
    file.modified()?;
    match mode {
        Fallocate::PunchHole => punch(&io, pos, len)?,
        Fallocate::Allocate { keep_size } => {
            check_size(&io, pos, len, keep_size)?;
            allocate(&io, pos, len)?;
            grow(&io, pos, len, keep_size)?;
        }
        Fallocate::ZeroRange { keep_size } => {
            check_size(&io, pos, len, keep_size)?;
            zero_range(&io, pos, len, Fill::Unwritten)?;
            grow(&io, pos, len, keep_size)?;
        }
        Fallocate::WriteZeroes => {
            if !can_write_zeroes(&io) {
                return Err(EOPNOTSUPP);
            }
            check_size(&io, pos, len, false)?;
            zero_range(&io, pos, len, Fill::Zeroed)?;
            grow(&io, pos, len, false)?;
        }
        Fallocate::CollapseRange => collapse(&io, pos, len)?,
        Fallocate::InsertRange => insert(&io, pos, len)?,
    }
    io.mark_dirty();
    let synchronous = file.is_synchronous();
    drop(io);
    if synchronous {
        file.inode().sync()?;
    }
    Ok(())
}

/// Whether the file may become as long as is asked for.
fn check_size(io: &Locked<RdaxFs>, pos: u64, len: u64, keep_size: bool) -> Result {
    if keep_size || pos + len <= io.size() {
        return Ok(());
    }
    io.check_size(pos + len)?;
    allow_size(io, pos + len)
}

/// Makes the file as long as is asked for.
fn grow(io: &Locked<RdaxFs>, pos: u64, len: u64, keep_size: bool) -> Result {
    if keep_size || pos + len <= io.size() {
        return Ok(());
    }
    set_size(io, pos + len)
}

/// Gives every block of the range that has none an unwritten one.
fn allocate(io: &Locked<RdaxFs>, pos: u64, len: u64) -> Result {
    let (mut lblk, to) = covering(io, pos, len)?;
    while lblk < to {
        let mut found = map::map_blocks(io, lblk)?;
        if found.place == Place::Hole {
            let len = found.len.min(to - lblk);
            (found, _) = alloc::retry(io.sb(), || {
                let tx = Transaction::start(io.sb(), map::allocate_credits(io))?;
                map::allocate(&tx, io, lblk, len, Fill::Unwritten)
            })?;
        }
        lblk = lblk.saturating_add(found.len);
    }
    Ok(())
}

/// Frees the blocks that lie in the range, and zeroes what the range has of the two around them.
fn punch(io: &Locked<RdaxFs>, pos: u64, len: u64) -> Result {
    let mut lock = io.invalidate_exclusive();
    unmap(io, &mut lock, pos, pos + len)?;
    let (from, to) = within(io, pos, len)?;
    map::remove_blocks(io, from, to)?;
    zero(io, &lock, pos, len.min(io.size().saturating_sub(pos)))
}

/// Makes the range read as zeros, from blocks that it has; with [`Fill::Zeroed`], that hold zeros.
fn zero_range(io: &Locked<RdaxFs>, pos: u64, len: u64, fill: Fill) -> Result {
    let mut lock = io.invalidate_exclusive();
    unmap(io, &mut lock, pos, pos + len)?;
    let (from, to) = within(io, pos, len)?;
    map::convert_blocks(io, from, to, true, |_| ())?;
    zero(io, &lock, pos, len.min(io.size().saturating_sub(pos)))?;
    allocate(io, pos, len)?;
    if fill == Fill::Zeroed {
        write_zeroes(io, pos, len)?;
    }
    Ok(())
}

/// Whether zeros can be put on the device at less than the price of writing them.
fn can_write_zeroes(inode: &INode) -> bool {
    let data = inode.sb().data();
    !data.journals_data && (data.dax.is_some() || inode.sb().can_unmap_to_zeroes())
}

/// Zeroes the unwritten blocks of the range on the device, of which nothing is cached, so that they are
/// written ones.
fn write_zeroes(io: &Locked<RdaxFs>, pos: u64, len: u64) -> Result {
    let (mut lblk, to) = covering(io, pos, len)?;
    while lblk < to {
        let (done, _) = map::zero_unwritten(io, lblk, (to - lblk).min(MAX_ZEROED))?;
        lblk = lblk.saturating_add(done.len);
    }
    Ok(())
}

/// [`EINVAL`] unless the range is one of whole blocks.
fn check_aligned(inode: &INode, pos: u64, len: u64) -> Result {
    let mask = inode.sb().block_size() as u64 - 1;
    if (pos | len) & mask != 0 {
        return Err(EINVAL);
    }
    Ok(())
}

/// Takes the range, which ends before the file does, out of the file.
///
/// After a crash half way, part of what is behind the range has not moved yet, and there is a hole
/// before it.
fn collapse(io: &Locked<RdaxFs>, pos: u64, len: u64) -> Result {
    check_aligned(io, pos, len)?;
    if pos + len >= io.size() {
        return Err(EINVAL);
    }
    let (from, to) = covering(io, pos, len)?;
    write_added(io, pos)?;
    let mut lock = io.invalidate_exclusive();
    unmap(io, &mut lock, pos, i64::MAX as u64)?;
    map::remove_blocks(io, from, to)?;
    map::shift_left(io, to, to - from)?;
    io.set_size_and_truncate(&lock, io.size() - len);
    resized(io);
    Ok(())
}

/// Moves what is at `pos`, before the end of the file, and behind it, so that there is a hole.
///
/// The file is as long as it will be before anything moves: after a crash half way nothing is past its
/// end.
fn insert(io: &Locked<RdaxFs>, pos: u64, len: u64) -> Result {
    check_aligned(io, pos, len)?;
    let size = io.size();
    if pos >= size {
        return Err(EINVAL);
    }
    let longer = size.checked_add(len).ok_or(EFBIG)?;
    io.check_size(longer)?;
    allow_size(io, longer)?;
    let (from, to) = covering(io, pos, len)?;
    write_added(io, pos)?;
    let mut lock = io.invalidate_exclusive();
    unmap(io, &mut lock, pos, i64::MAX as u64)?;
    // Nothing moves if there is not room for all of it.
    io.set_size(longer);
    resized(io);
    let moved = map::shift_right(io, from, to - from);
    if moved == Err(EFBIG) {
        io.set_size(size);
        resized(io);
    }
    moved
}
