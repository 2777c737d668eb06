// SPDX-License-Identifier: GPL-2.0

//! The fields of `struct inode` that a file system reads and sets.
//!
//! Who sets a field holds `i_rwsem` exclusively, unless it says otherwise, or owns the inode as a
//! [`New`](super::New). Readers need no lock, and see an old value or a new one.

use super::{
    FileType,
    INode, //
};
use crate::{
    bindings,
    vfs::{
        compat,
        FileSystem,
        Timespec, //
    },
};

/// Reads a field that others may be changing.
macro_rules! read {
    ($self:ident.$($field:tt)+) => {
        // SAFETY: The inode is alive; a field of word size is read at once.
        unsafe { (&raw const (*$self.as_ptr()).$($field)+).read_volatile() }
    };
}

impl<T: FileSystem> INode<T> {
    /// The inode's number.
    #[inline]
    pub fn ino(&self) -> u64 {
        // SAFETY: The inode is alive; the number does not change.
        unsafe { (*self.as_ptr()).i_ino }
    }

    /// Format and permission bits.
    #[inline]
    pub fn mode(&self) -> u16 {
        read!(self.i_mode)
    }

    /// Sets the permission bits to those of `mode`.
    pub fn set_permissions(&self, mode: u16) {
        let mode = self.mode() & bindings::S_IFMT as u16 | mode & !(bindings::S_IFMT as u16);
        // SAFETY: The inode is alive; a field of two bytes is written at once.
        unsafe { (&raw mut (*self.as_ptr()).i_mode).write_volatile(mode) };
    }

    /// What kind of inode it is. One that was never initialised counts as a regular file, and has
    /// no operations.
    #[inline]
    pub fn kind(&self) -> FileType {
        FileType::of_mode(self.mode()).unwrap_or(FileType::Regular)
    }

    /// Bytes in the file (`i_size_read`).
    #[inline]
    pub fn size(&self) -> u64 {
        // SAFETY: The inode is alive.
        unsafe { bindings::rdaxfs_i_size_read(self.as_ptr()) as u64 }
    }

    /// Sets the number of bytes in the file (`i_size_write`). It must not exceed `s_maxbytes`.
    #[inline]
    pub fn set_size(&self, size: u64) {
        // SAFETY: The inode is alive.
        unsafe { bindings::rdaxfs_i_size_write(self.as_ptr(), size as i64) };
    }

    /// The number of links.
    #[inline]
    pub fn nlink(&self) -> u32 {
        read!(self.__bindgen_anon_1.i_nlink)
    }

    /// Sets the number of links.
    pub fn set_nlink(&self, nlink: u32) {
        // SAFETY: The inode is alive.
        unsafe { bindings::set_nlink(self.as_ptr(), nlink) };
    }

    /// One more link. The inode has one, or is a temporary file that gets its first.
    pub fn inc_nlink(&self) {
        // SAFETY: The inode is alive.
        unsafe { bindings::inc_nlink(self.as_ptr()) };
    }

    /// One link less. The inode has one.
    pub fn drop_nlink(&self) {
        // SAFETY: The inode is alive.
        unsafe { bindings::drop_nlink(self.as_ptr()) };
    }

    /// No links any more.
    pub fn clear_nlink(&self) {
        // SAFETY: The inode is alive.
        unsafe { bindings::clear_nlink(self.as_ptr()) };
    }

    /// The owner, as the file system stores it.
    pub fn uid(&self) -> u32 {
        // SAFETY: The inode is alive.
        unsafe { bindings::rdaxfs_i_uid_read(self.as_ptr()) }
    }

    /// The group, as the file system stores it.
    pub fn gid(&self) -> u32 {
        // SAFETY: The inode is alive.
        unsafe { bindings::rdaxfs_i_gid_read(self.as_ptr()) }
    }

    /// The device that a special file stands for, in the encoding that user space sees
    /// (`new_encode_dev`).
    pub fn rdev(&self) -> u32 {
        // SAFETY: The inode is alive; the number does not change.
        unsafe { bindings::rdaxfs_new_encode_dev((*self.as_ptr()).i_rdev) }
    }

    /// The same, as major and minor number.
    pub fn device(&self) -> (u32, u32) {
        // SAFETY: The inode is alive; the number does not change.
        let dev = unsafe { (*self.as_ptr()).i_rdev };
        // `MAJOR` and `MINOR` of linux/kdev_t.h.
        (dev >> 20, dev & 0xf_ffff)
    }

    /// The generation, which tells users of one inode number from another.
    pub fn generation(&self) -> u32 {
        read!(self.i_generation)
    }

    /// Time of last access.
    pub fn atime(&self) -> Timespec {
        // SAFETY: The inode is alive.
        Timespec::from_raw(unsafe { bindings::rdaxfs_inode_get_atime(self.as_ptr()) })
    }

    /// Time of the last change of the contents.
    pub fn mtime(&self) -> Timespec {
        // SAFETY: The inode is alive.
        Timespec::from_raw(unsafe { bindings::rdaxfs_inode_get_mtime(self.as_ptr()) })
    }

    /// Time of the last change of the inode.
    pub fn ctime(&self) -> Timespec {
        // SAFETY: The inode is alive.
        Timespec::from_raw(unsafe { bindings::rdaxfs_inode_get_ctime(self.as_ptr()) })
    }

    /// Sets the time of last access.
    pub fn set_atime(&self, time: Timespec) {
        // SAFETY: The inode is alive.
        unsafe { bindings::rdaxfs_inode_set_atime(self.as_ptr(), time.to_raw()) };
    }

    /// Sets the time of the last change of the contents.
    pub fn set_mtime(&self, time: Timespec) {
        // SAFETY: The inode is alive.
        unsafe { bindings::rdaxfs_inode_set_mtime(self.as_ptr(), time.to_raw()) };
    }

    /// Sets the time of the last change of the inode.
    pub fn set_ctime(&self, time: Timespec) {
        // SAFETY: The inode is alive.
        unsafe { bindings::inode_set_ctime_to_ts(self.as_ptr(), time.to_raw()) };
    }

    /// The inode changes now. Returns that time, for others that change with it.
    pub fn set_ctime_current(&self) -> Timespec {
        // SAFETY: The inode is alive.
        Timespec::from_raw(unsafe { bindings::inode_set_ctime_current(self.as_ptr()) })
    }

    /// The contents, and so the inode, change now.
    pub fn set_mtime_ctime_current(&self) {
        self.set_mtime(self.set_ctime_current());
    }

    /// Storage used, in units of 512 bytes. Takes `i_lock`.
    pub fn sectors(&self) -> u64 {
        read!(self.i_blocks)
    }

    /// Sets `i_flags` bits (`S_IMMUTABLE` and its like) to `flags` among `mask`, atomically.
    ///
    /// `S_DAX` is not among them: it changes only with the mode lock held exclusively.
    pub fn set_flags(&self, flags: u32, mask: u32) {
        let mask = mask & !bindings::S_DAX;
        // SAFETY: The inode is alive.
        unsafe { bindings::inode_set_flags(self.as_ptr(), flags & mask, mask) };
    }

    /// The `i_flags` bits (`S_IMMUTABLE` and its like).
    #[inline]
    pub fn flags(&self) -> u32 {
        read!(self.i_flags)
    }

    /// Whether writing to the file has nothing to drop: no set-user-ID bit, no capabilities (`IS_NOSEC`).
    #[inline]
    pub fn is_nosec(&self) -> bool {
        self.flags() & bindings::S_NOSEC != 0
    }

    /// Sets the generation, with `i_rwsem` held exclusively.
    pub fn set_generation(&self, generation: u32) {
        // SAFETY: The inode is alive; a field of word size is written at once.
        unsafe { (&raw mut (*self.as_ptr()).i_generation).write_volatile(generation) };
    }

    /// Whether the inode must not change (`IS_IMMUTABLE`).
    #[inline]
    pub fn is_immutable(&self) -> bool {
        self.flags() & bindings::S_IMMUTABLE != 0
    }

    /// Whether changes of the inode are to be synchronous (`IS_SYNC`).
    pub fn is_sync(&self) -> bool {
        // SAFETY: The inode is alive.
        unsafe { bindings::rdaxfs_is_sync(self.as_ptr()) }
    }

    /// Whether changes of the directory are to be synchronous (`IS_DIRSYNC`).
    pub fn is_dirsync(&self) -> bool {
        // SAFETY: The inode is alive.
        unsafe { bindings::rdaxfs_is_dirsync(self.as_ptr()) }
    }

    /// The inode has changed: what it is now becomes part of the transaction that runs on this task, or
    /// of one of its own ([`FileSystem::dirty_inode`]). What changes after that does not.
    pub fn mark_dirty(&self) {
        // SAFETY: The inode is alive.
        unsafe { bindings::__mark_inode_dirty(self.as_ptr(), bindings::I_DIRTY) };
    }

    /// Makes the inode and its metadata blocks durable, and waits: by a commit of the journal or, without
    /// one, by `sync_inode_metadata`. No transaction may run on this task.
    pub fn sync(&self) -> kernel::error::Result {
        if T::journal(self.sb()).is_some() {
            return T::sync_inode(self);
        }
        // SAFETY: The inode is alive.
        kernel::error::to_result(unsafe { bindings::sync_inode_metadata(self.as_ptr(), 1) })?;
        if compat::WAITS_FOR_METADATA {
            return Ok(());
        }
        self.write_metadata()
    }

    /// Writes the buffers that hold the inode's metadata, and the inode, and waits. Without a journal.
    pub(in crate::vfs) fn write_metadata(&self) -> kernel::error::Result {
        self.sync_buffers()?;
        T::sync_inode(self)
    }
}
