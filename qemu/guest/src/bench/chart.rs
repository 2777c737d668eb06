// SPDX-License-Identifier: GPL-2.0
//! The table, the verdict on every target, and the plots.

use super::contest::Contestant;
use super::rows::{self, Row, Target};
use super::samples::{Part, Samples};
use super::svg;
use anyhow::{Context, Result};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Reads JSON of runs, prints their tables, and writes tables and plots to `out`.
pub fn from_files(files: &[PathBuf], out: &Path) -> Result<()> {
    let mut runs = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
        runs.push(Samples::from_json(&text).with_context(|| format!("{}", file.display()))?);
    }
    fs::write(out.join("table.txt"), print(&runs)?)?;
    for samples in &runs {
        for plot in svg::plots(samples) {
            fs::write(out.join(&plot.name), plot.text)?;
        }
    }
    println!("\ntable.txt and plots (*.svg) are in {}", out.display());
    Ok(())
}

/// Prints the tables of runs, and returns what was printed.
pub fn print(runs: &[Samples]) -> Result<String> {
    let mut text = String::new();
    for samples in runs {
        table(&mut text, samples)?;
    }
    let (mut reached, mut asked) = (0, 0);
    writeln!(text, "\nTargets")?;
    for samples in runs {
        for row in rows::ALL.iter().flat_map(|(_, rows)| *rows) {
            for dax in [true, false] {
                let Some(verdict) = judge(samples, row, dax) else { continue };
                asked += 1;
                reached += u32::from(verdict.reached);
                let word = if verdict.reached { "reached    " } else { "not reached" };
                let path = if dax { "dax" } else { "cache" };
                writeln!(text, "  {word}  {:<40} {path:<6} {}", row.what, verdict.why)?;
            }
        }
    }
    writeln!(text, "  {reached} of {asked} reached")?;
    print!("{text}");
    Ok(text)
}

fn table(text: &mut String, samples: &Samples) -> Result<()> {
    let unit = match samples.part {
        Part::Time => "time in nanoseconds",
        Part::Instructions => "instructions",
    };
    writeln!(
        text,
        "\nMedians of {} round(s): {unit} of one operation; {}; {} files in the rows about names.\n\
         Ratios are rdaxfs to ext4, and rdaxfs to XFS, by the same path.",
        samples.rounds, samples.machine, samples.files
    )?;
    let path = |name| format!("{name:^52}");
    writeln!(text, "{:<42}|{}|{}", "", path("DAX"), path("page cache"))?;
    let names =
        format!("{:>10} {:>10} {:>10} {:>8} {:>8} ", "rdaxfs", "ext4", "XFS", ":ext4", ":XFS");
    writeln!(text, "{:<42}|{names} |{names}", "")?;
    for (heading, group) in rows::ALL {
        let mut begun = false;
        for row in *group {
            let figures: Vec<_> = Contestant::all().map(|who| samples.median(row, &who)).collect();
            if figures.iter().all(Option::is_none) {
                continue;
            }
            if !begun {
                writeln!(text, "{heading}")?;
                begun = true;
            }
            let unit = if row.unit == rows::Unit::Cost {
                String::new()
            } else {
                format!(", {}", row.unit(samples.part))
            };
            write!(text, "  {:<40}", row.what.to_owned() + &unit)?;
            for by_path in figures.chunks(3) {
                let [ours, ext4, xfs] = by_path else { continue };
                let figure = |value: &Option<f64>| value.map_or("-".into(), number);
                let ratio = |peer: &Option<f64>| match (ours, peer) {
                    (Some(ours), Some(peer)) => format!("{:.2}", ours / peer),
                    _ => "-".into(),
                };
                write!(
                    text,
                    "|{:>10} {:>10} {:>10} {:>8} {:>8}  ",
                    figure(ours),
                    figure(ext4),
                    figure(xfs),
                    ratio(ext4),
                    ratio(xfs)
                )?;
            }
            writeln!(text)?;
        }
    }
    Ok(())
}

/// A figure with at least three digits that count.
pub fn number(value: f64) -> String {
    let digits = if value < 10.0 {
        2
    } else if value < 100.0 {
        1
    } else {
        0
    };
    let text = format!("{value:.digits$}");
    // Thousands apart, where there is no fraction.
    if digits > 0 {
        return text;
    }
    let mut apart = String::new();
    for (n, digit) in text.chars().enumerate() {
        if n > 0 && (text.len() - n) % 3 == 0 {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart
}

/// Whether a target was reached, and the figures that say so.
struct Verdict {
    reached: bool,
    why: String,
}

/// `None` if the row has no target on this path in this part, or was not measured.
fn judge(samples: &Samples, row: &Row, dax: bool) -> Option<Verdict> {
    let median = |fs| samples.median(row, &Contestant { fs, dax });
    let ours = median("rdaxfs")?;
    let best = || {
        let peers = [median("ext4"), median("xfs")].into_iter().flatten();
        if row.more_is_better() {
            peers.reduce(f64::max)
        } else {
            peers.reduce(f64::min)
        }
    };
    let counted = samples.part == Part::Instructions;
    let unit = row.unit(samples.part);
    let (reached, limit) = match row.target {
        Target::Instructions(limit) if dax && counted => {
            (ours <= limit, format!("at most {}", number(limit)))
        }
        Target::BetterPeer if dax && counted => {
            let best = best()?;
            (ours <= best, format!("at most {}, the better peer", number(best)))
        }
        Target::Within(part) => {
            let best = best()?;
            let (reached, limit) = if row.more_is_better() {
                let limit = best * (1.0 - part);
                (ours >= limit, limit)
            } else {
                let limit = best * (1.0 + part);
                (ours <= limit, limit)
            };
            let bound = if row.more_is_better() { "at least" } else { "at most" };
            (
                reached,
                format!(
                    "{bound} {}: {:.0} % of the better peer's {}",
                    number(limit),
                    part * 100.0,
                    number(best)
                ),
            )
        }
        Target::TimesExt4(times) => {
            let ext4 = median("ext4")?;
            let limit = ext4 * times;
            (
                ours <= limit,
                format!("at most {}: {times} times ext4's {}", number(limit), number(ext4)),
            )
        }
        _ => return None,
    };
    Some(Verdict { reached, why: format!("{} {unit}, {limit}", number(ours)) })
}
