// SPDX-License-Identifier: GPL-2.0

//! File handles: finding an inode by its number and generation, and a directory's parent.
//!
//! C header: [`include/linux/exportfs.h`](srctree/include/linux/exportfs.h)

use core::marker::PhantomData;
use kernel::sync::aref::ARef;

use super::{
    FileSystem,
    INode,
    SuperBlock, //
};
use crate::{
    bindings,
    prelude::*, //
};

/// How a file system finds what a file handle names.
pub trait Operations {
    /// The file system whose inodes these are.
    type FileSystem: FileSystem;

    /// Finds the inode `ino`, which a handle from user space names. [`ESTALE`] unless it is in use
    /// and of this generation.
    fn inode(
        sb: &SuperBlock<Self::FileSystem>,
        ino: u64,
        generation: u32,
    ) -> Result<ARef<INode<Self::FileSystem>>>;

    /// Finds the directory that `dir` is in.
    fn parent(dir: &INode<Self::FileSystem>) -> Result<ARef<INode<Self::FileSystem>>>;
}

/// Returns the table of `O`, for [`SuperBlock::set_export_operations`].
pub(super) const fn operations<O: Operations>() -> &'static bindings::export_operations {
    &VTable::<O>::VTABLE
}

struct VTable<O: Operations>(PhantomData<O>);

/// What C wants of a function that returns a reference.
fn into_raw<T: FileSystem>(inode: Result<ARef<INode<T>>>) -> *mut bindings::inode {
    match inode {
        Ok(inode) => ARef::into_raw(inode).as_ptr().cast(),
        Err(err) => err.to_ptr(),
    }
}

impl<O: Operations> VTable<O> {
    /// # Safety
    ///
    /// `sb` is a ready super block of `O::FileSystem`.
    unsafe extern "C" fn get_inode(
        sb: *mut bindings::super_block,
        ino: u64,
        generation: u32,
    ) -> *mut bindings::inode {
        // SAFETY: As the caller promises.
        let sb = unsafe { SuperBlock::from_raw(sb) };
        into_raw(O::inode(sb, ino, generation))
    }

    /// # Safety
    ///
    /// Called by exportfs with a super block of `O::FileSystem` and a handle of `len` words.
    unsafe extern "C" fn fh_to_dentry(
        sb: *mut bindings::super_block,
        fid: *mut bindings::fid,
        len: c_int,
        kind: c_int,
    ) -> *mut bindings::dentry {
        // SAFETY: Passed on to the caller; the function fits the super block.
        unsafe { bindings::generic_fh_to_dentry(sb, fid.cast(), len, kind, Some(Self::get_inode)) }
    }

    /// # Safety
    ///
    /// As for [`Self::fh_to_dentry`].
    unsafe extern "C" fn fh_to_parent(
        sb: *mut bindings::super_block,
        fid: *mut bindings::fid,
        len: c_int,
        kind: c_int,
    ) -> *mut bindings::dentry {
        // SAFETY: Passed on to the caller; the function fits the super block.
        unsafe { bindings::generic_fh_to_parent(sb, fid.cast(), len, kind, Some(Self::get_inode)) }
    }

    /// # Safety
    ///
    /// Called by exportfs with the dentry of a directory of `O::FileSystem`.
    unsafe extern "C" fn get_parent(child: *mut bindings::dentry) -> *mut bindings::dentry {
        // SAFETY: The dentry is positive and held by the caller. `d_obtain_alias` takes the
        // reference, and passes an error on.
        unsafe {
            let dir = INode::from_raw((*child).d_inode);
            bindings::d_obtain_alias(into_raw(O::parent(dir)))
        }
    }

    const VTABLE: bindings::export_operations = bindings::export_operations {
        encode_fh: Some(bindings::generic_encode_ino32_fh),
        fh_to_dentry: Some(Self::fh_to_dentry),
        fh_to_parent: Some(Self::fh_to_parent),
        get_parent: Some(Self::get_parent),
        ..pin_init::zeroed()
    };
}
