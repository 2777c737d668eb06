// SPDX-License-Identifier: GPL-2.0
//! `fallocate` in every mode, against a model, under mappings, and on trees of many extents; FIEMAP.

use super::{free, pattern, read_at, refused, same_bytes};
use crate::harness::{Bed, Test, ALL, BOTH, DAX, RAM};
use crate::sys::{in_child, Child, End, Mapping};
use anyhow::{ensure, Context, Result};
use rustix::fs::{fallocate, fsetxattr, FallocateFlags, SeekFrom, XattrFlags};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

const BLOCK: u64 = 4096;
/// `FALLOC_FL_WRITE_ZEROES`, which rustix does not name.
const WRITE_ZEROES: FallocateFlags = FallocateFlags::from_bits_retain(0x80);

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("space::model", ALL, |bed| model(bed, 4096)),
        Test::bare("space::model_1k", RAM, |bed| of_blocks(bed, 1024)),
        Test::bare("space::model_2k", RAM, |bed| of_blocks(bed, 2048)),
        Test::new("space::bounds", BOTH, bounds),
        Test::new("space::collapse_many_extents", BOTH, collapse_many_extents).seconds(300),
        Test::new("space::insert_many_extents", BOTH, insert_many_extents).seconds(300),
        Test::new("space::insert_and_collapse_back", BOTH, insert_and_collapse_back),
        Test::new("space::beyond_the_end", ALL, beyond_the_end),
        Test::new("space::write_zeroes", DAX, write_zeroes),
        Test::new("space::write_zeroes_refused", RAM, write_zeroes_refused),
        Test::new("space::under_a_mapping", ALL, under_a_mapping),
        Test::new("space::while_stored_to", BOTH, while_stored_to).seconds(300),
        Test::new("space::full_device", RAM, full_device),
        Test::bare("space::freed_meanwhile", BOTH, freed_meanwhile),
        Test::bare("space::storm", BOTH, storm).seconds(600),
    ]
}

/// Numbers without pattern that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % n
    }
}

/// A file and what must be in it.
struct Twin {
    file: File,
    bytes: Vec<u8>,
}

impl Twin {
    fn write(&mut self, at: usize, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, at as u64)?;
        self.bytes.resize(self.bytes.len().max(at + bytes.len()), 0);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn truncate(&mut self, len: usize) -> Result<()> {
        self.file.set_len(len as u64)?;
        self.bytes.resize(len, 0);
        Ok(())
    }

    fn zero(&mut self, flags: FallocateFlags, at: usize, len: usize) -> Result<()> {
        fallocate(&self.file, flags, at as u64, len as u64)?;
        if !flags.contains(FallocateFlags::KEEP_SIZE) {
            self.bytes.resize(self.bytes.len().max(at + len), 0);
        }
        let end = self.bytes.len();
        self.bytes[at.min(end)..(at + len).min(end)].fill(0);
        Ok(())
    }

    fn allocate(&mut self, flags: FallocateFlags, at: usize, len: usize) -> Result<()> {
        fallocate(&self.file, flags, at as u64, len as u64)?;
        if !flags.contains(FallocateFlags::KEEP_SIZE) {
            self.bytes.resize(self.bytes.len().max(at + len), 0);
        }
        Ok(())
    }

    fn collapse(&mut self, at: usize, len: usize) -> Result<()> {
        fallocate(&self.file, FallocateFlags::COLLAPSE_RANGE, at as u64, len as u64)?;
        self.bytes.drain(at..at + len);
        Ok(())
    }

    fn insert(&mut self, at: usize, len: usize) -> Result<()> {
        fallocate(&self.file, FallocateFlags::INSERT_RANGE, at as u64, len as u64)?;
        self.bytes.splice(at..at, std::iter::repeat_n(0, len));
        Ok(())
    }

    fn check(&self, what: &str) -> Result<()> {
        ensure!(self.file.metadata()?.len() == self.bytes.len() as u64, "{what}: size");
        same_bytes(&read_at(&self.file, 0, self.bytes.len())?, &self.bytes, what)
    }
}

fn of_blocks(bed: &mut Bed, block: usize) -> Result<()> {
    bed.mkfs("128M", &["-b", &block.to_string()])?;
    bed.mount()?;
    model(bed, block)
}

/// Every mode in turn at random places, also through a mapping, compared with bytes in memory.
fn model(bed: &mut Bed, block: usize) -> Result<()> {
    const MAX: usize = 600_000;
    let rounds = bed.config.amount(3_000, 250, 100);
    let mut random = Random(0x2545_f491_4f6c_dd1d ^ block as u64);
    let keep = FallocateFlags::KEEP_SIZE;
    let mut twin = Twin { file: bed.create("file")?, bytes: Vec::new() };
    for round in 0..rounds {
        let at = random.below(MAX as u64) as usize;
        let len = 1 + random.below(40_000) as usize;
        let size = twin.bytes.len();
        let (first, count) = (at / block * block, len.div_ceil(block) * block);
        let what = random.below(12);
        match what {
            0 | 1 => twin.write(at, &pattern(round, 0, len))?,
            2 => twin.truncate(at)?,
            3 => twin.zero(FallocateFlags::PUNCH_HOLE | keep, at, len)?,
            4 => twin.zero(FallocateFlags::ZERO_RANGE, at, len)?,
            5 => twin.zero(FallocateFlags::ZERO_RANGE | keep, at, len)?,
            6 => twin.allocate(FallocateFlags::empty(), at, len)?,
            7 => twin.allocate(FallocateFlags::UNSHARE_RANGE | keep, at, len)?,
            8 | 9 if first + count < size => twin.collapse(first, count)?,
            10 if first < size => twin.insert(first, count)?,
            11 if bed.place.is_dax() => twin.zero(WRITE_ZEROES, at, len)?,
            _ if at + 1 < size => {
                let map = Mapping::shared(&twin.file, size)?;
                let end = (at + len).min(size);
                let bytes = pattern(round, 7, end - at);
                map.write(at, &bytes);
                twin.bytes[at..end].copy_from_slice(&bytes);
            }
            _ => {}
        }
        twin.check(&format!("round {round}: {what} at {at}, {len}"))?;
    }
    drop(twin.file);
    bed.again()?;
    same_bytes(&std::fs::read(bed.path("file"))?, &twin.bytes, "mounted again")
}

fn bounds(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    file.write_all_at(&pattern(1, 0, 100_000), 0)?;
    let collapse = |at, len| fallocate(&file, FallocateFlags::COLLAPSE_RANGE, at, len);
    let insert = |at, len| fallocate(&file, FallocateFlags::INSERT_RANGE, at, len);
    refused(collapse(1, BLOCK), Errno::INVAL, "collapse from within a block")?;
    refused(collapse(BLOCK, 5), Errno::INVAL, "collapse of part of a block")?;
    refused(collapse(BLOCK, 24 * BLOCK), Errno::INVAL, "collapse to the end")?;
    refused(collapse(40 * BLOCK, BLOCK), Errno::INVAL, "collapse past the end")?;
    refused(insert(1, BLOCK), Errno::INVAL, "insert within a block")?;
    refused(insert(0, 5), Errno::INVAL, "insert of part of a block")?;
    refused(insert(25 * BLOCK, BLOCK), Errno::INVAL, "insert at the end")?;
    refused(insert(0, (1 << 44) - 2 * BLOCK), Errno::FBIG, "insert of too much")?;
    let mode = FallocateFlags::COLLAPSE_RANGE | FallocateFlags::KEEP_SIZE;
    refused(fallocate(&file, mode, 0, BLOCK), Errno::OPNOTSUPP, "collapse of the same size")?;
    same_bytes(&read_at(&file, 0, 100_000)?, &pattern(1, 0, 100_000), "unchanged")?;
    ensure!(file.metadata()?.len() == 100_000);
    // The last block that a file can have must not move on.
    fallocate(&file, FallocateFlags::KEEP_SIZE, ((1 << 32) - 2) * BLOCK, BLOCK)?;
    refused(insert(0, BLOCK), Errno::FBIG, "insert below the last block")?;
    ensure!(file.metadata()?.len() == 100_000);
    same_bytes(&read_at(&file, 0, 100_000)?, &pattern(1, 0, 100_000), "unchanged")
}

/// A file of which every other block is there, each an extent of its own.
fn scattered(bed: &Bed, count: u64) -> Result<Twin> {
    let mut twin = Twin { file: bed.create("file")?, bytes: vec![0; (2 * count * BLOCK) as usize] };
    twin.file.set_len(twin.bytes.len() as u64)?;
    for n in 0..count {
        let block = (n * 7_919) % count;
        twin.write((2 * block * BLOCK) as usize, &pattern(block, 0, 4096))?;
    }
    Ok(twin)
}

fn collapse_many_extents(bed: &mut Bed) -> Result<()> {
    let before = free(bed.dir())?;
    let mut twin = scattered(bed, bed.config.amount(9_000, 2_500, 1_250))?;
    let block = BLOCK as usize;
    let ranges = [(0, 1), (1_999, 3), (700, 800), (1, 2), (3, 1_500)];
    for (at, len) in ranges.into_iter().take(bed.config.amount(5, 5, 3)) {
        twin.collapse(at * block, len * block)?;
    }
    twin.check("collapsed")?;
    drop(twin.file);
    bed.again()?;
    same_bytes(&std::fs::read(bed.path("file"))?, &twin.bytes, "mounted again")?;
    std::fs::remove_file(bed.path("file"))?;
    ensure!(free(bed.dir())? == before, "blocks were lost");
    Ok(())
}

fn insert_many_extents(bed: &mut Bed) -> Result<()> {
    let before = free(bed.dir())?;
    let mut twin = scattered(bed, bed.config.amount(9_000, 2_500, 1_250))?;
    let block = BLOCK as usize;
    let ranges = [(0, 1), (1_998, 3), (1_500, 800), (2_101, 2), (4_000, 1)];
    for (at, len) in ranges.into_iter().take(bed.config.amount(5, 5, 3)) {
        twin.insert(at * block, len * block)?;
    }
    twin.check("widened")?;
    drop(twin.file);
    bed.again()?;
    same_bytes(&std::fs::read(bed.path("file"))?, &twin.bytes, "mounted again")?;
    std::fs::remove_file(bed.path("file"))?;
    ensure!(free(bed.dir())? == before, "blocks were lost");
    Ok(())
}

/// An extent that was cut in two becomes one again.
fn insert_and_collapse_back(bed: &mut Bed) -> Result<()> {
    let mut twin = Twin { file: bed.create("file")?, bytes: Vec::new() };
    twin.write(0, &pattern(1, 0, 1 << 20))?;
    twin.file.sync_all()?;
    for n in 1..60 {
        twin.insert(n * 4096, 8192)?;
        twin.check("with a hole")?;
        ensure!(rustix::fs::seek(&twin.file, SeekFrom::Hole(0))? == n as u64 * BLOCK);
        twin.collapse(n * 4096, 8192)?;
        twin.check("without")?;
    }
    ensure!(rustix::fs::seek(&twin.file, SeekFrom::Hole(0))? == 1 << 20);
    let sectors = twin.file.metadata()?.blocks();
    ensure!(sectors == 2048, "{sectors} sectors: a block of the tree is left");
    Ok(())
}

/// What was allocated past the end moves along, and stays past the end.
fn beyond_the_end(bed: &mut Bed) -> Result<()> {
    let mut twin = Twin { file: bed.create("file")?, bytes: Vec::new() };
    twin.write(0, &pattern(1, 0, 50_000))?;
    twin.allocate(FallocateFlags::KEEP_SIZE, 0, 1 << 20)?;
    twin.insert(8192, 4096)?;
    twin.collapse(16_384, 8192)?;
    twin.check("moved")?;
    let sectors = twin.file.metadata()?.blocks();
    ensure!(sectors == 2048 - 2 * 8, "{sectors} sectors");
    twin.truncate(1 << 20)?;
    twin.check("longer")
}

/// Blocks are zeros and written: a write after it allocates and converts nothing.
fn write_zeroes(bed: &mut Bed) -> Result<()> {
    let mut twin = Twin { file: bed.create("file")?, bytes: Vec::new() };
    twin.write(0, &pattern(1, 0, 300_000))?;
    // Blocks that held something of another file.
    std::fs::write(bed.path("gone"), pattern(2, 0, 4 << 20))?;
    std::fs::remove_file(bed.path("gone"))?;
    twin.zero(WRITE_ZEROES, 100_001, 2_000_000)?;
    twin.check("zeroed")?;
    drop(twin.file);
    bed.unmount()?;
    let text = bed.image.ask("ex file")?;
    ensure!(!text.contains("Uninit"), "there are unwritten extents:\n{text}");
    bed.mount()?;
    same_bytes(&std::fs::read(bed.path("file"))?, &twin.bytes, "mounted again")
}

/// A device that has to be sent every zero is no better off.
fn write_zeroes_refused(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    refused(fallocate(&file, WRITE_ZEROES, 0, 1 << 20), Errno::OPNOTSUPP, "write zeroes")?;
    ensure!(file.metadata()?.len() == 0 && file.metadata()?.blocks() == 0);
    Ok(())
}

/// A mapping sees what the file has become, page by page.
fn under_a_mapping(bed: &mut Bed) -> Result<()> {
    let mut twin = Twin { file: bed.create("file")?, bytes: Vec::new() };
    let size = 6 << 20;
    twin.write(0, &pattern(1, 0, size))?;
    let map = Mapping::shared(&twin.file, size)?;
    map.touch_read();
    map.write(5_000_000, b"stored");
    twin.bytes[5_000_000..5_000_006].copy_from_slice(b"stored");
    twin.collapse(1 << 20, 4096)?;
    let now = twin.bytes.len();
    same_bytes(&map.read(0, now), &twin.bytes, "collapsed under a mapping")?;
    map.write(4_000_000, b"again");
    twin.bytes[4_000_000..4_000_005].copy_from_slice(b"again");
    twin.insert(2 << 20, 4096)?;
    same_bytes(&map.read(0, size), &twin.bytes, "widened under a mapping")?;
    map.write(2 << 20, b"in the hole");
    twin.bytes[2 << 20..(2 << 20) + 11].copy_from_slice(b"in the hole");
    twin.zero(FallocateFlags::ZERO_RANGE, 3_000_000, 1_000_000)?;
    twin.zero(FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 4_500_001, 300_000)?;
    same_bytes(&map.read(0, size), &twin.bytes, "zeroed under a mapping")?;
    map.write(3_500_000, b"zero no more");
    twin.bytes[3_500_000..3_500_012].copy_from_slice(b"zero no more");
    drop(map);
    drop(twin.file);
    bed.again()?;
    same_bytes(&std::fs::read(bed.path("file"))?, &twin.bytes, "mounted again")
}

/// Stores through a mapping, by a process of its own, while blocks come and go: none of them may get
/// into the blocks of another file.
fn while_stored_to(bed: &mut Bed) -> Result<()> {
    let rounds = if bed.config.short { 60 } else { 600 };
    let file = bed.create("file")?;
    file.write_all_at(&pattern(1, 0, 4 << 20), 0)?;
    let mut others = Vec::new();
    // The copy ends by SIGBUS at the latest when the file is cut to nothing.
    let storing = Child::start(|| {
        let Ok(map) = Mapping::shared(&file, 4 << 20) else { return 1 };
        loop {
            map.touch_write(0xee);
        }
    })?;
    let mut random = Random(99);
    for round in 0..rounds {
        let at = random.below(1000) * BLOCK;
        let len = (1 + random.below(20)) * BLOCK;
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&file, punch, at, len).context("punch")?;
        fallocate(&file, FallocateFlags::COLLAPSE_RANGE, at, BLOCK).context("collapse")?;
        fallocate(&file, FallocateFlags::INSERT_RANGE, at, BLOCK).context("insert")?;
        if round % 4 == 0 {
            // What was freed is soon somebody else's.
            let other = bed.create(&format!("other-{round}"))?;
            other.write_all_at(&pattern(round, 0, 20 * 4096), 0)?;
            others.push((round, other));
        }
    }
    for (round, other) in &others {
        same_bytes(&read_at(other, 0, 20 * 4096)?, &pattern(*round, 0, 20 * 4096), "another file")?;
    }
    file.set_len(0)?;
    ensure!(storing.wait()? == End::Signal(libc::SIGBUS), "stores past the end of the file");
    Ok(())
}

/// Moving needs no blocks, except for the tree; nothing is lost where there are none.
fn full_device(bed: &mut Bed) -> Result<()> {
    let mut twin = Twin { file: bed.create("file")?, bytes: Vec::new() };
    twin.write(0, &pattern(1, 0, 1 << 20))?;
    let hog = bed.create("hog")?;
    let (blocks, _) = free(bed.dir())?;
    let all = fallocate(&hog, FallocateFlags::empty(), 0, blocks * BLOCK);
    refused(all, Errno::NOSPC, "all that is free and what is kept for trees")?;
    for n in 0..20 {
        twin.insert((n * 3 + 1) * 4096, 4096)?;
        twin.collapse((n * 2 + 2) * 4096, 4096)?;
    }
    twin.check("moved on a full device")
}

/// Several processes fill the file system in every way at the same time, and empty it again: after that as
/// much is free as before.
fn storm(bed: &mut Bed) -> Result<()> {
    let (size, rounds) = bed.config.amount(("64M", 20), ("24M", 2), ("12M", 1));
    bed.mkfs(size, &["-N", "2000"])?;
    bed.mount()?;
    let before = free(bed.dir())?;
    for round in 0..rounds {
        let mut workers = Vec::new();
        for worker in 0..4 {
            let dir = bed.path(format!("{worker}"));
            workers.push(Child::start(move || match fill_up(&dir, round * 4 + worker) {
                Ok(()) => 0,
                Err(error) => {
                    println!("round {round}, worker {worker}: {error:#}");
                    1
                }
            })?);
        }
        for worker in workers {
            ensure!(worker.wait()? == End::Exit(0), "round {round}: a worker failed");
        }
        rustix::fs::sync();
        let after = free(bed.dir())?;
        ensure!(after == before, "round {round}: free {before:?}, then {after:?}");
    }
    bed.judge()
}

/// Two processes that each write, or allocate, a third of the file system and give it back, again and again:
/// there is always space, if what was freed is committed in time.
fn freed_meanwhile(bed: &mut Bed) -> Result<()> {
    const LEN: usize = 6 << 20;
    let rounds = bed.config.amount(300, 60, 20);
    bed.mkfs("24M", &["-J", "size=4"])?;
    bed.mount()?;
    let (written, allocated) = (bed.path("written"), bed.path("allocated"));
    let data = pattern(1, 0, LEN);
    let writer = Child::start(move || {
        exit_of((0..rounds).try_for_each(|_| {
            std::fs::write(&written, &data)?;
            Ok(std::fs::remove_file(&written)?)
        }))
    })?;
    let allocator = Child::start(move || {
        exit_of((0..rounds).try_for_each(|_| {
            fallocate(File::create(&allocated)?, FallocateFlags::empty(), 0, LEN as u64)?;
            Ok(std::fs::remove_file(&allocated)?)
        }))
    })?;
    ensure!(writer.wait()? == End::Exit(0), "a write found no space");
    ensure!(allocator.wait()? == End::Exit(0), "an allocation found no space");
    bed.judge()
}

/// The exit status of a process that did this.
fn exit_of(done: Result<()>) -> i32 {
    match done {
        Ok(()) => 0,
        Err(error) => {
            println!("{error:#}");
            1
        }
    }
}

/// Makes files, directories and attributes in a new directory until nothing of it is possible any more,
/// and removes all of it.
fn fill_up(dir: &Path, seed: u64) -> Result<()> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (seed << 20));
    let mut full = 0;
    if let Err(error) = std::fs::create_dir(dir) {
        // The others were faster.
        return refused(Err::<(), _>(error), Errno::NOSPC, "a directory");
    }
    for n in 0.. {
        let path = dir.join(format!("{n}"));
        let what = random.below(5);
        let done = match what {
            0 => std::fs::create_dir(&path),
            1 => std::fs::write(&path, pattern(n, 0, 200_000)),
            2 => File::create(&path).and_then(|file| {
                Ok(fallocate(&file, FallocateFlags::empty(), 0, 1 + random.below(1 << 20))?)
            }),
            3 => File::create(&path).and_then(|file| {
                let value = pattern(n, 0, 3_000);
                Ok(fsetxattr(&file, "user.large", &value, XattrFlags::empty())?)
            }),
            _ => stored(&path, 100 << 12),
        };
        if let Err(error) = done {
            refused(Err::<(), _>(error), Errno::NOSPC, &format!("operation {what}"))?;
            full += 1;
        }
        // Now and then there is room again.
        if random.below(30) == 0 {
            let gone = dir.join(format!("{}", random.below(n + 1)));
            let _ = std::fs::remove_file(gone);
        }
        if full == 20 {
            break;
        }
    }
    Ok(std::fs::remove_dir_all(dir)?)
}

/// Stores to every page of a new file: SIGBUS, in a process of its own, is what a full device says then.
fn stored(path: &Path, len: usize) -> std::io::Result<()> {
    let file = File::options().read(true).write(true).create_new(true).open(path)?;
    file.set_len(len as u64)?;
    let end = in_child(|| match Mapping::shared(&file, len) {
        Ok(map) => {
            map.touch_write(7);
            0
        }
        Err(_) => 1,
    })?;
    match end {
        End::Exit(0) => Ok(()),
        End::Signal(libc::SIGBUS) => Err(Errno::NOSPC.into()),
        end => Err(std::io::Error::other(format!("stores ended with {end:?}"))),
    }
}
