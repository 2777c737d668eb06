// SPDX-License-Identifier: GPL-2.0
//! The counters of one rdaxfs mount, from `/sys/fs/rdaxfs/<device>/`.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Values by name, at one moment.
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// Reads those of the file system on `device`.
    pub fn of(device: &Path) -> Result<Self> {
        let name = device.file_name().unwrap_or_default();
        let dir = Path::new("/sys/fs/rdaxfs").join(name);
        let mut values = BTreeMap::new();
        for entry in fs::read_dir(&dir).with_context(|| format!("{}", dir.display()))? {
            let entry = entry?;
            let text = fs::read_to_string(entry.path())?;
            if let Ok(value) = text.trim().parse() {
                values.insert(entry.file_name().to_string_lossy().into_owned(), value);
            }
        }
        Ok(Self(values))
    }

    /// One of them; 0 if there is none of this name.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// By how much each grew since `before`.
    pub fn since(&self, before: &Self) -> Self {
        let grown =
            |(name, value): (&String, &u64)| (name.clone(), value - before.get(name).min(*value));
        Self(self.0.iter().map(grown).collect())
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
