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
//! token on; if it then finds the other mode, which [`crate::vfs::mm`] says how it can, it passes the
//! fault on to the handler of that mode.

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
    },
    trace::{
        FaultEvent,
        Handler, //
    }, //
};
impl Operations for RdaxFs {
    /// Holds the mode lock around all of it, not `invalidate_lock`, which `filemap_fault` takes itself.
    ///
    /// The mmap lock may be released half way, and with it the last reference to the file; the lock keeps
    /// the inode. What is read then still goes to a file in page cache mode.
    fn fault(fault: Fault<'_, Self>) -> VmFault {
        count(fault.inode(), Counter::Fault);
        let guard = fault.inode().faulting();
        if let Mode::PageCache(pages) = guard.mode() {
            let event = FaultEvent::begin(Handler::Fault, &fault, Order::PTE, false);
            return event.end(guard.inode(), pages.fault(fault));
        }
        drop(guard);
        count(fault.inode(), Counter::WrongMode);
        Self::dax_fault(fault, Order::PTE)
    }

    fn page_mkwrite(fault: Fault<'_, Self>) -> VmFault {
        let inode = fault.inode();
        count(inode, Counter::Mkwrite);
        let write = fault.start_write();
        if inode.is_immutable() {
            return VmFault::SIGBUS;
        }
        let guard = inode.invalidate_shared();
        if let Mode::PageCache(pages) = guard.mode() {
            let event = FaultEvent::begin(Handler::Mkwrite, &fault, Order::PTE, false);
            return event.end(inode, pages.page_mkwrite::<BufferedWrite>(&fault));
        }
        drop(guard);
        drop(write);
        count(inode, Counter::WrongMode);
        Self::dax_mkwrite(fault)
    }

    #[inline]
    fn dax_fault(fault: Fault<'_, Self>, order: Order) -> VmFault {
        let counter = match order {
            Order::PTE => Counter::DaxFault,
            _ => Counter::DaxHugeFault,
        };
        count(fault.inode(), counter);
        let write = fault.is_shared_write();
        if let Some(ret) = dax_map(Handler::Fault, &fault, order, write) {
            return ret;
        }
        count(fault.inode(), Counter::WrongMode);
        match order {
            Order::PTE => Self::fault(fault),
            _ => VmFault::FALLBACK,
        }
    }

    fn dax_mkwrite(fault: Fault<'_, Self>) -> VmFault {
        count(fault.inode(), Counter::DaxMkwrite);
        if fault.inode().is_immutable() {
            return VmFault::SIGBUS;
        }
        if let Some(ret) = dax_map(Handler::Mkwrite, &fault, Order::PTE, true) {
            return ret;
        }
        count(fault.inode(), Counter::WrongMode);
        Self::page_mkwrite(fault)
    }
}

/// Maps the device's memory under the address, for loads or for stores. [`None`] if the file is not in
/// DAX mode.
#[inline(always)]
fn dax_map(
    handler: Handler,
    fault: &Fault<'_, RdaxFs>,
    order: Order,
    write: bool,
) -> Option<VmFault> {
    let inode = fault.inode();
    let _write = write.then(|| fault.start_write());
    let guard = inode.invalidate_shared();
    let Mode::Dax(dax) = guard.mode() else {
        return None;
    };
    let event = FaultEvent::begin(handler, fault, order, true);
    let ret = if write {
        dax.fault::<DaxWrite>(&guard, fault, order)
    } else {
        dax.fault::<Read>(&guard, fault, order)
    };
    if order != Order::PTE && ret.is_mapped() {
        count(inode, Counter::DaxHugeMapped);
    }
    Some(event.end(inode, ret))
}

#[inline]
fn count(inode: &INode, what: Counter) {
    inode.sb().data().get_ref().stats.count(what);
}
