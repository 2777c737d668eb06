// SPDX-License-Identifier: GPL-2.0
//! Messages to targets of the device mapper, by its own ioctl: thousands of them, where a process of
//! `dmsetup` for each would take longer than all else.

use rustix::fd::{AsFd, AsRawFd};
use std::fs::File;
use std::io;

/// Bytes of `struct dm_ioctl`, and of what follows it here: a sector, and the message with its zero.
const HEADER: usize = 312;
const SIZE: usize = HEADER + 8 + 128;
/// `DM_DEV_...`: the offset of the name in the header.
const NAME: usize = 48;
/// `DM_TARGET_MSG`.
const TARGET_MSG: u64 = 3 << 30 | (HEADER as u64) << 16 | 0xfd << 8 | 14;

/// The control device.
pub struct Control(File);

impl Control {
    /// Opens it.
    pub fn open() -> io::Result<Self> {
        File::options().read(true).write(true).open("/dev/mapper/control").map(Self)
    }

    /// Sends `text` to the one target of the device `name`.
    pub fn message(&self, name: &str, text: &str) -> io::Result<()> {
        let mut block = [0_u8; SIZE];
        // The version of the interface, how long all of this is, and where the message begins.
        for (at, word) in [(0, 4), (12, SIZE as u32), (16, HEADER as u32)] {
            block[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        block[NAME..NAME + name.len()].copy_from_slice(name.as_bytes());
        block[HEADER + 8..HEADER + 8 + text.len()].copy_from_slice(text.as_bytes());
        let fd = self.0.as_fd().as_raw_fd();
        // SAFETY: The block is as long as it says.
        match unsafe { libc::ioctl(fd, TARGET_MSG, block.as_mut_ptr()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
