// SPDX-License-Identifier: GPL-2.0
//! Rows about names and inodes: many empty files made, looked at, listed, renamed and removed; a
//! tree copied; what a cached file costs in memory.

use super::rows::{self, Names};
use super::{Bench, Contestant};
use crate::stage;
use anyhow::{ensure, Context, Result};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, StatxFlags};
use std::fs;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// All rows of the group.
pub fn measure(bench: &mut Bench) -> Result<()> {
    let mount = bench.who.mount()?;
    spread(bench, &rows::ONE, &mount.dir().join("one"), 1)?;
    spread(bench, &rows::HUNDRED, &mount.dir().join("hundred"), 100)?;
    copy_tree(bench, mount.dir())?;
    mount.unmount()?;
    memory(bench)
}

fn open_dir(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).with_context(|| format!("{}", path.display()))
}

fn create(dir: &OwnedFd, name: &str) -> Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o644);
    rustix::fs::openat(dir, name, flags, mode).with_context(|| format!("create {name}"))?;
    Ok(())
}

/// The rows of one way to spread the files: over `count` directories.
fn spread(bench: &mut Bench, rows: &'static Names, base: &Path, count: usize) -> Result<()> {
    let files = bench.files;
    let paths: Vec<PathBuf> = (0..count).map(|n| base.join(n.to_string())).collect();
    paths.iter().try_for_each(fs::create_dir_all)?;
    let dirs = paths.iter().map(|path| open_dir(path)).collect::<Result<Vec<_>>>()?;
    let names: Vec<String> = (0..files).map(|n| format!("file{n:07}")).collect();
    let renamed: Vec<String> = (0..files).map(|n| format!("moved{n:07}")).collect();
    let each = |work: &dyn Fn(&OwnedFd, usize) -> Result<()>| {
        (0..files).try_for_each(|n| work(&dirs[n % count], n))
    };
    bench.time(&rows.create, files, || each(&|dir, n| create(dir, &names[n])))?;
    bench.time(&rows.stat, files, || {
        each(&|dir, n| {
            let wanted = StatxFlags::BASIC_STATS;
            rustix::fs::statx(dir, &names[n], AtFlags::empty(), wanted)?;
            Ok(())
        })
    })?;
    let seen: usize =
        bench.time(&rows.readdir, files, || paths.iter().map(|dir| list(dir)).sum())?;
    ensure!(seen == files + 2 * count, "readdir found {seen} entries of {files} files");
    bench.time(&rows.rename, files, || {
        each(&|dir, n| Ok(rustix::fs::renameat(dir, &names[n], dir, &renamed[n])?))
    })?;
    bench.time(&rows.unlink, files, || {
        each(&|dir, n| Ok(rustix::fs::unlinkat(dir, &renamed[n], AtFlags::empty())?))
    })
}

/// Reads a directory and returns how many entries it has.
fn list(path: &Path) -> Result<usize> {
    let dir = open_dir(path)?;
    let mut buffer = [const { MaybeUninit::uninit() }; 32 << 10];
    let mut entries = RawDir::new(&dir, &mut buffer);
    let mut seen = 0;
    while let Some(entry) = entries.next() {
        entry?;
        seen += 1;
    }
    Ok(seen)
}

/// Copies the tree to memory, so that reading it costs everyone the same and little.
pub fn stage_tree(from: &Path) -> Result<PathBuf> {
    let to = Path::new(stage::SCRATCH).join("tree");
    if !to.exists() {
        stage::run("cp", &["-r", &from.to_string_lossy(), &to.to_string_lossy()])?;
    }
    Ok(to)
}

/// Copies the tree and writes it out: when the kernel would do so by itself is chance.
fn copy_tree(bench: &mut Bench, to: &Path) -> Result<()> {
    let from = bench.tree;
    let entries = WalkDir::new(from).into_iter().collect::<Result<Vec<_>, _>>()?;
    let dir = open_dir(to)?;
    bench.time(&rows::COPY_TREE, entries.len(), || {
        for entry in &entries {
            let copy = to.join("tree").join(entry.path().strip_prefix(from)?);
            if entry.file_type().is_dir() {
                fs::create_dir(copy)?;
            } else if entry.file_type().is_file() {
                fs::write(copy, fs::read(entry.path())?)?;
            }
        }
        Ok(rustix::fs::syncfs(&dir)?)
    })
}

/// Makes as many files as the other rows, mounts again, and looks at each of them.
fn memory(bench: &mut Bench) -> Result<()> {
    let mount = bench.who.mount()?;
    let path = mount.dir().join("cached");
    fs::create_dir(&path)?;
    let names: Vec<String> = (0..bench.files).map(|n| format!("file{n:07}")).collect();
    let dir = open_dir(&path)?;
    names.iter().try_for_each(|name| create(&dir, name))?;
    drop(dir);
    mount.unmount()?;

    let mount = bench.who.mount()?;
    let dir = open_dir(&path)?;
    shrink_slabs()?;
    let before = slab()?;
    for name in &names {
        rustix::fs::statx(&dir, name, AtFlags::empty(), StatxFlags::BASIC_STATS)?;
    }
    let taken = slab()?.saturating_sub(before);
    bench.record(&rows::CACHED, taken as f64 / names.len() as f64);
    if let Some(bytes) = object(&bench.who)? {
        bench.record(&rows::OBJECT, bytes);
    }
    drop(dir);
    mount.unmount().map(|_| ())
}

/// Gives back what the slabs hold in reserve, so that new objects are seen as new pages.
fn shrink_slabs() -> Result<()> {
    fs::write("/proc/sys/vm/drop_caches", "3")?;
    for cache in fs::read_dir("/sys/kernel/slab")? {
        // Caches come and go meanwhile.
        let _ = fs::write(cache?.path().join("shrink"), "1");
    }
    Ok(())
}

/// Bytes of all slabs.
fn slab() -> Result<u64> {
    let info = fs::read_to_string("/proc/meminfo")?;
    let line =
        info.lines().find(|line| line.starts_with("Slab:")).context("no Slab: in meminfo")?;
    let kib = line.split_whitespace().nth(1).context("no figure in meminfo")?;
    Ok(kib.parse::<u64>()? << 10)
}

/// Bytes of an inode of this file system, with its share of what the slab cannot use.
fn object(who: &Contestant) -> Result<Option<f64>> {
    let info = fs::read_to_string("/proc/slabinfo")?;
    let line = info.lines().find(|line| {
        let name = line.split(' ').next().unwrap_or_default();
        name == "xfs_inode" && who.fs == "xfs"
            || name.starts_with(who.fs) && name.contains("inode_cache")
    });
    let Some(line) = line else { return Ok(None) };
    // Name, objects in use, objects, bytes of one, objects in a slab, pages of a slab.
    let field = |n: usize| line.split_whitespace().nth(n)?.parse::<f64>().ok();
    Ok(field(5).zip(field(4)).map(|(pages, objects)| pages * 4096.0 / objects))
}
