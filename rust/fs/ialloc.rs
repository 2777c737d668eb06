// SPDX-License-Identifier: GPL-2.0

//! The inode allocator.
//!
//! Invariant: an inode is set in its group's bitmap if and only if it is in use, and the counts of
//! group and file system are what the bitmaps say; all of it changes in one transaction, under the
//! group's lock. What lies below `bg_itable_unused` in an inode table was written once.
//!
//! Files go to their directory's group. Directories of the root directory are spread over the flex
//! groups, others stay near their parent as long as it has room.

use super::{
    error::{
        corrupt,
        At, //
    },
    group::{
        Bitmap,
        Group,
        Which, //
    },
    inode::{
        self,
        ROOT_INO, //
    },
    map,
    INode,
    RdaxFs,
    SuperBlock,
    Transaction, //
};
use crate::{
    ondisk::{
        bitmap,
        feature::Incompat,
        inode::flag, //
    },
    prelude::*,
    vfs::{
        self,
        inode::{
            Fresh,
            IdMap,
            New, //
        },
        Credits,
        FileType, //
    }, //
};
use kernel::sync::atomic::Relaxed;

/// Blocks that [`new_inode`] changes: a bitmap, group descriptors, a block of the inode table.
pub const NEW_CREDITS: Credits = Credits(3);

/// Blocks that [`free_inode`] changes: a bitmap and group descriptors.
pub const FREE_CREDITS: Credits = Credits(2);

/// Prepares an inode in the directory `dir`, for a file with the format and permission bits `mode`,
/// owned by the current task as seen through `idmap`, and by the project that it inherits. No
/// transaction may be running.
pub fn prepare(dir: &INode, idmap: &IdMap, mode: u16) -> Result<Fresh<RdaxFs>> {
    let mut fresh = dir.sb().new_inode()?;
    fresh.init_owner(idmap, dir, mode);
    let parent = dir.data();
    if parent.flags.load(Relaxed) & flag::PROJINHERIT != 0 {
        fresh.data().projid.store(parent.projid(), Relaxed);
    }
    dir.attach_dquots()?;
    fresh.attach_dquots()?;
    Ok(fresh)
}

/// Allocates the inode that was prepared for the directory `dir`. [`EDQUOT`] if its owner has too many.
///
/// It has a number, a generation, times, one link, no blocks, the flags it inherits from `dir`, and
/// is on the disk when it is marked dirty. The caller gives it its operations, marks it, and publishes
/// it; dropping it frees it again. No
/// transaction may be running when it is dropped.
pub fn new_inode(tx: &Transaction<'_>, dir: &INode, fresh: Fresh<RdaxFs>) -> Result<New<RdaxFs>> {
    let sb = tx.sb();
    let is_dir = fresh.kind() == FileType::Directory;
    fresh.charge_inode(tx)?;
    let ino = take(tx, dir, is_dir).inspect_err(|_| fresh.uncharge_inode(tx))?;
    // A number that is free on the disk and in use in memory is in use twice.
    let mut inode = fresh.insert(ino).map_err(|_| {
        corrupt(
            sb,
            "new inode",
            At::inode(ino, 0),
            fmt!("marked free while in use"),
        )
    })?;
    inode.set_generation(vfs::random_u32());
    let now = inode.set_times_current();
    let inherited = dir.data().flags.load(Relaxed) & flag::INHERITED;
    let flags = flag::suitable(inode.mode(), inherited) | extents_flag(sb, inode.kind());
    inode.data_mut().init_fresh(flags, now);
    let root = map::fork(&inode).new_root();
    inode.data().extents.load(root);
    let (set, mask) = inode::vfs_flags(flags);
    inode.set_flags(set, mask);
    Ok(inode)
}

/// The flag of inodes that have an extent tree, where the file system has such.
fn extents_flag(sb: &SuperBlock, kind: FileType) -> u32 {
    let incompat = sb.data().get_ref().geometry().incompat();
    match kind {
        _ if !incompat.contains(Incompat::EXTENTS) => 0,
        FileType::Regular | FileType::Directory | FileType::Symlink => flag::EXTENTS,
        _ => 0,
    }
}

/// Takes a free inode number for something in `dir`.
fn take(tx: &Transaction<'_>, dir: &INode, is_dir: bool) -> Result<u64> {
    let groups = &tx.sb().data().get_ref().groups;
    if groups.free_inodes() == 0 {
        return Err(ENOSPC);
    }
    let first = if is_dir {
        group_for_dir(tx.sb(), dir)
    } else {
        group_of(dir)
    };
    for group in groups.round(first) {
        if group.free_inodes() == 0 {
            continue;
        }
        if let Some(ino) = take_in(tx, group, is_dir)? {
            return Ok(ino);
        }
    }
    Err(ENOSPC)
}

/// Whether somebody has the inode `ino`.
pub fn is_allocated(sb: &SuperBlock, ino: u32) -> Result<bool> {
    let data = sb.data().get_ref();
    let place = data.geometry().inode(ino).map_err(|_| ESTALE)?;
    let group = data.groups.get(place.group).ok_or(ESTALE)?;
    Ok(bitmap::test(&group.inode_bits(sb)?, place.bit))
}

/// The group of an inode.
fn group_of(inode: &INode) -> u32 {
    let ino = u32::try_from(inode.ino()).unwrap_or(1);
    let geometry = inode.sb().data().get_ref().geometry();
    geometry.inode(ino).map_or(0, |place| place.group)
}

/// The group for a new directory.
///
/// Below the root it is the flex group with the fewest directories among those that have at least
/// the average of free inodes and of free blocks; elsewhere it is the parent's.
fn group_for_dir(sb: &SuperBlock, parent: &INode) -> u32 {
    let data = sb.data().get_ref();
    let near = group_of(parent);
    if parent.ino() != ROOT_INO {
        return near;
    }
    let count = u64::from(data.geometry().groups());
    let inodes = data.groups.free_inodes() / count;
    let blocks = data.groups.free_blocks() / count;
    let best = data
        .groups
        .flex_groups(data.geometry().groups_per_flex())
        .filter(|flex| {
            flex.free_inodes >= inodes * u64::from(flex.groups)
                && flex.free_blocks >= blocks * u64::from(flex.groups)
        })
        .min_by_key(|flex| flex.used_dirs);
    best.map_or(near, |flex| flex.first)
}

/// Takes the first free inode of `group`, if there is one.
fn take_in(tx: &Transaction<'_>, group: &Group, is_dir: bool) -> Result<Option<u64>> {
    let sb = tx.sb();
    let geometry = sb.data().get_ref().geometry();
    let mut bitmap = Bitmap::open(tx, group, Which::Inodes)?;
    let per_group = geometry.inodes_per_group();
    // The first inodes are reserved, whatever the bitmap says.
    let first = match group.nr() {
        0 => geometry.first_ino().saturating_sub(1),
        _ => 0,
    };
    let Some(bit) = bitmap::next_clear(&bitmap.bits, first..per_group) else {
        return Ok(None);
    };
    let ino = geometry
        .ino(group.nr(), bit)
        .map_err(|error| bitmap.error("inode bitmap", error))?;
    bitmap::set(&mut bitmap.bits, bit..bit + 1)
        .map_err(|error| bitmap.error("inode bitmap", error))?;
    let desc = &mut bitmap.desc;
    desc.free_inodes = desc.free_inodes.saturating_sub(1);
    desc.used_dirs += u32::from(is_dir);
    let unused = per_group.saturating_sub(bit + 1);
    if unused < desc.itable_unused {
        let old = core::mem::replace(&mut desc.itable_unused, unused);
        zero_table(tx, &bitmap, per_group - old..bit + 1)?;
    }
    bitmap.commit(bit..bit + 1)?;
    Ok(Some(ino.into()))
}

/// Zeroes the blocks of the inode table that hold none but the inodes of `range`, which were never
/// in use, or inodes after these.
fn zero_table(tx: &Transaction<'_>, bitmap: &Bitmap<'_>, range: core::ops::Range<u32>) -> Result {
    if bitmap.desc.is_inode_zeroed() {
        return Ok(());
    }
    let sb = tx.sb();
    let per_block = sb.block_size() as u32 / u32::from(sb.data().get_ref().geometry().inode_size());
    for nth in range.start.div_ceil(per_block)..range.end.div_ceil(per_block) {
        if let Some(nr) = bitmap.desc.inode_table().nth(nth) {
            let buffer = tx.create(nr.get())?;
            tx.write_at(&buffer, 0, &[], None)?;
        }
    }
    Ok(())
}

/// Frees the number of an inode that has no links and no blocks any more.
///
/// [`EUCLEAN`] if it is free already.
pub fn free_inode(tx: &Transaction<'_>, inode: &INode) -> Result {
    let sb = tx.sb();
    let data = sb.data().get_ref();
    let at = At::inode(inode.ino(), 0);
    let ino = u32::try_from(inode.ino()).unwrap_or(0);
    let place = data.geometry().inode(ino).ok();
    let Some((place, group)) = place.and_then(|p| Some((p, data.groups.get(p.group)?))) else {
        return Err(corrupt(sb, "freeing an inode", at, fmt!("no such inode")));
    };
    if ino < data.geometry().first_ino() {
        return Err(corrupt(sb, "freeing an inode", at, fmt!("reserved inode")));
    }
    let mut bitmap = Bitmap::open(tx, group, Which::Inodes)?;
    bitmap::clear(&mut bitmap.bits, place.bit..place.bit + 1)
        .map_err(|_| corrupt(sb, "freeing an inode", at, fmt!("free already")))?;
    bitmap.desc.free_inodes += 1;
    if inode.kind() == FileType::Directory {
        bitmap.desc.used_dirs = bitmap.desc.used_dirs.saturating_sub(1);
    }
    bitmap.commit(place.bit..place.bit + 1)?;
    inode.uncharge_inode(tx);
    Ok(())
}
