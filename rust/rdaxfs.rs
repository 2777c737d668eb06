// SPDX-License-Identifier: GPL-2.0

//! rdaxfs: a file system on ext4's disk format that maps files through the page cache and DAX.

use kernel::prelude::*;

mod bindings;

module! {
    type: Rdaxfs,
    name: "rdaxfs",
    authors: ["The rdaxfs authors"],
    description: "Rust file system on ext4's format with a live DAX switch",
    license: "GPL",
    alias: ["fs-rdaxfs"],
}

/// The loaded module.
struct Rdaxfs;

impl kernel::Module for Rdaxfs {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        pr_info!("loaded\n");
        Ok(Self)
    }
}
