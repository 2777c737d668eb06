// SPDX-License-Identifier: GPL-2.0

//! Telling the device which blocks are free (`FITRIM`).
//!
//! Invariant: a block that is discarded is free, and stays so meanwhile: its group is locked.

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
    ondisk::bitmap,
    vfs::Credits, //
};
use kernel::prelude::*;

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
    super::mount::sync_fs(sb, true)?;
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
    let mut done = 0;
    for free in bitmap::clear_runs(&bitmap.bits, wanted) {
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
