// SPDX-License-Identifier: GPL-2.0

//! The flags of inodes, `EXT4_*_FL`, as they are in `i_flags`.
//!
//! C header: [`fs/ext4/ext4.h`](srctree/fs/ext4/ext4.h)

/// Overwrite when deleted; never implemented.
pub const SECRM: u32 = 0x1;
/// Keep for undeletion; never implemented.
pub const UNRM: u32 = 0x2;
/// Compress; never implemented.
pub const COMPR: u32 = 0x4;
/// Writes are synchronous.
pub const SYNC: u32 = 0x8;
/// Must not change.
pub const IMMUTABLE: u32 = 0x10;
/// Is only appended to.
pub const APPEND: u32 = 0x20;
/// Not for dump(8).
pub const NODUMP: u32 = 0x40;
/// The time of the last access is not kept.
pub const NOATIME: u32 = 0x80;
/// Do not compress.
pub const NOCOMPR: u32 = 0x400;
/// Encrypted.
pub const ENCRYPT: u32 = 0x800;
/// A directory with an index.
pub const INDEX: u32 = 0x1000;
/// Data is journaled.
pub const JOURNAL_DATA: u32 = 0x4000;
/// Tails are not merged; without meaning in ext4.
pub const NOTAIL: u32 = 0x8000;
/// Changes of the directory are synchronous.
pub const DIRSYNC: u32 = 0x10000;
/// Directories below are unrelated, spread them.
pub const TOPDIR: u32 = 0x20000;
/// `i_blocks` is in units of the block size.
pub const HUGE_FILE: u32 = 0x40000;
/// `i_block` is the root of an extent tree.
pub const EXTENTS: u32 = 0x80000;
/// Protected by fs-verity.
pub const VERITY: u32 = 0x100000;
/// Holds the value of an extended attribute.
pub const EA_INODE: u32 = 0x200000;
/// Mapped through DAX.
pub const DAX: u32 = 0x2000000;
/// The data is in the inode.
pub const INLINE_DATA: u32 = 0x10000000;
/// What is made in this directory gets its project.
pub const PROJINHERIT: u32 = 0x20000000;
/// The directory does not tell upper case from lower case.
pub const CASEFOLD: u32 = 0x40000000;

/// What a user may set on files and directories, `EXT4_FL_USER_MODIFIABLE` less what rdaxfs has no
/// code for: JOURNAL_DATA, CASEFOLD, PROJINHERIT; and EXTENTS, which all its files have.
pub const USER_MODIFIABLE: u32 = SECRM
    | UNRM
    | COMPR
    | SYNC
    | IMMUTABLE
    | APPEND
    | NODUMP
    | NOATIME
    | NOTAIL
    | DIRSYNC
    | TOPDIR
    | DAX;

/// What a user gets to see.
pub const USER_VISIBLE: u32 = USER_MODIFIABLE
    | NOCOMPR
    | ENCRYPT
    | INDEX
    | JOURNAL_DATA
    | EXTENTS
    | VERITY
    | INLINE_DATA
    | PROJINHERIT
    | CASEFOLD;

/// What a new inode takes from its directory, as far as it suits: see [`suitable`].
pub const INHERITED: u32 = SECRM
    | UNRM
    | COMPR
    | SYNC
    | NODUMP
    | NOATIME
    | NOCOMPR
    | JOURNAL_DATA
    | NOTAIL
    | DIRSYNC
    | PROJINHERIT
    | CASEFOLD
    | DAX;

/// What cannot be together with DAX: there the data is not what user space is to see.
pub const DAX_EXCLUDES: u32 = VERITY | ENCRYPT | JOURNAL_DATA | INLINE_DATA;

/// Of `flags`, those that suit an inode of this `mode`: directories may have all of them, files what is
/// not for directories only, the others what is not about data.
pub const fn suitable(mode: u16, flags: u32) -> u32 {
    const S_IFDIR: u16 = 0x4000;
    match mode & super::S_IFMT {
        S_IFDIR => flags,
        super::S_IFREG => flags & !(DIRSYNC | TOPDIR | CASEFOLD | PROJINHERIT),
        _ => flags & (NODUMP | NOATIME),
    }
}
