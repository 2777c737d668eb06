// SPDX-License-Identifier: GPL-2.0
//! Listing directories: every entry once, positions that stay good while entries come and go.

use crate::harness::{Bed, Test, BOTH};
use anyhow::{ensure, Context, Result};
use rustix::fs::{self, FileType, RawDir, SeekFrom};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::mem::MaybeUninit;
use std::path::Path;

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("readdir::all_once", BOTH, all_once),
        Test::new("readdir::types", BOTH, types),
        Test::new("readdir::positions", BOTH, positions),
        Test::new("readdir::entries_come_and_go", BOTH, entries_come_and_go),
        Test::new("readdir::removed_while_read", BOTH, removed_while_read),
        Test::new("readdir::indexed_by_ext4", BOTH, indexed_by_ext4).seconds(300),
    ]
}

/// An entry: its name, its type, and the position after it.
type Entry = (String, FileType, u64);

/// What one `getdents64` with a buffer of `size` bytes returns.
fn some(dir: &File, size: usize) -> Result<Vec<Entry>> {
    let mut buffer = vec![MaybeUninit::uninit(); size];
    let mut raw = RawDir::new(dir, &mut buffer);
    let mut entries = Vec::new();
    while let Some(entry) = raw.next() {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        entries.push((name, entry.file_type(), entry.next_entry_cookie()));
        if raw.is_buffer_empty() {
            break;
        }
    }
    Ok(entries)
}

fn rest(dir: &File) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    loop {
        match some(dir, 512)? {
            more if more.is_empty() => return Ok(entries),
            more => entries.extend(more),
        }
    }
}

fn fill(dir: &Path, count: u32) -> Result<()> {
    std::fs::create_dir(dir)?;
    for n in 0..count {
        File::create_new(dir.join(format!("entry-{n:05}")))?;
    }
    Ok(())
}

fn all_once(bed: &mut Bed) -> Result<()> {
    let most = bed.config.amount(3_000, 3_000, 500);
    for count in [0, 1, 2, 100, most / 3, most] {
        let path = bed.path(format!("dir-{count}"));
        fill(&path, count)?;
        let names: Vec<String> = rest(&File::open(&path)?)?.into_iter().map(|e| e.0).collect();
        let distinct: BTreeSet<&String> = names.iter().collect();
        ensure!(names.len() == count as usize + 2, "{} of {count}", names.len());
        ensure!(distinct.len() == names.len(), "a name came twice of {count}");
        ensure!(names.iter().filter(|n| *n == "." || *n == "..").count() == 2);
    }
    Ok(())
}

fn types(bed: &mut Bed) -> Result<()> {
    let path = bed.path("dir");
    std::fs::create_dir(&path)?;
    std::fs::create_dir(path.join("d"))?;
    File::create(path.join("f"))?;
    std::os::unix::fs::symlink("x", path.join("l"))?;
    let kinds = [
        ("p", FileType::Fifo),
        ("s", FileType::Socket),
        ("c", FileType::CharacterDevice),
        ("b", FileType::BlockDevice),
    ];
    for (name, kind) in kinds {
        let device = fs::makedev(1, 3);
        fs::mknodat(fs::CWD, path.join(name), kind, fs::Mode::from(0o600), device)?;
    }
    let mut expected = BTreeMap::from(kinds);
    expected.extend([("d", FileType::Directory), ("f", FileType::RegularFile)]);
    expected.extend([
        ("l", FileType::Symlink),
        (".", FileType::Directory),
        ("..", FileType::Directory),
    ]);
    for (name, kind, _) in rest(&File::open(&path)?)? {
        let wanted = expected.remove(name.as_str());
        ensure!(wanted == Some(kind), "{name} is {kind:?}, expected {wanted:?}");
    }
    ensure!(expected.is_empty(), "missing: {expected:?}");
    Ok(())
}

/// `telldir` and `seekdir`: from a position follows what followed it before.
fn positions(bed: &mut Bed) -> Result<()> {
    let path = bed.path("dir");
    fill(&path, bed.config.amount(2_000, 2_000, 500))?;
    let dir = File::open(&path)?;
    let entries = rest(&dir)?;
    let at: BTreeSet<u64> = entries.iter().map(|e| e.2).collect();
    // Two names of one hash may share a position; more than a few may not.
    ensure!(at.len() + 4 >= entries.len(), "{} positions of {} entries", at.len(), entries.len());
    for n in (0..entries.len() - 1).step_by(61) {
        fs::seek(&dir, SeekFrom::Start(entries[n].2))?;
        let next = some(&dir, 512)?;
        ensure!(next.first().map(|e| &e.0) == Some(&entries[n + 1].0), "after entry {n}");
    }
    fs::seek(&dir, SeekFrom::Start(entries.last().context("entries")?.2))?;
    ensure!(some(&dir, 512)?.is_empty(), "something follows the end");
    File::create(path.join("late"))?;
    std::fs::remove_file(path.join("entry-00000"))?;
    fs::seek(&dir, SeekFrom::Start(0))?;
    let names: BTreeSet<String> = rest(&dir)?.into_iter().map(|e| e.0).collect();
    ensure!(names.contains("late") && !names.contains("entry-00000"), "rewinddir");
    Ok(())
}

/// An entry that is there all the time is seen exactly once, whatever its neighbours do.
fn entries_come_and_go(bed: &mut Bed) -> Result<()> {
    // A multiple of three, for what is removed from either end to be never the same.
    let count = bed.config.amount(3_000, 3_000, 390);
    let path = bed.path("dir");
    fill(&path, count)?;
    let dir = File::open(&path)?;
    let mut seen = BTreeMap::<String, u32>::new();
    for turn in 0.. {
        let more = some(&dir, 1024)?;
        if more.is_empty() {
            break;
        }
        ensure!(turn < 10_000, "the listing does not end");
        for (name, ..) in more {
            *seen.entry(name).or_default() += 1;
        }
        // Entries divisible by three go, others come, in front of the reader and behind it.
        for n in (turn * 30..turn * 30 + 30).step_by(3).filter(|n| *n < count) {
            std::fs::remove_file(path.join(format!("entry-{n:05}")))?;
            std::fs::remove_file(path.join(format!("entry-{:05}", count - 1 - n))).or_else(
                |e| {
                    if e.kind() == std::io::ErrorKind::NotFound {
                        Ok(())
                    } else {
                        Err(e)
                    }
                },
            )?;
            File::create(path.join(format!("new-{n}-{}", "x".repeat(n as usize % 90))))?;
        }
    }
    for n in 0..count {
        let name = format!("entry-{n:05}");
        let stayed = path.join(&name).exists();
        let times = seen.get(&name).copied().unwrap_or(0);
        ensure!(!stayed || times == 1, "{name} stayed and was seen {times} times");
        ensure!(times <= 1, "{name} was seen {times} times");
    }
    Ok(())
}

/// `rm -r` reads and removes in turn and must empty the directory in one pass.
fn removed_while_read(bed: &mut Bed) -> Result<()> {
    // A multiple of three, for what is removed from either end to be never the same.
    let count = bed.config.amount(3_000, 3_000, 390);
    let path = bed.path("dir");
    fill(&path, count)?;
    let dir = File::open(&path)?;
    loop {
        let more = some(&dir, 2048)?;
        if more.is_empty() {
            break;
        }
        for (name, ..) in more.into_iter().filter(|e| e.0 != "." && e.0 != "..") {
            std::fs::remove_file(path.join(name))?;
        }
    }
    std::fs::remove_dir(&path).context("one pass did not empty the directory")?;
    Ok(())
}

/// A directory that ext4 indexed (two levels of htree) is read, grown and emptied.
fn indexed_by_ext4(bed: &mut Bed) -> Result<()> {
    let count = bed.config.amount(20_000, 2_000, 400);
    let long = |n: u32| format!("{n:06}-{}", "x".repeat(40));
    bed.by_ext4(|root| {
        std::fs::create_dir(root.join("dir"))?;
        for n in 0..count {
            File::create_new(root.join("dir").join(long(n)))?;
        }
        Ok(())
    })?;
    let path = bed.path("dir");
    let names: BTreeSet<String> = rest(&File::open(&path)?)?.into_iter().map(|e| e.0).collect();
    ensure!(names.len() == count as usize + 2, "{} of {count}", names.len());
    for n in (0..count).step_by(37) {
        std::fs::metadata(path.join(long(n))).with_context(|| long(n))?;
    }
    for n in 0..500 {
        File::create_new(path.join(format!("added-{n}")))?;
    }
    for n in (0..count).step_by(3) {
        std::fs::remove_file(path.join(long(n))).with_context(|| long(n))?;
    }
    bed.by_ext4(|root| {
        let left = std::fs::read_dir(root.join("dir"))?.count() as u32;
        ensure!(left == count - count.div_ceil(3) + 500, "ext4 sees {left} names");
        for n in 0..count {
            let there = root.join("dir").join(long(n)).exists();
            ensure!(there == (n % 3 != 0), "ext4 looks up {}: {there}", long(n));
        }
        File::create_new(root.join("dir/by-ext4"))?;
        Ok(())
    })?;
    std::fs::metadata(bed.path("dir/by-ext4"))?;
    std::fs::remove_dir_all(bed.path("dir"))?;
    Ok(())
}
