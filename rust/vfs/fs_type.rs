// SPDX-License-Identifier: GPL-2.0

//! The registration of the file system type, and the slab cache of its inodes.
//!
//! Invariant: while the registration lives, so do the type and the cache; after its drop, nothing
//! of either is left.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    context,
    inode::Allocation,
    super_block,
    sysfs,
    FileSystem, //
};
use crate::{
    bindings,
    prelude::*, //
};
use core::{
    marker::PhantomData,
    mem::{
        align_of,
        size_of, //
    },
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    types::Opaque, //
};

/// The slab cache for the inodes of `T`.
struct INodeCache<T> {
    ptr: NonNull<bindings::kmem_cache>,
    _p: PhantomData<T>,
}

impl<T: FileSystem> INodeCache<T> {
    fn new(name: &CStr) -> Result<Self> {
        let mut args = bindings::kmem_cache_args {
            align: align_of::<Allocation<T>>() as u32,
            ctor: Some(Allocation::<T>::init_once),
            ..pin_init::zeroed()
        };
        // SAFETY: The name is copied, the constructor is right for the size.
        let ptr = unsafe {
            bindings::__kmem_cache_create_args(
                name.as_char_ptr(),
                size_of::<Allocation<T>>() as u32,
                &mut args,
                bindings::rdaxfs_inode_slab_flags(),
            )
        };
        Ok(Self {
            ptr: NonNull::new(ptr).ok_or(ENOMEM)?,
            _p: PhantomData,
        })
    }
}

impl<T> Drop for INodeCache<T> {
    fn drop(&mut self) {
        // SAFETY: The type is not registered, so no inodes are left but those whose memory waits
        // for an RCU grace period; these are waited for.
        unsafe {
            bindings::rcu_barrier();
            bindings::kmem_cache_destroy(self.ptr.as_ptr());
        }
    }
}

/// A registered file system type.
///
/// # Invariants
///
/// `fs_type` is registered with the VFS, and names this module as its owner.
#[pin_data(PinnedDrop)]
pub struct Registration<T: FileSystem> {
    // Initialised first: a mount may follow upon the registration at once.
    cache: INodeCache<T>,
    sysfs: sysfs::Root,
    #[pin]
    fs_type: Opaque<bindings::file_system_type>,
}

// SAFETY: A registration may be undone on another thread.
unsafe impl<T: FileSystem> Send for Registration<T> {}
// SAFETY: `&self` gives nothing away.
unsafe impl<T: FileSystem> Sync for Registration<T> {}

impl<T: FileSystem> Registration<T> {
    /// Registers the type as `name`, for `mount(2)` and `/proc/filesystems`; elsewhere it keeps its
    /// own. [`EBUSY`] if the name is taken.
    pub fn new(module: &'static ThisModule, name: &'static CStr) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            cache: INodeCache::new(c"rdaxfs_inode_cache")?,
            sysfs: sysfs::Root::new(T::NAME)?,
            fs_type <- Opaque::try_ffi_init(move |slot: *mut bindings::file_system_type| {
                // SAFETY: The slot is ours to write, and pinned. The type is unregistered before
                // it goes, and before the module does, since it names the module as its owner.
                unsafe {
                    slot.write(bindings::file_system_type {
                        owner: module.as_ptr(),
                        name: name.as_char_ptr(),
                        fs_flags: (bindings::FS_REQUIRES_DEV | bindings::FS_ALLOW_IDMAP) as i32,
                        init_fs_context: Some(context::init_fs_context::<T>),
                        parameters: T::PARAMETERS.as_ptr().cast(),
                        kill_sb: Some(super_block::kill_sb::<T>),
                        ..pin_init::zeroed()
                    });
                    to_result(bindings::register_filesystem(slot))
                }
            }),
        })
    }

    /// The inode cache of a registered type.
    ///
    /// # Safety
    ///
    /// `fs_type` must lie in a `Registration<T>`.
    #[inline]
    pub(super) unsafe fn inode_cache(
        fs_type: *mut bindings::file_system_type,
    ) -> *mut bindings::kmem_cache {
        // SAFETY: As the caller promises.
        unsafe {
            let this = fs_type
                .byte_sub(core::mem::offset_of!(Self, fs_type))
                .cast::<Self>();
            (*this).cache.ptr.as_ptr()
        }
    }

    /// The directory in sysfs of a registered type.
    ///
    /// # Safety
    ///
    /// `fs_type` must lie in a `Registration<T>` that lives for `'a`.
    pub(super) unsafe fn sysfs<'a>(fs_type: *mut bindings::file_system_type) -> &'a sysfs::Root {
        // SAFETY: As the caller promises.
        unsafe {
            let this = fs_type
                .byte_sub(core::mem::offset_of!(Self, fs_type))
                .cast::<Self>();
            &(*this).sysfs
        }
    }
}

#[pinned_drop]
impl<T: FileSystem> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered by the invariant. It fails only for a type that is not.
        unsafe { bindings::unregister_filesystem(self.fs_type.get()) };
    }
}
