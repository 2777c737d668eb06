// SPDX-License-Identifier: GPL-2.0

//! Parameters of the module that are strings. They are declared in C, which `module!` is to
//! replace, but for numbers only.
//!
//! C header: [`include/linux/moduleparam.h`](srctree/include/linux/moduleparam.h)

use crate::{
    bindings,
    prelude::*, //
};

/// The name under which the file system is to be registered (`fstype=`).
///
/// [`EINVAL`] for one that the VFS or sysfs cannot take: an empty one, or one with characters that
/// are not those of names (`register_filesystem` crashes on a dot).
pub fn fstype() -> Result<&'static CStr> {
    // SAFETY: A string that is set before the module is initialised, which is before anything of
    // it runs, is read-only in sysfs, and lives as long as the module.
    let name = unsafe { CStr::from_char_ptr(bindings::rdaxfs_fstype) };
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if name.is_empty() || !name.to_bytes().iter().all(allowed) {
        return Err(EINVAL);
    }
    Ok(name)
}

/// The default of the mount option `dax_switch=`, as it was given.
pub fn dax_switch() -> &'static CStr {
    // SAFETY: As above.
    unsafe { CStr::from_char_ptr(bindings::rdaxfs_dax_switch) }
}
