// SPDX-License-Identifier: GPL-2.0
//! `/proc/self/smaps`: what the kernel says about one mapping of this process.

use crate::sys::Mapping;
use anyhow::{Context, Result};

/// The entry of smaps that begins where `map` begins.
pub fn of(map: &Mapping) -> Result<String> {
    let text = std::fs::read_to_string("/proc/self/smaps")?;
    let start = format!("{:x}-", map.addr());
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&start));
    let head = lines.next().context("the mapping is not in smaps")?;
    // Field names begin with a capital letter, the first line of an entry with an address.
    let fields = lines.take_while(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    Ok([head].into_iter().chain(fields).flat_map(|line| [line, "\n"]).collect())
}

/// Is this two-letter flag in the VmFlags line of the mapping?
pub fn has_flag(map: &Mapping, flag: &str) -> Result<bool> {
    let entry = of(map)?;
    let flags = entry.lines().find_map(|line| line.strip_prefix("VmFlags:"));
    Ok(flags.context("no VmFlags")?.split_whitespace().any(|word| word == flag))
}
