// SPDX-License-Identifier: GPL-2.0

//! Directories against a map from names to inodes: any sequence of changes, with and without an index,
//! names of equal hash, listing while entries come and go, and blocks that lie.

mod common;

#[path = "common/directory.rs"]
mod memory;

use std::collections::{
    BTreeMap,
    BTreeSet, //
};

use common::*;
use memory::*;
use ondisk::{
    dir::FileType,
    directory::{
        self,
        Slot, //
    },
    Error, //
};
use proptest::prelude::*;

type Model = BTreeMap<Vec<u8>, u32>;

fn config() -> impl Strategy<Value = Config> {
    (
        prop_oneof![3 => Just(1024usize), 1 => Just(4096)],
        prop_oneof![3 => Just(true), 1 => Just(false)],
        prop_oneof![3 => Just(true), 1 => Just(false)],
        any::<bool>(),
        0..3u8,
    )
        .prop_map(
            |(block_size, csum, index, large_dir, hash_version)| Config {
                block_size,
                csum,
                index,
                large_dir,
                hash_version,
            },
        )
}

/// Name `n` of a set in which lengths and hashes vary.
fn name(n: u16) -> Vec<u8> {
    let len = [1, 2, 9, 30, 254, 255][usize::from(n) % 6];
    let mut name = format!("{n:x}").into_bytes();
    name.resize(len.max(name.len()), b'\xfe');
    name
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u16, u32),
    Remove(u16),
    SetIno(u16, u32),
    /// Lists so many entries of a listing that goes on meanwhile.
    List(usize),
    /// The next change may append so many blocks.
    Budget(u32),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..150u16, 11..1000u32).prop_map(|(n, ino)| Op::Insert(n, ino)),
        4 => (0..150u16).prop_map(Op::Remove),
        1 => (0..150u16, 11..1000u32).prop_map(|(n, ino)| Op::SetIno(n, ino)),
        1 => (1..12usize).prop_map(Op::List),
        1 => (0..3u32).prop_map(Op::Budget),
    ]
}

/// A listing under way: what was there all the time must be listed, nothing must be twice.
#[derive(Default)]
struct Listing {
    pos: u64,
    seen: BTreeSet<Vec<u8>>,
    stayed: BTreeSet<Vec<u8>>,
}

impl Listing {
    fn start(model: &Model) -> Self {
        Self {
            stayed: model.keys().cloned().collect(),
            ..Self::default()
        }
    }

    fn go_on(&mut self, dir: &mut Dir, slots: usize, count: usize) {
        let mut slots = vec![Slot::default(); slots];
        let mut room = count;
        self.pos = directory::visit(dir, self.pos, &mut slots, |_, entry| {
            if room == 0 {
                return false;
            }
            room -= 1;
            assert!(self.seen.insert(entry.name.to_vec()), "listed twice");
            true
        })
        .unwrap();
    }

    fn finish(mut self, dir: &mut Dir) {
        self.go_on(dir, 64, usize::MAX);
        assert_eq!(self.pos, directory::END);
        assert!(self.stayed.is_subset(&self.seen), "not listed");
    }
}

proptest! {
    #[test]
    fn any_sequence(
        config in config(),
        slots in prop_oneof![Just(1usize), Just(5), Just(400)],
        ops in prop::collection::vec(op(), 1..300),
    ) {
        let (mut dir, mut model) = (Dir::empty(&config), Model::new());
        let mut listing = Listing::start(&model);
        for op in ops {
            match op {
                Op::Insert(n, ino) if !model.contains_key(&name(n)) => {
                    match dir.run(|dir| add(dir, &name(n), ino)) {
                        Ok(()) => { model.insert(name(n), ino); }
                        Err(error) => assert_eq!((error, dir.budget < 3), (Error::Full, true)),
                    }
                }
                Op::Insert(n, _) | Op::Remove(n) => {
                    let found = directory::lookup(&mut dir, &name(n)).unwrap();
                    prop_assert_eq!(found.map(|f| f.found.ino), model.remove(&name(n)));
                    if let Some(place) = found {
                        dir.run(|dir| directory::remove(dir, &place)).unwrap();
                        prop_assert_eq!(directory::lookup(&mut dir, &name(n)), Ok(None));
                    }
                    listing.stayed.remove(&name(n));
                    // If it comes back it may be listed once more.
                    listing.seen.remove(&name(n));
                }
                Op::SetIno(n, ino) => {
                    if let Some(place) = directory::lookup(&mut dir, &name(n)).unwrap() {
                        let set = |dir: &mut Dir| {
                            directory::set_ino(dir, &place, ino, FileType::Symlink)
                        };
                        dir.run(set).unwrap();
                        model.insert(name(n), ino);
                    }
                }
                Op::List(count) => listing.go_on(&mut dir, slots, count),
                Op::Budget(budget) => {
                    dir.budget = budget;
                    continue;
                }
            }
            dir.budget = u32::MAX;
            if listing.pos == directory::END {
                std::mem::replace(&mut listing, Listing::start(&model)).finish(&mut dir);
            }
        }
        listing.finish(&mut dir);
        dir.check(&model);
        for n in 0..150 {
            let found = directory::lookup(&mut dir, &name(n)).unwrap();
            prop_assert_eq!(found.map(|f| f.found.ino), model.get(&name(n)).copied());
        }
        prop_assert_eq!(dir.list(slots, 3), dir.list(400, usize::MAX));
    }

    /// Whatever blocks say, nothing panics and nothing loops.
    #[test]
    fn hostile_blocks(
        csum in any::<bool>(),
        flips in prop::collection::vec((0..60usize, 0..1024usize, any::<u8>()), 1..8),
        heads in any::<bool>(),
        names in prop::collection::vec(0..400u16, 1..10),
    ) {
        let config = Config { block_size: 1024, csum, large_dir: true, ..Config::DEFAULT };
        let mut dir = Dir::empty(&config);
        for n in 0..250 {
            add(&mut dir, &name(n), 11).unwrap();
        }
        // With csum, the checksum is that of the lie.
        for (block, offset, value) in flips {
            let count = dir.blocks.len();
            let block = block % count;
            let offset = if heads { offset % 48 } else { offset };
            dir.blocks[block][offset] = value;
            let mut bytes = dir.blocks[block].clone();
            if let Some(csum) = dir.csum {
                let _ = dir.layout.format().seal(&mut bytes, csum);
            }
            dir.blocks[block] = bytes;
        }
        let mut slots = vec![Slot::default(); 100];
        let _ = directory::visit(&mut dir, 0, &mut slots, |_, _| true);
        let _ = directory::is_empty(&mut dir);
        for n in names {
            let found = directory::lookup(&mut dir, &name(n));
            if let Ok(Some(place)) = found {
                let _ = directory::set_ino(&mut dir, &place, 12, FileType::Fifo);
                let _ = directory::remove(&mut dir, &place);
            }
            let _ = add(&mut dir, &name(n), 13);
        }
    }
}

/// More names of one hash than fit a leaf: three of 255 bytes fit one of 1 KiB.
#[test]
fn names_of_one_hash() {
    let config = Config {
        block_size: 1024,
        hash_version: 0,
        ..Config::DEFAULT
    };
    let groups = collisions();
    assert!(groups.len() > 2);
    for group in &groups {
        let (mut dir, mut model) = (Dir::empty(&config), Model::new());
        for n in 0..40 {
            add(&mut dir, &name(n), 20).unwrap();
            model.insert(name(n), 20);
        }
        let mut listing = Listing::start(&model);
        listing.go_on(&mut dir, 3, 10);
        for (n, name) in group.iter().enumerate() {
            add(&mut dir, name, 30 + n as u32).unwrap();
            model.insert(name.clone(), 30 + n as u32);
        }
        listing.go_on(&mut dir, 1, 20);
        dir.check(&model);
        for slots in [1, 2, 400] {
            assert_eq!(dir.list(slots, 1), dir.list(400, usize::MAX));
        }
        for (n, name) in group.iter().enumerate() {
            let place = directory::lookup(&mut dir, name).unwrap().expect("there");
            assert_eq!(place.found.ino, 30 + n as u32);
            directory::remove(&mut dir, &place).unwrap();
            model.remove(name);
        }
        listing.finish(&mut dir);
        dir.check(&model);
    }
}

/// An index of three levels; one that can grow no more; an entry costs few blocks however many there
/// are.
#[test]
fn as_large_as_can_be() {
    let long = |n: u32| format!("{n:0255}").into_bytes();
    for (large_dir, levels) in [(false, 1), (true, 2)] {
        let config = Config {
            block_size: 1024,
            csum: true,
            large_dir,
            ..Config::DEFAULT
        };
        let mut dir = Dir::empty(&config);
        let count = if large_dir { 60_000 } else { 40_000 };
        let mut full = None;
        for n in 0..count {
            dir.written = 0;
            if let Err(error) = add(&mut dir, &long(n), 11) {
                full = Some((n, error));
                break;
            }
            assert!(dir.written <= directory::INSERT_WRITES);
        }
        assert_eq!(dir.blocks[0][0x1e], levels);
        let there = match full {
            Some((n, error)) => {
                assert_eq!((large_dir, error), (false, Error::Full));
                n
            }
            None => count,
        };
        assert!(there > 20_000);
        assert_eq!(dir.list(400, 1000).len(), there as usize + 2);
        for n in (0..there).step_by(97) {
            assert!(directory::lookup(&mut dir, &long(n)).unwrap().is_some());
            assert_eq!(directory::lookup(&mut dir, &long(n + count)), Ok(None));
        }
    }
}

/// Without checksums the block of an index must not be taken for a leaf, nor with them a bare one.
#[test]
fn kinds() {
    use ondisk::dir::Kind;
    let mut dir = Dir::empty(&Config::DEFAULT);
    for n in 0..200u32 {
        add(&mut dir, format!("{n:0200}").as_bytes(), 11).unwrap();
    }
    let format = *dir.layout.format();
    assert!(dir.indexed);
    assert_eq!(format.kind(&dir.blocks[0]), Kind::IndexRoot);
    assert!(dir.blocks[1..]
        .iter()
        .all(|block| format.kind(block) == Kind::Leaf));
    let mut block = vec![0; 4096];
    format.init(&mut block);
    assert_eq!(format.kind(&block), Kind::Leaf);
    assert_eq!(
        format.insert(&mut dir.blocks[0].clone(), b"x", 11, FileType::Regular),
        Err(Error::Full)
    );
    assert_eq!(
        format.insert(&mut block, &[b'x'; 256], 11, FileType::Regular),
        Err(Error::TooLarge)
    );
    let csum = dir.csum.unwrap();
    dir.blocks[0][100] ^= 1;
    assert_eq!(
        format.verify(&dir.blocks[0], csum),
        Err(Error::Checksum("directory index"))
    );
    dir.blocks[1][100] ^= 1;
    assert_eq!(
        format.verify(&dir.blocks[1], csum),
        Err(Error::Checksum("directory block"))
    );
}
