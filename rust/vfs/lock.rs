// SPDX-License-Identifier: GPL-2.0

//! A reader-writer semaphore with its data, scopes in which allocations do not enter the file system,
//! and allocations that are waited for.
//!
//! Invariant: the data of a [`RwSem`] is reached only through its guards, or through `&mut`.
//!
//! C header: [`include/linux/rwsem.h`](srctree/include/linux/rwsem.h)

use crate::{
    bindings,
    prelude::*, //
};
use core::{
    cell::UnsafeCell,
    marker::PhantomPinned,
    ops::{
        Deref,
        DerefMut, //
    },
};
use kernel::{
    alloc::AllocError,
    sync::LockClassKey,
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

/// A `struct rw_semaphore` and the data it protects. Readers and writers may sleep.
#[pin_data]
pub struct RwSem<T> {
    #[pin]
    sem: Opaque<bindings::rw_semaphore>,
    #[pin]
    _pin: PhantomPinned,
    data: UnsafeCell<T>,
}

// SAFETY: The semaphore may be moved between threads if its data may.
unsafe impl<T: Send> Send for RwSem<T> {}
// SAFETY: Readers share `&T` and a writer has `&mut T`, so the data must be both.
unsafe impl<T: Send + Sync> Sync for RwSem<T> {}

impl<T> RwSem<T> {
    /// An initialiser of a semaphore around `data`; see [`new_rwsem!`] for the lockdep class.
    pub fn new(
        data: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `slot` is valid for writing; the name and the key are static.
            sem <- Opaque::ffi_init(|slot| unsafe {
                bindings::__init_rwsem(slot, name.as_char_ptr(), key.as_ptr())
            }),
            _pin: PhantomPinned,
            data: UnsafeCell::new(data),
        })
    }

    /// Tells lockdep that this one may be taken with others of its class held, but not they with this
    /// one held. Nobody holds it yet.
    pub fn set_inner(&self) {
        // SAFETY: The semaphore was initialised by the constructor.
        unsafe { bindings::rdaxfs_rwsem_set_subclass(self.sem.get(), 1) };
    }

    /// Takes the semaphore shared.
    #[inline]
    pub fn read(&self) -> ReadGuard<'_, T> {
        // SAFETY: The semaphore was initialised by the constructor.
        unsafe { bindings::down_read(self.sem.get()) };
        ReadGuard {
            lock: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Releases the semaphore, of which a guard was forgotten, and which may be freed by RCU as soon as it
    /// is free.
    ///
    /// # Safety
    ///
    /// It must be held shared, on this thread, and not released by anybody else.
    #[inline]
    pub(super) unsafe fn unlock_read_rcu(this: *const Self) {
        // SAFETY: As the caller promises; it is not freed before an RCU grace period is over.
        unsafe { bindings::rdaxfs_up_read_rcu(Opaque::cast_into(&raw const (*this).sem)) };
    }

    /// Takes the semaphore exclusively.
    #[inline]
    pub fn write(&self) -> WriteGuard<'_, T> {
        // SAFETY: The semaphore was initialised by the constructor.
        unsafe { bindings::down_write(self.sem.get()) };
        WriteGuard {
            lock: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Takes the semaphore shared if that needs no waiting.
    #[inline]
    pub fn try_read(&self) -> Option<ReadGuard<'_, T>> {
        // SAFETY: The semaphore was initialised by the constructor.
        if unsafe { bindings::down_read_trylock(self.sem.get()) } == 0 {
            return None;
        }
        Some(ReadGuard {
            lock: self,
            _not_send: NotThreadSafe,
        })
    }

    /// Takes the semaphore exclusively if that needs no waiting.
    #[inline]
    pub fn try_write(&self) -> Option<WriteGuard<'_, T>> {
        // SAFETY: The semaphore was initialised by the constructor.
        if unsafe { bindings::down_write_trylock(self.sem.get()) } == 0 {
            return None;
        }
        Some(WriteGuard {
            lock: self,
            _not_send: NotThreadSafe,
        })
    }

    /// The data, through the exclusive reference that makes the lock unnecessary.
    pub fn get_mut(self: Pin<&mut Self>) -> &mut T {
        // SAFETY: Only the semaphore is pinned structurally; nothing is moved.
        unsafe { self.get_unchecked_mut() }.data.get_mut()
    }
}

/// The semaphore is held shared.
#[must_use = "the semaphore is released when the guard is dropped"]
pub struct ReadGuard<'a, T> {
    lock: &'a RwSem<T>,
    _not_send: NotThreadSafe,
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: The semaphore is held shared, so there is no writer.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> Drop for ReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: The guard holds the semaphore shared, on this thread.
        unsafe { bindings::up_read(self.lock.sem.get()) };
    }
}

/// The semaphore is held exclusively.
#[must_use = "the semaphore is released when the guard is dropped"]
pub struct WriteGuard<'a, T> {
    lock: &'a RwSem<T>,
    _not_send: NotThreadSafe,
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: The semaphore is held exclusively.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: The semaphore is held exclusively.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T> Drop for WriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: The guard holds the semaphore exclusively, on this thread.
        unsafe { bindings::up_write(self.lock.sem.get()) };
    }
}

/// Makes an initialiser of a [`RwSem`] with a lockdep class of its own.
#[macro_export]
macro_rules! new_rwsem {
    ($data:expr, $name:literal) => {
        $crate::vfs::lock::RwSem::new($data, $name, ::kernel::static_lock_class!())
    };
}
pub use new_rwsem;

/// Runs `f` so that no allocation in it, however deep, enters a file system for reclaim.
///
/// Wanted where a lock is held that evicting an inode takes.
///
/// C header: [`include/linux/sched/mm.h`](srctree/include/linux/sched/mm.h)
#[inline]
pub fn nofs<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: Only touches the flags of the current task.
    let flags = unsafe { bindings::rdaxfs_memalloc_nofs_save() };
    let ret = f();
    // SAFETY: `flags` comes from the save just above, and scopes nest.
    unsafe { bindings::rdaxfs_memalloc_nofs_restore(flags) };
    ret
}

/// Does `allocate` until there is memory for it. For what is done when other metadata was changed in the
/// same transaction, which cannot be taken back.
///
/// The flags of Rust's allocators have no `__GFP_NOFAIL`.
pub fn wait_for_memory<R>(mut allocate: impl FnMut() -> Result<R, AllocError>) -> R {
    nofs(|| loop {
        match allocate() {
            Ok(done) => return done,
            // SAFETY: Sleeps, as the allocation did.
            Err(AllocError) => unsafe { bindings::rdaxfs_memalloc_retry_wait() },
        }
    })
}

/// `len` zeroes, no more than a block has. Waits for the memory.
pub fn zeroes(len: usize) -> KVec<u8> {
    wait_for_memory(|| KVec::from_elem(0, len, GFP_KERNEL))
}
