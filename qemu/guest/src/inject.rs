// SPDX-License-Identifier: GPL-2.0
//! The kernel's fault injection: allocations, and requests to a device, that fail. See
//! `Documentation/fault-injection/fault-injection.rst`.

use crate::skip;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// How many failures a fault may have left: more than there will be, so that they can be counted.
const TIMES: u64 = 1_000_000_000;

/// Allocations of memory, small and large.
pub const MEMORY: &[&str] = &["failslab", "fail_page_alloc"];
/// Requests to a device.
pub const REQUESTS: &[&str] = &["fail_make_request"];

/// Faults that can be injected. All of them are off again on drop.
pub struct Injection {
    faults: Vec<PathBuf>,
    device: Option<PathBuf>,
}

impl Injection {
    /// Prepares `faults`; nothing fails yet.
    pub fn of(faults: &[&str]) -> Result<Self> {
        let all = |fault| PathBuf::from("/sys/kernel/debug").join(fault);
        let faults: Vec<PathBuf> = faults.iter().map(all).collect();
        if let Some(missing) = faults.iter().find(|dir| !dir.exists()) {
            skip!("this kernel has no {}", missing.display());
        }
        let made = Self { faults, device: None };
        for fault in &made.faults {
            // The stack of each failure would fill the log.
            for (name, value) in [("verbose", 0), ("space", 0), ("interval", 1), ("times", TIMES)] {
                set(fault.join(name), value)?;
            }
            for (name, value) in
                [("ignore-gfp-wait", 0), ("ignore-gfp-highmem", 0), ("min-order", 0)]
            {
                let file = fault.join(name);
                if file.exists() {
                    set(file, value)?;
                }
            }
        }
        Ok(made)
    }

    /// In `percent` of the cases, from now on: of what tasks do in [`Task::random`], or with `device`
    /// of all requests to it.
    pub fn start(&mut self, percent: u64, device: Option<&str>) -> Result<()> {
        for fault in &self.faults {
            set(fault.join("task-filter"), u64::from(device.is_none()))?;
        }
        if let Some(device) = device {
            let switch = PathBuf::from(format!("/sys/block/{device}/make-it-fail"));
            set(switch.clone(), 1)?;
            self.device = Some(switch);
        }
        self.faults.iter().try_for_each(|fault| set(fault.join("probability"), percent))
    }

    /// Nothing fails from now on.
    pub fn stop(&self) -> Result<()> {
        self.faults.iter().try_for_each(|fault| set(fault.join("probability"), 0))?;
        self.device.iter().try_for_each(|device| set(device.clone(), 0))
    }

    /// How many have failed so far.
    pub fn count(&self) -> Result<u64> {
        let mut count = 0;
        for fault in &self.faults {
            count += TIMES - fs::read_to_string(fault.join("times"))?.trim().parse::<u64>()?;
        }
        Ok(count)
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // What is not off after this is off at the next start.
        let _ = self.stop();
        for fault in &self.faults {
            let _ = set(fault.join("task-filter"), 0);
        }
    }
}

fn set(file: PathBuf, value: u64) -> Result<()> {
    fs::write(&file, value.to_string()).with_context(|| format!("{value} to {}", file.display()))
}

/// The thread that opened it, as one whose allocations may be made to fail.
pub struct Task {
    random: File,
    nth: File,
}

impl Task {
    /// The calling thread.
    pub fn this() -> Result<Self> {
        let open = |name: &str| {
            let path = format!("/proc/thread-self/{name}");
            File::options().read(true).write(true).open(&path).context(path)
        };
        Ok(Self { random: open("make-it-fail")?, nth: open("fail-nth")? })
    }

    /// Does `work`, while what was started fails at random.
    pub fn random<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        self.random.write_all_at(b"1", 0)?;
        let done = work();
        self.random.write_all_at(b"0", 0)?;
        Ok(done)
    }

    /// Does `work`, of which the `n`th allocation fails. Whether there were so many.
    pub fn nth<T>(&self, n: u32, work: impl FnOnce() -> T) -> Result<(T, bool)> {
        let n = n.to_string();
        self.nth.write_all_at(n.as_bytes(), 0)?;
        let done = work();
        let mut left = [0; 16];
        let len = self.nth.read_at(&mut left, 0)?;
        self.nth.write_all_at(b"0", 0)?;
        Ok((done, left[..len].starts_with(b"0")))
    }
}
