// SPDX-License-Identifier: GPL-2.0

//! File attributes: which bits of `i_flags`, and which project, users see and set.
//!
//! Invariant: the `S_*` flags of an inode are those that its `i_flags` ask for ([`inode::vfs_flags`]),
//! but for `S_DAX`, which belongs to the mode ([`switch`]).

use kernel::sync::atomic::Relaxed;

use super::{
    inode,
    switch,
    INode,
    RdaxFs,
    Transaction, //
};
use crate::{
    ondisk::{
        feature::RoCompat,
        inode::flag, //
    },
    prelude::*,
    vfs::{
        fileattr::FileKattr,
        mode::SoleLock,
        quota::Transfer,
        FileType, //
    }, //
};

/// Tells the attributes of an inode.
pub fn get(inode: &INode, attr: &mut FileKattr) -> Result {
    let mut flags = inode.data().flags.load(Relaxed) & flag::USER_VISIBLE;
    if inode.kind() == FileType::Regular {
        flags &= !flag::PROJINHERIT;
    }
    attr.fill_flags(flags);
    if has_project(inode) {
        attr.set_projid(inode.data().projid.load(Relaxed));
    }
    Ok(())
}

/// Sets the attributes of an inode: all of them, or none.
///
/// [`EOPNOTSUPP`] for what cannot be set, [`EPERM`] for a change of an inode that is and stays
/// immutable, and what [`switch::set_dax`] says.
pub fn set(inode: &mut SoleLock<'_, RdaxFs>, attr: &FileKattr) -> Result {
    let old = inode.data().flags.load(Relaxed);
    let new = check(inode, old, attr)?;
    let dax = new & flag::DAX != 0;
    // What is dirty is written, and so write-protected: a store comes through the file system again, which
    // refuses it.
    if new & !old & flag::IMMUTABLE != 0 && inode.kind() == FileType::Regular {
        inode.wait_for_direct_io();
        inode.write_and_wait(0, i64::MAX)?;
    }
    let switches = (new ^ old) & flag::DAX != 0;
    if switches {
        switch::set_dax(inode, dax)?;
    }
    store(inode, new, attr).inspect_err(|_| {
        if switches {
            let _ = switch::set_dax(inode, !dax);
        }
    })
}

/// Checks a change of attributes, and returns the flags to set.
fn check(inode: &INode, old: u32, attr: &FileKattr) -> Result<u32> {
    let asked = attr.flags();
    let changed = (asked ^ old) & flag::USER_VISIBLE;
    let mut settable = flag::suitable(inode.mode(), flag::USER_MODIFIABLE);
    if has_project(inode) {
        settable |= flag::suitable(inode.mode(), flag::PROJINHERIT);
    }
    if asked & !flag::USER_VISIBLE != 0 || changed & !settable != 0 || attr.is_beyond_flags() {
        return Err(EOPNOTSUPP);
    }
    let new_projid = has_projid_change(inode, attr);
    if new_projid && !has_project(inode) {
        return Err(EOPNOTSUPP);
    }
    let immutable = old & asked & flag::IMMUTABLE != 0;
    if immutable && (new_projid || changed != 0) {
        return Err(EPERM);
    }
    Ok(old ^ changed)
}

/// Makes the change, in one transaction.
fn store(inode: &INode, flags: u32, attr: &FileKattr) -> Result {
    let transfer = match has_projid_change(inode, attr) {
        true => Some(Transfer::to_project(inode, attr.projid())?),
        false => None,
    };
    let tx = Transaction::start(inode.sb(), inode::WRITE_CREDITS)?;
    if let Some(transfer) = transfer {
        transfer.apply(&tx)?;
    }
    let info = inode.data();
    info.flags.store(flags, Relaxed);
    if has_project(inode) {
        info.projid.store(attr.projid(), Relaxed);
    }
    let (set, mask) = inode::vfs_flags(flags);
    inode.set_flags(set, mask);
    inode.set_ctime_current();
    inode.mark_dirty();
    Ok(())
}

/// Whether another project identifier is to be set than the inode has.
fn has_projid_change(inode: &INode, attr: &FileKattr) -> bool {
    attr.projid()
        != if has_project(inode) {
            inode.data().projid.load(Relaxed)
        } else {
            0
        }
}

/// Whether the image has project identifiers.
pub(super) fn has_project(inode: &INode) -> bool {
    let features = inode.sb().data().geometry().ro_compat();
    features.contains(RoCompat::PROJECT)
}
