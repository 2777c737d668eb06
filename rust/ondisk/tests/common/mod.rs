// SPDX-License-Identifier: GPL-2.0

//! What the tests share: the host's crc32c, and images made by mke2fs.
//!
//! The tests call `mke2fs`, `debugfs`, `dumpe2fs` and `e2fsck` of e2fsprogs and fail if they are not
//! on the PATH, or in /sbin or /usr/sbin.
//!
//! Miri is not in the toolchain these tests run with. It would find little: the crate forbids unsafe
//! code, and what zerocopy does is checked by its own makers.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::{
    ffi::OsStr,
    fs::{
        self,
        File, //
    },
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::{
        Path,
        PathBuf, //
    },
    process::{
        Command,
        Output,
        Stdio, //
    },
};

use ondisk::{
    BlockNr,
    Csum,
    Geometry,
    GroupDesc,
    Inode, //
};

/// Begins all checksums.
pub const CRC32C: Csum = Csum::new(crc32c_update);

/// crc32c as the kernel's function of that name computes it: begun as told, not inverted at the end.
pub fn crc32c_update(crc: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!crc, bytes)
}

/// A file system in a file of its own, gone with this value.
pub struct Image {
    dir: tempfile::TempDir,
}

impl Image {
    /// `mke2fs -t ext4 -F ARGS IMAGE SIZE`.
    pub fn new(args: &str, size: &str) -> Self {
        let image = Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
        };
        let mut argv: Vec<&OsStr> = ["-q", "-t", "ext4", "-F"].map(OsStr::new).into();
        argv.extend(args.split_whitespace().map(OsStr::new));
        let path = image.path();
        argv.extend([path.as_os_str(), OsStr::new(size)]);
        tool("mke2fs", &argv);
        image
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    /// The `len` bytes from `offset` on.
    pub fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let file = File::open(self.path()).expect("the image is there");
        file.read_exact_at(&mut bytes, offset)
            .expect("the image is readable");
        bytes
    }

    /// Changes the bytes from `offset` on.
    pub fn write(&self, offset: u64, bytes: &[u8]) {
        let file = File::options().write(true).open(self.path());
        file.and_then(|file| file.write_all_at(bytes, offset))
            .expect("the image is writable");
    }

    /// The superblock.
    pub fn superblock(&self) -> [u8; 1024] {
        self.read(1024, 1024).try_into().expect("1024 bytes")
    }

    /// A block, of the size that `geometry` tells.
    pub fn block(&self, geometry: &Geometry, nr: BlockNr) -> Vec<u8> {
        self.read(
            nr.get() << geometry.block_bits(),
            geometry.block_size() as usize,
        )
    }

    /// Where inode `ino` begins, in bytes.
    pub fn inode_place(&self, geometry: &Geometry, ino: u32) -> u64 {
        let place = geometry.inode(ino).expect("the inode is there");
        let (block, offset) = geometry.desc_place(place.group).expect("so is its group");
        let block = self.block(geometry, block);
        let desc = GroupDesc::decode(geometry, place.group, &block[offset..]).expect("it is sound");
        let block = desc.inode_table().nth(place.block).expect("and its block");
        (block.get() << geometry.block_bits()) + place.offset as u64
    }

    /// The bytes of inode `ino`.
    pub fn inode_bytes(&self, geometry: &Geometry, ino: u32) -> Vec<u8> {
        let place = self.inode_place(geometry, ino);
        self.read(place, geometry.inode_size().into())
    }

    /// Inode `ino`.
    pub fn inode(&self, geometry: &Geometry, ino: u32) -> Inode {
        let bytes = self.inode_bytes(geometry, ino);
        Inode::decode(geometry, ino, &bytes).expect("the inode is sound")
    }

    /// Runs the lines of `script` in debugfs, writing.
    pub fn debugfs(&self, script: &str) -> String {
        let mut child = Command::new(find("debugfs"))
            .args(["-w", "-f", "-"])
            .arg(self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("debugfs starts");
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        // By a thread: debugfs waits for its output to be read, too.
        let script = script.to_owned();
        let writer = std::thread::spawn(move || stdin.write_all(script.as_bytes()));
        let output = child.wait_with_output().expect("debugfs ends");
        let written = writer.join().expect("the thread ends");
        written.expect("debugfs reads its script");
        assert!(output.status.success(), "debugfs: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What `dumpe2fs` says of it.
    pub fn dumpe2fs(&self) -> String {
        tool("dumpe2fs", &[self.path().as_os_str()])
    }

    /// Fails unless `e2fsck -fn` finds nothing.
    pub fn fsck(&self) {
        let path = self.path();
        tool("e2fsck", &[OsStr::new("-fn"), path.as_os_str()]);
    }

    /// Its geometry, on a device of just its size.
    pub fn geometry(&self) -> Geometry {
        let len = fs::metadata(self.path()).expect("the image is there").len();
        Geometry::parse(&self.superblock(), crc32c_update, len)
            .expect("mke2fs makes sound file systems")
    }
}

/// What a tool said, and how it ended.
pub fn run(name: &str, args: &[&OsStr]) -> Output {
    let output = Command::new(find(name)).args(args).output();
    output.unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A tool's standard output; fails with all it said if the tool fails.
pub fn tool(name: &str, args: &[&OsStr]) -> String {
    let output = run(name, args);
    assert!(
        output.status.success(),
        "{name} {args:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Where a tool is.
pub fn find(name: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let file = path
        .split(':')
        .chain(["/sbin", "/usr/sbin"])
        .map(|dir| Path::new(dir).join(name))
        .find(|file| file.is_file());
    file.unwrap_or_else(|| panic!("{name} not found: the tests need e2fsprogs"))
}
