// SPDX-License-Identifier: GPL-2.0

//! Telling the device which blocks are free: all of a range when asked (`FITRIM`), and with the mount option
//! `discard` those that were freed, when the transaction that did it is committed.
//!
//! For the latter nobody waits: it is done when the next file is removed, or with all that is synced.
//!
//! Invariant: a block that is discarded is free, and was so at the last commit, so that no crash gives it
//! back to a file; and it stays free meanwhile: its group is locked.

use super::{
    group::{
        Bitmap,
        Group,
        Which, //
    },
    SuperBlock,
    Transaction, //
};
use crate::{
    ondisk::{
        bitmap,
        BlockRun, //
    },
    prelude::*,
    vfs::{
        journal::Tid,
        nofs,
        Credits, //
    }, //
};

/// Runs that wait to be discarded, each with the transaction that freed it, the first one first.
pub type Freed = KVec<(Tid, BlockRun)>;

/// So many runs may wait. What there is beyond that is not discarded, until somebody asks for it.
const MAX_FREED: usize = 1024;

/// `struct fstrim_range`: bytes of the device, and the least free bytes in a row to care about.
#[derive(Clone, Copy)]
pub struct Range {
    start: u64,
    len: u64,
    min_len: u64,
}

impl Range {
    /// As user space passes it.
    pub fn from_bytes(bytes: &[u8; 24]) -> Self {
        let mut words = bytes.chunks_exact(8);
        let mut word = || {
            let word = words.next().and_then(|word| word.first_chunk());
            word.map_or(0, |word| u64::from_ne_bytes(*word))
        };
        Self {
            start: word(),
            len: word(),
            min_len: word(),
        }
    }

    /// As user space takes it.
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let words = [self.start, self.len, self.min_len];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }
}

/// Discards what is free in the range. Returns the range with the bytes discarded as its length.
///
/// [`EOPNOTSUPP`] if the device cannot, [`EINVAL`] if the range lies beyond it. Takes group locks, one
/// after the other.
pub fn trim(sb: &SuperBlock, range: Range) -> Result<Range> {
    let granularity = sb.discard_granularity().ok_or(EOPNOTSUPP)?;
    let data = sb.data().get_ref();
    let bits = sb.block_bits();
    let blocks = data.geometry().blocks().end();
    let start = range.start >> bits;
    let end = start.saturating_add(range.len >> bits).min(blocks);
    let least = range.min_len.max(granularity.into()).div_ceil(1 << bits);
    let per_group = u64::from(data.geometry().blocks_per_group());
    if start >= blocks || range.len >> bits == 0 || least > per_group {
        return Err(EINVAL);
    }
    // What was freed lately is free on the disk as well before it is discarded.
    super::mount::commit(sb, true)?;
    let mut done = 0;
    for group in data.groups.round(0) {
        if u64::from(group.free_blocks()) >= least {
            done += trim_group(sb, group, start..end, least)?;
        }
    }
    Ok(Range {
        len: done << bits,
        ..range
    })
}

/// Discards what is free among the blocks `wanted` of one group. Returns how many blocks.
fn trim_group(
    sb: &SuperBlock,
    group: &Group,
    wanted: core::ops::Range<u64>,
    least: u64,
) -> Result<u64> {
    let geometry = sb.data().get_ref().geometry();
    let run = geometry.group_blocks(group.nr()).map_err(|_| EUCLEAN)?;
    let first = run.start().get();
    let inside = |nr: u64| nr.saturating_sub(first).min(run.len().into()) as u32;
    let wanted = inside(wanted.start)..inside(wanted.end);
    if wanted.is_empty() {
        return Ok(0);
    }
    let tx = Transaction::start(sb, Credits(1))?;
    let bitmap = Bitmap::open(&tx, group, Which::Blocks)?;
    let in_use = bitmap.with_uncommitted()?;
    let mut done = 0;
    for free in bitmap::clear_runs(&in_use, wanted) {
        let len = u64::from(free.end.saturating_sub(free.start));
        if len >= least {
            sb.discard(first.saturating_add(free.start.into()), len)?;
            done += len;
        }
        if kernel::current!().signal_pending() {
            return Err(EINTR);
        }
    }
    Ok(done)
}

/// Notes that a run was freed by the transaction, with the option `discard`.
pub fn note(tx: &Transaction<'_>, run: BlockRun) {
    let data = tx.sb().data().get_ref();
    if !data.options().discard() || tx.sb().discard_granularity().is_none() {
        return;
    }
    let mut freed = data.discards.lock();
    if freed.len() < MAX_FREED {
        // What is not noted is not discarded.
        let _ = freed.push((tx.tid(), run), GFP_KERNEL);
    }
}

/// Discards what transactions have freed that are committed by now. No transaction may run on this task.
pub fn discard_freed(sb: &SuperBlock) {
    let data = sb.data().get_ref();
    let committed = |tid| {
        let journal = data.journal.as_ref();
        journal.is_none_or(|journal| journal.is_committed(tid))
    };
    let first_committed = |freed: &Freed| freed.first().is_some_and(|(tid, _)| committed(*tid));
    // Evicting an inode takes the lock as well.
    nofs(|| {
        let runs = {
            let mut freed = data.discards.lock();
            if !first_committed(&freed) {
                return;
            }
            // Others go on noting meanwhile.
            core::mem::take(&mut *freed)
        };
        for (tid, run) in runs {
            if committed(tid) {
                // An error was reported, or is the device's: what it does not discard is free all the same.
                let _ = discard_run(sb, run);
            } else {
                let _ = data.discards.lock().push((tid, run), GFP_KERNEL);
            }
        }
    });
}

/// Discards what is still free of a run.
fn discard_run(sb: &SuperBlock, run: BlockRun) -> Result {
    let data = sb.data().get_ref();
    let least = sb.discard_granularity().ok_or(EOPNOTSUPP)?;
    let least = u64::from(least).div_ceil(1 << sb.block_bits());
    let wanted = run.start().get()..run.end();
    let first = data.geometry().group_of(run.start()).0;
    for group in data.groups.round(first) {
        let blocks = data.geometry().group_blocks(group.nr());
        if !blocks.is_ok_and(|blocks| blocks.start().get() < wanted.end) {
            break;
        }
        trim_group(sb, group, wanted.clone(), least)?;
    }
    Ok(())
}
