// SPDX-License-Identifier: GPL-2.0

//! Directories: finding, adding, changing and removing entries.
//!
//! What is in the blocks is the business of [`ondisk::directory`]; here they are read, written and
//! allocated. Invariant: each block below `i_size` is mapped. Who changes a directory holds its `i_rwsem`
//! exclusively, who reads it holds it shared.

use kernel::sync::atomic::Relaxed;

use super::{
    error::{
        corrupt,
        report,
        At, //
    },
    map::{
        self,
        Fill,
        Place, //
    },
    meta::{
        self,
        Block,
        MetaBlock,
        View, //
    },
    INode,
    Transaction, //
};
use crate::{
    ondisk::{
        self,
        dir::{
            self,
            FileType,
            Patch,
            MAX_NAME, //
        },
        directory::{
            self,
            Layout,
            Read,
            Store, //
        },
        inode::flag,
        BlockNr, //
    },
    prelude::*,
    vfs::{
        self,
        Credits, //
    }, //
};

/// What a message calls it.
const NAME: &str = "directory";

/// The most blocks that [`remove`], [`replace`] and [`set_parent`] change.
pub const CHANGE_CREDITS: Credits = Credits(1);

/// The most blocks that [`init()`] changes, but for those that allocating one does.
pub const INIT_CREDITS: Credits = Credits(1);

/// The most blocks that [`insert`] changes.
pub fn insert_credits(dir: &INode) -> Credits {
    Credits(directory::INSERT_WRITES as u32)
        + map::allocate_credits(dir) * directory::INSERT_APPENDS
}

/// What an entry names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The number of the inode.
    pub ino: u32,
    file_type: FileType,
}

impl Entry {
    /// An entry that names `inode`.
    pub fn of(inode: &INode) -> Self {
        Self {
            // No inode has a number that its format cannot hold.
            ino: inode.ino() as u32,
            file_type: match inode.kind() {
                vfs::FileType::Regular => FileType::Regular,
                vfs::FileType::Directory => FileType::Directory,
                vfs::FileType::CharDevice => FileType::CharDevice,
                vfs::FileType::BlockDevice => FileType::BlockDevice,
                vfs::FileType::Fifo => FileType::Fifo,
                vfs::FileType::Socket => FileType::Socket,
                vfs::FileType::Symlink => FileType::Symlink,
            },
        }
    }
}

/// Finds out which inode `name` names. [`ENAMETOOLONG`] if nothing can have that name.
pub fn lookup(dir: &INode, name: &[u8]) -> Result<Option<u32>> {
    if name.len() > MAX_NAME {
        return Err(ENAMETOOLONG);
    }
    let place = directory::lookup(&mut Reader::new(dir), name)?;
    Ok(place.map(|place| place.found.ino))
}

/// The inode that `..` names.
pub fn parent(dir: &INode) -> Result<u32> {
    lookup(dir, b"..")?.ok_or_else(|| without_entry(dir))
}

/// Whether there are no entries but `.` and `..`.
pub fn is_empty(dir: &INode) -> Result<bool> {
    directory::is_empty(&mut Reader::new(dir))
}

/// Writes the first block of `dir`, which is new and has `parent` as its parent.
pub fn init(tx: &Transaction<'_>, dir: &INode, parent: &INode) -> Result {
    let parent = Entry::of(parent).ino;
    directory::init(&mut Editor::new(tx, dir), Entry::of(dir).ino, parent)
}

/// Adds an entry, which the caller knows not to be there. On an error nothing has changed.
pub fn insert(tx: &Transaction<'_>, dir: &INode, name: &[u8], entry: Entry) -> Result {
    let mut editor = Editor::new(tx, dir);
    directory::insert(&mut editor, name, entry.ino, entry.file_type)
        .inspect_err(|_| editor.take_back())
}

/// Removes the entry `name`, which names `entry`.
pub fn remove(tx: &Transaction<'_>, dir: &INode, name: &[u8], entry: Entry) -> Result {
    let mut editor = Editor::new(tx, dir);
    let place = editor.find(name, entry)?;
    directory::remove(&mut editor, &place)
}

/// Makes the entry `name`, which names `from`, name `to`.
pub fn replace(tx: &Transaction<'_>, dir: &INode, name: &[u8], from: Entry, to: Entry) -> Result {
    let mut editor = Editor::new(tx, dir);
    let place = editor.find(name, from)?;
    directory::set_ino(&mut editor, &place, to.ino, to.file_type)
}

/// Makes the `..` of `dir`, which names `from`, name `to`.
pub fn set_parent(tx: &Transaction<'_>, dir: &INode, from: &INode, to: &INode) -> Result {
    replace(tx, dir, b"..", Entry::of(from), Entry::of(to))
}

/// The image is corrupted: an entry is not what it was found to be before.
fn without_entry(dir: &INode) -> Error {
    let at = At::inode(dir.ino(), 0);
    corrupt(dir.sb(), NAME, at, fmt!("an entry is not what it was"))
}

/// The format of the blocks of one directory.
struct Format<'a> {
    dir: &'a INode,
    format: dir::Format,
}

impl meta::Format for Format<'_> {
    const NAME: &'static str = NAME;

    fn verify(&self, bytes: &[u8]) -> ondisk::Result {
        if let Some(csum) = map::csum(self.dir) {
            self.format.verify(bytes, csum)?;
        }
        self.format.check(bytes)
    }

    fn seal(&self, bytes: &mut [u8]) -> ondisk::Result {
        match map::csum(self.dir) {
            Some(csum) => self.format.seal(bytes, csum),
            None => Ok(()),
        }
    }
}

/// A directory to look at.
pub(super) struct Reader<'a> {
    dir: &'a INode,
    layout: Layout,
}

impl<'a> Reader<'a> {
    pub(super) fn new(dir: &'a INode) -> Self {
        Self {
            dir,
            layout: Layout::new(dir.sb().data().get_ref().geometry()),
        }
    }

    fn format(&self) -> Format<'a> {
        Format {
            dir: self.dir,
            format: *self.layout.format(),
        }
    }

    /// Where a block of the directory is. A directory has no holes.
    fn place(&self, block: u32) -> Result<BlockNr> {
        match map::map_blocks(self.dir, block)?.place {
            Place::Written(nr) => Ok(nr),
            _ => {
                let at = At::inode(self.dir.ino(), 0);
                Err(corrupt(
                    self.dir.sb(),
                    NAME,
                    at,
                    fmt!("block {block} is missing"),
                ))
            }
        }
    }
}

impl Read for Reader<'_> {
    type Error = Error;
    type View = View;
    type Block = Block;

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn blocks(&self) -> u32 {
        let blocks = self.dir.size() >> self.dir.sb().block_bits();
        u32::try_from(blocks).unwrap_or(u32::MAX)
    }

    fn is_indexed(&self) -> bool {
        self.dir.data().flags.load(Relaxed) & flag::INDEX != 0
    }

    fn view(&mut self, block: u32) -> Result<View> {
        View::read(
            self.dir.sb(),
            Some(self.dir),
            self.place(block)?,
            &self.format(),
        )
    }

    fn read(&mut self, block: u32) -> Result<Block> {
        Block::read(
            self.dir.sb(),
            Some(self.dir),
            self.place(block)?,
            &self.format(),
        )
    }

    fn error(&self, block: u32, error: ondisk::Error) -> Error {
        let at = self.place(block).map_or(0, BlockNr::get);
        report(self.dir.sb(), NAME, At::inode(self.dir.ino(), at), error)
    }
}

/// A directory to change.
struct Editor<'t> {
    tx: &'t Transaction<'t>,
    reader: Reader<'t>,
    /// The first block that was appended, as long as nothing was written.
    appended: Option<u32>,
}

impl<'t> Editor<'t> {
    fn new(tx: &'t Transaction<'t>, dir: &'t INode) -> Self {
        Self {
            tx,
            reader: Reader::new(dir),
            appended: None,
        }
    }

    /// Takes back what was appended, after an error, if nothing was written to it or refers to it.
    fn take_back(&mut self) {
        let Some(first) = self.appended else {
            return;
        };
        let dir = self.reader.dir;
        let end = self.blocks();
        dir.set_size(u64::from(first) << dir.sb().block_bits());
        // If that fails, e2fsck finds blocks past the end.
        let _ = map::unallocate(self.tx, dir, first, end);
    }

    /// Finds the entry `name` again, which is known to name `entry`.
    fn find(&mut self, name: &[u8], entry: Entry) -> Result<directory::Place> {
        directory::lookup(self, name)?
            .filter(|place| place.found.ino == entry.ino)
            .ok_or_else(|| without_entry(self.reader.dir))
    }
}

impl<'t> Read for Editor<'t> {
    type Error = Error;
    type View = View;
    type Block = MetaBlock<'t, Format<'t>>;

    fn layout(&self) -> &Layout {
        self.reader.layout()
    }

    fn blocks(&self) -> u32 {
        self.reader.blocks()
    }

    fn is_indexed(&self) -> bool {
        self.reader.is_indexed()
    }

    fn view(&mut self, block: u32) -> Result<View> {
        self.reader.view(block)
    }

    fn read(&mut self, block: u32) -> Result<Self::Block> {
        let dir = self.reader.dir;
        MetaBlock::read(
            self.tx,
            Some(dir),
            self.reader.place(block)?,
            self.reader.format(),
        )
    }

    fn error(&self, block: u32, error: ondisk::Error) -> Error {
        self.reader.error(block, error)
    }
}

impl Store for Editor<'_> {
    fn append(&mut self, count: u32) -> Result<u32> {
        let dir = self.reader.dir;
        let first = self.blocks();
        let end = first.checked_add(count).ok_or(EFBIG)?;
        let mut lblk = first;
        while lblk < end {
            match map::allocate(self.tx, dir, lblk, end - lblk, Fill::Written) {
                Ok((mapping, _)) => lblk = lblk.saturating_add(mapping.len).min(end),
                Err(err) => {
                    map::unallocate(self.tx, dir, first, lblk)?;
                    return Err(err);
                }
            }
        }
        dir.set_size(u64::from(end) << dir.sb().block_bits());
        dir.mark_dirty();
        self.appended = self.appended.or(Some(first));
        Ok(first)
    }

    fn create(&mut self, block: u32) -> Result<Self::Block> {
        let dir = self.reader.dir;
        MetaBlock::create(
            self.tx,
            Some(dir),
            self.reader.place(block)?,
            self.reader.format(),
        )
    }

    fn write(&mut self, _block: u32, bytes: Self::Block) -> Result {
        self.appended = None;
        bytes.commit()
    }

    fn patch(&mut self, block: u32, view: View, patch: &Patch) -> Result {
        self.appended = None;
        let dir = self.reader.dir;
        let sealing = match map::csum(dir) {
            Some(csum) => self.layout().format().sealing(&view, patch, csum),
            None => Ok(None),
        };
        let sealing = sealing.map_err(|error| self.error(block, error))?;
        let checksum = sealing.iter().map(|(at, bytes)| (*at, &bytes[..]));
        view.patch(self.tx, dir, Iterator::chain(patch.pieces(), checksum))
    }

    fn set_indexed(&mut self) {
        let dir = self.reader.dir;
        let flags = &dir.data().get_ref().flags;
        flags.store(flags.load(Relaxed) | flag::INDEX, Relaxed);
        dir.mark_dirty();
    }
}
