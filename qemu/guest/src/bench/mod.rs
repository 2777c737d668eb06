// SPDX-License-Identifier: GPL-2.0
//! The benchmark: the same work on rdaxfs, ext4 and XFS, each by DAX and through the page cache, in
//! one boot.
//!
//! Every round goes over the groups of rows, and in each group over all contestants, so that what is
//! compared was measured close together. A contestant starts each group on a new file system. With
//! one CPU under QEMU's instruction counter a nanosecond of guest time is an instruction; the same
//! rows are then in instructions. What was measured is written as JSON; [`chart`] makes tables and
//! plots of it, anywhere.

pub mod chart;
mod contest;
mod data;
mod faults;
mod mounts;
mod names;
mod rows;
mod samples;
mod svg;

use crate::stage::{self, Config};
use anyhow::{ensure, Context, Result};
use contest::{Contestant, Layout};
use rows::Row;
use rustix::fs::sync;
use samples::{Part, Samples};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;
use walkdir::WalkDir;

/// What to measure, and how much of it.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Time counts instructions in this guest: say so, and leave out what only time can tell
    #[arg(long)]
    instructions: bool,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Files of the rows about names (default: 100,000, or 5,000 where the CPU is emulated)
    #[arg(long)]
    files: Option<usize>,
    /// A tree for the row about copying one
    #[arg(long, value_name = "DIR", default_value = "/usr/include")]
    tree: PathBuf,
    /// Only these groups of rows: faults, aligned, together, data, names, mounts
    #[arg(long, value_name = "GROUP")]
    only: Vec<String>,
    /// Only these file systems
    #[arg(long, value_name = "TYPE")]
    fs: Vec<String>,
    /// Where to write what was measured
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What the rows of one group are given.
struct Bench<'a> {
    part: Part,
    files: usize,
    tree: &'a Path,
    /// Whose turn it is.
    who: Contestant,
    samples: &'a mut Samples,
}

impl Bench<'_> {
    /// Does `work`, which is `operations` of what the row counts, and records the time of one.
    fn time<T>(
        &mut self,
        row: &'static Row,
        operations: usize,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        // What earlier work left to be written is not this row's.
        sync();
        let begun = Instant::now();
        let value = work().with_context(|| format!("{}: {}", self.who, row.what))?;
        let took = begun.elapsed().as_nanos() as f64;
        self.record(row, took / operations as f64);
        Ok(value)
    }

    fn record(&mut self, row: &'static Row, value: f64) {
        self.samples.record(row, &self.who, value);
    }
}

/// Rows that share a file system.
struct Group {
    name: &'static str,
    layout: Layout,
    /// Measures all rows of the group on the new file system of `bench.who`.
    measure: fn(&mut Bench) -> Result<()>,
}

const GROUPS: &[Group] = &[
    Group { name: "faults", layout: Layout::Default, measure: faults::measure },
    Group { name: "aligned", layout: Layout::Aligned, measure: faults::measure_aligned },
    Group { name: "together", layout: Layout::Default, measure: faults::measure_together },
    Group { name: "data", layout: Layout::Default, measure: data::measure },
    Group { name: "names", layout: Layout::ManyFiles, measure: names::measure },
    Group { name: "mounts", layout: Layout::Huge, measure: mounts::measure },
];

/// Measures, and writes the JSON. `Ok(true)` if every contestant came through.
pub fn run(config: &Config, options: &Options) -> Result<bool> {
    config.prepare()?;
    for module in ["xfs", "loop"] {
        // Built in, or not there: then mount and losetup say so.
        let _ = stage::run("modprobe", &[module]);
    }
    for group in &options.only {
        ensure!(GROUPS.iter().any(|known| known.name == group), "there is no group {group}");
    }
    // Under KVM the guest sees the host's CPU.
    let emulated = fs::read_to_string("/proc/cpuinfo")?.contains("QEMU");
    let files = options.files.unwrap_or(if emulated { 5_000 } else { 100_000 });
    let tree = names::stage_tree(&options.tree)?;
    let inodes = files + WalkDir::new(&tree).into_iter().count();
    let part = if options.instructions { Part::Instructions } else { Part::Time };
    let mut samples = Samples::new(part, files, options.rounds, emulated)?;
    let mut good = true;
    for round in 1..=options.rounds {
        for group in GROUPS
            .iter()
            .filter(|group| options.only.is_empty() || options.only.iter().any(|o| o == group.name))
        {
            eprint!("round {round} of {}: {:<8}", options.rounds, group.name);
            for who in Contestant::all() {
                if !options.fs.is_empty() && !options.fs.iter().any(|fs| fs == who.fs) {
                    continue;
                }
                if group.layout == Layout::Huge && who.dax {
                    continue; // A loop device has no DAX.
                }
                eprint!(" {who},");
                let mut bench = Bench { part, files, tree: &tree, who, samples: &mut samples };
                let done =
                    who.mkfs(group.layout, inodes).and_then(|()| (group.measure)(&mut bench));
                stage::unmount_all()?;
                if let Err(error) = done {
                    good = false;
                    eprintln!("\n{who}, {}: {error:#}", group.name);
                }
            }
            eprintln!(" done");
        }
    }
    if let Some(file) = &options.json {
        fs::write(file, samples.to_json()?).with_context(|| format!("{}", file.display()))?;
    }
    chart::print(&[samples])?;
    Ok(good)
}
