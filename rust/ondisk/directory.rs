// SPDX-License-Identifier: GPL-2.0

//! Directories: which names there are, and which inodes they name.
//!
//! A directory is a file of blocks of entries ([`super::dir`]), and may have an index over them
//! ([`super::htree`]). A new one has one block; when that is full it gets an index, if the file system
//! has such, and from then on no change looks at more than a few of its blocks.
//!
//! The blocks are read and changed through a [`Store`]. As with extent trees ([`super::tree`]), what can
//! fail comes before the first [`Store::write`]. A change of one leaf, as most are, is a [`Patch`] to the
//! bytes that become others; what changes more of a block works on private copies.
//!
//! # Positions
//!
//! Entries come and go while somebody lists the directory, and move to other blocks when one is split.
//! So where there is, or may come to be, an index, a position is not a place but the hash of the name,
//! and entries are listed in that order: those that stay are listed exactly once. See [`visit()`].

mod visit;

pub use self::visit::{
    is_in_order_of_hash,
    visit,
    Slot,
    END, //
};

use super::bytes::Bytes;
use super::dir::{
    FileType,
    Format,
    Found,
    Kind,
    Patch, //
};
use super::feature::{
    Compat,
    Incompat, //
};
use super::hash::Hasher;
use super::htree;
use super::{
    Error,
    Geometry,
    Result, //
};

/// The most blocks that one [`insert`] hands to [`Store::write`].
///
/// The two of a new index; then the leaf that is split, a node a level, and one new block beside each
/// of them.
pub const INSERT_WRITES: usize = 2 + 2 * (1 + htree::MAX_LEVELS);

/// The most blocks that one [`insert`] appends.
pub const INSERT_APPENDS: u32 = 2 + htree::MAX_LEVELS as u32;

/// What a file system's superblock says about directories.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    format: Format,
    version: u8,
    unsigned: bool,
    seed: [u32; 4],
    can_index: bool,
    max_levels: usize,
}

impl Layout {
    /// The layout of the directories of a file system.
    pub fn new(geometry: &Geometry) -> Self {
        Self {
            format: Format::new(geometry),
            version: geometry.def_hash_version(),
            unsigned: geometry.hash_unsigned(),
            seed: geometry.hash_seed(),
            can_index: geometry.compat().contains(Compat::DIR_INDEX),
            max_levels: match geometry.incompat().contains(Incompat::LARGEDIR) {
                true => htree::MAX_LEVELS,
                false => htree::MAX_LEVELS - 1,
            },
        }
    }

    /// The format of one block.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// What the names of a directory are hashed with whose index says `version`.
    pub fn hasher(&self, version: u8) -> Result<Hasher> {
        Hasher::new(version, self.unsigned, self.seed)
    }

    /// What the names of a directory without index are, or will be, hashed with.
    pub fn new_hasher(&self) -> Result<Hasher> {
        self.hasher(self.version)
    }

    /// Levels of index nodes that a directory can have, the root among them.
    pub(super) fn max_levels(&self) -> usize {
        self.max_levels
    }
}

/// What reads the blocks of a directory.
pub trait Read {
    /// What can go wrong.
    type Error;

    /// A block in place, from which a lookup copies only what it needs.
    type View: Bytes;

    /// A private copy of a block.
    type Block: AsRef<[u8]>;

    /// What the superblock says about directories.
    fn layout(&self) -> &Layout;

    /// The size of the directory, in blocks.
    fn blocks(&self) -> u32;

    /// Whether the inode says that there is an index (`EXT4_INDEX_FL`).
    fn is_indexed(&self) -> bool;

    /// Block `block` of the directory, its checksum verified ([`Format::verify`]) and its records
    /// checked ([`Format::check`]) since it was read from disk.
    fn view(&mut self, block: u32) -> Result<Self::View, Self::Error>;

    /// A copy of block `block` of the directory, verified as for [`Read::view`].
    fn read(&mut self, block: u32) -> Result<Self::Block, Self::Error>;

    /// The error for what is wrong with block `block` of the directory.
    ///
    /// [`Error::Full`] is not the directory's fault: its index is as large as can be.
    fn error(&self, block: u32, error: Error) -> Self::Error;
}

/// What reads and changes the blocks of a directory.
pub trait Store: Read<Block: AsMut<[u8]>> {
    /// Makes the directory `count` blocks longer, or changes nothing and fails. Answers with the first
    /// of them; each is then [created](Store::create) and written.
    fn append(&mut self, count: u32) -> Result<u32, Self::Error>;

    /// Memory for the content of a block that was appended. What it has in it does not matter.
    fn create(&mut self, block: u32) -> Result<Self::Block, Self::Error>;

    /// Makes `bytes` the content of block `block`, which it was read from or created for, and puts the
    /// checksum in ([`Format::seal`]).
    fn write(&mut self, block: u32, bytes: Self::Block) -> Result<(), Self::Error>;

    /// Puts what `patch` says into block `block`, a leaf, which is looked at in `view`, and has its checksum
    /// follow ([`Format::sealing`]).
    fn patch(&mut self, block: u32, view: Self::View, patch: &Patch) -> Result<(), Self::Error>;

    /// Makes the inode say that there is an index.
    fn set_indexed(&mut self);
}

/// Where in a directory a name was found, and what it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The block of the directory.
    pub block: u32,
    /// Where in the block, and what.
    pub found: Found,
}

/// Looks for the entry called `name`, be it `.` or `..`.
pub fn lookup<R: Read>(dir: &mut R, name: &[u8]) -> Result<Option<Place>, R::Error> {
    let format = *dir.layout().format();
    let blocks = match name {
        // The dots are in the first block of any directory.
        b"." | b".." => dir.blocks().min(1),
        _ if dir.is_indexed() => return htree::lookup(dir, name),
        _ => dir.blocks(),
    };
    for block in 0..blocks {
        let view = dir.view(block)?;
        let found = format
            .find(&view, name)
            .map_err(|error| dir.error(block, error))?;
        if let Some(found) = found {
            return Ok(Some(Place { block, found }));
        }
    }
    Ok(None)
}

/// Adds an entry. Nobody looks whether the name is there already.
pub fn insert<S: Store>(
    dir: &mut S,
    name: &[u8],
    ino: u32,
    file_type: FileType,
) -> Result<(), S::Error> {
    let layout = *dir.layout();
    let format = layout.format();
    if dir.is_indexed() {
        return htree::insert(dir, name, ino, file_type);
    }
    for nr in 0..dir.blocks() {
        let view = dir.view(nr)?;
        match format.inserting(&view, name, ino, file_type) {
            Ok(patch) => return dir.patch(nr, view, &patch),
            Err(Error::Full) => continue,
            Err(error) => return Err(dir.error(nr, error)),
        }
    }
    if layout.can_index && dir.blocks() == 1 {
        htree::create(dir)?;
        return htree::insert(dir, name, ino, file_type);
    }
    let nr = dir.append(1)?;
    let mut block = dir.create(nr)?;
    format.init(block.as_mut());
    format
        .insert(block.as_mut(), name, ino, file_type)
        .map_err(|error| dir.error(nr, error))?;
    dir.write(nr, block)
}

/// Removes the entry that [`lookup`] found; the directory must not have changed since.
pub fn remove<S: Store>(dir: &mut S, place: &Place) -> Result<(), S::Error> {
    change(dir, place, |format, view| {
        format.removing(view, place.found.offset)
    })
}

/// Makes the entry that [`lookup`] found name another inode: what a rename does to the name it replaces
/// and to the `..` of a directory it moves. The directory must not have changed since.
pub fn set_ino<S: Store>(
    dir: &mut S,
    place: &Place,
    ino: u32,
    file_type: FileType,
) -> Result<(), S::Error> {
    change(dir, place, |format, view| {
        format.setting_ino(view, place.found.offset, ino, file_type)
    })
}

/// Changes the block that `place` is in.
fn change<S: Store>(
    dir: &mut S,
    place: &Place,
    f: impl FnOnce(&Format, &S::View) -> Result<Patch>,
) -> Result<(), S::Error> {
    let format = *dir.layout().format();
    let view = dir.view(place.block)?;
    let patch = f(&format, &view).map_err(|error| dir.error(place.block, error))?;
    if format.kind(&view) == Kind::Leaf {
        return dir.patch(place.block, view, &patch);
    }
    // The dots, before an index, whose checksum is another one.
    let mut block = dir.read(place.block)?;
    patch.apply(block.as_mut());
    dir.write(place.block, block)
}

/// Writes the first block of the new directory `ino`, which is empty so far.
pub fn init<S: Store>(dir: &mut S, ino: u32, parent: u32) -> Result<(), S::Error> {
    let format = *dir.layout().format();
    let nr = dir.append(1)?;
    let mut block = dir.create(nr)?;
    format.init_dots(block.as_mut(), ino, parent);
    dir.write(nr, block)
}

/// Whether there are no entries but `.` and `..`.
pub fn is_empty<R: Read>(dir: &mut R) -> Result<bool, R::Error> {
    let format = *dir.layout().format();
    for nr in 0..dir.blocks() {
        let block = dir.read(nr)?;
        let empty = format.is_empty(block.as_ref());
        if !empty.map_err(|error| dir.error(nr, error))? {
            return Ok(false);
        }
    }
    Ok(true)
}
