// SPDX-License-Identifier: GPL-2.0

//! File attributes: `FS_IOC_GETFLAGS`, `FS_IOC_SETFLAGS`, `FS_IOC_FSGETXATTR`, `FS_IOC_FSSETXATTR`.
//!
//! The VFS does the copying, checks who may change what, and merges the two interfaces into one
//! `struct file_kattr`; a file system implements [`Operations`].
//!
//! C header: [`include/linux/fileattr.h`](srctree/include/linux/fileattr.h)

use core::marker::PhantomData;
use kernel::{
    error::{
        from_result,
        VTABLE_DEFAULT_ERROR, //
    },
    types::Opaque, //
};

use super::{
    attr,
    inode::{
        INode,
        Locked, //
    },
    mode::SoleLock, //
};
use crate::{
    bindings,
    prelude::*, //
};

/// The attributes of a file, as asked for or as to be set.
#[repr(transparent)]
pub struct FileKattr(Opaque<bindings::file_kattr>);

impl FileKattr {
    /// # Safety
    ///
    /// `ptr` is valid, and used only through the result, for `'a`.
    unsafe fn from_raw<'a>(ptr: *mut kernel::bindings::file_kattr) -> &'a mut Self {
        // SAFETY: The type is transparent, the rest is passed on to the caller.
        unsafe { &mut *ptr.cast() }
    }

    fn inner(&self) -> &bindings::file_kattr {
        // SAFETY: By the contract of `from_raw` this is the only way to the structure.
        unsafe { &*self.0.get() }
    }

    /// Answers with `FS_*_FL` flags, and the `FS_XFLAG_*` that correspond to them.
    pub fn fill_flags(&mut self, flags: u32) {
        // SAFETY: By the contract of `from_raw` the pointer is valid.
        unsafe { bindings::fileattr_fill_flags(self.0.get(), flags) };
    }

    /// Answers with the project identifier.
    pub fn set_projid(&mut self, projid: u32) {
        // SAFETY: By the contract of `from_raw` the pointer is valid and exclusive.
        unsafe { (*self.0.get()).fsx_projid = projid };
    }

    /// The `FS_*_FL` flags to set; those that only the other interface knows keep their value.
    pub fn flags(&self) -> u32 {
        self.inner().flags
    }

    /// The project identifier to set.
    pub fn projid(&self) -> u32 {
        self.inner().fsx_projid
    }

    /// Returns whether the caller used the interface that knows `FS_XFLAG_*` and project identifiers.
    pub fn has_fsx(&self) -> bool {
        self.inner().fsx_valid()
    }

    /// Returns whether something is to be set that flags and the project identifier do not cover.
    pub fn is_beyond_flags(&self) -> bool {
        let inner = self.inner();
        inner.fsx_xflags & !COMMON_XFLAGS != 0
            || inner.fsx_extsize != 0
            || inner.fsx_cowextsize != 0
    }
}

/// The `FS_XFLAG_*` that have a counterpart in `FS_*_FL` (`FS_XFLAG_COMMON`).
const COMMON_XFLAGS: u32 = bindings::FS_XFLAG_SYNC
    | bindings::FS_XFLAG_IMMUTABLE
    | bindings::FS_XFLAG_APPEND
    | bindings::FS_XFLAG_NODUMP
    | bindings::FS_XFLAG_NOATIME
    | bindings::FS_XFLAG_DAX
    | bindings::FS_XFLAG_PROJINHERIT
    | bindings::FS_XFLAG_VERITY;

/// The attribute operations of an inode.
#[vtable]
pub trait Operations: attr::Operations {
    /// Tells the attributes. The inode is locked or not.
    fn fileattr_get(_inode: &INode<Self::FileSystem>, _attr: &mut FileKattr) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Sets the attributes. The VFS has checked that the caller may do so, and holds the mount for writing.
    fn fileattr_set(_inode: &mut SoleLock<'_, Self::FileSystem>, _attr: &FileKattr) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// The `struct inode_operations` of [`Operations`] and what they build on.
pub(super) struct VTable<O: Operations>(PhantomData<O>);

impl<O: Operations> VTable<O> {
    /// # Safety
    ///
    /// Called by the VFS, on a positive dentry of `O::FileSystem`.
    unsafe extern "C" fn get(
        dentry: *mut bindings::dentry,
        attr: *mut kernel::bindings::file_kattr,
    ) -> c_int {
        // SAFETY: The dentry is positive and held by the VFS; `attr` is the VFS's, zeroed.
        let (inode, attr) = unsafe {
            (
                INode::from_raw((*dentry).d_inode),
                FileKattr::from_raw(attr),
            )
        };
        from_result(|| O::fileattr_get(inode, attr).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the VFS, on a positive dentry of `O::FileSystem` whose inode is locked for writing.
    unsafe extern "C" fn set(
        _idmap: *mut bindings::mnt_idmap,
        dentry: *mut bindings::dentry,
        attr: *mut kernel::bindings::file_kattr,
    ) -> c_int {
        // SAFETY: The dentry is positive, the VFS holds the lock, of which the operation learns
        // only by this, and `attr` is the VFS's.
        let (mut inode, attr) = unsafe {
            (
                SoleLock::new(Locked::from_raw((*dentry).d_inode)),
                FileKattr::from_raw(attr),
            )
        };
        from_result(|| O::fileattr_set(&mut inode, attr).map(|()| 0))
    }

    /// The table.
    pub(super) const VTABLE: bindings::inode_operations = bindings::inode_operations {
        fileattr_get: if O::HAS_FILEATTR_GET {
            Some(Self::get)
        } else {
            None
        },
        fileattr_set: if O::HAS_FILEATTR_SET {
            Some(Self::set)
        } else {
            None
        },
        ..attr::VTable::<O>::VTABLE
    };
}
