// SPDX-License-Identifier: GPL-2.0

//! The inode operations of directories.
//!
//! A file system implements [`Operations`]; [`operations`] makes the `struct inode_operations` of it.
//! Each callback is handed what the VFS has locked as a guard type and each dentry in the type of its
//! state (see [`super::dentry`]), so that what the VFS promises is in the signature.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h). Which lock is held for which
//! operation is told by [`Documentation/filesystems/locking.rst`](srctree/Documentation/filesystems/locking.rst).

use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::error::{
    from_result,
    VTABLE_DEFAULT_ERROR, //
};

use super::{
    compat,
    dentry::{
        Instantiated,
        Lookup,
        Negative,
        Opened,
        Positive,
        Spliced,
        Target,
        Tmpfile, //
    },
    fileattr,
    inode::{
        kind,
        INode,
        INodeOps,
        IdMap,
        Locked,
        LockedShared, //
    },
    FileSystem, //
};
use crate::{
    bindings,
    prelude::*, //
};

/// A rename, with everything the VFS has locked for it.
///
/// Both directories are locked for writing, and so are the children that change their parent or
/// lose a link; a cross-directory rename holds the rename lock of the super block as well.
pub struct Rename<'a, T: FileSystem> {
    /// The directory of the entry to move.
    pub old_dir: &'a Locked<T>,
    /// The entry to move.
    pub old: Positive<'a, T>,
    /// The directory to move it to, which may be the same.
    pub new_dir: &'a Locked<T>,
    /// What is there now.
    pub new: Target<'a, T>,
    /// How to treat what is there.
    pub flags: RenameFlags,
}

impl<T: FileSystem> Rename<'_, T> {
    /// Returns whether the entry leaves its directory.
    pub fn crosses_directories(&self) -> bool {
        !ptr::eq::<INode<T>>(&**self.old_dir, &**self.new_dir)
    }
}

/// The flags of `renameat2(2)`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RenameFlags(u32);

impl RenameFlags {
    /// Fail with `EEXIST` rather than replace; the VFS has checked that already.
    pub const NOREPLACE: u32 = bindings::RENAME_NOREPLACE;
    /// Exchange the two entries, both of which exist.
    pub const EXCHANGE: u32 = bindings::RENAME_EXCHANGE;
    /// Leave a whiteout, a character device of number 0, where the entry was.
    pub const WHITEOUT: u32 = bindings::RENAME_WHITEOUT;

    /// Fails with `EINVAL` if a flag other than those in `supported` is set.
    pub fn only(self, supported: u32) -> Result {
        if self.0 & !supported != 0 {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Returns whether a whiteout is to be left.
    pub fn whiteout(self) -> bool {
        self.0 & Self::WHITEOUT != 0
    }

    /// Returns whether the entries are to be exchanged.
    pub fn exchange(self) -> bool {
        self.0 & Self::EXCHANGE != 0
    }
}

/// The operations that a directory offers to the VFS.
///
/// All may sleep. The mode passed to a creating operation has the umask applied and carries the type.
#[vtable]
pub trait Operations {
    /// The file system whose directories these are.
    type FileSystem: FileSystem;

    /// The operations on their attributes.
    type Attributes: fileattr::Operations<FileSystem = Self::FileSystem>;

    /// Looks a name up, and answers with [`Lookup::splice`].
    fn lookup<'a>(
        dir: &LockedShared<Self::FileSystem>,
        entry: Lookup<'a, Self::FileSystem>,
    ) -> Result<Spliced<'a>>;

    /// Creates a regular file.
    fn create<'a>(
        _idmap: &IdMap,
        _dir: &Locked<Self::FileSystem>,
        _entry: Negative<'a, Self::FileSystem>,
        _mode: u16,
    ) -> Result<Instantiated<'a>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Makes another name for `inode`, which is not a directory and is locked for writing.
    fn link<'a>(
        _inode: &Locked<Self::FileSystem>,
        _dir: &Locked<Self::FileSystem>,
        _entry: Negative<'a, Self::FileSystem>,
    ) -> Result<Instantiated<'a>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Removes a name of something that is not a directory. Its inode is locked for writing.
    fn unlink(_dir: &Locked<Self::FileSystem>, _entry: Positive<'_, Self::FileSystem>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Creates a symbolic link to `target`, which is not empty.
    fn symlink<'a>(
        _idmap: &IdMap,
        _dir: &Locked<Self::FileSystem>,
        _entry: Negative<'a, Self::FileSystem>,
        _target: &CStr,
    ) -> Result<Instantiated<'a>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Creates a directory.
    fn mkdir<'a>(
        _idmap: &IdMap,
        _dir: &Locked<Self::FileSystem>,
        _entry: Negative<'a, Self::FileSystem>,
        _mode: u16,
    ) -> Result<Instantiated<'a>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Removes an empty directory, whose inode is locked for writing.
    fn rmdir(_dir: &Locked<Self::FileSystem>, _entry: Positive<'_, Self::FileSystem>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Creates a node for the device of a major and minor number, a fifo, a socket, or a regular file.
    fn mknod<'a>(
        _idmap: &IdMap,
        _dir: &Locked<Self::FileSystem>,
        _entry: Negative<'a, Self::FileSystem>,
        _mode: u16,
        _device: (u32, u32),
    ) -> Result<Instantiated<'a>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Moves, replaces or exchanges entries. The VFS moves the dentries afterwards.
    fn rename(_idmap: &IdMap, _rename: Rename<'_, Self::FileSystem>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Creates a regular file without a name. `dir` is not locked.
    fn tmpfile<'a>(
        _idmap: &IdMap,
        _dir: &INode<Self::FileSystem>,
        _file: Tmpfile<'a, Self::FileSystem>,
        _mode: u16,
    ) -> Result<Opened<'a>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// Returns the table of operations of the directories that `O` implements.
pub const fn operations<O: Operations>() -> &'static INodeOps<O::FileSystem, kind::Dir> {
    &const {
        // SAFETY: The functions in the table expect what the VFS guarantees for a directory.
        unsafe { INodeOps::new(VTable::<O>::VTABLE) }
    }
}

struct VTable<O: Operations>(PhantomData<O>);

impl<O: Operations> VTable<O> {
    /// # Safety
    ///
    /// Called by the VFS, with the directory locked at least for reading.
    unsafe extern "C" fn lookup(
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        _flags: c_uint,
    ) -> *mut bindings::dentry {
        // SAFETY: The VFS holds the lock and passes a dentry in lookup.
        let (dir, entry) = unsafe { (LockedShared::from_raw(dir), Lookup::from_raw(dentry)) };
        let found = dir
            .sb()
            .check_running()
            .and_then(|()| O::lookup(dir, entry));
        match found {
            Ok(spliced) => spliced.into_raw(),
            Err(err) => err.to_ptr(),
        }
    }

    compat::create! {
        /// # Safety
        ///
        /// Called by the VFS, with the directory locked for writing.
        unsafe extern "C" fn create(
            idmap: *mut bindings::mnt_idmap,
            dir: *mut bindings::inode,
            dentry: *mut bindings::dentry,
            mode: bindings::umode_t,
        ) -> c_int {
            // SAFETY: The VFS holds the lock and passes a negative dentry.
            let (idmap, dir, entry) = unsafe {
                (
                    IdMap::from_raw(idmap),
                    Locked::from_raw(dir),
                    Negative::from_raw(dentry),
                )
            };
            from_result(|| O::create(idmap, dir, entry, mode).map(|_| 0))
        }
    }

    /// # Safety
    ///
    /// Called by the VFS, with the directory and the inode of `old` locked for writing.
    unsafe extern "C" fn link(
        old: *mut bindings::dentry,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
    ) -> c_int {
        // SAFETY: The VFS holds both locks, `old` is positive, and `dentry` is negative.
        let (inode, dir, entry) = unsafe {
            (
                Locked::from_raw((*old).d_inode),
                Locked::from_raw(dir),
                Negative::from_raw(dentry),
            )
        };
        from_result(|| O::link(inode, dir, entry).map(|_| 0))
    }

    /// # Safety
    ///
    /// Called by the VFS, with the directory and the inode of `dentry` locked for writing.
    unsafe extern "C" fn unlink(dir: *mut bindings::inode, dentry: *mut bindings::dentry) -> c_int {
        // SAFETY: The VFS holds the locks and passes a positive dentry.
        let (dir, entry) = unsafe { (Locked::from_raw(dir), Positive::from_raw(dentry)) };
        from_result(|| O::unlink(dir, entry).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the VFS, with the directory locked for writing.
    unsafe extern "C" fn symlink(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        target: *const c_char,
    ) -> c_int {
        // SAFETY: The VFS holds the lock and passes a negative dentry and a string that it has
        // copied from user space.
        let (idmap, dir, entry, target) = unsafe {
            (
                IdMap::from_raw(idmap),
                Locked::from_raw(dir),
                Negative::from_raw(dentry),
                CStr::from_char_ptr(target),
            )
        };
        from_result(|| O::symlink(idmap, dir, entry, target).map(|_| 0))
    }

    /// # Safety
    ///
    /// Called by the VFS, with the directory locked for writing.
    unsafe extern "C" fn mkdir(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        mode: bindings::umode_t,
    ) -> *mut bindings::dentry {
        // SAFETY: The VFS holds the lock and passes a negative dentry.
        let (idmap, dir, entry) = unsafe {
            (
                IdMap::from_raw(idmap),
                Locked::from_raw(dir),
                Negative::from_raw(dentry),
            )
        };
        match O::mkdir(idmap, dir, entry, compat::mkdir_mode(mode)) {
            // The dentry passed in is the one that was instantiated.
            Ok(_) => ptr::null_mut(),
            Err(err) => err.to_ptr(),
        }
    }

    /// # Safety
    ///
    /// Called by the VFS, with the directory and the inode of `dentry` locked for writing.
    unsafe extern "C" fn rmdir(dir: *mut bindings::inode, dentry: *mut bindings::dentry) -> c_int {
        // SAFETY: The VFS holds the locks and passes a positive dentry.
        let (dir, entry) = unsafe { (Locked::from_raw(dir), Positive::from_raw(dentry)) };
        from_result(|| O::rmdir(dir, entry).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the VFS, with the directory locked for writing.
    unsafe extern "C" fn mknod(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        mode: bindings::umode_t,
        rdev: bindings::dev_t,
    ) -> c_int {
        // SAFETY: The VFS holds the lock and passes a negative dentry.
        let (idmap, dir, entry) = unsafe {
            (
                IdMap::from_raw(idmap),
                Locked::from_raw(dir),
                Negative::from_raw(dentry),
            )
        };
        // `MAJOR` and `MINOR` of linux/kdev_t.h.
        let device = (rdev >> 20, rdev & 0xf_ffff);
        from_result(|| O::mknod(idmap, dir, entry, mode, device).map(|_| 0))
    }

    /// # Safety
    ///
    /// Called by the VFS, with the locks that [`Rename`] lists.
    unsafe extern "C" fn rename(
        idmap: *mut bindings::mnt_idmap,
        old_dir: *mut bindings::inode,
        old: *mut bindings::dentry,
        new_dir: *mut bindings::inode,
        new: *mut bindings::dentry,
        flags: c_uint,
    ) -> c_int {
        // SAFETY: The VFS holds the locks; `old` is positive.
        let (idmap, rename) = unsafe {
            (
                IdMap::from_raw(idmap),
                Rename {
                    old_dir: Locked::from_raw(old_dir),
                    old: Positive::from_raw(old),
                    new_dir: Locked::from_raw(new_dir),
                    new: Target::from_raw(new),
                    flags: RenameFlags(flags),
                },
            )
        };
        from_result(|| O::rename(idmap, rename).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the VFS, with `file` being opened.
    unsafe extern "C" fn tmpfile(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        file: *mut bindings::file,
        mode: bindings::umode_t,
    ) -> c_int {
        // SAFETY: The VFS holds a reference to the directory and passes a file that is being opened.
        let (idmap, dir, file) = unsafe {
            (
                IdMap::from_raw(idmap),
                INode::from_raw(dir),
                Tmpfile::from_raw(file),
            )
        };
        from_result(|| O::tmpfile(idmap, dir, file, mode).map(|_| 0))
    }

    const VTABLE: bindings::inode_operations = bindings::inode_operations {
        lookup: Some(Self::lookup),
        create: if O::HAS_CREATE {
            Some(Self::create)
        } else {
            None
        },
        link: if O::HAS_LINK { Some(Self::link) } else { None },
        unlink: if O::HAS_UNLINK {
            Some(Self::unlink)
        } else {
            None
        },
        symlink: if O::HAS_SYMLINK {
            Some(Self::symlink)
        } else {
            None
        },
        mkdir: if O::HAS_MKDIR {
            Some(Self::mkdir)
        } else {
            None
        },
        rmdir: if O::HAS_RMDIR {
            Some(Self::rmdir)
        } else {
            None
        },
        mknod: if O::HAS_MKNOD {
            Some(Self::mknod)
        } else {
            None
        },
        rename: if O::HAS_RENAME {
            Some(Self::rename)
        } else {
            None
        },
        tmpfile: if O::HAS_TMPFILE {
            Some(Self::tmpfile)
        } else {
            None
        },
        ..fileattr::VTable::<O::Attributes>::VTABLE
    };
}
