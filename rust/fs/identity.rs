// SPDX-License-Identifier: GPL-2.0

//! What a file system is called: its volume's name, and the UUID on the disk, which counts from the next
//! mount on.
//!
//! Invariant: a change is on the disk, in the super block first, and then in all of its backups, before
//! it is said to be done.

use super::{
    mount::{
        self,
        read_super, //
    },
    SuperBlock,
    Transaction, //
};
use crate::{
    ondisk::superblock::SuperBlock as DiskSuperBlock,
    prelude::*,
    vfs::Credits, //
};

/// The volume's name, with zeroes behind it.
pub fn volume_name(sb: &SuperBlock) -> Result<[u8; 16]> {
    let mut name = [0; 16];
    for (to, from) in name.iter_mut().zip(read_super(sb)?.volume_name()) {
        *to = *from;
    }
    Ok(name)
}

/// Sets [`volume_name`].
pub fn set_volume_name(sb: &SuperBlock, name: &[u8; 16]) -> Result {
    change(sb, |disk| disk.set_volume_name(name))
}

/// The UUID.
pub fn uuid(sb: &SuperBlock) -> Result<[u8; 16]> {
    Ok(*read_super(sb)?.uuid())
}

/// Sets [`uuid`].
pub fn set_uuid(sb: &SuperBlock, uuid: &[u8; 16]) -> Result {
    change(sb, |disk| disk.set_uuid(uuid))
}

/// Changes the super block and its backups.
fn change(sb: &SuperBlock, change: impl Fn(&mut DiskSuperBlock)) -> Result {
    sb.check_running()?;
    let data = sb.data().get_ref();
    match &data.journal {
        Some(_) => mount::update_super_in(&Transaction::start(sb, Credits(1))?, &change)?,
        None => mount::update_super(sb, true, &change)?,
    }
    let geometry = data.geometry();
    let backups = (1..geometry.groups()).filter(|group| geometry.has_super(*group));
    for group in backups.filter_map(|group| geometry.group_blocks(group).ok()) {
        let tx = Transaction::start(sb, Credits(1))?;
        mount::update_backup_in(&tx, group, &change)?;
    }
    match &data.journal {
        Some(journal) => journal.force_commit(),
        None => sb.sync_device(),
    }
}
