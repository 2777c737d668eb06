// SPDX-License-Identifier: GPL-2.0
//! Directories with very many names: what an operation costs does not grow with their number, and
//! the index stays, whoever changes the directory.

use crate::harness::{Bed, Test, DAX, RAM};
use anyhow::{ensure, Context, Result};
use rustix::fd::OwnedFd;
use rustix::fs::{self, AtFlags, Mode, OFlags, RawDir, StatxFlags, CWD};
use std::mem::MaybeUninit;
use std::path::Path;
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test> {
    vec![
        Test::bare("index::many", DAX, many).seconds(1800),
        Test::new("index::kept", RAM, kept).seconds(300),
        Test::bare("index::every_hash", RAM, every_hash).seconds(300),
    ]
}

/// All of the device: a million inodes need 256 MiB.
fn mkfs_for(bed: &Bed, names: usize) -> Result<()> {
    bed.mkfs("", &["-N", &(names + 1000).to_string()])
}

fn open_dir(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    fs::open(path, flags, Mode::empty()).with_context(|| format!("{}", path.display()))
}

fn create(dir: &OwnedFd, name: &str) -> Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    fs::openat(dir, name, flags, Mode::from(0o644)).with_context(|| format!("create {name}"))?;
    Ok(())
}

fn stat(dir: &OwnedFd, name: &str) -> Result<()> {
    fs::statx(dir, name, AtFlags::empty(), StatxFlags::BASIC_STATS)
        .with_context(|| name.to_owned())?;
    Ok(())
}

fn unlink(dir: &OwnedFd, name: &str) -> Result<()> {
    fs::unlinkat(dir, name, AtFlags::empty()).with_context(|| format!("unlink {name}"))
}

/// The number of entries but `.` and `..`.
fn count(path: &Path) -> Result<usize> {
    let dir = open_dir(path)?;
    let mut buffer = [const { MaybeUninit::uninit() }; 32 << 10];
    let mut entries = RawDir::new(&dir, &mut buffer);
    let mut seen = 0;
    while let Some(entry) = entries.next() {
        entry?;
        seen += 1;
    }
    Ok(seen - 2)
}

/// What one operation costs on average, in four quarters of the names.
fn quarters(count: usize, work: impl Fn(usize) -> Result<()>) -> Result<[Duration; 4]> {
    let mut costs = [Duration::ZERO; 4];
    for (n, cost) in costs.iter_mut().enumerate() {
        let start = Instant::now();
        (count * n / 4..count * (n + 1) / 4).try_for_each(&work)?;
        *cost = start.elapsed() / (count / 4) as u32;
    }
    Ok(costs)
}

/// Fills, looks at and empties one directory. Answers with the costs, of which creating and removing
/// must not grow, and leaves one name in a thousand.
fn fill_and_empty(who: &str, path: &Path, names: usize) -> Result<()> {
    std::fs::create_dir(path)?;
    let dir = open_dir(path)?;
    let name = |n: usize| format!("file{n:07}");
    let created = quarters(names, |n| create(&dir, &name(n)))?;
    // Not in the order in which they came.
    let looked = quarters(names, |n| stat(&dir, &name(n * 7919 % names)))?;
    let start = Instant::now();
    let seen = count(path)?;
    let listed = start.elapsed() / names as u32;
    ensure!(seen == names, "{seen} of {names} names listed");
    let removed = quarters(names, |n| if n % 1000 == 0 { Ok(()) } else { unlink(&dir, &name(n)) })?;
    println!(
        "{who}: {names} names, by quarters: create {created:?} stat {looked:?} unlink {removed:?}, \
         readdir {listed:?}"
    );
    for (what, costs) in [("create", created), ("unlink", removed)] {
        ensure!(costs[3] < costs[0] * 3, "{what} takes longer and longer: {costs:?}");
    }
    let left = count(path)?;
    ensure!(left == names.div_ceil(1000), "{left} of {names} names left");
    Ok(())
}

/// A million names, in one directory. The long form does it on ext4, too, to compare.
fn many(bed: &mut Bed) -> Result<()> {
    let names = bed.config.amount(1_000_000, 20_000, 1_000);
    if !bed.config.short {
        mkfs_for(bed, names)?;
        bed.by_ext4(|root| fill_and_empty("ext4", &root.join("dir"), names))?;
    }
    mkfs_for(bed, names)?;
    bed.mount()?;
    let name = bed.config.fstype.clone();
    fill_and_empty(&name, &bed.path("dir"), names)?;
    bed.unmount()?;
    bed.image.fsck()?;
    indexed(bed, "dir", if bed.config.short { 2 } else { 3 })?;
    bed.mount()?;
    Ok(())
}

/// Fails unless debugfs finds an index at `path`, of at least one and at most `levels` levels.
fn indexed(bed: &Bed, path: &str, levels: u32) -> Result<()> {
    let dump = bed.image.ask(&format!("htree_dump /{path}"))?;
    let depth = dump.lines().find_map(|line| line.trim().strip_prefix("Indirect levels: "));
    let depth: u32 =
        depth.with_context(|| format!("no index at {path}:\n{dump}"))?.trim().parse()?;
    ensure!(depth < levels, "{depth} levels below the root");
    Ok(())
}

/// Whoever makes, removes and renames names, the directory keeps its index.
fn kept(bed: &mut Bed) -> Result<()> {
    let names = bed.config.amount(3_000, 3_000, 200);
    let path = bed.path("dir");
    std::fs::create_dir(&path)?;
    let long = |who: &str, n: usize| format!("{who}-{n:06}-{}", "y".repeat(n % 60));
    let dir = open_dir(&path)?;
    for n in 0..names {
        create(&dir, &long("ours", n))?;
    }
    drop(dir);
    bed.by_ext4(|root| {
        let dir = open_dir(&root.join("dir"))?;
        for n in 0..names {
            create(&dir, &long("ext4", n))?;
            unlink(&dir, &long("ours", n))?;
        }
        Ok(())
    })?;
    let dir = open_dir(&path)?;
    for n in 0..names {
        stat(&dir, &long("ext4", n))?;
        fs::renameat(&dir, long("ext4", n), &dir, long("renamed", n))?;
    }
    drop(dir);
    bed.unmount()?;
    bed.image.fsck()?;
    indexed(bed, "dir", 3)?;
    bed.mount()?;
    ensure!(count(&path)? == names);
    Ok(())
}

/// Each hash that an image can ask for, of names with bytes of both signs.
fn every_hash(bed: &mut Bed) -> Result<()> {
    let name = |n: u32| format!("{n}-n\u{e4}me-{}", "\u{20ac}".repeat(n as usize % 20));
    let count = bed.config.amount(1_000, 1_000, 120);
    for (number, hash) in ["legacy", "half_md4", "tea"].into_iter().enumerate() {
        for signed in [0x1, 0x2] {
            // One of the two, in turn, on a kernel on which the six of them take two minutes.
            if bed.config.amount(false, false, number % 2 + 1 != signed) {
                continue;
            }
            bed.mkfs("64M", &[])?;
            bed.image.debugfs(&[
                &format!("set_super_value def_hash_version {number}"),
                &format!("set_super_value flags {signed}"),
            ])?;
            bed.mount()?;
            std::fs::create_dir(bed.path("dir"))?;
            for n in 0..count {
                std::fs::File::create_new(bed.path("dir").join(name(n)))?;
            }
            bed.by_ext4(|root| {
                for n in 0..count {
                    std::fs::metadata(root.join("dir").join(name(n))).with_context(|| name(n))?;
                    std::fs::File::create_new(root.join("dir").join(name(n + count)))?;
                }
                Ok(())
            })?;
            for n in 0..2 * count {
                fs::accessat(
                    CWD,
                    bed.path("dir").join(name(n)),
                    fs::Access::EXISTS,
                    AtFlags::empty(),
                )
                .with_context(|| format!("{hash}, flags {signed}: {}", name(n)))?;
            }
            bed.unmount()?;
            bed.image.fsck()?;
            indexed(bed, "dir", 2)?;
        }
    }
    bed.mount()
}
