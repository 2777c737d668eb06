// SPDX-License-Identifier: GPL-2.0

//! Group descriptors: where a group's bitmaps and inode table are, and what is free in it.
//!
//! A descriptor also holds the checksums of the group's bitmaps, so a change of a bitmap is one of the
//! descriptor too: [`GroupDesc::seal_block_bitmap`] and its twin for inodes.
//!
//! mke2fs leaves what it can unwritten. The bitmap of a group that nothing was ever allocated in is
//! computed by whoever needs it first ([`GroupDesc::init_block_bitmap`] and its twin), and written
//! when it changes.
//!
//! See [`group_descr.rst`](srctree/Documentation/filesystems/ext4/group_descr.rst) and
//! [`bitmaps.rst`](srctree/Documentation/filesystems/ext4/bitmaps.rst).

use core::mem::offset_of;

use zerocopy::{
    little_endian::{
        U16,
        U32, //
    },
    FromZeros as _,
    IntoBytes as _, //
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

use super::bitmap;
use super::block::{
    BlockNr,
    BlockRun, //
};
use super::checksum::crc16;
use super::error::{
    Error,
    Result, //
};
use super::feature::Incompat;
use super::geometry::{
    Geometry,
    DESC_SIZE_64BIT, //
};

/// A descriptor as it is on disk. Without `64bit`, it ends after `checksum`.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
struct RawGroupDesc {
    block_bitmap_lo: U32,
    inode_bitmap_lo: U32,
    inode_table_lo: U32,
    free_blocks_count_lo: U16,
    free_inodes_count_lo: U16,
    used_dirs_count_lo: U16,
    flags: U16,
    exclude_bitmap_lo: U32,
    block_bitmap_csum_lo: U16,
    inode_bitmap_csum_lo: U16,
    itable_unused_lo: U16,
    checksum: U16,
    block_bitmap_hi: U32,
    inode_bitmap_hi: U32,
    inode_table_hi: U32,
    free_blocks_count_hi: U16,
    free_inodes_count_hi: U16,
    used_dirs_count_hi: U16,
    itable_unused_hi: U16,
    exclude_bitmap_hi: U32,
    block_bitmap_csum_hi: U16,
    inode_bitmap_csum_hi: U16,
    reserved: U32,
}

const _: () = assert!(size_of::<RawGroupDesc>() == GroupDesc::MAX_SIZE);
const _: () = assert!(offset_of!(RawGroupDesc, block_bitmap_hi) == 32);

/// `bg_flags`: the inode bitmap is not written; no inode of the group is in use.
const INODE_UNINIT: u16 = 1;
/// `bg_flags`: the block bitmap is not written; nothing but the group's metadata is in use.
const BLOCK_UNINIT: u16 = 2;
/// `bg_flags`: the part of the inode table that was never in use is all zeros.
const INODE_ZEROED: u16 = 4;

/// A group descriptor, decoded.
///
/// Where things are does not change; what changes is written by [`encode`](Self::encode).
///
/// # Invariants
///
/// Bitmaps and inode table do not overlap each other, nor, as far as their first and last blocks go,
/// the fixed metadata of groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDesc {
    group: u32,
    block_bitmap: BlockNr,
    inode_bitmap: BlockNr,
    inode_table: BlockRun,
    block_bitmap_csum: u32,
    inode_bitmap_csum: u32,
    flags: u16,
    /// Blocks of the group that are not in use.
    pub free_blocks: u32,
    /// Inodes of the group that are not in use.
    pub free_inodes: u32,
    /// Inodes of the group that are directories.
    pub used_dirs: u32,
    /// Inodes at the end of the group's table that were never in use; 0 where groups have no checksum.
    pub itable_unused: u32,
}

impl GroupDesc {
    /// The most bytes that a descriptor has; [`Geometry::desc_size`] tells how many.
    pub const MAX_SIZE: usize = DESC_SIZE_64BIT as usize;

    /// Reads the descriptor of `group` from the bytes at its [place](Geometry::desc_place).
    ///
    /// # Errors
    ///
    /// The checksum is wrong, a count exceeds the group, or something is said to be where it cannot be.
    pub fn decode(geometry: &Geometry, group: u32, bytes: &[u8]) -> Result<Self> {
        let raw = RawGroupDesc::read(geometry, bytes)?;
        if let Some(checksum) = checksum(geometry, group, bytes)? {
            if checksum != raw.checksum.get() {
                return Err(Error::Checksum("group descriptor"));
            }
        }
        let inode_table = wide(raw.inode_table_lo, raw.inode_table_hi);
        let mut desc = Self {
            group,
            block_bitmap: geometry.block(wide(raw.block_bitmap_lo, raw.block_bitmap_hi))?,
            inode_bitmap: geometry.block(wide(raw.inode_bitmap_lo, raw.inode_bitmap_hi))?,
            inode_table: geometry.run(inode_table, geometry.inode_table_blocks())?,
            block_bitmap_csum: count(raw.block_bitmap_csum_lo, raw.block_bitmap_csum_hi),
            inode_bitmap_csum: count(raw.inode_bitmap_csum_lo, raw.inode_bitmap_csum_hi),
            flags: raw.flags.get(),
            free_blocks: count(raw.free_blocks_count_lo, raw.free_blocks_count_hi),
            free_inodes: count(raw.free_inodes_count_lo, raw.free_inodes_count_hi),
            used_dirs: count(raw.used_dirs_count_lo, raw.used_dirs_count_hi),
            itable_unused: count(raw.itable_unused_lo, raw.itable_unused_hi),
        };
        if !geometry.has_group_csum() {
            desc.flags &= !(INODE_UNINIT | BLOCK_UNINIT);
            desc.itable_unused = 0;
        }
        desc.check(geometry)?;
        Ok(desc)
    }

    fn check(&self, geometry: &Geometry) -> Result {
        let blocks = geometry.group_blocks(self.group)?;
        let inodes = geometry.inodes_per_group();
        if self.free_blocks > blocks.len()
            || self.free_inodes > inodes
            || self.used_dirs > inodes - self.free_inodes
            || self.itable_unused > self.free_inodes
        {
            return Err(Error::Corrupt("count of a group descriptor"));
        }
        let flex = geometry.incompat().contains(Incompat::FLEX_BG);
        let fixed = |block: BlockNr| {
            let (group, bit) = geometry.group_of(block);
            bit < geometry.base_meta_blocks(group) || !flex && group != self.group
        };
        let table = self.inode_table;
        let table_last = table.nth(table.len() - 1).unwrap_or(table.start());
        if [
            self.block_bitmap,
            self.inode_bitmap,
            table.start(),
            table_last,
        ]
        .into_iter()
        .any(fixed)
        {
            return Err(Error::Corrupt("group metadata out of place"));
        }
        if self.block_bitmap == self.inode_bitmap
            || table.contains(self.block_bitmap)
            || table.contains(self.inode_bitmap)
        {
            return Err(Error::Corrupt("group metadata overlap"));
        }
        Ok(())
    }

    /// Writes what may have changed to the bytes at the descriptor's [place](Geometry::desc_place),
    /// which it was decoded from, and sets the checksum.
    pub fn encode(&self, geometry: &Geometry, bytes: &mut [u8]) -> Result {
        let mut raw = RawGroupDesc::read(geometry, bytes)?;
        raw.flags = self.flags.into();
        (raw.free_blocks_count_lo, raw.free_blocks_count_hi) = split(self.free_blocks);
        (raw.free_inodes_count_lo, raw.free_inodes_count_hi) = split(self.free_inodes);
        (raw.used_dirs_count_lo, raw.used_dirs_count_hi) = split(self.used_dirs);
        (raw.itable_unused_lo, raw.itable_unused_hi) = split(self.itable_unused);
        (raw.block_bitmap_csum_lo, raw.block_bitmap_csum_hi) = split(self.block_bitmap_csum);
        (raw.inode_bitmap_csum_lo, raw.inode_bitmap_csum_hi) = split(self.inode_bitmap_csum);
        raw.write(geometry, bytes);
        if let Some(checksum) = checksum(geometry, self.group, bytes)? {
            raw.checksum = checksum.into();
            raw.write(geometry, bytes);
        }
        Ok(())
    }

    /// The group this is the descriptor of.
    pub fn group(&self) -> u32 {
        self.group
    }

    /// Where the block bitmap is.
    pub fn block_bitmap(&self) -> BlockNr {
        self.block_bitmap
    }

    /// Where the inode bitmap is.
    pub fn inode_bitmap(&self) -> BlockNr {
        self.inode_bitmap
    }

    /// Where the inode table is.
    pub fn inode_table(&self) -> BlockRun {
        self.inode_table
    }

    /// Whether the block bitmap is to be computed, not read: [`Self::init_block_bitmap`].
    pub fn is_block_uninit(&self) -> bool {
        self.flags & BLOCK_UNINIT != 0
    }

    /// Whether the inode bitmap is to be computed, not read: [`Self::init_inode_bitmap`].
    pub fn is_inode_uninit(&self) -> bool {
        self.flags & INODE_UNINIT != 0
    }

    /// Whether the last [`itable_unused`](Self::itable_unused) inodes of the table are zeros on disk.
    pub fn is_inode_zeroed(&self) -> bool {
        self.flags & INODE_ZEROED != 0
    }

    /// Computes the block bitmap of a group where nothing but metadata is in use: what lies at fixed
    /// places, and of the group's own bitmaps and inode table what lies in the group. Bits beyond the
    /// group's blocks are set.
    ///
    /// `bits` is the content of the bitmap's block.
    pub fn init_block_bitmap(&self, geometry: &Geometry, bits: &mut [u8]) -> Result {
        let blocks = geometry.group_blocks(self.group)?;
        bits.fill(0);
        bitmap::set(bits, 0..geometry.base_meta_blocks(self.group))?;
        for own in [
            self.block_bitmap.into(),
            self.inode_bitmap.into(),
            self.inode_table,
        ] {
            let start = own.start().get().max(blocks.start().get());
            let end = own.end().min(blocks.end());
            // Both are within the group if there is anything between them.
            if start < end {
                let bit = |nr: u64| (nr - blocks.start().get()) as u32;
                bitmap::set(bits, bit(start)..bit(end))?;
            }
        }
        set_rest(bits, blocks.len())
    }

    /// Computes the inode bitmap of a group without inodes. Bits beyond the group's inodes are set.
    ///
    /// `bits` is the content of the bitmap's block.
    pub fn init_inode_bitmap(&self, geometry: &Geometry, bits: &mut [u8]) -> Result {
        bits.fill(0);
        set_rest(bits, geometry.inodes_per_group())
    }

    /// Checks a block bitmap that was read: its checksum, and that as many bits are clear as the
    /// descriptor tells.
    pub fn verify_block_bitmap(&self, geometry: &Geometry, bits: &[u8]) -> Result {
        let csum = bitmap_csum(geometry, bits, geometry.blocks_per_group())?;
        if csum.is_some_and(|csum| csum != self.block_bitmap_csum) {
            return Err(Error::Checksum("block bitmap"));
        }
        let len = geometry.group_blocks(self.group)?.len();
        if len - bitmap::count_set(bits, 0..len) != self.free_blocks {
            return Err(Error::Corrupt("block bitmap disagrees with free count"));
        }
        Ok(())
    }

    /// Checks an inode bitmap that was read, as [`Self::verify_block_bitmap`] does.
    pub fn verify_inode_bitmap(&self, geometry: &Geometry, bits: &[u8]) -> Result {
        let len = geometry.inodes_per_group();
        let csum = bitmap_csum(geometry, bits, len)?;
        if csum.is_some_and(|csum| csum != self.inode_bitmap_csum) {
            return Err(Error::Checksum("inode bitmap"));
        }
        if len - bitmap::count_set(bits, 0..len) != self.free_inodes {
            return Err(Error::Corrupt("inode bitmap disagrees with free count"));
        }
        Ok(())
    }

    /// Notes that the block bitmap is `bits` now, and is going to be written.
    pub fn seal_block_bitmap(&mut self, geometry: &Geometry, bits: &[u8]) -> Result {
        if let Some(csum) = bitmap_csum(geometry, bits, geometry.blocks_per_group())? {
            self.block_bitmap_csum = csum;
        }
        self.flags &= !BLOCK_UNINIT;
        Ok(())
    }

    /// Notes a change of the block bitmap. Its checksum is as right as it was.
    pub fn reseal_block_bitmap(&mut self, geometry: &Geometry, change: Change<'_>) -> Result {
        let len = geometry.blocks_per_group();
        change.follow(geometry, &mut self.block_bitmap_csum, len)
    }

    /// The same of the inode bitmap.
    pub fn reseal_inode_bitmap(&mut self, geometry: &Geometry, change: Change<'_>) -> Result {
        let len = geometry.inodes_per_group();
        change.follow(geometry, &mut self.inode_bitmap_csum, len)
    }

    /// Notes that the inode bitmap is `bits` now, and is going to be written.
    pub fn seal_inode_bitmap(&mut self, geometry: &Geometry, bits: &[u8]) -> Result {
        if let Some(csum) = bitmap_csum(geometry, bits, geometry.inodes_per_group())? {
            self.inode_bitmap_csum = csum;
        }
        self.flags &= !INODE_UNINIT;
        Ok(())
    }
}

impl RawGroupDesc {
    /// The descriptor, with zeros for what one of 32 bytes lacks.
    fn read(geometry: &Geometry, bytes: &[u8]) -> Result<Self> {
        let mut raw = Self::new_zeroed();
        let size = geometry.desc_size().into();
        let bytes = bytes.get(..size).ok_or(Error::TooSmall)?;
        for (to, from) in raw.as_mut_bytes().iter_mut().zip(bytes) {
            *to = *from;
        }
        Ok(raw)
    }

    /// Writes as much as a descriptor has; more are not to be in `bytes`.
    fn write(&self, geometry: &Geometry, bytes: &mut [u8]) {
        let size = geometry.desc_size().into();
        for (to, from) in bytes.iter_mut().zip(self.as_bytes()).take(size) {
            *to = *from;
        }
    }
}

/// The checksum a descriptor of `group` with these bytes is to have, if the file system has any.
fn checksum(geometry: &Geometry, group: u32, bytes: &[u8]) -> Result<Option<u16>> {
    const AT: usize = offset_of!(RawGroupDesc, checksum);
    let size = geometry.desc_size().into();
    let bytes = bytes.get(..size).ok_or(Error::TooSmall)?;
    Ok(match geometry.csum() {
        // Of the sum only the low half is kept.
        Some(csum) => Some(csum.with_u32(group).with_hole(bytes, AT..AT + 2).value() as u16),
        None if geometry.has_group_csum() => {
            let before = bytes.get(..AT).unwrap_or_default();
            let after = bytes.get(AT + 2..).unwrap_or_default();
            let crc = crc16(geometry.uuid_crc16(), &group.to_le_bytes());
            Some(crc16(crc16(crc, before), after))
        }
        None => None,
    })
}

/// The checksum that the descriptor is to have for a bitmap of `len` bits.
fn bitmap_csum(geometry: &Geometry, bits: &[u8], len: u32) -> Result<Option<u32>> {
    let Some(csum) = geometry.csum() else {
        return Ok(None);
    };
    let bytes = bits.get(..len as usize / 8).ok_or(Error::TooSmall)?;
    Ok(Some(stored(geometry, csum.with(bytes).value())))
}

/// The part of a bitmap's checksum that there is room for: half of it without `64bit`.
fn stored(geometry: &Geometry, value: u32) -> u32 {
    match usize::from(geometry.desc_size()) >= size_of::<RawGroupDesc>() {
        true => value,
        false => value & 0xffff,
    }
}

/// A change of a bitmap by bytes, as many as before.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    /// The first byte that changes.
    pub start: usize,
    /// What was there.
    pub old: &'a [u8],
    /// What is there now.
    pub new: &'a [u8],
}

impl Change<'_> {
    /// Makes `value`, the checksum of a bitmap of `len` bits, that after the change.
    fn follow(self, geometry: &Geometry, value: &mut u32, len: u32) -> Result {
        if let Some(csum) = geometry.csum() {
            let end = self.start.checked_add(self.new.len());
            let after = end.and_then(|end| (len as usize / 8).checked_sub(end));
            let after = after.ok_or(Error::TooSmall)?;
            *value = stored(geometry, csum.replaced(*value, self.old, self.new, after));
        }
        Ok(())
    }
}

/// Sets all bits from `start` on.
fn set_rest(bits: &mut [u8], start: u32) -> Result {
    let end = u32::try_from(bits.len() * 8).map_err(|_| Error::Corrupt("bitmap too large"))?;
    bitmap::set(bits, start..end)
}

fn wide(lo: U32, hi: U32) -> u64 {
    u64::from(lo.get()) | u64::from(hi.get()) << 32
}

fn count(lo: U16, hi: U16) -> u32 {
    u32::from(lo.get()) | u32::from(hi.get()) << 16
}

fn split(value: u32) -> (U16, U16) {
    (U16::new(value as u16), U16::new((value >> 16) as u16))
}
