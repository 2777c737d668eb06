// SPDX-License-Identifier: GPL-2.0
//! Allocations that fail: an operation that finds no memory says so, and nothing else happens.

use super::super::{pattern, same_bytes};
use super::steps::{furnish, Step, OTHERWISE, STEPS};
use crate::crash::work::Random;
use crate::harness::{Bed, Place};
use crate::inject::{Injection, Task, MEMORY};
use crate::leaks::Leaks;
use crate::manifest::{Facts, Manifest};
use crate::sys::{self, End, Mapping};
use anyhow::{bail, ensure, Context, Result};
use rustix::io::Errno;
use rustix::mount::{unmount, UnmountFlags};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// More allocations than any operation makes.
const MOST: u32 = 2_000;

/// Of the file system.
const SIZE_MIB: u64 = 48;

/// What an operation says that found no memory. The page cache knows one error of writing back.
const NO_MEMORY: &[Errno] = &[Errno::NOMEM, Errno::IO];

/// The errors that operations ended with, and how many with each.
#[derive(Default)]
pub struct Errors(BTreeMap<i32, u32>);

impl Errors {
    /// Whether it was done. Fails unless its error is one of those that are `expected`.
    pub fn add<T>(&mut self, result: io::Result<T>, expected: &[&[Errno]]) -> Result<bool> {
        let Err(error) = result else { return Ok(true) };
        let known =
            |code| expected.iter().copied().flatten().any(|errno| errno.raw_os_error() == code);
        match error.raw_os_error() {
            Some(code) if known(code) => *self.0.entry(code).or_default() += 1,
            _ => bail!("{error}"),
        }
        Ok(false)
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |(code, count)| format!("{count} times {}", io::Error::from_raw_os_error(code));
        f.write_str(&self.0.clone().into_iter().map(show).collect::<Vec<_>>().join(", "))
    }
}

/// Passes if a file can be made, written, and read.
pub fn works(dir: &Path) -> Result<()> {
    let path = dir.join("afterwards");
    fs::write(&path, pattern(9, 0, 50_000))?;
    File::open(&path)?.sync_all()?;
    same_bytes(&fs::read(&path)?, &pattern(9, 0, 50_000), "what was written afterwards")?;
    Ok(fs::remove_file(path)?)
}

/// Makes and mounts a file system on a device that needs no memory itself: a ram disk has none for a block
/// that was never written, or was discarded.
fn begin(bed: &mut Bed) -> Result<()> {
    if bed.place == Place::Ram {
        let device = File::options().write(true).open(bed.image.device())?;
        for mib in 0..SIZE_MIB {
            device.write_all_at(&vec![0; 1 << 20], mib << 20)?;
        }
        device.sync_all()?;
    }
    bed.mkfs(&format!("{SIZE_MIB}M"), &["-E", "nodiscard"])?;
    bed.mount()
}

/// Each of the allocations of each operation in turn, with everything still to be read from the device.
pub fn each(bed: &mut Bed) -> Result<()> {
    begin(bed)?;
    let leaks = Leaks::watch()?;
    let (stride, apart) = bed.config.amount((1, 1), (16, 1), (80, 4));
    let _injection = Injection::of(MEMORY)?;
    let task = Task::this()?;
    let mut errors = Errors::default();
    let mut failed = 0;
    for (number, step) in (0..).zip(STEPS).step_by(apart) {
        let ns = (1 + number % stride..MOST).step_by(stride as usize);
        failed += one_by_one(bed, &task, &mut errors, step, ns).context(step.name)?;
    }
    println!("{failed} allocations failed: {errors}");
    ensure!(failed > 0, "no allocation failed");
    bed.again()?;
    works(bed.dir())?;
    leaks.none()
}

/// Does an operation until it makes fewer than `n` allocations, the next of `ns` each time; returns how
/// many failed. One that is done as a whole has its effect or none.
fn one_by_one(
    bed: &mut Bed,
    task: &Task,
    errors: &mut Errors,
    step: &Step,
    ns: impl Iterator<Item = u32>,
) -> Result<u32> {
    let dir = bed.path(step.name);
    furnish(&dir)?;
    let mut before = Manifest::of(&dir, Facts::Kept)?;
    bed.again()?;
    (step.work)(&dir).context("with all the memory that it wants")?;
    let wanted = Manifest::of(&dir, Facts::Kept)?;
    let (mut changed, mut failed) = (true, 0);
    for n in ns {
        let what = || format!("allocation {n}");
        if changed {
            fs::remove_dir_all(&dir)?;
            furnish(&dir)?;
            before = Manifest::of(&dir, Facts::Kept)?;
        }
        bed.again().with_context(what)?;
        let (result, hit) = task.nth(n, || (step.work)(&dir))?;
        ensure!(hit || result.is_ok(), "failed with all its memory: {result:?}");
        let done = errors.add(result, &[NO_MEMORY]).with_context(what)?;
        let after = Manifest::of(&dir, Facts::Kept).with_context(what)?;
        if step.whole {
            let expected = if done { &wanted } else { &before };
            expected.same(&after, "expected", "found").with_context(what)?;
        }
        if !hit {
            return Ok(failed);
        }
        failed += 1;
        changed = done || !step.whole;
    }
    bail!("it makes more than {MOST} allocations")
}

/// Mounting what a crash has left, and unmounting.
pub fn mounting(bed: &mut Bed) -> Result<()> {
    begin(bed)?;
    let leaks = Leaks::watch()?;
    let stride = bed.config.amount(1, 5, 80);
    let _injection = Injection::of(MEMORY)?;
    let task = Task::this()?;
    let mut errors = Errors::default();
    // Each of them where nothing is to be recovered, as that is done soon.
    bed.unmount()?;
    let mut all = (1..MOST).step_by(bed.config.amount(1, 1, 5));
    let whole = all.find_map(|n| {
        let mounted = task.nth(n, || bed.try_mount(bed.place.options()));
        let ended = mounted.and_then(|(mounted, hit)| {
            errors.add(mounted.map(drop).map_err(Into::into), &[NO_MEMORY])?;
            Ok((!hit).then_some(n))
        });
        ended.with_context(|| format!("allocation {n}")).transpose()
    });
    println!("{} mounts of a clean image: {errors}", whole.context("mounting does not end")??);
    bed.mount()?;
    for n in (1..MOST).step_by(stride) {
        let what = || format!("allocation {n}");
        furnish(&bed.path("dir")).with_context(what)?;
        rustix::fs::sync();
        fs::remove_file(bed.path("dir/single"))?;
        let held = File::open(bed.path("dir/dir/other"))?;
        fs::remove_file(bed.path("dir/dir/other"))?;
        let expected = Manifest::of(bed.dir(), Facts::Kept)?;
        // With the log written, and an orphan.
        sys::attrs::shut_down(File::open(bed.dir())?, 1)?;
        drop(held);
        bed.unmount()?;
        let (mounted, hit) = task.nth(n, || bed.try_mount(bed.place.options()))?;
        ensure!(hit || mounted.is_ok(), "it is not mounted with all its memory");
        if let Ok(mount) = &mounted {
            works(mount.dir()).with_context(what)?;
        }
        errors.add(mounted.map(drop).map_err(Into::into), &[NO_MEMORY]).with_context(what)?;
        bed.mount().with_context(what)?;
        expected
            .same(&Manifest::of(bed.dir(), Facts::Kept)?, "before", "after")
            .with_context(what)?;
        fs::write(bed.path("last"), pattern(5, 0, 100_000))?;
        let (unmounted, _) = task.nth(n, || unmount(bed.dir(), UnmountFlags::empty()))?;
        if !errors.add(unmounted.map_err(Into::into), &[NO_MEMORY]).with_context(what)? {
            unmount(bed.dir(), UnmountFlags::empty())?;
        }
        bed.forget();
        bed.mount().with_context(what)?;
        same_bytes(&fs::read(bed.path("last"))?, &pattern(5, 0, 100_000), "written by unmounting")
            .with_context(what)?;
        fs::remove_dir_all(bed.path("dir"))?;
        if !hit {
            println!("{} mounts: {errors}", n / stride as u32);
            return leaks.none();
        }
    }
    bail!("mounting makes more than {MOST} allocations")
}

/// Operations in a random order, any of whose allocations may fail.
pub fn random(bed: &mut Bed) -> Result<()> {
    begin(bed)?;
    let leaks = Leaks::watch()?;
    let rounds = bed.config.amount(4_000, 400, 60);
    let mut injection = Injection::of(MEMORY)?;
    let (task, mut random, mut errors) = (Task::this()?, Random::new(1), Errors::default());
    injection.start(3, None)?;
    let dir = bed.path("dir");
    let file = bed.create("stored")?;
    file.set_len(1 << 20)?;
    for round in 0..rounds {
        let step = &STEPS[random.below(STEPS.len() as u64) as usize];
        if round % 8 == 0 {
            if round > 0 {
                fs::remove_dir_all(&dir)?;
            }
            furnish(&dir)?;
        }
        let what = || format!("round {round}: {}", step.name);
        let result = task.random(|| (step.work)(&dir))?;
        errors.add(result, &[NO_MEMORY, OTHERWISE]).with_context(what)?;
        if round % 20 == 0 {
            let end = sys::in_child(|| stores(&file).unwrap_or(1))?;
            let fine = matches!(end, End::Exit(0) | End::Signal(libc::SIGBUS));
            ensure!(fine, "{}: stores ended with {end:?}", what());
        }
    }
    injection.stop()?;
    println!("{rounds} operations, {} allocations failed: {errors}", injection.count()?);
    ensure!(injection.count()? > 0, "no allocation failed");
    Manifest::of(bed.dir(), Facts::All).context("reading everything back")?;
    works(bed.dir())?;
    drop(file);
    bed.again()?;
    works(bed.dir())?;
    leaks.none()
}

/// Stores through a mapping, of which one that finds no memory ends the process with SIGBUS.
fn stores(file: &File) -> Result<i32> {
    let map = Mapping::shared(file, 1 << 20)?;
    Task::this()?.random(|| map.touch_write(1))?;
    file.set_len(0)?;
    file.set_len(1 << 20)?;
    Ok(0)
}
