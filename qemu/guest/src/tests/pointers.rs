// SPDX-License-Identifier: GPL-2.0
//! Files that are mapped by block pointers, not by extents, as on images that mke2fs makes for ext2.

use super::{free, pattern, read_at, refused, same_bytes};
use crate::harness::{Bed, Test, ALL, BOTH, RAM};
use crate::stage;
use crate::sys::Mapping;
use anyhow::{ensure, Result};
use rustix::fs::{fallocate, seek, FallocateFlags, SeekFrom};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::{symlink, FileExt, MetadataExt};

pub fn tests() -> Vec<Test> {
    vec![
        Test::bare("pointers::depths", ALL, |bed| depths(bed, 4096)),
        Test::bare("pointers::depths_1k", RAM, |bed| depths(bed, 1024)),
        Test::bare("pointers::depths_2k", RAM, |bed| depths(bed, 2048)),
        Test::bare("pointers::truncate", BOTH, truncate),
        Test::bare("pointers::punch", BOTH, punch),
        Test::bare("pointers::by_ext4", BOTH, by_ext4),
        Test::bare("pointers::among_extents", BOTH, among_extents),
        Test::bare("pointers::mapped", ALL, mapped),
        Test::bare("pointers::stale_blocks", BOTH, stale_blocks),
        Test::bare("pointers::limit", RAM, limit),
        Test::bare("pointers::no_preallocation", RAM, no_preallocation),
        Test::bare("pointers::large_directory", RAM, large_directory),
        Test::bare("pointers::hostile", BOTH, hostile).corrupt(),
    ]
}

/// Makes an ext2 image with blocks of `block` bytes, and mounts it.
fn ext2(bed: &mut Bed, block: u64) -> Result<()> {
    let device = bed.image.device().to_string_lossy().into_owned();
    let block = block.to_string();
    stage::run("mke2fs", &["-q", "-F", "-t", "ext2", "-b", &block, &device, "128M"])?;
    bed.mount()
}

/// The first and the last block of each depth, as far as tests go.
fn places(block: u64) -> Vec<u64> {
    let pointers = block / 4;
    let double = 12 + pointers;
    let triple = double + pointers * pointers;
    let near = |at: u64| [at - 1, at, at + 1];
    let mut all = vec![0, 5];
    all.extend(near(12).into_iter().chain(near(double)).chain(near(double + pointers)));
    all.extend(near(triple).into_iter().chain(near(triple + pointers * pointers)));
    all
}

fn depths(bed: &mut Bed, block: u64) -> Result<()> {
    ext2(bed, block)?;
    let before = free(bed.dir())?;
    let file = bed.create("file")?;
    let size = block as usize;
    let places = places(block);
    for n in 0..places.len() {
        // In no order: 17 places.
        let at = places[(n * 5) % places.len()];
        file.write_all_at(&pattern(at, 0, size), at * block)?;
    }
    let check = |file: &File| -> Result<()> {
        for at in &places {
            let found = read_at(file, at * block, size)?;
            same_bytes(&found, &pattern(*at, 0, size), &format!("block {at}"))?;
        }
        same_bytes(&read_at(file, 7 * block, size)?, &vec![0; size], "a hole")?;
        Ok(())
    };
    check(&file)?;
    drop(file);
    bed.again()?;
    let file = bed.open("file")?;
    check(&file)?;
    let hole = seek(&file, SeekFrom::Hole(5 * block))?;
    let data = seek(&file, SeekFrom::Data(6 * block))?;
    ensure!((hole, data) == (6 * block, 11 * block), "hole at {hole}, data at {data}");
    let sectors = file.metadata()?.blocks();
    drop(file);
    bed.unmount()?;
    bed.image.fsck()?;
    bed.mount()?;
    bed.by_ext4(|root| check(&File::open(root.join("file"))?))?;
    ensure!(std::fs::metadata(bed.path("file"))?.blocks() == sectors);
    std::fs::remove_file(bed.path("file"))?;
    ensure!(free(bed.dir())? == before, "{before:?}, then {:?}", free(bed.dir())?);
    Ok(())
}

/// Cut in steps across every depth, and grown again.
fn truncate(bed: &mut Bed) -> Result<()> {
    ext2(bed, if bed.place.is_dax() { 4096 } else { 1024 })?;
    let block = rustix::fs::statfs(bed.dir())?.f_bsize as u64;
    let before = free(bed.dir())?;
    let file = bed.create("file")?;
    let places = places(block);
    for at in &places {
        file.write_all_at(&pattern(*at, 0, 3 * block as usize), at * block)?;
    }
    let mut model: Vec<u64> = (0..3).flat_map(|n| places.iter().map(move |at| at + n)).collect();
    model.sort_unstable();
    for at in places.iter().rev() {
        // In the middle of a block.
        file.set_len(at * block + 100)?;
        model.retain(|other| other <= at);
        file.set_len((at + 2) * block)?;
        let found = read_at(&file, at * block + 100, 2 * block as usize - 100)?;
        same_bytes(&found, &vec![0; found.len()], &format!("behind block {at}"))?;
        let sectors = file.metadata()?.blocks() * 512 / block;
        ensure!(sectors >= 1 && sectors <= model.len() as u64 + 9, "{sectors} blocks at {at}");
    }
    file.set_len(0)?;
    ensure!(file.metadata()?.blocks() == 0, "{} sectors are left", file.metadata()?.blocks());
    ensure!(free(bed.dir())?.0 == before.0);
    file.write_all_at(&pattern(1, 0, 1 << 20), 5)?;
    same_bytes(&read_at(&file, 5, 1 << 20)?, &pattern(1, 0, 1 << 20), "written again")
}

fn punch(bed: &mut Bed) -> Result<()> {
    ext2(bed, if bed.place.is_dax() { 4096 } else { 1024 })?;
    let before = free(bed.dir())?;
    let file = bed.create("file")?;
    let len = 9 << 20;
    let mut model = pattern(1, 0, len);
    file.write_all_at(&model, 0)?;
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    for (at, size) in [(5, 100), (4096, 65_536), (200_001, 300_000), (1 << 20, 5 << 20), (0, 1)] {
        fallocate(&file, flags, at as u64, size as u64)?;
        model[at..at + size].fill(0);
        same_bytes(&read_at(&file, 0, len)?, &model, &format!("punched {size} at {at}"))?;
    }
    let sectors = file.metadata()?.blocks() as usize;
    ensure!(sectors < (len - (5 << 20)) / 512, "{sectors} sectors: nothing was freed");
    fallocate(&file, flags, 0, len as u64)?;
    ensure!(file.metadata()?.blocks() == 0, "{} sectors are left", file.metadata()?.blocks());
    ensure!(free(bed.dir())?.0 == before.0);
    Ok(())
}

fn by_ext4(bed: &mut Bed) -> Result<()> {
    ext2(bed, 4096)?;
    let theirs = pattern(1, 0, 5 << 20);
    bed.by_ext4(|root| {
        std::fs::write(root.join("file"), &theirs)?;
        symlink("x".repeat(200), root.join("link"))?;
        Ok(std::fs::create_dir(root.join("dir"))?)
    })?;
    same_bytes(&std::fs::read(bed.path("file"))?, &theirs, "what ext4 wrote")?;
    ensure!(std::fs::read_link(bed.path("link"))?.as_os_str().len() == 200);
    let file = bed.open("file")?;
    file.write_all_at(&pattern(2, 0, 100_000), 4_500_000)?;
    file.write_all_at(&pattern(3, 0, 2 << 20), 5 << 20)?;
    symlink("y".repeat(300), bed.path("dir/link"))?;
    drop(file);
    bed.by_ext4(|root| {
        let found = std::fs::read(root.join("file"))?;
        same_bytes(&found[..4_500_000], &theirs[..4_500_000], "the beginning")?;
        same_bytes(&found[4_500_000..4_600_000], &pattern(2, 0, 100_000), "overwritten")?;
        same_bytes(&found[5 << 20..], &pattern(3, 0, 2 << 20), "appended")?;
        ensure!(std::fs::read_link(root.join("dir/link"))?.as_os_str().len() == 300);
        Ok(())
    })?;
    for name in ["file", "link", "dir/link"] {
        std::fs::remove_file(bed.path(name))?;
    }
    Ok(())
}

/// A file from before its file system had extents, on an image with checksums.
fn among_extents(bed: &mut Bed) -> Result<()> {
    bed.mkfs("128M", &["-O", "^extent,^64bit"])?;
    bed.by_ext4(|root| Ok(std::fs::write(root.join("file"), pattern(1, 0, 200_000))?))?;
    stage::run("tune2fs", &["-O", "extent", &bed.image.device().to_string_lossy()])?;
    bed.mount()?;
    let file = bed.open("file")?;
    file.write_all_at(&pattern(2, 0, 3 << 20), 150_000)?;
    let mut model = pattern(1, 0, 150_000);
    model.extend(pattern(2, 0, 3 << 20));
    same_bytes(&read_at(&file, 0, model.len())?, &model, "grown")?;
    drop(file);
    bed.again()?;
    same_bytes(&std::fs::read(bed.path("file"))?, &model, "mounted again")?;
    bed.open("file")?.set_len(70_000)?;
    same_bytes(&std::fs::read(bed.path("file"))?, &model[..70_000], "cut")
}

/// Stores to holes, and loads from them.
fn mapped(bed: &mut Bed) -> Result<()> {
    ext2(bed, 4096)?;
    let file = bed.create("file")?;
    let size = 6 << 20;
    file.set_len(size as u64)?;
    let map = Mapping::shared(&file, size)?;
    same_bytes(&map.read(0, size), &vec![0; size], "a hole")?;
    let mut model = vec![0; size];
    for (n, at) in [0, 45_000, 49_152, 4_243_456, 5_000_001, size - 50].into_iter().enumerate() {
        map.write(at, &pattern(n as u64, 0, 50));
        model[at..at + 50].copy_from_slice(&pattern(n as u64, 0, 50));
    }
    same_bytes(&map.read(0, size), &model, "stored")?;
    drop(map);
    drop(file);
    bed.again()?;
    same_bytes(&std::fs::read(bed.path("file"))?, &model, "mounted again")
}

/// Blocks that another file had show nothing of it: there are no unwritten ones here.
fn stale_blocks(bed: &mut Bed) -> Result<()> {
    ext2(bed, 4096)?;
    std::fs::write(bed.path("secret"), vec![0xee; 100 << 20])?;
    std::fs::remove_file(bed.path("secret"))?;
    let file = bed.create("file")?;
    for n in 0..200 {
        file.write_all_at(b"x", n * 40_960 + 17)?;
    }
    drop(file);
    bed.again()?;
    let found = std::fs::read(bed.path("file"))?;
    ensure!(found.iter().all(|byte| [0, b'x'].contains(byte)), "what another file had is there");
    Ok(())
}

fn limit(bed: &mut Bed) -> Result<()> {
    ext2(bed, 1024)?;
    let end = (12 + 256 + (1 << 16) + (1 << 24)) * 1024_u64;
    let file = bed.create("file")?;
    file.write_all_at(b"last", end - 4)?;
    same_bytes(&read_at(&file, end - 4, 4)?, b"last", "the last bytes")?;
    refused(file.write_at(b"x", end), Errno::FBIG, "a byte too far")?;
    refused(file.set_len(end + 1), Errno::FBIG, "longer by a byte")?;
    file.set_len(end)?;
    ensure!(file.metadata()?.len() == end);
    // Nobody reads 16 GiB of zeros.
    file.set_len(1)?;
    ensure!(file.metadata()?.blocks() == 0, "pointer blocks are left");
    Ok(())
}

fn no_preallocation(bed: &mut Bed) -> Result<()> {
    ext2(bed, 4096)?;
    let file = bed.create("file")?;
    file.write_all_at(&pattern(1, 0, 100_000), 0)?;
    for flags in [
        FallocateFlags::empty(),
        FallocateFlags::ZERO_RANGE,
        FallocateFlags::COLLAPSE_RANGE,
        FallocateFlags::INSERT_RANGE,
    ] {
        refused(fallocate(&file, flags, 4096, 8192), Errno::OPNOTSUPP, &format!("{flags:?}"))?;
    }
    same_bytes(&read_at(&file, 0, 100_000)?, &pattern(1, 0, 100_000), "the file")
}

/// A directory of more blocks than there are direct pointers.
fn large_directory(bed: &mut Bed) -> Result<()> {
    ext2(bed, 1024)?;
    let before = free(bed.dir())?;
    std::fs::create_dir(bed.path("dir"))?;
    let name = |n: u32| format!("dir/{n:0>60}");
    let count = bed.config.amount(8_000, 1_000, 250);
    for n in 0..count {
        File::create(bed.path(name(n)))?;
    }
    bed.again()?;
    ensure!(std::fs::read_dir(bed.path("dir"))?.count() == count as usize);
    for n in 0..count {
        std::fs::remove_file(bed.path(name(n)))?;
    }
    std::fs::remove_dir(bed.path("dir"))?;
    ensure!(free(bed.dir())? == before);
    Ok(())
}

/// Pointers that lead out of the file system, or to its metadata.
fn hostile(bed: &mut Bed) -> Result<()> {
    // Whatever goes wrong with a page of the page cache is EIO for who reads it.
    let expected = if bed.place.is_dax() { Errno::UCLEAN } else { Errno::IO };
    for (field, value) in [
        ("block[0]", "4000000000"),
        ("block[0]", "3"),
        ("block[IND]", "4000000000"),
        ("block[DIND]", "4000000000"),
    ] {
        ext2(bed, 4096)?;
        std::fs::write(bed.path("file"), pattern(1, 0, 5 << 20))?;
        bed.unmount()?;
        bed.image.debugfs(&[&format!("set_inode_field file {field} {value}")])?;
        bed.mount_with(&format!("{},errors=continue", bed.place.options()))?;
        refused(std::fs::read(bed.path("file")), expected, &format!("{field} {value}"))?;
        let removed = std::fs::remove_file(bed.path("file"));
        ensure!(removed.is_ok(), "the name does not go: {removed:?}");
        bed.unmount()?;
    }
    Ok(())
}
