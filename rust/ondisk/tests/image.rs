// SPDX-License-Identifier: GPL-2.0

//! A whole image, full of things, read from the superblock to the last name: every checksum is
//! verified, and what is found accounts for every block and inode that is in use, and no other.

mod common;

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{
        self,
        File, //
    },
    os::unix::fs::{
        symlink,
        FileExt as _, //
    },
    path::Path,
    process::Command, //
};

use common::*;
use ondisk::{
    bitmap,
    dir::{
        self,
        Kind, //
    },
    extent,
    feature::Compat,
    inode::flag,
    orphan,
    superblock::SuperBlock,
    tree,
    xattr,
    BlockNr,
    Blocks,
    Csum,
    Error,
    Geometry,
    GroupDesc,
    Inode, //
};

/// What the images are filled with: an indexed directory, a file of many extents, links short and long.
fn fill(dir: &Path) {
    let many = dir.join("many");
    fs::create_dir(&many).unwrap();
    for nr in 0..2000 {
        let name = format!("{nr:0width$}", width = nr % 60 + 4);
        File::create(many.join(name)).unwrap();
    }
    let holes = File::create(dir.join("holes")).unwrap();
    for nr in 0..1500 {
        holes.write_all_at(b"x", nr * 3 * 4096).unwrap();
    }
    fs::write(dir.join("large"), vec![b'y'; 5 << 20]).unwrap();
    symlink("short", dir.join("short")).unwrap();
    symlink("long/".repeat(100), dir.join("long")).unwrap();
    fs::hard_link(dir.join("large"), many.join("link")).unwrap();
}

/// The image, and what was found in use in it.
struct Walk<'a> {
    image: &'a Image,
    geometry: Geometry,
    used: BTreeSet<u64>,
    index_blocks: usize,
    names: usize,
    deepest: usize,
}

/// The nodes of one inode's tree, and what was seen of them.
struct Nodes<'a> {
    image: &'a Image,
    geometry: &'a Geometry,
    csum: Option<Csum>,
    seen: BTreeSet<u64>,
}

impl tree::Read for Nodes<'_> {
    type Error = Error;
    type View = Vec<u8>;

    fn blocks(&self) -> Blocks {
        self.geometry.blocks()
    }

    fn view(&mut self, at: BlockNr) -> Result<Vec<u8>, Error> {
        let block = self.image.block(self.geometry, at);
        if let Some(csum) = self.csum {
            extent::verify(&block, csum)?;
        }
        extent::check(&block, &self.blocks())?;
        self.seen.insert(at.get());
        Ok(block)
    }

    fn error(&self, _: Option<BlockNr>, error: Error) -> Error {
        error
    }
}

impl Walk<'_> {
    fn take(&mut self, nr: u64) {
        assert!(self.used.insert(nr), "block {nr} is used twice");
    }

    fn group(&mut self, desc: &GroupDesc) {
        let first = self.geometry.group_blocks(desc.group()).unwrap().start();
        for nr in 0..self.geometry.base_meta_blocks(desc.group()) {
            self.take(first.get() + u64::from(nr));
        }
        self.take(desc.block_bitmap().get());
        self.take(desc.inode_bitmap().get());
        (desc.inode_table().start().get()..desc.inode_table().end()).for_each(|nr| self.take(nr));

        if self.geometry.has_super(desc.group()) {
            let mut block = self.image.block(&self.geometry, first);
            // The first superblock comes after the boot block, the others at the beginning.
            if desc.group() == 0 && self.geometry.block_size() > 1024 {
                block.drain(..1024);
            }
            let sb: &[u8; 1024] = block.first_chunk().unwrap();
            SuperBlock::from_bytes(sb).verify(CRC32C).unwrap();
        }
    }

    fn inode(&mut self, ino: u32) {
        let inode = self.image.inode(&self.geometry, ino);
        let csum = self.geometry.csum();
        let mut taken = 0;
        if let Some(nr) = inode.file_acl {
            let block = self.image.block(&self.geometry, nr);
            xattr::Header::decode(csum, nr, &block).unwrap();
            self.take(nr.get());
            taken += 1;
        }
        if inode.flags & flag::EXTENTS != 0 {
            taken += self.extents(ino, &inode);
        } else if ino == 7 && self.geometry.compat().contains(Compat::RESIZE_INODE) {
            // The resize inode maps the reserved descriptors by a doubly indirect block.
            let [.., a, b, c, d, _, _, _, _] = inode.block;
            self.take(u32::from_le_bytes([a, b, c, d]).into());
            return;
        }
        assert_eq!(
            inode.blocks,
            taken * u64::from(self.geometry.block_size() / 512),
            "inode {ino}"
        );
    }

    /// How many blocks the tree of an inode and what it maps take.
    fn extents(&mut self, ino: u32, inode: &Inode) -> u64 {
        let csum = self.geometry.csum();
        let csum = csum.map(|csum| csum.for_inode(ino, inode.generation));
        let geometry = self.geometry.clone();
        let mut nodes = Nodes {
            image: self.image,
            geometry: &geometry,
            csum,
            seen: BTreeSet::new(),
        };
        self.deepest = self.deepest.max(tree::depth(&inode.block));
        let (mut lblk, mut taken) = (0, 0);
        while let Some(extent) = tree::next_extent(&inode.block, &mut nodes, lblk).unwrap() {
            for nr in (0..extent.len()).filter_map(|nth| extent.run().nth(nth)) {
                self.take(nr.get());
                taken += 1;
                let block = || self.image.block(&geometry, nr);
                if inode.mode & 0xf000 == 0x4000 {
                    self.directory(&block(), csum);
                }
                if geometry.orphan_file_ino() == Some(ino) {
                    orphan::verify(csum, nr, &block()).unwrap();
                }
            }
            lblk = extent.end();
        }
        nodes.seen.iter().for_each(|nr| self.take(*nr));
        taken + nodes.seen.len() as u64
    }

    fn directory(&mut self, block: &[u8], csum: Option<Csum>) {
        let format = dir::Format::new(&self.geometry);
        if let Some(csum) = csum {
            format.verify(block, csum).unwrap();
        }
        format.check(block).unwrap();
        self.index_blocks += usize::from(format.kind(&block) != Kind::Leaf);
        self.names += format.entries(block).map(Result::unwrap).count();
    }
}

fn walk(image: &Image) -> Walk<'_> {
    let geometry = image.geometry();
    let mut walk = Walk {
        image,
        geometry: geometry.clone(),
        used: (0..geometry.blocks().first()).collect(),
        index_blocks: 0,
        names: 0,
        deepest: 0,
    };
    let mut free_blocks = 0;
    let mut descs = Vec::new();
    for group in 0..geometry.groups() {
        let (block, offset) = geometry.desc_place(group).unwrap();
        let block = image.block(&geometry, block);
        let desc = GroupDesc::decode(&geometry, group, &block[offset..]).unwrap();
        walk.group(&desc);
        let mut bits = image.block(&geometry, desc.inode_bitmap());
        if desc.is_inode_uninit() {
            desc.init_inode_bitmap(&geometry, &mut bits).unwrap();
        } else {
            desc.verify_inode_bitmap(&geometry, &bits).unwrap();
        }
        for bit in 0..geometry.inodes_per_group() {
            if bitmap::test(&bits, bit) {
                walk.inode(geometry.ino(group, bit).unwrap());
            }
        }
        free_blocks += u64::from(desc.free_blocks);
        descs.push(desc);
    }
    for desc in descs {
        let mut bits = image.block(&geometry, desc.block_bitmap());
        if desc.is_block_uninit() {
            desc.init_block_bitmap(&geometry, &mut bits).unwrap();
        } else {
            desc.verify_block_bitmap(&geometry, &bits).unwrap();
        }
        let run = geometry.group_blocks(desc.group()).unwrap();
        for (bit, nr) in (run.start().get()..run.end()).enumerate() {
            let set = bitmap::test(&bits, bit as u32);
            assert_eq!(set, walk.used.contains(&nr), "block {nr}");
        }
    }
    assert_eq!(
        geometry.blocks().end() - walk.used.len() as u64,
        free_blocks
    );
    let sb = image.superblock();
    assert_eq!(SuperBlock::from_bytes(&sb).free_blocks_count(), free_blocks);
    walk
}

#[test]
fn all_of_an_image() {
    let content = tempfile::tempdir().unwrap();
    fill(content.path());
    for args in [
        "-b 4096 -O ^metadata_csum_seed,^orphan_file",
        "-b 4096 -O metadata_csum_seed,orphan_file",
        "-b 4096 -O ^metadata_csum,^64bit",
        "-b 4096 -g 2048 -O meta_bg,^resize_inode -I 512",
        "-b 1024 -O ^resize_inode",
    ] {
        let from = format!("{args} -d {}", content.path().display());
        let image = Image::new(&from, "96M");
        // Makes the indexes; that it changes something is no error.
        let path = image.path();
        let fsck: [&OsStr; 2] = [OsStr::new("-fyD"), path.as_os_str()];
        let status = Command::new(find("e2fsck")).args(fsck).output().unwrap();
        assert!(status.status.code() <= Some(1), "{status:?}");

        let walk = walk(&image);
        assert!(
            walk.index_blocks > 0 || walk.geometry.csum().is_none(),
            "{args}"
        );
        assert!(walk.deepest > 0, "{args}");
        // The files, the link, five more in the root, lost+found, and the dots of three directories.
        assert_eq!(walk.names, 2000 + 1 + 5 + 1 + 6, "{args}");
    }
}
