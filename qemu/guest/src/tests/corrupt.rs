// SPDX-License-Identifier: GPL-2.0
//! Damaged images: every checksum is verified on read. A wrong one gives EUCLEAN and a line in the
//! log that names what is damaged, the rest of the image stays usable, and with the one bit put
//! back everything is as it was.

use super::{pattern, refused};
use crate::harness::{Bed, Test, BOTH, RAM};
use crate::skip;
use crate::stage;
use anyhow::{ensure, Context, Result};
use rustix::fs::{getxattr, listxattr, removexattr, setxattr, XattrFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub fn tests() -> Vec<Test> {
    vec![
        Test::bare("corrupt::superblock", RAM, superblock).corrupt(),
        Test::bare("corrupt::group_descriptor", RAM, group_descriptor).corrupt(),
        Test::bare("corrupt::inode", BOTH, inode).corrupt(),
        Test::bare("corrupt::block_bitmap", BOTH, block_bitmap).corrupt(),
        Test::bare("corrupt::inode_bitmap", RAM, inode_bitmap).corrupt(),
        Test::bare("corrupt::extent_block", BOTH, extent_block).corrupt(),
        Test::bare("corrupt::directory_block", BOTH, directory_block).corrupt(),
        Test::bare("corrupt::htree_node", RAM, htree_node).corrupt(),
        Test::bare("corrupt::attributes", BOTH, attributes).corrupt(),
        Test::bare("corrupt::attributes_sealed", RAM, attributes_sealed).corrupt(),
        Test::bare("corrupt::value_in_inode", RAM, value_in_inode).corrupt(),
        Test::bare("corrupt::extent_out_of_range", BOTH, extent_out_of_range).corrupt(),
        Test::bare("corrupt::no_such_inode", RAM, no_such_inode).corrupt(),
        Test::bare("corrupt::while_frozen", RAM, while_frozen).corrupt(),
        Test::bare("corrupt::counts_too_few", RAM, counts_too_few).corrupt(),
        Test::bare("corrupt::counts_no_more", RAM, counts_no_more),
    ]
}

/// Passes if `result` is what this file system says of a damaged image.
fn unclean<T>(bed: &Bed, result: io::Result<T>, what: &str) -> Result<()> {
    let Err(error) = result else { anyhow::bail!("{what} worked on a damaged image") };
    let code = error.raw_os_error();
    let is = |errno: Errno| code == Some(errno.raw_os_error());
    // ext4 tells wrong checksums apart; the page cache knows one error of reading a page.
    let good = is(Errno::UCLEAN)
        || (!bed.config.is_rdaxfs() && is(Errno::BADMSG))
        || (what.contains("data") && !bed.place.is_dax() && is(Errno::IO));
    ensure!(good, "{what}: {error}, expected EUCLEAN");
    Ok(())
}

/// Passes if some line of the log since the last look has all of these words in it.
fn logged(bed: &Bed, words: &[&str]) -> Result<()> {
    let log = bed.log();
    let named = log.iter().any(|line| words.iter().all(|word| line.contains(word)));
    ensure!(named, "no line of the log names {words:?}: {log:#?}");
    Ok(())
}

/// The first number behind `mark` in the output of debugfs or dumpe2fs.
fn number_after(text: &str, mark: &str) -> Result<u64> {
    let rest = text.split_once(mark).with_context(|| format!("no {mark:?} in\n{text}"))?.1;
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().with_context(|| format!("no number after {mark:?} in\n{text}"))
}

/// What is found while the file system is frozen makes it read-only, and it can be thawed all the same.
/// What was open and is synced says that it cannot be.
fn while_frozen(bed: &mut Bed) -> Result<()> {
    populated(bed)?;
    let block: u64 = last_number(&bed.image.ask("bmap dir 0")?)?;
    bed.image.flip(block * 4096 + 32)?;
    bed.mount_with("errors=remount-ro")?;
    let file = bed.create("file")?;
    let dir = bed.dir().to_string_lossy().into_owned();
    stage::run("fsfreeze", &["-f", &dir])?;
    unclean(bed, std::fs::metadata(bed.path("dir/file")), "a look-up")?;
    stage::run("fsfreeze", &["-u", &dir])?;
    refused(bed.create("another").map_err(errno), Errno::ROFS, "a new file")?;
    refused(file.sync_all().map_err(|error| errno(error.into())), Errno::ROFS, "fsync")?;
    let info = std::fs::read_to_string("/proc/self/mountinfo")?;
    let line = info.lines().find(|line| line.contains(&dir)).context("not mounted")?;
    ensure!(line.contains(" - ") && line.contains(" ro"), "not read-only: {line}");
    drop(file);
    bed.unmount()?;
    bed.image.flip(block * 4096 + 32)?;
    stage::run_status("e2fsck", &["-fp", &bed.image.device().to_string_lossy()])?;
    bed.image.fsck()
}

fn errno(error: anyhow::Error) -> Errno {
    let code = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    Errno::from_raw_os_error(code.unwrap_or(0))
}

/// An inode that counts fewer blocks than it has can be removed, and what it has is free then.
fn counts_too_few(bed: &mut Bed) -> Result<()> {
    bed.mkfs(stage::IMAGE, &[])?;
    bed.mount()?;
    std::fs::write(bed.path("file"), pattern(1, 0, 80_000))?;
    bed.unmount()?;
    bed.image.debugfs(&["set_inode_field file blocks 8"])?;
    bed.mount_with("errors=continue")?;
    bed.log();
    std::fs::remove_file(bed.path("file"))?;
    logged(bed, &["counts fewer"])?;
    bed.unmount()?;
    bed.image.debugfs(&["set_super_value state 1"])?;
    bed.image.fsck()
}

/// Without `huge_file`, a file gets no block that its inode could not count.
fn counts_no_more(bed: &mut Bed) -> Result<()> {
    bed.mkfs(stage::IMAGE, &["-O", "^huge_file"])?;
    bed.mount()?;
    std::fs::write(bed.path("file"), pattern(1, 0, 4096))?;
    bed.unmount()?;
    bed.image.debugfs(&["set_inode_field file blocks 4294967288"])?;
    bed.mount()?;
    let file = bed.open("file")?;
    let more = file.write_all_at(&[1], 4096).map_err(|error| errno(error.into()));
    refused(more, Errno::FBIG, "one more block")?;
    drop(file);
    bed.unmount()?;
    bed.image.debugfs(&["set_inode_field file blocks 8"])?;
    bed.mount()
}

fn superblock(bed: &mut Bed) -> Result<()> {
    bed.mkfs(stage::IMAGE, &[])?;
    bed.image.flip(1024 + 0x78)?;
    bed.log();
    unclean(bed, bed.try_mount("").map(drop).map_err(Into::into), "mounting")?;
    logged(bed, &["superblock"])?;
    bed.image.flip(1024 + 0x78)?;
    bed.mount()
}

fn group_descriptor(bed: &mut Bed) -> Result<()> {
    bed.mkfs(stage::IMAGE, &[])?;
    // The directory count of the first descriptor.
    bed.image.flip(4096 + 0x10)?;
    bed.log();
    unclean(bed, bed.try_mount("").map(drop).map_err(Into::into), "mounting")?;
    logged(bed, &["roup"])?;
    bed.image.flip(4096 + 0x10)?;
    bed.mount()
}

/// Makes an image with files, a fragmented one and a directory of some size in it.
fn populated(bed: &mut Bed) -> Result<()> {
    bed.mkfs(stage::IMAGE, &[])?;
    let oracle = bed.image.mount("ext4", "")?;
    let root = oracle.dir().to_owned();
    std::fs::write(root.join("good"), pattern(1, 0, 50_000))?;
    std::fs::write(root.join("bad"), pattern(2, 0, 50_000))?;
    let fragmented = File::create(root.join("fragmented"))?;
    for n in (0..bed.config.amount(200, 200, 60)).rev() {
        fragmented.write_all_at(&pattern(3, 0, 4096), n * 8192)?;
        if n % 10 == 0 {
            fragmented.sync_all()?;
        }
    }
    for name in ["bad", "good"] {
        setxattr(root.join(name), "user.large", &[7; 500], XattrFlags::empty())?;
        setxattr(root.join(name), "user.small", &[8; 20], XattrFlags::empty())?;
    }
    std::fs::create_dir(root.join("dir"))?;
    std::fs::write(root.join("dir/file"), "inside")?;
    std::fs::create_dir(root.join("big"))?;
    // Enough for an index of several leaves.
    for n in 0..bed.config.amount(3_000, 1_000, 300) {
        File::create(root.join(format!("big/entry-of-a-directory-{n}")))?;
    }
    drop(fragmented);
    oracle.unmount()?;
    Ok(())
}

/// Damages byte `at`, mounts, and has `provoke` run into it; then the same with the byte restored.
fn damage(
    bed: &mut Bed,
    at: u64,
    what: &str,
    words: &[&str],
    provoke: impl Fn(&Bed) -> io::Result<()>,
) -> Result<()> {
    bed.image.flip(at)?;
    bed.mount_with(&format!("errors=continue,{}", bed.place.options()))?;
    bed.log();
    unclean(bed, provoke(bed), what)?;
    logged(bed, words)?;
    ensure!(std::fs::read(bed.path("good"))? == pattern(1, 0, 50_000), "a good file");
    bed.unmount()?;
    bed.image.flip(at)?;
    // A note that there were errors may stand in the superblock; that is not damage.
    bed.image.debugfs(&["set_super_value state 1"])?;
    bed.mount()?;
    provoke(bed).context("with the byte restored")
}

fn inode(bed: &mut Bed) -> Result<()> {
    populated(bed)?;
    let text = bed.image.ask("imap bad")?;
    let (number, block) = (number_after(&text, "Inode ")?, number_after(&text, "at block ")?);
    let offset = text.split_once("offset 0x").context("an offset")?.1;
    let offset = u64::from_str_radix(offset.trim(), 16)?;
    // A byte of its modification time.
    let words = [number.to_string(), block.to_string()];
    let words: Vec<&str> =
        words.iter().take(if bed.config.is_rdaxfs() { 2 } else { 1 }).map(String::as_str).collect();
    damage(bed, block * 4096 + offset + 0x10, "stat", &words, |bed| {
        std::fs::metadata(bed.path("bad")).map(drop)
    })
}

fn extent_block(bed: &mut Bed) -> Result<()> {
    populated(bed)?;
    let number = number_after(&bed.image.ask("imap fragmented")?, "Inode ")?.to_string();
    // The one line of an interior entry: `0/ 1  1/ 1  0 - 4294967295  block  len`.
    let text = bed.image.ask("dump_extents -n fragmented")?;
    let line = text.lines().find(|line| line.trim_start().starts_with("0/")).context("a tree")?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let dash = words.iter().position(|w| *w == "-").context("a range")?;
    let block: u64 = words.get(dash + 2).context("a block")?.parse()?;
    let block_text = block.to_string();
    let words = if bed.config.is_rdaxfs() {
        vec![number.as_str(), &block_text]
    } else {
        vec![number.as_str()]
    };
    damage(bed, block * 4096 + 20, "reading data", &words, |bed| {
        std::fs::read(bed.path("fragmented")).map(drop)
    })
}

fn directory_block(bed: &mut Bed) -> Result<()> {
    populated(bed)?;
    let number = number_after(&bed.image.ask("imap dir")?, "Inode ")?.to_string();
    let block: u64 = last_number(&bed.image.ask("bmap dir 0")?)?;
    // A byte of the first name behind `.` and `..`.
    let words = [number.as_str()];
    damage(bed, block * 4096 + 32, "a look-up", &words, |bed| {
        std::fs::metadata(bed.path("dir/file"))?;
        std::fs::read_dir(bed.path("dir"))?.try_for_each(|entry| entry.map(drop))
    })
}

fn last_number(text: &str) -> Result<u64> {
    let line = text.lines().rev().find(|l| !l.trim().is_empty()).context("nothing printed")?;
    Ok(line.trim().parse()?)
}

fn htree_node(bed: &mut Bed) -> Result<()> {
    populated(bed)?;
    let number = number_after(&bed.image.ask("imap big")?, "Inode ")?.to_string();
    let block: u64 = last_number(&bed.image.ask("bmap big 0")?)?;
    // A byte of the hash of the third entry of the root node.
    damage(bed, block * 4096 + 0x20 + 16, "a look-up", &[number.as_str()], |bed| {
        std::fs::metadata(bed.path("big/entry-of-a-directory-17")).map(drop)
    })
}

/// Reads and changes the attributes of a file, whatever comes of it; returns the first error.
fn use_attributes(path: &Path) -> io::Result<()> {
    let mut all = vec![0; 1 << 16];
    let results = [
        listxattr(path, &mut all).map(drop),
        getxattr(path, "user.large", &mut all).map(drop),
        getxattr(path, "user.none", &mut all).or_else(missing).map(drop),
        setxattr(path, "user.small", b"x", XattrFlags::empty()),
        setxattr(path, "user.new", &[9; 300], XattrFlags::empty()),
        removexattr(path, "user.large"),
        setxattr(path, "user.large", &[7; 500], XattrFlags::empty()),
    ];
    results.into_iter().collect::<Result<(), _>>().map_err(Into::into)
}

fn missing(errno: Errno) -> Result<usize, Errno> {
    if errno == Errno::NODATA {
        Ok(0)
    } else {
        Err(errno)
    }
}

fn attributes(bed: &mut Bed) -> Result<()> {
    populated(bed)?;
    let number = number_after(&bed.image.ask("imap bad")?, "Inode ")?.to_string();
    let block = number_after(&bed.image.ask("stat bad")?, "File ACL: ")?;
    let block_text = block.to_string();
    // A byte of the last value.
    damage(bed, block * 4096 + 4090, "reading attributes", &[&number, &block_text], |bed| {
        use_attributes(&bed.path("bad"))
    })
}

/// Bytes of a block of attributes turned one by one, on an image without checksums: nothing but errors
/// comes of it.
fn attributes_sealed(bed: &mut Bed) -> Result<()> {
    bed.mkfs(stage::IMAGE, &["-O", "^metadata_csum,^metadata_csum_seed,^orphan_file,uninit_bg"])?;
    bed.mount()?;
    // Each of them has lines in the log, which are limited to 100 in 5 s, and the next tests want theirs.
    let paths: Vec<_> = (0..40).step_by(4).map(|n| (n, format!("file-{n}"))).collect();
    for (n, name) in &paths {
        let path = bed.path(name);
        std::fs::write(&path, "text")?;
        setxattr(&path, "user.large", &pattern(*n, 0, 500), XattrFlags::empty())?;
        setxattr(&path, "user.small", &pattern(*n, 0, 500), XattrFlags::empty())?;
    }
    bed.unmount()?;
    for (n, name) in &paths {
        let block = number_after(&bed.image.ask(&format!("stat {name}"))?, "File ACL: ")?;
        // The header's first words, then the two entries.
        let at = if *n < 12 { *n } else { 32 + n - 12 };
        bed.image.flip(block * 4096 + at)?;
    }
    bed.mount_with(&format!("errors=continue,{}", bed.place.options()))?;
    let refused = paths.iter().filter(|(_, name)| use_attributes(&bed.path(name)).is_err()).count();
    ensure!(4 * refused >= paths.len(), "{refused} of {} were refused", paths.len());
    for (_, name) in &paths {
        std::fs::remove_file(bed.path(name))?;
    }
    bed.unmount()
}

/// A value whose inode is the wrong one: the file itself, a directory, one that is free, none at all.
fn value_in_inode(bed: &mut Bed) -> Result<()> {
    let wrong = |bed: &mut Bed, ino: &dyn Fn(u32) -> u32| -> Result<()> {
        bed.mkfs(
            stage::IMAGE,
            &["-O", "ea_inode,^metadata_csum,^metadata_csum_seed,^orphan_file"],
        )?;
        bed.by_ext4(|root| {
            std::fs::write(root.join("file"), "")?;
            Ok(setxattr(root.join("file"), "user.v", &[5; 9000], XattrFlags::empty())?)
        })?;
        let text = bed.image.ask("imap file")?;
        let (number, block) = (number_after(&text, "Inode ")?, number_after(&text, "at block ")?);
        let offset = text.split_once("offset 0x").context("an offset")?.1;
        let offset = u64::from_str_radix(offset.trim(), 16)?;
        // Behind 160 bytes of fields and the magic number, 4 bytes into the first entry.
        let at = block * 4096 + offset + 160 + 4 + 4;
        bed.image.poke(at, &ino(number as u32).to_le_bytes())?;
        bed.mount_with(&format!("errors=continue,{}", bed.place.options()))?;
        let path = bed.path("file");
        let mut value = vec![0; 1 << 16];
        unclean(bed, getxattr(&path, "user.v", &mut value).map_err(Into::into), "reading")?;
        unclean(bed, removexattr(&path, "user.v").map_err(Into::into), "removing")?;
        std::fs::remove_file(&path)?;
        ensure!(std::fs::read_dir(bed.dir())?.count() == 1, "lost+found is gone");
        bed.unmount()
    };
    wrong(bed, &|number| number)?;
    wrong(bed, &|_| 2)?;
    wrong(bed, &|_| 11)?;
    wrong(bed, &|number| number + 1000)?;
    wrong(bed, &|_| u32::MAX)
}

/// A bitmap of the first group, found by name in the output of dumpe2fs.
fn bitmap(bed: &mut Bed, name: &str, provoke: impl Fn(&Bed) -> io::Result<()>) -> Result<()> {
    populated(bed)?;
    let text = stage::run("dumpe2fs", &[&bed.image.device().to_string_lossy()])?;
    let block = number_after(&text, name)?;
    if !bed.config.is_rdaxfs() {
        skip!("ext4 goes on with another group");
    }
    let words = [block.to_string()];
    damage(bed, block * 4096 + 3, "allocating", &[words[0].as_str()], provoke)
}

fn block_bitmap(bed: &mut Bed) -> Result<()> {
    bitmap(bed, "Block bitmap at", |bed| {
        let file = File::create(bed.path("new"))?;
        file.write_all_at(&[1; 100_000], 0)?;
        file.sync_all()
    })
}

fn inode_bitmap(bed: &mut Bed) -> Result<()> {
    bitmap(bed, "Inode bitmap at", |bed| File::create(bed.path("new")).map(drop))
}

/// An extent, with a right checksum, that lies behind the end of the device.
fn extent_out_of_range(bed: &mut Bed) -> Result<()> {
    populated(bed)?;
    bed.image.debugfs(&["set_inode_field bad block[5] 0x7ffffff0"])?;
    bed.mount_with(&format!("errors=continue,{}", bed.place.options()))?;
    bed.log();
    unclean(bed, std::fs::read(bed.path("bad")), "reading data")?;
    ensure!(!bed.log().is_empty(), "nothing in the log");
    let file = File::options().write(true).open(bed.path("bad"));
    let written = file.and_then(|file| {
        file.write_all_at(&[1; 4096], 0)?;
        file.sync_all()
    });
    unclean(bed, written, "writing data")?;
    ensure!(std::fs::read(bed.path("good"))? == pattern(1, 0, 50_000), "a good file");
    bed.unmount()
}

/// A name that points at an inode number that does not exist, and one at a free inode.
fn no_such_inode(bed: &mut Bed) -> Result<()> {
    populated(bed)?;
    bed.image.debugfs(&["link <4000000> far", "link <20000> free", "link <7> reserved"])?;
    bed.mount_with(&format!("errors=continue,{}", bed.place.options()))?;
    for name in ["far", "free"] {
        let found = std::fs::metadata(bed.path(name));
        let code = found.err().and_then(|e| e.raw_os_error());
        let good =
            [Errno::UCLEAN, Errno::STALE, Errno::NOENT, Errno::BADMSG].map(|e| e.raw_os_error());
        ensure!(code.is_some_and(|c| good.contains(&c)), "{name}: {code:?}");
    }
    let names = std::fs::read_dir(bed.dir())?.count();
    ensure!(names >= 6, "{names} names in the root directory");
    ensure!(std::fs::read(bed.path("good"))? == pattern(1, 0, 50_000), "a good file");
    bed.unmount()
}
