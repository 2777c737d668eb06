// SPDX-License-Identifier: GPL-2.0

//! The page cache of files whose data goes through the journal (`data=journal`).
//!
//! Writing a dirty page back makes a copy of it, in the buffer cache of the device, part of a transaction,
//! as if it were metadata. jbd2 writes it to the journal, and later to its place. Until then what is in
//! that place is older than the buffer: so a page that is read again asks first whether its blocks are in
//! the journal (`buffer_jbd`).
//!
//! Nothing else may write to the blocks of such a file: no direct I/O, no DAX, no swapping, no zeroing on
//! the device of blocks that were ever written.
//!
//! C sources: [`fs/iomap/bio.c`](srctree/fs/iomap/bio.c), [`fs/jbd2/`](srctree/fs/jbd2)

use super::{
    aspace,
    Buffer,
    FileSystem,
    INode,
    SuperBlock,
    Transaction, //
};
use crate::{
    bindings,
    prelude::*, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::error::to_result;

/// Dirty blocks of a folio that is being written back.
///
/// # Invariants
///
/// `folio` is locked, and holds the `len` bytes from byte `pos` of its file on.
pub struct Dirty<'a> {
    folio: NonNull<bindings::folio>,
    pos: u64,
    len: u64,
    _folio: PhantomData<&'a ()>,
}

impl Dirty<'_> {
    /// Makes the block at byte `pos` of the file part of the transaction, as the contents of block `nr` of
    /// the device. [`EIO`] if it is not all dirty.
    pub fn write_block<T: FileSystem>(&self, tx: &Transaction<'_, T>, pos: u64, nr: u64) -> Result {
        let size = tx.sb().block_size();
        let within = pos.checked_sub(self.pos).ok_or(EIO)?;
        if self.len.checked_sub(within) < Some(size as u64) {
            return Err(EIO);
        }
        tx.write_data(nr, |to| {
            let folio = self.folio.as_ptr();
            // SAFETY: `to` is a block, and so much of the folio is there, by the type's invariant. Who has
            // it mapped may store to it; then it is dirty again.
            unsafe {
                let offset = bindings::rdaxfs_offset_in_folio(folio, pos as i64);
                bindings::rdaxfs_memcpy_from_folio(to.cast(), folio, offset, size);
            }
        })
    }
}

/// The buffer of block `nr` if it is in the journal, so that it may be newer than the device.
fn in_journal<T: FileSystem>(sb: &SuperBlock<T>, nr: u64) -> Option<Buffer> {
    // SAFETY: The device is open. The count of the look-up is the buffer's.
    unsafe {
        let bh = NonNull::new(bindings::rdaxfs_sb_find_get_block(sb.as_ptr(), nr))?;
        let buffer = Buffer::from_raw(bh);
        bindings::rdaxfs_buffer_jbd(bh.as_ptr()).then_some(buffer)
    }
}

/// The buffer of block `nr`, which is not in the journal, read from the device now.
fn read_anew<T: FileSystem>(sb: &SuperBlock<T>, nr: u64) -> Result<Buffer> {
    // SAFETY: The device is open. The lock that is taken is released when the block was read.
    unsafe {
        let bh = NonNull::new(bindings::rdaxfs_sb_getblk(sb.as_ptr(), nr)).ok_or(ENOMEM)?;
        let buffer = Buffer::from_raw(bh);
        bindings::rdaxfs_lock_buffer(bh.as_ptr());
        bindings::rdaxfs_clear_buffer_uptodate(bh.as_ptr());
        to_result(bindings::__bh_read(bh.as_ptr(), 0, true))?;
        Ok(buffer)
    }
}

/// Copies a block to where byte `pos` of the file is in the folio.
///
/// # Safety
///
/// `folio` must be locked and hold a block from there on.
unsafe fn copy_to_folio(buffer: &Buffer, folio: *mut bindings::folio, pos: u64) {
    // SAFETY: As promised by the caller. The block stays as long as the buffer; a folio of its file is
    // locked, so it is not written to.
    unsafe {
        let offset = bindings::rdaxfs_offset_in_folio(folio, pos as i64);
        let from = (*buffer.as_ptr()).b_data;
        bindings::rdaxfs_memcpy_to_folio(folio, offset, from, buffer.size());
    }
}

/// The blocks of the device that hold `len` bytes of a file from `pos` on, which `iomap` maps: each after
/// the byte of the file that it begins with.
fn blocks<T: FileSystem>(
    sb: &SuperBlock<T>,
    iomap: &bindings::iomap,
    pos: i64,
    len: usize,
) -> impl Iterator<Item = (u64, u64)> {
    let (pos, bits) = (pos as u64, sb.block_bits());
    let first = (iomap.addr + (pos - iomap.offset as u64)) >> bits;
    (0..(len >> bits) as u64).map(move |n| (pos + (n << bits), first + n))
}

/// Reads blocks into a folio that is about to be written to in part (`iomap_write_ops`).
///
/// # Safety
///
/// `iter` must be one on an inode of `T`'s, with a mapping of the `len` bytes from `pos` on, which are whole
/// blocks of `folio`, which is locked.
pub(super) unsafe extern "C" fn read_folio_range_sync<T: aspace::Operations>(
    iter: *const bindings::iomap_iter,
    folio: *mut bindings::folio,
    pos: i64,
    len: usize,
) -> c_int {
    // SAFETY: As promised by the caller.
    let (inode, iomap) = unsafe { (INode::<T>::from_raw((*iter).inode), &(*iter).iomap) };
    let sb = inode.sb();
    for (pos, nr) in blocks(sb, iomap, pos, len) {
        match in_journal(sb, nr).map_or_else(|| read_anew(sb, nr), Ok) {
            // SAFETY: As promised by the caller.
            Ok(buffer) => unsafe { copy_to_folio(&buffer, folio, pos) },
            Err(error) => return error.to_errno(),
        }
    }
    0
}

/// What reads and writes back the pages of such files.
pub(super) struct Ops<T>(PhantomData<T>);

impl<T: aspace::Operations> Ops<T> {
    pub(super) const READ: &'static bindings::iomap_read_ops = &bindings::iomap_read_ops {
        read_folio_range: Some(Self::read_folio_range),
        submit_read: Some(Self::submit_read),
        ..pin_init::zeroed()
    };

    pub(super) const WRITEBACK: &'static bindings::iomap_writeback_ops =
        &bindings::iomap_writeback_ops {
            writeback_range: Some(Self::writeback_range),
            writeback_submit: None,
        };

    /// Copies what is in the journal, and reads the rest as that of other files.
    ///
    /// # Safety
    ///
    /// `iter` must be one on an inode of `T`'s, with a mapping of the `len` bytes from its position on, which
    /// are whole blocks of the folio in `ctx`, which is locked.
    unsafe extern "C" fn read_folio_range(
        iter: *const bindings::iomap_iter,
        ctx: *mut bindings::iomap_read_folio_ctx,
        len: usize,
    ) -> c_int {
        // SAFETY: As promised by the caller. The folio stays locked until the last of the blocks was read.
        unsafe {
            let inode = INode::<T>::from_raw((*iter).inode);
            let (sb, folio) = (inode.sb(), (*ctx).cur_folio);
            let mut at = core::ptr::read(iter);
            for (pos, nr) in blocks(sb, &(*iter).iomap, (*iter).pos, len) {
                at.pos = pos as i64;
                if let Some(buffer) = in_journal(sb, nr) {
                    copy_to_folio(&buffer, folio, pos);
                    let offset = bindings::rdaxfs_offset_in_folio(folio, pos as i64);
                    bindings::iomap_finish_folio_read(folio, offset, buffer.size(), 0);
                } else if let Some(read) = bindings::iomap_bio_read_ops.read_folio_range {
                    let error = read(&at, ctx, sb.block_size());
                    if error != 0 {
                        return error;
                    }
                }
            }
        }
        0
    }

    /// # Safety
    ///
    /// As for [`Self::read_folio_range`], after it has left something to be sent.
    unsafe extern "C" fn submit_read(
        iter: *const bindings::iomap_iter,
        ctx: *mut bindings::iomap_read_folio_ctx,
    ) {
        // SAFETY: As promised by the caller.
        unsafe {
            if let Some(submit) = bindings::iomap_bio_read_ops.submit_read {
                submit(iter, ctx);
            }
        }
    }

    /// Makes a dirty range of a folio part of a transaction. Then it counts as written: the rest is up to the
    /// journal.
    ///
    /// # Safety
    ///
    /// `wpc` must be that of [`PageCacheToken::write_back`](super::mode::PageCacheToken), `folio` locked and of
    /// that inode, with whole blocks of `len` bytes from `pos` on.
    unsafe extern "C" fn writeback_range(
        wpc: *mut bindings::iomap_writepage_ctx,
        folio: *mut bindings::folio,
        pos: u64,
        len: c_uint,
        _end: u64,
    ) -> isize {
        // SAFETY: As promised by the caller.
        let (iomap, inode) = unsafe { (&mut (*wpc).iomap, INode::<T>::from_raw((*wpc).inode)) };
        // INVARIANT: As promised by the caller.
        let data = Dirty {
            // SAFETY: As promised by the caller.
            folio: unsafe { NonNull::new_unchecked(folio) },
            pos,
            len: len.into(),
            _folio: PhantomData,
        };
        match T::write_to_journal(inode, pos, len.into(), &data) {
            Ok((map, done)) => {
                map.write_to(inode, iomap);
                if u32::from(iomap.type_) != bindings::IOMAP_HOLE {
                    // SAFETY: As promised by the caller. The folio stays locked.
                    unsafe {
                        bindings::iomap_finish_folio_write(inode.as_ptr(), folio, done as usize);
                    }
                }
                done as isize
            }
            Err(error) => error.to_errno() as isize,
        }
    }
}
