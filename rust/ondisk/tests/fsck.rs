// SPDX-License-Identifier: GPL-2.0

//! What e2fsprogs makes of our trees and directories, and we of theirs.

mod common;

#[path = "common/directory.rs"]
mod memory;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::fs::FileExt as _, //
};

use common::*;
use memory::*;
use ondisk::{
    directory::{
        self,
        Read as _, //
    },
    extent::{
        self,
        ValidExtent, //
    },
    inode::flag,
    tree::{
        self,
        Mapping, //
    },
    BlockNr,
    Blocks,
    Csum,
    Error,
    Geometry,
    GroupDesc,
    Inode, //
};

/// A file of an image, and a pool of blocks for new nodes of its tree.
struct OnDisk<'a> {
    image: &'a Image,
    geometry: Geometry,
    ino: u32,
    place: u64,
    inode: Inode,
    pool: Vec<BlockNr>,
}

impl<'a> OnDisk<'a> {
    fn open(image: &'a Image, path: &str) -> Self {
        let stat = image.debugfs(&format!("stat {path}\n"));
        let rest = stat.split_once("Inode: ").expect("it exists").1;
        let ino = rest.split_whitespace().next().unwrap().parse().unwrap();
        let geometry = image.geometry();
        let in_table = geometry.inode(ino).unwrap();
        let (block, offset) = geometry.desc_place(in_table.group).unwrap();
        let desc = &image.block(&geometry, block)[offset..];
        let desc = GroupDesc::decode(&geometry, in_table.group, desc).unwrap();
        let block = desc.inode_table().nth(in_table.block).unwrap().get();
        let place = (block << geometry.block_bits()) + in_table.offset as u64;
        let bytes = image.read(place, geometry.inode_size().into());
        let inode = Inode::decode(&geometry, ino, &bytes).unwrap();
        Self {
            image,
            geometry,
            ino,
            place,
            inode,
            pool: Vec::new(),
        }
    }

    /// Writes the inode.
    fn close(self) {
        let mut bytes = self
            .image
            .read(self.place, self.geometry.inode_size().into());
        let encoded = self.inode.encode(&self.geometry, self.ino, &mut bytes);
        encoded.unwrap();
        self.image.write(self.place, &bytes);
    }

    fn csum(&self) -> Option<Csum> {
        let csum = self.geometry.csum()?;
        Some(csum.for_inode(self.ino, self.inode.generation))
    }

    fn size_in_blocks(&self) -> u32 {
        (self.inode.size >> self.geometry.block_bits()) as u32
    }

    fn lookup(&mut self, lblk: u32) -> Mapping {
        let root = self.inode.block;
        tree::lookup(&root, self, lblk).unwrap()
    }

    /// The block that holds block `lblk` of the file.
    fn map(&mut self, lblk: u32) -> BlockNr {
        match self.lookup(lblk) {
            Mapping::Extent(e) => e.run().nth(lblk - e.lblk()).unwrap(),
            Mapping::Hole { .. } => panic!("block {lblk} is a hole"),
        }
    }

    fn byte_of(&mut self, lblk: u32) -> u64 {
        self.map(lblk).get() << self.geometry.block_bits()
    }
}

impl tree::Read for OnDisk<'_> {
    type Error = Error;
    type View = Vec<u8>;

    fn blocks(&self) -> Blocks {
        self.geometry.blocks()
    }

    fn view(&mut self, at: BlockNr) -> Result<Vec<u8>, Error> {
        let node = self.image.block(&self.geometry, at);
        if let Some(csum) = self.csum() {
            extent::verify(&node, csum)?;
        }
        extent::check(&node, &self.geometry.blocks())?;
        Ok(node)
    }

    fn error(&self, _at: Option<BlockNr>, error: Error) -> Error {
        error
    }
}

impl tree::Store for OnDisk<'_> {
    type Node = Vec<u8>;

    fn read(&mut self, at: BlockNr) -> Result<Vec<u8>, Error> {
        tree::Read::view(self, at)
    }

    fn write(&mut self, at: BlockNr, mut node: Vec<u8>) -> Result<(), Error> {
        if let Some(csum) = self.csum() {
            extent::seal(&mut node, csum)?;
        }
        self.image
            .write(at.get() << self.geometry.block_bits(), &node);
        Ok(())
    }

    fn alloc(&mut self, _goal: BlockNr) -> Result<(BlockNr, Vec<u8>), Error> {
        let at = self.pool.pop().ok_or(Error::Full)?;
        Ok((at, vec![0xa5; self.geometry.block_size() as usize]))
    }

    fn free(&mut self, at: BlockNr) -> Result<(), Error> {
        self.pool.push(at);
        Ok(())
    }
}

/// The directory `path` of an image, in memory.
fn load(image: &Image, path: &str) -> Dir {
    let mut file = OnDisk::open(image, path);
    let mut dir = Dir::new(&file.geometry, file.ino, file.inode.generation);
    let size = file.geometry.block_size() as usize;
    dir.indexed = file.inode.flags & flag::INDEX != 0;
    for lblk in 0..file.size_in_blocks() {
        let byte = file.byte_of(lblk);
        dir.blocks.push(image.read(byte, size));
    }
    dir
}

/// Makes the directory `path` of an image what `dir` is.
fn save(image: &Image, path: &str, dir: &Dir) {
    let mut blocks = OnDisk::open(image, path).size_in_blocks();
    assert!(blocks <= dir.blocks());
    let mut script = String::new();
    while blocks < dir.blocks() {
        script += &format!("expand_dir {path}\n");
        blocks += 1;
    }
    image.debugfs(&script);
    let mut file = OnDisk::open(image, path);
    for (lblk, block) in dir.blocks.iter().enumerate() {
        let byte = file.byte_of(lblk as u32);
        image.write(byte, block);
    }
    if dir.indexed {
        file.inode.flags |= flag::INDEX;
    }
    file.close();
}

/// Our directory, of hard links to one file, put into an image.
fn judge(args: &str, size: &str, tune: &str, names: &[Vec<u8>], keep: impl Fn(usize) -> bool) {
    let image = Image::new(&format!("-N 64 {args}"), size);
    if !tune.is_empty() {
        let path = image.path();
        tool(
            "tune2fs",
            &[OsStr::new("-E"), OsStr::new(tune), path.as_os_str()],
        );
    }
    image.debugfs("mkdir d\nwrite /dev/null f\n");
    let target = OnDisk::open(&image, "f").ino;
    let mut dir = load(&image, "d");
    let mut model = BTreeMap::new();
    for name in names {
        add(&mut dir, name, target).unwrap();
        model.insert(name.clone(), target);
    }
    for (_, name) in names.iter().enumerate().filter(|(n, _)| !keep(*n)) {
        let place = directory::lookup(&mut dir, name).unwrap().unwrap();
        directory::remove(&mut dir, &place).unwrap();
        model.remove(name);
    }
    save(&image, "d", &dir);
    let mut file = OnDisk::open(&image, "f");
    file.inode.links = (model.len() + 1) as u16;
    file.close();
    image.fsck();
    let listing = image.debugfs("ls -p d\n");
    // It lists what is free, too, as inode 0.
    let used = |line: &&str| line.starts_with('/') && !line.starts_with("/0/");
    assert_eq!(listing.lines().filter(used).count(), model.len() + 2);
    let mut dir = load(&image, "d");
    for name in names {
        let found = directory::lookup(&mut dir, name).unwrap();
        assert_eq!(found.is_some(), model.contains_key(name));
    }
    assert_eq!(dir.list(400, usize::MAX).len(), model.len() + 2);
}

fn long(count: u32) -> Vec<Vec<u8>> {
    (0..count)
        .map(|n| format!("{n:0255}").into_bytes())
        .collect()
}

fn mixed(count: u32) -> Vec<Vec<u8>> {
    let name = |n: u32| {
        let width = [1, 5, 17, 40, 130][n as usize % 5];
        format!("{n:x}{:->width$}", "").into_bytes()
    };
    (0..count).map(name).collect()
}

#[test]
fn e2fsck_accepts_directories() {
    let all = |_: usize| true;
    judge("-b 4096", "8M", "", &mixed(20), all);
    judge("-b 4096", "16M", "", &mixed(60_000), |n| n % 3 != 0);
    judge(
        "-b 4096 -O ^metadata_csum,^orphan_file",
        "16M",
        "",
        &mixed(5000),
        |n| n % 2 == 0,
    );
    judge("-b 1024", "16M", "", &mixed(10_000), |n| n % 5 != 0);
    judge("-b 1024", "8M", "", &long(1500), |n| n % 7 != 0);
    judge("-b 1024 -O ^dir_index", "8M", "", &mixed(2000), |n| {
        n % 2 == 0
    });
    judge("-b 4096", "8M", "hash_alg=tea", &mixed(5000), all);
}

#[test]
fn e2fsck_accepts_an_index_of_three_levels() {
    judge("-b 1024 -O large_dir", "64M", "", &long(40_000), |n| {
        n % 50 != 0
    });
}

#[test]
fn e2fsck_accepts_names_of_one_hash() {
    for group in collisions().into_iter().take(3) {
        let names: Vec<_> = mixed(60).into_iter().chain(group).collect();
        judge("-b 1024", "8M", "hash_alg=legacy", &names, |_| true);
    }
}

/// Directories that mke2fs made, as they are and indexed by e2fsck; then we go on with them.
#[test]
fn directories_of_mke2fs() {
    const COUNT: u32 = 5000;
    let host = tempfile::tempdir().unwrap();
    fs::create_dir(host.path().join("d")).unwrap();
    let mut names = BTreeMap::new();
    for n in 0..COUNT {
        let name = format!("{n}-{}", "n".repeat(n as usize % 50));
        fs::write(host.path().join("d").join(&name), "").unwrap();
        names.insert(name.into_bytes(), 0);
    }
    let args = format!("-b 4096 -N {} -d {}", COUNT + 100, host.path().display());
    let image = Image::new(&args, "64M");
    for indexed in [false, true] {
        if indexed {
            let path = image.path();
            let args = [OsStr::new("-fyD"), path.as_os_str()];
            // It may say 1 for having changed something.
            assert!(run("e2fsck", &args).status.code() <= Some(1));
        }
        let mut dir = load(&image, "d");
        assert_eq!(dir.indexed, indexed);
        let list = dir.list(400, usize::MAX);
        assert_eq!(list.len(), names.len() + 2);
        for (_, name, ino) in list.into_iter().filter(|(_, name, _)| name[0] != b'.') {
            *names.get_mut(&name).expect("a name of the host") = ino;
        }
        // Without an index a lookup reads half the directory.
        for (name, ino) in names.iter().step_by(if indexed { 1 } else { 500 }) {
            let found = directory::lookup(&mut dir, name).unwrap();
            assert_eq!(found.map(|f| f.found.ino), Some(*ino));
        }
    }
    let mut dir = load(&image, "d");
    let target = OnDisk::open(&image, "d/0-").ino;
    for n in 0..5000 {
        add(&mut dir, format!("new-{n}").as_bytes(), target).unwrap();
    }
    save(&image, "d", &dir);
    let mut file = OnDisk::open(&image, "d/0-");
    file.inode.links += 5000;
    file.close();
    image.fsck();
}

/// A file of every second block, as mke2fs copies it: what is found is what is in the host's file.
#[test]
fn extent_trees_of_mke2fs() {
    const COUNT: u32 = 3000;
    let host = tempfile::tempdir().unwrap();
    let file = fs::File::create(host.path().join("f")).unwrap();
    for n in 0..COUNT {
        let content = [(n + 1).to_le_bytes(); 1024].concat();
        file.write_all_at(&content, u64::from(n) * 8192).unwrap();
    }
    for size in [4096, 1024] {
        let args = format!("-b {size} -d {}", host.path().display());
        let image = Image::new(&args, "40M");
        let mut file = OnDisk::open(&image, "f");
        assert_eq!(tree::depth(&file.inode.block), 2);
        let per_extent = 4096 / size;
        for n in 0..COUNT {
            let lblk = n * 2 * per_extent;
            let byte = file.byte_of(lblk);
            assert_eq!(image.read(byte, 4), (n + 1).to_le_bytes());
            let hole = file.lookup(lblk + per_extent);
            let end = if n + 1 == COUNT {
                tree::END
            } else {
                lblk + 2 * per_extent
            };
            assert_eq!(hole, Mapping::Hole { end });
        }
    }
}

/// The blocks of a file in another order, so that the tree is as large as can be; parts unwritten, then
/// written again, parts removed.
#[test]
fn e2fsck_accepts_extent_trees() {
    for args in [
        "-b 1024",
        "-b 4096",
        "-b 1024 -O ^metadata_csum,^orphan_file",
    ] {
        const COUNT: u32 = 6000;
        const NODES: usize = 300;
        let image = Image::new(args, "64M");
        let size = image.geometry().block_size() as usize;
        let host = tempfile::NamedTempFile::new().unwrap();
        let content = |n: u32| (n + 1).to_le_bytes().repeat(size / 4);
        let whole: Vec<u8> = (0..COUNT).flat_map(content).collect();
        fs::write(host.path(), &whole).unwrap();
        image.debugfs(&format!("write {} f\n", host.path().display()));

        let mut file = OnDisk::open(&image, "f");
        let blocks: Vec<_> = (0..COUNT).map(|lblk| file.map(lblk)).collect();
        let (nodes, data) = blocks.split_at(NODES);
        file.pool = nodes.to_vec();
        let mut root = [0; extent::ROOT_SIZE];
        extent::init_root(&mut root).unwrap();
        let mut order: Vec<_> = (0..data.len() as u32).collect();
        order.sort_by_key(|n| n.wrapping_mul(2_654_435_761));
        for (n, lblk) in order.iter().enumerate() {
            let run = data[n].into();
            let extent = ValidExtent::new(*lblk, run, lblk % 7 == 0).unwrap();
            tree::insert(&mut root, &mut file, extent).unwrap();
        }
        let (mut from, to) = (1000, 2000);
        while from < to {
            from = tree::convert(&mut root, &mut file, from, to, false).unwrap();
        }
        // What is removed comes back elsewhere, so that all blocks remain the file's.
        let (mut end, mut next) = (800, data.len() as u32);
        loop {
            let removed = tree::remove(&mut root, &mut file, 500, end).unwrap();
            for gone in removed.extents() {
                let extent = ValidExtent::new(next, gone.run(), false).unwrap();
                tree::insert(&mut root, &mut file, extent).unwrap();
                next += gone.len();
            }
            match removed.rest() {
                Some(rest) => end = rest,
                None => break,
            }
        }
        assert!(tree::depth(&root) >= 1);
        // Nodes that the tree did not need are data.
        while let Some(at) = file.pool.pop() {
            let extent = ValidExtent::new(next, at.into(), true).unwrap();
            tree::insert(&mut root, &mut file, extent).unwrap();
            next += 1;
        }
        file.inode.block = root;
        file.inode.size = u64::from(next) * size as u64;
        file.close();
        image.fsck();

        let mut file = OnDisk::open(&image, "f");
        let path = host.path().with_extension("out");
        image.debugfs(&format!("dump f {}\n", path.display()));
        let dumped = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        for lblk in 0..order.len() as u32 {
            let first = &dumped[lblk as usize * size..][..4];
            match file.lookup(lblk) {
                Mapping::Extent(e) if !e.is_unwritten() => {
                    assert_eq!(first, image.read(file.byte_of(lblk), 4));
                }
                _ => assert_eq!(first, [0; 4]),
            }
        }
    }
}
