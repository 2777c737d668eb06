// SPDX-License-Identifier: GPL-2.0

//! Direct access: files whose pages are the device's own memory.
//!
//! A [`DaxDevice`] is had from the block device at mount. Everything else here is a method of
//! [`DaxToken`], and so can be called only while the file is known to be in DAX mode.
//!
//! C header: [`include/linux/dax.h`](srctree/include/linux/dax.h)

use super::{
    aspace,
    delay::{
        self,
        Point, //
    },
    file::Kiocb,
    inode::Locked,
    iomap::{
        count,
        signed,
        Begin,
        Ops, //
    },
    mm::{
        Fault,
        Order,
        VmFault, //
    },
    mode::{
        DaxToken,
        InvalidateExclusive,
        InvalidateShared,
        Stable, //
    },
    FileSystem,
    SuperBlock, //
};
use crate::{
    bindings,
    prelude::*, //
};
use core::ptr::NonNull;
use kernel::{
    error::to_result,
    iov::{
        IovIterDest,
        IovIterSource, //
    }, //
};

/// A block device's memory, and where on it the device begins.
///
/// # Invariants
///
/// `dev` is valid, and owns one count of the device.
pub struct DaxDevice {
    dev: NonNull<bindings::dax_device>,
    /// The byte of `dev` that is byte 0 of the block device.
    start: u64,
}

// SAFETY: A `dax_device` is counted and used from any thread.
unsafe impl Send for DaxDevice {}
// SAFETY: As above.
unsafe impl Sync for DaxDevice {}

impl DaxDevice {
    /// The memory of the block device that `sb` is on, if it has any that files can be mapped from.
    pub fn of<T: FileSystem, S>(sb: &SuperBlock<T, S>) -> Option<Self> {
        let mut start = 0;
        // SAFETY: The super block is on a block device, which it keeps. No holder is given, so there
        // is nobody to notify of failures.
        let dev = unsafe {
            bindings::fs_dax_get_by_bdev(
                (*sb.as_ptr()).s_bdev,
                &mut start,
                core::ptr::null_mut(),
                core::ptr::null(),
            )
        };
        // INVARIANT: The count is the caller's.
        Some(Self {
            dev: NonNull::new(dev)?,
            start,
        })
    }

    /// The byte of the device's memory that is byte 0 of the block device.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Whether stores to mapped memory are durable once the CPU's caches are flushed: then MAP_SYNC
    /// can be had.
    pub fn is_synchronous(&self) -> bool {
        // SAFETY: The device is valid by the type's invariant.
        unsafe { bindings::dax_synchronous(self.dev.as_ptr()) }
    }

    /// Makes a mapping of the block device one of its memory.
    #[inline]
    pub(super) fn place(&self, iomap: &mut bindings::iomap) {
        iomap.dax_dev = self.dev.as_ptr();
        iomap.addr = iomap.addr.wrapping_add(self.start);
    }

    /// Zeroes the memory behind `len` bytes of the block device from `addr` on, durably. Both are
    /// multiples of the page size, else [`EINVAL`].
    pub fn zero(&self, addr: u64, len: u64) -> Result {
        let page = bindings::PAGE_SIZE as u64;
        let start = addr.checked_add(self.start).ok_or(EINVAL)?;
        let end = start.checked_add(len).ok_or(EINVAL)?;
        if start % page != 0 || len % page != 0 {
            return Err(EINVAL);
        }
        for pgoff in start / page..end / page {
            // SAFETY: The device is valid by the type's invariant, and the lock that keeps it alive
            // is held around the call. One page at a time is all that the drivers take.
            to_result(unsafe {
                let id = bindings::dax_read_lock();
                let ret = bindings::dax_zero_page_range(self.dev.as_ptr(), pgoff as usize, 1);
                bindings::dax_read_unlock(id);
                ret
            })?;
        }
        Ok(())
    }
}

impl Drop for DaxDevice {
    fn drop(&mut self) {
        // SAFETY: The count is this object's; it was taken without a holder.
        unsafe { bindings::fs_put_dax(self.dev.as_ptr(), core::ptr::null_mut()) };
    }
}

impl<T: aspace::Operations> DaxToken<'_, T> {
    /// Reads from the device's memory. The caller holds `i_rwsem`.
    #[inline]
    pub fn read<P: Begin<T>>(
        &self,
        iocb: &mut Kiocb<'_, T>,
        to: &mut IovIterDest<'_>,
    ) -> Result<usize> {
        iocb.check(self.inode())?;
        delay::pass(self.inode(), Point::Read);
        // SAFETY: Both are valid, and the file is in DAX mode.
        count(unsafe { bindings::dax_iomap_rw(iocb.as_ptr(), to.as_raw(), Ops::<T, P>::TABLE) })
    }

    /// Writes into the device's memory.
    #[inline]
    pub fn write<P: Begin<T>>(
        &self,
        _io: &Locked<T>,
        iocb: &mut Kiocb<'_, T>,
        from: &mut IovIterSource<'_>,
    ) -> Result<usize> {
        iocb.check(self.inode())?;
        delay::pass(self.inode(), Point::Write);
        // SAFETY: Both are valid, the file is in DAX mode, and `i_rwsem` is held exclusively.
        count(unsafe { bindings::dax_iomap_rw(iocb.as_ptr(), from.as_raw(), Ops::<T, P>::TABLE) })
    }

    /// Maps the block at which `fault` points, or the 2 MiB around it.
    ///
    /// With MAP_SYNC, metadata that is needed to find the block again is on disk before the memory
    /// becomes writable.
    #[inline]
    pub fn fault<P: Begin<T>>(
        &self,
        _lock: &InvalidateShared<'_, T>,
        fault: &Fault<'_, T>,
        order: Order,
    ) -> VmFault {
        if !fault.is_on(self.inode()) {
            return VmFault::SIGBUS;
        }
        delay::pass(self.inode(), Point::DaxFault);
        let mut pfn = 0;
        // SAFETY: The fault is under way, the file is in DAX mode, and `invalidate_lock` is held.
        let ret = unsafe {
            bindings::dax_iomap_fault(
                fault.as_ptr(),
                order.get(),
                &mut pfn,
                core::ptr::null_mut(),
                Ops::<T, P>::TABLE,
            )
        };
        if ret & bindings::vm_fault_reason_VM_FAULT_NEEDDSYNC == 0 {
            return VmFault::from_raw(ret);
        }
        // SAFETY: As above; `pfn` was set, since the fault asks for a sync.
        VmFault::from_raw(unsafe {
            bindings::dax_finish_sync_fault(fault.as_ptr(), order.get(), pfn)
        })
    }

    /// Zeroes `len` bytes from `pos` on, but for holes and unwritten blocks.
    pub fn zero<P: Begin<T>>(
        &self,
        _io: &Locked<T>,
        _invalidate: &InvalidateExclusive<'_, T>,
        pos: u64,
        len: u64,
    ) -> Result {
        let (pos, len) = signed(pos, len)?;
        // SAFETY: The inode is valid, and in DAX mode.
        to_result(unsafe {
            bindings::dax_zero_range(
                self.inode().as_ptr(),
                pos,
                len,
                core::ptr::null_mut(),
                Ops::<T, P>::TABLE,
            )
        })
    }

    /// Unmaps the pages from the one with byte `pos` to the one with byte `last`, and waits until
    /// nobody else, such as DMA, uses them: after that their blocks may be freed.
    ///
    /// Dirty entries of the range are forgotten: flush them first. `invalidate_lock` is released while
    /// waiting, and held again on return; what was stored then is flushed as well. Only a signal ends the
    /// wait early, with [`ERESTARTSYS`]. [`EIO`] if it is that of another inode.
    pub fn break_layout(
        &self,
        _io: &Locked<T>,
        invalidate: &mut InvalidateExclusive<'_, T>,
        pos: u64,
        last: u64,
    ) -> Result {
        if !core::ptr::eq(self.inode(), invalidate.inode()) {
            return Err(EIO);
        }
        let last = i64::try_from(last).unwrap_or(i64::MAX);
        // SAFETY: The inode is valid, and `invalidate_lock` is held exclusively; the callback releases
        // and takes exactly that.
        to_result(unsafe {
            bindings::dax_break_layout(
                self.inode().as_ptr(),
                pos as i64,
                last,
                Some(wait_without_invalidate_lock),
            )
        })
    }

    /// Flushes what was stored to the mapped memory of the range that `wbc` asks for.
    pub(super) fn write_back(&self, wbc: *mut bindings::writeback_control) -> Result {
        let Some(dax) = T::dax_device(self.inode().sb()) else {
            return Err(EIO);
        };
        delay::pass(self.inode(), Point::Writepages);
        // SAFETY: The inode and its mapping are valid, the file is in DAX mode, and `wbc` is that of
        // the writepages call under way.
        to_result(unsafe {
            bindings::dax_writeback_mapping_range(
                (*self.inode().as_ptr()).i_mapping,
                dax.dev.as_ptr(),
                wbc,
            )
        })
    }
}

/// Sleeps, without the lock that would keep faults, and so perhaps the end of the wait, away; then flushes
/// what was stored meanwhile.
///
/// # Safety
///
/// `inode` must be valid, and its `invalidate_lock` held exclusively by this thread.
unsafe extern "C" fn wait_without_invalidate_lock(inode: *mut bindings::inode) {
    // SAFETY: As promised by the caller.
    unsafe {
        let lock = &raw mut (*(*inode).i_mapping).invalidate_lock;
        bindings::up_write(lock);
        bindings::schedule();
        bindings::down_write(lock);
        // An error is told to who asks next.
        bindings::filemap_write_and_wait_range((*inode).i_mapping, 0, i64::MAX);
    }
}
