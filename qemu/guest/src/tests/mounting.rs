// SPDX-License-Identifier: GPL-2.0
//! Mounting: options and refusals, remounting, what the mount says of itself, several at once, and
//! taking the module out.

use super::{is_dax, pattern, refused, same_bytes};
use crate::harness::{Bed, Test, ALL, BOTH, INODE, RAM};
use crate::leaks::Leaks;
use crate::manifest::{Facts, Manifest};
use crate::skip;
use crate::stage::{self, Image};
use crate::sys;
use anyhow::{ensure, Context, Result};
use rustix::fs::{statfs, StatFs};
use rustix::io::Errno;
use rustix::mount::{fsconfig_create, fsconfig_set_string, fsopen, FsMountFlags, FsOpenFlags};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub fn tests() -> Vec<Test> {
    vec![
        Test::bare("mount::options_shown", INODE, options_shown),
        Test::bare("mount::options_of_ext4", RAM, options_of_ext4),
        Test::bare("mount::reserved_for_user", RAM, reserved_for_user),
        Test::bare("mount::unknown_options", INODE, unknown_options),
        Test::bare("mount::last_option_counts", INODE, last_option_counts),
        Test::bare("mount::messages_of_the_context", INODE, messages_of_the_context),
        Test::bare("mount::dax_needs_a_device", RAM, dax_needs_a_device),
        Test::bare("mount::dax_needs_whole_pages", INODE, dax_needs_whole_pages),
        Test::new("mount::remount", BOTH, remount),
        Test::new("mount::remount_keeps_dax", INODE, remount_keeps_dax),
        Test::bare("mount::read_only_writes_nothing", BOTH, read_only_writes_nothing),
        Test::new("mount::statfs", BOTH, statfs_like_ext4),
        Test::bare("mount::several", ALL, several),
        Test::new("mount::twice", RAM, twice),
        Test::new("mount::many_times", BOTH, many_times),
        Test::new("mount::busy", RAM, busy),
        Test::bare("mount::not_an_image", RAM, not_an_image),
        Test::bare("mount::another_name", RAM, another_name),
        Test::bare("mount::switch_by_default", INODE, switch_by_default),
        Test::bare("mount::module_leaves_nothing", INODE, module_leaves_nothing).seconds(300),
    ]
}

fn options_shown(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    let cases = [
        ("dax", "dax"),
        ("dax=always", "dax=always"),
        ("dax=never", "dax=never"),
        ("dax=inode", "dax=inode"),
        ("errors=continue", "errors=continue"),
        ("errors=remount-ro", "errors=remount-ro"),
        ("errors=panic", "errors=panic"),
        ("ro", "ro"),
        ("dax=never,errors=panic", "errors=panic"),
    ];
    for (options, expected) in cases {
        bed.mount_with(options)?;
        let shown = bed.mounted().shown()?;
        // `dax` and `dax=always` are the same; defaults need not be shown.
        let is_default = matches!(expected, "dax=inode" | "errors=continue" | "errors=remount-ro");
        let found =
            shown.split(',').any(|o| o == expected || (expected == "dax" && o == "dax=always"));
        ensure!(found || is_default, "mounted with {options:?}, shown is {shown:?}");
        ensure!(!is_default || !shown.contains("dax=always"), "{options:?} is shown as {shown:?}");
        // What is shown must be acceptable as options again.
        bed.unmount()?;
        let ours: Vec<&str> =
            shown.split(',').filter(|o| o.contains("dax") || o.contains("errors")).collect();
        bed.mount_with(&ours.join(",")).context("mounting with what was shown")?;
        bed.unmount()?;
    }
    Ok(())
}

/// What ext4 takes, and changes nothing here, is taken and not shown; the rest has its effect.
fn options_of_ext4(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    for option in [
        "delalloc",
        "nodelalloc",
        "auto_da_alloc",
        "auto_da_alloc=0",
        "noauto_da_alloc",
        "dioread_nolock",
        "init_itable",
        "init_itable=10",
        "noinit_itable",
        "journal_checksum",
        "stripe=512",
        "block_validity",
        "user_xattr",
    ] {
        bed.mount_with(option)?;
        let shown = bed.mounted().shown()?;
        let word = option.split('=').next().unwrap_or(option);
        ensure!(!shown.contains(word), "{option} is shown: {shown}");
        bed.unmount()?;
    }
    for refusal in ["stripe", "delalloc=1", "discard=1", "data=all", "resuid=root"] {
        refused(bed.try_mount(refusal), Errno::INVAL, refusal)?;
    }
    let mut blocks = Vec::new();
    for (options, expected) in [
        ("minixdf,bsddf", ""),
        ("bsddf,minixdf", "minixdf"),
        ("nodiscard,discard", "discard"),
        ("resuid=7,resgid=8", "resuid=7,resgid=8"),
    ] {
        bed.mount_with(options)?;
        let shown = bed.mounted().shown()?;
        ensure!(shown.contains(expected), "{options}: {shown}");
        ensure!(expected == "minixdf" || !shown.contains("minixdf"), "{options}: {shown}");
        blocks.push(statfs(bed.dir())?.f_blocks);
        bed.unmount()?;
    }
    ensure!(blocks[1] == (64 << 20) / 4096 && blocks[0] < blocks[1], "{blocks:?} blocks");
    Ok(())
}

/// `resuid=`: an ordinary user gets the reserved blocks, another does not.
fn reserved_for_user(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &["-m", "20"])?;
    bed.mount_with("resuid=1000")?;
    let path = bed.path("file");
    let file = File::create(&path)?;
    let fill = |user| {
        sys::in_child(|| {
            let full = || {
                sys::become_user(user)?;
                for at in 0..64 {
                    rustix::fs::fallocate(
                        &file,
                        rustix::fs::FallocateFlags::empty(),
                        at << 20,
                        1 << 20,
                    )?;
                }
                Ok::<(), std::io::Error>(())
            };
            i32::from(full().is_ok())
        })
    };
    let left = || -> Result<u64> { Ok(statfs(bed.dir())?.f_bfree) };
    fill(1001)?;
    let others = left()?;
    fill(1000)?;
    ensure!(others > 2000 && left()? < others / 2, "{others} left to 1000, who left {}", left()?);
    Ok(())
}

/// Refused with EINVAL and a line in the log that names the option.
fn unknown_options(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    for options in [
        "nosuchoption",
        "nosuchoption=1",
        "dax=sometimes",
        "errors=ignore",
        "errors",
        "dax=",
        "errors=continue,x",
    ] {
        bed.log();
        refused(bed.try_mount(options), Errno::INVAL, options)?;
        let log = bed.log();
        let word = options.split(['=', ',']).find(|w| *w != "continue").unwrap_or(options);
        let named = log.iter().any(|line| line.contains(word) || line.contains("'x'"));
        ensure!(named, "nothing in the log names {options:?}: {log:?}");
    }
    bed.mount()
}

/// Of an option given twice the last one counts: xfstests, like users, adds options to those of a
/// configuration.
fn last_option_counts(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    for (options, dax) in [
        ("dax=always,dax=never", false),
        ("dax=never,dax=always", true),
        ("dax,dax=inode", false),
        ("dax=inode,dax", true),
        ("dax=always,dax", true),
    ] {
        bed.mount_with(options)?;
        let found = is_dax(&bed.create(options)?)?;
        ensure!(found == dax, "{options}: DAX is {found}");
        bed.unmount()?;
    }
    bed.mount_with("errors=panic,errors=continue")?;
    let shown = bed.mounted().shown()?;
    ensure!(!shown.contains("panic"), "the first one counted: {shown}");
    Ok(())
}

/// A program that uses `fsopen` reads the reason from the descriptor.
fn messages_of_the_context(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    let context =
        fsopen(bed.config.fstype.as_str(), FsOpenFlags::FSOPEN_CLOEXEC).context("fsopen")?;
    fsconfig_set_string(&context, "source", bed.image.device())?;
    refused(fsconfig_set_string(&context, "dax", "sometimes"), Errno::INVAL, "dax=sometimes")?;
    let mut message = vec![0; 500];
    let len = rustix::io::read(&context, &mut message).context("no message")?;
    let message = String::from_utf8_lossy(&message[..len]).into_owned();
    ensure!(message.starts_with("e ") && message.contains("dax"), "the message is {message:?}");
    fsconfig_set_string(&context, "dax", "never")?;
    fsconfig_create(&context).context("fsconfig_create")?;
    rustix::mount::fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        rustix::mount::MountAttrFlags::empty(),
    )?;
    Ok(())
}

/// `dax=always` on a device without DAX fails with a message; `dax=inode` mounts.
fn dax_needs_a_device(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    for options in ["dax=always", "dax"] {
        bed.log();
        refused(bed.try_mount(options), Errno::INVAL, options)?;
        ensure!(!bed.log().is_empty(), "refused without a word");
    }
    bed.mount_with("dax=inode")?;
    ensure!(!is_dax(&bed.create("file")?)?);
    Ok(())
}

/// Blocks smaller than the page: the same.
fn dax_needs_whole_pages(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &["-b", "1024"])?;
    bed.log();
    refused(bed.try_mount("dax=always"), Errno::INVAL, "dax=always with 1 KiB blocks")?;
    ensure!(!bed.log().is_empty(), "refused without a word");
    bed.mount_with("dax=inode").context("1 KiB blocks")?;
    let file = bed.create("file")?;
    crate::sys::set_xflag_dax(&file, true)?;
    ensure!(!is_dax(&file)?, "DAX with blocks smaller than the page");
    file.write_all_at(&pattern(1, 0, 50_000), 0)?;
    drop(file);
    bed.unmount()?;
    bed.mount_with("dax=inode")?;
    same_bytes(&std::fs::read(bed.path("file"))?, &pattern(1, 0, 50_000), "mounted again")
}

fn remount(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    file.write_all_at(b"before", 0)?;
    refused(bed.mounted().remount("ro"), Errno::BUSY, "ro with a file open for writing")?;
    drop(file);
    bed.mounted().remount("ro")?;
    refused(File::options().write(true).open(bed.path("file")), Errno::ROFS, "open for writing")?;
    refused(File::create(bed.path("new")), Errno::ROFS, "create")?;
    refused(std::fs::remove_file(bed.path("file")), Errno::ROFS, "unlink")?;
    ensure!(std::fs::read(bed.path("file"))? == b"before");
    bed.image.fsck().context("while mounted read-only")?;
    bed.mounted().remount("rw")?;
    std::fs::write(bed.path("new"), "after")?;
    bed.mounted().remount("errors=panic")?;
    ensure!(bed.mounted().shown()?.contains("errors=panic"), "{}", bed.mounted().shown()?);
    refused(bed.mounted().remount("nosuchoption"), Errno::INVAL, "an unknown option")?;
    std::fs::write(bed.path("new"), "still writable")?;
    Ok(())
}

/// The dax option cannot change while mounted: inodes in memory have the mode that it gave them.
fn remount_keeps_dax(bed: &mut Bed) -> Result<()> {
    for options in ["dax=always", "dax=never"] {
        refused(bed.mounted().remount(options), Errno::INVAL, options)?;
    }
    let file = bed.create("file")?;
    ensure!(!is_dax(&file)?);
    Ok(())
}

fn device_checksum(image: &Image, len: usize) -> Result<u128> {
    use xxhash_rust::xxh3::Xxh3;
    let mut device = File::open(image.device())?.take(len as u64);
    let (mut hash, mut buffer) = (Xxh3::new(), vec![0; 1 << 20]);
    loop {
        match device.read(&mut buffer)? {
            0 => return Ok(hash.digest128()),
            len => hash.update(&buffer[..len]),
        }
    }
}

fn read_only_writes_nothing(bed: &mut Bed) -> Result<()> {
    bed.mkfs("64M", &[])?;
    bed.mount()?;
    for n in 0..20 {
        std::fs::write(bed.path(format!("file-{n}")), pattern(n, 0, 100_000))?;
    }
    bed.unmount()?;
    let before = device_checksum(&bed.image, 64 << 20)?;
    bed.mount_with(&format!("ro,{}", bed.place.options()))?;
    let manifest = Manifest::of(bed.dir(), Facts::All)?;
    let file = File::open(bed.path("file-3"))?;
    let map = crate::sys::Mapping::read_only(&file, 100_000)?;
    same_bytes(&map.read(0, 100_000), &pattern(3, 0, 100_000), "mapped")?;
    drop((map, file));
    bed.unmount()?;
    ensure!(device_checksum(&bed.image, 64 << 20)? == before, "a read-only mount wrote");
    bed.image.judge(&manifest)
}

fn same_statfs(ours: &StatFs, theirs: &StatFs, what: &str) -> Result<()> {
    let facts = |s: &StatFs| {
        [
            s.f_bsize as u64,
            s.f_frsize as u64,
            s.f_blocks,
            s.f_bfree,
            s.f_bavail,
            s.f_files,
            s.f_ffree,
            s.f_namelen as u64,
        ]
    };
    let names = "bsize frsize blocks bfree bavail files ffree namelen";
    let (a, b) = (facts(ours), facts(theirs));
    ensure!(a == b, "{what}: {names}\n  here {a:?}\n  ext4 {b:?}");
    let id = |s: &StatFs| format!("{:?}", s.f_fsid);
    ensure!(id(ours) == id(theirs), "{what}: f_fsid {} here, {} on ext4", id(ours), id(theirs));
    Ok(())
}

fn statfs_like_ext4(bed: &mut Bed) -> Result<()> {
    for round in ["empty", "with files", "with a reserve used"] {
        let ours = statfs(bed.dir())?;
        let mut theirs = None;
        bed.by_ext4(|root| {
            theirs = Some(statfs(root)?);
            Ok(())
        })?;
        same_statfs(&ours, &theirs.context("statfs")?, round)?;
        for n in 0..bed.config.amount(50, 50, 10) {
            std::fs::write(bed.path(format!("{round} {n}")), vec![1; 300_000])?;
        }
        rustix::fs::syncfs(File::open(bed.dir())?)?;
    }
    Ok(())
}

/// Four at once, on every device, with different options, each with its own files.
fn several(bed: &mut Bed) -> Result<()> {
    let options =
        |device: &str| if device.contains("ram") { "dax=never" } else { bed.place.options() };
    let (mut mounts, files) = (Vec::new(), bed.config.amount(60, 60, 12));
    for device in ["/dev/pmem0", "/dev/pmem1", "/dev/ram0", "/dev/ram1"] {
        let image = Image::on(device);
        image.mkfs(stage::IMAGE, &[])?;
        mounts.push(image.mount(&bed.config.fstype, options(device))?);
    }
    std::thread::scope(|scope| {
        let work = |n: usize, dir: &Path| -> Result<()> {
            for file in 0..files {
                std::fs::write(dir.join(format!("file-{file}")), pattern(n as u64, 0, 40_000))?;
            }
            for file in 0..files {
                same_bytes(
                    &std::fs::read(dir.join(format!("file-{file}")))?,
                    &pattern(n as u64, 0, 40_000),
                    "a file",
                )?;
            }
            Ok(())
        };
        let threads: Vec<_> =
            mounts.iter().enumerate().map(|(n, m)| scope.spawn(move || work(n, m.dir()))).collect();
        threads
            .into_iter()
            .try_for_each(|t| t.join().map_err(|_| anyhow::anyhow!("a thread died"))?)
    })?;
    refused(
        std::fs::hard_link(mounts[0].dir().join("file-0"), mounts[1].dir().join("x")),
        Errno::XDEV,
        "a link across",
    )?;
    for mount in mounts {
        let manifest = Manifest::of(mount.dir(), Facts::All)?;
        mount.unmount()?.judge(&manifest)?;
    }
    Ok(())
}

/// A device mounted a second time is the same file system.
fn twice(bed: &mut Bed) -> Result<()> {
    let other = Path::new("/run/guest/other");
    std::fs::create_dir_all(other)?;
    let (flags, none) = (rustix::mount::MountFlags::empty(), None::<&std::ffi::CStr>);
    rustix::mount::mount(bed.image.device(), other, bed.config.fstype.as_str(), flags, none)?;
    std::fs::write(other.join("file"), "through the other")?;
    let seen = std::fs::read(bed.path("file"));
    rustix::mount::unmount(other, rustix::mount::UnmountFlags::empty())?;
    ensure!(seen? == b"through the other");
    std::fs::write(bed.path("file"), "still mounted")?;
    Ok(())
}

fn many_times(bed: &mut Bed) -> Result<()> {
    let rounds = if bed.config.short { 10 } else { 40 };
    for n in 0..rounds {
        std::fs::write(bed.path(format!("file-{n}")), pattern(n, 0, 20_000))?;
        bed.again()?;
        same_bytes(
            &std::fs::read(bed.path(format!("file-{n}")))?,
            &pattern(n, 0, 20_000),
            "the file",
        )?;
    }
    Ok(())
}

fn busy(bed: &mut Bed) -> Result<()> {
    let file = bed.create("file")?;
    let flags = rustix::mount::UnmountFlags::empty();
    refused(rustix::mount::unmount(bed.dir(), flags), Errno::BUSY, "unmount with an open file")?;
    file.write_all_at(b"lives on", 0)?;
    Ok(())
}

fn not_an_image(bed: &mut Bed) -> Result<()> {
    bed.image.poke(0, &vec![0; 1 << 20])?;
    refused(bed.try_mount(""), Errno::INVAL, "zeroes")?;
    bed.image.poke(0, &pattern(1, 0, 1 << 20))?;
    refused(bed.try_mount(""), Errno::INVAL, "noise")
}

/// After `rmmod` the type, its slab caches, its sysfs and debugfs entries are gone, and on a
/// kernel that was booted with `kmemleak=on` nothing was left allocated. Then it goes in again and works.
fn module_leaves_nothing(bed: &mut Bed) -> Result<()> {
    if !bed.config.is_rdaxfs() {
        skip!("about the module under test");
    }
    let caches = || -> Result<Vec<String>> {
        let text = std::fs::read_to_string("/proc/slabinfo").context("/proc/slabinfo")?;
        let names = text.lines().filter_map(|line| line.split_whitespace().next());
        Ok(names.filter(|name| name.contains("rdaxfs")).map(str::to_owned).collect())
    };
    let leaks = Leaks::watch()?;
    let (rounds, files) = bed.config.amount((3, 200), (3, 200), (1, 40));
    for round in 0..rounds {
        bed.mkfs("64M", &[])?;
        bed.mount()?;
        for n in 0..files {
            std::fs::create_dir(bed.path(format!("dir-{n}")))?;
            std::fs::write(bed.path(format!("dir-{n}/file")), pattern(n, 0, 10_000))?;
        }
        let _ = bed.try_mount("nosuchoption");
        refused(rmmod(), Errno::AGAIN, "rmmod of a mounted file system")?;
        bed.judge()?;
        ensure!(round > 0 || !caches()?.is_empty(), "no slab cache bears our name: nothing to see");
        rmmod().context("rmmod")?;
        ensure!(!stage::registered("rdaxfs")?, "the type is still registered");
        ensure!(caches()?.is_empty(), "slab caches are left: {:?}", caches()?);
        for path in ["/sys/module/rdaxfs", "/sys/fs/rdaxfs", "/sys/kernel/debug/rdaxfs"] {
            ensure!(!Path::new(path).exists(), "{path} is left");
        }
        bed.config.insert_module().context("inserting it again")?;
    }
    leaks.none()
}

/// `fstype=` registers the file system under that name, if it is one and free.
fn another_name(bed: &mut Bed) -> Result<()> {
    if !bed.config.is_rdaxfs() {
        skip!("about the module under test");
    }
    bed.mkfs("64M", &[])?;
    rmmod().context("rmmod")?;
    let under_other_names = || -> Result<()> {
        for name in ["", "ext.4", "ext/4", "ext4"] {
            let inserted = bed.config.insert_module_with(&[&format!("fstype={name}")]);
            ensure!(inserted.is_err(), "inserted under the name {name:?}");
        }
        bed.config.insert_module_with(&["fstype=rdaxfs_2"])?;
        ensure!(stage::registered("rdaxfs_2")? && !stage::registered("rdaxfs")?);
        let mount = bed.image.mount("rdaxfs_2", "")?;
        let info = std::fs::read_to_string("/proc/self/mounts")?;
        ensure!(info.contains(" rdaxfs_2 "), "the mount bears another name: {info}");
        mount.unmount()?;
        rmmod().context("rmmod of the other name")
    };
    let done = under_other_names();
    if stage::registered("rdaxfs_2")? {
        rmmod().context("rmmod after a failure")?;
    }
    bed.config.insert_module()?;
    done?;
    bed.mount()
}

/// `dax_switch=` of the module is the default of the mount option.
fn switch_by_default(bed: &mut Bed) -> Result<()> {
    if !bed.config.is_rdaxfs() {
        skip!("about the module under test");
    }
    bed.mkfs("64M", &[])?;
    rmmod().context("rmmod")?;
    let by_parameter = || -> Result<()> {
        ensure!(bed.config.insert_module_with(&["dax_switch=x"]).is_err(), "inserted with `x`");
        bed.config.insert_module_with(&["dax_switch=deferred"])?;
        for (options, live) in [("", false), ("dax_switch=live", true)] {
            let mount = bed.image.mount(&bed.config.fstype, options)?;
            let file = File::create(mount.dir().join("file"))?;
            sys::set_xflag_dax(&file, true)?;
            ensure!(is_dax(&file)? == live, "with {options:?}");
            drop(file);
            std::fs::remove_file(mount.dir().join("file"))?;
            mount.unmount()?;
        }
        rmmod().context("rmmod of the deferring one")
    };
    let done = by_parameter();
    if stage::registered("rdaxfs")? {
        rmmod().context("rmmod after a failure")?;
    }
    bed.config.insert_module()?;
    done?;
    bed.mount()
}

fn rmmod() -> Result<(), Errno> {
    rustix::system::delete_module(c"rdaxfs", libc::O_NONBLOCK)
}
