// SPDX-License-Identifier: GPL-2.0

//! Inodes that are not yet published: [`Fresh`] and [`New`], and what makes them usable.

use super::{
    FileType,
    INode, //
};
use crate::{
    bindings,
    prelude::*,
    vfs::{
        aspace,
        FileSystem, //
    }, //
};
use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    sync::aref::ARef, //
};

/// Kinds of inodes, for the types of their tables of operations.
pub mod kind {
    /// A directory.
    pub struct Dir;
    /// A regular file.
    pub struct File;
    /// A symbolic link.
    pub struct Symlink;
    /// A device node, named pipe or socket.
    pub struct Special;
}

macro_rules! table {
    ($(#[$doc:meta])* $name:ident, $raw:ident) => {
        $(#[$doc])*
        ///
        /// # Invariants
        ///
        /// The functions in the table are sound to call as the VFS calls them, on an inode of `T`
        /// of the kind `K`.
        #[repr(transparent)]
        pub struct $name<T, K>(bindings::$raw, PhantomData<(T, K)>);

        // SAFETY: A table is constant.
        unsafe impl<T, K> Sync for $name<T, K> {}

        impl<T, K> $name<T, K> {
            /// Wraps a table.
            ///
            /// # Safety
            ///
            /// The functions in it must be sound to call as the VFS calls them, on an inode of `T`
            /// of the kind `K`.
            pub(in crate::vfs) const unsafe fn new(raw: bindings::$raw) -> Self {
                // INVARIANT: As the caller promises.
                Self(raw, PhantomData)
            }
        }
    };
}

table! {
    /// The `struct inode_operations` of the inodes of kind `K`.
    INodeOps, inode_operations
}
table! {
    /// The `struct file_operations` of the inodes of kind `K`.
    FileOps, file_operations
}
/// A fresh in-memory inode without a number, which nobody else knows.
///
/// Dropping it frees the memory, nothing else.
///
/// # Invariants
///
/// `ptr` is an inode from `new_inode`, not hashed, with its one count owned by this object.
pub struct Fresh<T: FileSystem> {
    ptr: NonNull<bindings::inode>,
    _p: PhantomData<ARef<INode<T>>>,
}

impl<T: FileSystem> Fresh<T> {
    /// Takes over the one count.
    ///
    /// # Safety
    ///
    /// `ptr` must come from `new_inode` and be nobody else's.
    pub(in crate::vfs) unsafe fn from_raw(ptr: NonNull<bindings::inode>) -> Self {
        // INVARIANT: As the caller promises.
        Self {
            ptr,
            _p: PhantomData,
        }
    }

    /// Sets mode, owner and group as for a file that the current task creates in `dir`, which is
    /// seen through `idmap` (`inode_init_owner`).
    pub fn init_owner(&mut self, idmap: &IdMap, dir: &INode<T>, mode: u16) {
        // SAFETY: Both inodes and the map are valid.
        unsafe {
            bindings::inode_init_owner(idmap.as_ptr(), self.ptr.as_ptr(), dir.as_ptr(), mode)
        };
    }

    /// Gives it its number, where others can find it and wait for it. [`EIO`] if that number is in
    /// use in memory already, which means that the image is corrupted.
    pub fn insert(self, ino: u64) -> Result<New<T>> {
        let ptr = self.ptr;
        // SAFETY: The inode is ours alone. If it gets into the table, its count goes to the `New`,
        // otherwise it is dropped with `self`.
        unsafe {
            (*ptr.as_ptr()).i_ino = ino;
            to_result(bindings::insert_inode_locked(ptr.as_ptr())).map_err(|_| EIO)?;
            core::mem::forget(self);
            Ok(New::from_raw(ptr, true))
        }
    }
}

impl<T: FileSystem> Deref for Fresh<T> {
    type Target = INode<T>;

    #[inline]
    fn deref(&self) -> &INode<T> {
        // SAFETY: The inode is alive, and of `T`.
        unsafe { INode::from_raw(self.ptr.as_ptr()) }
    }
}

impl<T: FileSystem> Drop for Fresh<T> {
    fn drop(&mut self) {
        // SAFETY: The count is this object's. It has no number that eviction could free.
        unsafe {
            bindings::make_bad_inode(self.ptr.as_ptr());
            bindings::iput(self.ptr.as_ptr());
        }
    }
}

/// An inode that can be found, and that everybody who finds it waits for (`I_NEW`).
///
/// Its owner fills in its fields, gives it the operations of its kind, and publishes it. Dropping it
/// instead fails the look-ups that wait for it; if it was created, that is, came from
/// [`Fresh::insert`], eviction frees its number and its blocks.
///
/// # Invariants
///
/// `ptr` is an inode of `T` with `I_NEW` set, and this object owns one count and the right to clear
/// the flag. Nobody else uses its private data.
pub struct New<T: FileSystem> {
    ptr: NonNull<bindings::inode>,
    created: bool,
    _p: PhantomData<ARef<INode<T>>>,
}

impl<T: FileSystem> Deref for New<T> {
    type Target = INode<T>;

    #[inline]
    fn deref(&self) -> &INode<T> {
        // SAFETY: The inode is alive by the invariants.
        unsafe { INode::from_raw(self.ptr.as_ptr()) }
    }
}

impl<T: FileSystem> New<T> {
    /// Takes over the count, and the right to clear `I_NEW`.
    ///
    /// # Safety
    ///
    /// The inode must fulfil the invariants.
    pub(in crate::vfs) unsafe fn from_raw(ptr: NonNull<bindings::inode>, created: bool) -> Self {
        // INVARIANT: As the caller promises.
        Self {
            ptr,
            created,
            _p: PhantomData,
        }
    }

    /// The C object, whose count and `I_NEW` are the caller's now (`d_instantiate_new`).
    pub(in crate::vfs) fn into_raw(self) -> *mut bindings::inode {
        let ptr = self.ptr;
        core::mem::forget(self);
        ptr.as_ptr()
    }

    /// The private data, which is not shared yet.
    pub fn data_mut(&mut self) -> Pin<&mut T::INodeData> {
        // SAFETY: By the invariants nobody else uses the data, and it does not move.
        unsafe { Pin::new_unchecked(&mut (*self.allocation()).data) }
    }

    /// Sets format and permission bits.
    pub fn set_mode(&mut self, mode: u16) {
        // SAFETY: Nobody reads the inode's fields before it is published.
        unsafe { (*self.ptr.as_ptr()).i_mode = mode };
    }

    /// Sets owner and group, as the file system stores them.
    pub fn set_owner(&mut self, uid: u32, gid: u32) {
        // SAFETY: Nobody reads the inode's fields before it is published.
        unsafe {
            bindings::rdaxfs_i_uid_write(self.ptr.as_ptr(), uid);
            bindings::rdaxfs_i_gid_write(self.ptr.as_ptr(), gid);
        }
    }

    /// Sets the storage used, in units of 512 bytes.
    pub fn set_sectors(&mut self, sectors: u64) {
        // SAFETY: Nobody reads the inode's fields before it is published.
        unsafe { (*self.ptr.as_ptr()).i_blocks = sectors };
    }

    /// Sets all three times to now, and returns that.
    pub fn set_times_current(&mut self) -> crate::vfs::Timespec {
        let now = self.set_ctime_current();
        self.set_atime(now);
        self.set_mtime(now);
        now
    }

    /// [`EUCLEAN`] unless the inode's mode says `kind`.
    fn check_kind(&self, kind: FileType) -> Result {
        match FileType::of_mode(self.mode()) {
            Some(k) if k == kind => Ok(()),
            _ => Err(EUCLEAN),
        }
    }

    /// Makes it a directory.
    pub fn init_dir(
        &mut self,
        i_op: &'static INodeOps<T, kind::Dir>,
        i_fop: &'static FileOps<T, kind::Dir>,
    ) -> Result {
        self.check_kind(FileType::Directory)?;
        // SAFETY: Nobody uses the operations before the inode is published, and they are right for
        // its kind.
        unsafe {
            let inode = self.ptr.as_ptr();
            (*inode).i_op = &raw const i_op.0;
            (*inode).__bindgen_anon_3.i_fop = &raw const i_fop.0;
        }
        Ok(())
    }

    /// Makes it a regular file, in the mode told.
    pub fn init_file(
        &mut self,
        i_op: &'static INodeOps<T, kind::File>,
        i_fop: &'static FileOps<T, kind::File>,
        dax: bool,
    ) -> Result
    where
        T: aspace::Operations,
    {
        self.check_kind(FileType::Regular)?;
        // SAFETY: As for a directory.
        unsafe {
            let inode = self.ptr.as_ptr();
            (*inode).i_op = &raw const i_op.0;
            (*inode).__bindgen_anon_3.i_fop = &raw const i_fop.0;
            aspace::init(self, dax);
        }
        Ok(())
    }

    /// Makes it a symbolic link whose text is read when it is followed.
    pub fn init_symlink(&mut self, i_op: &'static INodeOps<T, kind::Symlink>) -> Result {
        self.check_kind(FileType::Symlink)?;
        // SAFETY: As for a directory. `i_link` shares a union with nothing that a link uses; NULL
        // makes the VFS ask `get_link`.
        unsafe {
            let inode = self.ptr.as_ptr();
            (*inode).i_op = &raw const i_op.0;
            (*inode).__bindgen_anon_5.i_link = core::ptr::null_mut();
        }
        Ok(())
    }

    /// Makes it a symbolic link whose text is kept in memory (`i_link`).
    pub fn init_fast_symlink(
        &mut self,
        i_op: &'static INodeOps<T, kind::Symlink>,
        target: &CStr,
    ) -> Result {
        self.check_kind(FileType::Symlink)?;
        let bytes = target.to_bytes_with_nul();
        // SAFETY: As for a directory. The copy is freed with the inode, after a grace period, as
        // path walks under RCU want it; what was there from an earlier call is not in use yet.
        unsafe {
            let copy = bindings::kmemdup_noprof(
                bytes.as_ptr().cast(),
                bytes.len(),
                bindings::GFP_KERNEL_ACCOUNT,
            );
            let copy = NonNull::new(copy).ok_or(ENOMEM)?;
            let inode = self.ptr.as_ptr();
            (*inode).i_op = &raw const i_op.0;
            bindings::kfree((*inode).__bindgen_anon_5.i_link.cast());
            (*inode).__bindgen_anon_5.i_link = copy.as_ptr().cast();
            (*inode).__bindgen_anon_4.i_linklen = target.to_bytes().len() as i32;
        }
        Ok(())
    }

    /// Makes it a device node for the device of this major and minor number, or a named pipe or
    /// socket.
    pub fn init_special(
        &mut self,
        i_op: &'static INodeOps<T, kind::Special>,
        (major, minor): (u32, u32),
    ) -> Result {
        match FileType::of_mode(self.mode()) {
            Some(
                FileType::Fifo | FileType::CharDevice | FileType::BlockDevice | FileType::Socket,
            ) => {}
            _ => return Err(EUCLEAN),
        }
        // SAFETY: As for a directory; the mode is that of a special file.
        unsafe {
            let inode = self.ptr.as_ptr();
            (*inode).i_op = &raw const i_op.0;
            bindings::init_special_inode(
                inode,
                (*inode).i_mode,
                // `MKDEV` of linux/kdev_t.h.
                major << 20 | minor & 0xf_ffff,
            );
        }
        Ok(())
    }

    /// Publishes the inode: whoever waits for it goes on.
    pub fn unlock(self) -> ARef<INode<T>> {
        let ptr = self.into_raw();
        // SAFETY: `I_NEW` was ours to clear, and the count becomes the reference's.
        unsafe {
            bindings::unlock_new_inode(ptr);
            ARef::from_raw(NonNull::new_unchecked(ptr).cast())
        }
    }
}

impl<T: FileSystem> Drop for New<T> {
    fn drop(&mut self) {
        let inode = self.ptr.as_ptr();
        // SAFETY: Count and `I_NEW` are this object's. Eviction frees an inode without links.
        unsafe {
            if self.created {
                bindings::clear_nlink(inode);
                bindings::discard_new_inode(inode);
            } else {
                bindings::iget_failed(inode);
            }
        }
    }
}

/// How a mount maps the owners of files (`struct mnt_idmap`).
#[repr(transparent)]
pub struct IdMap(kernel::types::Opaque<bindings::mnt_idmap>);

impl IdMap {
    /// The wrapper of a C object.
    ///
    /// # Safety
    ///
    /// `ptr` must be valid for `'a`.
    pub(in crate::vfs) unsafe fn from_raw<'a>(ptr: *mut bindings::mnt_idmap) -> &'a Self {
        // SAFETY: The caller promises validity, and the type is transparent.
        unsafe { &*ptr.cast() }
    }

    /// The C object.
    pub(in crate::vfs) fn as_ptr(&self) -> *mut bindings::mnt_idmap {
        self.0.get()
    }
}
