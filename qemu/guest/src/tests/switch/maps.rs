// SPDX-License-Identifier: GPL-2.0
//! 2, 3, 4: mappings that come and go, are split and merged, or last.

use super::{attack, needs_live, prepared, rest, storm, Go, Lane, Tally, Worker, LEN, PAGES};
use crate::harness::{Bed, Test, INODE};
use crate::sys::attack::{Uffd, Watch};
use crate::sys::{self, Mapping, PAGE};
use crate::tests::{is_dax, pattern, read_at, refused, same_bytes};
use anyhow::{ensure, Context, Result};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, MprotectFlags};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("switch::map_storm", INODE, map_storm).seconds(240),
        Test::new("switch::map_fixed_storm", INODE, map_fixed_storm).seconds(240),
        Test::new("switch::split_storm", INODE, split_storm).seconds(240),
        Test::new("switch::moving_boundary", INODE, moving_boundary),
        Test::new("switch::populate", INODE, populate).seconds(240),
        Test::new("switch::userfaultfd", INODE, userfaultfd),
        Test::new("switch::userfaultfd_buffer", INODE, userfaultfd_buffer),
    ]
}

/// Maps the file shared, loads and stores, unmaps.
pub fn by_mapping(lane: usize, lanes: usize) -> Worker<'static> {
    Box::new(move |go| {
        let mut lane = Lane::new(lane, lanes);
        for round in 0.. {
            if !go.on() {
                break;
            }
            let begun = Instant::now();
            let map = Mapping::shared(go.file, LEN).context("mmap")?;
            go.held(|| {
                for place in lane.some(round) {
                    let at = lane.at(place);
                    lane.check(go, place, &map.read(at, PAGE), "by load")?;
                    map.write(at, &lane.renew(place));
                }
                Ok(())
            })?;
            drop(map);
            rest(begun);
        }
        whole(go, &lane)
    })
}

/// Reads and writes.
pub fn by_calls(lane: usize, lanes: usize) -> Worker<'static> {
    Box::new(move |go| {
        let mut lane = Lane::new(lane, lanes);
        for round in 0.. {
            if !go.on() {
                break;
            }
            let begun = Instant::now();
            for place in lane.some(round) {
                let at = lane.at(place) as u64;
                lane.check(go, place, &read_at(go.file, at, PAGE)?, "by read")?;
                go.file.write_all_at(&lane.renew(place), at)?;
            }
            rest(begun);
        }
        whole(go, &lane)
    })
}

/// Checks every page of a lane.
pub fn whole(go: &Go, lane: &Lane) -> Result<()> {
    for place in lane.all() {
        lane.check(go, place, &read_at(go.file, lane.at(place) as u64, PAGE)?, "at the end")?;
    }
    Ok(())
}

/// Maps the file private: what is stored there stays there.
fn private(lane: usize, lanes: usize) -> Worker<'static> {
    Box::new(move |go| {
        let mut lane = Lane::new(lane, lanes);
        for round in 0.. {
            if !go.on() {
                break;
            }
            let begun = Instant::now();
            let map = Mapping::private(go.file, LEN)?;
            go.held(|| {
                for place in lane.some(round) {
                    let at = lane.at(place);
                    if round % 2 == 0 {
                        lane.check(go, place, &map.read(at, PAGE), "in a private mapping")?;
                    }
                    map.write(at, &[0xee; PAGE]);
                    let found = read_at(go.file, at as u64, PAGE)?;
                    lane.check(go, place, &found, "under a private copy")?;
                    go.tally.same(&map.read(at, PAGE), &[0xee; PAGE], "the private copy")?;
                }
                Ok(())
            })?;
            drop(map);
            for place in lane.some(round) {
                go.file.write_all_at(&lane.renew(place), lane.at(place) as u64)?;
            }
            rest(begun);
        }
        whole(go, &lane)
    })
}

fn map_storm(bed: &mut Bed) -> Result<()> {
    let file = prepared(bed, "file")?;
    let workers = vec![by_mapping(0, 4), by_mapping(1, 4), private(2, 4), by_calls(3, 4)];
    attack(bed, &file, 10, workers)
}

/// Pieces of the file come and go in an address range that stays.
fn fixed(lane: usize, lanes: usize) -> Worker<'static> {
    Box::new(move |go| {
        let (mut lane, place_for) = (Lane::new(lane, lanes), Mapping::anonymous(LEN)?);
        for round in 0.. {
            if !go.on() {
                break;
            }
            let begun = Instant::now();
            for place in lane.some(round).into_iter().take(8) {
                let at = lane.at(place);
                let flags = if round % 3 == 0 { MapFlags::PRIVATE } else { MapFlags::SHARED };
                place_for.replace(at, PAGE, go.file, at as u64, flags).context("mmap")?;
                go.held(|| {
                    lane.check(go, place, &place_for.read(at, PAGE), "mapped at its place")?;
                    if round % 3 != 0 {
                        place_for.write(at, &lane.renew(place));
                    }
                    Ok(())
                })?;
            }
            place_for.vacate(0, LEN)?;
            ensure!(place_for.touch_read() == 0, "pages of the file are left in the range");
            rest(begun);
        }
        whole(go, &lane)
    })
}

fn map_fixed_storm(bed: &mut Bed) -> Result<()> {
    let file = prepared(bed, "file")?;
    attack(bed, &file, 10, vec![fixed(0, 3), fixed(1, 3), by_calls(2, 3)])
}

/// A mapping that lasts for many rounds is split and merged all the time.
fn split_and_merge(lane: usize, lanes: usize) -> Worker<'static> {
    Box::new(move |go| {
        let mut lane = Lane::new(lane, lanes);
        let writable = MprotectFlags::READ | MprotectFlags::WRITE;
        for round in 0.. {
            if !go.on() {
                break;
            }
            let begun = Instant::now();
            let map = Mapping::shared(go.file, LEN)?;
            go.held(|| {
                for page in 0..60 {
                    let at = (page * 7 % PAGES) * PAGE;
                    map.protect(at, PAGE, MprotectFlags::READ)?;
                    map.advise_part(at, PAGE, Advice::Random)?;
                    map.protect(at, PAGE, writable)?;
                    map.advise_part(at, PAGE, Advice::Normal)?;
                }
                for place in lane.some(round).into_iter().take(4) {
                    let at = lane.at(place);
                    lane.check(go, place, &map.read(at, PAGE), "by load")?;
                    map.write(at, &lane.renew(place));
                }
                Ok(())
            })?;
            drop(map);
            rest(begun);
        }
        whole(go, &lane)
    })
}

fn split_storm(bed: &mut Bed) -> Result<()> {
    let file = prepared(bed, "file")?;
    attack(bed, &file, 3, vec![split_and_merge(0, 2)])
}

/// The boundary of two mappings that touch moves to and fro. Both are out of the tree of VMAs then at the
/// same time, and nothing else maps the file.
fn moving_boundary(bed: &mut Bed) -> Result<()> {
    let file = prepared(bed, "file")?;
    let limit = storm(bed, 10).min(Duration::from_secs(10));
    let map = Mapping::shared(&file, LEN)?;
    map.protect(LEN / 2, LEN / 2, MprotectFlags::READ)?;
    let go = Go::new(&file, limit, [0; 2]);
    go.run(&[
        Box::new(|go| {
            while go.on() {
                map.protect(LEN / 2, PAGE, MprotectFlags::READ | MprotectFlags::WRITE)?;
                map.protect(LEN / 2, PAGE, MprotectFlags::READ)?;
            }
            Ok(())
        }),
        Box::new(|go| {
            while go.on() {
                ensure!(!go.change(!is_dax(go.file)?)?, "changed while mapped");
            }
            Ok(())
        }),
    ])?;
    drop(map);
    println!("{}", go.tally);
    go.tally.leave()?;
    ensure!(go.tally.change(&file, true)?, "refused after munmap");
    go.tally.same(&read_at(&file, 0, LEN)?, &pattern(0, 0, LEN), "after the change")
}

/// While MADV_POPULATE fills page tables, and before and after.
fn populate(bed: &mut Bed) -> Result<()> {
    let file = prepared(bed, "file")?;
    let tally = Tally::default();
    let rounds = if bed.config.short { 3 } else { 20 };
    for round in 0..rounds {
        for advice in [Advice::LinuxPopulateRead, Advice::LinuxPopulateWrite] {
            let map = Mapping::shared(&file, LEN)?;
            map.advise(Advice::LinuxDontNeed)?;
            let (done, dax) = (AtomicBool::new(false), is_dax(&file)?);
            std::thread::scope(|scope| {
                let filler = scope.spawn(|| {
                    let filled = map.advise(advice);
                    done.store(true, SeqCst);
                    filled
                });
                loop {
                    let last = done.load(SeqCst);
                    ensure!(!tally.change(&file, !dax)?, "changed while mapped, round {round}");
                    if last {
                        break;
                    }
                }
                match filler.join() {
                    Ok(filled) => filled.context("MADV_POPULATE"),
                    Err(_) => anyhow::bail!("a thread died"),
                }
            })?;
            tally.same(&map.read(0, LEN), &pattern(0, 0, LEN), "populated")?;
            drop(map);
            ensure!(tally.change(&file, !dax)?, "refused after munmap");
            tally.same(&read_at(&file, 0, LEN)?, &pattern(0, 0, LEN), "after the change")?;
        }
    }
    println!("{tally}");
    tally.leave()
}

/// A mapping that a userfaultfd watches.
fn userfaultfd(bed: &mut Bed) -> Result<()> {
    let file = prepared(bed, "file")?;
    for dax in [false, true, false] {
        sys::set_xflag_dax(&file, dax)?;
        let map = Mapping::shared(&file, LEN)?;
        let uffd = Uffd::new().context("userfaultfd")?;
        match uffd.register(&map, Watch::Stores) {
            // VM_MIXEDMAP excludes it.
            Err(error) if dax => ensure!(error.raw_os_error() == Some(libc::EINVAL), "{error}"),
            watched => watched.context("a watched mapping")?,
        }
        map.write(5 * PAGE, b"watched");
        let change = sys::set_xflag_dax(&file, !dax);
        refused(change, Errno::BUSY, "while watched")?;
        drop(uffd);
        refused(sys::set_xflag_dax(&file, !dax), Errno::BUSY, "while mapped")?;
        drop(map);
        sys::set_xflag_dax(&file, !dax).context("after munmap")?;
        let mut model = pattern(0, 0, LEN);
        model[5 * PAGE..5 * PAGE + 7].copy_from_slice(b"watched");
        same_bytes(&read_at(&file, 0, LEN)?, &model, "bytes")?;
    }
    Ok(())
}

/// A read stands still in the middle, since its buffer is being watched: the change waits for it, and
/// does not come between its bytes.
fn userfaultfd_buffer(bed: &mut Bed) -> Result<()> {
    let file = prepared(bed, "file")?;
    needs_live(bed)?;
    let limit = storm(bed, 10).min(Duration::from_secs(10));
    let (begun, mut rounds) = (Instant::now(), 0);
    while begun.elapsed() < limit && rounds < 20 {
        let dax = !is_dax(&file)?;
        let (buffer, uffd) = (Mapping::anonymous(16 * PAGE)?, Uffd::new()?);
        buffer.write(0, &[1]);
        uffd.register(&buffer, Watch::Missing).context("UFFDIO_REGISTER")?;
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| sys::read_into_map(&file, &buffer, 0, 16 * PAGE, 0));
            let met = uffd.is_met(Duration::from_secs(20));
            let changer = scope.spawn(|| sys::set_xflag_dax(&file, dax));
            std::thread::sleep(Duration::from_millis(30));
            let waited = !changer.is_finished();
            uffd.unregister(&buffer)?;
            let read = reader.join().map_err(|_| anyhow::anyhow!("the reader died"))??;
            changer.join().map_err(|_| anyhow::anyhow!("the changer died"))??;
            ensure!(met?, "the read did not come to its buffer");
            ensure!(waited, "changed in the middle of a read");
            ensure!(read > 0, "nothing was read");
            let found = buffer.read(0, read);
            same_bytes(&found, &pattern(0, 0, read), "what was read")
        })?;
        ensure!(is_dax(&file)? == dax);
        rounds += 1;
    }
    Ok(())
}
