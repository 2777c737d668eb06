// SPDX-License-Identifier: GPL-2.0

//! What is asked of files and directories by `ioctl(2)`, beside what the VFS does itself.

use kernel::{
    ioctl::{
        _IOR,
        _IOW,
        _IOWR, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

use super::{
    fsmap,
    identity,
    inode,
    mount,
    trim,
    RdaxFs,
    Transaction, //
};
use crate::{
    ondisk::feature::{
        Compat,
        Incompat, //
    },
    prelude::*,
    vfs::{
        capable_sys_admin,
        file::File, //
    }, //
};

/// Tells the generation (`FS_IOC_GETVERSION`); says `long`, and means 32 bits. The second of each pair
/// is for a 32-bit process.
const GETVERSION: u32 = _IOR::<c_long>(b'v' as u32, 1);
const GETVERSION_32: u32 = _IOR::<c_int>(b'v' as u32, 1);
/// Sets the generation (`FS_IOC_SETVERSION`).
const SETVERSION: u32 = _IOW::<c_long>(b'v' as u32, 2);
const SETVERSION_32: u32 = _IOW::<c_int>(b'v' as u32, 2);
/// Shuts the file system down (`FS_IOC_SHUTDOWN`, `XFS_IOC_GOINGDOWN`).
const SHUTDOWN: u32 = _IOR::<u32>(b'X' as u32, 125);
/// Discards free blocks; takes a [`trim::Range`].
const FITRIM: u32 = _IOWR::<[u64; 3]>(b'X' as u32, 121);
/// Tells what blocks are used for.
const GETFSMAP: u32 = _IOWR::<fsmap::Head>(b'X' as u32, 59);
/// Tell and set the volume's name.
const GETFSLABEL: u32 = _IOR::<[u8; LABEL_SIZE]>(0x94, 49);
const SETFSLABEL: u32 = _IOW::<[u8; LABEL_SIZE]>(0x94, 50);
/// Tell and set the UUID, as ext4 has it (`EXT4_IOC_GETFSUUID`), for `tune2fs -U`.
const GETFSUUID: u32 = _IOR::<[u32; 2]>(b'f' as u32, 44);
const SETFSUUID: u32 = _IOW::<[u32; 2]>(b'f' as u32, 44);

/// Has two files change blocks, for `e4defrag` (`EXT4_IOC_MOVE_EXT`).
const MOVE_EXT: u32 = _IOWR::<[u64; 5]>(b'f' as u32, 15);

/// `FSLABEL_MAX`, and the bytes of a name in the super block.
const LABEL_SIZE: usize = 256;
const VOLUME_NAME: usize = 16;

/// Bytes of `struct fsuuid` before the UUID: its length and flags.
const UUID_HEADER: usize = 8;
const UUID_SIZE: usize = 16;

/// Memory of the caller's.
pub fn user(arg: usize, len: usize) -> UserSlice {
    UserSlice::new(UserPtr::from_addr(arg), len)
}

fn read<const N: usize>(arg: usize) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    user(arg, N).reader().read_slice(&mut bytes)?;
    Ok(bytes)
}

fn read_u32(arg: usize) -> Result<u32> {
    read(arg).map(u32::from_le_bytes)
}

/// [`EPERM`] unless the current task may administer the system.
fn admin_only() -> Result {
    match capable_sys_admin() {
        true => Ok(()),
        false => Err(EPERM),
    }
}

/// Answers what is asked of an open file or directory. [`ENOTTY`] for everything unknown.
pub fn ioctl(file: &File<RdaxFs>, cmd: u32, arg: usize) -> Result<isize> {
    let sb = file.inode().sb();
    match cmd {
        GETVERSION | GETVERSION_32 => {
            let to = user(arg, size_of::<u32>());
            to.writer().write(&file.inode().generation())?;
        }
        SETVERSION | SETVERSION_32 => set_version(file, arg)?,
        SHUTDOWN => {
            admin_only()?;
            mount::shut_down_as(sb, read_u32(arg)?)?;
        }
        FITRIM => {
            admin_only()?;
            let words: [u8; 24] = read(arg)?;
            let done = trim::trim(sb, trim::Range::from_bytes(&words))?;
            // Only the length is answered; it stands second.
            user(arg, 24).writer().write_slice(&done.to_bytes())?;
        }
        GETFSMAP => fsmap::get(sb, arg)?,
        GETFSLABEL => {
            let mut label = [0; VOLUME_NAME + 1];
            let name = identity::volume_name(sb)?;
            for (to, from) in label.iter_mut().zip(name) {
                *to = from;
            }
            user(arg, label.len()).writer().write_slice(&label)?;
        }
        SETFSLABEL => set_label(file, arg)?,
        GETFSUUID => get_uuid(file, arg)?,
        SETFSUUID => set_uuid(file, arg)?,
        // What e4defrag takes for "not on this file system", where ENOTTY is a failure to it.
        MOVE_EXT => return Err(EOPNOTSUPP),
        _ => return Err(ENOTTY),
    }
    Ok(0)
}

/// Sets the generation, which begins the checksums of all blocks that the inode has: where there are
/// checksums, it cannot change.
fn set_version(file: &File<RdaxFs>, arg: usize) -> Result {
    let inode = file.inode();
    if !file.is_owner_or_capable() {
        return Err(EPERM);
    }
    if inode.sb().data().geometry().csum().is_some() {
        return Err(ENOTTY);
    }
    let _access = file.want_write()?;
    let generation = read_u32(arg)?;
    let locked = inode.lock();
    let _tx = Transaction::start(inode.sb(), inode::WRITE_CREDITS)?;
    locked.set_generation(generation);
    locked.set_ctime_current();
    locked.mark_dirty();
    Ok(())
}

fn set_label(file: &File<RdaxFs>, arg: usize) -> Result {
    admin_only()?;
    let label: [u8; VOLUME_NAME + 1] = read(arg)?;
    let len = label.iter().position(|byte| *byte == 0).ok_or(EINVAL)?;
    let mut name = [0; VOLUME_NAME];
    for (to, from) in name.iter_mut().zip(label).take(len) {
        *to = from;
    }
    let _access = file.want_write()?;
    identity::set_volume_name(file.inode().sb(), &name)
}

fn get_uuid(file: &File<RdaxFs>, arg: usize) -> Result {
    let (len, flags) = (read_u32(arg)?, read_u32(arg.wrapping_add(4))?);
    let header = (UUID_SIZE as u32).to_le_bytes();
    if len == 0 {
        return user(arg, 4).writer().write_slice(&header);
    }
    if (len as usize) < UUID_SIZE || flags != 0 {
        return Err(EINVAL);
    }
    let mut writer = user(arg, UUID_HEADER + UUID_SIZE).writer();
    writer.write_slice(&header)?;
    writer.write_slice(&[0; 4])?;
    writer.write_slice(&identity::uuid(file.inode().sb())?)
}

/// Sets the UUID on the disk, which counts from the next mount on. [`EOPNOTSUPP`] where checksums begin
/// with it.
fn set_uuid(file: &File<RdaxFs>, arg: usize) -> Result {
    admin_only()?;
    let geometry = file.inode().sb().data().get_ref().geometry();
    let has_seed = geometry.incompat().contains(Incompat::CSUM_SEED);
    if geometry.has_group_csum() && !has_seed || geometry.compat().contains(Compat::STABLE_INODES) {
        return Err(EOPNOTSUPP);
    }
    let (len, flags) = (read_u32(arg)?, read_u32(arg.wrapping_add(4))?);
    if len as usize != UUID_SIZE || flags != 0 {
        return Err(EINVAL);
    }
    let uuid = read(arg.wrapping_add(UUID_HEADER))?;
    let _access = file.want_write()?;
    identity::set_uuid(file.inode().sb(), &uuid)
}
