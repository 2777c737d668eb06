// SPDX-License-Identifier: GPL-2.0
//! Attacks on the live change between page cache and DAX. The numbers are those of the specification:
//!
//! | | |
//! |---|---|
//! | 1 | fsx, and an exerciser of our own with direct I/O, against a loop of changes by an ordinary user |
//! | 2 | storm of mmap and munmap, MAP_FIXED, shared and private |
//! | 3 | mappings split and merged by mprotect and madvise |
//! | 4 | fork, mremap, exec, MAP_SYNC (`mode::busy_*`), userfaultfd, MADV_POPULATE |
//! | 5 | a read fault that sleeps while its mapping goes |
//! | 6 | readahead and fadvise, dropped caches, memory pressure |
//! | 7 | pages held by AIO, io_uring and pipes |
//! | 8 | fsync and writeback, truncation and hole punching, crashes |
//! | 9 | swap file, loop device, overlayfs |
//! | 10 | two who change the mode against each other |
//!
//! `races` has one test for each lock and each second look of the module, with the window widened that
//! it closes.
//!
//! A storm is some workers and one that changes the mode as fast as it can. Each worker owns pages of
//! the file, knows every byte of them, and checks all bytes that it reads. No change may succeed
//! between an mmap and its munmap ([`Go::held`]).

mod fsx;
mod hold;
mod io;
mod maps;
mod races;
mod stack;
mod store;

use super::{is_dax, pattern, same_bytes};
use crate::harness::{Bed, Test};
use crate::skip;
use crate::stage::SCRATCH;
use crate::sys::{self, PAGE};
use anyhow::{ensure, Context, Result};
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test> {
    let groups = [
        fsx::tests(),
        maps::tests(),
        hold::tests(),
        io::tests(),
        store::tests(),
        stack::tests(),
        races::tests(),
    ];
    groups.into_iter().flatten().collect()
}

/// Bytes of the file that a storm is about: more than a huge page.
const LEN: usize = 3 << 20;
/// The same in pages.
const PAGES: usize = LEN / PAGE;
/// How much longer than asked a storm may last, on a machine that has much to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends the test as skipped where the mode only changes at the last close.
pub fn needs_live(bed: &Bed) -> Result<()> {
    if !bed.config.is_rdaxfs() {
        skip!("{} changes the mode of a file only after its last close", bed.config.fstype);
    }
    Ok(())
}

/// How long a storm lasts, `long` seconds unless the command line says otherwise.
fn storm(bed: &Bed, long: u64) -> Duration {
    let short = bed.config.short.then_some(3);
    Duration::from_secs(bed.config.seconds.or(short).unwrap_or(long))
}

/// Counts of changes and of bytes; every test leaves its own in a file, for the sum of a soak.
#[derive(Default)]
pub struct Tally {
    /// Successful changes to DAX.
    to_dax: AtomicU64,
    /// Successful changes to the page cache.
    to_cache: AtomicU64,
    /// Refused ones, in the same order.
    refused_dax: AtomicU64,
    refused_cache: AtomicU64,
    /// Bytes compared with what they had to be.
    verified: AtomicU64,
    /// What else was done, by those of [`load`](super::load).
    pub operations: AtomicU64,
}

impl Tally {
    const FILE: &'static str = "tally-";

    fn all(&self) -> [&AtomicU64; 6] {
        let Self { to_dax, to_cache, refused_dax, refused_cache, verified, operations } = self;
        [to_dax, to_cache, refused_dax, refused_cache, verified, operations]
    }

    /// Adds to the sum of what the tests of this run have left.
    pub fn leave(&self) -> Result<()> {
        let line = self.all().map(|n| n.load(SeqCst).to_string()).join(" ") + "\n";
        let path = Path::new(SCRATCH).join(format!("{}{}", Self::FILE, std::process::id()));
        let mut file = File::options().append(true).create(true).open(path)?;
        Ok(file.write_all(line.as_bytes())?)
    }

    /// The sum of all that was left; nothing is left after that.
    pub fn collect() -> Result<Self> {
        let sum = Self::default();
        for entry in std::fs::read_dir(SCRATCH)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with(Self::FILE) {
                continue;
            }
            let text = std::fs::read_to_string(entry.path())?;
            for line in text.lines() {
                for (to, word) in sum.all().into_iter().zip(line.split(' ')) {
                    to.fetch_add(word.parse().context("the tally")?, SeqCst);
                }
            }
            std::fs::remove_file(entry.path())?;
        }
        Ok(sum)
    }

    /// Adds those of `other`.
    pub fn add(&self, other: &Self) {
        for (to, from) in self.all().into_iter().zip(other.all()) {
            to.fetch_add(from.load(SeqCst), SeqCst);
        }
    }

    /// Compares bytes and counts them.
    fn same(&self, found: &[u8], expected: &[u8], what: &str) -> Result<()> {
        same_bytes(found, expected, what)?;
        self.verified.fetch_add(found.len() as u64, SeqCst);
        Ok(())
    }

    /// Tries a change, and counts how it ended: true if it was done. Errors but EBUSY fail.
    pub fn change(&self, file: &File, dax: bool) -> Result<bool> {
        let (done, refused) = match dax {
            true => (&self.to_dax, &self.refused_dax),
            false => (&self.to_cache, &self.refused_cache),
        };
        match sys::set_xflag_dax(file, dax) {
            Ok(()) => done.fetch_add(1, SeqCst),
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {
                refused.fetch_add(1, SeqCst);
                return Ok(false);
            }
            Err(e) => return Err(e).context("the change"),
        };
        Ok(true)
    }

    /// Fails if fewer changes than these succeeded, to DAX and to the page cache.
    pub fn at_least(&self, least: [u64; 2]) -> Result<()> {
        let done = [&self.to_dax, &self.to_cache].map(|n| n.load(SeqCst));
        ensure!(done[0] >= least[0] && done[1] >= least[1], "{self}: no contest");
        Ok(())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [to_dax, to_cache, refused_dax, refused_cache, verified, operations] =
            self.all().map(|n| n.load(SeqCst));
        write!(f, "{to_dax} changes to DAX, {to_cache} to the page cache; ")?;
        write!(f, "refused {refused_dax} and {refused_cache}; {} MiB verified; ", verified >> 20)?;
        write!(f, "{operations} operations of others")
    }
}

/// A storm under way.
struct Go<'a> {
    file: &'a File,
    tally: Tally,
    until: Instant,
    /// So many changes to DAX and to the page cache are to be seen, if they come before the deadline.
    least: [u64; 2],
    deadline: Instant,
    stop: AtomicBool,
    /// The number of the change tried last, and of the last that succeeded.
    tried: AtomicU64,
    succeeded: AtomicU64,
}

/// One of those who take part in a storm.
type Worker<'w> = Box<dyn Fn(&Go) -> Result<()> + Send + Sync + 'w>;

impl<'a> Go<'a> {
    fn new(file: &'a File, limit: Duration, least: [u64; 2]) -> Self {
        let until = Instant::now() + limit;
        Self {
            file,
            tally: Tally::default(),
            until,
            least,
            deadline: until + PATIENCE,
            stop: AtomicBool::new(false),
            tried: AtomicU64::new(0),
            succeeded: AtomicU64::new(0),
        }
    }

    /// Until time is over and the mode has changed often enough, or somebody has failed.
    fn on(&self) -> bool {
        let now = Instant::now();
        let enough = || self.tally.at_least(self.least).is_ok();
        !self.stop.load(SeqCst) && now < self.deadline && (now < self.until || !enough())
    }

    /// Tries to change the mode of the file.
    fn change(&self, dax: bool) -> Result<bool> {
        let number = self.tried.fetch_add(1, SeqCst) + 1;
        let done = self.tally.change(self.file, dax)?;
        if done {
            self.succeeded.fetch_max(number, SeqCst);
        }
        Ok(done)
    }

    /// Changes the mode as often as it can.
    fn change_on(&self) -> Result<()> {
        while self.on() {
            self.change(!is_dax(self.file)?)?;
        }
        Ok(())
    }

    /// Does `work` while the caller has the file mapped: no change may begin and succeed meanwhile.
    fn held<R>(&self, work: impl FnOnce() -> Result<R>) -> Result<R> {
        let before = self.tried.load(SeqCst);
        let value = work()?;
        let last = self.succeeded.load(SeqCst);
        ensure!(last <= before, "change {last} was begun while the file was mapped, and succeeded");
        Ok(value)
    }

    /// Runs the workers side by side, until time is over or one of them fails.
    fn run(&self, workers: &[Worker<'_>]) -> Result<()> {
        std::thread::scope(|scope| {
            let started: Vec<_> = workers
                .iter()
                .map(|work| {
                    scope.spawn(move || {
                        let result = work(self);
                        if result.is_err() {
                            self.stop.store(true, SeqCst);
                        }
                        result
                    })
                })
                .collect();
            let ends = started.into_iter().map(|worker| worker.join());
            let ends: Vec<_> = ends
                .map(|end| end.unwrap_or_else(|_| Err(anyhow::anyhow!("a worker died"))))
                .collect();
            ends.into_iter().collect()
        })
    }
}

/// The storm of a test: the workers, and one that changes the mode. `least` changes in each direction
/// make it one.
fn attack(bed: &Bed, file: &File, least: u64, workers: Vec<Worker<'_>>) -> Result<()> {
    attack_for(storm(bed, 20), file, least, workers)
}

fn attack_for(
    limit: Duration,
    file: &File,
    least: u64,
    mut workers: Vec<Worker<'_>>,
) -> Result<()> {
    let go = Go::new(file, limit, [least; 2]);
    workers.push(Box::new(|go: &Go| go.change_on()));
    go.run(&workers)?;
    println!("{}", go.tally);
    go.tally.leave()?;
    go.tally.at_least(go.least)
}

/// A file of [`PAGES`] pages as [`Lane::new`] expects them.
fn prepared(bed: &Bed, name: &str) -> Result<File> {
    needs_live(bed)?;
    let file = bed.create(name)?;
    file.write_all_at(&pattern(0, 0, LEN), 0)?;
    Ok(file)
}

/// Pages of a file that one worker alone writes, and what is in them.
struct Lane {
    /// Number of the page, and the seed of its bytes.
    pages: Vec<(usize, u64)>,
    renewed: u64,
}

impl Lane {
    /// Every `lanes`-th page of the first `pages`, beginning with page `lane`.
    fn of(lane: usize, lanes: usize, pages: usize) -> Self {
        Self { pages: (lane..pages).step_by(lanes).map(|page| (page, 0)).collect(), renewed: 0 }
    }

    fn new(lane: usize, lanes: usize) -> Self {
        Self::of(lane, lanes, PAGES)
    }

    /// The places of some of its pages, others in every round.
    fn some(&self, round: usize) -> Vec<usize> {
        (0..self.pages.len()).skip(round % 7).step_by(23).collect()
    }

    /// All of them.
    fn all(&self) -> Vec<usize> {
        (0..self.pages.len()).collect()
    }

    /// Where in the file the page of a place begins.
    fn at(&self, place: usize) -> usize {
        self.pages[place].0 * PAGE
    }

    /// The bytes that are there.
    fn bytes(&self, place: usize) -> Vec<u8> {
        let (page, seed) = self.pages[place];
        pattern(seed, (page * PAGE) as u64, PAGE)
    }

    /// Checks what was read of a page.
    fn check(&self, go: &Go, place: usize, found: &[u8], how: &str) -> Result<()> {
        let what = || format!("page {} {how}", self.pages[place].0);
        go.tally.same(found, &self.bytes(place), &what())
    }

    /// New bytes, which the caller puts there.
    fn renew(&mut self, place: usize) -> Vec<u8> {
        self.renewed += 1;
        self.pages[place].1 = (self.renewed << 12) + self.pages[place].0 as u64;
        self.bytes(place)
    }
}

/// A rest of a worker, in which nothing of his is mapped: twice as long as his round has taken, so that
/// the mode gets a chance to change.
fn rest(round: Instant) {
    let took = round.elapsed().min(Duration::from_millis(200));
    std::thread::sleep(2 * took.max(Duration::from_millis(1)));
}
