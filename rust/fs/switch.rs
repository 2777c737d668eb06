// SPDX-License-Identifier: GPL-2.0

//! The change of a file between page cache and DAX, while it is open.
//!
//! With `dax_switch=deferred` there is none: as in ext4 and XFS the flag is stored, and the inode is
//! dropped from memory when nobody uses it any more, to be in the other mode when it is read again.
//!
//! Every path whose behaviour depends on the mode holds a lock that this takes exclusively, see
//! [`crate::vfs::mode`]. With all of them held and no VMA on the file, there is no page table that
//! maps it and no fault handler between its look-up and its insertion. A VMA that is just being made
//! finds out when it is complete ([`crate::vfs::mm`]).
//!
//! Two windows are in core code, where a module cannot lock. `clear_shadow_entries`, called by
//! `drop_caches`, tests for DAX before it takes its lock: entries that are made between the two are
//! lost to it, and with them the dirty state of what was stored there. And a probe on a file
//! (uprobes) that was registered in one mode goes on being planted by the rules of that mode.

use super::{
    options::{
        Dax,
        DaxSwitch, //
    },
    stats::Counter,
    INode,
    RdaxFs,
    SuperBlock,
    Transaction, //
};
use crate::{
    ondisk::inode::flag,
    vfs::{
        mode::{
            Mode,
            SoleLock,
            Stable,
            Switch, //
        },
        Credits,
        FileType, //
    },
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::atomic::Relaxed, //
};

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
    let changed = change(io, wanted, flags);
    io.sb().data().stats.count(match (&changed, wanted) {
        (Ok(()), true) => Counter::ToDax,
        (Ok(()), false) => Counter::ToPageCache,
        (Err(_), _) => Counter::Refused,
    });
    changed
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
fn change(io: &mut SoleLock<'_, RdaxFs>, dax: bool, flags: u32) -> Result {
    // The VFS holds `i_rwsem`: no read, write, splice, truncation or fallocate is under way, and no
    // direct I/O starts. That which was started before goes on without the lock, and comes back to
    // the page cache when it is complete.
    if io.is_swap_file() {
        return Err(ETXTBSY);
    }
    io.wait_for_direct_io();
    // Most of what is dirty goes now, while faults may still come.
    io.write_and_wait(0, i64::MAX)?;

    // From here on no fault is under way, and no mmap gets past its look at the mode.
    let switch = Switch::begin(io)?;
    if switch.is_mapped() {
        return Err(EBUSY);
    }
    // What was stored meanwhile. After an error the page with the data must stay.
    switch.inode().write_and_wait(0, i64::MAX)?;
    if dax {
        // Shadow entries included: fs/dax.c would take them for its own.
        switch.drop_pages()?;
    } else {
        // While the file still counts as a DAX file, for fs/dax.c does nothing for others.
        switch.drop_dax_entries()?;
    }
    // The caller's success becomes durable in the transaction in which the flag is stored. It is the
    // last thing that can fail, and comes before the mode changes.
    let inode = switch.inode();
    switch.commit(dax, || store(inode, flags))
}
