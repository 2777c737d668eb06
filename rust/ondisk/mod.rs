// SPDX-License-Identifier: GPL-2.0

//! The ext4 on-disk format: layouts, validation and checksums.
//!
//! The module knows bytes, not devices: it is handed the content of a block and answers with facts,
//! or with an [`Error`] that says what is wrong. It needs `core` and `zerocopy` only, allocates
//! nothing, has no unsafe code and no state, so that the same files are a module of the kernel crate
//! and a crate of the host, where they are tested and fuzzed.
//!
//! Whatever comes from the disk may have been written by an enemy. Each value is checked once, where
//! it is decoded, and from there on carried by a type that says so: a [`BlockNr`] lies on the file
//! system, a [`BlockRun`] does so with its whole length. No function here panics on any input.
//!
//! The facts of the format are those of
//! [`Documentation/filesystems/ext4/`](srctree/Documentation/filesystems/ext4/index.rst). Fields bear
//! the names they have there, less the prefix.

pub mod acl;
pub mod bitmap;
pub mod block;
pub mod bytes;
pub mod checksum;
pub mod dir;
pub mod directory;
pub mod error;
pub mod extent;
pub mod feature;
pub mod fork;
pub mod geometry;
pub mod group;
pub mod hash;
pub mod htree;
pub mod indirect;
pub mod inode;
pub mod orphan;
pub mod sort;
pub mod superblock;
pub mod tree;
pub mod xattr;

pub use self::block::{
    BlockNr,
    BlockRun,
    Blocks, //
};
pub use self::checksum::Csum;
pub use self::error::{
    Error,
    Result, //
};
pub use self::geometry::{
    Geometry,
    InodePlace, //
};
pub use self::group::GroupDesc;
pub use self::inode::Inode;
