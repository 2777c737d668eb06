// SPDX-License-Identifier: GPL-2.0

//! Inodes: their life, their fields, and the lock that the VFS calls with.
//!
//! Invariants: an [`INode`] is counted and only ever shared; its private data is there from
//! `alloc_inode` to `free_inode`. A [`New`] is the one owner of an inode that everybody else waits
//! for (`I_NEW`), a [`Fresh`] that of one which nobody can find. What kind of inode it is (directory,
//! regular file, symbolic link, special file) is fixed when it is initialised, and with it the tables
//! of operations.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    aspace,
    compat,
    delay,
    quota::{
        self,
        Dquots, //
    },
    FileSystem,
    SuperBlock, //
};
use crate::{
    bindings,
    prelude::*, //
};
use core::{
    marker::PhantomData,
    mem::offset_of,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    sync::aref::AlwaysRefCounted,
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

mod fields;
mod new;
pub use self::new::{
    kind,
    FileOps,
    Fresh,
    INodeOps,
    IdMap,
    New, //
};

pub(crate) use crate::bindings::{
    S_APPEND,
    S_DIRSYNC,
    S_IMMUTABLE,
    S_NOATIME,
    S_SYNC, //
};

/// The kind of an inode, by the format bits of its mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileType {
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A directory.
    Directory,
    /// A block device.
    BlockDevice,
    /// A regular file.
    Regular,
    /// A symbolic link.
    Symlink,
    /// A socket.
    Socket,
}

impl FileType {
    /// The kind that a mode says, if it says one.
    pub const fn of_mode(mode: u16) -> Option<Self> {
        Some(match mode as u32 & bindings::S_IFMT {
            bindings::S_IFIFO => Self::Fifo,
            bindings::S_IFCHR => Self::CharDevice,
            bindings::S_IFDIR => Self::Directory,
            bindings::S_IFBLK => Self::BlockDevice,
            bindings::S_IFREG => Self::Regular,
            bindings::S_IFLNK => Self::Symlink,
            bindings::S_IFSOCK => Self::Socket,
            _ => return None,
        })
    }
}

/// What is allocated for one inode.
///
/// # Invariants
///
/// `data` and `state` are initialised.
#[repr(C)]
pub(super) struct Allocation<T: FileSystem> {
    data: T::INodeData,
    state: aspace::State,
    metadata_buffers: Opaque<bindings::mapping_metadata_bhs>,
    dquots: Opaque<Dquots>,
    inode: Opaque<bindings::inode>,
}

impl<T: FileSystem> Allocation<T> {
    /// The constructor of the slab cache.
    ///
    /// # Safety
    ///
    /// `object` must point to memory for an `Allocation<T>`.
    pub(super) unsafe extern "C" fn init_once(object: *mut c_void) {
        // SAFETY: As the caller promises.
        unsafe {
            let object = object.cast::<Self>();
            bindings::inode_init_once(Opaque::cast_into(&raw const (*object).inode));
        }
    }

    /// Takes an object from the cache and initialises what is not the VFS's. NULL without memory.
    ///
    /// # Safety
    ///
    /// `cache` must have been created for `Allocation<T>` with the constructor above, and `lru` be
    /// that of the super block.
    pub(super) unsafe fn alloc(
        cache: *mut bindings::kmem_cache,
        lru: *mut bindings::list_lru,
    ) -> *mut bindings::inode {
        // SAFETY: As the caller promises. The private data is initialised in place, in memory that
        // does not move before it is freed.
        unsafe {
            let object =
                bindings::kmem_cache_alloc_lru_noprof(cache, lru, bindings::GFP_KERNEL).cast();
            let Some(object) = NonNull::<Self>::new(object) else {
                return core::ptr::null_mut();
            };
            let object = object.as_ptr();
            compat::raw_init(&raw mut (*object).data, T::inode_data());
            compat::raw_init(&raw mut (*object).state, aspace::State::new());
            Opaque::cast_into(&raw const (*object).dquots).write(quota::NO_DQUOTS);
            let inode = Opaque::cast_into(&raw const (*object).inode);
            bindings::mmb_init(
                Opaque::cast_into(&raw const (*object).metadata_buffers),
                &raw mut (*inode).i_data,
            );
            inode
        }
    }

    /// Drops the private data and gives the object back.
    ///
    /// # Safety
    ///
    /// `inode` must come from [`alloc`](Self::alloc), and nobody use it any more.
    pub(super) unsafe fn free(inode: *mut bindings::inode) {
        // SAFETY: As the caller promises. The text of a fast symbolic link was allocated for
        // `i_link` by `New::init_fast_symlink`, which alone sets it.
        unsafe {
            if u32::from((*inode).i_mode) & bindings::S_IFMT == bindings::S_IFLNK {
                bindings::kfree((*inode).__bindgen_anon_5.i_link.cast());
            }
            let object = inode.byte_sub(offset_of!(Self, inode)).cast::<Self>();
            core::ptr::drop_in_place(&raw mut (*object).state);
            core::ptr::drop_in_place(&raw mut (*object).data);
            bindings::kfree(object.cast());
        }
    }
}

/// A `struct inode` of the file system `T`.
///
/// Only shared references exist: what can change is atomic or has its own lock. Where a method says
/// which lock its caller holds, breaking that rule loses updates, not memory safety.
///
/// # Invariants
///
/// The inode is embedded in an [`Allocation<T>`], belongs to a ready [`SuperBlock<T>`], and is
/// counted; or a fault keeps it by its mode lock, or it is being evicted, which waits for that.
#[repr(transparent)]
pub struct INode<T: FileSystem> {
    inner: Opaque<bindings::inode>,
    _p: PhantomData<T>,
}

// SAFETY: An inode has no owner thread, and its data is `Send` and `Sync`.
unsafe impl<T: FileSystem> Send for INode<T> {}
// SAFETY: What `&self` reaches is atomic, read as words, or has its own lock.
unsafe impl<T: FileSystem> Sync for INode<T> {}

// SAFETY: `i_count` keeps the inode alive.
unsafe impl<T: FileSystem> AlwaysRefCounted for INode<T> {
    fn inc_ref(&self) {
        // SAFETY: The inode is alive, since there is a reference to it.
        unsafe { bindings::ihold(self.as_ptr()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up one count.
        unsafe { bindings::iput(obj.as_ptr().cast()) };
    }
}

impl<T: FileSystem> INode<T> {
    /// The wrapper of a C object.
    ///
    /// # Safety
    ///
    /// `ptr` must be an inode of `T` that lives for `'a`.
    #[inline]
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::inode) -> &'a Self {
        // SAFETY: The caller promises validity, and the type is transparent.
        unsafe { &*ptr.cast() }
    }

    /// The C object.
    #[inline]
    pub(super) fn as_ptr(&self) -> *mut bindings::inode {
        self.inner.get()
    }

    /// The object around it.
    #[inline]
    fn allocation(&self) -> *mut Allocation<T> {
        // SAFETY: By the type's invariants, the inode lies in an allocation.
        unsafe {
            self.as_ptr()
                .byte_sub(offset_of!(Allocation<T>, inode))
                .cast()
        }
    }

    /// The private data.
    #[inline]
    pub fn data(&self) -> Pin<&T::INodeData> {
        // SAFETY: The allocation lives as long as the inode, and its data is initialised and
        // does not move.
        unsafe { Pin::new_unchecked(&(*self.allocation()).data) }
    }

    /// What keeps the mode of the file, and its writeback.
    #[inline]
    pub(super) fn state(&self) -> &aspace::State {
        // SAFETY: The allocation lives as long as the inode, and its state is initialised.
        unsafe { &(*self.allocation()).state }
    }

    /// The list of buffers that `fsync` writes.
    #[inline]
    pub(super) fn metadata_buffers(&self) -> *mut bindings::mapping_metadata_bhs {
        // SAFETY: The allocation lives as long as the inode.
        unsafe { Opaque::cast_into(&raw const (*self.allocation()).metadata_buffers) }
    }

    /// The dquots that are counted for the inode, in the order of [`Kind::ALL`](super::quota::Kind::ALL).
    #[inline]
    pub(super) fn dquots(&self) -> *mut *mut bindings::dquot {
        // SAFETY: The allocation lives as long as the inode.
        unsafe { Opaque::cast_into(&raw const (*self.allocation()).dquots).cast() }
    }

    /// Writes the metadata blocks that belong to the inode, and waits.
    pub fn sync_buffers(&self) -> Result {
        // SAFETY: The list is initialised with the inode.
        to_result(unsafe { bindings::mmb_sync(self.metadata_buffers()) })
    }

    /// Forgets which metadata blocks belong to the inode.
    pub(super) fn forget_buffers(&self) {
        // SAFETY: The list is initialised with the inode.
        unsafe { bindings::mmb_invalidate(self.metadata_buffers()) };
    }

    /// The super block.
    #[inline]
    pub fn sb(&self) -> &SuperBlock<T> {
        // SAFETY: The super block outlives its inodes, and is ready by the type's invariants.
        unsafe { SuperBlock::from_raw((*self.as_ptr()).i_sb) }
    }

    /// Has the inode leave memory with its last user (`d_mark_dontcache`), to be read again by the next.
    pub fn forget_when_unused(&self) {
        // SAFETY: The inode is alive.
        unsafe { bindings::d_mark_dontcache(self.as_ptr()) };
    }

    /// Takes `i_rwsem` exclusively.
    #[inline]
    pub fn lock(&self) -> LockGuard<'_, T> {
        delay::arrive(self);
        // SAFETY: The inode is alive.
        unsafe { bindings::rdaxfs_inode_lock(self.as_ptr()) };
        LockGuard {
            inode: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Takes `i_rwsem` exclusively if that needs no waiting.
    #[inline]
    pub fn try_lock(&self) -> Option<LockGuard<'_, T>> {
        // SAFETY: The inode is alive.
        if !unsafe { bindings::rdaxfs_inode_trylock(self.as_ptr()) } {
            return None;
        }
        Some(LockGuard {
            inode: self,
            _not_send: NotThreadSafe,
        })
    }

    /// Takes `i_rwsem` shared.
    #[inline]
    pub fn lock_shared(&self) -> SharedGuard<'_, T> {
        delay::arrive(self);
        // SAFETY: The inode is alive.
        unsafe { bindings::rdaxfs_inode_lock_shared(self.as_ptr()) };
        SharedGuard {
            inode: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Takes `i_rwsem` shared if that needs no waiting.
    #[inline]
    pub fn try_lock_shared(&self) -> Option<SharedGuard<'_, T>> {
        // SAFETY: The inode is alive.
        if !unsafe { bindings::rdaxfs_inode_trylock_shared(self.as_ptr()) } {
            return None;
        }
        Some(SharedGuard {
            inode: self,
            _not_send: NotThreadSafe,
        })
    }
}

/// An inode whose `i_rwsem` is held exclusively, by this thread or for it by the VFS, for as long
/// as the reference lives.
///
/// # Invariants
///
/// As it says, and those of [`INode`].
#[repr(transparent)]
pub struct Locked<T: FileSystem>(INode<T>);

impl<T: FileSystem> Locked<T> {
    /// The wrapper of a C object.
    ///
    /// # Safety
    ///
    /// `ptr` must be an inode of `T`, with `i_rwsem` held exclusively for `'a`.
    #[inline]
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::inode) -> &'a Self {
        // SAFETY: The caller promises the invariants, and the type is transparent.
        unsafe { &*ptr.cast() }
    }
}

impl<T: FileSystem> Deref for Locked<T> {
    type Target = INode<T>;

    #[inline]
    fn deref(&self) -> &INode<T> {
        &self.0
    }
}

/// An inode whose `i_rwsem` is held, shared or exclusively, for as long as the reference lives.
///
/// # Invariants
///
/// As it says, and those of [`INode`].
#[repr(transparent)]
pub struct LockedShared<T: FileSystem>(INode<T>);

impl<T: FileSystem> LockedShared<T> {
    /// The wrapper of a C object.
    ///
    /// # Safety
    ///
    /// `ptr` must be an inode of `T`, with `i_rwsem` held for `'a`.
    #[inline]
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::inode) -> &'a Self {
        // SAFETY: The caller promises the invariants, and the type is transparent.
        unsafe { &*ptr.cast() }
    }
}

impl<T: FileSystem> Deref for LockedShared<T> {
    type Target = INode<T>;

    #[inline]
    fn deref(&self) -> &INode<T> {
        &self.0
    }
}

/// Holds `i_rwsem` exclusively.
#[must_use = "the inode is unlocked when the guard is dropped"]
pub struct LockGuard<'a, T: FileSystem> {
    inode: &'a INode<T>,
    _not_send: NotThreadSafe,
}

impl<T: FileSystem> Deref for LockGuard<'_, T> {
    type Target = Locked<T>;

    #[inline]
    fn deref(&self) -> &Locked<T> {
        // SAFETY: The guard holds the lock.
        unsafe { Locked::from_raw(self.inode.as_ptr()) }
    }
}

impl<T: FileSystem> Drop for LockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: The guard holds the lock, on this thread.
        unsafe { bindings::rdaxfs_inode_unlock(self.inode.as_ptr()) };
    }
}

/// Holds `i_rwsem` shared.
#[must_use = "the inode is unlocked when the guard is dropped"]
pub struct SharedGuard<'a, T: FileSystem> {
    inode: &'a INode<T>,
    _not_send: NotThreadSafe,
}

impl<T: FileSystem> Deref for SharedGuard<'_, T> {
    type Target = LockedShared<T>;

    #[inline]
    fn deref(&self) -> &LockedShared<T> {
        // SAFETY: The guard holds the lock.
        unsafe { LockedShared::from_raw(self.inode.as_ptr()) }
    }
}

impl<T: FileSystem> Drop for SharedGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: The guard holds the lock, on this thread.
        unsafe { bindings::rdaxfs_inode_unlock_shared(self.inode.as_ptr()) };
    }
}
