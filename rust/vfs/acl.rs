// SPDX-License-Identifier: GPL-2.0

//! POSIX access control lists.
//!
//! The kernel keeps them with the inode, checks them, and knows what follows for the permission bits; a
//! file system reads and stores them. Here they are handed over in the form that user space passes,
//! with identifiers of the initial user namespace.
//!
//! C header: [`include/linux/posix_acl.h`](srctree/include/linux/posix_acl.h)

use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    error::{
        from_err_ptr,
        from_result,
        to_result,
        VTABLE_DEFAULT_ERROR, //
    },
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque, //
};

use super::{
    inode::{
        INode,
        IdMap,
        Locked,
        New, //
    },
    xattr,
    FileSystem, //
};
use crate::{
    bindings,
    prelude::*, //
};

/// An access control list (`struct posix_acl`).
///
/// # Invariants
///
/// The list is counted, and does not change.
#[repr(transparent)]
pub struct Acl(Opaque<bindings::posix_acl>);

// SAFETY: The count keeps the list alive.
unsafe impl AlwaysRefCounted for Acl {
    fn inc_ref(&self) {
        // SAFETY: The list is alive, since there is a reference to it.
        unsafe { bindings::rdaxfs_posix_acl_get(self.0.get()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up one count.
        unsafe { bindings::rdaxfs_posix_acl_release(obj.as_ptr().cast()) };
    }
}

impl Acl {
    /// Takes over the count of a list, if there is one.
    ///
    /// # Safety
    ///
    /// `ptr` must be null or a list with a count for the caller.
    unsafe fn from_raw(ptr: *mut bindings::posix_acl) -> Option<ARef<Self>> {
        // SAFETY: As the caller promises.
        NonNull::new(ptr.cast()).map(|ptr| unsafe { ARef::from_raw(ptr) })
    }

    /// Makes a list of what user space passes; nothing if it has no entries. [`EINVAL`] if it has
    /// entries of kinds that there are not.
    pub fn from_xattr(bytes: &[u8]) -> Result<Option<ARef<Self>>> {
        // SAFETY: The bytes are there; a list that comes back has a count for us.
        unsafe {
            let acl = bindings::rdaxfs_posix_acl_from_xattr(bytes.as_ptr().cast(), bytes.len());
            Ok(Self::from_raw(from_err_ptr(acl)?))
        }
    }

    /// The list as user space sees it.
    pub fn to_xattr(&self) -> Result<KVec<u8>> {
        let mut len = 0;
        // SAFETY: The list is alive. What comes back was allocated with `kmalloc`, has `len` bytes,
        // and is ours.
        unsafe {
            let bytes = bindings::rdaxfs_posix_acl_to_xattr(self.0.get(), &mut len).cast::<u8>();
            let bytes = NonNull::new(bytes).ok_or(ENOMEM)?;
            Ok(KVec::from_raw_parts(bytes.as_ptr(), len, len))
        }
    }
}

/// Which of the two lists of an inode.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Who may access the inode.
    Access,
    /// Of a directory, what is inherited by what is made in it.
    Default,
}

impl Kind {
    fn from_raw(kind: c_int) -> Result<Self> {
        match kind as u32 {
            bindings::ACL_TYPE_ACCESS => Ok(Self::Access),
            bindings::ACL_TYPE_DEFAULT => Ok(Self::Default),
            _ => Err(EINVAL),
        }
    }

    fn as_raw(self) -> c_int {
        match self {
            Self::Access => bindings::ACL_TYPE_ACCESS as c_int,
            Self::Default => bindings::ACL_TYPE_DEFAULT as c_int,
        }
    }
}

fn as_ptr(acl: Option<&Acl>) -> *mut bindings::posix_acl {
    acl.map_or(ptr::null_mut(), |acl| acl.0.get())
}

/// What an inode inherits from the directory it is made in.
pub struct Inherited {
    /// Its default list.
    pub default: Option<ARef<Acl>>,
    /// Its access list.
    pub access: Option<ARef<Acl>>,
}

impl<T: FileSystem> INode<T> {
    /// Has the VFS remember what was stored.
    pub fn set_cached_acl(&self, kind: Kind, acl: Option<&Acl>) {
        // SAFETY: Inode and list are alive; the cache counts for itself.
        unsafe { bindings::rdaxfs_set_cached_acl(self.as_ptr(), kind.as_raw(), as_ptr(acl)) };
    }

    /// The permission bits that follow from an access list which is about to be stored, and whether
    /// the list says any more than they do (`posix_acl_update_mode`).
    pub fn mode_of_acl(&self, idmap: &IdMap, acl: &Acl) -> Result<(u16, bool)> {
        let mut mode = self.mode();
        let mut acl = acl.0.get();
        // SAFETY: All are valid; the pointer is at most set to null.
        to_result(unsafe {
            bindings::rdaxfs_posix_acl_update_mode(
                idmap.as_ptr(),
                self.as_ptr(),
                &mut mode,
                &mut acl,
            )
        })?;
        Ok((mode, !acl.is_null()))
    }
}

impl<T: FileSystem> New<T> {
    /// Sets the permission bits that follow from the umask or from what `dir` passes on, which is
    /// returned and is for the file system to store (`posix_acl_create`).
    ///
    /// To be called for every inode made, after its owner is set: where there are access control
    /// lists, the VFS leaves the umask to this.
    pub fn inherit_acls(&mut self, dir: &INode<T>) -> Result<Inherited> {
        let mut mode = self.mode();
        let (mut default, mut access) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: All are valid. What comes back has a count for us; nobody else uses this inode.
        let inherited = unsafe {
            to_result(bindings::rdaxfs_posix_acl_create(
                dir.as_ptr(),
                &mut mode,
                &mut default,
                &mut access,
            ))?;
            bindings::rdaxfs_cache_no_acl(self.as_ptr());
            Inherited {
                default: Acl::from_raw(default),
                access: Acl::from_raw(access),
            }
        };
        self.set_mode(mode);
        Ok(inherited)
    }
}

/// The access control lists of inodes.
#[vtable]
pub trait Operations: xattr::Operations {
    /// Reads a list. The inode is locked or not.
    fn get_acl(_inode: &INode<Self::FileSystem>, _kind: Kind) -> Result<Option<ARef<Acl>>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Stores a list, or removes it. The caller was checked, and the list.
    fn set_acl(
        _idmap: &IdMap,
        _inode: &Locked<Self::FileSystem>,
        _kind: Kind,
        _acl: Option<&Acl>,
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// `inode_operations.get_inode_acl`
///
/// # Safety
///
/// Called by the VFS, on an inode of `O::FileSystem`.
pub(super) unsafe extern "C" fn get<O: Operations>(
    inode: *mut bindings::inode,
    kind: c_int,
    rcu: bool,
) -> *mut kernel::bindings::posix_acl {
    if rcu {
        return ECHILD.to_ptr();
    }
    // SAFETY: Outside RCU mode the VFS holds the inode.
    let inode = unsafe { INode::from_raw(inode) };
    match Kind::from_raw(kind).and_then(|kind| O::get_acl(inode, kind)) {
        Ok(Some(acl)) => ARef::into_raw(acl).as_ptr().cast(),
        Ok(None) => ptr::null_mut(),
        Err(error) => error.to_ptr(),
    }
}

/// `inode_operations.set_acl`
///
/// # Safety
///
/// Called by the VFS, on a positive dentry of `O::FileSystem` whose inode is locked for writing.
pub(super) unsafe extern "C" fn set<O: Operations>(
    idmap: *mut bindings::mnt_idmap,
    dentry: *mut bindings::dentry,
    acl: *mut kernel::bindings::posix_acl,
    kind: c_int,
) -> c_int {
    // SAFETY: The dentry is positive, and the VFS holds the lock, the map and the list.
    let (idmap, inode, acl) = unsafe {
        (
            IdMap::from_raw(idmap),
            Locked::from_raw((*dentry).d_inode),
            acl.cast::<Acl>().as_ref(),
        )
    };
    from_result(|| O::set_acl(idmap, inode, Kind::from_raw(kind)?, acl).map(|()| 0))
}
