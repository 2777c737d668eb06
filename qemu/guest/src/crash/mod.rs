// SPDX-License-Identifier: GPL-2.0
//! `make crash`: a file system that is left at any moment of a long work is recovered when it is mounted,
//! `e2fsck` is content with it, what was synced is there, and no file has what is another's.
//!
//! dm-log-writes writes down all that reaches the device, and this is put together again up to each point.

pub mod kills;
pub mod model;
pub mod work;

use crate::mapper::{Entry, Log, Mapped};
use crate::stage::{Config, Image};
use crate::sys::{mapper::Control, Aligned};
use anyhow::{ensure, Context, Result};
use model::{Model, Op};
use rustix::fs::OFlags;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::Instant;
use work::{Random, Worker};

/// Bytes of the image: small, as all of it is written for each point.
const SIZE: u64 = 32 << 20;
/// What it is made with: a journal that is soon full, so that it is used again and again.
const MKFS: [&str; 2] = ["-J", "size=4"];
/// How bytes go between the image and what is in memory.
const PIECE: usize = 1 << 20;

/// The device that is worked on, the one of the log, and the one that a state is put on.
const DEVICE: &str = "/dev/ram0";
const LOG: &str = "/dev/ram1";
const COPY: &str = "/dev/pmem1";

/// How much is to be done.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Operations.
    pub operations: u32,
    /// Points at which the device is left, at least; about so many in between if all of FLUSH and FUA
    /// are more than so many.
    pub points: u32,
    /// What the random numbers begin with.
    pub seed: u64,
}

/// What was done.
#[derive(Default)]
pub struct Figures {
    operations: usize,
    writes: usize,
    ordered: usize,
    between: usize,
    files: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} operations, {} writes; {} points ({} of FLUSH or FUA, {} between), each recovered and clean; \
             {} synced files compared, nothing lost, nothing exposed",
            self.operations,
            self.writes,
            self.ordered + self.between,
            self.ordered,
            self.between,
            self.files
        )
    }
}

/// All of `make crash`.
pub fn run(config: &Config, plan: Plan) -> Result<()> {
    let begun = Instant::now();
    let figures = log_writes(config, plan)?;
    println!("crash: log-writes: {figures}; {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// What was done, in this order: an operation and the inode that it has made.
type History = Vec<(Op, u64)>;

/// Does the work on a device that is written down, then puts together what was on it at each point.
pub fn log_writes(config: &Config, plan: Plan) -> Result<Figures> {
    let image = Image::on(DEVICE);
    image.mkfs(&format!("{}K", SIZE >> 10), &MKFS)?;
    let base = read_image(&image)?;
    let history = record(config, plan)?;
    Replay::new(config, plan, base, &history)?.run()
}

fn record(config: &Config, plan: Plan) -> Result<History> {
    let (mapped, device) =
        Mapped::new("guest-log", SIZE >> 9, &format!("log-writes {DEVICE} {LOG}"))?;
    let mount = Image::on(&device).mount(&config.fstype, "")?;
    work::prepare(mount.dir())?;
    let control = Control::open()?;
    let mark = |number: usize| control.message("guest-log", &format!("mark {number}"));
    let mut worker = Worker::new(mount.dir(), plan.seed, 0);
    let mut history = History::new();
    mark(0)?;
    for number in 1..=plan.operations as usize {
        let op = worker.choose();
        history.push((op, worker.perform(op)?));
        mark(number)?;
    }
    drop(worker);
    mount.unmount()?;
    drop(mapped);
    Ok(history)
}

/// All bytes of the image, past the buffer cache.
fn read_image(image: &Image) -> Result<Aligned> {
    let mut bytes = Aligned::new(SIZE as usize, 0);
    let direct = OFlags::DIRECT.bits() as i32;
    let device = File::options().read(true).custom_flags(direct).open(image.device())?;
    for (n, piece) in bytes.chunks_mut(PIECE).enumerate() {
        device.read_exact_at(piece, (n * PIECE) as u64)?;
    }
    Ok(bytes)
}

/// A write that is not yet known to be on the device.
type Write = (u64, Vec<u8>);

/// The log, being read again.
struct Replay<'a> {
    config: &'a Config,
    history: &'a History,
    /// What is on the device for sure.
    base: Aligned,
    pending: Vec<Write>,
    model: Model,
    /// Operations that have ended, and that have begun.
    ended: usize,
    begun: usize,
    random: Random,
    /// Of how many points each one is taken.
    every: (usize, usize),
    /// Points that there will be.
    expected: usize,
    started: Instant,
    figures: Figures,
}

impl<'a> Replay<'a> {
    fn new(config: &'a Config, plan: Plan, base: Aligned, history: &'a History) -> Result<Self> {
        let (mut ordered, mut other) = (0, 0);
        let mut log = Log::open(LOG.as_ref())?;
        while let Some(entry) = log.next()? {
            match entry {
                Entry::Write { ordered: true, .. } => ordered += 1,
                Entry::Write { .. } => other += 1,
                Entry::Mark(_) => {}
            }
        }
        let points = plan.points as usize;
        // Of the short form, not all of FLUSH and FUA.
        let skipped = (ordered / points.max(1)).max(1);
        let wanted = (points / 4).max(points.saturating_sub(ordered));
        let each = if plan.operations >= 10_000 { 1 } else { skipped };
        let every = (each, (other / wanted.max(1)).max(1));
        Ok(Self {
            config,
            history,
            base,
            pending: Vec::new(),
            model: Model::new(),
            ended: 0,
            begun: 0,
            random: Random::new(plan.seed ^ 0xc4a5),
            every,
            expected: ordered / every.0 + other / every.1,
            started: Instant::now(),
            figures: Figures { operations: history.len(), ..Figures::default() },
        })
    }

    fn run(mut self) -> Result<Figures> {
        let mut log = Log::open(LOG.as_ref())?;
        let (mut counts, mut marked) = ((0, 0), false);
        while let Some(entry) = log.next()? {
            match entry {
                Entry::Mark(text) => {
                    marked = true;
                    self.mark(text.parse()?);
                }
                Entry::Write { at, data, ordered } => {
                    self.figures.writes += 1;
                    self.pending.push((at, data));
                    let count = if ordered { &mut counts.0 } else { &mut counts.1 };
                    *count += 1;
                    let every = if ordered { self.every.0 } else { self.every.1 };
                    if marked && *count % every == 0 {
                        self.point(ordered)
                            .with_context(|| format!("after write {}", self.figures.writes))?;
                    }
                    if ordered {
                        self.settle();
                    }
                }
            }
        }
        ensure!(self.ended == self.history.len(), "the log has {} marks", self.ended);
        Ok(self.figures)
    }

    /// An operation has ended, and the next one may have begun: what it writes comes after this.
    fn mark(&mut self, number: usize) {
        while self.ended < number {
            let (op, ino) = self.history[self.ended];
            self.model.end(op, self.ended as u32, ino);
            self.ended += 1;
        }
        if let Some((op, _)) = self.history.get(self.ended) {
            self.model.begin(*op);
        }
        self.begun = self.ended + 1;
    }

    /// All that was written is on the device.
    fn settle(&mut self) {
        for (at, data) in self.pending.drain(..) {
            put(&mut self.base, at, &data);
        }
    }

    /// Leaves the device here: with all that was written or, between two that order it, with any part of
    /// what came after the first.
    fn point(&mut self, ordered: bool) -> Result<()> {
        let mut state = Aligned::of(&self.base);
        for (at, data) in &self.pending {
            if ordered || self.random.below(2) == 0 {
                put(&mut state, *at, data);
            }
        }
        match ordered {
            true => self.figures.ordered += 1,
            false => self.figures.between += 1,
        }
        let image = write_image(COPY, &state)?;
        let points = self.figures.ordered + self.figures.between;
        if points % 100 == 0 {
            let seconds = self.started.elapsed().as_secs();
            println!("crash: {points} of {} points, {seconds} s", self.expected);
        }
        let writing = points % 4 == 0;
        self.figures.files += check(self.config, &image, &self.model, writing)
            .with_context(|| format!("operation {} had ended, of {}", self.ended, self.begun))?;
        Ok(())
    }
}

fn put(state: &mut Aligned, at: u64, data: &[u8]) {
    let at = at as usize;
    state[at..at + data.len()].copy_from_slice(data);
}

/// Puts a state on a device.
fn write_image(device: &str, state: &Aligned) -> Result<Image> {
    let direct = OFlags::DIRECT.bits() as i32;
    let file = File::options().write(true).custom_flags(direct).open(device)?;
    for (n, piece) in state.chunks(PIECE).enumerate() {
        file.write_all_at(piece, (n * PIECE) as u64)?;
    }
    Ok(Image::on(device))
}

/// Mounts what a crash has left, compares it, and has e2fsck look at it. Returns how many files were
/// compared.
fn check(config: &Config, image: &Image, model: &Model, writing: bool) -> Result<u64> {
    let mount = image.mount(&config.fstype, "")?;
    let files = model.check(mount.dir())?;
    if writing {
        let file = File::create(mount.dir().join("after"))?;
        file.write_all_at(&[1; 50_000], 0)?;
        file.sync_all()?;
    }
    mount.unmount()?;
    image.fsck()?;
    Ok(files)
}
