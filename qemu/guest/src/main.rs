// SPDX-License-Identifier: GPL-2.0
//! What runs inside the virtual machine: the tests of the file system, the report of `make run`,
//! the benchmarks. Run as root, in a guest that nobody minds losing.

mod bench;
mod counters;
mod crash;
mod demo;
mod events;
mod harness;
mod hostile;
mod inject;
mod kmsg;
mod leaks;
mod manifest;
mod mapper;
mod points;
mod report;
mod smaps;
mod soak;
mod stage;
mod sys;
mod tests;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use stage::Config;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    about = "Tests, demonstration and benchmarks of rdaxfs, for use inside a virtual machine"
)]
struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the guest tests
    Test {
        #[command(flatten)]
        config: Config,
        /// Only tests whose name contains this; may be given several times
        #[arg(long, value_name = "NAME")]
        filter: Vec<String>,
        /// Print the names of the tests and end
        #[arg(long)]
        list: bool,
        /// Where to write the JUnit report
        #[arg(long, value_name = "FILE", default_value = "/tmp/guest-tests.xml")]
        junit: PathBuf,
        /// Take the names of the tests to run from this port, one after the other
        #[arg(long, value_name = "PORT")]
        dealer: Option<PathBuf>,
        /// Run the one test named by --filter in this process
        #[arg(long, hide = true)]
        child: bool,
    },
    /// Run the attacks on the change of mode for a long time
    Soak {
        #[command(flatten)]
        config: Config,
        /// How long
        #[arg(long, default_value_t = 60)]
        minutes: u64,
        /// Only tests whose name contains this; may be given several times
        #[arg(long, value_name = "NAME", default_values = ["switch::", "load::", "tools::stress_ng"])]
        filter: Vec<String>,
        /// Where to write the JUnit report
        #[arg(long, value_name = "FILE", default_value = "/tmp/guest-soak.xml")]
        junit: PathBuf,
    },
    /// Crash the file system after every write of a long work
    Crash {
        #[command(flatten)]
        config: Config,
        /// How many operations
        #[arg(long, default_value_t = 10_000)]
        operations: u32,
        /// After how many writes at least
        #[arg(long, default_value_t = 2_000)]
        points: u32,
        /// What the random numbers begin with
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Check what a machine that was killed has left, and work until this one is
    Kills {
        #[command(flatten)]
        config: Config,
        #[command(flatten)]
        round: crash::kills::Round,
    },
    /// Mount and use images whose metadata was changed at random
    Hostile {
        #[command(flatten)]
        config: Config,
        /// How many
        #[arg(long, default_value_t = 5_000)]
        images: u32,
        /// The number of the first one
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Measure beside ext4 and XFS
    Bench {
        #[command(flatten)]
        config: Config,
        #[command(flatten)]
        options: bench::Options,
    },
    /// Make tables and plots of what `bench` wrote; runs anywhere
    Chart {
        /// What `bench --json` wrote
        #[arg(required = true, value_name = "JSON")]
        results: Vec<PathBuf>,
        /// Directory for the table and the plots
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
    },
    /// Show the main job on real input, as a report
    Demo {
        #[command(flatten)]
        config: Config,
        /// A source tree, as a tar archive
        #[arg(long, value_name = "TAR")]
        source: PathBuf,
    },
}

fn main() -> ExitCode {
    match act(Cli::parse().command) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

fn act(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Demo { config, source } => {
            config.prepare()?;
            Ok(if demo::run(&config, &source)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Verb::Test { filter, list: true, .. } => {
            harness::list(&tests::all(), &filter);
            Ok(ExitCode::SUCCESS)
        }
        Verb::Test { config, filter, child: true, .. } => {
            let name = filter.first().context("--child needs --filter")?;
            Ok(ExitCode::from(harness::child(&tests::all(), &config, name) as u8))
        }
        Verb::Test { config, filter, junit, dealer, .. } => {
            config.prepare()?;
            let tests = tests::all();
            let chosen = harness::choose(&tests, &filter, dealer.as_deref())?;
            Ok(ExitCode::from(harness::run(chosen, &config, &junit)?))
        }
        Verb::Soak { config, minutes, filter, junit } => {
            config.prepare()?;
            let good = soak::run(&tests::all(), &config, minutes, &filter, &junit)?;
            Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Verb::Crash { config, operations, points, seed } => {
            config.prepare()?;
            crash::run(&config, crash::Plan { operations, points, seed })?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Kills { config, round } => {
            config.prepare()?;
            crash::kills::run(&config, &round)?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Hostile { config, images, seed } => {
            config.prepare()?;
            println!("hostile: {}", hostile::run(&config, "/dev/ram0", images, seed)?);
            Ok(ExitCode::SUCCESS)
        }
        Verb::Bench { config, options } => {
            let good = bench::run(&config, &options)?;
            Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Verb::Chart { results, out } => {
            bench::chart::from_files(&results, &out)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
