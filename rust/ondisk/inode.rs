// SPDX-License-Identifier: GPL-2.0

//! Inodes as they are in the inode table.
//!
//! The first 128 bytes are those of ext2. Where inodes are larger, `i_extra_isize` tells how many of
//! the bytes that follow have fields in them; what is left holds extended attributes. A field of ext4
//! that is not within `i_extra_isize` does not exist for that inode.
//!
//! [`Inode::decode`] makes plain values of the fields, [`Inode::encode`] writes them back over the same
//! bytes and leaves alone what it does not know.
//!
//! See [`inodes.rst`](srctree/Documentation/filesystems/ext4/inodes.rst).

use core::mem::offset_of;
use core::ops::Range;

use zerocopy::{
    little_endian::{
        U16,
        U32, //
    },
    FromBytes as _,
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

use super::block::BlockNr;
use super::checksum::Csum;
use super::error::{
    Error,
    Result, //
};
use super::feature::{
    Incompat,
    RoCompat, //
};
use super::geometry::{
    Geometry,
    GOOD_OLD_INODE_SIZE, //
};

pub mod flag;
mod time;

pub use self::time::Time;

/// Bytes of `i_block`.
pub const BLOCK_SIZE: usize = 60;

/// The bits of `i_mode` that tell the type, and the type of regular files.
const S_IFMT: u16 = 0xf000;
const S_IFREG: u16 = 0x8000;

/// Units of `i_blocks`, as a power of two in bytes.
const SECTOR_BITS: u8 = 9;

/// An inode as it is on disk, as far as it has fields.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
struct RawInode {
    mode: U16,
    uid_lo: U16,
    size_lo: U32,
    atime: U32,
    ctime: U32,
    mtime: U32,
    dtime: U32,
    gid_lo: U16,
    links_count: U16,
    blocks_lo: U32,
    flags: U32,
    version_lo: U32,
    block: [u8; BLOCK_SIZE],
    generation: U32,
    file_acl_lo: U32,
    size_hi: U32,
    obso_faddr: U32,
    blocks_hi: U16,
    file_acl_hi: U16,
    uid_hi: U16,
    gid_hi: U16,
    checksum_lo: U16,
    reserved: U16,
    extra_isize: U16,
    checksum_hi: U16,
    ctime_extra: U32,
    mtime_extra: U32,
    atime_extra: U32,
    crtime: U32,
    crtime_extra: U32,
    version_hi: U32,
    projid: U32,
}

const OLD_SIZE: usize = GOOD_OLD_INODE_SIZE as usize;

const _: () = assert!(size_of::<RawInode>() == 160);
const _: () = assert!(offset_of!(RawInode, block) == 0x28);
const _: () = assert!(offset_of!(RawInode, extra_isize) == OLD_SIZE);

/// An inode, decoded.
///
/// Nothing is promised of the fields but what they say: mode, link count and flags are as they are on
/// disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    extra_isize: u16,
    /// Type and permissions.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group of the owner.
    pub gid: u32,
    /// Bytes of the file, less than 2^63.
    pub size: u64,
    /// Last access.
    pub atime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// Last change of the data.
    pub mtime: Time,
    /// Creation; if there is no room for it, 1970.
    pub crtime: Time,
    /// Deletion in seconds since 1970, or while the inode is an orphan, the next orphan's number.
    pub dtime: u32,
    /// Hard links. A directory with 1 has too many subdirectories to count.
    pub links: u16,
    /// What the file takes on disk, in units of 512 bytes.
    pub blocks: u64,
    /// `EXT4_*_FL`, see [`flag`]. Never with `HUGE_FILE`, which only tells how `blocks` is encoded.
    pub flags: u32,
    /// The change counter, `i_version`. If there is room for half of it only, its lower 32 bits.
    pub version: u64,
    /// `i_block`: the root of the extent tree, the target of a short symlink, a device number.
    pub block: [u8; BLOCK_SIZE],
    /// Tells this inode from others that had its number.
    pub generation: u32,
    /// The block of extended attributes.
    pub file_acl: Option<BlockNr>,
    /// Project; 0 if there is no room for it.
    pub projid: u32,
}

impl Inode {
    /// A new inode with all fields zero, and room for all that rdaxfs knows if inodes are large enough.
    ///
    /// Encode it over zeros: what was in its place belongs to an inode that is gone.
    pub fn new(geometry: &Geometry) -> Self {
        Self {
            extra_isize: geometry.want_extra_isize(),
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            atime: Time::default(),
            ctime: Time::default(),
            mtime: Time::default(),
            crtime: Time::default(),
            dtime: 0,
            links: 0,
            blocks: 0,
            flags: 0,
            version: 0,
            block: [0; BLOCK_SIZE],
            generation: 0,
            file_acl: None,
            projid: 0,
        }
    }

    /// Reads inode `ino` from the bytes at its [place](super::InodePlace).
    ///
    /// # Errors
    ///
    /// The checksum is wrong, or size, extra size or attribute block are out of bounds.
    pub fn decode(geometry: &Geometry, ino: u32, bytes: &[u8]) -> Result<Self> {
        let bytes = whole(geometry, bytes)?;
        if let Some(csum) = geometry.csum() {
            let fields = Fields::new(extra_isize(bytes)?);
            let raw = RawInode::read(fields, bytes);
            let stored = count(raw.checksum_lo, raw.checksum_hi);
            if stored != checksum(csum, ino, fields, bytes) {
                return Err(Error::Checksum("inode"));
            }
        }
        Self::decode_verified(geometry, bytes)
    }

    /// As [`Self::decode`], of bytes whose checksum was found right before.
    ///
    /// # Errors
    ///
    /// Size, extra size or attribute block are out of bounds.
    #[inline]
    pub fn decode_verified(geometry: &Geometry, bytes: &[u8]) -> Result<Self> {
        let bytes = whole(geometry, bytes)?;
        let extra_isize = extra_isize(bytes)?;
        let raw = RawInode::read(Fields::new(extra_isize), bytes);

        let (mode, flags) = (raw.mode.get(), raw.flags.get());
        // In other inodes than those of files the upper half has had other meanings, but for large
        // directories.
        let size_hi = if is_regular(mode) || geometry.incompat().contains(Incompat::LARGEDIR) {
            raw.size_hi.get()
        } else {
            0
        };
        let size = u64::from(raw.size_lo.get()) | u64::from(size_hi) << 32;
        if size > i64::MAX as u64 {
            return Err(Error::Corrupt("file size"));
        }
        let huge = geometry.ro_compat().contains(RoCompat::HUGE_FILE);
        let blocks_hi = if huge { raw.blocks_hi.get() } else { 0 };
        let mut blocks = u64::from(raw.blocks_lo.get()) | u64::from(blocks_hi) << 32;
        if huge && flags & flag::HUGE_FILE != 0 {
            blocks <<= geometry.block_bits() - SECTOR_BITS;
        }
        let file_acl = u64::from(raw.file_acl_lo.get()) | u64::from(raw.file_acl_hi.get()) << 32;

        Ok(Self {
            extra_isize,
            mode,
            uid: count(raw.uid_lo, raw.uid_hi),
            gid: count(raw.gid_lo, raw.gid_hi),
            size,
            atime: Time::from_raw(raw.atime, raw.atime_extra),
            ctime: Time::from_raw(raw.ctime, raw.ctime_extra),
            mtime: Time::from_raw(raw.mtime, raw.mtime_extra),
            crtime: Time::from_raw(raw.crtime, raw.crtime_extra),
            dtime: raw.dtime.get(),
            links: raw.links_count.get(),
            blocks,
            flags: flags & !flag::HUGE_FILE,
            version: u64::from(raw.version_lo.get()) | u64::from(raw.version_hi.get()) << 32,
            block: raw.block,
            generation: raw.generation.get(),
            file_acl: match file_acl {
                0 => None,
                nr => Some(geometry.block(nr)?),
            },
            projid: raw.projid.get(),
        })
    }

    /// Writes inode `ino` to the bytes at its [place](super::InodePlace), which it was decoded from, or
    /// which are zeros if it is new, and sets the checksum.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the file takes more blocks than can be told.
    pub fn encode(&self, geometry: &Geometry, ino: u32, bytes: &mut [u8]) -> Result {
        let fields = Fields::new(self.extra_isize);
        let mut raw = RawInode::read(fields, whole(geometry, bytes)?);
        let (blocks_lo, blocks_hi, huge_file) = self.encode_blocks(geometry)?;

        raw.mode = self.mode.into();
        (raw.uid_lo, raw.uid_hi) = split(self.uid);
        (raw.gid_lo, raw.gid_hi) = split(self.gid);
        raw.size_lo = U32::new(self.size as u32);
        raw.size_hi = U32::new((self.size >> 32) as u32);
        (raw.atime, raw.atime_extra) = self
            .atime
            .to_raw(fields.has(offset_of!(RawInode, atime_extra)));
        (raw.ctime, raw.ctime_extra) = self
            .ctime
            .to_raw(fields.has(offset_of!(RawInode, ctime_extra)));
        (raw.mtime, raw.mtime_extra) = self
            .mtime
            .to_raw(fields.has(offset_of!(RawInode, mtime_extra)));
        (raw.crtime, raw.crtime_extra) = self
            .crtime
            .to_raw(fields.has(offset_of!(RawInode, crtime_extra)));
        raw.dtime = self.dtime.into();
        raw.links_count = self.links.into();
        (raw.blocks_lo, raw.blocks_hi) = (blocks_lo, blocks_hi);
        raw.flags = (self.flags & !flag::HUGE_FILE | huge_file).into();
        raw.version_lo = U32::new(self.version as u32);
        raw.version_hi = U32::new((self.version >> 32) as u32);
        raw.block = self.block;
        raw.generation = self.generation.into();
        let file_acl = self.file_acl.map_or(0, BlockNr::get);
        raw.file_acl_lo = U32::new(file_acl as u32);
        raw.file_acl_hi = U16::new((file_acl >> 32) as u16);
        raw.projid = self.projid.into();
        raw.extra_isize = self.extra_isize.into();
        if let Some(csum) = geometry.csum() {
            // As which its own fields count.
            (raw.checksum_lo, raw.checksum_hi) = (U16::ZERO, U16::ZERO);
            let (head, tail) = (
                raw.as_bytes().get(..fields.0),
                whole(geometry, bytes)?.get(fields.0..),
            );
            let csum = csum
                .for_inode(ino, self.generation)
                .with(head.unwrap_or_default())
                .with(tail.unwrap_or_default());
            (raw.checksum_lo, raw.checksum_hi) = split(csum.value());
        }
        raw.write(fields, bytes);
        Ok(())
    }

    /// `blocks` as it is on disk, and the flag that tells its unit.
    fn encode_blocks(&self, geometry: &Geometry) -> Result<(U32, U16, u32)> {
        const MAX: u64 = 1 << 48;
        let huge = geometry.ro_compat().contains(RoCompat::HUGE_FILE);
        let (count, flag) = match self.blocks {
            sectors if sectors <= u32::MAX.into() => (sectors, 0),
            _ if !huge => return Err(Error::TooLarge),
            sectors if sectors < MAX => (sectors, 0),
            sectors => (
                sectors >> (geometry.block_bits() - SECTOR_BITS),
                flag::HUGE_FILE,
            ),
        };
        if count >= MAX {
            return Err(Error::TooLarge);
        }
        Ok((U32::new(count as u32), U16::new((count >> 32) as u16), flag))
    }

    /// `i_extra_isize`: bytes beyond the first 128 that have fields in them. What follows them, up to
    /// [`Geometry::inode_size`], may hold extended attributes.
    pub fn extra_isize(&self) -> u16 {
        self.extra_isize
    }

    /// Where, of the inode's bytes, extended attributes may be: behind the fields. Nowhere if the inode
    /// has no more than the fields of ext2.
    pub fn attributes(&self, geometry: &Geometry) -> Range<usize> {
        let end = usize::from(geometry.inode_size());
        match self.extra_isize {
            0 => end..end,
            extra => OLD_SIZE + usize::from(extra)..end,
        }
    }

    /// Whether times can be told to the nanosecond and beyond 2038, and `crtime` at all.
    pub fn has_wide_times(&self) -> bool {
        Fields::new(self.extra_isize).has(offset_of!(RawInode, crtime_extra))
    }

    /// Major and minor number of the device that a device node stands for.
    ///
    /// There are two encodings: one of 8 bits each in the first word of `block`; if that is 0, one of
    /// 12 and 20 bits in the second.
    pub fn device(&self) -> (u32, u32) {
        let [a, b, c, d, e, f, g, h, ..] = self.block;
        match u32::from_le_bytes([a, b, c, d]) {
            0 => {
                let dev = u32::from_le_bytes([e, f, g, h]);
                (dev >> 8 & 0xfff, dev & 0xff | dev >> 12 & 0xfff00)
            }
            dev => (dev >> 8 & 0xff, dev & 0xff),
        }
    }

    /// Sets what [`Self::device`] tells, in the old encoding if it can. Of the numbers, 12 and 20 bits
    /// are kept.
    pub fn set_device(&mut self, major: u32, minor: u32) {
        let (old, new) = if major < 256 && minor < 256 {
            (major << 8 | minor, 0)
        } else {
            (
                0,
                minor & 0xff | (major & 0xfff) << 8 | (minor & 0xfff00) << 12,
            )
        };
        self.block = [0; BLOCK_SIZE];
        let words = [old, new].into_iter().flat_map(u32::to_le_bytes);
        for (to, from) in self.block.iter_mut().zip(words) {
            *to = from;
        }
    }
}

/// Which fields an inode has: those within a number of bytes, which is a multiple of four, so that a
/// field is there or not, and never in part.
#[derive(Clone, Copy)]
struct Fields(usize);

impl Fields {
    fn new(extra_isize: u16) -> Self {
        Self(size_of::<RawInode>().min(OLD_SIZE + usize::from(extra_isize)))
    }

    /// Whether there are all.
    fn all(self) -> bool {
        self.0 == size_of::<RawInode>()
    }

    /// Whether there is a field at `offset`.
    fn has(self, offset: usize) -> bool {
        offset < self.0
    }
}

impl RawInode {
    /// The inode, with zeros for the fields it does not have.
    #[inline]
    fn read(fields: Fields, bytes: &[u8]) -> Self {
        if let (true, Ok((raw, _))) = (fields.all(), Self::read_from_prefix(bytes)) {
            return raw;
        }
        let mut raw = Self::new_zeroed();
        for (to, from) in raw.as_mut_bytes().iter_mut().zip(bytes).take(fields.0) {
            *to = *from;
        }
        raw
    }

    /// Writes the fields that there are.
    fn write(&self, fields: Fields, bytes: &mut [u8]) {
        for (to, from) in bytes.iter_mut().zip(self.as_bytes()).take(fields.0) {
            *to = *from;
        }
    }
}

/// The bytes of one inode.
fn whole<'a>(geometry: &Geometry, bytes: &'a [u8]) -> Result<&'a [u8]> {
    let size = geometry.inode_size();
    bytes.get(..size.into()).ok_or(Error::TooSmall)
}

/// `i_extra_isize` of an inode with these bytes, checked against their number.
fn extra_isize(bytes: &[u8]) -> Result<u16> {
    let Some((_, [lo, hi, ..])) = bytes.split_at_checked(OLD_SIZE) else {
        return Ok(0);
    };
    let extra = u16::from_le_bytes([*lo, *hi]);
    if OLD_SIZE + usize::from(extra) > bytes.len() || extra % 4 != 0 {
        return Err(Error::Corrupt("extra inode size"));
    }
    Ok(extra)
}

/// The checksum that inode `ino` with these bytes is to have: all of it, or its low half if there is
/// no field for the other. The fields themselves count as zeros.
fn checksum(csum: Csum, ino: u32, fields: Fields, bytes: &[u8]) -> u32 {
    const LO: usize = offset_of!(RawInode, checksum_lo);
    const HI: usize = offset_of!(RawInode, checksum_hi);
    const GENERATION: usize = offset_of!(RawInode, generation);

    let generation = bytes.get(GENERATION..GENERATION + 4).unwrap_or_default();
    let (old, extra) = bytes.split_at_checked(OLD_SIZE).unwrap_or_default();
    let csum = csum
        .with_u32(ino)
        .with(generation)
        .with_hole(old, LO..LO + 2);
    if fields.has(HI) {
        csum.with_hole(extra, HI - OLD_SIZE..HI - OLD_SIZE + 2)
            .value()
    } else {
        csum.with(extra).value() & 0xffff
    }
}

fn is_regular(mode: u16) -> bool {
    mode & S_IFMT == S_IFREG
}

fn count(lo: U16, hi: U16) -> u32 {
    u32::from(lo.get()) | u32::from(hi.get()) << 16
}

fn split(value: u32) -> (U16, U16) {
    (U16::new(value as u16), U16::new((value >> 16) as u16))
}
