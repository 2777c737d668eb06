// SPDX-License-Identifier: GPL-2.0

//! Symbolic links.
//!
//! A short target is kept in memory ([`New::init_fast_symlink`](super::inode::New::init_fast_symlink)),
//! where the VFS finds it without a call; a long one is read each time it is followed
//! ([`Operations::read_link`]), and becomes a C string only after a check.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use core::{
    marker::PhantomData,
    mem::ManuallyDrop, //
};

use super::{
    attr,
    inode::{
        kind,
        INode,
        INodeOps, //
    },
    FileSystem, //
};
use crate::{
    bindings,
    prelude::*, //
};

/// Makes a C string of a target: not empty, no NUL inside, one at the end.
///
/// Returns memory for `kfree`; [`EUCLEAN`] for a target that cannot be one.
fn into_c_string(mut target: KVec<u8>) -> Result<*mut c_char> {
    if target.is_empty() || target.contains(&0) {
        return Err(EUCLEAN);
    }
    target.push(0, GFP_KERNEL)?;
    Ok(ManuallyDrop::new(target).as_mut_ptr().cast())
}

/// The operations of a symbolic link whose target is read when it is followed.
#[vtable]
pub trait Operations {
    /// The file system whose links these are.
    type FileSystem: FileSystem;

    /// The operations on their attributes.
    type Attributes: attr::Operations<FileSystem = Self::FileSystem>;

    /// Reads the target, without a NUL. The inode is not locked.
    fn read_link(_inode: &INode<Self::FileSystem>) -> Result<KVec<u8>>;
}

/// Returns the table of operations of a symbolic link that reads its target.
pub const fn operations<O: Operations>() -> &'static INodeOps<O::FileSystem, kind::Symlink> {
    &const {
        // SAFETY: The functions in the table expect what the VFS guarantees for a symbolic link.
        unsafe { INodeOps::new(VTable::<O>::VTABLE) }
    }
}

/// Returns the table of operations of a symbolic link whose target is in memory.
pub const fn fast_operations<O: attr::Operations>(
) -> &'static INodeOps<O::FileSystem, kind::Symlink> {
    &const {
        // SAFETY: As above; `simple_get_link` returns `i_link`, which such a link has.
        unsafe {
            INodeOps::new(bindings::inode_operations {
                get_link: Some(bindings::simple_get_link),
                ..attr::VTable::<O>::VTABLE
            })
        }
    }
}

struct VTable<O: Operations>(PhantomData<O>);

impl<O: Operations> VTable<O> {
    /// # Safety
    ///
    /// Called by the VFS on a symbolic link of `O::FileSystem`, with a null `dentry` in RCU mode.
    unsafe extern "C" fn get_link(
        dentry: *mut bindings::dentry,
        inode: *mut bindings::inode,
        done: *mut bindings::delayed_call,
    ) -> *const c_char {
        if dentry.is_null() {
            return ECHILD.to_ptr();
        }
        // SAFETY: Outside RCU mode the VFS holds a reference to the inode.
        let inode = unsafe { INode::from_raw(inode) };
        let running = inode.sb().check_running();
        let target = running
            .and_then(|()| O::read_link(inode))
            .and_then(into_c_string);
        match target {
            Ok(link) => {
                // SAFETY: `done` is the VFS's, to be called when it is done with the string, which
                // `kfree_link` then frees.
                unsafe {
                    (*done).fn_ = Some(bindings::kfree_link);
                    (*done).arg = link.cast();
                }
                link
            }
            Err(err) => err.to_ptr(),
        }
    }

    const VTABLE: bindings::inode_operations = bindings::inode_operations {
        get_link: Some(Self::get_link),
        ..attr::VTable::<O::Attributes>::VTABLE
    };
}
