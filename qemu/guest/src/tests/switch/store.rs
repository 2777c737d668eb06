// SPDX-License-Identifier: GPL-2.0
//! 8: writeback, truncation and hole punching beside the change, and what a crash finds after it.

use super::maps::{by_calls, by_mapping, whole};
use super::{attack, needs_live, prepared, rest, storm, Go, Lane, Tally, Worker, LEN};
use crate::harness::{Bed, Test, INODE};
use crate::mapper::Mapped;
use crate::stage::Image;
use crate::sys::{self, Mapping, DAX_FL, PAGE};
use crate::tests::{is_dax, pattern, read_at};
use anyhow::{ensure, Context, Result};
use rustix::fs::{fallocate, syncfs, FallocateFlags, OFlags};
use rustix::io::Errno;
use rustix::mm::MsyncFlags;
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::Instant;

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("switch::fsync_storm", INODE, fsync_storm).seconds(240),
        Test::new("switch::truncate_storm", INODE, truncate_storm).seconds(240),
        Test::bare("switch::crash", INODE, crash).seconds(400),
    ]
}

/// Writes back in all ways there are.
fn write_back(go: &Go) -> Result<()> {
    for round in 0.. {
        if !go.on() {
            break;
        }
        let begun = Instant::now();
        match round % 4 {
            0 => go.file.sync_all()?,
            1 => sys::sync_file_range(go.file, 0, LEN as u64)?,
            2 => go.file.sync_data()?,
            _ => syncfs(go.file)?,
        }
        if round % 8 == 0 {
            let map = Mapping::shared(go.file, LEN).context("mmap")?;
            go.held(|| Ok(map.sync(MsyncFlags::SYNC)?))?;
        }
        rest(begun);
    }
    Ok(())
}

fn fsync_storm(bed: &mut Bed) -> Result<()> {
    let file = prepared(bed, "file")?;
    attack(bed, &file, 10, vec![Box::new(write_back), by_mapping(0, 2), by_calls(1, 2)])
}

/// Bytes behind those of the lanes, which come and go.
const TAIL: usize = 300_000;

/// Makes the file longer and shorter, and looks at what is behind [`LEN`].
fn truncate(go: &Go) -> Result<()> {
    for round in 0_u64.. {
        if !go.on() {
            break;
        }
        let begun = Instant::now();
        let cut = (round as usize * 7_919) % TAIL;
        go.file.write_all_at(&pattern(round, 0, TAIL), LEN as u64)?;
        let found = read_at(go.file, LEN as u64, TAIL)?;
        go.tally.same(&found, &pattern(round, 0, TAIL), "the tail")?;
        go.file.set_len((LEN + cut) as u64)?;
        go.file.set_len((LEN + TAIL) as u64)?;
        let mut model = pattern(round, 0, cut);
        model.resize(TAIL, 0);
        go.tally.same(&read_at(go.file, LEN as u64, TAIL)?, &model, "cut and grown")?;
        if round % 3 == 0 {
            go.file.set_len(LEN as u64)?;
        }
        rest(begun);
    }
    Ok(())
}

/// Punches pages out, and fills the holes again through a mapping or by a write.
fn punch(lane: usize, lanes: usize) -> Worker<'static> {
    Box::new(move |go| {
        let (mut lane, flags) =
            (Lane::new(lane, lanes), FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE);
        for round in 0.. {
            if !go.on() {
                break;
            }
            let begun = Instant::now();
            for place in lane.some(round).into_iter().take(6) {
                let at = lane.at(place);
                match fallocate(go.file, flags, at as u64, PAGE as u64) {
                    Err(Errno::OPNOTSUPP) => return whole(go, &lane),
                    done => done.context("punch")?,
                }
                let found = read_at(go.file, at as u64, PAGE)?;
                go.tally.same(&found, &[0; PAGE], "a hole")?;
                let bytes = lane.renew(place);
                if round % 2 == 0 {
                    let map = Mapping::shared(go.file, LEN).context("mmap")?;
                    go.held(|| {
                        go.tally.same(&map.read(at, PAGE), &[0; PAGE], "a mapped hole")?;
                        map.write(at, &bytes);
                        Ok(())
                    })?;
                } else {
                    go.file.write_all_at(&bytes, at as u64)?;
                }
            }
            rest(begun);
        }
        whole(go, &lane)
    })
}

fn truncate_storm(bed: &mut Bed) -> Result<()> {
    let file = prepared(bed, "file")?;
    attack(bed, &file, 10, vec![Box::new(truncate), punch(0, 2), by_mapping(1, 2)])
}

/// Bytes of the file system that crashes.
const SMALL: usize = 24 << 20;

/// What a crash at this moment would leave of /dev/pmem0, on another device.
///
/// The file system is mounted on a device above it (dm-linear), which has a cache of its own. So what
/// is read here has reached the device.
fn crashed() -> Result<Image> {
    let mut bytes = sys::Aligned::new(1 << 20, 0);
    let mut options = File::options();
    let from = options.read(true).custom_flags(OFlags::DIRECT.bits() as i32).open("/dev/pmem0")?;
    let to = File::options().write(true).open("/dev/pmem1")?;
    for at in (0..SMALL).step_by(bytes.len()) {
        from.read_exact_at(&mut bytes, at as u64)?;
        to.write_all_at(&bytes, at as u64)?;
    }
    to.sync_all()?;
    Ok(Image::on("/dev/pmem1"))
}

/// After each change the device is taken as a crash would leave it: the flag on disk and the mode
/// agree, and every byte that was synced is there.
fn crash(bed: &mut Bed) -> Result<()> {
    needs_live(bed)?;
    let tally = Tally::default();
    let (_mapped, path) = Mapped::new("guest-above", SMALL as u64 >> 9, "linear /dev/pmem0 0")?;
    let above = Image::on(&path);
    above.mkfs("", &[])?;
    let mount = above.mount(&bed.config.fstype, bed.place.options())?;
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(mount.dir().join("file"))?;
    const BYTES: usize = 500_000;
    let mut model = pattern(0, 0, BYTES);
    file.write_all_at(&model, 0)?;
    let (begun, limit) = (Instant::now(), storm(bed, 60));
    for round in 0.. {
        if round >= 4 && begun.elapsed() > limit {
            break;
        }
        let (at, bytes) = (round * 7_777 % (BYTES - 5_000), pattern(round as u64, 0, 5_000));
        match round / 2 % 2 {
            0 => Mapping::shared(&file, BYTES)?.write(at, &bytes),
            _ => file.write_all_at(&bytes, at as u64)?,
        }
        model[at..at + 5_000].copy_from_slice(&bytes);
        let dax = !is_dax(&file)?;
        ensure!(tally.change(&file, dax)?, "refused");
        syncfs(&file)?;
        let image = crashed()?;
        let after = image.mount(&bed.config.fstype, bed.place.options()).context("the crashed")?;
        let found = File::open(after.dir().join("file"))?;
        let flag = sys::flags(&found)? & DAX_FL != 0;
        ensure!(flag == dax, "round {round}: the flag is not that of the change");
        ensure!(is_dax(&found)? == flag, "round {round}: flag and mode differ");
        tally.same(&read_at(&found, 0, BYTES)?, &model, "after the crash")?;
        drop(found);
        after.unmount()?.fsck().context("after the crash")?;
    }
    drop(file);
    mount.unmount()?.fsck()?;
    println!("{tally}");
    tally.leave()
}
