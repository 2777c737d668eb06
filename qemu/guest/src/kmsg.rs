// SPDX-License-Identifier: GPL-2.0
//! The kernel log, read from where one left off, and what in it means that something went wrong.

use anyhow::{Context, Result};
use rustix::fs::{self, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// Lines that no test may cause, whatever it does.
const ALARMS: &[&str] = &[
    "WARNING:",
    "BUG:",
    "Oops",
    "KASAN:",
    "UBSAN:",
    "KFENCE:",
    "kernel BUG at",
    "Kernel panic",
    "general protection fault",
    "unable to handle",
    "rust_kernel: panicked",
    "possible circular locking",
    "possible recursive locking",
    "possible irq lock inversion",
    "inconsistent lock state",
    "suspicious RCU usage",
    "DEBUG_LOCKS_WARN_ON",
    "held lock freed",
    "lock held when returning to user space",
    "sleeping function called from invalid context",
    "scheduling while atomic",
    "refcount_t:",
    "blocked for more than",
    "soft lockup",
    "detected stalls",
    "new suspected memory leaks",
    "list_add corruption",
    "list_del corruption",
    "Busy inodes after unmount",
    "still in use (", // a dentry, at unmount
];

/// Lines that a test may cause only if it says so: complaints about the image.
const COMPLAINTS: &[&str] = &["EXT4-fs error", "EXT4-fs warning", "rdaxfs error", "I/O error"];

/// A cursor in the kernel log. Each reader has its own.
pub struct Kmsg(rustix::fd::OwnedFd);

impl Kmsg {
    /// Stands after the last line that is there now.
    pub fn now() -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = fs::open("/dev/kmsg", flags, Mode::empty()).context("/dev/kmsg")?;
        fs::seek(&fd, SeekFrom::End(0))?;
        Ok(Self(fd))
    }

    /// The lines since the last call.
    pub fn lines(&self) -> Vec<String> {
        let mut record = vec![0; 8192];
        let mut lines = Vec::new();
        loop {
            match rustix::io::read(&self.0, &mut record) {
                Ok(len) => {
                    let text = String::from_utf8_lossy(&record[..len]);
                    let text = text.split_once(';').map_or("", |(_, text)| text);
                    lines.extend(text.lines().next().map(str::to_owned));
                }
                Err(Errno::PIPE) => lines.push("(lines were lost here)".to_owned()),
                Err(_) => return lines,
            }
        }
    }
}

/// Writes a line of ours into the kernel log, so that its reader sees what was going on.
pub fn note(text: &str) {
    if let Ok(mut log) = OpenOptions::new().write(true).open(Path::new("/dev/kmsg")) {
        // Losing such a line loses a convenience only.
        let _ = log.write_all(format!("guest: {text}\n").as_bytes());
    }
}

/// The first line of `lines` that means trouble. Complaints about the image count unless `corrupt`; one of jbd2, which takes
/// back an entry of /proc that it went on without when there was no memory for it, does unless `starved`.
pub fn trouble(lines: &[String], corrupt: bool, starved: bool) -> Option<&str> {
    let alarm = |&at: &usize| {
        let line = &lines[at];
        let missing = || at > 0 && lines[at - 1].starts_with("name '");
        let known = starved && line.contains(" at remove_proc_entry+") && missing();
        let alarm = ALARMS.iter().any(|a| line.contains(a)) && !known;
        !line.starts_with("guest: ")
            && (alarm || (!corrupt && COMPLAINTS.iter().any(|c| line.contains(c))))
    };
    (0..lines.len()).find(alarm).map(|at| lines[at].as_str())
}
