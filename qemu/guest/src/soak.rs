// SPDX-License-Identifier: GPL-2.0
//! `make soak`: the attacks on the live change of mode, and load of other kinds, again and again, and one line of figures.

use crate::harness::{run_one, select, Test, KERNEL_SAYS};
use crate::points;
use crate::report::{Outcome, Report};
use crate::stage::Config;
use crate::tests::switch::Tally;
use anyhow::Result;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a storm lasts in a round of the soak, unless the command line says otherwise.
const STORM: u64 = 40;

/// Runs the tests of `filter` in turn until time is over; true if none failed.
pub fn run(
    tests: &[Test],
    config: &Config,
    minutes: u64,
    filter: &[String],
    junit: &Path,
) -> Result<bool> {
    let (begun, limit) = (Instant::now(), Duration::from_secs(60 * minutes));
    let mut config = config.clone();
    config.seconds = Some(config.seconds.unwrap_or(STORM));
    let (mut report, sum) = (Report::new(), Tally::default());
    let (mut runs, mut complaints) = (0, 0);
    // What an earlier run in this guest has left is not of this soak.
    Tally::collect()?;
    'soak: loop {
        for (test, place) in select(tests, filter) {
            if begun.elapsed() >= limit {
                break 'soak;
            }
            let outcome = run_one(test, place, &config, &mut report)?;
            sum.add(&Tally::collect()?);
            runs += 1;
            match outcome {
                Outcome::Failed(why) => complaints += usize::from(why.contains(KERNEL_SAYS)),
                // Nothing that is run after it could be trusted.
                Outcome::Stuck(_) => break 'soak,
                Outcome::Passed | Outcome::Skipped(_) => {}
            }
        }
    }
    let good = report.finish(junit)?;
    let races = points::report()?;
    println!(
        "soak: {:.0} min, {runs} tests; {sum}; {races}; {complaints} complaints of the kernel; {}",
        begun.elapsed().as_secs_f64() / 60.0,
        if good { "e2fsck and ext4 content after each" } else { "FAILED" }
    );
    Ok(good)
}
