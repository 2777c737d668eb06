// SPDX-License-Identifier: GPL-2.0
//! Devices of the device mapper, and what `log-writes` has written down.

use crate::skip;
use crate::stage::{run, SCRATCH};
use anyhow::{ensure, Context, Result};
use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A device of the device mapper. Removed on drop.
pub struct Mapped(&'static str);

impl Mapped {
    /// Makes one of `sectors` sectors by the rest of its table; and says where it is.
    pub fn new(name: &'static str, sectors: u64, rest: &str) -> Result<(Self, String)> {
        let table = format!("0 {sectors} {rest}");
        // Without the help of udev, which this guest does not have.
        let flags = ["--noudevsync", "--noudevrules"];
        let create = [&flags[..], &["create", name, "--table", &table]].concat();
        if let Err(error) = run("dmsetup", &create) {
            skip!("no device mapper: {error:#}");
        }
        let made = Self(name);
        let minor = run("dmsetup", &["info", "-c", "--noheadings", "-o", "minor", name])?;
        Ok((made, format!("/dev/dm-{}", minor.trim())))
    }

    /// Gives it another table, while it is in use: what each number of sectors is, one after the other.
    pub fn load(&self, parts: &[(u64, &str)]) -> Result<()> {
        let (mut at, mut table) = (0, String::new());
        for (sectors, rest) in parts {
            table += &format!("{at} {sectors} {rest}\n");
            at += sectors;
        }
        let file = Path::new(SCRATCH).join("table");
        fs::write(&file, table)?;
        let file = file.to_string_lossy();
        run("dmsetup", &["--noudevsync", "--noudevrules", "reload", self.0, &file])?;
        // Without a freeze of the file system, whose writes are what the new table is about.
        run("dmsetup", &["--noudevsync", "--nolockfs", "suspend", self.0])?;
        run("dmsetup", &["--noudevsync", "--noudevrules", "resume", self.0]).map(drop)
    }

    /// Sends words to its one target.
    pub fn message(&self, words: &[&str]) -> Result<()> {
        run("dmsetup", &[&["message", self.0, "0"], words].concat()).map(drop)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // What is still open is removed when it is closed.
        let _ = run("dmsetup", &["--noudevsync", "remove", "--deferred", self.0]);
    }
}

/// How an entry of the log differs from a plain write.
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;
/// `WRITE_LOG_MAGIC`, and the version after it.
const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
/// What the target writes when it goes.
const END: &str = "dm-log-writes-end";

/// An entry of the log.
pub enum Entry {
    /// Bytes that were written, or discarded and thereby zeroes, at a byte of the device.
    Write {
        /// Where.
        at: u64,
        /// What.
        data: Vec<u8>,
        /// All that was written before it is on the device, or this is at once.
        ordered: bool,
    },
    /// What a message said.
    Mark(String),
}

/// The log of a `log-writes` target, as it is on its device: see
/// `Documentation/admin-guide/device-mapper/log-writes.rst`. Entries come in the order in which what they
/// say became durable.
pub struct Log {
    device: BufReader<File>,
    sector: usize,
    left: u64,
}

impl Log {
    /// Opens the log on a device that no target writes to any more.
    pub fn open(device: &Path) -> Result<Self> {
        let file = File::open(device)?;
        let mut head = [0; 28];
        file.read_exact_at(&mut head, 0)?;
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|n| head[at + n]));
        ensure!(word(0) == MAGIC && word(8) == VERSION, "no log on {}", device.display());
        let sector = u32::from_le_bytes(std::array::from_fn(|n| head[24 + n])) as usize;
        let mut device = BufReader::with_capacity(1 << 20, file);
        device.seek(SeekFrom::Start(sector as u64))?;
        Ok(Self { device, sector, left: word(16) })
    }

    /// The next entry, until the one that the target has written at its end. An error if that is not there:
    /// then the log's device was too small.
    pub fn next(&mut self) -> Result<Option<Entry>> {
        ensure!(self.left > 0, "the log has no end: its device was too small");
        self.left -= 1;
        let mut head = vec![0; self.sector];
        self.device.read_exact(&mut head)?;
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|n| head[8 * at + n]));
        let (at, sectors, flags, len) = (word(0), word(1), word(2), word(3) as usize);
        if flags & MARK != 0 {
            let text = head.get(32..32 + len).context("a mark that is too long")?;
            let text = String::from_utf8_lossy(text).into_owned();
            return Ok(Some(Entry::Mark(text)).filter(|_| &head[32..32 + len] != END.as_bytes()));
        }
        let mut data = vec![0; sectors as usize * self.sector];
        if flags & DISCARD == 0 {
            match self.device.read_exact(&mut data) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Err(error).context("the log's device was too small");
                }
                done => done?,
            }
        }
        let ordered = flags & (FLUSH | FUA) != 0;
        Ok(Some(Entry::Write { at: at * self.sector as u64, data, ordered }))
    }
}
