// SPDX-License-Identifier: GPL-2.0

//! Linux 7.2: everything in which it differs from 7.3, which the rest of the crate is written for.
//!
//! `Kbuild` sets `before_7_3`; `shims.c` has the one difference that only C can tell. When 7.2 goes, so
//! does this file, and `crate::prelude` with it.

#[cfg(not(before_7_3))]
pub(super) use as_written::*;
#[cfg(before_7_3)]
pub(super) use before_7_3::*;

#[cfg(not(before_7_3))]
mod as_written {
    use crate::bindings;
    pub(in crate::vfs) use bindings::{
        fs_bdev_file_open_by_dev,
        fs_bdev_file_release, //
    };
    pub(in crate::vfs) use pin_init::raw_init;

    /// Whether the VFS knows which inodes have metadata under way, and has a file system wait for it.
    pub(in crate::vfs) const WAITS_FOR_METADATA: bool = true;

    /// `->create`.
    macro_rules! create {
        ($($function:tt)*) => { $($function)* };
    }
    pub(in crate::vfs) use create;

    /// The mode of a new directory, of what `->mkdir` is given.
    pub(in crate::vfs) const fn mkdir_mode(mode: bindings::umode_t) -> bindings::umode_t {
        mode
    }

    /// Sets `->sync_inode_metadata`.
    pub(in crate::vfs) const fn with_sync_inode_metadata(
        mut table: bindings::super_operations,
        function: unsafe extern "C" fn(
            *mut bindings::inode,
            *mut bindings::writeback_control,
        ) -> kernel::ffi::c_int,
    ) -> bindings::super_operations {
        table.sync_inode_metadata = Some(function);
        table
    }
}

#[cfg(before_7_3)]
mod before_7_3 {
    use crate::bindings;
    use kernel::ffi::c_int;

    /// The VFS does not know which inodes have metadata under way: what waits, waits for all of it.
    pub(in crate::vfs) const WAITS_FOR_METADATA: bool = false;

    /// Initialises memory in place.
    ///
    /// # Safety
    ///
    /// That of `pin_init::PinInit::__pinned_init`.
    pub(in crate::vfs) unsafe fn raw_init<T>(slot: *mut T, init: impl pin_init::PinInit<T>) {
        // SAFETY: As the caller promises.
        unsafe {
            init.__pinned_init(slot)
                .unwrap_or_else(|never| match never {})
        }
    }

    /// `->create` is also told whether O_EXCL was given, which it always is.
    macro_rules! create {
        (
            $(#[$meta:meta])*
            unsafe extern "C" fn create($($arg:ident: $type:ty,)*) -> c_int $body:block
        ) => {
            $(#[$meta])*
            unsafe extern "C" fn create($($arg: $type,)* _excl: bool) -> c_int $body
        };
    }
    pub(in crate::vfs) use create;

    /// `->mkdir` is given a mode without a type.
    pub(in crate::vfs) const fn mkdir_mode(mode: bindings::umode_t) -> bindings::umode_t {
        mode | bindings::S_IFDIR as bindings::umode_t
    }

    /// There is no `->sync_inode_metadata`.
    pub(in crate::vfs) const fn with_sync_inode_metadata(
        table: bindings::super_operations,
        _function: unsafe extern "C" fn(
            *mut bindings::inode,
            *mut bindings::writeback_control,
        ) -> c_int,
    ) -> bindings::super_operations {
        table
    }

    /// Opens a block device for a super block, which is its holder: there is only one.
    ///
    /// # Safety
    ///
    /// `sb` must be valid, outlive the file that is returned, and be the holder.
    pub(in crate::vfs) unsafe fn fs_bdev_file_open_by_dev(
        dev: bindings::dev_t,
        mode: bindings::blk_mode_t,
        holder: *mut kernel::ffi::c_void,
        _sb: *mut bindings::super_block,
    ) -> *mut bindings::file {
        // SAFETY: As the caller promises.
        unsafe {
            bindings::bdev_file_open_by_dev(dev, mode, holder, &raw const bindings::fs_holder_ops)
        }
    }

    /// Closes it.
    ///
    /// # Safety
    ///
    /// `file` must come from [`fs_bdev_file_open_by_dev`], and be given up.
    pub(in crate::vfs) unsafe fn fs_bdev_file_release(
        file: *mut bindings::file,
        _sb: *mut bindings::super_block,
    ) {
        // SAFETY: As the caller promises.
        unsafe { bindings::bdev_fput(file) };
    }
}

/// The error codes that `kernel::error::code` lacks.
#[cfg(before_7_3)]
pub(crate) mod code {
    use crate::bindings;
    use kernel::error::Error;

    /// The `Error` of an errno, as a constant, which the kernel has no public function for.
    const fn error(errno: u32) -> Error {
        // SAFETY: An `Error` is a `NonZero<c_int>` in every release that this is compiled for, and
        // the numbers below are those of errors.
        unsafe { core::mem::transmute::<i32, Error>(-(errno as i32)) }
    }

    macro_rules! codes {
        ($($name:ident: $meaning:literal,)*) => {
            $(#[doc = $meaning] pub(crate) const $name: Error = error(bindings::$name);)*
        };
    }

    codes! {
        EDQUOT: "Quota exceeded.",
        ENAMETOOLONG: "File name too long.",
        ENODATA: "No data available.",
        ENOSYS: "Invalid system call number.",
        ENOTEMPTY: "Directory not empty.",
        EOPNOTSUPP: "Operation not supported on transport endpoint.",
        ESTALE: "Stale file handle.",
        EUCLEAN: "Structure needs cleaning.",
    }
}
