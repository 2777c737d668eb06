// SPDX-License-Identifier: GPL-2.0
//! Asynchronous reads and writes: Linux AIO and io_uring, direct and through the page cache.

use super::{pattern, read_at, same_bytes};
use crate::harness::{Bed, Test, ALL};
use crate::skip;
use crate::sys::{self, Aio, Aligned};
use anyhow::{ensure, Context, Result};
use rustix::fs::OFlags;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("aio::linux_direct", ALL, |bed| run(bed, true, sys::aio)),
        Test::new("aio::linux_buffered", ALL, |bed| run(bed, false, sys::aio)),
        Test::new("aio::uring_direct", ALL, |bed| run(bed, true, sys::uring)),
        Test::new("aio::uring_buffered", ALL, |bed| run(bed, false, sys::uring)),
        Test::new("aio::into_a_hole", ALL, into_a_hole),
    ]
}

type Engine = fn(&File, Aio, &mut [Aligned]) -> io::Result<Vec<i64>>;

/// Requests in flight at once, and bytes of each.
const DEPTH: usize = 16;
const SIZE: usize = 65_536;

fn open(bed: &Bed, direct: bool) -> Result<File> {
    let flags = if direct { OFlags::DIRECT } else { OFlags::empty() };
    let mut options = File::options();
    options.read(true).write(true).create(true).custom_flags(flags.bits() as i32);
    options.open(bed.path("file")).context("open")
}

fn go(engine: Engine, file: &File, what: Aio, buffers: &mut [Aligned]) -> Result<()> {
    let done = match engine(file, what, buffers) {
        // io_uring may be switched off in a distribution's kernel.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => skip!("no such system call"),
        done => done?,
    };
    ensure!(done.iter().all(|len| *len == SIZE as i64), "transferred {done:?}");
    Ok(())
}

fn run(bed: &mut Bed, direct: bool, engine: Engine) -> Result<()> {
    let file = open(bed, direct)?;
    for round in 0..4 {
        let bytes = |n: usize| pattern(round, (n * SIZE) as u64, SIZE);
        let mut buffers: Vec<Aligned> = (0..DEPTH).map(|n| Aligned::of(&bytes(n))).collect();
        go(engine, &file, Aio::Write, &mut buffers)?;
        let mut back: Vec<Aligned> = (0..DEPTH).map(|_| Aligned::new(SIZE, 0)).collect();
        go(engine, &file, Aio::Read, &mut back)?;
        for (n, found) in back.iter().enumerate() {
            same_bytes(found, &bytes(n), &format!("round {round}, request {n}"))?;
        }
    }
    drop(file);
    bed.again()?;
    let found = read_at(&bed.open("file")?, 0, DEPTH * SIZE)?;
    same_bytes(&found, &pattern(3, 0, DEPTH * SIZE), "mounted again")
}

/// Direct writes all over a sparse file, with buffered reads of the holes between them.
fn into_a_hole(bed: &mut Bed) -> Result<()> {
    let file = open(bed, true)?;
    file.set_len(2 * (DEPTH * SIZE) as u64)?;
    let plain = bed.open("file")?;
    same_bytes(&read_at(&plain, 0, SIZE)?, &[0; SIZE], "the hole")?;
    let mut buffers: Vec<Aligned> =
        (0..DEPTH).map(|n| Aligned::of(&pattern(5, (n * SIZE) as u64, SIZE))).collect();
    go(sys::aio, &file, Aio::Write, &mut buffers)?;
    let found = read_at(&plain, 0, DEPTH * SIZE)?;
    same_bytes(&found, &pattern(5, 0, DEPTH * SIZE), "written")?;
    let rest = read_at(&plain, (DEPTH * SIZE) as u64, DEPTH * SIZE)?;
    same_bytes(&rest, &[0; DEPTH * SIZE], "the rest")
}
