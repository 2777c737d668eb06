// SPDX-License-Identifier: GPL-2.0

//! What every file imports: `kernel::prelude`, and the error codes that it lacks before Linux 7.3.

#[cfg(before_7_3)]
pub(crate) use crate::vfs::compat::code::*;
pub use kernel::prelude::*;
