// SPDX-License-Identifier: GPL-2.0
//! What a test is, and how one is run: in a process of its own with a deadline, with the kernel
//! log watched, and with `e2fsck` and ext4 judging the image that it leaves behind.

use crate::kmsg::{self, Kmsg};
use crate::manifest::{Facts, Manifest};
use crate::points;
use crate::report::{Outcome, Report};
use crate::stage::{self, Config, Image, Mount};
use anyhow::{Context, Result};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{pidfd_open, Pid, PidfdFlags, Signal};
use std::cmp::Reverse;
use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::iter;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A way to reach the bytes of a file: a device and mount options.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// pmem, every file mapped directly.
    Dax,
    /// pmem through the page cache.
    Pmem,
    /// A ram disk, which has no DAX.
    Ram,
    /// pmem, the mode of each file chosen by its flag.
    Inode,
}

/// DAX and page cache.
pub const BOTH: &[Place] = &[Place::Dax, Place::Ram];
/// DAX, and the page cache on both kinds of device.
pub const ALL: &[Place] = &[Place::Dax, Place::Pmem, Place::Ram];
/// The page cache only.
pub const CACHE: &[Place] = &[Place::Pmem, Place::Ram];
/// DAX only.
pub const DAX: &[Place] = &[Place::Dax];
/// pmem with the mode chosen per file.
pub const INODE: &[Place] = &[Place::Inode];
/// The ram disk only, for what does not depend on how data is reached.
pub const RAM: &[Place] = &[Place::Ram];

impl Place {
    /// Its name in the name of a test.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dax => "dax",
            Self::Pmem => "pmem",
            Self::Ram => "ram",
            Self::Inode => "inode",
        }
    }

    /// The device.
    pub fn device(self) -> &'static str {
        match self {
            Self::Ram => "/dev/ram0",
            Self::Dax | Self::Pmem | Self::Inode => "/dev/pmem0",
        }
    }

    /// The mount options.
    pub fn options(self) -> &'static str {
        match self {
            Self::Dax => "dax=always",
            Self::Pmem => "dax=never",
            Self::Ram | Self::Inode => "dax=inode",
        }
    }

    /// Are regular files DAX here from the start?
    pub fn is_dax(self) -> bool {
        self == Self::Dax
    }

    /// Further arguments of mke2fs. The ram disk gets what Debian 12 makes by default, pmem what
    /// Debian 13 makes, so that all tests run on both.
    fn mkfs(self) -> &'static [&'static str] {
        match self {
            Self::Ram => stage::MKE2FS_1_47_0,
            Self::Dax | Self::Pmem | Self::Inode => &[],
        }
    }
}

/// One test: a name, where it runs, and what it does.
pub struct Test {
    name: &'static str,
    places: &'static [Place],
    body: fn(&mut Bed) -> Result<()>,
    mounted: bool,
    corrupt: bool,
    starved: bool,
    seconds: u64,
}

impl Test {
    /// A test that finds a fresh file system mounted.
    pub const fn new(
        name: &'static str,
        places: &'static [Place],
        body: fn(&mut Bed) -> Result<()>,
    ) -> Self {
        Self { name, places, body, mounted: true, corrupt: false, starved: false, seconds: 120 }
    }

    /// A test that makes and mounts what it needs itself.
    pub const fn bare(
        name: &'static str,
        places: &'static [Place],
        body: fn(&mut Bed) -> Result<()>,
    ) -> Self {
        Self { name, places, body, mounted: false, corrupt: false, starved: false, seconds: 120 }
    }

    /// Another deadline than two minutes.
    pub const fn seconds(mut self, seconds: u64) -> Self {
        self.seconds = seconds;
        self
    }

    /// The test damages its image: complaints in the kernel log are what it wants to see.
    pub const fn corrupt(mut self) -> Self {
        self.corrupt = true;
        self
    }

    /// Allocations fail in it, jbd2's too.
    pub const fn starved(mut self) -> Self {
        self.starved = true;
        self
    }

    fn full_name(&self, place: Place) -> String {
        format!("{}@{}", self.name, place.name())
    }
}

/// Why a test did not run. Becomes `skipped` in the report, with the reason.
#[derive(Debug)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// Ends the test as skipped.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => { return Err($crate::harness::Skip(format!($($reason)*)).into()) };
}

/// What a test works on.
pub struct Bed {
    /// Where it runs.
    pub place: Place,
    /// The file system under test.
    pub config: Config,
    /// The image of its place.
    pub image: Image,
    mount: Option<Mount>,
    log: Kmsg,
}

impl Bed {
    fn new(place: Place, config: &Config) -> Result<Self> {
        let image = Image::on(place.device());
        Ok(Self { place, config: config.clone(), image, mount: None, log: Kmsg::now()? })
    }

    /// Makes a file system as this place has it by default, of `size`, with further arguments.
    pub fn mkfs(&self, size: &str, more: &[&str]) -> Result<()> {
        self.image.mkfs(size, &[self.place.mkfs(), more].concat())
    }

    /// Mounts it with the options of this place.
    pub fn mount(&mut self) -> Result<()> {
        self.mount_with(self.place.options())
    }

    /// Mounts it with other options.
    pub fn mount_with(&mut self, options: &str) -> Result<()> {
        self.mount = Some(self.image.mount(&self.config.fstype, options)?);
        Ok(())
    }

    /// Tries to mount it; what comes back as an error is expected by the caller.
    pub fn try_mount(&self, options: &str) -> Result<Mount, rustix::io::Errno> {
        self.image.try_mount(&self.config.fstype, options)
    }

    /// Unmounts.
    pub fn unmount(&mut self) -> Result<()> {
        self.mount.take().context("not mounted")?.unmount().map(|_| ())
    }

    /// Takes note that the test has unmounted it itself.
    pub fn forget(&mut self) {
        if let Some(mount) = self.mount.take() {
            std::mem::forget(mount);
        }
    }

    /// Unmounts and mounts again, so that everything has to come from the device.
    pub fn again(&mut self) -> Result<()> {
        self.unmount()?;
        self.mount()
    }

    /// Has the kernel's ext4 do something to the image while this file system is unmounted.
    pub fn by_ext4(&mut self, work: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let mounted = self.mount.is_some();
        if mounted {
            self.unmount()?;
        }
        let oracle = self.image.mount("ext4", "")?;
        work(oracle.dir()).context("on the kernel's ext4")?;
        oracle.unmount()?;
        if mounted {
            self.mount()
        } else {
            Ok(())
        }
    }

    /// The mount, of a test that has one.
    pub fn mounted(&self) -> &Mount {
        self.mount.as_ref().expect("this test has the file system mounted")
    }

    /// The root directory.
    pub fn dir(&self) -> &Path {
        self.mounted().dir()
    }

    /// A path below the root directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir().join(name)
    }

    /// Creates a file, open for reading and writing.
    pub fn create(&self, name: &str) -> Result<File> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true);
        options.open(self.path(name)).with_context(|| format!("create {name}"))
    }

    /// Opens a file for reading and writing, as it is.
    pub fn open(&self, name: &str) -> Result<File> {
        let path = self.path(name);
        File::options().read(true).write(true).open(path).with_context(|| format!("open {name}"))
    }

    /// The lines of the kernel log since the test began or last asked.
    pub fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Writes back, unmounts, and has the two judges look at what is there. Does nothing on a
    /// device that is not mounted.
    pub fn judge(&mut self) -> Result<()> {
        let Some(mount) = self.mount.take() else { return Ok(()) };
        let manifest = Manifest::of(mount.dir(), Facts::All).context("reading everything back")?;
        mount.unmount()?;
        self.image.judge(&manifest)
    }
}

/// The tests to run: those that `filter` selects, or those that the host deals out through a port
/// to several guests, each being asked for when the one before has ended.
pub fn choose<'t>(
    tests: &'t [Test],
    filter: &[String],
    dealer: Option<&Path>,
) -> Result<Box<dyn Iterator<Item = (&'t Test, Place)> + 't>> {
    let Some(path) = dealer else { return Ok(Box::new(select(tests, filter).into_iter())) };
    let port = File::options().read(true).write(true).open(path);
    let mut port = BufReader::new(port.with_context(|| format!("{}", path.display()))?);
    Ok(Box::new(iter::from_fn(move || {
        let mut name = String::new();
        port.get_mut().write_all(b"\n").ok()?;
        port.read_line(&mut name).ok()?;
        select(tests, &[]).into_iter().find(|(test, place)| test.full_name(*place) == name.trim())
    })))
}

/// Runs tests. Returns the exit status: 0 if none failed, 1 if some did, 3 if one hangs in the
/// kernel, which ends the run.
pub fn run<'t>(
    tests: impl Iterator<Item = (&'t Test, Place)>,
    config: &Config,
    junit: &Path,
) -> Result<u8> {
    let mut report = Report::new();
    for (test, place) in tests {
        let outcome = run_one(test, place, config, &mut report)?;
        if matches!(outcome, Outcome::Stuck(_)) {
            report.finish(junit)?;
            return Ok(STUCK);
        }
    }
    points::report()?;
    Ok(if report.finish(junit)? { 0 } else { 1 })
}

/// Exit status of a run that a hanging test ended.
const STUCK: u8 = 3;

/// The names of the selected tests, those that may take longest first: so several guests that are
/// dealt the tests in this order end at about the same time.
pub fn list(tests: &[Test], filter: &[String]) {
    let mut selected = select(tests, filter);
    selected.sort_by_key(|(test, _)| Reverse(test.seconds));
    for (test, place) in selected {
        println!("{}", test.full_name(place));
    }
}

/// The tests whose names contain one of `filter`, all if that is empty.
pub fn select<'t>(tests: &'t [Test], filter: &[String]) -> Vec<(&'t Test, Place)> {
    let all = tests.iter().flat_map(|test| test.places.iter().map(move |place| (test, *place)));
    let wanted = |name: &str| filter.is_empty() || filter.iter().any(|f| name.contains(f.as_str()));
    all.filter(|(test, place)| wanted(&test.full_name(*place))).collect()
}

/// What the reason of a failure says before a line of the kernel log.
pub const KERNEL_SAYS: &str = "the kernel log says: ";

/// Runs one test and reports it.
pub fn run_one(test: &Test, place: Place, config: &Config, report: &mut Report) -> Result<Outcome> {
    let name = test.full_name(place);
    report.start(&name);
    kmsg::note(&name);
    let log = Kmsg::now()?;
    let start = Instant::now();
    let (mut outcome, output) = in_process(test, &name, config)?;
    let lines = log.lines();
    if let Some(line) = kmsg::trouble(&lines, test.corrupt, test.starved) {
        outcome = outcome.worsen(format!("{KERNEL_SAYS}{line}"));
    }
    let log = if outcome.is_failure() { lines } else { Vec::new() };
    report.end(&name, &outcome, start.elapsed(), &output, &log);
    Ok(outcome)
}

/// Runs a test in another process and waits for it, no longer than its deadline.
fn in_process(test: &Test, name: &str, config: &Config) -> Result<(Outcome, String)> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["test", "--child", "--fstype", &config.fstype]);
    if config.short {
        command.arg("--short");
    }
    if let Some(seconds) = config.seconds {
        command.args(["--seconds", &seconds.to_string()]);
    }
    for (option, path) in [("--tools", &config.tools), ("--module", &config.module)] {
        command.args(path.iter().flat_map(|p| [option.as_ref(), p.as_os_str()]));
    }
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let mut output = File::from(reader);
    command.args(["--filter", name]).process_group(0).stdin(Stdio::null());
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    drop(command);
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        // What was read before an error is what there is to show.
        let _ = output.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let seconds = test.seconds + config.seconds.unwrap_or(0);
    let outcome = match wait(&mut child, Duration::from_secs(seconds)) {
        Some(outcome) => outcome,
        None => stop(&mut child, seconds),
    };
    if matches!(outcome, Outcome::Stuck(_)) {
        return Ok((outcome, String::new()));
    }
    // Nothing of a test outlives it, or its file system could not be unmounted.
    kill_group(&child);
    let text = reader.join().unwrap_or_default();
    Ok((outcome.explain(&text), text))
}

/// Exit status of a child that skipped its test.
const SKIPPED: i32 = 77;

/// Sleeps until the child has ended or the time is over: looking again and again costs a guest without KVM dearly.
fn ended(child: &Child, limit: Duration) -> rustix::io::Result<()> {
    let pid = Pid::from_raw(child.id() as i32).ok_or(Errno::SRCH)?;
    let child = pidfd_open(pid, PidfdFlags::empty())?;
    let limit = Timespec::try_from(limit).map_err(|_| Errno::INVAL)?;
    poll(&mut [PollFd::new(&child, PollFlags::IN)], Some(&limit)).map(drop)
}

fn wait(child: &mut Child, limit: Duration) -> Option<Outcome> {
    match ended(child, limit).map_err(Into::into).and_then(|()| child.try_wait()) {
        Ok(status) => status.map(|status| match status.code() {
            Some(0) => Outcome::Passed,
            Some(SKIPPED) => Outcome::Skipped(String::new()),
            Some(1) => Outcome::Failed(String::new()),
            _ => Outcome::Failed(format!("the test ended with {status}")),
        }),
        Err(error) => Some(Outcome::Failed(format!("wait: {error}"))),
    }
}

/// Ends a test that ran out of time, after having the kernel log say where it stood.
fn stop(child: &mut Child, seconds: u64) -> Outcome {
    let stack = fs::read_to_string(format!("/proc/{}/stack", child.id())).unwrap_or_default();
    // Blocked tasks to the kernel log; without sysrq the stack above has to do.
    let _ = fs::write("/proc/sysrq-trigger", "w");
    kill_group(child);
    match wait(child, Duration::from_secs(10)) {
        Some(_) => Outcome::Failed(format!("not done after {seconds} s; it stood in\n{stack}")),
        None => Outcome::Stuck(format!("does not die; it stands in\n{stack}")),
    }
}

fn kill_group(child: &Child) {
    if let Some(pid) = Pid::from_raw(child.id() as i32) {
        // The group may be empty by now.
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }
}

/// The child's side: runs the one test of this name and returns the exit status.
pub fn child(tests: &[Test], config: &Config, name: &str) -> i32 {
    let found = select(tests, &[name.to_owned()]);
    let Some((test, place)) = found.into_iter().find(|(t, p)| t.full_name(*p) == name) else {
        println!("FAIL no test is called {name}");
        return 1;
    };
    match body(test, place, config) {
        Ok(()) => 0,
        Err(error) => match error.downcast_ref::<Skip>() {
            Some(reason) => {
                println!("SKIP {reason}");
                SKIPPED
            }
            None => {
                println!("FAIL {error:#}");
                1
            }
        },
    }
}

fn body(test: &Test, place: Place, config: &Config) -> Result<()> {
    stage::unmount_all()?;
    let mut bed = Bed::new(place, config)?;
    if test.mounted {
        bed.mkfs(stage::IMAGE, &[])?;
        bed.mount()?;
    }
    (test.body)(&mut bed)?;
    bed.judge().context("after the test")
}
