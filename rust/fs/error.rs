// SPDX-License-Identifier: GPL-2.0

//! What is done about metadata that cannot be: a message that names inode and block, a record in
//! the super block, and what `errors=` says.

use super::{
    mount,
    options::Errors,
    SuperBlock, //
};
use crate::{
    ondisk,
    prelude::*,
    vfs::sb_err, //
};
use kernel::sync::atomic::Relaxed;

/// Where something was found.
#[derive(Clone, Copy, Default)]
pub struct At {
    /// The inode it belongs to; 0 if to none.
    pub ino: u64,
    /// The block it is in; 0 if in none.
    pub block: u64,
}

impl At {
    /// In a block of an inode.
    pub const fn inode(ino: u64, block: u64) -> Self {
        Self { ino, block }
    }

    /// In a block that belongs to no inode.
    pub const fn block(block: u64) -> Self {
        Self { ino: 0, block }
    }
}

/// Turns what [`ondisk`] says about the block at `at` into an error number.
///
/// What only says that there is no room, or that something is not supported, is passed on in
/// silence. Everything else means that the image is corrupted ([`EUCLEAN`]) and is dealt with as
/// `errors=` says. `what` names the operation.
pub fn report(sb: &SuperBlock, what: &'static str, at: At, error: ondisk::Error) -> Error {
    use ondisk::Error as E;
    match error {
        E::Full => ENOSPC,
        E::TooLarge => EFBIG,
        E::Unsupported(_) => EOPNOTSUPP,
        _ => corrupt(sb, what, at, format_args!("{error}")),
    }
}

/// The image is corrupted: says so and deals with it as `errors=` says. Returns [`EUCLEAN`].
pub fn corrupt(
    sb: &SuperBlock,
    what: &'static str,
    at: At,
    args: core::fmt::Arguments<'_>,
) -> Error {
    match at {
        At { ino: 0, block: 0 } => sb_err!(sb, "{}: {}", what, args),
        At { ino: 0, block } => sb_err!(sb, "{}: block {}: {}", what, block, args),
        At { ino, block: 0 } => sb_err!(sb, "{}: inode {}: {}", what, ino, args),
        At { ino, block } => sb_err!(sb, "{}: inode {}, block {}: {}", what, ino, block, args),
    }
    mount::record_error(sb, what, at);
    match sb.data().errors() {
        Errors::Continue => {}
        Errors::RemountRo if sb.is_read_only() => {}
        Errors::RemountRo => {
            sb_err!(sb, "remounting read-only");
            // What is not committed may be wrong as well.
            if let Some(journal) = &sb.data().journal {
                journal.abort(EIO);
            }
            stop(sb);
        }
        Errors::Panic => sb.panic(fmt!("{}: {}", what, args)),
    }
    EUCLEAN
}

/// The journal was aborted: since the device failed, unless that was asked for. Does what `errors=` says.
pub fn journal_aborted(sb: &SuperBlock) {
    if sb.is_read_only() {
        return;
    }
    let what = "the journal was aborted";
    mount::record_error(sb, "journal", At::default());
    if sb.data().errors() == Errors::Panic {
        sb.panic(fmt!("{}", what));
    }
    sb_err!(sb, "{}; remounting read-only", what);
    stop(sb);
}

/// Ends all writing. The mount becomes read-only as well, now or when it is thawed.
fn stop(sb: &SuperBlock) {
    sb.data().stopped.store(true, Relaxed);
    sb.try_force_read_only();
}

/// Whether an error has ended all writing.
#[inline]
pub fn has_stopped(sb: &SuperBlock) -> bool {
    sb.data().stopped.load(Relaxed)
}

/// Whether there is nothing to be synced, as the file system is read-only. [`EROFS`] if an error has made
/// it so: what was written before may be lost.
pub fn nothing_to_sync(sb: &SuperBlock) -> Result<bool> {
    if has_stopped(sb) {
        return Err(EROFS);
    }
    Ok(sb.is_read_only())
}
