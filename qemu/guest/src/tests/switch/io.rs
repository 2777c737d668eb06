// SPDX-License-Identifier: GPL-2.0
//! 6: what reads into the page cache, and empties it, without being asked by a reader.

use super::maps::{by_calls, by_mapping};
use super::{attack, prepared, rest, Worker, LEN};
use crate::harness::{Bed, Test, INODE};
use crate::skip;
use crate::sys::attack::readahead;
use crate::sys::Mapping;
use anyhow::{Context, Result};
use rustix::fs::{fadvise, Advice as FileAdvice};
use rustix::io::Errno;
use rustix::mm::Advice;
use rustix::mount::{mount, unmount, MountFlags, UnmountFlags};
use std::fs::{create_dir_all, remove_dir, write};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("switch::readahead_storm", INODE, readahead_storm).seconds(240),
        Test::new("switch::drop_caches", INODE, drop_caches).seconds(240),
        Test::new("switch::memory_pressure", INODE, memory_pressure).seconds(240),
    ]
}

/// Asks for the file to be read, and for its pages to be dropped, in all ways there are.
fn advise(go: &super::Go) -> Result<()> {
    let all = NonZeroU64::new(LEN as u64);
    for round in 0.. {
        if !go.on() {
            break;
        }
        let begun = Instant::now();
        fadvise(go.file, 0, all, FileAdvice::WillNeed)?;
        // EINVAL: a DAX file has nothing to read ahead.
        match readahead(go.file, 0, LEN) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            done => done.context("readahead")?,
        }
        if round % 2 == 0 {
            let map = Mapping::read_only(go.file, LEN).context("mmap")?;
            go.held(|| {
                for advice in [Advice::WillNeed, Advice::LinuxCold, Advice::LinuxPageOut] {
                    match map.advise(advice) {
                        Err(Errno::INVAL) => {}
                        done => done.with_context(|| format!("{advice:?}"))?,
                    }
                }
                Ok(())
            })?;
        }
        fadvise(go.file, 0, all, FileAdvice::DontNeed)?;
        rest(begun);
    }
    Ok(())
}

fn readahead_storm(bed: &mut Bed) -> Result<()> {
    let file = prepared(bed, "file")?;
    attack(bed, &file, 10, vec![Box::new(advise), by_mapping(0, 2), by_calls(1, 2)])
}

/// Clean pages go at any moment, and leave shadow entries behind.
fn drop_caches(bed: &mut Bed) -> Result<()> {
    let file = prepared(bed, "file")?;
    let dropper: Worker = Box::new(|go| {
        while go.on() {
            write("/proc/sys/vm/drop_caches", "1")?;
            go.file.sync_data()?;
        }
        Ok(())
    });
    attack(bed, &file, 10, vec![dropper, by_mapping(0, 2), by_calls(1, 2)])
}

/// A control group of this process, of which memory can be reclaimed. Removed on drop.
struct Group(PathBuf);

const CGROUPS: &str = "/run/guest-cgroup";

impl Group {
    fn enter() -> Result<Self> {
        create_dir_all(CGROUPS)?;
        mount("none", CGROUPS, "cgroup2", MountFlags::empty(), None::<&std::ffi::CStr>)?;
        let group = Self(Path::new(CGROUPS).join("attack"));
        write(Path::new(CGROUPS).join("cgroup.subtree_control"), "+memory").context("memory")?;
        create_dir_all(&group.0)?;
        write(group.0.join("cgroup.procs"), "0")?;
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What fails here stays behind in the guest, and disturbs nobody.
        let _ = write(Path::new(CGROUPS).join("cgroup.procs"), "0");
        let _ = remove_dir(&self.0);
        let _ = unmount(CGROUPS, UnmountFlags::DETACH);
    }
}

/// Reclaim takes the pages of the file, dirty ones too.
fn memory_pressure(bed: &mut Bed) -> Result<()> {
    let group = match Group::enter() {
        Ok(group) => group,
        Err(error) => skip!("no control group: {error:#}"),
    };
    let file = prepared(bed, "file")?;
    let reclaim = group.0.join("memory.reclaim");
    let presser: Worker = Box::new(move |go| {
        while go.on() {
            // EAGAIN: less than that could be had.
            let _ = write(&reclaim, "2M");
            rest(Instant::now());
        }
        Ok(())
    });
    attack(bed, &file, 10, vec![presser, by_mapping(0, 2), by_calls(1, 2)])
}
