// SPDX-License-Identifier: GPL-2.0
//! The named points at which the module can be made to sleep (`rust/vfs/delay.rs`), and what came of it
//! since the module was loaded. Only a module for the debug kernel has them.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const ROOT: &str = "/sys/kernel/debug/rdaxfs";

/// Whoever sleeps here holds `i_rwsem`. The VFS takes that before it asks the module for a change, so
/// the other side waits where the module cannot count it.
const UNMET: [&str; 3] = ["direct_done", "read", "write"];

/// What came of one point.
pub struct Point {
    /// Its name.
    pub name: String,
    /// How often somebody slept there.
    pub hits: u64,
    /// How often, of those, the other side of the race came meanwhile.
    pub met: u64,
}

impl Point {
    /// Reads the counts of the point of this name.
    pub fn of(name: &str) -> Result<Self> {
        let count = |what: &str| -> Result<u64> {
            let path = Path::new(ROOT).join(what).join(name);
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            Ok(text.trim().parse()?)
        };
        Ok(Self { name: name.to_owned(), hits: count("hits")?, met: count("met")? })
    }

    /// All points, in the order of their names; none if the module has none.
    pub fn all() -> Result<Vec<Self>> {
        let dir = Path::new(ROOT).join("hits");
        if !dir.exists() {
            return Ok(Vec::new());
        }
        let entries = fs::read_dir(dir)?;
        let names: std::io::Result<Vec<_>> = entries.map(|e| Ok(e?.file_name())).collect();
        let mut names = names?;
        names.sort();
        names.iter().map(|name| Self::of(&name.to_string_lossy())).collect()
    }

    /// What came of it since `before`.
    pub fn since(&self, before: &Self) -> Self {
        let (hits, met) = (self.hits - before.hits, self.met - before.met);
        Self { name: self.name.clone(), hits, met }
    }

    /// Whether the two sides of a race can be seen to meet here.
    pub fn can_meet(&self) -> bool {
        !UNMET.contains(&self.name.as_str())
    }

    /// Whether the race was hit.
    pub fn was_hit(&self) -> bool {
        self.hits > 0 && (self.met > 0 || !self.can_meet())
    }

    /// Has the module sleep here for so long from now on; not at all if that is nothing.
    pub fn sleep(name: &str, length: Duration) -> Result<()> {
        let file: PathBuf = Path::new(ROOT).join("delay").join(name);
        fs::write(file, length.as_micros().to_string()).context(name.to_owned())
    }
}

/// Prints the table of points, if the module has slept at any, and returns a summary of it.
pub fn report() -> Result<String> {
    let points = Point::all()?;
    if points.iter().all(|point| point.hits == 0) {
        return Ok("no point was slept at".into());
    }
    println!("\n{:<16} {:>8} {:>8}", "point", "hits", "met");
    for point in &points {
        let met = if point.can_meet() { point.met.to_string() } else { "-".into() };
        println!("{:<16} {:>8} {met:>8}", point.name, point.hits);
    }
    let hit = points.iter().filter(|point| point.was_hit()).count();
    let met: u64 = points.iter().map(|point| point.met).sum();
    Ok(format!("races hit at {hit} of {} points, {met} times", points.len()))
}
