// SPDX-License-Identifier: GPL-2.0

//! Whether a file goes through the page cache or through DAX, as a fact that a lock keeps true.
//!
//! The mode of a file is the flag `S_DAX` of its inode together with the address space operations
//! that go with it. It may change while the file is open. So nothing may depend on it without
//! holding something that the change takes exclusively, and in this crate nothing can: the question
//! is [`Stable::mode`], only a lock guard is [`Stable`], and the answer borrows from the guard. Every
//! entry point of fs/dax.c is a method of the [`DaxToken`] in that answer, every one of fs/iomap and
//! mm/filemap.c that works on the page cache is one of [`PageCacheToken`]. So no code can ask once,
//! release the lock, and go on as if the answer still held.
//!
//! # What keeps the mode
//!
//! | guard | taken by |
//! |---|---|
//! | [`Locked`], [`LockedShared`] (`i_rwsem`) | read, write, splice, fadvise, fallocate, truncate |
//! | [`FaultGuard`] (the mode lock) | page cache faults, which drop the mmap lock half way |
//! | [`InvalidateShared`], [`InvalidateExclusive`] (`invalidate_lock`) | DAX faults, mmap |
//! | [`WritebackGuard`] | writepages |
//!
//! Lock order: `i_rwsem` > mmap lock > `sb_start_pagefault` > mode lock > `invalidate_lock` >
//! writeback lock > transaction > page and entry locks.
//!
//! Faults hold theirs shared, so they run side by side, on one CPU or on many. A reader-writer semaphore
//! costs them two atomic additions to the inode, beside those that the kernel makes to the VMA and to
//! the page; `make bench PARTS=guard` counts the instructions.
//!
//! [`Switch`] has them all exclusively when it changes the mode. This file holds the only test of
//! `S_DAX`, and the only writes of it.

use super::{
    aspace,
    delay::{
        self,
        Arrivals,
        Point, //
    },
    inode::{
        Locked,
        LockedShared, //
    },
    lock::{
        ReadGuard,
        RwSem,
        WriteGuard, //
    },
    FileSystem,
    INode, //
};
use crate::{
    bindings,
    new_rwsem,
    prelude::*, //
};
use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    time::{
        delay::fsleep,
        Delta, //
    },
    types::NotThreadSafe, //
};

/// The part of an inode's state that keeps its mode, beside `i_rwsem` and `invalidate_lock`.
#[pin_data]
pub struct ModeLock {
    /// Readers are faults of the page cache, which it keeps the inode for. The switch takes it by trylock
    /// only: a waiting writer would deadlock with a reader that faults again below itself.
    #[pin]
    faults: RwSem<()>,
    /// Readers are writepages. They may not take `invalidate_lock`, since a synchronous DAX fault
    /// holds that while it writes back; so there is no other lock that would do for them.
    #[pin]
    writeback: RwSem<()>,
    /// Who came, for tests.
    pub(super) arrivals: Arrivals,
}

impl ModeLock {
    /// An initialiser of the locks of one inode.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            faults <- new_rwsem!((), c"rdaxfs mode"),
            writeback <- new_rwsem!((), c"rdaxfs writeback"),
            arrivals: Default::default(),
        })
    }
}

/// Something held that keeps the mode of one inode from changing.
///
/// # Safety
///
/// While a value lives, a lock of [`inode`](Self::inode) must be held that [`Switch`] takes
/// exclusively around the change of mode.
pub unsafe trait Stable<T: FileSystem> {
    /// The inode whose mode is kept.
    fn inode(&self) -> &INode<T>;

    /// The mode of the inode, for as long as the guard is borrowed.
    #[inline]
    fn mode(&self) -> Mode<'_, T> {
        let inode = self.inode();
        // SAFETY: The inode is valid. The flag cannot change: see the contract of the trait. Other
        // flags may, which makes the read racy in the way that C's `IS_DAX` is.
        let flags = unsafe { (&raw const (*inode.as_ptr()).i_flags).read_volatile() };
        if flags & bindings::S_DAX == 0 {
            Mode::PageCache(PageCacheToken { inode })
        } else {
            Mode::Dax(DaxToken { inode })
        }
    }
}

/// The mode of an inode, and the right to use it.
pub enum Mode<'g, T: FileSystem> {
    /// Loads and stores reach the device's memory itself.
    Dax(DaxToken<'g, T>),
    /// Data is read into pages, and written back from them.
    PageCache(PageCacheToken<'g, T>),
}

/// The inode is in DAX mode, and stays so for `'g`. Opens fs/dax.c; see [`super::dax`].
///
/// # Invariants
///
/// `S_DAX` is set, and does not change during `'g`.
pub struct DaxToken<'g, T: FileSystem> {
    inode: &'g INode<T>,
}

/// The inode is in page cache mode, and stays so for `'g`. Opens fs/iomap and mm/filemap.c; see
/// [`super::iomap`] and [`super::writeback`].
///
/// # Invariants
///
/// `S_DAX` is clear, and does not change during `'g`.
pub struct PageCacheToken<'g, T: FileSystem> {
    inode: &'g INode<T>,
}

impl<'g, T: FileSystem> DaxToken<'g, T> {
    /// The inode in question.
    #[inline]
    pub fn inode(&self) -> &'g INode<T> {
        self.inode
    }
}

impl<'g, T: FileSystem> PageCacheToken<'g, T> {
    /// The inode in question.
    #[inline]
    pub fn inode(&self) -> &'g INode<T> {
        self.inode
    }
}

/// A guard that stands for a lock with no data of its own, released by `$release` on drop.
macro_rules! inode_guard {
    ($(#[$doc:meta])* $name:ident, $release:ident, $lock:ident) => {
        $(#[$doc])*
        #[must_use = "the lock is released when the guard is dropped"]
        pub struct $name<'a, T: FileSystem> {
            inode: &'a INode<T>,
            _not_send: NotThreadSafe,
        }

        impl<T: FileSystem> Drop for $name<'_, T> {
            #[inline]
            fn drop(&mut self) {
                // SAFETY: The guard holds the lock, on this thread.
                unsafe { bindings::$release($lock(self.inode)) };
            }
        }

        // SAFETY: The lock is held, and `Switch` takes it exclusively.
        unsafe impl<T: FileSystem> Stable<T> for $name<'_, T> {
            #[inline]
            fn inode(&self) -> &INode<T> {
                self.inode
            }
        }
    };
}

#[inline]
fn invalidate_lock<T: FileSystem>(inode: &INode<T>) -> *mut bindings::rw_semaphore {
    // SAFETY: The inode is valid, and so is its mapping, which never changes; only the address of a
    // field is taken.
    unsafe { &raw mut (*(*inode.as_ptr()).i_mapping).invalidate_lock }
}

inode_guard! {
    /// `invalidate_lock` is held shared: no page or block of the file goes away.
    InvalidateShared, up_read, invalidate_lock
}
inode_guard! {
    /// `invalidate_lock` is held exclusively: no fault, and no read into the page cache, is under way.
    InvalidateExclusive, up_write, invalidate_lock
}

// SAFETY: `i_rwsem` is held exclusively. A `Switch` needs a [`SoleLock`], whose holder was given no
// other reference to the locked inode.
unsafe impl<T: FileSystem> Stable<T> for Locked<T> {
    #[inline]
    fn inode(&self) -> &INode<T> {
        self
    }
}

// SAFETY: `i_rwsem` is held.
unsafe impl<T: FileSystem> Stable<T> for LockedShared<T> {
    #[inline]
    fn inode(&self) -> &INode<T> {
        self
    }
}

/// `i_rwsem` is held exclusively by the VFS around the operation it called, and this is the only thing
/// that tells the operation so: when it is borrowed mutably, no token is left that was obtained by it.
///
/// # Invariants
///
/// As it says.
pub struct SoleLock<'a, T: FileSystem> {
    inode: &'a Locked<T>,
    _not_send: NotThreadSafe,
}

impl<'a, T: FileSystem> SoleLock<'a, T> {
    /// # Safety
    ///
    /// The operation that is given this may be given no other [`Locked`] of the same inode.
    #[inline]
    pub(super) unsafe fn new(inode: &'a Locked<T>) -> Self {
        // INVARIANT: As the caller promises.
        Self {
            inode,
            _not_send: NotThreadSafe,
        }
    }
}

impl<T: FileSystem> Deref for SoleLock<'_, T> {
    type Target = Locked<T>;

    #[inline]
    fn deref(&self) -> &Locked<T> {
        self.inode
    }
}

/// The mode lock is held shared. That keeps the inode as a count of it would, and costs the fault less:
/// eviction waits for the lock ([`INode::wait_for_faults`]).
///
/// # Invariants
///
/// The mode lock of `inode` is held shared, on this thread.
#[must_use = "the lock is released when the guard is dropped"]
pub struct FaultGuard<T: FileSystem> {
    inode: NonNull<INode<T>>,
    _not_send: NotThreadSafe,
}

// SAFETY: The mode lock is held shared.
unsafe impl<T: FileSystem> Stable<T> for FaultGuard<T> {
    #[inline]
    fn inode(&self) -> &INode<T> {
        // SAFETY: The lock is held, and eviction waits for it.
        unsafe { self.inode.as_ref() }
    }
}

impl<T: FileSystem> Drop for FaultGuard<T> {
    #[inline]
    fn drop(&mut self) {
        // Eviction may go on as soon as the lock is free, while `up_read` still looks whom to wake. It
        // frees the memory by RCU.
        let lock = &raw const self.inode().state().mode.faults;
        // SAFETY: The lock is held on this thread, and freed by RCU.
        unsafe { RwSem::unlock_read_rcu(lock) };
    }
}

/// The lock of writepages is held shared.
pub struct WritebackGuard<'a, T: FileSystem> {
    inode: &'a INode<T>,
    _lock: ReadGuard<'a, ()>,
}

// SAFETY: The writeback lock is held shared.
unsafe impl<T: FileSystem> Stable<T> for WritebackGuard<'_, T> {
    #[inline]
    fn inode(&self) -> &INode<T> {
        self.inode
    }
}

impl<T: FileSystem> INode<T> {
    /// Takes `invalidate_lock` shared.
    #[inline]
    pub fn invalidate_shared(&self) -> InvalidateShared<'_, T> {
        delay::arrive(self);
        // SAFETY: The lock is initialised.
        unsafe { bindings::down_read(invalidate_lock(self)) };
        InvalidateShared {
            inode: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Takes `invalidate_lock` exclusively.
    #[inline]
    pub fn invalidate_exclusive(&self) -> InvalidateExclusive<'_, T> {
        // SAFETY: The lock is initialised.
        unsafe { bindings::down_write(invalidate_lock(self)) };
        InvalidateExclusive {
            inode: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Keeps the mode for a fault of the page cache, and the inode as well.
    #[inline]
    pub fn faulting(&self) -> FaultGuard<T> {
        delay::arrive(self);
        core::mem::forget(self.state().mode.faults.read());
        // INVARIANT: The lock was just taken, and is not released.
        FaultGuard {
            inode: self.into(),
            _not_send: NotThreadSafe,
        }
    }

    /// Waits until no fault holds the mode lock: the first step of eviction, after which none can come.
    ///
    /// A fault that is left here has given up its file, as the last thing but to release the lock. It is
    /// another task's: `fput` never evicts by itself, but from the way back to user space, or a worker.
    ///
    /// Tries, like [`Switch::begin`], as lockdep knows no difference between this inode, which nobody
    /// else waits for, and one whose fault has come into reclaim.
    #[inline]
    pub(super) fn wait_for_faults(&self) {
        while self.state().mode.faults.try_write().is_none() {
            fsleep(PAUSE);
        }
    }

    /// Keeps the mode for writepages.
    #[inline]
    pub(super) fn writing_back(&self) -> WritebackGuard<'_, T> {
        delay::arrive(self);
        WritebackGuard {
            inode: self,
            _lock: self.state().mode.writeback.read(),
        }
    }

    /// Whether the file is in use as swap space.
    pub fn is_swap_file(&self) -> bool {
        self.flags() & bindings::S_SWAPFILE != 0
    }
}

/// How often [`Switch::begin`] tries again, and how long who tries waits in between.
const TRIES: u32 = 16;
const PAUSE: Delta = Delta::from_millis(1);

/// A change of mode under way: no fault and no mmap looks at the file.
///
/// fs/switch.rs has the order of the steps and their reasons; this type has what they do to the VFS,
/// and sees to it that the last one is sound whatever came before.
///
/// # Invariants
///
/// `i_rwsem`, the mode lock and `invalidate_lock` are held exclusively.
pub struct Switch<'a, T: FileSystem> {
    inode: &'a INode<T>,
    // Released in this order.
    _invalidate: InvalidateExclusive<'a, T>,
    _faults: WriteGuard<'a, ()>,
    _io: PhantomData<&'a mut SoleLock<'a, T>>,
}

impl<'a, T: FileSystem + aspace::Operations> Switch<'a, T> {
    /// Keeps faults and mmap away. [`EBUSY`] if a fault is under way for too long.
    ///
    /// Tries, and does not wait: a fault that holds the lock may fault again below itself, and would
    /// then wait behind us. Takes the lock of the inode mutably, so that no token borrowed from it
    /// outlives this.
    pub fn begin(io: &'a mut SoleLock<'_, T>) -> Result<Self> {
        let inode: &INode<T> = io.inode;
        delay::pass(inode, Point::SwitchBegin);
        for _ in 0..TRIES {
            if let Some(faults) = inode.state().mode.faults.try_write() {
                delay::pass(inode, Point::SwitchFaults);
                // INVARIANT: `io` is borrowed mutably as long as this lives, the others are held.
                return Ok(Self {
                    inode,
                    _invalidate: inode.invalidate_exclusive(),
                    _faults: faults,
                    _io: PhantomData,
                });
            }
            fsleep(PAUSE);
        }
        Err(EBUSY)
    }

    /// The inode whose mode is to change.
    pub fn inode(&self) -> &'a INode<T> {
        self.inode
    }

    /// Whether any VMA maps the file.
    ///
    /// Under the lock of the tree of VMAs: splitting and merging one takes it out for a moment.
    pub fn is_mapped(&self) -> bool {
        // SAFETY: The inode and its mapping are valid, the lock is initialised, and it is released on
        // this thread.
        unsafe {
            let mapping = (*self.inode.as_ptr()).i_mapping;
            bindings::down_read(&raw mut (*mapping).i_mmap_rwsem);
            let mapped = bindings::rdaxfs_mapping_mapped(mapping);
            bindings::up_read(&raw mut (*mapping).i_mmap_rwsem);
            mapped
        }
    }

    /// Whether anything is cached of the file: pages, shadows of pages, or DAX entries.
    fn is_cached(&self) -> bool {
        // SAFETY: The inode and its mapping are valid.
        unsafe { !bindings::rdaxfs_mapping_empty((*self.inode.as_ptr()).i_mapping) }
    }

    /// Removes every page and every shadow entry from the page cache. [`EBUSY`] if something holds a
    /// page for I/O of its own: its writes would miss the file from now on.
    ///
    /// Only in page cache mode, with nothing dirty.
    pub fn drop_pages(&self) -> Result {
        // SAFETY: The inode is valid.
        let mapping = unsafe { (*self.inode.as_ptr()).i_mapping };
        // SAFETY: The mapping is valid.
        if unsafe { aspace::maybe_pinned(mapping) } {
            return Err(EBUSY);
        }
        // A page that reclaim takes at the same time leaves a shadow entry behind, perhaps just after
        // the walk went by. Once there are no pages there is nothing left to reclaim.
        for _ in 0..3 {
            // SAFETY: The mapping is valid.
            to_result(unsafe { bindings::invalidate_inode_pages2(mapping) })?;
            if !self.is_cached() {
                self.wait_for_walkers();
                return Ok(());
            }
        }
        Err(EBUSY)
    }

    /// Waits for who may be about to remove shadow entries from the mapping, which is empty now.
    ///
    /// `clear_shadow_entries` tests for DAX before it takes its lock, and does not sleep in between.
    /// Called by `drop_caches`, it holds none of the locks of a [`Switch`]; the DAX entries that it
    /// would remove instead take with them the only note of what was stored and not flushed. But it
    /// has seen an entry then, and before that has taken a count of the inode. So nobody is there if
    /// the one count is that of the dentry. Otherwise (another dentry, an inotify watch, sync) all
    /// tasks are waited for until they have slept once: some hundredths of a second.
    fn wait_for_walkers(&self) {
        let inode = self.inode.as_ptr();
        // SAFETY: The inode is valid. The lock orders this after the count of whoever saw an entry
        // before the mapping became empty.
        let count = unsafe {
            bindings::spin_lock(&raw mut (*inode).i_lock);
            let count = (&raw const (*inode).i_count.counter).read_volatile();
            bindings::spin_unlock(&raw mut (*inode).i_lock);
            count
        };
        if count > 1 {
            // SAFETY: May sleep, and the caller is in no read-side section.
            unsafe { bindings::rdaxfs_synchronize_rcu_tasks() };
        }
    }

    /// Removes every DAX entry. [`EBUSY`] if something holds one of the device's pages.
    ///
    /// Only in DAX mode: `dax_break_layout` does nothing otherwise.
    pub fn drop_dax_entries(&self) -> Result {
        // SAFETY: The inode is valid, and `invalidate_lock` is held exclusively.
        to_result(unsafe { bindings::dax_break_layout(self.inode.as_ptr(), 0, i64::MAX, None) })
            .map_err(|_| EBUSY)
    }

    /// Waits for writeback, and keeps it away. [`EBUSY`] if something is still cached: what one mode left
    /// behind the other would misread.
    pub fn prepare(self) -> Result<Prepared<'a, T>> {
        let inode = self.inode;
        let writeback = inode.state().mode.writeback.write();
        if self.is_cached() {
            return Err(EBUSY);
        }
        delay::pass(inode, Point::SwitchCommit);
        // INVARIANT: Nothing is cached, and nothing comes into the cache while `self` is there.
        Ok(Prepared {
            _writeback: writeback,
            switch: self,
        })
    }
}

/// A change of mode that cannot fail any more. Dropped, it has not been made.
///
/// # Invariants
///
/// All that keeps the mode is held exclusively, and nothing is cached.
pub struct Prepared<'a, T: FileSystem> {
    // Released in this order.
    _writeback: WriteGuard<'a, ()>,
    switch: Switch<'a, T>,
}

impl<T: FileSystem + aspace::Operations> Prepared<'_, T> {
    /// Makes `dax` the mode of the file.
    pub fn commit(self, dax: bool) {
        let inode = self.switch.inode;
        delay::pass(inode, Point::SwitchStored);
        // SAFETY: By the invariants of the type.
        unsafe { set_mode(inode, dax) };
        delay::pass(inode, Point::SwitchDone);
    }
}

/// Sets or clears `S_DAX`, and exchanges the address space operations with it.
///
/// They are exchanged, not merged: mm takes the absence of `read_folio` for the sign that a file
/// has no page cache.
///
/// # Safety
///
/// Nothing may be cached of the file, and nobody may hold anything that is [`Stable`].
pub(super) unsafe fn set_mode<T: FileSystem + aspace::Operations>(inode: &INode<T>, dax: bool) {
    let raw = inode.as_ptr();
    // SAFETY: The inode and its mapping are valid. `a_ops` is read without a lock all over mm, so it
    // is written in one piece, as `WRITE_ONCE` would.
    unsafe {
        bindings::inode_set_flags(raw, if dax { bindings::S_DAX } else { 0 }, bindings::S_DAX);
        delay::pass(inode, Point::SwitchHalf);
        (&raw mut (*(*raw).i_mapping).a_ops).write_volatile(aspace::table::<T>(dax));
    }
}
