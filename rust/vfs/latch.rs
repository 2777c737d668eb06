// SPDX-License-Identifier: GPL-2.0

//! A small value that is read without a lock, and without writing to memory that others read.
//!
//! It is for what readers can do without: one that comes while the value changes gets none, and never
//! waits. As in [`include/linux/seqlock.h`](srctree/include/linux/seqlock.h), a count is odd while the
//! value changes, and a copy counts only if the count was the same, and even, before and after.

use core::{
    cell::UnsafeCell,
    mem::MaybeUninit,
    sync::atomic::{
        fence,
        AtomicU32,
        Ordering, //
    },
};

/// A value of type `T` for [`Latch::get`] and [`Latch::set`].
pub struct Latch<T: Copy> {
    count: AtomicU32,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: Copies of the value go from one thread to another, which `Send` allows.
unsafe impl<T: Copy + Send> Sync for Latch<T> {}

impl<T: Copy> Latch<T> {
    /// A latch that holds `value`.
    pub const fn new(value: T) -> Self {
        Self {
            count: AtomicU32::new(0),
            value: UnsafeCell::new(MaybeUninit::new(value)),
        }
    }

    /// A copy of the value, unless it changes at this moment.
    #[inline(always)]
    pub fn get(&self) -> Option<T> {
        let count = self.count.load(Ordering::Acquire);
        // SAFETY: Valid for reading. A writer may be at work: what is copied then may be torn, and is
        // not looked at, since the count tells.
        let value = unsafe { self.value.get().read_volatile() };
        fence(Ordering::Acquire);
        if count & 1 != 0 || self.count.load(Ordering::Relaxed) != count {
            return None;
        }
        // SAFETY: No writer was at work, so the copy is of a value that was put there whole.
        Some(unsafe { value.assume_init() })
    }

    /// Puts `value` there. Tells whether that was done: not if somebody else is doing so.
    #[inline]
    pub fn set(&self, value: T) -> bool {
        let count = self.count.load(Ordering::Relaxed) & !1;
        let odd = count.wrapping_add(1);
        let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
        if self
            .count
            .compare_exchange(count, odd, acquire, relaxed)
            .is_err()
        {
            return false;
        }
        // Readers that see the new value see the odd count.
        fence(Ordering::Release);
        // SAFETY: Whoever made the count odd is the only writer.
        unsafe { self.value.get().write_volatile(MaybeUninit::new(value)) };
        self.count.store(odd.wrapping_add(1), Ordering::Release);
        true
    }
}
