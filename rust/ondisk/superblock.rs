// SPDX-License-Identifier: GPL-2.0

//! The superblock: its layout, its checksum, and those of its fields that change while mounted.
//!
//! What does not change is read once, by [`Geometry::parse`](super::Geometry::parse), and checked
//! there. This type is for the rest: free counts, state, times, the record of errors. Its accessors
//! give what is on disk, whatever that is.
//!
//! See [`super.rst`](srctree/Documentation/filesystems/ext4/super.rst).

use core::mem::offset_of;

use zerocopy::{
    little_endian::{
        U16,
        U32,
        U64, //
    },
    transmute_mut,
    transmute_ref,
    IntoBytes as _, //
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

use super::checksum::Csum;
use super::error::{
    Error,
    Result, //
};
use super::feature::{
    Compat,
    Incompat,
    RoCompat, //
};

/// Where the superblock begins, in bytes from the start of the device, whatever the block size.
pub const OFFSET: u64 = 1024;

/// Bytes of the superblock.
pub const SIZE: usize = 1024;

/// `s_magic`.
const MAGIC: u16 = 0xef53;

/// `s_checksum_type`: crc32c, the only one there is.
const CHECKSUM_CRC32C: u8 = 1;

/// `s_jnl_backup_type`: `s_jnl_blocks` holds a copy of the journal inode's `i_block` and size.
const JNL_BACKUP_BLOCKS: u8 = 1;

/// The superblock as it is on disk.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone)]
pub struct SuperBlock {
    pub(super) inodes_count: U32,
    pub(super) blocks_count_lo: U32,
    pub(super) r_blocks_count_lo: U32,
    pub(super) free_blocks_count_lo: U32,
    pub(super) free_inodes_count: U32,
    pub(super) first_data_block: U32,
    pub(super) log_block_size: U32,
    pub(super) log_cluster_size: U32,
    pub(super) blocks_per_group: U32,
    pub(super) clusters_per_group: U32,
    pub(super) inodes_per_group: U32,
    pub(super) mtime: U32,
    pub(super) wtime: U32,
    pub(super) mnt_count: U16,
    pub(super) max_mnt_count: U16,
    pub(super) magic: U16,
    pub(super) state: U16,
    pub(super) errors: U16,
    pub(super) minor_rev_level: U16,
    pub(super) lastcheck: U32,
    pub(super) checkinterval: U32,
    pub(super) creator_os: U32,
    pub(super) rev_level: U32,
    pub(super) def_resuid: U16,
    pub(super) def_resgid: U16,
    pub(super) first_ino: U32,
    pub(super) inode_size: U16,
    pub(super) block_group_nr: U16,
    pub(super) feature_compat: U32,
    pub(super) feature_incompat: U32,
    pub(super) feature_ro_compat: U32,
    pub(super) uuid: [u8; 16],
    pub(super) volume_name: [u8; 16],
    pub(super) last_mounted: [u8; 64],
    pub(super) algorithm_usage_bitmap: U32,
    pub(super) prealloc_blocks: u8,
    pub(super) prealloc_dir_blocks: u8,
    pub(super) reserved_gdt_blocks: U16,
    pub(super) journal_uuid: [u8; 16],
    pub(super) journal_inum: U32,
    pub(super) journal_dev: U32,
    pub(super) last_orphan: U32,
    pub(super) hash_seed: [U32; 4],
    pub(super) def_hash_version: u8,
    pub(super) jnl_backup_type: u8,
    pub(super) desc_size: U16,
    pub(super) default_mount_opts: U32,
    pub(super) first_meta_bg: U32,
    pub(super) mkfs_time: U32,
    pub(super) jnl_blocks: [U32; 17],
    pub(super) blocks_count_hi: U32,
    pub(super) r_blocks_count_hi: U32,
    pub(super) free_blocks_count_hi: U32,
    pub(super) min_extra_isize: U16,
    pub(super) want_extra_isize: U16,
    pub(super) flags: U32,
    pub(super) raid_stride: U16,
    pub(super) mmp_interval: U16,
    pub(super) mmp_block: U64,
    pub(super) raid_stripe_width: U32,
    pub(super) log_groups_per_flex: u8,
    pub(super) checksum_type: u8,
    pub(super) encryption_level: u8,
    pub(super) reserved_pad: u8,
    pub(super) kbytes_written: U64,
    pub(super) snapshot_inum: U32,
    pub(super) snapshot_id: U32,
    pub(super) snapshot_r_blocks_count: U64,
    pub(super) snapshot_list: U32,
    pub(super) error_count: U32,
    pub(super) first_error_time: U32,
    pub(super) first_error_ino: U32,
    pub(super) first_error_block: U64,
    pub(super) first_error_func: [u8; 32],
    pub(super) first_error_line: U32,
    pub(super) last_error_time: U32,
    pub(super) last_error_ino: U32,
    pub(super) last_error_line: U32,
    pub(super) last_error_block: U64,
    pub(super) last_error_func: [u8; 32],
    pub(super) mount_opts: [u8; 64],
    pub(super) usr_quota_inum: U32,
    pub(super) grp_quota_inum: U32,
    pub(super) overhead_blocks: U32,
    pub(super) backup_bgs: [U32; 2],
    pub(super) encrypt_algos: [u8; 4],
    pub(super) encrypt_pw_salt: [u8; 16],
    pub(super) lpf_ino: U32,
    pub(super) prj_quota_inum: U32,
    pub(super) checksum_seed: U32,
    pub(super) wtime_hi: u8,
    pub(super) mtime_hi: u8,
    pub(super) mkfs_time_hi: u8,
    pub(super) lastcheck_hi: u8,
    pub(super) first_error_time_hi: u8,
    pub(super) last_error_time_hi: u8,
    pub(super) first_error_errcode: u8,
    pub(super) last_error_errcode: u8,
    pub(super) encoding: U16,
    pub(super) encoding_flags: U16,
    pub(super) orphan_file_inum: U32,
    pub(super) def_resuid_hi: U16,
    pub(super) def_resgid_hi: U16,
    pub(super) reserved: [U32; 93],
    pub(super) checksum: U32,
}

const _: () = assert!(size_of::<SuperBlock>() == SIZE);
const _: () = assert!(offset_of!(SuperBlock, uuid) == 0x68);
const _: () = assert!(offset_of!(SuperBlock, jnl_blocks) == 0x10c);
const _: () = assert!(offset_of!(SuperBlock, kbytes_written) == 0x178);
const _: () = assert!(offset_of!(SuperBlock, checksum_seed) == 0x270);

/// `s_state`: what the last who wrote left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Unmounted cleanly; cleared while mounted for writing.
    pub valid: bool,
    /// Errors were found, `e2fsck` is due.
    pub error: bool,
}

impl State {
    const VALID: u16 = 1;
    const ERROR: u16 = 2;
}

/// `s_errors`: what to do when the file system turns out to be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// Note it and go on.
    Continue,
    /// Make the file system read-only.
    RemountRo,
    /// Panic.
    Panic,
}

impl SuperBlock {
    /// The bytes at [`OFFSET`], seen as a superblock. Nothing is checked.
    pub fn from_bytes(bytes: &[u8; SIZE]) -> &Self {
        transmute_ref!(bytes)
    }

    /// The bytes at [`OFFSET`], seen as a superblock to change; [`seal`](Self::seal) it in the end.
    pub fn from_bytes_mut(bytes: &mut [u8; SIZE]) -> &mut Self {
        transmute_mut!(bytes)
    }

    /// `s_feature_compat`.
    pub fn compat(&self) -> Compat {
        Compat::from_bits(self.feature_compat.get())
    }

    /// `s_feature_incompat`.
    pub fn incompat(&self) -> Incompat {
        Incompat::from_bits(self.feature_incompat.get())
    }

    /// `s_feature_ro_compat`.
    pub fn ro_compat(&self) -> RoCompat {
        RoCompat::from_bits(self.feature_ro_compat.get())
    }

    /// Puts on disk that the file system now has `feature`. Those who read [`Geometry`] do not see it.
    ///
    /// [`Geometry`]: super::Geometry
    pub fn add_ro_compat(&mut self, feature: RoCompat) {
        self.feature_ro_compat = self.ro_compat().with(feature).bits().into();
    }

    /// Takes back what [`add_ro_compat`](Self::add_ro_compat) did.
    pub fn remove_ro_compat(&mut self, feature: RoCompat) {
        self.feature_ro_compat = self.ro_compat().without(feature).bits().into();
    }

    /// Whether the journal holds changes that are not in their places yet.
    pub fn needs_recovery(&self) -> bool {
        self.incompat().contains(Incompat::RECOVER)
    }

    /// Says whether the journal may hold changes that are not in their places.
    pub fn set_needs_recovery(&mut self, needed: bool) {
        let others = self.incompat().without(Incompat::RECOVER);
        let features = if needed {
            others.with(Incompat::RECOVER)
        } else {
            others
        };
        self.feature_incompat = features.bits().into();
    }

    /// `s_journal_dev` and `s_journal_uuid`: the device of the journal, and the UUID that it has.
    pub fn journal_device(&self) -> (u32, [u8; 16]) {
        (self.journal_dev.get(), self.journal_uuid)
    }

    /// The number of blocks of a device that holds a journal, if this is the superblock of one that is
    /// named `uuid`. `csum` is one of nothing yet.
    pub fn journal_device_blocks(&self, csum: Csum, uuid: &[u8; 16]) -> Result<u64> {
        self.verify(csum)?;
        if !self.incompat().contains(Incompat::JOURNAL_DEV) || self.uuid != *uuid {
            return Err(Error::Corrupt("device is not that of the journal"));
        }
        Ok(self.blocks_count())
    }

    /// Whether it is of a revision that knows features.
    pub fn has_features(&self) -> bool {
        self.rev_level.get() > 0
    }

    fn has_csum(&self) -> bool {
        self.ro_compat().contains(RoCompat::METADATA_CSUM)
    }

    /// The checksum of these bytes. It is begun with nothing: the UUID lies within.
    fn csum(&self, csum: Csum) -> u32 {
        let (covered, _) = self.as_bytes().split_at(offset_of!(SuperBlock, checksum));
        csum.with(covered).value()
    }

    /// Checks the magic number and, if the file system has checksums, the superblock's. `csum` is one
    /// of nothing yet.
    pub fn verify(&self, csum: Csum) -> Result {
        if self.magic.get() != MAGIC {
            return Err(Error::NotExt4);
        }
        if !self.has_csum() {
            return Ok(());
        }
        if self.checksum_type != CHECKSUM_CRC32C {
            return Err(Error::Unsupported("checksum algorithm"));
        }
        if self.checksum.get() != self.csum(csum) {
            return Err(Error::Checksum("superblock"));
        }
        Ok(())
    }

    /// Sets the checksum, if the file system has any. `csum` is one of nothing yet.
    pub fn seal(&mut self, csum: Csum) {
        if self.has_csum() {
            self.checksum = self.csum(csum).into();
        }
    }

    /// `s_blocks_count`. The high half is only there with `64bit`.
    pub fn blocks_count(&self) -> u64 {
        self.wide(self.blocks_count_lo, self.blocks_count_hi)
    }

    /// `s_r_blocks_count`: free blocks that only the super-user gets.
    pub fn r_blocks_count(&self) -> u64 {
        self.wide(self.r_blocks_count_lo, self.r_blocks_count_hi)
    }

    /// `s_free_blocks_count`. True only after a clean unmount; the group descriptors know.
    pub fn free_blocks_count(&self) -> u64 {
        self.wide(self.free_blocks_count_lo, self.free_blocks_count_hi)
    }

    /// Sets `s_free_blocks_count`.
    pub fn set_free_blocks_count(&mut self, count: u64) {
        self.free_blocks_count_lo = low(count);
        if self.incompat().contains(Incompat::IS_64BIT) {
            self.free_blocks_count_hi = high(count);
        }
    }

    /// `s_free_inodes_count`. True only after a clean unmount.
    pub fn free_inodes_count(&self) -> u32 {
        self.free_inodes_count.get()
    }

    /// Sets `s_free_inodes_count`.
    pub fn set_free_inodes_count(&mut self, count: u32) {
        self.free_inodes_count = count.into();
    }

    /// `s_def_resuid` and `s_def_resgid`: the user and the group that may have the reserved blocks too.
    pub fn reserved_for(&self) -> (u32, u32) {
        let wide = |lo: U16, hi: U16| u32::from(lo.get()) | u32::from(hi.get()) << 16;
        (
            wide(self.def_resuid, self.def_resuid_hi),
            wide(self.def_resgid, self.def_resgid_hi),
        )
    }

    /// `s_state`.
    pub fn state(&self) -> State {
        State {
            valid: self.state.get() & State::VALID != 0,
            error: self.state.get() & State::ERROR != 0,
        }
    }

    /// Sets `s_state`.
    pub fn set_state(&mut self, state: State) {
        let mut bits = self.state.get() & !(State::VALID | State::ERROR);
        if state.valid {
            bits |= State::VALID;
        }
        if state.error {
            bits |= State::ERROR;
        }
        self.state = bits.into();
    }

    /// `s_errors`; to continue is the default of a file system that does not say.
    pub fn on_error(&self) -> OnError {
        match self.errors.get() {
            2 => OnError::RemountRo,
            3 => OnError::Panic,
            _ => OnError::Continue,
        }
    }

    /// Notes a mount for writing at `now`, in seconds since 1970.
    pub fn set_mounted(&mut self, now: i64) {
        (self.mtime, self.mtime_hi) = time(now);
        self.mnt_count = self.mnt_count.get().saturating_add(1).into();
    }

    /// Sets `s_wtime`, the time of the last write of the superblock, in seconds since 1970.
    pub fn set_wtime(&mut self, now: i64) {
        (self.wtime, self.wtime_hi) = time(now);
    }

    /// Adds to `s_kbytes_written`, in KiB.
    pub fn add_kbytes_written(&mut self, kbytes: u64) {
        self.kbytes_written = self.kbytes_written.get().saturating_add(kbytes).into();
    }

    /// `s_last_orphan`: the head of the list of orphans, 0 if there are none. Not checked.
    pub fn last_orphan(&self) -> u32 {
        self.last_orphan.get()
    }

    /// Sets `s_last_orphan`.
    pub fn set_last_orphan(&mut self, ino: u32) {
        self.last_orphan = ino.into();
    }

    /// The bytes that [`set_last_orphan`](Self::set_last_orphan) and [`seal`](Self::seal) change, and where
    /// they are, of a superblock of which `read` answers with four bytes at a time. The checksum is right
    /// as far as it was before. `csum` is one of nothing yet, if the file system has checksums.
    pub fn patch_last_orphan<E>(
        ino: u32,
        csum: Option<Csum>,
        read: impl Fn(usize) -> Result<[u8; 4], E>,
    ) -> Result<[(usize, [u8; 4]); 2], E> {
        const ORPHAN: usize = offset_of!(SuperBlock, last_orphan);
        const CHECKSUM: usize = offset_of!(SuperBlock, checksum);
        let (old, new, mut checksum) = (read(ORPHAN)?, ino.to_le_bytes(), read(CHECKSUM)?);
        if let Some(csum) = csum {
            let value = u32::from_le_bytes(checksum);
            let after = CHECKSUM - ORPHAN - new.len();
            checksum = csum.replaced(value, &old, &new, after).to_le_bytes();
        }
        Ok([(ORPHAN, new), (CHECKSUM, checksum)])
    }

    /// `s_volume_name`, up to its first zero byte.
    pub fn volume_name(&self) -> &[u8] {
        let mut parts = self.volume_name.split(|byte| *byte == 0);
        parts.next().unwrap_or_default()
    }

    /// Sets `s_volume_name`.
    pub fn set_volume_name(&mut self, name: &[u8; 16]) {
        self.volume_name = *name;
    }

    /// `s_uuid`.
    pub fn uuid(&self) -> &[u8; 16] {
        &self.uuid
    }

    /// Sets `s_uuid`. Where checksums begin with it, nothing of the file system is right any more.
    pub fn set_uuid(&mut self, uuid: &[u8; 16]) {
        self.uuid = *uuid;
    }

    /// Records an error for `e2fsck` and the administrator: seen by `func`, at `now` in seconds since
    /// 1970, when inode `ino` and block `block` were looked at; 0 where there is none. The state is
    /// the caller's to set.
    pub fn record_error(&mut self, now: i64, func: &str, ino: u32, block: u64) {
        let mut name = [0; 32];
        for (to, from) in name.iter_mut().zip(func.bytes()) {
            *to = from;
        }
        (self.last_error_time, self.last_error_time_hi) = time(now);
        self.last_error_ino = ino.into();
        self.last_error_block = block.into();
        self.last_error_func = name;
        self.last_error_line = 0.into();
        self.last_error_errcode = 0;
        if self.first_error_time.get() == 0 {
            self.first_error_time = self.last_error_time;
            self.first_error_time_hi = self.last_error_time_hi;
            self.first_error_ino = ino.into();
            self.first_error_block = block.into();
            self.first_error_func = name;
            self.first_error_line = 0.into();
            self.first_error_errcode = 0;
        }
        self.error_count = self.error_count.get().saturating_add(1).into();
    }

    /// The size of the journal in bytes, by the copy of its inode's size that the superblock has; 0 if
    /// there is no copy.
    pub(super) fn journal_bytes(&self) -> u64 {
        let [.., high, low] = self.jnl_blocks;
        if self.compat().contains(Compat::HAS_JOURNAL) && self.jnl_backup_type <= JNL_BACKUP_BLOCKS
        {
            u64::from(low.get()) | u64::from(high.get()) << 32
        } else {
            0
        }
    }

    fn wide(&self, lo: U32, hi: U32) -> u64 {
        let hi = if self.incompat().contains(Incompat::IS_64BIT) {
            hi.get()
        } else {
            0
        };
        u64::from(lo.get()) | u64::from(hi) << 32
    }
}

/// A time of the superblock has 40 bits.
fn time(seconds: i64) -> (U32, u8) {
    let [a, b, c, d, high, ..] = seconds.clamp(0, (1 << 40) - 1).to_le_bytes();
    (U32::from_bytes([a, b, c, d]), high)
}

fn low(value: u64) -> U32 {
    U32::new(value as u32)
}

fn high(value: u64) -> U32 {
    U32::new((value >> 32) as u32)
}
