// SPDX-License-Identifier: GPL-2.0

//! Transactions: the only way to change metadata.
//!
//! A transaction is one change that must be seen whole: it starts with the number of blocks that it
//! may change, borrows to whoever changes one, and stops when dropped. With a journal
//! ([`Journal`](super::Journal)) it is a handle of jbd2: after a crash, all of it is there or nothing.
//! Without one its back end is the buffer cache of the device: bytes are copied in under the buffer's
//! lock, and the buffer marked dirty.
//!
//! While it lasts, the file system is not frozen, and allocations do not enter the file system.
//! Transactions do not nest, but for [`join`](Transaction::join), and the last reference to an inode is
//! not dropped within one. No lock may be waited for that somebody holds while starting one: not that
//! of a page, nor write-back.

use super::{
    journal::Tid,
    quota,
    Buffer,
    FileSystem,
    INode,
    SuperBlock, //
};
use crate::{
    bindings,
    prelude::*, //
};
use core::ptr::NonNull;
use kernel::{
    error::to_result,
    types::NotThreadSafe, //
};

pub use super::journal::MAX_FORGOTTEN;

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

/// What a [`Transaction`] has to undo when it is dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// It started what runs on this task.
    Started,
    /// It is part of what was started before.
    Joined,
    /// It is for the super block alone, and writes past the journal.
    SuperBlock,
}

/// A running transaction.
///
/// # Invariants
///
/// Allocations of this task are `GFP_NOFS`, and unless it is for the super block, write access for internal
/// purposes (`sb_start_intwrite`) is held, both until it is dropped. `handle` is open on the journal of
/// `sb`; there is none if the file system has no journal, or if it is for the super block.
pub struct Transaction<'sb, T: FileSystem> {
    sb: &'sb SuperBlock<T>,
    handle: Option<NonNull<bindings::handle_t>>,
    nofs: c_uint,
    role: Role,
    _not_send: NotThreadSafe,
}

impl<'sb, T: FileSystem> Transaction<'sb, T> {
    /// Starts a transaction that changes up to `credits` blocks. Sleeps while the file system is
    /// frozen. [`EROFS`] if it is read-only or the journal was aborted, [`EIO`] if it was shut down.
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
        // SAFETY: Touches the current task only; undone by `drop`.
        let nofs = unsafe { bindings::rdaxfs_memalloc_nofs_save() };
        // INVARIANT: Both were just begun; the handle follows.
        let mut tx = Self {
            sb,
            handle: None,
            nofs,
            role: Role::Started,
            _not_send: NotThreadSafe,
        };
        match T::journal(sb) {
            Some(journal) => {
                let handle = journal.start(credits + quotas).inspect_err(|_| {
                    if journal.is_aborted() {
                        T::journal_aborted(sb);
                    }
                });
                // Without a handle, dropping it undoes the rest.
                tx.handle = Some(handle?);
            }
            // SAFETY: Touches the current task only, for which nothing runs; undone by `drop`.
            None => unsafe { bindings::rdaxfs_set_journal_info(sb.as_ptr().cast()) },
        }
        Ok(tx)
    }

    /// Becomes part of the transaction that runs on this task, whose credits must do for it, or starts
    /// one if there is none.
    pub fn join(sb: &'sb SuperBlock<T>, credits: Credits) -> Result<Self> {
        // SAFETY: Reads a field of the current task.
        let running = unsafe { bindings::rdaxfs_journal_current_handle() };
        let Some(running) = NonNull::new(running) else {
            return Self::start(sb, credits);
        };
        // INVARIANT: Whoever started it holds what is to be held, for longer: what runs on a task is a
        // transaction of the one file system that the task is in.
        Ok(Self {
            sb,
            handle: T::journal(sb).map(|_| running.cast()),
            nofs: 0,
            role: Role::Joined,
            _not_send: NotThreadSafe,
        })
    }

    /// Changes the super block's own block, and nothing else, past the journal: also while the file
    /// system is read-only or frozen. With a journal, nothing may be in it.
    pub fn for_super_block(sb: &'sb SuperBlock<T>) -> Self {
        // INVARIANT: There is no handle, and no write access is needed.
        Self {
            sb,
            handle: None,
            // SAFETY: Touches the current task only; undone by `drop`.
            nofs: unsafe { bindings::rdaxfs_memalloc_nofs_save() },
            role: Role::SuperBlock,
            _not_send: NotThreadSafe,
        }
    }

    /// The number of the journal's transaction that this is part of; 0 without a journal.
    #[inline]
    pub fn tid(&self) -> Tid {
        self.handle.map_or(0, |handle| {
            // SAFETY: The handle is open by the type's invariant, and so has a transaction, whose
            // number does not change.
            unsafe { (*(*handle.as_ptr()).__bindgen_anon_1.h_transaction).t_tid }
        })
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
        self.write_pieces(buffer, core::iter::once((offset, bytes)), owner)
    }

    /// Copies each of `pieces` into the block, to its offset, as [`write_at`](Self::write_at) does.
    pub fn write_pieces<'a>(
        &self,
        buffer: &Buffer,
        pieces: impl Iterator<Item = (usize, &'a [u8])> + Clone,
        owner: Option<&INode<T>>,
    ) -> Result {
        for (offset, bytes) in pieces.clone() {
            if offset
                .checked_add(bytes.len())
                .is_none_or(|end| end > buffer.size())
            {
                return Err(EIO);
            }
        }
        self.change(buffer, owner, |data| {
            for (offset, bytes) in pieces {
                // SAFETY: The range lies within the block, as was just found.
                unsafe {
                    bindings::memcpy(data.add(offset).cast(), bytes.as_ptr().cast(), bytes.len())
                };
            }
        })
    }

    /// Has `write` fill all of the block `nr`, of which nothing is read, with the data of a file.
    pub(super) fn write_data(&self, nr: u64, write: impl FnOnce(*mut u8)) -> Result {
        // SAFETY: The device is open, and the size is the one it was set to.
        let buffer = unsafe {
            let bh = bindings::rdaxfs_sb_getblk(self.sb.as_ptr(), nr);
            Buffer::from_raw(NonNull::new(bh).ok_or(ENOMEM)?)
        };
        self.change(&buffer, None, write)
    }

    /// Has `write` change the memory of a block, which is up to date after that.
    fn change(
        &self,
        buffer: &Buffer,
        owner: Option<&INode<T>>,
        write: impl FnOnce(*mut u8),
    ) -> Result {
        let bh = buffer.as_ptr();
        // SAFETY: The buffer is valid, and the lock keeps write-back from taking half of the change. The
        // journal is asked before, and told after: it keeps what an earlier transaction is still
        // writing. The inode is alive, and drops its list before it goes.
        unsafe {
            if let Some(handle) = self.handle {
                to_result(bindings::jbd2_journal_get_write_access(handle.as_ptr(), bh))?;
            }
            bindings::rdaxfs_lock_buffer(bh);
            write((*bh).b_data.cast());
            bindings::rdaxfs_set_buffer_uptodate(bh);
            bindings::unlock_buffer(bh);
            match (self.handle, owner) {
                (Some(handle), _) => {
                    to_result(bindings::jbd2_journal_dirty_metadata(handle.as_ptr(), bh))?;
                }
                (None, Some(inode)) => {
                    bindings::mmb_mark_buffer_dirty(bh, inode.metadata_buffers());
                }
                (None, None) => bindings::mark_buffer_dirty(bh),
            }
        }
        Ok(())
    }

    /// Has the journal keep what is in the buffer now until this transaction is committed, for
    /// [`Buffer::committed`]. To be called before the buffer is changed.
    pub fn keep_committed(&self, buffer: &Buffer) -> Result {
        match self.handle {
            // SAFETY: The handle is open, and the buffer valid.
            Some(handle) => to_result(unsafe {
                bindings::jbd2_journal_get_undo_access(handle.as_ptr(), buffer.as_ptr())
            }),
            None => Ok(()),
        }
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
            if let Some(handle) = self.handle {
                let access = bindings::jbd2_journal_get_create_access(handle.as_ptr(), bh);
                if let Err(err) = to_result(access) {
                    bindings::unlock_buffer(bh);
                    return Err(err);
                }
            }
            bindings::memset((*bh).b_data.cast(), 0, buffer.size());
            bindings::rdaxfs_set_buffer_uptodate(bh);
            bindings::rdaxfs_set_buffer_verified(bh);
            bindings::unlock_buffer(bh);
            Ok(buffer)
        }
    }

    /// The metadata block `nr` is freed: what is in its buffer, or in the journal, must not reach the
    /// disk any more, where the block may belong to a file's data soon.
    ///
    /// At most [`MAX_FORGOTTEN`] of them in one transaction.
    pub fn forget(&self, nr: u64) {
        // SAFETY: The device is open. The handle is, if there is one, and jbd2 takes over the count that
        // the look-up took. Without a journal, a write under way is waited for by taking the lock, and
        // `__bforget` takes over the count.
        unsafe {
            let bh = bindings::rdaxfs_sb_find_get_block(self.sb.as_ptr(), nr);
            if !bh.is_null() {
                bindings::rdaxfs_clear_buffer_verified(bh);
            }
            if let Some(handle) = self.handle {
                // What is freed twice, in a corrupted image, is refused, and the count with it.
                let refused = !bh.is_null() && bindings::rdaxfs_buffer_revoked(bh);
                // What fails here aborts the journal or, for want of credits, warns.
                let _ = bindings::jbd2_journal_revoke(handle.as_ptr(), nr, bh);
                if refused {
                    bindings::__brelse(bh);
                }
            } else if !bh.is_null() {
                bindings::rdaxfs_lock_buffer(bh);
                bindings::rdaxfs_clear_buffer_dirty(bh);
                bindings::unlock_buffer(bh);
                bindings::__bforget(bh);
            }
        }
    }
}

impl<T: FileSystem> Drop for Transaction<'_, T> {
    fn drop(&mut self) {
        if self.role == Role::Joined {
            return;
        }
        // SAFETY: Undoes what the constructors did, on the same thread, in the opposite order.
        unsafe {
            match self.handle {
                // What fails here has aborted the journal.
                Some(handle) => drop(bindings::jbd2_journal_stop(handle.as_ptr())),
                None if self.role == Role::Started && T::journal(self.sb).is_none() => {
                    bindings::rdaxfs_set_journal_info(core::ptr::null_mut());
                }
                None => {}
            }
            bindings::rdaxfs_memalloc_nofs_restore(self.nofs);
            if self.role == Role::Started {
                bindings::rdaxfs_sb_end_intwrite(self.sb.as_ptr());
            }
        }
    }
}
