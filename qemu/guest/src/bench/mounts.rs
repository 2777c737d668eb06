// SPDX-License-Identifier: GPL-2.0
//! Rows about mounting: an empty file system of 1 TiB, in a sparse file behind a loop device.

use super::{rows, Bench};
use anyhow::Result;

/// All rows of the group.
pub fn measure(bench: &mut Bench) -> Result<()> {
    let who = bench.who;
    let mount = bench.time(&rows::MOUNT, 1, || who.mount_huge())?;
    bench.time(&rows::UNMOUNT, 1, || mount.unmount())?;
    Ok(())
}
