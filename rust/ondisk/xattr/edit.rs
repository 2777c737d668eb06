// SPDX-License-Identifier: GPL-2.0

//! Making an area of attributes anew.

use zerocopy::{
    FromBytes as _,
    IntoBytes as _, //
};

use super::super::{
    Error,
    Result, //
};
use super::{
    entry_size,
    Area,
    Entry,
    Header,
    Name,
    RawEntry,
    Value,
    ENTRY_SIZE,
    MAGIC,
    PAD, //
};

/// An area under construction: of an inode or a block, all of whose other bytes are zeroes.
///
/// # Invariants
///
/// `next + PAD <= values <= bytes.len()`: the entries end at `next`, where the zeroes of the end find
/// room, and the values begin at `values`.
pub struct Writer<'a> {
    bytes: &'a mut [u8],
    /// Of an inode, the magic number, which comes with the first entry; nothing of a block.
    magic: Option<&'a mut [u8; 4]>,
    next: usize,
    values: usize,
    /// `h_hash` so far; nothing if one of the entries has no hash.
    hash: Option<u32>,
    empty: bool,
}

impl<'a> Writer<'a> {
    /// Of the bytes of an inode that lie behind its fields. [`Error::Full`] if there is no room for
    /// attributes at all.
    pub fn in_inode(body: &'a mut [u8]) -> Result<Self> {
        body.fill(0);
        let (magic, bytes) = body.split_first_chunk_mut::<4>().ok_or(Error::Full)?;
        Self::new(Some(magic), bytes, 0)
    }

    /// Of a block, which one inode has.
    pub fn in_block(block: &'a mut [u8]) -> Result<Self> {
        block.fill(0);
        let (header, _) = Header::mut_from_prefix(block).map_err(|_| Error::TooSmall)?;
        header.magic = MAGIC.into();
        header.refcount = 1.into();
        header.blocks = 1.into();
        Self::new(None, block, size_of::<Header>())
    }

    fn new(magic: Option<&'a mut [u8; 4]>, bytes: &'a mut [u8], next: usize) -> Result<Self> {
        let values = bytes.len() / PAD * PAD;
        if next.saturating_add(PAD) > values {
            return Err(Error::Full);
        }
        // INVARIANT: Just looked at.
        Ok(Self {
            bytes,
            magic,
            next,
            values,
            hash: Some(0),
            empty: true,
        })
    }

    /// Adds an attribute behind the others, of which it is none. [`Error::Full`] if there is no room.
    fn push(&mut self, entry: Entry<'_>) -> Result {
        let suffix = entry.name.suffix;
        let (value, inum, size) = match entry.value {
            Value::Here(value) => (value, 0, value.len() as u32),
            Value::INode { ino, size } => (&[][..], ino, size),
        };
        let next = self.next.saturating_add(entry_size(suffix.len()));
        let room = value.len().checked_next_multiple_of(PAD);
        let values = room.and_then(|room| self.values.checked_sub(room));
        let values = values.ok_or(Error::Full)?;
        let offs = u16::try_from(values).map_err(|_| Error::Full);
        if next.saturating_add(PAD) > values {
            return Err(Error::Full);
        }
        let raw = RawEntry {
            name_len: suffix.len() as u8,
            name_index: entry.name.index,
            value_offs: if value.is_empty() { 0 } else { offs? }.into(),
            value_inum: inum.into(),
            value_size: size.into(),
            // Nobody keeps the hash of values that are in an inode's own bytes.
            hash: match entry.value {
                Value::Here(_) if self.magic.is_some() => 0,
                _ => entry.hash,
            }
            .into(),
        };
        put(self.bytes, self.next, raw.as_bytes());
        put(self.bytes, self.next + ENTRY_SIZE, suffix);
        put(self.bytes, values, value);
        let fold = |hash: u32| hash.rotate_left(16) ^ raw.hash.get();
        self.hash = self.hash.filter(|_| raw.hash.get() != 0).map(fold);
        // INVARIANT: As looked at above.
        (self.next, self.values, self.empty) = (next, values, false);
        Ok(())
    }

    /// Ends the area. Returns whether it has any attributes.
    fn finish(self) -> bool {
        match self.magic {
            Some(magic) if !self.empty => *magic = MAGIC.to_le_bytes(),
            Some(_) => {}
            None => {
                if let Ok((header, _)) = Header::mut_from_prefix(self.bytes) {
                    header.hash = self.hash.unwrap_or(0).into();
                }
            }
        }
        !self.empty
    }
}

/// Copies `bytes` to `at`, where there is room.
fn put(to: &mut [u8], at: usize, bytes: &[u8]) {
    let to = to.get_mut(at..).unwrap_or_default();
    for (to, from) in to.iter_mut().zip(bytes) {
        *to = *from;
    }
}

/// Writes the attributes of `old` anew to `to`, but for `name`, which is to have the value of `new`,
/// or to be gone. Returns whether there are any.
///
/// [`Error::Full`] if there is no room for all; what was written is of no use then.
pub fn rewrite(
    old: Option<Area<'_>>,
    mut to: Writer<'_>,
    name: Name<'_>,
    new: Option<Entry<'_>>,
) -> Result<bool> {
    let mut new = new;
    for entry in old.into_iter().flat_map(Area::entries) {
        if entry.name == name {
            continue;
        }
        if entry.name.key() > name.key() {
            if let Some(new) = new.take() {
                to.push(new)?;
            }
        }
        to.push(entry)?;
    }
    if let Some(new) = new {
        to.push(new)?;
    }
    Ok(to.finish())
}
