// SPDX-License-Identifier: GPL-2.0

//! Extended attributes: the handlers of a super block, and the list of names.
//!
//! The VFS takes the prefix off a name and checks who may do what; access control lists do not come
//! through here but through [`super::acl`].
//!
//! C header: [`include/linux/xattr.h`](srctree/include/linux/xattr.h)

use core::{
    marker::PhantomData,
    ptr::NonNull,
    slice, //
};
use kernel::error::{
    from_result,
    VTABLE_DEFAULT_ERROR, //
};

use super::{
    inode::{
        INode,
        Locked, //
    },
    FileSystem, //
};
use crate::{
    bindings,
    prelude::*, //
};

/// The prefix of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Namespace {
    /// `user.`
    User,
    /// `trusted.`
    Trusted,
    /// `security.`
    Security,
}

impl Namespace {
    /// The prefix, with its dot.
    pub const fn prefix(self) -> &'static CStr {
        match self {
            Self::User => c"user.",
            Self::Trusted => c"trusted.",
            Self::Security => c"security.",
        }
    }
}

/// Whether the attribute may or must be there already (`XATTR_CREATE`, `XATTR_REPLACE`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SetFlags(c_int);

impl SetFlags {
    /// It may be there or not.
    pub const ANY: Self = Self(0);
    /// It must not be there.
    pub const CREATE: Self = Self(bindings::XATTR_CREATE as c_int);

    /// [`EEXIST`] or [`ENODATA`] if the attribute is to be new, or old, and is not.
    pub fn check(self, exists: bool) -> Result {
        let asked = |flag: u32| self.0 & flag as c_int != 0;
        match exists {
            true if asked(bindings::XATTR_CREATE) => Err(EEXIST),
            false if asked(bindings::XATTR_REPLACE) => Err(ENODATA),
            _ => Ok(()),
        }
    }
}

/// Where a value, or a list of names, is wanted; or only how long it is.
pub struct Buffer<'a> {
    to: Option<&'a mut [u8]>,
    len: usize,
}

impl<'a> Buffer<'a> {
    /// # Safety
    ///
    /// `ptr` is null, or points to `size` bytes that are only used through the result for `'a`.
    unsafe fn from_raw(ptr: *mut u8, size: usize) -> Self {
        let to = NonNull::new(ptr).map(|ptr| {
            // SAFETY: As the caller promises; the VFS has zeroed what it allocated.
            unsafe { slice::from_raw_parts_mut(ptr.as_ptr(), size) }
        });
        Self { to, len: 0 }
    }

    /// A buffer of the kernel's own.
    pub fn new(to: Option<&'a mut [u8]>) -> Self {
        Self { to, len: 0 }
    }

    /// Whether only the length is asked for.
    pub fn wants_length(&self) -> bool {
        self.to.is_none()
    }

    /// Only the length is asked for, and `len` is that of what is not put.
    pub fn skip(&mut self, len: usize) {
        self.len = self.len.saturating_add(len);
    }

    /// Appends bytes. [`ERANGE`] if they do not fit.
    pub fn put(&mut self, bytes: &[u8]) -> Result {
        let end = self.len.checked_add(bytes.len()).ok_or(ERANGE)?;
        if let Some(to) = &mut self.to {
            let to = to.get_mut(self.len..end).ok_or(ERANGE)?;
            for (to, from) in to.iter_mut().zip(bytes) {
                *to = *from;
            }
        }
        self.len = end;
        Ok(())
    }

    /// Appends a name, with a NUL.
    pub fn put_name(&mut self, prefix: &CStr, suffix: &[u8]) -> Result {
        self.put(prefix.to_bytes())?;
        self.put(suffix)?;
        self.put(&[0])
    }

    /// The bytes there are now.
    pub fn filled(&self) -> usize {
        self.len
    }
}

/// The extended attributes of inodes.
#[vtable]
pub trait Operations {
    /// The file system whose inodes these are.
    type FileSystem: FileSystem;

    /// Puts the value of an attribute. [`ENODATA`] without one. The inode is locked or not.
    fn get(
        _inode: &INode<Self::FileSystem>,
        _namespace: Namespace,
        _suffix: &[u8],
        _to: &mut Buffer<'_>,
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Sets an attribute, or removes it.
    fn set(
        _inode: &Locked<Self::FileSystem>,
        _namespace: Namespace,
        _suffix: &[u8],
        _value: Option<&[u8]>,
        _flags: SetFlags,
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Puts all names. The inode is locked or not.
    fn list(_inode: &INode<Self::FileSystem>, _to: &mut Buffer<'_>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// `inode_operations.listxattr`
///
/// # Safety
///
/// Called by the VFS, on a positive dentry of `O::FileSystem`.
pub(super) unsafe extern "C" fn list<O: Operations>(
    dentry: *mut bindings::dentry,
    list: *mut c_char,
    size: usize,
) -> isize {
    // SAFETY: The dentry is positive and held by the VFS; so is the buffer, which is of that size.
    let (inode, mut to) = unsafe {
        (
            INode::from_raw((*dentry).d_inode),
            Buffer::from_raw(list.cast(), size),
        )
    };
    let listed = inode
        .sb()
        .check_running()
        .and_then(|()| O::list(inode, &mut to));
    match listed {
        Ok(()) => to.filled() as isize,
        Err(error) => error.to_errno() as isize,
    }
}

/// The `struct xattr_handler`s of [`Operations`].
pub(super) struct Handlers<O: Operations, const NAMESPACE: usize>(PhantomData<O>);

const NAMESPACES: [Namespace; 3] = [Namespace::User, Namespace::Trusted, Namespace::Security];

/// The table for `s_xattr`.
pub(super) const fn handlers<O: Operations>() -> &'static [*const bindings::xattr_handler; 4] {
    &const {
        [
            &raw const *Handlers::<O, 0>::HANDLER,
            &raw const *Handlers::<O, 1>::HANDLER,
            &raw const *Handlers::<O, 2>::HANDLER,
            core::ptr::null(),
        ]
    }
}

impl<O: Operations, const NAMESPACE: usize> Handlers<O, NAMESPACE> {
    const HANDLER: &'static bindings::xattr_handler = &bindings::xattr_handler {
        prefix: kernel::str::as_char_ptr_in_const_context(NAMESPACES[NAMESPACE].prefix()),
        get: Some(Self::get),
        set: Some(Self::set),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// Called by the VFS, on an inode of `O::FileSystem`.
    unsafe extern "C" fn get(
        _handler: *const bindings::xattr_handler,
        _dentry: *mut bindings::dentry,
        inode: *mut bindings::inode,
        name: *const c_char,
        buffer: *mut c_void,
        size: usize,
    ) -> c_int {
        // SAFETY: The VFS holds the inode, a terminated name, and a buffer of that size or none.
        let (inode, name, mut to) = unsafe {
            (
                INode::from_raw(inode),
                CStr::from_char_ptr(name),
                Buffer::from_raw(buffer.cast(), size),
            )
        };
        from_result(|| {
            inode.sb().check_running()?;
            O::get(inode, NAMESPACES[NAMESPACE], name.to_bytes(), &mut to)?;
            c_int::try_from(to.filled()).map_err(|_| ERANGE)
        })
    }

    /// # Safety
    ///
    /// Called by the VFS, on an inode of `O::FileSystem` that is locked for writing.
    unsafe extern "C" fn set(
        _handler: *const bindings::xattr_handler,
        _idmap: *mut bindings::mnt_idmap,
        _dentry: *mut bindings::dentry,
        inode: *mut bindings::inode,
        name: *const c_char,
        value: *const c_void,
        size: usize,
        flags: c_int,
    ) -> c_int {
        // SAFETY: The VFS holds the lock, a terminated name, and a value of that size; null is for
        // an attribute that is to go.
        let (inode, name, value) = unsafe {
            let value = NonNull::new(value.cast::<u8>().cast_mut());
            (
                Locked::from_raw(inode),
                CStr::from_char_ptr(name),
                value.map(|value| slice::from_raw_parts(value.as_ptr(), size)),
            )
        };
        let namespace = NAMESPACES[NAMESPACE];
        from_result(|| {
            O::set(inode, namespace, name.to_bytes(), value, SetFlags(flags)).map(|()| 0)
        })
    }
}
