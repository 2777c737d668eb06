// SPDX-License-Identifier: GPL-2.0

//! One block of a directory: its entries.
//!
//! Records of varying length fill the block without gaps. A record whose inode number is 0 is free
//! room, and so is what a record has beyond its name; an entry never moves while it exists. With
//! `metadata_csum` the last 12 bytes are a record of their own that looks free to those who do not know
//! it, and holds the checksum. Format:
//! [`directory.rst`](srctree/Documentation/filesystems/ext4/directory.rst).
//!
//! The index blocks of a hashed directory ([`super::htree`]) look like free room here as well, so a
//! directory can always be read block by block, whatever is in them. What several blocks make together
//! is in [`super::directory`].

use super::bytes::Bytes;
use super::feature::Incompat;
use super::htree;
use super::{
    Csum,
    Error,
    Geometry,
    Result, //
};

/// Bytes of the longest name.
pub const MAX_NAME: usize = 255;

/// Bytes of a record before its name.
const HEADER: usize = 8;

/// Bytes of the shortest record, and of the one with the checksum.
const MIN_RECORD: usize = 12;

/// `det_reserved_ft`: the type of the record with the checksum.
const TAIL_TYPE: u8 = 0xde;

/// Bytes of the longest record that is no longer than its name needs.
const MAX_RECORD: usize = record_len(MAX_NAME);

/// Bytes of a record for a name of `len` bytes.
const fn record_len(len: usize) -> usize {
    (HEADER + len + 3) & !3
}

/// What kind of file an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FileType {
    /// The inode knows.
    Unknown = 0,
    /// A regular file.
    Regular = 1,
    /// A directory.
    Directory = 2,
    /// A character device.
    CharDevice = 3,
    /// A block device.
    BlockDevice = 4,
    /// A FIFO.
    Fifo = 5,
    /// A socket.
    Socket = 6,
    /// A symbolic link.
    Symlink = 7,
}

impl From<u8> for FileType {
    fn from(raw: u8) -> Self {
        match raw {
            1 => Self::Regular,
            2 => Self::Directory,
            3 => Self::CharDevice,
            4 => Self::BlockDevice,
            5 => Self::Fifo,
            6 => Self::Socket,
            7 => Self::Symlink,
            _ => Self::Unknown,
        }
    }
}

/// An entry in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// Where in the block its record begins.
    pub offset: usize,
    /// The number of the inode. There is one of that number; whether it is in use is not known.
    pub ino: u32,
    /// What it is.
    pub file_type: FileType,
    /// What it is called; not empty.
    pub name: &'a [u8],
}

impl DirEntry<'_> {
    /// Bytes that its record needs.
    pub(super) fn size(&self) -> usize {
        record_len(self.name.len())
    }

    /// Whether it is `.` or `..`.
    pub fn is_dot(&self) -> bool {
        matches!(self.name, b"." | b"..")
    }
}

/// Where a name was found, and what it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where in the block the record begins.
    pub offset: usize,
    /// The number of the inode.
    pub ino: u32,
    /// What it is.
    pub file_type: FileType,
}

/// What a file system's superblock says about directory blocks.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    size: usize,
    inodes: u32,
    csum: bool,
    filetype: bool,
}

/// What a block of a directory holds: [`Format::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Entries.
    Leaf,
    /// `.` and `..`, and the root of an index.
    IndexRoot,
    /// A part of an index.
    IndexNode,
}

/// A record that lies within its block. What else must hold of it, [`Records::sound`] checks.
#[derive(Clone, Copy)]
struct Record {
    offset: usize,
    len: usize,
    ino: u32,
    name_len: usize,
    file_type: u8,
}

impl Record {
    /// One that is free room.
    const FREE: Self = Self {
        offset: 0,
        len: 0,
        ino: 0,
        name_len: 0,
        file_type: 0,
    };

    /// Bytes that are needed of it.
    fn used(&self) -> usize {
        match self.ino {
            0 => 0,
            _ => record_len(self.name_len),
        }
    }

    fn name_at(&self) -> usize {
        self.offset + HEADER
    }

    /// The entry that it is, if its name is there.
    fn entry<'a>(&self, block: &'a [u8]) -> Option<DirEntry<'a>> {
        let from = self.name_at();
        Some(DirEntry {
            offset: self.offset,
            ino: self.ino,
            file_type: self.file_type.into(),
            name: block.get(from..from + self.name_len)?,
        })
    }
}

impl Format {
    /// The format of the directories of a file system.
    pub fn new(geometry: &Geometry) -> Self {
        Self {
            // At most 64 KiB.
            size: geometry.block_size() as usize,
            inodes: geometry.inodes(),
            csum: geometry.csum().is_some(),
            filetype: geometry.incompat().contains(Incompat::FILETYPE),
        }
    }

    /// Bytes of a block.
    pub fn block_size(&self) -> usize {
        self.size
    }

    /// Whether blocks end in checksums.
    pub fn has_csum(&self) -> bool {
        self.csum
    }

    /// What `block` holds.
    ///
    /// Its records tell, since a leaf's leave room for the checksum and an index block's do not. Without
    /// checksums all blocks pass for leaves, and it makes no difference to those who read entries.
    pub fn kind<B: Bytes>(&self, block: &B) -> Kind {
        let len = |offset| self.record(block, offset).map(|record| record.len);
        if !self.csum {
            Kind::Leaf
        } else if len(0) == Some(self.size) {
            Kind::IndexNode
        } else if len(0) == Some(MIN_RECORD) && len(MIN_RECORD) == Some(self.size - MIN_RECORD) {
            Kind::IndexRoot
        } else {
            Kind::Leaf
        }
    }

    /// The entries of `block` that are in use, in order. Ends after an error.
    pub fn entries<'a>(&self, block: &'a [u8]) -> Entries<'a> {
        Entries {
            block,
            records: self.records(&block),
        }
    }

    /// The entry at `offset`, of which is known that it is there.
    pub(super) fn entry_at<'a>(&self, block: &'a [u8], offset: usize) -> Result<DirEntry<'a>> {
        self.record(&block, offset)
            .and_then(|record| record.entry(block))
            .ok_or(Error::TooSmall)
    }

    /// Looks for the entry called `name`.
    pub fn find<B: Bytes>(&self, block: &B, name: &[u8]) -> Result<Option<Found>> {
        // The last bytes are where the names of a directory differ.
        let end = name.last_chunk::<4>().copied();
        let end_at = name.len().saturating_sub(4);
        let mut records = self.records(block);
        while let Some(record) = records.next(block)? {
            let at = record.name_at();
            if record.name_len == name.len()
                && record.ino != 0
                && (end.is_none() || block.read_at(at + end_at) == end)
                && block.is_at(at, name)
            {
                let record = records.sound(record)?;
                return Ok(Some(Found {
                    offset: record.offset,
                    ino: record.ino,
                    file_type: record.file_type.into(),
                }));
            }
        }
        Ok(None)
    }

    /// Adds an entry to a copy of a block, as [`Self::inserting`] says.
    pub fn insert(&self, block: &mut [u8], name: &[u8], ino: u32, file_type: FileType) -> Result {
        self.inserting(&block, name, ino, file_type)?.apply(block);
        Ok(())
    }

    /// Adds an entry, wherever there is room. Nobody looks whether the name is there already.
    ///
    /// [`Error::Full`] if there is no room, as there is none in an index block.
    pub fn inserting<B: Bytes>(
        &self,
        block: &B,
        name: &[u8],
        ino: u32,
        file_type: FileType,
    ) -> Result<Patch> {
        if self.kind(block) != Kind::Leaf {
            return Err(Error::Full);
        }
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(Error::TooLarge);
        }
        let need = record_len(name.len());
        let mut records = self.records(block);
        while let Some(mut record) = records.next(block)? {
            let used = record.used();
            if record.len < used + need {
                continue;
            }
            record = records.sound(record)?;
            let mut new = Record {
                offset: record.offset + used,
                len: record.len - used,
                ino,
                name_len: name.len(),
                file_type: file_type as u8,
            };
            if used > 0 {
                record.len = used;
            } else {
                new.offset = record.offset;
            }
            let mut patch = Patch::at(new.offset, HEADER + name.len());
            patch.before = (used > 0).then(|| (record.offset, self.header(&record)));
            put(&mut patch.bytes, 0, &self.header(&new));
            put(&mut patch.bytes, HEADER, name);
            return Ok(patch);
        }
        Err(Error::Full)
    }

    /// Removes the entry at `offset`: its room goes to the one before it.
    ///
    /// What it said is overwritten.
    pub fn removing<B: Bytes>(&self, block: &B, offset: usize) -> Result<Patch> {
        let (before, gone) = self.record_at(block, offset)?;
        let mut patch = Patch::at(offset, gone.used());
        match before {
            Some(mut before) => {
                before.len += gone.len;
                patch.before = Some((before.offset, self.header(&before)));
            }
            None => {
                let free = Record {
                    len: gone.len,
                    ..Record::FREE
                };
                put(&mut patch.bytes, 0, &self.header(&free));
            }
        }
        Ok(patch)
    }

    /// Makes the entry at `offset` name another inode.
    pub fn setting_ino<B: Bytes>(
        &self,
        block: &B,
        offset: usize,
        ino: u32,
        file_type: FileType,
    ) -> Result<Patch> {
        let (_, mut record) = self.record_at(block, offset)?;
        (record.ino, record.file_type) = (ino, file_type as u8);
        let mut patch = Patch::at(offset, HEADER);
        put(&mut patch.bytes, 0, &self.header(&record));
        Ok(patch)
    }

    /// What [`Self::seal`] would put into the leaf `block` after `patch`, and where, as far as what was
    /// there before is right: only what changes is looked at. Nothing if leaves have no checksum.
    pub fn sealing<B: Bytes>(
        &self,
        block: &B,
        patch: &Patch,
        csum: Csum,
    ) -> Result<Option<(usize, [u8; 4])>> {
        if !self.csum {
            return Ok(None);
        }
        let at = self.size - size_of::<u32>();
        let mut value = u32::from_le_bytes(block.read_at(at).ok_or(Error::TooSmall)?);
        for (at, new) in patch.pieces() {
            let mut old = [0; MAX_RECORD];
            let old = old.get_mut(..new.len()).ok_or(Error::TooSmall)?;
            block.copy_at(at, old).ok_or(Error::TooSmall)?;
            let after = self.leaf_end().checked_sub(at + new.len());
            value = csum.replaced(value, old, new, after.ok_or(Error::TooSmall)?);
        }
        Ok(Some((at, value.to_le_bytes())))
    }

    /// Whether there are no entries but `.` and `..`.
    pub fn is_empty(&self, block: &[u8]) -> Result<bool> {
        for entry in self.entries(block) {
            if !entry?.is_dot() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes `block` one without entries.
    pub fn init(&self, block: &mut [u8]) {
        block.fill(0);
        self.close(block, Packed::default());
        self.init_tail(block);
    }

    /// Makes `block` the first one of directory `ino` with the parent given: `.` and `..`.
    pub fn init_dots(&self, block: &mut [u8], ino: u32, parent: u32) {
        block.fill(0);
        self.put_dots(block, ino, parent, self.leaf_end() - MIN_RECORD);
        self.init_tail(block);
    }

    /// Writes `.` and `..`, the latter's record being `len` bytes long.
    pub(super) fn put_dots(&self, block: &mut [u8], ino: u32, parent: u32, len: usize) {
        let mut record = Record {
            offset: 0,
            len: MIN_RECORD,
            ino,
            name_len: 1,
            file_type: FileType::Directory as u8,
        };
        self.put(block, &record);
        put(block, record.name_at(), b".\0\0\0");
        record = Record {
            offset: MIN_RECORD,
            len,
            ino: parent,
            name_len: 2,
            ..record
        };
        self.put(block, &record);
        put(block, record.name_at(), b"..\0\0");
    }

    /// Moves the entries for which `goes` answers so from the leaf `from` to `to`, which becomes a leaf
    /// that has them only. Both have all their free room at the end then.
    pub(super) fn partition(
        &self,
        from: &mut [u8],
        to: &mut [u8],
        mut goes: impl FnMut(&DirEntry<'_>) -> bool,
    ) -> Result {
        self.init(to);
        let (mut kept, mut moved) = (Packed::default(), Packed::default());
        let mut records = self.records(&from);
        while let Some(mut record) = records.next_sound(&from)? {
            let Some(entry) = record.entry(from).filter(|entry| entry.ino != 0) else {
                continue;
            };
            let goes = goes(&entry);
            let range = record.offset..record.offset + record.used();
            // What is kept moves towards the beginning: over records that were read already.
            let end = if goes { &mut moved } else { &mut kept };
            record = end.push(record);
            if goes {
                let bytes = from.get(range).ok_or(Error::TooSmall)?;
                put(to, record.offset, bytes);
                self.put(to, &record);
            } else {
                from.copy_within(range, record.offset);
                self.put(from, &record);
            }
        }
        self.close(from, kept);
        self.close(to, moved);
        Ok(())
    }

    /// Gives the last record of a leaf all that is left, and overwrites what was there.
    fn close(&self, block: &mut [u8], packed: Packed) {
        let end = self.leaf_end();
        if let Some(rest) = block.get_mut(packed.end..end) {
            rest.fill(0);
        }
        let mut last = packed.last.unwrap_or(Record::FREE);
        last.len = end - last.offset;
        self.put(block, &last);
    }

    /// Checks a block that came from disk: all its records.
    ///
    /// What an index block has beside them is checked where it is used.
    pub fn check(&self, block: &[u8]) -> Result {
        if block.len() != self.size {
            return Err(Error::TooSmall);
        }
        let mut records = self.records(&block);
        while records.next_sound(&block)?.is_some() {}
        Ok(())
    }

    /// Whether the checksum of a block of any kind is right, if blocks have any. `csum` is that of the
    /// directory's inode: [`Csum::for_inode`].
    pub fn verify(&self, block: &[u8], csum: Csum) -> Result {
        if !self.csum {
            return Ok(());
        }
        if self.kind(&block) != Kind::Leaf {
            return htree::verify(block, csum);
        }
        let (entries, tail) = self.split_tail(block)?;
        let [0, 0, 0, 0, 12, 0, 0, TAIL_TYPE, found @ ..] = *tail else {
            return Err(Error::Corrupt("directory block: no room for a checksum"));
        };
        if u32::from_le_bytes(found) != csum.with(entries).value() {
            return Err(Error::Checksum("directory block"));
        }
        Ok(())
    }

    /// Puts the checksum of a block of any kind in, if blocks have any. `csum` is that of the
    /// directory's inode.
    pub fn seal(&self, block: &mut [u8], csum: Csum) -> Result {
        if !self.csum {
            return Ok(());
        }
        if self.kind(&block) != Kind::Leaf {
            return htree::seal(block, csum);
        }
        let (entries, _) = self.split_tail(block)?;
        let value = csum.with(entries).value();
        put(block, self.size - size_of::<u32>(), &value.to_le_bytes());
        Ok(())
    }

    fn split_tail<'a>(&self, block: &'a [u8]) -> Result<(&'a [u8], &'a [u8; MIN_RECORD])> {
        match block.len() == self.size {
            true => block.split_last_chunk().ok_or(Error::TooSmall),
            false => Err(Error::TooSmall),
        }
    }

    /// Where the entries of a leaf end.
    fn leaf_end(&self) -> usize {
        self.size - if self.csum { MIN_RECORD } else { 0 }
    }

    fn init_tail(&self, block: &mut [u8]) {
        if self.csum {
            let tail = [0, 0, 0, 0, MIN_RECORD as u8, 0, 0, TAIL_TYPE, 0, 0, 0, 0];
            put(block, self.leaf_end(), &tail);
        }
    }

    fn records<B: Bytes>(&self, block: &B) -> Records {
        let end = match self.kind(block) {
            Kind::Leaf => self.leaf_end(),
            Kind::IndexRoot | Kind::IndexNode => self.size,
        };
        Records {
            format: *self,
            offset: 0,
            end,
        }
    }

    /// The record at `offset`, which must be one in use, and the one before it.
    fn record_at<B: Bytes>(&self, block: &B, offset: usize) -> Result<(Option<Record>, Record)> {
        let mut before = None;
        let mut records = self.records(block);
        while let Some(record) = records.next(block)? {
            if record.offset == offset && record.ino != 0 {
                return Ok((before, records.sound(record)?));
            }
            before = Some(record);
        }
        Err(Error::Corrupt("directory block: entry is not there"))
    }

    /// Reads the header of a record and checks nothing.
    fn record<B: Bytes>(&self, block: &B, offset: usize) -> Option<Record> {
        // In one piece, since this is done for every record that is passed.
        let header = u64::from_le_bytes(block.read_at(offset)?);
        let len = match usize::from((header >> 32) as u16) {
            // 64 KiB do not fit.
            0 | 0xffff if self.size == 0x10000 => 0x10000,
            len => len,
        };
        Some(Record {
            offset,
            len,
            ino: header as u32,
            name_len: usize::from((header >> 48) as u8),
            file_type: (header >> 56) as u8,
        })
    }

    /// Writes the header of a record.
    fn put(&self, block: &mut [u8], record: &Record) {
        put(block, record.offset, &self.header(record));
    }

    /// The header of a record.
    fn header(&self, record: &Record) -> [u8; HEADER] {
        let [i0, i1, i2, i3] = record.ino.to_le_bytes();
        let [l0, l1, ..] = record.len.min(0xffff).to_le_bytes();
        let [name_len, ..] = record.name_len.to_le_bytes();
        // Where types are not told, their place is the upper half of the name's length.
        let file_type = if self.filetype { record.file_type } else { 0 };
        [i0, i1, i2, i3, l0, l1, name_len, file_type]
    }
}

/// What a change makes of a block: of one record, and of the header of the one before it.
pub struct Patch {
    before: Option<(usize, [u8; HEADER])>,
    at: usize,
    len: usize,
    bytes: [u8; MAX_RECORD],
}

impl Patch {
    /// Zeros in place of `len` bytes at `at`.
    fn at(at: usize, len: usize) -> Self {
        Self {
            before: None,
            at,
            len,
            bytes: [0; MAX_RECORD],
        }
    }

    /// The new bytes, and where they go.
    pub fn pieces(&self) -> impl Iterator<Item = (usize, &[u8])> + Clone {
        let before = self.before.iter().map(|(at, header)| (*at, &header[..]));
        let bytes = self.bytes.get(..self.len).unwrap_or_default();
        before.chain([(self.at, bytes)])
    }

    /// Changes a copy of the block.
    pub fn apply(&self, block: &mut [u8]) {
        for (at, bytes) in self.pieces() {
            put(block, at, bytes);
        }
    }
}

/// Records laid one after the other.
#[derive(Default)]
struct Packed {
    end: usize,
    last: Option<Record>,
}

impl Packed {
    /// Gives `record` the next place and the room it needs.
    fn push(&mut self, mut record: Record) -> Record {
        (record.offset, record.len) = (self.end, record.used());
        self.end += record.len;
        self.last = Some(record);
        record
    }
}

/// Walks over the records of a block: checked as far as that takes, since most are passed only.
struct Records {
    format: Format,
    offset: usize,
    end: usize,
}

impl Records {
    #[inline]
    fn next<B: Bytes>(&mut self, block: &B) -> Result<Option<Record>> {
        if self.offset >= self.end {
            return Ok(None);
        }
        let record = self.format.record(block, self.offset);
        let record = record.ok_or(Error::TooSmall)?;
        // Both are at most 64 KiB.
        let next = self.offset + record.len;
        if record.len < MIN_RECORD || next > self.end {
            return Err(Error::Corrupt("directory entry: bad rec_len"));
        }
        self.offset = next;
        Ok(Some(record))
    }

    /// The next record, checked.
    fn next_sound<B: Bytes>(&mut self, block: &B) -> Result<Option<Record>> {
        let record = self.next(block)?;
        record.map(|record| self.sound(record)).transpose()
    }

    /// Checks a record that is about to be used.
    fn sound(&self, record: Record) -> Result<Record> {
        let rest = self.end.saturating_sub(record.offset + record.len);
        if record.len % 4 != 0
            || record.len < record_len(record.name_len)
            || (rest != 0 && rest < MIN_RECORD)
        {
            return Err(Error::Corrupt("directory entry: bad rec_len"));
        }
        if record.ino > self.format.inodes {
            return Err(Error::Corrupt("directory entry: no such inode"));
        }
        if record.ino != 0 && record.name_len == 0 {
            return Err(Error::Corrupt("directory entry: no name"));
        }
        Ok(record)
    }
}

/// The entries of a block, in order.
pub struct Entries<'a> {
    block: &'a [u8],
    records: Records,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<DirEntry<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let record = match self.records.next_sound(&self.block) {
                Ok(Some(record)) if record.ino == 0 => continue,
                Ok(record) => record?,
                Err(error) => {
                    self.records.offset = self.records.end;
                    return Some(Err(error));
                }
            };
            // A record lies within its block, and its name within it.
            return record.entry(self.block).map(Ok);
        }
    }
}

/// Stores bytes at an offset at which they fit.
pub(super) fn put(block: &mut [u8], offset: usize, bytes: &[u8]) {
    if let Some(to) = block
        .get_mut(offset..)
        .and_then(|b| b.get_mut(..bytes.len()))
    {
        to.copy_from_slice(bytes);
    }
}
