// SPDX-License-Identifier: GPL-2.0

//! Mounting, remounting and unmounting, and the super block on the disk.
//!
//! Invariant: while mounted for writing, the super block on the disk says that it was not unmounted
//! cleanly. It says otherwise again only when everything else was written and no error was found.
//! What else is in the super block stays as it is: user space may change it meanwhile.

use super::{
    error::{
        has_stopped,
        nothing_to_sync,
        At, //
    },
    export,
    group::{
        Groups,
        LoadError, //
    },
    inode,
    journal,
    options::{
        Errors,
        Options, //
    },
    orphan,
    quota,
    stats::Stats,
    switch,
    trim,
    xattr::ExtendedAttributes,
    INode,
    SuperBlock,
    Transaction, //
};
use crate::{
    ondisk::{
        self,
        feature::{
            Compat,
            RoCompat, //
        },
        inode::Time,
        superblock::{
            State,
            SuperBlock as DiskSuperBlock,
            OFFSET,
            SIZE, //
        },
        BlockRun,
        Csum,
        Geometry, //
    },
    prelude::*,
    vfs::{
        crc32c,
        sb_err,
        sb_warn,
        sysfs,
        time::now_seconds,
        writeback,
        Buffer,
        Context,
        Credits,
        DaxDevice,
        FileType,
        Journal,
        New,
        StatFs, //
    }, //
};
use kernel::{
    new_mutex,
    new_spinlock,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Mutex,
        SpinLock, //
    }, //
};

/// `s_magic`, for `statfs(2)`.
const MAGIC: u32 = 0xef53;
/// The number of links that an inode can have.
const LINK_MAX: u32 = 65000;
/// Nanoseconds that old inodes count times in.
const NSEC_PER_SEC: u32 = 1_000_000_000;
/// Bytes in the longest name.
const NAME_LEN: u32 = 255;
/// Blocks that ordinary users never get, so that extent trees can always be changed: as in ext4, a
/// fiftieth of the blocks, but at most so many.
const TREE_RESERVE: u64 = 4096;

/// What belongs to a mounted file system.
#[pin_data]
pub struct SuperData {
    geometry: Geometry,
    /// The groups.
    pub groups: Groups,
    /// The journal, if there is one and the device can be written to.
    pub journal: Option<Journal>,
    /// The last transaction in which blocks were freed.
    pub freed: Atomic<u32>,
    /// The orphans. See [`orphan`].
    #[pin]
    pub orphans: Mutex<orphan::List>,
    /// What is to be discarded. See [`trim`].
    #[pin]
    pub discards: Mutex<trim::Freed>,
    /// The DAX side of the device, if files can be mapped directly at all.
    pub dax: Option<DaxDevice>,
    /// Whether the data of files goes through the journal (`data=journal`).
    pub journals_data: bool,
    /// Where writeback of the page cache is completed.
    pub completions: writeback::Queue,
    /// Counters.
    #[pin]
    pub stats: sysfs::Directory<Stats>,
    /// `s_r_blocks_count`, and the user and the group that get these blocks besides root.
    reserved_blocks: u64,
    reserved_for: (u32, u32),
    overhead: u64,
    /// `s_errors`, for mounts without the option.
    errors: Errors,
    /// An error was found since the mount: the first, and the last one.
    #[pin]
    failures: SpinLock<Option<(Failure, Failure)>>,
    /// Nothing is written any more, after an error. See [`error`](super::error).
    pub stopped: Atomic<bool>,
    /// Nothing is read or written any more.
    shut_down: Atomic<bool>,
    /// Held while the users of a block of extended attributes, or of a value of its own, are counted.
    #[pin]
    pub attributes: Mutex<()>,
    #[pin]
    options: SpinLock<Options>,
    /// The super block on the disk.
    #[pin]
    place: Mutex<Place>,
}

impl SuperData {
    /// The facts of the super block.
    #[inline]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// What is done about errors.
    pub fn errors(&self) -> Errors {
        self.options.lock().errors().unwrap_or(self.errors)
    }

    /// The options in force.
    pub fn options(&self) -> Options {
        *self.options.lock()
    }

    /// Free blocks that not everybody gets: `s_r_blocks_count`.
    pub fn reserved_blocks(&self) -> u64 {
        self.reserved_blocks
    }

    /// The user and the group that get the reserved blocks besides root.
    pub fn reserved_for(&self) -> (u32, u32) {
        let (uid, gid) = self.options.lock().reserved_for();
        (
            uid.unwrap_or(self.reserved_for.0),
            gid.unwrap_or(self.reserved_for.1),
        )
    }

    /// Free blocks that only extent trees get.
    pub fn tree_reserve(&self) -> u64 {
        (self.geometry.blocks().end() / 50).min(TREE_RESERVE)
    }
}

/// See [`FileSystem::fill_super`](crate::vfs::FileSystem::fill_super).
pub fn fill_super(
    sb: &mut SuperBlock<New>,
    fc: &Context,
    options: Options,
) -> Result<Pin<KBox<SuperData>>> {
    sb.set_min_block_size(SIZE as u32)?;
    let mut bytes = [0; SIZE];
    Place::find(sb)?.read(&mut bytes)?;
    let device = sb.device_bytes();
    let geometry = Geometry::parse(&bytes, crc32c, device).map_err(|error| refuse(fc, error))?;
    if sb.set_block_size(geometry.block_size()).is_err() {
        return fc.invalid(fmt!(
            "blocks of {} bytes are too small for the device or too large for the page cache",
            geometry.block_size()
        ));
    }
    if !fc.is_read_only() {
        check_writable(sb.device_is_read_only(), fc, &geometry)?;
    }
    let disk = DiskSuperBlock::from_bytes(&bytes);
    let journal = match options.norecovery() {
        true => journal::leave(fc, disk)?,
        false => journal::open(sb, fc, &geometry, disk, &options)?,
    };
    if options.journals_data() && journal.is_none() {
        return fc.invalid(fmt!("data=journal: there is no journal"));
    }
    // Recovery may have changed it.
    Place::find(sb)?.read(&mut bytes)?;
    let geometry = Geometry::parse(&bytes, crc32c, device).map_err(|error| refuse(fc, error))?;
    let disk = DiskSuperBlock::from_bytes(&bytes);
    if options.discard() && sb.discard_granularity().is_none() {
        sb_warn!(sb, "discard: the device does not discard");
    }
    if !disk.state().valid || disk.state().error {
        sb_warn!(
            sb,
            "was not unmounted cleanly or has errors; running e2fsck is recommended"
        );
    }
    if options.enforces_projects() && !geometry.ro_compat().contains(RoCompat::PROJECT) {
        return fc.invalid(fmt!("prjquota: the image has no projects"));
    }
    let dax = switch::find_dax(sb, fc, &options, &geometry)?;
    set_facts(sb, &geometry);
    if options.acl() {
        sb.set_posix_acl();
    }
    if !options.journals_data() {
        sb.set_cgroup_writeback();
    }
    let runs = journal.as_ref().map_or(&[][..], Journal::runs);
    let groups = Groups::load(sb, &geometry, runs).map_err(|error| match error {
        LoadError::Corrupt(nr, error) => {
            fc.error(fmt!("group {}: {}", nr, format_args!("{error}")));
            EUCLEAN
        }
        LoadError::Overlap => {
            fc.error(fmt!("the metadata of groups, or the journal, overlaps"));
            EUCLEAN
        }
        LoadError::Other(error) => error,
    })?;
    let failed_before = journal.as_ref().is_some_and(Journal::take_error);
    if failed_before {
        sb_warn!(sb, "the journal was aborted; running e2fsck is recommended");
    }
    let place = Place::find(sb)?;
    KBox::try_pin_init(
        try_pin_init!(SuperData {
            overhead: geometry.overhead_blocks(),
            geometry,
            groups,
            freed: Atomic::new(journal.as_ref().map_or(0, Journal::latest)),
            journal,
            orphans <- new_mutex!(KVVec::new(), "rdaxfs_orphans"),
            discards <- new_mutex!(KVec::new(), "rdaxfs_discards"),
            dax,
            journals_data: options.journals_data(),
            completions: writeback::Queue::new(sb.id())?,
            stats <- sysfs::Directory::new(sb, Stats::default()),
            reserved_blocks: disk.r_blocks_count(),
            reserved_for: disk.reserved_for(),
            errors: disk.on_error().into(),
            failures <- new_spinlock!(
                failed_before.then(|| Failure::twice("journal")),
                "rdaxfs_failures"
            ),
            stopped: Atomic::new(false),
            shut_down: Atomic::new(false),
            attributes <- new_mutex!((), "rdaxfs_attributes"),
            options <- new_spinlock!(options, "rdaxfs_options"),
            place <- new_mutex!(place, "rdaxfs_super"),
        }),
        GFP_KERNEL,
    )
}

/// Says why a super block is not accepted, and with which number.
fn refuse(fc: &Context, error: ondisk::Error) -> Error {
    use ondisk::Error as E;
    fc.error(fmt!("{}", format_args!("{error}")));
    match error {
        E::Checksum(_) | E::Corrupt(_) => EUCLEAN,
        _ => EINVAL,
    }
}

/// That the file system can be written to: by its features and its device.
fn check_writable(device_read_only: bool, fc: &Context, geometry: &Geometry) -> Result {
    if device_read_only {
        fc.error(fmt!("the device is read-only; mount with -o ro"));
        return Err(EROFS);
    }
    if let Err(error) = geometry.check_writable() {
        fc.error(fmt!("{}; mount with -o ro", format_args!("{error}")));
        return Err(EROFS);
    }
    Ok(())
}

/// Tells the VFS what the super block says.
fn set_facts(sb: &mut SuperBlock<New>, geometry: &Geometry) {
    sb.set_magic(MAGIC);
    sb.set_uuid(geometry.uuid());
    sb.set_sysfs_name();
    // A file's blocks have numbers of 32 bits, and the last one is not used.
    let blocks = i64::from(u32::MAX);
    let maxbytes = blocks.checked_mul(geometry.block_size().into());
    sb.set_limits(maxbytes.unwrap_or(i64::MAX), LINK_MAX);
    sb.set_export_operations::<export::Handles>();
    sb.set_xattr_handlers::<ExtendedAttributes>();
    let (times, granularity) = if geometry.inode_size() > 128 {
        (Time::WIDE, 1)
    } else {
        (Time::NARROW, NSEC_PER_SEC)
    };
    sb.set_time_range(*times.start(), *times.end(), granularity);
}

/// Where the super block is: a block, and the byte in it.
struct Place {
    buffer: Buffer,
    offset: usize,
}

impl Place {
    /// Reads the block, of the size that blocks have now.
    fn find<S>(sb: &SuperBlock<S>) -> Result<Self> {
        let bits = sb.block_bits();
        Ok(Self {
            buffer: sb.read_buffer(OFFSET >> bits)?,
            offset: (OFFSET & ((1 << bits) - 1)) as usize,
        })
    }

    fn read(&self, bytes: &mut [u8; SIZE]) -> Result {
        self.buffer.read_at(self.offset, bytes)
    }
}

/// The super block, as it is on the disk or about to be.
pub fn read_super(sb: &SuperBlock) -> Result<DiskSuperBlock> {
    let mut bytes = [0; SIZE];
    sb.data().get_ref().place.lock().read(&mut bytes)?;
    Ok(DiskSuperBlock::from_bytes(&bytes).clone())
}

/// The super block with a change, sealed, and where it goes.
fn changed(
    place: &Place,
    change: impl FnOnce(&mut DiskSuperBlock),
    write: impl FnOnce(&[u8; SIZE]) -> Result,
) -> Result {
    let mut bytes = [0; SIZE];
    place.read(&mut bytes)?;
    let disk = DiskSuperBlock::from_bytes_mut(&mut bytes);
    change(disk);
    disk.set_wtime(now_seconds());
    disk.seal(Csum::new(crc32c));
    write(&bytes)
}

/// Changes the backup of the super block that a group begins with: one credit. One that is not right is left
/// as it is.
pub fn update_backup_in(
    tx: &Transaction<'_>,
    group: BlockRun,
    change: impl FnOnce(&mut DiskSuperBlock),
) -> Result {
    let sb = tx.sb();
    let place = Place {
        buffer: sb.read_buffer(group.start().get())?,
        offset: 0,
    };
    let mut bytes = [0; SIZE];
    place.read(&mut bytes)?;
    if Geometry::parse(&bytes, crc32c, sb.device_bytes()).is_err() {
        return Ok(());
    }
    changed(&place, change, |bytes| {
        tx.write_at(&place.buffer, place.offset, bytes, None)
    })
}

/// Changes the super block as part of a transaction: one credit.
pub fn update_super_in(tx: &Transaction<'_>, change: impl FnOnce(&mut DiskSuperBlock)) -> Result {
    let place = tx.sb().data().get_ref().place.lock();
    changed(&place, change, |bytes| {
        tx.write_at(&place.buffer, place.offset, bytes, None)
    })
}

/// Sets the head of the list of orphans, which changes with each file that goes: one credit.
pub fn set_last_orphan(tx: &Transaction<'_>, ino: u32) -> Result {
    let data = tx.sb().data().get_ref();
    let place = data.place.lock();
    let csum = data.geometry().csum().map(|_| Csum::new(crc32c));
    let patch = DiskSuperBlock::patch_last_orphan(ino, csum, |at| {
        let mut bytes = [0; 4];
        place.buffer.read_at(place.offset + at, &mut bytes)?;
        Ok::<_, Error>(bytes)
    })?;
    let pieces = patch
        .iter()
        .map(|(at, bytes)| (place.offset + at, &bytes[..]));
    tx.write_pieces(&place.buffer, pieces, None)
}

/// Changes the super block on the disk, past the journal, in which nothing may be.
///
/// Works in whatever state the file system is: see [`Transaction::for_super_block`].
pub fn update_super(
    sb: &SuperBlock,
    wait: bool,
    change: impl FnOnce(&mut DiskSuperBlock),
) -> Result {
    let place = sb.data().get_ref().place.lock();
    changed(&place, change, |bytes| {
        Transaction::for_super_block(sb).write_at(&place.buffer, place.offset, bytes, None)
    })?;
    if wait {
        place.buffer.sync()?;
    }
    Ok(())
}

/// See [`FileSystem::root`](crate::vfs::FileSystem::root).
pub fn root(sb: &SuperBlock) -> Result<ARef<INode>> {
    let root = inode::iget(sb, inode::ROOT_INO)?;
    if root.kind() != FileType::Directory || root.nlink() == 0 {
        sb_err!(sb, "the root inode is not a directory");
        return Err(EUCLEAN);
    }
    if !sb.is_read_only() {
        begin_writing(sb)?;
        quota::enable(sb)?;
        orphan::process(sb)?;
        if has_stopped(sb) {
            sb.force_read_only();
        }
    } else if sb.data().journal.is_some() && read_super(sb)?.needs_recovery() {
        finish_recovery(sb)?;
    }
    Ok(root)
}

/// Says on the disk that there may be files of 2 GiB and more. [`EFBIG`] if the super block, of
/// revision 0, has no place for that. No transaction is running.
pub fn allow_large_files(sb: &SuperBlock) -> Result {
    if sb.data().get_ref().geometry().has_large_files() {
        return Ok(());
    }
    let disk = read_super(sb)?;
    if disk.ro_compat().contains(RoCompat::LARGE_FILE) {
        return Ok(());
    }
    if !disk.has_features() {
        return Err(EFBIG);
    }
    let tx = Transaction::start(sb, Credits(1))?;
    update_super_in(&tx, |disk| disk.add_ro_compat(RoCompat::LARGE_FILE))
}

/// Says on the disk that the file system is mounted for writing: that the journal may hold changes or,
/// without one, that it was not unmounted cleanly.
fn begin_writing(sb: &SuperBlock) -> Result {
    let data = sb.data().get_ref();
    if let Some(journal) = &data.journal {
        journal::load(journal, data.geometry(), false)?;
    }
    update_super(sb, true, |disk| {
        disk.set_mounted(now_seconds());
        say_in_use(disk, data.journal.is_some());
    })
}

/// The journal was recovered, and is empty now, for a mount that is read-only: what else the crash has left is
/// seen to as well, so that the image is clean then.
fn finish_recovery(sb: &SuperBlock) -> Result {
    let data = sb.data().get_ref();
    if !orphan::any(&read_super(sb)?) || data.geometry().check_writable().is_err() {
        return update_super(sb, true, |disk| disk.set_needs_recovery(false));
    }
    sb.begin_read_write();
    let done = begin_writing(sb)
        .and_then(|()| quota::enable(sb))
        .and_then(|()| orphan::process(sb));
    let suspended = sb.suspend_quotas();
    sb.force_read_only();
    let ended = end_writing(sb, false);
    done.and(suspended).and(ended)
}

/// Says that the file system is in use.
fn say_in_use(disk: &mut DiskSuperBlock, has_journal: bool) {
    if has_journal {
        disk.set_needs_recovery(true);
    } else {
        disk.set_state(State {
            valid: false,
            ..disk.state()
        });
    }
}

/// Writes everything, and then says on the disk that all is well; with `last` the journal is not used any
/// more.
fn end_writing(sb: &SuperBlock, last: bool) -> Result {
    let data = sb.data().get_ref();
    let emptied = match &data.journal {
        Some(journal) if last => journal.destroy(),
        Some(journal) => journal.flush(),
        None => Ok(()),
    };
    let emptied = emptied.and_then(|()| sb.sync_device());
    let failures = *data.failures.lock();
    update_super(sb, true, |disk| {
        // Without a journal they were recorded when they were met.
        if let Some((first, latest)) = failures.filter(|_| data.journal.is_some()) {
            first.record(disk);
            if latest != first {
                latest.record(disk);
            }
        }
        if emptied.is_ok() {
            set_counts(disk, data);
            disk.set_needs_recovery(false);
        }
        disk.set_state(State {
            valid: emptied.is_ok(),
            error: disk.state().error || failures.is_some(),
        });
    })?;
    sb.flush_device()?;
    emptied
}

/// Puts the free counts of the groups into the super block.
fn set_counts(disk: &mut DiskSuperBlock, data: &SuperData) {
    disk.set_free_blocks_count(data.groups.free_blocks());
    disk.set_free_inodes_count(data.groups.free_inodes() as u32);
}

/// See [`FileSystem::reconfigure`](crate::vfs::FileSystem::reconfigure).
pub fn reconfigure(sb: &SuperBlock, fc: &Context, options: Options, read_only: bool) -> Result {
    let data = sb.data();
    sb.check_running()?;
    if options.dax() != data.options().dax() {
        return fc.invalid(fmt!("dax= cannot change while mounted"));
    }
    if options.norecovery() != data.options().norecovery() {
        return fc.invalid(fmt!("norecovery cannot change while mounted"));
    }
    if options.journals_data() != data.journals_data {
        return fc.invalid(fmt!("data=journal cannot change while mounted"));
    }
    if options.enforced_quotas() != data.options().enforced_quotas() {
        return fc.invalid(fmt!(
            "quota options cannot change while mounted; see quotaon(8)"
        ));
    }
    match (sb.is_read_only(), read_only) {
        (false, true) => {
            sb.sync_filesystem()?;
            sb.suspend_quotas()?;
            // No transaction starts any more.
            sb.force_read_only();
            end_writing(sb, false)?;
        }
        (true, false) => {
            if data.failures.lock().is_some() {
                fc.error(fmt!("errors were found; unmount and run e2fsck"));
                return Err(EROFS);
            }
            check_writable(sb.device_is_read_only(), fc, data.get_ref().geometry())?;
            let has_journal = data.geometry().compat().contains(Compat::HAS_JOURNAL);
            if has_journal && data.journal.is_none() && !data.options().norecovery() {
                fc.error(fmt!("the journal was not opened; unmount and mount again"));
                return Err(EROFS);
            }
            if data.journal.is_none() && read_super(sb)?.needs_recovery() {
                fc.error(fmt!("the journal needs recovery; unmount and mount again"));
                return Err(EROFS);
            }
            begin_writing(sb)?;
            sb.begin_read_write();
            quota::resume(sb)
                .and_then(|()| orphan::process(sb))
                .inspect_err(|_| sb.force_read_only())?;
        }
        _ => {}
    }
    if let Some(journal) = &data.journal {
        journal.set_options(options.commit(), options.barrier());
    }
    *data.get_ref().options.lock() = options;
    Ok(())
}

/// Whether the file system was shut down.
#[inline]
pub fn is_shut_down(sb: &SuperBlock) -> bool {
    sb.data().shut_down.load(Relaxed)
}

/// Shuts the file system down at once: all that is asked of it from now on is [`EIO`], and nothing more
/// is written to the device than what is in its buffers.
pub fn shut_down(sb: &SuperBlock) {
    if !sb.data().shut_down.xchg(true, Relaxed) {
        sb_err!(sb, "shut down");
        if let Some(journal) = &sb.data().journal {
            journal.shut_down();
        }
    }
}

/// Shuts the file system down as `FS_IOC_SHUTDOWN` is asked to: 0 with everything written and the image
/// clean, 1 with what was done before written, 2 at once. [`EINVAL`] for other numbers.
pub fn shut_down_as(sb: &SuperBlock, how: u32) -> Result {
    match how {
        _ if how > 2 => Err(EINVAL),
        _ if is_shut_down(sb) => Ok(()),
        0 => sb.while_frozen(|| shut_down(sb)),
        1 => {
            let committed = commit(sb, true);
            shut_down(sb);
            committed
        }
        _ => {
            shut_down(sb);
            Ok(())
        }
    }
}

/// Whether there is nothing to be written to the super block.
fn is_quiet(sb: &SuperBlock) -> bool {
    sb.is_read_only() || is_shut_down(sb)
}

/// See [`FileSystem::put_super`](crate::vfs::FileSystem::put_super).
pub fn put_super(sb: &SuperBlock) {
    sb.disable_quotas();
    let data = sb.data();
    let failed = data.failures.lock().is_some();
    let ended = match &data.journal {
        // As after a crash: the journal, as it is on the device, says what is to be done.
        Some(journal) if is_shut_down(sb) => {
            let _ = journal.destroy();
            Ok(())
        }
        None if is_shut_down(sb) => Ok(()),
        // If it is not an error that has made it read-only, with changes in the journal.
        Some(journal) if sb.is_read_only() && !failed => journal.destroy(),
        None if sb.is_read_only() => Ok(()),
        _ => end_writing(sb, true),
    };
    if let Err(error) = ended {
        sb_err!(sb, "unmounting: {:?}", error);
    }
}

/// See [`FileSystem::sync_fs`](crate::vfs::FileSystem::sync_fs).
pub fn sync_fs(sb: &SuperBlock, wait: bool) -> Result {
    sb.check_running()?;
    if !sb.is_read_only() {
        sb.write_quotas()?;
    }
    commit(sb, wait)
}

/// Commits what was done: all that a crash would lose otherwise but grace times of quotas, which
/// [`sync_fs`] may write, as it is called with `s_umount` held.
pub fn commit(sb: &SuperBlock, wait: bool) -> Result {
    sb.check_running()?;
    if nothing_to_sync(sb)? {
        return Ok(());
    }
    let data = sb.data().get_ref();
    if let Some(journal) = &data.journal {
        journal.commit_running(wait)?;
    } else {
        update_super(sb, false, |disk| set_counts(disk, data))?;
        if wait {
            sb.sync_device()?;
        }
    }
    if wait {
        sb.flush_device()?;
        trim::discard_freed(sb);
    }
    Ok(())
}

/// See [`FileSystem::freeze_fs`](crate::vfs::FileSystem::freeze_fs): a snapshot taken now mounts as
/// one that was unmounted cleanly.
pub fn freeze(sb: &SuperBlock) -> Result {
    if is_quiet(sb) {
        return Ok(());
    }
    end_writing(sb, false)
}

/// See [`FileSystem::unfreeze_fs`](crate::vfs::FileSystem::unfreeze_fs).
pub fn unfreeze(sb: &SuperBlock) -> Result {
    if has_stopped(sb) {
        // The VFS thaws it as one that is not read-only, and has `s_umount`.
        sb.force_read_only();
    }
    if is_quiet(sb) {
        return Ok(());
    }
    let has_journal = sb.data().journal.is_some();
    update_super(sb, true, |disk| say_in_use(disk, has_journal))
}

/// See [`FileSystem::statfs`](crate::vfs::FileSystem::statfs).
pub fn statfs(sb: &SuperBlock) -> Result<StatFs> {
    let data = sb.data().get_ref();
    let geometry = data.geometry();
    let overhead = match data.options().minixdf() {
        true => 0,
        false => data.overhead,
    };
    let free_blocks = data.groups.free_blocks();
    let reserved = data.reserved_blocks().saturating_add(data.tree_reserve());
    let (low, high) = geometry.uuid().split_at(8);
    let word = |half: &[u8]| half.first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
    Ok(StatFs {
        magic: MAGIC,
        blocks: geometry.blocks().end().saturating_sub(overhead),
        free_blocks,
        available_blocks: free_blocks.saturating_sub(reserved),
        files: geometry.inodes().into(),
        free_files: data.groups.free_inodes(),
        fsid: word(low) ^ word(high),
        name_len: NAME_LEN,
    })
}

/// An error that was found.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Failure {
    seconds: i64,
    what: &'static str,
    ino: u32,
    block: u64,
}

impl Failure {
    fn now(what: &'static str, at: At) -> Self {
        Self {
            seconds: now_seconds(),
            what,
            // A number that does not fit is no inode's.
            ino: u32::try_from(at.ino).unwrap_or(0),
            block: at.block,
        }
    }

    /// One that is the first and the last, and was not met in any block.
    fn twice(what: &'static str) -> (Self, Self) {
        let failure = Self::now(what, At::default());
        (failure, failure)
    }

    fn record(&self, disk: &mut DiskSuperBlock) {
        disk.record_error(self.seconds, self.what, self.ino, self.block);
    }
}

/// Notes that `what` met an error: in the super block at once or, with a journal, when that is empty,
/// since the super block is in it.
pub fn record_error(sb: &SuperBlock, what: &'static str, at: At) {
    let data = sb.data();
    let failure = Failure::now(what, at);
    {
        let mut failures = data.failures.lock();
        let first = failures.map_or(failure, |(first, _)| first);
        *failures = Some((first, failure));
    }
    if is_quiet(sb) || data.journal.is_some() {
        return;
    }
    let recorded = update_super(sb, false, |disk| {
        failure.record(disk);
        disk.set_state(State {
            error: true,
            ..disk.state()
        });
    });
    if recorded.is_err() {
        sb_err!(sb, "the error could not be recorded");
    }
}
