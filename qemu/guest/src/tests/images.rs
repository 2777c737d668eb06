// SPDX-License-Identifier: GPL-2.0
//! Images: what mke2fs makes by default, and features that are not for us.

use super::{pattern, same_bytes};
use crate::harness::{Bed, Test, BOTH, RAM};
use crate::skip;
use crate::stage::{self, MKE2FS_1_47_0};
use anyhow::{ensure, Context, Result};
use rustix::io::Errno;
use std::os::unix::fs::{symlink, FileExt};

pub fn tests() -> Vec<Test> {
    vec![
        Test::bare("images::mke2fs_1_47_0", BOTH, |bed| usable(bed, MKE2FS_1_47_0)),
        Test::bare("images::mke2fs_1_47_2", BOTH, |bed| usable(bed, &[])),
        Test::bare("images::no_journal", BOTH, |bed| usable(bed, &["-O", "^has_journal"])),
        Test::bare("images::no_checksums", RAM, |bed| {
            usable(bed, &["-O", "^metadata_csum,^metadata_csum_seed"])
        }),
        Test::bare("images::no_64bit", RAM, |bed| usable(bed, &["-O", "^64bit"])),
        Test::bare("images::no_flex_bg", RAM, |bed| usable(bed, &["-O", "^flex_bg"])),
        Test::bare("images::no_dir_index", RAM, |bed| usable(bed, &["-O", "^dir_index"])),
        Test::bare("images::meta_bg", RAM, |bed| usable(bed, &["-O", "meta_bg,^resize_inode"])),
        Test::bare("images::sparse_super2", RAM, |bed| usable(bed, &["-O", "sparse_super2"])),
        Test::bare("images::packed", BOTH, |bed| {
            usable(bed, &["-E", "stride=512,stripe_width=512,packed_meta_blocks=1"])
        }),
        Test::bare("images::eager_tables", RAM, |bed| usable(bed, &["-E", "lazy_itable_init=0"])),
        Test::bare("images::ext2", BOTH, |bed| ancestor(bed, &["-t", "ext2", "-b", "4096"])),
        Test::bare("images::ext2_1k", RAM, |bed| ancestor(bed, &["-t", "ext2", "-b", "1024"])),
        Test::bare("images::ext3", BOTH, |bed| ancestor(bed, &["-t", "ext3", "-b", "4096"])),
        Test::bare("images::no_features", RAM, |bed| {
            ancestor(bed, &["-t", "ext2", "-b", "2048", "-O", "none"])
        }),
        Test::bare("images::large_file_feature", RAM, large_file_feature),
        Test::bare("images::last_group_short", RAM, last_group_short),
        Test::bare("images::made_by_ext4", BOTH, made_by_ext4),
        Test::bare("images::unknown_incompat", RAM, unknown_incompat).corrupt(),
        Test::bare("images::unknown_ro_compat", RAM, unknown_ro_compat).corrupt(),
        Test::bare("images::inline_data_refused", RAM, |bed| foreign(bed, "inline_data")),
        Test::bare("images::encrypt_refused", RAM, |bed| foreign(bed, "encrypt")),
        Test::bare("images::casefold_refused", RAM, |bed| foreign(bed, "casefold")),
        Test::bare("images::bigalloc_refused", RAM, |bed| foreign(bed, "bigalloc")),
        Test::bare("images::larger_than_the_device", RAM, larger_than_the_device).corrupt(),
    ]
}

/// How many directories of fifteen files.
fn dirs(bed: &Bed) -> u64 {
    bed.config.amount(12, 12, 6)
}

/// A little of everything, enough to touch several groups.
fn populate(bed: &Bed) -> Result<()> {
    for dir in 0..dirs(bed) {
        std::fs::create_dir(bed.path(format!("dir-{dir}")))?;
        for n in 0..15 {
            let name = format!("dir-{dir}/file-{n}");
            bed.create(&name)?
                .write_all_at(&pattern(dir * 100 + n, 0, (n as usize * 3_331) % 60_000), 0)?;
        }
        symlink(format!("file-{dir}"), bed.path(format!("dir-{dir}/link")))?;
    }
    for n in 0..dirs(bed) {
        std::fs::remove_file(bed.path(format!("dir-{n}/file-{n}")))?;
        std::fs::rename(bed.path(format!("dir-{n}/file-14")), bed.path(format!("moved-{n}")))?;
    }
    bed.create("large")?.write_all_at(&pattern(9, 0, 6 << 20), 0)?;
    Ok(())
}

fn verify(bed: &Bed) -> Result<()> {
    for dir in 0..dirs(bed) {
        for n in (0..15_u64).filter(|n| *n != dir && *n != 14) {
            let found = std::fs::read(bed.path(format!("dir-{dir}/file-{n}")))?;
            same_bytes(
                &found,
                &pattern(dir * 100 + n, 0, (n as usize * 3_331) % 60_000),
                "a file",
            )?;
        }
    }
    same_bytes(&std::fs::read(bed.path("large"))?, &pattern(9, 0, 6 << 20), "the large file")
}

fn usable(bed: &mut Bed, more: &[&str]) -> Result<()> {
    // Not the defaults of the place: exactly these.
    bed.image.mkfs("300M", more)?;
    use_it(bed)
}

/// As [`usable`], for what mke2fs makes with these arguments alone.
fn ancestor(bed: &mut Bed, arguments: &[&str]) -> Result<()> {
    let device = bed.image.device().to_string_lossy().into_owned();
    stage::run("mke2fs", &[&["-q", "-F"], arguments, &[&device, "100M"]].concat())?;
    use_it(bed)
}

fn use_it(bed: &mut Bed) -> Result<()> {
    bed.mount()?;
    populate(bed)?;
    verify(bed)?;
    bed.judge()?;
    bed.mount()?;
    verify(bed)?;
    bed.by_ext4(|root| {
        std::fs::write(root.join("by-ext4"), pattern(77, 0, 100_000))?;
        std::fs::remove_file(root.join("dir-3/file-7"))?;
        Ok(())
    })?;
    ensure!(!bed.path("dir-3/file-7").exists());
    same_bytes(&std::fs::read(bed.path("by-ext4"))?, &pattern(77, 0, 100_000), "what ext4 wrote")?;
    std::fs::remove_dir_all(bed.path("dir-5"))?;
    Ok(())
}

/// A file of 2 GiB and more asks for a feature, which is set then.
fn large_file_feature(bed: &mut Bed) -> Result<()> {
    let device = bed.image.device().to_string_lossy().into_owned();
    let features = |bed: &Bed| bed.image.ask("stats -h");
    for (how, end) in [("truncate", 1 << 31), ("write", (1 << 31) - 1)] {
        stage::run("mke2fs", &["-q", "-F", "-t", "ext2", "-O", "^large_file", &device, "64M"])?;
        bed.mount()?;
        let file = bed.create("file")?;
        file.set_len((1 << 31) - 1)?;
        file.sync_all()?;
        ensure!(!features(bed)?.contains("large_file"), "set before it is needed");
        match how {
            "truncate" => file.set_len(end)?,
            _ => file.write_all_at(b"x", end)?,
        }
        file.sync_all()?;
        std::fs::remove_file(bed.path("file"))?;
        drop(file);
        bed.unmount()?;
        bed.image.fsck()?;
        ensure!(features(bed)?.contains("large_file"), "{how}: the feature is not set");
    }
    Ok(())
}

/// The last group has fewer blocks than the others.
fn last_group_short(bed: &mut Bed) -> Result<()> {
    bed.mkfs("137M", &[])?;
    bed.mount()?;
    let before = super::free(bed.dir())?;
    let file = bed.create("file")?;
    for n in 0..130 {
        if file.write_all_at(&pattern(n, 0, 1 << 20), n << 20).is_err() {
            break;
        }
    }
    drop(file);
    bed.judge()?;
    bed.mount()?;
    std::fs::remove_file(bed.path("file"))?;
    ensure!(super::free(bed.dir())? == before);
    Ok(())
}

/// A tree that ext4 wrote, with everything in it, reads the same here.
fn made_by_ext4(bed: &mut Bed) -> Result<()> {
    use crate::manifest::{Facts, Manifest};
    bed.mkfs(stage::IMAGE, &[])?;
    let oracle = bed.image.mount("ext4", "")?;
    let source = if bed.config.short { "/etc/systemd" } else { "/etc" };
    stage::run("cp", &["-a", source, &oracle.dir().join("etc").to_string_lossy()])?;
    let theirs = Manifest::of(oracle.dir(), Facts::All)?;
    oracle.unmount()?;
    bed.mount()?;
    let ours = Manifest::of(bed.dir(), Facts::All)?;
    theirs.same(&ours, "ext4", "here")?;
    stage::run(
        "cp",
        &["-a", &bed.path("etc").to_string_lossy(), &bed.path("copy").to_string_lossy()],
    )?;
    std::fs::remove_dir_all(bed.path("etc"))?;
    Ok(())
}

/// An image with a journal to replay is refused until someone has replayed it.
/// The log names a feature by its name or by its bit.
fn names_feature(log: &[String], names: &[&str]) -> bool {
    log.iter().any(|line| names.iter().any(|name| line.to_lowercase().contains(name)))
}

fn unknown_incompat(bed: &mut Bed) -> Result<()> {
    bed.mkfs(stage::IMAGE, &[])?;
    // debugfs sets such a feature but cannot open the image to clear it again.
    let good = bed.image.peek(1024, 1024)?;
    bed.image.debugfs(&["feature FEATURE_I30"])?;
    for options in ["", "ro"] {
        bed.log();
        ensure!(bed.try_mount(options).is_err(), "mounted with {options:?} and an unknown feature");
        let log = bed.log();
        ensure!(names_feature(&log, &["40000000", "i30"]), "the log does not name it: {log:?}");
    }
    bed.image.poke(1024, &good)?;
    bed.mount()
}

fn unknown_ro_compat(bed: &mut Bed) -> Result<()> {
    bed.mkfs(stage::IMAGE, &[])?;
    bed.mount()?;
    std::fs::write(bed.path("file"), "text")?;
    bed.unmount()?;
    let good = bed.image.peek(1024, 1024)?;
    bed.image.debugfs(&["feature FEATURE_R30"])?;
    bed.log();
    ensure!(bed.try_mount("").is_err(), "mounted for writing with an unknown ro_compat feature");
    let log = bed.log();
    ensure!(names_feature(&log, &["40000000", "r30"]), "the log does not name it: {log:?}");
    bed.mount_with("ro").context("read-only")?;
    ensure!(std::fs::read(bed.path("file"))? == b"text");
    ensure!(bed.mounted().remount("rw").is_err(), "remounted for writing");
    bed.unmount()?;
    bed.image.poke(1024, &good)?;
    bed.mount()
}

fn foreign(bed: &mut Bed, feature: &str) -> Result<()> {
    if !bed.config.is_rdaxfs() {
        skip!("ext4 has {feature}");
    }
    bed.image.mkfs(stage::IMAGE, &["-O", feature])?;
    for options in ["", "ro"] {
        bed.log();
        ensure!(bed.try_mount(options).is_err(), "mounted with {options:?} and {feature}");
        let log = bed.log();
        ensure!(names_feature(&log, &[feature]), "the log does not name {feature}: {log:?}");
    }
    Ok(())
}

/// A superblock that claims more blocks than the device has.
fn larger_than_the_device(bed: &mut Bed) -> Result<()> {
    bed.mkfs(stage::IMAGE, &[])?;
    bed.image.debugfs(&["set_super_value blocks_count 400000"])?;
    let mounted = bed.try_mount("");
    ensure!(mounted.is_err(), "mounted");
    let errno = mounted.err();
    ensure!(errno == Some(Errno::INVAL) || errno == Some(Errno::UCLEAN), "refused with {errno:?}");
    Ok(())
}
