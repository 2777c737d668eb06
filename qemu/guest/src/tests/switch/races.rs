// SPDX-License-Identifier: GPL-2.0
//! Each race of the change on purpose: the module sleeps at a named point, in the middle of what a lock
//! protects, and the other side of the race comes along meanwhile. Only a module for the debug kernel
//! has these points. 5, and a test for each lock and each second look (`make mutants`).

use super::maps::{by_calls, by_mapping, whole};
use super::{attack_for, is_dax, needs_live, prepared, rest};
use super::{Go, Lane, Tally, Worker, LEN, PATIENCE};
use crate::counters::Counters;
use crate::harness::{Bed, Test, INODE};
use crate::points::Point;
use crate::stage::run;
use crate::sys::{self, Aligned, Child, End, Mapping, PAGE};
use crate::tests::{pattern, read_at, refused};
use crate::{skip, smaps};
use anyhow::{bail, ensure, Context, Result};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("switch::slow_fault", INODE, slow_fault).seconds(240),
        Test::new("switch::last_reference", INODE, last_reference),
        Test::new("switch::overtaken_mmap", INODE, overtaken_mmap).seconds(240),
        Test::new("switch::mmap_meanwhile", INODE, mmap_meanwhile).seconds(240),
        Test::new("switch::stored_meanwhile", INODE, stored_meanwhile),
        Test::new("switch::writeback_meanwhile", INODE, writeback_meanwhile),
        Test::new("switch::frozen", INODE, frozen),
        Test::new("switch::faults_together", INODE, faults_together),
        Test::new("switch::windows", INODE, windows).seconds(300),
    ]
}

/// A point at which the module sleeps, as long as this lives.
struct Delay(Point);

impl Delay {
    fn at(point: &str, length: Duration) -> Result<Self> {
        if Point::all()?.is_empty() {
            skip!("this module has no points at which it can be made to sleep");
        }
        let delay = Self(Point::of(point)?);
        Point::sleep(point, length)?;
        Ok(delay)
    }

    /// Nobody goes to sleep here from now on.
    fn end(&self) -> Result<()> {
        Point::sleep(&self.0.name, Duration::ZERO)
    }

    /// What came of it so far.
    fn seen(&self) -> Result<Point> {
        Ok(Point::of(&self.0.name)?.since(&self.0))
    }

    /// Waits until somebody sleeps here, for the first time.
    fn wait(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.seen()?.hits == 0 {
            ensure!(Instant::now() < deadline, "nobody came by {}", self.0.name);
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        // A delay that stays only slows the next tests.
        let _ = self.end();
    }
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| bail!("a thread died"))
}

/// 5: a read fault has given up the mmap lock and sleeps, its mapping goes, and the file, which is
/// mapped by nobody now, is to change. What the fault reads then must not get into a DAX file.
fn slow_fault(bed: &mut Bed) -> Result<()> {
    let file = prepared(bed, "file")?;
    let tally = Tally::default();
    for round in 0..if bed.config.short { 2 } else { 10 } {
        file.sync_all()?;
        fs::write("/proc/sys/vm/drop_caches", "1")?;
        let delay = Delay::at("read_folios", ms(2500))?;
        let (from, to) = rustix::pipe::pipe()?;
        let child = Child::start(|| match fault_and_unmap(&file, &delay, &to) {
            Ok(()) => 0,
            Err(error) => {
                println!("{error:#}");
                1
            }
        })?;
        ensure!(rustix::io::read(&from, &mut [0; 1])? == 1, "the child has not unmapped");
        let change = tally.change(&file, true)?;
        ensure!(!change, "round {round}: changed while a fault was asleep");
        ensure!(child.wait()? == End::Exit(0), "see the output");
        drop(delay);
        ensure!(tally.change(&file, true)?, "refused after the fault");
        tally.same(&read_at(&file, 0, LEN)?, &pattern(0, 0, LEN), "on DAX")?;
        ensure!(tally.change(&file, false)?, "refused on the way back");
        tally.same(&read_at(&file, 0, LEN)?, &pattern(0, 0, LEN), "back")?;
    }
    println!("{tally}");
    tally.leave()
}

/// One thread faults, the other puts other memory in the place of the mapping, and tells.
fn fault_and_unmap(file: &File, delay: &Delay, to: &impl rustix::fd::AsFd) -> Result<()> {
    let map = Mapping::shared(file, LEN)?;
    thread::scope(|scope| {
        let fault = scope.spawn(|| map.read(9 * PAGE, 1)[0]);
        delay.wait()?;
        map.vacate(0, LEN)?;
        ensure!(!fault.is_finished(), "the fault was over before its mapping was gone");
        rustix::io::write(to, b"x")?;
        let found = fault.join().map_err(|_| anyhow::anyhow!("a thread died"))?;
        ensure!(found == 0, "the fault found a byte of the file where it is not mapped any more");
        Ok(())
    })
}

/// A read fault has given up the mmap lock and its file, and is to release the mode lock, which is in the
/// inode. Mapping, name and descriptor go meanwhile: the inode stays until the fault is done with it.
fn last_reference(bed: &mut Bed) -> Result<()> {
    const SLEEP: Duration = ms(1500);
    let file = prepared(bed, "file")?;
    file.sync_all()?;
    fs::write("/proc/sys/vm/drop_caches", "1")?;
    fs::remove_file(bed.path("file"))?;
    let map = Mapping::shared(&file, LEN)?;
    let delay = Delay::at("fault_done", SLEEP)?;
    let waited = thread::scope(|scope| {
        let fault = scope.spawn(|| map.read(9 * PAGE, 1)[0]);
        delay.wait()?;
        let begun = Instant::now();
        map.vacate(0, LEN)?;
        drop(file);
        let waited = begun.elapsed();
        let found = fault.join().map_err(|_| anyhow::anyhow!("a thread died"))?;
        ensure!(found == 0, "the fault found a byte of the file where it is not mapped any more");
        Ok::<_, anyhow::Error>(waited)
    })?;
    ensure!(waited > SLEEP / 2, "the inode went after {} ms, below the fault", waited.as_millis());
    Ok(())
}

/// A new mapping works, and is what its file is: by smaps, by loads and by stores.
fn is_right(file: &File, map: &Mapping, tally: &Tally, what: &str) -> Result<()> {
    let (dax, entry) = (is_dax(file)?, smaps::of(map)?);
    ensure!(smaps::has_flag(map, "mm")? == dax, "{what}: the file is DAX: {dax}; smaps:\n{entry}");
    let mut model = read_at(file, 0, LEN)?;
    tally.same(&map.read(0, LEN), &model, &format!("{what}, by load"))?;
    map.write(3 * PAGE, what.as_bytes());
    model[3 * PAGE..][..what.len()].copy_from_slice(what.as_bytes());
    tally.same(&read_at(file, 0, LEN)?, &model, &format!("{what}, by read"))
}

/// The mode changes between two steps of an mmap: the mapping that comes out is of the new mode, or the
/// change is refused.
fn overtaken_mmap(bed: &mut Bed) -> Result<()> {
    let file = prepared(bed, "file")?;
    let (tally, device) = (Tally::default(), bed.image.device().to_owned());
    let before = Counters::of(&device)?;
    for point in ["mmap_look", "mmap_prepared", "mmap_mapped"] {
        for _ in 0..2 {
            let (dax, delay) = (is_dax(&file)?, Delay::at(point, Duration::from_millis(300))?);
            thread::scope(|scope| {
                let mapper = scope.spawn(|| Ok(Mapping::shared(&file, LEN)?));
                delay.wait()?;
                let done = tally.change(&file, !dax)?;
                let what = format!("{point}, {}", if done { "overtaken" } else { "refused" });
                let map = join(mapper).context(what.clone())?;
                is_right(&file, &map, &tally, &what)?;
                let change = sys::set_xflag_dax(&file, !is_dax(&file)?);
                refused(change, Errno::BUSY, "while mapped")?;
                drop(map);
                println!("{what}");
                Ok::<_, anyhow::Error>(())
            })?;
            drop(delay);
            if is_dax(&file)? == dax {
                ensure!(tally.change(&file, !dax)?, "{point}: refused after munmap");
            }
        }
    }
    let wrong = Counters::of(&device)?.since(&before).get("wrong_mode");
    ensure!(wrong == 0, "{wrong} faults met the wrong mode");
    println!("{tally}");
    tally.leave()
}

/// The file is mapped and stored to while the change is in the middle: between its look for mappings
/// and its end, at every step.
fn mmap_meanwhile(bed: &mut Bed) -> Result<()> {
    let file = prepared(bed, "file")?;
    let (tally, device) = (Tally::default(), bed.image.device().to_owned());
    let before = Counters::of(&device)?;
    for step in
        ["begin", "faults", "locked", "written", "dropped", "commit", "stored", "half", "done"]
    {
        for _ in 0..2 {
            let point = format!("switch_{step}");
            let (dax, delay) = (is_dax(&file)?, Delay::at(&point, ms(150))?);
            thread::scope(|scope| {
                let changer = scope.spawn(|| tally.change(&file, !dax));
                delay.wait()?;
                let map = Mapping::shared(&file, LEN).context(point.clone())?;
                map.touch_write(7);
                let done = join(changer)?;
                ensure!(
                    is_dax(&file)? == (dax != done),
                    "{point}: done is {done}, the mode is not"
                );
                is_right(&file, &map, &tally, &point)
            })?;
            drop(delay);
            let found = read_at(&file, 0, LEN)?;
            let stored =
                found.iter().step_by(PAGE).enumerate().all(|(page, b)| *b == 7 || page == 3);
            ensure!(stored, "{point}: stores are lost");
            if is_dax(&file)? == dax {
                ensure!(tally.change(&file, !dax)?, "{point}: refused after munmap");
            }
            fs::write("/proc/sys/vm/drop_caches", "1")?;
            tally.same(&read_at(&file, 0, LEN)?, &found, "from the device")?;
        }
    }
    let wrong = Counters::of(&device)?.since(&before).get("wrong_mode");
    ensure!(wrong == 0, "{wrong} faults met the wrong mode");
    println!("{tally}");
    tally.leave()
}

/// What is stored while the change has written back already, but does not hold its locks yet.
fn stored_meanwhile(bed: &mut Bed) -> Result<()> {
    let file = prepared(bed, "file")?;
    let tally = Tally::default();
    let mut model = pattern(0, 0, LEN);
    for round in 0..4 {
        let (dax, bytes) = (is_dax(&file)?, pattern(round + 1, 0, 3 * PAGE));
        let (at, delay) = (round as usize * 100_000, Delay::at("switch_begin", ms(150))?);
        let done = thread::scope(|scope| {
            let changer = scope.spawn(|| tally.change(&file, !dax));
            delay.wait()?;
            Mapping::shared(&file, LEN)?.write(at, &bytes);
            join(changer)
        })?;
        drop(delay);
        ensure!(done, "round {round}: refused, although nothing holds the file");
        model[at..at + bytes.len()].copy_from_slice(&bytes);
        tally.same(&read_at(&file, 0, LEN)?, &model, "after the change")?;
    }
    println!("{tally}");
    tally.leave()
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The mode is to change while writepages has seen the old one. fs/dax.c warns if it then finds pages
/// where it expects its own entries.
fn writeback_meanwhile(bed: &mut Bed) -> Result<()> {
    let file = prepared(bed, "file")?;
    let (tally, other) = (Tally::default(), bed.open("file")?);
    let mut model = pattern(0, 0, LEN);
    for round in 0..4 {
        let dax = is_dax(&file)?;
        {
            let map = Mapping::shared(&file, LEN)?;
            map.touch_write(round);
            (0..LEN).step_by(PAGE).for_each(|at| model[at] = round);
        }
        let delay = Delay::at("writepages", ms(300))?;
        let written = AtomicBool::new(false);
        thread::scope(|scope| {
            let syncer = scope.spawn(|| Ok(other.sync_all()?));
            delay.wait()?;
            // Its own writeback need not sleep.
            delay.end()?;
            let done = tally.change(&file, !dax)?;
            ensure!(done, "round {round}: refused");
            let bytes = pattern(round.into(), 0, 40 * PAGE);
            file.write_all_at(&bytes, 0)?;
            Mapping::shared(&file, LEN)?.write(PAGE, &bytes[PAGE..2 * PAGE]);
            model[..bytes.len()].copy_from_slice(&bytes);
            written.store(true, SeqCst);
            join(syncer)
        })?;
        drop(delay);
        tally.same(&read_at(&file, 0, LEN)?, &model, "after the change")?;
        fs::write("/proc/sys/vm/drop_caches", "1")?;
        tally.same(&read_at(&file, 0, LEN)?, &model, "from the device")?;
    }
    println!("{tally}");
    tally.leave()
}

/// A store to a frozen file system waits until it is thawed, in either mode.
fn frozen(bed: &mut Bed) -> Result<()> {
    let file = prepared(bed, "file")?;
    let dir = bed.dir().to_string_lossy().into_owned();
    for dax in [false, true] {
        sys::set_xflag_dax(&file, dax)?;
        let map = Mapping::shared(&file, LEN)?;
        // The second page has been loaded before it is stored to, the first has not.
        map.read(7 * PAGE, 1);
        file.sync_all()?;
        run("fsfreeze", &["-f", &dir])?;
        let store = |at: usize| {
            Child::start(|| {
                map.write(at, b"thawed");
                0
            })
        };
        let children = [store(300 * PAGE), store(7 * PAGE)];
        thread::sleep(ms(400));
        let early = [300, 7].map(|page| read_at(&file, page * PAGE as u64, 6));
        run("fsfreeze", &["-u", &dir])?;
        for (child, early) in children.into_iter().zip(early) {
            ensure!(early? != b"thawed", "dax {dax}: stored to a frozen file system");
            ensure!(child?.wait()? == End::Exit(0), "the store failed");
        }
        for page in [300, 7] {
            let found = read_at(&file, page * PAGE as u64, 6)?;
            ensure!(found == b"thawed", "dax {dax}: the store is lost");
        }
        drop(map);
        file.write_all_at(&pattern(0, 0, LEN), 0)?;
    }
    Ok(())
}

/// Faults in one file do not wait for each other: all sleep at once while they hold what keeps the mode.
fn faults_together(bed: &mut Bed) -> Result<()> {
    const FAULTS: u32 = 8;
    let file = prepared(bed, "file")?;
    for (dax, point) in [(false, "fault"), (true, "dax_fault")] {
        sys::set_xflag_dax(&file, dax)?;
        file.sync_all()?;
        fs::write("/proc/sys/vm/drop_caches", "1")?;
        let maps: std::result::Result<Vec<_>, Errno> =
            (0..FAULTS).map(|_| Mapping::read_only(&file, LEN)).collect();
        let (maps, delay) = (maps?, Delay::at(point, ms(400))?);
        let begun = Instant::now();
        thread::scope(|scope| {
            for (n, map) in maps.iter().enumerate() {
                scope.spawn(move || map.read((64 * n + 5) * PAGE, 1));
            }
        });
        let (took, slept) = (begun.elapsed(), delay.seen()?.hits);
        ensure!(slept >= FAULTS.into(), "{point}: only {slept} slept");
        let together = ms(400) * FAULTS / 2;
        ensure!(took < together, "{point}: {slept} sleeps of 400 ms took {} ms", took.as_millis());
        println!("{point}: {slept} sleeps of 400 ms took {} ms", took.as_millis());
    }
    Ok(())
}

/// Writes past the page cache, and reads what is there then.
fn directly(direct: &File, lane: usize, lanes: usize) -> Worker<'_> {
    Box::new(move |go| {
        let mut lane = Lane::new(lane, lanes);
        for round in 0.. {
            if !go.on() {
                break;
            }
            let begun = Instant::now();
            for place in lane.some(round) {
                let at = lane.at(place) as u64;
                direct.write_all_at(&Aligned::of(&lane.renew(place)), at)?;
                lane.check(go, place, &read_at(go.file, at, PAGE)?, "written directly")?;
            }
            rest(begun);
        }
        whole(go, &lane)
    })
}

/// A storm at every point there is, with a short sleep there, until the other side of the race has come
/// while somebody slept.
fn windows(bed: &mut Bed) -> Result<()> {
    needs_live(bed)?;
    let points = Point::all()?;
    if points.is_empty() {
        skip!("this module has no points at which it can be made to sleep");
    }
    let least = match bed.config.short {
        true => Duration::ZERO,
        false => Duration::from_secs(bed.config.seconds.unwrap_or(60)) / points.len() as u32,
    };
    let file = prepared(bed, "file")?;
    let mut options = File::options();
    let direct = options.write(true).custom_flags(OFlags::DIRECT.bits() as i32);
    let direct = direct.open(bed.path("file"))?;
    let syncer = |go: &Go| -> Result<()> {
        while go.on() {
            go.file.sync_all()?;
            rest(Instant::now());
        }
        Ok(())
    };
    for Point { name, .. } in points {
        file.write_all_at(&pattern(0, 0, LEN), 0)?;
        let (delay, begun) = (Delay::at(&name, ms(3))?, Instant::now());
        let watcher = |go: &Go| -> Result<()> {
            while go.on() {
                thread::sleep(ms(5));
                if begun.elapsed() >= least && delay.seen()?.was_hit() {
                    go.stop.store(true, SeqCst);
                }
            }
            delay.end()
        };
        // Direct writes beside stores to the same folios are promised nothing by the kernel.
        let mut workers: Vec<Worker> = match name.as_str() {
            "direct_done" => vec![directly(&direct, 0, 2), by_calls(1, 2)],
            _ => vec![by_mapping(0, 3), by_mapping(1, 3), by_calls(2, 3), Box::new(syncer)],
        };
        workers.push(Box::new(watcher));
        attack_for(PATIENCE, &file, 0, workers).with_context(|| name.clone())?;
        let seen = delay.seen()?;
        let hits = seen.hits;
        ensure!(seen.was_hit(), "{name}: slept {hits} times, and nobody came meanwhile");
        println!("{name}: slept {} times, met the other side {} times", seen.hits, seen.met);
    }
    Ok(())
}
