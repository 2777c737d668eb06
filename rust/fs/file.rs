// SPDX-License-Identifier: GPL-2.0

//! Open regular files: read, write, seek, sync.
//!
//! Each request takes `i_rwsem`, asks for the mode once, and takes the branch that goes with it. Reads
//! take the lock shared. Writes take it exclusively, except direct ones that neither make the file
//! longer nor touch part of a block: those to different blocks run side by side.

use super::{
    attr::Attributes,
    error::nothing_to_sync,
    inode::{
        data_reached,
        resized,
        WRITE_CREDITS, //
    },
    ioctl,
    iomap::{
        write_to_journal,
        BufferedWrite,
        DaxWrite,
        DirectWrite,
        Read,
        Report,
        ReportAttributes, //
    },
    map,
    mount,
    space,
    switch,
    INode,
    RdaxFs,
    SuperBlock,
    Transaction, //
};
use crate::{
    prelude::*,
    vfs::{
        aspace,
        file::{
            self,
            Fallocate,
            File,
            Kiocb,
            Operations,
            Splice,
            Table, //
        },
        inode::{
            LockGuard,
            Locked,
            New,
            SharedGuard, //
        },
        iomap::{
            self,
            Direct,
            Map,
            Seek, //
        },
        journaled::Dirty,
        mode::{
            DaxToken,
            Mode,
            PageCacheToken,
            Stable, //
        },
        sb_err,
        writeback,
        DaxDevice, //
    }, //
};
use kernel::{
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    sync::atomic::Relaxed, //
};

/// Gives a regular file its operations, and the mode that its flags and the mount ask for.
pub fn init(inode: &mut New<RdaxFs>) -> Result {
    let dax = switch::wants_dax(inode.sb(), inode.data().flags.load(Relaxed));
    inode.init_file(
        file::inode_operations::<Attributes>(),
        Table::<RdaxFs>::TABLE,
        dax,
    )
}

impl aspace::Operations for RdaxFs {
    type Read = Read;
    type Report = Report;
    type ReportAttributes = ReportAttributes;

    #[inline]
    fn dax_device(sb: &SuperBlock) -> Option<&DaxDevice> {
        sb.data().get_ref().dax.as_ref()
    }

    fn completion_queue(sb: &SuperBlock) -> &writeback::Queue {
        &sb.data().get_ref().completions
    }

    #[inline]
    fn map_generation(inode: &INode) -> u64 {
        inode.data().extents.generation()
    }

    #[inline]
    fn journals_data(sb: &SuperBlock) -> bool {
        sb.data().get_ref().journals_data
    }

    fn write_to_journal(inode: &INode, pos: u64, len: u64, data: &Dirty<'_>) -> Result<(Map, u64)> {
        write_to_journal(inode, pos, len, data)
    }

    fn map_for_writeback(inode: &INode, pos: u64, _len: u64) -> Result<Map> {
        super::iomap::existing(inode, pos)
    }

    fn awaits_writeback(inode: &INode, end: u64) -> bool {
        let data = inode.sb().data().get_ref();
        end > inode.data().disk_size() || data.options().data_err_abort()
    }

    /// The file gets longer on disk in step with the blocks that become written: what is past its end
    /// would be in e2fsck's way, and what is not written before its end would read as zeros.
    fn writeback_done(inode: &INode, pos: u64, len: u64, unwritten: bool) -> Result {
        let end = pos + len;
        if unwritten {
            let (from, to) = space::covering(inode, pos, len)?;
            return map::convert_blocks(inode, from, to, false, |reached| {
                data_reached(inode, reached.min(end));
            });
        }
        if end > inode.data().disk_size() {
            let _tx = Transaction::start(inode.sb(), WRITE_CREDITS)?;
            data_reached(inode, end);
        }
        Ok(())
    }

    fn writeback_failed(inode: &INode) {
        let sb = inode.sb();
        let data = sb.data().get_ref();
        let Some(journal) = &data.journal else {
            return;
        };
        if data.options().data_err_abort() && !journal.is_aborted() {
            sb_err!(
                sb,
                "inode {}: data was not written; aborting the journal (data_err=abort)",
                inode.ino()
            );
            journal.abort(EIO);
        }
    }

    /// The blocks are written before the file gets longer, so that nobody reads zeros from them that
    /// are not in the file.
    fn direct_write_done(inode: &INode, pos: u64, len: u64, unwritten: bool) -> Result {
        let end = pos + len;
        if unwritten {
            let (from, to) = space::covering(inode, pos, len)?;
            map::convert_blocks(inode, from, to, false, |reached| {
                lengthen(inode, reached.min(end));
            })?;
        }
        if end > inode.data().disk_size() {
            let _tx = Transaction::start(inode.sb(), WRITE_CREDITS)?;
            lengthen(inode, end);
        }
        Ok(())
    }
}

impl Operations for RdaxFs {
    fn read_iter(mut iocb: Kiocb<'_, Self>, to: &mut IovIterDest<'_>) -> Result<usize> {
        if to.is_empty() {
            return Ok(0);
        }
        keep_from_device(&mut iocb);
        let guard = lock_shared(&iocb)?;
        match guard.mode() {
            Mode::Dax(dax) => {
                let read = dax.read::<Read>(&mut iocb, to);
                drop(guard);
                iocb.file().accessed();
                read
            }
            Mode::PageCache(pages) if iocb.is_direct() => {
                iocb.file().accessed();
                pages.direct_read::<Read>(&mut iocb, to)
            }
            Mode::PageCache(pages) => pages.read(&mut iocb, to),
        }
    }

    fn write_iter(mut iocb: Kiocb<'_, Self>, from: &mut IovIterSource<'_>) -> Result<usize> {
        keep_from_device(&mut iocb);
        if iocb.is_direct() {
            if let Some(written) = write_aligned(&mut iocb, from)? {
                return Ok(written);
            }
        }
        let guard = lock(&iocb)?;
        prepare(&guard, &mut iocb, from)?;
        if from.is_empty() {
            return Ok(0);
        }
        let written = match guard.mode() {
            Mode::Dax(dax) => write_dax(dax, &guard, &mut iocb, from),
            // Does what `O_DSYNC` asks for itself.
            Mode::PageCache(pages) if iocb.is_direct() => {
                return write_direct(pages, &guard, &mut iocb, from);
            }
            Mode::PageCache(pages) => write_buffered(pages, &guard, &mut iocb, from),
        };
        drop(guard);
        iocb.write_sync(written?)
    }

    fn splice_read(splice: Splice<'_, Self>) -> Result<usize> {
        let guard = splice.file().inode().lock_shared();
        match guard.mode() {
            Mode::PageCache(pages) => pages.splice(splice),
            // A copy reads through `read_iter`, which takes the lock itself and asks again.
            Mode::Dax(_) => {
                drop(guard);
                splice.copy()
            }
        }
    }

    fn llseek(file: &File<Self>, offset: i64, whence: i32) -> Result<i64> {
        let Some(what) = Seek::from_whence(whence) else {
            return file.llseek(offset, whence);
        };
        let guard = file.inode().lock_shared();
        let found = iomap::seek(&*guard, offset, what)?;
        file.set_position(found)
    }

    /// What the tree of blocks needs is on the way to the disk with the inode; that it had changed is
    /// forgotten before, so that a change in between is not.
    fn fsync(file: &File<Self>, start: i64, end: i64, datasync: bool) -> Result {
        let inode = file.inode();
        file.write_and_wait(start, end)?;
        if nothing_to_sync(inode.sb())? {
            return Ok(());
        }
        if inode.sb().data().journal.is_some() {
            return super::inode::commit(inode, datasync);
        }
        let extents = &inode.data().get_ref().extents;
        extents.set_unsynced(false);
        let synced = inode.sync().and_then(|()| inode.sb().flush_device());
        if synced.is_err() {
            extents.set_unsynced(true);
        }
        synced
    }

    fn fallocate(file: &File<Self>, mode: Fallocate, offset: u64, len: u64) -> Result {
        space::fallocate(file, mode, offset, len)
    }

    /// Under the lock, since it may fill the page cache, or empty it.
    fn ioctl(file: &File<Self>, cmd: u32, arg: usize) -> Result<isize> {
        ioctl::ioctl(file, cmd, arg)
    }

    /// Many a program writes a file anew by truncating it first, and does not sync it: its data should
    /// not be long after the loss of the old.
    fn writer_closed(inode: &INode) {
        let emptied = &inode.data().get_ref().emptied;
        if emptied.load(Relaxed) && emptied.xchg(false, Relaxed) {
            inode.begin_writeback();
        }
    }

    fn fadvise(file: &File<Self>, start: i64, end: i64, advice: i32) -> Result {
        let _guard = file.inode().lock_shared();
        file.advise(start, end, advice)
    }
}

/// Has direct I/O go through the page cache where that of data goes through the journal.
#[inline]
fn keep_from_device(iocb: &mut Kiocb<'_, RdaxFs>) {
    if iocb.is_direct() && iocb.inode().sb().data().journals_data {
        iocb.set_buffered();
    }
}

/// Takes `i_rwsem` shared, without waiting if the request says so.
#[inline]
fn lock_shared<'a>(iocb: &Kiocb<'a, RdaxFs>) -> Result<SharedGuard<'a, RdaxFs>> {
    if iocb.nowait() {
        return iocb.inode().try_lock_shared().ok_or(EAGAIN);
    }
    Ok(iocb.inode().lock_shared())
}

/// Takes `i_rwsem` exclusively, without waiting if the request says so.
#[inline]
fn lock<'a>(iocb: &Kiocb<'a, RdaxFs>) -> Result<LockGuard<'a, RdaxFs>> {
    if iocb.nowait() {
        return iocb.inode().try_lock().ok_or(EAGAIN);
    }
    Ok(iocb.inode().lock())
}

/// What comes before every write: checks, `O_APPEND`, and zeros between the end of the file and the
/// write. `from` is empty afterwards if there is nothing to do.
fn prepare(
    io: &Locked<RdaxFs>,
    iocb: &mut Kiocb<'_, RdaxFs>,
    from: &mut IovIterSource<'_>,
) -> Result {
    if io.is_immutable() {
        return Err(EPERM);
    }
    if iocb.write_checks(from)? == 0 {
        return Ok(());
    }
    if iocb.pos() + from.len() as u64 > i32::MAX as u64 {
        // What does not fit is refused when its blocks are asked for.
        mount::allow_large_files(io.sb())?;
    }
    if iocb.pos() > io.size() {
        if iocb.nowait() {
            return Err(EAGAIN);
        }
        io.wait_for_direct_io();
        space::zero_tail(io, iocb.pos())?;
    }
    iocb.modified()
}

/// Writes to the device's memory.
///
/// The blocks are in the file before the data is copied to them. If it then ends before they do, they
/// are given back, after a crash too.
fn write_dax(
    dax: DaxToken<'_, RdaxFs>,
    io: &Locked<RdaxFs>,
    iocb: &mut Kiocb<'_, RdaxFs>,
    from: &mut IovIterSource<'_>,
) -> Result<usize> {
    let wanted = iocb.pos() + from.len() as u64;
    if wanted <= io.size().next_multiple_of(io.sb().block_size() as u64) {
        let written = dax.write::<DaxWrite>(io, iocb, from);
        if iocb.pos() > io.size() {
            io.set_size(iocb.pos());
            resized(io);
        }
        return written;
    }
    space::orphaned(io, || {
        let written = dax.write::<DaxWrite>(io, iocb, from);
        if iocb.pos() > io.size() {
            io.set_size(iocb.pos());
            resized(io);
        }
        if iocb.pos() < wanted {
            space::trim(io)?;
        }
        written
    })?
}

/// Writes into the page cache. The file gets longer on disk when the data is there, or at once if its
/// blocks cannot be unwritten until then.
fn write_buffered(
    pages: PageCacheToken<'_, RdaxFs>,
    io: &Locked<RdaxFs>,
    iocb: &mut Kiocb<'_, RdaxFs>,
    from: &mut IovIterSource<'_>,
) -> Result<usize> {
    let size = io.size();
    let written = pages.write::<BufferedWrite>(io, iocb, from);
    if io.size() > size && !map::fork(io).has_extents() {
        resized(io);
    }
    written
}

/// Data is on the device up to `end`, of a direct write: only one that holds `i_rwsem` exclusively, and
/// waits for this, makes a file longer.
fn lengthen(inode: &INode, end: u64) {
    if end > inode.size() {
        inode.set_size(end);
    }
    data_reached(inode, end);
}

/// Writes around the page cache where nobody else may do so meanwhile: to part of a block, which the
/// rest of is zeroed first if it is new, or past the end of the file.
///
/// If pages are in the way that cannot be removed, writes through the page cache, and on to the device.
fn write_direct(
    pages: PageCacheToken<'_, RdaxFs>,
    io: &Locked<RdaxFs>,
    iocb: &mut Kiocb<'_, RdaxFs>,
    from: &mut IovIterSource<'_>,
) -> Result<usize> {
    io.wait_for_direct_io();
    let direct = match pages.direct_write::<DirectWrite>(iocb, from, Direct::Wait) {
        Err(err) if err == ENOTBLK => 0,
        done => done?,
    };
    if from.is_empty() {
        return Ok(direct);
    }
    iocb.set_buffered();
    let start = iocb.pos();
    let buffered = write_buffered(pages, io, iocb, from)?;
    io.write_and_wait(start as i64, iocb.pos() as i64 - 1)?;
    Ok(direct + iocb.write_sync(buffered)?)
}

/// Writes whole blocks within the file, around the page cache, with `i_rwsem` held shared. Nothing is
/// done, and nothing is answered, if the write is not like that.
fn write_aligned(
    iocb: &mut Kiocb<'_, RdaxFs>,
    from: &mut IovIterSource<'_>,
) -> Result<Option<usize>> {
    let inode = iocb.inode();
    let mask = inode.sb().block_size() as u64 - 1;
    let guard = lock_shared(iocb)?;
    let Mode::PageCache(pages) = guard.mode() else {
        return Ok(None);
    };
    let (pos, len) = (iocb.pos(), from.len() as u64);
    // What is past the end on disk makes the file longer there, for which its completion has to wait.
    let size = inode.size().min(inode.data().disk_size());
    let within = pos.checked_add(len).is_some_and(|end| end <= size);
    // Dropping set-user-ID bits needs the lock exclusively; appending has its position yet to come.
    if !within || (pos | len) & mask != 0 || iocb.is_append() || !inode.is_nosec() {
        return Ok(None);
    }
    if iocb.write_checks(from)? == 0 {
        return Ok(Some(0));
    }
    iocb.modified()?;
    match pages.direct_write::<DirectWrite>(iocb, from, Direct::Async) {
        Err(err) if err == ENOTBLK => Ok(None),
        done => done.map(Some),
    }
}
