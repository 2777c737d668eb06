// SPDX-License-Identifier: GPL-2.0
//! System calls that hold on to the pages of a file, or get between the kernel and them: mappings at a
//! given place, direct I/O in flight, buffers registered with io_uring, pages in a pipe, userfaultfd.

use super::{IoEvent, Iocb, Mapping};
use rustix::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use rustix::io::Result;
use rustix::mm::{self, Advice, MapFlags, ProtFlags};
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::time::Duration;

impl Mapping {
    /// Memory of no file, private.
    pub fn anonymous(len: usize) -> Result<Self> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: A new mapping at an address that the kernel chooses overlaps nothing of ours.
        let addr = unsafe { mm::mmap_anonymous(ptr::null_mut(), len, prot, MapFlags::PRIVATE)? };
        Ok(Self { addr, len })
    }

    /// Puts pages of `file` in the place of a part of the mapping (MAP_FIXED).
    pub fn replace(
        &self,
        at: usize,
        len: usize,
        file: impl AsFd,
        offset: u64,
        flags: MapFlags,
    ) -> Result<()> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let addr = self.at(at, len).cast();
        // SAFETY: The range is inside this mapping, of which no references exist.
        unsafe { mm::mmap(addr, len, prot, flags | MapFlags::FIXED, file, offset)? };
        Ok(())
    }

    /// Puts memory of no file in the place of a part of the mapping.
    pub fn vacate(&self, at: usize, len: usize) -> Result<()> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let (addr, flags) = (self.at(at, len).cast(), MapFlags::PRIVATE | MapFlags::FIXED);
        // SAFETY: As in `replace`.
        unsafe { mm::mmap_anonymous(addr, len, prot, flags)? };
        Ok(())
    }

    /// `madvise` of a part. Not for advice that changes bytes of other mappings.
    pub fn advise_part(&self, at: usize, len: usize, advice: Advice) -> Result<()> {
        // SAFETY: The range is inside this mapping, of which no references exist.
        unsafe { mm::madvise(self.at(at, len).cast(), len, advice) }
    }
}

/// `readahead`: starts reading into the page cache.
pub fn readahead(file: impl AsFd, offset: u64, len: usize) -> io::Result<()> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: Numbers only.
    match unsafe { libc::readahead(fd, offset as i64, len) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// One direct read by Linux AIO under way. Waited for on drop.
pub struct Pending(u64);

impl Pending {
    /// Starts a read into a mapping, which may be unmapped before the read is through: the kernel
    /// then writes to the pages that were mapped, and to no other memory.
    pub fn read_into(
        file: impl AsFd,
        map: &Mapping,
        at: usize,
        len: usize,
        offset: u64,
    ) -> io::Result<Self> {
        let (fd, nbytes) = (file.as_fd().as_raw_fd() as u32, len as u64);
        let (buf, offset) = (map.at(at, len) as u64, offset as i64);
        let mut request = Iocb { fd, buf, nbytes, offset, ..Iocb::default() };
        let mut pointer = ptr::from_mut(&mut request);
        let mut context = 0_u64;
        // SAFETY: The kernel copies the request before `io_submit` returns, and holds the pages.
        unsafe {
            if libc::syscall(libc::SYS_io_setup, 1, &mut context) != 0 {
                return Err(io::Error::last_os_error());
            }
            let pending = Self(context);
            match libc::syscall(libc::SYS_io_submit, context, 1, &mut pointer) {
                1 => Ok(pending),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    /// What was transferred, if it is through within `limit`.
    pub fn done(&self, limit: Duration) -> io::Result<Option<i64>> {
        let mut event = IoEvent::default();
        let limit =
            libc::timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
        // SAFETY: Both are ours, and there is room for one event.
        let count =
            unsafe { libc::syscall(libc::SYS_io_getevents, self.0, 1, 1, &mut event, &limit) };
        match count {
            1 => Ok(Some(event.res)),
            0 => Ok(None),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // SAFETY: The context is ours; this waits for what is in flight.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.0) };
    }
}

/// A mapping registered with an io_uring as its fixed buffer.
pub struct Registered(io_uring::IoUring);

impl Registered {
    /// Registers all of `map`.
    pub fn new(map: &Mapping) -> io::Result<Self> {
        let ring = io_uring::IoUring::new(2)?;
        let buffer = libc::iovec { iov_base: map.addr, iov_len: map.len };
        // SAFETY: The kernel pins the pages, and reaches them by that, also after they are unmapped.
        unsafe { ring.submitter().register_buffers(&[buffer])? };
        Ok(Self(ring))
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // The ring goes with it, and its buffers with the ring.
        let _ = self.0.submitter().unregister_buffers();
    }
}

/// Has a pipe refer to the first `len` bytes of a mapping (`vmsplice`).
pub fn vmsplice(pipe: impl AsFd, map: &Mapping, len: usize) -> io::Result<usize> {
    let vector = libc::iovec { iov_base: map.at(0, len).cast(), iov_len: len };
    let fd = pipe.as_fd().as_raw_fd();
    // SAFETY: The range is inside the mapping; the pipe holds its pages from then on.
    let done = unsafe { libc::vmsplice(fd, &vector, 1, 0) };
    usize::try_from(done).map_err(|_| io::Error::last_os_error())
}

/// `swapon`, and `swapoff`.
pub fn swap(path: &Path, on: bool) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: The path is a string that ends.
    let failed = unsafe {
        match on {
            true => libc::swapon(path.as_ptr(), 0),
            false => libc::swapoff(path.as_ptr()),
        }
    };
    match failed {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `struct uffdio_api`.
#[repr(C)]
#[derive(Default)]
struct UffdApi {
    api: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_register`.
#[repr(C)]
#[derive(Default)]
struct UffdRegister {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

const UFFDIO_API: u64 = 0xc018_aa3f;
const UFFDIO_REGISTER: u64 = 0xc020_aa00;
const UFFDIO_UNREGISTER: u64 = 0x8010_aa01;
const UFFD_FEATURE_WP_ASYNC: u64 = 1 << 15;

/// A userfaultfd.
pub struct Uffd(OwnedFd);

/// What a [`Uffd`] is told of a range.
#[derive(Clone, Copy)]
pub enum Watch {
    /// Touching a missing page waits until somebody puts one there, or the watch ends.
    Missing = 1,
    /// Stores are noted, and wait for nobody.
    Stores = 2,
}

impl Uffd {
    /// A userfaultfd that notes stores by itself.
    pub fn new() -> io::Result<Self> {
        // SAFETY: Numbers only; what comes back is a descriptor of ours.
        let uffd = unsafe {
            match libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | libc::O_NONBLOCK) {
                -1 => return Err(io::Error::last_os_error()),
                fd => Self(OwnedFd::from_raw_fd(fd as i32)),
            }
        };
        let mut api = UffdApi { api: 0xaa, features: UFFD_FEATURE_WP_ASYNC, ioctls: 0 };
        super::ioctl(&uffd.0, UFFDIO_API, &mut api)?;
        Ok(uffd)
    }

    /// Watches a mapping.
    pub fn register(&self, map: &Mapping, watch: Watch) -> io::Result<()> {
        let (start, len) = (map.addr() as u64, map.len() as u64);
        let mut range = UffdRegister { start, len, mode: watch as u64, ioctls: 0 };
        super::ioctl(&self.0, UFFDIO_REGISTER, &mut range)
    }

    /// Waits until somebody has met a watched page, for so long at most. Did it happen?
    pub fn is_met(&self, limit: Duration) -> io::Result<bool> {
        let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: One entry, which the call only writes.
        match unsafe { libc::poll(&mut poll, 1, limit.as_millis() as i32) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(poll.revents & libc::POLLIN != 0),
        }
    }

    /// Ends the watch: who waits finds what would be there without it.
    pub fn unregister(&self, map: &Mapping) -> io::Result<()> {
        super::ioctl(&self.0, UFFDIO_UNREGISTER, &mut [map.addr() as u64, map.len() as u64])
    }
}
