// SPDX-License-Identifier: GPL-2.0
//! The report of a test run: readable lines while it goes on, JUnit XML at the end.

use anyhow::{Context, Result};
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// How a test ended.
#[derive(Debug)]
pub enum Outcome {
    /// As expected.
    Passed,
    /// It could not run here, for this reason.
    Skipped(String),
    /// For this reason.
    Failed(String),
    /// It hangs in the kernel and cannot be ended: nothing after it can be trusted.
    Stuck(String),
}

impl Outcome {
    /// Failed or stuck.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Stuck(_))
    }

    /// This outcome with one more reason to fail.
    pub fn worsen(self, reason: String) -> Self {
        match self {
            Self::Passed | Self::Skipped(_) => Self::Failed(reason),
            Self::Failed(first) => Self::Failed(format!("{first}\n{reason}")),
            Self::Stuck(first) => Self::Stuck(format!("{first}\n{reason}")),
        }
    }

    /// This outcome with the reason that the test printed last.
    pub fn explain(self, output: &str) -> Self {
        let said = |mark: &str| {
            let at = output.rfind(&format!("\n{mark} ")).map(|at| at + 1);
            let at = at.or(output.starts_with(mark).then_some(0));
            at.map_or(String::new(), |at| output[at + mark.len() + 1..].trim_end().to_owned())
        };
        match self {
            Self::Skipped(_) => Self::Skipped(said("SKIP")),
            Self::Failed(why) if why.is_empty() => match said("FAIL") {
                said if said.is_empty() => Self::Failed("it ended without a word".into()),
                said => Self::Failed(said),
            },
            other => other,
        }
    }
}

/// The results so far.
pub struct Report {
    suite: TestSuite,
    begun: Instant,
    passed: u32,
    failed: Vec<String>,
    skipped: Vec<(String, String)>,
}

impl Report {
    /// An empty one.
    pub fn new() -> Self {
        let (passed, failed, skipped) = (0, Vec::new(), Vec::new());
        Self { suite: TestSuite::new("guest"), begun: Instant::now(), passed, failed, skipped }
    }

    /// Announces a test.
    pub fn start(&mut self, name: &str) {
        print!("{name:<44} ");
        let _ = io::stdout().flush();
    }

    /// Prints and records how it ended; output and log are shown of a failure only.
    pub fn end(
        &mut self,
        name: &str,
        outcome: &Outcome,
        took: Duration,
        output: &str,
        log: &[String],
    ) {
        let seconds = took.as_secs_f64();
        let status = match outcome {
            Outcome::Passed => {
                println!("ok       {seconds:6.1} s");
                self.passed += 1;
                TestCaseStatus::success()
            }
            Outcome::Skipped(reason) => {
                println!("skipped  {seconds:6.1} s  {reason}");
                self.skipped.push((name.to_owned(), reason.clone()));
                let mut status = TestCaseStatus::skipped();
                status.set_message(reason);
                status
            }
            Outcome::Failed(reason) | Outcome::Stuck(reason) => {
                println!("FAILED   {seconds:6.1} s");
                show("", reason.lines());
                let said = output.lines().filter(|line| !line.starts_with("FAIL "));
                show("output: ", said.take_while(|line| !reason.contains(line)));
                show("kernel: ", log.iter().rev().take(60).rev().map(String::as_str));
                self.failed.push(name.to_owned());
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(reason.lines().next().unwrap_or_default());
                status.set_description(format!("{reason}\n{output}\n{}", log.join("\n")));
                status
            }
        };
        let (group, short) = name.split_once("::").unwrap_or(("guest", name));
        let mut case = TestCase::new(short, status);
        case.set_classname(group).set_time(took);
        self.suite.add_test_case(case);
    }

    /// Prints the closing lines and writes the XML; `Ok(true)` if nothing failed.
    pub fn finish(mut self, junit: &Path) -> Result<bool> {
        let took = self.begun.elapsed();
        self.suite.set_time(took);
        let mut xml = quick_junit::Report::new("rdaxfs guest tests");
        xml.add_test_suite(self.suite);
        let text = xml.to_string()?;
        std::fs::write(junit, text).with_context(|| format!("{}", junit.display()))?;
        println!("\n{:.0} s; report in {}", took.as_secs_f64(), junit.display());
        if !self.skipped.is_empty() {
            println!("{} skipped:", self.skipped.len());
            show("", self.skipped.iter().map(|(name, why)| format!("{name}: {why}")));
        }
        if !self.failed.is_empty() {
            println!("failed:");
            show("", self.failed.iter());
        }
        println!("{} passed, {} failed", self.passed, self.failed.len());
        Ok(self.failed.is_empty() && self.passed > 0)
    }
}

fn show(mark: &str, lines: impl Iterator<Item = impl AsRef<str>>) {
    for line in lines {
        println!("    {mark}{}", line.as_ref());
    }
}
