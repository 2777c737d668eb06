// SPDX-License-Identifier: GPL-2.0

//! Times of inodes and super blocks.
//!
//! C header: [`include/linux/time64.h`](srctree/include/linux/time64.h)

use crate::bindings;

/// A time since 1970, as `struct timespec64` has it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timespec {
    /// Seconds; negative before 1970.
    pub sec: i64,
    /// Nanoseconds of the second, below 10^9.
    pub nsec: u32,
}

impl Timespec {
    /// As the C interfaces have it.
    #[inline]
    pub(super) fn to_raw(self) -> bindings::timespec64 {
        bindings::timespec64 {
            tv_sec: self.sec,
            // The value is below 10^9.
            tv_nsec: self.nsec as isize,
        }
    }

    /// From the C interfaces, which keep nanoseconds below 10^9.
    #[inline]
    pub(super) fn from_raw(ts: bindings::timespec64) -> Self {
        Self {
            sec: ts.tv_sec,
            nsec: ts.tv_nsec as u32,
        }
    }
}

/// Seconds since 1970, for the times in a super block and for `i_dtime`.
pub fn now_seconds() -> i64 {
    // SAFETY: Reads the time; no requirements.
    unsafe { bindings::ktime_get_real_seconds() }
}
