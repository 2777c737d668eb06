// SPDX-License-Identifier: GPL-2.0

//! Page faults: what happens when a mapped file is touched.
//!
//! | touched | page cache mapping | DAX mapping |
//! |---|---|---|
//! | a page that is missing | [`fault`](Operations::fault): read it | [`dax_fault`](Operations::dax_fault): map the device |
//! | a read-only page, by a store | [`page_mkwrite`](Operations::page_mkwrite): allocate | [`dax_mkwrite`](Operations::dax_mkwrite): allocate, map writable |
//!
//! A mapping has the handlers of the mode that its file was in at mmap time, and the mode does not
//! change while it exists. Each handler takes a lock that keeps the mode, asks once, and passes the
//! token on: so it could not mix up the two even if it were called for the wrong file.

use super::{
    iomap::{
        BufferedWrite,
        DaxWrite,
        Read, //
    },
    stats::Counter,
    INode,
    RdaxFs, //
};
use crate::vfs::{
    mm::{
        Fault,
        Operations,
        Order,
        VmFault, //
    },
    mode::{
        Mode,
        Stable, //
    }, //
};
use kernel::sync::aref::ARef;

impl Operations for RdaxFs {
    /// Holds the mode lock around all of it, not `invalidate_lock`, which `filemap_fault` takes itself.
    ///
    /// The mmap lock may be released half way, and with it the last reference to the file: hence the
    /// count. What is read then still goes to a file in page cache mode, as the lock is held.
    fn fault(fault: Fault<'_, Self>) -> VmFault {
        let inode: ARef<INode> = fault.inode().into();
        count(&inode, Counter::Fault);
        let guard = inode.faulting();
        match guard.mode() {
            Mode::PageCache(pages) => pages.fault(fault),
            Mode::Dax(_) => wrong_mode(&inode, VmFault::SIGBUS),
        }
    }

    fn page_mkwrite(fault: Fault<'_, Self>) -> VmFault {
        let inode = fault.inode();
        count(inode, Counter::Mkwrite);
        let _write = fault.start_write();
        if inode.is_immutable() {
            return VmFault::SIGBUS;
        }
        let guard = inode.invalidate_shared();
        match guard.mode() {
            Mode::PageCache(pages) => pages.page_mkwrite::<BufferedWrite>(&fault),
            Mode::Dax(_) => wrong_mode(inode, VmFault::NOPAGE),
        }
    }

    #[inline]
    fn dax_fault(fault: Fault<'_, Self>, order: Order) -> VmFault {
        let (counter, otherwise) = match order {
            Order::PTE => (Counter::DaxFault, VmFault::SIGBUS),
            _ => (Counter::DaxHugeFault, VmFault::FALLBACK),
        };
        count(fault.inode(), counter);
        dax_map(&fault, order, fault.is_shared_write(), otherwise)
    }

    fn dax_mkwrite(fault: Fault<'_, Self>) -> VmFault {
        count(fault.inode(), Counter::DaxMkwrite);
        if fault.inode().is_immutable() {
            return VmFault::SIGBUS;
        }
        dax_map(&fault, Order::PTE, true, VmFault::NOPAGE)
    }
}

/// Maps the device's memory under the address, for loads or for stores.
#[inline(always)]
fn dax_map(fault: &Fault<'_, RdaxFs>, order: Order, write: bool, otherwise: VmFault) -> VmFault {
    let inode = fault.inode();
    let _write = write.then(|| fault.start_write());
    let guard = inode.invalidate_shared();
    let ret = match guard.mode() {
        Mode::Dax(dax) if write => dax.fault::<DaxWrite>(&guard, fault, order),
        Mode::Dax(dax) => dax.fault::<Read>(&guard, fault, order),
        Mode::PageCache(_) => return wrong_mode(inode, otherwise),
    };
    if order != Order::PTE && ret.is_mapped() {
        count(inode, Counter::DaxHugeMapped);
    }
    ret
}

/// The file is not in the mode that the mapping was made in. Only a probe that the kernel plants in a
/// mapping which is about to be undone (see [`crate::vfs::mm`]) can get here.
#[cold]
fn wrong_mode(inode: &INode, otherwise: VmFault) -> VmFault {
    count(inode, Counter::WrongMode);
    otherwise
}

#[inline]
fn count(inode: &INode, what: Counter) {
    inode.sb().data().get_ref().stats.count(what);
}
