// SPDX-License-Identifier: GPL-2.0
//! Names: create, link, unlink, mkdir, rmdir, rename, symlinks, special files, O_TMPFILE.

use super::{refused, statx};
use crate::harness::{Bed, Test, BOTH, RAM};
use crate::skip;
use anyhow::{ensure, Context, Result};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, RenameFlags, CWD};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{symlink, DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("names::create", BOTH, create),
        Test::new("names::bytes", RAM, bytes),
        Test::new("names::link", BOTH, link).seconds(600),
        Test::new("names::unlink", BOTH, unlink),
        Test::new("names::directories", BOTH, directories),
        Test::new("names::symlinks", BOTH, symlinks),
        Test::new("names::special_files", RAM, special_files),
        Test::new("names::tmpfile", BOTH, tmpfile),
        Test::new("names::rename", BOTH, rename),
        Test::new("names::rename_directories", BOTH, rename_directories),
        Test::new("names::rename_refusals", RAM, rename_refusals),
        Test::new("names::rename_noreplace", BOTH, rename_noreplace),
        Test::new("names::rename_exchange", BOTH, rename_exchange),
        Test::new("names::rename_storm", BOTH, rename_storm),
        Test::new("names::many", BOTH, many).seconds(600),
        Test::bare("names::dir_nlink", RAM, dir_nlink).seconds(600),
        Test::new("names::setgid_directory", RAM, setgid_directory),
    ]
}

fn inode_number(path: &Path) -> Result<u64> {
    Ok(statx(path)?.stx_ino)
}

fn create(bed: &mut Bed) -> Result<()> {
    let path = bed.path("file");
    let new = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
    fs::open(&path, new, Mode::from(0o640))?;
    ensure!(statx(&path)?.stx_mode & 0o7777 == 0o640, "mode {:o}", statx(&path)?.stx_mode);
    ensure!(statx(&path)?.stx_size == 0 && statx(&path)?.stx_nlink == 1);
    refused(fs::open(&path, new, Mode::empty()), Errno::EXIST, "O_EXCL on an existing file")?;
    refused(
        fs::open(&path, OFlags::DIRECTORY, Mode::empty()),
        Errno::NOTDIR,
        "O_DIRECTORY on a file",
    )?;
    refused(fs::open(path.join("x"), new, Mode::empty()), Errno::NOTDIR, "a name below a file")?;
    refused(File::open(bed.path("none")), Errno::NOENT, "open of a missing name")?;
    refused(
        fs::open(bed.dir(), OFlags::RDWR, Mode::empty()),
        Errno::ISDIR,
        "a directory for writing",
    )?;
    let count = bed.config.amount(500, 500, 100);
    for n in 0..count {
        File::create(bed.path(format!("file-{n}")))?.write_all(format!("{n}").as_bytes())?;
    }
    bed.again()?;
    for n in 0..count {
        let text = std::fs::read_to_string(bed.path(format!("file-{n}")))?;
        ensure!(text == n.to_string(), "file-{n} holds {text:?}");
    }
    Ok(())
}

/// Any bytes but `/` and NUL, of 1 to 255 bytes.
fn bytes(bed: &mut Bed) -> Result<()> {
    let mut names: Vec<Vec<u8>> =
        (1..=255_u8).filter(|b| *b != b'/' && *b != b'.').map(|b| vec![b]).collect();
    let step = bed.config.amount(1, 1, 23);
    names.extend((2..=255).rev().step_by(step).map(|len| vec![b'n'; len]));
    names.push("ä 漢字 🦀\n\t".into());
    names.push(b"\xff\xfe\x80".to_vec());
    let path = |bed: &Bed, name: &[u8]| bed.path(std::ffi::OsStr::from_bytes(name));
    for name in &names {
        File::create_new(path(bed, name)).with_context(|| format!("{name:?}"))?;
    }
    refused(File::create(bed.path("n".repeat(256))), Errno::NAMETOOLONG, "256 bytes")?;
    bed.again()?;
    let mut found: Vec<Vec<u8>> = std::fs::read_dir(bed.dir())?
        .map(|entry| Ok(entry?.file_name().as_bytes().to_vec()))
        .collect::<Result<_>>()?;
    found.retain(|name| name != b"lost+found");
    found.sort();
    names.sort();
    ensure!(found == names, "{} names were made, {} are there", names.len(), found.len());
    for name in &names {
        std::fs::remove_file(path(bed, name)).with_context(|| format!("{name:?}"))?;
    }
    Ok(())
}

fn link(bed: &mut Bed) -> Result<()> {
    let (a, b) = (bed.path("a"), bed.path("b"));
    std::fs::write(&a, "shared")?;
    std::fs::create_dir(bed.path("dir"))?;
    let before = statx(&a)?.stx_ctime;
    std::fs::hard_link(&a, &b)?;
    std::fs::hard_link(&a, bed.path("dir/c"))?;
    ensure!(statx(&a)?.stx_nlink == 3 && inode_number(&a)? == inode_number(&b)?);
    let after = statx(&a)?.stx_ctime;
    ensure!((after.tv_sec, after.tv_nsec) >= (before.tv_sec, before.tv_nsec), "ctime went back");
    refused(std::fs::hard_link(&a, &b), Errno::EXIST, "link onto an existing name")?;
    refused(
        std::fs::hard_link(bed.path("dir"), bed.path("d2")),
        Errno::PERM,
        "link of a directory",
    )?;
    refused(std::fs::hard_link(&a, "/run/guest-link"), Errno::XDEV, "link across file systems")?;
    File::options().append(true).open(&b)?.write_all(b" bytes")?;
    std::fs::remove_file(&a)?;
    bed.again()?;
    ensure!(statx(&b)?.stx_nlink == 2);
    ensure!(std::fs::read(bed.path("dir/c"))? == b"shared bytes");

    let many = bed.path("many");
    File::create(&many)?;
    for n in 1..bed.config.amount(65_000, 1_000, 200) {
        std::fs::hard_link(&many, bed.path(format!("dir/l{n}")))
            .with_context(|| format!("link {n}"))?;
    }
    if !bed.config.short {
        ensure!(statx(&many)?.stx_nlink == 65_000);
        refused(std::fs::hard_link(&many, bed.path("dir/x")), Errno::MLINK, "link 65,001")?;
    }
    Ok(())
}

fn unlink(bed: &mut Bed) -> Result<()> {
    std::fs::create_dir(bed.path("dir"))?;
    // The first entry of a block, the last, and those between go different ways on disk.
    for n in 0..300 {
        File::create(bed.path(format!("dir/entry-{n:03}")))?;
    }
    let order = (0..300).map(|n| (n * 7) % 300);
    for n in order.clone().take(150) {
        std::fs::remove_file(bed.path(format!("dir/entry-{n:03}")))?;
    }
    bed.again()?;
    for (turn, n) in order.enumerate() {
        let path = bed.path(format!("dir/entry-{n:03}"));
        ensure!(path.exists() == (turn >= 150), "entry-{n:03} after removing every other");
    }
    for n in 0..150 {
        File::create_new(bed.path(format!("dir/again-{n}")))?;
    }
    refused(std::fs::remove_file(bed.path("none")), Errno::NOENT, "unlink of nothing")?;
    refused(
        fs::unlinkat(CWD, bed.path("dir"), AtFlags::empty()),
        Errno::ISDIR,
        "unlink of a directory",
    )?;
    let again = bed.path("dir/again-0");
    refused(fs::unlinkat(CWD, &again, AtFlags::REMOVEDIR), Errno::NOTDIR, "rmdir of a file")
}

fn directories(bed: &mut Bed) -> Result<()> {
    let root_links = statx(bed.dir())?.stx_nlink;
    let mut deep = bed.path("d");
    for n in 0..60 {
        std::fs::create_dir(&deep)?;
        deep.push(format!("level-{n}"));
    }
    ensure!(statx(bed.dir())?.stx_nlink == root_links + 1);
    ensure!(statx(&bed.path("d"))?.stx_nlink == 3, "a directory with one directory in it");
    ensure!(inode_number(&bed.path("d/level-0/.."))? == inode_number(&bed.path("d"))?);
    refused(std::fs::create_dir(bed.path("d")), Errno::EXIST, "mkdir of an existing name")?;
    refused(std::fs::remove_dir(bed.path("d")), Errno::NOTEMPTY, "rmdir of a full directory")?;
    let dot = fs::unlinkat(CWD, bed.path("d/level-0/."), AtFlags::REMOVEDIR);
    refused(dot, Errno::INVAL, "rmdir of .")?;
    let dots = fs::unlinkat(CWD, bed.path("d/level-0/.."), AtFlags::REMOVEDIR);
    refused(dots, Errno::NOTEMPTY, "rmdir of ..")?;
    std::fs::DirBuilder::new().mode(0o1751).create(bed.path("mode"))?;
    ensure!(statx(&bed.path("mode"))?.stx_mode & 0o7777 == 0o1751);

    let gone = bed.path("gone");
    std::fs::create_dir(&gone)?;
    let held = File::open(&gone)?;
    std::fs::remove_dir(&gone)?;
    let inside = fs::openat(&held, "x", OFlags::CREATE | OFlags::RDWR, Mode::from(0o600));
    refused(inside, Errno::NOENT, "create in a removed directory")?;
    drop(held);
    bed.again()?;
    let mut path = bed.path("d");
    for n in 0..59 {
        path.push(format!("level-{n}"));
    }
    while path != bed.path("d") {
        path.pop();
        let only = std::fs::read_dir(&path)?.next().context("an entry")??;
        std::fs::remove_dir(only.path())?;
    }
    ensure!(statx(&bed.path("d"))?.stx_nlink == 2);
    Ok(())
}

fn symlinks(bed: &mut Bed) -> Result<()> {
    std::fs::write(bed.path("target"), "here")?;
    // Up to 59 bytes live in the inode, from 60 on in a block.
    let lengths = [1, 30, 58, 59, 60, 61, 255, 1000, 4094, 4095];
    let target = |len: usize| PathBuf::from("./".repeat(len)[..len].to_owned());
    for len in lengths {
        symlink(target(len), bed.path(format!("link-{len}")))?;
    }
    refused(symlink("x".repeat(4096), bed.path("long")), Errno::NAMETOOLONG, "4,096 bytes")?;
    refused(symlink("x", bed.path("link-1")), Errno::EXIST, "an existing name")?;
    symlink("target", bed.path("fast"))?;
    symlink(format!("{}target", "./".repeat(100)), bed.path("slow"))?;
    symlink("loop-b", bed.path("loop-a"))?;
    symlink("loop-a", bed.path("loop-b"))?;
    bed.again()?;
    for len in lengths {
        let path = bed.path(format!("link-{len}"));
        ensure!(std::fs::read_link(&path)? == target(len), "a target of {len} bytes");
        ensure!(statx(&path)?.stx_size == len as u64 && statx(&path)?.stx_mode & 0o777 == 0o777);
        let blocks = statx(&path)?.stx_blocks;
        ensure!((blocks == 0) == (len < 60), "{blocks} blocks for {len} bytes");
    }
    ensure!(std::fs::read(bed.path("fast"))? == b"here");
    ensure!(std::fs::read(bed.path("slow"))? == b"here");
    refused(File::open(bed.path("loop-a")), Errno::LOOP, "a loop")?;
    let nofollow = fs::open(bed.path("fast"), OFlags::NOFOLLOW, Mode::empty());
    refused(nofollow, Errno::LOOP, "O_NOFOLLOW")?;
    std::fs::hard_link(bed.path("slow"), bed.path("slow-2"))?;
    std::fs::remove_file(bed.path("slow"))?;
    std::fs::remove_file(bed.path("link-4095"))?;
    Ok(())
}

fn special_files(bed: &mut Bed) -> Result<()> {
    let numbers = [(1, 3), (255, 255), (259, 1), (4095, 0xfffff), (8, 0x12345)];
    for (major, minor) in numbers {
        for (kind, name) in [(FileType::CharacterDevice, "c"), (FileType::BlockDevice, "b")] {
            let path = bed.path(format!("{name}-{major}-{minor}"));
            fs::mknodat(CWD, path, kind, Mode::from(0o600), fs::makedev(major, minor))?;
        }
    }
    fs::mknodat(CWD, bed.path("fifo"), FileType::Fifo, Mode::from(0o644), 0)?;
    fs::mknodat(CWD, bed.path("socket"), FileType::Socket, Mode::from(0o755), 0)?;
    let _listener = std::os::unix::net::UnixListener::bind(bed.path("listen"))?;
    drop(_listener);
    bed.again()?;
    for (major, minor) in numbers {
        for name in ["c", "b"] {
            let stat = statx(&bed.path(format!("{name}-{major}-{minor}")))?;
            let found = (stat.stx_rdev_major, stat.stx_rdev_minor);
            ensure!(found == (major, minor), "{found:?} instead of {:?}", (major, minor));
        }
    }
    let kind = |name: &str| {
        Ok::<_, anyhow::Error>(FileType::from_raw_mode(statx(&bed.path(name))?.stx_mode.into()))
    };
    ensure!(kind("fifo")? == FileType::Fifo && kind("socket")? == FileType::Socket);
    ensure!(kind("listen")? == FileType::Socket);

    let fifo = bed.path("fifo");
    let writer = std::thread::spawn({
        let fifo = fifo.clone();
        move || std::fs::write(fifo, "through the pipe")
    });
    let mut text = String::new();
    File::open(&fifo)?.read_to_string(&mut text)?;
    writer.join().ok().context("the writer")??;
    ensure!(text == "through the pipe");
    let mut null = File::options().read(true).write(true).open(bed.path("c-1-3"))?;
    null.write_all(b"gone")?;
    ensure!(null.read(&mut [0; 4])? == 0, "device 1:3 is /dev/null");
    Ok(())
}

fn tmpfile(bed: &mut Bed) -> Result<()> {
    let open =
        |flags| fs::open(bed.dir(), OFlags::TMPFILE | OFlags::RDWR | flags, Mode::from(0o600));
    let file = File::from(open(OFlags::empty()).context("O_TMPFILE")?);
    file.write_all_at(b"no name yet", 0)?;
    ensure!(file.metadata()?.nlink() == 0);
    let by_fd = |file: &File| {
        use std::os::fd::AsRawFd;
        PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
    };
    let name = bed.path("named");
    fs::linkat(CWD, by_fd(&file), CWD, &name, AtFlags::SYMLINK_FOLLOW).context("linkat")?;
    ensure!(file.metadata()?.nlink() == 1);
    let exclusive = File::from(open(OFlags::EXCL)?);
    let named = fs::linkat(CWD, by_fd(&exclusive), CWD, bed.path("x"), AtFlags::SYMLINK_FOLLOW);
    refused(named, Errno::NOENT, "linkat of an O_EXCL temporary file")?;
    // Never named: must be gone without a trace.
    let before = super::free(bed.dir())?;
    for _ in 0..20 {
        File::from(open(OFlags::empty())?).write_all_at(&[7; 100_000], 0)?;
    }
    drop((file, exclusive));
    bed.again()?;
    let after = super::free(bed.dir())?;
    ensure!(after.0 >= before.0 && after.1 > before.1, "free {before:?} before, {after:?} after");
    ensure!(std::fs::read(bed.path("named"))? == b"no name yet");
    Ok(())
}

fn rename(bed: &mut Bed) -> Result<()> {
    let p = |name: &str| bed.path(name);
    std::fs::create_dir(p("dir"))?;
    for (name, text) in [("a", "A"), ("b", "B"), ("c", "C")] {
        std::fs::write(p(name), text)?;
    }
    let (a, c) = (inode_number(&p("a"))?, inode_number(&p("c"))?);
    std::fs::rename(p("a"), p("moved"))?;
    ensure!(!p("a").exists() && inode_number(&p("moved"))? == a);
    let held = File::open(p("b"))?;
    std::fs::rename(p("moved"), p("b"))?;
    ensure!(inode_number(&p("b"))? == a && std::fs::read(p("b"))? == b"A");
    ensure!(held.metadata()?.nlink() == 0, "the replaced file still has a name");
    std::fs::rename(p("c"), p("dir/c"))?;
    ensure!(inode_number(&p("dir/c"))? == c && !p("c").exists());
    // Two names of one file: nothing happens, both stay.
    std::fs::hard_link(p("b"), p("b2"))?;
    std::fs::rename(p("b"), p("b2"))?;
    ensure!(p("b").exists() && p("b2").exists());
    std::fs::rename(p("b"), p("b"))?;
    // To a longer name, when the block is full.
    for n in 0..200 {
        File::create(p(&format!("dir/f{n}")))?;
    }
    for n in 0..200 {
        std::fs::rename(
            p(&format!("dir/f{n}")),
            p(&format!("dir/{}{n}", "long-name-".repeat(15))),
        )?;
    }
    refused(std::fs::rename(p("none"), p("x")), Errno::NOENT, "rename of nothing")?;
    drop(held);
    bed.again()?;
    ensure!(std::fs::read_dir(bed.path("dir"))?.count() == 201);
    ensure!(std::fs::read(bed.path("b2"))? == b"A");
    Ok(())
}

/// A directory that moves takes its `..` and one link of its parent along.
fn rename_directories(bed: &mut Bed) -> Result<()> {
    let p = |name: &str| bed.path(name);
    for dir in ["from", "to", "from/dir", "from/dir/sub", "to/empty"] {
        std::fs::create_dir(p(dir))?;
    }
    std::fs::write(p("from/dir/file"), "inside")?;
    let links = |name: &str| Ok::<_, anyhow::Error>(statx(&p(name))?.stx_nlink);
    std::fs::rename(p("from/dir"), p("to/dir"))?;
    ensure!((links("from")?, links("to")?) == (2, 4), "links after the move");
    ensure!(inode_number(&p("to/dir/.."))? == inode_number(&p("to"))?, ".. after the move");
    std::fs::rename(p("to/dir"), p("to/empty"))?;
    ensure!(links("to")? == 3, "links after replacing an empty directory");
    ensure!(std::fs::read(p("to/empty/file"))? == b"inside");
    std::fs::rename(p("to/empty"), p("top"))?;
    bed.again()?;
    ensure!(inode_number(&bed.path("top/.."))? == inode_number(bed.dir())?);
    ensure!(statx(&bed.path("top"))?.stx_nlink == 3);
    Ok(())
}

fn rename_refusals(bed: &mut Bed) -> Result<()> {
    let p = |name: &str| bed.path(name);
    for dir in ["full", "full/sub", "dir", "dir/sub"] {
        std::fs::create_dir(p(dir))?;
    }
    File::create(p("file"))?;
    let case = |from: &str, to: &str, errno| {
        refused(std::fs::rename(p(from), p(to)), errno, &format!("rename {from} {to}"))
    };
    case("dir", "full", Errno::NOTEMPTY)?;
    case("dir", "file", Errno::NOTDIR)?;
    case("file", "dir", Errno::ISDIR)?;
    case("dir", "dir/sub/x", Errno::INVAL)?;
    case("dir/sub", "dir", Errno::NOTEMPTY)?;
    case("dir/.", "x", Errno::BUSY)?;
    case("file", &"n".repeat(256), Errno::NAMETOOLONG)?;
    refused(std::fs::rename(p("file"), "/run/x"), Errno::XDEV, "rename to another file system")?;
    let unknown = RenameFlags::from_bits_retain(1 << 6);
    let odd = fs::renameat_with(CWD, p("file"), CWD, p("x"), unknown);
    refused(odd, Errno::INVAL, "an unknown flag")
}

fn rename_noreplace(bed: &mut Bed) -> Result<()> {
    let p = |name: &str| bed.path(name);
    std::fs::write(p("a"), "A")?;
    std::fs::write(p("b"), "B")?;
    let go =
        |from: &str, to: &str| fs::renameat_with(CWD, p(from), CWD, p(to), RenameFlags::NOREPLACE);
    refused(go("a", "b"), Errno::EXIST, "RENAME_NOREPLACE onto a file")?;
    ensure!(std::fs::read(p("a"))? == b"A" && std::fs::read(p("b"))? == b"B");
    go("a", "c")?;
    ensure!(std::fs::read(p("c"))? == b"A" && !p("a").exists());
    Ok(())
}

fn rename_exchange(bed: &mut Bed) -> Result<()> {
    let p = |name: &str| bed.path(name);
    for dir in ["one", "two", "one/dir", "one/dir/sub"] {
        std::fs::create_dir(p(dir))?;
    }
    std::fs::write(p("one/file"), "1")?;
    std::fs::write(p("two/file"), "2")?;
    symlink("target", p("two/link"))?;
    let swap = |a: &str, b: &str| fs::renameat_with(CWD, p(a), CWD, p(b), RenameFlags::EXCHANGE);
    swap("one/file", "two/file").context("two files")?;
    ensure!(std::fs::read(p("one/file"))? == b"2" && std::fs::read(p("two/file"))? == b"1");
    swap("one/dir", "two/link").context("a directory and a symlink")?;
    ensure!(p("two/link/sub").is_dir() && p("one/dir").is_symlink());
    ensure!(statx(&p("one"))?.stx_nlink == 2 && statx(&p("two"))?.stx_nlink == 3);
    ensure!(inode_number(&p("two/link/.."))? == inode_number(&p("two"))?);
    swap("one", "two").context("two directories in one directory")?;
    ensure!(p("one/link/sub").is_dir());
    std::fs::create_dir(p("two/other"))?;
    swap("one/link", "two/other").context("two directories across directories")?;
    refused(swap("one/file", "none"), Errno::NOENT, "exchange with nothing")?;
    refused(swap("two", "two/other"), Errno::INVAL, "exchange with what is inside")?;
    bed.again()?;
    ensure!(bed.path("two/other/sub").is_dir() && bed.path("one/link").is_dir());
    ensure!(statx(&bed.path("two/other"))?.stx_nlink == 3);
    Ok(())
}

/// Many renames among few names by several threads: whatever wins, the counts must be right.
fn rename_storm(bed: &mut Bed) -> Result<()> {
    let rounds = bed.config.amount(3_000, 500, 200);
    for dir in 0..4 {
        std::fs::create_dir(bed.path(format!("{dir}")))?;
        for n in 0..5 {
            std::fs::create_dir(bed.path(format!("{dir}/{n}")))?;
            std::fs::write(bed.path(format!("{dir}/f{n}")), format!("{dir} {n}"))?;
        }
    }
    let root = bed.dir().to_owned();
    let work = |seed: u64| {
        let mut state = seed;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        for _ in 0..rounds {
            let kind = if next(2) == 0 { "" } else { "f" };
            let name = |a: u64, b: u64| root.join(format!("{a}/{kind}{b}"));
            let (from, to) = (name(next(4), next(5)), name(next(4), next(5)));
            let flags = [RenameFlags::empty(), RenameFlags::EXCHANGE, RenameFlags::NOREPLACE];
            // Most of these fail, as they should: the names come and go.
            let _ = fs::renameat_with(CWD, from, CWD, to, flags[next(3) as usize]);
        }
    };
    std::thread::scope(|scope| {
        for seed in 1..=4 {
            scope.spawn(move || work(seed));
        }
    });
    Ok(())
}

/// 100,000 names in one directory.
fn many(bed: &mut Bed) -> Result<()> {
    let count = bed.config.amount(100_000, 5_000, 400);
    bed.unmount()?;
    let inodes = format!("{}", count + 5_000);
    bed.mkfs("512M", &["-N", &inodes])?;
    bed.mount()?;
    let dir = bed.path("dir");
    std::fs::create_dir(&dir)?;
    let before = super::free(&dir)?;
    let name = |n: u32| dir.join(format!("a-name-of-some-length-{n:06}"));
    for n in 0..count {
        File::create_new(name(n)).with_context(|| format!("name {n}"))?;
    }
    bed.again()?;
    let found = std::fs::read_dir(&dir)?.count();
    ensure!(found == count as usize, "{found} names are there, {count} were made");
    for n in (0..count).step_by(97) {
        statx(&name(n)).with_context(|| format!("name {n}"))?;
    }
    for n in (0..count).step_by(2) {
        std::fs::remove_file(name(n)).with_context(|| format!("unlink of name {n}"))?;
    }
    let left = std::fs::read_dir(&dir)?.count();
    ensure!(left == count as usize / 2, "{left} names are left of {count}");
    for n in (1..count).step_by(2) {
        std::fs::remove_file(name(n)).with_context(|| format!("unlink of name {n}"))?;
    }
    std::fs::remove_dir(&dir)?;
    let after = super::free(bed.dir())?;
    ensure!(after == (before.0 + 1, before.1 + 1), "free {before:?}, then {after:?}");
    Ok(())
}

/// From the 65,000th link on a directory's count is 1: "many".
fn dir_nlink(bed: &mut Bed) -> Result<()> {
    if bed.config.short {
        skip!("makes 65,000 directories; not in the short form");
    }
    bed.mkfs("512M", &["-N", "70000", "-m", "0"])?;
    bed.mount()?;
    let dir = bed.path("dir");
    std::fs::create_dir(&dir)?;
    for n in 0..65_010 {
        std::fs::create_dir(dir.join(format!("{n}"))).with_context(|| format!("directory {n}"))?;
        let links = statx(&dir)?.stx_nlink;
        let expected = if n + 3 < 65_000 { n + 3 } else { 1 };
        ensure!(links == expected, "{links} links with {} directories inside", n + 1);
    }
    for n in (0..65_010).step_by(5) {
        std::fs::remove_dir(dir.join(format!("{n}")))?;
    }
    ensure!(statx(&dir)?.stx_nlink == 1, "the count came back");
    Ok(())
}

fn setgid_directory(bed: &mut Bed) -> Result<()> {
    let dir = bed.path("dir");
    std::fs::create_dir(&dir)?;
    std::os::unix::fs::chown(&dir, Some(0), Some(1234))?;
    fs::chmodat(CWD, &dir, Mode::from(0o2755), AtFlags::empty())?;
    File::create(dir.join("file"))?;
    std::fs::create_dir(dir.join("sub"))?;
    ensure!(statx(&dir.join("file"))?.stx_gid == 1234, "group of a file");
    let sub = statx(&dir.join("sub"))?;
    ensure!(sub.stx_gid == 1234 && sub.stx_mode & 0o2000 != 0, "group and mode of a directory");
    Ok(())
}
