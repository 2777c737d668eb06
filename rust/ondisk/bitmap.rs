// SPDX-License-Identifier: GPL-2.0

//! Bitmaps of blocks and of inodes: a set bit is something in use.
//!
//! Bit `n` is bit `n % 8` of byte `n / 8`. The functions work on 64 bits at a time, so the length of a
//! bitmap is a multiple of eight bytes, as that of a block is; bytes beyond do not exist for them.
//! Bits that do not exist are neither found nor changed.

use core::num::NonZero;
use core::ops::Range;

use super::error::{
    Error,
    Result, //
};

const WORD: u32 = u64::BITS;

/// Whether bit `nr` is set. One that does not exist is: nobody shall take it.
pub fn test(bits: &[u8], nr: u32) -> bool {
    nr >= len(bits) || word(bits, nr / WORD) >> (nr % WORD) & 1 == 1
}

/// Sets the bits of `range`, all of which must be clear; else nothing changes.
pub fn set(bits: &mut [u8], range: Range<u32>) -> Result {
    if range.end > len(bits) {
        return Err(Error::Corrupt("bit beyond the bitmap"));
    }
    if count_set(bits, range.clone()) != 0 {
        return Err(Error::Corrupt("bit already set"));
    }
    for (nr, mask) in masks(range) {
        update(bits, nr, |word| word | mask);
    }
    Ok(())
}

/// Clears the bits of `range`, all of which must be set; else something was freed twice, and nothing
/// changes.
pub fn clear(bits: &mut [u8], range: Range<u32>) -> Result {
    if range.end > len(bits) {
        return Err(Error::Corrupt("bit beyond the bitmap"));
    }
    if masks(range.clone()).any(|(nr, mask)| word(bits, nr) & mask != mask) {
        return Err(Error::Corrupt("bit already clear"));
    }
    for (nr, mask) in masks(range) {
        update(bits, nr, |word| word & !mask);
    }
    Ok(())
}

/// Sets the bits that are set in `other`.
pub fn merge(bits: &mut [u8], other: &[u8]) {
    for nr in 0..len(bits).min(len(other)) / WORD {
        let more = word(other, nr);
        update(bits, nr, |word| word | more);
    }
}

/// How many bits of `range` are set.
pub fn count_set(bits: &[u8], range: Range<u32>) -> u32 {
    masks(range.start..range.end.min(len(bits)))
        .map(|(nr, mask)| (word(bits, nr) & mask).count_ones())
        .sum()
}

/// The first clear bit of `range`.
pub fn next_clear(bits: &[u8], range: Range<u32>) -> Option<u32> {
    next(range.start, range.end.min(len(bits)), |nr| !word(bits, nr))
}

/// The first set bit of `range`.
pub fn next_set(bits: &[u8], range: Range<u32>) -> Option<u32> {
    next(range.start, range.end.min(len(bits)), |nr| word(bits, nr))
}

/// The runs of clear bits in `range`, in their order, none of them empty.
pub fn clear_runs(bits: &[u8], range: Range<u32>) -> impl Iterator<Item = Range<u32>> + '_ {
    runs(bits, range, u32::MAX)
}

/// The same, but the end of a run is not looked for beyond `enough` bits: what is left of it is the
/// next one.
fn runs(bits: &[u8], range: Range<u32>, enough: u32) -> impl Iterator<Item = Range<u32>> + '_ {
    let Range { mut start, end } = range;
    let end = end.min(len(bits));
    core::iter::from_fn(move || {
        let first = next_clear(bits, start..end)?;
        start = first + clear_len(bits, first, enough.min(end - first));
        Some(first..start)
    })
}

/// How many bits from `at` on are clear, at most `max`.
pub fn clear_len(bits: &[u8], at: u32, max: u32) -> u32 {
    let end = at.saturating_add(max).min(len(bits));
    next_set(bits, at..end).unwrap_or(end).saturating_sub(at)
}

/// A run of clear bits in `range`, of `want` bits if there is one and else as long as there is.
///
/// It is the first such run from `goal` on, or else from the start of `range`. The goal itself is
/// taken, if clear, even when its run continues before it.
pub fn find(bits: &[u8], range: Range<u32>, goal: u32, want: u32) -> Option<Range<u32>> {
    let goal = goal.clamp(range.start, range.end.max(range.start));
    first_fit(
        runs(bits, goal..range.end, want).chain(runs(bits, range.start..goal, want)),
        want,
    )
}

/// Where units begin that a run is to be aligned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Align {
    /// Bits of a unit: 512 for 2 MiB in blocks of 4 KiB.
    pub unit: NonZero<u32>,
    /// What bit 0 is in its unit: the number of the group's first block, modulo `unit`.
    pub phase: u32,
}

impl Align {
    /// The first bit at or after `nr` where a unit begins.
    fn up(self, nr: u32) -> Option<u32> {
        let unit = NonZero::<u64>::from(self.unit);
        let place = u64::from(nr) + u64::from(self.phase);
        let rest = (unit.get() - place % unit) % unit;
        u32::try_from(u64::from(nr) + rest).ok()
    }
}

/// As [`find`], for runs that begin where a unit of `align` does and are at least one unit long.
///
/// If none is of `want` bits, the run is cut to whole units, so that what follows it is aligned too.
pub fn find_aligned(
    bits: &[u8],
    range: Range<u32>,
    goal: u32,
    want: u32,
    align: Align,
) -> Option<Range<u32>> {
    let goal = goal.clamp(range.start, range.end.max(range.start));
    let aligned = |run: Range<u32>| {
        let start = align.up(run.start)?;
        let len = run.end.checked_sub(start)?;
        let len = if len >= want {
            want
        } else {
            len - len % align.unit
        };
        (len >= align.unit.get()).then_some(start..start + len)
    };
    // What is so long has `want` bits from where the first unit begins.
    let enough = want.saturating_add(align.unit.get());
    first_fit(
        runs(bits, goal..range.end, enough)
            .chain(runs(bits, range.start..goal, enough))
            .filter_map(aligned),
        want,
    )
}

/// The first of `runs` that has `want` bits, cut to that; else the longest, of equals the first.
fn first_fit(runs: impl Iterator<Item = Range<u32>>, want: u32) -> Option<Range<u32>> {
    let mut longest: Option<Range<u32>> = None;
    for run in runs {
        let len = run.end - run.start;
        if len >= want {
            return (want > 0).then(|| run.start..run.start + want);
        }
        if longest
            .as_ref()
            .is_none_or(|best| len > best.end - best.start)
        {
            longest = Some(run);
        }
    }
    longest
}

/// The first bit from `start` to `end` that is set in the words that `word` gives.
fn next(start: u32, end: u32, word: impl Fn(u32) -> u64) -> Option<u32> {
    let mut nr = start;
    while nr < end {
        let rest = word(nr / WORD) >> (nr % WORD);
        if rest != 0 {
            return Some(nr + rest.trailing_zeros()).filter(|hit| *hit < end);
        }
        nr = (nr / WORD + 1) * WORD;
    }
    None
}

/// The words that `range` touches: their numbers, and their bits that are in the range.
fn masks(range: Range<u32>) -> impl Iterator<Item = (u32, u64)> {
    let Range { start, end } = range;
    (start / WORD..end.div_ceil(WORD)).map(move |nr| {
        let low = start.saturating_sub(nr * WORD);
        let high = (end - nr * WORD).min(WORD);
        (nr, !0 << low & !0 >> (WORD - high))
    })
}

/// The number of bits there are; no bitmap of a group has more than a block of 64 KiB.
fn len(bits: &[u8]) -> u32 {
    const MAX: usize = 1 << 16;
    (bits.len().min(MAX) / 8 * 64) as u32
}

/// The word `nr`, all set if it does not exist.
fn word(bits: &[u8], nr: u32) -> u64 {
    let bytes = bits
        .get(nr as usize * 8..)
        .and_then(|rest| rest.first_chunk());
    bytes.map_or(!0, |bytes| u64::from_le_bytes(*bytes))
}

fn update(bits: &mut [u8], nr: u32, change: impl FnOnce(u64) -> u64) {
    let bytes = bits
        .get_mut(nr as usize * 8..)
        .and_then(|rest| rest.first_chunk_mut());
    if let Some(bytes) = bytes {
        *bytes = change(u64::from_le_bytes(*bytes)).to_le_bytes();
    }
}
