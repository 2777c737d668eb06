// SPDX-License-Identifier: GPL-2.0

//! The shape of a file system: what the superblock says and does not change while it is mounted.
//!
//! [`Geometry::parse`] checks all of it once, against itself and the size of the device. What comes
//! after asks the geometry where things are and gets places that exist.
//!
//! The device is divided in groups of [`blocks_per_group`](Geometry::blocks_per_group) blocks, the
//! last may be shorter. A group owns two bitmaps and a part of the inode table, which may lie anywhere
//! (its descriptor knows, see [`GroupDesc`](super::GroupDesc)); what lies at a fixed place is at its
//! very beginning, and [`Geometry::base_meta_blocks`] counts that: a backup of the superblock, of the
//! group descriptors, and blocks reserved for more of them.

use core::num::NonZero;

use super::block::{
    BlockNr,
    BlockRun,
    Blocks, //
};
use super::checksum::{
    crc16,
    Csum, //
};
use super::error::{
    Error,
    Result, //
};
use super::feature::{
    Compat,
    Incompat,
    RoCompat, //
};
use super::superblock::{
    SuperBlock,
    SIZE, //
};

/// `s_creator_os`: the Hurd uses some fields of inodes for other things.
const OS_HURD: u32 = 1;

/// Bytes of an inode before ext4: the least there can be.
pub(super) const GOOD_OLD_INODE_SIZE: u16 = 128;

/// Bytes beyond those that have fields today.
const EXTRA_ISIZE: u16 = 32;

/// The least `s_first_ino`; the inodes below are reserved.
const GOOD_OLD_FIRST_INO: u32 = 11;

/// Bytes of a group descriptor without and with `64bit`.
const DESC_SIZE: u16 = 32;
pub(super) const DESC_SIZE_64BIT: u16 = 64;

/// `s_flags`: the hash of a name takes its bytes as unsigned.
const FLAGS_UNSIGNED_HASH: u32 = 2;

/// What the superblock says of a file system's shape.
///
/// # Invariants
///
/// - The block size is a power of two from 1 KiB to 64 KiB, `block_bits` its logarithm.
/// - `blocks` is not empty, and is no larger than the device.
/// - `blocks_per_group` is at least the fixed metadata of a group, at most a bitmap block's bits, and a
///   multiple of 8; `inodes_per_group` is at most a bitmap block's bits and a multiple of 8.
/// - `groups` is not 0, and covers `blocks`; `groups * inodes_per_group` fits `u32`.
/// - `inode_size` is a power of two, at least 128 and at most the block size; `desc_size` is 32 or 64.
#[derive(Clone, Debug)]
pub struct Geometry {
    compat: Compat,
    incompat: Incompat,
    ro_compat: RoCompat,
    block_bits: u8,
    blocks: Blocks,
    blocks_per_group: NonZero<u32>,
    inodes_per_group: NonZero<u32>,
    groups: u32,
    inode_size: u16,
    desc_size: u16,
    descs_per_block: NonZero<u32>,
    first_ino: u32,
    want_extra_isize: u16,
    groups_per_flex: u32,
    stripes: [u32; 2],
    first_meta_bg: u32,
    reserved_gdt_blocks: u16,
    backup_bgs: [u32; 2],
    journal_ino: Option<u32>,
    journal_blocks: u64,
    orphan_file_ino: Option<u32>,
    quota_inos: [Option<u32>; 3],
    hash_seed: [u32; 4],
    def_hash_version: u8,
    hash_unsigned: bool,
    uuid: [u8; 16],
    csum: Option<Csum>,
}

/// Where an inode is, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InodePlace {
    /// The group whose bitmap and table it is in.
    pub group: u32,
    /// The bit of the inode bitmap.
    pub bit: u32,
    /// The block of the group's inode table, counted from the table's first.
    pub block: u32,
    /// Where in that block it begins, in bytes.
    pub offset: usize,
}

impl Geometry {
    /// Reads the superblock `sb` of a device of `device_bytes` bytes.
    ///
    /// `crc32c` is the function that [`Csum::update`] describes.
    ///
    /// # Errors
    ///
    /// What [`Error`] says of superblocks. Features that only forbid to write are not among them: see
    /// [`Geometry::check_writable`].
    pub fn parse(
        sb: &[u8; SIZE],
        crc32c: fn(u32, &[u8]) -> u32,
        device_bytes: u64,
    ) -> Result<Self> {
        let sb = SuperBlock::from_bytes(sb);
        let csum = Csum::new(crc32c);
        sb.verify(csum)?;
        check_features(sb)?;

        let block_bits = block_bits(sb)?;
        let blocks = blocks(sb, block_bits, device_bytes)?;
        let (incompat, ro_compat) = (sb.incompat(), sb.ro_compat());
        let (groups, blocks_per_group, inodes_per_group) = groups(sb, block_bits, blocks)?;
        let (inode_size, want_extra_isize) = inode_size(sb, block_bits)?;
        let (desc_size, descs_per_block) = desc_size(sb, block_bits)?;

        let log_groups_per_flex = if incompat.contains(Incompat::FLEX_BG) {
            u32::from(sb.log_groups_per_flex)
        } else {
            0
        };
        let groups_per_flex = 1u32
            .checked_shl(log_groups_per_flex)
            .ok_or(Error::Corrupt("flex group size"))?;

        let ino = |ino: u32| Some(ino).filter(|ino| *ino != 0);
        let csum = ro_compat.contains(RoCompat::METADATA_CSUM).then(|| {
            if incompat.contains(Incompat::CSUM_SEED) {
                Csum {
                    seed: sb.checksum_seed.get(),
                    ..csum
                }
            } else {
                csum.with(&sb.uuid)
            }
        });

        // INVARIANT: The functions above checked what they answered; the last step checks the fixed
        // metadata of groups.
        Self {
            compat: sb.compat(),
            incompat,
            ro_compat,
            block_bits,
            blocks,
            blocks_per_group,
            inodes_per_group,
            groups,
            inode_size,
            desc_size,
            descs_per_block,
            first_ino: match sb.has_features() {
                true => sb.first_ino.get(),
                false => GOOD_OLD_FIRST_INO,
            },
            want_extra_isize,
            groups_per_flex,
            stripes: [sb.raid_stripe_width.get(), sb.raid_stride.get().into()],
            first_meta_bg: sb.first_meta_bg.get(),
            reserved_gdt_blocks: sb.reserved_gdt_blocks.get(),
            backup_bgs: sb.backup_bgs.map(|group| group.get()),
            journal_ino: ino(sb.journal_inum.get())
                .filter(|_| sb.compat().contains(Compat::HAS_JOURNAL)),
            journal_blocks: sb.journal_bytes() >> block_bits,
            orphan_file_ino: ino(sb.orphan_file_inum.get())
                .filter(|_| sb.compat().contains(Compat::ORPHAN_FILE)),
            quota_inos: [sb.usr_quota_inum, sb.grp_quota_inum, sb.prj_quota_inum]
                .map(|nr| ino(nr.get()).filter(|_| ro_compat.contains(RoCompat::QUOTA))),
            hash_seed: sb.hash_seed.map(|word| word.get()),
            def_hash_version: sb.def_hash_version,
            hash_unsigned: sb.flags.get() & FLAGS_UNSIGNED_HASH != 0,
            uuid: sb.uuid,
            csum,
        }
        .check_layout()
    }

    /// That what lies at fixed places finds room there, and the inodes named exist.
    fn check_layout(self) -> Result<Self> {
        let corrupt = |what| Err(Error::Corrupt(what));
        if self.first_ino < GOOD_OLD_FIRST_INO || self.first_ino > self.inodes() {
            return corrupt("first inode number");
        }
        if self.hidden_inos().any(|ino| ino > self.inodes()) {
            return corrupt("number of a reserved inode");
        }
        if u32::from(self.reserved_gdt_blocks) > self.block_size() / 4 {
            return corrupt("reserved blocks of group descriptors");
        }
        if self.has_meta_bg() && self.first_meta_bg > self.desc_blocks() {
            return corrupt("first meta block group");
        }
        // Of all groups the first has most at its beginning, and the last has least room.
        if [0, self.groups - 1]
            .iter()
            .any(|group| self.base_meta_blocks(*group) >= self.group_span(*group).1)
        {
            return corrupt("group smaller than its fixed metadata");
        }
        Ok(self)
    }

    /// Whether rdaxfs may write to this file system; if not, the error names the features.
    pub fn check_writable(&self) -> Result {
        let unknown = self.ro_compat.without(RoCompat::SUPPORTED);
        if unknown.is_empty() {
            Ok(())
        } else {
            Err(Error::RoCompat(unknown))
        }
    }

    /// `s_feature_compat`.
    pub fn compat(&self) -> Compat {
        self.compat
    }

    /// `s_feature_incompat`.
    pub fn incompat(&self) -> Incompat {
        self.incompat
    }

    /// `s_feature_ro_compat`.
    pub fn ro_compat(&self) -> RoCompat {
        self.ro_compat
    }

    /// Whether there may be files of 2 GiB and more; where not, that is to be said before there are.
    pub fn has_large_files(&self) -> bool {
        self.ro_compat.contains(RoCompat::LARGE_FILE)
    }

    /// Whether groups have checksums of one kind or the other, and so may be uninitialised.
    pub fn has_group_csum(&self) -> bool {
        self.csum.is_some() || self.ro_compat.contains(RoCompat::GDT_CSUM)
    }

    /// The checksum that begins all those of metadata; nothing if the file system has none.
    pub fn csum(&self) -> Option<Csum> {
        self.csum
    }

    /// The crc16 of the UUID, which begins the checksums of group descriptors without `metadata_csum`.
    pub(super) fn uuid_crc16(&self) -> u16 {
        crc16(!0, &self.uuid)
    }

    /// The UUID.
    pub fn uuid(&self) -> &[u8; 16] {
        &self.uuid
    }

    /// Bytes of a block.
    pub fn block_size(&self) -> u32 {
        1 << self.block_bits
    }

    /// Base-2 logarithm of the block size.
    pub fn block_bits(&self) -> u8 {
        self.block_bits
    }

    /// The blocks there are.
    pub fn blocks(&self) -> Blocks {
        self.blocks
    }

    /// The block `nr`, if there is one. See [`Blocks::block`].
    pub fn block(&self, nr: u64) -> Result<BlockNr> {
        self.blocks.block(nr)
    }

    /// The `len` blocks from `start`, if they are there. See [`Blocks::run`].
    pub fn run(&self, start: u64, len: u32) -> Result<BlockRun> {
        self.blocks.run(start, len)
    }

    /// Blocks of a group, but maybe the last. Never more than a block has bits.
    pub fn blocks_per_group(&self) -> u32 {
        self.blocks_per_group.get()
    }

    /// The number of groups.
    pub fn groups(&self) -> u32 {
        self.groups
    }

    /// Inodes of a group. Never more than a block has bits.
    pub fn inodes_per_group(&self) -> u32 {
        self.inodes_per_group.get()
    }

    /// The number of inodes, which is the highest inode number.
    pub fn inodes(&self) -> u32 {
        self.groups * self.inodes_per_group()
    }

    /// The first inode number that is not reserved.
    pub fn first_ino(&self) -> u32 {
        self.first_ino
    }

    /// Bytes of an inode in the table.
    pub fn inode_size(&self) -> u16 {
        self.inode_size
    }

    /// `i_extra_isize` of new inodes: bytes beyond the first 128 that have fields in them.
    pub fn want_extra_isize(&self) -> u16 {
        self.want_extra_isize
    }

    /// Blocks of a group's inode table.
    pub fn inode_table_blocks(&self) -> u32 {
        let bytes = u64::from(self.inodes_per_group()) * u64::from(self.inode_size);
        // At most as many as there are bits in a block: one inode a block.
        bytes.div_ceil(u64::from(self.block_size())) as u32
    }

    /// Bytes of a group descriptor.
    pub fn desc_size(&self) -> u16 {
        self.desc_size
    }

    /// Blocks of a full stripe of the array below, and those on one of its disks, as far as the super block
    /// has them (`mke2fs -E stripe_width=,stride=`).
    pub fn stripes(&self) -> impl Iterator<Item = NonZero<u32>> + '_ {
        let useful = |blocks: &u32| *blocks > 1 && *blocks <= self.blocks_per_group();
        self.stripes
            .into_iter()
            .filter(useful)
            .filter_map(NonZero::new)
    }

    /// How many consecutive groups keep their bitmaps and inode tables together; 1 without `flex_bg`.
    pub fn groups_per_flex(&self) -> u32 {
        self.groups_per_flex
    }

    /// The inode of the journal, if the journal is on this device.
    pub fn journal_ino(&self) -> Option<u32> {
        self.journal_ino
    }

    /// The inode of the orphan file, if there is one.
    pub fn orphan_file_ino(&self) -> Option<u32> {
        self.orphan_file_ino
    }

    /// The inodes of the quotas of users, groups and projects, as far as there are such.
    pub fn quota_inos(&self) -> [Option<u32>; 3] {
        self.quota_inos
    }

    /// The inodes that the file system keeps for itself, besides those below [`first_ino`].
    ///
    /// [`first_ino`]: Self::first_ino
    pub fn hidden_inos(&self) -> impl Iterator<Item = u32> {
        [self.journal_ino, self.orphan_file_ino]
            .into_iter()
            .chain(self.quota_inos)
            .flatten()
    }

    /// The seed of the hash of names, `s_hash_seed`.
    pub fn hash_seed(&self) -> [u32; 4] {
        self.hash_seed
    }

    /// The hash of new directory indexes, `s_def_hash_version`. Not checked.
    pub fn def_hash_version(&self) -> u8 {
        self.def_hash_version
    }

    /// Whether hashes take the bytes of names as unsigned.
    pub fn hash_unsigned(&self) -> bool {
        self.hash_unsigned
    }

    /// Where inode `ino` is.
    pub fn inode(&self, ino: u32) -> Result<InodePlace> {
        let index = match ino.checked_sub(1) {
            Some(index) if ino <= self.inodes() => index,
            _ => return Err(Error::Corrupt("inode number out of range")),
        };
        let bit = index % self.inodes_per_group;
        let byte = u64::from(bit) * u64::from(self.inode_size);
        Ok(InodePlace {
            group: index / self.inodes_per_group,
            bit,
            block: (byte >> self.block_bits) as u32,
            offset: (byte % u64::from(self.block_size())) as usize,
        })
    }

    /// The number of the inode that has bit `bit` in the inode bitmap of `group`.
    pub fn ino(&self, group: u32, bit: u32) -> Result<u32> {
        if group < self.groups && bit < self.inodes_per_group() {
            Ok(group * self.inodes_per_group() + bit + 1)
        } else {
            Err(Error::Corrupt("inode number out of range"))
        }
    }

    /// The group that `block` is in, and its bit in the block bitmap.
    pub fn group_of(&self, block: BlockNr) -> (u32, u32) {
        let nr = block.get() - self.blocks.first();
        let per_group = NonZero::<u64>::from(self.blocks_per_group);
        // `groups` covers all blocks, so the quotient fits as it does.
        ((nr / per_group) as u32, (nr % per_group) as u32)
    }

    /// The blocks of `group`.
    pub fn group_blocks(&self, group: u32) -> Result<BlockRun> {
        if group >= self.groups {
            return Err(Error::Corrupt("group out of range"));
        }
        let (start, len) = self.group_span(group);
        self.run(start, len)
    }

    /// First block and length of a group that is there.
    fn group_span(&self, group: u32) -> (u64, u32) {
        let per_group = u64::from(self.blocks_per_group());
        let start = self.blocks.first() + u64::from(group) * per_group;
        let rest = self.blocks.end().saturating_sub(start);
        (start, rest.min(per_group) as u32)
    }

    /// Whether `group` begins with a superblock, the first or a backup.
    pub fn has_super(&self, group: u32) -> bool {
        let power_of = |base: u32| {
            let mut power = base;
            while power < group {
                power = power.saturating_mul(base);
            }
            power == group
        };
        if group == 0 {
            true
        } else if self.compat.contains(Compat::SPARSE_SUPER2) {
            self.backup_bgs.contains(&group)
        } else if group == 1 || !self.ro_compat.contains(RoCompat::SPARSE_SUPER) {
            true
        } else {
            group % 2 == 1 && (power_of(3) || power_of(5) || power_of(7))
        }
    }

    /// How many blocks at the beginning of `group` hold superblock and group descriptors, or are
    /// reserved for them.
    pub fn base_meta_blocks(&self, group: u32) -> u32 {
        let sb = u32::from(self.has_super(group));
        let descs = if self.in_meta_bg(group) {
            let per_block = self.descs_per_block;
            let nth = group % per_block;
            u32::from(nth == 0 || nth == 1 || nth == per_block.get() - 1)
        } else if sb == 0 {
            0
        } else if self.has_meta_bg() {
            self.first_meta_bg
        } else {
            self.desc_blocks() + u32::from(self.reserved_gdt_blocks)
        };
        sb + descs
    }

    /// Where the descriptor of `group` is: the block, and the byte within.
    pub fn desc_place(&self, group: u32) -> Result<(BlockNr, usize)> {
        if group >= self.groups {
            return Err(Error::Corrupt("group out of range"));
        }
        let per_block = self.descs_per_block;
        let block = if self.in_meta_bg(group) {
            let first = group - group % per_block;
            self.group_span(first).0 + u64::from(self.has_super(first))
        } else {
            self.blocks.first() + 1 + u64::from(group / per_block)
        };
        let offset = (group % per_block) as usize * usize::from(self.desc_size);
        Ok((self.block(block)?, offset))
    }

    /// Blocks that hold no data whatever happens, which `statfs` leaves out of the size as ext4 does:
    /// fixed metadata, bitmaps, inode tables and the journal.
    pub fn overhead_blocks(&self) -> u64 {
        let per_group = u64::from(self.inode_table_blocks()) + 2;
        let fixed = (0..self.groups).map(|group| u64::from(self.base_meta_blocks(group)));
        let all = self.blocks.first()
            + u64::from(self.groups) * per_group
            + fixed.sum::<u64>()
            + self.journal_blocks;
        all.min(self.blocks.end())
    }

    /// Group descriptors of a block.
    pub fn descs_per_block(&self) -> u32 {
        self.descs_per_block.get()
    }

    /// Blocks that all group descriptors take.
    fn desc_blocks(&self) -> u32 {
        self.groups.div_ceil(self.descs_per_block())
    }

    fn has_meta_bg(&self) -> bool {
        self.incompat.contains(Incompat::META_BG)
    }

    /// Whether the descriptor of `group` is in its meta block group, not at the file system's start.
    fn in_meta_bg(&self, group: u32) -> bool {
        self.has_meta_bg() && group / self.descs_per_block >= self.first_meta_bg
    }
}

/// That nothing here needs more than rdaxfs knows.
fn check_features(sb: &SuperBlock) -> Result {
    let has_features = [sb.feature_compat, sb.feature_incompat, sb.feature_ro_compat]
        .iter()
        .any(|set| set.get() != 0);
    if !sb.has_features() && has_features {
        return Err(Error::Corrupt("features of revision 0"));
    }
    if sb.creator_os.get() == OS_HURD {
        return Err(Error::Unsupported("file system of the Hurd"));
    }
    let unknown = sb
        .incompat()
        .without(Incompat::SUPPORTED)
        .without(Incompat::RECOVER);
    if !unknown.is_empty() {
        return Err(Error::Incompat(unknown));
    }
    // By the rules it could be read, but its bitmaps and counts are in other units.
    if sb.ro_compat().contains(RoCompat::BIGALLOC) {
        return Err(Error::Unsupported("bigalloc"));
    }
    Ok(())
}

fn block_bits(sb: &SuperBlock) -> Result<u8> {
    let log = sb.log_block_size.get();
    if log > 6 || sb.log_cluster_size.get() != log {
        return Err(Error::Corrupt("block size"));
    }
    Ok(10 + log as u8)
}

fn blocks(sb: &SuperBlock, block_bits: u8, device_bytes: u64) -> Result<Blocks> {
    let first = u64::from(sb.first_data_block.get());
    let count = sb.blocks_count();
    // Block 0 is the boot block, and too small for the superblock to be in it as well.
    if first != u64::from(block_bits == 10) {
        return Err(Error::Corrupt("first data block"));
    }
    if count <= first {
        return Err(Error::Corrupt("no blocks"));
    }
    let device = device_bytes >> block_bits;
    if count > device {
        return Err(Error::DeviceTooSmall {
            blocks: count,
            device,
        });
    }
    Blocks::new(first, count)
}

/// The number of groups, and a group's blocks and inodes.
fn groups(
    sb: &SuperBlock,
    block_bits: u8,
    blocks: Blocks,
) -> Result<(u32, NonZero<u32>, NonZero<u32>)> {
    let bits = 8u32 << block_bits;
    let sensible = |count: u32, what| {
        NonZero::new(count)
            .filter(|_| count <= bits && count % 8 == 0)
            .ok_or(Error::Corrupt(what))
    };
    let blocks_per_group = sensible(sb.blocks_per_group.get(), "blocks per group")?;
    if sb.clusters_per_group != sb.blocks_per_group {
        return Err(Error::Corrupt("clusters per group"));
    }
    let inodes_per_group = sensible(sb.inodes_per_group.get(), "inodes per group")?;

    let count = blocks.end() - blocks.first();
    let groups = count.div_ceil(u64::from(blocks_per_group.get()));
    let inodes = groups.checked_mul(u64::from(inodes_per_group.get()));
    if inodes != Some(u64::from(sb.inodes_count.get())) {
        return Err(Error::Corrupt("inode count"));
    }
    // Fits, as there are at least as many inodes as groups, and no more than 32 bits can tell.
    Ok((groups as u32, blocks_per_group, inodes_per_group))
}

/// Bytes of an inode, and of those beyond the first 128 the ones that are to have fields.
fn inode_size(sb: &SuperBlock, block_bits: u8) -> Result<(u16, u16)> {
    if !sb.has_features() {
        return Ok((GOOD_OLD_INODE_SIZE, 0));
    }
    let size = sb.inode_size.get();
    let block_size = 1u32 << block_bits;
    if !size.is_power_of_two() || size < GOOD_OLD_INODE_SIZE || u32::from(size) > block_size {
        return Err(Error::Corrupt("inode size"));
    }
    if size == GOOD_OLD_INODE_SIZE {
        return Ok((size, 0));
    }
    let wanted = sb.want_extra_isize.get().max(sb.min_extra_isize.get());
    let extra = wanted.max(EXTRA_ISIZE);
    if extra > size - GOOD_OLD_INODE_SIZE || extra % 4 != 0 {
        return Err(Error::Corrupt("extra inode size"));
    }
    Ok((size, extra))
}

/// Bytes of a group descriptor, and how many are in a block.
fn desc_size(sb: &SuperBlock, block_bits: u8) -> Result<(u16, NonZero<u32>)> {
    let size = if !sb.incompat().contains(Incompat::IS_64BIT) {
        DESC_SIZE
    } else if sb.desc_size.get() == DESC_SIZE_64BIT {
        DESC_SIZE_64BIT
    } else {
        // The format has room for larger ones; nobody makes them.
        return Err(Error::Unsupported("group descriptor size"));
    };
    let per_block = (1u32 << block_bits).checked_div(size.into());
    let per_block = per_block.and_then(NonZero::new);
    Ok((size, per_block.ok_or(Error::Corrupt("block size"))?))
}
