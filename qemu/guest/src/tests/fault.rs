// SPDX-License-Identifier: GPL-2.0
//! Mappings: shared and private, read and write faults, huge pages, MAP_SYNC, and what truncate,
//! unlink and hole punching do to mapped pages.

use super::{free, pattern, read_at, refused, same_bytes, statx};
use crate::harness::{Bed, Test, ALL, BOTH, CACHE, DAX};
use crate::sys::{self, End, Mapping, PAGE};
use crate::{skip, smaps};
use anyhow::{ensure, Context, Result};
use rustix::fs::{self, FallocateFlags};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, MprotectFlags, MsyncFlags, ProtFlags};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

const HUGE: u64 = 2 << 20;

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("fault::shared", ALL, shared),
        Test::new("fault::private", ALL, private),
        Test::new("fault::hole", ALL, hole),
        Test::new("fault::read_then_write", ALL, read_then_write),
        Test::new("fault::mixed_map_flag", ALL, mixed_map_flag),
        Test::new("fault::end_of_file", ALL, end_of_file),
        Test::new("fault::truncate", ALL, truncate),
        Test::new("fault::unlink", ALL, unlink),
        Test::new("fault::punch", ALL, punch),
        Test::new("fault::own_buffer", ALL, own_buffer),
        Test::new("fault::times", BOTH, times),
        Test::new("fault::msync", ALL, msync),
        Test::new("fault::map_sync", DAX, map_sync),
        Test::new("fault::map_sync_refused", CACHE, map_sync_refused),
        Test::bare("fault::huge", DAX, huge).seconds(240),
        Test::bare("fault::huge_by_ext4", DAX, huge_by_ext4).seconds(240),
        Test::bare("fault::no_space", BOTH, no_space),
        Test::new("fault::protections", BOTH, protections),
        Test::new("fault::fork_and_move", ALL, fork_and_move),
        Test::new("fault::threads", ALL, threads),
        Test::new("fault::execute", ALL, execute),
    ]
}

/// A file of `len` bytes of a pattern.
fn file(bed: &Bed, name: &str, seed: u64, len: usize) -> Result<File> {
    let file = bed.create(name)?;
    file.write_all_at(&pattern(seed, 0, len), 0)?;
    Ok(file)
}

/// What is stored through the mapping is read by `read`, and the other way round.
fn shared(bed: &mut Bed) -> Result<()> {
    let len = 300_000;
    let file = file(bed, "file", 1, len)?;
    let map = Mapping::shared(&file, len)?;
    same_bytes(&map.read(0, len), &pattern(1, 0, len), "through the mapping")?;
    let mut model = pattern(1, 0, len);
    for (at, size) in [(0, 1), (4090, 20), (100_000, 50_000), (299_990, 10)] {
        map.write(at, &pattern(2, 0, size));
        model[at..at + size].copy_from_slice(&pattern(2, 0, size));
        same_bytes(&read_at(&file, 0, len)?, &model, "read after a store")?;
    }
    file.write_all_at(&pattern(3, 0, 9_000), 77_777)?;
    model[77_777..86_777].copy_from_slice(&pattern(3, 0, 9_000));
    same_bytes(&map.read(0, len), &model, "load after a write")?;
    let second = Mapping::read_only(&file, len)?;
    map.write(5, b"seen");
    same_bytes(&second.read(5, 4), b"seen", "a second mapping")?;
    model[5..9].copy_from_slice(b"seen");
    drop((map, second, file));
    bed.again()?;
    same_bytes(&std::fs::read(bed.path("file"))?, &model, "mounted again")
}

/// What is stored in a private mapping stays there.
fn private(bed: &mut Bed) -> Result<()> {
    let len = 100_000;
    let file = file(bed, "file", 1, len)?;
    let map = Mapping::private(&file, len)?;
    map.write(10, b"mine");
    map.write(50_000, &[0xee; 10_000]);
    same_bytes(&map.read(10, 4), b"mine", "the copy")?;
    same_bytes(&read_at(&file, 0, len)?, &pattern(1, 0, len), "the file")?;
    file.write_all_at(b"theirs", 90_000)?;
    same_bytes(&map.read(90_000, 6), b"theirs", "a page not copied yet")?;
    file.write_all_at(b"theirs", 10)?;
    same_bytes(&map.read(10, 4), b"mine", "the copied page")?;
    let unread = Mapping::private(&file, len)?;
    unread.write(20_000, b"written before it was read");
    same_bytes(&read_at(&file, 20_000, 26)?, &pattern(1, 20_000, 26), "the file")
}

/// A read of a hole gives zeroes and allocates nothing; a store allocates one block.
fn hole(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    file.set_len(64 * PAGE as u64)?;
    let before = free(bed.dir())?;
    let map = Mapping::shared(&file, 64 * PAGE)?;
    ensure!(map.touch_read() == 0, "a hole is not zero");
    file.sync_all()?;
    ensure!(free(bed.dir())? == before, "reading a hole allocated");
    map.write(10 * PAGE + 100, b"first");
    same_bytes(&map.read(10 * PAGE, 100), &[0; 100], "before it")?;
    same_bytes(&map.read(11 * PAGE, PAGE), &[0; PAGE], "behind it")?;
    file.sync_all()?;
    ensure!(
        before.0 - free(bed.dir())?.0 <= 2,
        "{} blocks for one page",
        before.0 - free(bed.dir())?.0
    );
    same_bytes(&read_at(&file, 10 * PAGE as u64 + 100, 5)?, b"first", "read")?;
    // A block that another file had before must not shine through.
    std::fs::write(bed.path("old"), vec![0xaa; 8 << 20])?;
    std::fs::remove_file(bed.path("old"))?;
    fs::syncfs(&file)?;
    let fresh = bed.create("fresh")?;
    fresh.set_len(8 << 20)?;
    let map = Mapping::shared(&fresh, 8 << 20)?;
    map.touch_write(1);
    let page = [&[1_u8][..], &[0; PAGE - 1]].concat();
    for at in (0..8 << 20).step_by(PAGE) {
        same_bytes(&map.read(at, PAGE), &page, &format!("page {}", at / PAGE))?;
    }
    Ok(())
}

/// The zero page of a hole gives way to the block that a store or a write allocates.
fn read_then_write(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    file.set_len(4 << 20)?;
    let map = Mapping::shared(&file, 4 << 20)?;
    let reader = Mapping::read_only(&file, 4 << 20)?;
    ensure!(map.touch_read() + reader.touch_read() == 0);
    map.write(5 * PAGE, b"stored");
    same_bytes(&reader.read(5 * PAGE, 6), b"stored", "the other mapping after a store")?;
    file.write_all_at(b"written", 300 * PAGE as u64)?;
    same_bytes(&map.read(300 * PAGE, 7), b"written", "a mapping after a write")?;
    same_bytes(&reader.read(300 * PAGE, 7), b"written", "the other one")?;
    map.touch_write(9);
    ensure!(reader.touch_read() == 9 * 1024, "the other mapping after all pages were stored to");
    Ok(())
}

/// `mm` in smaps tells DAX mappings from others.
fn mixed_map_flag(bed: &mut Bed) -> Result<()> {
    if !bed.config.is_rdaxfs() {
        skip!("ext4 does not set VM_MIXEDMAP since 6.15");
    }
    let file = file(bed, "file", 1, 1 << 20)?;
    let maps = [Mapping::shared(&file, 1 << 20)?, Mapping::private(&file, 1 << 20)?];
    let read_only = Mapping::read_only(&File::open(bed.path("file"))?, PAGE)?;
    for map in maps.iter().chain([&read_only]) {
        let entry = smaps::of(map)?;
        ensure!(smaps::has_flag(map, "mm")? == bed.place.is_dax(), "in\n{entry}");
        ensure!(!bed.place.is_dax() || smaps::has_flag(map, "hg")?, "no hg in\n{entry}");
    }
    Ok(())
}

/// SIGBUS at the first page behind the end; zeroes behind the end in the last page.
fn end_of_file(bed: &mut Bed) -> Result<()> {
    let file = file(bed, "file", 1, 5_000)?;
    let map = Mapping::shared(&file, 4 * PAGE)?;
    same_bytes(&map.read(5_000, 2 * PAGE - 5_000), &vec![0; 2 * PAGE - 5_000], "behind the end")?;
    let read = sys::in_child(|| map.read(2 * PAGE, 1)[0].into())?;
    ensure!(read == End::Signal(libc::SIGBUS), "a load behind the end: {read:?}");
    let store = sys::in_child(|| {
        map.write(3 * PAGE, b"x");
        0
    })?;
    ensure!(store == End::Signal(libc::SIGBUS), "a store behind the end: {store:?}");
    ensure!(file.metadata()?.len() == 5_000);
    file.set_len(3 * PAGE as u64)?;
    same_bytes(&map.read(2 * PAGE, PAGE), &[0; PAGE], "after growing")?;
    map.write(6_000, b"new");
    same_bytes(&read_at(&file, 6_000, 3)?, b"new", "a store after growing")
}

fn truncate(bed: &mut Bed) -> Result<()> {
    let len = 4 << 20;
    let file = file(bed, "file", 1, len)?;
    let map = Mapping::shared(&file, len)?;
    map.touch_write(7);
    file.set_len(PAGE as u64 + 100)?;
    let gone = sys::in_child(|| map.read(2 * PAGE, 1)[0].into())?;
    ensure!(gone == End::Signal(libc::SIGBUS), "a load of a page cut off: {gone:?}");
    let gone = sys::in_child(|| {
        map.write(len - 1, b"x");
        0
    })?;
    ensure!(gone == End::Signal(libc::SIGBUS), "a store to a page cut off: {gone:?}");
    file.set_len(len as u64)?;
    let tail = map.read(PAGE + 100, len - PAGE - 100);
    ensure!(tail.iter().all(|b| *b == 0), "old bytes came back after growing");
    map.write(len - 3, b"end");
    same_bytes(&read_at(&file, len as u64 - 3, 3)?, b"end", "a store after growing")
}

/// Unlinked and closed, the file lives on in its mapping, then everything is free again.
fn unlink(bed: &mut Bed) -> Result<()> {
    bed.again()?;
    let before = free(bed.dir())?;
    let len = 4 << 20;
    let map = Mapping::shared(file(bed, "file", 1, len)?, len)?;
    map.touch_read();
    std::fs::remove_file(bed.path("file"))?;
    same_bytes(&map.read(0, len), &pattern(1, 0, len), "after unlink")?;
    map.touch_write(3);
    ensure!(free(bed.dir())?.1 == before.1 - 1, "the inode was freed while mapped");
    drop(map);
    fs::syncfs(File::open(bed.dir())?)?;
    let after = free(bed.dir())?;
    ensure!(after == before, "free {before:?}, then {after:?}");
    Ok(())
}

fn punch(bed: &mut Bed) -> Result<()> {
    let len = 4 << 20;
    let file = file(bed, "file", 1, len)?;
    let map = Mapping::shared(&file, len)?;
    map.touch_read();
    map.write(1 << 20, b"dirty");
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match fs::fallocate(&file, flags, 1 << 20, 1 << 20) {
        Err(Errno::OPNOTSUPP) => skip!("FALLOC_FL_PUNCH_HOLE is not implemented"),
        done => done.context("punch")?,
    }
    let mut model = pattern(1, 0, len);
    model[1 << 20..2 << 20].fill(0);
    same_bytes(&map.read(0, len), &model, "through the mapping")?;
    same_bytes(&read_at(&file, 0, len)?, &model, "by read")?;
    map.write((1 << 20) + 10, b"anew");
    same_bytes(&read_at(&file, (1 << 20) + 10, 4)?, b"anew", "a store into the hole")
}

/// `read` and `write` of a file with its own mapping as the buffer: no deadlock, right bytes.
fn own_buffer(bed: &mut Bed) -> Result<()> {
    let file = file(bed, "file", 1, 8 * PAGE)?;
    let map = Mapping::shared(&file, 8 * PAGE)?;
    for (from, to, len) in [(0, 4 * PAGE, PAGE), (PAGE, PAGE, PAGE), (0, 10 * PAGE, 3 * PAGE)] {
        // The first access to the buffer happens inside the system call.
        map.advise(Advice::LinuxDontNeed)?;
        let expected = read_at(&file, from as u64, len)?;
        let done = sys::write_from_map(&file, &map, from, len, to as u64)?;
        ensure!(done == len, "wrote {done} of {len}");
        same_bytes(&read_at(&file, to as u64, len)?, &expected, "written from the mapping")?;
    }
    map.advise(Advice::LinuxDontNeed)?;
    let expected = read_at(&file, 0, 2 * PAGE)?;
    ensure!(sys::read_into_map(&file, &map, 5 * PAGE, 2 * PAGE, 0)? == 2 * PAGE);
    same_bytes(&read_at(&file, 5 * PAGE as u64, 2 * PAGE)?, &expected, "read into the mapping")
}

/// A store moves mtime and ctime; a load does not.
fn times(bed: &mut Bed) -> Result<()> {
    let file = file(bed, "file", 1, 2 * PAGE)?;
    file.sync_all()?;
    let path = bed.path("file");
    let stamp = || -> Result<_> {
        let stat = statx(&path)?;
        let (m, c) = (stat.stx_mtime, stat.stx_ctime);
        Ok(((m.tv_sec, m.tv_nsec), (c.tv_sec, c.tv_nsec)))
    };
    let map = Mapping::shared(&file, 2 * PAGE)?;
    let before = stamp()?;
    std::thread::sleep(Duration::from_millis(20));
    map.touch_read();
    ensure!(stamp()? == before, "a load moved the times");
    map.write(0, b"x");
    map.sync(MsyncFlags::SYNC)?;
    let after = stamp()?;
    ensure!(after.0 > before.0 && after.1 > before.1, "a store moved no times");
    Ok(())
}

fn msync(bed: &mut Bed) -> Result<()> {
    let file = file(bed, "file", 1, 1 << 20)?;
    let map = Mapping::shared(&file, 1 << 20)?;
    for (round, flags) in
        [MsyncFlags::ASYNC, MsyncFlags::SYNC, MsyncFlags::INVALIDATE].into_iter().enumerate()
    {
        map.write(round * 5_000, &pattern(round as u64, 0, 5_000));
        map.sync(flags).with_context(|| format!("{flags:?}"))?;
        file.sync_data()?;
        // Clean pages must fault again to become dirty, or the next store would be lost.
        map.write(round * 5_000, &pattern(round as u64 + 10, 0, 5_000));
    }
    let expected = map.read(0, 1 << 20);
    drop((map, file));
    std::fs::write("/proc/sys/vm/drop_caches", "3")?;
    bed.again()?;
    same_bytes(&std::fs::read(bed.path("file"))?, &expected, "mounted again")
}

fn map_sync(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    file.set_len(8 << 20)?;
    let map = Mapping::synchronous(&file, 8 << 20).context("MAP_SYNC")?;
    map.touch_write(5);
    ensure!(smaps::has_flag(&map, "sf")?, "no sf in\n{}", smaps::of(&map)?);
    ensure!(map.touch_read() == 5 * 2048);
    drop((map, file));
    bed.again()?;
    let found = std::fs::read(bed.path("file"))?;
    ensure!(found.iter().step_by(PAGE).all(|b| *b == 5), "after mounting again");
    Ok(())
}

fn map_sync_refused(bed: &mut Bed) -> Result<()> {
    let file = file(bed, "file", 1, PAGE)?;
    refused(Mapping::synchronous(&file, PAGE), Errno::OPNOTSUPP, "MAP_SYNC on the page cache")
}

/// Touches 64 MiB through one mapping. Returns the faults that took and the bytes mapped by 2 MiB.
fn touch(file: &File, write: bool) -> Result<(u64, u64)> {
    let map = Mapping::shared(file, 64 << 20)?;
    let before = sys::faults().0;
    if write {
        map.touch_write(1);
    } else {
        map.touch_read();
    }
    let faults = sys::faults().0 - before;
    let (present, huge) = sys::mapped_bytes(&map).context("PAGEMAP_SCAN")?;
    ensure!(present == 64 << 20, "{present} bytes are mapped after touching all");
    Ok((faults, huge))
}

/// 64 MiB on a plain image are mapped by 2 MiB pages: 32 faults.
fn huge(bed: &mut Bed) -> Result<()> {
    if !bed.config.is_rdaxfs() {
        skip!("ext4 aligns only images made for it");
    }
    bed.mkfs("512M", &[])?;
    bed.mount()?;
    let file = bed.create("file")?;
    for n in 0..16 {
        file.write_all_at(&pattern(1, n << 22, 4 << 20), n << 22)?;
    }
    for write in [false, true] {
        let (faults, huge) = touch(&file, write)?;
        ensure!(huge == 64 << 20, "{} of 32 mappings are of 2 MiB", huge / HUGE);
        ensure!(faults <= 40, "{faults} faults");
    }
    // A page that is only partly 2 MiB-aligned still works.
    let odd = Mapping::new(&file, 4096, (8 << 20) - 4096, ProtFlags::READ, MapFlags::SHARED)?;
    same_bytes(&odd.read(0, 4096), &read_at(&file, 4096, 4096)?, "an odd offset")?;
    // Holes and stores through huge mappings.
    let sparse = bed.create("sparse")?;
    sparse.set_len(64 << 20)?;
    let (_, huge) = touch(&sparse, true)?;
    ensure!(huge == 64 << 20, "{} of 32 mappings of a former hole are of 2 MiB", huge / HUGE);
    let map = Mapping::shared(&sparse, 64 << 20)?;
    let page = [&[1_u8][..], &[0; PAGE - 1]].concat();
    for at in (0..64 << 20).step_by(PAGE * 13) {
        same_bytes(&map.read(at, PAGE), &page, &format!("page {}", at / PAGE))?;
    }
    Ok(())
}

/// A file that ext4 laid out aligned is mapped by 2 MiB pages.
fn huge_by_ext4(bed: &mut Bed) -> Result<()> {
    bed.mkfs("512M", &["-E", "stride=512,stripe_width=512,packed_meta_blocks=1"])?;
    bed.mount()?;
    bed.by_ext4(|root| {
        let file = File::create(root.join("file"))?;
        fs::fallocate(&file, FallocateFlags::empty(), 0, 64 << 20)?;
        for n in 0..16 {
            file.write_all_at(&pattern(1, n << 22, 4 << 20), n << 22)?;
        }
        Ok(file.sync_all()?)
    })?;
    let file = bed.open("file")?;
    let (faults, huge) = touch(&file, false)?;
    ensure!(huge == 64 << 20 && faults <= 40, "{faults} faults, {} of 32 huge", huge / HUGE);
    let (faults, huge) = touch(&file, true)?;
    ensure!(huge == 64 << 20 && faults <= 40, "{faults} faults, {} of 32 huge", huge / HUGE);
    Ok(())
}

/// A store to a hole on a full device: SIGBUS, and nothing is lost.
fn no_space(bed: &mut Bed) -> Result<()> {
    bed.mkfs("32M", &[])?;
    bed.mount()?;
    let file = bed.create("file")?;
    file.set_len(64 << 20)?;
    let end = sys::in_child(|| {
        Mapping::shared(&file, 64 << 20).map_or(2, |map| {
            map.touch_write(1);
            0
        })
    })?;
    ensure!(end == End::Signal(libc::SIGBUS), "64 MiB on 32 MiB: {end:?}");
    file.set_len(0)?;
    fs::syncfs(&file)?;
    file.write_all_at(b"room again", 0)?;
    Ok(file.sync_all()?)
}

fn protections(bed: &mut Bed) -> Result<()> {
    let writable = file(bed, "file", 1, 4 * PAGE)?;
    let reader = File::open(bed.path("file"))?;
    refused(
        Mapping::shared(&reader, PAGE),
        Errno::ACCESS,
        "a writable mapping of a read-only descriptor",
    )?;
    Mapping::private(&reader, PAGE).context("a private one")?;
    let map = Mapping::shared(&writable, 4 * PAGE)?;
    map.protect(0, PAGE, MprotectFlags::READ)?;
    let store = sys::in_child(|| {
        map.write(0, b"x");
        0
    })?;
    ensure!(store == End::Signal(libc::SIGSEGV), "a store after mprotect: {store:?}");
    map.protect(0, PAGE, MprotectFlags::READ | MprotectFlags::WRITE)?;
    map.write(0, b"again");
    same_bytes(&read_at(&writable, 0, 5)?, b"again", "read")
}

fn fork_and_move(bed: &mut Bed) -> Result<()> {
    let len = 16 * PAGE;
    let file = file(bed, "file", 1, len)?;
    let mut map = Mapping::shared(&file, len)?;
    let private = Mapping::private(&file, len)?;
    private.write(0, b"parent");
    let end = sys::in_child(|| {
        map.write(3 * PAGE, b"child");
        private.write(PAGE, b"child");
        i32::from(private.read(0, 6) != b"parent")
    })?;
    ensure!(end == End::Exit(0), "{end:?}");
    same_bytes(&map.read(3 * PAGE, 5), b"child", "a shared mapping")?;
    same_bytes(&private.read(PAGE, 5), &pattern(1, PAGE as u64, 5), "a private mapping")?;
    file.set_len(32 * PAGE as u64)?;
    map.remap(32 * PAGE)?;
    map.write(31 * PAGE, b"moved");
    same_bytes(&read_at(&file, 31 * PAGE as u64, 5)?, b"moved", "after mremap")?;
    map.truncate(PAGE)?;
    same_bytes(&map.read(0, PAGE), &read_at(&file, 0, PAGE)?, "what munmap left")
}

/// Threads fault the same pages in, for reading and for writing, while others write and truncate.
fn threads(bed: &mut Bed) -> Result<()> {
    let len = 4 << 20;
    let rounds = bed.config.amount(60, 10, 4);
    let file = file(bed, "file", 1, len)?;
    let half = len / 2;
    for round in 0..rounds {
        file.set_len(half as u64)?;
        file.set_len(len as u64)?;
        std::thread::scope(|scope| {
            for who in 0..4_u8 {
                let file = &file;
                scope.spawn(move || {
                    let Ok(map) = Mapping::shared(file, len) else { return };
                    for at in (half..len).step_by(PAGE) {
                        map.read(at, 1);
                        map.write(at + 1 + usize::from(who), &[who + 1]);
                    }
                });
            }
        });
        let page = [&[0, 1, 2, 3, 4][..], &[0; PAGE - 5]].concat();
        for at in (half..len).step_by(PAGE) {
            let found = read_at(&file, at as u64, PAGE)?;
            same_bytes(&found, &page, &format!("round {round}, page {}", at / PAGE))?;
        }
    }
    same_bytes(&read_at(&file, 0, half)?, &pattern(1, 0, half), "the first half")
}

/// A program is run from the file system: private executable mappings, ETXTBSY.
fn execute(bed: &mut Bed) -> Result<()> {
    let program = bed.path("program");
    std::fs::copy("/usr/bin/sleep", &program)?;
    let mut child = std::process::Command::new(&program).arg("30").spawn().context("exec")?;
    let busy = File::options().write(true).open(&program);
    let busy = refused(busy, Errno::TXTBSY, "opening a running program for writing");
    child.kill()?;
    child.wait()?;
    busy?;
    let done = std::process::Command::new(&program).arg("0").status()?;
    ensure!(done.success(), "the program ended with {done}");
    Ok(())
}
