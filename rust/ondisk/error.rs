// SPDX-License-Identifier: GPL-2.0

//! What can be wrong with what was read.

use core::fmt;

use super::feature::{
    Incompat,
    RoCompat, //
};

/// [`core::result::Result`] with this module's [`Error`].
pub type Result<T = (), E = Error> = core::result::Result<T, E>;

/// Why the content of a block was not accepted, or a change to it not made.
///
/// It names the fact, not the place: the caller knows which inode and block it asked about, and says
/// so in its message. To print one with the kernel's macros, wrap it: `format_args!("{error}")`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The checksum of the structure named is not that of its bytes.
    Checksum(&'static str),
    /// The structure says what cannot be.
    Corrupt(&'static str),
    /// There is no room left for the change, the structure is as it was: the entry is to go elsewhere.
    Full,
    /// What was handed in is smaller than the structure.
    TooSmall,
    /// The value cannot be told in the format: a file of too many blocks.
    TooLarge,
    /// The superblock is not one of ext4.
    NotExt4,
    /// The file system cannot be touched without knowing these features.
    Incompat(Incompat),
    /// The file system cannot be written to without knowing these features.
    RoCompat(RoCompat),
    /// Something rdaxfs cannot handle, and no feature flag tells of.
    Unsupported(&'static str),
    /// The device has fewer blocks than the file system.
    DeviceTooSmall {
        /// Blocks of the file system.
        blocks: u64,
        /// Whole blocks of the device.
        device: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checksum(what) => write!(f, "{what}: wrong checksum"),
            Self::Corrupt(what) => f.write_str(what),
            Self::Full => f.write_str("no room left"),
            Self::TooSmall => f.write_str("buffer too small"),
            Self::TooLarge => f.write_str("too large for the format"),
            Self::NotExt4 => f.write_str("no ext4 file system"),
            Self::Incompat(set) => write!(f, "unsupported features: {set}"),
            Self::RoCompat(set) => {
                write!(f, "unsupported features, can only be read: {set}")
            }
            Self::Unsupported(what) => write!(f, "unsupported: {what}"),
            Self::DeviceTooSmall { blocks, device } => {
                write!(f, "{blocks} blocks, and the device has {device}")
            }
        }
    }
}

impl core::error::Error for Error {}
