// SPDX-License-Identifier: GPL-2.0
//! Plots: a bar for every contestant in every row, each row to its own scale.

use super::chart::number;
use super::contest::Contestant;
use super::rows::{self, Row};
use super::samples::{Part, Samples};
use std::fmt::Write;

/// A plot and the name of its file.
pub struct Plot {
    /// Name of the file.
    pub name: String,
    /// The SVG.
    pub text: String,
}

/// Width of the longest bar.
const BAR: f64 = 420.0;
/// Height of a bar and of the line it stands on.
const THICK: f64 = 12.0;
/// Left edge of the bars.
const LEFT: f64 = 130.0;

/// One plot for each heading of the table that has figures.
pub fn plots(samples: &Samples) -> Vec<Plot> {
    let part = if samples.part == Part::Time { "time" } else { "instructions" };
    let mut plots = Vec::new();
    for (n, (heading, group)) in rows::ALL.iter().enumerate() {
        let measured: Vec<&Row> = group
            .iter()
            .copied()
            .filter(|row| Contestant::all().any(|who| samples.median(row, &who).is_some()))
            .collect();
        if !measured.is_empty() {
            let name = format!("{part}-{}.svg", n + 1);
            plots.push(Plot { name, text: draw(samples, heading, &measured) });
        }
    }
    plots
}

fn draw(samples: &Samples, heading: &str, rows: &[&Row]) -> String {
    let contestants: Vec<Contestant> = Contestant::all().collect();
    let row_height = THICK * (contestants.len() as f64 + 2.0);
    let height = 50.0 + row_height * rows.len() as f64;
    let width = LEFT + BAR + 120.0;
    let mut svg = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"10\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"14\" font-weight=\"bold\">{heading}</text>\n\
         <text x=\"10\" y=\"35\">median of {} round(s); {}</text>",
        samples.rounds, samples.machine
    );
    for (n, row) in rows.iter().enumerate() {
        let top = 50.0 + row_height * n as f64;
        let better = if row.more_is_better() { "more is better" } else { "less is better" };
        let _ = writeln!(
            svg,
            "<text x=\"10\" y=\"{}\" font-weight=\"bold\">{} ({}, {better})</text>",
            top + THICK - 2.0,
            row.what,
            row.unit(samples.part)
        );
        bars(&mut svg, samples, row, &contestants, top + THICK);
    }
    svg + "</svg>\n"
}

fn bars(svg: &mut String, samples: &Samples, row: &Row, contestants: &[Contestant], top: f64) {
    let figures = contestants.iter().map(|who| samples.median(row, who));
    let most = figures.clone().flatten().fold(f64::MIN_POSITIVE, f64::max);
    for (n, (who, figure)) in contestants.iter().zip(figures).enumerate() {
        let Some(figure) = figure else { continue };
        let y = top + THICK * n as f64;
        let base = y + THICK - 2.0;
        let long = BAR * figure / most;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{who}</text>\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{long:.1}\" height=\"{}\" fill=\"{}\"/>\
             <text x=\"{:.1}\" y=\"{base}\">{}</text>",
            LEFT - 5.0,
            THICK - 2.0,
            colour(who),
            LEFT + long + 4.0,
            number(figure)
        );
    }
}

fn colour(who: &Contestant) -> &'static str {
    match (who.fs, who.dax) {
        ("rdaxfs", true) => "#b7410e",
        ("rdaxfs", false) => "#e0a080",
        ("ext4", true) => "#3b6ea5",
        ("ext4", false) => "#a3bfdb",
        (_, true) => "#4d7c3a",
        (_, false) => "#afcaa3",
    }
}
