// SPDX-License-Identifier: GPL-2.0
//! `make run`: the main job on real input, as a report. A source tree and large files on a file
//! system on pmem and on one on a ram disk, mapped both ways, switched between the two, and judged
//! by `e2fsck` and by the kernel's own ext4 at the end.

use crate::counters::Counters;
use crate::events::Events;
use crate::manifest::{Facts, Manifest};
use crate::smaps;
use crate::stage::{Config, Image, Mount};
use crate::sys::{self, Mapping};
use anyhow::{bail, ensure, Context, Result};
use rustix::fs::{statx, AtFlags, StatxFlags};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{symlink, FileExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use walkdir::WalkDir;

/// Bytes of a file that is mapped.
const LARGE: usize = 64 << 20;
/// Bytes written or compared at a time.
const PIECE: usize = 1 << 20;
/// Files of a source tree that makes a fair trial.
const ENOUGH: usize = 5_000;

/// Runs the demonstration, on the source tree in the archive `source`; true if everything held.
pub fn run(config: &Config, source: &Path) -> Result<bool> {
    let mut report = Report { failed: 0, begun: Instant::now() };
    // What a step after a failed one would show is anyone's guess: the first failure ends it.
    if let Err(error) = show(config, source, &mut report) {
        report.failed += 1;
        println!("  FAILED  {error:#}");
    }
    let seconds = report.begun.elapsed().as_secs_f64();
    match report.failed {
        0 => println!("\nEverything held. {seconds:.0} s"),
        _ => println!("\nNot everything held: see FAILED above. {seconds:.0} s"),
    }
    Ok(report.failed == 0)
}

struct Report {
    failed: u32,
    begun: Instant,
}

impl Report {
    fn title(&self, text: &str) {
        println!("\n{text}");
    }

    /// One line per thing that was to hold. The description of a success comes from the check.
    fn check(&mut self, what: &str, check: impl FnOnce() -> Result<String>) {
        let begun = Instant::now();
        let result = check();
        let seconds = begun.elapsed().as_secs_f64();
        match result {
            Ok(detail) => println!("  ok      {what:<46} {detail} ({seconds:.1} s)"),
            Err(error) => {
                self.failed += 1;
                println!("  FAILED  {what}: {error:#}");
            }
        }
        // Losing a flush loses liveliness only.
        let _ = io::stdout().flush();
    }

    /// A check whose result the rest stands on.
    fn need<T>(&mut self, what: &str, check: impl FnOnce() -> Result<(T, String)>) -> Result<T> {
        let mut value = None;
        self.check(what, || {
            let (made, detail) = check()?;
            value = Some(made);
            Ok(detail)
        });
        value.with_context(|| format!("cannot go on without: {what}"))
    }
}

/// One of the two file systems.
struct Side {
    label: &'static str,
    dax: bool,
    image: Image,
    mount: Mount,
}

fn show(config: &Config, source: &Path, report: &mut Report) -> Result<()> {
    println!("rdaxfs on {}", fs::read_to_string("/proc/sys/kernel/osrelease")?.trim());
    report.title("Two file systems, made by mke2fs as it makes them by default");
    let sides = [
        make(config, report, "pmem", "/dev/pmem0", true)?,
        make(config, report, "ram disk", "/dev/ram0", false)?,
    ];
    copy_tree(report, source, &sides)?;
    map_large_files(report, &sides)?;
    change_mode(report, &sides[0])?;
    trace(report, &sides[0])?;
    count_faults(report, &sides)?;
    let images = judge(report, sides)?;
    written_by_ext4(config, report, &images)
}

fn is_dax(path: &Path) -> Result<bool> {
    let stat = statx(rustix::fs::CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS)?;
    Ok(stat.stx_attributes.bits() & sys::STATX_ATTR_DAX != 0)
}

fn make(
    config: &Config,
    report: &mut Report,
    label: &'static str,
    device: &str,
    dax: bool,
) -> Result<Side> {
    let mount = report.need(&format!("{label}: mke2fs, mount -t {}", config.fstype), || {
        let image = Image::on(device);
        image.mkfs("", &[])?;
        let mount = image.mount(&config.fstype, "dax=inode")?;
        if dax {
            // chattr +x on the root directory: what is made below is DAX from the start.
            sys::set_xflag_dax(File::open(mount.dir())?, true)?;
        }
        let shown = mount.shown()?;
        Ok((mount, format!("{device}, {shown}")))
    })?;
    Ok(Side { label, dax, image: Image::on(device), mount })
}

/// Copies a tree: directories, files with their permissions, symlinks.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in WalkDir::new(from) {
        let entry = entry?;
        let target = to.join(entry.path().strip_prefix(from)?);
        let kind = entry.file_type();
        if kind.is_dir() {
            fs::create_dir_all(&target)?;
            fs::set_permissions(&target, entry.metadata()?.permissions())?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path())?, &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &target).with_context(|| target.display().to_string())?;
        }
    }
    Ok(())
}

/// Where the source tree is unpacked, in memory.
const SOURCE: &str = "/run/guest-source";
/// A part of it, which ext4 removes and copies once more.
const PART: &str = "usr/include";

fn load(archive: &Path) -> Result<(Manifest, String)> {
    // Of an earlier run in the same guest; mostly there is none.
    let _ = fs::remove_dir_all(SOURCE);
    fs::create_dir_all(SOURCE)?;
    let status = Command::new("tar").arg("-xf").arg(archive).args(["-C", SOURCE]).status()?;
    ensure!(status.success(), "tar, of {}: {status}", archive.display());
    let files = WalkDir::new(SOURCE).into_iter().flatten();
    let files = files.filter(|entry| entry.file_type().is_file()).count();
    ensure!(files >= ENOUGH, "{} has only {files} files, not {ENOUGH}", archive.display());
    let manifest = Manifest::of(Path::new(SOURCE), Facts::Copied)?;
    let detail = format!("{} paths, {files} of them files", manifest.len());
    Ok((manifest, detail))
}

fn copy_tree(report: &mut Report, source: &Path, sides: &[Side; 2]) -> Result<()> {
    report.title("A source tree, copied into both");
    let source = report.need("source, with checksums", || load(source))?;
    for side in sides {
        let tree = side.mount.dir().join("tree");
        report.check(&format!("{}: copied", side.label), || {
            copy(Path::new(SOURCE), &tree)?;
            rustix::fs::syncfs(File::open(side.mount.dir())?)?;
            let dax = is_dax(&first_file(&tree)?)?;
            ensure!(dax == side.dax, "the copies are {}DAX", if dax { "" } else { "not " });
            Ok(if dax { "files are DAX".into() } else { "files are in the page cache".into() })
        });
        report.check(&format!("{}: checksums", side.label), || {
            let found = Manifest::of(&tree, Facts::Copied)?;
            source.same(&found, "source", "copy")?;
            Ok(format!("{} paths, {} MiB, all equal", found.len(), found.bytes() >> 20))
        });
    }
    Ok(())
}

fn first_file(dir: &Path) -> Result<PathBuf> {
    let mut files = WalkDir::new(dir).into_iter().flatten().filter(|e| e.file_type().is_file());
    Ok(files.next().context("no file")?.into_path())
}

/// Bytes that tell each place of a file from every other.
fn content(seed: u64, at: usize) -> Vec<u8> {
    let words = (at as u64 / 8)..(at as u64 / 8 + PIECE as u64 / 8);
    words.flat_map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed).to_le_bytes()).collect()
}

fn pieces() -> impl Iterator<Item = usize> {
    (0..LARGE).step_by(PIECE)
}

fn write_large(path: &Path, seed: u64) -> Result<File> {
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    for at in pieces() {
        file.write_all_at(&content(seed, at), at as u64)?;
    }
    Ok(file)
}

fn check_read(file: &File, seed: u64) -> Result<()> {
    let mut bytes = vec![0; PIECE];
    for at in pieces() {
        file.read_exact_at(&mut bytes, at as u64)?;
        ensure!(bytes == content(seed, at), "other bytes at {at} by read");
    }
    Ok(())
}

fn check_mapped(map: &Mapping, seed: u64) -> Result<()> {
    for at in pieces() {
        ensure!(
            map.read(at, PIECE) == content(seed, at),
            "other bytes at {at} through the mapping"
        );
    }
    Ok(())
}

fn map_large_files(report: &mut Report, sides: &[Side; 2]) -> Result<()> {
    report.title("Files of 64 MiB, mapped for reading and for writing");
    for side in sides {
        let path = side.mount.dir().join("large");
        let (label, before) = (side.label, Counters::of(side.image.device())?);
        report.check(&format!("{label}: written by write, read through a mapping"), || {
            let file = write_large(&path, 1)?;
            let map = Mapping::shared(&file, LARGE)?;
            check_mapped(&map, 1)?;
            let (_, huge) = sys::mapped_bytes(&map)?;
            Ok(format!("{} of 32 mappings of 2 MiB", huge >> 21))
        });
        report.check(&format!("{label}: stored through a mapping, read by read"), || {
            let file = File::options().read(true).write(true).open(&path)?;
            let map = Mapping::shared(&file, LARGE)?;
            for at in pieces() {
                map.write(at, &content(2, at));
            }
            check_read(&file, 2)?;
            map.sync(rustix::mm::MsyncFlags::SYNC)?;
            let (_, huge) = sys::mapped_bytes(&map)?;
            Ok(format!("{} of 32 mappings of 2 MiB", huge >> 21))
        });
        let after = Counters::of(side.image.device())?.since(&before);
        report.check(&format!("{label}: the handlers that ran"), || {
            let cached = after.get("faults");
            let direct = after.get("dax_faults") + after.get("dax_huge_faults");
            let right =
                if side.dax { direct > 0 && cached == 0 } else { direct == 0 && cached > 0 };
            ensure!(right, "{direct} faults of DAX, {cached} of the page cache");
            let huge = after.get("dax_huge_mapped");
            ensure!(!side.dax || huge >= 32, "only {huge} mappings were 2 MiB");
            Ok(format!("{direct} faults of DAX, {cached} of the page cache, {huge} of 2 MiB"))
        });
        report.check(&format!("{label}: smaps"), || {
            let map = Mapping::shared(File::options().read(true).write(true).open(&path)?, LARGE)?;
            map.touch_read();
            let mixed = smaps::has_flag(&map, "mm")?;
            ensure!(mixed == side.dax, "`mm` is {}there", if mixed { "" } else { "not " });
            let entry = smaps::of(&map)?;
            let kept = entry
                .lines()
                .filter(|l| l.contains('-') || l.starts_with("Rss") || l.starts_with("VmFlags"));
            let lines: Vec<String> = kept.map(|line| format!("\n            {line}")).collect();
            Ok(format!("`mm` is {}there{}", if mixed { "" } else { "not " }, lines.concat()))
        });
    }
    Ok(())
}

fn switch(file: &File, path: &Path, dax: bool) -> Result<String> {
    let begun = Instant::now();
    sys::set_xflag_dax(file, dax)?;
    let took = begun.elapsed();
    ensure!(is_dax(path)? == dax, "done, but statx says otherwise");
    Ok(format!("done at once, {} µs", took.as_micros()))
}

fn refused(file: &File, path: &Path, dax: bool) -> Result<String> {
    match sys::set_xflag_dax(file, dax) {
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
        Err(error) => bail!("{error}, expected EBUSY"),
        Ok(()) => bail!("done although the file is mapped"),
    }
    ensure!(is_dax(path)? != dax, "refused, but statx says that it was done");
    Ok("EBUSY".into())
}

/// Both directions: refused while mapped, done at once after munmap, bytes intact.
fn change_mode(report: &mut Report, side: &Side) -> Result<()> {
    report.title("The mode of an open file, changed live");
    let path = side.mount.dir().join("large");
    let file = File::options().read(true).write(true).open(&path)?;
    for (dax, seed, direction) in [(false, 3, "DAX to page cache"), (true, 4, "page cache to DAX")]
    {
        let map = Mapping::shared(&file, LARGE)?;
        for at in pieces() {
            map.write(at, &content(seed, at));
        }
        report.check(&format!("{direction}, while mapped"), || refused(&file, &path, dax));
        drop(map);
        report.check(&format!("{direction}, after munmap"), || switch(&file, &path, dax));
        report.check(&format!("{direction}, bytes by read and mapped"), || {
            check_read(&file, seed)?;
            let map = Mapping::shared(&file, LARGE)?;
            check_mapped(&map, seed)?;
            ensure!(smaps::has_flag(&map, "mm")? == dax, "`mm` in smaps does not tell the mode");
            Ok(format!("intact; `mm` {}", if dax { "there" } else { "gone" }))
        });
    }
    Ok(())
}

/// The trace events that two changes of a mapped file bring about.
const TOLD: [&str; 8] = [
    "mmap",
    "fault",
    "fault_done",
    "page_mkwrite",
    "page_mkwrite_done",
    "switch",
    "switch_refused",
    "switch_done",
];

/// What trace events tell of one file: a fault in each mode, a refused change and one that is made.
fn trace(report: &mut Report, side: &Side) -> Result<()> {
    report.title("The same, as trace events tell it (tracefs, events/rdaxfs)");
    let file = File::options().read(true).write(true).open(side.mount.dir().join("large"))?;
    report.check("recorded", || {
        let events = Events::record()?;
        for dax in [false, true] {
            let map = Mapping::shared(&file, PIECE)?;
            map.write(0, b"traced");
            let busy = sys::set_xflag_dax(&file, dax);
            ensure!(busy.is_err_and(|e| e.raw_os_error() == Some(libc::EBUSY)), "not refused");
            drop(map);
            sys::set_xflag_dax(&file, dax)?;
        }
        let mut lines = 0;
        for name in TOLD {
            let told = events.of(&format!("rdaxfs_{name}"))?;
            for line in &told {
                println!("    {name:<17} {line}");
            }
            ensure!(!told.is_empty(), "no event rdaxfs_{name}");
            lines += told.len();
        }
        Ok(format!("{lines} events"))
    });
    Ok(())
}

fn count_faults(report: &mut Report, sides: &[Side; 2]) -> Result<()> {
    report.title("Counters, from /sys/fs/rdaxfs");
    let counters = [Counters::of(sides[0].image.device())?, Counters::of(sides[1].image.device())?];
    println!("  {:<26} {:>12} {:>12}", "", sides[0].label, sides[1].label);
    for name in counters[0].names() {
        println!("  {:<26} {:>12} {:>12}", name, counters[0].get(name), counters[1].get(name));
    }
    Ok(())
}

/// Unmounts both and has e2fsck and ext4 look at them.
fn judge(report: &mut Report, sides: [Side; 2]) -> Result<Vec<(&'static str, Image)>> {
    report.title("Unmounted, and judged by e2fsck and the kernel's ext4");
    let mut images = Vec::new();
    for side in sides {
        let (label, image) = (side.label, side.image);
        let manifest = report.need(&format!("{label}: checksums, then umount"), || {
            let manifest = Manifest::of(side.mount.dir(), Facts::All)?;
            side.mount.unmount()?;
            let sum = manifest.checksum();
            Ok((manifest, sum))
        })?;
        report.check(&format!("{label}: e2fsck -fn"), || image.fsck().map(|()| "clean".into()));
        report.check(&format!("{label}: read through ext4"), || {
            let oracle = image.mount("ext4", "ro")?;
            let seen = Manifest::of(oracle.dir(), Facts::All)?;
            oracle.unmount()?;
            manifest.same(&seen, "rdaxfs", "ext4")?;
            Ok(format!("{} paths, {} MiB, all equal", seen.len(), seen.bytes() >> 20))
        });
        images.push((label, image));
    }
    Ok(images)
}

/// The other way round.
fn written_by_ext4(
    config: &Config,
    report: &mut Report,
    images: &[(&'static str, Image)],
) -> Result<()> {
    report.title("The other way round: ext4 writes, rdaxfs reads");
    for (label, image) in images {
        let expected =
            report.need(&format!("{label}: files changed, added and removed by ext4"), || {
                let oracle = image.mount("ext4", "")?;
                fs::remove_dir_all(oracle.dir().join("tree").join(PART))?;
                fs::remove_file(oracle.dir().join("large"))?;
                copy(&Path::new(SOURCE).join(PART), &oracle.dir().join("again"))?;
                write_large(&oracle.dir().join("large-by-ext4"), 5)?;
                let manifest = Manifest::of(oracle.dir(), Facts::All)?;
                oracle.unmount()?;
                let files = manifest.len();
                Ok((manifest, format!("{files} paths")))
            })?;
        report.check(&format!("{label}: read through {}", config.fstype), || {
            let mount = image.mount(&config.fstype, "dax=inode")?;
            let seen = Manifest::of(mount.dir(), Facts::All)?;
            expected.same(&seen, "ext4", "rdaxfs")?;
            check_read(&File::open(mount.dir().join("large-by-ext4"))?, 5)?;
            mount.unmount()?;
            Ok(format!("{} paths, {} MiB, all equal", seen.len(), seen.bytes() >> 20))
        });
        report.check(&format!("{label}: e2fsck -fn"), || image.fsck().map(|()| "clean".into()));
    }
    Ok(())
}
