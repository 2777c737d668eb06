// SPDX-License-Identifier: GPL-2.0

//! rdaxfs: a small file system for work on mm, `fs/dax.c`, iomap and the VFS.
//!
//! The on-disk format is ext4's. File data goes through iomap and the page cache, or through DAX,
//! and a file can change between the two while the system runs.
//!
//! - [`ondisk`] knows the format: layout, checks, checksums. No kernel, no allocation, no unsafe.
//! - [`vfs`] wraps the kernel's interfaces in types that keep their promises. All unsafe code is
//!   there, and in [`bindings`].
//! - [`fs`] is the file system, in terms of the two. No unsafe.
//!
//! Dependencies point one way: `fs -> {vfs, ondisk}`, `vfs -> bindings`, `ondisk -> nothing`.

#![warn(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn)]

use crate::prelude::*;

pub mod bindings;
#[deny(unsafe_code)]
pub mod fs;
#[forbid(unsafe_code)]
pub mod ondisk;
pub mod prelude;
pub mod vfs;

module! {
    type: Module,
    name: "rdaxfs",
    authors: ["the rdaxfs authors"],
    description: "A DAX and page-cache file system on the ext4 format",
    license: "GPL",
    alias: ["fs-rdaxfs"],
}

/// The loaded module: the file system type is registered as long as it lives.
#[pin_data]
pub struct Module {
    #[pin]
    _delays: vfs::delay::Files,
    #[pin]
    registration: vfs::Registration<fs::RdaxFs>,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _: { fs::options::DaxSwitch::of_module()?; },
            _delays <- vfs::delay::files(),
            registration <- vfs::Registration::new(module, vfs::param::fstype()?),
        })
    }
}
