// SPDX-License-Identifier: GPL-2.0

//! Open regular files: the table of file operations, and the requests that come through it.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    fileattr,
    inode::{
        kind,
        FileOps,
        INodeOps, //
    },
    iomap::{
        self,
        count, //
    },
    mm,
    mode::PageCacheToken,
    FileSystem,
    INode,
    EOPNOTSUPP, //
};
use crate::{
    bindings,
    prelude::*, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    types::Opaque, //
};

/// An open file of `T`'s.
///
/// # Invariants
///
/// The file is open, and its inode is one of `T`'s.
#[repr(transparent)]
pub struct File<T: FileSystem> {
    inner: Opaque<bindings::file>,
    _p: PhantomData<T>,
}

/// The mount that a file was opened on is writable; see [`File::want_write`].
#[must_use = "access ends when the guard is dropped"]
pub struct WriteAccess<'a, T: FileSystem>(&'a File<T>);

impl<T: FileSystem> Drop for WriteAccess<'_, T> {
    fn drop(&mut self) {
        // SAFETY: Access was got when the guard was made.
        unsafe { bindings::mnt_drop_write_file(self.0.as_ptr()) };
    }
}

impl<T: FileSystem> File<T> {
    /// The wrapper of a C object.
    ///
    /// # Safety
    ///
    /// `ptr` must be an open file of `T`'s that stays so for `'a`.
    #[inline]
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::file) -> &'a Self {
        // SAFETY: As promised by the caller, and the type is transparent.
        unsafe { &*ptr.cast() }
    }

    /// The C object.
    #[inline]
    pub(super) fn as_ptr(&self) -> *mut bindings::file {
        self.inner.get()
    }

    /// [`EIO`] once the file system was shut down.
    #[inline]
    fn check_running(&self) -> Result {
        self.inode().sb().check_running()
    }

    /// Keeps the mount writable until the guard is dropped. [`EROFS`] if it is not.
    pub fn want_write(&self) -> Result<WriteAccess<'_, T>> {
        // SAFETY: The file is open; undone by `drop`.
        to_result(unsafe { bindings::mnt_want_write_file(self.as_ptr()) })?;
        Ok(WriteAccess(self))
    }

    /// Whether the current task owns the inode, or may act as if it did.
    pub fn is_owner_or_capable(&self) -> bool {
        // SAFETY: The file is open.
        unsafe { bindings::rdaxfs_file_owner_or_capable(self.as_ptr()) }
    }

    /// The inode of the file.
    #[inline]
    pub fn inode(&self) -> &INode<T> {
        // SAFETY: By the type's invariants.
        unsafe { INode::from_raw((*self.as_ptr()).f_inode) }
    }

    /// Notes that the file is about to be changed: drops set-user-ID bits and capabilities, sets the
    /// times. The caller holds `i_rwsem` exclusively.
    pub fn modified(&self) -> Result {
        // SAFETY: The file is valid.
        to_result(unsafe { bindings::file_modified(self.as_ptr()) })
    }

    /// Notes that the file was read.
    #[inline]
    pub fn accessed(&self) {
        // SAFETY: The file is valid.
        unsafe { bindings::rdaxfs_file_accessed(self.as_ptr()) };
    }

    /// Whether what is done to the file is to be durable when the call returns (`O_DSYNC`, or the
    /// inode's or the mount's like).
    pub fn is_synchronous(&self) -> bool {
        // SAFETY: The file is valid.
        let dsync = unsafe { (*self.as_ptr()).f_flags } & bindings::O_DSYNC != 0;
        dsync || self.inode().is_sync()
    }

    /// Writes back the dirty data of `start..=end` and waits. Reports errors of earlier writeback that
    /// this file has not seen yet.
    pub fn write_and_wait(&self, start: i64, end: i64) -> Result {
        // SAFETY: The file is valid.
        to_result(unsafe { bindings::file_write_and_wait_range(self.as_ptr(), start, end) })
    }

    /// As `lseek(2)` does for a file whose holes are of no interest.
    pub fn llseek(&self, offset: i64, whence: i32) -> Result<i64> {
        // SAFETY: The file is valid.
        position(unsafe { bindings::generic_file_llseek(self.as_ptr(), offset, whence) })
    }

    /// Makes `offset` the position of the file.
    pub fn set_position(&self, offset: i64) -> Result<i64> {
        // SAFETY: The file, its inode and its super block are valid.
        position(unsafe {
            let max = (*(*self.inode().as_ptr()).i_sb).s_maxbytes;
            bindings::vfs_setpos(self.as_ptr(), offset, max)
        })
    }

    /// Takes or drops pages as `posix_fadvise(2)` says. For `POSIX_FADV_WILLNEED` the caller holds
    /// `i_rwsem`.
    pub fn advise(&self, start: i64, end: i64, advice: i32) -> Result {
        // SAFETY: The file is valid.
        to_result(unsafe { bindings::generic_fadvise(self.as_ptr(), start, end, advice) })
    }
}

/// Turns what C returns for a file position into that or an error.
fn position(ret: i64) -> Result<i64> {
    if ret < 0 {
        Err(Error::from_errno(ret as c_int))
    } else {
        Ok(ret)
    }
}

/// A read or write request on a file of `T`'s.
///
/// # Invariants
///
/// `iocb` is valid, its file is one of `T`'s, and nothing else uses it.
pub struct Kiocb<'a, T: FileSystem> {
    iocb: NonNull<bindings::kiocb>,
    _p: PhantomData<&'a INode<T>>,
}

impl<'a, T: FileSystem> Kiocb<'a, T> {
    /// # Safety
    ///
    /// The invariants must hold for `'a`.
    #[inline]
    pub(super) unsafe fn from_raw(iocb: *mut bindings::kiocb) -> Self {
        // INVARIANT: As the caller promises.
        Self {
            // SAFETY: The caller promises a valid pointer.
            iocb: unsafe { NonNull::new_unchecked(iocb) },
            _p: PhantomData,
        }
    }

    #[inline]
    pub(super) fn as_ptr(&self) -> *mut bindings::kiocb {
        self.iocb.as_ptr()
    }

    /// The file.
    #[inline]
    pub fn file(&self) -> &'a File<T> {
        // SAFETY: By the type's invariants.
        unsafe { File::from_raw((*self.as_ptr()).ki_filp) }
    }

    /// The inode of the file.
    #[inline]
    pub fn inode(&self) -> &'a INode<T> {
        self.file().inode()
    }

    /// [`EIO`] unless the request is one on `inode`.
    #[inline]
    pub(super) fn check(&self, inode: &INode<T>) -> Result {
        if core::ptr::eq(self.inode(), inode) {
            Ok(())
        } else {
            Err(EIO)
        }
    }

    /// Where in the file the request begins, or, after it, ends.
    #[inline]
    pub fn pos(&self) -> u64 {
        // SAFETY: Valid by the type's invariants; positions are not negative.
        (unsafe { (*self.as_ptr()).ki_pos }) as u64
    }

    #[inline]
    fn flags(&self) -> u32 {
        // SAFETY: Valid by the type's invariants.
        (unsafe { (*self.as_ptr()).ki_flags }) as u32
    }

    /// Whether to go around the page cache (`O_DIRECT`).
    #[inline]
    pub fn is_direct(&self) -> bool {
        self.flags() & bindings::IOCB_DIRECT != 0
    }

    /// Goes through the page cache after all.
    pub fn set_buffered(&mut self) {
        // SAFETY: Valid by the type's invariants, and not shared.
        unsafe { (*self.as_ptr()).ki_flags &= !(bindings::IOCB_DIRECT as i32) };
    }

    /// Whether the position is wherever the file ends.
    #[inline]
    pub fn is_append(&self) -> bool {
        self.flags() & bindings::IOCB_APPEND as u32 != 0
    }

    /// Whether to fail with [`EAGAIN`] instead of waiting.
    #[inline]
    pub fn nowait(&self) -> bool {
        self.flags() & bindings::IOCB_NOWAIT as u32 != 0
    }

    /// Checks a write against limits and seals, and sets its position if it appends. Returns the bytes
    /// to write: perhaps fewer than asked for. The caller holds `i_rwsem`.
    pub fn write_checks(&mut self, from: &mut IovIterSource<'_>) -> Result<usize> {
        // SAFETY: Both are valid.
        count(unsafe { bindings::generic_write_checks(self.as_ptr(), from.as_raw()) })
    }

    /// As [`File::modified`]. With `nowait`, [`EAGAIN`] if that has to wait.
    pub fn modified(&mut self) -> Result {
        // SAFETY: Valid by the type's invariants.
        to_result(unsafe { bindings::kiocb_modified(self.as_ptr()) })
    }

    /// After `written` bytes were written: makes them durable if the request wants that.
    pub fn write_sync(&mut self, written: usize) -> Result<usize> {
        // SAFETY: Valid by the type's invariants.
        count(unsafe { bindings::rdaxfs_generic_write_sync(self.as_ptr(), written as isize) })
    }
}

/// What `fallocate(2)` is to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fallocate {
    /// Give the range blocks.
    Allocate {
        /// Leave the size of the file, also if the range ends beyond.
        keep_size: bool,
    },
    /// Take them.
    PunchHole,
    /// Make the range read as zeros, and give it blocks.
    ZeroRange {
        /// As above.
        keep_size: bool,
    },
    /// The same, with zeros on the device, so that the first write finds all done.
    WriteZeroes,
    /// Take the range out of the file: what is behind it moves there.
    CollapseRange,
    /// Put a hole into the file: what is there moves behind it.
    InsertRange,
}

impl Fallocate {
    /// What the bits `FALLOC_FL_` ask for, if that is known.
    fn from_bits(bits: u32) -> Option<Self> {
        let keep_size = bits & bindings::FALLOC_FL_KEEP_SIZE != 0;
        match bits & !bindings::FALLOC_FL_KEEP_SIZE {
            // No block is shared, so this is all that there is to do.
            bindings::FALLOC_FL_ALLOCATE_RANGE | bindings::FALLOC_FL_UNSHARE_RANGE => {
                Some(Self::Allocate { keep_size })
            }
            bindings::FALLOC_FL_PUNCH_HOLE => Some(Self::PunchHole),
            bindings::FALLOC_FL_ZERO_RANGE => Some(Self::ZeroRange { keep_size }),
            bindings::FALLOC_FL_WRITE_ZEROES => Some(Self::WriteZeroes),
            bindings::FALLOC_FL_COLLAPSE_RANGE => Some(Self::CollapseRange),
            bindings::FALLOC_FL_INSERT_RANGE => Some(Self::InsertRange),
            _ => None,
        }
    }
}

/// A pipe that a splice fills, and what it asks for.
pub struct Splice<'a, T: FileSystem> {
    file: &'a File<T>,
    pos: *mut i64,
    pipe: *mut kernel::bindings::pipe_inode_info,
    len: usize,
    flags: c_uint,
}

impl<'a, T: FileSystem> Splice<'a, T> {
    /// The file to read.
    pub fn file(&self) -> &'a File<T> {
        self.file
    }

    /// Fills the pipe with copies.
    pub fn copy(self) -> Result<usize> {
        // SAFETY: All are valid, see `Table::splice_read`.
        count(unsafe {
            bindings::copy_splice_read(
                self.file.as_ptr(),
                self.pos,
                self.pipe,
                self.len,
                self.flags,
            )
        })
    }
}

impl<T: FileSystem> PageCacheToken<'_, T> {
    /// Fills a pipe with references to pages of the page cache.
    pub fn splice(&self, splice: Splice<'_, T>) -> Result<usize> {
        if !core::ptr::eq(self.inode(), splice.file.inode()) {
            return Err(EIO);
        }
        // SAFETY: All are valid, see `Table::splice_read`, and the file is one with a page cache.
        count(unsafe {
            bindings::filemap_splice_read(
                splice.file.as_ptr(),
                splice.pos,
                splice.pipe,
                splice.len,
                splice.flags,
            )
        })
    }
}

/// What is done with an open regular file.
///
/// None of these is called with a lock held that this crate knows of.
pub trait Operations: mm::Operations {
    /// Reads from the request's position on, and moves that.
    fn read_iter(iocb: Kiocb<'_, Self>, to: &mut IovIterDest<'_>) -> Result<usize>;

    /// Writes at the request's position, and moves that.
    fn write_iter(iocb: Kiocb<'_, Self>, from: &mut IovIterSource<'_>) -> Result<usize>;

    /// Reads into a pipe.
    fn splice_read(splice: Splice<'_, Self>) -> Result<usize>;

    /// Changes the position of the file.
    fn llseek(file: &File<Self>, offset: i64, whence: i32) -> Result<i64>;

    /// Makes the bytes `start..=end` durable, and of the inode what is needed to find them; unless
    /// `datasync`, all of the inode.
    fn fsync(file: &File<Self>, start: i64, end: i64, datasync: bool) -> Result;

    /// Allocates or frees blocks. The range is not empty, and lies within what a file can have.
    fn fallocate(file: &File<Self>, mode: Fallocate, offset: u64, len: u64) -> Result;

    /// Answers what is asked by `ioctl(2)`, with [`ENOTTY`] for what is unknown.
    fn ioctl(file: &File<Self>, cmd: u32, arg: usize) -> Result<isize>;

    /// A file that was open for writing is closed: nothing refers to the [`File`] any more.
    fn writer_closed(inode: &INode<Self>);

    /// As [`File::advise`], and by that.
    fn fadvise(file: &File<Self>, start: i64, end: i64, advice: i32) -> Result;
}

/// The `struct inode_operations` of the regular files of a file system.
pub const fn inode_operations<O>() -> &'static INodeOps<O::FileSystem, kind::File>
where
    O: fileattr::Operations,
    O::FileSystem: Operations,
{
    &const {
        // SAFETY: The functions in the table expect what the VFS guarantees for a regular file.
        unsafe {
            INodeOps::new(bindings::inode_operations {
                fiemap: Some(iomap::fiemap::<O::FileSystem>),
                ..fileattr::VTable::<O>::VTABLE
            })
        }
    }
}

/// The `struct file_operations` of the regular files of `T`.
pub struct Table<T>(PhantomData<T>);

impl<T: Operations> Table<T> {
    /// The table.
    pub const TABLE: &'static FileOps<T, kind::File> = &const {
        // SAFETY: The functions do what the VFS expects of them for inodes of `T`.
        unsafe {
            FileOps::new(bindings::file_operations {
                fop_flags: bindings::FOP_REGULAR,
                llseek: Some(Self::llseek),
                read_iter: Some(Self::read_iter),
                write_iter: Some(Self::write_iter),
                splice_read: Some(Self::splice_read),
                splice_write: Some(bindings::iter_file_splice_write),
                iopoll: Some(bindings::iocb_bio_iopoll),
                unlocked_ioctl: Some(Self::ioctl),
                compat_ioctl: bindings::compat_ptr_ioctl,
                mmap_prepare: Some(mm::mmap_prepare::<T>),
                // Aligns mappings so that 2 MiB of a file can lie under 2 MiB of addresses.
                get_unmapped_area: Some(bindings::thp_get_unmapped_area),
                open: Some(Self::open),
                release: Some(Self::release),
                fsync: Some(Self::fsync),
                fallocate: Some(Self::fallocate),
                fadvise: Some(Self::fadvise),
                setlease: Some(bindings::generic_setlease),
                ..pin_init::zeroed()
            })
        }
    };

    /// # Safety
    ///
    /// Called by the VFS with a file of `T`'s that is being opened.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: As the VFS promises.
        let running = unsafe { File::<T>::from_raw(file) }.check_running();
        from_result(|| {
            running?;
            // SAFETY: As the VFS promises.
            to_result(unsafe {
                (*file).f_mode |= bindings::FMODE_REGULAR;
                bindings::dquot_file_open(inode, file)
            })?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the VFS with a file of `T`'s that is about to be freed, and its inode.
    unsafe extern "C" fn release(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: As the VFS promises.
        let (inode, mode) = unsafe { (INode::<T>::from_raw(inode), (*file).f_mode) };
        if mode & bindings::FMODE_WRITE != 0 {
            T::writer_closed(inode);
        }
        0
    }

    /// # Safety
    ///
    /// Called by the VFS with a file of `T`'s.
    unsafe extern "C" fn ioctl(file: *mut bindings::file, cmd: c_uint, arg: c_ulong) -> c_long {
        // SAFETY: As the VFS promises.
        let file = unsafe { File::<T>::from_raw(file) };
        from_result(|| {
            file.check_running()?;
            T::ioctl(file, cmd, arg)
        })
    }

    /// # Safety
    ///
    /// Called by the VFS with a request on a file of `T`'s.
    unsafe extern "C" fn read_iter(
        iocb: *mut bindings::kiocb,
        to: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: As the VFS promises.
        let (iocb, to) = unsafe { (Kiocb::<T>::from_raw(iocb), IovIterDest::from_raw(to)) };
        size(
            iocb.file()
                .check_running()
                .and_then(|()| T::read_iter(iocb, to)),
        )
    }

    /// # Safety
    ///
    /// Called by the VFS with a request on a file of `T`'s.
    unsafe extern "C" fn write_iter(
        iocb: *mut bindings::kiocb,
        from: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: As the VFS promises.
        let (iocb, from) = unsafe { (Kiocb::<T>::from_raw(iocb), IovIterSource::from_raw(from)) };
        size(
            iocb.file()
                .check_running()
                .and_then(|()| T::write_iter(iocb, from)),
        )
    }

    /// # Safety
    ///
    /// Called by the VFS with a file of `T`'s, a valid position, and a pipe whose lock it holds.
    unsafe extern "C" fn splice_read(
        file: *mut bindings::file,
        pos: *mut i64,
        pipe: *mut kernel::bindings::pipe_inode_info,
        len: usize,
        flags: c_uint,
    ) -> isize {
        // SAFETY: As the VFS promises.
        let file = unsafe { File::<T>::from_raw(file) };
        let splice = Splice {
            file,
            pos,
            pipe,
            len,
            flags,
        };
        size(file.check_running().and_then(|()| T::splice_read(splice)))
    }

    /// # Safety
    ///
    /// Called by the VFS with a file of `T`'s.
    unsafe extern "C" fn llseek(file: *mut bindings::file, offset: i64, whence: c_int) -> i64 {
        // SAFETY: As the VFS promises.
        match T::llseek(unsafe { File::from_raw(file) }, offset, whence) {
            Ok(pos) => pos,
            Err(err) => err.to_errno().into(),
        }
    }

    /// # Safety
    ///
    /// Called by the VFS with a file of `T`'s.
    unsafe extern "C" fn fsync(
        file: *mut bindings::file,
        start: i64,
        end: i64,
        datasync: c_int,
    ) -> c_int {
        // SAFETY: As the VFS promises.
        let file = unsafe { File::from_raw(file) };
        from_result(|| {
            file.check_running()?;
            T::fsync(file, start, end, datasync != 0).map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// Called by the VFS with a file of `T`'s, and a range that it checked.
    unsafe extern "C" fn fallocate(
        file: *mut bindings::file,
        mode: c_int,
        offset: i64,
        len: i64,
    ) -> isize {
        // SAFETY: As the VFS promises.
        let file = unsafe { File::from_raw(file) };
        let Some(mode) = Fallocate::from_bits(mode as u32) else {
            return EOPNOTSUPP.to_errno() as isize;
        };
        size(
            file.check_running()
                .and_then(|()| T::fallocate(file, mode, offset as u64, len as u64).map(|()| 0)),
        )
    }

    /// # Safety
    ///
    /// Called by the VFS with a file of `T`'s.
    unsafe extern "C" fn fadvise(
        file: *mut bindings::file,
        start: i64,
        end: i64,
        advice: c_int,
    ) -> c_int {
        // SAFETY: As the VFS promises.
        let file = unsafe { File::from_raw(file) };
        from_result(|| T::fadvise(file, start, end, advice).map(|()| 0))
    }
}

/// A count or an error, as C returns them.
#[inline]
fn size(ret: Result<usize>) -> isize {
    match ret {
        Ok(n) => n as isize,
        Err(err) => err.to_errno() as isize,
    }
}
