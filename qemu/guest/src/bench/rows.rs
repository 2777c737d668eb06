// SPDX-License-Identifier: GPL-2.0
//! The rows of the table: what each says, in which unit, and what rdaxfs is to reach in it.

use super::samples::Part;

/// What a figure is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Time of one operation: nanoseconds, or instructions.
    Cost,
    /// Bytes in a second.
    Throughput,
    /// Bytes of memory.
    Memory,
}

/// What rdaxfs is to reach.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Target {
    /// Nothing is asked.
    None,
    /// By DAX, no more instructions than this.
    Instructions(f64),
    /// By DAX, no more instructions than the better of the peers.
    BetterPeer,
    /// As good as the better of the peers but for this fraction.
    Within(f64),
    /// At most this many times what ext4 needs by the same path.
    TimesExt4(f64),
}

/// A row.
#[derive(Debug)]
pub struct Row {
    /// Its name in the JSON.
    pub key: &'static str,
    /// Its name in the table.
    pub what: &'static str,
    /// The unit of its figures.
    pub unit: Unit,
    /// What is to be reached.
    pub target: Target,
}

impl Row {
    /// The unit in words.
    pub fn unit(&self, part: Part) -> &'static str {
        match (self.unit, part) {
            (Unit::Cost, Part::Time) => "ns",
            (Unit::Cost, Part::Instructions) => "instructions",
            (Unit::Throughput, _) => "MB/s",
            (Unit::Memory, _) => "bytes",
        }
    }

    /// Is more better?
    pub fn more_is_better(&self) -> bool {
        self.unit == Unit::Throughput
    }
}

const fn row(key: &'static str, what: &'static str, unit: Unit, target: Target) -> Row {
    Row { key, what, unit, target }
}

const fn cost(key: &'static str, what: &'static str, target: Target) -> Row {
    row(key, what, Unit::Cost, target)
}

/// Of every page of a file of 64 MiB that is written and not cached, in pages of 4 KiB.
pub static READ_FAULT: Row =
    cost("read-fault", "first read of a page, 4 KiB mappings", Target::BetterPeer);
/// As [`READ_FAULT`], through a shared mapping.
pub static WRITE_FAULT: Row =
    cost("write-fault", "first write of a page, 4 KiB mappings", Target::BetterPeer);
/// As [`READ_FAULT`], huge pages allowed.
pub static READ_HUGE: Row =
    cost("read-huge", "first read of a page, huge mappings", Target::Instructions(20.0));
/// As [`WRITE_FAULT`], huge pages allowed.
pub static WRITE_HUGE: Row =
    cost("write-huge", "first write of a page, huge mappings", Target::Instructions(20.0));
/// Of a file without blocks.
pub static READ_HOLE: Row = cost("read-hole", "first read of a page of a hole", Target::None);
/// Of a file without blocks: each page gets one.
pub static WRITE_HOLE: Row = cost("write-hole", "first write of a page of a hole", Target::None);
/// Of a page that is cached, or was mapped by DAX before.
pub static REMAP: Row = cost("remap", "mmap, touch, munmap of a cached page", Target::None);
/// Of a page that is cached, or was mapped by DAX before; a fault may map pages around.
pub static AROUND: Row = cost("around", "touch of a cached page", Target::None);
/// As [`AROUND`]; no faults are saved by mapping pages around.
pub static REFAULT: Row = cost("refault", "touch of a cached page, no fault-around", Target::None);
/// As [`REFAULT`], cached in pages of 4 KiB: one fault for each.
pub static REFAULT_SMALL: Row =
    cost("refault-small", "the same, cached in pages of 4 KiB", Target::None);
/// As [`REFAULT_SMALL`], on one CPU of several.
pub static ALONE: Row = cost("alone", "the same, by one thread", Target::None);
/// As [`ALONE`], by as many threads as there are CPUs, each with a file of its own.
pub static APART: Row = cost("apart", "a thread on each CPU, a file each", Target::None);
/// As [`APART`], each with a part of one file.
pub static TOGETHER: Row = cost("together", "a thread on each CPU, one file", Target::None);
/// As [`READ_HUGE`] on an image made for huge pages.
pub static READ_ALIGNED: Row =
    cost("read-aligned", "first read of a page, aligned image", Target::Instructions(20.0));
/// As [`WRITE_HUGE`] on an image made for huge pages.
pub static WRITE_ALIGNED: Row =
    cost("write-aligned", "first write of a page, aligned image", Target::Instructions(20.0));

/// Each engine, order, size and direction of fio.
pub static FIO: [Row; 16] = [
    fio("psync-seq-4k-read", "psync, sequential, 4 KiB, read"),
    fio("psync-seq-4k-write", "psync, sequential, 4 KiB, write"),
    fio("psync-seq-1m-read", "psync, sequential, 1 MiB, read"),
    fio("psync-seq-1m-write", "psync, sequential, 1 MiB, write"),
    fio("psync-rand-4k-read", "psync, random, 4 KiB, read"),
    fio("psync-rand-4k-write", "psync, random, 4 KiB, write"),
    fio("psync-rand-1m-read", "psync, random, 1 MiB, read"),
    fio("psync-rand-1m-write", "psync, random, 1 MiB, write"),
    fio("mmap-seq-4k-read", "mmap, sequential, 4 KiB, read"),
    fio("mmap-seq-4k-write", "mmap, sequential, 4 KiB, write"),
    fio("mmap-seq-1m-read", "mmap, sequential, 1 MiB, read"),
    fio("mmap-seq-1m-write", "mmap, sequential, 1 MiB, write"),
    fio("mmap-rand-4k-read", "mmap, random, 4 KiB, read"),
    fio("mmap-rand-4k-write", "mmap, random, 4 KiB, write"),
    fio("mmap-rand-1m-read", "mmap, random, 1 MiB, read"),
    fio("mmap-rand-1m-write", "mmap, random, 1 MiB, write"),
];

const fn fio(key: &'static str, what: &'static str) -> Row {
    row(key, what, Unit::Throughput, Target::Within(0.05))
}

/// `pread` of 4 KiB in order; the file is cached where there is a cache.
pub static READ_4K: Row = cost("pread-4k", "pread of 4 KiB", Target::Within(0.05));
/// `pwrite` of 4 KiB that are already written.
pub static WRITE_4K: Row = cost("pwrite-4k", "pwrite of 4 KiB, overwriting", Target::Within(0.05));
/// `pread` of 1 MiB.
pub static READ_1M: Row = cost("pread-1m", "pread of 1 MiB", Target::Within(0.05));
/// `pwrite` of 1 MiB that are already written.
pub static WRITE_1M: Row = cost("pwrite-1m", "pwrite of 1 MiB, overwriting", Target::Within(0.05));
/// `pwrite` of 4 KiB at the end of a file that grows.
pub static APPEND_4K: Row = cost("append-4k", "append of 4 KiB", Target::None);
/// As [`APPEND_4K`], and `fsync` after each.
pub static APPEND_FSYNC: Row =
    cost("append-fsync", "append of 4 KiB and fsync", Target::TimesExt4(1.5));

const fn name(key: &'static str, what: &'static str) -> Row {
    cost(key, what, Target::TimesExt4(1.5))
}

/// The rows about names, for one way to spread the files.
pub struct Names {
    /// Open with `O_CREAT | O_EXCL`, close.
    pub create: Row,
    /// `statx` by name.
    pub stat: Row,
    /// For each entry, without its inode.
    pub readdir: Row,
    /// To another name in the same directory.
    pub rename: Row,
    /// Of an empty file.
    pub unlink: Row,
}

/// All files in one directory.
pub static ONE: Names = Names {
    create: name("create-1", "create, 1 directory"),
    stat: name("stat-1", "stat, 1 directory"),
    readdir: name("readdir-1", "readdir entry, 1 directory"),
    rename: name("rename-1", "rename, 1 directory"),
    unlink: name("unlink-1", "unlink, 1 directory"),
};

/// The files spread over 100 directories, taking turns.
pub static HUNDRED: Names = Names {
    create: name("create-100", "create, 100 directories"),
    stat: name("stat-100", "stat, 100 directories"),
    readdir: name("readdir-100", "readdir entry, 100 directories"),
    rename: name("rename-100", "rename, 100 directories"),
    unlink: name("unlink-100", "unlink, 100 directories"),
};

/// A tree copied, for each of its files and directories.
pub static COPY_TREE: Row = name("copy-tree", "copy of a source tree, a file");
/// Mount of a file system of 1 TiB that is empty.
pub static MOUNT: Row = name("mount", "mount of 1 TiB, empty");
/// Its unmount.
pub static UNMOUNT: Row = name("unmount", "unmount of it");
/// Memory that the kernel takes to keep an inode and its name in its caches.
pub static CACHED: Row =
    row("cached", "slab memory for a cached file", Unit::Memory, Target::TimesExt4(1.5));
/// Its part that is the inode itself.
pub static OBJECT: Row =
    row("object", "the inode object of it", Unit::Memory, Target::TimesExt4(1.5));

/// All rows, in the order of the table, under their headings.
pub static ALL: &[(&str, &[&Row])] = &[
    (
        "Page faults, each page of a written file of 64 MiB",
        &[
            &READ_FAULT,
            &WRITE_FAULT,
            &READ_HUGE,
            &WRITE_HUGE,
            &READ_ALIGNED,
            &WRITE_ALIGNED,
            &READ_HOLE,
            &WRITE_HOLE,
            &AROUND,
            &REFAULT,
            &REFAULT_SMALL,
            &ALONE,
            &APART,
            &TOGETHER,
            &REMAP,
        ],
    ),
    (
        "Data, by system calls",
        &[&READ_4K, &WRITE_4K, &READ_1M, &WRITE_1M, &APPEND_4K, &APPEND_FSYNC],
    ),
    (
        "Data, by fio",
        &[
            &FIO[0], &FIO[1], &FIO[2], &FIO[3], &FIO[4], &FIO[5], &FIO[6], &FIO[7], &FIO[8],
            &FIO[9], &FIO[10], &FIO[11], &FIO[12], &FIO[13], &FIO[14], &FIO[15],
        ],
    ),
    (
        "Names",
        &[
            &ONE.create,
            &ONE.stat,
            &ONE.readdir,
            &ONE.rename,
            &ONE.unlink,
            &HUNDRED.create,
            &HUNDRED.stat,
            &HUNDRED.readdir,
            &HUNDRED.rename,
            &HUNDRED.unlink,
            &COPY_TREE,
        ],
    ),
    ("Mount and memory", &[&MOUNT, &UNMOUNT, &CACHED, &OBJECT]),
];
