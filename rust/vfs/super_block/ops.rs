// SPDX-License-Identifier: GPL-2.0

//! What the VFS calls on a super block: filling and killing it, and `struct super_operations`.

use super::{
    super::compat,
    New,
    SuperBlock, //
};
use crate::{
    bindings,
    prelude::*,
    vfs::{
        fs_type::Registration,
        inode::{
            Allocation,
            INode, //
        },
        quota,
        Context,
        FileSystem, //
    }, //
};
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    error::from_result,
    seq_file::SeqFile,
    sync::aref::ARef,
    types::ForeignOwnable, //
};

/// Fills a new super block: private data, operations, root directory.
///
/// # Safety
///
/// `sb` must be a super block of type `T` that is being filled by this thread, with its device
/// open, and `params` be the options that were parsed for it in `fc`.
pub(in crate::vfs) unsafe fn fill_super<T: FileSystem>(
    sb: *mut bindings::super_block,
    fc: &Context,
    params: T::Params,
) -> Result {
    // SAFETY: As the caller promises, and nobody else knows the super block yet.
    let new: &mut SuperBlock<T, New> = unsafe { &mut *sb.cast() };
    let data = T::fill_super(new, fc, params)?;
    // SAFETY: The super block is still ours alone. `kill_sb` takes the private data back, also
    // when filling fails after this point.
    unsafe {
        (*sb).s_op = ptr::from_ref(&Operations::<T>::TABLE);
        (*sb).s_fs_info = data.into_foreign().cast();
    }
    // INVARIANT: The private data was just set.
    // SAFETY: As above.
    let sb: &SuperBlock<T> = unsafe { SuperBlock::from_raw(sb) };
    // Nobody evicts the inodes of a super block without a root, and quotas hold some.
    let root = T::root(sb).inspect_err(|_| sb.disable_quotas())?;
    let root = ARef::into_raw(root);
    // SAFETY: The count of the inode goes to the dentry, or is dropped when there is none.
    let root = unsafe { bindings::d_make_root(root.as_ptr().cast()) };
    if root.is_null() {
        sb.disable_quotas();
        return Err(ENOMEM);
    }
    // SAFETY: The super block is still being filled by this thread.
    unsafe { (*sb.as_ptr()).s_root = root };
    Ok(())
}

/// `file_system_type.kill_sb`
///
/// # Safety
///
/// Called by the VFS with a super block of type `T`, once.
pub(in crate::vfs) unsafe extern "C" fn kill_sb<T: FileSystem>(sb: *mut bindings::super_block) {
    // SAFETY: As the VFS promises; the data was stored by `fill_super`, or is NULL.
    unsafe {
        let data = (*sb).s_fs_info;
        let data = <Pin<KBox<T::SuperData>> as ForeignOwnable>::try_from_foreign(data.cast());
        if (*sb).s_root.is_null() {
            // The mount failed, no inode is left, and the device is about to be closed.
            drop(data);
            bindings::kill_block_super(sb);
        } else {
            bindings::kill_block_super(sb);
            drop(data);
        }
        (*sb).s_fs_info = ptr::null_mut();
    }
}

/// The `struct super_operations` of `T`.
struct Operations<T>(PhantomData<T>);

impl<T: FileSystem> Operations<T> {
    const TABLE: bindings::super_operations =
        compat::with_sync_inode_metadata(Self::WITHOUT, Self::sync_inode_metadata);

    const WITHOUT: bindings::super_operations = bindings::super_operations {
        alloc_inode: Some(Self::alloc_inode),
        free_inode: Some(Self::free_inode),
        dirty_inode: Some(Self::dirty_inode),
        write_inode: Some(Self::write_inode),
        evict_inode: Some(Self::evict_inode),
        put_super: Some(Self::put_super),
        sync_fs: Some(Self::sync_fs),
        freeze_fs: Some(Self::freeze_fs),
        unfreeze_fs: Some(Self::unfreeze_fs),
        shutdown: Some(Self::shutdown),
        statfs: Some(Self::statfs),
        show_options: Some(Self::show_options),
        quota_read: Some(quota::Operations::<T>::quota_read),
        quota_write: Some(quota::Operations::<T>::quota_write),
        get_dquots: Some(quota::Operations::<T>::get_dquots),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// Called by the VFS with a super block of type `T`.
    unsafe extern "C" fn alloc_inode(sb: *mut bindings::super_block) -> *mut bindings::inode {
        // SAFETY: `s_type` is the one that a `Registration<T>` embeds, and outlives `sb`.
        unsafe {
            let cache = Registration::<T>::inode_cache((*sb).s_type);
            Allocation::<T>::alloc(cache, &raw mut (*sb).s_inode_lru)
        }
    }

    /// # Safety
    ///
    /// Called by the VFS with an inode of `T` that nobody can find any more, an RCU grace period
    /// after it was evicted.
    unsafe extern "C" fn free_inode(inode: *mut bindings::inode) {
        // SAFETY: As the VFS promises.
        unsafe { Allocation::<T>::free(inode) };
    }

    /// # Safety
    ///
    /// Called by the VFS with an inode of `T`.
    unsafe extern "C" fn dirty_inode(inode: *mut bindings::inode, _flags: c_int) {
        // SAFETY: As the VFS promises.
        T::dirty_inode(unsafe { INode::from_raw(inode) });
    }

    /// The inode is in its buffer since it became dirty. Without a journal, the buffer is written by
    /// [`sync_inode_metadata`](Self::sync_inode_metadata); with one, its transaction is committed here,
    /// but for `sync(2)`, which commits once for all inodes.
    ///
    /// # Safety
    ///
    /// Called by the VFS with an inode of `T`.
    unsafe extern "C" fn write_inode(
        inode: *mut bindings::inode,
        wbc: *mut bindings::writeback_control,
    ) -> c_int {
        // SAFETY: As the VFS promises.
        let (this, wait) = unsafe {
            let wait = (*wbc).sync_mode == bindings::writeback_sync_modes_WB_SYNC_ALL;
            (INode::<T>::from_raw(inode), wait && (*wbc).for_sync() == 0)
        };
        from_result(|| {
            match T::journal(this.sb()) {
                None if wait && !compat::WAITS_FOR_METADATA => this.write_metadata()?,
                // SAFETY: As the VFS promises.
                None => unsafe { bindings::rdaxfs_set_inode_metadata_writeback(inode) },
                Some(_) if wait => T::sync_inode(this)?,
                Some(_) => {}
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the VFS with an inode of `T`.
    unsafe extern "C" fn sync_inode_metadata(
        inode: *mut bindings::inode,
        _wbc: *mut bindings::writeback_control,
    ) -> c_int {
        // SAFETY: As the VFS promises.
        let inode = unsafe { INode::<T>::from_raw(inode) };
        from_result(|| inode.write_metadata().map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the VFS with an inode of `T` whose last reference is gone.
    unsafe extern "C" fn evict_inode(inode: *mut bindings::inode) {
        // SAFETY: As the VFS promises; `I_FREEING` is set, and pages are gone before the file
        // system frees what they are on. The order is that of `evict` in fs/inode.c.
        unsafe {
            let delete = (*inode).__bindgen_anon_1.i_nlink == 0 && !bindings::is_bad_inode(inode);
            let this = INode::<T>::from_raw(inode);
            this.wait_for_faults();
            bindings::rdaxfs_dax_break_layout_final(inode);
            bindings::truncate_inode_pages_final(&raw mut (*inode).i_data);
            T::evict_inode(this, delete);
            if !delete {
                // An error was noted in the mapping by the buffer's completion.
                let _ = this.sync_buffers();
            }
            this.forget_buffers();
            bindings::dquot_drop(inode);
            bindings::clear_inode(inode);
        }
    }

    /// # Safety
    ///
    /// Called by the VFS with a super block of type `T`, all of whose inodes were evicted.
    unsafe extern "C" fn put_super(sb: *mut bindings::super_block) {
        // SAFETY: As the VFS promises; only super blocks with a root get here.
        T::put_super(unsafe { SuperBlock::from_raw(sb) });
    }

    /// # Safety
    ///
    /// Called by the VFS with a super block of type `T`.
    unsafe extern "C" fn sync_fs(sb: *mut bindings::super_block, wait: c_int) -> c_int {
        // SAFETY: As the VFS promises.
        let sb = unsafe { SuperBlock::from_raw(sb) };
        from_result(|| T::sync_fs(sb, wait != 0).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the VFS with a super block of type `T`.
    unsafe extern "C" fn freeze_fs(sb: *mut bindings::super_block) -> c_int {
        // SAFETY: As the VFS promises.
        let sb = unsafe { SuperBlock::from_raw(sb) };
        from_result(|| T::freeze_fs(sb).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the VFS with a super block of type `T`.
    unsafe extern "C" fn unfreeze_fs(sb: *mut bindings::super_block) -> c_int {
        // SAFETY: As the VFS promises.
        let sb = unsafe { SuperBlock::from_raw(sb) };
        from_result(|| T::unfreeze_fs(sb).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the VFS with a super block of type `T`.
    unsafe extern "C" fn shutdown(sb: *mut bindings::super_block) {
        // SAFETY: As the VFS promises.
        T::shut_down(unsafe { SuperBlock::from_raw(sb) });
    }

    /// # Safety
    ///
    /// Called by the VFS with a positive dentry of a super block of type `T`, and a structure to fill.
    unsafe extern "C" fn statfs(
        dentry: *mut bindings::dentry,
        buf: *mut kernel::bindings::kstatfs,
    ) -> c_int {
        from_result(|| {
            // SAFETY: As the VFS promises.
            let (sb, inode): (&SuperBlock<T>, &INode<T>) = unsafe {
                let inode = INode::from_raw((*dentry).d_inode);
                (SuperBlock::from_raw((*dentry).d_sb), inode)
            };
            let stat = T::statfs(inode)?;
            // SAFETY: As the VFS promises. The type is the same, opaque in the kernel's bindings.
            let buf: &mut bindings::kstatfs = unsafe { &mut *buf.cast() };
            buf.f_type = stat.magic as isize;
            buf.f_bsize = sb.block_size() as isize;
            buf.f_blocks = stat.blocks;
            buf.f_bfree = stat.free_blocks;
            buf.f_bavail = stat.available_blocks;
            buf.f_files = stat.files;
            buf.f_ffree = stat.free_files;
            buf.f_fsid.val = [stat.fsid as i32, (stat.fsid >> 32) as i32];
            buf.f_namelen = stat.name_len as isize;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the VFS with the root dentry of a mount of type `T`.
    unsafe extern "C" fn show_options(
        m: *mut bindings::seq_file,
        root: *mut bindings::dentry,
    ) -> c_int {
        // SAFETY: As the VFS promises.
        let (m, sb) = unsafe { (SeqFile::from_raw(m), SuperBlock::from_raw((*root).d_sb)) };
        from_result(|| T::show_options(sb, m).map(|()| 0))
    }
}
