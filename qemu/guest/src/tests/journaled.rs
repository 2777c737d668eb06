// SPDX-License-Identifier: GPL-2.0
//! Data that goes through the journal (`data=journal`).

use super::recovery::{any_moment, crash};
use super::{is_dax, pattern, read_at, refused, same_bytes};
use crate::harness::{Bed, Test, CACHE, DAX, RAM};
use crate::mapper::Mapped;
use crate::stage::{self, Image};
use crate::sys::{self, attack, attrs, Aligned, Mapping};
use anyhow::{ensure, Context, Result};
use rustix::fs::{self, AtFlags, FallocateFlags, OFlags, StatxFlags, CWD};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

pub fn tests() -> Vec<Test> {
    vec![
        Test::bare("journaled::read_back", CACHE, read_back),
        Test::bare("journaled::before_metadata", RAM, before_metadata),
        Test::bare("journaled::freed", RAM, freed),
        Test::bare("journaled::space", RAM, space),
        Test::bare("journaled::pointers", RAM, pointers),
        Test::bare("journaled::not_around", RAM, not_around),
        Test::bare("journaled::not_mapped", DAX, not_mapped),
        Test::bare("journaled::any_moment", RAM, |bed| any_moment(bed, "data=journal"))
            .seconds(300),
    ]
}

const OPTIONS: &str = "data=journal,commit=3600";

/// Commits what is running, but writes no data back.
fn commit(bed: &Bed) -> Result<()> {
    let file = bed.create("commit")?;
    file.set_len(1)?;
    Ok(file.sync_all()?)
}

/// Pages that are in memory and clean go.
fn drop_pages() -> Result<()> {
    Ok(std::fs::write("/proc/sys/vm/drop_caches", "1")?)
}

/// What a file holds after a crash now and a mount by `fstype`, which replays the journal.
fn after_crash(bed: &Bed, size: u64, fstype: &str, name: &str) -> Result<Vec<u8>> {
    let copy = crash(bed, size)?;
    let mount = copy.mount(fstype, "")?;
    let found = std::fs::read(mount.dir().join(name))?;
    mount.unmount()?;
    copy.fsck()?;
    Ok(found)
}

/// What was synced is in the journal and not in its place; it is read from there all the same, here and
/// by who replays it.
fn read_back(bed: &mut Bed) -> Result<()> {
    const LEN: usize = 300_000;
    // With a device below that is read without writing back what the cache of this one has.
    let below = bed.place.device();
    let (_mapped, path) = Mapped::new("guest-journaled", 64 << 11, &format!("linear {below} 0"))?;
    let below =
        File::options().read(true).custom_flags(OFlags::DIRECT.bits() as i32).open(below)?;
    bed.image = Image::on(&path);
    let options = format!("{},{OPTIONS}", bed.place.options());
    bed.mkfs("64M", &[])?;
    bed.mount_with(&options)?;
    bed.create("file")?.write_all_at(&pattern(1, 0, LEN), 0)?;
    // An unmount leaves the journal empty.
    bed.unmount()?;
    bed.mount_with(&options)?;
    let file = bed.open("file")?;
    file.write_all_at(&pattern(2, 0, LEN), 0)?;
    file.sync_data()?;
    drop_pages()?;
    let mut block = Aligned::new(4096, 0);
    let place = attrs::place_of_byte(&file, 0)?.context("it has no place")?;
    below.read_exact_at(&mut block, place)?;
    same_bytes(&block, &pattern(1, 0, 4096), "in its place")?;
    same_bytes(&read_at(&file, 0, LEN)?, &pattern(2, 0, LEN), "read again")?;
    // A part of a page, the rest of which is read, and a page that is read because it is mapped.
    drop_pages()?;
    file.write_all_at(&pattern(3, 0, 100), 5_000)?;
    drop_pages()?;
    let map = Mapping::shared(&file, LEN)?;
    map.write(9_000, &pattern(3, 0, 10));
    let mut expected = pattern(2, 0, LEN);
    expected[5_000..5_100].copy_from_slice(&pattern(3, 0, 100));
    expected[9_000..9_010].copy_from_slice(&pattern(3, 0, 10));
    same_bytes(&map.read(0, LEN), &expected, "changed in part")?;
    let found = after_crash(bed, 64 << 20, "ext4", "file")?;
    same_bytes(&found, &pattern(2, 0, LEN), "replayed")?;
    drop(map);
    same_bytes(&read_at(&file, 0, LEN)?, &expected, "in the end")?;
    drop(file);
    bed.judge()
}

/// What was written before something that is committed is there after a crash, whole, with no sync of its
/// own but that it was written back: in the other modes it may be in its place or not.
fn before_metadata(bed: &mut Bed) -> Result<()> {
    let fstype = &bed.config.fstype.clone();
    bed.mkfs("64M", &[])?;
    bed.mount_with(OPTIONS)?;
    let file = bed.create("file")?;
    file.write_all_at(&pattern(1, 0, 100_000), 0)?;
    file.sync_all()?;
    file.write_all_at(&pattern(2, 0, 50_000), 0)?;
    sys::sync_file_range(&file, 0, 50_000)?;
    // In the running transaction: a crash now has all of the old.
    let found = after_crash(bed, 64 << 20, fstype, "file")?;
    same_bytes(&found, &pattern(1, 0, 100_000), "before the commit")?;
    commit(bed)?;
    let found = after_crash(bed, 64 << 20, fstype, "file")?;
    let mut expected = pattern(1, 0, 100_000);
    expected[..50_000].copy_from_slice(&pattern(2, 0, 50_000));
    same_bytes(&found, &expected, "after the commit")?;
    // The time of the change is committed, and the data is not, when it is synced.
    file.write_all_at(&pattern(3, 0, 10_000), 0)?;
    commit(bed)?;
    file.sync_all()?;
    expected[..10_000].copy_from_slice(&pattern(3, 0, 10_000));
    let found = after_crash(bed, 64 << 20, fstype, "file")?;
    same_bytes(&found, &expected, "synced")?;
    drop(file);
    bed.judge()
}

/// A block whose old contents are in the journal, and which is another file's by now, is not overwritten by
/// them: with pointers to blocks, a file has zeros there until it is written back.
fn freed(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &["-O", "^extent,^64bit"])?;
    bed.mount_with(OPTIONS)?;
    let file = bed.create("old")?;
    file.write_all_at(&pattern(1, 0, 40_000), 0)?;
    file.sync_all()?;
    let place = attrs::place_of_byte(&file, 0)?;
    drop(file);
    std::fs::remove_file(bed.path("old"))?;
    commit(bed)?;
    let file = bed.create("new")?;
    file.write_all_at(&pattern(2, 0, 40_000), 0)?;
    ensure!(attrs::place_of_byte(&file, 0)? == place, "the new file has other blocks");
    commit(bed)?;
    let found = after_crash(bed, 64 << 20, &bed.config.fstype, "new")?;
    same_bytes(&found, &vec![0; 40_000], "the new file, not written back")?;
    drop(file);
    bed.judge()
}

/// Everything that moves, frees or zeroes blocks whose contents are in the journal.
fn space(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &["-J", "size=4"])?;
    bed.mount_with(OPTIONS)?;
    let file = bed.create("file")?;
    let mut expected = Vec::new();
    let steps = [
        FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        FallocateFlags::ZERO_RANGE,
        FallocateFlags::COLLAPSE_RANGE,
        FallocateFlags::INSERT_RANGE,
        FallocateFlags::empty(),
    ];
    for round in 0..20_u64 {
        let at = round * 60_000;
        expected.resize(expected.len().max(at as usize + 100_000), 0);
        expected[at as usize..][..100_000].copy_from_slice(&pattern(round, 0, 100_000));
        file.write_all_at(&pattern(round, 0, 100_000), at)?;
        if round % 3 > 0 {
            file.sync_all()?;
        }
        let (from, to) = (at as usize / 8192 * 4096, at as usize / 8192 * 4096 + 16_384);
        match round % 5 {
            0 | 1 => expected[from..to].fill(0),
            2 => drop(expected.drain(from..to)),
            3 => drop(expected.splice(from..from, vec![0; to - from])),
            _ => {}
        }
        fs::fallocate(&file, steps[round as usize % 5], from as u64, (to - from) as u64)?;
        if round % 7 == 6 {
            let half = expected.len() / 2 + 77;
            expected.truncate(half);
            file.set_len(half as u64)?;
        }
        drop_pages()?;
        let found = read_at(&file, 0, expected.len())?;
        same_bytes(&found, &expected, &format!("after round {round}"))?;
    }
    refused(
        fs::fallocate(&file, FallocateFlags::from_bits_retain(0x80), 0, 4096),
        Errno::OPNOTSUPP,
        "zeroing on the device",
    )?;
    file.sync_all()?;
    let found = after_crash(bed, 64 << 20, "ext4", "file")?;
    same_bytes(&found, &expected, "replayed")?;
    drop(file);
    bed.judge()
}

/// Blocks of a kilobyte, of which a page has several, with pointers to them and with extents.
fn pointers(bed: &mut Bed) -> Result<()> {
    for format in [&["-b", "1024", "-O", "^extent,^64bit"][..], &["-b", "1024"]] {
        bed.mkfs("32M", format)?;
        bed.mount_with(OPTIONS)?;
        let file = bed.create("file")?;
        let mut expected = vec![0; 500_000];
        for n in 0..40_u64 {
            let (at, len) = ((n * 7_919_777 % 480_000) as usize, 1 + n as usize * 417);
            expected[at..at + len].copy_from_slice(&pattern(n, 0, len));
            file.write_all_at(&pattern(n, 0, len), at as u64)?;
            match n % 4 {
                0 => file.sync_all()?,
                1 => sys::sync_file_range(&file, 0, 500_000)?,
                _ => {}
            }
            if n % 5 == 0 {
                drop_pages()?;
            }
        }
        file.set_len(500_000)?;
        file.sync_all()?;
        let found = after_crash(bed, 32 << 20, "ext4", "file")?;
        same_bytes(&found, &expected, "replayed")?;
        drop_pages()?;
        same_bytes(&read_at(&file, 0, 500_000)?, &expected, "read again")?;
        drop(file);
        bed.judge()?;
    }
    Ok(())
}

/// Nothing goes around the journal, and the mode is that of a mount.
fn not_around(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &["-O", "^has_journal"])?;
    refused(bed.try_mount("data=journal"), Errno::INVAL, "without a journal")?;
    bed.mkfs("64M", &[])?;
    bed.mount_with("data=journal")?;
    let shown = bed.mounted().shown()?;
    ensure!(shown.contains("data=journal"), "{shown}");
    refused(bed.mounted().remount("data=ordered"), Errno::INVAL, "another mode")?;
    bed.mounted().remount("data=journal,commit=7")?;
    let direct = OFlags::DIRECT.bits() as i32;
    let path = bed.path("file");
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).custom_flags(direct).open(&path)?;
    let told = fs::statx(CWD, &path, AtFlags::empty(), StatxFlags::from_bits_retain(0x2000))?;
    ensure!(
        told.stx_dio_mem_align == 0 && told.stx_dio_offset_align == 0,
        "direct I/O is promised"
    );
    file.write_all_at(&Aligned::of(&pattern(1, 0, 64 << 10)), 0)?;
    file.write_all_at(&Aligned::of(&pattern(2, 0, 8 << 10)), 4096)?;
    let mut found = Aligned::new(64 << 10, 0);
    file.read_exact_at(&mut found, 0)?;
    let mut expected = pattern(1, 0, 64 << 10);
    expected[4096..][..8 << 10].copy_from_slice(&pattern(2, 0, 8 << 10));
    same_bytes(&found, &expected, "written with O_DIRECT")?;
    let swap = bed.create("swap")?;
    swap.write_all_at(&vec![0; 1 << 20], 0)?;
    swap.sync_all()?;
    let path = bed.path("swap").to_string_lossy().into_owned();
    stage::run("mkswap", &[&path])?;
    refused(attack::swap(&bed.path("swap"), true), Errno::INVAL, "swapping")?;
    drop((file, swap));
    bed.judge()
}

/// A file is not mapped directly, whatever its flag says.
fn not_mapped(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    refused(bed.try_mount("data=journal,dax=always"), Errno::INVAL, "both at once")?;
    bed.mount_with("data=journal")?;
    let file = bed.create("file")?;
    sys::set_xflag_dax(&file, true)?;
    ensure!(!is_dax(&file)?, "it is in DAX mode");
    file.write_all_at(&pattern(1, 0, 10_000), 0)?;
    drop(file);
    bed.unmount()?;
    bed.mount_with("dax=inode")?;
    let file = bed.open("file")?;
    ensure!(is_dax(&file)?, "it is not in DAX mode");
    same_bytes(&read_at(&file, 0, 10_000)?, &pattern(1, 0, 10_000), "written to the journal")?;
    drop(file);
    bed.judge()
}
