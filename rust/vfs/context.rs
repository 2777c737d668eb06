// SPDX-License-Identifier: GPL-2.0

//! Mounting and remounting through `struct fs_context`: options, messages, the super block.
//!
//! Invariant: `fc->fs_private` is NULL or a boxed `T::Params`, owned by the context.
//!
//! C headers: [`include/linux/fs_context.h`](srctree/include/linux/fs_context.h),
//! [`include/linux/fs_parser.h`](srctree/include/linux/fs_parser.h)

use super::{
    super_block,
    FileSystem,
    SuperBlock, //
};
use crate::{
    bindings,
    prelude::*, //
};
use core::{
    fmt,
    marker::PhantomData,
    ptr, //
};
use kernel::{
    error::from_result,
    types::{
        ForeignOwnable,
        Opaque, //
    }, //
};

/// A mount or remount under way.
#[repr(transparent)]
pub struct Context(Opaque<bindings::fs_context>);

impl Context {
    /// The wrapper of a C object.
    ///
    /// # Safety
    ///
    /// `ptr` must be valid for `'a`.
    unsafe fn from_raw<'a>(ptr: *mut bindings::fs_context) -> &'a Self {
        // SAFETY: The caller promises validity, and the type is transparent.
        unsafe { &*ptr.cast() }
    }

    /// Whether a read-only mount is asked for.
    pub fn is_read_only(&self) -> bool {
        // SAFETY: The context is valid, and used by this thread only.
        unsafe { (*self.0.get()).sb_flags & bindings::SB_RDONLY as u32 != 0 }
    }

    /// Tells the mounting user, or the kernel's log, why it failed (`errorf`).
    pub fn error(&self, args: fmt::Arguments<'_>) {
        self.log(b'e', args);
    }

    /// Tells the mounting user, or the kernel's log, of something doubtful (`warnf`).
    pub fn warn(&self, args: fmt::Arguments<'_>) {
        self.log(b'w', args);
    }

    /// Says why, and returns [`EINVAL`] (`invalf`).
    pub fn invalid<R>(&self, args: fmt::Arguments<'_>) -> Result<R> {
        self.error(args);
        Err(EINVAL)
    }

    fn log(&self, level: u8, args: fmt::Arguments<'_>) {
        // SAFETY: The log is that of the context, or NULL for the kernel's log. `%pA` takes a
        // pointer to `fmt::Arguments`.
        unsafe {
            bindings::logfc(
                (*self.0.get()).log.log,
                c"rdaxfs".as_char_ptr(),
                level,
                c"%pA".as_char_ptr(),
                (&raw const args).cast::<c_void>(),
            );
        }
    }
}

/// The value of a mount option.
#[derive(Clone, Copy)]
pub enum Value {
    /// The option stands alone.
    Flag,
    /// The option's value: a number, or the number of the choice made.
    Number(u32),
}

/// A choice of an enumerated option: its name and its number.
#[repr(transparent)]
pub struct Choice(bindings::constant_table);

// SAFETY: Constant, with a static name.
unsafe impl Sync for Choice {}

impl Choice {
    /// A choice.
    pub const fn new(name: &'static CStr, value: u8) -> Self {
        Self(bindings::constant_table {
            name: kernel::str::as_char_ptr_in_const_context(name),
            value: value as i32,
        })
    }

    /// Ends a table of choices.
    pub const END: Self = Self(pin_init::zeroed());
}

/// A mount option (`struct fs_parameter_spec`).
#[repr(transparent)]
pub struct Parameter(bindings::fs_parameter_spec);

// SAFETY: Constant, with static names.
unsafe impl Sync for Parameter {}

impl Parameter {
    /// An option that stands alone.
    pub const fn flag(name: &'static CStr, opt: u8) -> Self {
        Self(bindings::fs_parameter_spec {
            name: kernel::str::as_char_ptr_in_const_context(name),
            opt,
            ..pin_init::zeroed()
        })
    }

    /// An option whose value is one of `choices`, which must end with [`Choice::END`].
    pub const fn choice(name: &'static CStr, opt: u8, choices: &'static [Choice]) -> Self {
        assert!(matches!(choices, [.., end] if end.0.name.is_null()));
        Self(bindings::fs_parameter_spec {
            name: kernel::str::as_char_ptr_in_const_context(name),
            type_: Some(bindings::fs_param_is_enum),
            opt,
            flags: 0,
            data: choices.as_ptr().cast(),
        })
    }

    /// An option whose value is a number.
    pub const fn u32(name: &'static CStr, opt: u8) -> Self {
        Self(bindings::fs_parameter_spec {
            name: kernel::str::as_char_ptr_in_const_context(name),
            type_: Some(bindings::fs_param_is_u32),
            opt,
            ..pin_init::zeroed()
        })
    }

    /// Ends a table of options.
    pub const END: Self = Self(pin_init::zeroed());
}

/// The mount options that a file system knows.
///
/// # Invariants
///
/// The last one is [`Parameter::END`], and no other.
pub struct Parameters(&'static [Parameter]);

impl Parameters {
    /// A table, which must end with [`Parameter::END`].
    pub const fn new(table: &'static [Parameter]) -> Self {
        assert!(matches!(table, [.., end] if end.0.name.is_null()));
        Self(table)
    }

    /// The C object.
    pub(super) const fn as_ptr(&self) -> *const bindings::fs_parameter_spec {
        self.0.as_ptr().cast()
    }
}

/// `file_system_type.init_fs_context`
///
/// # Safety
///
/// Called by the VFS with a new context for the type `T`.
pub(super) unsafe extern "C" fn init_fs_context<T: FileSystem>(
    fc: *mut kernel::bindings::fs_context,
) -> c_int {
    from_result(|| {
        // SAFETY: As the VFS promises. On a remount, `root` belongs to a ready super block.
        unsafe {
            let fc = fc.cast::<bindings::fs_context>();
            let sb = if (*fc).purpose() == bindings::fs_context_purpose_FS_CONTEXT_FOR_RECONFIGURE {
                Some(SuperBlock::<T>::from_raw((*(*fc).root).d_sb))
            } else {
                None
            };
            let params = KBox::new(T::params(sb)?, GFP_KERNEL)?;
            (*fc).fs_private = params.into_foreign().cast();
            (*fc).ops = ptr::from_ref(&Operations::<T>::TABLE);
        }
        Ok(0)
    })
}

/// The `struct fs_context_operations` of `T`.
struct Operations<T>(PhantomData<T>);

impl<T: FileSystem> Operations<T> {
    const TABLE: bindings::fs_context_operations = bindings::fs_context_operations {
        free: Some(Self::free),
        parse_param: Some(Self::parse_param),
        get_tree: Some(Self::get_tree),
        reconfigure: Some(Self::reconfigure),
        ..pin_init::zeroed()
    };

    /// Takes the options out of the context.
    ///
    /// # Safety
    ///
    /// `fc` must be a context of type `T`, used by this thread only.
    unsafe fn take_params(fc: *mut bindings::fs_context) -> Option<KBox<T::Params>> {
        // SAFETY: By the invariant of this file, it is NULL or ours.
        unsafe {
            let params = ptr::replace(&raw mut (*fc).fs_private, ptr::null_mut());
            <KBox<T::Params> as ForeignOwnable>::try_from_foreign(params.cast())
        }
    }

    /// # Safety
    ///
    /// Called by the VFS with a context of type `T`.
    unsafe extern "C" fn free(fc: *mut bindings::fs_context) {
        // SAFETY: As the VFS promises.
        drop(unsafe { Self::take_params(fc) });
    }

    /// # Safety
    ///
    /// Called by the VFS with a context of type `T` and an option.
    unsafe extern "C" fn parse_param(
        fc: *mut bindings::fs_context,
        param: *mut bindings::fs_parameter,
    ) -> c_int {
        from_result(|| {
            let mut result: bindings::fs_parse_result = Default::default();
            // SAFETY: As the VFS promises; the options are there until the tree is got.
            unsafe {
                let opt = bindings::__fs_parse(
                    &raw mut (*fc).log,
                    T::PARAMETERS.as_ptr(),
                    param,
                    &mut result,
                );
                let opt = u8::try_from(kernel::error::to_result(opt).map(|()| opt)?)
                    .map_err(|_| EINVAL)?;
                let flag = (*param).type_() == bindings::fs_value_type_fs_value_is_flag;
                let params = (*fc).fs_private.cast::<T::Params>();
                let params = params.as_mut().ok_or(EINVAL)?;
                let value = if flag {
                    Value::Flag
                } else {
                    Value::Number(*result.__bindgen_anon_1.uint_32.as_ref())
                };
                T::parse_param(params, opt, value)?;
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the VFS with a context of type `T`.
    unsafe extern "C" fn get_tree(fc: *mut bindings::fs_context) -> c_int {
        // SAFETY: As the VFS promises.
        unsafe { bindings::get_tree_bdev(fc, Some(Self::fill_super)) }
    }

    /// # Safety
    ///
    /// Called by `get_tree_bdev` with a super block that is to be filled.
    unsafe extern "C" fn fill_super(
        sb: *mut bindings::super_block,
        fc: *mut bindings::fs_context,
    ) -> c_int {
        from_result(|| {
            // SAFETY: As `get_tree_bdev` promises.
            unsafe {
                let params = Self::take_params(fc).ok_or(EINVAL)?;
                super_block::fill_super::<T>(sb, Context::from_raw(fc), KBox::into_inner(params))?;
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the VFS with a context of type `T` for a ready super block, with `s_umount` held
    /// exclusively.
    unsafe extern "C" fn reconfigure(fc: *mut bindings::fs_context) -> c_int {
        from_result(|| {
            // SAFETY: As the VFS promises.
            unsafe {
                let sb = SuperBlock::<T>::from_raw((*(*fc).root).d_sb);
                let params = Self::take_params(fc).ok_or(EINVAL)?;
                let fc = Context::from_raw(fc);
                T::reconfigure(sb, fc, KBox::into_inner(params), fc.is_read_only())?;
            }
            Ok(0)
        })
    }
}
