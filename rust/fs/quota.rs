// SPDX-License-Identifier: GPL-2.0

//! Quotas: the hidden files that they are kept in.
//!
//! An image with the `quota` feature has an inode for what users use, one for groups and, perhaps, one
//! for projects. What is in them is the business of the kernel's dquot library; here their blocks are
//! found, which are metadata, and so read and written through the buffer cache.
//!
//! Invariant: the files are read and written only while the library has them, which keeps its readers
//! and writers from each other.

use super::{
    error::{
        corrupt,
        At, //
    },
    inode,
    map::{
        self,
        Fill,
        Place, //
    },
    INode,
    SuperBlock,
    Transaction, //
};
use crate::{
    ondisk::inode::flag,
    prelude::*,
    vfs::{
        quota::Kind,
        sb_err,
        Credits,
        StatFs, //
    }, //
};
use kernel::sync::atomic::Relaxed;

/// Begins to count, in each file that the image has for that. The file system is not read-only, and
/// `s_umount` is held exclusively.
///
/// Limits are enforced for the kinds that mount options name, and when `quotaon(8)` asks for it.
pub fn enable(sb: &SuperBlock) -> Result {
    let data = sb.data().get_ref();
    let enforced = data.options().enforced_quotas();
    let files = Kind::ALL.into_iter().zip(data.geometry().quota_inos());
    for (kind, ino) in files.filter_map(|(kind, ino)| Some((kind, ino?))) {
        let enforce = enforced & 1 << kind as u32 != 0;
        if let Err(error) = enable_one(sb, kind, ino.into(), enforce) {
            sb_err!(sb, "quota file, inode {}: {:?}; run e2fsck", ino, error);
            sb.disable_quotas();
            return Err(error);
        }
    }
    Ok(())
}

/// Counts again, or for the first time, in a file system that was read-only.
pub fn resume(sb: &SuperBlock) -> Result {
    match sb.has_quotas() {
        true => sb.resume_quotas(),
        false => enable(sb),
    }
}

/// In a directory that hands its project down, the file system is as large as the project may become.
pub fn limit_statfs(inode: &INode, stat: &mut StatFs) -> Result {
    let info = inode.data();
    if info.flags.load(Relaxed) & flag::PROJINHERIT == 0 {
        return Ok(());
    }
    let Some(used) = inode.sb().project_use(info.projid())? else {
        return Ok(());
    };
    let bits = inode.sb().block_bits();
    if let Some(limit) = used.space_limit {
        let free = limit.saturating_sub(used.space) >> bits;
        stat.blocks = stat.blocks.min(limit >> bits);
        stat.free_blocks = stat.free_blocks.min(free);
        stat.available_blocks = stat.available_blocks.min(free);
    }
    if let Some(limit) = used.inode_limit {
        stat.files = stat.files.min(limit);
        stat.free_files = stat.free_files.min(limit.saturating_sub(used.inodes));
    }
    Ok(())
}

fn enable_one(sb: &SuperBlock, kind: Kind, ino: u64, enforce: bool) -> Result {
    let file = inode::iget_any(sb, ino)?;
    // An entry is written while the extents of the file that it is counted for are locked.
    file.data().extents.set_inner();
    sb.enable_quota(kind, &file, enforce)
}

/// What changes when an entry is made in a quota file or removed: up to four nodes of the tree over the
/// entries and a block of entries may be new; the header, that block, its two neighbours in a list and
/// one more, the nodes, and the inode are written.
pub fn entry_credits(file: &INode) -> Credits {
    map::allocate_credits(file) * 5 + Credits(10)
}

/// Reads from the file, and returns the number of bytes: less than asked for at its end.
pub fn read(file: &INode, pos: u64, bytes: &mut [u8]) -> Result<usize> {
    let sb = file.sb();
    let (bits, size) = (sb.block_bits(), sb.block_size());
    let left = usize::try_from(file.size().saturating_sub(pos)).unwrap_or(usize::MAX);
    let len = bytes.len().min(left);
    let (mut rest, _) = bytes.split_at_mut(len);
    let mut pos = pos;
    while !rest.is_empty() {
        let offset = pos as usize & (size - 1);
        let (part, more) = rest.split_at_mut(rest.len().min(size - offset));
        match block(file, pos >> bits)? {
            Some(nr) => sb.read_buffer(nr)?.read_at(offset, part)?,
            None => part.fill(0),
        }
        pos += part.len() as u64;
        rest = more;
    }
    Ok(len)
}

/// Writes to the file, within one block: allocates it if there is none.
pub fn write(tx: &Transaction<'_>, file: &INode, pos: u64, bytes: &[u8]) -> Result {
    let sb = tx.sb();
    let (lblk, offset) = (pos >> sb.block_bits(), pos as usize & (sb.block_size() - 1));
    let buffer = match block(file, lblk)? {
        Some(nr) => sb.read_buffer(nr)?,
        None => {
            let lblk = u32::try_from(lblk).map_err(|_| EFBIG)?;
            map::allocate(tx, file, lblk, 1, Fill::Written)?;
            tx.create(block(file, lblk.into())?.ok_or(EIO)?)?
        }
    };
    tx.write_at(&buffer, offset, bytes, None)?;
    let end = pos.saturating_add(bytes.len() as u64);
    if end > file.size() {
        file.set_size(end);
        inode::resized(file);
    }
    Ok(())
}

/// The number of block `lblk` of the file, if it has one.
fn block(file: &INode, lblk: u64) -> Result<Option<u64>> {
    let lblk = u32::try_from(lblk).map_err(|_| EFBIG)?;
    match map::map_blocks(file, lblk)?.place {
        Place::Written(nr) => Ok(Some(nr.get())),
        Place::Hole => Ok(None),
        Place::Unwritten(nr) => {
            let at = At::inode(file.ino(), nr.get());
            Err(corrupt(
                file.sb(),
                "quota file",
                at,
                fmt!("unwritten blocks"),
            ))
        }
    }
}
