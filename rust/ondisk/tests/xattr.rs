// SPDX-License-Identifier: GPL-2.0

//! Extended attributes: as e2fsprogs makes them, as it reads ours, and against a model.

mod common;

use std::{
    collections::BTreeMap,
    fs,
    sync::OnceLock, //
};

use common::*;
use ondisk::{
    acl,
    xattr::{
        index,
        rewrite,
        value_checksum,
        Area,
        Entry,
        Header,
        Name,
        Value,
        Writer,
        NAME_MAX, //
    },
    BlockNr,
    Error, //
};
use proptest::prelude::*;

type Model = BTreeMap<(u8, usize, Vec<u8>), Vec<u8>>;

fn model(area: Option<Area<'_>>) -> Model {
    let entries = area.into_iter().flat_map(Area::entries);
    entries
        .map(|entry| {
            let Value::Here(value) = entry.value else {
                panic!("a value in an inode");
            };
            let (index, suffix) = (entry.name.index(), entry.name.suffix().to_vec());
            ((index, suffix.len(), suffix), value.to_vec())
        })
        .collect()
}

fn user(suffix: &str) -> Name<'_> {
    Name::new(index::USER, suffix.as_bytes()).unwrap()
}

#[test]
fn made_by_debugfs() {
    for args in ["-b 4096", "-b 1024", "-b 4096 -O ^metadata_csum"] {
        let image = Image::new(args, "64M");
        let value = image.path().with_extension("value");
        fs::write(&value, [b'x'; 700]).unwrap();
        let value = value.to_str().unwrap();
        image.debugfs(&format!(
            "write /dev/null file\nea_set file user.short text\nea_set file trusted.t \"\"\n\
             ea_set -f {value} file user.large\nea_set file security.s label\n"
        ));
        let geometry = image.geometry();
        let ino = geometry.first_ino() + 1 + u32::from(geometry.orphan_file_ino().is_some());
        let inode = image.inode(&geometry, ino);
        let bytes = image.inode_bytes(&geometry, ino);
        let body = &bytes[inode.attributes(&geometry)];
        let nr = inode.file_acl.expect("the values do not fit the inode");
        let block = image.block(&geometry, nr);
        let in_inode = Area::in_inode(false, body).unwrap().unwrap();
        let in_block = Area::in_block(geometry.csum(), false, nr, &block).unwrap();
        assert_eq!(
            in_inode.find(user("short")).unwrap().value,
            Value::Here(b"text")
        );
        let mut all = model(Some(in_inode));
        all.extend(model(Some(in_block)));
        let sizes: Vec<_> = all.values().map(Vec::len).collect();
        assert_eq!(sizes, [700, 4, 0, 5], "{args}");

        // Written anew without a change, the block is what it was.
        let mut same = vec![0; block.len()];
        let nobody = Name::new(0, b"nobody").unwrap();
        let writer = Writer::in_block(&mut same).unwrap();
        assert_eq!(rewrite(Some(in_block), writer, nobody, None), Ok(true));
        Header::seal(geometry.csum(), nr, &mut same).unwrap();
        assert_eq!(model(Some(in_block)), {
            let again = Area::in_block(geometry.csum(), false, nr, &same).unwrap();
            model(Some(again))
        });
        // But for hash and checksum of the block: e2fsprogs leaves the hash out.
        assert_eq!(same[..12], block[..12]);
        assert_eq!(same[32..52], block[32..52]);
    }
}

#[test]
fn read_by_e2fsck() {
    for args in ["-b 4096", "-b 1024", "-b 4096 -O ^metadata_csum"] {
        let image = Image::new(args, "64M");
        let value = image.path().with_extension("value");
        fs::write(&value, [b'x'; 700]).unwrap();
        let value = value.to_str().unwrap();
        image.debugfs(&format!(
            "write /dev/null file\nea_set -f {value} file user.large\n"
        ));
        let geometry = image.geometry();
        let ino = geometry.first_ino() + 1 + u32::from(geometry.orphan_file_ino().is_some());
        let inode = image.inode(&geometry, ino);
        let nr = inode.file_acl.unwrap();
        let block = image.block(&geometry, nr);
        let old = Area::in_block(geometry.csum(), false, nr, &block).unwrap();

        let text: Vec<u8> = (0..=88).collect();
        let (mut new, mut bytes) = (block.clone(), image.inode_bytes(&geometry, ino));
        let name = Name::new(index::USER, "gr\u{f6}\u{df}e".as_bytes()).unwrap();
        let writer = Writer::in_block(&mut new).unwrap();
        rewrite(Some(old), writer, name, Some(Entry::new(name, &text))).unwrap();
        Header::seal(geometry.csum(), nr, &mut new).unwrap();
        image.write(nr.get() << geometry.block_bits(), &new);

        let body = &mut bytes[inode.attributes(&geometry)];
        let name = user("inside");
        let writer = Writer::in_inode(body).unwrap();
        rewrite(None, writer, name, Some(Entry::new(name, b"0123456789"))).unwrap();
        inode.encode(&geometry, ino, &mut bytes).unwrap();
        image.write(image.inode_place(&geometry, ino), &bytes);

        image.fsck();
        let listed = image.debugfs("ea_list file\n");
        for part in [
            "user.inside (10) = \"0123456789\"",
            "(89)",
            "user.large (700)",
        ] {
            assert!(listed.contains(part), "{part} not in {listed}");
        }
    }
}

/// A block there is.
fn nr() -> BlockNr {
    static NR: OnceLock<BlockNr> = OnceLock::new();
    *NR.get_or_init(|| {
        let image = Image::new("-b 1024 -O ^has_journal", "1M");
        image.geometry().block(77).unwrap()
    })
}

#[test]
fn full() {
    let mut body = [0xff; 96];
    let name = user("n");
    let fits = [1; 96 - 4 - 20 - 4];
    let set = |body: &mut [u8], value: &[u8]| {
        rewrite(
            None,
            Writer::in_inode(body)?,
            name,
            Some(Entry::new(name, value)),
        )
    };
    assert_eq!(set(&mut body, &fits), Ok(true));
    assert_eq!(set(&mut body, &[1; 69]), Err(Error::Full));
    assert_eq!(set(&mut [0; 3], &[]), Err(Error::Full));
    assert_eq!(set(&mut [0; 7], &[]), Err(Error::Full));
    assert!(Name::new(index::USER, &[b'n'; NAME_MAX + 1]).is_err());
    assert!(Name::new(index::USER, b"a\0b").is_err());
}

/// An entry that has no name at all would end the others when it is written anew without its offset.
#[test]
fn without_a_name() {
    let mut body = vec![0; 160];
    let name = user("first");
    rewrite(
        None,
        Writer::in_inode(&mut body).unwrap(),
        name,
        Some(Entry::new(name, b"")),
    )
    .unwrap();
    assert!(Area::in_inode(false, &body).unwrap().is_some());
    // Its length, its prefix, and where its value would be if it had one.
    body[4..8].copy_from_slice(&[0, 0, 100, 0]);
    assert_eq!(
        Area::in_inode(false, &body).err(),
        Some(Error::Corrupt("name of an extended attribute"))
    );
}

#[test]
fn values_in_inodes() {
    let image = Image::new("-b 4096 -O ea_inode", "64M");
    let value = image.path().with_extension("value");
    fs::write(&value, [b'y'; 4096]).unwrap();
    image.debugfs(&format!(
        "write /dev/null file\nea_set -f {} file user.large\n",
        value.to_str().unwrap()
    ));
    let geometry = image.geometry();
    let files = geometry.first_ino() + 1..geometry.first_ino() + 4;
    let found = files.clone().find_map(|ino| {
        let bytes = image.inode_bytes(&geometry, ino);
        let inode = image.inode(&geometry, ino);
        let body = &bytes[inode.attributes(&geometry)];
        let entry = Area::in_inode(true, body).ok()??.find(user("large"))?;
        assert!(Area::in_inode(false, body).is_err());
        let Value::INode { ino, size } = entry.value else {
            panic!("the value is here");
        };
        let checksum = value_checksum(geometry.csum().unwrap(), &[b'y'; 4096]);
        assert!(entry.has_checksum(checksum));
        assert_eq!(image.inode(&geometry, ino).atime.sec as u32, checksum);
        Some((ino, size))
    });
    let (ino, size) = found.expect("the attribute is in an inode");
    assert_eq!(size, 4096);
    assert!(files.contains(&ino));

    let value = value_checksum(CRC32C, b"value");
    let name = Name::new(index::USER, "\u{e4}".as_bytes()).unwrap();
    let entry = Entry::new_in_inode(name, ino, size, value);
    assert!(entry.has_checksum(value));
    assert!(!entry.has_checksum(value ^ 1));
}

#[test]
fn access_control_lists() {
    let disk = [
        1u32.to_le_bytes().as_slice(),
        &[1, 0, 6, 0],
        &[2, 0, 7, 0, 0xe8, 3, 0, 0],
        &[4, 0, 5, 0],
        &[16, 0, 7, 0],
        &[32, 0, 4, 0],
    ]
    .concat();
    let mut xattr = Vec::new();
    acl::to_xattr::<Error>(&disk, |bytes| {
        xattr.extend_from_slice(bytes);
        Ok(())
    })
    .unwrap();
    assert_eq!(xattr.len(), 4 + 5 * 8);
    assert_eq!(
        xattr[..16],
        [2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 7, 0]
    );
    let mut back = Vec::new();
    acl::to_disk::<Error>(&xattr, |bytes| {
        back.extend_from_slice(bytes);
        Ok(())
    })
    .unwrap();
    assert_eq!(back, disk);
    for len in [0, 3, 5, 7, 11, 14] {
        let result = acl::to_xattr::<Error>(&disk[..len], |_| Ok(()));
        assert!(result.is_err(), "{len} bytes");
    }
}

proptest! {
    /// Any sequence of changes leaves what a map would hold, in the order that a block wants.
    #[test]
    fn like_a_map(
        block in any::<bool>(),
        changes in prop::collection::vec(
            (1u8..8, "[a-d]{0,3}", prop::option::of(prop::collection::vec(any::<u8>(), 0..60))),
            1..40,
        ),
    ) {
        let nr = nr();
        let mut bytes = vec![0; if block { 1024 } else { 256 }];
        let read = |bytes: &[u8]| -> Model {
            if block && bytes[0] == 0 && bytes[3] == 0 {
                return Model::new();
            }
            model(if block {
                Some(Area::in_block(None, false, nr, bytes).unwrap())
            } else {
                Area::in_inode(false, bytes).unwrap()
            })
        };
        let mut expected = Model::new();
        for (index, suffix, value) in changes {
            let name = Name::new(index, suffix.as_bytes()).unwrap();
            let mut new = vec![0xaa; bytes.len()];
            let old = match (block, bytes[3]) {
                (true, 0) => None,
                (true, _) => Some(Area::in_block(None, false, nr, &bytes).unwrap()),
                (false, _) => Area::in_inode(false, &bytes).unwrap(),
            };
            let to = if block { Writer::in_block(&mut new) } else { Writer::in_inode(&mut new) };
            let entry = value.as_ref().map(|value| Entry::new(name, value));
            let key = (index, suffix.len(), suffix.clone().into_bytes());
            match rewrite(old, to.unwrap(), name, entry) {
                Ok(any) => {
                    match value {
                        Some(value) => expected.insert(key, value),
                        None => expected.remove(&key),
                    };
                    prop_assert_eq!(any, !expected.is_empty());
                    bytes = new;
                }
                Err(error) => {
                    prop_assert_eq!(error, Error::Full);
                    let used: usize = expected.iter().map(|((_, len, _), value)| {
                        (16 + len).next_multiple_of(4) + value.len().next_multiple_of(4)
                    }).sum();
                    prop_assert!(used + 200 > bytes.len() - 40, "{} bytes are full", used);
                }
            }
            prop_assert_eq!(&read(&bytes), &expected);
        }
    }

    /// Whatever bits are turned, what is accepted can be read, and nothing panics.
    #[test]
    fn damaged(at in 0usize..1024, with in any::<u8>(), block in any::<bool>()) {
        let nr = nr();
        let mut bytes = vec![0; if block { 1024 } else { 160 }];
        let values: [(&str, &[u8]); 3] = [("first", b"1"), ("second", &[2; 40]), ("third", b"")];
        let mut old: Option<Vec<u8>> = None;
        for (suffix, value) in values {
            let name = user(suffix);
            let area = old.as_deref().map(|old| if block {
                Area::in_block(None, false, nr, old).unwrap()
            } else {
                Area::in_inode(false, old).unwrap().unwrap()
            });
            let to = if block { Writer::in_block(&mut bytes) } else { Writer::in_inode(&mut bytes) };
            rewrite(area, to.unwrap(), name, Some(Entry::new(name, value))).unwrap();
            old = Some(bytes.clone());
        }
        let at = at % bytes.len();
        bytes[at] ^= with;
        let area = if block {
            Area::in_block(None, false, nr, &bytes).map(Some)
        } else {
            Area::in_inode(false, &bytes)
        };
        if let Ok(Some(area)) = area {
            let mut to = vec![0; 4096];
            let to = if block { Writer::in_block(&mut to) } else { Writer::in_inode(&mut to) };
            prop_assert!(area.entries().count() <= 64);
            let _ = rewrite(Some(area), to.unwrap(), user("second"), None);
        }
    }
}
