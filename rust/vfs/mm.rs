// SPDX-License-Identifier: GPL-2.0

//! Mapped files: page faults, and mmap itself.
//!
//! There are two tables of VMA operations, one for each mode, and mmap picks one. A mapping keeps the
//! table it got, and the mode of a file does not change while it is mapped. What could still go wrong
//! is a change between mmap's choice (`mmap_prepare`) and the moment when the VMA is found by the one
//! who changes the mode; `mapped` runs after that moment and finds it out.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use super::{
    aspace,
    mode::{
        Mode,
        Stable, //
    },
    FileSystem,
    INode, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    types::NotThreadSafe, //
};

/// What a fault handler tells the caller: a `vm_fault_t`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VmFault(c_uint);

impl VmFault {
    /// The page table entry is in place, or the access is to be tried again.
    pub const NOPAGE: Self = Self(bindings::vm_fault_reason_VM_FAULT_NOPAGE);
    /// No huge page: fault in a small one.
    pub const FALLBACK: Self = Self(bindings::vm_fault_reason_VM_FAULT_FALLBACK);
    /// The access cannot be satisfied.
    pub const SIGBUS: Self = Self(bindings::vm_fault_reason_VM_FAULT_SIGBUS);

    #[inline]
    pub(super) fn from_raw(ret: c_uint) -> Self {
        Self(ret)
    }

    /// Whether the handler has put the page into the page table itself.
    #[inline]
    pub fn is_mapped(self) -> bool {
        self.0 & (bindings::VM_FAULT_ERROR | Self::FALLBACK.0) == 0 && self.0 & Self::NOPAGE.0 != 0
    }
}

/// The size of the page to map: one page, or as many as a page table has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Order(c_uint);

impl Order {
    /// One page.
    pub const PTE: Self = Self(0);
    /// As much as one entry of the page middle directory maps: 2 MiB on x86-64.
    pub const PMD: Self = Self(bindings::PMD_ORDER);

    /// The binary logarithm of the number of pages.
    #[inline]
    pub fn get(self) -> c_uint {
        self.0
    }
}

/// A page fault on a file of `T`'s.
///
/// # Invariants
///
/// `vmf` is valid, its VMA maps a file of `T`'s, and the mmap lock or the lock of the VMA is held.
pub struct Fault<'a, T: FileSystem> {
    vmf: NonNull<bindings::vm_fault>,
    _fault: PhantomData<&'a INode<T>>,
    _not_send: NotThreadSafe,
}

impl<T: FileSystem> Fault<'_, T> {
    /// # Safety
    ///
    /// The invariants must hold for as long as the value lives; and nothing else may use `vmf`.
    #[inline]
    unsafe fn from_raw(vmf: *mut bindings::vm_fault) -> Self {
        // INVARIANT: As the caller promises.
        Self {
            // SAFETY: The caller promises a valid pointer.
            vmf: unsafe { NonNull::new_unchecked(vmf) },
            _fault: PhantomData,
            _not_send: NotThreadSafe,
        }
    }

    #[inline]
    pub(super) fn as_ptr(&self) -> *mut bindings::vm_fault {
        self.vmf.as_ptr()
    }

    #[inline]
    fn vma(&self) -> *mut bindings::vm_area_struct {
        // SAFETY: Valid by the type's invariant.
        unsafe { (*self.as_ptr()).__bindgen_anon_1.vma }
    }

    #[inline]
    fn file(&self) -> *mut bindings::file {
        // SAFETY: The VMA is valid and maps a file, by the type's invariant.
        unsafe { (*self.vma()).vm_file }
    }

    /// The inode of the file. The VMA keeps it.
    #[inline]
    pub fn inode(&self) -> &INode<T> {
        // SAFETY: The file is valid, and is one of `T`'s, by the type's invariant.
        unsafe { INode::from_raw((*self.file()).f_inode) }
    }

    /// Whether the fault is on `inode`.
    #[inline]
    pub(super) fn is_on(&self, inode: &INode<T>) -> bool {
        core::ptr::eq(self.inode(), inode)
    }

    /// Whether the access is a store that is to reach the file.
    #[inline]
    pub fn is_shared_write(&self) -> bool {
        // SAFETY: Valid by the type's invariant; the flags of the VMA are stable under its lock.
        let (fault, vma) = unsafe {
            (
                (*self.as_ptr()).flags,
                (*self.vma()).__bindgen_anon_2.vm_flags,
            )
        };
        fault & bindings::fault_flag_FAULT_FLAG_WRITE != 0 && vma & bindings::VM_SHARED != 0
    }

    /// Announces a store to the file: waits while the file system is frozen, keeps it from being
    /// frozen as long as the guard lives, and notes the time.
    #[inline]
    pub fn start_write(&self) -> PageFaultGuard<'_, T> {
        let inode = self.inode();
        // SAFETY: The inode, its super block and the file are valid. An error means that the times
        // were not noted, which is no reason to refuse the store.
        unsafe {
            bindings::rdaxfs_sb_start_pagefault((*inode.as_ptr()).i_sb);
            bindings::file_update_time(self.file());
        }
        PageFaultGuard {
            inode,
            _not_send: NotThreadSafe,
        }
    }
}

/// The file system is kept from being frozen for a page fault that writes.
pub struct PageFaultGuard<'a, T: FileSystem> {
    inode: &'a INode<T>,
    _not_send: NotThreadSafe,
}

impl<T: FileSystem> Drop for PageFaultGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: The inode and its super block are valid; `sb_start_pagefault` was called.
        unsafe { bindings::rdaxfs_sb_end_pagefault((*self.inode.as_ptr()).i_sb) };
    }
}

/// The fault handlers of a file system.
///
/// The mmap lock or the lock of the VMA is held in all of them.
pub trait Operations: aspace::Operations {
    /// A page is missing from a page cache mapping, and is not in the page cache either.
    fn fault(fault: Fault<'_, Self>) -> VmFault;

    /// A read-only page of a page cache mapping is stored to.
    fn page_mkwrite(fault: Fault<'_, Self>) -> VmFault;

    /// A page of the given size is missing from a DAX mapping.
    fn dax_fault(fault: Fault<'_, Self>, order: Order) -> VmFault;

    /// A read-only page of a DAX mapping is stored to.
    fn dax_mkwrite(fault: Fault<'_, Self>) -> VmFault;
}

/// The tables of VMA operations of `T`.
struct VmOps<T>(PhantomData<T>);

impl<T: Operations> VmOps<T> {
    const PAGE_CACHE: &'static bindings::vm_operations_struct = &bindings::vm_operations_struct {
        mapped: Some(Self::mapped),
        fault: Some(Self::fault),
        // Maps only pages that are in the page cache, without a lock: they are folios, which DAX
        // entries are not, and as long as the VMA is there the mode does not change.
        map_pages: Some(bindings::filemap_map_pages),
        page_mkwrite: Some(Self::page_mkwrite),
        ..pin_init::zeroed()
    };

    const DAX: &'static bindings::vm_operations_struct = &bindings::vm_operations_struct {
        mapped: Some(Self::mapped),
        fault: Some(Self::dax_fault),
        huge_fault: Some(Self::dax_huge_fault),
        map_pages: Some(Self::map_nothing),
        page_mkwrite: Some(Self::dax_mkwrite),
        pfn_mkwrite: Some(Self::dax_mkwrite),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// As for [`Fault::from_raw`].
    unsafe extern "C" fn fault(vmf: *mut bindings::vm_fault) -> c_uint {
        // SAFETY: As promised by the caller.
        T::fault(unsafe { Fault::from_raw(vmf) }).0
    }

    /// # Safety
    ///
    /// As for [`Fault::from_raw`]; and the page of `vmf` must be set.
    unsafe extern "C" fn page_mkwrite(vmf: *mut bindings::vm_fault) -> c_uint {
        // SAFETY: As promised by the caller.
        T::page_mkwrite(unsafe { Fault::from_raw(vmf) }).0
    }

    /// # Safety
    ///
    /// As for [`Fault::from_raw`].
    unsafe extern "C" fn dax_fault(vmf: *mut bindings::vm_fault) -> c_uint {
        // SAFETY: As promised by the caller.
        T::dax_fault(unsafe { Fault::from_raw(vmf) }, Order::PTE).0
    }

    /// # Safety
    ///
    /// As for [`Fault::from_raw`].
    unsafe extern "C" fn dax_huge_fault(vmf: *mut bindings::vm_fault, order: c_uint) -> c_uint {
        // SAFETY: As promised by the caller.
        T::dax_fault(unsafe { Fault::from_raw(vmf) }, Order(order)).0
    }

    /// There is nothing to map around a DAX fault. But of a table without `map_pages` the kernel
    /// believes that its handlers want the mmap lock, and tries each fault twice: first under the
    /// lock of the VMA, then under that one.
    ///
    /// # Safety
    ///
    /// None is needed.
    unsafe extern "C" fn map_nothing(
        _vmf: *mut bindings::vm_fault,
        _start: c_ulong,
        _end: c_ulong,
    ) -> c_uint {
        0
    }

    /// # Safety
    ///
    /// As for [`Fault::from_raw`].
    unsafe extern "C" fn dax_mkwrite(vmf: *mut bindings::vm_fault) -> c_uint {
        // SAFETY: As promised by the caller.
        T::dax_mkwrite(unsafe { Fault::from_raw(vmf) }).0
    }

    /// The VMA is where a change of mode finds it: from here on there is none. If there was one since
    /// [`mmap_prepare`] looked, the VMA has the wrong operations; the error unmaps it.
    ///
    /// Not called for a VMA that was merged into another one. Then that one was there, in the same
    /// address space, whose lock is held from before `mmap_prepare` until now: so no change.
    ///
    /// # Safety
    ///
    /// `file` must be one of `T`'s, and `private` what [`mmap_prepare`] left.
    unsafe extern "C" fn mapped(
        _start: c_ulong,
        _end: c_ulong,
        _pgoff: c_ulong,
        file: *const bindings::file,
        private: *mut *mut c_void,
    ) -> c_int {
        // SAFETY: As promised by the caller.
        let (inode, number) = unsafe {
            let number = private.replace(core::ptr::null_mut()) as usize;
            (INode::<T>::from_raw((*file).f_inode), number)
        };
        match inode.mmap_completed(number) {
            Ok(()) => 0,
            Err(err) => err.to_errno(),
        }
    }
}

/// Picks the operations for a new mapping by the mode of the file, and leaves the number by which
/// [`VmOps::mapped`] knows whether that has changed.
///
/// # Safety
///
/// `desc` must be valid, and its file one of `T`'s.
pub(super) unsafe extern "C" fn mmap_prepare<T: Operations>(
    desc: *mut bindings::vm_area_desc,
) -> c_int {
    // SAFETY: As promised by the caller.
    let (desc, inode) = unsafe { (&mut *desc, INode::<T>::from_raw((*(*desc).file).f_inode)) };
    if let Err(error) = inode.sb().check_running() {
        return error.to_errno();
    }
    let lock = inode.invalidate_shared();
    match lock.mode() {
        Mode::Dax(_) => {
            let synchronous = T::dax_device(inode.sb()).is_some_and(|dax| dax.is_synchronous());
            // SAFETY: `desc` is valid.
            if unsafe { bindings::rdaxfs_vma_desc_is_sync(desc) } && !synchronous {
                return EOPNOTSUPP.to_errno();
            }
            // MIXEDMAP makes the mode at mmap time visible in smaps, keeps the VMA from being merged
            // with another, so that `mapped` always runs, and makes fork copy the page table.
            // SAFETY: `desc` is valid.
            unsafe { bindings::rdaxfs_vma_desc_set_dax(desc) };
            desc.vm_ops = VmOps::<T>::DAX;
        }
        Mode::PageCache(_) => {
            // SAFETY: `desc` is valid.
            if unsafe { bindings::rdaxfs_vma_desc_is_sync(desc) } {
                return EOPNOTSUPP.to_errno();
            }
            desc.vm_ops = VmOps::<T>::PAGE_CACHE;
        }
    }
    desc.private_data = inode.mmap_prepared(&lock) as *mut c_void;
    drop(lock);
    // SAFETY: The file is valid.
    unsafe { bindings::rdaxfs_file_accessed(desc.file) };
    0
}
