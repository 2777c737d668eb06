// SPDX-License-Identifier: GPL-2.0

//! What the tests share.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use ondisk::Csum;

/// crc32c as the kernel's function of that name computes it: begun as told, not inverted at the end.
pub const CRC32C: Csum = Csum::new(|crc, bytes| !crc32c::crc32c_append(!crc, bytes));
