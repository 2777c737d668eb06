// SPDX-License-Identifier: GPL-2.0

//! Blocks of the orphan file and of extended attributes, as e2fsprogs makes them.

mod common;

use std::{
    fs::{
        self,
        OpenOptions, //
    },
    os::unix::fs::FileExt as _, //
};

use common::*;
use ondisk::{
    extent::Node,
    orphan,
    xattr,
    Csum,
    Error,
    Geometry, //
};

/// The geometry of the image with other checksums than its own.
fn other_csum(geometry: &Geometry) -> Option<Csum> {
    geometry.csum().map(|csum| csum.with_u32(1))
}

#[test]
fn orphan_files() {
    for args in ["-b 4096", "-b 1024", "-b 4096 -O ^metadata_csum"] {
        let image = Image::new(&format!("{args} -O orphan_file"), "64M");
        let geometry = image.geometry();
        let ino = geometry.orphan_file_ino().expect("there is an orphan file");
        let inode = image.inode(&geometry, ino);
        let csum = geometry
            .csum()
            .map(|csum| csum.for_inode(ino, inode.generation));

        let root = Node::new(inode.block).unwrap();
        let mut seen = 0;
        while let Ok(Some(extent)) = root.extent(seen, &geometry.blocks()) {
            let run = extent.run();
            for nr in (0..run.len()).filter_map(|nth| run.nth(nth)) {
                let mut block = image.block(&geometry, nr);
                orphan::verify(csum, nr, &block).unwrap();
                assert!(orphan::entries(&block)
                    .unwrap()
                    .iter()
                    .all(|ino| ino.get() == 0));
                assert_eq!(orphan::entries(&block).unwrap().len(), block.len() / 4 - 2);

                let sealed = block.clone();
                orphan::seal(csum, nr, &mut block).unwrap();
                assert_eq!(block, sealed);
                orphan::entries_mut(&mut block).unwrap()[7].set(12);
                if csum.is_some() {
                    assert_eq!(
                        orphan::verify(csum, nr, &block),
                        Err(Error::Checksum("orphan file"))
                    );
                }
                orphan::seal(csum, nr, &mut block).unwrap();
                orphan::verify(csum, nr, &block).unwrap();
            }
            seen += 1;
        }
        assert!(seen > 0, "{args}");
    }
}

#[test]
fn blocks_of_extended_attributes() {
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
        let mut inode = image.inode(&geometry, ino);
        let nr = inode.file_acl.expect("the value does not fit the inode");
        let mut block = image.block(&geometry, nr);
        let header = xattr::Header::decode(geometry.csum(), nr, &block).unwrap();
        assert_eq!(header.refcount(), 1);
        if geometry.csum().is_some() {
            assert!(xattr::Header::decode(other_csum(&geometry), nr, &block).is_err());
        }

        // Two inodes share it now.
        let file = OpenOptions::new().write(true).open(image.path()).unwrap();
        xattr::Header::set_refcount(&mut block, 2).unwrap();
        xattr::Header::seal(geometry.csum(), nr, &mut block).unwrap();
        file.write_all_at(&block, nr.get() << geometry.block_bits())
            .unwrap();
        image.debugfs("write /dev/null other\n");
        let blocks = inode.blocks;
        inode = image.inode(&geometry, ino + 1);
        inode.file_acl = Some(nr);
        inode.blocks = blocks;
        let mut bytes = image.inode_bytes(&geometry, ino + 1);
        inode.encode(&geometry, ino + 1, &mut bytes).unwrap();
        file.write_all_at(&bytes, image.inode_place(&geometry, ino + 1))
            .unwrap();
        image.fsck();

        block[0] ^= 1;
        assert!(xattr::Header::decode(geometry.csum(), nr, &block).is_err());
    }
}
