// SPDX-License-Identifier: GPL-2.0

//! Mappings for fs/iomap: where the bytes of a file lie on the device.
//!
//! A file system implements [`Begin`] once for each purpose (read, buffered write, DAX write, …),
//! and names the one it wants at the call. Each becomes an `iomap_ops` of its own, made at compile
//! time; there is no `begin` that looks at flags to find out what it was called for.
//!
//! `iomap_begin` and not `iomap_next`, since it is the cheaper one here: a fault maps once, and with
//! no `iomap_end` the second, last round of `iomap_iter` then has no indirect call at all.
//!
//! What works on the page cache is reached through a [`PageCacheToken`] only.
//!
//! C header: [`include/linux/iomap.h`](srctree/include/linux/iomap.h)

use super::{
    aspace,
    delay::{
        self,
        Point, //
    },
    file::Kiocb,
    inode::Locked,
    journaled,
    mm::{
        Fault,
        VmFault, //
    },
    mode::{
        InvalidateExclusive,
        PageCacheToken,
        Stable, //
    },
    FileSystem,
    INode,
    SuperBlock, //
};
use crate::{
    bindings,
    prelude::*, //
};
use core::marker::PhantomData;
use kernel::{
    error::to_result,
    iov::{
        IovIterDest,
        IovIterSource, //
    }, //
};

/// What backs a range of a file.
#[derive(Clone, Copy)]
pub enum Place {
    /// Nothing: it reads as zeros.
    Hole,
    /// The device, from this byte on.
    Written(u64),
    /// The device, from this byte on; but it reads as zeros until it is written.
    Unwritten(u64),
    /// The device, from this byte on, which is within a block of metadata: to be told, not to be read.
    Inline(u64),
}

/// A range of a file and what backs it.
///
/// # Invariants
///
/// `len` is not zero, and `offset + len` is at most `i64::MAX`.
pub struct Map {
    offset: u64,
    len: u64,
    place: Place,
    flags: u16,
    generation: u64,
}

impl Map {
    /// The `len` bytes from `offset` of the file on are backed by `place`. [`EIO`] for no bytes, or
    /// for more than a file can have.
    #[inline(always)]
    pub fn new(offset: u64, len: u64, place: Place) -> Result<Self> {
        match offset.checked_add(len) {
            // INVARIANT: Checked by the pattern.
            Some(end) if len > 0 && end <= i64::MAX as u64 => Ok(Self {
                offset,
                len,
                place,
                flags: 0,
                generation: 0,
            }),
            _ => Err(EIO),
        }
    }

    /// The blocks were allocated by this request: what is not written of them must be zeroed, or (for
    /// DAX) pages of zeros mapped over them must be unmapped.
    #[inline]
    pub fn newly_allocated(mut self, new: bool) -> Self {
        if new {
            self.flags |= bindings::IOMAP_F_NEW as u16;
        }
        self
    }

    /// Metadata that is needed to find the data again is not on disk yet.
    #[inline]
    pub fn needs_sync(mut self, dirty: bool) -> Self {
        if dirty {
            self.flags |= bindings::IOMAP_F_DIRTY as u16;
        }
        self
    }

    /// The generation of the file's mappings that this one was taken from; see
    /// [`aspace::Operations::map_generation`].
    #[inline]
    pub fn of_generation(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }

    /// Whether the byte at `pos` is in the range.
    #[inline]
    pub(super) fn covers(&self, pos: u64) -> bool {
        pos.checked_sub(self.offset)
            .is_some_and(|into| into < self.len)
    }

    /// Fills in what C asks for.
    #[inline]
    pub(super) fn write_to<T: aspace::Operations>(
        self,
        inode: &INode<T>,
        iomap: &mut bindings::iomap,
    ) {
        let (kind, addr) = match self.place {
            Place::Hole => (bindings::IOMAP_HOLE, u64::MAX),
            Place::Written(addr) => (bindings::IOMAP_MAPPED, addr),
            Place::Unwritten(addr) => (bindings::IOMAP_UNWRITTEN, addr),
            Place::Inline(addr) => (bindings::IOMAP_INLINE, addr),
        };
        iomap.offset = self.offset as i64;
        iomap.length = self.len;
        iomap.type_ = kind as u16;
        iomap.flags = self.flags;
        iomap.addr = addr;
        iomap.validity_cookie = self.generation;
        // SAFETY: The inode and its super block are valid.
        iomap.bdev = unsafe { (*(*inode.as_ptr()).i_sb).s_bdev };
    }
}

/// The part of a file that is asked for, and how.
#[derive(Clone, Copy)]
pub struct Request {
    /// The first byte.
    pub pos: u64,
    /// The number of bytes. An answer may cover less, if it covers the first; or more.
    pub len: u64,
    flags: c_uint,
}

impl Request {
    /// Whether to answer [`EAGAIN`] instead of waiting.
    #[inline]
    pub fn nowait(&self) -> bool {
        self.flags & bindings::IOMAP_NOWAIT != 0
    }

    /// Whether to answer [`EAGAIN`] instead of allocating, or of giving unwritten blocks.
    #[inline]
    pub fn overwrite_only(&self) -> bool {
        self.flags & bindings::IOMAP_OVERWRITE_ONLY != 0
    }

    /// Whether the range is to be zeroed: a hole then stays one.
    #[inline]
    pub fn zeroing(&self) -> bool {
        self.flags & bindings::IOMAP_ZERO != 0
    }
}

/// How a file system answers for one purpose.
pub trait Begin<T: FileSystem> {
    /// What backs the file at `request.pos`: the answer covers that byte.
    fn begin(inode: &INode<T>, request: Request) -> Result<Map>;
}

/// The `iomap_ops` of purpose `P`.
pub(super) struct Ops<T, P>(PhantomData<(T, P)>);

impl<T: aspace::Operations, P: Begin<T>> Ops<T, P> {
    pub(super) const TABLE: &'static bindings::iomap_ops = &bindings::iomap_ops {
        iomap_begin: Some(Self::begin),
        iomap_end: None,
        iomap_next: None,
    };

    /// # Safety
    ///
    /// `inode` must be one of `T`'s, `iomap` valid for writing.
    unsafe extern "C" fn begin(
        inode: *mut bindings::inode,
        pos: i64,
        len: i64,
        flags: c_uint,
        iomap: *mut bindings::iomap,
        _srcmap: *mut bindings::iomap,
    ) -> c_int {
        // SAFETY: As promised by the caller.
        let (inode, iomap) = unsafe { (INode::<T>::from_raw(inode), &mut *iomap) };
        let request = Request {
            pos: pos as u64,
            len: len as u64,
            flags,
        };
        match P::begin(inode, request) {
            Ok(map) if map.covers(request.pos) => {
                map.write_to(inode, iomap);
                if flags & bindings::IOMAP_DAX != 0 {
                    if let Some(dax) = T::dax_device(inode.sb()) {
                        dax.place(iomap);
                    }
                }
                0
            }
            Ok(_) => EIO.to_errno(),
            Err(err) => err.to_errno(),
        }
    }
}

/// What a buffered write of `T` needs beside mappings.
struct WriteOps<T>(PhantomData<T>);

impl<T: aspace::Operations> WriteOps<T> {
    const TABLE: &'static bindings::iomap_write_ops = &bindings::iomap_write_ops {
        get_folio: None,
        put_folio: None,
        iomap_valid: Some(Self::iomap_valid),
        read_folio_range: None,
    };

    const JOURNALED: &'static bindings::iomap_write_ops = &bindings::iomap_write_ops {
        read_folio_range: Some(journaled::read_folio_range_sync::<T>),
        ..*Self::TABLE
    };

    fn of(sb: &SuperBlock<T>) -> &'static bindings::iomap_write_ops {
        if T::journals_data(sb) {
            Self::JOURNALED
        } else {
            Self::TABLE
        }
    }

    /// # Safety
    ///
    /// `inode` must be one of `T`'s, `iomap` valid for reading.
    unsafe extern "C" fn iomap_valid(
        inode: *mut bindings::inode,
        iomap: *const bindings::iomap,
    ) -> bool {
        // SAFETY: As promised by the caller.
        let (inode, cookie) = unsafe { (INode::<T>::from_raw(inode), (*iomap).validity_cookie) };
        T::map_generation(inode) == cookie
    }
}

/// What direct writes of `T` do when they are complete.
struct DirectWriteOps<T>(PhantomData<T>);

impl<T: aspace::Operations> DirectWriteOps<T> {
    const TABLE: &'static bindings::iomap_dio_ops = &bindings::iomap_dio_ops {
        end_io: Some(Self::end_io),
        submit_io: None,
        bio_set: core::ptr::null_mut(),
    };

    /// # Safety
    ///
    /// `iocb` must be a request of one of `T`'s files.
    unsafe extern "C" fn end_io(
        iocb: *mut bindings::kiocb,
        size: isize,
        error: c_int,
        flags: c_uint,
    ) -> c_int {
        if error != 0 || size <= 0 {
            return error;
        }
        // SAFETY: As promised by the caller.
        let iocb = unsafe { Kiocb::<T>::from_raw(iocb) };
        let unwritten = flags & bindings::IOMAP_DIO_UNWRITTEN != 0;
        delay::pass(iocb.inode(), Point::DirectDone);
        // Memory may be asked for on behalf of writeback here.
        let done = super::lock::nofs(|| {
            T::direct_write_done(iocb.inode(), iocb.pos(), size as u64, unwritten)
        });
        match done {
            Ok(()) => 0,
            Err(err) => err.to_errno(),
        }
    }
}

/// Turns what C returns for a read or write into a count or an error.
#[inline]
pub(super) fn count(ret: isize) -> Result<usize> {
    usize::try_from(ret).map_err(|_| Error::from_errno(ret as c_int))
}

/// How a direct write may be carried out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direct {
    /// Asynchronously, if the caller wants that.
    Async,
    /// It must be complete when the call returns.
    Wait,
    /// Only if no block is allocated or zeroed for it: else [`EAGAIN`].
    OverwriteOnly,
}

impl<T: aspace::Operations> PageCacheToken<'_, T> {
    /// Reads through the page cache, from `iocb`'s position on.
    #[inline]
    pub fn read(&self, iocb: &mut Kiocb<'_, T>, to: &mut IovIterDest<'_>) -> Result<usize> {
        iocb.check(self.inode())?;
        delay::pass(self.inode(), Point::Read);
        // SAFETY: Both are valid, and the file is one with a page cache.
        count(unsafe { bindings::filemap_read(iocb.as_ptr(), to.as_raw(), 0) })
    }

    /// Writes into the page cache, at `iocb`'s position.
    pub fn write<P: Begin<T>>(
        &self,
        _io: &Locked<T>,
        iocb: &mut Kiocb<'_, T>,
        from: &mut IovIterSource<'_>,
    ) -> Result<usize> {
        iocb.check(self.inode())?;
        delay::pass(self.inode(), Point::Write);
        // SAFETY: All are valid, the file is one with a page cache, and `i_rwsem` is held.
        count(unsafe {
            bindings::iomap_file_buffered_write(
                iocb.as_ptr(),
                from.as_raw(),
                Ops::<T, P>::TABLE,
                WriteOps::<T>::of(self.inode().sb()),
                core::ptr::null_mut(),
            )
        })
    }

    /// Reads from the device into the caller's memory, after what is dirty was written back.
    pub fn direct_read<P: Begin<T>>(
        &self,
        iocb: &mut Kiocb<'_, T>,
        to: &mut IovIterDest<'_>,
    ) -> Result<usize> {
        iocb.check(self.inode())?;
        delay::pass(self.inode(), Point::Read);
        // SAFETY: Both are valid, and the file is one with a page cache.
        count(unsafe {
            bindings::iomap_dio_rw(
                iocb.as_ptr(),
                to.as_raw(),
                Ops::<T, P>::TABLE,
                core::ptr::null(),
                0,
                core::ptr::null_mut(),
                0,
            )
        })
    }

    /// Writes from the caller's memory to the device. [`ENOTBLK`] if pages of the range could not be
    /// removed from the page cache: write through it, then.
    ///
    /// The caller holds `i_rwsem`, exclusively unless the write is neither partial to a block nor
    /// extends the file.
    pub fn direct_write<P: Begin<T>>(
        &self,
        iocb: &mut Kiocb<'_, T>,
        from: &mut IovIterSource<'_>,
        how: Direct,
    ) -> Result<usize> {
        iocb.check(self.inode())?;
        delay::pass(self.inode(), Point::Write);
        let flags = match how {
            Direct::Async => 0,
            Direct::Wait => bindings::IOMAP_DIO_FORCE_WAIT,
            Direct::OverwriteOnly => bindings::IOMAP_DIO_OVERWRITE_ONLY,
        };
        // SAFETY: All are valid, and the file is one with a page cache.
        count(unsafe {
            bindings::iomap_dio_rw(
                iocb.as_ptr(),
                from.as_raw(),
                Ops::<T, P>::TABLE,
                DirectWriteOps::<T>::TABLE,
                flags,
                core::ptr::null_mut(),
                0,
            )
        })
    }

    /// Zeroes `len` bytes from `pos` on in the page cache, but for holes and unwritten blocks.
    pub fn zero<P: Begin<T>>(
        &self,
        _io: &Locked<T>,
        _invalidate: &InvalidateExclusive<'_, T>,
        pos: u64,
        len: u64,
    ) -> Result {
        let (pos, len) = signed(pos, len)?;
        // SAFETY: The inode is valid, and one with a page cache.
        to_result(unsafe {
            bindings::iomap_zero_range(
                self.inode().as_ptr(),
                pos,
                len,
                core::ptr::null_mut(),
                Ops::<T, P>::TABLE,
                WriteOps::<T>::of(self.inode().sb()),
                core::ptr::null_mut(),
            )
        })
    }

    /// Makes the page at which `fault` points writable; without a page there is nothing to do but to
    /// have the access tried again. The caller holds `invalidate_lock` shared.
    #[inline]
    pub fn page_mkwrite<P: Begin<T>>(&self, fault: &Fault<'_, T>) -> VmFault {
        if !fault.is_on(self.inode()) {
            return VmFault::SIGBUS;
        }
        if !fault.has_page() {
            return VmFault::NOPAGE;
        }
        delay::pass(self.inode(), Point::Mkwrite);
        // SAFETY: The page of `fault` is set, and the file is one with a page cache.
        VmFault::from_raw(unsafe {
            bindings::iomap_page_mkwrite(fault.as_ptr(), Ops::<T, P>::TABLE, core::ptr::null_mut())
        })
    }

    /// Finds the page at which `fault` points, and reads it if need be.
    ///
    /// Takes the fault: the mmap lock may be released on the way, and with it what keeps the VMA and
    /// its file. So the token is that of a guard which keeps the inode.
    #[inline]
    pub fn fault(&self, fault: Fault<'_, T>) -> VmFault {
        if !fault.is_on(self.inode()) {
            return VmFault::SIGBUS;
        }
        delay::pass(self.inode(), Point::Fault);
        // SAFETY: The fault is under way, and the file is one with a page cache.
        let ret = unsafe { bindings::filemap_fault(fault.as_ptr()) };
        delay::pass(self.inode(), Point::FaultDone);
        VmFault::from_raw(ret)
    }
}

/// A byte range in C's type. [`EFBIG`] if it has no end in that.
#[inline]
pub(super) fn signed(pos: u64, len: u64) -> Result<(i64, i64)> {
    let end = pos.checked_add(len).ok_or(EFBIG)?;
    i64::try_from(end).map_err(|_| EFBIG)?;
    Ok((pos as i64, len as i64))
}

/// Which of the two `SEEK_` requests.
#[derive(Clone, Copy)]
pub enum Seek {
    /// `SEEK_DATA`.
    Data,
    /// `SEEK_HOLE`.
    Hole,
}

impl Seek {
    /// The request that `whence` makes, if it is one of these.
    pub fn from_whence(whence: i32) -> Option<Self> {
        match whence as u32 {
            bindings::SEEK_DATA => Some(Self::Data),
            bindings::SEEK_HOLE => Some(Self::Hole),
            _ => None,
        }
    }
}

/// The next data or the next hole from `offset` on. [`ENXIO`] past the end.
pub fn seek<T: aspace::Operations>(guard: &impl Stable<T>, offset: i64, what: Seek) -> Result<i64> {
    let inode = guard.inode().as_ptr();
    // SAFETY: The inode is valid.
    let found = unsafe {
        match what {
            Seek::Data => bindings::iomap_seek_data(inode, offset, Ops::<T, T::Report>::TABLE),
            Seek::Hole => bindings::iomap_seek_hole(inode, offset, Ops::<T, T::Report>::TABLE),
        }
    };
    if found < 0 {
        Err(Error::from_errno(found as c_int))
    } else {
        Ok(found)
    }
}

/// `inode_operations.fiemap`
///
/// # Safety
///
/// Called by the VFS with an inode of `T`'s that is a regular file.
pub(super) unsafe extern "C" fn fiemap<T: aspace::Operations>(
    inode: *mut bindings::inode,
    info: *mut kernel::bindings::fiemap_extent_info,
    start: u64,
    len: u64,
) -> c_int {
    // SAFETY: As the VFS promises.
    let inode = unsafe { INode::<T>::from_raw(inode) };
    let _guard = inode.lock_shared();
    let info = info.cast::<bindings::fiemap_extent_info>();
    // SAFETY: The inode is valid, and `info` the VFS's. iomap refuses the flag that says what to ask for.
    unsafe {
        let attributes = (*info).fi_flags & bindings::FIEMAP_FLAG_XATTR != 0;
        (*info).fi_flags &= !bindings::FIEMAP_FLAG_XATTR;
        let ops = match attributes {
            true => Ops::<T, T::ReportAttributes>::TABLE,
            false => Ops::<T, T::Report>::TABLE,
        };
        bindings::iomap_fiemap(inode.as_ptr(), info, start, len, ops)
    }
}
