// SPDX-License-Identifier: GPL-2.0
//! Rows about page faults: the first touch of every page of a file, a touch of every page that is
//! cached, on one CPU and on several, and a page that is mapped and unmapped again and again.

use super::rows;
use super::rows::Row;
use super::samples::Part;
use super::Bench;
use crate::stage::Mount;
use crate::sys::{Mapping, PAGE};
use anyhow::Result;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::thread;

/// Length of the file that is touched.
const FILE: usize = 64 << 20;
/// Length of the hole: every page of it that is written must be allocated.
const HOLE: usize = 16 << 20;
/// How often a page is mapped and unmapped.
const REMAPS: usize = 2_000;
/// How often threads on several CPUs go over their pages.
const TIMES: usize = 4;

/// One first touch of a whole file.
struct Touch {
    row: &'static Row,
    write: bool,
    huge: bool,
}

/// All rows on the default layout.
pub fn measure(bench: &mut Bench) -> Result<()> {
    let touches = [
        Touch { row: &rows::READ_FAULT, write: false, huge: false },
        Touch { row: &rows::WRITE_FAULT, write: true, huge: false },
        Touch { row: &rows::READ_HUGE, write: false, huge: true },
        Touch { row: &rows::WRITE_HUGE, write: true, huge: true },
    ];
    write_file(&bench.who.mount()?, FILE)?;
    for touch in touches {
        first_touch(bench, &touch, FILE)?;
    }
    let mount = bench.who.mount()?;
    File::create(mount.dir().join("file"))?.set_len(HOLE as u64)?;
    mount.unmount()?;
    first_touch(bench, &Touch { row: &rows::READ_HOLE, write: false, huge: false }, HOLE)?;
    first_touch(bench, &Touch { row: &rows::WRITE_HOLE, write: true, huge: false }, HOLE)?;
    refault(bench, &rows::AROUND, false)?;
    without_fault_around(|| {
        refault(bench, &rows::REFAULT, false)?;
        refault(bench, &rows::REFAULT_SMALL, true)
    })?;
    remap(bench)
}

/// The rows with huge pages, on the layout made for them.
pub fn measure_aligned(bench: &mut Bench) -> Result<()> {
    write_file(&bench.who.mount()?, FILE)?;
    first_touch(bench, &Touch { row: &rows::READ_ALIGNED, write: false, huge: true }, FILE)?;
    first_touch(bench, &Touch { row: &rows::WRITE_ALIGNED, write: true, huge: true }, FILE)
}

/// Allocates and writes `len` bytes of `file`.
pub fn write_file(mount: &Mount, len: usize) -> Result<()> {
    let file = File::create(mount.dir().join("file"))?;
    // Asked for at once, for file systems that align what they know to be large.
    let _ = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, len as u64);
    let chunk = vec![0x5a; 4 << 20];
    for at in (0..len).step_by(chunk.len()) {
        file.write_all_at(&chunk, at as u64)?;
    }
    Ok(file.sync_all()?)
}

/// Touches every page of the file once, on a new mount: nothing of it is cached.
fn first_touch(bench: &mut Bench, touch: &Touch, len: usize) -> Result<()> {
    let mount = bench.who.mount()?;
    let file = File::options().read(true).write(true).open(mount.dir().join("file"))?;
    let map =
        if touch.write { Mapping::shared(&file, len)? } else { Mapping::read_only(&file, len)? };
    if !touch.huge {
        map.advise(Advice::LinuxNoHugepage)?;
    }
    bench.time(touch.row, len / PAGE, || {
        if touch.write {
            map.touch_write(1);
        } else {
            black_box(map.touch_read());
        }
        Ok(())
    })?;
    drop((map, file));
    mount.unmount().map(|_| ())
}

/// On several CPUs: what a fault costs each of them, alone and at once. Faults that wait for each other on
/// a lock of the file cost more in one file than in a file for each.
pub fn measure_together(bench: &mut Bench) -> Result<()> {
    let cpus = thread::available_parallelism()?.get();
    if bench.part == Part::Instructions || cpus == 1 {
        return Ok(());
    }
    let mount = bench.who.mount()?;
    let files = (0..cpus)
        .map(|n| {
            let path = mount.dir().join(n.to_string());
            fs::write(&path, vec![0x5a; HOLE * cpus])?;
            let file = File::open(path)?;
            file.sync_all()?;
            // Not in the large pages in which it was written.
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
            cache_small(&file, HOLE * cpus)?;
            Ok(file)
        })
        .collect::<Result<Vec<_>>>()?;
    without_fault_around(|| {
        for (row, threads, apart) in
            [(&rows::ALONE, 1, true), (&rows::APART, cpus, true), (&rows::TOGETHER, cpus, false)]
        {
            let one = |n: usize| {
                let file = &files[if apart { n } else { 0 }];
                // Another part for each in either case: they never meet in a page.
                (0..TIMES).try_for_each(|_| touch_all(file, n * HOLE).map(drop))
            };
            bench.time(row, TIMES * HOLE / PAGE, || {
                thread::scope(|scope| {
                    let all: Vec<_> = (0..threads).map(|n| scope.spawn(move || one(n))).collect();
                    all.into_iter().try_for_each(|thread| thread.join().expect("a thread"))
                })
            })?;
        }
        Ok(())
    })?;
    drop(files);
    mount.unmount().map(|_| ())
}

/// Touches every page of a file that is cached, or was mapped by DAX before, in a new mapping; cached in
/// large pages as it was read ahead, all of which a fault maps, or in small ones.
fn refault(bench: &mut Bench, row: &'static Row, small: bool) -> Result<()> {
    let mount = bench.who.mount()?;
    let file = File::open(mount.dir().join("file"))?;
    if small {
        cache_small(&file, HOLE)?;
    }
    touch_all(&file, 0)?;
    bench.time(row, HOLE / PAGE, || touch_all(&file, 0))?;
    drop(file);
    mount.unmount().map(|_| ())
}

/// Reads a file, of which nothing is cached, into pages of 4 KiB: nothing is read ahead.
fn cache_small(file: &File, len: usize) -> Result<()> {
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Random)?;
    let mut page = [0; PAGE];
    (0..len).step_by(PAGE).try_for_each(|at| file.read_exact_at(&mut page, at as u64))?;
    Ok(())
}

/// Touches every page of a part of a file, in a new mapping.
fn touch_all(file: &File, at: usize) -> Result<u64> {
    let map = Mapping::new(file, at as u64, HOLE, ProtFlags::READ, MapFlags::SHARED)?;
    map.advise(Advice::LinuxNoHugepage)?;
    Ok(black_box(map.touch_read()))
}

/// Keeps the kernel from mapping the pages around, so that each fault reaches the handler. It still maps
/// all of a folio at once. Nothing is done on a kernel without debugfs.
fn without_fault_around<T>(work: impl FnOnce() -> Result<T>) -> Result<()> {
    const AROUND: &str = "/sys/kernel/debug/fault_around_bytes";
    let Ok(usual) = fs::read_to_string(AROUND) else { return Ok(()) };
    fs::write(AROUND, PAGE.to_string())?;
    let done = work();
    fs::write(AROUND, usual.trim())?;
    done.map(drop)
}

/// Maps, touches and unmaps one page that is cached, or was mapped by DAX before.
fn remap(bench: &mut Bench) -> Result<()> {
    let mount = bench.who.mount()?;
    let file = File::open(mount.dir().join("file"))?;
    let once = || -> Result<u64> { Ok(black_box(Mapping::read_only(&file, PAGE)?.touch_read())) };
    once()?;
    bench.time(&rows::REMAP, REMAPS, || (0..REMAPS).try_for_each(|_| once().map(|_| ())))?;
    drop(file);
    mount.unmount().map(|_| ())
}
