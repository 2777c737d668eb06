// SPDX-License-Identifier: GPL-2.0

//! Address space operations: how mm reads and writes back the pages of a file.
//!
//! There are two tables, for the two modes, and they share nothing: that a file in DAX mode has no
//! `read_folio` is how swapon, uprobes, reclaim and forced readahead know to keep away from it.
//!
//! C header: [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h)

use super::{
    dax::DaxDevice,
    delay::{
        self,
        Point, //
    },
    inode::Locked,
    iomap::{
        Begin,
        Map,
        Ops, //
    },
    journaled::{
        self,
        Dirty, //
    },
    mode::{
        self,
        InvalidateExclusive,
        Mode,
        ModeLock,
        PageCacheToken,
        Stable, //
    },
    writeback::{
        self,
        Completions, //
    },
    FileSystem,
    INode,
    SuperBlock, //
};
use crate::{
    bindings,
    prelude::*, //
};
use core::marker::PhantomData;
use kernel::error::to_result;

/// What the page cache and DAX ask of a file system.
pub trait Operations: FileSystem {
    /// Mappings for reading into the page cache, and for the swap and FIBMAP users of those.
    type Read: Begin<Self>;

    /// Mappings to tell user space.
    type Report: Begin<Self>;

    /// Where the extended attributes are, to tell user space. [`ENOENT`] behind their end.
    type ReportAttributes: Begin<Self>;

    /// The memory of the device that `sb` is on, if files on it can be in DAX mode.
    fn dax_device(sb: &SuperBlock<Self>) -> Option<&DaxDevice>;

    /// The queue on which writeback of `sb` is completed.
    fn completion_queue(sb: &SuperBlock<Self>) -> &writeback::Queue;

    /// A number that is another one after each change of what a byte of the file is mapped to.
    fn map_generation(inode: &INode<Self>) -> u64;

    /// Whether the data of files goes through the journal (`data=journal`).
    fn journals_data(sb: &SuperBlock<Self>) -> bool;

    /// Makes `data`, which is dirty from `pos` on, part of a transaction: all of its `len` bytes, or the
    /// first blocks. Where it is mapped, and how many bytes were done: of a hole, which it is only if it
    /// was truncated away meanwhile, all.
    fn write_to_journal(
        inode: &INode<Self>,
        pos: u64,
        len: u64,
        data: &Dirty<'_>,
    ) -> Result<(Map, u64)>;

    /// Where to write the dirty page at `pos`: a hole only if it was truncated away meanwhile.
    fn map_for_writeback(inode: &INode<Self>, pos: u64, len: u64) -> Result<Map>;

    /// Whether [`writeback_done`](Self::writeback_done) or [`writeback_failed`](Self::writeback_failed) is
    /// to hear of data before `end` that goes to blocks that are written already.
    fn awaits_writeback(inode: &INode<Self>, end: u64) -> bool;

    /// `len` bytes from `pos` on were written; `unwritten` if to unwritten blocks, which hold data now.
    fn writeback_done(inode: &INode<Self>, pos: u64, len: u64, unwritten: bool) -> Result;

    /// Data could not be written back. Whoever calls fsync is told in any case.
    fn writeback_failed(inode: &INode<Self>);

    /// A direct write of `len` bytes from `pos` on is complete, `unwritten` if some of it went to
    /// unwritten blocks. The file may have become longer by it.
    fn direct_write_done(inode: &INode<Self>, pos: u64, len: u64, unwritten: bool) -> Result;
}

/// What the VFS layer keeps for an inode with data.
#[pin_data]
pub struct State {
    #[pin]
    pub(super) mode: ModeLock,
    #[pin]
    pub(super) completions: Completions,
}

impl State {
    /// An initialiser for a new inode.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            mode <- ModeLock::new(),
            completions <- Completions::new(),
        })
    }
}

/// The address space operations of one mode.
pub(super) fn table<T: Operations>(dax: bool) -> &'static bindings::address_space_operations {
    if dax {
        Table::<T>::DAX
    } else {
        Table::<T>::PAGE_CACHE
    }
}

/// Gives a new inode with data its operations and its mode.
///
/// Folios are kept below the size of a PMD, in either mode: khugepaged, which reads ahead without the
/// mmap lock and so can come at any moment of a change of mode, then leaves the file alone.
///
/// # Safety
///
/// The caller owns the inode, which is not published yet, and of which nothing is cached.
pub(super) unsafe fn init<T: Operations>(inode: &INode<T>, dax: bool) {
    // SAFETY: The inode is the caller's alone, so nobody depends on its mode or uses its mapping.
    unsafe {
        inode.state().completions.init::<T>();
        bindings::rdaxfs_mapping_set_folio_order_range(
            &raw mut (*inode.as_ptr()).i_data,
            0,
            bindings::PMD_ORDER - 1,
        );
        mode::set_mode(inode, dax);
    }
}

struct Table<T>(PhantomData<T>);

impl<T: Operations> Table<T> {
    const PAGE_CACHE: &'static bindings::address_space_operations =
        &bindings::address_space_operations {
            read_folio: Some(Self::read_folio),
            readahead: Some(Self::readahead),
            writepages: Some(Self::writepages),
            dirty_folio: Some(bindings::iomap_dirty_folio),
            release_folio: Some(bindings::iomap_release_folio),
            invalidate_folio: Some(bindings::iomap_invalidate_folio),
            bmap: Some(Self::bmap),
            migrate_folio: Some(bindings::filemap_migrate_folio),
            is_partially_uptodate: Some(bindings::iomap_is_partially_uptodate),
            error_remove_folio: Some(bindings::generic_error_remove_folio),
            swap_activate: Some(Self::swap_activate),
            ..pin_init::zeroed()
        };

    const DAX: &'static bindings::address_space_operations = &bindings::address_space_operations {
        writepages: Some(Self::dax_writepages),
        dirty_folio: Some(bindings::noop_dirty_folio),
        bmap: Some(Self::bmap),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// `folio` must be locked, and of a file of `T`'s.
    unsafe extern "C" fn read_folio(
        _file: *mut bindings::file,
        folio: *mut bindings::folio,
    ) -> c_int {
        // SAFETY: As promised by the caller; a locked folio keeps its mapping.
        let inode = unsafe {
            let mapping = (*folio).__bindgen_anon_1.__bindgen_anon_1.mapping;
            INode::<T>::from_raw((*mapping).host)
        };
        delay::pass(inode, Point::ReadFolios);
        let mut ctx = bindings::iomap_read_folio_ctx {
            ops: read_ops(inode.sb()),
            cur_folio: folio,
            ..Default::default()
        };
        // SAFETY: As promised by the caller.
        unsafe {
            bindings::iomap_read_folio(Ops::<T, T::Read>::TABLE, &mut ctx, core::ptr::null_mut())
        };
        0
    }

    /// # Safety
    ///
    /// `rac` must be valid, and of a file of `T`'s.
    unsafe extern "C" fn readahead(rac: *mut bindings::readahead_control) {
        // SAFETY: As promised by the caller.
        let inode = unsafe { INode::<T>::from_raw((*(*rac).mapping).host) };
        delay::pass(inode, Point::ReadFolios);
        let mut ctx = bindings::iomap_read_folio_ctx {
            ops: read_ops(inode.sb()),
            rac,
            ..Default::default()
        };
        // SAFETY: As promised by the caller.
        unsafe {
            bindings::iomap_readahead(Ops::<T, T::Read>::TABLE, &mut ctx, core::ptr::null_mut())
        };
    }

    /// The mode may have changed since the caller picked this table: then there is nothing to write,
    /// since the change wrote everything.
    ///
    /// # Safety
    ///
    /// `mapping` must be that of an inode of `T`'s, `wbc` valid.
    unsafe extern "C" fn writepages(
        mapping: *mut bindings::address_space,
        wbc: *mut bindings::writeback_control,
    ) -> c_int {
        // SAFETY: As promised by the caller.
        let inode = unsafe { INode::<T>::from_raw((*mapping).host) };
        if let Err(error) = inode.sb().check_running() {
            return error.to_errno();
        }
        let guard = inode.writing_back();
        match guard.mode() {
            Mode::PageCache(pages) => errno(pages.write_back(wbc)),
            Mode::Dax(_) => 0,
        }
    }

    /// # Safety
    ///
    /// As for [`Self::writepages`].
    unsafe extern "C" fn dax_writepages(
        mapping: *mut bindings::address_space,
        wbc: *mut bindings::writeback_control,
    ) -> c_int {
        // SAFETY: As promised by the caller.
        let inode = unsafe { INode::<T>::from_raw((*mapping).host) };
        if let Err(error) = inode.sb().check_running() {
            return error.to_errno();
        }
        let guard = inode.writing_back();
        match guard.mode() {
            Mode::Dax(dax) => errno(dax.write_back(wbc)),
            Mode::PageCache(_) => 0,
        }
    }

    /// # Safety
    ///
    /// `mapping` must be that of an inode of `T`'s.
    unsafe extern "C" fn bmap(mapping: *mut bindings::address_space, block: u64) -> u64 {
        // SAFETY: As promised by the caller.
        unsafe {
            // What is there may be older than what is in the journal.
            if T::journals_data(INode::<T>::from_raw((*mapping).host).sb()) {
                return 0;
            }
            bindings::iomap_bmap(mapping, block, Ops::<T, T::Read>::TABLE)
        }
    }

    /// Not for files in DAX mode, which swapon refuses, having no `read_folio`. `i_rwsem` is held until
    /// `S_SWAPFILE` is set, and the mode stays while that is.
    ///
    /// # Safety
    ///
    /// All must be valid, `file` one of `T`'s, with `i_rwsem` held.
    unsafe extern "C" fn swap_activate(
        sis: *mut bindings::swap_info_struct,
        file: *mut bindings::file,
        span: *mut u64,
    ) -> c_int {
        // SAFETY: As promised by the caller.
        unsafe {
            // What the journal holds of the file would be written over what was swapped out.
            if T::journals_data(INode::<T>::from_raw((*file).f_inode).sb()) {
                return EINVAL.to_errno();
            }
            (*sis).bdev = (*(*(*file).f_inode).i_sb).s_bdev;
            bindings::iomap_swapfile_activate(sis, file, span, Ops::<T, T::Read>::TABLE)
        }
    }
}

impl<T: FileSystem> INode<T> {
    /// Writes back the dirty data of `start..=end`, and waits. In either mode; an error is reported
    /// once, to whoever asks first.
    pub fn write_and_wait(&self, start: i64, end: i64) -> Result {
        // SAFETY: The inode and its mapping are valid.
        to_result(unsafe {
            bindings::filemap_write_and_wait_range((*self.as_ptr()).i_mapping, start, end)
        })
    }

    /// Begins to write back what is dirty, and does not wait (`filemap_flush`). In either mode.
    pub fn begin_writeback(&self) {
        // SAFETY: The inode and its mapping are valid. An error is reported by whoever waits.
        unsafe { bindings::filemap_flush((*self.as_ptr()).i_mapping) };
    }
}

impl<T: FileSystem> Locked<T> {
    /// Whether the file may become `size` bytes long (`inode_newsize_ok`).
    pub fn check_size(&self, size: u64) -> Result {
        // SAFETY: The inode is valid.
        to_result(unsafe { bindings::inode_newsize_ok(self.as_ptr(), size as i64) })
    }

    /// Waits until no direct I/O of the file is in flight. None can start meanwhile.
    pub fn wait_for_direct_io(&self) {
        // SAFETY: The inode is valid.
        unsafe { bindings::inode_dio_wait(self.as_ptr()) };
    }

    /// Sets the size of the file (`truncate_setsize`): pages past the end are unmapped and removed,
    /// and what the last one holds beyond it is zeroed in memory.
    ///
    /// DAX entries past the end are to be removed before.
    pub fn set_size_and_truncate(&self, _lock: &InvalidateExclusive<'_, T>, size: u64) {
        // SAFETY: The inode is valid.
        unsafe { bindings::truncate_setsize(self.as_ptr(), size as i64) };
    }
}

impl<T: FileSystem> PageCacheToken<'_, T> {
    /// Unmaps and removes the pages from the one with byte `start` to the one with byte `last`, dirty
    /// or not.
    pub fn remove_pages(&self, _lock: &InvalidateExclusive<'_, T>, start: u64, last: u64) {
        let page = bindings::PAGE_SIZE as u64 - 1;
        // SAFETY: The inode is valid.
        unsafe {
            bindings::truncate_pagecache_range(
                self.inode().as_ptr(),
                (start & !page) as i64,
                (last | page) as i64,
            );
        }
    }
}

/// How pages are read.
fn read_ops<T: Operations>(sb: &SuperBlock<T>) -> *const bindings::iomap_read_ops {
    if T::journals_data(sb) {
        journaled::Ops::<T>::READ
    } else {
        &raw const bindings::iomap_bio_read_ops
    }
}

#[inline]
fn errno(result: Result) -> c_int {
    match result {
        Ok(()) => 0,
        Err(err) => err.to_errno(),
    }
}

/// Whether any folio in the page cache may be pinned, for DMA or for access by another task.
///
/// # Safety
///
/// `mapping` must be valid.
pub(super) unsafe fn maybe_pinned(mapping: *mut bindings::address_space) -> bool {
    let mut index = 0;
    let mut pinned = false;
    while !pinned {
        let mut batch = bindings::folio_batch::default();
        // SAFETY: The mapping is valid, by the caller's promise.
        let n =
            unsafe { bindings::filemap_get_folios(mapping, &mut index, c_ulong::MAX, &mut batch) };
        if n == 0 {
            break;
        }
        for &folio in batch.folios.iter().take(n as usize) {
            // SAFETY: The batch holds a count of each of its folios.
            pinned |= unsafe { bindings::rdaxfs_folio_maybe_dma_pinned(folio) };
        }
        // SAFETY: The batch holds counts, which this drops.
        unsafe { bindings::__folio_batch_release(&mut batch) };
    }
    pinned
}
