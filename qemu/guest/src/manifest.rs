// SPDX-License-Identifier: GPL-2.0
//! What a tree of files looks like to `stat` and to a reader: one line per path. Two manifests of
//! the same image, taken through two drivers, are equal or one driver is wrong.

use anyhow::{Context, Result};
use rustix::fs::{self, AtFlags, FileType, StatxFlags, CWD};
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;
use xxhash_rust::xxh3::Xxh3;

/// Which facts a manifest holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Facts {
    /// Names, types, permissions, contents: what a copy has in common with its source.
    Copied,
    /// Also link counts and extended attributes: what an operation that failed leaves as it was.
    Kept,
    /// Also owners, link counts, times, blocks: what two drivers must agree on.
    All,
}

/// One line per path below a directory, the directory itself included.
#[derive(PartialEq, Eq)]
pub struct Manifest {
    entries: BTreeMap<PathBuf, String>,
    bytes: u64,
}

impl Manifest {
    /// Reads everything below `root`, file contents included, without leaving its file system.
    pub fn of(root: &Path, facts: Facts) -> Result<Self> {
        let mut manifest = Self { entries: BTreeMap::new(), bytes: 0 };
        for found in WalkDir::new(root).same_file_system(true) {
            let found = found?;
            let name = found.path().strip_prefix(root)?.to_owned();
            let line = manifest
                .describe(found.path(), facts)
                .with_context(|| format!("{}", found.path().display()))?;
            manifest.entries.insert(name, line);
        }
        Ok(manifest)
    }

    /// How many paths it names.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many bytes of file contents were read for it.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// One checksum over all of it.
    pub fn checksum(&self) -> String {
        let mut hash = Xxh3::new();
        for (name, line) in &self.entries {
            hash.update(name.as_os_str().as_encoded_bytes());
            hash.update(&[0]);
            hash.update(line.as_bytes());
            hash.update(&[0]);
        }
        format!("{:032x}", hash.digest128())
    }

    /// Fails with the first few differences if there are any; `here` and `there` name the two.
    pub fn same(&self, other: &Self, here: &str, there: &str) -> Result<()> {
        let mut differences = Vec::new();
        for name in self.entries.keys().chain(other.entries.keys()) {
            let (a, b) = (self.entries.get(name), other.entries.get(name));
            if a != b {
                let show = |line: Option<&String>| line.map_or("-", |l| l.as_str()).to_owned();
                let name = name.display();
                differences.push(format!("{name}\n  {here}: {}\n  {there}: {}", show(a), show(b)));
            }
        }
        differences.dedup();
        if differences.is_empty() {
            return Ok(());
        }
        let count = differences.len();
        differences.truncate(5);
        anyhow::bail!("{count} paths differ:\n{}", differences.join("\n"))
    }

    fn describe(&mut self, path: &Path, facts: Facts) -> Result<String> {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        let stat = fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, wanted)?;
        let kind = FileType::from_raw_mode(stat.stx_mode.into());
        let mut line = format!("{:06o}", stat.stx_mode);
        if facts == Facts::All {
            let (m, c, b) = (stat.stx_mtime, stat.stx_ctime, stat.stx_btime);
            line += &format!(
                " {}:{} links {} size {} blocks {} m {}.{:09} c {}.{:09} b {}.{:09}",
                stat.stx_uid,
                stat.stx_gid,
                stat.stx_nlink,
                stat.stx_size,
                stat.stx_blocks,
                m.tv_sec,
                m.tv_nsec,
                c.tv_sec,
                c.tv_nsec,
                b.tv_sec,
                b.tv_nsec
            );
        }
        if facts == Facts::Kept {
            line += &format!(" links {}", stat.stx_nlink);
        }
        match kind {
            FileType::RegularFile => {
                line += &format!(" {} bytes {}", stat.stx_size, self.hash(path, stat.stx_size)?)
            }
            FileType::Symlink => line += &format!(" -> {:?}", std::fs::read_link(path)?),
            FileType::CharacterDevice | FileType::BlockDevice => {
                line += &format!(" {}:{}", stat.stx_rdev_major, stat.stx_rdev_minor);
            }
            _ => {}
        }
        if facts != Facts::Copied {
            line += &attributes(path)?;
        }
        Ok(line)
    }

    fn hash(&mut self, path: &Path, size: u64) -> Result<String> {
        let mut hash = Xxh3::new();
        // Not less than a page: a file may be longer than it says.
        let mut buffer = vec![0; size.clamp(1 << 12, 1 << 20) as usize];
        let mut file = File::open(path)?;
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(format!("{:032x}", hash.digest128())),
                len => {
                    self.bytes += len as u64;
                    hash.update(&buffer[..len]);
                }
            }
        }
    }
}

/// The extended attributes of a path, by name, with checksums of their values.
fn attributes(path: &Path) -> Result<String> {
    let mut names = vec![0; fs::llistxattr(path, &mut [0; 0])?];
    if names.is_empty() {
        return Ok(String::new());
    }
    let len = fs::llistxattr(path, &mut names)?;
    let mut names: Vec<&[u8]> = names[..len].split_inclusive(|byte| *byte == 0).collect();
    names.sort();
    let mut line = String::new();
    for name in names {
        let name = CStr::from_bytes_with_nul(name)?;
        let mut value = vec![0; 1 << 16];
        let len = fs::lgetxattr(path, name, &mut value)?;
        line += &format!(" {name:?} {len} {:x}", xxhash_rust::xxh3::xxh3_64(&value[..len]));
    }
    Ok(line)
}
