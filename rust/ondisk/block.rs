// SPDX-License-Identifier: GPL-2.0

//! Block numbers that are known to lie on the file system.

use super::error::{
    Error,
    Result, //
};

/// The block numbers of one file system.
///
/// Everything that reads a block number from disk asks this type for a [`BlockNr`] or a [`BlockRun`],
/// and there is no other way to get one.
///
/// # Invariants
///
/// `first <= end`, and `end` is at most 2^48.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    first: u64,
    end: u64,
}

impl Blocks {
    /// Extents hold block numbers of 48 bits.
    pub const MAX: u64 = 1 << 48;

    /// The blocks from `first` (`s_first_data_block`) up to, not including, `end` (`s_blocks_count`).
    pub const fn new(first: u64, end: u64) -> Result<Self> {
        if first > end || end > Self::MAX {
            return Err(Error::Corrupt("block count out of range"));
        }
        // INVARIANT: Just checked.
        Ok(Self { first, end })
    }

    /// The first block, `s_first_data_block`: 0, or 1 where blocks are of 1 KiB.
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// One past the last block: `s_blocks_count`.
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// The block `nr`, if it lies on the file system.
    pub const fn block(&self, nr: u64) -> Result<BlockNr> {
        if nr < self.first || nr >= self.end {
            return Err(Error::Corrupt("block number out of range"));
        }
        // INVARIANT: Just checked.
        Ok(BlockNr(nr))
    }

    /// The `len` blocks from `start` on, if there is at least one and all lie on the file system.
    pub const fn run(&self, start: u64, len: u32) -> Result<BlockRun> {
        // `block` bounds `start` by 2^48, so the sum cannot overflow.
        match self.block(start) {
            Ok(start) if len > 0 && start.0 + len as u64 <= self.end => Ok(BlockRun { start, len }),
            _ => Err(Error::Corrupt("block run out of range")),
        }
    }
}

/// The number of a block of the file system, in units of its block size.
///
/// # Invariants
///
/// Lies within the [`Blocks`] of its file system: at least `s_first_data_block`, less than
/// `s_blocks_count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockNr(u64);

impl BlockNr {
    /// The bare number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// One or more consecutive blocks of the file system.
///
/// # Invariants
///
/// `len` is not zero, and all the blocks lie within the [`Blocks`] of their file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRun {
    start: BlockNr,
    len: u32,
}

#[expect(clippy::len_without_is_empty, reason = "a run is never empty")]
impl BlockRun {
    /// The first block.
    pub const fn start(&self) -> BlockNr {
        self.start
    }

    /// The number of blocks, at least one.
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// One past the last block.
    pub const fn end(&self) -> u64 {
        self.start.0 + self.len as u64
    }

    /// Whether `block` is one of them.
    pub fn contains(&self, block: BlockNr) -> bool {
        self.start <= block && block.0 < self.end()
    }

    /// The `n`th block of the run.
    pub const fn nth(&self, n: u32) -> Option<BlockNr> {
        if n < self.len {
            // INVARIANT: Between the first and the last block of a run that lies on the file system.
            Some(BlockNr(self.start.0 + n as u64))
        } else {
            None
        }
    }

    /// The part of the run that begins `skip` blocks in and is at most `max` blocks long; nothing if
    /// that is no block at all.
    pub const fn part(&self, skip: u32, max: u32) -> Option<BlockRun> {
        match (self.nth(skip), max) {
            (None, _) | (_, 0) => None,
            (Some(start), _) => {
                let rest = self.len - skip;
                let len = if rest < max { rest } else { max };
                // INVARIANT: A part, not empty, of a run that lies on the file system.
                Some(BlockRun { start, len })
            }
        }
    }
}

impl From<BlockNr> for BlockRun {
    fn from(start: BlockNr) -> Self {
        Self { start, len: 1 }
    }
}
