// SPDX-License-Identifier: GPL-2.0

//! The geometry of file systems that mke2fs made, and of superblocks that nobody made.

mod common;

use std::sync::OnceLock;

use common::*;
use ondisk::{
    feature::{
        Incompat,
        RoCompat, //
    },
    superblock::SuperBlock,
    Error,
    Geometry, //
};
use proptest::prelude::*;

fn parse(sb: &[u8; 1024]) -> Result<Geometry, Error> {
    Geometry::parse(sb, crc32c_update, u64::MAX)
}

/// A superblock changed at `offset`, with its checksum right again.
fn changed(sb: &[u8; 1024], offset: usize, bytes: &[u8]) -> [u8; 1024] {
    let mut sb = *sb;
    sb[offset..offset + bytes.len()].copy_from_slice(bytes);
    SuperBlock::from_bytes_mut(&mut sb).seal(CRC32C);
    sb
}

/// The number after `name` and a colon in what dumpe2fs printed.
fn dumped(dump: &str, name: &str) -> u64 {
    let line = dump.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("dumpe2fs does not tell {name}"));
    let value = line.split(':').nth(1).expect("a value").trim();
    value.parse().expect("a number")
}

/// The defaults of e2fsprogs 1.47.0 and 1.47.2, whichever version makes them.
const DEFAULTS: [&str; 2] = [
    "-b 4096 -O ^metadata_csum_seed,^orphan_file",
    "-b 4096 -O metadata_csum_seed,orphan_file",
];

#[test]
fn defaults() {
    for args in DEFAULTS {
        let image = Image::new(args, "600M");
        let (geometry, dump) = (image.geometry(), image.dumpe2fs());
        assert_eq!(geometry.check_writable(), Ok(()));
        assert_eq!(geometry.blocks().end(), dumped(&dump, "Block count"));
        assert_eq!(u64::from(geometry.inodes()), dumped(&dump, "Inode count"));
        assert_eq!(
            u64::from(geometry.block_size()),
            dumped(&dump, "Block size")
        );
        assert_eq!(
            u64::from(geometry.inode_table_blocks()),
            dumped(&dump, "Inode blocks per group")
        );
        assert_eq!(
            u64::from(geometry.groups_per_flex()),
            dumped(&dump, "Flex block group size")
        );
        assert_eq!(geometry.groups(), 5);
        assert_eq!(geometry.inode_size(), 256);
        assert_eq!(geometry.want_extra_isize(), 32);
        assert_eq!(geometry.journal_ino(), Some(8));
        assert_eq!(geometry.orphan_file_ino().is_some(), args == DEFAULTS[1]);
        assert!(geometry.csum().is_some());
    }
}

#[test]
fn overhead_is_what_e2fsprogs_counts() {
    for args in [
        "-b 4096",
        "-b 1024",
        "-b 4096 -O ^has_journal,meta_bg,^resize_inode -E packed_meta_blocks=1",
        "-b 4096 -O sparse_super2",
        "-b 4096 -O ^sparse_super,^resize_inode",
    ] {
        let image = Image::new(args, "300M");
        let dump = image.dumpe2fs();
        assert_eq!(
            image.geometry().overhead_blocks(),
            dumped(&dump, "Overhead clusters"),
            "{args}"
        );
    }
}

#[test]
fn features_are_refused_by_name() {
    let sb = Image::new("-b 4096", "16M").superblock();
    for (offset, bit, message) in [
        (0x60, 0x8000, "unsupported features: inline_data"),
        (0x60, 0x10000, "unsupported features: encrypt"),
        (0x60, 0x20000, "unsupported features: casefold"),
        (0x60, 0x8000_0100, "unsupported features: mmp, FEATURE_I31"),
        (0x64, 0x200, "unsupported: bigalloc"),
    ] {
        let set = u32::from_le_bytes(sb[offset..][..4].try_into().unwrap()) | bit;
        let error = parse(&changed(&sb, offset, &set.to_le_bytes())).unwrap_err();
        assert_eq!(error.to_string(), message);
    }

    let set = u32::from_le_bytes(sb[0x64..][..4].try_into().unwrap()) | 0x4080;
    let geometry = parse(&changed(&sb, 0x64, &set.to_le_bytes())).unwrap();
    let error = geometry.check_writable().unwrap_err();
    assert_eq!(error, Error::RoCompat(RoCompat::from_bits(0x4080)));
    assert!(
        error.to_string().ends_with("snapshot, FEATURE_R14"),
        "{error}"
    );
}

/// The ancestors of ext4, down to the one that knew of no features.
#[test]
fn older_file_systems() {
    let ext3 = parse(&Image::new("-b 4096 -O ^extent,^64bit", "16M").superblock()).unwrap();
    assert!(!ext3.incompat().contains(Incompat::EXTENTS));
    // Of revision 0 nothing counts that came later.
    let sb = changed(
        &Image::new("-b 1024 -O none -I 128", "16M").superblock(),
        0x4c,
        &[0],
    );
    let first = parse(&changed(&sb, 0x54, &[0; 6])).unwrap();
    assert_eq!((first.inode_size(), first.first_ino()), (128, 11));
    first.check_writable().unwrap();
    let error = parse(&changed(&sb, 0x60, &[2])).unwrap_err();
    assert_eq!(error, Error::Corrupt("features of revision 0"));
}

#[test]
fn a_device_too_small_is_told() {
    let sb = Image::new("-b 4096", "16M").superblock();
    let error = Geometry::parse(&sb, crc32c_update, (16 << 20) - 1).unwrap_err();
    assert_eq!(
        error,
        Error::DeviceTooSmall {
            blocks: 4096,
            device: 4095
        }
    );
}

#[test]
fn a_flipped_bit_is_seen() {
    let sb = Image::new("-b 4096", "16M").superblock();
    for bit in 0..1024 * 8 {
        let mut sb = sb;
        sb[bit / 8] ^= 1 << (bit % 8);
        // Without the flag, nothing tells that there is a checksum.
        if bit != 0x64 * 8 + 10 {
            assert!(parse(&sb).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn inodes_have_places() {
    let image = Image::new("-b 4096 -g 4096", "64M");
    let geometry = image.geometry();
    assert!(geometry.inode(0).is_err());
    assert!(geometry.inode(geometry.inodes() + 1).is_err());
    for ino in 1..=geometry.inodes() {
        let place = geometry.inode(ino).unwrap();
        assert_eq!(geometry.ino(place.group, place.bit), Ok(ino));
        assert!(place.block < geometry.inode_table_blocks());
        assert_eq!(place.offset % 256, 0);
    }
}

/// Uses all that a geometry offers; the test is that nothing panics, and that what is promised holds.
fn exercise(geometry: &Geometry) {
    let last = geometry.groups() - 1;
    for group in [0, 1, 2, 3, last / 2, last, last.saturating_add(1), u32::MAX] {
        let here = group <= last;
        let blocks = geometry.group_blocks(group);
        assert_eq!(blocks.is_ok(), here);
        if let Ok(blocks) = blocks {
            assert_eq!(geometry.group_of(blocks.start()), (group, 0));
            assert!(geometry.base_meta_blocks(group) > 0 || !geometry.has_super(group));
        }
        if let Ok((_, offset)) = geometry.desc_place(group) {
            let end = offset + usize::from(geometry.desc_size());
            assert!(here && end <= geometry.block_size() as usize);
        }
    }
    for ino in [0, 1, geometry.first_ino(), geometry.inodes(), u32::MAX] {
        if let Ok(place) = geometry.inode(ino) {
            assert!(place.block < geometry.inode_table_blocks());
            assert_eq!(geometry.ino(place.group, place.bit), Ok(ino));
        }
    }
    if geometry.groups() < 1 << 16 {
        assert!(geometry.overhead_blocks() <= geometry.blocks().end());
    }
}

/// The head of the list of orphans changes by eight bytes, of which four are the checksum.
#[test]
fn last_orphan() {
    for args in ["-b 4096", "-b 4096 -O ^metadata_csum"] {
        let mut sb = Image::new(args, "16M").superblock();
        let csum = parse(&sb).unwrap().csum().map(|_| CRC32C);
        for ino in [12, u32::MAX, 0] {
            let mut whole = sb;
            let disk = SuperBlock::from_bytes_mut(&mut whole);
            disk.set_last_orphan(ino);
            disk.seal(CRC32C);
            let read = |at: usize| sb[at..].first_chunk().copied().ok_or(Error::TooSmall);
            let patch = SuperBlock::patch_last_orphan(ino, csum, read).unwrap();
            for (at, bytes) in patch {
                sb[at..][..4].copy_from_slice(&bytes);
            }
            assert_eq!(sb, whole, "{args}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// A sound superblock with some fields gone wild, and its checksum right.
    #[test]
    fn hostile_superblocks_never_panic(changes in prop::collection::vec((0usize..0x290 / 4, hostile()), 1..4)) {
        static SOUND: OnceLock<[u8; 1024]> = OnceLock::new();
        let mut sb = *SOUND.get_or_init(|| Image::new("-b 4096", "200M").superblock());
        for (word, value) in changes {
            sb[word * 4..word * 4 + 4].copy_from_slice(&value.to_le_bytes());
        }
        SuperBlock::from_bytes_mut(&mut sb).seal(CRC32C);
        if let Ok(geometry) = parse(&sb) {
            exercise(&geometry);
        }
    }
}

/// Values that sit at edges.
fn hostile() -> impl Strategy<Value = u32> {
    prop_oneof![
        Just(0),
        Just(u32::MAX),
        (0u32..32).prop_map(|bit| 1 << bit),
        (0u32..32).prop_map(|bit| (1u32 << bit).wrapping_sub(1)),
        0u32..100,
        any::<u32>(),
    ]
}
