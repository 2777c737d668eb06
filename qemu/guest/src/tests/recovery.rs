// SPDX-License-Identifier: GPL-2.0
//! The journal: what a crash leaves is what was committed, whoever replays it. A crash is a copy of
//! the device as it is while the file system is mounted, past its buffer cache.

use super::{free, pattern, read_at, refused, same_bytes};
use crate::harness::{Bed, Place, Test, BOTH, DAX, RAM};
use crate::manifest::{Facts, Manifest};
use crate::mapper::Mapped;
use crate::stage::{run, run_status, Image};
use crate::sys::{self, Aligned, Mapping};
use anyhow::{ensure, Context, Result};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{chown, symlink, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a write to a slow disk takes.
const SLOW: Duration = Duration::from_millis(400);

/// Commits only when somebody asks.
const RARELY: &str = "commit=3600";

pub fn tests() -> Vec<Test> {
    vec![
        Test::bare("recovery::ours_by_ext4", BOTH, ours_by_ext4),
        Test::bare("recovery::ext4s_by_us", BOTH, ext4s_by_us),
        Test::bare("recovery::our_own", BOTH, our_own),
        Test::bare("recovery::read_only", RAM, read_only),
        Test::bare("recovery::norecovery", RAM, norecovery),
        Test::bare("recovery::orphans", BOTH, orphans),
        Test::bare("recovery::truncated_orphan", BOTH, truncated_orphan),
        Test::bare("recovery::orphans_of_ext4", BOTH, orphans_of_ext4),
        Test::bare("recovery::freed_blocks_wait", BOTH, freed_blocks_wait),
        Test::bare("recovery::freed_while_committing", RAM, freed_while_committing).corrupt(),
        Test::bare("recovery::space_after_commit", BOTH, space_after_commit),
        Test::bare("recovery::revoked", RAM, revoked),
        Test::bare("recovery::any_moment", BOTH, |bed| {
            let options = bed.place.options();
            any_moment(bed, options)
        })
        .seconds(300),
        Test::bare("recovery::size_after_data", RAM, size_after_data),
        Test::bare("recovery::direct_appends", RAM, direct_appends),
        Test::bare("recovery::truncated_stays", RAM, truncated_stays),
        Test::bare("recovery::rewritten", RAM, rewritten),
        Test::bare("recovery::map_sync", DAX, map_sync),
        Test::bare("recovery::dax_flag", DAX, dax_flag),
        Test::bare("recovery::frozen", BOTH, frozen),
        Test::bare("recovery::fast_commit", RAM, fast_commit),
        Test::bare("recovery::first_version", RAM, first_version),
        Test::bare("recovery::without_journal", BOTH, without_journal),
    ]
}

/// The device beside the one of the test.
fn beside(place: Place) -> Image {
    Image::on(match place {
        Place::Ram => "/dev/ram1",
        _ => "/dev/pmem1",
    })
}

/// What the device holds now, as a crash would leave it, on the device beside it.
pub(super) fn crash(bed: &Bed, bytes: u64) -> Result<Image> {
    let copy = beside(bed.place);
    let direct = OFlags::DIRECT.bits() as i32;
    let from = File::options().read(true).custom_flags(direct).open(bed.image.device())?;
    let to = File::options().write(true).custom_flags(direct).open(copy.device())?;
    let mut buffer = Aligned::new(1 << 20, 0);
    for at in (0..bytes).step_by(buffer.len()) {
        from.read_exact_at(&mut buffer, at)?;
        to.write_all_at(&buffer, at)?;
    }
    Ok(copy)
}

/// Files, directories and links that are made, changed and removed; all of it is on the device then.
fn work(dir: &Path) -> Result<()> {
    for n in 0..40 {
        let sub = dir.join(format!("dir{n}"));
        fs::create_dir(&sub)?;
        for m in 0..n % 7 {
            fs::write(sub.join(format!("file{m}")), pattern(n, 0, 3000 * m as usize))?;
        }
        symlink("x".repeat(5 + 9 * n as usize), sub.join("link"))?;
    }
    for n in (0..40).step_by(3) {
        fs::remove_dir_all(dir.join(format!("dir{n}")))?;
    }
    fs::rename(dir.join("dir1"), dir.join("dir2/moved"))?;
    fs::hard_link(dir.join("dir5/file1"), dir.join("linked"))?;
    let large = File::create(dir.join("large"))?;
    large.write_all_at(&pattern(99, 0, 5 << 20), 0)?;
    large.set_len((2 << 20) + 77)?;
    rustix::fs::sync();
    Ok(())
}

/// Replays and reads what `dir` holds through `fstype`, and has e2fsck look at what is left.
fn same_after_recovery(copy: &Image, fstype: &str, expected: &Manifest) -> Result<()> {
    ensure!(copy.needs_recovery()?, "there is nothing to recover");
    let mount = copy.mount(fstype, "")?;
    let seen = Manifest::of(mount.dir(), Facts::All)?;
    mount.unmount()?;
    expected.same(&seen, "before the crash", "after it")?;
    ensure!(!copy.needs_recovery()?, "still to be recovered after an unmount");
    copy.fsck()
}

fn ours_by_ext4(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    bed.mount()?;
    work(bed.dir())?;
    let expected = Manifest::of(bed.dir(), Facts::All)?;
    same_after_recovery(&crash(bed, 64 << 20)?, "ext4", &expected)
}

fn ext4s_by_us(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    let oracle = bed.image.mount("ext4", "")?;
    work(oracle.dir())?;
    let expected = Manifest::of(oracle.dir(), Facts::All)?;
    let copy = crash(bed, 64 << 20)?;
    oracle.unmount()?;
    same_after_recovery(&copy, &bed.config.fstype, &expected)
}

fn our_own(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    bed.mount_with(&format!("{},{RARELY}", bed.place.options()))?;
    work(bed.dir())?;
    let expected = Manifest::of(bed.dir(), Facts::All)?;
    let copy = crash(bed, 64 << 20)?;
    // What comes after the commit is in nobody's journal.
    fs::remove_dir_all(bed.path("dir2"))?;
    same_after_recovery(&copy, &bed.config.fstype, &expected)
}

/// A mount that is read-only replays as well, and says that it did.
fn read_only(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    bed.mount()?;
    work(bed.dir())?;
    let expected = Manifest::of(bed.dir(), Facts::All)?;
    let copy = crash(bed, 64 << 20)?;
    bed.log();
    let mount = copy.mount(&bed.config.fstype, "ro")?;
    let seen = Manifest::of(mount.dir(), Facts::All)?;
    expected.same(&seen, "before the crash", "after it")?;
    mount.remount("rw").context("remount")?;
    fs::write(mount.dir().join("written"), "x")?;
    mount.unmount()?;
    copy.fsck()
}

/// With `norecovery` the journal stays as it is, and what is in it is not seen: that goes read-only alone.
fn norecovery(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    bed.mount_with(RARELY)?;
    work(bed.dir())?;
    let root = File::open(bed.dir())?;
    rustix::fs::syncfs(&root)?;
    let copy = crash(bed, 64 << 20)?;
    let mount = |options| copy.try_mount(&bed.config.fstype, options);
    refused(mount("norecovery"), Errno::ROFS, "norecovery for writing")?;
    let seen = copy.mount(&bed.config.fstype, "ro,noload")?;
    ensure!(seen.shown()?.contains("norecovery"), "{}", seen.shown()?);
    ensure!(!bed.log().iter().any(|l| l.contains("recovered")), "the journal was replayed");
    ensure!(seen.remount("rw").is_err(), "remounted for writing");
    seen.unmount()?;
    ensure!(copy.needs_recovery()?, "the journal was taken for empty");
    let expected = Manifest::of(bed.dir(), Facts::All)?;
    let mount = copy.mount(&bed.config.fstype, "")?;
    expected.same(&Manifest::of(mount.dir(), Facts::All)?, "before the crash", "after it")?;
    mount.unmount()?;
    copy.fsck()
}

/// Leaves files that are open and removed, and one that has no name.
fn make_orphans(dir: &Path) -> Result<Vec<File>> {
    let mut open = Vec::new();
    for n in 0..20 {
        let path = dir.join(format!("gone{n}"));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        file.write_all_at(&pattern(n, 0, 100_000), 0)?;
        open.push(file);
        fs::remove_file(&path)?;
    }
    // From the middle of the list, and from both of its ends.
    for n in [10, 0, 17] {
        open.remove(n);
    }
    let tmp = OFlags::TMPFILE.bits() as i32;
    open.push(File::options().write(true).custom_flags(tmp).open(dir)?);
    fs::write(dir.join("kept"), pattern(7, 0, 50_000))?;
    rustix::fs::sync();
    Ok(open)
}

fn orphans(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &["-O", "quota"])?;
    bed.mount()?;
    let open = make_orphans(bed.dir())?;
    let copy = crash(bed, 64 << 20)?;
    drop(open);
    rustix::fs::sync();
    let expected = Manifest::of(bed.dir(), Facts::All)?;
    let unused = free(bed.dir())?;
    let ours = bed.config.fstype.clone();
    for (n, (fstype, options)) in
        [(&*ours, ""), (&*ours, "ro"), ("ext4", "")].into_iter().enumerate()
    {
        let copy = if n > 0 { crash_of(bed)? } else { copy.clone() };
        let mount = copy.mount(fstype, options)?;
        let now = free(mount.dir())?;
        ensure!(now == unused, "{fstype} {options}: {now:?} free, {unused:?} were after closing");
        same_without_root(&Manifest::of(mount.dir(), Facts::All)?, &expected)?;
        if options == "ro" {
            let written = File::create(mount.dir().join("new"));
            refused(written, Errno::ROFS, "a file on a read-only mount after recovery")?;
            // Quotas go on from where they were.
            mount.remount("rw")?;
            fs::write(mount.dir().join("new"), pattern(8, 0, 50_000))?;
            fs::remove_file(mount.dir().join("new"))?;
        }
        mount.unmount()?;
        copy.fsck()?;
    }
    Ok(())
}

/// A truncation that a crash has interrupted goes on, and its owner gets the blocks back.
fn truncated_orphan(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &["-O", "quota"])?;
    bed.mount()?;
    fs::write(bed.path("cut"), pattern(1, 0, 300_000))?;
    chown(bed.path("cut"), Some(1001), Some(1002))?;
    let ino = fs::metadata(bed.path("cut"))?.ino();
    bed.unmount()?;
    // The size is set, and the inode is in the list.
    bed.image.debugfs(&["sif cut size 5000", &format!("ssv last_orphan {ino}")])?;
    bed.mount()?;
    let found = fs::metadata(bed.path("cut"))?;
    ensure!(found.blocks() == 16, "{} blocks of 512 bytes are left, not 16", found.blocks());
    same_bytes(&fs::read(bed.path("cut"))?, &pattern(1, 0, 5000), "what is left")?;
    // Quotas are counted: e2fsck compares.
    bed.unmount()?;
    bed.image.fsck()
}

/// As [`orphans`], made again on the device of the test.
fn crash_of(bed: &mut Bed) -> Result<Image> {
    fs::remove_file(bed.path("kept"))?;
    let open = make_orphans(bed.dir())?;
    let copy = crash(bed, 64 << 20)?;
    drop(open);
    Ok(copy)
}

/// The same files; those of `kept` were made twice.
fn same_without_root(a: &Manifest, b: &Manifest) -> Result<()> {
    ensure!(a.len() == b.len(), "{} paths, expected {}", a.len(), b.len());
    Ok(())
}

fn orphans_of_ext4(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    let oracle = bed.image.mount("ext4", "")?;
    let open = make_orphans(oracle.dir())?;
    let copy = crash(bed, 64 << 20)?;
    drop(open);
    rustix::fs::sync();
    let unused = free(oracle.dir())?;
    oracle.unmount()?;
    bed.log();
    let mount = copy.mount(&bed.config.fstype, "")?;
    let log = bed.log();
    ensure!(log.iter().any(|line| line.contains("18 orphans")), "the log says {log:?}");
    let now = free(mount.dir())?;
    ensure!(now == unused, "{now:?} free, ext4 had {unused:?} after closing");
    mount.unmount()?;
    copy.fsck()
}

/// Blocks of a file whose removal is not committed are nobody else's yet.
fn freed_blocks_wait(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    bed.mount_with(&format!("{},{RARELY}", bed.place.options()))?;
    let old = pattern(1, 0, 20 << 20);
    fs::write(bed.path("old"), &old)?;
    rustix::fs::sync();
    fs::remove_file(bed.path("old"))?;
    let new = bed.create("new")?;
    // More than what was free beside the old file would have room for next to it.
    let buffer = Aligned::of(&pattern(2, 0, 1 << 20));
    let direct = OFlags::DIRECT.bits() as i32;
    let writer = File::options().write(true).custom_flags(direct).open(bed.path("new"))?;
    for n in 0..10u64 {
        writer.write_all_at(&buffer, n << 20)?;
    }
    drop((writer, new));
    let copy = crash(bed, 64 << 20)?;
    let mount = copy.mount(&bed.config.fstype, "")?;
    if let Ok(file) = File::open(mount.dir().join("old")) {
        same_bytes(&read_at(&file, 0, old.len())?, &old, "a file whose removal was lost")?;
    }
    mount.unmount()?;
    copy.fsck()
}

/// A block that the committing transaction took, and the running one frees, is not to be taken again: the
/// journal would find it in two places, and abort. The journal is on a slow disk, so that a commit lasts.
fn freed_while_committing(bed: &mut Bed) -> Result<()> {
    let slow = format!("delay /dev/ram1 0 0 /dev/ram1 0 {}", SLOW.as_millis());
    let (_mapped, journal) = Mapped::new("guest-slow", 16 << 11, &slow)?;
    run("mke2fs", &["-q", "-F", "-O", "journal_dev", "-b", "4096", &journal])?;
    bed.mkfs("64M", &["-J", &format!("device={journal}")])?;
    bed.mount_with(RARELY)?;
    let dir = File::open(bed.dir())?;
    for round in 0..3 {
        fs::create_dir(bed.path("taken"))?;
        std::thread::scope(|scope| -> Result<()> {
            let commit = scope.spawn(|| rustix::fs::syncfs(&dir));
            std::thread::sleep(SLOW / 2);
            fs::remove_dir(bed.path("taken"))?;
            for n in 0..20 {
                let name = format!("dir-{round}-{n}");
                fs::create_dir(bed.path(&name)).with_context(|| name)?;
            }
            ensure!(!commit.is_finished(), "the commit was over before");
            commit.join().map_err(|_| anyhow::anyhow!("a thread died"))??;
            Ok(())
        })?;
    }
    drop(dir);
    bed.unmount()?;
    let device = bed.image.device().to_string_lossy().into_owned();
    let (status, text) = run_status("e2fsck", &["-fn", "-j", &journal, &device])?;
    ensure!(status == 0, "e2fsck says {status}:\n{text}");
    Ok(())
}

/// What is only free after a commit is there for those who need it.
fn space_after_commit(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    bed.mount_with(&format!("{},{RARELY}", bed.place.options()))?;
    for n in 0..4u64 {
        let file = bed.create("most")?;
        let (blocks, _) = free(bed.dir())?;
        let len = (blocks - 1000) << 12;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, len)
            .with_context(|| format!("round {n}"))?;
        drop(file);
        fs::remove_file(bed.path("most"))?;
    }
    bed.judge()
}

/// Blocks that were a directory's and are a file's now are not overwritten by a replay.
fn revoked(bed: &mut Bed) -> Result<()> {
    bed.mkfs("16M", &["-J", "size=4"])?;
    bed.mount()?;
    for n in 0..bed.config.amount(3_000, 3_000, 600) {
        fs::create_dir_all(bed.path("dir"))?;
        File::create(bed.path(format!("dir/{n:0>200}")))?;
    }
    rustix::fs::sync();
    fs::remove_dir_all(bed.path("dir"))?;
    rustix::fs::sync();
    let (blocks, _) = free(bed.dir())?;
    let data = pattern(3, 0, ((blocks - 400) << 12) as usize);
    fs::write(bed.path("data"), &data)?;
    rustix::fs::sync();
    let copy = crash(bed, 16 << 20)?;
    for fstype in ["ext4", &bed.config.fstype.clone()] {
        let mount = copy.mount(fstype, "")?;
        same_bytes(&fs::read(mount.dir().join("data"))?, &data, "data after a replay")?;
        mount.unmount()?;
    }
    copy.fsck()
}

/// A crash after any of many operations: what was synced is there, and e2fsck is content.
pub(super) fn any_moment(bed: &mut Bed, options: &str) -> Result<()> {
    let rounds = bed.config.amount(12, 12, 5);
    bed.mkfs("32M", &["-J", "size=4"])?;
    bed.mount_with(&format!("{options},{RARELY}"))?;
    let mut synced: Vec<(String, Vec<u8>)> = Vec::new();
    for round in 0..rounds {
        for n in 0..10 + round * 5 {
            let name = format!("f{}", (n * 7 + round) % 40);
            let data = pattern(n * 100 + round, 0, (n as usize * 977) % 70_000);
            synced.retain(|(path, _)| *path != name);
            match (n + round) % 5 {
                0 => drop(fs::remove_file(bed.path(&name))),
                1 => fs::write(bed.path(&name), &data)?,
                2 => {
                    fs::write(bed.path("tmp"), &data)?;
                    File::open(bed.path("tmp"))?.sync_all()?;
                    fs::rename(bed.path("tmp"), bed.path(&name))?;
                }
                3 => {
                    let file = bed.create(&name)?;
                    file.write_all_at(&data, 0)?;
                    file.set_len(data.len() as u64 / 2)?;
                    file.write_all_at(&data, 50_000)?;
                }
                _ => {
                    fs::write(bed.path(&name), &data)?;
                    File::open(bed.path(&name))?.sync_all()?;
                    synced.push((name, data));
                }
            }
        }
        let copy = crash(bed, 32 << 20)?;
        let mount = copy.mount(&bed.config.fstype, "")?;
        for (name, data) in &synced {
            let found =
                fs::read(mount.dir().join(name)).with_context(|| format!("{name}, synced"))?;
            same_bytes(&found, data, &format!("{name}, synced, after crash {round}"))?;
        }
        mount.unmount()?;
        copy.fsck().with_context(|| format!("crash {round}"))?;
    }
    bed.judge()
}

/// A store to a mapping with MAP_SYNC that is flushed from the CPU's cache is there after a crash:
/// the block that it went to belongs to the file.
fn map_sync(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    bed.mount_with(&format!("{},{RARELY}", bed.place.options()))?;
    let file = bed.create("mapped")?;
    file.set_len(1 << 20)?;
    file.sync_all()?;
    let map = Mapping::synchronous(&file, 1 << 20)?;
    for page in [3, 77, 200] {
        map.write(page << 12, &pattern(5, 0, 100));
    }
    let copy = crash(bed, 64 << 20)?;
    let mount = copy.mount(&bed.config.fstype, "dax=always")?;
    let found = File::open(mount.dir().join("mapped"))?;
    for page in [3u64, 77, 200] {
        same_bytes(&read_at(&found, page << 12, 100)?, &pattern(5, 0, 100), "stored")?;
    }
    drop(found);
    mount.unmount()?;
    copy.fsck()
}

/// The flag that was set and synced is set after a crash, and the data is that of the file.
fn dax_flag(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    bed.mount_with(&format!("dax=inode,{RARELY}"))?;
    let data = pattern(8, 0, 100_000);
    fs::write(bed.path("file"), &data)?;
    let file = bed.open("file")?;
    for dax in [true, false, true] {
        sys::set_xflag_dax(&file, dax)?;
        file.sync_all()?;
        let copy = crash(bed, 64 << 20)?;
        let mount = copy.mount(&bed.config.fstype, "")?;
        let found = File::open(mount.dir().join("file"))?;
        ensure!(super::is_dax(&found)? == dax, "dax={dax} was lost");
        same_bytes(&read_at(&found, 0, data.len())?, &data, "after a switch")?;
        drop(found);
        mount.unmount()?;
        copy.fsck()?;
    }
    Ok(())
}

/// A frozen file system is as one that was unmounted.
fn frozen(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    bed.mount()?;
    work(bed.dir())?;
    fs::write(bed.path("late"), "x")?;
    let dir = bed.dir().to_string_lossy().into_owned();
    crate::stage::run("fsfreeze", &["-f", &dir])?;
    let copy = crash(bed, 64 << 20);
    crate::stage::run("fsfreeze", &["-u", &dir])?;
    let copy = copy?;
    ensure!(!copy.needs_recovery()?, "frozen, and still to be recovered");
    copy.fsck()?;
    fs::write(bed.path("later"), "x")?;
    bed.judge()
}

/// Direct writes within one block that sync their data make the file longer for good.
fn direct_appends(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    bed.mount_with(RARELY)?;
    let flags = libc::O_DIRECT | libc::O_DSYNC;
    let mut options = File::options();
    let file = options.write(true).create(true).custom_flags(flags).open(bed.path("file"))?;
    for n in 0..2 {
        file.write_all_at(&Aligned::of(&pattern(n, 0, 512)), n * 512)?;
    }
    let mount = crash(bed, 64 << 20)?.mount("ext4", "")?;
    let found = fs::read(mount.dir().join("file"))?;
    mount.unmount()?;
    same_bytes(&found, &[pattern(0, 0, 512), pattern(1, 0, 512)].concat(), "file")?;
    drop(file);
    bed.judge()
}

/// What was truncated does not come back when the file is longer again, and its pages are not written.
fn truncated_stays(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    bed.mount_with(RARELY)?;
    for by_writing in [false, true] {
        let name = format!("file-{by_writing}");
        let path = bed.path(&name);
        fs::write(&path, pattern(1, 0, 4096))?;
        let file = File::options().write(true).custom_flags(libc::O_DIRECT).open(&path)?;
        file.sync_all()?;
        file.set_len(100)?;
        if by_writing {
            file.write_all_at(&Aligned::new(4096, 0), 8192)?;
        } else {
            file.set_len(4096)?;
        }
        // Commits what there is, and writes no data back but its own.
        let other = bed.create("other")?;
        other.set_len(1)?;
        other.sync_all()?;
        let mount = crash(bed, 64 << 20)?.mount("ext4", "")?;
        let found = fs::read(mount.dir().join(&name))?;
        mount.unmount()?;
        let mut expected = pattern(1, 0, 100);
        expected.resize(found.len(), 0);
        ensure!(found.len() >= 4096, "{} bytes", found.len());
        same_bytes(&found, &expected, "longer again")?;
    }
    bed.judge()
}

/// A journal of the format that knew no features, and in which nothing that is freed could be revoked.
fn first_version(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &["-O", "^metadata_csum,^64bit,^orphan_file,^metadata_csum_seed"])?;
    let said = bed.image.ask("bmap <8> 0")?;
    let block: u64 = said.split_whitespace().last().context("no block")?.parse()?;
    // The last byte of `h_blocktype`.
    ensure!(
        bed.image.peek(block * 4096 + 7, 1)? == [4],
        "{block} is not the journal's super block"
    );
    bed.image.poke(block * 4096 + 7, &[3])?;
    refused(bed.try_mount(""), Errno::INVAL, "mounting")?;
    bed.mount_with("ro")?;
    for _ in 0..2 {
        ensure!(bed.mounted().remount("rw").is_err(), "it can be written to");
    }
    bed.unmount()?;
    bed.image.poke(block * 4096 + 7, &[4])?;
    bed.mount()?;
    fs::create_dir(bed.path("dir"))?;
    fs::remove_dir(bed.path("dir"))?;
    bed.judge()
}

/// Fast commits are refused while there may be some, and do not matter otherwise.
fn fast_commit(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &["-O", "fast_commit"])?;
    bed.mount().context("a clean image with the feature")?;
    work(bed.dir())?;
    bed.unmount()?;
    bed.image.fsck()?;
    let oracle = bed.image.mount("ext4", "")?;
    fs::write(oracle.dir().join("file"), "x")?;
    File::open(oracle.dir().join("file"))?.sync_all()?;
    let copy = crash(bed, 64 << 20)?;
    oracle.unmount()?;
    bed.log();
    refused(copy.try_mount(&bed.config.fstype, ""), Errno::OPNOTSUPP, "mounting fast commits")?;
    let log = bed.log();
    ensure!(log.iter().any(|line| line.contains("fast commits")), "the log says {log:?}");
    Ok(())
}

/// What a file gets by buffered writes is part of it after a crash when its data is: nobody reads zeros
/// that nobody wrote, although the inode was committed meanwhile.
fn size_after_data(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    bed.mount_with(RARELY)?;
    let data = pattern(11, 0, 3 << 20);
    // What each file has on the device, and what is added to it afterwards.
    let (old, len) = (70_001, data.len());
    let files = ["new", "appended", "longer", "shorter", "allocated", "moved", "replacing"];
    for name in &files[1..] {
        fs::write(bed.path(name), &data[..old])?;
    }
    fs::write(bed.path("replaced"), &data)?;
    rustix::fs::sync();
    for name in files {
        let file = File::options().write(true).create(true).truncate(false).open(bed.path(name))?;
        let from = if name == "new" { 0 } else { old };
        file.write_all_at(&data[from..], from as u64)?;
        match name {
            "longer" => file.set_len(len as u64 + 100_000)?,
            "shorter" => file.set_len(1 << 20)?,
            "allocated" => {
                let mode = rustix::fs::FallocateFlags::empty();
                rustix::fs::fallocate(&file, mode, len as u64, 1 << 20)?;
            }
            "moved" => {
                let mode = rustix::fs::FallocateFlags::COLLAPSE_RANGE;
                rustix::fs::fallocate(&file, mode, 1 << 20, 4096)?;
            }
            "replacing" => fs::rename(bed.path(name), bed.path("replaced"))?,
            _ => {}
        }
    }
    // Commits the inodes, and writes no data.
    fs::set_permissions(bed.path("new"), Permissions::from_mode(0o600))?;
    File::open(bed.dir())?.sync_all()?;
    let sizes = |dir: &Path| -> Result<Vec<(&str, usize)>> {
        let mut sizes = Vec::new();
        for name in files {
            let name = if name == "replacing" { "replaced" } else { name };
            let found = fs::read(dir.join(name)).with_context(|| name.to_owned())?;
            let mut expected = data.clone();
            match name {
                "longer" => expected.resize(len + 100_000, 0),
                "allocated" => expected.resize(len + (1 << 20), 0),
                "moved" => drop(expected.drain(1 << 20..(1 << 20) + 4096)),
                _ => {}
            }
            let size = found.len();
            ensure!(size <= expected.len(), "{name}: {size} bytes");
            same_bytes(&found, &expected[..size], &format!("{name}, {size} bytes"))?;
            sizes.push((name, size));
        }
        Ok(sizes)
    };
    let crashed = |bed: &Bed, fstype: &str| -> Result<Vec<(&str, usize)>> {
        let copy = crash(bed, 64 << 20)?;
        let mount = copy.mount(fstype, "")?;
        let seen = sizes(mount.dir())?;
        mount.unmount()?;
        copy.fsck()?;
        Ok(seen)
    };
    for fstype in [&bed.config.fstype, "ext4"] {
        let seen = crashed(bed, fstype)?;
        ensure!(seen[..2] == [("new", 0), ("appended", old)], "{fstype}: {seen:?}");
        ensure!(seen[3].1 == 1 << 20, "{fstype}: {seen:?}");
    }
    rustix::fs::sync();
    let here = sizes(bed.dir())?;
    let seen = crashed(bed, &bed.config.fstype)?;
    ensure!(here == seen, "here {here:?}, after a crash {seen:?}");
    bed.judge()
}

/// A file that was truncated to be written anew gets its data to the device when it is closed, without
/// waiting for the thirty seconds that other data may take.
fn rewritten(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    bed.mount_with(RARELY)?;
    let (old, new) = (pattern(12, 0, 300_000), pattern(13, 0, 200_000));
    let [path, other] = [bed.path("file"), bed.path("other")];
    fs::write(&path, &old)?;
    rustix::fs::sync();
    fs::write(&path, &new)?;
    fs::write(&other, &new)?;
    let started = Instant::now();
    loop {
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        File::open(bed.dir())?.sync_all()?;
        let copy = crash(bed, 64 << 20)?;
        let mount = copy.mount(&bed.config.fstype, "")?;
        let found = fs::read(mount.dir().join("file"))?;
        let found_other = fs::read(mount.dir().join("other"))?;
        mount.unmount()?;
        same_bytes(&found, &new[..found.len().min(new.len())], "the new file")?;
        ensure!(found_other.is_empty(), "what was not truncated is written too");
        if found.len() == new.len() {
            return bed.judge();
        }
        ensure!(started.elapsed() < Duration::from_secs(10), "{} bytes", found.len());
    }
}

/// An image that has no journal gets none, and says that it is in use.
fn without_journal(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &["-O", "^has_journal"])?;
    bed.mount()?;
    work(bed.dir())?;
    bed.judge()
}
