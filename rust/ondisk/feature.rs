// SPDX-License-Identifier: GPL-2.0

//! The three feature sets of the superblock.
//!
//! A file system states what it needs of those who touch it. What is unknown in [`Compat`] harms
//! nobody; with something unknown in [`RoCompat`] it may be read; with something unknown in
//! [`Incompat`] it must be left alone.
//!
//! [`Incompat::SUPPORTED`] and [`RoCompat::SUPPORTED`] say what rdaxfs knows. The names printed are
//! those of e2fsprogs, so that what a message names can be given to `tune2fs -O`.

use core::fmt;

macro_rules! feature_set {
    (
        $(#[$set_doc:meta])*
        $Set:ident, $letter:literal:
        $( $(#[$doc:meta])* $FLAG:ident = $value:literal $name:literal; )*
    ) => {
        $(#[$set_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $Set(u32);

        impl $Set {
            $( $(#[$doc])* pub const $FLAG: Self = Self($value); )*

            const NAMES: &'static [(u32, &'static str)] = &[$(($value, $name)),*];

            /// The set with the bits of `bits`, those without a meaning too.
            pub const fn from_bits(bits: u32) -> Self {
                Self(bits)
            }

            /// The bits as they are on disk.
            pub const fn bits(self) -> u32 {
                self.0
            }

            /// Whether all of `other` is in this set.
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// What is in this set and not in `other`.
            #[must_use]
            pub const fn without(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }

            /// What is in one of the two sets.
            #[must_use]
            pub const fn with(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// Whether the set has no member.
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }
        }

        /// The names of the members, separated by commas; a bit without a name is written as
        /// e2fsprogs writes it.
        impl fmt::Display for $Set {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let members = (0..u32::BITS).filter(|bit| self.0 >> bit & 1 == 1);
                for (n, bit) in members.enumerate() {
                    if n > 0 {
                        f.write_str(", ")?;
                    }
                    match Self::NAMES.iter().find(|(value, _)| *value == 1 << bit) {
                        Some((_, name)) => f.write_str(name)?,
                        None => write!(f, "FEATURE_{}{bit}", $letter)?,
                    }
                }
                Ok(())
            }
        }
    };
}

feature_set! {
    /// `s_feature_compat`: what those who do not know it need not care about.
    Compat, 'C':
    /// Blocks are preallocated to directories.
    DIR_PREALLOC = 0x1 "dir_prealloc";
    /// AFS inodes.
    IMAGIC_INODES = 0x2 "imagic_inodes";
    /// There is a journal.
    HAS_JOURNAL = 0x4 "has_journal";
    /// There may be extended attributes.
    EXT_ATTR = 0x8 "ext_attr";
    /// Inode 7 owns blocks that are reserved for more group descriptors.
    RESIZE_INODE = 0x10 "resize_inode";
    /// Directories may be indexed by hash.
    DIR_INDEX = 0x20 "dir_index";
    /// There are at most two backups of the superblock, in the groups that `s_backup_bgs` names.
    SPARSE_SUPER2 = 0x200 "sparse_super2";
    /// The journal may hold fast commits.
    FAST_COMMIT = 0x400 "fast_commit";
    /// Inode numbers and the UUID must not change, keys are derived from them.
    STABLE_INODES = 0x800 "stable_inodes";
    /// Orphans are kept in a file, the inode `s_orphan_file_inum`.
    ORPHAN_FILE = 0x1000 "orphan_file";
}

feature_set! {
    /// `s_feature_incompat`: what one must know to touch the file system at all.
    Incompat, 'I':
    /// Compressed files.
    COMPRESSION = 0x1 "compression";
    /// Directory entries tell the type of the file.
    FILETYPE = 0x2 "filetype";
    /// The journal holds changes that are not in their places yet.
    RECOVER = 0x4 "needs_recovery";
    /// This is not a file system but the journal of one.
    JOURNAL_DEV = 0x8 "journal_dev";
    /// The blocks of group descriptors lie in the groups they describe.
    META_BG = 0x10 "meta_bg";
    /// Files may be mapped by extents.
    EXTENTS = 0x40 "extent";
    /// Block numbers are of 64 bits, group descriptors of 64 bytes.
    IS_64BIT = 0x80 "64bit";
    /// Protection against being mounted by two hosts.
    MMP = 0x100 "mmp";
    /// Bitmaps and inode tables may lie outside their group.
    FLEX_BG = 0x200 "flex_bg";
    /// Large extended attributes are kept in inodes.
    EA_INODE = 0x400 "ea_inode";
    /// Directory entries hold data.
    DIRDATA = 0x1000 "dirdata";
    /// Checksums begin with `s_checksum_seed`, not with the UUID.
    CSUM_SEED = 0x2000 "metadata_csum_seed";
    /// Directories of more than 2 GiB, indexes of three levels.
    LARGEDIR = 0x4000 "large_dir";
    /// Small files are kept in their inode.
    INLINE_DATA = 0x8000 "inline_data";
    /// Encrypted files.
    ENCRYPT = 0x10000 "encrypt";
    /// Directories that do not tell upper case from lower case.
    CASEFOLD = 0x20000 "casefold";
}

feature_set! {
    /// `s_feature_ro_compat`: what one must know to change the file system.
    RoCompat, 'R':
    /// Only the groups 0, 1 and the powers of 3, 5 and 7 have backups of the superblock.
    SPARSE_SUPER = 0x1 "sparse_super";
    /// There may be files of 2 GiB and more.
    LARGE_FILE = 0x2 "large_file";
    /// Never used.
    BTREE_DIR = 0x4 "btree_dir";
    /// The block count of an inode has 48 bits, and may be in blocks of the file system.
    HUGE_FILE = 0x8 "huge_file";
    /// Group descriptors have checksums, a crc16; groups may be uninitialised.
    GDT_CSUM = 0x10 "uninit_bg";
    /// A link count of 1 on a directory means that there are too many to count.
    DIR_NLINK = 0x20 "dir_nlink";
    /// Inodes are larger than 128 bytes, `s_min_extra_isize` of them is always used.
    EXTRA_ISIZE = 0x40 "extra_isize";
    /// There is a snapshot.
    SNAPSHOT = 0x80 "snapshot";
    /// Quotas are kept in inodes of their own.
    QUOTA = 0x100 "quota";
    /// Space is allocated in clusters of several blocks.
    BIGALLOC = 0x200 "bigalloc";
    /// All metadata have checksums, crc32c; implies what `GDT_CSUM` says of groups.
    METADATA_CSUM = 0x400 "metadata_csum";
    /// The file system is never written to.
    READONLY = 0x1000 "read-only";
    /// Quotas by project.
    PROJECT = 0x2000 "project";
    /// Files may be protected by fs-verity.
    VERITY = 0x8000 "verity";
    /// The orphan file may hold orphans.
    ORPHAN_PRESENT = 0x10000 "orphan_present";
}

impl Incompat {
    /// What rdaxfs knows.
    pub const SUPPORTED: Self = Self::FILETYPE
        .with(Self::EXTENTS)
        .with(Self::META_BG)
        .with(Self::IS_64BIT)
        .with(Self::FLEX_BG)
        .with(Self::EA_INODE)
        .with(Self::CSUM_SEED)
        .with(Self::LARGEDIR);
}

impl RoCompat {
    /// What rdaxfs knows how to write.
    pub const SUPPORTED: Self = Self::SPARSE_SUPER
        .with(Self::LARGE_FILE)
        .with(Self::HUGE_FILE)
        .with(Self::GDT_CSUM)
        .with(Self::DIR_NLINK)
        .with(Self::EXTRA_ISIZE)
        .with(Self::QUOTA)
        .with(Self::METADATA_CSUM)
        .with(Self::PROJECT)
        .with(Self::ORPHAN_PRESENT);
}
