// SPDX-License-Identifier: GPL-2.0
//! Blocks: extent trees of every depth, holes, unwritten extents, allocation, a full device.

use super::{free, pattern, read_at, refused, same_bytes};
use crate::harness::{Bed, Test, ALL, BOTH, DAX, RAM};
use crate::skip;
use anyhow::{ensure, Context, Result};
use rustix::fs::{self, FallocateFlags, SeekFrom};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

const BLOCK: u64 = 4096;

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("extents::holes", ALL, holes),
        Test::new("extents::seek", BOTH, seek),
        Test::bare("extents::fragmented", BOTH, fragmented).seconds(400),
        Test::new("extents::backwards", BOTH, backwards),
        Test::new("extents::truncate_fragmented", BOTH, truncate_fragmented).seconds(300),
        Test::new("extents::trees_by_ext4", BOTH, trees_by_ext4).seconds(300),
        Test::new("extents::unwritten_by_ext4", ALL, unwritten_by_ext4),
        Test::new("extents::fallocate", ALL, fallocate),
        Test::new("extents::punch", ALL, punch),
        Test::new("extents::appends_are_contiguous", BOTH, appends_are_contiguous),
        Test::new("extents::appends_in_turns", BOTH, appends_in_turns),
        Test::bare("extents::small_groups", RAM, small_groups),
        Test::bare("extents::aligned_to_stripes", BOTH, aligned_to_stripes),
        Test::bare("extents::aligned_to_2_mib", DAX, aligned_to_2_mib),
        Test::bare("extents::across_groups", RAM, across_groups).seconds(300),
        Test::bare("extents::fill_with_one_file", ALL, fill_with_one_file).seconds(300),
        Test::bare("extents::fill_with_small_files", BOTH, fill_with_small_files).seconds(300),
        Test::bare("extents::fill_with_directories", RAM, fill_with_directories).seconds(300),
        Test::bare("extents::full_and_overwritten", BOTH, full_and_overwritten),
    ]
}

fn holes(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    let places = [3 * BLOCK + 5, 40 * BLOCK - 1, 5_000_000, 33 * (1 << 20)];
    let mut model = vec![0; 34 << 20];
    for (n, at) in places.into_iter().enumerate() {
        file.write_all_at(&pattern(n as u64, 0, 6000), at)?;
        model[at as usize..at as usize + 6000].copy_from_slice(&pattern(n as u64, 0, 6000));
    }
    file.set_len(model.len() as u64)?;
    let sectors = file.metadata()?.blocks();
    ensure!(sectors <= 12 * 8, "{sectors} sectors for 12 blocks");
    same_bytes(&read_at(&file, 0, model.len())?, &model, "before")?;
    drop(file);
    bed.again()?;
    same_bytes(&std::fs::read(bed.path("file"))?, &model, "mounted again")?;
    // Reading allocates nothing.
    ensure!(std::fs::metadata(bed.path("file"))?.blocks() == sectors);
    Ok(())
}

fn seek(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    for at in [10, 11, 50, 100] {
        file.write_all_at(&pattern(1, 0, 4096), at * BLOCK)?;
    }
    file.set_len(200 * BLOCK)?;
    file.sync_all()?;
    let data = |from: u64| fs::seek(&file, SeekFrom::Data(from * BLOCK)).map(|at| at / BLOCK);
    let hole = |from: u64| fs::seek(&file, SeekFrom::Hole(from * BLOCK)).map(|at| at / BLOCK);
    if data(0) == Ok(0) && hole(0) == Ok(200) {
        skip!("SEEK_HOLE sees no holes: the generic form, which is allowed");
    }
    let found = (data(0)?, hole(10)?, data(12)?, hole(50)?, data(51)?, hole(100)?, hole(0)?);
    ensure!(found == (10, 12, 50, 51, 100, 101, 0), "{found:?}");
    refused(data(101), Errno::NXIO, "SEEK_DATA behind the last data")
}

/// Writes every other block in an order that leaves one extent per block.
fn scatter(file: &File, count: u64) -> Result<()> {
    for n in 0..count {
        let block = (n * 7919) % count;
        file.write_all_at(&pattern(block, 0, 4096), 2 * block * BLOCK)?;
    }
    Ok(())
}

/// The depth of the extent tree of a path, as debugfs sees it.
fn depth(bed: &Bed, name: &str) -> Result<u32> {
    let text = bed.image.ask(&format!("ex {name}"))?;
    // Lines are `level/ depth  entry/ entries …`.
    let deepest = text.lines().filter_map(|line| {
        let (_, rest) = line.trim_start().split_once('/')?;
        rest.split_whitespace().next()?.parse::<u32>().ok()
    });
    deepest.max().with_context(|| format!("no extents of {name} in\n{text}"))
}

fn fragmented(bed: &mut Bed) -> Result<()> {
    let count = bed.config.amount(40_000, 3_000, 800);
    bed.mkfs("400M", &[])?;
    bed.mount()?;
    let file = bed.create("file")?;
    scatter(&file, count)?;
    drop(file);
    bed.unmount()?;
    let found = depth(bed, "file")?;
    ensure!(found >= if count > 4 * 340 { 2 } else { 1 }, "depth {found} with {count} extents");
    bed.mount()?;
    let file = bed.open("file")?;
    for block in (0..count).step_by(bed.config.amount(7, 1, 7)) {
        same_bytes(&read_at(&file, 2 * block * BLOCK, 4096)?, &pattern(block, 0, 4096), "data")?;
        if block + 1 < count {
            same_bytes(&read_at(&file, (2 * block + 1) * BLOCK, 4096)?, &[0; 4096], "hole")?;
        }
    }
    // Fill the holes: leaves merge or stay, the bytes must be right.
    for block in (0..count).step_by(3) {
        file.write_all_at(&pattern(block + count, 0, 4096), (2 * block + 1) * BLOCK)?;
    }
    drop(file);
    bed.again()?;
    let file = bed.open("file")?;
    for block in (0..count).step_by(3 * 5) {
        let at = 2 * block * BLOCK;
        same_bytes(&read_at(&file, at, 4096)?, &pattern(block, 0, 4096), "data")?;
        let filled = pattern(block + count, 0, 4096);
        same_bytes(&read_at(&file, at + BLOCK, 4096)?, &filled, "filled hole")?;
    }
    Ok(())
}

/// Written from the end to the start, block by block.
fn backwards(bed: &mut Bed) -> Result<()> {
    let blocks = bed.config.amount(2_000, 2_000, 500);
    let file = bed.create("file")?;
    let expected = pattern(3, 0, blocks * 4096);
    for n in (0..blocks).rev() {
        file.write_all_at(&expected[n * 4096..(n + 1) * 4096], n as u64 * BLOCK)?;
        if n % 100 == 0 {
            file.sync_data()?;
        }
    }
    drop(file);
    bed.again()?;
    same_bytes(&std::fs::read(bed.path("file"))?, &expected, "the file")
}

/// A deep tree is cut down to nothing in steps, grown again, and gives every block back.
fn truncate_fragmented(bed: &mut Bed) -> Result<()> {
    let before = free(bed.dir())?;
    let count = bed.config.amount(8_000, 2_000, 800);
    let file = bed.create("file")?;
    scatter(&file, count)?;
    file.sync_all()?;
    let mut left = count;
    while left > 0 {
        left = left * 3 / 4;
        file.set_len(2 * left * BLOCK)?;
        if left > 0 {
            let last = left - 1;
            let found = read_at(&file, 2 * last * BLOCK, 4096)?;
            same_bytes(&found, &pattern(last, 0, 4096), &format!("{left} blocks left"))?;
        }
    }
    ensure!(file.metadata()?.blocks() == 0, "{} sectors are left", file.metadata()?.blocks());
    scatter(&file, 700)?;
    drop(file);
    std::fs::remove_file(bed.path("file"))?;
    ensure!(free(bed.dir())? == before, "free {before:?} before, {:?} after", free(bed.dir())?);
    Ok(())
}

/// ext4 makes the tree; this file system reads, grows and cuts it.
fn trees_by_ext4(bed: &mut Bed) -> Result<()> {
    let count = bed.config.amount(6_000, 1_500, 500);
    bed.by_ext4(|root| {
        for name in ["read", "grow", "cut", "gone"] {
            scatter(&File::create(root.join(name))?, count)?;
        }
        Ok(())
    })?;
    let check = |file: &File, upto: u64| -> Result<()> {
        for block in (0..upto).step_by(11) {
            same_bytes(&read_at(file, 2 * block * BLOCK, 4096)?, &pattern(block, 0, 4096), "data")?;
        }
        Ok(())
    };
    check(&File::open(bed.path("read"))?, count)?;
    let grow = bed.open("grow")?;
    for block in 0..bed.config.amount(300, 300, 100) {
        grow.write_all_at(&pattern(7, 0, 4096), (2 * block + 1) * BLOCK)?;
        grow.write_all_at(&pattern(8, 0, 4096), (2 * (count + block) + 5) * BLOCK)?;
    }
    check(&grow, count)?;
    let cut = bed.open("cut")?;
    cut.set_len(count * BLOCK)?;
    check(&cut, count / 2)?;
    std::fs::remove_file(bed.path("gone"))?;
    drop((grow, cut));
    bed.by_ext4(|root| {
        check(&File::open(root.join("grow"))?, count)?;
        check(&File::open(root.join("cut"))?, count / 2)?;
        let grow = File::open(root.join("grow"))?;
        same_bytes(&read_at(&grow, 5 * BLOCK, 4096)?, &pattern(7, 0, 4096), "a filled hole")
    })
}

/// Unwritten extents read as zeroes and become written, whole or in part.
fn unwritten(bed: &mut Bed, name: &str, len: u64) -> Result<()> {
    let file = bed.open(name)?;
    ensure!(file.metadata()?.blocks() >= len / 512, "the blocks are not allocated");
    let mut model = vec![0; len as usize];
    same_bytes(&read_at(&file, 0, model.len())?, &model, "unwritten")?;
    for (at, size) in
        [(0, 1), (40_960, 4096), (100_001, 17), (200_000, 60_000), (len as usize - 5, 5)]
    {
        let bytes = pattern(at as u64, 0, size);
        file.write_all_at(&bytes, at as u64)?;
        model[at..at + size].copy_from_slice(&bytes);
        same_bytes(&read_at(&file, 0, model.len())?, &model, &format!("{size} bytes at {at}"))?;
    }
    drop(file);
    bed.again()?;
    same_bytes(&std::fs::read(bed.path(name))?, &model, "mounted again")
}

fn unwritten_by_ext4(bed: &mut Bed) -> Result<()> {
    let len = 1 << 20;
    bed.by_ext4(|root| {
        let file = File::create(root.join("file"))?;
        Ok(fs::fallocate(file, FallocateFlags::empty(), 0, len)?)
    })?;
    unwritten(bed, "file", len)
}

/// Skips the test where fallocate is not there at all.
fn may_allocate(result: rustix::io::Result<()>) -> Result<()> {
    if result == Err(Errno::OPNOTSUPP) {
        skip!("fallocate is not implemented");
    }
    Ok(result?)
}

fn fallocate(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    may_allocate(fs::fallocate(&file, FallocateFlags::empty(), 0, 1 << 20))?;
    ensure!(file.metadata()?.len() == 1 << 20);
    drop(file);
    unwritten(bed, "file", 1 << 20)?;
    let file = bed.create("beyond")?;
    fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 1 << 20)?;
    ensure!(file.metadata()?.len() == 0 && file.metadata()?.blocks() >= 2048);
    file.write_all_at(b"x", 5000)?;
    same_bytes(&read_at(&file, 0, 5000)?, &[0; 5000], "before the first byte written")?;
    file.set_len(5001)?;
    let before = free(bed.dir())?;
    let too_much = fs::fallocate(&file, FallocateFlags::empty(), 0, 1 << 40);
    refused(too_much, Errno::NOSPC, "a terabyte")?;
    file.set_len(5001)?;
    ensure!(free(bed.dir())?.0 >= before.0, "blocks were lost");
    Ok(())
}

fn punch(bed: &mut Bed) -> Result<()> {
    let before = free(bed.dir())?;
    let file = bed.create("file")?;
    let mut model = pattern(4, 0, 1 << 20);
    file.write_all_at(&model, 0)?;
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    for (at, len) in
        [(0, 4096), (8192, 1), (12_000, 20_000), (500_000, 100_000), (1_040_000, 50_000)]
    {
        may_allocate(fs::fallocate(&file, flags, at, len))?;
        let end = (at + len).min(1 << 20) as usize;
        model[at as usize..end].fill(0);
        same_bytes(&read_at(&file, 0, 1 << 20)?, &model, &format!("punched {len} at {at}"))?;
    }
    ensure!(file.metadata()?.len() == 1 << 20);
    let sectors = file.metadata()?.blocks();
    ensure!(sectors < 2048 - 8 * (1 + 3 + 23), "{sectors} sectors: nothing was freed");
    drop(file);
    bed.again()?;
    same_bytes(&std::fs::read(bed.path("file"))?, &model, "mounted again")?;
    std::fs::remove_file(bed.path("file"))?;
    ensure!(free(bed.dir())? == before);
    Ok(())
}

/// How many extents a path has, as debugfs counts.
fn extents(bed: &Bed, name: &str) -> Result<Vec<(u64, u64, u64)>> {
    let text = bed.image.ask(&format!("dump_extents -l {name}"))?;
    // `1/ 1   1/ 3   0 - 511   33280 - 33791   512`: leaf entries only.
    let number = |word: &str| word.parse::<u64>().ok();
    let found = text.lines().filter_map(|line| {
        let words: Vec<u64> =
            line.split(['/', '-', ' ']).filter(|w| !w.is_empty()).filter_map(number).collect();
        match words[..] {
            [.., logical, _, physical, _, len] if words.len() >= 9 => {
                Some((logical, physical, len))
            }
            _ => None,
        }
    });
    Ok(found.collect())
}

fn appends_are_contiguous(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    let count = bed.config.amount(4_096, 4_096, 1_024);
    for n in 0..count {
        file.write_all_at(&pattern(1, n * BLOCK, 4096), n * BLOCK)?;
    }
    drop(file);
    bed.unmount()?;
    let found = extents(bed, "file")?;
    ensure!(
        !found.is_empty() && found.len() <= 8,
        "{count} blocks, appended one by one, lie in {} extents",
        found.len()
    );
    bed.mount()?;
    same_bytes(
        &std::fs::read(bed.path("file"))?,
        &pattern(1, 0, (count * BLOCK) as usize),
        "the file",
    )
}

/// Files that grow at the same time, block by block, have room each: none needs a node for its extents.
fn appends_in_turns(bed: &mut Bed) -> Result<()> {
    let names = ["a", "b", "c"];
    let files = names.iter().map(|name| bed.create(name)).collect::<Result<Vec<_>>>()?;
    for n in 0..40 {
        for (file, seed) in files.iter().zip(0..) {
            file.write_all_at(&pattern(seed, n * BLOCK, 4096), n * BLOCK)?;
        }
    }
    drop(files);
    bed.again()?;
    for (name, seed) in names.into_iter().zip(0..) {
        let sectors = std::fs::metadata(bed.path(name))?.blocks();
        ensure!(sectors == 40 * 8, "{name} has {sectors} sectors for 40 blocks");
        same_bytes(&std::fs::read(bed.path(name))?, &pattern(seed, 0, 40 * 4096), name)?;
    }
    Ok(())
}

/// Files over many groups of a file system with a small journal give everything back.
fn small_groups(bed: &mut Bed) -> Result<()> {
    bed.mkfs("100M", &["-g", "2048", "-J", "size=4"])?;
    bed.mount()?;
    let before = free(bed.dir())?;
    let file = bed.create("file")?;
    let there = free(bed.dir())?;
    fs::fallocate(&file, FallocateFlags::empty(), 0, 60 << 20)?;
    file.set_len(30 << 20)?;
    file.set_len(0)?;
    ensure!(free(bed.dir())? == there, "free {there:?} before, {:?} after", free(bed.dir())?);
    fs::fallocate(&file, FallocateFlags::empty(), 0, 60 << 20)?;
    drop(file);
    std::fs::remove_file(bed.path("file"))?;
    ensure!(free(bed.dir())? == before, "free {before:?} before, {:?} after", free(bed.dir())?);
    Ok(())
}

/// Files of a stripe and more begin with one, and those of a disk's part of it with that.
fn aligned_to_stripes(bed: &mut Bed) -> Result<()> {
    bed.mkfs("100M", &["-E", "stride=8,stripe_width=24"])?;
    bed.mount()?;
    let sizes = [(1, 1), (8, 8), (9, 8), (24, 24), (100, 24), (5, 1), (16, 8)];
    for (n, (blocks, _)) in sizes.iter().enumerate() {
        let data = pattern(n as u64, 0, blocks * 4096);
        bed.create(&format!("file-{n}"))?.write_all_at(&data, 0)?;
    }
    bed.unmount()?;
    for (n, (blocks, unit)) in sizes.iter().enumerate() {
        let found = extents(bed, &format!("file-{n}"))?;
        let first = found.first().context("no extent")?;
        ensure!(first.1 % unit == 0, "{blocks} blocks at {}, not a multiple of {unit}", first.1);
    }
    bed.mount()
}

/// Requests of 2 MiB and more are aligned on the device, on an image of plain mke2fs too; so are smaller
/// ones that fill a file one after the other, as programs that copy do.
fn aligned_to_2_mib(bed: &mut Bed) -> Result<()> {
    if !bed.config.is_rdaxfs() {
        skip!("ext4 aligns only images made for it");
    }
    bed.mkfs("512M", &[])?;
    bed.mount()?;
    std::fs::write(bed.path("small"), pattern(1, 0, 10_000))?;
    // In pieces of 8 MiB, 2 MiB and 512 KiB.
    for n in 0..3 {
        let (file, piece) = (bed.create(&format!("file-{n}"))?, (8 << 20) >> (2 * n));
        for at in (0..8 << 20).step_by(piece) {
            file.write_all_at(&pattern(n, at as u64, piece), at as u64)?;
        }
        // Others take blocks as well.
        std::fs::write(bed.path(format!("small-{n}")), pattern(1, 0, 10_000))?;
    }
    bed.unmount()?;
    for n in 0..3 {
        let found = extents(bed, &format!("file-{n}"))?;
        let aligned = |e: &&(u64, u64, u64)| e.0 % 512 == e.1 % 512 && e.2 >= 512;
        let good: u64 = found.iter().filter(aligned).map(|e| e.2).sum();
        ensure!(good >= 2048 * 9 / 10, "file-{n}: {good} of 2048 blocks are aligned: {found:?}");
    }
    bed.mount()
}

fn across_groups(bed: &mut Bed) -> Result<()> {
    // Groups as they are by default, and some of an eighth of that.
    let (size, group, pieces) =
        bed.config.amount(("512M", "32768", 75), ("512M", "32768", 75), ("64M", "4096", 10));
    bed.mkfs(size, &["-g", group])?;
    bed.mount()?;
    let before = free(bed.dir())?;
    let file = bed.create("file")?;
    let chunk = pattern(5, 0, 4 << 20);
    for n in 0..pieces {
        file.write_all_at(&chunk, n * (4 << 20))?;
    }
    drop(file);
    bed.again()?;
    let file = File::open(bed.path("file"))?;
    for n in 0..pieces {
        same_bytes(&read_at(&file, n * (4 << 20), 4 << 20)?, &chunk, &format!("piece {n}"))?;
    }
    drop(file);
    std::fs::remove_file(bed.path("file"))?;
    ensure!(free(bed.dir())? == before, "free {before:?}, then {:?}", free(bed.dir())?);
    Ok(())
}

/// Writes 64 KiB pieces until there is no room; returns how many bytes were taken.
fn fill(file: &File, from: u64) -> Result<u64> {
    let piece = pattern(6, 0, 65_536);
    let mut at = from;
    loop {
        match file.write_at(&piece, at) {
            Ok(0) => anyhow::bail!("a write of nothing"),
            Ok(len) => at += len as u64,
            Err(error) => {
                refused(Err::<(), _>(error), Errno::NOSPC, "a write")?;
                return Ok(at);
            }
        }
    }
}

fn fill_with_one_file(bed: &mut Bed) -> Result<()> {
    bed.mkfs(bed.config.amount("64M", "64M", "24M"), &[])?;
    bed.mount()?;
    let before = free(bed.dir())?;
    for round in 0..2 {
        let file = bed.create("file")?;
        let len = fill(&file, 0)?;
        fs::fsync(&file).with_context(|| format!("fsync, round {round}"))?;
        let left = free(bed.dir())?.0;
        // 2 % are kept for the blocks of extent trees.
        ensure!(left <= 400, "ENOSPC with {left} blocks free");
        ensure!(file.metadata()?.len() == len);
        for at in (0..len).step_by(1 << 20) {
            let size = (len - at).min(65_536) as usize;
            same_bytes(&read_at(&file, at, size)?, &pattern(6, 0, size), &format!("at {at}"))?;
        }
        if round == 1 {
            drop(file);
            bed.again()?;
            ensure!(std::fs::metadata(bed.path("file"))?.len() == len);
        }
        std::fs::remove_file(bed.path("file"))?;
        // The file is open until the end of this round.
    }
    fs::syncfs(File::open(bed.dir())?)?;
    ensure!(free(bed.dir())? == before, "free {before:?}, then {:?}", free(bed.dir())?);
    Ok(())
}

fn fill_with_small_files(bed: &mut Bed) -> Result<()> {
    let (size, inodes, least) =
        bed.config.amount(("64M", "20000", 2_000), ("32M", "8000", 1_500), ("8M", "1000", 150));
    bed.mkfs(size, &["-N", inodes])?;
    bed.mount()?;
    let before = free(bed.dir())?;
    let mut made = 0;
    loop {
        let name = format!("file-{made}");
        let written = bed.create(&name).and_then(|file| {
            file.write_all_at(&pattern(made, 0, 12_000), 0)?;
            Ok(file.sync_data()?)
        });
        match written {
            Ok(()) => made += 1,
            Err(error) => {
                let code = error.downcast_ref::<std::io::Error>().and_then(|e| e.raw_os_error());
                ensure!(code == Some(Errno::NOSPC.raw_os_error()), "file {made}: {error:#}");
                break;
            }
        }
    }
    ensure!(made > least, "only {made} files fit");
    for n in (0..made).step_by(17) {
        same_bytes(
            &std::fs::read(bed.path(format!("file-{n}")))?,
            &pattern(n, 0, 12_000),
            "a file",
        )?;
    }
    for n in 0..=made {
        // The last one may not exist.
        let _ = std::fs::remove_file(bed.path(format!("file-{n}")));
    }
    fs::syncfs(File::open(bed.dir())?)?;
    let after = free(bed.dir())?;
    // The root directory may have grown, and stays so.
    let grown = std::fs::metadata(bed.dir())?.blocks() / 8 - 1;
    ensure!(after.1 == before.1 && before.0 - after.0 <= grown, "free {before:?}, then {after:?}");
    Ok(())
}

fn fill_with_directories(bed: &mut Bed) -> Result<()> {
    let (size, inodes) = bed.config.amount(("32M", "20000"), ("16M", "4000"), ("8M", "500"));
    bed.mkfs(size, &["-N", inodes])?;
    bed.mount()?;
    std::fs::create_dir(bed.path("top"))?;
    let before = free(bed.dir())?;
    let mut made = 0;
    let error = loop {
        match std::fs::create_dir(bed.path(format!("top/{made}"))) {
            Ok(()) => made += 1,
            Err(error) => break error,
        }
    };
    refused(Err::<(), _>(error), Errno::NOSPC, "a directory on a full device")?;
    // A name in a full directory needs a block as well.
    bed.judge()?;
    bed.mount()?;
    std::fs::remove_dir_all(bed.path("top"))?;
    let after = free(bed.dir())?;
    ensure!(after == (before.0 + 1, before.1 + 1), "free {before:?}, then {after:?}");
    Ok(())
}

/// On a full device what is allocated can still be overwritten, and a partial write keeps its part.
fn full_and_overwritten(bed: &mut Bed) -> Result<()> {
    bed.mkfs("32M", &[])?;
    bed.mount()?;
    let file = bed.create("first")?;
    file.write_all_at(&pattern(1, 0, 1 << 20), 0)?;
    file.sync_all()?;
    let hog = bed.create("hog")?;
    fill(&hog, 0)?;
    file.write_all_at(&pattern(2, 0, 1 << 20), 0).context("overwriting on a full device")?;
    file.sync_all()?;
    refused(file.write_all_at(&[1; 1 << 20], 1 << 20), Errno::NOSPC, "growing")?;
    drop((file, hog));
    bed.again()?;
    let found = read_at(&File::open(bed.path("first"))?, 0, 1 << 20)?;
    same_bytes(&found, &pattern(2, 0, 1 << 20), "overwritten")
}
