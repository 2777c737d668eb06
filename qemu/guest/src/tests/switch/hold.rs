// SPDX-License-Identifier: GPL-2.0
//! 7: pages that somebody holds without a mapping. A page that is written to by DMA must stay that of
//! the file until that is through; the change is refused as long as it lasts.

use super::{needs_live, Tally, LEN};
use crate::harness::{Bed, Test, INODE};
use crate::mapper::Mapped;
use crate::sys::attack::{vmsplice, Pending, Registered};
use crate::sys::Mapping;
use crate::tests::{is_dax, pattern, read_at};
use anyhow::{ensure, Context, Result};
use rustix::fs::OFlags;
use rustix::pipe::{fcntl_setpipe_size, pipe, splice, SpliceFlags};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("switch::aio_into_mapping", INODE, aio_into_mapping).seconds(240),
        Test::new("switch::uring_fixed", INODE, uring_fixed).seconds(240),
        Test::new("switch::pipe", INODE, in_a_pipe).seconds(240),
    ]
}

/// Bytes that are held.
const HELD: usize = 64 << 10;

/// A disk whose reads take a while (dm-delay), open for direct I/O.
fn slow_disk() -> Result<(Mapped, File)> {
    let disk = File::options().read(true).write(true).open("/dev/ram1")?;
    disk.write_all_at(&pattern(9, 0, HELD), 0)?;
    disk.sync_all()?;
    let (mapped, path) = Mapped::new("guest-slow", 1 << 12, "delay /dev/ram1 0 700")?;
    let mut options = File::options();
    let slow = options.read(true).custom_flags(OFlags::DIRECT.bits() as i32).open(path)?;
    Ok((mapped, slow))
}

/// The change succeeds soon: who held the pages has let go, perhaps not to the last.
fn changes_soon(tally: &Tally, file: &File, dax: bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !tally.change(file, dax)? {
        ensure!(Instant::now() < deadline, "still refused, although nothing holds the file");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A disk writes to pages of the file, by way of a mapping that is gone.
fn aio_into_mapping(bed: &mut Bed) -> Result<()> {
    needs_live(bed)?;
    let (file, tally) = (bed.create("file")?, Tally::default());
    let (_mapped, slow) = slow_disk()?;
    let rounds = if bed.config.short { 4 } else { 40 };
    for round in 0..rounds {
        let dax = is_dax(&file)?;
        let mut model = pattern(round, 0, LEN);
        file.write_all_at(&model, 0)?;
        let map = Mapping::shared(&file, LEN)?;
        let at = 5 * 4096 * round as usize;
        let read = Pending::read_into(&slow, &map, at, HELD, 0).context("io_submit")?;
        drop(map);
        let mut refused = 0;
        while read.done(Duration::ZERO)?.is_none() {
            // The read may have come to its end since it was asked after.
            if tally.change(&file, !dax)? {
                let end = read.done(Duration::from_millis(1))?;
                ensure!(end.is_some(), "changed while a disk writes to its pages");
                break;
            }
            refused += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
        ensure!(refused > 2, "the disk was too fast");
        model[at..at + HELD].copy_from_slice(&pattern(9, 0, HELD));
        tally.same(&read_at(&file, 0, LEN)?, &model, "after the read")?;
        changes_soon(&tally, &file, !dax)?;
        tally.same(&read_at(&file, 0, LEN)?, &model, "after the change")?;
    }
    println!("{tally}");
    tally.leave()
}

/// Buffers registered with io_uring: shared ones are refused by the kernel, since nobody could tell
/// when they are written to, and private ones are no pages of the file.
fn uring_fixed(bed: &mut Bed) -> Result<()> {
    needs_live(bed)?;
    let (file, tally) = (bed.create("file")?, Tally::default());
    file.write_all_at(&pattern(1, 0, LEN), 0)?;
    for round in 0..6 {
        let dax = is_dax(&file)?;
        let map = match round / 2 {
            0 => Mapping::shared(&file, HELD)?,
            1 => Mapping::private(&file, HELD)?,
            _ => Mapping::read_only(&file, HELD)?,
        };
        let registered = Registered::new(&map);
        ensure!(!tally.change(&file, !dax)?, "changed while mapped");
        drop(map);
        if registered.is_ok() && round / 2 != 1 {
            ensure!(!tally.change(&file, !dax)?, "changed while io_uring holds its pages");
        }
        println!("mapping {round}: {:?}", registered.as_ref().err());
        drop(registered);
        changes_soon(&tally, &file, !dax)?;
        tally.same(&read_at(&file, 0, LEN)?, &pattern(1, 0, LEN), "after the change")?;
    }
    tally.leave()
}

/// Pages of the file in a pipe: what comes out of it are the bytes that went in.
fn in_a_pipe(bed: &mut Bed) -> Result<()> {
    needs_live(bed)?;
    let (file, tally) = (bed.create("file")?, Tally::default());
    let rounds = if bed.config.short { 8 } else { 100 };
    for round in 0..rounds {
        let (dax, old, new) =
            (is_dax(&file)?, pattern(round, 0, LEN), pattern(round + 1000, 0, LEN));
        file.write_all_at(&old, 0)?;
        let (from, to) = pipe()?;
        fcntl_setpipe_size(&to, 4 * HELD)?;
        let mapped = round / 2 % 2 == 1;
        let len = if mapped {
            let map = Mapping::shared(&file, HELD)?;
            map.touch_read();
            vmsplice(&to, &map, HELD)?
        } else {
            splice(&file, Some(&mut 0), &to, None, HELD, SpliceFlags::empty())?
        };
        ensure!(len > 0, "nothing went into the pipe");
        let changed = tally.change(&file, !dax)?;
        // The device's own memory is in the pipe.
        ensure!(!(changed && dax && mapped), "changed while a pipe holds the device's pages");
        if changed {
            file.write_all_at(&new, 0)?;
        }
        let mut found = vec![0; len];
        File::from(from).read_exact(&mut found)?;
        tally.same(&found, &old[..len], "from the pipe")?;
        if !changed {
            changes_soon(&tally, &file, !dax)?;
        }
        let now = if changed { &new } else { &old };
        tally.same(&read_at(&file, 0, LEN)?, now, "the file")?;
    }
    println!("{tally}");
    tally.leave()
}
