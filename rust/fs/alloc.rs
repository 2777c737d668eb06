// SPDX-License-Identifier: GPL-2.0

//! The block allocator.
//!
//! Invariant: a block is set in its group's bitmap if and only if somebody has it, and the free
//! counts of group and file system are what the bitmaps say; all of it changes in one transaction,
//! under the group's lock. A run lies in one group.
//!
//! Where a run goes: the goal first, then the rest of its group, then the other groups in a round.
//! A file that goes on where somebody else has the block behind it moves to where it has room for some more,
//! so that files that grow at the same time do not take turns block by block.
//! Runs of 2 MiB and more, and of 256 KiB and more that begin another 2 MiB of their file, go where they
//! can be mapped by huge pages: where the block on the device has the same place within 2 MiB as the block
//! in the file, with room for all 2 MiB. The next run of the file has its goal right behind. What is as
//! long as a stripe of the array that `mke2fs` was told of begins with one, if the file does there.

use super::{
    error::{
        corrupt,
        At, //
    },
    group::{
        Bitmap,
        Group,
        Which, //
    },
    mount::SuperData,
    trim,
    INode,
    SuperBlock,
    Transaction, //
};
use crate::{
    ondisk::{
        bitmap::{
            self,
            Align, //
        },
        feature::RoCompat,
        BlockNr,
        BlockRun, //
    },
    prelude::*,
    vfs::{
        self,
        Credits, //
    }, //
};
use core::{
    num::NonZero,
    ops::Range, //
};
use kernel::{
    sizes::SZ_2M,
    sync::atomic::Relaxed, //
};

/// Blocks that [`alloc_blocks`] changes: a bitmap and a block of group descriptors.
pub const ALLOC_CREDITS: Credits = Credits(2);

/// Where a run should begin if it can.
#[derive(Clone, Copy)]
pub enum Goal {
    /// Near the inode.
    Inode,
    /// At this block, or near it.
    At(BlockNr),
    /// At this block, which is behind the one that the file has before the run.
    Behind(BlockNr),
}

/// What is wanted of [`alloc_blocks`].
#[derive(Clone, Copy)]
pub struct Request {
    /// Where the run should begin.
    pub goal: Goal,
    /// The block of the file that the run begins with; what it is to be aligned by.
    pub lblk: u32,
    /// The blocks wanted, at least 1. Fewer may be had.
    pub len: u32,
    /// Whether the blocks are nodes of an extent tree, for which some are kept.
    pub tree: bool,
}

impl Request {
    /// Whether the file is likely to fill the `huge` blocks of which it gets `len` now: these are as many,
    /// or a good part of them from the first on. Not so a few blocks here and there in a sparse file, which
    /// would leave no 2 MiB free.
    fn fills(&self, len: u32, huge: NonZero<u32>) -> bool {
        let part = huge.get() / 8;
        len >= huge.get() || (!self.tree && self.lblk % huge == 0 && len >= part)
    }
}

/// Allocates a run of 1 to `request.len` blocks for `inode`, and counts them in `i_blocks`.
///
/// Takes a group lock. [`ENOSPC`] if there is nothing left for the caller, [`EDQUOT`] if the quotas of
/// the owners allow nothing, [`EUCLEAN`] if a group's
/// bitmap or descriptor is not right.
pub fn alloc_blocks(tx: &Transaction<'_>, inode: &INode, request: Request) -> Result<BlockRun> {
    let sb = tx.sb();
    let len = available(sb, request.len, request.tree);
    if len == 0 {
        return Err(ENOSPC);
    }
    let len = len.min(countable(sb, inode));
    if len == 0 {
        return Err(EFBIG);
    }
    let len = charge(tx, inode, len, request.tree)?;
    let found = find(tx, inode, request, len);
    // What was not found, or as much of it.
    let lacking = len - found.as_ref().map_or(0, |run| run.len());
    if lacking > 0 {
        inode.uncharge(tx, sectors(sb, lacking));
    }
    found
}

/// Charges the owners of `inode` for up to `len` blocks, as many as their quotas allow; for a node of a
/// `tree` they do. [`EDQUOT`] if it is not one.
fn charge(tx: &Transaction<'_>, inode: &INode, mut len: u32, tree: bool) -> Result<u32> {
    let sb = tx.sb();
    if tree {
        return inode
            .charge_beyond_limits(tx, sectors(sb, len))
            .map(|()| len);
    }
    loop {
        match inode.charge(tx, sectors(sb, len)) {
            Err(EDQUOT) if len > 1 => len /= 2,
            done => return done.map(|()| len),
        }
    }
}

/// How many more blocks `i_blocks` can count: it has 32 bits without `huge_file`.
fn countable(sb: &SuperBlock, inode: &INode) -> u32 {
    let ro_compat = sb.data().get_ref().geometry().ro_compat();
    if ro_compat.contains(RoCompat::HUGE_FILE) {
        return u32::MAX;
    }
    let left = u64::from(u32::MAX).saturating_sub(inode.sectors());
    (left >> (sb.block_bits() - 9)) as u32
}

/// So many blocks, in units of 512 bytes.
fn sectors(sb: &SuperBlock, blocks: u32) -> u64 {
    u64::from(blocks) << (sb.block_bits() - 9)
}

/// Finds and takes up to `len` blocks.
fn find(tx: &Transaction<'_>, inode: &INode, request: Request, len: u32) -> Result<BlockRun> {
    let sb = tx.sb();
    let data = sb.data().get_ref();
    let geometry = data.geometry();
    let goal = match request.goal {
        Goal::At(goal) | Goal::Behind(goal) => geometry.group_of(goal),
        Goal::Inode => (group_of_inode(data, inode), 0),
    };
    let search = Search {
        tx,
        data,
        goal,
        grows: matches!(request.goal, Goal::Behind(_)),
        len,
    };
    let huge = NonZero::new((SZ_2M >> sb.block_bits()) as u32);
    if let Some(huge) = huge.filter(|huge| request.fills(len, *huge)) {
        // Whatever the image says of its stride, only the device counts.
        let device = data
            .dax
            .as_ref()
            .map_or(0, |dax| dax.start() >> sb.block_bits());
        let unit = Unit {
            blocks: huge,
            origin: device,
            least: huge.get(),
            groups: usize::MAX,
        };
        if let Some(run) = search.aligned(unit, request.lblk)? {
            return Ok(run);
        }
    }
    for stripe in geometry.stripes() {
        let begins = request.lblk % stripe == 0 && !search.grows;
        if request.tree || !begins || len < stripe.get() {
            continue;
        }
        let unit = Unit {
            blocks: stripe,
            origin: 0,
            least: len,
            groups: 4,
        };
        if let Some(run) = search.aligned(unit, request.lblk)? {
            return Ok(run);
        }
    }
    search.anywhere()?.ok_or(ENOSPC)
}

/// How many of `len` blocks the current task may have: of those that are free, all for a `tree`, else
/// not those that are kept for trees, and, unless it is privileged, not those that are reserved.
fn available(sb: &SuperBlock, len: u32, tree: bool) -> u32 {
    let data = sb.data();
    let free = data.groups.free_blocks();
    let beyond = |kept: u64| free.saturating_sub(kept).min(len.into()) as u32;
    if tree {
        return beyond(0);
    }
    let kept = data.tree_reserve();
    let for_all = beyond(kept.saturating_add(data.reserved_blocks()));
    let (uid, gid) = data.reserved_for();
    // To ask is noted in the audit log, so it is only done where it matters.
    if for_all < len && vfs::may_use_reserved(uid, gid) {
        return beyond(kept);
    }
    for_all
}

/// The group that the inode is in.
fn group_of_inode(data: &SuperData, inode: &INode) -> u32 {
    let ino = u32::try_from(inode.ino()).unwrap_or(1);
    data.geometry().inode(ino).map_or(0, |place| place.group)
}

/// What a run is to be aligned to.
#[derive(Clone, Copy)]
struct Unit {
    /// The blocks of a unit.
    blocks: NonZero<u32>,
    /// What block 0 is in its unit.
    origin: u64,
    /// A shorter run is none.
    least: u32,
    /// How many groups are searched.
    groups: usize,
}

/// A search for free blocks.
struct Search<'t> {
    tx: &'t Transaction<'t>,
    data: &'t SuperData,
    /// Where to begin: a group, and a block of it.
    goal: (u32, u32),
    /// Whether the goal is behind a block of the file.
    grows: bool,
    /// The blocks wanted.
    len: u32,
}

impl<'t> Search<'t> {
    /// The groups with a run of at least `len` blocks, as far as one knows without looking.
    fn groups(&self, len: u32) -> impl Iterator<Item = &'t Group> {
        let groups = self.data.groups.round(self.goal.0);
        groups.filter(move |group| group.free_blocks() >= len && group.longest() >= len)
    }

    /// The block of `group` to begin with.
    fn goal_in(&self, group: &Group) -> u32 {
        if group.nr() == self.goal.0 {
            self.goal.1
        } else {
            0
        }
    }

    /// A run that is aligned as `lblk` is, where whole units are free: of such units, or of what was wanted.
    fn aligned(&self, unit: Unit, lblk: u32) -> Result<Option<BlockRun>> {
        for group in self.groups(unit.least).take(unit.groups) {
            let first = self.data.geometry().group_blocks(group.nr());
            let first = first.map_or(0, |run| run.start().get());
            let place = first.wrapping_add(unit.origin) % NonZero::<u64>::from(unit.blocks);
            let align = Align {
                unit: unit.blocks,
                phase: place as u32 + unit.blocks.get() - lblk % unit.blocks,
            };
            let goal = self.goal_in(group);
            let found = self.take(group, |bits, all| {
                let run = bitmap::find_aligned(bits, all, goal, self.len.max(unit.least), align)?;
                let end = run.end.min(run.start.saturating_add(self.len));
                (run.end - run.start >= unit.least).then_some(run.start..end)
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// A run of all that was wanted if there is one near, else of what there is.
    fn anywhere(&self) -> Result<Option<BlockRun>> {
        // The goal's own group may give less, so that a file stays together.
        let enough = |group: &Group| match group.nr() == self.goal.0 {
            true => self.len.min(NEAR),
            false => self.len,
        };
        for least in [None, Some(1)] {
            for group in self.groups(least.unwrap_or(1)) {
                let least = least.unwrap_or_else(|| enough(group));
                if group.longest() < least {
                    continue;
                }
                let goal = self.goal_in(group);
                let found = self.take(group, |bits, all| {
                    let run = self
                        .room(group, bits, all.clone())
                        .or_else(|| bitmap::find(bits, all, goal, self.len));
                    let longest = run.as_ref().map_or(0, |run| run.end - run.start);
                    if longest < self.len {
                        // The goal may have cut a run in two.
                        group.set_longest(longest.saturating_mul(2));
                    }
                    run.filter(|_| longest >= least)
                })?;
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        Ok(None)
    }

    /// For a file that grows where the block behind it is taken: the next place in its group where it has
    /// room to grow on.
    fn room(&self, group: &Group, bits: &[u8], all: Range<u32>) -> Option<Range<u32>> {
        // Of a run in which no unit is whole.
        let longest = 2 * (ROOM - 1);
        let (nr, goal) = self.goal;
        if !self.grows
            || self.len >= ROOM
            || group.nr() != nr
            || group.longest() <= longest
            || !bitmap::test(bits, goal)
        {
            return None;
        }
        let align = Align {
            unit: NonZero::new(ROOM)?,
            phase: 0,
        };
        let Some(run) = bitmap::find_aligned(bits, all, goal, ROOM, align) else {
            group.set_longest(longest);
            return None;
        };
        Some(run.start..run.start.saturating_add(self.len))
    }

    /// Takes the blocks of `group` that `find` chooses of its bitmap.
    fn take(
        &self,
        group: &'t Group,
        find: impl Fn(&[u8], Range<u32>) -> Option<Range<u32>>,
    ) -> Result<Option<BlockRun>> {
        let mut bitmap = Bitmap::open(self.tx, group, Which::Blocks)?;
        let blocks = self
            .data
            .geometry()
            .group_blocks(group.nr())
            .map_err(|error| bitmap.error("group", error))?;
        let mut found = find(&bitmap.bits, 0..blocks.len());
        if found.as_ref().is_some_and(|run| bitmap.is_uncommitted(run)) {
            found = find(&bitmap.with_uncommitted()?, 0..blocks.len());
            // What was not found may be there after the commit.
            group.forget_longest();
        }
        let Some(found) = found else {
            return Ok(None);
        };
        let len = found.end.saturating_sub(found.start);
        let run = blocks.part(found.start, len).ok_or(EIO)?;
        if self.data.groups.has_metadata(run) {
            let at = At::block(run.start().get());
            let args = fmt!("metadata is marked free");
            return Err(corrupt(self.tx.sb(), "block bitmap", at, args));
        }
        bitmap::set(&mut bitmap.bits, found.clone())
            .map_err(|error| bitmap.error("block bitmap", error))?;
        bitmap.desc.free_blocks = bitmap.desc.free_blocks.saturating_sub(len);
        bitmap.commit(found)?;
        Ok(Some(run))
    }
}

/// Blocks that a file finds free where it goes on, if it cannot right behind its last one.
const ROOM: u32 = 16;

/// A run of so many blocks in the goal's own group is better than a longer one elsewhere.
const NEAR: u32 = 64;

/// As much as is freed in one transaction: the blocks of so many groups.
const GROUPS_FREED: u32 = 16;

/// The most blocks that one transaction is to free.
pub fn max_freed(sb: &SuperBlock) -> u32 {
    let per_group = sb.data().geometry().blocks_per_group();
    per_group.saturating_mul(GROUPS_FREED)
}

/// The blocks that [`free_blocks`] changes for so many `runs` of [`max_freed`] blocks in all.
pub fn free_credits(sb: &SuperBlock, runs: u32) -> Credits {
    // Each run may begin and end within a group.
    let groups = GROUPS_FREED.saturating_add(runs.saturating_mul(2));
    ALLOC_CREDITS * groups.min(sb.data().geometry().groups())
}

/// How often somebody else may take what became free before one gives up. All who wait for a commit wake up
/// at the same time, and one of two is too late each second time.
const MAX_RETRIES: u32 = 64;

/// Runs an operation that allocates, and again if it found no space while blocks waited for the commit of
/// the transaction that freed them. No transaction may run on this task.
pub fn retry<R>(sb: &SuperBlock, mut operation: impl FnMut() -> Result<R>) -> Result<R> {
    let data = sb.data();
    let Some(journal) = &data.journal else {
        return operation();
    };
    // The transaction up to which all was committed before the operation began, so that there is no more
    // to be found than it found.
    let mut committed = None;
    for _ in 0..MAX_RETRIES {
        let done = operation();
        if !matches!(&done, Err(error) if *error == ENOSPC) {
            return done;
        }
        let tid = data.freed.load(Relaxed);
        if committed == Some(tid) {
            return done;
        }
        journal.commit(tid)?;
        committed = Some(tid);
    }
    operation()
}

/// Frees a run of blocks of `inode`, and takes them from `i_blocks`. The run may span groups.
///
/// Metadata blocks are to be forgotten ([`Transaction::forget`]) first. [`EUCLEAN`] if one of the
/// blocks is free already, or is not for an inode to have.
pub fn free_blocks(tx: &Transaction<'_>, inode: &INode, run: BlockRun) -> Result {
    let sb = tx.sb();
    let data = sb.data().get_ref();
    let geometry = data.geometry();
    if data.groups.has_metadata(run) {
        let at = At::inode(inode.ino(), run.start().get());
        return Err(corrupt(
            sb,
            "freeing blocks",
            at,
            fmt!("metadata of a group, or the journal"),
        ));
    }
    let mut done = 0;
    while let Some(rest) = run.part(done, u32::MAX) {
        let (nr, first) = geometry.group_of(rest.start());
        let len = rest
            .len()
            .min(geometry.blocks_per_group().saturating_sub(first));
        let range = first..first.saturating_add(len);
        let at = At::inode(inode.ino(), rest.start().get());
        let Some(group) = data.groups.get(nr).filter(|_| len > 0) else {
            return Err(corrupt(sb, "freeing blocks", at, fmt!("no such group")));
        };
        if range.start < geometry.base_meta_blocks(nr) {
            return Err(corrupt(
                sb,
                "freeing blocks",
                at,
                fmt!("metadata of the group"),
            ));
        }
        let mut bitmap = Bitmap::open(tx, group, Which::Blocks)?;
        bitmap::clear(&mut bitmap.bits, range.clone()).map_err(|error| {
            corrupt(
                sb,
                "freeing blocks",
                at,
                fmt!("{}", format_args!("{error}")),
            )
        })?;
        bitmap.desc.free_blocks = bitmap.desc.free_blocks.saturating_add(len);
        bitmap.commit(range)?;
        let freed = sectors(sb, len);
        if freed > inode.sectors() {
            // Reported only: the block is free already.
            corrupt(sb, "freeing blocks", at, fmt!("i_blocks counts fewer"));
        }
        inode.uncharge(tx, freed.min(inode.sectors()));
        done += len;
    }
    data.freed.store(tx.tid(), Relaxed);
    trim::note(tx, run);
    Ok(())
}
