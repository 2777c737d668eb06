// SPDX-License-Identifier: GPL-2.0
//! Blocks that cannot be read: an error for whoever wants what is in them, and for nobody else.

use super::super::{pattern, read_at, refused, same_bytes};
use super::block_of;
use crate::harness::Bed;
use crate::mapper::Mapped;
use crate::stage::{Image, Mount};
use crate::sys::{self, Aligned, End, Mapping};
use anyhow::{ensure, Context, Result};
use rustix::fs::{fadvise, fallocate, Advice, FallocateFlags, OFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const LEN: usize = 40 << 12;

/// Files, and a directory of one block.
fn populate(dir: &Path) -> Result<()> {
    fs::write(dir.join("bad"), pattern(1, 0, LEN))?;
    fs::write(dir.join("good"), pattern(2, 0, LEN))?;
    fs::create_dir(dir.join("dir"))?;
    fs::write(dir.join("dir/file"), "inside")?;
    // Inodes that share no block with those above.
    fs::create_dir(dir.join("many"))?;
    for n in 0..64 {
        fs::write(dir.join(format!("many/{n}")), "one of many")?;
    }
    Ok(())
}

/// Every page of the file but those of `bad` is as it was; those give EIO.
fn only(dir: &Path, bad: &[u64]) -> Result<()> {
    let file = File::open(dir.join("bad"))?;
    // Page by page: what is read ahead together fails together.
    fadvise(&file, 0, None, Advice::Random)?;
    for block in 0..LEN as u64 / 4096 {
        let page = read_at(&file, block << 12, 4096);
        if bad.contains(&block) {
            let page = page.map_err(|error| error.downcast().unwrap_or_else(io::Error::other));
            refused(page, Errno::IO, &format!("reading block {block}"))?;
        } else {
            let what = format!("block {block}");
            same_bytes(&page.context(what.clone())?, &pattern(1, block << 12, 4096), &what)?;
        }
    }
    same_bytes(&fs::read(dir.join("good"))?, &pattern(2, 0, LEN), "another file")
}

/// Blocks that dm-dust does not read, of data and of metadata.
pub fn dust(bed: &mut Bed) -> Result<()> {
    const SECTORS: u64 = 64 << 11;
    bed.mkfs("64M", &[])?;
    let table = format!("dust {} 0 4096", bed.image.device().display());
    let (mapped, path) = Mapped::new("guest-dust", SECTORS, &table)?;
    let image = Image::on(&path);
    let mount = image.mount(&bed.config.fstype, "")?;
    populate(mount.dir())?;
    mount.unmount()?;
    let inode = image.ask("imap many/40")?;
    let inode = inode.split_once("at block ").and_then(|(_, rest)| rest.split(',').next());
    let inode: u64 = inode.context("imap names no block")?.trim().parse()?;
    let stat = |path: &str, dir: &Path| fs::metadata(dir.join(path)).map(drop);
    let list = |dir: &Path| fs::read_dir(dir.join("dir"))?.try_for_each(|entry| entry.map(drop));
    type Provoke<'a> = &'a dyn Fn(&Path) -> io::Result<()>;
    let cases: [(u64, &str, Provoke<'_>); 4] = [
        (block_of(&image, "bad", 7)?, "data", &|_| Err(Errno::IO.into())),
        (block_of(&image, "dir", 0)?, "a look-up", &|dir| stat("dir/file", dir)),
        (block_of(&image, "dir", 0)?, "readdir", &list),
        (inode, "an inode", &|dir| stat("many/40", dir)),
    ];
    for (block, what, provoke) in cases {
        mapped.message(&["addbadblock", &block.to_string()])?;
        mapped.message(&["enable"])?;
        let mount = mounted(&image, bed)?;
        bed.log();
        refused(provoke(mount.dir()), Errno::IO, what)?;
        only(mount.dir(), if what == "data" { &[7] } else { &[] }).context(what)?;
        let log = bed.log();
        let named = |line: &String| line.contains(&format!("block {block}: it cannot be read"));
        ensure!(what == "data" || log.iter().any(named), "{what}: nothing in the log: {log:#?}");
        mapped.message(&["disable"])?;
        mapped.message(&["removebadblock", &block.to_string()])?;
        // With what is in memory, and what is not.
        only(mount.dir(), &[]).with_context(|| format!("{what}, when all is well again"))?;
        if what != "data" {
            provoke(mount.dir()).with_context(|| format!("{what}, when all is well again"))?;
        }
        mount.unmount()?.fsck().context(what)?;
    }
    Ok(())
}

fn mounted(image: &Image, bed: &Bed) -> Result<Mount> {
    image.mount(&bed.config.fstype, "errors=remount-ro")
}

const BAD_BLOCKS: &str = "/sys/block/pmem0/badblocks";

/// Overwrites all bad blocks of the device on drop, as other tests come after this one.
struct Mended(PathBuf);

impl Mended {
    fn mend(&self) -> Result<()> {
        let direct = OFlags::DIRECT.bits() as i32;
        let device = File::options().write(true).custom_flags(direct).open(&self.0)?;
        for line in fs::read_to_string(BAD_BLOCKS)?.lines() {
            let (sector, count) = line.split_once(' ').context("a line with two numbers")?;
            let zeroes = Aligned::new(count.parse::<usize>()? << 9, 0);
            device.write_all_at(&zeroes, sector.parse::<u64>()? << 9)?;
        }
        Ok(())
    }
}

impl Drop for Mended {
    fn drop(&mut self) {
        if let Err(error) = self.mend() {
            println!("bad blocks are left: {error:#}");
        }
    }
}

/// Memory of the device that is known to be bad, as the driver lists it: reads fail, stores end the
/// process, and what is written as a whole, or allocated anew, is good again.
pub fn poison(bed: &mut Bed) -> Result<()> {
    let _mended = Mended(bed.image.device().to_owned());
    populate(bed.dir())?;
    bed.unmount()?;
    let blocks = [7, 8, 30].map(|n| block_of(&bed.image, "bad", n));
    bed.mount()?;
    for block in blocks {
        let line = format!("{} 8", block? * 8);
        fs::write(BAD_BLOCKS, &line).with_context(|| line.clone())?;
    }
    only(bed.dir(), &[7, 8, 30])?;
    let file = bed.open("bad")?;
    let touch = |block: u64, write: bool| {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let map = Mapping::new(&file, block << 12, 4096, prot, MapFlags::SHARED)?;
        Ok::<_, anyhow::Error>(sys::in_child(|| match write {
            true => {
                map.touch_write(1);
                0
            }
            false => i32::from(map.touch_read() > 255),
        })?)
    };
    for write in [false, true] {
        let end = touch(7, write)?;
        ensure!(end == End::Signal(libc::SIGBUS), "the bad block, write {write}: {end:?}");
    }
    ensure!(touch(9, false)? == End::Exit(0), "the block after it");
    // Part of a block would leave the rest of it bad; this is the error that fs/dax.c has for it.
    refused(file.write_all_at(&[1; 100], 7 << 12), Errno::FAULT, "writing into a bad block")?;
    file.write_all_at(&pattern(1, 7 << 12, 4096), 7 << 12).context("writing a bad block")?;
    only(bed.dir(), &[8, 30])?;
    file.write_all_at(&pattern(1, 6 << 12, 5 << 12), 6 << 12).context("writing across one")?;
    only(bed.dir(), &[30])?;
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, punch, 30 << 12, 4096).context("punching out a bad block")?;
    same_bytes(&read_at(&file, 30 << 12, 4096)?, &[0; 4096], "the hole")?;
    // Whoever gets the block finds it good: all that is free is used once. Until the commit it is nobody's.
    file.sync_all()?;
    let filler = bed.create("filler")?;
    let all = super::super::free(bed.dir())?.0 * 9 / 10 * 4096;
    for at in (0..all).step_by(1 << 20) {
        filler.write_all_at(&pattern(3, at, 1 << 20), at)?;
    }
    for at in (0..all).step_by(1 << 20) {
        same_bytes(&read_at(&filler, at, 1 << 20)?, &pattern(3, at, 1 << 20), "the filler")?;
    }
    file.write_all_at(&pattern(1, 30 << 12, 4096), 30 << 12)?;
    drop((file, filler));
    only(bed.dir(), &[])?;
    let left = fs::read_to_string(BAD_BLOCKS)?;
    ensure!(left.trim().is_empty(), "still bad: {left}");
    bed.again()?;
    only(bed.dir(), &[])
}
