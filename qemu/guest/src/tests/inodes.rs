// SPDX-License-Identifier: GPL-2.0
//! Inodes: times, owners, sizes, generation numbers, truncate, and freeing what has no name left.

use super::{as_user, free, pattern, read_at, refused, same_bytes, statx};
use crate::harness::{Bed, Test, ALL, BOTH, RAM};
use crate::skip;
use crate::sys::{self, End};
use anyhow::{ensure, Context, Result};
use rustix::fs::{self, AtFlags, FileType, Mode, Timespec, Timestamps, CWD};
use rustix::io::Errno;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{chown, symlink, FileExt, MetadataExt, PermissionsExt};
use std::thread::sleep;
use std::time::Duration;

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("inodes::times", BOTH, times),
        Test::new("inodes::times_move", BOTH, times_move),
        Test::new("inodes::birth_time", BOTH, birth_time),
        Test::new("inodes::owners", BOTH, owners),
        Test::new("inodes::modes", BOTH, modes),
        Test::new("inodes::permissions", RAM, permissions),
        Test::new("inodes::generation", RAM, generation),
        Test::new("inodes::truncate", ALL, truncate),
        Test::new("inodes::sizes", BOTH, sizes),
        Test::new("inodes::orphans", ALL, orphans),
        Test::new("inodes::orphan_directory", RAM, orphan_directory),
        Test::bare("inodes::run_out", RAM, run_out),
        Test::new("inodes::large_lifetime", RAM, large_lifetime),
    ]
}

/// From the first second that the format can hold to the last.
const MOMENTS: &[(i64, i64)] = &[
    (-0x8000_0000, 0),
    (-1, 999_999_999),
    (0, 1),
    (1_000_000_000, 123_456_789),
    (0x7fff_ffff, 999_999_999),
    (0x8000_0000, 0),
    (0xffff_ffff, 500_000_000),
    (0x1_7fff_ffff, 1),
    (0x1_8000_0000, 2),
    (0x2_7fff_ffff, 3),
    (0x3_7fff_fffe, 999_999_999),
    (0x3_7fff_ffff, 0),
];

fn times(bed: &mut Bed) -> Result<()> {
    for (n, (tv_sec, tv_nsec)) in MOMENTS.iter().copied().enumerate() {
        let path = bed.path(format!("file-{n}"));
        File::create(&path)?;
        let last_modification = Timespec { tv_sec, tv_nsec };
        let last_access = Timespec { tv_sec: tv_sec / 2, tv_nsec: 42 };
        let times = Timestamps { last_access, last_modification };
        fs::utimensat(CWD, &path, &times, AtFlags::empty())?;
    }
    bed.again()?;
    for (n, (seconds, nanoseconds)) in MOMENTS.iter().enumerate() {
        let stat = statx(&bed.path(format!("file-{n}")))?;
        let found = (stat.stx_mtime.tv_sec, i64::from(stat.stx_mtime.tv_nsec));
        ensure!(found == (*seconds, *nanoseconds), "mtime {found:?}, set {seconds} {nanoseconds}");
        let found = (stat.stx_atime.tv_sec, stat.stx_atime.tv_nsec);
        ensure!(found == (seconds / 2, 42), "atime {found:?}, set {}", seconds / 2);
    }
    // Beyond the end: clamped, as s_time_max says.
    let path = bed.path("clamped");
    File::create(&path)?;
    let late = Timespec { tv_sec: 1 << 40, tv_nsec: 5 };
    let times = Timestamps { last_access: late, last_modification: late };
    fs::utimensat(CWD, &path, &times, AtFlags::empty())?;
    ensure!(statx(&path)?.stx_mtime.tv_sec == 0x3_7fff_ffff, "{}", statx(&path)?.stx_mtime.tv_sec);
    Ok(())
}

/// Which operation moves which time.
fn times_move(bed: &mut Bed) -> Result<()> {
    let path = bed.path("file");
    std::fs::write(&path, "text")?;
    let dir = bed.dir().to_owned();
    let stamp = |path: &std::path::Path| -> Result<((i64, u32), (i64, u32))> {
        let stat = statx(path)?;
        let (m, c) = (stat.stx_mtime, stat.stx_ctime);
        Ok(((m.tv_sec, m.tv_nsec), (c.tv_sec, c.tv_nsec)))
    };
    let moves = |what: &str, m: bool, c: bool, act: &dyn Fn() -> Result<()>| -> Result<()> {
        let before = stamp(&path)?;
        sleep(Duration::from_millis(15));
        act().with_context(|| what.to_owned())?;
        let after = stamp(&path)?;
        let found = (after.0 > before.0, after.1 > before.1);
        ensure!(found == (m, c), "{what}: mtime moved {}, ctime moved {}", found.0, found.1);
        Ok(())
    };
    moves("chmod", false, true, &|| {
        Ok(std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?)
    })?;
    moves("chown", false, true, &|| Ok(chown(&path, Some(7), None)?))?;
    moves("link", false, true, &|| Ok(std::fs::hard_link(&path, dir.join("l"))?))?;
    moves("unlink", false, true, &|| Ok(std::fs::remove_file(dir.join("l"))?))?;
    moves("write", true, true, &|| {
        Ok(File::options().write(true).open(&path)?.write_all(b"T")?)
    })?;
    moves("truncate", true, true, &|| Ok(File::options().write(true).open(&path)?.set_len(2)?))?;
    moves("read", false, false, &|| std::fs::read(&path).map(drop).map_err(Into::into))?;
    let before = stamp(&dir)?;
    sleep(Duration::from_millis(15));
    File::create(dir.join("new"))?;
    ensure!(stamp(&dir)? > before, "create leaves the times of its directory alone");
    Ok(())
}

fn birth_time(bed: &mut Bed) -> Result<()> {
    let path = bed.path("file");
    let now = fs::statx(CWD, "/proc", AtFlags::empty(), fs::StatxFlags::MTIME).is_ok();
    ensure!(now, "statx works here");
    let begin =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs() as i64;
    std::fs::write(&path, "text")?;
    let birth = |path: &std::path::Path| {
        let stat = statx(path)?;
        ensure!(stat.stx_mask & 0x800 != 0, "no birth time");
        Ok((stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec))
    };
    let born = birth(&path)?;
    ensure!((born.0 - begin).abs() <= 2, "born {} at {begin}", born.0);
    sleep(Duration::from_millis(20));
    std::fs::write(&path, "changed")?;
    std::fs::rename(&path, bed.path("renamed"))?;
    bed.again()?;
    ensure!(birth(&bed.path("renamed"))? == born, "the birth time changed");
    Ok(())
}

fn owners(bed: &mut Bed) -> Result<()> {
    let ids = [0, 1, 1000, 65_534, 65_535, 65_536, 0x1234_5678, 0xffff_fffe];
    for id in ids {
        let path = bed.path(format!("file-{id}"));
        File::create(&path)?;
        chown(&path, Some(id), Some(0xffff_fffe - id))?;
    }
    symlink("nowhere", bed.path("link"))?;
    std::os::unix::fs::lchown(bed.path("link"), Some(77), Some(78))?;
    bed.again()?;
    for id in ids {
        let stat = statx(&bed.path(format!("file-{id}")))?;
        let found = (stat.stx_uid, stat.stx_gid);
        ensure!(found == (id, 0xffff_fffe - id), "{found:?} instead of {id}");
    }
    let link = statx(&bed.path("link"))?;
    ensure!((link.stx_uid, link.stx_gid) == (77, 78));
    Ok(())
}

fn modes(bed: &mut Bed) -> Result<()> {
    let path = bed.path("file");
    std::fs::write(&path, "#!/bin/true")?;
    for mode in [0, 0o777, 0o4755, 0o2755, 0o6777, 0o1777, 0o644] {
        fs::chmodat(CWD, &path, Mode::from(mode), AtFlags::empty())?;
        ensure!(u32::from(statx(&path)?.stx_mode) & 0o7777 == mode, "{mode:o}");
    }
    // An ordinary user's write takes setuid and setgid away.
    fs::chmodat(CWD, &path, Mode::from(0o6777), AtFlags::empty())?;
    let file = File::options().write(true).open(&path)?;
    let end = sys::in_child(|| {
        let written = sys::become_user(1000).and_then(|()| file.write_all_at(b"x", 0));
        written.is_err().into()
    })?;
    ensure!(end == End::Exit(0), "the write ended with {end:?}");
    ensure!(statx(&path)?.stx_mode & 0o7777 == 0o777, "{:o} after a write", statx(&path)?.stx_mode);
    fs::chmodat(CWD, &path, Mode::from(0o6755), AtFlags::empty())?;
    chown(&path, Some(1), Some(1))?;
    ensure!(statx(&path)?.stx_mode & 0o7777 == 0o755, "{:o} after chown", statx(&path)?.stx_mode);
    Ok(())
}

fn permissions(bed: &mut Bed) -> Result<()> {
    let dir = bed.path("dir");
    std::fs::create_dir(&dir)?;
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o1777))?;
    std::fs::write(dir.join("roots"), "secret")?;
    std::fs::set_permissions(dir.join("roots"), PermissionsExt::from_mode(0o600))?;
    as_user(1000, || {
        refused(File::open(dir.join("roots")), Errno::ACCESS, "reading")?;
        refused(
            std::fs::remove_file(dir.join("roots")),
            Errno::PERM,
            "unlink in a sticky directory",
        )?;
        refused(std::fs::rename(dir.join("roots"), dir.join("x")), Errno::PERM, "rename there")?;
        refused(chown(dir.join("roots"), Some(1000), None), Errno::PERM, "chown")?;
        let own = dir.join("own");
        std::fs::write(&own, "mine")?;
        refused(chown(&own, Some(0), None), Errno::PERM, "giving away")?;
        std::fs::set_permissions(&own, PermissionsExt::from_mode(0o400))?;
        refused(File::options().write(true).open(&own), Errno::ACCESS, "writing")?;
        std::fs::remove_file(own)?;
        Ok(())
    })
}

/// A new file with the inode number of a dead one has another generation.
fn generation(bed: &mut Bed) -> Result<()> {
    let path = bed.path("file");
    let mut seen = std::collections::BTreeMap::<u64, Vec<u32>>::new();
    for _ in 0..40 {
        let file = File::create(&path)?;
        let number = file.metadata()?.ino();
        let generation = sys::generation(&file).context("FS_IOC_GETVERSION")?;
        seen.entry(number).or_default().push(generation);
        drop(file);
        std::fs::remove_file(&path)?;
    }
    let reused: Vec<_> = seen.values().filter(|g| g.len() > 1).collect();
    if reused.is_empty() {
        skip!("no inode number came back in 40 tries");
    }
    for generations in reused {
        let distinct: std::collections::BTreeSet<_> = generations.iter().collect();
        ensure!(distinct.len() == generations.len(), "generations {generations:?}");
    }
    let file = File::create(&path)?;
    let before = sys::generation(&file)?;
    drop(file);
    bed.again()?;
    ensure!(sys::generation(File::open(bed.path("file"))?)? == before, "after mounting again");
    Ok(())
}

/// Down: the tail is gone for good. Up: zeroes, never what was there before.
fn truncate(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    let len = 300_000;
    file.write_all_at(&pattern(1, 0, len), 0)?;
    let mut model = pattern(1, 0, len);
    for size in [
        299_999, 200_001, 262_144, 131_072, 131_073, 131_071, 250_000, 4097, 4096, 4095, 1, 8192,
        0, 100,
    ] {
        file.set_len(size as u64)?;
        model.resize(size, 0);
        ensure!(file.metadata()?.len() == size as u64);
        same_bytes(&read_at(&file, 0, size)?, &model, &format!("truncate to {size}"))?;
        // Leave something behind that a later growth must not show.
        let at = size.saturating_sub(10);
        file.write_all_at(&pattern(9, 0, size - at), at as u64)?;
        model[at..].copy_from_slice(&pattern(9, 0, size - at));
    }
    file.set_len(1 << 26)?;
    ensure!(
        file.metadata()?.blocks() <= 8,
        "growing allocated {} sectors",
        file.metadata()?.blocks()
    );
    same_bytes(&read_at(&file, (1 << 26) - 5000, 5000)?, &[0; 5000], "the end of 64 MiB")?;
    file.write_all_at(b"end", (1 << 26) - 3)?;
    file.set_len(1 << 25)?;
    drop(file);
    bed.again()?;
    let file = File::open(bed.path("file"))?;
    ensure!(file.metadata()?.len() == 1 << 25);
    same_bytes(&read_at(&file, 0, 100)?, &model, "the first bytes")?;
    refused(file.set_len(0), Errno::INVAL, "truncate through a descriptor for reading")
}

fn sizes(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    // The last byte of the last block that a 32-bit logical block number reaches.
    let max = (1_u64 << 44) - 4096;
    for at in [(1 << 31) - 1, 1 << 32, (1 << 40) + 5, max - 1] {
        file.write_all_at(b"far", at.min(max - 3)).with_context(|| format!("write at {at}"))?;
    }
    ensure!(file.metadata()?.blocks() < 400, "{} sectors", file.metadata()?.blocks());
    refused(file.set_len(max + 1), Errno::FBIG, "truncate beyond the last block")?;
    refused(file.write_all_at(b"x", max), Errno::FBIG, "write beyond the last block")?;
    drop(file);
    bed.again()?;
    let file = File::open(bed.path("file"))?;
    ensure!(file.metadata()?.len() == max, "size {}", file.metadata()?.len());
    same_bytes(&read_at(&file, 1 << 32, 3)?, b"far", "at 4 GiB")?;
    same_bytes(&read_at(&file, max - 3, 3)?, b"far", "at the end")?;
    // Too big for the check after the test, which reads everything.
    drop(file);
    std::fs::remove_file(bed.path("file"))?;
    Ok(())
}

/// Unlinked while open: readable and writable until closed, then every block and inode is back.
fn orphans(bed: &mut Bed) -> Result<()> {
    bed.again()?;
    let before = free(bed.dir())?;
    let files = (0..20).map(|n| bed.create(&format!("file-{n}"))).collect::<Result<Vec<_>>>()?;
    for (n, file) in files.iter().enumerate() {
        file.write_all_at(&pattern(n as u64, 0, 500_000), 0)?;
        std::fs::remove_file(bed.path(format!("file-{n}")))?;
        file.write_all_at(&pattern(n as u64, 500_000, 500_000), 500_000)?;
    }
    for (n, file) in files.iter().enumerate() {
        ensure!(file.metadata()?.nlink() == 0);
        same_bytes(&read_at(file, 0, 1_000_000)?, &pattern(n as u64, 0, 1_000_000), "an orphan")?;
    }
    fs::fsync(&files[0])?;
    let during = free(bed.dir())?;
    ensure!(before.0 - during.0 >= 20 * 244, "orphans hold {} blocks", before.0 - during.0);
    drop(files);
    fs::syncfs(File::open(bed.dir())?)?;
    let after = free(bed.dir())?;
    ensure!(after == before, "free {before:?} before, {after:?} after");
    bed.again()?;
    ensure!(
        free(bed.dir())? == before,
        "free {before:?} before, {:?} mounted again",
        free(bed.dir())?
    );
    Ok(())
}

fn orphan_directory(bed: &mut Bed) -> Result<()> {
    bed.again()?;
    let before = free(bed.dir())?;
    std::fs::create_dir(bed.path("dir"))?;
    for n in 0..500 {
        File::create(bed.path(format!("dir/{n}")))?;
    }
    let held = File::open(bed.path("dir"))?;
    std::fs::remove_dir_all(bed.path("dir"))?;
    ensure!(held.metadata()?.nlink() == 0);
    ensure!(free(bed.dir())?.1 == before.1 - 1, "the held directory is the only inode in use");
    drop(held);
    ensure!(free(bed.dir())? == before, "free {before:?} before, {:?} after", free(bed.dir())?);
    Ok(())
}

/// All inodes in use: ENOSPC, and every one usable again after unlink.
fn run_out(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &["-N", bed.config.amount("512", "512", "96")])?;
    bed.mount()?;
    let before = free(bed.dir())?;
    for round in 0..2 {
        let mut made = 0;
        let error = loop {
            match File::create_new(bed.path(format!("{made}"))) {
                Ok(_) => made += 1,
                Err(error) => break error,
            }
        };
        refused(Err::<(), _>(error), Errno::NOSPC, "one file more than there are inodes")?;
        ensure!(made == before.1, "round {round}: {made} files of {} inodes", before.1);
        refused(std::fs::create_dir(bed.path("d")), Errno::NOSPC, "a directory")?;
        refused(symlink("x", bed.path("l")), Errno::NOSPC, "a symlink")?;
        let fifo = fs::mknodat(CWD, bed.path("p"), FileType::Fifo, Mode::from(0o600), 0);
        refused(fifo, Errno::NOSPC, "a fifo")?;
        ensure!(free(bed.dir())?.1 == 0, "{} inodes are free", free(bed.dir())?.1);
        for n in 0..made {
            std::fs::remove_file(bed.path(format!("{n}")))?;
        }
        ensure!(free(bed.dir())?.1 == before.1);
    }
    Ok(())
}

/// Files created, written, truncated and removed many times leave nothing behind.
fn large_lifetime(bed: &mut Bed) -> Result<()> {
    bed.again()?;
    let before = free(bed.dir())?;
    let rounds = if bed.config.short { 100 } else { 1_000 };
    for n in 0..rounds {
        let name = format!("file-{}", n % 7);
        let file = bed.create(&name)?;
        file.write_all_at(&pattern(n, 0, (n as usize * 977) % 200_000), n * 511 % 100_000)?;
        file.set_len(n * 37 % 50_000)?;
        if n % 3 == 0 {
            std::fs::remove_file(bed.path(&name))?;
        }
    }
    for n in 0..7 {
        // Some are gone already.
        let _ = std::fs::remove_file(bed.path(format!("file-{n}")));
    }
    let after = free(bed.dir())?;
    ensure!(after == before, "free {before:?} before, {after:?} after");
    Ok(())
}
