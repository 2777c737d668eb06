// SPDX-License-Identifier: GPL-2.0

//! One metadata block in the buffer cache of the block device.
//!
//! User space can write to the block device, and so to the memory of a buffer, at any time. So no
//! reference to that memory is ever handed out: bytes are copied out, and checked after that. They
//! are changed only by a [`Transaction`](super::Transaction).
//!
//! C header: [`include/linux/buffer_head.h`](srctree/include/linux/buffer_head.h)

use crate::{
    bindings,
    prelude::*, //
};
use core::ptr::NonNull;

/// A counted reference to an up-to-date `struct buffer_head` of one file system block.
///
/// # Invariants
///
/// `bh` is valid, mapped, and owns one count of `b_count`. `b_data` points to `b_size` bytes in
/// the kernel's mapping of a page that stays as long as the count.
pub struct Buffer {
    bh: NonNull<bindings::buffer_head>,
}

// SAFETY: A buffer is counted atomically and has no owner thread.
unsafe impl Send for Buffer {}
// SAFETY: All methods on `&self` may run concurrently; see `read_at` for the copies.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Takes over one count.
    ///
    /// # Safety
    ///
    /// `bh` must be valid, mapped, have its data in lowmem, and own one count for the caller.
    #[inline]
    pub(super) unsafe fn from_raw(bh: NonNull<bindings::buffer_head>) -> Self {
        // INVARIANT: As the caller promises.
        Self { bh }
    }

    /// The C object.
    #[inline]
    pub(super) fn as_ptr(&self) -> *mut bindings::buffer_head {
        self.bh.as_ptr()
    }

    /// The number of the block on the device, in blocks of the file system.
    #[inline]
    pub fn nr(&self) -> u64 {
        // SAFETY: `bh` is valid by the invariant; the number of a mapped buffer does not change.
        unsafe { (*self.as_ptr()).b_blocknr }
    }

    /// The number of bytes in the block.
    #[inline]
    pub fn size(&self) -> usize {
        // SAFETY: `bh` is valid by the invariant; the size of a mapped buffer does not change.
        unsafe { (*self.as_ptr()).b_size }
    }

    /// Copies bytes from `offset` on to `to`. [`EIO`] if that goes past the block's end.
    ///
    /// What is copied may be torn if somebody writes at the same time: a writer within the file
    /// system is kept away by the lock of whatever the block belongs to, others are why the copy
    /// must be checked before it is believed.
    #[inline]
    pub fn read_at(&self, offset: usize, to: &mut [u8]) -> Result {
        let end = offset.checked_add(to.len()).ok_or(EIO)?;
        if end > self.size() {
            return Err(EIO);
        }
        // SAFETY: The range lies within the block, whose memory stays as long as the count.
        // Concurrent writes make bytes unpredictable, as with every copy from the page cache.
        unsafe {
            let from = (*self.as_ptr()).b_data.cast::<u8>().add(offset);
            bindings::memcpy(to.as_mut_ptr().cast(), from.cast(), to.len());
        }
        Ok(())
    }

    /// A copy of the `len` bytes from `offset` on, as [`read_at`](Self::read_at) makes it. Waits for
    /// the memory.
    pub fn read_vec(&self, offset: usize, len: usize) -> Result<KVec<u8>> {
        let end = offset.checked_add(len).ok_or(EIO)?;
        if end > self.size() {
            return Err(EIO);
        }
        let mut bytes: KVec<u8> = super::wait_for_memory(|| KVec::with_capacity(len, GFP_KERNEL));
        // SAFETY: As for `read_at`; the vector has room for `len` bytes, all of which are copied.
        unsafe {
            let from = (*self.as_ptr()).b_data.cast::<u8>().add(offset);
            bindings::memcpy(bytes.as_mut_ptr().cast(), from.cast(), len);
            bytes.inc_len(len);
        }
        Ok(bytes)
    }

    /// A copy of the whole block.
    pub fn to_vec(&self) -> Result<KVec<u8>> {
        self.read_vec(0, self.size())
    }

    /// Whether the block's checksum was found right since it was read.
    #[inline]
    pub fn verified(&self) -> bool {
        // SAFETY: `bh` is valid by the invariant.
        unsafe { bindings::rdaxfs_buffer_verified(self.as_ptr()) }
    }

    /// Notes that the block's checksum is right.
    #[inline]
    pub fn set_verified(&self) {
        // SAFETY: `bh` is valid by the invariant.
        unsafe { bindings::rdaxfs_set_buffer_verified(self.as_ptr()) }
    }

    /// Calls `f` with the block as it was when the journal was asked to keep it
    /// ([`keep_committed`](super::Transaction::keep_committed)), under a spinlock. [`None`] if nothing is
    /// kept, as after the commit of what was changed since.
    pub fn committed<R>(&self, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.with_kept(|kept| f(kept))
    }

    /// Adds `bits`, which begin at byte `start`, to what the journal was asked to keep, if there is
    /// anything kept.
    pub fn keep_bits(&self, start: usize, bits: &[u8]) {
        self.with_kept(|kept| {
            for (to, from) in kept.iter_mut().skip(start).zip(bits) {
                *to |= from;
            }
        });
    }

    /// Calls `f` with what the journal keeps of the block, if it keeps anything.
    fn with_kept<R>(&self, f: impl FnOnce(&mut [u8]) -> R) -> Option<R> {
        // SAFETY: `bh` is valid by the invariant. The count of the journal's head keeps it, and its lock
        // keeps what it keeps, which is as long as the block and nobody else's while the lock is held.
        unsafe {
            let jh =
                NonNull::new(bindings::jbd2_journal_grab_journal_head(self.as_ptr()))?.as_ptr();
            bindings::spin_lock(&raw mut (*jh).b_state_lock);
            let kept = NonNull::new((*jh).b_committed_data.cast::<u8>());
            let ret =
                kept.map(|kept| f(core::slice::from_raw_parts_mut(kept.as_ptr(), self.size())));
            bindings::spin_unlock(&raw mut (*jh).b_state_lock);
            bindings::jbd2_journal_put_journal_head(jh);
            ret
        }
    }

    /// Writes the block now if it is dirty, and waits. [`EIO`] if that fails.
    pub fn sync(&self) -> Result {
        // SAFETY: `bh` is valid by the invariant.
        kernel::error::to_result(unsafe { bindings::sync_dirty_buffer(self.as_ptr()) })
    }
}

impl Clone for Buffer {
    #[inline]
    fn clone(&self) -> Self {
        // SAFETY: `bh` is valid by the invariant.
        unsafe { bindings::rdaxfs_get_bh(self.as_ptr()) };
        // INVARIANT: A count of its own was just taken.
        Self { bh: self.bh }
    }
}

impl Drop for Buffer {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: The count is this object's, and is not used after this.
        unsafe { bindings::__brelse(self.as_ptr()) };
    }
}
