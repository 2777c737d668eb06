// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers over the kernel's file system interfaces.
//!
//! One file a concern, generic over the [`FileSystem`] that is built on them. This is the only
//! place, besides [`bindings`](crate::bindings), with unsafe code. Lock order, outermost first:
//! `i_rwsem`, mmap lock, `sb_start_pagefault`, mode lock, invalidate lock, [`Transaction`], extent
//! lock of an inode, group lock, buffer lock.

pub mod acl;
pub mod aspace;
pub mod attr;
pub mod buffer;
pub(crate) mod compat;
pub mod context;
pub mod crc32c;
pub mod dax;
pub mod delay;
pub mod dentry;
pub mod dir;
pub mod export;
pub mod file;
pub mod fileattr;
mod fs_type;
pub mod inode;
pub mod iomap;
pub mod journal;
pub mod journaled;
pub mod latch;
pub mod lock;
pub mod log;
pub mod mm;
pub mod mode;
pub mod param;
pub mod quota;
pub mod readdir;
pub mod security;
pub mod super_block;
pub mod symlink;
pub mod sysfs;
pub mod time;
pub mod trace;
pub mod transaction;
pub mod writeback;
pub mod xattr;

pub use self::{
    buffer::Buffer,
    context::Context,
    crc32c::crc32c,
    dax::DaxDevice,
    fs_type::Registration,
    inode::{
        FileType,
        INode, //
    },
    journal::Journal,
    lock::{
        new_rwsem,
        nofs,
        wait_for_memory,
        zeroes,
        RwSem, //
    },
    log::{
        sb_err,
        sb_info,
        sb_warn, //
    },
    super_block::{
        New,
        Ready,
        StatFs,
        SuperBlock, //
    },
    time::Timespec,
    transaction::{
        Credits,
        Transaction, //
    },
};

use crate::prelude::*;
use kernel::{
    alloc::KBox,
    seq_file::SeqFile,
    sync::aref::ARef, //
};

/// Random bits, for generations.
pub fn random_u32() -> u32 {
    // SAFETY: No requirements.
    unsafe { crate::bindings::get_random_u32() }
}

/// Whether the current task may use what is reserved for the super-user, for the user `uid` and,
/// unless it is 0, for the group `gid`.
pub fn may_use_reserved(uid: u32, gid: u32) -> bool {
    // SAFETY: No requirements.
    unsafe { crate::bindings::rdaxfs_may_use_reserved(uid, gid) }
}

/// Whether the current task may administer the system.
pub fn capable_sys_admin() -> bool {
    // SAFETY: No requirements.
    unsafe { crate::bindings::rdaxfs_capable_sys_admin() }
}

/// A file system on a block device, as seen from the kernel.
///
/// What the kernel calls, in the order of a mount's life. A callback that takes a
/// [`SuperBlock<Self>`] may use everything; what may sleep, and all of these may, is said by the C
/// interface: `Documentation/filesystems/vfs.rst` and `locking.rst`.
pub trait FileSystem: Sized + Send + Sync + 'static {
    /// What belongs to one mounted file system (`s_fs_info`).
    type SuperData: Send + Sync;

    /// What belongs to one inode, beside `struct inode` in one allocation.
    ///
    /// It is dropped by an RCU callback: dropping it must not sleep.
    type INodeData: Send + Sync;

    /// Mount options while they are parsed.
    type Params: Send;

    /// The name of the type.
    const NAME: &'static CStr;

    /// The mount options that [`parse_param`](Self::parse_param) understands.
    const PARAMETERS: &'static context::Parameters;

    /// Options before any was parsed: those in force on a remount, else the defaults.
    fn params(sb: Option<&SuperBlock<Self>>) -> Result<Self::Params>;

    /// Takes one option; `opt` is its number in [`PARAMETERS`](Self::PARAMETERS).
    fn parse_param(params: &mut Self::Params, opt: u8, value: context::Value) -> Result;

    /// Reads the super block and makes the private data.
    fn fill_super(
        sb: &mut SuperBlock<Self, New>,
        fc: &Context,
        params: Self::Params,
    ) -> Result<Pin<KBox<Self::SuperData>>>;

    /// Completes the mount and returns the root directory's inode. Inodes may be fetched from here
    /// on, and transactions started. After an error [`put_super`](Self::put_super) is not called.
    fn root(sb: &SuperBlock<Self>) -> Result<ARef<INode<Self>>>;

    /// Changes options on a remount, and between read-only and read-write when `read_only` differs
    /// from [`SuperBlock::is_read_only`]. Holds `s_umount` exclusively.
    fn reconfigure(
        sb: &SuperBlock<Self>,
        fc: &Context,
        params: Self::Params,
        read_only: bool,
    ) -> Result;

    /// Last call before the device is let go. All inodes were evicted.
    fn put_super(sb: &SuperBlock<Self>);

    /// Starts (`wait` false) or completes the write-back of everything that is not an inode.
    fn sync_fs(sb: &SuperBlock<Self>, wait: bool) -> Result;

    /// Makes the image on the device consistent: nobody writes, transactions are stopped.
    fn freeze_fs(sb: &SuperBlock<Self>) -> Result;

    /// Undoes [`freeze_fs`](Self::freeze_fs).
    fn unfreeze_fs(sb: &SuperBlock<Self>) -> Result;

    /// The project that the inode is counted for, if the image has projects.
    fn projid(inode: &INode<Self>) -> Option<u32>;

    /// The most blocks that change when an entry of a quota file is made or removed.
    fn quota_entry_credits(file: &INode<Self>) -> Credits;

    /// Reads from a quota file, and returns the number of bytes: less than asked for at its end.
    fn quota_read(file: &INode<Self>, pos: u64, bytes: &mut [u8]) -> Result<usize>;

    /// Writes to a quota file, within one block.
    fn quota_write(
        tx: &Transaction<'_, Self>,
        file: &INode<Self>,
        pos: u64,
        bytes: &[u8],
    ) -> Result;

    /// Whether an error has ended all writing: as good as read-only, whatever the mount says.
    fn has_stopped(sb: &SuperBlock<Self>) -> bool;

    /// Whether the file system was shut down: nothing is read or written any more, [`EIO`] it is.
    fn is_shut_down(sb: &SuperBlock<Self>) -> bool;

    /// The device is gone, or is about to be.
    fn shut_down(sb: &SuperBlock<Self>);

    /// For `statfs(2)`, of the file system as it is seen from `inode`.
    fn statfs(inode: &INode<Self>) -> Result<StatFs>;

    /// Writes the options that differ from the defaults, each after a comma.
    fn show_options(sb: &SuperBlock<Self>, m: &SeqFile) -> Result;

    /// An initialiser of the private data of a fresh in-memory inode of unknown kind.
    fn inode_data() -> impl PinInit<Self::INodeData>;

    /// The journal, if the file system has one. Always the same.
    fn journal(sb: &SuperBlock<Self>) -> Option<&Journal>;

    /// The journal was found aborted: nothing can be written any more. May be called often.
    fn journal_aborted(sb: &SuperBlock<Self>);

    /// The inode's fields have changed ([`INode::mark_dirty`], or the VFS's `mark_inode_dirty`): copies
    /// them into the inode table's buffer, as part of the transaction that runs on this task or in one
    /// of its own.
    fn dirty_inode(inode: &INode<Self>);

    /// Makes what [`dirty_inode`](Self::dirty_inode) has copied durable, and waits.
    fn sync_inode(inode: &INode<Self>) -> Result;

    /// The last reference is gone. With `delete` the last link is gone as well and the inode is
    /// good: its blocks and its number are to be freed. The page cache is empty already.
    fn evict_inode(inode: &INode<Self>, delete: bool);
}
