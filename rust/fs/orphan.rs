// SPDX-License-Identifier: GPL-2.0

//! Orphans: inodes that a crash must not leave as they are. Those without links that are still open are
//! to be freed, and those that are being truncated, or written past their end, have blocks past it.
//!
//! With a journal, an inode becomes an orphan in the transaction in which it gets into that state, and
//! ceases to be one in the one in which it leaves it. On the disk the orphans are a list, from
//! `s_last_orphan` on through `i_dtime`. An orphan file, which an image may have instead, is read at
//! mount, and what is in it is put into the list; to use the list is everybody's right.
//!
//! Invariant: the numbers in [`List`] are the list on the disk, the last one first, as the running
//! transaction leaves it. The inodes' places in the table are changed under its lock.

use super::{
    error::{
        corrupt,
        At, //
    },
    inode::{
        self,
        WRITE_CREDITS, //
    },
    map::{
        self,
        Place, //
    },
    meta::{
        Format,
        MetaBlock, //
    },
    mount,
    INode,
    SuperBlock,
    Transaction, //
};
use crate::{
    ondisk::{
        self,
        feature::RoCompat,
        orphan,
        superblock::SuperBlock as DiskSuperBlock,
        BlockNr,
        Csum, //
    },
    prelude::*,
    vfs::{
        self,
        sb_info,
        sb_warn,
        Credits,
        FileType, //
    }, //
};
use kernel::sync::{
    atomic::Relaxed,
    MutexGuard, //
};

/// The numbers of the orphans: each one's `i_dtime` is the number before it.
pub type List = KVVec<u32>;

/// No orphan file has more blocks.
const MAX_FILE_BLOCKS: u64 = 512;

/// Blocks that [`add`] and [`remove`] change besides the inode's own: the super block, and the inode
/// that is next in the list.
pub const CREDITS: Credits = Credits(2);

/// Locks the list.
pub fn lock(sb: &SuperBlock) -> MutexGuard<'_, List> {
    sb.data().get_ref().orphans.lock()
}

/// Whether the inode is in the list.
pub fn is_listed(sb: &SuperBlock, ino: u64) -> bool {
    position(&lock(sb), ino).is_some()
}

/// The place of an inode in the list; what came last goes first, most of the time.
fn position(list: &List, ino: u64) -> Option<usize> {
    list.iter().rposition(|listed| u64::from(*listed) == ino)
}

/// Makes the inode an orphan, as it is now, if it is none yet. [`CREDITS`] and [`WRITE_CREDITS`].
///
/// Without a journal this does nothing: nobody would look at the list before `e2fsck` looks at all.
pub fn add(tx: &Transaction<'_>, inode: &INode) -> Result {
    if inode.sb().data().journal.is_none() {
        return Ok(());
    }
    let mut list = lock(inode.sb());
    // No inode has a number that its format cannot hold.
    let ino = inode.ino() as u32;
    if position(&list, ino.into()).is_some() {
        return inode::store_orphan(tx, inode, None);
    }
    let next = list.last().copied().unwrap_or(0);
    vfs::wait_for_memory(|| list.reserve(1, GFP_KERNEL));
    list.push(ino, GFP_KERNEL)?;
    inode.data().orphan.store(true, Relaxed);
    inode::store_orphan(tx, inode, Some(next))?;
    mount::set_last_orphan(tx, ino)
}

/// The inode, as it is now, is no orphan any more; `dtime` is the time of its deletion, or 0. [`CREDITS`]
/// and [`WRITE_CREDITS`].
pub fn remove(tx: &Transaction<'_>, inode: &INode, dtime: u32) -> Result {
    let mut list = lock(inode.sb());
    if let Some(at) = position(&list, inode.ino()) {
        let next = at.checked_sub(1).and_then(|before| list.get(before));
        let next = next.copied().unwrap_or(0);
        match list.get(at + 1) {
            Some(previous) => inode::set_next_orphan(tx, *previous, next)?,
            None => mount::set_last_orphan(tx, next)?,
        }
        // Cannot fail: it is there.
        let _ = list.remove(at);
    }
    inode.data().orphan.store(false, Relaxed);
    inode::store_orphan(tx, inode, Some(dtime))
}

/// Whether a crash has left files that are still to be truncated or freed.
pub fn any(disk: &DiskSuperBlock) -> bool {
    disk.last_orphan() != 0 || disk.ro_compat().contains(RoCompat::ORPHAN_PRESENT)
}

/// Truncates or frees what a crash has left, when everything else works, and before anything else is
/// changed.
///
/// An orphan that is not right stays as it is, for `e2fsck`, and all that the list has after it.
pub fn process(sb: &SuperBlock) -> Result {
    let disk = mount::read_super(sb)?;
    if !any(&disk) {
        return Ok(());
    }
    match process_all(sb, &disk) {
        // Reported already: e2fsck will see to the rest.
        Err(error) if error == EUCLEAN || error == ESTALE => Ok(()),
        done => done,
    }
}

fn process_all(sb: &SuperBlock, disk: &DiskSuperBlock) -> Result {
    load_list(sb, disk.last_orphan())?;
    if disk.ro_compat().contains(RoCompat::ORPHAN_PRESENT) {
        load_file(sb)?;
    }
    let orphans = lock(sb).len();
    if orphans > 0 {
        sb_info!(sb, "{} orphans are truncated or freed", orphans);
    }
    loop {
        let last = lock(sb).last().copied();
        let Some(ino) = last else {
            return Ok(());
        };
        finish(sb, ino).inspect_err(|_| sb_warn!(sb, "orphan inode {} is not right", ino))?;
    }
}

/// Reads the list on the disk; nothing of one that is not right.
fn load_list(sb: &SuperBlock, first: u32) -> Result {
    let mut list = lock(sb);
    read_list(sb, first, &mut list).inspect_err(|_| list.clear())?;
    list.reverse();
    Ok(())
}

fn read_list(sb: &SuperBlock, first: u32, list: &mut List) -> Result {
    let inodes = sb.data().geometry().inodes() as usize;
    let mut ino = first;
    while ino != 0 {
        // One that is longer than that is a ring.
        if !inode::is_for_users(sb, ino.into()) || list.len() >= inodes {
            let args = fmt!("not one that can be an orphan");
            return Err(corrupt(
                sb,
                "list of orphans",
                At::inode(ino.into(), 0),
                args,
            ));
        }
        list.push(ino, GFP_KERNEL)?;
        ino = inode::next_orphan(sb, ino)?;
    }
    Ok(())
}

/// Puts those in the orphan file into the list.
fn load_file(sb: &SuperBlock) -> Result {
    let Some(ino) = sb.data().geometry().orphan_file_ino() else {
        return Ok(());
    };
    let file = inode::iget_any(sb, ino.into())?;
    if file.kind() != FileType::Regular {
        let at = At::inode(ino.into(), 0);
        return Err(corrupt(sb, "orphan file", at, fmt!("not a file")));
    }
    let blocks = file.size() >> sb.block_bits();
    if blocks > MAX_FILE_BLOCKS {
        let at = At::inode(ino.into(), 0);
        return Err(corrupt(sb, "orphan file", at, fmt!("{} blocks", blocks)));
    }
    for lblk in 0..blocks as u32 {
        if let Place::Written(nr) = map::map_blocks(&file, lblk)?.place {
            load_block(&file, nr)?;
        }
    }
    let tx = Transaction::start(sb, Credits(1))?;
    mount::update_super_in(&tx, |disk| disk.remove_ro_compat(RoCompat::ORPHAN_PRESENT))
}

/// Puts those in one block of the orphan file into the list, each in a transaction.
fn load_block(file: &INode, nr: BlockNr) -> Result {
    let sb = file.sb();
    let format = FileBlock {
        csum: map::csum(file),
        nr,
    };
    loop {
        let tx = Transaction::start(sb, CREDITS + WRITE_CREDITS + Credits(1))?;
        let mut block = MetaBlock::read(&tx, Some(file), nr, format)?;
        let entries = orphan::entries_mut(&mut block).map_err(|_| EIO)?;
        let Some(entry) = entries.iter_mut().find(|entry| entry.get() != 0) else {
            return Ok(());
        };
        let ino = entry.get();
        *entry = 0.into();
        if !inode::is_for_users(sb, ino.into()) {
            let args = fmt!("not one that can be an orphan");
            return Err(corrupt(
                sb,
                "orphan file",
                At::inode(ino.into(), nr.get()),
                args,
            ));
        }
        let mut list = lock(sb);
        if position(&list, ino.into()).is_none() {
            inode::set_next_orphan(&tx, ino, list.last().copied().unwrap_or(0))?;
            mount::set_last_orphan(&tx, ino)?;
            list.push(ino, GFP_KERNEL)?;
        }
        drop(list);
        block.commit()?;
    }
}

/// Truncates or frees one orphan.
fn finish(sb: &SuperBlock, ino: u32) -> Result {
    let inode = inode::iget(sb, ino.into())?;
    if inode.nlink() > 0 {
        // Without them `e2fsck` finds what is counted too much.
        let _ = inode.attach_dquots();
        let blocks = inode.size().div_ceil(sb.block_size() as u64);
        if inode.kind() == FileType::Regular {
            map::remove_blocks(&inode, u32::try_from(blocks).unwrap_or(map::END), map::END)?;
        }
        let tx = Transaction::start(sb, CREDITS + WRITE_CREDITS)?;
        return remove(&tx, &inode, 0);
    }
    // The last reference goes, and with it the inode.
    drop(inode);
    if is_listed(sb, ino.into()) {
        return Err(EUCLEAN);
    }
    Ok(())
}

/// A block of the orphan file.
#[derive(Clone, Copy)]
struct FileBlock {
    csum: Option<Csum>,
    nr: BlockNr,
}

impl Format for FileBlock {
    const NAME: &'static str = "orphan file";

    fn verify(&self, bytes: &[u8]) -> ondisk::Result {
        orphan::verify(self.csum, self.nr, bytes)
    }

    fn seal(&self, bytes: &mut [u8]) -> ondisk::Result {
        orphan::seal(self.csum, self.nr, bytes)
    }
}
