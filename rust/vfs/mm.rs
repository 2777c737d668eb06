// SPDX-License-Identifier: GPL-2.0

//! Mapped files: page faults, and mmap itself.
//!
//! There are two tables of VMA operations, one for each mode, and mmap picks one. A mapping keeps the
//! table it got, and the mode of a file does not change while it is mapped.
//!
//! # mmap against a change of mode
//!
//! mmap picks (`mmap_prepare`) before whoever changes the mode can find the VMA. A change in between is
//! made good as soon as the VMA can be found: [`VmOps::mapped`] looks at the mode again, and gives the
//! VMA the other table. So mmap does not fail for it; but with MAP_SYNC it does, if the file has left
//! DAX, as it would have by coming later.
//!
//! What cannot be made good, nobody needs:
//!
//! - A VMA that was locked (`mlockall`) is not for DAX, and does not become so again.
//! - A mapping through overlayfs is made by way of its own `mmap`, where `mapped` comes before the VMA
//!   can be found. It may be left with the other table. So the handlers of each table serve both modes:
//!   they ask, under a lock, and a fault in the other mode is passed on to the handler of that mode.
//!   Such a VMA gets no pages of 2 MiB or no fault-around; that is all.
//! - A probe (uprobes) is planted before `mapped` is called, by a fault of the other table: the same.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use super::{
    aspace,
    delay::{
        self,
        Point, //
    },
    mode::{
        Mode,
        Stable, //
    },
    trace,
    FileSystem,
    INode, //
};
use crate::{
    bindings,
    prelude::*, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::types::NotThreadSafe;

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

    /// The number itself.
    #[inline]
    pub(super) fn get(self) -> c_uint {
        self.0
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

    /// The page of the file.
    #[inline]
    pub(super) fn pgoff(&self) -> c_ulong {
        // SAFETY: Valid by the type's invariant.
        unsafe { (*self.as_ptr()).__bindgen_anon_1.pgoff }
    }

    /// Whether there is a page at the address, which is to become writable.
    #[inline]
    pub(super) fn has_page(&self) -> bool {
        // SAFETY: Valid by the type's invariant.
        unsafe { !(*self.as_ptr()).page.is_null() }
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
/// The mmap lock or the lock of the VMA is held in all of them. The mapping was made when the file was
/// in the mode that the name says; the file may yet be in the other one.
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

    /// The table for a file in this mode.
    fn table(mode: &Mode<'_, T>) -> &'static bindings::vm_operations_struct {
        match mode {
            Mode::Dax(_) => Self::DAX,
            Mode::PageCache(_) => Self::PAGE_CACHE,
        }
    }

    /// The VMA is where a change of mode finds it, so from here on there is none. If there was one since
    /// [`mmap_prepare`] looked, the VMA gets what it would get now.
    ///
    /// Not called for a VMA that was merged into another one. Then that one was there, in the same
    /// address space, whose lock is held from before `mmap_prepare` until now: so no change.
    ///
    /// # Safety
    ///
    /// `file` must be one of `T`'s, `private` what [`mmap_prepare`] left, and the mmap lock held
    /// exclusively.
    unsafe extern "C" fn mapped(
        start: c_ulong,
        end: c_ulong,
        _pgoff: c_ulong,
        file: *const bindings::file,
        private: *mut *mut c_void,
    ) -> c_int {
        // SAFETY: As promised by the caller.
        let (inode, made_for) = unsafe {
            let made_for = private.replace(core::ptr::null_mut());
            (INode::<T>::from_raw((*file).f_inode), made_for)
        };
        delay::pass(inode, Point::MmapMapped);
        let lock = inode.invalidate_shared();
        let mode = lock.mode();
        if core::ptr::eq(Self::table(&mode), made_for.cast()) {
            return 0;
        }
        // SAFETY: As promised by the caller.
        match unsafe { NewVma::find(start, made_for) } {
            Some(vma) => {
                trace::mmap_refit(inode, start, end, matches!(mode, Mode::Dax(_)));
                vma.refit(&mode)
            }
            None => 0,
        }
    }
}

/// A VMA that mmap is making, and that no fault has touched.
///
/// # Invariants
///
/// It is valid, one of a file of ours, and the mmap lock of its address space is held exclusively.
struct NewVma<'a>(&'a mut bindings::vm_area_struct);

impl NewVma<'_> {
    /// The VMA at `start`, if it can be found already and is the one that `private` was left in.
    ///
    /// # Safety
    ///
    /// The mmap lock of the current task must be held exclusively for `'a`, and `private` be what
    /// [`mmap_prepare`] left, for a file of ours, in the VMA that is being made.
    unsafe fn find(start: c_ulong, private: *mut c_void) -> Option<Self> {
        // SAFETY: The mmap lock is held, so a VMA that is found stays.
        unsafe {
            let mm = (*bindings::get_current()).mm;
            let vma = bindings::find_vma(mm, start).as_mut()?;
            // INVARIANT: `private` is taken out of each VMA once it was made, so this is the one.
            (vma.vm_private_data == private).then_some(Self(vma))
        }
    }

    /// Gives it what a VMA of a file in this mode has.
    fn refit<T: Operations>(self, mode: &Mode<'_, T>) -> c_int {
        let Self(vma) = self;
        // SAFETY: By the type's invariant the flags are stable.
        let flags = unsafe { vma.__bindgen_anon_2.vm_flags };
        let (set, clear) = match mode {
            Mode::Dax(_) => (DAX_FLAGS, bindings::VM_LOCKED_MASK),
            Mode::PageCache(_) if flags & bindings::VM_SYNC != 0 => {
                return EOPNOTSUPP.to_errno();
            }
            Mode::PageCache(_) => (0, DAX_FLAGS),
        };
        // SAFETY: By the type's invariant the VMA may be changed, and its address space as well. It
        // was counted as locked when it got the flag.
        unsafe {
            if flags & clear & bindings::VM_LOCKED_MASK != 0 {
                let pages = (vma.__bindgen_anon_1.__bindgen_anon_1.vm_end
                    - vma.__bindgen_anon_1.__bindgen_anon_1.vm_start)
                    / bindings::PAGE_SIZE;
                (*vma.vm_mm).__bindgen_anon_1.locked_vm -= pages;
            }
            bindings::rdaxfs_vm_flags_mod(vma, set, clear);
        }
        vma.vm_ops = VmOps::<T>::table(mode);
        0
    }
}

/// What [`mmap_prepare`] sets on a DAX mapping.
///
/// MIXEDMAP makes the mode at mmap time visible in smaps, keeps the VMA from being merged with another
/// and from being locked, and makes fork copy the page table. HUGEPAGE allows 2 MiB.
const DAX_FLAGS: bindings::vm_flags_t = bindings::VM_MIXEDMAP | bindings::VM_HUGEPAGE;

/// Picks the operations for a new mapping by the mode of the file, and leaves them for
/// [`VmOps::mapped`], which so knows whether the mode has changed.
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
    let mode = lock.mode();
    delay::pass(inode, Point::MmapLook);
    // SAFETY: `desc` is valid.
    let sync = unsafe { bindings::rdaxfs_vma_desc_is_sync(desc) };
    let synchronous = match &mode {
        Mode::Dax(_) => T::dax_device(inode.sb()).is_some_and(|dax| dax.is_synchronous()),
        Mode::PageCache(_) => false,
    };
    if sync && !synchronous {
        return EOPNOTSUPP.to_errno();
    }
    if let Mode::Dax(_) = mode {
        // SAFETY: `desc` is valid.
        unsafe { bindings::rdaxfs_vma_desc_set_dax(desc) };
    }
    trace::mmap(inode, desc.start, desc.end, matches!(mode, Mode::Dax(_)));
    desc.vm_ops = VmOps::<T>::table(&mode);
    desc.private_data = desc.vm_ops.cast_mut().cast();
    drop(lock);
    delay::pass(inode, Point::MmapPrepared);
    // SAFETY: The file is valid.
    unsafe { bindings::rdaxfs_file_accessed(desc.file) };
    0
}
