// SPDX-License-Identifier: GPL-2.0

//! Open directories: `->iterate_shared`, `->llseek`, and the rest of their file operations.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use core::{
    marker::PhantomData,
    pin::Pin,
    ptr::NonNull, //
};
use kernel::{
    error::{
        from_result,
        VTABLE_DEFAULT_ERROR, //
    },
    new_mutex,
    sync::Mutex, //
};

use super::{
    file::File,
    inode::{
        kind,
        FileOps,
        INode,
        LockedShared, //
    },
    FileSystem, //
};
use crate::{
    bindings,
    prelude::*, //
};

/// How wide the positions are that the reader of a directory can take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PositionWidth {
    /// 31 bits: a 32-bit process, or NFSv2.
    Narrow,
    /// 63 bits.
    Wide,
}

impl PositionWidth {
    /// What the opener asked for, or else what suits the calling process.
    ///
    /// # Safety
    ///
    /// `file` is open.
    unsafe fn of(file: *mut bindings::file) -> Self {
        // SAFETY: These bits of the mode are set when the file is opened and then stay. The other
        // function only looks at the current task.
        let narrow = unsafe {
            let mode = (*file).f_mode;
            mode & bindings::FMODE_32BITHASH != 0
                || mode & bindings::FMODE_64BITHASH == 0
                    && (cfg!(target_pointer_width = "32") || bindings::rdaxfs_in_compat_syscall())
        };
        if narrow {
            Self::Narrow
        } else {
            Self::Wide
        }
    }
}

/// Where the entries of a directory go (`struct dir_context`).
///
/// # Invariants
///
/// `ctx` is valid for `'a`, and used only through this value.
pub struct DirContext<'a> {
    ctx: NonNull<bindings::dir_context>,
    file: NonNull<bindings::file>,
    _vfs: PhantomData<&'a mut bindings::dir_context>,
}

impl DirContext<'_> {
    /// The position of the next entry to emit.
    pub fn pos(&self) -> u64 {
        // SAFETY: By the type invariant. The VFS does not let positions become negative.
        unsafe { (*self.ctx.as_ptr()).pos as u64 }
    }

    /// Sets the position of the next entry; at most `i64::MAX`.
    pub fn set_pos(&mut self, pos: u64) {
        // SAFETY: By the type invariant.
        unsafe { (*self.ctx.as_ptr()).pos = pos.min(i64::MAX as u64) as i64 };
    }

    /// How wide a position may be.
    pub fn width(&self) -> PositionWidth {
        // SAFETY: The file is open for as long as it is read.
        unsafe { PositionWidth::of(self.file.as_ptr()) }
    }

    /// Passes on one entry, of type `DT_*`, which is at the current position.
    ///
    /// Returns `false` if the reader has no room: the entry was not taken, and is to come again.
    #[must_use]
    pub fn emit(&mut self, name: &[u8], ino: u64, dtype: u8) -> bool {
        let ctx = self.ctx.as_ptr();
        // SAFETY: By the type invariant; `name` is valid for the length passed, which is at most
        // 255 for a directory entry, and the actor copies it.
        unsafe {
            bindings::rdaxfs_dir_emit(ctx, name.as_ptr(), name.len() as c_int, ino, dtype.into())
        }
    }
}

/// The operations on an open directory.
#[vtable]
pub trait Operations {
    /// The file system whose directories these are.
    type FileSystem: FileSystem;

    /// What an open directory remembers between two calls, one for each open file.
    type Cursor: Default + Send + Unpin + 'static;

    /// Emits entries from the current position on, until there is no more room or no more entry.
    fn iterate(
        dir: &LockedShared<Self::FileSystem>,
        cursor: &mut Self::Cursor,
        ctx: &mut DirContext<'_>,
    ) -> Result;

    /// The position behind all entries, for `SEEK_END`: none is greater.
    fn end(width: PositionWidth) -> u64;

    /// Writes the directory and its inode back.
    fn fsync(dir: &INode<Self::FileSystem>, datasync: bool) -> Result;

    /// Answers an `ioctl(2)`, with `ENOTTY` for unknown ones.
    fn ioctl(_dir: &File<Self::FileSystem>, _cmd: u32, _arg: usize) -> Result<isize> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// Returns the table of operations of the open directories that `O` implements.
pub const fn operations<O: Operations>() -> &'static FileOps<O::FileSystem, kind::Dir> {
    &const {
        // SAFETY: The functions in the table expect what the VFS guarantees for an open directory.
        unsafe { FileOps::new(VTable::<O>::VTABLE) }
    }
}

/// The functions of the table.
///
/// `private_data` of each open file owns a `KBox<Mutex<O::Cursor>>`, from `open` to `release`.
struct VTable<O: Operations>(PhantomData<O>);

impl<O: Operations> VTable<O> {
    /// Borrows the cursor of an open directory.
    ///
    /// # Safety
    ///
    /// `file` was opened by [`Self::open`] and is not released during `'a`.
    unsafe fn cursor<'a>(file: *mut bindings::file) -> Pin<&'a Mutex<O::Cursor>> {
        // SAFETY: `open` stored it there, pinned, and only `release` takes it away.
        unsafe { Pin::new_unchecked(&*(*file).private_data.cast()) }
    }

    /// # Safety
    ///
    /// Called by the VFS for a file that is being opened.
    unsafe extern "C" fn open(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        match KBox::pin_init(new_mutex!(O::Cursor::default()), GFP_KERNEL) {
            Ok(cursor) => {
                // SAFETY: The file is ours while it is opened; the pointer stays pinned until
                // `release`.
                unsafe {
                    (*file).private_data = KBox::into_raw(Pin::into_inner_unchecked(cursor)).cast()
                };
                0
            }
            Err(err) => err.to_errno(),
        }
    }

    /// # Safety
    ///
    /// Called by the VFS for a file that was opened by [`Self::open`], as the last operation.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: `open` gave up this box, and nobody borrows it any more.
        drop(unsafe { KBox::<Mutex<O::Cursor>>::from_raw((*file).private_data.cast()) });
        0
    }

    /// # Safety
    ///
    /// Called by the VFS with the directory locked for reading.
    unsafe extern "C" fn iterate_shared(
        file: *mut bindings::file,
        ctx: *mut bindings::dir_context,
    ) -> c_int {
        // SAFETY: The VFS holds the lock, the file and the context during the call.
        // INVARIANT: For the same reason.
        let (dir, cursor, mut ctx) = unsafe {
            (
                LockedShared::from_raw((*file).f_inode),
                Self::cursor(file),
                DirContext {
                    ctx: NonNull::new_unchecked(ctx),
                    file: NonNull::new_unchecked(file),
                    _vfs: PhantomData,
                },
            )
        };
        from_result(|| {
            dir.sb().check_running()?;
            O::iterate(dir, &mut cursor.lock(), &mut ctx).map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// Called by the VFS on an open directory.
    unsafe extern "C" fn llseek(
        file: *mut bindings::file,
        offset: bindings::loff_t,
        whence: c_int,
    ) -> bindings::loff_t {
        // SAFETY: The VFS holds the file.
        let width = unsafe { PositionWidth::of(file) };
        let end = O::end(width).min(i64::MAX as u64) as i64;
        // SAFETY: The VFS holds the file.
        unsafe { bindings::generic_file_llseek_size(file, offset, whence, end, end) }
    }

    /// # Safety
    ///
    /// Called by the VFS on an open directory.
    unsafe extern "C" fn fsync(
        file: *mut bindings::file,
        _start: bindings::loff_t,
        _end: bindings::loff_t,
        datasync: c_int,
    ) -> c_int {
        // SAFETY: The VFS holds the file, and it has an inode of `O::FileSystem`.
        let dir = unsafe { INode::from_raw((*file).f_inode) };
        from_result(|| {
            dir.sb().check_running()?;
            O::fsync(dir, datasync != 0).map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// Called by the VFS on an open directory.
    unsafe extern "C" fn ioctl(file: *mut bindings::file, cmd: c_uint, arg: c_ulong) -> c_long {
        // SAFETY: The VFS holds the file, and it has an inode of `O::FileSystem`.
        let dir = unsafe { File::from_raw(file) };
        from_result(|| {
            dir.inode().sb().check_running()?;
            O::ioctl(dir, cmd, arg)
        })
    }

    const VTABLE: bindings::file_operations = bindings::file_operations {
        open: Some(Self::open),
        release: Some(Self::release),
        read: Some(bindings::generic_read_dir),
        iterate_shared: Some(Self::iterate_shared),
        llseek: Some(Self::llseek),
        fsync: Some(Self::fsync),
        unlocked_ioctl: if O::HAS_IOCTL {
            Some(Self::ioctl)
        } else {
            None
        },
        compat_ioctl: if O::HAS_IOCTL {
            bindings::compat_ptr_ioctl
        } else {
            None
        },
        setlease: Some(bindings::generic_setlease),
        ..pin_init::zeroed()
    };
}
