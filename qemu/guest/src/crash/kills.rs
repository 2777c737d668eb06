// SPDX-License-Identifier: GPL-2.0
//! The guest's part of `scripts/kills`: checks what a machine that was killed has left on persistent memory,
//! empties it, and works on it until the host kills this machine, too.
//!
//! Stores to DAX pass no block layer that could write them down. The host has all of them, up to the last one
//! before the kill, as the memory is a file there; what this kernel had not yet stored is lost, as is what a
//! mapping of the file does not reach. Of the CPU's caches, which survive, this says nothing.
//!
//! Through a port the host tells what the machine before had told: the inode that each operation made. The
//! operations follow from the round's number.

use super::model::Model;
use super::work::{prepare, Worker};
use super::{check, MKFS};
use crate::stage::{Config, Image, Mount};
use crate::sys;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

const DEVICE: &str = "/dev/pmem0";
const SIZE: &str = "64M";

/// One life of the machine.
#[derive(clap::Args)]
pub struct Round {
    /// The port to the host
    #[arg(long, value_name = "PORT", default_value = "/dev/virtio-ports/rdaxfs.kills")]
    port: PathBuf,
    /// Which one it is; in the first one the image is made
    #[arg(long)]
    round: u32,
    /// What the random numbers begin with
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Round {
    /// Who works in round `round`. No number of an operation comes twice, so that bytes tell their round.
    fn worker(&self, root: &Path, round: u32) -> Worker {
        Worker::new(root, (self.seed << 32) + u64::from(round), round << 16)
    }

    /// The model of what the round before has left, of which the operations with these inodes were done, and
    /// another one may have begun.
    fn left(&self, inodes: &[u64]) -> Model {
        let mut worker = self.worker(Path::new(""), self.round - 1);
        for ino in inodes {
            worker.recall(*ino);
        }
        let op = worker.choose();
        worker.model.begin(op);
        worker.model
    }
}

/// Does one round, which ends with the machine.
pub fn run(config: &Config, round: &Round) -> Result<()> {
    let port = File::options().read(true).write(true).open(&round.port);
    let mut port = BufReader::new(port.with_context(|| format!("{}", round.port.display()))?);
    let mut inodes = Vec::new();
    loop {
        let mut line = String::new();
        port.read_line(&mut line)?;
        match line.trim() {
            "" => break,
            ino => inodes.push(ino.parse()?),
        }
    }
    let image = Image::on(DEVICE);
    let mut files = 0;
    if round.round == 0 {
        image.mkfs(SIZE, &MKFS)?;
    } else {
        files = check(config, &image, &round.left(&inodes), true)
            .with_context(|| format!("{} operations had ended", inodes.len()))?;
    }
    let mount = image.mount(&config.fstype, "dax=inode")?;
    empty(&mount)?;
    // Directories and files get this from their directory; some lose it again.
    sys::set_xflag_dax(File::open(mount.dir())?, true)?;
    prepare(mount.dir())?;
    let mut worker = round.worker(mount.dir(), round.round);
    let mut tell = |text: String| port.get_mut().write_all(text.as_bytes());
    tell(format!("checked {files}\n"))?;
    loop {
        let op = worker.choose();
        tell(format!("{}\n", worker.perform(op)?))?;
    }
}

/// Removes everything, so that what comes next lies where something else has been.
fn empty(mount: &Mount) -> Result<()> {
    for entry in fs::read_dir(mount.dir())? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true if entry.file_name() == "lost+found" => {}
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}
