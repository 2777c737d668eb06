// SPDX-License-Identifier: GPL-2.0

//! Inode attributes: `->setattr` and `->getattr`.
//!
//! A change comes as [`Unchecked`]. Only [`Unchecked::prepare`], which checks whether the caller may
//! make it, turns it into a [`Change`], and only that can be read and applied.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use core::marker::PhantomData;
use kernel::{
    error::{
        from_result,
        to_result,
        VTABLE_DEFAULT_ERROR, //
    },
    types::Opaque, //
};

use super::{
    acl,
    inode::{
        kind,
        INode,
        INodeOps,
        IdMap,
        Locked, //
    },
    xattr,
    FileSystem,
    SuperBlock,
    Timespec, //
};
use crate::{
    bindings,
    prelude::*, //
};

/// A change of attributes that nobody has permitted yet.
///
/// # Invariants
///
/// `dentry` is positive and belongs to a super block of type `T`; its inode is locked for writing.
/// `attr` is valid. Both for `'a`.
pub struct Unchecked<'a, T: FileSystem> {
    idmap: &'a IdMap,
    dentry: *mut bindings::dentry,
    attr: *mut bindings::iattr,
    inode: &'a Locked<T>,
}

impl<'a, T: FileSystem> Unchecked<'a, T> {
    /// Checks that the caller may make the change, and that the new size is within the limits.
    pub fn prepare(self) -> Result<Change<'a, T>> {
        let idmap = self.idmap.as_ptr();
        // SAFETY: By the type invariant all are valid and the inode is locked.
        to_result(unsafe { bindings::setattr_prepare(idmap, self.dentry, self.attr) })?;
        Ok(Change(self))
    }
}

/// A change of attributes that the caller may make.
pub struct Change<'a, T: FileSystem>(Unchecked<'a, T>);

impl<'a, T: FileSystem> Change<'a, T> {
    fn attr(&self) -> &bindings::iattr {
        // SAFETY: By the type invariant it is valid, and it does not change after the check.
        unsafe { &*self.0.attr }
    }

    /// The inode to change.
    pub fn inode(&self) -> &'a Locked<T> {
        self.0.inode
    }

    /// The new size in bytes, if the size is to be set.
    pub fn size(&self) -> Option<u64> {
        let attr = self.attr();
        // `setattr_prepare` has refused negative sizes.
        (attr.ia_valid & bindings::ATTR_SIZE != 0).then_some(attr.ia_size as u64)
    }

    /// The owner and the group, if they are to be others than now.
    pub(super) fn new_owner(&self) -> (Option<bindings::kuid_t>, Option<bindings::kgid_t>) {
        let (idmap, inode) = (self.0.idmap.as_ptr(), self.0.inode.as_ptr());
        // SAFETY: By the type invariants all are valid; a super block has a user namespace.
        unsafe {
            let fs = (*(*inode).i_sb).s_user_ns;
            let user = bindings::rdaxfs_i_uid_needs_update(idmap, self.0.attr, inode)
                .then(|| bindings::from_vfsuid(idmap, fs, self.attr().__bindgen_anon_1.ia_vfsuid));
            let group = bindings::rdaxfs_i_gid_needs_update(idmap, self.0.attr, inode)
                .then(|| bindings::from_vfsgid(idmap, fs, self.attr().__bindgen_anon_2.ia_vfsgid));
            (user, group)
        }
    }

    /// Copies everything but the size into the inode, which the caller marks dirty.
    pub fn apply(&self) {
        // SAFETY: By the type invariants all are valid and the inode is locked.
        unsafe {
            bindings::setattr_copy(self.0.idmap.as_ptr(), (*self.0.dentry).d_inode, self.0.attr)
        };
    }

    /// Has the access control list follow the permission bits, if these were changed
    /// (`posix_acl_chmod`). Calls `set_acl`, so it is not for within a transaction.
    pub fn chmod_acl(&self) -> Result {
        if self.attr().ia_valid & bindings::ATTR_MODE == 0 {
            return Ok(());
        }
        let (idmap, mode) = (self.0.idmap.as_ptr(), self.0.inode.mode());
        // SAFETY: By the type invariants all are valid and the inode is locked.
        to_result(unsafe { bindings::rdaxfs_posix_acl_chmod(idmap, self.0.dentry, mode) })
    }
}

/// The answer to `statx(2)` (`struct kstat`).
#[repr(transparent)]
pub struct KStat(Opaque<bindings::kstat>);

impl KStat {
    /// # Safety
    ///
    /// `ptr` is valid, and used only through the result, for `'a`.
    unsafe fn from_raw<'a>(ptr: *mut bindings::kstat) -> &'a mut Self {
        // SAFETY: The type is transparent, the rest is passed on to the caller.
        unsafe { &mut *ptr.cast() }
    }

    /// Fills in what the VFS knows of the inode.
    pub fn fill<T: FileSystem>(&mut self, idmap: &IdMap, request_mask: u32, inode: &INode<T>) {
        // SAFETY: All are valid by their types.
        unsafe {
            bindings::generic_fillattr(idmap.as_ptr(), request_mask, inode.as_ptr(), self.0.get())
        };
    }

    /// Tells the time of birth.
    pub fn set_btime(&mut self, btime: Timespec) {
        // SAFETY: By the contract of `from_raw` the pointer is valid and exclusive.
        let stat = unsafe { &mut *self.0.get() };
        stat.btime = btime.to_raw();
        stat.result_mask |= bindings::STATX_BTIME;
    }

    /// Tells what memory and offset of direct I/O must be multiples of: what iomap asks for on the
    /// device that `sb` is on.
    pub fn set_dio_alignment<T: FileSystem>(&mut self, sb: &SuperBlock<T>) {
        // SAFETY: By the contract of `from_raw` the pointer is valid and exclusive; the super block is
        // on an open block device.
        unsafe {
            let stat = &mut *self.0.get();
            stat.dio_mem_align = bindings::rdaxfs_bdev_dma_alignment(sb.bdev()) + 1;
            stat.dio_offset_align = bindings::rdaxfs_bdev_logical_block_size(sb.bdev());
            stat.result_mask |= bindings::STATX_DIOALIGN;
        }
    }

    /// Tells those `STATX_ATTR_*` in `attributes`, of the ones in `mask` that this file system knows.
    pub fn add_attributes(&mut self, attributes: u64, mask: u64) {
        // SAFETY: By the contract of `from_raw` the pointer is valid and exclusive.
        let stat = unsafe { &mut *self.0.get() };
        stat.attributes |= attributes & mask;
        stat.attributes_mask |= mask;
    }
}

/// The operations on attributes that every kind of inode has.
#[vtable]
pub trait Operations {
    /// The file system whose inodes these are.
    type FileSystem: FileSystem;

    /// The operations on their extended attributes and access control lists.
    type Acls: acl::Operations<FileSystem = Self::FileSystem>;

    /// Changes attributes.
    fn setattr(_change: Unchecked<'_, Self::FileSystem>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Tells the attributes. The inode is not locked.
    fn getattr(
        _idmap: &IdMap,
        _inode: &INode<Self::FileSystem>,
        _stat: &mut KStat,
        _request_mask: u32,
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// Returns the table of operations of a device node, named pipe or socket.
pub const fn special_operations<O: Operations>() -> &'static INodeOps<O::FileSystem, kind::Special>
{
    &const {
        // SAFETY: The functions in the table expect what the VFS guarantees for any inode.
        unsafe { INodeOps::new(VTable::<O>::VTABLE) }
    }
}

/// The `struct inode_operations` of [`Operations`].
pub(super) struct VTable<O: Operations>(PhantomData<O>);

impl<O: Operations> VTable<O> {
    /// # Safety
    ///
    /// Called by the VFS, on a positive dentry of `O::FileSystem` whose inode is locked for writing.
    unsafe extern "C" fn setattr(
        idmap: *mut bindings::mnt_idmap,
        dentry: *mut bindings::dentry,
        attr: *mut bindings::iattr,
    ) -> c_int {
        // SAFETY: The dentry is positive, and the VFS holds the lock and all three pointers.
        // INVARIANT: For the same reason.
        let change = unsafe {
            Unchecked {
                idmap: IdMap::from_raw(idmap),
                dentry,
                attr,
                inode: Locked::from_raw((*dentry).d_inode),
            }
        };
        from_result(|| O::setattr(change).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the VFS, on the path to an inode of `O::FileSystem`.
    unsafe extern "C" fn getattr(
        idmap: *mut bindings::mnt_idmap,
        path: *const bindings::path,
        stat: *mut bindings::kstat,
        request_mask: u32,
        _query_flags: c_uint,
    ) -> c_int {
        // SAFETY: The VFS holds the path, whose dentry is positive, and owns `stat`.
        let (idmap, inode, stat) = unsafe {
            (
                IdMap::from_raw(idmap),
                INode::from_raw((*(*path).dentry).d_inode),
                KStat::from_raw(stat),
            )
        };
        from_result(|| O::getattr(idmap, inode, stat, request_mask).map(|()| 0))
    }

    /// The table.
    pub(super) const VTABLE: bindings::inode_operations = bindings::inode_operations {
        setattr: if O::HAS_SETATTR {
            Some(Self::setattr)
        } else {
            None
        },
        getattr: if O::HAS_GETATTR {
            Some(Self::getattr)
        } else {
            None
        },
        listxattr: Some(xattr::list::<O::Acls>),
        get_inode_acl: Some(acl::get::<O::Acls>),
        set_acl: Some(acl::set::<O::Acls>),
        ..pin_init::zeroed()
    };
}
