// SPDX-License-Identifier: GPL-2.0

//! What is asked of files and directories by `ioctl(2)`, beside what the VFS does itself.

use kernel::{
    ioctl::_IOR,
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

use super::INode;

/// Tells the generation (`FS_IOC_GETVERSION`); says `long`, and means 32 bits.
const GETVERSION: u32 = _IOR::<c_long>(b'v' as u32, 1);
/// The same, from a 32-bit process.
const GETVERSION_32: u32 = _IOR::<c_int>(b'v' as u32, 1);

/// Answers what is asked of an open file or directory. [`ENOTTY`] for everything unknown.
pub fn ioctl(inode: &INode, cmd: u32, arg: usize) -> Result<isize> {
    match cmd {
        GETVERSION | GETVERSION_32 => {
            let to = UserSlice::new(UserPtr::from_addr(arg), size_of::<u32>());
            to.writer().write(&inode.generation())?;
            Ok(0)
        }
        _ => Err(ENOTTY),
    }
}
