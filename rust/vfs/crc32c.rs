// SPDX-License-Identifier: GPL-2.0

//! CRC-32C by the kernel's library, which uses the processor's instructions.
//!
//! C header: [`include/linux/crc32.h`](srctree/include/linux/crc32.h)

use crate::bindings;

/// Continues the checksum `crc` over `bytes`. Inverts neither at the beginning nor at the end.
#[inline]
pub fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    // SAFETY: The pointer and the length are those of a slice.
    unsafe { bindings::crc32c(crc, bytes.as_ptr().cast(), bytes.len()) }
}
