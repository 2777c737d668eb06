// SPDX-License-Identifier: GPL-2.0

//! Messages to the kernel's log that name the file system, rate-limited.
//!
//! `sb_err!(sb, "…")`, `sb_warn!` and `sb_info!` take what `pr_err!` takes, less the newline.
//!
//! C header: [`include/linux/printk.h`](srctree/include/linux/printk.h)

use super::{
    FileSystem,
    SuperBlock, //
};
use crate::{
    bindings,
    prelude::*, //
};
use core::fmt;

/// How grave a message is.
#[derive(Clone, Copy)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something is doubtful.
    Warning,
    /// For the record.
    Info,
}

impl Level {
    /// The prefix that `printk` understands.
    const fn prefix(self) -> &'static CStr {
        match self {
            Self::Error => c"\x013",
            Self::Warning => c"\x014",
            Self::Info => c"\x016",
        }
    }
}

impl<T: FileSystem, S> SuperBlock<T, S> {
    /// Prints a message with the device's name, unless there were too many lately.
    #[doc(hidden)]
    pub fn log(&self, level: Level, args: fmt::Arguments<'_>) {
        // SAFETY: `%pA` takes a pointer to `fmt::Arguments`, the others terminated strings.
        unsafe {
            if !bindings::rdaxfs_printk_ratelimit() {
                return;
            }
            bindings::_printk(
                c"%srdaxfs (%s): %pA\n".as_char_ptr(),
                level.prefix().as_char_ptr(),
                self.id().as_char_ptr(),
                (&raw const args).cast::<c_void>(),
            );
        }
    }

    /// Stops the machine with a message, for `errors=panic`.
    pub fn panic(&self, args: fmt::Arguments<'_>) -> ! {
        // SAFETY: As for `log`.
        unsafe {
            bindings::panic(
                c"rdaxfs (%s): %pA\n".as_char_ptr(),
                self.id().as_char_ptr(),
                (&raw const args).cast::<c_void>(),
            )
        }
    }
}

/// Says that something failed on a file system.
#[macro_export]
macro_rules! sb_err {
    ($sb:expr, $($arg:tt)+) => {
        $sb.log($crate::vfs::log::Level::Error, ::kernel::prelude::fmt!($($arg)+))
    };
}
/// Says that something is doubtful on a file system.
#[macro_export]
macro_rules! sb_warn {
    ($sb:expr, $($arg:tt)+) => {
        $sb.log($crate::vfs::log::Level::Warning, ::kernel::prelude::fmt!($($arg)+))
    };
}
/// Says something about a file system, for the record.
#[macro_export]
macro_rules! sb_info {
    ($sb:expr, $($arg:tt)+) => {
        $sb.log($crate::vfs::log::Level::Info, ::kernel::prelude::fmt!($($arg)+))
    };
}
pub use {
    sb_err,
    sb_info,
    sb_warn, //
};
