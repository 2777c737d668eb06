// SPDX-License-Identifier: GPL-2.0

//! Quotas: what users, groups and projects use, counted by the kernel's dquot library, and kept in
//! files of the file system.
//!
//! A `struct dquot` says what one of them uses and may use. An inode that blocks are given to or taken
//! from, or that gets another owner, has references to those that are counted for it:
//! [`INode::attach_dquots`] gets them, **before** the transaction, since an entry may have to be made in
//! a quota file, which is a transaction of its own. [`INode::charge`] and its like then count within the
//! transaction, and write the entry within it, so that what the files say is what was done, whenever the
//! machine stops.
//!
//! Invariants: a dquot is dirty only within a transaction, which writes it before it ends. All this is
//! done outside of the locks of a quota file, which itself is not counted (`S_NOQUOTA`).
//!
//! C headers: [`include/linux/quotaops.h`](srctree/include/linux/quotaops.h),
//! [`include/linux/quota.h`](srctree/include/linux/quota.h)

use super::{
    attr::Change,
    Credits,
    FileSystem,
    INode,
    SuperBlock,
    Transaction, //
};
use crate::{
    bindings,
    prelude::*, //
};
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::error::{
    from_err_ptr,
    from_result,
    to_result, //
};

/// Whose use is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// The owner's.
    User = bindings::quota_type_USRQUOTA,
    /// The owning group's.
    Group = bindings::quota_type_GRPQUOTA,
    /// The project's.
    Project = bindings::quota_type_PRJQUOTA,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::User, Self::Group, Self::Project];
}

/// One dquot for each [`Kind`].
pub(super) type Dquots = [*mut bindings::dquot; Kind::ALL.len()];

/// None.
pub(super) const NO_DQUOTS: Dquots = [ptr::null_mut(); Kind::ALL.len()];

/// The most blocks that the entries of two inodes, of each kind, are in.
///
/// [`Transaction::start`] adds as many to what is asked for. Two: a directory and what is made in it, or
/// an owner and the next one.
pub(super) const CREDITS: Credits = Credits(2 * Kind::ALL.len() as u32);

impl<T: FileSystem> SuperBlock<T> {
    /// Whether anything is counted, or will be again when the file system is not read-only any more.
    #[inline]
    pub fn has_quotas(&self) -> bool {
        let any = bindings::DQUOT_USAGE_ENABLED * ((1 << Kind::ALL.len()) - 1);
        // SAFETY: Valid by the type's invariants; the flags are read as one word.
        let flags = unsafe { (&raw const (*self.as_ptr()).s_dquot.flags).read_volatile() };
        flags & any != 0
    }

    /// Begins to count for `kind`, in `file`, a hidden file of the file system in the format that ext4
    /// uses; with `enforce`, to refuse what is beyond the limits.
    ///
    /// The caller is mounting or remounting, and so holds `s_umount` exclusively; the file system is
    /// not read-only. [`ESRCH`] if the kernel does not know the format.
    pub fn enable_quota(&self, kind: Kind, file: &INode<T>, enforce: bool) -> Result {
        file.set_flags(
            bindings::S_NOQUOTA | bindings::S_NOATIME,
            bindings::S_NOQUOTA | bindings::S_NOATIME,
        );
        let mut flags = bindings::DQUOT_USAGE_ENABLED;
        if enforce {
            flags |= bindings::DQUOT_LIMITS_ENABLED;
        }
        let format = bindings::QFMT_VFS_V1 as c_int;
        // SAFETY: `s_umount` is held, so nobody else uses these fields. The tables are static, and what
        // they hold expects a super block of `T`. The library takes a count of the inode of its own.
        to_result(unsafe {
            let sb = self.as_ptr();
            (*sb).dq_op = ptr::from_ref(&Operations::<T>::DQUOTS);
            (*sb).s_qcop = ptr::from_ref(&Operations::<T>::CONTROL);
            (*sb).s_quota_types |= 1 << kind as u32;
            (*sb).s_dquot.flags |= bindings::DQUOT_QUOTA_SYS_FILE | bindings::DQUOT_NOLIST_DIRTY;
            bindings::dquot_load_quota_inode(file.as_ptr(), kind as c_int, format, flags)
        })
    }

    /// Counts no more, and lets go of the files. `s_umount` is held exclusively.
    pub fn disable_quotas(&self) {
        // SAFETY: The super block is valid, and the lock is held. It only fails for wrong flags.
        unsafe { bindings::dquot_quota_off(self.as_ptr(), ALL_KINDS) };
    }

    /// Writes what is counted, and rests while the file system is read-only. `s_umount` is held
    /// exclusively.
    pub fn suspend_quotas(&self) -> Result {
        // SAFETY: As for `disable_quotas`.
        to_result(unsafe {
            bindings::dquot_disable(self.as_ptr(), ALL_KINDS, bindings::DQUOT_SUSPENDED)
        })
    }

    /// Counts again after [`suspend_quotas`](Self::suspend_quotas), whatever it counted before.
    pub fn resume_quotas(&self) -> Result {
        // SAFETY: As for `disable_quotas`.
        to_result(unsafe { bindings::dquot_resume(self.as_ptr(), ALL_KINDS) })
    }

    /// What project `projid` uses and may use, if the limits of projects are enforced.
    pub fn project_use(&self, projid: u32) -> Result<Option<Use>> {
        let enforced = bindings::DQUOT_LIMITS_ENABLED << Kind::Project as u32;
        let suspended = bindings::DQUOT_SUSPENDED << Kind::Project as u32;
        // SAFETY: Valid by the type's invariants; the flags are read as one word.
        let flags = unsafe { (&raw const (*self.as_ptr()).s_dquot.flags).read_volatile() };
        if flags & (enforced | suspended) != enforced {
            return Ok(None);
        }
        let mut block = bindings::qc_dqblk::default();
        // SAFETY: The super block is valid, and the structure ours.
        to_result(unsafe {
            bindings::dquot_get_dqblk(self.as_ptr(), project(projid), &mut block)
        })?;
        Ok(Some(Use {
            space: block.d_space,
            space_limit: least(block.d_spc_softlimit, block.d_spc_hardlimit),
            inodes: block.d_ino_count,
            inode_limit: least(block.d_ino_softlimit, block.d_ino_hardlimit),
        }))
    }

    /// Writes what of the quotas is not in their files yet: grace times. `s_umount` is held.
    pub fn write_quotas(&self) -> Result {
        if !self.has_quotas() {
            return Ok(());
        }
        // SAFETY: The super block is valid.
        to_result(unsafe { bindings::dquot_writeback_dquots(self.as_ptr(), ALL_KINDS) })
    }
}

/// What somebody uses and may use.
pub struct Use {
    /// Bytes in use.
    pub space: u64,
    /// The lower of the limits, if there is any.
    pub space_limit: Option<u64>,
    /// Inodes in use.
    pub inodes: u64,
    /// The lower of the limits, if there is any.
    pub inode_limit: Option<u64>,
}

/// The lower of two limits, of which 0 is none.
fn least(soft: u64, hard: u64) -> Option<u64> {
    [soft, hard].into_iter().filter(|limit| *limit != 0).min()
}

/// In the place of a [`Kind`].
const ALL_KINDS: c_int = -1;

impl<T: FileSystem> INode<T> {
    /// Gets the dquots that are counted for this inode, if there are quotas: before a transaction that
    /// gives it something, takes something from it, or changes its owner.
    pub fn attach_dquots(&self) -> Result {
        if !self.sb().has_quotas() {
            return Ok(());
        }
        // SAFETY: The inode is alive. No transaction runs.
        to_result(unsafe { bindings::dquot_initialize(self.as_ptr()) })
    }

    /// Adds so many units of 512 bytes to the storage used. [`EDQUOT`] if that is more than a limit.
    pub fn charge(&self, _tx: &Transaction<'_, T>, sectors: u64) -> Result {
        self.alloc_space(sectors, bindings::DQUOT_SPACE_WARN)
    }

    /// As [`charge`](Self::charge), whatever the limits are: for metadata of blocks that were granted.
    pub fn charge_beyond_limits(&self, _tx: &Transaction<'_, T>, sectors: u64) -> Result {
        self.alloc_space(
            sectors,
            bindings::DQUOT_SPACE_WARN | bindings::DQUOT_SPACE_NOFAIL,
        )
    }

    fn alloc_space(&self, sectors: u64, flags: u32) -> Result {
        let bytes = (sectors << 9) as i64;
        // SAFETY: The inode is alive.
        to_result(unsafe { bindings::__dquot_alloc_space(self.as_ptr(), bytes, flags as c_int) })
    }

    /// Takes from the storage used, in units of 512 bytes.
    pub fn uncharge(&self, _tx: &Transaction<'_, T>, sectors: u64) {
        // SAFETY: The inode is alive.
        unsafe { bindings::__dquot_free_space(self.as_ptr(), (sectors << 9) as i64, 0) };
    }

    /// Counts this inode. [`EDQUOT`] if that is one more than a limit.
    pub fn charge_inode(&self, _tx: &Transaction<'_, T>) -> Result {
        // SAFETY: The inode is alive.
        to_result(unsafe { bindings::dquot_alloc_inode(self.as_ptr()) })
    }

    /// This inode is not counted any more.
    pub fn uncharge_inode(&self, _tx: &Transaction<'_, T>) {
        // SAFETY: The inode is alive.
        unsafe { bindings::dquot_free_inode(self.as_ptr()) };
    }
}

/// What an inode uses, about to be counted for others.
///
/// # Invariants
///
/// Each of `to` is NULL or a dquot with a count that this object owns.
pub struct Transfer<'a, T: FileSystem> {
    inode: &'a INode<T>,
    to: Dquots,
}

impl<'a, T: FileSystem> Transfer<'a, T> {
    fn new(inode: &'a INode<T>) -> Result<Self> {
        inode.attach_dquots()?;
        // INVARIANT: None yet.
        Ok(Self {
            inode,
            to: NO_DQUOTS,
        })
    }

    /// To the owner and the group that `change` sets. No transaction runs.
    pub fn to_owner(change: &Change<'a, T>) -> Result<Self> {
        let mut this = Self::new(change.inode())?;
        if this.inode.sb().has_quotas() {
            let (user, group) = change.new_owner();
            if let Some(uid) = user {
                this.add(bindings::kqid {
                    __bindgen_anon_1: bindings::kqid__bindgen_ty_1 { uid },
                    type_: Kind::User as u32,
                })?;
            }
            if let Some(gid) = group {
                this.add(bindings::kqid {
                    __bindgen_anon_1: bindings::kqid__bindgen_ty_1 { gid },
                    type_: Kind::Group as u32,
                })?;
            }
        }
        Ok(this)
    }

    /// To a project. No transaction runs.
    pub fn to_project(inode: &'a INode<T>, projid: u32) -> Result<Self> {
        let mut this = Self::new(inode)?;
        if this.inode.sb().has_quotas() {
            this.add(project(projid))?;
        }
        Ok(this)
    }

    fn add(&mut self, id: bindings::kqid) -> Result {
        // SAFETY: The super block is valid, and quotas are loaded.
        match from_err_ptr(unsafe { bindings::dqget(self.inode.sb().as_ptr(), id) }) {
            Ok(dquot) => {
                if let Some(to) = self.to.get_mut(id.type_ as usize) {
                    // INVARIANT: The count is this object's now.
                    *to = dquot;
                }
                Ok(())
            }
            // This kind is not counted.
            Err(ESRCH) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Counts the inode and its space for them. [`EDQUOT`], and nothing is done, if that is more than a
    /// limit. The caller changes the owner in the same transaction.
    pub fn apply(mut self, _tx: &Transaction<'_, T>) -> Result {
        if self.to.iter().all(|dquot| dquot.is_null()) {
            return Ok(());
        }
        // SAFETY: The inode is alive, and its dquots are attached. The counts are exchanged with those
        // that the inode had, which `self` drops.
        to_result(unsafe { bindings::__dquot_transfer(self.inode.as_ptr(), self.to.as_mut_ptr()) })
    }
}

impl<T: FileSystem> Drop for Transfer<'_, T> {
    fn drop(&mut self) {
        for dquot in self.to {
            // SAFETY: The count is this object's, by the invariant; NULL is ignored. If it is the last
            // one, the entry is released by a worker, not here.
            unsafe { bindings::dqput(dquot) };
        }
    }
}

/// The identity of a project.
fn project(projid: u32) -> bindings::kqid {
    let projid = bindings::kprojid_t { val: projid };
    bindings::kqid {
        __bindgen_anon_1: bindings::kqid__bindgen_ty_1 { projid },
        type_: Kind::Project as u32,
    }
}

/// What the library calls, for `T`.
pub(super) struct Operations<T>(PhantomData<T>);

impl<T: FileSystem> Operations<T> {
    const DQUOTS: bindings::dquot_operations = bindings::dquot_operations {
        write_dquot: Some(Self::write_dquot),
        alloc_dquot: Some(bindings::dquot_alloc),
        destroy_dquot: Some(bindings::dquot_destroy),
        acquire_dquot: Some(Self::acquire_dquot),
        release_dquot: Some(Self::release_dquot),
        mark_dirty: Some(Self::mark_dirty),
        write_info: Some(Self::write_info),
        get_projid: Some(Self::get_projid),
        get_next_id: Some(bindings::dquot_get_next_id),
        ..pin_init::zeroed()
    };

    const CONTROL: bindings::quotactl_ops = bindings::quotactl_ops {
        quota_enable: Some(Self::quota_enable),
        quota_disable: Some(Self::quota_disable),
        quota_sync: Some(bindings::dquot_quota_sync),
        set_info: Some(bindings::dquot_set_dqinfo),
        get_dqblk: Some(bindings::dquot_get_dqblk),
        get_nextdqblk: Some(bindings::dquot_get_next_dqblk),
        set_dqblk: Some(Self::set_dqblk),
        get_state: Some(bindings::dquot_get_state),
        ..pin_init::zeroed()
    };

    /// Starts a transaction in which the entry of `dquot` is made or removed.
    ///
    /// # Safety
    ///
    /// `dquot` must be valid for `'a`, belong to a super block of type `T`, and its quota be loaded.
    unsafe fn start_entry<'a>(dquot: *mut bindings::dquot) -> Result<Transaction<'a, T>> {
        // SAFETY: As the caller promises.
        let file = unsafe { Self::file((*dquot).dq_sb, (*dquot).dq_id.type_ as c_int)? };
        Transaction::start(file.sb(), T::quota_entry_credits(file))
    }

    /// # Safety
    ///
    /// Called by the library with a dquot of a super block of type `T`, outside of any transaction.
    unsafe extern "C" fn write_dquot(dquot: *mut bindings::dquot) -> c_int {
        from_result(|| {
            // SAFETY: As the library promises.
            let sb: &SuperBlock<T> = unsafe { SuperBlock::from_raw((*dquot).dq_sb) };
            let _tx = Transaction::start(sb, Credits(1))?;
            // SAFETY: As the library promises.
            to_result(unsafe { bindings::dquot_commit(dquot) }).map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// Called by the library with a dquot of a super block of type `T`, outside of any transaction.
    unsafe extern "C" fn acquire_dquot(dquot: *mut bindings::dquot) -> c_int {
        from_result(|| {
            // SAFETY: As the library promises.
            let _tx = unsafe { Self::start_entry(dquot) }?;
            // SAFETY: As the library promises.
            to_result(unsafe { bindings::dquot_acquire(dquot) }).map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// Called by the library with a dquot of a super block of type `T`, outside of any transaction.
    unsafe extern "C" fn release_dquot(dquot: *mut bindings::dquot) -> c_int {
        from_result(|| {
            // SAFETY: As the library promises.
            let tx = unsafe { Self::start_entry(dquot) };
            // Also without a transaction, when it fails to write: the library would ask again and again.
            // SAFETY: As the library promises.
            let released = to_result(unsafe { bindings::dquot_release(dquot) });
            tx.and(released).map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// Called by the library with a dquot of a super block of type `T`, within a transaction, as this
    /// module makes sure: what changes a dquot has one.
    unsafe extern "C" fn mark_dirty(dquot: *mut bindings::dquot) -> c_int {
        // SAFETY: As the library promises.
        unsafe {
            bindings::dquot_mark_dquot_dirty(dquot);
            bindings::dquot_commit(dquot)
        }
    }

    /// # Safety
    ///
    /// Called by the library with a super block of type `T`, outside of any transaction.
    unsafe extern "C" fn write_info(sb: *mut bindings::super_block, kind: c_int) -> c_int {
        from_result(|| {
            // SAFETY: As the library promises.
            let this: &SuperBlock<T> = unsafe { SuperBlock::from_raw(sb) };
            let _tx = Transaction::start(this, Credits(1))?;
            // SAFETY: As the library promises.
            to_result(unsafe { bindings::dquot_commit_info(sb, kind) }).map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// Called by the library with an inode of `T`, and a place for the answer.
    unsafe extern "C" fn get_projid(
        inode: *mut bindings::inode,
        projid: *mut bindings::kprojid_t,
    ) -> c_int {
        // SAFETY: As the library promises.
        match T::projid(unsafe { INode::from_raw(inode) }) {
            Some(val) => {
                // SAFETY: As the library promises.
                unsafe { projid.write(bindings::kprojid_t { val }) };
                0
            }
            None => EOPNOTSUPP.to_errno(),
        }
    }

    /// # Safety
    ///
    /// Called by `quotactl(2)` with a super block of type `T`.
    unsafe extern "C" fn quota_enable(sb: *mut bindings::super_block, flags: c_uint) -> c_int {
        // SAFETY: As the caller promises; the table is the library's and does not change.
        unsafe {
            match bindings::dquot_quotactl_sysfile_ops.quota_enable {
                Some(enable) => enable(sb, flags),
                None => ENOSYS.to_errno(),
            }
        }
    }

    /// # Safety
    ///
    /// Called by `quotactl(2)` with a super block of type `T`.
    unsafe extern "C" fn quota_disable(sb: *mut bindings::super_block, flags: c_uint) -> c_int {
        // SAFETY: As for `quota_enable`.
        unsafe {
            match bindings::dquot_quotactl_sysfile_ops.quota_disable {
                Some(disable) => disable(sb, flags),
                None => ENOSYS.to_errno(),
            }
        }
    }

    /// Sets limits. The entry is made first: it takes a transaction of its own.
    ///
    /// # Safety
    ///
    /// Called by `quotactl(2)` with a super block of type `T`.
    unsafe extern "C" fn set_dqblk(
        sb: *mut bindings::super_block,
        id: bindings::kqid,
        block: *mut bindings::qc_dqblk,
    ) -> c_int {
        from_result(|| {
            // SAFETY: As the caller promises.
            let this: &SuperBlock<T> = unsafe { SuperBlock::from_raw(sb) };
            // SAFETY: As the caller promises.
            let dquot = from_err_ptr(unsafe { bindings::dqget(sb, id) })?;
            let set = Transaction::start(this, Credits(1)).and_then(|_tx| {
                // SAFETY: As the caller promises.
                to_result(unsafe { bindings::dquot_set_dqblk(sb, id, block) })
            });
            // SAFETY: The count is the one just taken.
            unsafe { bindings::dqput(dquot) };
            set.map(|()| 0)
        })
    }

    /// The file in which `kind` is counted.
    ///
    /// # Safety
    ///
    /// Called by the library with a super block of type `T`, of whose quotas this is one. The file
    /// stays while the call lasts.
    unsafe fn file<'a>(sb: *mut bindings::super_block, kind: c_int) -> Result<&'a INode<T>> {
        // SAFETY: As the library promises.
        let files = unsafe { (*sb).s_dquot.files };
        match files.get(kind as usize) {
            // SAFETY: The library holds a count of the file.
            Some(file) if !file.is_null() => Ok(unsafe { INode::from_raw(*file) }),
            _ => Err(EIO),
        }
    }

    /// `super_operations.quota_read`
    ///
    /// # Safety
    ///
    /// Called by the library with a super block of type `T`, and `len` bytes of memory.
    pub(super) unsafe extern "C" fn quota_read(
        sb: *mut bindings::super_block,
        kind: c_int,
        data: *mut c_char,
        len: usize,
        pos: bindings::loff_t,
    ) -> isize {
        from_result(|| {
            // SAFETY: As the library promises; what is there may not be initialised, so it is zeroed.
            let (file, bytes) = unsafe {
                data.write_bytes(0, len);
                let bytes = core::slice::from_raw_parts_mut(data.cast::<u8>(), len);
                (Self::file(sb, kind)?, bytes)
            };
            let pos = u64::try_from(pos).map_err(|_| EINVAL)?;
            T::quota_read(file, pos, bytes).map(|read| read as isize)
        })
    }

    /// `super_operations.quota_write`
    ///
    /// # Safety
    ///
    /// Called by the library with a super block of type `T`, and `len` bytes of memory, within a
    /// transaction: from one of the functions above.
    pub(super) unsafe extern "C" fn quota_write(
        sb: *mut bindings::super_block,
        kind: c_int,
        data: *const c_char,
        len: usize,
        pos: bindings::loff_t,
    ) -> isize {
        from_result(|| {
            // SAFETY: As the library promises.
            let (file, bytes) = unsafe {
                let bytes = core::slice::from_raw_parts(data.cast::<u8>(), len);
                (Self::file(sb, kind)?, bytes)
            };
            let pos = u64::try_from(pos).map_err(|_| EINVAL)?;
            let tx = Transaction::join(file.sb(), T::quota_entry_credits(file))?;
            T::quota_write(&tx, file, pos, bytes)?;
            Ok(len as isize)
        })
    }

    /// `super_operations.get_dquots`
    ///
    /// # Safety
    ///
    /// Called by the library with an inode of `T`.
    pub(super) unsafe extern "C" fn get_dquots(
        inode: *mut bindings::inode,
    ) -> *mut *mut bindings::dquot {
        // SAFETY: As the library promises.
        unsafe { INode::<T>::from_raw(inode) }.dquots()
    }
}
