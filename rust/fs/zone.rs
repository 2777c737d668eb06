// SPDX-License-Identifier: GPL-2.0

//! Where the metadata of the groups and the journal are: blocks that no file may have.
//!
//! Invariant: the runs ascend, do not touch, and do not change while mounted. An image in which some of
//! them overlap is refused at mount.

use crate::{
    ondisk::{
        group::GroupDesc,
        sort::sort_by_key,
        BlockRun,
        Geometry, //
    },
    prelude::*, //
};
use core::ops::Range;

/// The kinds of metadata that a group has: at its beginning, two bitmaps, and an inode table. Each
/// kind of several groups often lies in a row.
const KINDS: usize = 4;

/// The blocks of the groups' metadata and of the journal.
pub struct Zone {
    runs: KVVec<Range<u64>>,
}

/// A [`Zone`] that is being collected.
#[derive(Default)]
pub struct Builder {
    runs: KVVec<Range<u64>>,
    last: [Range<u64>; KINDS],
}

impl Builder {
    /// Adds what belongs to a group.
    pub fn add(&mut self, geometry: &Geometry, desc: &GroupDesc) -> Result {
        let run = |run: BlockRun| run.start().get()..run.end();
        let first = geometry
            .group_blocks(desc.group())
            .map_or(0, |run| run.start().get());
        let of_group = [
            first..first + u64::from(geometry.base_meta_blocks(desc.group())),
            run(desc.block_bitmap().into()),
            run(desc.inode_bitmap().into()),
            run(desc.inode_table()),
        ];
        for (last, run) in self.last.iter_mut().zip(of_group) {
            if run.is_empty() {
                continue;
            }
            if last.end == run.start {
                last.end = run.end;
            } else {
                self.runs.push(core::mem::replace(last, run), GFP_KERNEL)?;
            }
        }
        Ok(())
    }

    /// Adds a part of the journal.
    pub fn add_journal(&mut self, run: BlockRun) -> Result {
        Ok(self.runs.push(run.start().get()..run.end(), GFP_KERNEL)?)
    }

    /// What was collected; nothing if some of it overlaps.
    pub fn finish(mut self) -> Result<Option<Zone>> {
        for last in self.last {
            self.runs.push(last, GFP_KERNEL)?;
        }
        sort_by_key(&mut self.runs, |run| (run.start, run.end));
        let mut runs = KVVec::new();
        let mut now = 0..0;
        for run in self.runs.iter().filter(|run| !run.is_empty()) {
            if run.start < now.end {
                return Ok(None);
            }
            if run.start == now.end {
                now.end = run.end;
            } else {
                let done = core::mem::replace(&mut now, run.clone());
                runs.push(done, GFP_KERNEL)?;
            }
        }
        runs.push(now, GFP_KERNEL)?;
        Ok(Some(Zone { runs }))
    }
}

impl Zone {
    /// The runs, as far as they are among the blocks `wanted`, in their order.
    pub fn within(&self, wanted: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let first = self.runs.partition_point(|meta| meta.end <= wanted.start);
        let runs = self.runs.iter().skip(first);
        let runs = runs.map(move |meta| meta.start.max(wanted.start)..meta.end.min(wanted.end));
        runs.take_while(|run| !run.is_empty())
    }

    /// Whether one of the blocks is a group's, or the journal's.
    pub fn overlaps(&self, run: BlockRun) -> bool {
        let after = self.runs.partition_point(|meta| meta.start < run.end());
        let before = after.checked_sub(1).and_then(|nr| self.runs.get(nr));
        before.is_some_and(|meta| meta.end > run.start().get())
    }
}
