// SPDX-License-Identifier: GPL-2.0
//! Devices, images and mounts: what a test stands on, and the two judges of what it left behind,
//! `e2fsck` and the kernel's own ext4.

use crate::manifest::{Facts, Manifest};
use anyhow::{bail, ensure, Context, Result};
use rustix::io::Errno;
use rustix::mount::{self, MountFlags, UnmountFlags};
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where everything is mounted, one directory per device.
const BASE: &str = "/run/guest";
/// A directory outside every file system under test, writable for all.
pub const SCRATCH: &str = "/run/guest-scratch";
/// Size of each ram disk.
const RAM_DISK_KIB: u64 = 512 << 10;
/// Size of most test images: small, so that `e2fsck` is quick; from 128 MiB on mke2fs writes 16 MiB
/// of journal, before 4.
pub const IMAGE: &str = "120M";
/// The features in which the defaults of mke2fs 1.47.0 differ from those of 1.47.2.
pub const MKE2FS_1_47_0: &[&str] = &["-O", "^metadata_csum_seed,^orphan_file"];

/// Runs a program to its end and returns what it printed; fails if it failed.
pub fn run(program: &str, args: &[&str]) -> Result<String> {
    let (status, text) = run_status(program, args)?;
    ensure!(status == 0, "{program} {} ended with {status}:\n{text}", args.join(" "));
    Ok(text)
}

/// Runs a program to its end and returns its status and what it printed.
pub fn run_status(program: &str, args: &[&str]) -> Result<(i32, String)> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text += &String::from_utf8_lossy(&output.stderr);
    Ok((output.status.code().unwrap_or(-1), text))
}

/// What the file system under test is called, and where its helpers lie.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    /// File system type under test
    #[arg(long, default_value = "rdaxfs")]
    pub fstype: String,
    /// Shorter forms of the long tests
    #[arg(long)]
    pub short: bool,
    /// How long each storm of changes of mode lasts
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Directory that holds fsx and pjdfstest
    #[arg(long, value_name = "DIR")]
    pub tools: Option<PathBuf>,
    /// The module, for inserting it where it is not there yet, and for taking it out and in
    #[arg(long, value_name = "KO")]
    pub module: Option<PathBuf>,
}

impl Config {
    /// How much of something a test does: at full length, in the short form, and in the short form
    /// on a kernel that checks every access to memory, where the same takes twenty times as long.
    pub fn amount<T>(&self, full: T, short: T, checked: T) -> T {
        match (self.short, Path::new("/sys/kernel/debug/kmemleak").exists()) {
            (false, _) => full,
            (true, false) => short,
            (true, true) => checked,
        }
    }

    /// True for rdaxfs, false for a stand-in while a test is being tried.
    pub fn is_rdaxfs(&self) -> bool {
        self.fstype == "rdaxfs"
    }

    /// Makes the devices, the pseudo file systems and both file system types available.
    pub fn prepare(&self) -> Result<()> {
        fs::create_dir_all(BASE)?;
        fs::create_dir_all(SCRATCH)?;
        fs::set_permissions(SCRATCH, fs::Permissions::from_mode(0o777))?;
        for (kind, at) in [("debugfs", "/sys/kernel/debug"), ("tracefs", "/sys/kernel/tracing")] {
            // Already mounted in most guests, absent in some kernels: neither is an error here.
            let _ = mount::mount(kind, at, kind, MountFlags::empty(), None::<&std::ffi::CStr>);
        }
        let sectors = fs::read_to_string("/sys/block/ram1/size").unwrap_or_default();
        if sectors.trim().parse().unwrap_or(0) < RAM_DISK_KIB * 2 {
            // Not inserted yet, or with its own default of 4 MiB.
            run_status("modprobe", &["-r", "brd"])?;
            run("modprobe", &["brd", "rd_nr=2", &format!("rd_size={RAM_DISK_KIB}")])?;
        }
        for device in ["/dev/pmem0", "/dev/pmem1", "/dev/ram0", "/dev/ram1"] {
            ensure!(Path::new(device).exists(), "{device} is missing in this guest");
        }
        if !registered("ext4")? {
            run("modprobe", &["ext4"])?;
        }
        if !registered(&self.fstype)? {
            self.insert_module()?;
        }
        ensure!(registered(&self.fstype)?, "{} is not a registered file system", self.fstype);
        unmount_all()
    }

    /// Inserts the module under test.
    pub fn insert_module(&self) -> Result<()> {
        self.insert_module_with(&[])
    }

    /// Inserts the module under test with parameters, each `name=value`.
    pub fn insert_module_with(&self, params: &[&str]) -> Result<()> {
        let path = self.module.as_ref().map(|path| path.to_string_lossy());
        let (program, module) = match &path {
            Some(path) => ("insmod", path.as_ref()),
            None => ("modprobe", self.fstype.as_str()),
        };
        run(program, &[&[module], params].concat()).map(|_| ())
    }
}

/// Is this file system type registered?
pub fn registered(fstype: &str) -> Result<bool> {
    let types = fs::read_to_string("/proc/filesystems")?;
    Ok(types.lines().any(|line| line.split_whitespace().last() == Some(fstype)))
}

/// Unmounts whatever an earlier test left under [`BASE`].
pub fn unmount_all() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    for line in mounts.lines().rev() {
        if let Some(dir) = line.split(' ').nth(1).filter(|dir| dir.starts_with(BASE)) {
            mount::unmount(dir, UnmountFlags::DETACH)?;
        }
    }
    Ok(())
}

/// A block device that carries an ext4 image.
#[derive(Clone)]
pub struct Image {
    device: PathBuf,
}

impl Image {
    /// The image on `device`, whatever is on it so far.
    pub fn on(device: &str) -> Self {
        Self { device: device.into() }
    }

    /// The path of the device.
    pub fn device(&self) -> &Path {
        &self.device
    }

    fn device_str(&self) -> &str {
        self.device.to_str().unwrap_or_default()
    }

    /// `mke2fs -t ext4 -b 4096` with further arguments, `size` long; all of the device if that is
    /// empty. A later `-b` wins.
    pub fn mkfs(&self, size: &str, more: &[&str]) -> Result<()> {
        let mut args = vec!["-q", "-F", "-t", "ext4", "-b", "4096"];
        args.extend(more);
        args.push(self.device_str());
        args.extend(Some(size).filter(|size| !size.is_empty()));
        run("mke2fs", &args).map(|_| ())
    }

    /// Mounts it; `options` are separated by commas, `ro` among them becomes the flag.
    pub fn try_mount(&self, fstype: &str, options: &str) -> Result<Mount, Errno> {
        let dir = Path::new(BASE).join(self.device.file_name().unwrap_or_default());
        // If this fails, so does the mount below, and says why.
        let _ = fs::create_dir_all(&dir);
        let (flags, data) = split(options);
        mount::mount(&self.device, &dir, fstype, flags, Some(data.as_c_str()))?;
        Ok(Mount { dir, image: self.clone() })
    }

    /// As [`Self::try_mount`], failing with a message.
    pub fn mount(&self, fstype: &str, options: &str) -> Result<Mount> {
        let device = self.device.display();
        self.try_mount(fstype, options)
            .with_context(|| format!("mount -t {fstype} -o {options:?} {device}"))
    }

    /// `e2fsck -fn`: fails with its output if it finds anything to complain of.
    pub fn fsck(&self) -> Result<()> {
        let (status, text) = run_status("e2fsck", &["-fn", self.device_str()])?;
        ensure!(status == 0, "e2fsck -fn {} says {status}:\n{text}", self.device_str());
        Ok(())
    }

    /// Runs `e2fsck -fn`, then reads everything through the kernel's ext4 and compares.
    pub fn judge(&self, expected: &Manifest) -> Result<()> {
        self.fsck()?;
        let oracle = self.mount("ext4", "ro")?;
        let seen = Manifest::of(oracle.dir(), Facts::All).context("reading through ext4")?;
        oracle.unmount()?;
        expected.same(&seen, "here", "ext4").context("ext4 reads something else")
    }

    /// Has debugfs carry out commands on the image, writing.
    pub fn debugfs(&self, commands: &[&str]) -> Result<String> {
        let script = Path::new(BASE).join("debugfs-commands");
        fs::write(&script, commands.join("\n") + "\n")?;
        run("debugfs", &["-w", "-f", &script.to_string_lossy(), self.device_str()])
    }

    /// What debugfs prints for a command that only reads.
    pub fn ask(&self, command: &str) -> Result<String> {
        let output = Command::new("debugfs").args(["-R", command, self.device_str()]).output()?;
        // It says 0 of a file system that it could not open, or whose bitmaps are not right.
        let said = String::from_utf8_lossy(&output.stderr);
        let wrong =
            ["while trying to open", "while reading"].iter().any(|what| said.contains(what));
        let opened = output.status.success() && !wrong;
        ensure!(opened, "debugfs -R {command:?} failed:\n{said}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Whether the image says that its journal is to be replayed. Until then its bitmaps need not be right.
    pub fn needs_recovery(&self) -> Result<bool> {
        Ok(run("dumpe2fs", &["-h", self.device_str()])?.contains("needs_recovery"))
    }

    /// Reads `len` bytes at byte `at` of the device.
    pub fn peek(&self, at: u64, len: usize) -> Result<Vec<u8>> {
        use std::os::unix::fs::FileExt;
        let mut bytes = vec![0; len];
        fs::File::open(&self.device)?.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// Writes `bytes` at byte `at` of the device.
    pub fn poke(&self, at: u64, bytes: &[u8]) -> Result<()> {
        use std::os::unix::fs::FileExt;
        let device = fs::File::options().write(true).open(&self.device)?;
        device.write_all_at(bytes, at)?;
        Ok(device.sync_all()?)
    }

    /// Inverts one bit of the byte `at` of the device.
    pub fn flip(&self, at: u64) -> Result<()> {
        self.poke(at, &[self.peek(at, 1)?[0] ^ 0x10])
    }
}

fn split(options: &str) -> (MountFlags, CString) {
    let (flags, data): (Vec<&str>, Vec<&str>) =
        options.split(',').partition(|option| *option == "ro" || *option == "rw");
    let read_only = flags.last() == Some(&"ro");
    let flags = if read_only { MountFlags::RDONLY } else { MountFlags::empty() };
    (flags, CString::new(data.join(",")).unwrap_or_default())
}

/// A mounted image; unmounted on drop, lazily if it is busy.
pub struct Mount {
    dir: PathBuf,
    image: Image,
}

impl Mount {
    /// Its root directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Remounts with these options.
    pub fn remount(&self, options: &str) -> Result<(), Errno> {
        let (flags, data) = split(options);
        mount::mount_remount(&self.dir, flags, data.as_c_str())
    }

    /// The options that `/proc/self/mountinfo` shows: those of the mount, then those of the file system.
    pub fn shown(&self) -> Result<String> {
        let info = fs::read_to_string("/proc/self/mountinfo")?;
        let dir = self.dir.to_string_lossy();
        for line in info.lines().rev() {
            let fields: Vec<&str> = line.split(' ').collect();
            if fields.get(4) == Some(&dir.as_ref()) {
                return Ok(fields.last().unwrap_or(&"").to_string());
            }
        }
        bail!("{dir} is not in mountinfo")
    }

    /// Unmounts it; fails if something is still open.
    pub fn unmount(self) -> Result<Image> {
        let image = self.image.clone();
        mount::unmount(&self.dir, UnmountFlags::empty())
            .with_context(|| format!("umount {}", self.dir.display()))?;
        std::mem::forget(self);
        Ok(image)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if mount::unmount(&self.dir, UnmountFlags::empty()).is_err() {
            let _ = mount::unmount(&self.dir, UnmountFlags::DETACH);
        }
    }
}
