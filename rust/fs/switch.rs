// SPDX-License-Identifier: GPL-2.0

//! The change of a file between page cache and DAX, while it is open.
//!
//! With `dax_switch=deferred` there is none: as in ext4 and XFS the flag is stored, and the inode is
//! dropped from memory when nobody uses it any more, to be in the other mode when it is read again.
//!
//! Every path whose behaviour depends on the mode holds a lock that this takes exclusively, see
//! [`crate::vfs::mode`]. With all of them held and no VMA on the file, there is no page table that
//! maps it and no fault handler between its look-up and its insertion.
//!
//! # The races, and why each is closed
//!
//! Checked against the sources of Linux 7.3.4. Where a path is named with no more said, it is because
//! it holds what the table of [`crate::vfs::mode`] says, and asks under it.
//!
//! Mappings:
//!
//! - Faults, `filemap_map_pages`, GUP, madvise, mlock, coredumps: they hold the mmap lock or that of a
//!   VMA of the file. The VMA is then in `i_mmap`, and the change refused. `filemap_fault` drops the
//!   lock and goes on: it is inside the mode lock. khugepaged and MADV_COLLAPSE (`collapse_file`) do as
//!   well, and are not: they leave files alone whose folios are kept below a PMD, as all of ours are
//!   (`file_thp_enabled`).
//! - Splitting, merging, moving and copying of VMAs: takes VMAs out of `i_mmap` and puts them back in
//!   one section of `i_mmap_rwsem`, and a copy goes in before the original goes out. The change asks
//!   under that lock.
//! - mmap: [`crate::vfs::mm`]. It does not fail for a change, but for MAP_SYNC.
//! - Pages pinned through a mapping that is gone (direct I/O into them, io_uring, RDMA): EBUSY. There are
//!   no new ones without a mapping. One that was taken without a pin (`FOLL_GET`: a pipe) may stay with
//!   its holder, which sees the bytes of then; writers are required to pin
//!   (Documentation/core-api/pin_user_pages.rst), so no store is lost.
//!
//! Requests:
//!
//! - read, write, splice, fadvise, readahead, fallocate, truncate, FIEMAP, lseek: `i_rwsem`. What the
//!   VFS asks before, without it (`IS_DAX` in splice, RWF_DONTCACHE, statx), chooses between ways that
//!   are both right.
//! - Direct I/O under way without the lock: waited for. Its completion removes pages before it counts
//!   itself out.
//! - swapon: holds `i_rwsem` until the file is marked, ETXTBSY from then on; in DAX mode there is no
//!   `read_folio`, which it refuses.
//! - exec, overlayfs, loop, nfsd: come by read, write, splice and mmap.
//!
//! Memory:
//!
//! - writepages: its own lock. The flusher may call the function of the other table, which asks again.
//! - `dirty_folio`, `migrate_folio`, `release_folio`, `error_remove_folio`: read `a_ops` with a folio of
//!   the mapping locked. The folio keeps the mapping from being empty, and so the mode.
//! - Reclaim leaves a shadow entry as it takes a page, in one section of the lock of the mapping: the
//!   change removes it, or finds the mapping not empty. Nodes with nothing but shadows are gone with
//!   them, so their shrinker does not meet DAX entries.
//! - `drop_caches` tests for DAX before it locks the mapping: `Switch::wait_for_walkers`.
//! - cgroup writeback switching takes every entry for a folio. It is for super blocks with
//!   SB_I_CGROUPWB, which ours are not.
//! - memory-failure holds the entry's lock, or the folio's. The device has no holder to be notified.
//!
//! # What is not closed
//!
//! A probe (uprobes) that was registered in page cache mode, on a file that nobody has mapped since:
//! when it is first to be planted and the file is in DAX mode, `copy_insn` finds no `read_folio` and takes
//! the file for one of shmem, which warns once and refuses. The probe is not planted. A module cannot
//! ask whether a file has probes; to register one takes CAP_PERFMON. Those that were planted before
//! are planted by faults, which work in either mode; and in DAX mode none can be registered (EIO).
//!
//! A change waits for a fault of a slow device for [`mode`](crate::vfs::mode)'s short while, then it is
//! EBUSY, although the mapping is gone.
//!
//! # Failure
//!
//! Until [`Prepared::commit`](crate::vfs::mode::Prepared::commit), which cannot fail, nothing has changed
//! but what is cached: pages were written and dropped. The flag is stored right before, in a transaction
//! that either has it all or nothing.

use super::{
    options::{
        Dax,
        DaxSwitch,
        Options, //
    },
    stats::Counter,
    INode,
    RdaxFs,
    SuperBlock,
    Transaction, //
};
use crate::{
    ondisk::{
        inode::flag,
        Geometry, //
    },
    prelude::*,
    vfs::{
        delay::{
            self,
            Point, //
        },
        mode::{
            Mode,
            SoleLock,
            Stable,
            Switch, //
        },
        sb_info,
        trace::{
            self,
            Refusal, //
        },
        Context,
        Credits,
        DaxDevice,
        FileType,
        New, //
    }, //
};
use kernel::{
    page::PAGE_SIZE,
    sync::atomic::Relaxed, //
};

/// The DAX device, if there is one that the options want and the block size allows.
pub fn find_dax(
    sb: &SuperBlock<New>,
    fc: &Context,
    options: &Options,
    geometry: &Geometry,
) -> Result<Option<DaxDevice>> {
    let why_not = match DaxDevice::of(sb) {
        _ if options.dax() == Dax::Never => return Ok(None),
        _ if options.journals_data() => "data=journal",
        _ if geometry.block_size() as usize != PAGE_SIZE => "blocks are not of the size of a page",
        None => "the device has no DAX",
        Some(dax) => return Ok(Some(dax)),
    };
    if options.dax() == Dax::Always {
        return fc.invalid(fmt!("dax=always: {}", why_not));
    }
    sb_info!(
        sb,
        "{}: files are not mapped directly, whatever their flag says",
        why_not
    );
    Ok(None)
}

/// Whether a regular file with these flags (`i_flags`) is to be in DAX mode.
pub fn wants_dax(sb: &SuperBlock, flags: u32) -> bool {
    let data = sb.data();
    let possible = data.dax.is_some() && sb.block_size() == PAGE_SIZE;
    possible
        && flags & flag::DAX_EXCLUDES == 0
        && match data.options().dax() {
            Dax::Always => true,
            Dax::Never => false,
            Dax::INode => flags & flag::DAX != 0,
        }
}

/// Sets or clears the DAX flag of an inode, and puts a regular file into the mode that follows.
///
/// [`EBUSY`] while the file is mapped, or while something else keeps its pages: nothing has changed
/// then. [`EOPNOTSUPP`] if the file has a flag that excludes DAX; [`ETXTBSY`] for a swap file.
pub fn set_dax(io: &mut SoleLock<'_, RdaxFs>, dax: bool) -> Result {
    let flags = io.data().flags.load(Relaxed);
    if (flags & flag::DAX != 0) == dax {
        return Ok(());
    }
    if dax && flags & flag::DAX_EXCLUDES != 0 {
        return Err(EOPNOTSUPP);
    }
    let flags = flags ^ flag::DAX;
    let wanted = wants_dax(io.sb(), flags);
    if io.kind() != FileType::Regular || matches!(Stable::mode(&**io), Mode::Dax(_)) == wanted {
        return store(io, flags);
    }
    if io.sb().data().options().dax_switch() == DaxSwitch::Deferred {
        store(io, flags)?;
        io.forget_when_unused();
        return Ok(());
    }
    trace::switch(io, wanted);
    let changed = change(io, wanted, flags);
    let stats = &io.sb().data().get_ref().stats;
    match changed {
        Ok(()) => {
            stats.count(if wanted {
                Counter::ToDax
            } else {
                Counter::ToPageCache
            });
            trace::switch_done(io, wanted);
            Ok(())
        }
        Err((why, error)) => {
            stats.count(Counter::Refused);
            trace::switch_refused(io, wanted, why, error);
            Err(error)
        }
    }
}

/// The flags become the inode's, in a transaction of their own.
fn store(inode: &INode, flags: u32) -> Result {
    let _tx = Transaction::start(inode.sb(), Credits(1))?;
    inode.data().flags.store(flags, Relaxed);
    inode.set_ctime_current();
    inode.mark_dirty();
    Ok(())
}

/// The change itself, in the order of the locks. An error at any step leaves all as it was, but for
/// what is cached.
fn change(
    io: &mut SoleLock<'_, RdaxFs>,
    dax: bool,
    flags: u32,
) -> core::result::Result<(), (Refusal, Error)> {
    let because = |why| move |error| (why, error);
    // The VFS holds `i_rwsem`: no read, write, splice, truncation or fallocate is under way, and no
    // direct I/O starts. That which was started before goes on without the lock, and comes back to
    // the page cache when it is complete.
    if io.is_swap_file() {
        return Err((Refusal::SwapFile, ETXTBSY));
    }
    io.wait_for_direct_io();
    // Most of what is dirty goes now, while faults may still come.
    io.write_and_wait(0, i64::MAX)
        .map_err(because(Refusal::Writeback))?;

    // From here on no fault is under way, and no mmap gets past its look at the mode.
    let switch = Switch::begin(io).map_err(because(Refusal::Fault))?;
    if switch.is_mapped() {
        return Err((Refusal::Mapped, EBUSY));
    }
    let inode = switch.inode();
    delay::pass(inode, Point::SwitchLocked);
    // What was stored meanwhile. After an error the page with the data must stay.
    inode
        .write_and_wait(0, i64::MAX)
        .map_err(because(Refusal::Writeback))?;
    delay::pass(inode, Point::SwitchWritten);
    let emptied = if dax {
        // Shadow entries included: fs/dax.c would take them for its own.
        switch.drop_pages()
    } else {
        // While the file still counts as a DAX file, for fs/dax.c does nothing for others.
        switch.drop_dax_entries()
    };
    emptied.map_err(because(Refusal::Pages))?;
    delay::pass(inode, Point::SwitchDropped);
    // The caller's success becomes durable in the transaction in which the flag is stored. It is the
    // last thing that can fail, and comes before the mode changes.
    let ready = switch.prepare().map_err(because(Refusal::Pages))?;
    store(inode, flags).map_err(because(Refusal::Store))?;
    ready.commit(dax);
    Ok(())
}
