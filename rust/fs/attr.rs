// SPDX-License-Identifier: GPL-2.0

//! Inode attributes: what `stat(2)` tells, and what chmod, chown, utimes and truncate change.

use kernel::sync::atomic::Relaxed;

use super::{
    fileattr,
    inode,
    space,
    xattr::ExtendedAttributes,
    INode,
    RdaxFs,
    Transaction, //
};
use crate::{
    bindings,
    ondisk::inode::flag,
    prelude::*,
    vfs::{
        self,
        attr::{
            KStat,
            Unchecked, //
        },
        fileattr::FileKattr,
        inode::IdMap,
        mode::SoleLock,
        quota::Transfer,
        FileType, //
    }, //
};

/// Each flag that `statx(2)` knows, and its name there.
const TOLD: [(u32, u32); 4] = [
    (flag::APPEND, bindings::STATX_ATTR_APPEND),
    // A wish that is kept, and not granted.
    (flag::COMPR, bindings::STATX_ATTR_COMPRESSED),
    (flag::IMMUTABLE, bindings::STATX_ATTR_IMMUTABLE),
    (flag::NODUMP, bindings::STATX_ATTR_NODUMP),
];

/// The operations on attributes, which inodes of all kinds have.
pub struct Attributes;

#[vtable]
impl vfs::attr::Operations for Attributes {
    type FileSystem = RdaxFs;
    type Acls = ExtendedAttributes;

    fn getattr(idmap: &IdMap, inode: &INode, stat: &mut KStat, request_mask: u32) -> Result {
        stat.fill(idmap, request_mask, inode);
        let info = inode.data();
        stat.set_btime(info.crtime);
        let direct = inode.kind() == FileType::Regular && !inode.sb().data().journals_data;
        if direct && request_mask & bindings::STATX_DIOALIGN != 0 {
            stat.set_dio_alignment(inode.sb());
        }
        let flags = info.flags.load(Relaxed);
        for (flag, name) in TOLD {
            let value = if flags & flag != 0 { name } else { 0 };
            stat.add_attributes(value.into(), name.into());
        }
        Ok(())
    }

    fn setattr(change: Unchecked<'_, RdaxFs>) -> Result {
        let change = change.prepare()?;
        let inode = change.inode();
        inode.sb().check_running()?;
        // For a file that was opened before it became immutable.
        if inode.is_immutable() {
            return Err(EPERM);
        }
        let transfer = Transfer::to_owner(&change)?;
        // The size first: that can fail.
        if let Some(size) = change.size() {
            let changes = size != inode.size();
            space::set_size(inode, size)?;
            if changes {
                inode.set_mtime_ctime_current();
            }
        }
        {
            let tx = Transaction::start(inode.sb(), inode::WRITE_CREDITS)?;
            transfer.apply(&tx)?;
            change.apply();
            inode.mark_dirty();
        }
        change.chmod_acl()?;
        if inode.is_sync() {
            inode.sync()?;
        }
        Ok(())
    }
}

#[vtable]
impl vfs::fileattr::Operations for Attributes {
    fn fileattr_get(inode: &INode, attr: &mut FileKattr) -> Result {
        fileattr::get(inode, attr)
    }

    fn fileattr_set(inode: &mut SoleLock<'_, RdaxFs>, attr: &FileKattr) -> Result {
        fileattr::set(inode, attr)
    }
}
