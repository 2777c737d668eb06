// SPDX-License-Identifier: GPL-2.0
//! Extended attributes and what is made of them: access control lists and capabilities.

use super::{free, pattern, refused};
use crate::harness::{Bed, Test, BOTH, RAM};
use crate::stage;
use crate::sys::{self, attrs, End};
use anyhow::{ensure, Context, Result};
use rustix::fs::{self, XattrFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{symlink, DirBuilderExt, FileExt, MetadataExt, PermissionsExt};
use std::path::Path;

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("xattrs::fiemap", BOTH, fiemap),
        Test::new("xattrs::set_and_get", BOTH, set_and_get),
        Test::new("xattrs::limits", BOTH, limits),
        Test::new("xattrs::kinds", RAM, kinds),
        Test::new("xattrs::model", BOTH, model),
        Test::new("xattrs::freed", BOTH, freed),
        Test::new("xattrs::by_ext4", BOTH, by_ext4),
        Test::new("xattrs::shared", BOTH, shared),
        Test::bare("xattrs::values_in_inodes", BOTH, values_in_inodes),
        Test::bare("xattrs::small_inodes", RAM, small_inodes),
        Test::new("xattrs::capabilities", RAM, capabilities),
        Test::new("xattrs::acl_grants", RAM, acl_grants),
        Test::new("xattrs::acl_inherited", BOTH, acl_inherited),
        Test::new("xattrs::acl_chmod", RAM, acl_chmod),
        Test::bare("xattrs::noacl", RAM, noacl),
    ]
}

fn set(path: &Path, name: &str, value: &[u8]) -> rustix::io::Result<()> {
    fs::lsetxattr(path, name, value, XattrFlags::empty())
}

/// The value of an attribute.
pub fn get(path: &Path, name: &str) -> rustix::io::Result<Vec<u8>> {
    let mut value = vec![0; 1 << 16];
    let len = fs::lgetxattr(path, name, &mut value)?;
    value.truncate(len);
    Ok(value)
}

/// The names of all attributes, sorted.
pub fn list(path: &Path) -> Result<Vec<String>> {
    let mut names = vec![0; 1 << 16];
    let len = fs::llistxattr(path, &mut names)?;
    let mut names: Vec<String> = names[..len]
        .split_inclusive(|byte| *byte == 0)
        .map(|name| String::from_utf8_lossy(&name[..name.len() - 1]).into_owned())
        .collect();
    names.sort();
    Ok(names)
}

fn set_and_get(bed: &mut Bed) -> Result<()> {
    let path = bed.path("file");
    std::fs::write(&path, "text")?;
    let large = pattern(1, 0, 3000);
    let values: [(&str, &[u8]); 6] = [
        ("user.short", b"value"),
        ("user.empty", b""),
        ("trusted.t", b"trusted"),
        ("security.s", b"label"),
        ("user.large", &large),
        ("user.gr\u{f6}\u{df}e", b"beyond ASCII"),
    ];
    for (name, value) in values {
        set(&path, name, value).context(name)?;
    }
    for round in 0..2 {
        for (name, value) in values {
            ensure!(get(&path, name)? == value, "{name} in round {round}");
            let len = fs::lgetxattr_query(&path, name)?;
            ensure!(len == value.len(), "{name} has a length of {len}");
        }
        let mut names: Vec<_> = values.iter().map(|(name, _)| name.to_string()).collect();
        names.sort();
        ensure!(list(&path)? == names, "{:?} in round {round}", list(&path)?);
        bed.again()?;
    }
    // Flags, errors, change and removal.
    refused(get(&path, "user.none"), Errno::NODATA, "an attribute that is not there")?;
    refused(fs::lgetxattr(&path, "user.short", &mut [0u8; 4]), Errno::RANGE, "too small a buffer")?;
    refused(fs::llistxattr(&path, &mut [0u8; 4]), Errno::RANGE, "too small a list")?;
    let again = fs::lsetxattr(&path, "user.short", b"x", XattrFlags::CREATE);
    refused(again, Errno::EXIST, "XATTR_CREATE")?;
    let new = fs::lsetxattr(&path, "user.new", b"x", XattrFlags::REPLACE);
    refused(new, Errno::NODATA, "XATTR_REPLACE")?;
    let before = std::fs::metadata(&path)?.ctime_nsec();
    std::thread::sleep(std::time::Duration::from_millis(15));
    fs::lsetxattr(&path, "user.short", b"longer than before", XattrFlags::REPLACE)?;
    ensure!(std::fs::metadata(&path)?.ctime_nsec() != before, "ctime stays");
    fs::lremovexattr(&path, "user.large")?;
    refused(fs::lremovexattr(&path, "user.large"), Errno::NODATA, "removing it again")?;
    bed.again()?;
    ensure!(get(&path, "user.short")? == b"longer than before");
    ensure!(list(&path)?.len() == values.len() - 1);
    let seen = sys::in_child(|| {
        let seen = sys::become_user(1000).map_err(Into::into).and_then(|()| list(&path));
        i32::from(seen.is_ok_and(|names| names.iter().any(|name| name.starts_with("trusted."))))
    })?;
    ensure!(seen == End::Exit(0), "an ordinary user sees trusted attributes");
    refused(set(&path, "nonsense.x", b""), Errno::OPNOTSUPP, "an unknown prefix")
}

/// `FIEMAP_FLAG_XATTR`: the bytes it names are those of the attribute.
fn fiemap(bed: &mut Bed) -> Result<()> {
    const INLINE: u32 = 0x200;
    let value = pattern(7, 0, 2000);
    for (name, attribute, bytes, inline) in
        [("here", "user.here", &value[..40], true), ("there", "user.there", &value[..], false)]
    {
        let file = bed.create(name)?;
        ensure!(
            attrs::place_of_attributes(&file)?.is_none(),
            "{name}: a place before there is any"
        );
        set(&bed.path(name), attribute, bytes)?;
        // Of metadata, what the device's cache has is what is written.
        let (at, len, flags) = attrs::place_of_attributes(&file)?.context("no place")?;
        ensure!((flags & INLINE != 0) == inline, "{name}: flags {flags:#x}");
        let found = bed.image.peek(at, len as usize)?;
        ensure!(found.windows(bytes.len()).any(|window| window == bytes), "{name}: not at {at}");
    }
    Ok(())
}

fn limits(bed: &mut Bed) -> Result<()> {
    let path = bed.path("file");
    std::fs::write(&path, "text")?;
    let name = format!("user.{}", "n".repeat(250));
    set(&path, &name, b"longest name")?;
    ensure!(get(&path, &name)? == b"longest name");
    let name = format!("user.{}", "n".repeat(251));
    refused(set(&path, &name, b""), Errno::RANGE, "too long a name")?;
    refused(set(&path, "user.big", &[1; 4096]), Errno::NOSPC, "too large a value")?;
    ensure!(get(&path, "user.big") == Err(Errno::NODATA), "a value that was refused is there");
    // Until nothing fits; then it goes on as before.
    let mut count = 0;
    let error = loop {
        match set(&path, &format!("user.fill-{count}"), &pattern(count, 0, 50)) {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    ensure!(error == Errno::NOSPC && (30..60).contains(&count), "{error} after {count}");
    bed.again()?;
    for n in 0..count {
        ensure!(get(&path, &format!("user.fill-{n}"))? == pattern(n, 0, 50), "value {n}");
    }
    refused(set(&path, "user.fill-0", &[0; 2000]), Errno::NOSPC, "growing without room")?;
    ensure!(get(&path, "user.fill-0")? == pattern(0, 0, 50), "a refused change is there");
    let blocks = std::fs::metadata(&path)?.blocks();
    for n in 0..count {
        fs::lremovexattr(&path, format!("user.fill-{n}"))?;
    }
    fs::lremovexattr(&path, format!("user.{}", "n".repeat(250)))?;
    ensure!(std::fs::metadata(&path)?.blocks() == blocks - 8, "the block is kept");
    ensure!(list(&path)?.is_empty());
    Ok(())
}

fn kinds(bed: &mut Bed) -> Result<()> {
    let at = |name: &str| bed.path(name);
    std::fs::create_dir(at("dir"))?;
    symlink("target", at("link"))?;
    symlink("t".repeat(200), at("long"))?;
    fs::mknodat(fs::CWD, at("fifo"), fs::FileType::Fifo, 0o600.into(), 0)?;
    for name in ["dir", "link", "long", "fifo"] {
        set(&at(name), "trusted.t", name.as_bytes()).context(name)?;
        set(&at(name), "trusted.large", &[7; 500]).context(name)?;
    }
    set(&at("dir"), "user.u", b"of a directory")?;
    for name in ["link", "fifo"] {
        refused(set(&at(name), "user.u", b""), Errno::PERM, "user attributes here")?;
    }
    bed.again()?;
    for name in ["dir", "link", "long", "fifo"] {
        ensure!(get(&bed.path(name), "trusted.t")? == name.as_bytes());
        ensure!(get(&bed.path(name), "trusted.large")? == [7; 500]);
    }
    ensure!(std::fs::read_link(bed.path("long"))?.as_os_str().len() == 200);
    Ok(())
}

/// Random changes of many files, against maps; ext4 has to agree in the middle and at the end.
fn model(bed: &mut Bed) -> Result<()> {
    let mut seed = 42_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut models = vec![BTreeMap::<String, Vec<u8>>::new(); 8];
    for n in 0..models.len() {
        File::create(bed.path(format!("{n}")))?;
    }
    let check = |dir: &Path, models: &[BTreeMap<String, Vec<u8>>]| -> Result<()> {
        for (n, model) in models.iter().enumerate() {
            let path = dir.join(format!("{n}"));
            let names: Vec<_> = model.keys().cloned().collect();
            ensure!(list(&path)? == names, "file {n} has {:?}, not {names:?}", list(&path)?);
            for (name, value) in model {
                ensure!(get(&path, name)? == *value, "file {n}, {name}");
            }
        }
        Ok(())
    };
    let rounds = bed.config.amount(6_000, 600, 200);
    for round in 0..rounds {
        let n = random(8) as usize;
        let path = bed.path(format!("{n}"));
        let space = ["user", "trusted", "security"][random(3) as usize];
        let name = format!("{space}.{}", "abcdefghij".get(..random(9) as usize + 1).unwrap_or("x"));
        if random(4) == 0 {
            let result = fs::lremovexattr(&path, &name);
            let had = models[n].remove(&name).is_some();
            ensure!(result == if had { Ok(()) } else { Err(Errno::NODATA) }, "{result:?}");
        } else {
            let value = pattern(round, 0, [4, 40, 60, 400, 900][random(5) as usize]);
            match set(&path, &name, &value) {
                Ok(()) => {
                    models[n].insert(name, value);
                }
                Err(error) => {
                    let used: usize = models[n].values().map(Vec::len).sum();
                    ensure!(error == Errno::NOSPC && used + value.len() > 2500, "{error}: {used}");
                }
            }
        }
        if round == rounds / 2 {
            check(bed.dir(), &models)?;
            bed.by_ext4(|dir| check(dir, &models))?;
        }
    }
    bed.again()?;
    check(bed.dir(), &models)?;
    bed.by_ext4(|dir| check(dir, &models))
}

/// With the last link, or the last attribute, the block is free again.
fn freed(bed: &mut Bed) -> Result<()> {
    bed.again()?;
    let before = free(bed.dir())?;
    for n in 0..20 {
        let path = bed.path(format!("{n}"));
        std::fs::write(&path, "text")?;
        set(&path, "user.large", &pattern(n, 0, 1000))?;
    }
    ensure!(free(bed.dir())?.0 <= before.0 - 40, "{:?} free, before {before:?}", free(bed.dir())?);
    for n in 0..20 {
        if n % 2 == 0 {
            fs::lremovexattr(bed.path(format!("{n}")), "user.large")?;
        }
        std::fs::remove_file(bed.path(format!("{n}")))?;
    }
    fs::syncfs(File::open(bed.dir())?)?;
    ensure!(free(bed.dir())? == before, "{:?} free, before {before:?}", free(bed.dir())?);
    Ok(())
}

fn by_ext4(bed: &mut Bed) -> Result<()> {
    let value = pattern(5, 0, 2000);
    bed.by_ext4(|dir| {
        let path = dir.join("file");
        std::fs::write(&path, "text")?;
        set(&path, "user.short", b"by ext4")?;
        set(&path, "user.large", &value)?;
        Ok(set(&path, "trusted.t", &[3; 90])?)
    })?;
    let path = bed.path("file");
    ensure!(list(&path)? == ["trusted.t", "user.large", "user.short"], "{:?}", list(&path)?);
    ensure!(get(&path, "user.short")? == b"by ext4");
    ensure!(get(&path, "user.large")? == value);
    set(&path, "user.large", &value[..1500])?;
    set(&path, "user.more", &value[..300])?;
    bed.by_ext4(|dir| {
        let path = dir.join("file");
        ensure!(get(&path, "user.large")? == value[..1500], "read by ext4");
        ensure!(get(&path, "user.more")? == value[..300], "read by ext4");
        Ok(fs::lremovexattr(&path, "user.large")?)
    })?;
    ensure!(list(&path)? == ["trusted.t", "user.more", "user.short"], "{:?}", list(&path)?);
    Ok(())
}

/// Blocks that ext4 made inodes share: changed one by one, and given up.
fn shared(bed: &mut Bed) -> Result<()> {
    bed.again()?;
    let before = free(bed.dir())?;
    let value = pattern(6, 0, 1000);
    bed.by_ext4(|dir| {
        for n in 0..6 {
            std::fs::write(dir.join(format!("{n}")), "")?;
            set(&dir.join(format!("{n}")), "user.large", &value)?;
        }
        Ok(())
    })?;
    ensure!(free(bed.dir())?.0 == before.0 - 1, "ext4 shares no block");
    set(&bed.path("0"), "user.large", b"short now")?;
    set(&bed.path("1"), "user.large", &pattern(7, 0, 1000))?;
    fs::lremovexattr(bed.path("2"), "user.large")?;
    std::fs::remove_file(bed.path("3"))?;
    ensure!(free(bed.dir())?.0 == before.0 - 2, "{:?}, before {before:?}", free(bed.dir())?);
    bed.again()?;
    ensure!(get(&bed.path("0"), "user.large")? == b"short now");
    ensure!(get(&bed.path("1"), "user.large")? == pattern(7, 0, 1000));
    ensure!(list(&bed.path("2"))?.is_empty());
    ensure!(get(&bed.path("4"), "user.large")? == value);
    std::fs::remove_file(bed.path("4"))?;
    set(&bed.path("5"), "user.large", &pattern(8, 0, 1000))?;
    ensure!(free(bed.dir())?.0 == before.0 - 2, "{:?}, before {before:?}", free(bed.dir())?);
    Ok(())
}

/// Values that ext4 put into inodes: read, replaced, given up with their file.
fn values_in_inodes(bed: &mut Bed) -> Result<()> {
    bed.mkfs(stage::IMAGE, &["-O", "ea_inode"])?;
    bed.mount()?;
    bed.again()?;
    let before = free(bed.dir())?;
    let value = pattern(9, 0, 30_000);
    bed.by_ext4(|dir| {
        for n in 0..4 {
            std::fs::write(dir.join(format!("{n}")), "")?;
            set(&dir.join(format!("{n}")), "user.large", &value)?;
            set(&dir.join(format!("{n}")), "user.other", &pattern(10, 0, 5_000))?;
        }
        // In a block, which is shared, beside others.
        for n in 4..6 {
            let path = dir.join(format!("{n}"));
            std::fs::write(&path, "")?;
            set(&path, "user.body", &[1; 60])?;
            set(&path, "user.block", &pattern(11, 0, 300))?;
            set(&path, "user.large", &value)?;
        }
        Ok(())
    })?;
    for n in 0..6 {
        let path = bed.path(format!("{n}"));
        ensure!(get(&path, "user.large")? == value, "file {n}");
        ensure!(fs::lgetxattr_query(&path, "user.large")? == 30_000);
    }
    fs::lremovexattr(bed.path("0"), "user.large")?;
    set(&bed.path("1"), "user.other", b"short")?;
    set(&bed.path("4"), "user.block", &pattern(12, 0, 300))?;
    std::fs::remove_file(bed.path("2"))?;
    bed.by_ext4(|dir| {
        for n in [1, 3, 4, 5] {
            ensure!(get(&dir.join(format!("{n}")), "user.large")? == value, "file {n}");
        }
        Ok(())
    })?;
    ensure!(get(&bed.path("1"), "user.other")? == b"short");
    ensure!(get(&bed.path("3"), "user.other")? == pattern(10, 0, 5_000));
    for n in [0, 1, 3, 4, 5] {
        std::fs::remove_file(bed.path(format!("{n}")))?;
    }
    fs::syncfs(File::open(bed.dir())?)?;
    ensure!(free(bed.dir())? == before, "{:?} free, before {before:?}", free(bed.dir())?);
    Ok(())
}

/// Inodes of 128 bytes have no room: everything goes to the block.
fn small_inodes(bed: &mut Bed) -> Result<()> {
    bed.mkfs(stage::IMAGE, &["-I", "128"])?;
    bed.mount()?;
    let path = bed.path("file");
    std::fs::write(&path, "text")?;
    set(&path, "user.u", b"value")?;
    bed.again()?;
    ensure!(get(&path, "user.u")? == b"value");
    ensure!(std::fs::metadata(&path)?.blocks() == 16);
    fs::lremovexattr(&path, "user.u")?;
    ensure!(std::fs::metadata(&path)?.blocks() == 8);
    Ok(())
}

/// `cap_net_raw+ep`, as it is stored.
pub const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A write takes capabilities away.
fn capabilities(bed: &mut Bed) -> Result<()> {
    let path = bed.path("program");
    std::fs::write(&path, "text")?;
    set(&path, "security.capability", &CAPABILITY)?;
    bed.again()?;
    ensure!(get(&path, "security.capability")? == CAPABILITY);
    // Once without, so that the absence is remembered, and then with.
    for _ in 0..2 {
        File::options().write(true).open(&path)?.write_all_at(b"new", 0)?;
        refused(get(&path, "security.capability"), Errno::NODATA, "capabilities after a write")?;
        set(&path, "security.capability", &CAPABILITY)?;
    }
    std::os::unix::fs::chown(&path, Some(1), None)?;
    refused(get(&path, "security.capability"), Errno::NODATA, "capabilities after chown")
}

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

/// A list as it is set: tags, permissions and identifiers.
pub fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(perm.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

const NONE: u32 = u32::MAX;
const USER_OBJ: u16 = 1;
const USER: u16 = 2;
const GROUP_OBJ: u16 = 4;
const GROUP: u16 = 8;
const MASK: u16 = 16;
const OTHER: u16 = 32;

/// As [`sys::in_child`], as user 1000: may the file be opened?
fn user_opens(path: &Path, write: bool) -> Result<bool> {
    let end = sys::in_child(|| {
        let opened = sys::become_user(1000)
            .and_then(|()| File::options().read(true).write(write).open(path));
        i32::from(opened.is_err())
    })?;
    Ok(end == End::Exit(0))
}

fn acl_grants(bed: &mut Bed) -> Result<()> {
    let path = bed.path("file");
    std::fs::write(&path, "text")?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
    ensure!(!user_opens(&path, false)?, "without a list");
    let list_of = |perm| {
        acl(&[
            (USER_OBJ, 6, NONE),
            (USER, perm, 1000),
            (GROUP_OBJ, 0, NONE),
            (GROUP, 1, 77),
            (MASK, 7, NONE),
            (OTHER, 0, NONE),
        ])
    };
    set(&path, ACCESS, &list_of(4))?;
    ensure!(std::fs::metadata(&path)?.mode() & 0o777 == 0o670, "the mask is not in the mode");
    ensure!(user_opens(&path, false)? && !user_opens(&path, true)?, "with r--");
    set(&path, ACCESS, &list_of(6))?;
    bed.again()?;
    ensure!(user_opens(&path, true)?, "with rw-");
    ensure!(get(&path, ACCESS)? == list_of(6));
    ensure!(list(&path)? == [ACCESS]);
    bed.by_ext4(|dir| {
        ensure!(get(&dir.join("file"), ACCESS)? == list_of(6), "read by ext4");
        Ok(set(&dir.join("file"), ACCESS, &list_of(2))?)
    })?;
    ensure!(get(&path, ACCESS)? == list_of(2));
    // One that says no more than the mode does is not kept.
    set(&path, ACCESS, &acl(&[(USER_OBJ, 6, NONE), (GROUP_OBJ, 4, NONE), (OTHER, 4, NONE)]))?;
    ensure!(list(&path)?.is_empty() && std::fs::metadata(&path)?.mode() & 0o777 == 0o644);
    refused(set(&path, ACCESS, &acl(&[(USER_OBJ, 6, NONE)])), Errno::INVAL, "half a list")?;
    refused(set(&path, DEFAULT, &list_of(6)), Errno::ACCESS, "a default list of a file")
}

fn acl_inherited(bed: &mut Bed) -> Result<()> {
    let dir = bed.path("dir");
    std::fs::create_dir(&dir)?;
    let default = acl(&[
        (USER_OBJ, 7, NONE),
        (USER, 7, 1000),
        (GROUP_OBJ, 5, NONE),
        (MASK, 7, NONE),
        (OTHER, 0, NONE),
    ]);
    set(&dir, DEFAULT, &default)?;
    bed.again()?;
    ensure!(get(&dir, DEFAULT)? == default);
    let at = |name: &str| dir.join(name);
    File::create(at("file"))?;
    std::fs::create_dir(at("sub"))?;
    std::fs::DirBuilder::new().mode(0o700).create(at("closed"))?;
    symlink("x", at("link"))?;
    fs::mknodat(fs::CWD, at("fifo"), fs::FileType::Fifo, 0o666.into(), 0)?;
    {
        let flags = fs::OFlags::TMPFILE | fs::OFlags::RDWR;
        let tmp = fs::openat(fs::CWD, &dir, flags, fs::Mode::from(0o666))?;
        let mode = fs::fstat(&tmp)?.st_mode & 0o777;
        ensure!(mode == 0o660, "{mode:o} of a temporary file");
        let len = fs::fgetxattr(&tmp, ACCESS, &mut [0u8; 100])?;
        ensure!(len == default.len(), "a temporary file's list has {len} bytes");
    }
    for round in 0..2 {
        let mode = |name: &str| Ok::<_, io::Error>(at(name).symlink_metadata()?.mode() & 0o777);
        // The umask has no say where there is a default list.
        ensure!(mode("file")? == 0o660, "{:o} in round {round}", mode("file")?);
        ensure!(mode("sub")? == 0o770 && mode("closed")? == 0o700 && mode("fifo")? == 0o660);
        ensure!(list(&at("file"))? == [ACCESS] && list(&at("fifo"))? == [ACCESS]);
        ensure!(list(&at("sub"))? == [ACCESS, DEFAULT] && get(&at("sub"), DEFAULT)? == default);
        ensure!(list(&at("link"))?.is_empty());
        let mask = get(&at("closed"), ACCESS)?;
        ensure!(mask[4 + 3 * 8 + 2] == 0, "the mask of a closed directory");
        bed.again()?;
    }
    // Without one, the umask counts.
    File::create(bed.path("plain"))?;
    ensure!(std::fs::metadata(bed.path("plain"))?.mode() & 0o777 == 0o644);
    std::fs::create_dir(bed.path("plain-dir"))?;
    ensure!(std::fs::metadata(bed.path("plain-dir"))?.mode() & 0o777 == 0o755);
    Ok(())
}

fn acl_chmod(bed: &mut Bed) -> Result<()> {
    let path = bed.path("file");
    std::fs::write(&path, "text")?;
    let entries = |group, mask| {
        acl(&[
            (USER_OBJ, 6, NONE),
            (USER, 6, 1000),
            (GROUP_OBJ, group, NONE),
            (MASK, mask, NONE),
            (OTHER, 0, NONE),
        ])
    };
    set(&path, ACCESS, &entries(4, 6))?;
    ensure!(user_opens(&path, true)?);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640))?;
    ensure!(get(&path, ACCESS)? == entries(4, 4), "chmod changes the mask");
    ensure!(user_opens(&path, false)? && !user_opens(&path, true)?);
    bed.again()?;
    ensure!(get(&path, ACCESS)? == entries(4, 4), "mounted again");
    fs::lremovexattr(&path, ACCESS)?;
    ensure!(list(&path)?.is_empty() && !user_opens(&path, false)?);
    Ok(())
}

fn noacl(bed: &mut Bed) -> Result<()> {
    bed.mkfs(stage::IMAGE, &[])?;
    bed.mount_with("noacl,user_xattr")?;
    let path = bed.path("file");
    std::fs::write(&path, "text")?;
    let value = acl(&[(USER_OBJ, 6, NONE), (GROUP_OBJ, 4, NONE), (OTHER, 4, NONE)]);
    refused(set(&path, ACCESS, &value), Errno::OPNOTSUPP, "a list")?;
    set(&path, "user.u", b"value")?;
    let mode = std::fs::metadata(&path)?.mode() & 0o777;
    ensure!(mode == 0o644, "{mode:o}: the umask does not count");
    Ok(())
}
