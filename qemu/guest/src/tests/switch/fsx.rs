// SPDX-License-Identifier: GPL-2.0
//! 1: the reproducer of the thread of 2017. An ordinary user runs fsx on a file of his own, and beside
//! it a loop of `chattr +x` and `chattr -x`. fsx knows no direct I/O, so an exerciser of ours does the
//! same with it.

use super::{is_dax, needs_live, pattern, storm, Go, Tally, PATIENCE};
use crate::harness::{Bed, Test, INODE};
use crate::skip;
use crate::sys::{self, Aligned, End, Mapping, PAGE};
use crate::tests::tools;
use anyhow::{ensure, Context, Result};
use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use std::cell::RefCell;
use std::fs::{File, Permissions};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("switch::fsx", INODE, fsx).seconds(240),
        Test::new("switch::exerciser", INODE, exerciser).seconds(240),
    ]
}

/// Runs `work` as an ordinary user, who has a directory to himself.
fn as_user(bed: &mut Bed, work: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    needs_live(bed)?;
    let dir = bed.path("dir");
    std::fs::create_dir(&dir)?;
    std::fs::set_permissions(&dir, Permissions::from_mode(0o777))?;
    let end = sys::in_child(|| {
        match sys::become_user(1000).context("user").and_then(|()| work(&dir.join("file"))) {
            Ok(()) => 0,
            Err(error) => {
                println!("{error:#}");
                1
            }
        }
    })?;
    ensure!(end == End::Exit(0), "see the output: {end:?}");
    Ok(())
}

fn fsx(bed: &mut Bed) -> Result<()> {
    let Some(tool) = tools::find(bed, "fsx") else {
        skip!("fsx is not installed in this guest");
    };
    let (limit, config) = (storm(bed, 60).max(Duration::from_secs(10)), tools::fsx_config()?);
    as_user(bed, |path| fsx_beside_changes(&tool, &config, path, limit))
}

fn fsx_beside_changes(tool: &Path, config: &Path, path: &Path, limit: Duration) -> Result<()> {
    let mut fsx = Command::new(tool);
    fsx.args(["-S", "7", "-f"]).arg(config).args(["-P", crate::stage::SCRATCH]).arg(path);
    let mut fsx = fsx.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn()?;
    let (begun, tally) = (Instant::now(), Tally::default());
    let outcome = (|| {
        while !path.exists() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        let file = File::options().read(true).write(true).open(path)?;
        let more = || match tally.at_least([20; 2]) {
            Ok(()) => begun.elapsed() < limit,
            Err(_) => begun.elapsed() < limit + PATIENCE,
        };
        while more() && fsx.try_wait()?.is_none() {
            tally.change(&file, !is_dax(&file)?)?;
        }
        Ok::<_, anyhow::Error>(())
    })();
    let early = fsx.try_wait()?;
    fsx.kill()?;
    fsx.wait()?;
    println!("{tally}");
    outcome?;
    ensure!(early.is_none(), "fsx ended with {early:?}");
    tally.leave()?;
    tally.at_least([20; 2])
}

fn exerciser(bed: &mut Bed) -> Result<()> {
    let limit = storm(bed, 60);
    as_user(bed, |path| {
        let exerciser = Mutex::new(Exerciser::new(path)?);
        let file = File::options().read(true).write(true).open(path)?;
        super::attack_for(
            limit,
            &file,
            20,
            vec![Box::new(|go: &Go| {
                let mut exerciser = exerciser.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
                exerciser.run(go)
            })],
        )
    })
}

/// The file is never longer.
const MOST: usize = 1 << 20;

/// A file, and what must be in it after random operations of every kind.
struct Exerciser {
    path: PathBuf,
    file: File,
    direct: File,
    model: Vec<u8>,
    random: RefCell<u64>,
}

impl Exerciser {
    fn new(path: &Path) -> Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path)?;
        let direct = options.custom_flags(OFlags::DIRECT.bits() as i32).open(path)?;
        let (model, random) = (Vec::new(), RefCell::new(1));
        Ok(Self { path: path.to_owned(), file, direct, model, random })
    }

    /// A number less than `limit`, which is not 0.
    fn below(&self, limit: usize) -> usize {
        let mut state = self.random.borrow_mut();
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        (*state >> 11) as usize % limit
    }

    fn run(&mut self, go: &Go) -> Result<()> {
        for step in 0.. {
            if !go.on() {
                break;
            }
            self.step(go, step).with_context(|| format!("operation {step}"))?;
            if step % 100 == 99 {
                let found = std::fs::read(&self.path)?;
                go.tally.same(&found, &self.model, "the whole file")?;
            }
        }
        let found = std::fs::read(&self.path)?;
        go.tally.same(&found, &self.model, "the whole file at the end")
    }

    /// One operation, chosen at random.
    fn step(&mut self, go: &Go, step: u64) -> Result<()> {
        let (at, len) = (self.below(MOST - 70_000), self.below(65_536) + 1);
        let bytes = pattern(step, at as u64, len);
        match self.below(20) {
            0..3 => self.read(go, at, len),
            3..6 => self.read_directly(go, at, len),
            6..9 => self.load(go, at, len),
            9..12 => {
                self.file.write_all_at(&bytes, at as u64)?;
                self.put(at, &bytes);
                Ok(())
            }
            12..14 => {
                let (at, bytes) = (at & !(PAGE - 1), pattern(step, 0, (len + PAGE) & !(PAGE - 1)));
                self.direct.write_all_at(&Aligned::of(&bytes), at as u64)?;
                self.put(at, &bytes);
                Ok(())
            }
            14..17 => self.store(go, at, &bytes),
            17 => {
                self.file.set_len(at as u64)?;
                self.model.resize(at, 0);
                Ok(())
            }
            18 => self.punch(at, len),
            _ => Ok(self.file.sync_all()?),
        }
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        self.model.resize(self.model.len().max(end), 0);
        self.model[at..end].copy_from_slice(bytes);
    }

    /// What a read of `len` bytes at `at` must give.
    fn expected(&self, at: usize, len: usize) -> &[u8] {
        let end = self.model.len().min(at + len);
        &self.model[at.min(end)..end]
    }

    fn read(&self, go: &Go, at: usize, len: usize) -> Result<()> {
        let mut found = vec![0; len];
        let count = self.file.read_at(&mut found, at as u64)?;
        go.tally.same(&found[..count], self.expected(at, len), "by read")
    }

    fn read_directly(&self, go: &Go, at: usize, len: usize) -> Result<()> {
        let (at, len) = (at & !(PAGE - 1), (len + PAGE) & !(PAGE - 1));
        let mut found = Aligned::new(len, 0);
        let count = self.direct.read_at(&mut found, at as u64)?;
        go.tally.same(&found[..count], self.expected(at, len), "by direct read")
    }

    /// Maps the pages of a range, as far as the file reaches.
    fn map(&self, at: usize, len: usize) -> Result<(Mapping, usize)> {
        let first = at & !(PAGE - 1);
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let map = Mapping::new(&self.file, first as u64, at + len - first, prot, MapFlags::SHARED);
        Ok((map.context("mmap")?, at - first))
    }

    fn load(&self, go: &Go, at: usize, len: usize) -> Result<()> {
        let len = self.expected(at, len).len();
        if len == 0 {
            return Ok(());
        }
        let (map, skip) = self.map(at, len)?;
        go.held(|| go.tally.same(&map.read(skip, len), self.expected(at, len), "by load"))
    }

    fn store(&mut self, go: &Go, at: usize, bytes: &[u8]) -> Result<()> {
        let len = self.expected(at, bytes.len()).len();
        if len == 0 {
            return Ok(());
        }
        let (map, skip) = self.map(at, len)?;
        go.held(|| {
            map.write(skip, &bytes[..len]);
            Ok(())
        })?;
        self.put(at, &bytes[..len]);
        Ok(())
    }

    fn punch(&mut self, at: usize, len: usize) -> Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.file, flags, at as u64, len as u64) {
            Err(Errno::OPNOTSUPP) => return Ok(()),
            done => done.context("punch")?,
        }
        let end = self.model.len().min(at + len);
        self.model[at.min(end)..end].fill(0);
        Ok(())
    }
}
