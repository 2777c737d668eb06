// SPDX-License-Identifier: GPL-2.0

//! Inodes of file systems that e2fsprogs made and changed, against what debugfs says of them.

mod common;

use std::{
    fs::OpenOptions,
    os::unix::fs::FileExt as _,
    sync::OnceLock, //
};

use common::*;
use ondisk::{
    bitmap,
    feature::RoCompat,
    inode::{
        flag,
        Time, //
    },
    Error,
    Geometry,
    GroupDesc,
    Inode, //
};
use proptest::prelude::*;

const IMAGES: [&str; 6] = [
    "-b 4096",
    "-b 4096 -O ^metadata_csum_seed,^orphan_file",
    "-b 4096 -O ^metadata_csum,^orphan_file",
    "-b 4096 -I 128",
    "-b 4096 -I 1024",
    "-b 1024 -O ^huge_file,^64bit",
];

const SCRIPT: &str = "\
write /bin/sh file
symlink short target
mkdir dir
mknod pipe p
mknod char c 4 64
mknod block b 259 7
sif file size 0x123456789
sif file uid 0x12345678
sif file gid 0x76543210
sif file generation 0xdeadbeef
sif file mtime_extra 0xee6b27ff
sif file atime 0x80000000
sif file dtime 77
sif dir links_count 1
";

/// The inodes in use of the first group.
fn used(geometry: &Geometry, image: &Image) -> Vec<u32> {
    let (block, offset) = geometry.desc_place(0).unwrap();
    let desc = GroupDesc::decode(geometry, 0, &image.block(geometry, block)[offset..]).unwrap();
    let bits = image.block(geometry, desc.inode_bitmap());
    let all = 0..geometry.inodes_per_group();
    all.filter(|bit| bitmap::test(&bits, *bit))
        .map(|bit| bit + 1)
        .collect()
}

/// The word after `name` in what debugfs printed.
fn dumped<'a>(dump: &'a str, name: &str) -> &'a str {
    let rest = dump
        .split_once(name)
        .unwrap_or_else(|| panic!("no {name} in {dump}"))
        .1;
    rest.split_whitespace().next().expect("a value")
}

fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    }
    .unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A time as debugfs prints it: seconds and, where there is one, the extra field.
fn time(text: &str) -> Time {
    let (sec, extra) = text.split_once(':').unwrap_or((text, "0"));
    let extra = u32::from_str_radix(extra, 16).expect("hexadecimal");
    Time {
        sec: i64::from(number(sec) as u32 as i32) + (i64::from(extra & 3) << 32),
        nsec: extra >> 2,
    }
}

#[test]
fn inodes_are_what_debugfs_says() {
    for args in IMAGES {
        let image = Image::new(args, "32M");
        image.debugfs(SCRIPT);
        let geometry = image.geometry();
        let mut seen = 0;
        for ino in used(&geometry, &image) {
            let bytes = image.inode_bytes(&geometry, ino);
            let inode = Inode::decode(&geometry, ino, &bytes)
                .unwrap_or_else(|error| panic!("inode {ino}, {args}: {error}"));
            let dump = image.debugfs(&format!("stat <{ino}>\n"));
            let told = |name| number(dumped(&dump, name));

            assert_eq!(
                u64::from(inode.mode & 0o7777),
                u64::from_str_radix(dumped(&dump, "Mode:"), 8).unwrap()
            );
            assert_eq!(u64::from(inode.flags), told("Flags:"), "{dump}");
            assert_eq!(u64::from(inode.generation), told("Generation:"), "{dump}");
            assert_eq!(u64::from(inode.uid), told("User:"), "{dump}");
            assert_eq!(u64::from(inode.gid), told("Group:"), "{dump}");
            assert_eq!(inode.size, told("Size:"), "{dump}");
            assert_eq!(u64::from(inode.links), told("Links:"), "{dump}");
            assert_eq!(inode.blocks, told("Blockcount:"), "{dump}");
            assert_eq!(inode.atime, time(dumped(&dump, "atime:")), "{dump}");
            assert_eq!(inode.ctime, time(dumped(&dump, "ctime:")), "{dump}");
            assert_eq!(inode.mtime, time(dumped(&dump, "mtime:")), "{dump}");
            if inode.extra_isize() > 0 {
                assert_eq!(inode.crtime, time(dumped(&dump, "crtime:")), "{dump}");
                assert_eq!(u64::from(inode.extra_isize()), told("extra inode fields:"));
            }
            if dump.contains("Device major/minor") {
                let (major, minor) = inode.device();
                assert_eq!(dumped(&dump, "number: "), format!("{major:02}:{minor:02}"));
            }

            let mut again = bytes.clone();
            inode.encode(&geometry, ino, &mut again).unwrap();
            assert_eq!(again, bytes, "inode {ino}, {args}");
            seen += 1;
        }
        assert!(seen >= 17, "{seen} inodes, {args}");
    }
}

#[test]
fn debugfs_and_e2fsck_accept_what_is_encoded() {
    for args in IMAGES {
        let image = Image::new(args, "32M");
        image.debugfs("write /bin/sh file\nmknod node c 1 2\n");
        let geometry = image.geometry();
        let file = OpenOptions::new().write(true).open(image.path()).unwrap();
        let change = |ino, change: fn(&mut Inode)| {
            let mut bytes = image.inode_bytes(&geometry, ino);
            let mut inode = Inode::decode(&geometry, ino, &bytes).unwrap();
            change(&mut inode);
            inode.encode(&geometry, ino, &mut bytes).unwrap();
            file.write_all_at(&bytes, image.inode_place(&geometry, ino))
                .unwrap();
        };
        let ino = geometry.first_ino() + 1 + u32::from(geometry.orphan_file_ino().is_some());
        change(ino, |inode| {
            inode.uid = 70_000;
            inode.gid = 80_000;
            inode.mode = 0o100_741;
            inode.generation = 99;
            inode.mtime = Time { sec: -5, nsec: 6 };
            inode.ctime = Time {
                sec: 1 << 33,
                nsec: 999_999_999,
            };
            inode.flags |= flag::DAX | flag::NOATIME;
        });
        change(ino + 1, |inode| inode.set_device(259, 0x12345));

        let dump = image.debugfs(&format!("stat <{ino}>\n"));
        assert_eq!(number(dumped(&dump, "User:")), 70_000);
        assert_eq!(number(dumped(&dump, "Group:")), 80_000);
        assert_eq!(dumped(&dump, "Mode:"), "0741");
        assert_eq!(dumped(&dump, "Flags:"), "0x2080080");
        assert_eq!(time(dumped(&dump, "mtime:")).sec, -5);
        let wide = if geometry.inode_size() > 128 {
            1 << 33
        } else {
            i64::from(i32::MAX)
        };
        assert_eq!(time(dumped(&dump, "ctime:")).sec, wide);
        let dump = image.debugfs(&format!("stat <{}>\n", ino + 1));
        assert_eq!(
            dumped(&dump, "number: "),
            format!("259:{}", 0x12345),
            "{dump}"
        );
        image.fsck();
    }
}

#[test]
fn a_flipped_bit_is_seen() {
    let image = Image::new("-b 4096", "16M");
    let geometry = image.geometry();
    let bytes = image.inode_bytes(&geometry, 2);
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Inode::decode(&geometry, 2, &bytes).is_err(), "bit {bit}");
    }
    assert_eq!(
        Inode::decode(&geometry, 7, &bytes),
        Err(Error::Checksum("inode"))
    );
    assert_eq!(
        Inode::decode(&geometry, 2, &bytes[1..]),
        Err(Error::TooSmall)
    );
}

#[test]
fn block_counts_of_any_size() {
    for (args, most) in [
        ("-b 4096", (1 << 48) * 8 - 8),
        ("-b 4096 -O ^huge_file", (1 << 32) - 1),
    ] {
        let geometry = Image::new(args, "16M").geometry();
        assert_eq!(
            geometry.ro_compat().contains(RoCompat::HUGE_FILE),
            most > 1 << 32
        );
        let mut inode = Inode::new(&geometry);
        let mut bytes = [0; 256];
        for blocks in [
            0,
            8,
            u64::from(u32::MAX),
            1 << 32,
            (1 << 48) - 8,
            1 << 48,
            most,
        ] {
            inode.blocks = blocks;
            let result = inode.encode(&geometry, 12, &mut bytes);
            assert_eq!(result.is_ok(), blocks <= most);
            if result.is_ok() {
                assert_eq!(Inode::decode(&geometry, 12, &bytes).unwrap(), inode);
            }
        }
        inode.blocks = most + 8;
        assert_eq!(
            inode.encode(&geometry, 12, &mut bytes),
            Err(Error::TooLarge)
        );
    }
}

/// Geometries with checksums and without, of small inodes and large ones.
fn geometries() -> &'static [Geometry] {
    static ALL: OnceLock<Vec<Geometry>> = OnceLock::new();
    ALL.get_or_init(|| IMAGES.map(|args| Image::new(args, "32M").geometry()).into())
}

prop_compose! {
    fn times()(sec in Time::WIDE, nsec in 0u32..1_000_000_000) -> Time {
        Time { sec, nsec }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn what_is_encoded_is_decoded(
        which in 0..IMAGES.len(),
        ino: u32,
        (mode, links, uid, gid, generation, projid) in any::<(u16, u16, u32, u32, u32, u32)>(),
        (size, version, blocks, flags) in any::<(u64, u64, u32, u32)>(),
        times in prop::array::uniform4(times()),
        acl in prop::option::of(1u64..8192),
        block in prop::collection::vec(any::<u8>(), 60),
    ) {
        let geometry = &geometries()[which];
        let mut inode = Inode::new(geometry);
        let wide = inode.has_wide_times();
        let [atime, ctime, mtime, crtime] = times.map(|time| if wide { time } else {
            Time { sec: time.sec.clamp(i32::MIN.into(), i32::MAX.into()), nsec: 0 }
        });
        inode.mode = mode;
        inode.uid = uid;
        inode.gid = gid;
        inode.size = if mode & 0xf000 == 0x8000 { size >> 1 } else { size >> 32 };
        inode.atime = atime;
        inode.ctime = ctime;
        inode.mtime = mtime;
        inode.links = links;
        inode.blocks = blocks.into();
        inode.flags = flags & !flag::HUGE_FILE;
        inode.version = if wide { version } else { version >> 32 };
        inode.block = block.try_into().unwrap();
        inode.generation = generation;
        inode.file_acl = acl.map(|nr| geometry.block(nr).unwrap());
        if wide {
            inode.crtime = crtime;
            inode.projid = projid;
        }
        let mut bytes = vec![0; geometry.inode_size().into()];
        inode.encode(geometry, ino, &mut bytes).unwrap();
        prop_assert_eq!(Inode::decode(geometry, ino, &bytes).unwrap(), inode);
    }

    /// Without checksums nothing stands before the checks of values. What is decoded can be encoded,
    /// and is the same then; what is not a field stays.
    #[test]
    fn hostile_inodes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300), extra in 0u16..200) {
        let geometry = &geometries()[2];
        if let Some([lo, hi]) = bytes.get_mut(128..130) {
            [*lo, *hi] = extra.to_le_bytes();
        }
        if let Ok(inode) = Inode::decode(geometry, 12, &bytes) {
            let mut again = bytes.clone();
            inode.encode(geometry, 12, &mut again).unwrap();
            prop_assert_eq!(Inode::decode(geometry, 12, &again).unwrap(), inode);
            let end = 160.min(128 + usize::from(extra));
            prop_assert_eq!(&again[end..], &bytes[end..]);
        }
    }

    #[test]
    fn devices(major in 0u32..1 << 12, minor in 0u32..1 << 20) {
        let mut inode = Inode::new(&geometries()[0]);
        inode.set_device(major, minor);
        prop_assert_eq!(inode.device(), (major, minor));
    }
}
