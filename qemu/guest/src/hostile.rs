// SPDX-License-Identifier: GPL-2.0
//! Hostile images: metadata changed at random, then mounted, walked, read, written and unmounted. Whatever
//! comes of it is an error; the kernel's log, which the harness and `--strict` watch, tells what must not.
//!
//! The images have no checksums, so that a change gets past them, and a journal that is to be recovered.
//! File data is a pattern by which it is told from metadata.

use crate::crash::work::Random;
use crate::stage::{Config, Image};
use crate::sys::{self, Aligned};
use anyhow::{ensure, Context, Result};
use rustix::fs::{self as rfs, FallocateFlags, OFlags, XattrFlags};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{symlink, FileExt, OpenOptionsExt};
use std::path::Path;
use walkdir::WalkDir;

/// Bytes of the image, and of a block.
const SIZE: usize = 16 << 20;
const BLOCK: usize = 4096;
/// Two groups, a small journal, and nothing that has a checksum.
const MKFS: [&str; 6] = [
    "-g",
    "2048",
    "-J",
    "size=4",
    "-O",
    "^metadata_csum,^metadata_csum_seed,^orphan_file,^uninit_bg,^resize_inode",
];
/// What the data of files is.
const DATA: u8 = 0xd7;
/// How far a walk goes: directories may be in each other.
const DEPTH: usize = 6;
const ENTRIES: usize = 120;
/// How much of a file is read.
const READ: usize = 128 << 10;

/// What came of the images.
#[derive(Default)]
pub struct Figures {
    images: u32,
    refused: u32,
    calls: u64,
    /// How often each error came.
    errors: BTreeMap<i32, u64>,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} images, {} of them not mounted; {} calls",
            self.images, self.refused, self.calls
        )?;
        for (code, count) in &self.errors {
            let text = io::Error::from_raw_os_error(*code).to_string();
            let text = text.split(" (os error").next().unwrap_or_default().to_owned();
            write!(f, ", {count} {text}")?;
        }
        Ok(())
    }
}

impl Figures {
    /// Counts a call, and the error that it ended with.
    fn count<T>(&mut self, result: Result<T, impl Into<io::Error>>) -> Option<T> {
        self.calls += 1;
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let code = error.into().raw_os_error().unwrap_or(0);
                *self.errors.entry(code).or_default() += 1;
                None
            }
        }
    }
}

/// Makes so many images of one and uses each.
pub fn run(config: &Config, device: &str, images: u32, seed: u64) -> Result<Figures> {
    let image = Image::on(device);
    let good = populate(config, &image)?;
    let metadata = metadata_blocks(&good);
    ensure!(metadata.len() > 50, "{} blocks of metadata", metadata.len());
    let mut figures = Figures::default();
    for number in 0..images {
        let mut random = Random::new(seed.wrapping_add(u64::from(number)));
        let changes = mutate(&good, &metadata, &mut random);
        crate::kmsg::note(&format!("hostile image {}: {changes:x?}", seed + u64::from(number)));
        let mut bad = Aligned::of(&good);
        for (at, byte) in changes {
            bad[at] = byte;
        }
        write(&image, &bad)?;
        figures.images += 1;
        let options = if number % 2 == 0 { "errors=continue" } else { "errors=remount-ro" };
        let mounted = image.try_mount(&config.fstype, options);
        match figures.count(mounted) {
            None => figures.refused += 1,
            Some(mount) => {
                visit(mount.dir(), &mut figures);
                change(mount.dir(), &mut random, &mut figures);
                mount.unmount().context("an image that does not go")?;
            }
        }
    }
    Ok(figures)
}

/// Some of everything that a file system has, left as after a crash.
fn populate(config: &Config, image: &Image) -> Result<Aligned> {
    write(image, &Aligned::new(SIZE, 0))?;
    image.mkfs(&format!("{}K", SIZE >> 10), &MKFS)?;
    let mount = image.mount("ext4", "")?;
    let root = mount.dir();
    for n in 0..60 {
        let dir = root.join(format!("dir{}", n % 6));
        fs::create_dir_all(&dir)?;
        let path = dir.join(format!("file{n}"));
        fs::write(&path, vec![DATA; n * 300])?;
        rfs::setxattr(&path, "user.small", &[DATA; 20], XattrFlags::empty())?;
        if n % 5 == 0 {
            rfs::setxattr(&path, "user.large", &[n as u8 + 1; 900], XattrFlags::empty())?;
        }
        symlink("x".repeat(3 * n + 1), dir.join(format!("link{n}")))?;
    }
    // An extent tree with nodes, and an indexed directory.
    let file = File::create(root.join("fragments"))?;
    for n in 0..400 {
        file.write_all_at(&[DATA; BLOCK], n * 2 * BLOCK as u64)?;
    }
    fs::create_dir(root.join("large"))?;
    for n in 0..120 {
        File::create(root.join(format!("large/{n:0>200}")))?;
    }
    drop(file);
    mount.unmount()?;
    // What is in the journal is ours, and an orphan in the list.
    let mount = image.mount(&config.fstype, "commit=3600")?;
    let orphan = File::create_new(mount.dir().join("orphan"))?;
    orphan.write_all_at(&[DATA; 40_000], 0)?;
    fs::remove_file(mount.dir().join("orphan"))?;
    fs::remove_dir_all(mount.dir().join("dir5"))?;
    rfs::sync();
    let bytes = read(image)?;
    drop(orphan);
    mount.unmount()?;
    Ok(bytes)
}

fn direct(image: &Image) -> Result<File> {
    let flags = OFlags::DIRECT.bits() as i32;
    Ok(File::options().read(true).write(true).custom_flags(flags).open(image.device())?)
}

fn read(image: &Image) -> Result<Aligned> {
    let mut bytes = Aligned::new(SIZE, 0);
    let flags = OFlags::DIRECT.bits() as i32;
    let device = File::options().read(true).custom_flags(flags).open(image.device())?;
    device.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn write(image: &Image, bytes: &Aligned) -> Result<()> {
    Ok(direct(image)?.write_all_at(bytes, 0)?)
}

/// The blocks that are neither unused nor a file's data.
fn metadata_blocks(bytes: &[u8]) -> Vec<usize> {
    let blocks = bytes.chunks(BLOCK).enumerate();
    let is_data = |block: &[u8]| block.iter().filter(|byte| **byte == DATA).count() > BLOCK / 8;
    let used = |block: &[u8]| block.iter().any(|byte| *byte != 0) && !is_data(block);
    blocks.filter(|(_, block)| used(block)).map(|(nr, _)| nr).collect()
}

/// A few bytes of metadata, most of them of fields that are there, with values that numbers break at, with
/// those of other places, or with any.
fn mutate(good: &[u8], metadata: &[usize], random: &mut Random) -> Vec<(usize, u8)> {
    let mut changes = Vec::new();
    for _ in 0..1 + random.below(4) {
        let block = match random.below(8) {
            // The super block and the descriptors.
            0 => random.below(2) as usize,
            _ => metadata[random.below(metadata.len() as u64) as usize],
        };
        let within = random.below(BLOCK as u64 / 4) as usize * 4;
        // Somewhere after it where there is something: a block has long runs of zeroes.
        let start = block * BLOCK;
        let found = good[start + within..start + BLOCK].iter().position(|byte| *byte != 0);
        let at = start + (within + found.unwrap_or(0)) / 2 * 2;
        let len = [1, 2, 4, 4, 8][random.below(5) as usize].min(start + BLOCK - at);
        let other = metadata[random.below(metadata.len() as u64) as usize] as u64;
        let old =
            u64::from_le_bytes(std::array::from_fn(|n| good.get(at + n).copied().unwrap_or(0)));
        let new = match random.below(9) {
            0 => 0,
            1 => u64::MAX,
            2 => old.wrapping_add(1),
            3 => old.wrapping_sub(1),
            4 => old ^ 1 << random.below(32),
            5 => other,
            6 => random.below(40),
            7 => 1 << random.below(32),
            _ => random.below(u64::MAX),
        };
        changes
            .extend(new.to_le_bytes()[..len].iter().enumerate().map(|(n, byte)| (at + n, *byte)));
    }
    changes
}

/// Looks at everything, within bounds.
fn visit(root: &Path, figures: &mut Figures) {
    let mut buffer = vec![0; READ];
    for found in WalkDir::new(root).max_depth(DEPTH).into_iter().take(ENTRIES) {
        let Some(found) = figures.count(found) else { continue };
        let path = found.path();
        let Some(meta) = figures.count(fs::symlink_metadata(path)) else { continue };
        if meta.is_symlink() {
            figures.count(fs::read_link(path));
        } else if meta.is_file() {
            let end = meta.len().saturating_sub(100);
            if let Some(file) = figures.count(File::open(path)) {
                figures.count(file.read_at(&mut buffer, 0));
                figures.count(file.read_at(&mut buffer, end));
                figures.count(sys::flags(&file));
                figures.count(rfs::seek(&file, rfs::SeekFrom::Hole(0)));
            }
        }
        figures.count(rfs::llistxattr(path, &mut buffer));
        figures.count(rfs::lgetxattr(path, "user.large", &mut buffer));
    }
    figures.count(rfs::statfs(root));
    if let Some(root) = figures.count(File::open(root)) {
        let everything = [sys::attrs::Usage::default(), sys::attrs::Usage::END];
        figures.count(sys::attrs::usage(root, everything, 100));
    }
}

/// Changes a bit of everything.
fn change(root: &Path, random: &mut Random, figures: &mut Figures) {
    for n in 0..8 {
        let dir = root.join(format!("dir{}", random.below(6)));
        let name = dir.join(format!("file{}", random.below(60)));
        if let Some(file) = figures.count(File::options().write(true).open(&name)) {
            figures.count(file.write_all_at(&[1; 9000], random.below(60_000)));
            figures.count(file.set_len(random.below(30_000)));
            figures.count(file.sync_all());
        }
        figures.count(rfs::setxattr(&name, "user.new", &[2; 700], XattrFlags::empty()));
        figures.count(rfs::removexattr(&name, "user.large"));
        figures.count(fs::write(dir.join(format!("{n:0>180}")), vec![3; 10_000]));
        figures.count(fs::create_dir(root.join(format!("large/{n:0>190}"))));
        figures.count(fs::rename(&name, root.join(format!("large/{n}"))));
        figures.count(fs::remove_file(dir.join(format!("file{}", random.below(60)))));
        figures.count(fs::remove_file(root.join(format!("large/{:0>200}", random.below(120)))));
    }
    if let Some(file) = figures.count(File::options().write(true).open(root.join("fragments"))) {
        let block = BLOCK as u64;
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        figures.count(rfs::fallocate(&file, FallocateFlags::empty(), 0, 40 * block));
        figures.count(rfs::fallocate(&file, punch, 60 * block, 90 * block));
        figures.count(rfs::fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 0, 4 * block));
        figures.count(file.set_len(100 * block));
    }
    figures.count(fs::remove_dir_all(root.join("dir3")));
    figures.count(fs::remove_file(root.join("fragments")));
    rfs::sync();
}
