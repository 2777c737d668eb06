// SPDX-License-Identifier: GPL-2.0

//! Numbers of a mount, for user space: `/sys/fs/<type>/<device>/<name>`, one number a file.
//!
//! C header: [`include/linux/kobject.h`](srctree/include/linux/kobject.h)

use super::{
    fs_type::Registration,
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
    sync::Completion,
    types::Opaque, //
};

/// The directory of a file system type.
///
/// # Invariants
///
/// `kobj` is valid, and owns one count.
pub(super) struct Root {
    kobj: NonNull<bindings::kobject>,
}

impl Root {
    /// Makes the directory.
    pub(super) fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: The name is terminated, and copied.
        let kobj =
            unsafe { bindings::kobject_create_and_add(name.as_char_ptr(), bindings::fs_kobj) };
        // INVARIANT: Just created, with a count.
        Ok(Self {
            kobj: NonNull::new(kobj).ok_or(ENOMEM)?,
        })
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // SAFETY: The count is this object's.
        unsafe { bindings::kobject_put(self.kobj.as_ptr()) };
    }
}

/// A file with one number.
#[repr(transparent)]
pub struct File(bindings::attribute);

impl File {
    /// A file of that name, which everybody may read.
    #[allow(
        clippy::disallowed_methods,
        clippy::needless_update,
        reason = "as_char_ptr is not const; lockdep adds fields"
    )]
    pub const fn new(name: &'static CStr) -> Self {
        Self(bindings::attribute {
            name: name.as_ptr().cast(),
            mode: 0o444,
            ..pin_init::zeroed()
        })
    }
}

/// Numbers that are told.
pub trait Numbers: Send + Sync + 'static {
    /// The files of the directory.
    const FILES: &'static [File];

    /// The number in the file that is `FILES[index]`.
    fn get(&self, index: usize) -> u64;
}

/// Numbers, and the directory that tells them as long as they are there.
///
/// # Invariants
///
/// `kobj` is registered, with a type of [`Table<N>`].
#[pin_data(PinnedDrop)]
pub struct Directory<N: Numbers> {
    #[pin]
    kobj: Opaque<bindings::kobject>,
    /// Complete when the last count of `kobj` is gone.
    #[pin]
    released: Completion,
    numbers: N,
}

// SAFETY: What is shared is the numbers, which are `Sync`, and a counted object.
unsafe impl<N: Numbers> Sync for Directory<N> {}
// SAFETY: Nothing in it belongs to a thread.
unsafe impl<N: Numbers> Send for Directory<N> {}

impl<N: Numbers> Directory<N> {
    fn create_files(&self) -> Result {
        N::FILES.iter().try_for_each(|file| {
            // SAFETY: The object is registered, and the file is static.
            to_result(unsafe {
                bindings::sysfs_create_file_ns(self.kobj.get(), &file.0, core::ptr::null())
            })
        })
    }

    /// Makes the directory of the file system that is being mounted.
    pub fn new<'a, T: FileSystem, S>(
        sb: &'a SuperBlock<T, S>,
        numbers: N,
    ) -> impl PinInit<Self, Error> + use<'a, N, T, S> {
        // SAFETY: `s_type` is the one that a `Registration<T>` embeds, and outlives the super block.
        let root = unsafe { Registration::<T>::sysfs((*sb.as_ptr()).s_type) };
        try_pin_init!(&this in Self {
            released <- Completion::new(),
            numbers,
            kobj: Opaque::zeroed(),
            _: {
                // SAFETY: The object is zeroed, all else that its methods use is initialised, and it
                // stays where it is. Its name is copied.
                unsafe {
                    let this = this.as_ref();
                    to_result(bindings::kobject_init_and_add(
                        this.kobj.get(),
                        Table::<N>::TYPE,
                        root.kobj.as_ptr(),
                        c"%s".as_char_ptr(),
                        sb.id().as_char_ptr(),
                    ))
                    .inspect_err(|_| release(this))?;
                    this.create_files().inspect_err(|_| remove(this))?;
                }
            },
        })
    }
}

/// Gives the count of the object back, and waits until nobody has one.
///
/// # Safety
///
/// The object must have been initialised, and not be used after this.
unsafe fn release<N: Numbers>(this: &Directory<N>) {
    // SAFETY: As promised by the caller.
    unsafe { bindings::kobject_put(this.kobj.get()) };
    this.released.wait_for_completion();
}

/// Takes the directory away, and waits until nobody looks at it.
///
/// # Safety
///
/// The object must have been registered, and not be used after this.
unsafe fn remove<N: Numbers>(this: &Directory<N>) {
    // SAFETY: As promised by the caller.
    unsafe {
        bindings::kobject_del(this.kobj.get());
        release(this);
    }
}

#[pinned_drop]
impl<N: Numbers> PinnedDrop for Directory<N> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered by the type's invariant, and dropped once.
        unsafe { remove(self.as_ref().get_ref()) };
    }
}

impl<N: Numbers> Deref for Directory<N> {
    type Target = N;

    #[inline]
    fn deref(&self) -> &N {
        &self.numbers
    }
}

/// The `struct kobj_type` of [`Directory<N>`].
struct Table<N>(PhantomData<N>);

impl<N: Numbers> Table<N> {
    const TYPE: &'static bindings::kobj_type = &bindings::kobj_type {
        release: Some(Self::release),
        sysfs_ops: &bindings::sysfs_ops {
            show: Some(Self::show),
            ..pin_init::zeroed()
        },
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// `kobj` must be that of a [`Directory<N>`].
    unsafe fn directory<'a>(kobj: *mut bindings::kobject) -> &'a Directory<N> {
        // SAFETY: As promised by the caller.
        unsafe {
            &*kobj
                .byte_sub(offset_of!(Directory<N>, kobj))
                .cast::<Directory<N>>()
        }
    }

    /// # Safety
    ///
    /// `kobj` must be that of a [`Directory<N>`], with no count left.
    unsafe extern "C" fn release(kobj: *mut bindings::kobject) {
        // SAFETY: As promised by the caller; whoever drops the directory waits for this.
        unsafe { Self::directory(kobj) }.released.complete_all();
    }

    /// # Safety
    ///
    /// `kobj` must be that of a [`Directory<N>`], `attr` one of its files', `buf` a page.
    unsafe extern "C" fn show(
        kobj: *mut bindings::kobject,
        attr: *mut bindings::attribute,
        buf: *mut c_char,
    ) -> isize {
        // SAFETY: As promised by the caller.
        let directory = unsafe { Self::directory(kobj) };
        let is_it = |file: &File| core::ptr::eq(&file.0, attr);
        let Some(index) = N::FILES.iter().position(is_it) else {
            return EIO.to_errno() as isize;
        };
        // SAFETY: `buf` is a page; the format fits the argument.
        (unsafe {
            bindings::sysfs_emit(buf, c"%llu\n".as_char_ptr(), directory.numbers.get(index))
        }) as isize
    }
}
