// SPDX-License-Identifier: GPL-2.0

//! Groups in memory: their descriptors, loaded at mount, and their bitmaps while they change.
//!
//! Invariants: a group's descriptor, its bitmaps, and what of them is on disk change together, under
//! the group's lock and within one transaction. The counts of the file system are the sums of those
//! in the descriptors.

use super::{
    error::{
        report,
        At, //
    },
    zone::{
        self,
        Zone, //
    },
    RdaxFs,
    SuperBlock,
    Transaction, //
};
use crate::{
    ondisk::{
        self,
        bitmap,
        group::{
            Change,
            GroupDesc, //
        },
        BlockNr,
        BlockRun,
        Geometry, //
    },
    prelude::*,
    vfs::{
        self,
        journal::Run,
        Buffer, //
    }, //
};
use core::ops::Range;
use kernel::{
    new_mutex,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Mutex,
        MutexGuard, //
    }, //
};

/// One group.
#[pin_data]
pub struct Group {
    nr: u32,
    /// The block of descriptors that has this one, and where in it.
    buffer: Buffer,
    offset: usize,
    #[pin]
    desc: Mutex<GroupDesc>,
    /// For those who look for a group without its lock.
    free_blocks: Atomic<u32>,
    free_inodes: Atomic<u32>,
    used_dirs: Atomic<u32>,
    /// No run of free blocks is longer. It is lowered by a search that found less than it wanted.
    longest: Atomic<u32>,
}

impl Group {
    fn new(nr: u32, buffer: Buffer, offset: usize, desc: GroupDesc) -> impl PinInit<Self> {
        pin_init!(Self {
            nr,
            buffer,
            offset,
            free_blocks: Atomic::new(desc.free_blocks),
            free_inodes: Atomic::new(desc.free_inodes),
            used_dirs: Atomic::new(desc.used_dirs),
            longest: Atomic::new(desc.free_blocks),
            desc <- new_mutex!(desc, "rdaxfs_group"),
        })
    }

    /// The group's number.
    pub fn nr(&self) -> u32 {
        self.nr
    }

    /// Free blocks, a moment ago.
    pub fn free_blocks(&self) -> u32 {
        self.free_blocks.load(Relaxed)
    }

    /// Free inodes, a moment ago.
    pub fn free_inodes(&self) -> u32 {
        self.free_inodes.load(Relaxed)
    }

    /// Directories, a moment ago.
    pub fn used_dirs(&self) -> u32 {
        self.used_dirs.load(Relaxed)
    }

    /// A length that no run of free blocks exceeds.
    pub fn longest(&self) -> u32 {
        self.longest.load(Relaxed)
    }

    /// Notes that no run of free blocks is longer than `len`. The group is locked.
    pub fn set_longest(&self, len: u32) {
        self.longest.store(len, Relaxed);
    }

    /// Notes that runs of free blocks may be longer than was found.
    pub fn forget_longest(&self) {
        self.longest.store(u32::MAX, Relaxed);
    }

    /// The bitmap of blocks, as it is now.
    pub fn block_bits(&self, sb: &SuperBlock) -> Result<KVec<u8>> {
        Ok(read_bitmap(sb, &self.desc.lock(), Which::Blocks)?.1)
    }

    /// The bitmap of inodes, as it is now.
    pub fn inode_bits(&self, sb: &SuperBlock) -> Result<KVec<u8>> {
        Ok(read_bitmap(sb, &self.desc.lock(), Which::Inodes)?.1)
    }

    /// The block of the group's inode table that is `nth` in it.
    pub fn inode_table_block(&self, nth: u32) -> Option<BlockNr> {
        self.desc.lock().inode_table().nth(nth)
    }
}

/// All groups, and the counts of the whole file system.
pub struct Groups {
    groups: KVVec<Pin<KBox<Group>>>,
    zone: Zone,
    free_blocks: Atomic<u64>,
    free_inodes: Atomic<u64>,
}

impl Groups {
    /// Reads all descriptors and checks them, and where the `journal` is. The error tells of which group.
    pub fn load(
        sb: &vfs::SuperBlock<RdaxFs, vfs::New>,
        geometry: &Geometry,
        journal: &[Run],
    ) -> Result<Self, LoadError> {
        let mut groups = KVVec::with_capacity(geometry.groups() as usize, GFP_KERNEL)?;
        let (mut free_blocks, mut free_inodes) = (0, 0);
        let mut zone = zone::Builder::default();
        let mut block: Option<Buffer> = None;
        for nr in 0..geometry.groups() {
            let bad = |error| LoadError::Corrupt(nr, error);
            let (place, offset) = geometry.desc_place(nr).map_err(bad)?;
            let buffer = match block.take() {
                Some(buffer) if buffer.nr() == place.get() => buffer,
                _ => {
                    sb.read_ahead(place.get() + 1);
                    sb.read_buffer(place.get())?
                }
            };
            block = Some(buffer.clone());
            let mut bytes = [0; GroupDesc::MAX_SIZE];
            let bytes = desc_bytes(geometry, &mut bytes);
            buffer.read_at(offset, bytes)?;
            let desc = GroupDesc::decode(geometry, nr, bytes).map_err(bad)?;
            free_blocks += u64::from(desc.free_blocks);
            free_inodes += u64::from(desc.free_inodes);
            zone.add(geometry, &desc)?;
            let group = KBox::pin_init(Group::new(nr, buffer, offset, desc), GFP_KERNEL)?;
            groups.push(group, GFP_KERNEL)?;
        }
        for run in journal {
            let run = geometry.run(run.start, run.len);
            zone.add_journal(run.map_err(|_| LoadError::Overlap)?)?;
        }
        Ok(Self {
            groups,
            zone: zone.finish()?.ok_or(LoadError::Overlap)?,
            free_blocks: Atomic::new(free_blocks),
            free_inodes: Atomic::new(free_inodes),
        })
    }

    /// The group `nr`, if there is one.
    pub fn get(&self, nr: u32) -> Option<&Group> {
        self.groups.get(nr as usize).map(|group| &**group)
    }

    /// Whether one of the blocks holds the metadata of a group, or the journal, and so cannot be a file's.
    pub fn has_metadata(&self, run: BlockRun) -> bool {
        self.zone.overlaps(run)
    }

    /// Such blocks among those of `wanted`, in their order.
    pub fn metadata(&self, wanted: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        self.zone.within(wanted)
    }

    /// All groups, beginning with `first`.
    pub fn round(&self, first: u32) -> impl Iterator<Item = &Group> {
        let first = (first as usize).min(self.groups.len());
        let (before, after) = self.groups.split_at(first);
        Iterator::chain(after.iter(), before).map(|group| &**group)
    }

    /// The counts of each flex group of `size` groups.
    pub fn flex_groups(&self, size: u32) -> impl Iterator<Item = FlexGroup> + '_ {
        self.groups.chunks(size.max(1) as usize).map(|groups| {
            let sum = |count: fn(&Group) -> u32| groups.iter().map(|g| u64::from(count(g))).sum();
            FlexGroup {
                first: groups.first().map_or(0, |group| group.nr),
                groups: groups.len() as u32,
                free_blocks: sum(Group::free_blocks),
                free_inodes: sum(Group::free_inodes),
                used_dirs: sum(Group::used_dirs),
            }
        })
    }

    /// Free blocks of the file system.
    pub fn free_blocks(&self) -> u64 {
        self.free_blocks.load(Relaxed)
    }

    /// Free inodes of the file system.
    pub fn free_inodes(&self) -> u64 {
        self.free_inodes.load(Relaxed)
    }
}

/// What is free in the groups of a flex group, a moment ago.
pub struct FlexGroup {
    /// Its first group.
    pub first: u32,
    /// How many groups it has.
    pub groups: u32,
    /// Free blocks.
    pub free_blocks: u64,
    /// Free inodes.
    pub free_inodes: u64,
    /// Directories.
    pub used_dirs: u64,
}

/// Why [`Groups::load`] failed.
pub enum LoadError {
    /// The descriptor of the group is not right.
    Corrupt(u32, ondisk::Error),
    /// The metadata of groups, or the journal, overlaps.
    Overlap,
    /// Something else.
    Other(Error),
}

impl<E: Into<Error>> From<E> for LoadError {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// The part of `bytes` that is as long as a descriptor.
fn desc_bytes<'a>(geometry: &Geometry, bytes: &'a mut [u8; GroupDesc::MAX_SIZE]) -> &'a mut [u8] {
    let len = usize::from(geometry.desc_size()).min(bytes.len());
    bytes.split_at_mut(len).0
}

/// Which bitmap of a group.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// That of blocks.
    Blocks,
    /// That of inodes.
    Inodes,
}

impl Which {
    fn place(self, desc: &GroupDesc) -> BlockNr {
        match self {
            Self::Blocks => desc.block_bitmap(),
            Self::Inodes => desc.inode_bitmap(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Blocks => "block bitmap",
            Self::Inodes => "inode bitmap",
        }
    }

    /// Whether the bitmap was never written, and is to be computed.
    fn is_uninit(self, desc: &GroupDesc) -> bool {
        match self {
            Self::Blocks => desc.is_block_uninit(),
            Self::Inodes => desc.is_inode_uninit(),
        }
    }

    /// Bytes of such a bitmap, in whole words. The rest of its block is of no use.
    fn bytes(self, geometry: &Geometry) -> usize {
        let bits = match self {
            Self::Blocks => geometry.blocks_per_group(),
            Self::Inodes => geometry.inodes_per_group(),
        };
        bits.div_ceil(64) as usize * 8
    }
}

/// A bitmap of the group, and the block that it was read from; none if it was never written, and computed.
/// [`EUCLEAN`] if it is not right. The group is locked.
fn read_bitmap(
    sb: &SuperBlock,
    desc: &GroupDesc,
    which: Which,
) -> Result<(Option<Buffer>, KVec<u8>)> {
    let geometry = sb.data().get_ref().geometry();
    let nr = which.place(desc).get();
    let wrong = |error| report(sb, which.name(), At::block(nr), error);
    if which.is_uninit(desc) {
        let mut bits = vfs::zeroes(sb.block_size());
        match which {
            Which::Blocks => desc.init_block_bitmap(geometry, &mut bits),
            Which::Inodes => desc.init_inode_bitmap(geometry, &mut bits),
        }
        .map_err(wrong)?;
        return Ok((None, bits));
    }
    let buffer = sb.read_buffer(nr)?;
    let bits = buffer.read_vec(0, which.bytes(geometry))?;
    if !buffer.verified() {
        match which {
            Which::Blocks => desc.verify_block_bitmap(geometry, &bits),
            Which::Inodes => desc.verify_inode_bitmap(geometry, &bits),
        }
        .map_err(wrong)?;
        buffer.set_verified();
    }
    Ok((Some(buffer), bits))
}

/// A locked group and one of its bitmaps, copied out to be changed.
///
/// Dropping it without [`commit`](Self::commit) discards the change.
pub struct Bitmap<'t> {
    tx: &'t Transaction<'t>,
    group: &'t Group,
    which: Which,
    /// The bitmap was computed, and all of it is to be written.
    computed: bool,
    guard: MutexGuard<'t, GroupDesc>,
    buffer: Buffer,
    /// The bits, a set one for what is in use.
    pub bits: KVec<u8>,
    /// The descriptor's counts, to be kept in step with the bits.
    pub desc: GroupDesc,
}

impl<'t> Bitmap<'t> {
    /// Locks the group, and reads the bitmap or, if it was never written, computes it. [`EUCLEAN`]
    /// if it is not right.
    pub fn open(tx: &'t Transaction<'t>, group: &'t Group, which: Which) -> Result<Self> {
        let sb = tx.sb();
        let guard = group.desc.lock();
        let desc = guard.clone();
        let (buffer, bits) = read_bitmap(sb, &desc, which)?;
        let computed = buffer.is_none();
        let buffer = match buffer {
            Some(buffer) => buffer,
            None => tx.create(which.place(&desc).get())?,
        };
        Ok(Self {
            tx,
            group,
            which,
            computed,
            guard,
            buffer,
            bits,
            desc,
        })
    }

    /// The group.
    pub fn group(&self) -> &'t Group {
        self.group
    }

    /// Reports that what was asked of the bitmap cannot be.
    pub fn error(&self, what: &'static str, error: ondisk::Error) -> Error {
        report(self.tx.sb(), what, At::block(self.buffer.nr()), error)
    }

    /// Whether one of these blocks is free only by a transaction that is not committed yet: after a
    /// crash it still belongs to what it was freed from, so nothing may be written to it.
    pub fn is_uncommitted(&self, range: &Range<u32>) -> bool {
        let in_use = |kept: &[u8]| bitmap::count_set(kept, range.clone()) > 0;
        self.buffer.committed(in_use).unwrap_or(false)
    }

    /// The bits, and those of all blocks that [`is_uncommitted`](Self::is_uncommitted) tells of.
    pub fn with_uncommitted(&self) -> Result<KVec<u8>> {
        let mut bits = vfs::wait_for_memory(|| KVec::with_capacity(self.bits.len(), GFP_KERNEL));
        bits.extend_from_slice(&self.bits, GFP_KERNEL)?;
        self.buffer.committed(|kept| bitmap::merge(&mut bits, kept));
        Ok(bits)
    }

    /// Makes the bits and the counts part of the transaction; only the bits of `range` changed.
    pub fn commit(mut self, range: Range<u32>) -> Result {
        let data = self.tx.sb().data().get_ref();
        let geometry = data.geometry();
        let changed = match self.computed {
            true => 0..self.bits.len(),
            false => (range.start / 8) as usize..range.end.div_ceil(8) as usize,
        };
        let start = changed.start;
        let before = self.buffer.read_vec(start, changed.len())?;
        let changed = self.bits.get(changed).ok_or(EIO)?;
        let change = Change {
            start,
            old: &before,
            new: changed,
        };
        match (self.which, self.computed) {
            (Which::Blocks, true) => self.desc.seal_block_bitmap(geometry, &self.bits),
            (Which::Inodes, true) => self.desc.seal_inode_bitmap(geometry, &self.bits),
            (Which::Blocks, false) => self.desc.reseal_block_bitmap(geometry, change),
            (Which::Inodes, false) => self.desc.reseal_inode_bitmap(geometry, change),
        }
        .map_err(|error| report(self.tx.sb(), "bitmap", At::block(self.buffer.nr()), error))?;

        let mut bytes = [0; GroupDesc::MAX_SIZE];
        let bytes = desc_bytes(geometry, &mut bytes);
        let Group { buffer, offset, .. } = self.group;
        buffer.read_at(*offset, bytes)?;
        self.desc
            .encode(geometry, bytes)
            .map_err(|error| self.error("group descriptor", error))?;

        // What fails from here on has aborted the journal.
        if self.which == Which::Blocks {
            self.tx.keep_committed(&self.buffer)?;
            // What is kept may be older than the transaction that is being committed now, and say of a
            // block which that one took, and this one frees, that it is free.
            self.buffer.keep_bits(start, &before);
        }
        self.tx.write_at(&self.buffer, start, changed, None)?;
        self.tx.write_at(buffer, *offset, bytes, None)?;
        self.publish(&data.groups);
        Ok(())
    }

    /// Makes the counts those that others see.
    fn publish(mut self, groups: &Groups) {
        let (old, new) = (&*self.guard, &self.desc);
        // Wrapping sums of differences are exact.
        let blocks = u64::from(new.free_blocks).wrapping_sub(old.free_blocks.into());
        let inodes = u64::from(new.free_inodes).wrapping_sub(old.free_inodes.into());
        groups.free_blocks.fetch_add(blocks, Relaxed);
        groups.free_inodes.fetch_add(inodes, Relaxed);
        self.group.free_blocks.store(new.free_blocks, Relaxed);
        self.group.free_inodes.store(new.free_inodes, Relaxed);
        self.group.used_dirs.store(new.used_dirs, Relaxed);
        if new.free_blocks > old.free_blocks {
            self.group.set_longest(new.free_blocks);
        }
        *self.guard = self.desc.clone();
    }
}

impl SuperBlock {
    /// The block of the inode table that has inode `ino`, and where in it the inode begins.
    pub fn inode_place(&self, ino: u64) -> Result<(BlockNr, usize)> {
        let data = self.data().get_ref();
        let out_of_range = || {
            super::error::corrupt(
                self,
                "inode",
                At::inode(ino, 0),
                format_args!("number out of range"),
            )
        };
        let nr = u32::try_from(ino).map_err(|_| out_of_range())?;
        let place = data.geometry().inode(nr).map_err(|_| out_of_range())?;
        let group = data.groups.get(place.group).ok_or_else(out_of_range)?;
        let block = group
            .inode_table_block(place.block)
            .ok_or_else(out_of_range)?;
        Ok((block, place.offset))
    }
}
