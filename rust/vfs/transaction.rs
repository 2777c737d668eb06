// SPDX-License-Identifier: GPL-2.0

//! Transactions: the only way to change metadata.
//!
//! A transaction is one change that must be seen whole: it starts with the number of blocks that it
//! may touch, borrows to whoever changes one, and stops when dropped. Its back end is the buffer
//! cache of the device: bytes are copied in under the buffer's lock, and the buffer marked dirty.
//! A journal becomes a second back end: then `start` opens a handle, and `write_at` asks it for
//! write access and tells it of the change.
//!
//! While it lasts, the file system is not frozen, and allocations do not enter the file system.
//! Transactions do not nest, and the last reference to an inode is not dropped within one.

use super::{
    quota,
    Buffer,
    FileSystem,
    INode,
    SuperBlock, //
};
use crate::bindings;
use core::{
    cell::RefCell,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    types::NotThreadSafe, //
};

/// A number of metadata blocks that a transaction may change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Credits(pub u32);

impl core::ops::Add for Credits {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl core::ops::Mul<u32> for Credits {
    type Output = Self;

    fn mul(self, times: u32) -> Self {
        Self(self.0.saturating_mul(times))
    }
}

/// A running transaction.
///
/// # Invariants
///
/// Allocations of this task are `GFP_NOFS`, and unless it is for the super block, write access for internal
/// purposes (`sb_start_intwrite`) is held, both until it is dropped.
pub struct Transaction<'sb, T: FileSystem> {
    sb: &'sb SuperBlock<T>,
    nofs: c_uint,
    unguarded: bool,
    credits: Credits,
    touched: Touched,
    _not_send: NotThreadSafe,
}

/// The blocks that a transaction changed, remembered where assertions are on.
struct Touched(RefCell<KVec<u64>>);

impl Touched {
    /// Notes a block, and complains once if there are more than were announced.
    #[inline]
    fn note(&self, nr: u64, credits: Credits) {
        if !cfg!(CONFIG_RUST_DEBUG_ASSERTIONS) {
            return;
        }
        let mut blocks = self.0.borrow_mut();
        if blocks.contains(&nr) || blocks.push(nr, GFP_KERNEL).is_err() {
            return;
        }
        kernel::warn_on!(blocks.len() > credits.0 as usize);
    }
}

impl<'sb, T: FileSystem> Transaction<'sb, T> {
    /// Starts a transaction that changes up to `credits` blocks. Sleeps while the file system is
    /// frozen. [`EROFS`] if it is read-only, [`EIO`] if it was shut down.
    pub fn start(sb: &'sb SuperBlock<T>, credits: Credits) -> Result<Self> {
        sb.check_running()?;
        if sb.is_read_only() {
            return Err(EROFS);
        }
        // SAFETY: The super block is valid; undone by `drop`.
        unsafe { bindings::rdaxfs_sb_start_intwrite(sb.as_ptr()) };
        let quotas = if sb.has_quotas() {
            quota::CREDITS
        } else {
            Credits(0)
        };
        Ok(Self::new(sb, credits + quotas, false))
    }

    /// A part of the transaction that this task runs, for a callback that was not handed it. It has the
    /// credits of that one.
    pub(super) fn join(sb: &'sb SuperBlock<T>) -> Result<Self> {
        if sb.is_read_only() {
            return Err(EROFS);
        }
        Ok(Self::new(sb, Credits(u32::MAX), true))
    }

    /// Changes the super block's own block, and nothing else: also while the file system is
    /// read-only or frozen, and also within another transaction, since an error may be met there.
    pub fn for_super_block(sb: &'sb SuperBlock<T>) -> Self {
        Self::new(sb, Credits(1), true)
    }

    fn new(sb: &'sb SuperBlock<T>, credits: Credits, unguarded: bool) -> Self {
        // INVARIANT: The caller has write access unless it is for the super block.
        Self {
            sb,
            // SAFETY: Touches the current task only; undone by `drop`.
            nofs: unsafe { bindings::rdaxfs_memalloc_nofs_save() },
            unguarded,
            credits,
            touched: Touched(RefCell::new(KVec::new())),
            _not_send: NotThreadSafe,
        }
    }

    /// The super block whose metadata is changed.
    #[inline]
    pub fn sb(&self) -> &'sb SuperBlock<T> {
        self.sb
    }

    /// Copies `bytes` into the block from `offset` on. [`EIO`] if that goes past the block's end.
    ///
    /// With an `owner`, `fsync` of that inode writes the block: for blocks of its extent tree and,
    /// if it is a directory, of its names.
    pub fn write_at(
        &self,
        buffer: &Buffer,
        offset: usize,
        bytes: &[u8],
        owner: Option<&INode<T>>,
    ) -> Result {
        let end = offset.checked_add(bytes.len()).ok_or(EIO)?;
        if end > buffer.size() {
            return Err(EIO);
        }
        self.touched.note(buffer.nr(), self.credits);
        let bh = buffer.as_ptr();
        // SAFETY: The buffer is valid, the range lies within it, and the lock keeps write-back from
        // taking half of the change. The inode is alive, and drops its list before it goes.
        unsafe {
            bindings::rdaxfs_lock_buffer(bh);
            let to = (*bh).b_data.cast::<u8>().add(offset);
            bindings::memcpy(to.cast(), bytes.as_ptr().cast(), bytes.len());
            bindings::rdaxfs_set_buffer_uptodate(bh);
            bindings::unlock_buffer(bh);
            match owner {
                Some(inode) => bindings::mmb_mark_buffer_dirty(bh, inode.metadata_buffers()),
                None => bindings::mark_buffer_dirty(bh),
            }
        }
        Ok(())
    }

    /// A buffer for the block `nr`, which was just allocated: all zeroes, and not read.
    ///
    /// It reaches the disk when something is written to it.
    pub fn create(&self, nr: u64) -> Result<Buffer> {
        // SAFETY: The device is open, and the size is the one it was set to. The memory is zeroed
        // under the buffer's lock, as is everything that is said about it.
        unsafe {
            let bh = bindings::rdaxfs_sb_getblk(self.sb.as_ptr(), nr);
            let buffer = Buffer::from_raw(NonNull::new(bh).ok_or(ENOMEM)?);
            bindings::rdaxfs_lock_buffer(bh);
            bindings::memset((*bh).b_data.cast(), 0, buffer.size());
            bindings::rdaxfs_set_buffer_uptodate(bh);
            bindings::rdaxfs_set_buffer_verified(bh);
            bindings::unlock_buffer(bh);
            Ok(buffer)
        }
    }

    /// The metadata block `nr` is freed: what is in its buffer must not reach the disk any more,
    /// where the block may belong to a file's data soon.
    pub fn forget(&self, nr: u64) {
        // SAFETY: The device is open. A write under way is waited for by taking the lock;
        // `__bforget` takes over the count that the look-up took.
        unsafe {
            let bh = bindings::rdaxfs_sb_find_get_block(self.sb.as_ptr(), nr);
            if bh.is_null() {
                return;
            }
            bindings::rdaxfs_lock_buffer(bh);
            bindings::rdaxfs_clear_buffer_verified(bh);
            bindings::rdaxfs_clear_buffer_dirty(bh);
            bindings::unlock_buffer(bh);
            bindings::__bforget(bh);
        }
    }
}

impl<T: FileSystem> Drop for Transaction<'_, T> {
    fn drop(&mut self) {
        // SAFETY: Undoes what the constructors did, on the same thread.
        unsafe {
            bindings::rdaxfs_memalloc_nofs_restore(self.nofs);
            if !self.unguarded {
                bindings::rdaxfs_sb_end_intwrite(self.sb.as_ptr());
            }
        }
    }
}
