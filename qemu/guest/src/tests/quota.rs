// SPDX-License-Identifier: GPL-2.0
//! Quotas of users, groups and projects: what is used is counted right, whatever is done, and limits
//! hold. After each test `e2fsck -fn` counts as well.

use super::{as_user, refused};
use crate::harness::{Bed, Test, BOTH, RAM};
use crate::mapper::Mapped;
use crate::stage::Image;
use crate::sys::quota::{self, Kind, Quota, KINDS};
use crate::sys::{self, attrs, End};
use anyhow::{bail, ensure, Context, Result};
use rustix::fs::{self, FallocateFlags, OFlags, CWD};
use rustix::io::Errno;
use rustix::thread::{self, CapabilitySet};
use std::fs::File;
use std::io;
use std::os::unix::fs::{chown, lchown, symlink, FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use walkdir::WalkDir;

pub fn tests() -> Vec<Test> {
    vec![
        Test::bare("quota::limits", BOTH, limits),
        Test::bare("quota::moves", RAM, moves),
        Test::bare("quota::counts", BOTH, counts).seconds(600),
        Test::bare("quota::many_users", RAM, many_users).seconds(600),
        Test::bare("quota::projects", RAM, projects),
        Test::bare("quota::grace", RAM, grace),
        Test::bare("quota::remount", RAM, remount),
        Test::bare("quota::shutdown", BOTH, shutdown),
        Test::bare("quota::with_ext4", RAM, with_ext4),
        Test::bare("quota::threads", RAM, threads),
        Test::bare("quota::bad_files", RAM, bad_files).corrupt(),
        Test::bare("quota::failed_mount", RAM, failed_mount).corrupt(),
    ]
}

const MKFS: &[&str] = &["-O", "quota,project", "-E", "quotatype=usrquota:grpquota:prjquota"];
const USER: u32 = 1000;
const GROUP: u32 = 2000;
const PROJECT: u32 = 3000;
const IDS: [(Kind, u32); 3] = [(Kind::User, USER), (Kind::Group, GROUP), (Kind::Project, PROJECT)];
const MIB: u64 = 1 << 20;

/// Mounts a fresh image with all quotas enforced, and makes a directory for the user, of its group and
/// project.
fn start(bed: &mut Bed) -> Result<File> {
    bed.mkfs("64M", MKFS)?;
    bed.mount_with(&options(bed))?;
    let path = bed.path("dir");
    std::fs::create_dir(&path)?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o2777))?;
    let dir = File::open(&path)?;
    quota::set_project(&dir, PROJECT, true).context("setting a project")?;
    chown(&path, Some(USER), Some(GROUP))?;
    // Changing the owner took it away.
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o2777))?;
    Ok(dir)
}

/// A mount that fails when it counts already lets go of what it counts with.
fn failed_mount(bed: &mut Bed) -> Result<()> {
    const SECTORS: u64 = 64 << 11;
    let below = bed.place.device();
    let (mapped, path) = Mapped::new("guest-quota", SECTORS, &format!("linear {below} 0"))?;
    bed.image = Image::on(&path);
    bed.mkfs("64M", MKFS)?;
    bed.mount_with(&options(bed))?;
    let file = bed.create("file")?;
    for n in 0..20 {
        file.write_all_at(&[1; 4096], n * 8192)?;
    }
    let ino = file.metadata()?.ino();
    drop(file);
    bed.unmount()?;
    // An orphan to be truncated, and the one node of its tree cannot be read.
    let text = bed.image.ask("dump_extents -n file")?;
    let line = text.lines().find(|line| line.trim_start().starts_with("0/")).context("a tree")?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let dash = words.iter().position(|word| *word == "-").context("a range")?;
    let node: u64 = words.get(dash + 2).context("a block")?.parse()?;
    let orphan = format!("set_super_value last_orphan {ino}");
    bed.image.debugfs(&["set_inode_field file size 4096", &orphan])?;
    let behind = 8 * (node + 1);
    let (before, after) = (format!("linear {below} 0"), format!("linear {below} {behind}"));
    mapped.load(&[(8 * node, &before), (8, "error"), (SECTORS - behind, &after)])?;
    for _ in 0..3 {
        refused(bed.try_mount(&options(bed)), Errno::IO, "mounting")?;
        // What was to be released is, and so is what was not used of late.
        std::thread::sleep(std::time::Duration::from_millis(100));
        std::fs::write("/proc/sys/vm/drop_caches", "2")?;
    }
    mapped.load(&[(SECTORS, &format!("linear {below} 0"))])?;
    bed.mount_with(&options(bed))?;
    ensure!(std::fs::metadata(bed.path("file"))?.blocks() < 20 * 8, "it was not truncated");
    bed.judge()
}

fn options(bed: &Bed) -> String {
    format!("{},usrquota,grpquota,prjquota", bed.place.options())
}

/// What `kind` counts for `id` is what the inodes say.
fn same_as_inodes(root: &Path, at: &File, kind: Kind, id: u32) -> Result<()> {
    let (mut space, mut inodes) = (0, 0);
    let mut seen = std::collections::BTreeSet::new();
    for entry in WalkDir::new(root) {
        let data = entry?.metadata()?;
        let owner = match kind {
            Kind::User => data.uid(),
            Kind::Group => data.gid(),
            Kind::Project => bail!("an inode does not tell its project"),
        };
        if owner == id && seen.insert(data.ino()) {
            space += data.blocks() * 512;
            inodes += 1;
        }
    }
    let counted = quota::get(at, kind, id)?;
    ensure!(
        (counted.space, counted.inodes) == (space, inodes),
        "{kind:?} {id}: {counted:?}, but {space} bytes and {inodes} inodes"
    );
    Ok(())
}

/// Writes until it is refused with `EDQUOT`; answers with the number of bytes that were written.
fn write_to_limit(file: &File) -> Result<u64> {
    let chunk = vec![7; 64 << 10];
    for at in (0..16 * MIB).step_by(chunk.len()) {
        let mut done = 0;
        while done < chunk.len() {
            match file.write_at(&chunk[done..], at + done as u64) {
                Ok(n) => done += n,
                Err(error) if error.raw_os_error() == Some(Errno::DQUOT.raw_os_error()) => {
                    return Ok(at + done as u64);
                }
                Err(error) => return Err(error).context("writing to the limit"),
            }
        }
    }
    bail!("no limit was met")
}

/// For each kind by itself: space and inodes up to the limit and not more; what is freed may be used.
fn limits(bed: &mut Bed) -> Result<()> {
    let dir = start(bed)?;
    let path = bed.path("dir");
    for (kind, id) in IDS {
        quota::set(&dir, kind, id, Quota { block_hard: 1024, inode_hard: 10, ..Quota::default() })?;
        as_user(USER, || {
            let file = File::create(path.join("file"))?;
            let written = write_to_limit(&file)?;
            ensure!((900 << 10..=MIB).contains(&written), "{written} bytes were written");
            // The directory has a block, too.
            let used = file.metadata()?.blocks() * 512 + 4096;
            ensure!(used == MIB, "{used} bytes of 1 MiB were to be had");
            refused(
                fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 4 * MIB, MIB),
                Errno::DQUOT,
                "fallocate",
            )?;
            file.set_len(100_000)?;
            let written = write_to_limit(&file)?;
            ensure!((900 << 10..=MIB).contains(&written), "{written} bytes after truncation");
            drop(file);
            std::fs::remove_file(path.join("file"))?;
            for n in 0.. {
                match File::create_new(path.join(format!("inode-{n}"))) {
                    Ok(_) => {}
                    Err(error) if n == 9 => {
                        refused(Err::<(), _>(error), Errno::DQUOT, "the tenth inode")?;
                        break;
                    }
                    Err(error) => return Err(error).with_context(|| format!("inode {n}")),
                }
            }
            refused(std::fs::create_dir(path.join("d")), Errno::DQUOT, "mkdir")?;
            refused(symlink("x", path.join("l")), Errno::DQUOT, "symlink")?;
            std::fs::rename(path.join("inode-0"), path.join("renamed"))?;
            std::fs::remove_file(path.join("renamed"))?;
            std::fs::create_dir(path.join("d"))?;
            std::fs::remove_dir(path.join("d"))?;
            (1..9).try_for_each(|n| std::fs::remove_file(path.join(format!("inode-{n}"))))?;
            Ok(())
        })
        .with_context(|| format!("{kind:?}"))?;
        let left = quota::get(&dir, kind, id)?;
        ensure!((left.space, left.inodes) == (4096, 1), "{kind:?}: left {left:?}");
        // The super-user may go on.
        File::create(path.join("roots"))?.write_at(&vec![1; 2 << 20], 0)?;
        std::fs::remove_file(path.join("roots"))?;
        quota::set(&dir, kind, id, Quota::default())?;
    }
    Ok(())
}

/// chown, chgrp, and another project: what is used is counted for the new one, or nothing changes.
fn moves(bed: &mut Bed) -> Result<()> {
    let dir = start(bed)?;
    let path = bed.path("dir/file");
    let file = File::create(&path)?;
    file.write_at(&vec![3; 300_000], 0)?;
    let used = file.metadata()?.blocks() * 512;
    let of = |kind, id| Ok::<_, io::Error>(quota::get(&dir, kind, id)?.space);
    ensure!(of(Kind::Group, GROUP)? == used + 4096, "{} in the group", of(Kind::Group, GROUP)?);
    ensure!(of(Kind::Project, PROJECT)? == used + 4096);
    chown(&path, Some(USER + 1), Some(GROUP + 1))?;
    quota::set_project(&file, PROJECT + 1, false)?;
    for (kind, id) in IDS {
        ensure!(of(kind, id + 1)? == used, "{kind:?} {id}: {} of {used} moved", of(kind, id + 1)?);
        ensure!(of(kind, id)? == 4096, "{kind:?} {id}: {} left", of(kind, id)?);
        let limit = Quota { block_hard: 100, ..Quota::default() };
        quota::set(&dir, kind, id + 2, limit)?;
    }
    // Root may exceed limits, so the capability for that is given up.
    let end = sys::in_child(|| {
        let work = || -> Result<()> {
            let mut sets = thread::capabilities(None)?;
            sets.effective.remove(CapabilitySet::SYS_RESOURCE);
            thread::set_capabilities(None, sets)?;
            refused(chown(&path, Some(USER + 2), None), Errno::DQUOT, "chown")?;
            refused(chown(&path, None, Some(GROUP + 2)), Errno::DQUOT, "chgrp")?;
            refused(chown(&path, Some(USER), Some(GROUP + 2)), Errno::DQUOT, "both")?;
            refused(quota::set_project(&file, PROJECT + 2, false), Errno::DQUOT, "project")
        };
        work().map_or_else(
            |error| {
                println!("{error:#}");
                1
            },
            |()| 0,
        )
    })?;
    ensure!(end == End::Exit(0), "see the output");
    let data = file.metadata()?;
    ensure!((data.uid(), data.gid()) == (USER + 1, GROUP + 1), "the owner changed");
    for (kind, id) in IDS {
        ensure!(of(kind, id + 1)? == used && of(kind, id + 2)? == 0, "{kind:?}: half done");
    }
    symlink("x".repeat(3000), bed.path("dir/link"))?;
    lchown(bed.path("dir/link"), Some(USER + 1), None)?;
    same_as_inodes(bed.dir(), &dir, Kind::User, USER + 1)
}

/// Whatever is done to files, what is counted is what they have.
fn counts(bed: &mut Bed) -> Result<()> {
    let dir = start(bed)?;
    let path = bed.path("dir");
    let files = bed.config.amount(120, 120, 15);
    let check = |what: &str| {
        same_as_inodes(bed.dir(), &dir, Kind::User, USER)
            .and_then(|()| same_as_inodes(bed.dir(), &dir, Kind::Group, GROUP))
            .with_context(|| what.to_owned())
    };
    for (n, owner) in [USER, USER, 0, USER + 1].into_iter().enumerate() {
        let sub = path.join(format!("sub-{n}"));
        std::fs::create_dir(&sub)?;
        for m in 0..files {
            let name = sub.join(format!("{m:03}-{}", "n".repeat(60)));
            let file = File::create(&name)?;
            chown(&name, Some(owner), None)?;
            file.write_at(&vec![m as u8; m * 700], 0)?;
            // Holes, so that extent trees get nodes.
            for at in 0..if m % 16 == 0 { 100 } else { 0 } {
                file.write_at(b"x", at * 8192 + MIB)?;
            }
            match m % 5 {
                0 => file.set_len(5000)?,
                1 => fs::fallocate(&file, FallocateFlags::empty(), 0, 200_000)?,
                2 => {
                    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                    fs::fallocate(&file, punch, 0, 20_000)?;
                }
                3 => std::fs::rename(&name, path.join(format!("moved-{n}-{m}")))?,
                _ => std::fs::remove_file(&name)?,
            }
        }
        chown(&sub, Some(owner), None)?;
    }
    check("files")?;
    symlink("t".repeat(2000), path.join("long"))?;
    lchown(path.join("long"), Some(USER), None)?;
    std::fs::hard_link(path.join("long"), path.join("again"))?;
    check("links")?;
    let open = File::create(path.join("unlinked"))?;
    chown(path.join("unlinked"), Some(USER), None)?;
    open.write_at(&vec![0; 50_000], 0)?;
    std::fs::remove_file(path.join("unlinked"))?;
    drop(open);
    let flags = OFlags::TMPFILE | OFlags::RDWR;
    drop(fs::open(&path, flags, fs::Mode::from(0o600))?);
    check("removed while open")?;
    for sub in ["sub-0", "sub-3"] {
        std::fs::remove_dir_all(path.join(sub))?;
    }
    check("removed")?;
    drop(dir);
    bed.unmount()?;
    bed.image.fsck()?;
    bed.mount_with(&options(bed))?;
    let dir = File::open(bed.path("dir"))?;
    same_as_inodes(bed.dir(), &dir, Kind::User, USER).context("mounted again")
}

/// So many users that their entries fill a tree of blocks; entries of those who have nothing go.
fn many_users(bed: &mut Bed) -> Result<()> {
    let users: u32 = bed.config.amount(1_500, 1_500, 300);
    let dir = start(bed)?;
    let path = bed.path("dir/file");
    let file = File::create(&path)?;
    file.write_at(&[1; 9000], 0)?;
    for n in 0..users {
        chown(&path, Some(n * 77 + 1), Some(n.wrapping_mul(0x0101_0101) % 100_000 + 1))?;
        if n % 10 == 0 {
            let kept = bed.path(format!("dir/kept-{n}"));
            File::create(&kept)?;
            chown(&kept, Some(n * 77 + 1), None)?;
        }
    }
    for n in (0..users).step_by(10) {
        let quota = quota::get(&dir, Kind::User, n * 77 + 1)?;
        ensure!((quota.space, quota.inodes) == (0, 1), "user {}: {quota:?}", n * 77 + 1);
    }
    for kind in KINDS {
        quota::sync(&dir, kind)?;
    }
    Ok(())
}

/// What is in a project's directory is of that project, and statfs tells how much that may be.
fn projects(bed: &mut Bed) -> Result<()> {
    let dir = start(bed)?;
    let path = bed.path("dir");
    File::create(bed.path("other"))?;
    let (other, within) = (bed.path("other"), path.join("within"));
    refused(std::fs::hard_link(&other, &within), Errno::XDEV, "a link from another project")?;
    refused(std::fs::rename(&other, &within), Errno::XDEV, "a rename from another project")?;
    File::create(&within)?;
    let exchange = fs::RenameFlags::EXCHANGE;
    refused(
        fs::renameat_with(CWD, &within, CWD, &other, exchange),
        Errno::XDEV,
        "an exchange with another project",
    )?;
    std::fs::rename(&within, path.join("renamed"))?;
    std::fs::hard_link(path.join("renamed"), path.join("linked"))?;
    std::fs::rename(path.join("linked"), bed.path("out"))?;
    refused(std::fs::rename(bed.path("other"), path.join("in")), Errno::XDEV, "in again")?;
    std::fs::rename(bed.path("out"), path.join("in"))?;
    let limit = Quota { block_hard: 4096, inode_hard: 100, ..Quota::default() };
    quota::set(&dir, Kind::Project, PROJECT, limit)?;
    let stat = fs::statfs(&path)?;
    ensure!((stat.f_blocks, stat.f_files) == (1024, 100), "{stat:?}");
    let used = quota::get(&dir, Kind::Project, PROJECT)?;
    ensure!(stat.f_bfree as u64 == 1024 - used.space / 4096, "{stat:?}, {used:?}");
    ensure!(stat.f_ffree as u64 == 100 - used.inodes, "{stat:?}, {used:?}");
    ensure!(fs::statfs(bed.dir())?.f_blocks > 10_000, "the limits of a project are those of all");
    Ok(())
}

/// A soft limit holds when the grace time is over.
fn grace(bed: &mut Bed) -> Result<()> {
    let dir = start(bed)?;
    // It is over at a full second: after two seconds at the earliest.
    quota::set_grace(&dir, Kind::User, 3)?;
    let limit = Quota { block_soft: 100, block_hard: 2000, inode_soft: 3, ..Quota::default() };
    quota::set(&dir, Kind::User, USER, limit)?;
    let path = bed.path("dir");
    as_user(USER, || {
        let file = File::create(path.join("file"))?;
        file.write_at(&vec![1; 200_000], 0)?;
        (0..4).try_for_each(|n| File::create(path.join(format!("{n}"))).map(drop))?;
        std::thread::sleep(std::time::Duration::from_millis(3_500));
        refused(file.write_at(b"x", 400_000), Errno::DQUOT, "writing after the grace time")?;
        refused(File::create(path.join("late")), Errno::DQUOT, "creating after the grace time")?;
        file.set_len(0)?;
        file.write_at(&[1; 9000], 0)?;
        Ok(())
    })
}

/// Without the options limits are not enforced, but counted; quotaon and quotaoff; read-only and back.
fn remount(bed: &mut Bed) -> Result<()> {
    let dir = start(bed)?;
    let shown = bed.mounted().shown()?;
    ensure!(shown.ends_with(",usrquota,grpquota,prjquota"), "{shown}");
    quota::set(&dir, Kind::User, USER, Quota { block_hard: 64, ..Quota::default() })?;
    let path = bed.path("dir/file");
    let exceed = || {
        let file = File::create(&path)?;
        let result = write_to_limit(&file).map(drop);
        drop(file);
        std::fs::remove_file(&path)?;
        result
    };
    as_user(USER, exceed)?;
    quota::enforce(&dir, Kind::User, false)?;
    ensure!(as_user(USER, exceed).is_err(), "a limit that is not enforced");
    quota::enforce(&dir, Kind::User, true)?;
    as_user(USER, exceed)?;
    drop(dir);
    bed.mounted().remount("ro")?;
    ensure!(
        quota::get(&File::open(bed.dir())?, Kind::User, USER).is_err(),
        "quotas while read-only"
    );
    bed.mounted().remount("rw")?;
    as_user(USER, exceed).context("writable again")?;
    refused(bed.mounted().remount("noquota"), Errno::INVAL, "other options")?;

    bed.unmount()?;
    bed.mount_with(&format!("ro,{}", bed.place.options()))?;
    bed.mounted().remount("rw")?;
    ensure!(as_user(USER, exceed).is_err(), "enforced without the option");
    let dir = File::open(bed.path("dir"))?;
    same_as_inodes(bed.dir(), &dir, Kind::User, USER).context("mounted read-only at first")?;
    quota::enforce(&dir, Kind::User, true)?;
    as_user(USER, exceed).context("after quotaon")?;
    drop(dir);
    bed.unmount()?;

    bed.mkfs("64M", &[])?;
    refused(bed.try_mount("prjquota"), Errno::INVAL, "prjquota without projects")?;
    bed.mount()
}

/// What was done before a shutdown that writes the log is counted after it.
fn shutdown(bed: &mut Bed) -> Result<()> {
    let dir = start(bed)?;
    let file = File::create(bed.path("dir/file"))?;
    chown(bed.path("dir/file"), Some(USER), None)?;
    fs::fallocate(&file, FallocateFlags::empty(), 0, MIB)?;
    attrs::shut_down(&dir, 1)?;
    drop((dir, file));
    bed.unmount()?;
    bed.mount_with(&options(bed))?;
    let dir = File::open(bed.path("dir"))?;
    ensure!(std::fs::metadata(bed.path("dir/file"))?.blocks() * 512 >= MIB, "the log was written");
    same_as_inodes(bed.dir(), &dir, Kind::User, USER)
}

/// ext4 goes on with our quotas, and we with its.
fn with_ext4(bed: &mut Bed) -> Result<()> {
    let dir = start(bed)?;
    let path = bed.path("dir");
    let (ours, theirs) = bed.config.amount((200, 300), (200, 300), (50, 70));
    for n in 0..ours {
        let name = path.join(format!("ours-{n}"));
        File::create(&name)?.write_at(&vec![1; n * 100], 0)?;
        chown(&name, Some(USER + n as u32 % 7), Some(GROUP))?;
    }
    let limit = Quota { block_soft: 9_000, block_hard: 10_000, ..Quota::default() };
    quota::set(&dir, Kind::Group, GROUP, limit)?;
    let before = [quota::get(&dir, Kind::User, USER)?, quota::get(&dir, Kind::Group, GROUP)?];
    drop(dir);
    bed.by_ext4(|root| {
        let dir = File::open(root)?;
        let now = [quota::get(&dir, Kind::User, USER)?, quota::get(&dir, Kind::Group, GROUP)?];
        ensure!(now == before, "ext4 reads {now:?}, expected {before:?}");
        for n in 0..theirs {
            let name = root.join(format!("dir/ext4-{n}"));
            File::create(&name)?.write_at(&vec![1; n * 50], 0)?;
            chown(&name, Some(USER + n as u32 % 11), Some(GROUP))?;
        }
        (0..ours / 2)
            .try_for_each(|n| Ok(std::fs::remove_file(root.join(format!("dir/ours-{n}")))?))
    })?;
    let dir = File::open(bed.path("dir"))?;
    for id in USER..USER + 11 {
        same_as_inodes(bed.dir(), &dir, Kind::User, id)?;
    }
    let group = quota::get(&dir, Kind::Group, GROUP)?;
    ensure!(group.block_hard == 10_000 && group.block_soft == 9_000, "{group:?}");
    same_as_inodes(bed.dir(), &dir, Kind::Group, GROUP)
}

/// Many at once.
fn threads(bed: &mut Bed) -> Result<()> {
    let dir = start(bed)?;
    let path = bed.path("dir");
    let work = |thread: u32| -> Result<()> {
        for n in 0..bed.config.amount(400, 60, 26) {
            let name = path.join(format!("{thread}-{}", n % 13));
            let file = File::create(&name)?;
            file.write_at(&vec![1; 10_000 * (n as usize % 5)], 0)?;
            chown(&name, Some(USER + (thread + n) % 3), Some(GROUP + n % 2))?;
            quota::set_project(&file, PROJECT + n % 2, false)?;
            if n % 3 == 0 {
                std::fs::remove_file(&name)?;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|n| scope.spawn(move || work(n))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    (0..3).try_for_each(|n| same_as_inodes(bed.dir(), &dir, Kind::User, USER + n))
}

/// Images whose quota files are not what the super block says are not mounted for writing.
fn bad_files(bed: &mut Bed) -> Result<()> {
    // The root directory, the journal, the inode of another kind of quota, one that is not in use.
    for ino in [2, 8, 500] {
        bed.mkfs("64M", MKFS)?;
        bed.image.debugfs(&[&format!("set_super_value usr_quota_inum {ino}")])?;
        ensure!(bed.try_mount("").is_err(), "mounted with inode {ino} as the quotas of users");
        bed.try_mount("ro").map_err(|error| anyhow::anyhow!("read-only: {error}"))?.unmount()?;
    }
    bed.mkfs("64M", MKFS)?;
    bed.image.debugfs(&["set_super_value usr_quota_inum 100000000"])?;
    refused(bed.try_mount("ro"), Errno::UCLEAN, "an inode beyond the last")?;
    // Garbage where the header was.
    bed.mkfs("64M", MKFS)?;
    let block: u64 = bed.image.ask("bmap <3> 0")?.trim().parse()?;
    bed.image.poke(block * 4096, &[0x5a; 64])?;
    ensure!(bed.try_mount("").is_err(), "mounted with garbage as the quotas of users");
    // A tree that leads past the end of the file: what needs an entry fails.
    bed.mkfs("64M", MKFS)?;
    let block: u64 = bed.image.ask("bmap <3> 0")?.trim().parse()?;
    bed.image.poke(block * 4096 + 1024, &[0xff; 1024])?;
    if let Ok(mount) = bed.try_mount("usrquota") {
        std::fs::write(mount.dir().join("file"), "x").err().context("an entry was made")?;
        mount.unmount()?;
    }
    Ok(())
}
