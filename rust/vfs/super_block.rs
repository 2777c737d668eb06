// SPDX-License-Identifier: GPL-2.0

//! The super block: a mounted file system, and the way from its device to its inodes.
//!
//! Invariant: `s_fs_info` is a `T::SuperData` if and only if the super block is [`Ready`]; while it
//! is [`New`], there is one owner (the mounting task, which holds `s_umount`), and no inode.
//!
//! C header: [`include/linux/fs/super_types.h`](srctree/include/linux/fs/super_types.h)

use super::{
    export,
    inode::{
        self,
        INode, //
    },
    sb_err,
    xattr,
    Buffer,
    FileSystem, //
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
    error::to_result,
    sync::aref::ARef,
    types::Opaque, //
};

mod ops;
pub(super) use self::ops::{
    fill_super,
    kill_sb, //
};

/// Being filled; see [`SuperBlock`].
pub struct New;
/// Filled; see [`SuperBlock`].
pub struct Ready;

/// A `struct super_block` of the file system `T`.
///
/// # Invariants
///
/// The super block is of type `T`. `s_bdev` is its block device, open. In state [`Ready`],
/// `s_fs_info` points to a pinned `T::SuperData`.
#[repr(transparent)]
pub struct SuperBlock<T: FileSystem, S = Ready> {
    inner: Opaque<bindings::super_block>,
    _p: PhantomData<(T, S)>,
}

// SAFETY: A super block has no owner thread, and its data is `Send` and `Sync`.
unsafe impl<T: FileSystem, S> Send for SuperBlock<T, S> {}
// SAFETY: What `&self` reaches is locked, atomic, or constant once the state is `Ready`.
unsafe impl<T: FileSystem, S> Sync for SuperBlock<T, S> {}

/// What [`SuperBlock::iget`] found.
pub enum Iget<T: FileSystem> {
    /// In memory already.
    Cached(ARef<INode<T>>),
    /// To be read from the disk by the caller.
    New(inode::New<T>),
}

impl<T: FileSystem, S> SuperBlock<T, S> {
    /// The wrapper of a C object.
    ///
    /// # Safety
    ///
    /// `ptr` must fulfil the invariants of [`SuperBlock<T, S>`] for `'a`.
    #[inline]
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::super_block) -> &'a Self {
        // SAFETY: The caller promises validity, and the type is transparent.
        unsafe { &*ptr.cast() }
    }

    /// The C object.
    #[inline]
    pub(super) fn as_ptr(&self) -> *mut bindings::super_block {
        self.inner.get()
    }

    /// The block device.
    #[inline]
    pub(super) fn bdev(&self) -> *mut bindings::block_device {
        // SAFETY: Valid by the type's invariants; `s_bdev` does not change.
        unsafe { (*self.as_ptr()).s_bdev }
    }

    /// The name of the device, for messages.
    pub fn id(&self) -> &CStr {
        // SAFETY: `s_id` is a terminated string, set before the super block is filled.
        unsafe { CStr::from_char_ptr((&raw const (*self.as_ptr()).s_id).cast()) }
    }

    /// Bytes on the device.
    pub fn device_bytes(&self) -> u64 {
        // SAFETY: `s_bdev` is an open block device.
        unsafe { bindings::rdaxfs_bdev_nr_bytes(self.bdev()) }
    }

    /// Bytes in a block.
    #[inline]
    pub fn block_size(&self) -> usize {
        // SAFETY: Valid by the type's invariants; changed only through `&mut self`.
        unsafe { (*self.as_ptr()).s_blocksize }
    }

    /// The binary logarithm of [`block_size`](Self::block_size).
    #[inline]
    pub fn block_bits(&self) -> u32 {
        // SAFETY: As for the size.
        unsafe { (*self.as_ptr()).s_blocksize_bits.into() }
    }

    /// The device's number, as user space knows it (`new_encode_dev`).
    pub fn device_number(&self) -> u32 {
        // SAFETY: Valid by the type's invariants; `s_dev` does not change.
        unsafe { bindings::rdaxfs_new_encode_dev((*self.as_ptr()).s_dev) }
    }

    /// Whether there are access control lists.
    pub fn has_posix_acl(&self) -> bool {
        // SAFETY: Valid by the type's invariants; the flags are read as one word.
        let flags = unsafe { (&raw const (*self.as_ptr()).s_flags).read_volatile() };
        flags & bindings::SB_POSIXACL != 0
    }

    /// Whether the device itself refuses writes.
    pub fn device_is_read_only(&self) -> bool {
        // SAFETY: `s_bdev` is an open block device.
        unsafe { bindings::rdaxfs_bdev_read_only(self.bdev()) }
    }

    /// Reads the block `nr` through the buffer cache. [`EIO`] if that fails.
    pub fn read_buffer(&self, nr: u64) -> Result<Buffer> {
        // SAFETY: The device is open, and the size is the one it was set to.
        let bh = unsafe { bindings::rdaxfs_sb_bread(self.as_ptr(), nr) };
        let Some(bh) = NonNull::new(bh) else {
            // Not every driver says so.
            sb_err!(self, "block {nr}: it cannot be read");
            return Err(EIO);
        };
        // SAFETY: A buffer that was returned is up to date, mapped, and counted for us; those of
        // block devices lie in lowmem.
        Ok(unsafe { Buffer::from_raw(bh) })
    }

    /// Bytes that the device discards at once, and at least; nothing if it does not discard.
    pub fn discard_granularity(&self) -> Option<u32> {
        // SAFETY: `s_bdev` is an open block device.
        match unsafe { bindings::rdaxfs_bdev_discard_granularity(self.bdev()) } {
            0 => None,
            granularity => Some(granularity),
        }
    }

    /// Starts reading the block `nr`, which will be wanted soon.
    pub fn read_ahead(&self, nr: u64) {
        // SAFETY: The device is open, and the size is the one it was set to.
        unsafe { bindings::__breadahead(self.bdev(), nr, self.block_size() as u32) };
    }
}

impl<T: FileSystem> SuperBlock<T, New> {
    /// Sets the size of a block. [`EINVAL`] if it is smaller than the device's, or no power of two
    /// between 512 and what the page cache can take.
    pub fn set_block_size(&mut self, size: u32) -> Result {
        let size = i32::try_from(size).map_err(|_| EINVAL)?;
        // SAFETY: The mounting task is the only user, as `&mut self` says.
        match unsafe { bindings::sb_set_blocksize(self.as_ptr(), size) } {
            0 => Err(EINVAL),
            _ => Ok(()),
        }
    }

    /// Sets the size of a block to `size`, or to that of the device's if that is larger.
    pub fn set_min_block_size(&mut self, size: u32) -> Result {
        let size = i32::try_from(size).map_err(|_| EINVAL)?;
        // SAFETY: The mounting task is the only user, as `&mut self` says.
        match unsafe { bindings::sb_min_blocksize(self.as_ptr(), size) } {
            0 => Err(EINVAL),
            _ => Ok(()),
        }
    }

    /// Sets `s_magic`, which `statfs(2)` reports.
    pub fn set_magic(&mut self, magic: u32) {
        // SAFETY: The mounting task is the only user.
        unsafe { (*self.as_ptr()).s_magic = magic as usize };
    }

    /// Sets the size that no file may exceed, in bytes, and the number of links that none may.
    pub fn set_limits(&mut self, maxbytes: i64, max_links: u32) {
        // SAFETY: The mounting task is the only user.
        unsafe {
            (*self.as_ptr()).s_maxbytes = maxbytes;
            (*self.as_ptr()).s_max_links = max_links;
        }
    }

    /// Lets file handles be made, and be found by `O`.
    pub fn set_export_operations<O: export::Operations<FileSystem = T>>(&mut self) {
        // SAFETY: The mounting task is the only user. The type is the same, opaque in the kernel's
        // bindings.
        unsafe {
            (*self.as_ptr()).s_export_op = core::ptr::from_ref(export::operations::<O>()).cast()
        };
    }

    /// Says under which name user space finds the file system's directory in sysfs.
    pub fn set_sysfs_name(&mut self) {
        // SAFETY: The mounting task is the only user.
        unsafe { bindings::rdaxfs_super_set_sysfs_name_bdev(self.as_ptr()) };
    }

    /// Lets inodes have extended attributes, which `O` reads and sets.
    pub fn set_xattr_handlers<O: xattr::Operations<FileSystem = T>>(&mut self) {
        // SAFETY: The mounting task is the only user, and the table is constant.
        unsafe { (*self.as_ptr()).s_xattr = xattr::handlers::<O>().as_ptr() };
    }

    /// Has the VFS ask for access control lists, and leave the umask to what directories pass on.
    pub fn set_posix_acl(&mut self) {
        // SAFETY: The mounting task is the only user.
        unsafe { (*self.as_ptr()).s_flags |= bindings::SB_POSIXACL };
    }

    /// Has writeback of the page cache counted for the control groups whose data it is.
    pub fn set_cgroup_writeback(&mut self) {
        // SAFETY: The mounting task is the only user.
        unsafe { (*self.as_ptr()).s_iflags |= bindings::SB_I_CGROUPWB as usize };
    }

    /// Sets the first and the last second that a time can be in, and the nanoseconds that times are
    /// multiples of.
    pub fn set_time_range(&mut self, min: i64, max: i64, granularity: u32) {
        // SAFETY: The mounting task is the only user.
        unsafe {
            (*self.as_ptr()).s_time_gran = granularity;
            (*self.as_ptr()).s_time_min = min;
            (*self.as_ptr()).s_time_max = max;
        }
    }

    /// Sets the UUID by which user space finds the file system.
    pub fn set_uuid(&mut self, uuid: &[u8; 16]) {
        // SAFETY: The mounting task is the only user.
        unsafe {
            (*self.as_ptr()).s_uuid.b = *uuid;
            (*self.as_ptr()).s_uuid_len = 16;
        }
    }

    /// Makes the mount read-only although it was not asked to be.
    pub fn set_read_only(&mut self) {
        // SAFETY: The mounting task is the only user.
        unsafe { (*self.as_ptr()).s_flags |= bindings::SB_RDONLY };
    }
}

impl<T: FileSystem> SuperBlock<T> {
    /// The private data.
    #[inline]
    pub fn data(&self) -> Pin<&T::SuperData> {
        // SAFETY: By the type's invariants, `s_fs_info` is a pinned `T::SuperData`.
        unsafe { Pin::new_unchecked(&*(*self.as_ptr()).s_fs_info.cast()) }
    }

    /// Whether it is mounted read-only, or as good as that since an error was found.
    #[inline]
    pub fn is_read_only(&self) -> bool {
        // SAFETY: Valid by the type's invariants; the flags are read as one word.
        let flags = unsafe { (&raw const (*self.as_ptr()).s_flags).read_volatile() };
        flags & bindings::SB_RDONLY != 0 || T::has_stopped(self)
    }

    /// [`EIO`] once the file system was shut down.
    #[inline]
    pub fn check_running(&self) -> Result {
        if T::is_shut_down(self) {
            return Err(EIO);
        }
        Ok(())
    }

    /// Freezes the file system by its device, calls `f`, and thaws it.
    pub fn while_frozen(&self, f: impl FnOnce()) -> Result {
        // SAFETY: `s_bdev` is an open block device; frozen and thawed once.
        unsafe {
            to_result(bindings::bdev_freeze(self.bdev()))?;
            f();
            to_result(bindings::bdev_thaw(self.bdev()))
        }
    }

    /// Tells the device that nobody needs what is in these blocks of the file system, and waits.
    pub fn discard(&self, start: u64, blocks: u64) -> Result {
        let bits = self.block_bits().saturating_sub(9);
        // SAFETY: `s_bdev` is an open block device.
        to_result(unsafe {
            bindings::blkdev_issue_discard(
                self.bdev(),
                start << bits,
                blocks << bits,
                bindings::GFP_KERNEL,
            )
        })
    }

    /// Makes the file system read-only; writers see [`EROFS`] from now on. The caller holds `s_umount`
    /// exclusively, and the file system is not frozen, or about to be thawed.
    pub fn force_read_only(&self) {
        // SAFETY: Valid by the type's invariants; readers test one word.
        unsafe { bindings::rdaxfs_sb_force_rdonly(self.as_ptr()) };
    }

    /// As [`force_read_only`](Self::force_read_only), after an error, with any locks held: does nothing if
    /// `s_umount` is taken, or if the file system is frozen, since it could not be thawed then.
    pub fn try_force_read_only(&self) {
        // SAFETY: Valid by the type's invariants; nothing is waited for.
        unsafe { bindings::rdaxfs_sb_try_force_rdonly(self.as_ptr()) };
    }

    /// Lets writers in, in a remount that makes the file system writable, before it is through. The
    /// caller holds `s_umount` exclusively.
    pub fn begin_read_write(&self) {
        // SAFETY: Valid by the type's invariants; the lock is held.
        unsafe { (*self.as_ptr()).s_flags &= !bindings::SB_RDONLY };
    }

    /// The inode `ino`, in memory or to be read.
    pub fn iget(&self, ino: u64) -> Result<Iget<T>> {
        // SAFETY: The super block is ready, so inodes may be fetched.
        let ptr = unsafe { bindings::iget_locked(self.as_ptr(), ino) };
        let ptr = NonNull::new(ptr).ok_or(ENOMEM)?;
        // SAFETY: A valid inode with one count for us; `I_NEW` is ours to clear if it is set.
        unsafe {
            Ok(if bindings::rdaxfs_inode_is_new(ptr.as_ptr()) {
                Iget::New(inode::New::from_raw(ptr, false))
            } else {
                Iget::Cached(ARef::from_raw(ptr.cast()))
            })
        }
    }

    /// A fresh in-memory inode without a number.
    pub fn new_inode(&self) -> Result<inode::Fresh<T>> {
        // SAFETY: The super block is ready, so inodes may be made.
        let ptr = unsafe { bindings::new_inode(self.as_ptr()) };
        // SAFETY: A valid inode that nobody else knows, with one count for us.
        Ok(unsafe { inode::Fresh::from_raw(NonNull::new(ptr).ok_or(ENOMEM)?) })
    }

    /// Writes everything, inodes and their pages first, and waits. The caller holds `s_umount`, as
    /// [`FileSystem::reconfigure`] does.
    pub fn sync_filesystem(&self) -> Result {
        // SAFETY: The super block is ready.
        to_result(unsafe { bindings::sync_filesystem(self.as_ptr()) })
    }

    /// Writes all dirty buffers of the device, and waits.
    pub fn sync_device(&self) -> Result {
        // SAFETY: `s_bdev` is an open block device.
        to_result(unsafe { bindings::sync_blockdev(self.bdev()) })
    }

    /// Writes `len` bytes of zeros to the device from byte `addr` on, and waits. Both are multiples of the
    /// size of a block.
    pub fn zero_device(&self, addr: u64, len: u64) -> Result {
        // SAFETY: `s_bdev` is an open block device.
        to_result(unsafe {
            bindings::blkdev_issue_zeroout(
                self.bdev(),
                addr >> 9,
                len >> 9,
                bindings::GFP_KERNEL,
                0,
            )
        })
    }

    /// Whether the device makes zeros of a range without being sent them, and gives its storage back.
    pub fn can_unmap_to_zeroes(&self) -> bool {
        // SAFETY: `s_bdev` is an open block device.
        unsafe { bindings::rdaxfs_bdev_write_zeroes_unmap_sectors(self.bdev()) != 0 }
    }

    /// Makes the device's volatile cache durable.
    pub fn flush_device(&self) -> Result {
        // SAFETY: `s_bdev` is an open block device.
        to_result(unsafe { bindings::blkdev_issue_flush(self.bdev()) })
    }
}

/// What `statfs(2)` reports, in blocks and inodes.
pub struct StatFs {
    /// `f_type`.
    pub magic: u32,
    /// `f_blocks`: blocks that can hold data.
    pub blocks: u64,
    /// `f_bfree`: free blocks.
    pub free_blocks: u64,
    /// `f_bavail`: free blocks that are not reserved for root.
    pub available_blocks: u64,
    /// `f_files`: inodes.
    pub files: u64,
    /// `f_ffree`: free inodes.
    pub free_files: u64,
    /// `f_fsid`.
    pub fsid: u64,
    /// `f_namelen`: bytes in the longest name.
    pub name_len: u32,
}
