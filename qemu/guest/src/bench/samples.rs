// SPDX-License-Identifier: GPL-2.0
//! What was measured, and its form in JSON.

use super::contest::Contestant;
use super::rows::Row;
use anyhow::{Context, Result};
use serde_json::{json, Map, Value};
use std::collections::BTreeMap;

/// Which of the two parts of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Measured in time.
    Time,
    /// Measured in instructions.
    Instructions,
}

/// The figures of one run.
pub struct Samples {
    /// Its part.
    pub part: Part,
    /// Files of the rows about names.
    pub files: usize,
    /// Rounds asked for.
    pub rounds: usize,
    /// The kernel and the CPU.
    pub machine: String,
    figures: BTreeMap<(String, String), Vec<f64>>,
}

impl Samples {
    /// None so far, of this guest.
    pub fn new(part: Part, files: usize, rounds: usize, emulated: bool) -> Result<Self> {
        let system = rustix::system::uname();
        let cpus = std::thread::available_parallelism()?;
        let machine = format!(
            "Linux {}, {cpus} CPU{}, {}",
            system.release().to_string_lossy(),
            if cpus.get() == 1 { "" } else { "s" },
            if emulated { "emulated (TCG)" } else { "native" },
        );
        Ok(Self { part, files, rounds, machine, figures: BTreeMap::new() })
    }

    /// Adds one.
    pub fn record(&mut self, row: &Row, who: &Contestant, value: f64) {
        self.figures.entry((row.key.into(), who.to_string())).or_default().push(value);
    }

    /// The median of what a contestant reached in a row.
    pub fn median(&self, row: &Row, who: &Contestant) -> Option<f64> {
        let mut values = self.figures.get(&(row.key.into(), who.to_string()))?.clone();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => None,
            n if n % 2 == 1 => Some(values[middle]),
            _ => Some((values[middle - 1] + values[middle]) / 2.0),
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> Result<String> {
        let mut rows = Map::new();
        for ((row, who), values) in &self.figures {
            let row = rows.entry(row.as_str()).or_insert_with(|| json!({}));
            row[who.as_str()] = json!(values);
        }
        let part = if self.part == Part::Time { "time" } else { "instructions" };
        let all = json!({
            "part": part, "files": self.files, "rounds": self.rounds, "machine": self.machine,
            "rows": rows,
        });
        Ok(serde_json::to_string_pretty(&all)? + "\n")
    }

    /// Back from JSON.
    pub fn from_json(text: &str) -> Result<Self> {
        let all: Value = serde_json::from_str(text)?;
        let number = |key: &str| {
            all[key].as_u64().map(|n| n as usize).with_context(|| format!("no number {key:?}"))
        };
        let part = if all["part"] == "time" { Part::Time } else { Part::Instructions };
        let machine = all["machine"].as_str().unwrap_or_default().to_owned();
        let mut figures = BTreeMap::new();
        for (row, by) in all["rows"].as_object().context("no rows")? {
            for (who, values) in by.as_object().context("a row is no object")? {
                let values = values.as_array().context("a figure is no list")?;
                let values = values.iter().filter_map(Value::as_f64).collect();
                figures.insert((row.clone(), who.clone()), values);
            }
        }
        Ok(Self { part, files: number("files")?, rounds: number("rounds")?, machine, figures })
    }
}
