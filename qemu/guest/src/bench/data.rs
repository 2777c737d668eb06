// SPDX-License-Identifier: GPL-2.0
//! Rows about the bytes of a file: reads and writes of what is there, by fio and by bare system
//! calls, and a file that grows.
//!
//! fio's own work weighs as much as the file system's and differs with its clock, so instructions are
//! counted around bare system calls instead.

use super::faults::write_file;
use super::samples::Part;
use super::{rows, Bench};
use crate::stage;
use anyhow::{Context, Result};
use serde_json::Value;
use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Length of the file.
const FILE: usize = 64 << 20;
/// How many times it grows by 4 KiB.
const APPENDS: usize = 1_000;

/// All rows of the group.
pub fn measure(bench: &mut Bench) -> Result<()> {
    let mount = bench.who.mount()?;
    write_file(&mount, FILE)?;
    match bench.part {
        Part::Time => fio(bench, mount.dir())?,
        Part::Instructions => calls(bench, &mount.dir().join("file"))?,
    }
    append(bench, mount.dir())?;
    mount.unmount().map(|_| ())
}

fn calls(bench: &mut Bench, path: &Path) -> Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let mut buffer = vec![0; 1 << 20];
    for at in (0..FILE).step_by(buffer.len()) {
        file.read_exact_at(&mut buffer, at as u64)?;
    }
    for (len, total, read, write) in [
        (4 << 10, 16 << 20, &rows::READ_4K, &rows::WRITE_4K),
        (1 << 20, FILE, &rows::READ_1M, &rows::WRITE_1M),
    ] {
        let buffer = &mut buffer[..len];
        let mut offsets = (0..total).step_by(len).map(|at| at as u64);
        let count = total / len;
        bench.time(read, count, || {
            Ok(offsets.clone().try_for_each(|at| file.read_exact_at(buffer, at))?)
        })?;
        bench
            .time(write, count, || Ok(offsets.try_for_each(|at| file.write_all_at(buffer, at))?))?;
    }
    Ok(())
}

fn append(bench: &mut Bench, dir: &Path) -> Result<()> {
    let block = [0x5a; 4096];
    for (row, sync) in [(&rows::APPEND_4K, false), (&rows::APPEND_FSYNC, true)] {
        let file = File::create(dir.join("grows"))?;
        bench.time(row, APPENDS, || {
            for n in 0..APPENDS {
                file.write_all_at(&block, (n * block.len()) as u64)?;
                if sync {
                    file.sync_all()?;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// One run of fio with a job for each row, one after the other.
fn fio(bench: &mut Bench, dir: &Path) -> Result<()> {
    let mut jobs = format!(
        "[global]\nfilename={}\nsize={FILE}\nthread=1\nstonewall=1\ninvalidate=0\nallow_file_create=0\n\
         randrepeat=1\nnorandommap=1\ngtod_reduce=1\n",
        dir.join("file").display()
    );
    for row in &rows::FIO {
        let [engine, order, len, direction] = words(row.key)?;
        let pattern = if order == "rand" { "rand" } else { "" };
        // Enough for fio's clock of milliseconds, not more: emulated CPUs are slow.
        let total = if len == "4k" { FILE / 2 } else { FILE * 4 };
        write!(
            jobs,
            "[{}]\nioengine={engine}\nrw={pattern}{direction}\nbs={len}\nio_size={total}\n",
            row.key
        )?;
    }
    let script = Path::new(stage::SCRATCH).join("bench.fio");
    fs::write(&script, jobs)?;
    let output = stage::run("fio", &["--output-format=json", &script.to_string_lossy()])?;
    // Notes of fio may stand before the JSON.
    let output = output.get(output.find('{').unwrap_or(0)..).unwrap_or_default();
    let mut stream = serde_json::Deserializer::from_str(output).into_iter::<Value>();
    let report = stream.next().context("fio printed nothing")?.context("fio's JSON")?;
    for job in report["jobs"].as_array().context("fio ran no jobs")? {
        let key = job["jobname"].as_str().unwrap_or_default();
        let row = rows::FIO.iter().find(|row| row.key == key).context("a job of fio's own")?;
        let [.., direction] = words(key)?;
        let bytes = job[direction]["bw_bytes"].as_f64().context("no bandwidth")?;
        bench.record(row, bytes / 1e6);
    }
    Ok(())
}

/// The four words of the key of one of [`rows::FIO`].
fn words(key: &str) -> Result<[&str; 4]> {
    let words: Vec<&str> = key.split('-').collect();
    words.try_into().ok().with_context(|| format!("{key} is no row of fio"))
}
