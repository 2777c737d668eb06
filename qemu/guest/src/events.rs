// SPDX-License-Identifier: GPL-2.0
//! The trace events of rdaxfs, recorded in an instance of tracefs of one's own.

use anyhow::{Context, Result};
use rustix::mount::{mount, MountFlags};
use std::fs;
use std::path::{Path, PathBuf};

const TRACEFS: &str = "/sys/kernel/tracing";

/// Records while it is there.
pub struct Events(PathBuf);

impl Events {
    /// Begins to record all events of rdaxfs.
    pub fn record() -> Result<Self> {
        let root = Path::new(TRACEFS);
        if !root.join("events").exists() {
            mount("tracefs", root, "tracefs", MountFlags::empty(), None).context("tracefs")?;
        }
        let instance = root.join("instances/rdaxfs");
        fs::create_dir(&instance)?;
        let events = Self(instance);
        fs::write(events.0.join("events/rdaxfs/enable"), "1").context("events/rdaxfs")?;
        Ok(events)
    }

    /// What was recorded of `name`, in order: the text of each event.
    pub fn of(&self, name: &str) -> Result<Vec<String>> {
        let text = fs::read_to_string(self.0.join("trace"))?;
        let mark = format!(": {name}: ");
        let what = |line: &str| line.split_once(&mark).map(|(_, what)| what.to_owned());
        Ok(text.lines().filter_map(what).collect())
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // Nothing follows from a failure but that the instance stays.
        let _ = fs::write(self.0.join("events/rdaxfs/enable"), "0");
        let _ = fs::remove_dir(&self.0);
    }
}
