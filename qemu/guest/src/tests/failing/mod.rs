// SPDX-License-Identifier: GPL-2.0
//! Devices that fail, and journals on devices of their own.

mod blocks;
mod memory;
mod requests;
mod steps;

use super::{pattern, refused, same_bytes};
use crate::harness::{Bed, Place, Test, DAX, RAM};
use crate::hostile;
use crate::manifest::{Facts, Manifest};
use crate::mapper::Mapped;
use crate::stage::{run, run_status, Image};
use crate::sys;
use anyhow::{ensure, Context, Result};
use rustix::io::Errno;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// Every way in which the bytes of a file are reached, and a change of it.
const WAYS: &[Place] = &[Place::Dax, Place::Inode, Place::Ram];

pub fn tests() -> Vec<Test> {
    vec![
        Test::bare("failing::each_allocation", WAYS, memory::each).starved().seconds(600),
        Test::bare("failing::mounting", WAYS, memory::mounting).starved().seconds(600),
        Test::bare("failing::memory", WAYS, memory::random).starved().seconds(600),
        Test::bare("failing::requests", RAM, requests::random).corrupt().seconds(600),
        Test::bare("failing::reported_once", RAM, requests::reported_once).corrupt(),
        Test::bare("failing::data_err", RAM, requests::data_err).corrupt(),
        Test::bare("failing::dust", RAM, blocks::dust).corrupt(),
        Test::new("failing::poison", DAX, blocks::poison).corrupt(),
        Test::bare("failing::journal_device", RAM, journal_device).corrupt(),
        Test::bare("failing::device", RAM, device).corrupt(),
        Test::bare("corrupt::random", RAM, random).corrupt().seconds(600),
    ]
}

/// Images with a few bytes of metadata changed at random.
fn random(bed: &mut Bed) -> Result<()> {
    let images = bed.config.amount(200, 20, 3);
    println!("{}", hostile::run(&bed.config, bed.place.device(), images, 1)?);
    Ok(())
}

/// A journal on `/dev/ram1`: what a crash leaves there is replayed, here and by ext4.
fn journal_device(bed: &mut Bed) -> Result<()> {
    for fstype in [bed.config.fstype.clone(), "ext4".into()] {
        run("mke2fs", &["-q", "-F", "-O", "journal_dev", "-b", "4096", "/dev/ram1", "16M"])?;
        bed.mkfs("64M", &["-J", "device=/dev/ram1"])?;
        bed.mount_with("commit=3600")?;
        for n in 0..50 {
            fs::write(bed.path(format!("file{n}")), pattern(n, 0, 977 * n as usize))?;
        }
        rustix::fs::sync();
        let expected = Manifest::of(bed.dir(), Facts::All)?;
        sys::attrs::shut_down(File::open(bed.dir())?, 2)?;
        bed.unmount()?;
        ensure!(bed.image.needs_recovery()?, "nothing to recover");
        let again = bed.image.mount(&fstype, "")?;
        expected.same(&Manifest::of(again.dir(), Facts::All)?, "before the crash", "after it")?;
        again.unmount()?;
        ensure!(!bed.image.needs_recovery()?, "still to be recovered");
        let device = bed.image.device().to_string_lossy().into_owned();
        let (status, text) = run_status("e2fsck", &["-fn", "-j", "/dev/ram1", &device])?;
        ensure!(status == 0, "e2fsck says {status}:\n{text}");
    }
    // A device that is no journal, or not this one's.
    run("mke2fs", &["-q", "-F", "-O", "journal_dev", "-b", "4096", "/dev/ram1", "16M"])?;
    refused(bed.try_mount(""), Errno::INVAL, "mounting with another journal")
}

/// The device fails: errors, no changes from then on, and all that was synced when it is back.
fn device(bed: &mut Bed) -> Result<()> {
    for options in ["errors=continue", "errors=remount-ro"] {
        const SECTORS: u64 = 64 << 11;
        bed.mkfs("64M", &[])?;
        let below = bed.image.device().display().to_string();
        let linear = format!("linear {below} 0");
        let (mapped, path) = Mapped::new("guest-failing", SECTORS, &linear)?;
        let image = Image::on(&path);
        let mount = image.mount(&bed.config.fstype, options)?;
        let kept = pattern(1, 0, 100_000);
        fs::write(mount.dir().join("kept"), &kept)?;
        rustix::fs::sync();
        let first = File::create(mount.dir().join("lost"))?;
        let second = first.try_clone()?;
        let other = File::options().write(true).open(mount.dir().join("lost"))?;
        first.write_all_at(&pattern(2, 0, 200_000), 0)?;
        mapped.load(&[(SECTORS, "error")])?;
        ensure!(first.sync_all().is_err(), "{options}: fsync to a device that is gone");
        ensure!(other.sync_all().is_err(), "{options}: fsync by another who has it open");
        let made = File::create(mount.dir().join("new")).and_then(|file| file.sync_all());
        ensure!(made.is_err(), "{options}: a file on a device that is gone");
        let name = mount.dir().join("after");
        refused(File::create(name), Errno::ROFS, "a change after the journal was aborted")?;
        drop((first, second, other));
        mapped.load(&[(SECTORS, &linear)])?;
        mount.unmount().with_context(|| options.to_owned())?;
        drop(mapped);
        let again = bed.try_mount("")?;
        same_bytes(&fs::read(again.dir().join("kept"))?, &kept, "what was synced")?;
        again.unmount()?;
        let (status, text) = run_status("e2fsck", &["-fp", &below])?;
        ensure!(status <= 1, "{options}: e2fsck says {status}:\n{text}");
        bed.image.fsck()?;
    }
    Ok(())
}

/// The block of the device that is block `n` of a file. Asked of what is on the device.
fn block_of(image: &Image, path: &str, n: u64) -> Result<u64> {
    let text = image.ask(&format!("bmap {path} {n}"))?;
    let number = text.split_whitespace().next().unwrap_or_default();
    let number = number.parse().with_context(|| format!("bmap {path} {n}: {text}"))?;
    ensure!(number != 0, "{path} has no block {n}");
    Ok(number)
}
