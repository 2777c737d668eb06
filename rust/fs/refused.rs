// SPDX-License-Identifier: GPL-2.0

//! Code that the compiler must refuse: ways to write the bug of 2017, in which a file stopped being DAX
//! between one fault handler and the next, and the next one acted upon an answer of its own.
//!
//! Never built into the module. `scripts/refused` compiles it, and compares the errors with the codes
//! that the lines name at their end: each must come, at its line, and no other.

use super::{
    iomap::{
        BufferedWrite,
        Read, //
    },
    INode,
    RdaxFs, //
};
use crate::vfs::{
    mm::{
        Fault,
        Order,
        VmFault, //
    },
    mode::{
        Mode,
        PageCacheToken,
        SoleLock,
        Stable,
        Switch, //
    },
};

/// How it is done. No error here: the others are not refused for something else.
fn as_it_should_be(inode: &INode, fault: Fault<'_, RdaxFs>) -> VmFault {
    let guard = inode.invalidate_shared();
    match guard.mode() {
        Mode::PageCache(pages) => pages.page_mkwrite::<BufferedWrite>(&fault),
        Mode::Dax(dax) => dax.fault::<Read>(&guard, &fault, Order::PTE),
    }
}

/// To ask without a lock: `if (IS_DAX(inode))`.
fn without_a_lock(inode: &INode) -> bool {
    matches!(Stable::mode(inode), Mode::Dax(_)) // E0277
}

/// To ask under a lock, release it, and go on.
fn after_the_lock(inode: &INode, fault: &Fault<'_, RdaxFs>) -> VmFault {
    let guard = inode.invalidate_shared();
    let mode = guard.mode();
    drop(guard); // E0505
    match mode {
        Mode::PageCache(pages) => pages.page_mkwrite::<BufferedWrite>(fault),
        Mode::Dax(_) => VmFault::NOPAGE,
    }
}

/// To ask in a function of its own, as `IS_DAX` was.
fn ask(inode: &INode) -> Mode<'_, RdaxFs> {
    inode.faulting().mode() // E0515
}

/// To ask in `.fault`, and leave the answer where `.page_mkwrite` finds it.
struct Asked<'a> {
    pages: Option<PageCacheToken<'a, RdaxFs>>,
}

fn fault<'a>(inode: &'a INode, asked: &mut Asked<'a>, fault: Fault<'_, RdaxFs>) -> VmFault {
    let guard = inode.faulting();
    let mode = guard.mode(); // E0597
    let Mode::PageCache(pages) = mode else {
        return VmFault::NOPAGE;
    };
    asked.pages = Some(pages);
    match &asked.pages {
        Some(pages) => pages.fault(fault),
        None => VmFault::NOPAGE,
    }
}

/// To call for one mode what belongs to the other: `dax_iomap_fault` for the page cache.
fn by_the_other_way(inode: &INode, fault: &Fault<'_, RdaxFs>) -> VmFault {
    let guard = inode.invalidate_shared();
    match guard.mode() {
        Mode::Dax(dax) => dax.page_mkwrite::<BufferedWrite>(fault), // E0599
        Mode::PageCache(_) => VmFault::NOPAGE,
    }
}

/// To change the mode while an answer is in use.
fn change_meanwhile(io: &mut SoleLock<'_, RdaxFs>) -> bool {
    let mode = Stable::mode(&**io);
    let _switch = Switch::begin(io); // E0502
    matches!(mode, Mode::Dax(_))
}
