// SPDX-License-Identifier: GPL-2.0
//! Requests to the device that fail: at random, and in one place of a file, of which `fsync` tells each
//! descriptor once.

use super::super::{pattern, read_at, refused, same_bytes};
use super::block_of;
use super::memory::{works, Errors};
use super::steps::{furnish, OTHERWISE, STEPS};
use crate::crash::work::Random;
use crate::harness::Bed;
use crate::inject::{Injection, REQUESTS};
use crate::mapper::Mapped;
use crate::stage::{run_status, Image};
use anyhow::{ensure, Context, Result};
use rustix::fs::{fallocate, syncfs, FallocateFlags};
use rustix::io::Errno;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// What an operation says on a device that fails: it does, or the file system has given up.
const BROKEN: &[Errno] = &[Errno::IO, Errno::ROFS];
/// What a fault at a page of it says, instead of SIGBUS.
const FAULTED: &[Errno] = &[Errno::FAULT];

/// Requests fail at random until the file system gives up; all that `fsync` had promised is there when
/// they do not any more.
pub fn random(bed: &mut Bed) -> Result<()> {
    let (images, steps) = bed.config.amount((60, 200), (8, 100), (2, 60));
    let (mut errors, mut failed, mut aborted, mut kept) = (Errors::default(), 0, 0, 0);
    for seed in 0..images {
        let mut random = Random::new(seed);
        bed.mkfs("48M", &[])?;
        bed.mount_with("errors=remount-ro")?;
        let dir = bed.path("dir");
        furnish(&dir)?;
        rustix::fs::sync();
        let mut injection = Injection::of(REQUESTS)?;
        injection.start(1 + random.below(3), Some("ram0"))?;
        let mut synced = Vec::new();
        for n in 0..steps {
            let step = &STEPS[random.below(STEPS.len() as u64) as usize];
            let what = || format!("image {seed}, step {n}: {}", step.name);
            errors.add((step.work)(&dir), &[BROKEN, OTHERWISE, FAULTED]).with_context(what)?;
            let path = bed.path(format!("synced-{n}"));
            let made = fs::write(&path, pattern(n, 0, 9_000))
                .and_then(|()| File::open(&path)?.sync_all())
                .and_then(|()| File::open(bed.dir())?.sync_all());
            if errors.add(made, &[BROKEN]).with_context(what)? {
                synced.push(n);
            }
        }
        injection.stop()?;
        failed += injection.count()?;
        kept += synced.len();
        let made = errors.add(File::create(bed.path("last")), &[BROKEN])?;
        aborted += u64::from(!made);
        bed.unmount()?;
        bed.mount().with_context(|| format!("image {seed} is not mounted"))?;
        for n in synced {
            let found = fs::read(bed.path(format!("synced-{n}")))
                .with_context(|| format!("image {seed}, file {n} after its fsync"))?;
            same_bytes(&found, &pattern(n, 0, 9_000), &format!("image {seed}, file {n}"))?;
        }
        bed.unmount()?;
        let device = bed.image.device().to_string_lossy().into_owned();
        let (status, text) = run_status("e2fsck", &["-fp", &device])?;
        ensure!(status <= 1, "image {seed}: e2fsck -fp says {status}:\n{text}");
        bed.mount()?;
        works(bed.dir())?;
        bed.judge()?;
    }
    println!(
        "{images} images, {failed} requests failed, {aborted} gave up, {kept} files kept: {errors}"
    );
    ensure!(failed > 0, "no request failed");
    Ok(())
}

/// With `data_err=abort`, data that cannot be written ends all changes, be it for old or for new blocks.
pub fn data_err(bed: &mut Bed) -> Result<()> {
    const SECTORS: u64 = 64 << 11;
    const LEN: usize = 16 << 12;
    for name in ["written", "unwritten"] {
        bed.mkfs("64M", &[])?;
        let below = bed.image.device().display().to_string();
        let linear = format!("linear {below} 0");
        let (mapped, path) = Mapped::new("guest-failing", SECTORS, &linear)?;
        let image = Image::on(&path);
        let mount = image.mount(&bed.config.fstype, "errors=remount-ro")?;
        fs::write(mount.dir().join("written"), pattern(1, 0, LEN))?;
        fallocate(
            File::create(mount.dir().join("unwritten"))?,
            FallocateFlags::empty(),
            0,
            LEN as u64,
        )?;
        mount.unmount()?;
        let bad = block_of(&image, name, 4)? * 8;
        for options in ["data_err=ignore", "data_err=abort,data=writeback", "data_err=abort"] {
            let mount = image.mount(&bed.config.fstype, options)?;
            let file = File::options().write(true).open(mount.dir().join(name))?;
            let after = format!("linear {below} {}", bad + 8);
            mapped.load(&[(bad, &linear), (8, "error"), (SECTORS - bad - 8, &after)])?;
            file.write_all_at(&pattern(2, 0, LEN), 0)?;
            refused(file.sync_all(), Errno::IO, &format!("{name}, {options}: fsync"))?;
            let made = File::create(mount.dir().join("new"));
            match options {
                "data_err=abort" => refused(made, Errno::ROFS, &format!("{name}: a change"))?,
                _ => drop(made.with_context(|| format!("{name}, {options}"))?),
            }
            mapped.load(&[(SECTORS, &linear)])?;
            drop(file);
            mount.unmount()?;
        }
        // What the journal has is recovered, and the mark that it was aborted goes with a check.
        let (status, text) = run_status("e2fsck", &["-fp", &path])?;
        ensure!(status <= 1, "{name}: e2fsck says {status}:\n{text}");
        image.fsck()?;
    }
    Ok(())
}

/// A part of a file cannot be written: `fsync` and `syncfs` say so once to everybody who had it open, and
/// the rest of the file system goes on.
pub fn reported_once(bed: &mut Bed) -> Result<()> {
    const SECTORS: u64 = 64 << 11;
    const LEN: usize = 16 << 12;
    bed.mkfs("64M", &[])?;
    let below = bed.image.device().display().to_string();
    let (mapped, path) = Mapped::new("guest-failing", SECTORS, &format!("linear {below} 0"))?;
    let image = Image::on(&path);
    let mount = image.mount(&bed.config.fstype, "errors=remount-ro")?;
    // What blocks hold that are not written again.
    fs::write(mount.dir().join("stale"), vec![0xdd; 24 << 20])?;
    rustix::fs::sync();
    fs::remove_file(mount.dir().join("stale"))?;
    rustix::fs::sync();
    fs::write(mount.dir().join("written"), pattern(1, 0, LEN))?;
    let unwritten = File::create(mount.dir().join("unwritten"))?;
    fallocate(&unwritten, FallocateFlags::empty(), 0, LEN as u64)?;
    unwritten.sync_all()?;
    drop(unwritten);
    mount.unmount()?;
    for (name, seed) in [("written", 2), ("unwritten", 3)] {
        // Blocks 4 and 5 of the file.
        let bad = block_of(&image, name, 4)? * 8;
        ensure!(block_of(&image, name, 5)? * 8 == bad + 8, "{name} is in pieces");
        let mount = image.mount(&bed.config.fstype, "errors=remount-ro")?;
        let open = || File::options().read(true).write(true).open(mount.dir().join(name));
        let (first, second, whole) = (open()?, open()?, File::open(mount.dir())?);
        let after = format!("linear {below} {}", bad + 16);
        let linear = format!("linear {below} 0");
        mapped.load(&[(bad, &linear), (16, "error"), (SECTORS - bad - 16, &after)])?;
        first.write_all_at(&pattern(seed, 0, LEN), 0)?;
        refused(first.sync_all(), Errno::IO, "fsync")?;
        first.sync_all().context("fsync by the same once more")?;
        refused(second.sync_all(), Errno::IO, "fsync by another")?;
        second.sync_all().context("fsync by another once more")?;
        open()?.sync_all().context("fsync by one who opened it later")?;
        refused(syncfs(&whole), Errno::IO, "syncfs")?;
        syncfs(&whole).context("syncfs once more")?;
        works(mount.dir()).context("while a part of the device fails")?;
        mapped.load(&[(SECTORS, &linear)])?;
        drop((first, second, whole));
        let again = mount.unmount()?.mount(&bed.config.fstype, "errors=remount-ro")?;
        let found = fs::read(again.dir().join(name))?;
        for at in (0..LEN).step_by(4096) {
            let (old, new) = (pattern(1, at as u64, 4096), pattern(seed, at as u64, 4096));
            let page = &found[at..at + 4096];
            // Of blocks that were unwritten, those stay so that were to be written together with the bad ones.
            let expected = match name {
                _ if page == new => new,
                "written" if (4 << 12..6 << 12).contains(&at) => old,
                "written" => new,
                _ => vec![0; 4096],
            };
            same_bytes(page, &expected, &format!("{name}, byte {at}"))?;
        }
        let file = File::options().read(true).write(true).open(again.dir().join(name))?;
        file.write_all_at(&pattern(4, 0, LEN), 0)?;
        file.sync_all().context("fsync when all is well again")?;
        same_bytes(&read_at(&file, 0, LEN)?, &pattern(4, 0, LEN), "written again")?;
        drop(file);
        again.unmount()?.fsck()?;
    }
    Ok(())
}
