// SPDX-License-Identifier: GPL-2.0
//! What is asked of a file system by ioctl, and attributes by the system calls of their own.

use super::{ioctl, Fsxattr, FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR};
use rustix::fd::{AsFd, AsRawFd};
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const FS_IOC_SHUTDOWN: u64 = 0x8004_587d;
const FITRIM: u64 = 0xc018_5879;
const FIFREEZE: u64 = 0xc004_5877;
const FITHAW: u64 = 0xc004_5878;
const FS_IOC_SETVERSION: u64 = 0x4008_7602;
const FS_IOC_GETFSLABEL: u64 = 0x8100_9431;
const FS_IOC_SETFSLABEL: u64 = 0x4100_9432;
const FS_IOC_GETFSUUID: u64 = 0x8011_1500;
const FS_IOC_GETFSSYSFSPATH: u64 = 0x8081_1501;
const EXT4_IOC_GETFSUUID: u64 = 0x8008_662c;
const EXT4_IOC_SETFSUUID: u64 = 0x4008_662c;
const EXT4_IOC_MOVE_EXT: u64 = 0xc028_660f;

/// `FS_IOC_SHUTDOWN`: 0 with everything written, 1 with the log written, 2 at once.
pub fn shut_down(file: impl AsFd, how: u32) -> io::Result<()> {
    ioctl(file, FS_IOC_SHUTDOWN, &mut { how })
}

/// `FITRIM`. Returns the bytes discarded.
pub fn trim(file: impl AsFd, start: u64, len: u64, min_len: u64) -> io::Result<u64> {
    let mut range = [start, len, min_len];
    ioctl(file, FITRIM, &mut range)?;
    Ok(range[1])
}

/// Where the extended attributes are, by `FS_IOC_FIEMAP`: the byte of the device, how many there are, and the
/// flags of the one extent. Nothing if there are none.
pub fn place_of_attributes(file: impl AsFd) -> io::Result<Option<(u64, u64, u32)>> {
    const FLAG_XATTR: u32 = 2;
    let map = first_extent(file, 0, FLAG_XATTR)?;
    Ok((map.mapped > 0).then_some((map.physical, map.length, map.extent_flags)))
}

/// Where byte `at` of the file is on the device, by `FS_IOC_FIEMAP`. Nothing if there is no place for it, or not yet.
pub fn place_of_byte(file: impl AsFd, at: u64) -> io::Result<Option<u64>> {
    const UNKNOWN: u32 = 2;
    let map = first_extent(file, at, 0)?;
    let there = map.mapped > 0 && map.logical <= at && map.extent_flags & UNKNOWN == 0;
    Ok(there.then(|| map.physical + at - map.logical))
}

#[derive(Default)]
#[repr(C)]
struct Fiemap {
    start: u64,
    len: u64,
    flags: u32,
    mapped: u32,
    count: u32,
    reserved: u32,
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    extent_flags: u32,
    reserved32: [u32; 3],
}

/// The first extent at or after byte `start`.
fn first_extent(file: impl AsFd, start: u64, flags: u32) -> io::Result<Fiemap> {
    const FS_IOC_FIEMAP: u64 = 0xc020_660b;
    let mut map = Fiemap { start, len: u64::MAX - start, flags, count: 1, ..Fiemap::default() };
    ioctl(file, FS_IOC_FIEMAP, &mut map)?;
    Ok(map)
}

/// `struct fsmap`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Usage {
    pub device: u32,
    pub flags: u32,
    pub physical: u64,
    pub owner: u64,
    pub offset: u64,
    pub length: u64,
    pub reserved: [u64; 3],
}

impl Usage {
    /// The high key that nothing is beyond.
    pub const END: Self = Self {
        device: u32::MAX,
        flags: u32::MAX,
        physical: u64::MAX,
        owner: u64::MAX,
        offset: u64::MAX,
        length: 0,
        reserved: [0; 3],
    };
}

/// `FS_IOC_GETFSMAP`: what the bytes of the device are used for between two keys, in at most `room` records; and how many
/// records that is, which is all there is without room.
pub fn usage(file: impl AsFd, keys: [Usage; 2], room: u32) -> io::Result<(Vec<Usage>, u32)> {
    const FS_IOC_GETFSMAP: u64 = 0xc0c0_583b;
    const ROOM: usize = 512;
    #[repr(C)]
    struct Map {
        iflags: u32,
        oflags: u32,
        count: u32,
        entries: u32,
        reserved: [u64; 6],
        keys: [Usage; 2],
        records: [Usage; ROOM],
    }
    let mut map = Map {
        iflags: 0,
        oflags: 0,
        count: room.min(ROOM as u32),
        entries: 0,
        reserved: [0; 6],
        keys,
        records: [Usage::default(); ROOM],
    };
    ioctl(file, FS_IOC_GETFSMAP, &mut map)?;
    let records = map.records[..map.entries.min(map.count) as usize].to_vec();
    Ok((records, map.entries))
}

/// `FIFREEZE`.
pub fn freeze(file: impl AsFd) -> io::Result<()> {
    ioctl(file, FIFREEZE, &mut 0_u32)
}

/// `FITHAW`.
pub fn thaw(file: impl AsFd) -> io::Result<()> {
    ioctl(file, FITHAW, &mut 0_u32)
}

/// `FS_IOC_SETVERSION`.
pub fn set_generation(file: impl AsFd, generation: u32) -> io::Result<()> {
    ioctl(file, FS_IOC_SETVERSION, &mut u64::from(generation))
}

/// `FS_IOC_GETFSLABEL`.
pub fn label(file: impl AsFd) -> io::Result<String> {
    let mut label = [0; 256];
    ioctl(file, FS_IOC_GETFSLABEL, &mut label)?;
    let len = label.iter().position(|byte| *byte == 0).unwrap_or(label.len());
    Ok(String::from_utf8_lossy(&label[..len]).into_owned())
}

/// `FS_IOC_SETFSLABEL`.
pub fn set_label(file: impl AsFd, label: &str) -> io::Result<()> {
    let mut bytes = [0; 256];
    bytes[..label.len()].copy_from_slice(label.as_bytes());
    ioctl(file, FS_IOC_SETFSLABEL, &mut bytes)
}

/// `FS_IOC_GETFSUUID`.
pub fn uuid(file: impl AsFd) -> io::Result<Vec<u8>> {
    let mut bytes = [0; 17];
    ioctl(file, FS_IOC_GETFSUUID, &mut bytes)?;
    Ok(bytes[1..][..bytes[0].into()].to_vec())
}

/// `EXT4_IOC_GETFSUUID`: what is on the disk.
pub fn uuid_on_disk(file: impl AsFd) -> io::Result<Vec<u8>> {
    let mut bytes = [0; 24];
    bytes[0] = 16;
    ioctl(file, EXT4_IOC_GETFSUUID, &mut bytes)?;
    Ok(bytes[8..].to_vec())
}

/// `EXT4_IOC_SETFSUUID`.
pub fn set_uuid(file: impl AsFd, uuid: &[u8; 16]) -> io::Result<()> {
    let mut bytes = [0; 24];
    bytes[0] = 16;
    bytes[8..].copy_from_slice(uuid);
    ioctl(file, EXT4_IOC_SETFSUUID, &mut bytes)
}

/// `EXT4_IOC_MOVE_EXT`: has the first `blocks` of two files change places, for `e4defrag`.
pub fn move_extents(file: impl AsFd, donor: impl AsFd, blocks: u64) -> io::Result<()> {
    let donor = donor.as_fd().as_raw_fd() as u64;
    ioctl(file, EXT4_IOC_MOVE_EXT, &mut [donor << 32, 0, 0, blocks, 0])
}

/// A request that nobody knows.
pub fn unknown(file: impl AsFd) -> io::Result<()> {
    ioctl(file, 0x8004_66ff, &mut 0_u32)
}

/// `FS_IOC_GETFSSYSFSPATH`.
pub fn sysfs_path(file: impl AsFd) -> io::Result<String> {
    let mut bytes = [0; 129];
    ioctl(file, FS_IOC_GETFSSYSFSPATH, &mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes[1..][..bytes[0].into()]).into_owned())
}

/// `FS_IOC_FSGETXATTR`: the extended flags and the project.
pub fn xflags_and_project(file: impl AsFd) -> io::Result<(u32, u32)> {
    let mut attr = Fsxattr::default();
    ioctl(file, FS_IOC_FSGETXATTR, &mut attr)?;
    Ok((attr.xflags, attr.projid))
}

/// `FS_IOC_FSSETXATTR` of both.
pub fn set_xflags_and_project(file: impl AsFd, xflags: u32, projid: u32) -> io::Result<()> {
    let mut attr = Fsxattr { xflags, projid, ..Fsxattr::default() };
    ioctl(file, FS_IOC_FSSETXATTR, &mut attr)
}

/// `struct file_attr` of `linux/fs.h`.
#[repr(C)]
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileAttr {
    /// `FS_XFLAG_*`.
    pub xflags: u64,
    /// Extent size hint.
    pub extsize: u32,
    /// Extents.
    pub nextents: u32,
    /// Project.
    pub projid: u32,
    /// Extent size hint for copy on write.
    pub cowextsize: u32,
}

const SYS_FILE_GETATTR: i64 = 468;
const SYS_FILE_SETATTR: i64 = 469;

fn file_attr(call: i64, path: &Path, attr: &mut FileAttr) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let size = size_of::<FileAttr>();
    // SAFETY: Path and structure are live, and the size is the structure's.
    let result = unsafe {
        libc::syscall(call, libc::AT_FDCWD, path.as_ptr(), attr, size, libc::AT_SYMLINK_NOFOLLOW)
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `file_getattr(2)`, of the path itself.
pub fn file_getattr(path: &Path) -> io::Result<FileAttr> {
    let mut attr = FileAttr::default();
    file_attr(SYS_FILE_GETATTR, path, &mut attr)?;
    Ok(attr)
}

/// `file_setattr(2)`, of the path itself.
pub fn file_setattr(path: &Path, attr: &FileAttr) -> io::Result<()> {
    file_attr(SYS_FILE_SETATTR, path, &mut { *attr })
}
