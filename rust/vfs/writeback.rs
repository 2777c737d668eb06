// SPDX-License-Identifier: GPL-2.0

//! Writeback of the page cache: dirty pages out through iomap's ioends.
//!
//! An ioend is a run of pages under way to a run of blocks. Where the blocks were unwritten they
//! become written when the data is on them, which changes metadata and so needs a task to run in:
//! such ioends are collected per inode, and a work item completes them in order of file offset,
//! neighbours together. So are others that the file system wants to hear of.
//!
//! C sources: [`fs/iomap/ioend.c`](srctree/fs/iomap/ioend.c)

use super::{
    aspace,
    delay::{
        self,
        Point, //
    },
    journaled,
    lock::nofs,
    mode::PageCacheToken,
    INode, //
};
use crate::{
    bindings,
    prelude::*, //
};
use core::{
    marker::PhantomData,
    mem::offset_of,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    sync::atomic::{
        Atomic,
        Full,
        Relaxed, //
    },
    types::Opaque, //
};

/// The work queue on which writeback of one file system is completed.
///
/// It makes progress without memory, since memory may wait for it.
///
/// # Invariants
///
/// `queue` is valid.
pub struct Queue {
    queue: NonNull<bindings::workqueue_struct>,
}

// SAFETY: A work queue may be used from any thread.
unsafe impl Send for Queue {}
// SAFETY: As above.
unsafe impl Sync for Queue {}

impl Queue {
    /// A queue, named after the device of a file system.
    pub fn new(id: &CStr) -> Result<Self> {
        // SAFETY: The name is terminated, and copied.
        let queue = unsafe { bindings::rdaxfs_alloc_workqueue(id.as_char_ptr()) };
        // INVARIANT: Just allocated.
        Ok(Self {
            queue: NonNull::new(queue).ok_or(ENOMEM)?,
        })
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: Valid by the type's invariant, and not used after this.
        unsafe { bindings::destroy_workqueue(self.queue.as_ptr()) };
    }
}

/// The ioends of one inode that wait for their completion: a stack, linked through `io_list.next`.
#[pin_data]
pub(super) struct Completions {
    last: Atomic<*mut bindings::iomap_ioend>,
    /// Queued when the first ioend comes; takes them all.
    #[pin]
    work: Opaque<bindings::work_struct>,
}

// SAFETY: An ioend in the stack belongs to the stack, from whatever thread that is used.
unsafe impl Send for Completions {}
// SAFETY: The stack is changed by atomic operations only, and the work item by the work queue.
unsafe impl Sync for Completions {}

impl Completions {
    /// An initialiser; [`init`](Self::init) completes it.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            last: Atomic::new(core::ptr::null_mut()),
            work <- Opaque::ffi_init(|_| {}),
        })
    }

    /// Names the function that completes ioends of `T`.
    ///
    /// # Safety
    ///
    /// `self` must be in the state of an inode of `T`'s that nobody else uses yet.
    pub(super) unsafe fn init<T: aspace::Operations>(&self) {
        // SAFETY: The work item is not in use yet.
        unsafe { bindings::rdaxfs_init_work(self.work.get(), Some(complete::<T>)) };
    }

    /// Adds an ioend. May be called in an interrupt.
    ///
    /// # Safety
    ///
    /// `ioend` must be valid, and complete but for what [`complete`] does.
    unsafe fn push(&self, ioend: NonNull<bindings::iomap_ioend>, queue: &Queue) {
        let mut last = self.last.load(Relaxed);
        loop {
            // SAFETY: The ioend is valid, and its list is not used by anybody else.
            unsafe { (*ioend.as_ptr()).io_list.next = last.cast() };
            match self.last.cmpxchg(last, ioend.as_ptr(), Full) {
                Ok(_) => break,
                Err(now) => last = now,
            }
        }
        if last.is_null() {
            // SAFETY: Both are initialised. The inode stays until the pages of the ioend have been
            // written, and that is the last thing that the work item does with it.
            unsafe { bindings::rdaxfs_queue_work(queue.queue.as_ptr(), self.work.get()) };
        }
    }
}

/// Completes what has come to the stack, in order of file offset.
///
/// # Safety
///
/// `work` must lie in a [`Completions`] of an inode of `T`'s.
unsafe extern "C" fn complete<T: aspace::Operations>(work: *mut bindings::work_struct) {
    // SAFETY: As promised by the caller.
    let this = unsafe {
        &*work
            .byte_sub(offset_of!(Completions, work))
            .cast::<Completions>()
    };
    let mut ioend = this.last.xchg(core::ptr::null_mut(), Full);
    let mut list = bindings::list_head::default();
    let list = &raw mut list;
    // SAFETY: The ioends of the stack are ours now. Each is unlinked before it is finished, after
    // which it is gone. The inode is there until the last of its pages is no longer under writeback.
    unsafe {
        (*list).next = list;
        (*list).prev = list;
        while !ioend.is_null() {
            let next = (*ioend).io_list.next.cast();
            bindings::list_add_tail(&raw mut (*ioend).io_list, list);
            ioend = next;
        }
        bindings::iomap_sort_ioends(list);
        loop {
            let first = (*list).next;
            if first == list {
                break;
            }
            let ioend: *mut bindings::iomap_ioend = first
                .byte_sub(offset_of!(bindings::iomap_ioend, io_list))
                .cast();
            bindings::rdaxfs_list_del_init(&raw mut (*ioend).io_list);
            bindings::iomap_ioend_try_merge(ioend, list);
            let error = finish::<T>(&*ioend);
            bindings::iomap_finish_ioends(ioend, error);
        }
    }
}

/// Makes the blocks of a written ioend written ones, or tells of the error.
fn finish<T: aspace::Operations>(ioend: &bindings::iomap_ioend) -> c_int {
    // SAFETY: The inode has pages under writeback, so it is there.
    let inode = unsafe { INode::<T>::from_raw(ioend.io_inode) };
    // SAFETY: Turns a number into another.
    let error = unsafe { bindings::blk_status_to_errno(ioend.io_bio.bi_status) };
    if error != 0 {
        T::writeback_failed(inode);
        return error;
    }
    let unwritten = u32::from(ioend.io_flags) & bindings::IOMAP_IOEND_UNWRITTEN != 0;
    if ioend.io_size == 0 {
        return 0;
    }
    let (pos, len) = (ioend.io_offset as u64, ioend.io_size as u64);
    // Memory reclaim may wait for these very pages.
    match nofs(|| T::writeback_done(inode, pos, len, unwritten)) {
        Ok(()) => 0,
        Err(err) => err.to_errno(),
    }
}

/// The writeback operations of `T`.
struct Ops<T>(PhantomData<T>);

impl<T: aspace::Operations> Ops<T> {
    const TABLE: &'static bindings::iomap_writeback_ops = &bindings::iomap_writeback_ops {
        writeback_range: Some(Self::writeback_range),
        writeback_submit: Some(Self::writeback_submit),
    };

    /// Adds a dirty range of a folio to the ioend that is being built.
    ///
    /// # Safety
    ///
    /// `wpc` must be that of [`PageCacheToken::write_back`], `folio` locked and of that inode.
    unsafe extern "C" fn writeback_range(
        wpc: *mut bindings::iomap_writepage_ctx,
        folio: *mut bindings::folio,
        pos: u64,
        len: c_uint,
        end: u64,
    ) -> isize {
        // SAFETY: As promised by the caller.
        let (iomap, inode) = unsafe { (&mut (*wpc).iomap, INode::<T>::from_raw((*wpc).inode)) };
        let start = iomap.offset as u64;
        let usable = start <= pos
            && pos - start < iomap.length
            && iomap.validity_cookie == T::map_generation(inode);
        if !usable {
            match T::map_for_writeback(inode, pos, len.into()) {
                Ok(map) if map.covers(pos) => map.write_to(inode, iomap),
                Ok(_) => return EIO.to_errno() as isize,
                Err(err) => return err.to_errno() as isize,
            }
        }
        // SAFETY: As promised by the caller; the mapping covers the position.
        unsafe { bindings::iomap_add_to_ioend(wpc, folio, pos as i64, end as i64, len) }
    }

    /// Sends the ioend that was built on its way.
    ///
    /// # Safety
    ///
    /// As for [`Self::writeback_range`], after that.
    unsafe extern "C" fn writeback_submit(
        wpc: *mut bindings::iomap_writepage_ctx,
        error: c_int,
    ) -> c_int {
        // SAFETY: As promised by the caller, `wb_ctx` is the ioend.
        unsafe {
            let ioend: *mut bindings::iomap_ioend = (*wpc).wb_ctx.cast();
            let unwritten = u32::from((*ioend).io_flags) & bindings::IOMAP_IOEND_UNWRITTEN != 0;
            let inode = INode::<T>::from_raw((*wpc).inode);
            let end = (*ioend).io_offset as u64 + (*ioend).io_size as u64;
            if unwritten || T::awaits_writeback(inode, end) {
                (*ioend).io_bio.bi_end_io = Some(Self::end_bio);
            }
            bindings::iomap_ioend_writeback_submit(wpc, error)
        }
    }

    /// # Safety
    ///
    /// `bio` must be the one of an ioend of an inode of `T`'s, and complete.
    unsafe extern "C" fn end_bio(bio: *mut bindings::bio) {
        // SAFETY: As promised by the caller.
        unsafe {
            let ioend = bio
                .byte_sub(offset_of!(bindings::iomap_ioend, io_bio))
                .cast::<bindings::iomap_ioend>();
            let inode = INode::<T>::from_raw((*ioend).io_inode);
            inode.state().completions.push(
                NonNull::new_unchecked(ioend),
                T::completion_queue(inode.sb()),
            );
        }
    }
}

impl<T: aspace::Operations> PageCacheToken<'_, T> {
    /// Writes back the dirty pages that `wbc` asks for.
    pub(super) fn write_back(&self, wbc: *mut bindings::writeback_control) -> Result {
        delay::pass(self.inode(), Point::Writepages);
        let mut wpc = bindings::iomap_writepage_ctx {
            inode: self.inode().as_ptr(),
            wbc,
            ops: if T::journals_data(self.inode().sb()) {
                journaled::Ops::<T>::WRITEBACK
            } else {
                Ops::<T>::TABLE
            },
            ..Default::default()
        };
        // SAFETY: The inode is valid, and one with a page cache; `wbc` is that of the writepages call
        // under way.
        to_result(unsafe { bindings::iomap_writepages(&mut wpc) })
    }
}
