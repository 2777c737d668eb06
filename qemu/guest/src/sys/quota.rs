// SPDX-License-Identifier: GPL-2.0
//! `quotactl_fd(2)`, and the project of a file.

use super::{ioctl, Fsxattr, FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR};
use rustix::fd::{AsFd, AsRawFd};
use std::io;
use std::ptr;

/// Whose quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A user's.
    User = 0,
    /// A group's.
    Group = 1,
    /// A project's.
    Project = 2,
}

/// All of them.
pub const KINDS: [Kind; 3] = [Kind::User, Kind::Group, Kind::Project];

/// `struct if_dqblk` of `linux/quota.h`: limits of blocks in KiB, use in bytes, times in seconds. The last
/// word says which fields to set.
#[repr(C)]
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// No more KiB than this.
    pub block_hard: u64,
    /// No more for longer than the grace time.
    pub block_soft: u64,
    /// Bytes in use.
    pub space: u64,
    /// No more inodes than this.
    pub inode_hard: u64,
    /// No more for longer than the grace time.
    pub inode_soft: u64,
    /// Inodes in use.
    pub inodes: u64,
    /// When the grace time of blocks ends.
    pub block_time: u64,
    /// When the grace time of inodes ends.
    pub inode_time: u64,
    /// Which of these are to be set.
    pub valid: u32,
}

/// `struct if_dqinfo`.
#[repr(C)]
struct Info {
    block_grace: u64,
    inode_grace: u64,
    flags: u32,
    valid: u32,
}

const Q_SETINFO: u32 = 0x80_0006;
const Q_GETQUOTA: u32 = 0x80_0007;
const Q_SETQUOTA: u32 = 0x80_0008;
const Q_SYNC: u32 = 0x80_0001;
const Q_XQUOTAON: u32 = 0x5801;
const Q_XQUOTAOFF: u32 = 0x5802;
const QIF_LIMITS: u32 = 1 | 4;
const IIF_GRACES: u32 = 1 | 2;
const PROJINHERIT: u32 = 0x200;

fn quotactl<T>(at: impl AsFd, command: u32, kind: Kind, id: u32, arg: &mut T) -> io::Result<()> {
    let fd = at.as_fd().as_raw_fd();
    let command = command << 8 | kind as u32;
    // SAFETY: Callers pair each command with the type that it reads or writes.
    match unsafe { libc::syscall(libc::SYS_quotactl_fd, fd, command, id, ptr::from_mut(arg)) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Use and limits of `id`, in the file system that `at` is in.
pub fn get(at: impl AsFd, kind: Kind, id: u32) -> io::Result<Quota> {
    let mut quota = Quota::default();
    quotactl(at, Q_GETQUOTA, kind, id, &mut quota)?;
    Ok(quota)
}

/// Sets the limits that `limits` says.
pub fn set(at: impl AsFd, kind: Kind, id: u32, limits: Quota) -> io::Result<()> {
    quotactl(at, Q_SETQUOTA, kind, id, &mut Quota { valid: QIF_LIMITS, ..limits })
}

/// Sets the time for which soft limits may be exceeded.
pub fn set_grace(at: impl AsFd, kind: Kind, seconds: u64) -> io::Result<()> {
    let mut info = Info { block_grace: seconds, inode_grace: seconds, flags: 0, valid: IIF_GRACES };
    quotactl(at, Q_SETINFO, kind, 0, &mut info)
}

/// Writes everything out.
pub fn sync(at: impl AsFd, kind: Kind) -> io::Result<()> {
    quotactl(at, Q_SYNC, kind, 0, &mut 0_u32)
}

/// Has limits enforced, or not.
pub fn enforce(at: impl AsFd, kind: Kind, enforce: bool) -> io::Result<()> {
    let command = if enforce { Q_XQUOTAON } else { Q_XQUOTAOFF };
    quotactl(at, command, kind, 0, &mut (2_u32 << (2 * kind as u32)))
}

/// Puts a file in a project. What is made in a directory will be in it, too.
pub fn set_project(file: impl AsFd, projid: u32, inherit: bool) -> io::Result<()> {
    let mut attr = Fsxattr::default();
    ioctl(&file, FS_IOC_FSGETXATTR, &mut attr)?;
    attr.projid = projid;
    if inherit {
        attr.xflags |= PROJINHERIT;
    }
    ioctl(file, FS_IOC_FSSETXATTR, &mut attr)
}
