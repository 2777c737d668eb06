// SPDX-License-Identifier: GPL-2.0
//! The contestants: three file systems, each by two paths.

use crate::stage::{self, Image, Mount, SCRATCH};
use anyhow::{Context, Result};
use std::fmt;
use std::fs::File;
use std::path::PathBuf;

/// The device that every contestant gets in turn.
const DEVICE: &str = "/dev/pmem0";
/// Bytes of the sparse image whose mount is measured.
const HUGE: u64 = 1 << 40;

/// A file system and the way to its data.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Contestant {
    /// File system type.
    pub fs: &'static str,
    /// By DAX, or through the page cache.
    pub dax: bool,
}

/// How a file system is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// As mkfs makes it without options.
    Default,
    /// With all large extents aligned to 2 MiB.
    Aligned,
    /// With as many inodes as the rows about names need.
    ManyFiles,
    /// Empty, 1 TiB, in a sparse file behind a loop device.
    Huge,
}

impl Contestant {
    /// All of them, those to be compared side by side.
    pub fn all() -> impl Iterator<Item = Self> {
        let by = |dax| ["rdaxfs", "ext4", "xfs"].map(|fs| Self { fs, dax });
        by(true).into_iter().chain(by(false))
    }

    /// The path as a word.
    pub fn path(&self) -> &'static str {
        if self.dax {
            "dax"
        } else {
            "cache"
        }
    }

    /// Makes the file system, with [`Layout::ManyFiles`] for that many files and directories at a time. The huge one
    /// is made once a boot for each format.
    pub fn mkfs(&self, layout: Layout, files: usize) -> Result<()> {
        if layout == Layout::Huge {
            return self.mkfs_huge();
        }
        // Some for directories of the rows, and for what mkfs itself takes.
        let inodes = (files + files / 8 + 1024).to_string();
        let args: &[&str] = match (self.fs, layout) {
            // In four groups no log of the least size would fit between aligned inodes.
            ("xfs", Layout::Aligned) => &["-d", "agcount=2,su=2m,sw=1"],
            ("xfs", _) => &[],
            (_, Layout::Aligned) => &["-E", "stride=512,stripe_width=512,packed_meta_blocks=1"],
            (_, Layout::ManyFiles) => &["-N", &inodes],
            _ => &[],
        };
        match self.fs {
            "xfs" => stage::run("mkfs.xfs", &[&["-q", "-f"], args, &[DEVICE]].concat()).map(|_| ()),
            _ => {
                let common = ["-q", "-F", "-t", "ext4", "-b", "4096"];
                stage::run("mke2fs", &[&common, args, &[DEVICE]].concat()).map(|_| ())
            }
        }
    }

    /// Mounts what [`Self::mkfs`] made.
    pub fn mount(&self) -> Result<Mount> {
        let options = if self.dax { "dax=always" } else { "dax=never" };
        Image::on(DEVICE).mount(self.fs, options)
    }

    /// Mounts the huge one.
    pub fn mount_huge(&self) -> Result<Mount> {
        Image::on(&self.huge_device()).mount(self.fs, "")
    }

    fn huge_file(&self) -> PathBuf {
        let format = if self.fs == "xfs" { "xfs" } else { "ext4" };
        PathBuf::from(SCRATCH).join(format!("huge-{format}"))
    }

    fn huge_device(&self) -> String {
        if self.fs == "xfs" { "/dev/loop1" } else { "/dev/loop0" }.to_owned()
    }

    fn mkfs_huge(&self) -> Result<()> {
        let file = self.huge_file();
        if file.exists() {
            return Ok(());
        }
        File::create(&file)?.set_len(HUGE).with_context(|| format!("{}", file.display()))?;
        let path = file.to_string_lossy();
        match self.fs {
            "xfs" => stage::run("mkfs.xfs", &["-q", "-f", &path])?,
            _ => stage::run(
                "mke2fs",
                &["-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=1,lazy_journal_init=1", &path],
            )?,
        };
        stage::run("losetup", &[&self.huge_device(), &path]).map(|_| ())
    }
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}", self.fs, self.path())
    }
}
