// SPDX-License-Identifier: GPL-2.0

//! Inodes between the inode table and memory: read, written back, and freed when the last link and
//! the last reference are gone.
//!
//! Invariant: a field that is both in `struct inode` or [`Info`] and on the disk is copied there by
//! `mark_dirty`, in the transaction in which it changes. What has no place in memory, the extended
//! attributes and their block above all, is changed on the disk, under the lock [`Info::file_acl`], and
//! is otherwise kept as it is.

use super::{
    error::{
        corrupt,
        report,
        At, //
    },
    file,
    ialloc,
    map::{
        self,
        Extents, //
    },
    namei,
    orphan,
    symlink,
    trim,
    value,
    xattr,
    INode,
    RdaxFs,
    SuperBlock,
    Transaction, //
};
use crate::{
    ondisk::{
        self,
        inode::{
            flag,
            Inode as DiskInode,
            Time, //
        },
        BlockNr, //
    },
    prelude::*,
    vfs::{
        self,
        inode::{
            New,
            S_APPEND,
            S_DIRSYNC,
            S_IMMUTABLE,
            S_NOATIME,
            S_SYNC, //
        },
        journal::{
            Journal,
            Tid, //
        },
        new_rwsem,
        sb_err,
        super_block::Iget,
        time::now_seconds,
        Buffer,
        Credits,
        FileType,
        RwSem,
        Timespec, //
    }, //
};
use kernel::{
    new_mutex,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Mutex, //
    }, //
};

/// Blocks that writing an inode changes: one of the inode table.
pub const WRITE_CREDITS: Credits = Credits(1);

/// The root directory's inode.
pub const ROOT_INO: u64 = 2;

/// What belongs to one inode, beside `struct inode`.
#[pin_data]
pub struct Info {
    /// `i_flags` of the format ([`flag`]). Changed with `i_rwsem` held exclusively.
    pub flags: Atomic<u32>,
    /// `i_crtime`: when the inode was made.
    pub crtime: Timespec,
    /// `i_block`: the root of the extent tree, or what stands in its place.
    #[pin]
    pub extents: Extents,
    /// `i_file_acl`: the block of extended attributes. The lock is for all attributes of the inode; it is
    /// taken within a transaction, and before the extent lock, that of [`SuperData::attributes`] and
    /// that of the inode's place in the table.
    ///
    /// [`SuperData::attributes`]: super::SuperData::attributes
    #[pin]
    pub file_acl: RwSem<Option<BlockNr>>,
    /// `i_projid`. Changed with `i_rwsem` held exclusively.
    pub projid: Atomic<u32>,
    /// Of a regular file: `i_size` of the format. As long as the file is in memory, or shorter: what a
    /// buffered write adds to the file counts once it is on the device.
    disk_size: Atomic<u64>,
    /// Of a regular file: truncated to nothing, and not closed since by a writer.
    pub emptied: Atomic<bool>,
    /// Nothing was written to the inode's place in the table yet: what is there is another's. Locked
    /// while the inode is copied there, so that an older copy does not overtake a newer one.
    #[pin]
    fresh: Mutex<bool>,
    /// In the list of orphans ([`orphan`]), which uses the inode's place in the table: the list's lock is
    /// held while the inode is copied there.
    pub orphan: Atomic<bool>,
    /// The journal's last transaction that has a change of the inode (`i_sync_tid`), and the last that
    /// has one without which its data is not found (`i_datasync_tid`).
    sync_tid: Atomic<Tid>,
    datasync_tid: Atomic<Tid>,
}

impl Info {
    /// Of an inode that is neither read nor made yet.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            flags: Atomic::new(0),
            crtime: Timespec::default(),
            extents <- Extents::new(),
            file_acl <- new_rwsem!(None, c"rdaxfs_xattr"),
            projid: Atomic::new(0),
            disk_size: Atomic::new(0),
            emptied: Atomic::new(false),
            fresh <- new_mutex!(false, "rdaxfs_store"),
            orphan: Atomic::new(false),
            sync_tid: Atomic::new(0),
            datasync_tid: Atomic::new(0),
        })
    }

    /// What an inode that was just made, and never was on the disk, begins with.
    pub(super) fn init_fresh(self: Pin<&mut Self>, flags: u32, crtime: Timespec) {
        let this = self.project();
        this.flags.store(flags, Relaxed);
        *this.crtime = crtime;
        *this.fresh.lock() = true;
    }

    /// The transaction has a change without which the data of the file is not found.
    pub fn note_data_change(&self, tx: &Transaction<'_>) {
        self.sync_tid.store(tx.tid(), Relaxed);
        self.datasync_tid.store(tx.tid(), Relaxed);
        self.extents.set_unsynced(true);
    }

    /// `i_projid`.
    pub fn projid(&self) -> u32 {
        self.projid.load(Relaxed)
    }

    /// How long the file is on disk, or is going to be when the inode is written.
    pub fn disk_size(&self) -> u64 {
        self.disk_size.load(Relaxed)
    }
}

/// The size of a regular file has changed, and is to be the same on disk: to find the data again, the
/// inode is needed there. The caller holds `i_rwsem` exclusively.
pub fn resized(inode: &INode) {
    let info = inode.data();
    info.disk_size.store(inode.size(), Relaxed);
    info.extents.set_unsynced(true);
    inode.mark_dirty();
}

/// What the file has before `end` is on the device: from now on the file is at least that long on disk,
/// unless it was truncated meanwhile. The caller has a transaction.
pub fn data_reached(inode: &INode, end: u64) {
    let disk_size = &inode.data().get_ref().disk_size;
    let end = end.min(inode.size());
    let mut size = disk_size.load(Relaxed);
    while size < end {
        match disk_size.cmpxchg(size, end, Relaxed) {
            Ok(_) => return inode.mark_dirty(),
            Err(now) => size = now,
        }
    }
}

/// Whether a change without which the data is not found may not be on the disk yet, for `MAP_SYNC`.
#[inline]
pub fn is_unsynced(inode: &INode) -> bool {
    let info = inode.data().get_ref();
    match &inode.sb().data().get_ref().journal {
        Some(journal) => !journal.is_committed(info.datasync_tid.load(Relaxed)),
        None => info.extents.is_unsynced(),
    }
}

/// The flags that the VFS acts upon, of those of the format; the second value is all that it can
/// act upon.
pub fn vfs_flags(flags: u32) -> (u32, u32) {
    let pairs = [
        (flag::SYNC, S_SYNC),
        (flag::APPEND, S_APPEND),
        (flag::IMMUTABLE, S_IMMUTABLE),
        (flag::NOATIME, S_NOATIME),
        (flag::DIRSYNC, S_DIRSYNC),
    ];
    pairs.iter().fold((0, 0), |(set, all), (ours, theirs)| {
        let set = if flags & ours != 0 { set | theirs } else { set };
        (set, all | theirs)
    })
}

/// Whether there is an inode `ino`, and it is not one that the file system keeps for itself.
pub fn is_for_users(sb: &SuperBlock, ino: u64) -> bool {
    let geometry = sb.data().get_ref().geometry();
    let numbers = geometry.first_ino().into()..=geometry.inodes().into();
    ino == ROOT_INO
        || numbers.contains(&ino) && geometry.hidden_inos().all(|nr| ino != u64::from(nr))
}

/// The inode `ino`, from memory or from the disk.
///
/// [`ESTALE`] if it is not in use, [`EUCLEAN`] if there is no such inode, if it is not for users, or
/// if it is not right.
pub fn iget(sb: &SuperBlock, ino: u64) -> Result<ARef<INode>> {
    if !is_for_users(sb, ino) {
        let at = At::inode(ino, 0);
        return Err(corrupt(sb, "inode", at, fmt!("not one for users")));
    }
    iget_any(sb, ino)
}

/// The inode `ino` of a file handle, which says nothing of the image. As [`iget`], but [`ESTALE`] for what
/// cannot have a handle.
pub fn iget_of_handle(sb: &SuperBlock, ino: u64) -> Result<ARef<INode>> {
    // What was never in use is not even initialised.
    if !is_for_users(sb, ino) || !ialloc::is_allocated(sb, ino as u32)? {
        return Err(ESTALE);
    }
    if Slot::read(sb, ino)?.decode()?.flags & flag::EA_INODE != 0 {
        return Err(ESTALE);
    }
    iget(sb, ino)
}

/// As [`iget`], and also an inode that is not for users.
pub fn iget_any(sb: &SuperBlock, ino: u64) -> Result<ARef<INode>> {
    match sb.iget(ino)? {
        Iget::Cached(inode) if value::is_value(&inode) => Err(bad_flags(&inode, flag::EA_INODE)),
        Iget::Cached(inode) => Ok(inode),
        Iget::New(mut inode) => {
            let disk = load(&mut inode)?;
            set_operations(&mut inode, &disk)?;
            Ok(inode.unlock())
        }
    }
}

/// The inode `ino`, which is the value of an extended attribute, and has no operations. As [`iget`].
pub fn iget_value(sb: &SuperBlock, ino: u64) -> Result<ARef<INode>> {
    let not_one = || {
        let at = At::inode(ino, 0);
        corrupt(sb, "inode", at, fmt!("not the value of an attribute"))
    };
    if !is_for_users(sb, ino) {
        return Err(not_one());
    }
    match sb.iget(ino)? {
        Iget::Cached(inode) if value::is_value(&inode) => Ok(inode),
        Iget::Cached(_) => Err(not_one()),
        Iget::New(mut inode) => {
            let disk = load(&mut inode)?;
            let mapped = flag::EA_INODE | flag::EXTENTS;
            if disk.flags & (mapped | flag::INLINE_DATA | flag::ENCRYPT) != mapped
                || FileType::of_mode(disk.mode) != Some(FileType::Regular)
            {
                return Err(not_one());
            }
            Ok(inode.unlock())
        }
    }
}

fn bad_flags(inode: &INode, flags: u32) -> Error {
    let at = At::inode(inode.ino(), 0);
    corrupt(
        inode.sb(),
        "inode",
        at,
        fmt!("flags {:#x} without feature", flags),
    )
}

/// Where an inode is in the inode table.
struct Slot<'a> {
    sb: &'a SuperBlock,
    ino: u64,
    buffer: Buffer,
    offset: usize,
    bytes: KVec<u8>,
}

impl<'a> Slot<'a> {
    fn read(sb: &'a SuperBlock, ino: u64) -> Result<Self> {
        let (nr, offset) = sb.inode_place(ino)?;
        let size = sb.data().get_ref().geometry().inode_size().into();
        let buffer = sb.read_buffer(nr.get())?;
        Ok(Self {
            sb,
            ino,
            bytes: buffer.read_vec(offset, size)?,
            buffer,
            offset,
        })
    }

    /// The inode that is there, which is in memory: its checksum was found right when it was read.
    fn decode_verified(&self) -> Result<DiskInode> {
        let geometry = self.sb.data().get_ref().geometry();
        DiskInode::decode_verified(geometry, &self.bytes).map_err(|error| self.report(error))
    }

    /// The inode that is there.
    fn decode(&self) -> Result<DiskInode> {
        let geometry = self.sb.data().get_ref().geometry();
        let decoded = u32::try_from(self.ino)
            .map_err(|_| ondisk::Error::Corrupt("inode number out of range"))
            .and_then(|ino| DiskInode::decode(geometry, ino, &self.bytes));
        decoded.map_err(|error| self.report(error))
    }

    /// Puts the inode there, with a checksum.
    fn encode(mut self, tx: &Transaction<'_>, disk: &DiskInode) -> Result {
        let geometry = self.sb.data().get_ref().geometry();
        disk.encode(geometry, self.ino as u32, &mut self.bytes)
            .map_err(|error| self.report(error))?;
        tx.write_at(&self.buffer, self.offset, &self.bytes, None)
    }

    fn report(&self, error: ondisk::Error) -> Error {
        let at = At::inode(self.ino, self.buffer.nr());
        report(self.sb, "inode", at, error)
    }
}

/// `i_dtime` of the inode `ino`, which for an orphan is the number of the next one.
pub fn next_orphan(sb: &SuperBlock, ino: u32) -> Result<u32> {
    Ok(Slot::read(sb, ino.into())?.decode()?.dtime)
}

/// Changes it. The list of orphans is locked. [`WRITE_CREDITS`].
pub fn set_next_orphan(tx: &Transaction<'_>, ino: u32, next: u32) -> Result {
    let slot = Slot::read(tx.sb(), ino.into())?;
    let mut disk = slot.decode()?;
    disk.dtime = next;
    slot.encode(tx, &disk)
}

/// Fills in an inode from the disk, all but its operations.
fn load(inode: &mut New<RdaxFs>) -> Result<DiskInode> {
    let sb = inode.sb();
    let disk = Slot::read(sb, inode.ino())?.decode()?;
    let orphan = orphan::is_listed(sb, inode.ino());
    // It may have been changed, and forgotten since, by what is running.
    let tid = sb.data().journal.as_ref().map_or(0, Journal::latest);
    if disk.links == 0 && !orphan || disk.mode == 0 {
        return Err(ESTALE);
    }
    inode.set_mode(disk.mode);
    inode.set_owner(disk.uid, disk.gid);
    inode.set_nlink(disk.links.into());
    inode.set_size(disk.size);
    inode.set_sectors(disk.blocks);
    inode.set_generation(disk.generation);
    inode.set_atime(from_disk(disk.atime));
    inode.set_mtime(from_disk(disk.mtime));
    inode.set_ctime(from_disk(disk.ctime));
    let (set, mask) = vfs_flags(disk.flags);
    inode.set_flags(set, mask);

    let info = inode.data_mut().project();
    info.flags.store(disk.flags, Relaxed);
    info.projid.store(disk.projid, Relaxed);
    info.disk_size.store(disk.size, Relaxed);
    *info.crtime = from_disk(disk.crtime);
    info.extents.load(disk.block);
    *RwSem::get_mut(info.file_acl) = disk.file_acl;
    info.orphan.store(orphan, Relaxed);
    info.sync_tid.store(tid, Relaxed);
    info.datasync_tid.store(tid, Relaxed);
    Ok(disk)
}

/// Gives an inode that was read the operations of its kind.
fn set_operations(inode: &mut New<RdaxFs>, disk: &DiskInode) -> Result {
    let at = At::inode(inode.ino(), 0);
    let excluded = flag::ENCRYPT | flag::INLINE_DATA | flag::CASEFOLD | flag::EA_INODE;
    if disk.flags & excluded != 0 {
        return Err(bad_flags(inode, disk.flags & excluded));
    }
    match FileType::of_mode(disk.mode) {
        Some(FileType::Directory) => namei::init_dir(inode),
        Some(FileType::Regular) => file::init(inode),
        Some(FileType::Symlink) => symlink::init(inode, &disk.block),
        Some(_) => namei::init_special(inode, disk.device()),
        None => Err(corrupt(
            inode.sb(),
            "inode",
            at,
            fmt!("mode {:o}", disk.mode),
        )),
    }
}

fn from_disk(time: Time) -> Timespec {
    Timespec {
        sec: time.sec,
        nsec: time.nsec,
    }
}

fn to_disk(time: Timespec) -> Time {
    Time {
        sec: time.sec,
        nsec: time.nsec,
    }
}

/// Copies the inode into the inode table, after `edit` has changed what has no place in memory: fields,
/// and the bytes of the extended attributes. [`WRITE_CREDITS`].
///
/// Takes the list of orphans' lock if the inode is in it, the inode's own lock for this, and the extent
/// lock shared.
fn store(
    tx: &Transaction<'_>,
    inode: &INode,
    edit: impl FnOnce(&mut DiskInode, &mut [u8]),
) -> Result {
    let info = inode.data().get_ref();
    loop {
        let list = info.orphan.load(Relaxed).then(|| orphan::lock(inode.sb()));
        let mut fresh = info.fresh.lock();
        // It gets into the list under the list's lock, and there waits for this one.
        if list.is_some() || !info.orphan.load(Relaxed) {
            return copy(tx, inode, &mut fresh, edit);
        }
    }
}

/// Copies the inode into the inode table, with `dtime`: the number of the next orphan, 0, or the time of
/// its deletion. The list of orphans is locked. [`WRITE_CREDITS`].
pub fn store_orphan(tx: &Transaction<'_>, inode: &INode, dtime: Option<u32>) -> Result {
    let mut fresh = inode.data().get_ref().fresh.lock();
    copy(tx, inode, &mut fresh, |disk, _| {
        disk.dtime = dtime.unwrap_or(disk.dtime);
    })
}

/// What [`store`] and [`store_orphan`] do under their locks.
fn copy(
    tx: &Transaction<'_>,
    inode: &INode,
    fresh: &mut bool,
    edit: impl FnOnce(&mut DiskInode, &mut [u8]),
) -> Result {
    let geometry = inode.sb().data().get_ref().geometry();
    let info = inode.data().get_ref();
    let mut slot = Slot::read(inode.sb(), inode.ino())?;
    // What was in the place of a fresh inode belongs to one that is gone.
    let mut disk = if *fresh {
        slot.bytes.fill(0);
        DiskInode::new(geometry)
    } else {
        slot.decode_verified()?
    };
    let size = match inode.kind() {
        FileType::Regular => inode.size().min(info.disk_size()),
        _ => inode.size(),
    };
    if *fresh || disk.size != size {
        info.note_data_change(tx);
    }
    info.sync_tid.store(tx.tid(), Relaxed);
    disk.mode = inode.mode();
    disk.uid = inode.uid();
    disk.gid = inode.gid();
    disk.size = size;
    disk.atime = to_disk(inode.atime());
    disk.ctime = to_disk(inode.ctime());
    disk.mtime = to_disk(inode.mtime());
    disk.crtime = to_disk(info.crtime);
    // A directory of more subdirectories than can be counted has one link.
    disk.links = u16::try_from(inode.nlink()).unwrap_or(1);
    disk.blocks = inode.sectors();
    disk.flags = info.flags.load(Relaxed);
    disk.generation = inode.generation();
    disk.projid = info.projid();
    match inode.kind() {
        FileType::CharDevice | FileType::BlockDevice => {
            let (major, minor) = inode.device();
            disk.set_device(major, minor);
        }
        _ => disk.block = info.extents.root(),
    }
    let attributes = slot.bytes.get_mut(disk.attributes(geometry));
    edit(&mut disk, attributes.unwrap_or_default());
    slot.encode(tx, &disk)?;
    *fresh = false;
    Ok(())
}

/// The bytes of the inode that hold extended attributes, copied. The caller holds [`Info::file_acl`].
pub fn attributes(inode: &INode) -> Result<KVec<u8>> {
    let geometry = inode.sb().data().get_ref().geometry();
    let fresh = inode.data().get_ref().fresh.lock();
    let (disk, bytes) = if *fresh {
        let size = geometry.inode_size().into();
        (DiskInode::new(geometry), vfs::zeroes(size))
    } else {
        let slot = Slot::read(inode.sb(), inode.ino())?;
        (slot.decode_verified()?, slot.bytes)
    };
    let found = bytes.get(disk.attributes(geometry)).unwrap_or_default();
    let mut attributes = vfs::zeroes(found.len());
    attributes.copy_from_slice(found);
    Ok(attributes)
}

/// Makes the inode as it is now part of the transaction, with `file_acl` as the block of extended
/// attributes; and with `body` as those in the
/// inode, and zeroes behind it, if that changes. The caller holds [`Info::file_acl`] exclusively.
pub fn update_attributes(
    tx: &Transaction<'_>,
    inode: &INode,
    file_acl: Option<BlockNr>,
    body: Option<&[u8]>,
) -> Result {
    store(tx, inode, |disk, attributes| {
        disk.file_acl = file_acl;
        if let Some(body) = body {
            attributes.fill(0);
            for (to, from) in attributes.iter_mut().zip(body) {
                *to = *from;
            }
        }
    })
}

/// Of an inode that is the value of an attribute, how many attributes have it. The caller keeps that
/// from changing.
pub fn value_users(inode: &INode) -> Result<u64> {
    let disk = Slot::read(inode.sb(), inode.ino())?.decode()?;
    Ok((disk.ctime.sec as u64) << 32 | disk.version & u64::from(u32::MAX))
}

/// Sets [`value_users`].
pub fn set_value_users(tx: &Transaction<'_>, inode: &INode, users: u64) -> Result {
    inode.set_ctime(Timespec {
        sec: (users >> 32) as i64,
        nsec: 0,
    });
    store(tx, inode, |disk, _| {
        disk.version = users & u64::from(u32::MAX)
    })
}

/// See [`FileSystem::dirty_inode`](crate::vfs::FileSystem::dirty_inode).
pub fn dirtied(inode: &INode) {
    let sb = inode.sb();
    let stored = Transaction::join(sb, WRITE_CREDITS).and_then(|tx| store(&tx, inode, |_, _| {}));
    match stored {
        Ok(()) => {}
        // After an error, which was reported, or when nothing is written any more.
        Err(error) if error == EROFS || sb.check_running().is_err() => {}
        // What the transaction changes besides is not right without it.
        Err(error) => {
            let at = At::inode(inode.ino(), 0);
            corrupt(sb, "inode", at, fmt!("not written: {:?}", error));
        }
    }
}

/// See [`FileSystem::sync_inode`](crate::vfs::FileSystem::sync_inode).
pub fn sync(inode: &INode) -> Result {
    let sb = inode.sb();
    if sb.data().journal.is_some() {
        return commit(inode, false);
    }
    let (nr, _) = sb.inode_place(inode.ino())?;
    sb.read_buffer(nr.get())?.sync()
}

/// Waits until what was changed of the inode is committed, or with `datasync` what is needed to find its
/// data, and the device's cache is flushed. There is a journal.
pub fn commit(inode: &INode, datasync: bool) -> Result {
    let sb = inode.sb();
    let info = inode.data();
    let journal = sb.data().get_ref().journal.as_ref().ok_or(EIO)?;
    if journal.is_aborted() {
        return Err(EIO);
    }
    let tid = if datasync {
        &info.datasync_tid
    } else {
        &info.sync_tid
    };
    if !journal.commit(tid.load(Relaxed))? {
        sb.flush_device()?;
    }
    Ok(())
}

/// See [`FileSystem::evict_inode`](crate::vfs::FileSystem::evict_inode).
pub fn evict(inode: &INode, delete: bool) {
    if !delete {
        return;
    }
    if inode.sb().check_running().is_err() {
        return;
    }
    if let Err(error) = free(inode) {
        // After an error, which was reported, it stays an orphan.
        if error == EROFS {
            return;
        }
        sb_err!(inode.sb(), "inode {}: not freed: {:?}", inode.ino(), error);
    }
    trim::discard_freed(inode.sb());
}

/// Frees the blocks of an inode, and then its number, and what is left of it in the transaction in which
/// it ceases to be an orphan.
fn free(inode: &INode) -> Result {
    // Without, what it used stays counted until e2fsck is run.
    let _ = inode.attach_dquots();
    let has_map = match inode.kind() {
        FileType::Regular | FileType::Directory => true,
        FileType::Symlink => !symlink::is_fast(inode),
        _ => false,
    };
    inode.set_size(0);
    if has_map && map::has_blocks(inode) {
        map::remove_blocks(inode, 0, map::END)?;
    }
    xattr::free(inode)?;
    let credits = WRITE_CREDITS + orphan::CREDITS + ialloc::FREE_CREDITS;
    let tx = Transaction::start(inode.sb(), credits)?;
    // What is left: its share of blocks that others have as well.
    inode.uncharge(&tx, inode.sectors());
    orphan::remove(&tx, inode, now_seconds() as u32)?;
    ialloc::free_inode(&tx, inode)
}
