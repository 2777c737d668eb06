// SPDX-License-Identifier: GPL-2.0

//! Times of inodes.

use core::ops::RangeInclusive;

use zerocopy::little_endian::U32;

/// A time since 1970.
///
/// On disk it is 32 bits of seconds with a sign and, where inodes are large enough, 32 bits more: the
/// upper 30 are nanoseconds, the lower two count how often 2^32 seconds are to be added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds; negative before 1970.
    pub sec: i64,
    /// Nanoseconds of the second, below 10^9.
    pub nsec: u32,
}

impl Time {
    /// The seconds that can be told with 32 bits: from 1901 to 2038.
    pub const NARROW: RangeInclusive<i64> = i32::MIN as i64..=i32::MAX as i64;

    /// The seconds that can be told with the 32 bits more: from 1901 to 2446.
    pub const WIDE: RangeInclusive<i64> = i32::MIN as i64..=i32::MAX as i64 + (3 << 32);

    pub(super) fn from_raw(sec: U32, extra: U32) -> Self {
        let (sec, extra) = (sec.get() as i32, extra.get());
        Self {
            sec: i64::from(sec) + (i64::from(extra & 3) << 32),
            nsec: (extra >> 2).min(999_999_999),
        }
    }

    /// The fields on disk, the second only of use where it exists. What cannot be told becomes the
    /// nearest time that can.
    pub(super) fn to_raw(self, wide: bool) -> (U32, U32) {
        let range = if wide { Self::WIDE } else { Self::NARROW };
        let sec = self.sec.clamp(*range.start(), *range.end());
        let low = sec as i32;
        let epoch = (sec - i64::from(low)) >> 32;
        let extra = epoch as u32 & 3 | self.nsec.min(999_999_999) << 2;
        (U32::new(low as u32), U32::new(extra))
    }
}
