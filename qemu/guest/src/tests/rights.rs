// SPDX-License-Identifier: GPL-2.0
//! What an ordinary user may not do, and that nothing has changed where it was refused.
//!
//! Each refusal is tried by the user and by the root of a user namespace that the user has made, directly
//! and through an idmapped mount. Where the rule is a matter of degree, ext4 says what is right.

use super::vfs::idmapped_mount;
use super::{as_user, refused, xattrs};
use crate::harness::{Bed, Test, ALL, BOTH, INODE, RAM};
use crate::manifest::{Facts, Manifest};
use crate::stage::{self, Image};
use crate::sys::{self, attrs, quota, Aligned, End, Mapping};
use anyhow::{ensure, Context, Result};
use rustix::fs::{self as rfs, AtFlags, FallocateFlags, FileType, OFlags, RenameFlags, CWD};
use rustix::fs::{Timestamps, XattrFlags};
use rustix::io::Errno;
use rustix::mount::{self, MountFlags};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{chown, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("rights::attributes_of_others", BOTH, attributes_of_others),
        Test::new("rights::immutable", BOTH, immutable),
        Test::new("rights::append_only", BOTH, append_only),
        Test::new("rights::extended_attributes", RAM, extended_attributes),
        Test::new("rights::sticky", RAM, sticky),
        Test::new("rights::administration", BOTH, administration),
        Test::bare("rights::projects", RAM, projects),
        Test::new("rights::dax_flag", INODE, dax_flag),
        Test::new("rights::privileges_dropped", ALL, privileges_dropped),
        Test::new("rights::setgid_inherited", RAM, setgid_inherited),
    ]
}

/// The user who tries, and another one, as the disk has them.
const USER: u32 = 3;
const OTHER: u32 = 4;
/// What the idmapped mount adds.
const SHIFT: u32 = 5000;

const IMMUTABLE: u32 = 0x10;
const APPEND: u32 = 0x20;
const NODUMP: u32 = 0x40;
const XFLAG_IMMUTABLE: u32 = 0x8;
const XFLAG_APPEND: u32 = 0x10;
const XFLAG_NODUMP: u32 = 0x80;
const XFLAG_PROJINHERIT: u32 = 0x200;

/// Both ways to the root directory, and who the user is there.
fn both_ways(bed: &Bed, work: impl Fn(&Path, u32) -> Result<()>) -> Result<()> {
    work(bed.dir(), USER)?;
    idmapped_mount(bed.dir(), |dir| work(dir, SHIFT + USER).context("through an idmapped mount"))
}

/// Has the user make an attempt in each way, in vain.
fn in_vain(bed: &Bed, attempt: impl Fn(&Path) -> Result<()>) -> Result<()> {
    let before = state(bed.dir())?;
    both_ways(bed, |dir, user| {
        as_user(user, || attempt(dir))?;
        as_user(user, || {
            sys::enter_namespace()?;
            attempt(dir)
        })
        .context("in a user namespace")
    })?;
    let after = state(bed.dir())?;
    before.0.same(&after.0, "before", "after")?;
    ensure!(before.1 == after.1, "attributes: {:?}, before {:?}", after.1, before.1);
    Ok(())
}

/// Everything that can be seen of the tree, and the attributes of what is in the root directory.
fn state(dir: &Path) -> Result<(Manifest, Vec<attrs::FileAttr>)> {
    let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.path()));
    let attributes = names.map(|path: io::Result<_>| attrs::file_getattr(&path?));
    Ok((Manifest::of(dir, Facts::All)?, attributes.collect::<io::Result<_>>()?))
}

/// Makes a file that belongs to somebody.
fn file(dir: &Path, name: &str, owner: u32, mode: u32) -> Result<File> {
    let path = dir.join(name);
    fs::write(&path, [b'x'; 16 << 10])?;
    given(&path, owner, mode)?;
    Ok(File::open(path)?)
}

/// Makes a directory that belongs to somebody.
fn directory(dir: &Path, name: &str, owner: u32, mode: u32) -> Result<File> {
    let path = dir.join(name);
    fs::create_dir(&path)?;
    given(&path, owner, mode)?;
    Ok(File::open(path)?)
}

fn given(path: &Path, owner: u32, mode: u32) -> Result<()> {
    chown(path, Some(owner), Some(owner))?;
    Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
}

fn add_flags(file: &File, flags: u32) -> io::Result<()> {
    sys::set_flags(file, sys::flags(file)? | flags)
}

fn clear_flags(file: &File, flags: u32) -> io::Result<()> {
    sys::set_flags(file, sys::flags(file)? & !flags)
}

/// By each of the three interfaces that set flags.
fn flags_refused(path: &Path, flags: u32, xflags: u32, errno: Errno, what: &str) -> Result<()> {
    let file = File::open(path)?;
    refused(add_flags(&file, flags), errno, &format!("{what}: SETFLAGS"))?;
    let (old, project) = attrs::xflags_and_project(&file)?;
    let set = attrs::set_xflags_and_project(&file, old | xflags, project);
    refused(set, errno, &format!("{what}: FSSETXATTR"))?;
    let old = attrs::file_getattr(path)?;
    let new = attrs::FileAttr { xflags: old.xflags | u64::from(xflags), ..old };
    refused(attrs::file_setattr(path, &new), errno, &format!("{what}: file_setattr"))
}

fn attributes_of_others(bed: &mut Bed) -> Result<()> {
    file(bed.dir(), "file", OTHER, 0o666)?;
    directory(bed.dir(), "dir", OTHER, 0o777)?;
    in_vain(bed, |dir| {
        for name in ["file", "dir"] {
            let path = dir.join(name);
            let file = File::open(&path)?;
            flags_refused(&path, NODUMP, XFLAG_NODUMP, Errno::PERM, name)?;
            refused(sys::set_xflag_dax(&file, true), Errno::PERM, "DAX")?;
            refused(attrs::set_generation(&file, 1), Errno::PERM, "generation")?;
            let mode = Permissions::from_mode(0o600);
            refused(fs::set_permissions(&path, mode), Errno::PERM, "chmod")?;
            let long_ago = Timestamps {
                last_access: rfs::Timespec { tv_sec: 1, tv_nsec: 0 },
                last_modification: rfs::Timespec { tv_sec: 1, tv_nsec: 0 },
            };
            refused(rfs::futimens(&file, &long_ago), Errno::PERM, "times")?;
        }
        Ok(())
    })
}

/// The user's file `name` and directory `name`-dir, with `flags`, and beside and in them a plain file.
fn flagged(bed: &Bed, name: &str, flags: u32) -> Result<[File; 2]> {
    file(bed.dir(), "plain", USER, 0o644)?;
    let dir = format!("{name}-dir");
    let made = [file(bed.dir(), name, USER, 0o666)?, directory(bed.dir(), &dir, USER, 0o777)?];
    file(bed.dir(), &format!("{dir}/file"), USER, 0o644)?;
    made.iter().try_for_each(|made| add_flags(made, flags))?;
    fs::set_permissions(bed.dir(), Permissions::from_mode(0o777))?;
    Ok(made)
}

fn immutable(bed: &mut Bed) -> Result<()> {
    let made = flagged(bed, "fixed", IMMUTABLE)?;
    in_vain(bed, |dir| {
        let at = |name: &str| dir.join(name);
        let perm = Errno::PERM;
        flags_refused(&at("plain"), IMMUTABLE, XFLAG_IMMUTABLE, perm, "making it immutable")?;
        for name in ["fixed", "fixed-dir"] {
            refused(clear_flags(&File::open(at(name))?, IMMUTABLE), perm, "making it mutable")?;
            flags_refused(&at(name), NODUMP, XFLAG_NODUMP, perm, "another flag")?;
            refused(sys::set_xflag_dax(File::open(at(name))?, true), perm, "DAX")?;
            let set = rfs::setxattr(at(name), "user.u", b"", XattrFlags::empty());
            refused(set, perm, "setxattr")?;
            refused(fs::rename(at(name), at("other")), perm, "rename")?;
        }
        refused(File::options().write(true).open(at("fixed")), perm, "opening for writing")?;
        refused(fs::rename(at("plain"), at("fixed")), perm, "rename over it")?;
        let exchange = RenameFlags::EXCHANGE;
        let exchanged = rfs::renameat_with(CWD, at("plain"), CWD, at("fixed"), exchange);
        refused(exchanged, perm, "exchange")?;
        refused(fs::hard_link(at("fixed"), at("other")), perm, "link")?;
        refused(fs::remove_file(at("fixed")), perm, "unlink")?;
        refused(fs::remove_file(at("fixed-dir/file")), perm, "unlink in the directory")?;
        refused(fs::rename(at("plain"), at("fixed-dir/new")), perm, "rename into the directory")?;
        refused(fs::hard_link(at("plain"), at("fixed-dir/new")), perm, "link in the directory")?;
        refused(File::create(at("fixed-dir/new")), perm, "create in the directory")
    })?;
    Ok(made.iter().try_for_each(|made| clear_flags(made, IMMUTABLE))?)
}

fn append_only(bed: &mut Bed) -> Result<()> {
    let made = flagged(bed, "log", APPEND)?;
    in_vain(bed, |dir| {
        let at = |name: &str| dir.join(name);
        let perm = Errno::PERM;
        flags_refused(&at("plain"), APPEND, XFLAG_APPEND, perm, "making it append-only")?;
        for name in ["log", "log-dir"] {
            refused(clear_flags(&File::open(at(name))?, APPEND), perm, "making it changeable")?;
            refused(fs::rename(at(name), at("other")), perm, "rename")?;
        }
        let writing = File::options().read(true).write(true).open(at("log"));
        refused(writing, perm, "opening for writing")?;
        let emptying = OFlags::TRUNC.bits() as i32;
        let emptied = File::options().append(true).custom_flags(emptying).open(at("log"));
        refused(emptied, perm, "O_TRUNC")?;
        let log = File::options().read(true).append(true).open(at("log"))?;
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        for flags in [punch, FallocateFlags::ZERO_RANGE, FallocateFlags::COLLAPSE_RANGE] {
            refused(rfs::fallocate(&log, flags, 0, 4096), perm, &format!("fallocate {flags:?}"))?;
        }
        refused(log.set_len(1), perm, "truncating")?;
        refused(Mapping::shared(&log, 4096), Errno::ACCESS, "a mapping to write to")?;
        refused(fs::hard_link(at("log"), at("other")), perm, "link")?;
        refused(fs::remove_file(at("log")), perm, "unlink")?;
        refused(fs::rename(at("plain"), at("log")), perm, "rename over it")?;
        refused(fs::remove_file(at("log-dir/file")), perm, "unlink in the directory")?;
        refused(fs::rename(at("log-dir/file"), at("log-dir/new")), perm, "rename there")
    })?;
    Ok(made.iter().try_for_each(|made| clear_flags(made, APPEND))?)
}

const CAPABILITY: &str = "security.capability";

fn extended_attributes(bed: &mut Bed) -> Result<()> {
    file(bed.dir(), "mine", USER, 0o644)?;
    file(bed.dir(), "theirs", OTHER, 0o644)?;
    directory(bed.dir(), "sticky", OTHER, 0o1777)?;
    let set = |path: &Path, name: &str, value: &[u8]| {
        rfs::lsetxattr(path, name, value, XattrFlags::empty())
    };
    for name in ["trusted.t", "security.s", "user.u"] {
        set(&bed.path("mine"), name, b"value")?;
        set(&bed.path("theirs"), name, b"value")?;
    }
    in_vain(bed, |dir| {
        let (mine, theirs) = (dir.join("mine"), dir.join("theirs"));
        for path in [&mine, &theirs] {
            ensure!(xattrs::list(path)? == ["security.s", "user.u"], "{:?}", xattrs::list(path)?);
            refused(xattrs::get(path, "trusted.t"), Errno::NODATA, "reading trusted.*")?;
            for name in ["trusted.t", "trusted.new", "security.s", "security.new"] {
                refused(set(path, name, b"new"), Errno::PERM, &format!("setting {name}"))?;
            }
            for name in ["trusted.t", "security.s"] {
                refused(rfs::lremovexattr(path, name), Errno::PERM, &format!("removing {name}"))?;
            }
        }
        refused(set(&theirs, "user.u", b"new"), Errno::ACCESS, "user.* of another's file")?;
        refused(rfs::lremovexattr(&theirs, "user.u"), Errno::ACCESS, "removing it")?;
        refused(set(&dir.join("sticky"), "user.u", b""), Errno::PERM, "of a sticky directory")?;
        refused(set(&theirs, CAPABILITY, &xattrs::CAPABILITY), Errno::PERM, "capabilities")?;
        let list = xattrs::acl(&[(1, 7, u32::MAX), (4, 7, u32::MAX), (32, 7, u32::MAX)]);
        refused(set(&theirs, "system.posix_acl_access", &list), Errno::PERM, "another's ACL")
    })
}

fn sticky(bed: &mut Bed) -> Result<()> {
    directory(bed.dir(), "tmp", 0, 0o1777)?;
    file(bed.dir(), "tmp/mine", USER, 0o644)?;
    file(bed.dir(), "tmp/theirs", OTHER, 0o666)?;
    directory(bed.dir(), "tmp/dir", OTHER, 0o777)?;
    file(bed.dir(), "outside", USER, 0o644)?;
    fs::set_permissions(bed.dir(), Permissions::from_mode(0o777))?;
    in_vain(bed, |dir| {
        let at = |name: &str| dir.join(name);
        let perm = Errno::PERM;
        let (mine, theirs) = (at("tmp/mine"), at("tmp/theirs"));
        refused(fs::remove_file(&theirs), perm, "unlink")?;
        refused(fs::remove_dir(at("tmp/dir")), perm, "rmdir")?;
        refused(fs::rename(&theirs, at("tmp/new")), perm, "rename")?;
        refused(fs::rename(&theirs, at("new")), perm, "rename to elsewhere")?;
        refused(fs::rename(&mine, &theirs), perm, "rename over it")?;
        refused(fs::rename(at("outside"), &theirs), perm, "rename over it from elsewhere")?;
        let exchanged = rfs::renameat_with(CWD, &mine, CWD, &theirs, RenameFlags::EXCHANGE);
        refused(exchanged, perm, "exchange")?;
        let device = rfs::makedev(1, 3);
        let made =
            rfs::mknodat(CWD, at("tmp/null"), FileType::CharacterDevice, 0o666.into(), device);
        refused(made, perm, "mknod")
    })
}

/// What is asked of the whole file system, and a mount.
fn administration(bed: &mut Bed) -> Result<()> {
    let image = Image::on("/dev/ram1");
    image.mkfs("16M", &[])?;
    directory(bed.dir(), "place", USER, 0o755)?;
    file(bed.dir(), "file", USER, 0o644)?;
    let fstype = bed.config.fstype.clone();
    let root = File::open(bed.dir())?;
    let (label, uuid) = (attrs::label(&root)?, attrs::uuid_on_disk(&root)?);
    in_vain(bed, |dir| {
        for path in [dir.to_owned(), dir.join("file")] {
            let file = File::open(path)?;
            for how in 0..3 {
                refused(attrs::shut_down(&file, how), Errno::PERM, "shutdown")?;
            }
            refused(attrs::freeze(&file), Errno::PERM, "freeze")?;
            refused(attrs::thaw(&file), Errno::PERM, "thaw")?;
            refused(attrs::trim(&file, 0, u64::MAX, 0), Errno::PERM, "trim")?;
            refused(attrs::set_label(&file, "mine"), Errno::PERM, "label")?;
            refused(attrs::set_uuid(&file, &[1; 16]), Errno::PERM, "UUID")?;
        }
        let (device, place, flags) = (image.device(), dir.join("place"), MountFlags::empty());
        let mounted = mount::mount(device, &place, fstype.as_str(), flags, c"");
        refused(mounted, Errno::PERM, "mount")?;
        refused(mount::mount_remount(dir, flags, c"dax=never"), Errno::PERM, "remount")
    })?;
    ensure!(attrs::label(&root)? == label && attrs::uuid_on_disk(&root)? == uuid);
    Ok(())
}

/// A user may put files of its own into any project, but not from a user namespace.
fn projects(bed: &mut Bed) -> Result<()> {
    bed.mkfs(stage::IMAGE, &["-O", "project,quota"])?;
    bed.mount()?;
    let mine = file(bed.dir(), "mine", USER, 0o644)?;
    let dir = directory(bed.dir(), "dir", USER, 0o755)?;
    file(bed.dir(), "theirs", OTHER, 0o666)?;
    in_vain(bed, |dir| {
        let theirs = File::open(dir.join("theirs"))?;
        refused(quota::set_project(&theirs, 7, false), Errno::PERM, "project of another's file")
    })?;
    both_ways(bed, |at, user| {
        as_user(user, || Ok(quota::set_project(File::open(at.join("mine"))?, user, false)?))?;
        ensure!(attrs::xflags_and_project(&mine)?.1 == user, "it is in another project");
        as_user(user, || {
            sys::enter_namespace()?;
            let set = quota::set_project(File::open(at.join("mine"))?, 7, false);
            refused(set, Errno::INVAL, "project from a user namespace")?;
            let inherit =
                attrs::set_xflags_and_project(File::open(at.join("dir"))?, XFLAG_PROJINHERIT, 0);
            refused(inherit, Errno::INVAL, "PROJINHERIT from a user namespace")
        })?;
        ensure!(attrs::xflags_and_project(&mine)?.1 == user);
        ensure!(attrs::xflags_and_project(&dir)? == (0, 0));
        Ok(())
    })
}

/// The mode of a file is its owner's to choose.
fn dax_flag(bed: &mut Bed) -> Result<()> {
    let mine = file(bed.dir(), "mine", USER, 0o644)?;
    file(bed.dir(), "theirs", OTHER, 0o666)?;
    in_vain(bed, |dir| {
        for name in ["theirs", ""] {
            let file = File::open(dir.join(name))?;
            refused(sys::set_xflag_dax(&file, true), Errno::PERM, "FSSETXATTR")?;
            refused(add_flags(&file, sys::DAX_FL), Errno::PERM, "SETFLAGS")?;
        }
        Ok(())
    })?;
    both_ways(bed, |dir, user| {
        for namespace in [false, true] {
            for dax in [true, false] {
                as_user(user, || {
                    if namespace {
                        sys::enter_namespace()?;
                    }
                    Ok(sys::set_xflag_dax(File::open(dir.join("mine"))?, dax)?)
                })?;
                ensure!(sys::xflags(&mine)? & sys::XFLAG_DAX != 0 || !dax, "it is not set");
                ensure!(super::is_dax(&mine)? == dax || !bed.config.is_rdaxfs(), "{dax}");
            }
        }
        Ok(())
    })
}

/// Something that is done to a program's file.
type Deed = fn(&Path) -> io::Result<()>;

fn write(path: &Path, flags: OFlags) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).custom_flags(flags.bits() as i32);
    options.open(path)?.write_all_at(&Aligned::new(4096, b'y'), 0)
}

fn allocate(path: &Path, flags: FallocateFlags) -> io::Result<()> {
    Ok(rfs::fallocate(File::options().write(true).open(path)?, flags, 4096, 4096)?)
}

/// Those that drop setuid, setgid and capabilities, and below them two that do not.
const DEEDS: [(&str, Deed); 12] = [
    ("write", |path| write(path, OFlags::empty())),
    ("direct write", |path| write(path, OFlags::DIRECT)),
    ("synchronous append", |path| write(path, OFlags::APPEND | OFlags::DSYNC)),
    ("O_TRUNC", |path| write(path, OFlags::TRUNC)),
    ("truncate", |path| File::options().write(true).open(path)?.set_len(10)),
    ("fallocate", |path| allocate(path, FallocateFlags::empty())),
    ("punch hole", |path| allocate(path, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE)),
    ("zero range", |path| allocate(path, FallocateFlags::ZERO_RANGE)),
    ("collapse range", |path| allocate(path, FallocateFlags::COLLAPSE_RANGE)),
    ("copy_file_range", |path| {
        let file = File::options().read(true).write(true).open(path)?;
        Ok(rfs::copy_file_range(&file, Some(&mut 0), &file, Some(&mut 8192), 4096).map(|_| ())?)
    }),
    ("mapped store", |path| {
        let file = File::options().read(true).write(true).open(path)?;
        Mapping::shared(&file, 4096)?.write(0, b"y");
        file.sync_all()
    }),
    ("chgrp", |path| {
        let group = rustix::process::getgid().as_raw();
        chown(path, None, Some(group))
    }),
];

/// What is left of setuid, setgid and capabilities of a program after each deed of the user, who reaches
/// what lies in `base` as `dir`.
fn after_deeds(base: &Path, dir: &Path, user: u32) -> Result<Vec<String>> {
    let mut told = Vec::new();
    for owner in [USER, OTHER] {
        for mode in [0o6777, 0o6766] {
            for (name, deed) in DEEDS {
                let program = base.join("program");
                file(base, "program", owner, mode)?;
                rfs::lsetxattr(&program, CAPABILITY, &xattrs::CAPABILITY, XattrFlags::empty())?;
                let end = sys::in_child(|| {
                    let done = sys::become_user(user).and_then(|()| deed(&dir.join("program")));
                    done.map_or_else(|error| error.raw_os_error().unwrap_or(-1), |()| 0)
                })?;
                let left = fs::metadata(&program)?.mode() & 0o7777;
                let capable = xattrs::get(&program, CAPABILITY).is_ok();
                let line = format!("{name}, {mode:o} of {owner}: {end:?} {left:o} {capable}");
                let drops = end == End::Exit(0) && mode == 0o6777 && name != "mapped store";
                ensure!(!drops || left == 0o777 && !capable, "{line}");
                told.push(line);
                fs::remove_file(&program)?;
            }
        }
    }
    Ok(told)
}

fn privileges_dropped(bed: &mut Bed) -> Result<()> {
    both_ways(bed, |dir, user| after_deeds(bed.dir(), dir, user).map(|_| ()))?;
    let here = after_deeds(bed.dir(), bed.dir(), USER)?;
    bed.by_ext4(|dir| {
        for (here, there) in here.iter().zip(after_deeds(dir, dir, USER)?) {
            ensure!(*here == there, "{here}, on ext4 {there}");
        }
        Ok(())
    })
}

/// Modes of what a user makes with setgid in a directory that hands down a group which is not the user's,
/// and after the owner's chmod.
fn made_with_setgid(base: &Path, dir: &Path, user: u32) -> Result<Vec<(String, u32, u32)>> {
    directory(base, "shared", OTHER, 0o2777)?;
    as_user(user, || {
        let at = |name: &str| dir.join("shared").join(name);
        File::options().write(true).create_new(true).mode(0o2755).open(at("file"))?;
        rfs::mknodat(CWD, at("fifo"), FileType::Fifo, 0o2755.into(), 0)?;
        fs::create_dir(at("dir"))?;
        let flags = OFlags::TMPFILE.bits() as i32;
        let mut options = File::options();
        let temporary = options.write(true).mode(0o2755).custom_flags(flags).open(at(""))?;
        let by_fd = format!("/proc/self/fd/{}", temporary.as_raw_fd());
        rfs::linkat(CWD, by_fd, CWD, at("temporary"), AtFlags::SYMLINK_FOLLOW)?;
        fs::write(at("changed"), "")?;
        fs::set_permissions(at("changed"), Permissions::from_mode(0o6755))?;
        fs::set_permissions(at("dir"), Permissions::from_mode(0o2700))?;
        Ok(())
    })?;
    let mut told = Vec::new();
    for entry in fs::read_dir(base.join("shared"))? {
        let entry = entry?;
        let (name, data) = (entry.file_name().to_string_lossy().into_owned(), entry.metadata()?);
        ensure!(data.mode() & 0o2000 == 0, "{name} has {:o}", data.mode());
        told.push((name, data.mode(), data.gid()));
    }
    told.sort();
    fs::remove_dir_all(base.join("shared"))?;
    Ok(told)
}

fn setgid_inherited(bed: &mut Bed) -> Result<()> {
    let here = made_with_setgid(bed.dir(), bed.dir(), USER)?;
    both_ways(bed, |dir, user| {
        let told = made_with_setgid(bed.dir(), dir, user)?;
        ensure!(told == here, "{told:?}, not {here:?}");
        Ok(())
    })?;
    bed.by_ext4(|dir| {
        let there = made_with_setgid(dir, dir, USER)?;
        ensure!(here == there, "{here:?}, on ext4 {there:?}");
        Ok(())
    })
}
