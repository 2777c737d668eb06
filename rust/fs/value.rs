// SPDX-License-Identifier: GPL-2.0

//! Inodes that are the value of an extended attribute (`ea_inode`).
//!
//! Such an inode has no name and one link; how many attributes have it as their value is kept where
//! other inodes have the time of their last change and their version, and the checksum of the value
//! where they have the time of the last access. With its last user it loses its link, and is freed
//! when it is evicted. rdaxfs reads them and gives them up, and makes none: what does not fit inode
//! and block is refused with [`ENOSPC`].
//!
//! Invariant: the count changes with the lock of [`SuperData::attributes`] held.
//!
//! [`SuperData::attributes`]: super::SuperData::attributes

use super::{
    error::{
        corrupt,
        At, //
    },
    inode,
    map::{
        self,
        Place, //
    },
    orphan,
    INode,
    Transaction, //
};
use crate::{
    ondisk::{
        inode::flag,
        xattr::{
            value_checksum,
            Entry, //
        },
        Csum, //
    },
    prelude::*,
    vfs::{
        self,
        crc32c, //
    }, //
};
use kernel::sync::{
    aref::ARef,
    atomic::Relaxed, //
};

/// More than the VFS lets anybody set (`XATTR_SIZE_MAX`).
const SIZE_MAX: u32 = 1 << 16;

/// Inodes whose last reference may be the one held here: dropped when no transaction is running.
#[derive(Default)]
pub struct Gone(KVec<ARef<INode>>);

/// Whether the inode is a value.
pub fn is_value(inode: &INode) -> bool {
    inode.data().flags.load(Relaxed) & flag::EA_INODE != 0
}

fn bad(inode: &INode, ino: u32, what: &str) -> Error {
    let at = At::inode(inode.ino(), 0);
    corrupt(
        inode.sb(),
        "extended attribute",
        at,
        fmt!("value in inode {ino}: {what}"),
    )
}

/// The inode `ino`, which an attribute of `owner` has as its value.
fn find(owner: &INode, ino: u32) -> Result<ARef<INode>> {
    if owner.ino() == u64::from(ino) {
        return Err(bad(owner, ino, "the inode itself"));
    }
    let value = inode::iget_value(owner.sb(), ino.into()).map_err(|error| match error {
        ESTALE => bad(owner, ino, "not in use"),
        error => error,
    })?;
    if value.nlink() != 1 {
        return Err(bad(owner, ino, "without its one link"));
    }
    Ok(value)
}

/// Reads the value of `entry`, an attribute of `owner`, which has `size` bytes in the inode `ino`.
pub fn read(owner: &INode, ino: u32, size: u32, entry: &Entry<'_>) -> Result<KVVec<u8>> {
    let value = find(owner, ino)?;
    if value.size() != u64::from(size) || size > SIZE_MAX {
        return Err(bad(owner, ino, "of another size"));
    }
    let sb = owner.sb();
    let mut bytes = KVVec::from_elem(0, size as usize, GFP_KERNEL)?;
    for (lblk, part) in (0..).zip(bytes.chunks_mut(sb.block_size())) {
        let Place::Written(nr) = map::map_blocks(&value, lblk)?.place else {
            return Err(bad(owner, ino, "with a hole"));
        };
        sb.read_buffer(nr.get())?.read_at(0, part)?;
    }
    // Images of Lustre's have the owner in place of a checksum.
    let of_owner =
        value.mtime().sec as u32 == owner.ino() as u32 && value.generation() == owner.generation();
    let geometry = sb.data().get_ref().geometry();
    let csum = geometry.csum();
    let csum = csum.unwrap_or_else(|| Csum::new(crc32c).with(geometry.uuid()));
    let checksum = value_checksum(csum, &bytes);
    if !of_owner && (value.atime().sec as u32 != checksum || !entry.has_checksum(checksum)) {
        return Err(bad(owner, ino, "wrong checksum"));
    }
    Ok(bytes)
}

/// An attribute of `owner` more has the value. The caller marks nothing.
pub fn get(tx: &Transaction<'_>, owner: &INode, ino: u32, gone: &mut Gone) -> Result {
    vfs::wait_for_memory(|| gone.0.reserve(1, GFP_KERNEL));
    let value = find(owner, ino)?;
    let users = inode::value_users(&value)?;
    inode::set_value_users(tx, &value, users.checked_add(1).ok_or(EFBIG)?)?;
    Ok(gone.0.push(value, GFP_KERNEL)?)
}

/// An attribute of `owner` has the value no more.
pub fn put(tx: &Transaction<'_>, owner: &INode, ino: u32, gone: &mut Gone) -> Result {
    vfs::wait_for_memory(|| gone.0.reserve(1, GFP_KERNEL));
    let value = find(owner, ino)?;
    let users = inode::value_users(&value)?.saturating_sub(1);
    if users == 0 {
        value.clear_nlink();
        orphan::add(tx, &value)?;
    }
    let set = inode::set_value_users(tx, &value, users);
    gone.0.push(value, GFP_KERNEL)?;
    set
}
