// SPDX-License-Identifier: GPL-2.0
//! Memory of the kernel that was allocated and lost, as kmemleak sees it: on a kernel that was booted with
//! `kmemleak=on`, and nothing on another. See `Documentation/dev-tools/kmemleak.rst`.

use anyhow::{ensure, Context, Result};
use std::fs;
use std::thread::sleep;
use std::time::Duration;

const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";

/// An object counts as lost when scans that are so far apart do not find it.
const APART: Duration = Duration::from_secs(6);

/// What is lost from some moment on.
pub struct Leaks {
    watched: bool,
}

impl Leaks {
    /// From now on.
    pub fn watch() -> Result<Self> {
        let watched = fs::read_to_string("/proc/cmdline")?.contains("kmemleak=on");
        if watched {
            say("scan=off")?;
            say("clear")?;
        }
        Ok(Self { watched })
    }

    /// Fails if anything was lost.
    pub fn none(&self) -> Result<()> {
        if !self.watched {
            return Ok(());
        }
        for _ in 0..2 {
            sleep(APART);
            say("scan")?;
        }
        let found = fs::read_to_string(KMEMLEAK)?;
        ensure!(found.is_empty(), "kmemleak found\n{found}");
        Ok(())
    }
}

fn say(command: &str) -> Result<()> {
    fs::write(KMEMLEAK, command).with_context(|| format!("kmemleak: {command}"))
}
