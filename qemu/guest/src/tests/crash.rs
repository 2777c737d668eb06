// SPDX-License-Identifier: GPL-2.0
//! The short form of `make crash`.

use crate::crash::{log_writes, Plan};
use crate::harness::{Bed, Test, RAM};
use anyhow::Result;

pub fn tests() -> Vec<Test> {
    vec![Test::bare("crash::log_writes", RAM, all_writes)]
}

/// A crash after some of the writes of a short work.
fn all_writes(bed: &mut Bed) -> Result<()> {
    let operations = bed.config.amount(2_000, 250, 80);
    let points = bed.config.amount(200, 10, 3);
    let plan = Plan { operations, points, seed: 1 };
    println!("{}", log_writes(&bed.config, plan)?);
    Ok(())
}
