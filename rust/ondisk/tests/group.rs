// SPDX-License-Identifier: GPL-2.0

//! Group descriptors and bitmaps of file systems that mke2fs made, against what dumpe2fs says of them.

mod common;

use std::{
    ops::Range,
    sync::OnceLock, //
};

use common::*;
use ondisk::{
    bitmap,
    group::Change,
    Error,
    Geometry,
    GroupDesc, //
};
use proptest::prelude::*;

/// Each gives another kind of descriptor, checksum or place.
const IMAGES: [&str; 11] = [
    "-b 4096",
    "-b 4096 -O ^metadata_csum_seed,^orphan_file",
    "-b 4096 -O ^64bit",
    "-b 4096 -O ^metadata_csum,uninit_bg",
    "-b 4096 -O ^metadata_csum,uninit_bg,^64bit",
    "-b 4096 -O ^metadata_csum",
    "-b 4096 -O ^flex_bg",
    "-b 4096 -O meta_bg,^resize_inode",
    "-b 1024",
    "-b 4096 -O sparse_super2 -I 128",
    "-b 4096 -g 1024 -O ^has_journal -E packed_meta_blocks=1",
];

/// All descriptors of an image, each with its bytes.
fn descs(geometry: &Geometry, image: &Image) -> Vec<(GroupDesc, Vec<u8>)> {
    (0..geometry.groups())
        .map(|group| {
            let (block, offset) = geometry.desc_place(group).expect("the group is there");
            let block = image.block(geometry, block);
            let bytes = &block[offset..][..geometry.desc_size().into()];
            let desc = GroupDesc::decode(geometry, group, bytes).expect("a sound descriptor");
            (desc, bytes.to_vec())
        })
        .collect()
}

/// The block bitmap of a group, read or computed.
fn block_bitmap(geometry: &Geometry, image: &Image, desc: &GroupDesc) -> Vec<u8> {
    let mut bits = image.block(geometry, desc.block_bitmap());
    if desc.is_block_uninit() {
        desc.init_block_bitmap(geometry, &mut bits).unwrap();
    } else {
        desc.verify_block_bitmap(geometry, &bits).unwrap();
    }
    bits
}

/// The inode bitmap of a group, read or computed.
fn inode_bitmap(geometry: &Geometry, image: &Image, desc: &GroupDesc) -> Vec<u8> {
    let mut bits = image.block(geometry, desc.inode_bitmap());
    if desc.is_inode_uninit() {
        desc.init_inode_bitmap(geometry, &mut bits).unwrap();
    } else {
        desc.verify_inode_bitmap(geometry, &bits).unwrap();
    }
    bits
}

/// What dumpe2fs lists after `name`, group by group: `8-32767, 40000`.
fn dumped_runs(dump: &str, name: &str) -> Vec<Vec<Range<u64>>> {
    let run = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.parse::<u64>().expect("a number");
        number(first)..number(last) + 1
    };
    dump.lines()
        .filter_map(|line| line.trim_start().strip_prefix(name))
        .map(|list| {
            let list = list.trim();
            let parts = list.split(", ").filter(|part| !part.is_empty());
            parts.map(run).collect()
        })
        .collect()
}

/// The clear bits, as numbers that begin with `first`.
fn clear_runs(bits: &[u8], first: u64, len: u32) -> Vec<Range<u64>> {
    bitmap::clear_runs(bits, 0..len)
        .map(|run| first + u64::from(run.start)..first + u64::from(run.end))
        .collect()
}

#[test]
fn bitmaps_are_what_dumpe2fs_says() {
    let mut uninit = 0;
    for args in IMAGES {
        let image = Image::new(args, "300M");
        image.debugfs("mkdir a\nwrite /bin/sh b\n");
        let (geometry, dump) = (image.geometry(), image.dumpe2fs());
        let free_blocks = dumped_runs(&dump, "Free blocks:");
        let free_inodes = dumped_runs(&dump, "Free inodes:");
        assert!(free_blocks.len() >= geometry.groups() as usize, "{args}");

        for (desc, _) in descs(&geometry, &image) {
            let group = desc.group();
            // The first in the dump are the sums of the file system.
            let dumped = |runs: &[Vec<Range<u64>>]| {
                runs[runs.len() - (geometry.groups() - group) as usize].clone()
            };
            let blocks = geometry.group_blocks(group).unwrap();
            let bits = block_bitmap(&geometry, &image, &desc);
            assert_eq!(
                clear_runs(&bits, blocks.start().get(), blocks.len()),
                dumped(&free_blocks),
                "blocks of group {group}, {args}"
            );
            let clear = blocks.len() - bitmap::count_set(&bits, 0..blocks.len());
            assert_eq!(desc.free_blocks, clear, "group {group}, {args}");

            let bits = inode_bitmap(&geometry, &image, &desc);
            assert_eq!(
                clear_runs(
                    &bits,
                    geometry.ino(group, 0).unwrap().into(),
                    geometry.inodes_per_group()
                ),
                dumped(&free_inodes),
                "inodes of group {group}, {args}"
            );
            uninit += u32::from(desc.is_block_uninit()) + u32::from(desc.is_inode_uninit());
        }
    }
    assert!(uninit > 10, "the images have uninitialised groups");
}

#[test]
fn encoding_changes_nothing_by_itself() {
    for args in IMAGES {
        let image = Image::new(args, "300M");
        let geometry = image.geometry();
        for (mut desc, raw) in descs(&geometry, &image) {
            let mut out = raw.clone();
            desc.encode(&geometry, &mut out).unwrap();
            assert_eq!(out, raw, "group {}, {args}", desc.group());

            // Nor does sealing what was read.
            if !desc.is_block_uninit() {
                let bits = image.block(&geometry, desc.block_bitmap());
                desc.seal_block_bitmap(&geometry, &bits).unwrap();
            }
            if !desc.is_inode_uninit() {
                let bits = image.block(&geometry, desc.inode_bitmap());
                desc.seal_inode_bitmap(&geometry, &bits).unwrap();
            }
            desc.encode(&geometry, &mut out).unwrap();
            assert_eq!(out, raw, "group {}, {args}", desc.group());
        }
    }
}

#[test]
fn changes_are_decoded_again() {
    for args in IMAGES {
        let image = Image::new(args, "300M");
        let geometry = image.geometry();
        for (mut desc, raw) in descs(&geometry, &image) {
            let mut bits = block_bitmap(&geometry, &image, &desc);
            let len = geometry.group_blocks(desc.group()).unwrap().len();
            let Some(run) = bitmap::find(&bits, 0..len, 77, 33) else {
                continue;
            };
            desc.free_blocks -= run.end - run.start;
            bitmap::set(&mut bits, run).unwrap();
            desc.seal_block_bitmap(&geometry, &bits).unwrap();

            let mut raw = raw;
            desc.encode(&geometry, &mut raw).unwrap();
            let again = GroupDesc::decode(&geometry, desc.group(), &raw).unwrap();
            assert_eq!(again, desc);
            assert!(!again.is_block_uninit());
            again.verify_block_bitmap(&geometry, &bits).unwrap();

            bits[0] ^= 1;
            assert!(again.verify_block_bitmap(&geometry, &bits).is_err());
        }
    }
}

/// What is sealed by the bytes that change is what is sealed as a whole.
#[test]
fn seals_follow_changes() {
    for args in IMAGES {
        let image = Image::new(args, "300M");
        let geometry = image.geometry();
        for (mut desc, _) in descs(&geometry, &image) {
            let (mut blocks, mut inodes) = (
                block_bitmap(&geometry, &image, &desc),
                inode_bitmap(&geometry, &image, &desc),
            );
            desc.seal_block_bitmap(&geometry, &blocks).unwrap();
            desc.seal_inode_bitmap(&geometry, &inodes).unwrap();
            let last = geometry.inodes_per_group() as usize / 8 - 1;
            for (start, new) in [(0, [0xa5; 3]), (last - 5, [7; 3]), (last - 2, [0x5a; 3])] {
                let mut whole = desc.clone();
                let old = core::mem::replace(blocks[start..].first_chunk_mut().unwrap(), new);
                desc.reseal_block_bitmap(
                    &geometry,
                    Change {
                        start,
                        old: &old,
                        new: &new,
                    },
                )
                .unwrap();
                whole.seal_block_bitmap(&geometry, &blocks).unwrap();
                let old = core::mem::replace(inodes[start..].first_chunk_mut().unwrap(), new);
                desc.reseal_inode_bitmap(
                    &geometry,
                    Change {
                        start,
                        old: &old,
                        new: &new,
                    },
                )
                .unwrap();
                whole.seal_inode_bitmap(&geometry, &inodes).unwrap();
                assert_eq!(desc, whole, "group {}, {args}", desc.group());
            }
        }
    }
}

#[test]
fn a_flipped_bit_is_seen() {
    let image = Image::new("-b 4096", "300M");
    let geometry = image.geometry();
    for (desc, raw) in descs(&geometry, &image) {
        for bit in 0..raw.len() * 8 {
            let mut raw = raw.clone();
            raw[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                GroupDesc::decode(&geometry, desc.group(), &raw),
                Err(Error::Checksum("group descriptor"))
            );
        }
        // A descriptor of another group does not pass either.
        let other = desc.group() ^ 1;
        assert!(GroupDesc::decode(&geometry, other, &raw).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    /// Without checksums nothing stands before the checks of values.
    #[test]
    fn hostile_descriptors_never_panic(
        raw in prop::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..80),
        group in 0u32..4,
    ) {
        static SOUND: OnceLock<Geometry> = OnceLock::new();
        let geometry = SOUND.get_or_init(|| Image::new("-b 4096 -O ^metadata_csum", "300M").geometry());
        if let Ok(desc) = GroupDesc::decode(geometry, group, &raw) {
            let mut out = raw.clone();
            desc.encode(geometry, &mut out).unwrap();
            prop_assert_eq!(GroupDesc::decode(geometry, group, &out).unwrap(), desc.clone());
            let mut bits = vec![0; 4096];
            desc.init_block_bitmap(geometry, &mut bits).ok();
            desc.init_inode_bitmap(geometry, &mut bits).unwrap();
        }
    }
}
