// SPDX-License-Identifier: GPL-2.0

//! What can be wrong with what was read.

use core::fmt;

/// [`core::result::Result`] with this module's [`Error`].
pub type Result<T = ()> = core::result::Result<T, Error>;

/// Why the content of a block was not accepted.
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
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checksum(what) => write!(f, "{what}: wrong checksum"),
            Self::Corrupt(what) => f.write_str(what),
            Self::Full => f.write_str("no room left"),
            Self::TooSmall => f.write_str("buffer too small"),
        }
    }
}

impl core::error::Error for Error {}
