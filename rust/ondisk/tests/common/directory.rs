// SPDX-License-Identifier: GPL-2.0

//! A directory in memory, for the tests of directories.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::collections::BTreeMap;

use super::*;
use ondisk::{
    dir::{
        FileType,
        Patch, //
    },
    directory::{
        self,
        Layout,
        Read,
        Slot,
        Store, //
    },
    superblock::SuperBlock,
    Csum,
    Error,
    Geometry, //
};

/// The number of the directory's inode.
pub const INO: u32 = 12;

/// What a superblock says that matters to directories.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub block_size: usize,
    pub csum: bool,
    pub index: bool,
    pub large_dir: bool,
    pub hash_version: u8,
}

impl Config {
    pub const DEFAULT: Self = Self {
        block_size: 4096,
        csum: true,
        index: true,
        large_dir: false,
        hash_version: 1,
    };

    pub fn geometry(&self) -> Geometry {
        let bits = |on: bool, bit: u32| if on { bit } else { 0 };
        let mut sb = [0; 1024];
        let mut put = |offset: usize, value: u32| {
            sb[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        };
        let log = (self.block_size / 1024).trailing_zeros();
        put(0x00, 3 * 8192); // inodes_count
        put(0x04, 3 * 8192); // blocks_count_lo
        put(0x14, u32::from(log == 0)); // first_data_block
        put(0x18, log); // log_block_size
        put(0x1c, log); // log_cluster_size
        put(0x20, 8192); // blocks_per_group
        put(0x24, 8192); // clusters_per_group
        put(0x28, 8192); // inodes_per_group
        put(0x38, 0x0001_ef53); // magic, state
        put(0x4c, 1); // rev_level
        put(0x54, 11); // first_ino
        put(0x58, 256); // inode_size
        put(0x5c, bits(self.index, 0x20)); // feature_compat
        put(0x60, 0xc2 | bits(self.large_dir, 0x4000)); // feature_incompat
        put(0x64, 0x43 | bits(self.csum, 0x400)); // feature_ro_compat
        put(0xfc, 64 << 16 | u32::from(self.hash_version)); // desc_size, def_hash_version
        put(0x15c, 32 << 16 | 32); // min_extra_isize, want_extra_isize
        put(0x174, 1 << 8); // checksum_type
        SuperBlock::from_bytes_mut(&mut sb).seal(CRC32C);
        Geometry::parse(&sb, crc32c_update, u64::MAX).expect("a sound superblock")
    }
}

/// A directory whose blocks are in memory, checked when read and sealed when written as a file system
/// does it.
pub struct Dir {
    pub layout: Layout,
    pub csum: Option<Csum>,
    pub blocks: Vec<Vec<u8>>,
    pub indexed: bool,
    /// How many blocks may still be appended.
    pub budget: u32,
    pub written: usize,
    pub appended: u32,
}

impl Dir {
    pub fn new(geometry: &Geometry, ino: u32, generation: u32) -> Self {
        Self {
            layout: Layout::new(geometry),
            csum: geometry.csum().map(|csum| csum.for_inode(ino, generation)),
            blocks: Vec::new(),
            indexed: false,
            budget: u32::MAX,
            written: 0,
            appended: 0,
        }
    }

    /// An empty one.
    pub fn empty(config: &Config) -> Self {
        let mut dir = Self::new(&config.geometry(), INO, 7);
        directory::init(&mut dir, INO, 2).expect("a first block");
        dir
    }

    /// Runs one change and checks that it keeps to its credits and is all or nothing.
    pub fn run<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        (self.written, self.appended) = (0, 0);
        let before = self.blocks.clone();
        let result = f(self);
        assert!(self.written <= directory::INSERT_WRITES);
        assert!(self.appended <= directory::INSERT_APPENDS);
        // A first block that has become an index in vain is no harm.
        if result.is_err() && self.written != 2 {
            assert!(before == self.blocks, "half a change");
        }
        result
    }

    /// All entries as `visit` lists them, a few at a time, with slots as few as told.
    pub fn list(&mut self, slots: usize, batch: usize) -> Vec<(u64, Vec<u8>, u32)> {
        let mut slots = vec![Slot::default(); slots];
        let (mut list, mut pos) = (Vec::new(), 0);
        while pos < directory::END {
            let mut room = batch;
            pos = directory::visit(self, pos, &mut slots, |pos, entry| {
                if room == 0 {
                    return false;
                }
                room -= 1;
                list.push((pos, entry.name.to_vec(), entry.ino));
                true
            })
            .expect("a sound directory");
        }
        list
    }

    /// Checks that the directory has what `model` says and nothing else.
    pub fn check(&mut self, model: &BTreeMap<Vec<u8>, u32>) {
        for block in 0..self.blocks() {
            self.view(block).expect("a sound block");
        }
        let list = self.list(400, usize::MAX);
        assert!(list.windows(2).all(|w| w[0].0 <= w[1].0));
        let names = list.into_iter().map(|(_, name, ino)| (name, ino));
        let mut names: Vec<_> = names.collect();
        assert_eq!(names.remove(0), (b".".to_vec(), INO));
        assert_eq!(names.remove(0), (b"..".to_vec(), 2));
        names.sort();
        let model: Vec<_> = model.iter().map(|(n, i)| (n.clone(), *i)).collect();
        assert_eq!(names, model);
        assert_eq!(directory::is_empty(self), Ok(model.is_empty()));
    }
}

impl Read for Dir {
    type Error = Error;
    type View = Vec<u8>;
    type Block = Vec<u8>;

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn blocks(&self) -> u32 {
        self.blocks.len() as u32
    }

    fn is_indexed(&self) -> bool {
        self.indexed
    }

    fn view(&mut self, block: u32) -> Result<Vec<u8>, Error> {
        let bytes = &self.blocks[block as usize];
        if let Some(csum) = self.csum {
            self.layout.format().verify(bytes, csum)?;
        }
        self.layout.format().check(bytes)?;
        Ok(bytes.clone())
    }

    fn read(&mut self, block: u32) -> Result<Vec<u8>, Error> {
        self.view(block)
    }

    fn error(&self, _block: u32, error: Error) -> Error {
        error
    }
}

impl Store for Dir {
    fn append(&mut self, count: u32) -> Result<u32, Error> {
        self.budget = self.budget.checked_sub(count).ok_or(Error::Full)?;
        self.appended += count;
        let first = self.blocks();
        for _ in 0..count {
            self.blocks.push(Vec::new());
        }
        Ok(first)
    }

    fn create(&mut self, _block: u32) -> Result<Vec<u8>, Error> {
        // What was in the block before must not matter.
        Ok(vec![0xa5; self.layout.format().block_size()])
    }

    fn write(&mut self, block: u32, mut bytes: Vec<u8>) -> Result<(), Error> {
        self.written += 1;
        if let Some(csum) = self.csum {
            self.layout.format().seal(&mut bytes, csum)?;
        }
        self.blocks[block as usize] = bytes;
        Ok(())
    }

    fn patch(&mut self, block: u32, view: Vec<u8>, patch: &Patch) -> Result<(), Error> {
        self.written += 1;
        let mut bytes = view.clone();
        patch.apply(&mut bytes);
        if let Some(csum) = self.csum {
            let format = self.layout.format();
            let (at, follows) = format.sealing(&view, patch, csum)?.ok_or(Error::TooSmall)?;
            bytes[at..][..4].copy_from_slice(&follows);
            // As wrong as it was, if a test made it so.
            if format.verify(&view, csum).is_ok() {
                format
                    .verify(&bytes, csum)
                    .expect("a checksum that follows");
            }
        }
        self.blocks[block as usize] = bytes;
        Ok(())
    }

    fn set_indexed(&mut self) {
        self.indexed = true;
    }
}

/// Adds a name for a regular file.
pub fn add(dir: &mut Dir, name: &[u8], ino: u32) -> Result<(), Error> {
    directory::insert(dir, name, ino, FileType::Regular)
}

/// Names of 255 bytes with four or more of the same legacy hash each.
pub fn collisions() -> Vec<Vec<Vec<u8>>> {
    const ALPHABET: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCD";
    let step = |(last, before): (u32, u32), byte: u8| {
        let mixed = last ^ u32::from(byte).wrapping_mul(7_152_373);
        let hash = before.wrapping_add(mixed);
        let hash = if hash >> 31 == 1 {
            hash.wrapping_sub(0x7fff_ffff)
        } else {
            hash
        };
        (hash, last)
    };
    let prefix = (0..250).fold((0x12a3_fe2d, 0x37ab_e8f9), |s, _| step(s, b'_'));
    let mut states = vec![(prefix, Vec::new())];
    for _ in 0..3 {
        let longer = |(state, name): &((u32, u32), Vec<u8>)| {
            let (state, name) = (*state, name.clone());
            ALPHABET
                .iter()
                .map(move |b| (step(state, *b), [&name[..], &[*b]].concat()))
        };
        states = states.iter().flat_map(longer).collect();
    }
    // Of all hashes a part suffices.
    let mut hashes = Vec::new();
    for (nr, (state, _)) in states.iter().enumerate() {
        for a in ALPHABET {
            let state = step(*state, *a);
            for b in ALPHABET {
                let (hash, _) = step(state, *b);
                if hash % 64 == 5 {
                    hashes.push((hash << 1, nr, [*a, *b]));
                }
            }
        }
    }
    hashes.sort_unstable();
    let groups = hashes
        .chunk_by(|a, b| a.0 == b.0)
        .filter(|group| group.len() >= 4);
    let whole =
        |(_, nr, end): &(u32, usize, [u8; 2])| [&[b'_'; 250][..], &states[*nr].1, end].concat();
    groups
        .map(|group| group.iter().map(whole).collect())
        .collect()
}
