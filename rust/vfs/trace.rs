// SPDX-License-Identifier: GPL-2.0

//! Trace events, in tracefs under `events/rdaxfs`.
//!
//! | event | when |
//! |---|---|
//! | `rdaxfs_fault`, `rdaxfs_fault_done` | a fault handler of either path begins, ends |
//! | `rdaxfs_page_mkwrite`, `rdaxfs_page_mkwrite_done` | so for a store to a read-only page |
//! | `rdaxfs_mmap` | a mapping is made, by the mode that the file is in |
//! | `rdaxfs_mmap_refit` | the mode had changed before the mapping was complete; this is the new one |
//! | `rdaxfs_switch`, `rdaxfs_switch_done` | a change of mode begins, is complete |
//! | `rdaxfs_switch_refused` | it is not made, and why ([`Refusal`]) |
//!
//! All tell device and inode; of a fault: the path (`dax` or `page-cache`), the order of the page asked
//! for, the page of the file, flags, and the result. Where nobody listens an event costs a jump that is
//! not there (a static branch). Counters of the same things are in [`crate::fs::stats`].
//!
//! C header: [`include/linux/tracepoint.h`](srctree/include/linux/tracepoint.h)

use super::{
    mm::{
        Fault,
        Order,
        VmFault, //
    },
    FileSystem,
    INode, //
};
use crate::{
    bindings,
    prelude::*, //
};

/// Runs `$call` of `crate::bindings` if somebody listens to the event `$name`: what
/// `kernel::declare_trace!` does for the kernel's own bindings.
macro_rules! record {
    ($name:ident($($arg:expr),*)) => {{
        #[cfg(CONFIG_TRACEPOINTS)]
        kernel::macros::paste! {
            // SAFETY: The key is that of a tracepoint, which C defines.
            if unsafe {
                kernel::jump_label::static_branch_unlikely!(
                    bindings::[<__tracepoint_ $name>],
                    kernel::bindings::tracepoint,
                    key
                )
            } {
                // SAFETY: All pointers among the arguments come from valid wrappers.
                unsafe { bindings::[<rust_do_trace_ $name>]($($arg),*) };
            }
        }
        #[cfg(not(CONFIG_TRACEPOINTS))]
        {
            let _ = ($($arg,)*);
        }
    }};
}

/// Which handler.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Handler {
    /// A page is missing.
    Fault,
    /// A read-only page is stored to.
    Mkwrite,
}

/// A fault that has been announced.
#[derive(Clone, Copy)]
pub struct FaultEvent {
    handler: Handler,
    pgoff: c_ulong,
    order: Order,
    dax: bool,
}

impl FaultEvent {
    /// Announces a fault, of a handler for DAX or for the page cache.
    #[inline(always)]
    pub fn begin<T: FileSystem>(
        handler: Handler,
        fault: &Fault<'_, T>,
        order: Order,
        dax: bool,
    ) -> Self {
        let (inode, vmf) = (fault.inode().as_ptr(), fault.as_ptr());
        match handler {
            Handler::Fault => record!(rdaxfs_fault(inode, vmf, order.get(), dax)),
            Handler::Mkwrite => record!(rdaxfs_page_mkwrite(inode, vmf, order.get(), dax)),
        }
        Self {
            handler,
            pgoff: fault.pgoff(),
            order,
            dax,
        }
    }

    /// Tells how it ended.
    #[inline(always)]
    pub fn end<T: FileSystem>(self, inode: &INode<T>, result: VmFault) -> VmFault {
        let (inode, order) = (inode.as_ptr(), self.order.get());
        match self.handler {
            Handler::Fault => {
                record!(rdaxfs_fault_done(
                    inode,
                    self.pgoff,
                    order,
                    self.dax,
                    result.get()
                ));
            }
            Handler::Mkwrite => {
                record!(rdaxfs_page_mkwrite_done(
                    inode,
                    self.pgoff,
                    order,
                    self.dax,
                    result.get()
                ));
            }
        }
        result
    }
}

/// Tells that a mapping is made.
#[inline]
pub(super) fn mmap<T: FileSystem>(inode: &INode<T>, start: c_ulong, end: c_ulong, dax: bool) {
    record!(rdaxfs_mmap(inode.as_ptr(), start, end, dax));
}

/// Tells that a mapping was changed, since the mode had.
#[inline]
pub(super) fn mmap_refit<T: FileSystem>(inode: &INode<T>, start: c_ulong, end: c_ulong, dax: bool) {
    record!(rdaxfs_mmap_refit(inode.as_ptr(), start, end, dax));
}

/// Why a change of mode is not made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The file is in use as swap space.
    SwapFile,
    /// What is dirty could not be written.
    Writeback,
    /// A fault of the page cache takes too long.
    Fault,
    /// A VMA maps the file.
    Mapped,
    /// Something else uses its pages, or the device's.
    Pages,
    /// The flag could not be stored.
    Store,
}

/// Tells that a change of mode begins.
pub fn switch<T: FileSystem>(inode: &INode<T>, to_dax: bool) {
    record!(rdaxfs_switch(inode.as_ptr(), to_dax));
}

/// Tells that it is made.
pub fn switch_done<T: FileSystem>(inode: &INode<T>, to_dax: bool) {
    record!(rdaxfs_switch_done(inode.as_ptr(), to_dax));
}

/// Tells that it is not.
pub fn switch_refused<T: FileSystem>(inode: &INode<T>, to_dax: bool, why: Refusal, error: Error) {
    record!(rdaxfs_switch_refused(
        inode.as_ptr(),
        to_dax,
        why as c_uint,
        error.to_errno()
    ));
}
