// SPDX-License-Identifier: GPL-2.0
//! The tests, one file per part of what the file system promises, and what they share.

mod aio;
mod attributes;
mod corrupt;
mod crash;
mod data;
mod extents;
mod failing;
mod fault;
mod images;
mod index;
mod inodes;
mod journaled;
mod load;
mod mode;
mod mounting;
mod names;
mod pointers;
mod quota;
mod readdir;
mod recovery;
mod rights;
mod space;
pub mod switch;
mod tools;
mod vfs;
mod xattrs;

use crate::harness::Test;
use crate::sys;
use anyhow::{ensure, Result};
use rustix::fs::{self, AtFlags, Statx, StatxFlags, CWD};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Every test, in the order in which they run.
pub fn all() -> Vec<Test> {
    let groups: &[fn() -> Vec<Test>] = &[
        mounting::tests,
        images::tests,
        names::tests,
        readdir::tests,
        index::tests,
        quota::tests,
        inodes::tests,
        extents::tests,
        space::tests,
        pointers::tests,
        vfs::tests,
        data::tests,
        aio::tests,
        fault::tests,
        mode::tests,
        switch::tests,
        attributes::tests,
        xattrs::tests,
        rights::tests,
        recovery::tests,
        journaled::tests,
        crash::tests,
        failing::tests,
        corrupt::tests,
        load::tests,
        tools::tests,
    ];
    groups.iter().flat_map(|group| group()).collect()
}

/// Passes if `result` is the error `errno`.
fn refused<T, E: Into<io::Error>>(result: Result<T, E>, errno: Errno, what: &str) -> Result<()> {
    match result.map_err(Into::into) {
        Ok(_) => anyhow::bail!("{what} was done, expected {errno}"),
        Err(error) => {
            let same = error.raw_os_error() == Some(errno.raw_os_error());
            ensure!(same, "{what}: {error}, expected {errno}");
            Ok(())
        }
    }
}

/// Runs `work` as a user who has no privileges.
fn as_user(user: u32, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let end =
        sys::in_child(|| match sys::become_user(user).map_err(Into::into).and_then(|()| work()) {
            Ok(()) => 0,
            Err(error) => {
                println!("as user {user}: {error:#}");
                1
            }
        })?;
    ensure!(end == sys::End::Exit(0), "user {user} ended with {end:?}; see the output");
    Ok(())
}

/// `len` bytes from byte `at` of an endless sequence that differs by `seed` and has no period, so
/// that bytes in the wrong place are as visible as wrong bytes.
fn pattern(seed: u64, at: u64, len: usize) -> Vec<u8> {
    let word = |n: u64| {
        let mut z = n.wrapping_add(seed << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z ^ (z >> 27)).to_le_bytes()
    };
    let words = at / 8..(at + len as u64).div_ceil(8);
    let mut bytes = Vec::with_capacity(len + 16);
    for n in words {
        bytes.extend_from_slice(&word(n));
    }
    bytes.drain(..(at % 8) as usize);
    bytes.truncate(len);
    bytes
}

/// Fails at the first byte in which the two differ.
pub fn same_bytes(found: &[u8], expected: &[u8], what: &str) -> Result<()> {
    ensure!(
        found.len() == expected.len(),
        "{what}: {} bytes, expected {}",
        found.len(),
        expected.len()
    );
    if let Some(at) = found.iter().zip(expected).position(|(a, b)| a != b) {
        let show = |bytes: &[u8]| format!("{:02x?}", &bytes[at..bytes.len().min(at + 16)]);
        anyhow::bail!("{what}: byte {at} is {}, expected {}", show(found), show(expected));
    }
    Ok(())
}

/// Reads `len` bytes at `at`.
fn read_at(file: &File, at: u64, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// `statx` of a path, not following a symlink.
fn statx(path: &Path) -> Result<Statx> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    Ok(fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, wanted)?)
}

/// Does `statx` say that the file is DAX?
fn is_dax(file: &File) -> Result<bool> {
    let stat = fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    Ok(stat.stx_attributes.bits() & sys::STATX_ATTR_DAX != 0)
}

/// Free blocks and free inodes.
fn free(dir: &Path) -> Result<(u64, u64)> {
    let stat = fs::statfs(dir)?;
    Ok((stat.f_bfree as u64, stat.f_ffree as u64))
}
