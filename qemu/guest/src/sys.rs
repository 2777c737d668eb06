// SPDX-License-Identifier: GPL-2.0
//! The system calls that rustix has no safe form of: shared mappings, file attributes, Linux AIO,
//! fork. The only unsafe code of the program is here and in what lies below.
//!
//! A [`Mapping`] never hands out a reference into the mapped file: other processes and the file
//! system change it at any time. Bytes are copied in and out.

#![allow(unsafe_code)]

pub mod attack;

use rustix::fd::{AsFd, AsRawFd};
use rustix::io::Result;
use rustix::mm::{self, Advice, MapFlags, MprotectFlags, MsyncFlags, ProtFlags};
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::ptr;

pub mod attrs;
pub mod mapper;
pub mod quota;

/// `FS_XFLAG_DAX` of `struct fsxattr`.
pub const XFLAG_DAX: u32 = 0x8000;
/// ext4's `EXT4_DAX_FL`, which `FS_IOC_GETFLAGS` calls `FS_DAX_FL`.
pub const DAX_FL: u32 = 0x0200_0000;
/// `STATX_ATTR_DAX`.
pub const STATX_ATTR_DAX: u64 = 0x0020_0000;
/// Bytes of a page.
pub const PAGE: usize = 4096;

/// A memory mapping of a file, unmapped on drop.
pub struct Mapping {
    addr: *mut c_void,
    len: usize,
}

// SAFETY: Memory that is mapped is mapped for all threads, and nobody is given a reference to it.
unsafe impl Send for Mapping {}
// SAFETY: As above; what threads do to it at the same time is as what other processes do.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes of `file` from `offset`.
    pub fn new(
        file: impl AsFd,
        offset: u64,
        len: usize,
        prot: ProtFlags,
        flags: MapFlags,
    ) -> Result<Self> {
        // SAFETY: A new mapping at an address that the kernel chooses overlaps nothing of ours.
        let addr = unsafe { mm::mmap(ptr::null_mut(), len, prot, flags, file, offset)? };
        Ok(Self { addr, len })
    }

    /// Maps the first `len` bytes of `file`, shared, for reading and writing.
    pub fn shared(file: impl AsFd, len: usize) -> Result<Self> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        Self::new(file, 0, len, prot, MapFlags::SHARED)
    }

    /// Maps the first `len` bytes of `file`, shared, with MAP_SYNC, for reading and writing.
    pub fn synchronous(file: impl AsFd, len: usize) -> Result<Self> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::from_bits_retain((libc::MAP_SHARED_VALIDATE | libc::MAP_SYNC) as u32);
        Self::new(file, 0, len, prot, flags)
    }

    /// Maps the first `len` bytes of `file`, shared, for reading.
    pub fn read_only(file: impl AsFd, len: usize) -> Result<Self> {
        Self::new(file, 0, len, ProtFlags::READ, MapFlags::SHARED)
    }

    /// Maps the first `len` bytes of `file`, private, for reading and writing.
    pub fn private(file: impl AsFd, len: usize) -> Result<Self> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        Self::new(file, 0, len, prot, MapFlags::PRIVATE)
    }

    /// Where the mapping begins.
    pub fn addr(&self) -> usize {
        self.addr as usize
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    fn at(&self, at: usize, len: usize) -> *mut u8 {
        assert!(at.checked_add(len).is_some_and(|end| end <= self.len), "outside the mapping");
        self.addr.cast::<u8>().wrapping_add(at)
    }

    /// Copies `len` bytes at `at` out.
    pub fn read(&self, at: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        // SAFETY: `at` checked that the range lies inside the mapping; the destination is ours alone.
        unsafe { ptr::copy_nonoverlapping(self.at(at, len), bytes.as_mut_ptr(), len) };
        bytes
    }

    /// Copies `bytes` in at `at`.
    pub fn write(&self, at: usize, bytes: &[u8]) {
        // SAFETY: As in `read`; a mapping without write permission ends the process with SIGSEGV,
        // which is what some tests look for.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.at(at, bytes.len()), bytes.len()) };
    }

    /// Reads one byte of every page and returns their sum.
    ///
    /// The benchmark counts the instructions of this loop and the next: hence no iterator, of which a program
    /// that is built to be built fast would call the parts.
    pub fn touch_read(&self) -> u64 {
        let (mut sum, mut at) = (0, 0);
        while at < self.len {
            // SAFETY: The offset is less than the length of the mapping; volatile, since the access
            // is the point.
            sum += u64::from(unsafe { self.addr.cast::<u8>().add(at).read_volatile() });
            at += PAGE;
        }
        sum
    }

    /// Writes `byte` to the first byte of every page.
    pub fn touch_write(&self, byte: u8) {
        let mut at = 0;
        while at < self.len {
            // SAFETY: As in `touch_read`.
            unsafe { self.addr.cast::<u8>().add(at).write_volatile(byte) };
            at += PAGE;
        }
    }

    /// `msync` of the whole mapping.
    pub fn sync(&self, flags: MsyncFlags) -> Result<()> {
        // SAFETY: The range is this mapping.
        unsafe { mm::msync(self.addr, self.len, flags) }
    }

    /// `mprotect` of a part.
    pub fn protect(&self, at: usize, len: usize, flags: MprotectFlags) -> Result<()> {
        // SAFETY: The range is inside this mapping, of which no references exist.
        unsafe { mm::mprotect(self.at(at, len).cast(), len, flags) }
    }

    /// `madvise` of the whole mapping. Not for advice that changes bytes of other mappings.
    pub fn advise(&self, advice: Advice) -> Result<()> {
        // SAFETY: The range is this mapping, of which no references exist.
        unsafe { mm::madvise(self.addr, self.len, advice) }
    }

    /// Unmaps all but the first `len` bytes.
    pub fn truncate(&mut self, len: usize) -> Result<()> {
        let rest = self.len - len;
        // SAFETY: The range is the tail of this mapping, which is forgotten below.
        unsafe { mm::munmap(self.at(len, rest).cast(), rest)? };
        self.len = len;
        Ok(())
    }

    /// Moves the mapping to another address, as `mremap` with MREMAP_MAYMOVE does, with `len` bytes.
    pub fn remap(&mut self, len: usize) -> Result<()> {
        // SAFETY: The old range is this mapping, and is forgotten below.
        self.addr = unsafe { mm::mremap(self.addr, self.len, len, mm::MremapFlags::MAYMOVE)? };
        self.len = len;
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // What stays mapped keeps the file system busy. A test may have this fail for want of memory, but not always.
        for _ in 0..100 {
            // SAFETY: The range is this mapping, and nothing refers to it any more.
            if unsafe { mm::munmap(self.addr, self.len) } != Err(rustix::io::Errno::NOMEM) {
                return;
            }
        }
    }
}

/// `struct fsxattr` of `linux/fs.h`.
#[repr(C)]
#[derive(Default, Clone, Copy)]
struct Fsxattr {
    xflags: u32,
    extsize: u32,
    nextents: u32,
    projid: u32,
    cowextsize: u32,
    pad: [u8; 8],
}

const FS_IOC_FSGETXATTR: u64 = 0x801c_581f;
const FS_IOC_FSSETXATTR: u64 = 0x401c_5820;
const FS_IOC_GETFLAGS: u64 = 0x8008_6601;
const FS_IOC_SETFLAGS: u64 = 0x4008_6602;
const FS_IOC_GETVERSION: u64 = 0x8008_7601;

/// `struct pm_scan_arg` of `linux/fs.h`.
#[repr(C)]
#[derive(Default)]
struct ScanArg {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region` of `linux/fs.h`.
#[repr(C)]
#[derive(Default, Clone, Copy)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

const PAGEMAP_SCAN: u64 = 0xc060_6610;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_HUGE: u64 = 1 << 6;

fn scan(map: &Mapping, category_mask: u64) -> io::Result<u64> {
    let pagemap = File::open("/proc/self/pagemap")?;
    let mut regions = vec![PageRegion::default(); 4096];
    let mut arg = ScanArg {
        size: size_of::<ScanArg>() as u64,
        start: map.addr() as u64,
        end: (map.addr() + map.len()) as u64,
        vec: regions.as_mut_ptr() as u64,
        vec_len: regions.len() as u64,
        category_mask,
        return_mask: category_mask,
        ..ScanArg::default()
    };
    let fd = pagemap.as_fd().as_raw_fd();
    // SAFETY: `arg` and `regions` are live and as long as they say.
    let found = unsafe { libc::ioctl(fd, PAGEMAP_SCAN, &raw mut arg) };
    if found < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(regions[..found as usize].iter().map(|r| r.end - r.start).sum())
}

/// How many bytes of the mapping have a page table entry, and how many of them a 2 MiB one.
pub fn mapped_bytes(map: &Mapping) -> io::Result<(u64, u64)> {
    Ok((scan(map, PAGE_IS_PRESENT)?, scan(map, PAGE_IS_PRESENT | PAGE_IS_HUGE)?))
}

fn ioctl<T>(file: impl AsFd, request: u64, arg: &mut T) -> io::Result<()> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: Callers pair each request with the type that it reads or writes.
    match unsafe { libc::ioctl(fd, request, ptr::from_mut(arg)) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `FS_IOC_FSGETXATTR`: the extended flags, of which [`XFLAG_DAX`] is one.
pub fn xflags(file: impl AsFd) -> io::Result<u32> {
    let mut attr = Fsxattr::default();
    ioctl(file, FS_IOC_FSGETXATTR, &mut attr)?;
    Ok(attr.xflags)
}

/// Sets or clears [`XFLAG_DAX`] by `FS_IOC_FSSETXATTR` and leaves the rest as it is.
pub fn set_xflag_dax(file: impl AsFd, dax: bool) -> io::Result<()> {
    let mut attr = Fsxattr::default();
    ioctl(&file, FS_IOC_FSGETXATTR, &mut attr)?;
    attr.xflags = if dax { attr.xflags | XFLAG_DAX } else { attr.xflags & !XFLAG_DAX };
    ioctl(file, FS_IOC_FSSETXATTR, &mut attr)
}

/// `FS_IOC_GETFLAGS`.
pub fn flags(file: impl AsFd) -> io::Result<u32> {
    let mut flags = 0_u32;
    ioctl(file, FS_IOC_GETFLAGS, &mut flags)?;
    Ok(flags)
}

/// `FS_IOC_SETFLAGS`.
pub fn set_flags(file: impl AsFd, flags: u32) -> io::Result<()> {
    ioctl(file, FS_IOC_SETFLAGS, &mut { flags })
}

/// `FS_IOC_GETVERSION`: the generation number.
pub fn generation(file: impl AsFd) -> io::Result<u32> {
    let mut generation = 0_u32;
    ioctl(file, FS_IOC_GETVERSION, &mut generation)?;
    Ok(generation)
}

/// How a child of [`in_child`] ended.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum End {
    /// It returned this status.
    Exit(i32),
    /// This signal ended it.
    Signal(i32),
}

/// Runs `work` in a forked copy of this process and says how that ended.
///
/// The caller must be the only thread of the process: locks held by others would stay held in the
/// copy for ever.
pub fn in_child(work: impl FnOnce() -> i32) -> io::Result<End> {
    Child::start(work)?.wait()
}

/// A forked copy of this process, ended and reaped on drop.
pub struct Child(i32);

impl Child {
    /// Starts `work` in the copy. The caller must be the only thread of the process.
    pub fn start(work: impl FnOnce() -> i32) -> io::Result<Self> {
        // SAFETY: With one thread, the copy may do whatever the original could.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                let status = work();
                // SAFETY: Ends the copy without running the exit handlers of the original.
                unsafe { libc::_exit(status) }
            }
            pid => Ok(Self(pid)),
        }
    }

    /// Waits for its end.
    pub fn wait(self) -> io::Result<End> {
        let mut status = 0;
        // SAFETY: `status` is ours.
        let reaped = unsafe { libc::waitpid(self.0, &mut status, 0) };
        let pid = self.0;
        std::mem::forget(self);
        match reaped {
            n if n != pid => Err(io::Error::last_os_error()),
            _ if libc::WIFSIGNALED(status) => Ok(End::Signal(libc::WTERMSIG(status))),
            _ => Ok(End::Exit(libc::WEXITSTATUS(status))),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: The process is our child, not yet reaped.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, ptr::null_mut(), 0);
        }
    }
}

/// `pwrite` with `len` bytes at `from` of a mapping as the buffer.
pub fn write_from_map(
    file: impl AsFd,
    map: &Mapping,
    from: usize,
    len: usize,
    to: u64,
) -> io::Result<usize> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: The kernel reads from inside the mapping, by address: no reference is made.
    let done = unsafe { libc::pwrite(fd, map.at(from, len).cast(), len, to as i64) };
    usize::try_from(done).map_err(|_| io::Error::last_os_error())
}

/// `pread` with `len` bytes at `to` of a mapping as the buffer.
pub fn read_into_map(
    file: impl AsFd,
    map: &Mapping,
    to: usize,
    len: usize,
    from: u64,
) -> io::Result<usize> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: The kernel writes inside the mapping, by address: no reference is made.
    let done = unsafe { libc::pread(fd, map.at(to, len).cast(), len, from as i64) };
    usize::try_from(done).map_err(|_| io::Error::last_os_error())
}

/// Becomes the user and group `id` for good, without supplementary groups.
pub fn become_user(id: u32) -> io::Result<()> {
    // SAFETY: Plain system calls on numbers.
    let failed = unsafe {
        libc::setgroups(0, ptr::null()) != 0
            || libc::setresgid(id, id, id) != 0
            || libc::setresuid(id, id, id) != 0
    };
    if failed {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Becomes root in a new user namespace with mounts of its own: of all privileges there, and none elsewhere.
pub fn enter_namespace() -> io::Result<()> {
    let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
    // Of a process that has changed its user, /proc belongs to root until this.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)?;
    // SAFETY: Numbers only.
    if unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) } != 0 {
        return Err(io::Error::last_os_error());
    }
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {} 1", user.as_raw()))?;
    std::fs::write("/proc/self/gid_map", format!("0 {} 1", group.as_raw()))
}

/// Page faults of this process so far: without and with I/O.
pub fn faults() -> (u64, u64) {
    // SAFETY: All zeroes is a valid rusage, and the call only writes it.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    (usage.ru_minflt as u64, usage.ru_majflt as u64)
}

/// `sync_file_range` with all three of its flags.
pub fn sync_file_range(file: impl AsFd, offset: u64, len: u64) -> io::Result<()> {
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: Numbers only.
    match unsafe { libc::sync_file_range(fd, offset as i64, len as i64, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A buffer whose start is aligned to the page, as direct I/O wants it.
pub struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// `len` bytes of `byte`.
    pub fn new(len: usize, byte: u8) -> Self {
        let bytes = vec![byte; len + PAGE];
        let start = bytes.as_ptr().align_offset(PAGE);
        Self { bytes, start, len }
    }

    /// A copy of `from`.
    pub fn of(from: &[u8]) -> Self {
        let mut to = Self::new(from.len(), 0);
        to.copy_from_slice(from);
        to
    }
}

impl std::ops::Deref for Aligned {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
}

impl std::ops::DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

/// One request of Linux AIO (`struct iocb`).
#[repr(C)]
#[derive(Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: i32,
    opcode: u16,
    reqprio: i16,
    fd: u32,
    buf: u64,
    nbytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    resfd: u32,
}

/// One completion of Linux AIO (`struct io_event`).
#[repr(C)]
#[derive(Default, Clone, Copy)]
struct IoEvent {
    data: u64,
    obj: u64,
    res: i64,
    res2: i64,
}

/// What [`aio`] is to do.
#[derive(Clone, Copy)]
pub enum Aio {
    /// `IOCB_CMD_PREAD`
    Read = 0,
    /// `IOCB_CMD_PWRITE`
    Write = 1,
}

/// Submits one AIO request per buffer, at consecutive offsets from 0, and waits for all of them.
/// Returns what each transferred.
pub fn aio(file: &File, what: Aio, buffers: &mut [Aligned]) -> io::Result<Vec<i64>> {
    let fd = file.as_fd().as_raw_fd() as u32;
    let mut offset = 0;
    let mut requests = Vec::new();
    for (n, buffer) in buffers.iter_mut().enumerate() {
        let (buf, nbytes) = (buffer.as_mut_ptr() as u64, buffer.len() as u64);
        let opcode = what as u16;
        requests.push(Iocb { data: n as u64, opcode, fd, buf, nbytes, offset, ..Iocb::default() });
        offset += nbytes as i64;
    }
    let mut pointers: Vec<*mut Iocb> = requests.iter_mut().map(ptr::from_mut).collect();
    let count = pointers.len();
    let mut events = vec![IoEvent::default(); count];
    let mut context = 0_u64;
    // SAFETY: `requests`, the buffers and `events` outlive the wait for all `count` completions; when
    // fewer were submitted, `io_destroy` waits for those before this function returns.
    let done = unsafe {
        if libc::syscall(libc::SYS_io_setup, count, &mut context) != 0 {
            return Err(io::Error::last_os_error());
        }
        let mut done = libc::syscall(libc::SYS_io_submit, context, count, pointers.as_mut_ptr());
        if done > 0 {
            let nothing = ptr::null::<c_void>();
            done = libc::syscall(
                libc::SYS_io_getevents,
                context,
                done,
                count,
                events.as_mut_ptr(),
                nothing,
            );
        }
        let error = io::Error::last_os_error();
        libc::syscall(libc::SYS_io_destroy, context);
        if done < 0 {
            Err(error)
        } else {
            Ok(done)
        }
    }?;
    let mut result = vec![i64::from(-libc::ECANCELED); count];
    for event in &events[..done as usize] {
        result[event.data as usize] = event.res;
    }
    Ok(result)
}

/// Reads `buffers` from or writes them to consecutive offsets by io_uring, all queued at once.
pub fn uring(file: &File, what: Aio, buffers: &mut [Aligned]) -> io::Result<Vec<i64>> {
    use io_uring::{opcode, types, IoUring};
    let fd = types::Fd(file.as_fd().as_raw_fd());
    let mut ring = IoUring::new(buffers.len().next_power_of_two() as u32)?;
    let mut offset = 0;
    for (n, buffer) in buffers.iter_mut().enumerate() {
        let (buf, len) = (buffer.as_mut_ptr(), buffer.len() as u32);
        let entry = match what {
            Aio::Read => opcode::Read::new(fd, buf, len).offset(offset).build(),
            Aio::Write => opcode::Write::new(fd, buf, len).offset(offset).build(),
        };
        // SAFETY: The buffers live until `submit_and_wait` has seen every completion.
        unsafe { ring.submission().push(&entry.user_data(n as u64)) }.map_err(io::Error::other)?;
        offset += u64::from(len);
    }
    ring.submit_and_wait(buffers.len())?;
    let mut result = vec![i64::from(-libc::ECANCELED); buffers.len()];
    for event in ring.completion() {
        result[event.user_data() as usize] = event.result().into();
    }
    Ok(result)
}
