// SPDX-License-Identifier: GPL-2.0

//! Extended attributes: those in an inode behind its fields, and those in a block of their own.
//!
//! Both are an [`Area`]: entries from the front, ended by four zero bytes, and values from the back.
//! The area in an inode begins with a magic number, the block with a [`Header`] that also counts the
//! inodes that share it. A large value may be in an inode of its own ([`Value::INode`]).
//!
//! Invariant: of an [`Area`] every name and every value was found to lie within it, and no value
//! among the names. An area is never changed in place: [`rewrite`] copies it with the change made.
//!
//! See [`attributes.rst`](srctree/Documentation/filesystems/ext4/attributes.rst).

use core::mem::offset_of;

use zerocopy::{
    little_endian::{
        U16,
        U32, //
    },
    FromBytes as _, //
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

mod edit;
pub mod index;

pub use self::edit::{
    rewrite,
    Writer, //
};

/// `h_magic`.
const MAGIC: u32 = 0xea02_0000;

/// Names and values begin at multiples of this.
const PAD: usize = 4;

/// Bytes in the longest name, without what its index stands for.
pub const NAME_MAX: usize = 255;

/// No value on a disk is larger, whatever the VFS allows.
const VALUE_MAX: u32 = 1 << 24;

/// The inodes that may share a block.
pub const REFCOUNT_MAX: u32 = 1024;

/// What a block of attributes begins with.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Header {
    magic: U32,
    refcount: U32,
    blocks: U32,
    hash: U32,
    checksum: U32,
    reserved: [U32; 3],
}

const _: () = assert!(size_of::<Header>() == 32);

impl Header {
    /// The header of the block `nr`, which was read. `csum` is the file system's.
    pub fn decode(csum: Option<Csum>, nr: BlockNr, block: &[u8]) -> Result<&Self> {
        let (header, _) = Self::ref_from_prefix(block).map_err(|_| Error::TooSmall)?;
        if header.magic.get() != MAGIC || header.blocks.get() != 1 || header.refcount.get() == 0 {
            return Err(Error::Corrupt("header of extended attributes"));
        }
        match csum {
            Some(csum) if header.checksum.get() != checksum(csum, nr, block) => {
                Err(Error::Checksum("extended attributes"))
            }
            _ => Ok(header),
        }
    }

    /// How many inodes have the block.
    pub fn refcount(&self) -> u32 {
        self.refcount.get()
    }

    /// Sets [`Self::refcount`] of the block, whose checksum [`seal`](Self::seal) is to set after that.
    pub fn set_refcount(block: &mut [u8], refcount: u32) -> Result {
        let (header, _) = Self::mut_from_prefix(block).map_err(|_| Error::TooSmall)?;
        header.refcount = refcount.into();
        Ok(())
    }

    /// Sets the checksum of the block `nr`. `csum` is the file system's.
    pub fn seal(csum: Option<Csum>, nr: BlockNr, block: &mut [u8]) -> Result {
        let checksum = csum.map_or(0, |csum| checksum(csum, nr, block));
        let (header, _) = Self::mut_from_prefix(block).map_err(|_| Error::TooSmall)?;
        header.checksum = checksum.into();
        Ok(())
    }
}

fn checksum(csum: Csum, nr: BlockNr, block: &[u8]) -> u32 {
    const AT: usize = offset_of!(Header, checksum);
    csum.with(&nr.get().to_le_bytes())
        .with_hole(block, AT..AT + 4)
        .value()
}

/// What an entry begins with; the name follows.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
struct RawEntry {
    name_len: u8,
    name_index: u8,
    value_offs: U16,
    value_inum: U32,
    value_size: U32,
    hash: U32,
}

const ENTRY_SIZE: usize = size_of::<RawEntry>();
const _: () = assert!(ENTRY_SIZE == 16);

/// The name of an attribute.
///
/// Names are ordered as the entries of a block are: by [`index`], length and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    index: u8,
    suffix: &'a [u8],
}

impl<'a> Name<'a> {
    /// A name of at most [`NAME_MAX`] bytes, less the prefix that `index` stands for.
    /// [`Error::TooLarge`] if there are more, or a NUL is among them.
    pub fn new(index: u8, suffix: &'a [u8]) -> Result<Self> {
        if suffix.len() > NAME_MAX || suffix.contains(&0) {
            return Err(Error::TooLarge);
        }
        Ok(Self { index, suffix })
    }

    /// Which prefix the name has, see [`index`].
    pub fn index(self) -> u8 {
        self.index
    }

    /// The name without its prefix.
    pub fn suffix(self) -> &'a [u8] {
        self.suffix
    }

    fn key(self) -> (u8, usize, &'a [u8]) {
        (self.index, self.suffix.len(), self.suffix)
    }
}

/// Where the value of an attribute is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// In the area.
    Here(&'a [u8]),
    /// In an inode of its own, with so many bytes.
    INode {
        /// The inode's number, which is not checked.
        ino: u32,
        /// Bytes of the value.
        size: u32,
    },
}

/// An attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its name.
    pub name: Name<'a>,
    /// Its value.
    pub value: Value<'a>,
    hash: u32,
}

impl<'a> Entry<'a> {
    /// A new attribute, with its value in the area.
    pub fn new(name: Name<'a>, value: &'a [u8]) -> Self {
        let words = value.chunks(PAD).map(|chunk| {
            let mut word = [0; PAD];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            u32::from_le_bytes(word)
        });
        Self {
            name,
            value: Value::Here(value),
            hash: hash(name.suffix.iter().map(|byte| u32::from(*byte)), words),
        }
    }

    /// A new attribute, with its value of `size` bytes in the inode `ino`; `checksum` is
    /// [`value_checksum`] of it.
    pub fn new_in_inode(name: Name<'a>, ino: u32, size: u32, checksum: u32) -> Self {
        Self {
            name,
            value: Value::INode { ino, size },
            hash: hash(name.suffix.iter().map(|byte| u32::from(*byte)), [checksum]),
        }
    }

    /// Whether the entry is that of a value in an inode whose [`value_checksum`] is `checksum`.
    ///
    /// An entry in an inode may have no hash. Where `char` has a sign, names with bytes beyond ASCII
    /// were hashed otherwise once.
    pub fn has_checksum(&self, checksum: u32) -> bool {
        let signed = |byte: &u8| i32::from(*byte as i8) as u32;
        let suffix = self.name.suffix;
        self.hash == 0
            || self.hash == hash(suffix.iter().map(|byte| u32::from(*byte)), [checksum])
            || self.hash == hash(suffix.iter().map(signed), [checksum])
    }
}

/// The checksum of a value that is in an inode of its own. `csum` is the file system's, or without
/// checksums of metadata, one of the UUID.
pub fn value_checksum(csum: Csum, value: &[u8]) -> u32 {
    csum.with(value).value()
}

/// `e_hash`.
fn hash(name: impl Iterator<Item = u32>, value: impl IntoIterator<Item = u32>) -> u32 {
    let name = name.fold(0u32, |hash, byte| hash.rotate_left(5) ^ byte);
    value
        .into_iter()
        .fold(name, |hash, word| hash.rotate_left(16) ^ word)
}

/// The attributes in an inode or in a block.
///
/// # Invariants
///
/// From `first` on there are entries as [`Entries`] reads them, and an end; see the file's head.
#[derive(Clone, Copy)]
pub struct Area<'a> {
    /// What offsets of values count from.
    bytes: &'a [u8],
    /// Where the first entry is.
    first: usize,
}

impl<'a> Area<'a> {
    /// The attributes in the bytes of an inode that lie behind its fields; nothing if there are none.
    ///
    /// `ea_inode`: whether the file system has values in inodes of their own.
    pub fn in_inode(ea_inode: bool, body: &'a [u8]) -> Result<Option<Self>> {
        match body.split_first_chunk::<4>() {
            Some((magic, bytes)) if u32::from_le_bytes(*magic) == MAGIC => {
                Self::check(ea_inode, bytes, 0).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The attributes in the block `nr`, which was read. `csum` is the file system's, or nothing if
    /// the checksum is known to be right; `ea_inode` as above.
    pub fn in_block(
        csum: Option<Csum>,
        ea_inode: bool,
        nr: BlockNr,
        block: &'a [u8],
    ) -> Result<Self> {
        Header::decode(csum, nr, block)?;
        Self::check(ea_inode, block, size_of::<Header>())
    }

    fn check(ea_inode: bool, bytes: &'a [u8], first: usize) -> Result<Self> {
        let mut at = first;
        while let Some((raw, _, next)) = entry_at(bytes, at)? {
            let (inum, size) = (raw.value_inum.get(), raw.value_size.get());
            if inum != 0 && (!ea_inode || size == 0) || size > VALUE_MAX {
                return Err(Error::Corrupt("value of an extended attribute"));
            }
            at = next;
        }
        // Behind the zeroes that end the entries.
        let values = at.saturating_add(PAD);
        let mut at = first;
        while let Some((raw, _, next)) = entry_at(bytes, at)? {
            let outside = || usize::from(raw.value_offs.get()) < values;
            if raw.value_inum.get() == 0 && raw.value_size.get() != 0 {
                match value_of(bytes, raw) {
                    Some(_) if !outside() => {}
                    _ => return Err(Error::Corrupt("place of an extended attribute's value")),
                }
            }
            at = next;
        }
        // INVARIANT: All was just looked at.
        Ok(Self { bytes, first })
    }

    /// All attributes, in the order in which they are stored.
    pub fn entries(self) -> Entries<'a> {
        Entries {
            bytes: self.bytes,
            at: self.first,
        }
    }

    /// The attribute of this name.
    pub fn find(self, name: Name<'_>) -> Option<Entry<'a>> {
        self.entries().find(|entry| entry.name == name)
    }
}

/// The entry at `at`, its name, and where the next one is; nothing at the end.
fn entry_at(bytes: &[u8], at: usize) -> Result<Option<(&RawEntry, &[u8], usize)>> {
    const OUTSIDE: Error = Error::Corrupt("name of an extended attribute");
    let rest = bytes.get(at..).ok_or(OUTSIDE)?;
    if rest.first_chunk::<PAD>().ok_or(OUTSIDE)? == &[0; PAD] {
        return Ok(None);
    }
    let (raw, rest) = RawEntry::ref_from_prefix(rest).map_err(|_| OUTSIDE)?;
    let len = usize::from(raw.name_len);
    let name = rest.get(..len).ok_or(OUTSIDE)?;
    // Without prefix or suffix there is no name, and written anew such an entry can look like the end.
    if name.contains(&0) || name.is_empty() && raw.name_index == 0 {
        return Err(OUTSIDE);
    }
    let next = at.saturating_add(entry_size(len));
    Ok(Some((raw, name, next)))
}

/// Bytes of an entry with a name of `len` bytes.
fn entry_size(len: usize) -> usize {
    ENTRY_SIZE.saturating_add(len).next_multiple_of(PAD)
}

/// The value, with what it is padded with in reach.
fn value_of<'a>(bytes: &'a [u8], raw: &RawEntry) -> Option<&'a [u8]> {
    let size = usize::try_from(raw.value_size.get()).ok()?;
    let padded = size.checked_next_multiple_of(PAD)?;
    let rest = bytes.get(usize::from(raw.value_offs.get())..)?;
    rest.get(..padded)?.get(..size)
}

/// The attributes of an [`Area`], one after the other.
pub struct Entries<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let (raw, suffix, next) = entry_at(self.bytes, self.at).ok().flatten()?;
        self.at = next;
        let value = match (raw.value_inum.get(), raw.value_size.get()) {
            (0, 0) => Value::Here(&[]),
            (0, _) => Value::Here(value_of(self.bytes, raw)?),
            (ino, size) => Value::INode { ino, size },
        };
        Some(Entry {
            name: Name {
                index: raw.name_index,
                suffix,
            },
            value,
            hash: raw.hash.get(),
        })
    }
}
