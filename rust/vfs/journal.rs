// SPDX-License-Identifier: GPL-2.0

//! The journal: jbd2, on the device of the file system or on one of its own.
//!
//! What is written here is about the journal as a whole. Changes go into it through a
//! [`Transaction`](super::Transaction), whose handle it opens.
//!
//! On the file system's device jbd2 is told where each block of the journal is (`j_bmap`), so it needs
//! no inode for it.
//!
//! Invariant: a journal is destroyed once, before its device is closed.
//!
//! C header: [`include/linux/jbd2.h`](srctree/include/linux/jbd2.h)

use super::{
    compat,
    Buffer,
    Credits,
    FileSystem,
    SuperBlock, //
};
use crate::{
    bindings,
    prelude::*, //
};
use core::ptr::NonNull;
use kernel::{
    error::{
        from_err_ptr,
        from_result,
        to_result, //
    },
    sync::atomic::{
        Atomic,
        Full,
        Relaxed, //
    }, //
};

/// The number of a transaction of the journal (`tid_t`). They wrap around.
pub type Tid = u32;

/// Metadata blocks that one transaction may [`forget`](super::Transaction::forget).
pub const MAX_FORGOTTEN: u32 = 128;

/// Some blocks of the journal that lie side by side.
#[derive(Clone, Copy)]
pub struct Run {
    /// The first one's number in the journal.
    pub first: u32,
    /// Where it is on the device.
    pub start: u64,
    /// How many there are.
    pub len: u32,
}

/// Where the blocks of a journal are: runs in ascending order, without a gap.
struct Map(KVec<Run>);

impl Map {
    fn find(&self, block: u64) -> Option<u64> {
        let run = self
            .0
            .iter()
            .rev()
            .find(|run| u64::from(run.first) <= block)?;
        let within = block - u64::from(run.first);
        (within < run.len.into()).then(|| run.start.saturating_add(within))
    }
}

/// A block device that holds nothing but a journal, open for one file system alone.
///
/// # Invariants
///
/// `file` is the file of an open block device, registered for the super block `sb`, and this object's.
pub struct Device {
    file: NonNull<bindings::file>,
    sb: NonNull<bindings::super_block>,
}

// SAFETY: A file is counted atomically and has no owner thread.
unsafe impl Send for Device {}
// SAFETY: `&self` only reads through the buffer cache.
unsafe impl Sync for Device {}

impl Device {
    /// Opens the device `dev`, as user space encodes its number. [`EBUSY`] if it is in use.
    pub fn open<T: FileSystem, S>(sb: &SuperBlock<T, S>, dev: u32) -> Result<Self> {
        // SAFETY: The super block is the holder, and outlives what is opened, which has its size of
        // blocks set before anybody reads it.
        unsafe {
            let file = from_err_ptr(compat::fs_bdev_file_open_by_dev(
                bindings::rdaxfs_new_decode_dev(dev),
                bindings::BLK_OPEN_JOURNAL,
                sb.as_ptr().cast(),
                sb.as_ptr(),
            ))?;
            // INVARIANT: Just opened.
            let device = Self {
                file: NonNull::new(file).ok_or(ENXIO)?,
                sb: NonNull::new_unchecked(sb.as_ptr()),
            };
            to_result(bindings::set_blocksize(file, sb.block_size() as c_int))?;
            Ok(device)
        }
    }

    fn bdev(&self) -> *mut bindings::block_device {
        // SAFETY: By the type's invariant.
        unsafe { bindings::file_bdev(self.file.as_ptr()) }
    }

    /// Copies bytes out that lie within one block.
    pub fn read(&self, at: u64, to: &mut [u8]) -> Result {
        // SAFETY: The device is open, and its size of blocks was set; a buffer that was read is counted
        // for us, and lies in lowmem.
        unsafe {
            let bits = (*(*(*self.bdev()).bd_mapping).host).i_blkbits;
            let bh = bindings::__bread_gfp(self.bdev(), at >> bits, 1 << bits, 0);
            Buffer::from_raw(NonNull::new(bh).ok_or(EIO)?)
                .read_at((at & ((1 << bits) - 1)) as usize, to)
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: The file is this object's; the super block is there until its private data, of which this
        // is part, was dropped.
        unsafe { compat::fs_bdev_file_release(self.file.as_ptr(), self.sb.as_ptr()) };
    }
}

/// A `journal_t`.
///
/// # Invariants
///
/// `ptr` is valid until it was destroyed, and `j_private` points to `map`.
pub struct Journal {
    ptr: NonNull<bindings::journal_t>,
    map: KBox<Map>,
    /// Closed after the journal was destroyed.
    _device: Option<Device>,
    tried: Atomic<bool>,
    loaded: Atomic<bool>,
    destroyed: Atomic<bool>,
}

// SAFETY: A journal may be used from any thread, and destroyed by any.
unsafe impl Send for Journal {}
// SAFETY: jbd2 has its own locks.
unsafe impl Sync for Journal {}

impl Journal {
    /// The journal that lies in `runs` of the file system's own device. They ascend and have no gap.
    ///
    /// [`EINVAL`] if there is no journal.
    pub fn new<T: FileSystem, S>(sb: &SuperBlock<T, S>, runs: KVec<Run>) -> Result<Self> {
        let start = runs.first().ok_or(EINVAL)?.start;
        let last = runs.last().ok_or(EINVAL)?;
        let len = last.first.checked_add(last.len).ok_or(EINVAL)?;
        let len = i32::try_from(len).map_err(|_| EINVAL)?;
        let map = KBox::new(Map(runs), GFP_KERNEL)?;
        // SAFETY: The device is open for as long as the super block lives, and longer than the journal.
        let ptr = from_err_ptr(unsafe {
            bindings::jbd2_journal_init_dev(
                sb.bdev(),
                sb.bdev(),
                start,
                len,
                sb.block_size() as c_int,
            )
        })?;
        // SAFETY: The journal is new, and nobody else has it. The map does not move, and is there until
        // the journal was destroyed.
        unsafe {
            (*ptr).j_private = core::ptr::from_ref(&*map).cast_mut().cast();
            (*ptr).j_bmap = Some(bmap);
        }
        // INVARIANT: Just made and just set.
        Ok(Self {
            ptr: NonNull::new(ptr).ok_or(EINVAL)?,
            map,
            _device: None,
            tried: Atomic::new(false),
            loaded: Atomic::new(false),
            destroyed: Atomic::new(false),
        })
    }

    /// The journal on a `device` of its own, from the block `start` on; the device has so many `blocks`.
    pub fn on_device<T: FileSystem, S>(
        sb: &SuperBlock<T, S>,
        device: Device,
        start: u64,
        blocks: u64,
    ) -> Result<Self> {
        let map = KBox::new(Map(KVec::new()), GFP_KERNEL)?;
        // SAFETY: Both devices are open for longer than the journal is there.
        let ptr = from_err_ptr(unsafe {
            bindings::jbd2_journal_init_dev(
                device.bdev(),
                sb.bdev(),
                start,
                i32::try_from(blocks).map_err(|_| EINVAL)?,
                sb.block_size() as c_int,
            )
        })?;
        let ptr = NonNull::new(ptr).ok_or(EINVAL)?;
        // SAFETY: The journal is new, and nobody else has it. Its numbers are those of the device.
        let users = unsafe {
            (*ptr.as_ptr()).j_private = core::ptr::from_ref(&*map).cast_mut().cast();
            (*(*ptr.as_ptr()).j_superblock).s_nr_users
        };
        // INVARIANT: Just made and just set.
        let journal = Self {
            ptr,
            map,
            _device: Some(device),
            tried: Atomic::new(false),
            loaded: Atomic::new(false),
            destroyed: Atomic::new(false),
        };
        // One that is shared by file systems.
        if u32::from_be(users) != 1 {
            return Err(EINVAL);
        }
        Ok(journal)
    }

    /// The C object.
    #[inline]
    pub(super) fn as_ptr(&self) -> *mut bindings::journal_t {
        self.ptr.as_ptr()
    }

    /// The blocks of the file system's device that the journal has.
    pub fn runs(&self) -> &[Run] {
        &self.map.0
    }

    /// Replays what is in the journal, or, unless it `needs_recovery`, throws it away; after that it can
    /// be written to, as the mounting task does then. [`EUCLEAN`] or [`EIO`] if it is not right.
    ///
    /// What was loaded stays as it is.
    ///
    /// `wide` and `csum` say whether the file system has block numbers of 64 bits, and checksums.
    pub fn load(&self, needs_recovery: bool, wide: bool, csum: bool) -> Result {
        if self.loaded.load(Relaxed) {
            return Ok(());
        }
        // jbd2 does not take a second try.
        if self.tried.xchg(true, Relaxed) {
            return Err(EIO);
        }
        let journal = self.as_ptr();
        let revoke = bindings::JBD2_FEATURE_INCOMPAT_REVOKE as usize;
        // SAFETY: Valid by the type's invariant, and not in use yet.
        unsafe {
            // The format before there were features: no block of metadata could be freed.
            if bindings::jbd2_journal_check_available_features(journal, 0, 0, revoke) == 0 {
                return Err(EINVAL);
            }
            if !needs_recovery {
                to_result(bindings::jbd2_journal_wipe(journal, 1))?;
            }
            to_result(bindings::jbd2_journal_load(journal))?;
            let set =
                |feature: u32| bindings::jbd2_journal_set_features(journal, 0, 0, feature as usize);
            if csum && set(bindings::JBD2_FEATURE_INCOMPAT_CSUM_V3) == 0
                || wide && set(bindings::JBD2_FEATURE_INCOMPAT_64BIT) == 0
            {
                return Err(EINVAL);
            }
        }
        self.loaded.store(true, Relaxed);
        Ok(())
    }

    /// Whether the last who wrote stopped because of an error, if the journal was loaded. Forgets it.
    pub fn take_error(&self) -> bool {
        if !self.loaded.load(Relaxed) {
            return false;
        }
        // SAFETY: Valid by the type's invariant.
        unsafe {
            let found = bindings::jbd2_journal_errno(self.as_ptr()) != 0;
            if found {
                bindings::jbd2_journal_clear_err(self.as_ptr());
                bindings::jbd2_journal_ack_err(self.as_ptr());
            }
            found
        }
    }

    /// Sets after how many seconds a transaction is committed unasked, and whether the device's cache is
    /// flushed where the order of writes matters.
    pub fn set_options(&self, seconds: u32, barrier: bool) {
        // SAFETY: Valid by the type's invariant.
        unsafe { bindings::rdaxfs_journal_set_options(self.as_ptr(), seconds, barrier) };
    }

    /// Opens a handle for a change of so many blocks, and waits for the memory that it needs. [`EROFS`] if
    /// the journal was aborted.
    pub(super) fn start(&self, credits: Credits) -> Result<NonNull<bindings::handle_t>> {
        let blocks = i32::try_from(credits.0).map_err(|_| ENOSPC)?;
        loop {
            // SAFETY: Valid by the type's invariant; the caller stops the handle.
            let handle = from_err_ptr(unsafe {
                bindings::jbd2__journal_start(
                    self.as_ptr(),
                    blocks,
                    0,
                    MAX_FORGOTTEN as c_int,
                    // The transaction allocates without entering the file system, whatever this says.
                    bindings::GFP_KERNEL,
                    0,
                    0,
                )
            });
            match handle {
                // What must not fail begins here as well: an inode that was changed, or an orphan.
                // SAFETY: Sleeps, which is allowed here.
                Err(error) if error == ENOMEM => unsafe { bindings::rdaxfs_memalloc_retry_wait() },
                handle => return NonNull::new(handle?).ok_or(EROFS),
            }
        }
    }

    /// The transaction that is running, or the last one.
    pub fn latest(&self) -> Tid {
        // SAFETY: Valid by the type's invariant.
        unsafe { bindings::rdaxfs_journal_latest(self.as_ptr()) }
    }

    /// Whether the transaction is on the device.
    #[inline]
    pub fn is_committed(&self, tid: Tid) -> bool {
        // SAFETY: Valid by the type's invariant.
        unsafe { bindings::jbd2_transaction_committed(self.as_ptr(), tid) != 0 }
    }

    /// Waits until the transaction is on the device. Whether the cache of the file system's device is
    /// flushed by that as well.
    pub fn commit(&self, tid: Tid) -> Result<bool> {
        // SAFETY: Valid by the type's invariant.
        unsafe {
            let flushes = bindings::jbd2_trans_will_send_data_barrier(self.as_ptr(), tid) != 0;
            to_result(bindings::jbd2_complete_transaction(self.as_ptr(), tid))?;
            Ok(flushes)
        }
    }

    /// Begins to write the running transaction to the device, and with `wait` waits for it.
    pub fn commit_running(&self, wait: bool) -> Result {
        let mut tid = 0;
        // SAFETY: Valid by the type's invariant.
        unsafe {
            if bindings::jbd2_journal_start_commit(self.as_ptr(), &mut tid) != 0 && wait {
                to_result(bindings::jbd2_log_wait_commit(self.as_ptr(), tid))?;
            }
        }
        Ok(())
    }

    /// Writes everything that was changed to the device, and waits. No transaction may run in this task.
    pub fn force_commit(&self) -> Result {
        // SAFETY: Valid by the type's invariant.
        to_result(unsafe { bindings::jbd2_journal_force_commit(self.as_ptr()) })
    }

    /// Writes everything to its place, so that the journal is empty. Nobody starts a transaction
    /// meanwhile.
    pub fn flush(&self) -> Result {
        // SAFETY: Valid by the type's invariant; the updates are unlocked by the task that locked them.
        unsafe {
            bindings::jbd2_journal_lock_updates(self.as_ptr());
            let flushed = bindings::jbd2_journal_flush(self.as_ptr(), 0);
            bindings::jbd2_journal_unlock_updates(self.as_ptr());
            to_result(flushed)
        }
    }

    /// Nothing is written any more, and every later change fails with [`EROFS`].
    pub fn abort(&self, error: Error) {
        // SAFETY: Valid by the type's invariant.
        unsafe { bindings::jbd2_journal_abort(self.as_ptr(), error.to_errno()) };
    }

    /// As [`abort`](Self::abort), as if the device had gone: without a note in the journal.
    pub fn shut_down(&self) {
        // SAFETY: Valid by the type's invariant.
        unsafe { bindings::jbd2_journal_abort(self.as_ptr(), -(bindings::ESHUTDOWN as c_int)) };
    }

    /// Whether it was aborted, by [`abort`](Self::abort) or because the device failed.
    pub fn is_aborted(&self) -> bool {
        // SAFETY: Valid by the type's invariant.
        unsafe { bindings::rdaxfs_journal_is_aborted(self.as_ptr()) }
    }

    /// Writes everything to its place and lets go of the journal, which must not be used any more. An
    /// error if it still holds what is not in its place.
    pub fn destroy(&self) -> Result {
        if self.destroyed.xchg(true, Full) {
            return Ok(());
        }
        // SAFETY: Valid by the type's invariant, and destroyed once.
        let destroyed = to_result(unsafe { bindings::jbd2_journal_destroy(self.as_ptr()) });
        match self.loaded.load(Relaxed) {
            true => destroyed,
            // There was nothing that could have been written.
            false => Ok(()),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Who cares for the outcome has destroyed it.
        let _ = self.destroy();
    }
}

/// `journal_t.j_bmap`: where a block of the journal is.
///
/// # Safety
///
/// Called by jbd2 with a journal made by [`Journal::new`], and a number to replace.
unsafe extern "C" fn bmap(
    journal: *mut bindings::journal_t,
    block: *mut bindings::sector_t,
) -> c_int {
    // SAFETY: As the caller promises; the map is there as long as the journal.
    let (map, block) = unsafe { (&*(*journal).j_private.cast::<Map>(), &mut *block) };
    from_result(|| {
        *block = map.find(*block).ok_or(EIO)?;
        Ok(0)
    })
}
