// SPDX-License-Identifier: GPL-2.0

//! What security modules say of an inode that is being made.
//!
//! C header: [`include/linux/security.h`](srctree/include/linux/security.h)

use kernel::error::{
    from_result,
    to_result, //
};

use super::{
    dentry::QStr,
    inode::{
        INode,
        New, //
    },
    FileSystem, //
};
use crate::{
    bindings,
    prelude::*, //
};

/// Has `store` called for each attribute, in `security.`, that security modules want the inode to have
/// which is being made in `dir`, as `name` if it has one (`security_inode_init_security`).
pub fn init_security<T: FileSystem, F: FnMut(&[u8], &[u8]) -> Result>(
    inode: &New<T>,
    dir: &INode<T>,
    name: Option<QStr<'_>>,
    mut store: F,
) -> Result {
    let name = name.map_or(core::ptr::null(), |name| name.as_ptr());
    // SAFETY: All are valid for the call, and `store` has the type that the callback is made for.
    to_result(unsafe {
        bindings::rdaxfs_security_inode_init_security(
            inode.as_ptr(),
            dir.as_ptr(),
            name,
            Some(store_all::<F>),
            (&raw mut store).cast(),
        )
    })
}

/// # Safety
///
/// `xattrs` are attributes, ended by one without a name, and `store` is an `F` that nobody else uses.
unsafe extern "C" fn store_all<F: FnMut(&[u8], &[u8]) -> Result>(
    _inode: *mut bindings::inode,
    xattrs: *const bindings::xattr,
    store: *mut c_void,
) -> c_int {
    from_result(|| {
        let mut at = xattrs;
        // SAFETY: As the caller promises; names are terminated, and values as long as they say.
        unsafe {
            let store = &mut *store.cast::<F>();
            while !(*at).name.is_null() {
                let name = CStr::from_char_ptr((*at).name);
                let value = match (*at).value_len {
                    0 => &[],
                    len => core::slice::from_raw_parts((*at).value.cast::<u8>(), len),
                };
                store(name.to_bytes(), value)?;
                at = at.add(1);
            }
        }
        Ok(0)
    })
}
