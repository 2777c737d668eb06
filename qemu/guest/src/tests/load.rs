// SPDX-License-Identifier: GPL-2.0
//! Eight who work side by side on one file system, each in a tree of its own of which every byte is known, while
//! somebody looks at all trees and changes the mode of their files, caches are dropped, and memory is short.

use super::switch::Tally;
use super::tools;
use crate::crash::model::{path, Model, Op, DIRS};
use crate::crash::work::{prepare, Random, Worker};
use crate::harness::{Bed, Place, Test};
use crate::sys;
use anyhow::{bail, ensure, Context, Result};
use rustix::fs::{self as rfs, OFlags};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test> {
    vec![Test::bare("load::together", &[Place::Inode, Place::Ram], together).seconds(600)]
}

/// Those who work.
const WORKERS: usize = 8;
/// Operations after which a worker compares its whole tree.
const ROUND: usize = 400;

fn together(bed: &mut Bed) -> Result<()> {
    let stress = tools::required(bed, "stress-ng")?;
    bed.mkfs("400M", &[])?;
    bed.mount()?;
    let seconds = bed.config.seconds.unwrap_or(bed.config.amount(60, 8, 8));
    let until = Instant::now() + Duration::from_secs(seconds);
    let roots: Vec<_> = (0..WORKERS).map(|n| bed.path(format!("w{n}"))).collect();
    for (number, root) in roots.iter().enumerate() {
        fs::create_dir(root)?;
        // Half of them begin with DAX, where the device has it.
        let dax = number % 2 == 0 && bed.place == Place::Inode;
        sys::set_xflag_dax(File::open(root)?, dax)?;
        prepare(root)?;
    }
    let pressure = Pressure::new(&stress)?;
    let counts = Counts::default();
    // Other numbers in each run: a soak has many.
    let seed = u64::from(std::process::id());
    thread::scope(|scope| -> Result<()> {
        let mut threads = Vec::new();
        for (number, root) in roots.iter().enumerate() {
            let (worker, counts) = (Worker::new(root, seed + number as u64, 0), &counts);
            threads.push(scope.spawn(move || counts.stops(work(worker, root, until, counts))));
        }
        threads.push(scope.spawn(|| counts.stops(visit(&roots, seed, until, &counts))));
        threads.push(scope.spawn(|| counts.stops(drop_caches(until, &counts))));
        for thread in threads {
            match thread.join() {
                Ok(result) => result?,
                Err(_) => bail!("a thread died"),
            }
        }
        Ok(())
    })?;
    drop(pressure);
    println!("{WORKERS} threads, {seconds} s: {}; {:?} files compared", counts.tally, counts.files);
    ensure!(counts.files.load(SeqCst) > 0, "nothing was compared");
    counts.tally.at_least([1, 1])?;
    counts.tally.leave()
}

/// What was done, by all of them.
#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    tally: Tally,
    files: AtomicU64,
}

impl Counts {
    /// Until time is over, or somebody has failed.
    fn on(&self, until: Instant) -> bool {
        Instant::now() < until && !self.stop.load(SeqCst)
    }

    /// The others stop if this failed.
    fn stops(&self, result: Result<()>) -> Result<()> {
        if result.is_err() {
            self.stop.store(true, SeqCst);
        }
        result
    }
}

/// Works on a tree, and compares all of it now and then, and at the end.
fn work(mut worker: Worker, root: &Path, until: Instant, counts: &Counts) -> Result<()> {
    while counts.on(until) {
        for _ in 0..ROUND {
            if !counts.on(until) {
                break;
            }
            let op = worker.choose();
            worker.perform(op)?;
            counts.tally.operations.fetch_add(1, SeqCst);
        }
        // All of it is to be as it is known to be, then.
        worker.perform(Op::Sync)?;
        let files = worker.model.check(root).with_context(|| format!("{}", root.display()))?;
        counts.files.fetch_add(files, SeqCst);
    }
    Ok(())
}

/// Looks at files of all trees, and changes the mode of each.
fn visit(roots: &[PathBuf], seed: u64, until: Instant, counts: &Counts) -> Result<()> {
    let mut random = Random::new(!seed);
    let names = Model::new().len() as u64;
    while counts.on(until) {
        let root = &roots[random.below(roots.len() as u64) as usize];
        let path = path(root, random.below(names) as usize);
        // A pipe is not waited for.
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let opened = File::options().read(true).custom_flags(flags.bits() as i32).open(&path);
        match opened {
            Ok(file) if file.metadata()?.is_file() => look(file, random.below(2) == 1, counts)
                .with_context(|| format!("looking at {}", path.display()))?,
            Ok(_) => {}
            // Nothing has this name, or a symlink.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {}
            Err(error) => return Err(error).context(format!("{}", path.display())),
        }
        let dir = root.join(format!("d{}", random.below(DIRS as u64)));
        fs::read_dir(dir)?.for_each(drop);
    }
    Ok(())
}

fn look(mut file: File, dax: bool, counts: &Counts) -> Result<()> {
    counts.tally.change(&file, dax)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).context("reading")?;
    // It may be empty, or all of it a hole.
    match rfs::seek(&file, rfs::SeekFrom::Data(0)) {
        Ok(_) | Err(Errno::NXIO) => Ok(()),
        Err(error) => Err(error).context("SEEK_DATA"),
    }
}

/// Takes inodes, directories and clean pages from the caches.
fn drop_caches(until: Instant, counts: &Counts) -> Result<()> {
    while counts.on(until) {
        fs::write("/proc/sys/vm/drop_caches", "3")?;
        thread::sleep(Duration::from_millis(300));
    }
    Ok(())
}

/// A process that takes most of the memory that there is, again and again, until this is dropped.
struct Pressure(Child);

impl Pressure {
    fn new(stress: &Path) -> Result<Self> {
        let mut command = Command::new(stress);
        command.args(["--vm", "1", "--vm-bytes", "90%", "--vm-populate", "--vm-method", "write64"]);
        command.args(["--oomable", "--quiet", "--temp-path", "/run"]);
        Ok(Self(command.stdin(Stdio::null()).spawn().context("stress-ng")?))
    }
}

impl Drop for Pressure {
    fn drop(&mut self) {
        // Its children go with it.
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}
