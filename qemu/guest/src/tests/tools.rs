// SPDX-License-Identifier: GPL-2.0
//! Other people's tests: fsx, pjdfstest, fio with verification, stress-ng, dbench. Each is skipped, with
//! the reason, where the program is missing.

use super::{is_dax, pattern};
use crate::harness::{Bed, Test, BOTH, RAM};
use crate::skip;
use crate::stage::SCRATCH;
use anyhow::{ensure, Context, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test> {
    vec![
        Test::bare("tools::fsx", BOTH, |bed| {
            let (options, limit) = (bed.place.options(), soak(bed));
            fsx(bed, options, limit)
        })
        .seconds(400),
        Test::bare("tools::fsx_journal", RAM, |bed| {
            let limit = soak(bed) / 4;
            fsx(bed, "data=journal", limit)
        })
        .seconds(200),
        Test::bare("tools::pjdfstest", BOTH, pjdfstest).seconds(400),
        Test::bare("tools::fio_psync", BOTH, |bed| fio(bed, "psync")).seconds(300),
        Test::bare("tools::fio_mmap", BOTH, |bed| fio(bed, "mmap")).seconds(300),
        Test::bare("tools::fio_libaio", BOTH, |bed| fio(bed, "libaio")).seconds(300),
        Test::bare("tools::fio_io_uring", BOTH, |bed| fio(bed, "io_uring")).seconds(300),
        Test::bare("tools::stress_ng", BOTH, stress_ng).seconds(900),
        Test::bare("tools::dbench", BOTH, dbench).seconds(500),
        Test::bare("tools::tar", RAM, tar).seconds(1200),
    ]
}

/// A program from the directory of tools or from the guest's own.
pub fn find(bed: &Bed, name: &str) -> Option<PathBuf> {
    let own = ["/usr/bin", "/usr/sbin"].into_iter().map(PathBuf::from);
    let dirs = bed.config.tools.iter().flat_map(|dir| [dir.clone(), dir.join("bin")]).chain(own);
    dirs.map(|dir| dir.join(name)).find(|path| path.exists())
}

/// The same; the test is skipped without it.
pub fn required(bed: &Bed, name: &str) -> Result<PathBuf> {
    match find(bed, name) {
        Some(path) => Ok(path),
        None => skip!("{name} is not installed in this guest"),
    }
}

/// How long a soak test lasts.
fn soak(bed: &Bed) -> Duration {
    Duration::from_secs(bed.config.amount(120, 12, 8))
}

/// Writes fsx's configuration: every operation that it knows on Linux.
pub fn fsx_config() -> Result<PathBuf> {
    let path = Path::new(SCRATCH).join("fsx.toml");
    let text =
        "flen = 1048576\n[opsize]\nmax = 131072\n[weights]\nclose_open = 1.0\ninvalidate = 1.0\n\
         truncate = 5.0\nread = 10.0\nwrite = 10.0\nmapread = 10.0\nmapwrite = 10.0\nfsync = 2.0\n\
         fdatasync = 2.0\nsendfile = 3.0\nposix_fadvise = 2.0\ncopy_file_range = 3.0\n\
         posix_fallocate = 1.0\npunch_hole = 1.0\n";
    std::fs::write(&path, text)?;
    Ok(path)
}

/// Runs fsx for a while: it must still be running then.
fn fsx(bed: &mut Bed, options: &str, limit: Duration) -> Result<()> {
    let tool = required(bed, "fsx")?;
    bed.mkfs("256M", &[])?;
    bed.mount_with(options)?;
    let (file, begun) = (bed.path("file"), Instant::now());
    let (mut seed, mut operations) = (1, 0_u64);
    // In pieces with new seeds, and with a size that the operations of one seed do not outlive.
    while begun.elapsed() < limit {
        let count = bed.config.amount(10_000, 2_000, 500);
        let output = Command::new(&tool)
            .args(["-S", &seed.to_string(), "-N", &count.to_string(), "-P", SCRATCH, "-f"])
            .arg(fsx_config()?)
            .arg(&file)
            .output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let end: Vec<&str> = text.lines().rev().take(30).collect();
        let end: Vec<&str> = end.into_iter().rev().collect();
        ensure!(
            output.status.success(),
            "fsx -S {seed} ended with {}:\n{}",
            output.status,
            end.join("\n")
        );
        ensure!(is_dax(&File::open(&file)?)? == bed.place.is_dax());
        seed += 1;
        operations += count;
    }
    println!("{operations} operations in {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// What pjdfstest fails on rdaxfs, by name, each with the reason, in TOML.
const EXPECTED: &str = include_str!("../../pjdfstest.toml");

/// Which of its tests run on DAX and which on the page cache where all of them would take many minutes.
const PJDFSTEST_PARTS: (&[&str], &[&str]) =
    (&["truncate::", "posix_fallocate::", "tests::unlink"], &["symlink::", "chflags::"]);

fn pjdfstest(bed: &mut Bed) -> Result<()> {
    let tool = required(bed, "pjdfstest")?;
    bed.mkfs("512M", &["-N", "80000"])?;
    bed.mount()?;
    let work = bed.path("pjdfstest");
    std::fs::create_dir(&work)?;
    // All of it at each place, or a part.
    let all: &[&str] = &[];
    let (dax, cached) = PJDFSTEST_PARTS;
    let part = bed.config.amount(all, all, if bed.place.is_dax() { dax } else { cached });
    // Those that remount it read-only alone: after others, which leave files open, it is busy, as ext4 is.
    let remounting = EXPECTED.replace("allow_remount = false", "allow_remount = true");
    for (config, part) in [(EXPECTED, part), (&remounting, &["erofs"])] {
        let path = Path::new(SCRATCH).join("pjdfstest.toml");
        std::fs::write(&path, config)?;
        let output = Command::new(&tool)
            .args(["-s", "/run", "-c"])
            .arg(&path)
            .arg("-p")
            .arg(&work)
            .args(part)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let counts =
            text.lines().rev().find(|line| line.contains("Summary")).unwrap_or("no summary");
        println!("{counts}");
        let bad: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("FAILED") || line.contains("PASSED UNEXPECTEDLY"))
            .collect();
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{counts}\n{}\n{errors}", bad.join("\n"));
    }
    Ok(())
}

/// Random and sequential writes, every block verified.
fn fio(bed: &mut Bed, engine: &str) -> Result<()> {
    let tool = required(bed, "fio")?;
    bed.mkfs("300M", &[])?;
    bed.mount()?;
    let size = bed.config.amount("--size=32M", "--size=8M", "--size=2M");
    let mut jobs = vec![vec!["--name=random", "--rw=randwrite", "--bs=4k"]];
    jobs.push(vec!["--name=mixed", "--rw=randrw", "--bsrange=512-64k", "--bs_unaligned=1"]);
    jobs.push(vec!["--name=sequential", "--rw=write", "--bs=1M"]);
    if matches!(engine, "libaio" | "io_uring") {
        jobs.push(vec![
            "--name=direct",
            "--rw=randwrite",
            "--bs=16k",
            "--direct=1",
            "--iodepth=16",
        ]);
    }
    // What is closest to the engine, where a start of fio takes seconds.
    let first = bed.config.amount(0, 0, jobs.len() - 2);
    let (jobs, begun) = (jobs.split_off(first), Instant::now());
    // At full length the four engines take five minutes at each place.
    let least = Duration::from_secs(bed.config.amount(75, 0, 0));
    for (n, job) in jobs.iter().cycle().enumerate() {
        if n >= jobs.len() && begun.elapsed() >= least {
            break;
        }
        let output = Command::new(&tool)
            .args([
                "--verify=crc32c",
                "--verify_state_save=0",
                "--verify_fatal=1",
                "--do_verify=1",
                "--minimal",
            ])
            .arg(format!("--directory={}", bed.dir().display()))
            .args([&format!("--ioengine={engine}"), size])
            .args(job)
            .output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if text.contains("engine") && text.contains("not loadable") {
            skip!("fio has no engine {engine} here");
        }
        ensure!(output.status.success(), "{} ended with {}:\n{text}", job[0], output.status);
    }
    Ok(())
}

/// The stressors of stress-ng's file system class, one after the other, two of each at a time.
fn stress_ng(bed: &mut Bed) -> Result<()> {
    let tool = required(bed, "stress-ng")?;
    bed.mkfs("400M", &["-N", "60000"])?;
    bed.mount()?;
    let output = Command::new(&tool).args(["--class", "filesystem?"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, names) = text.split_once("stressors: ").with_context(|| format!("no list: {text}"))?;
    // Without those that are about other file systems.
    let stressors: Vec<&str> =
        names.split_whitespace().filter(|name| !["binderfs", "procfs"].contains(name)).collect();
    let seconds = bed.config.amount("6s", "3s", "2s");
    // In the short forms another part of them at each place.
    let (mut failed, step) = (Vec::new(), bed.config.amount(1, 12, 25));
    let first = if bed.place.is_dax() { 0 } else { step / 2 };
    let chosen: Vec<&str> = stressors.into_iter().skip(first).step_by(step).collect();
    println!("{}", chosen.join(" "));
    for name in chosen {
        let output = Command::new(&tool)
            .args([&format!("--{name}"), "2", "--timeout", seconds, "--temp-path"])
            .arg(bed.dir())
            .args(["--verify", "--oom-avoid", "--quiet"])
            .output()?;
        // 3: not supported here; 2: some stressor failed.
        if !matches!(output.status.code(), Some(0 | 3 | 4)) {
            failed.push(format!(
                "{name}: {}\n{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            ));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

/// What a file server does with the files of a few clients.
fn dbench(bed: &mut Bed) -> Result<()> {
    let tool = required(bed, "dbench")?;
    bed.mkfs("400M", &[])?;
    bed.mount()?;
    let seconds = bed.config.amount("300", "6", "4");
    let output = Command::new(tool)
        .args(["-c", "/usr/share/dbench/client.txt", "-t", seconds, "-x", "-D"])
        .arg(bed.dir())
        .arg(bed.config.amount("4", "2", "2"))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let end = text.lines().rev().find(|line| line.starts_with("Throughput"));
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && end.is_some() && !errors.contains("ERROR"),
        "dbench ended with {}:\n{text}\n{errors}",
        output.status
    );
    println!("{}", end.unwrap_or_default());
    Ok(())
}

/// A tree packed on this file system and unpacked on it is what it was.
fn tar(bed: &mut Bed) -> Result<()> {
    use crate::manifest::{Facts, Manifest};
    let tool = required(bed, "tar")?;
    bed.mkfs("400M", &[])?;
    bed.mount()?;
    let tree = bed.config.amount(
        "include",
        "include/x86_64-linux-gnu/bits",
        "include/x86_64-linux-gnu/sys",
    );
    let source = &Path::new("/usr").join(tree);
    if !source.exists() {
        skip!("{} is missing in this guest", source.display());
    }
    for args in [["-cf", "archive", "-C", "/usr", tree], ["-xf", "archive", "-C", ".", tree]] {
        let status = Command::new(&tool).args(args).current_dir(bed.dir()).status()?;
        ensure!(status.success(), "tar {args:?} ended with {status}");
    }
    let there = Manifest::of(source, Facts::Copied).context("the source")?;
    let here = Manifest::of(&bed.path(tree), Facts::Copied)?;
    there.same(&here, "source", "unpacked")?;
    std::fs::remove_file(bed.path("archive"))?;
    std::fs::write(bed.path("marker"), pattern(1, 0, 10))?;
    Ok(())
}
