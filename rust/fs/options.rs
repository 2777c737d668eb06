// SPDX-License-Identifier: GPL-2.0

//! Mount options.

use crate::{
    ondisk::superblock::OnError,
    prelude::*,
    vfs::{
        context::{
            Choice,
            Parameter,
            Parameters,
            Value, //
        },
        param,
        quota::Kind, //
    }, //
};
use kernel::{
    seq_file::SeqFile,
    seq_print, //
};

/// Which files are mapped directly (`dax=`).
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Dax {
    /// Those whose inode has the flag.
    INode,
    /// All regular files.
    Always,
    /// None.
    Never,
}

impl Dax {
    const fn name(self) -> &'static CStr {
        match self {
            Self::INode => c"inode",
            Self::Always => c"always",
            Self::Never => c"never",
        }
    }
}

/// When a change of the DAX flag of a file changes its mode (`dax_switch=`).
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum DaxSwitch {
    /// At once; not while the file is mapped.
    Live,
    /// When the file is next read from the disk after its last close, as in ext4 and XFS.
    Deferred,
}

impl DaxSwitch {
    const fn name(self) -> &'static CStr {
        match self {
            Self::Live => c"live",
            Self::Deferred => c"deferred",
        }
    }

    /// What holds for mounts without the option, by the parameter of the module. [`EINVAL`] if that
    /// is none of the names.
    pub fn of_module() -> Result<Self> {
        let name = param::dax_switch();
        let known = [Self::Live, Self::Deferred];
        known.into_iter().find(|s| s.name() == name).ok_or(EINVAL)
    }
}

/// What follows upon an error in the metadata (`errors=`).
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Errors {
    /// Nothing but a message and a mark in the super block.
    Continue,
    /// No more writing.
    RemountRo,
    /// The machine stops.
    Panic,
}

impl Errors {
    const fn name(self) -> &'static CStr {
        match self {
            Self::Continue => c"continue",
            Self::RemountRo => c"remount-ro",
            Self::Panic => c"panic",
        }
    }
}

impl From<OnError> for Errors {
    fn from(on_error: OnError) -> Self {
        match on_error {
            OnError::Continue => Self::Continue,
            OnError::RemountRo => Self::RemountRo,
            OnError::Panic => Self::Panic,
        }
    }
}

/// What is known of a file's data when its metadata is committed (`data=`). The first two are kept in the
/// same way, which is the stricter one's: see [`journal`](super::journal).
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Data {
    /// New blocks have their data.
    Ordered,
    /// Nothing.
    Writeback,
    /// It is committed as well.
    Journal,
}

impl Data {
    const fn name(self) -> &'static CStr {
        match self {
            Self::Ordered => c"ordered",
            Self::Writeback => c"writeback",
            Self::Journal => c"journal",
        }
    }
}

/// Seconds between commits that nobody asks for.
const DEFAULT_COMMIT: u32 = 5;
/// The most seconds that `commit=` takes.
const MAX_COMMIT: u32 = 60 * 60;

/// The mount options that were given.
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// `dax=`; [`Dax::INode`] if it was not given.
    dax: Option<Dax>,
    /// `dax_switch=`; what the module says if it was not given.
    dax_switch: Option<DaxSwitch>,
    /// `errors=`; what the super block says if it was not given.
    errors: Option<Errors>,
    /// `usrquota`, `grpquota`, `prjquota`: bits by [`Kind`].
    quotas: u8,
    /// `acl` or `noacl`; access control lists are used if neither was given.
    acl: Option<bool>,
    /// `commit=`, in seconds; 0 and the default are jbd2's.
    commit: Option<u32>,
    /// `journal_dev=`: another device of the journal than the super block names.
    journal_dev: Option<u32>,
    /// `data=`.
    data: Option<Data>,
    /// `data_err=`: whether the journal is aborted when data cannot be written back.
    data_err_abort: bool,
    /// `barrier` and `nobarrier`.
    barrier: Option<bool>,
    /// `discard` and `nodiscard`.
    discard: bool,
    /// `norecovery` and `noload`.
    norecovery: bool,
    /// `minixdf` and `bsddf`.
    minixdf: bool,
    /// `resuid=` and `resgid=`; what the super block says if they were not given.
    reserved_for: (Option<u32>, Option<u32>),
}

const OPT_DAX: u8 = 0;
const OPT_ERRORS: u8 = 1;
const OPT_DAX_SWITCH: u8 = 2;
const OPT_QUOTA: u8 = 16;
const OPT_NOQUOTA: u8 = OPT_QUOTA + QUOTAS.len() as u8;

/// The options that enforce limits, each for a [`Kind`]. `quota` is another name of the first.
const QUOTAS: [(&CStr, Kind); 3] = [
    (c"usrquota", Kind::User),
    (c"grpquota", Kind::Group),
    (c"prjquota", Kind::Project),
];
const OPT_COMMIT: u8 = 32;
const OPT_DATA: u8 = 33;
const OPT_BARRIER: u8 = 34;
const OPT_NOBARRIER: u8 = 35;
const OPT_JOURNAL_DEV: u8 = 36;
const OPT_DISCARD: u8 = 37;
const OPT_NODISCARD: u8 = 38;
const OPT_NORECOVERY: u8 = 39;
const OPT_BSDDF: u8 = 40;
const OPT_MINIXDF: u8 = 41;
const OPT_RESUID: u8 = 42;
const OPT_RESGID: u8 = 43;
const OPT_DATA_ERR: u8 = 44;

const OPT_ACL: u8 = 10;
const OPT_NOACL: u8 = 11;
/// What ext4 knows and here is always so, or tells how to do what is not done here; see [`TABLE`].
const OPT_IGNORED: u8 = 12;

static DAX: [Choice; 4] = [
    Choice::new(Dax::INode.name(), Dax::INode as u8),
    Choice::new(Dax::Always.name(), Dax::Always as u8),
    Choice::new(Dax::Never.name(), Dax::Never as u8),
    Choice::END,
];

static DAX_SWITCH: [Choice; 3] = [
    Choice::new(DaxSwitch::Live.name(), DaxSwitch::Live as u8),
    Choice::new(DaxSwitch::Deferred.name(), DaxSwitch::Deferred as u8),
    Choice::END,
];

static ERRORS: [Choice; 4] = [
    Choice::new(Errors::Continue.name(), Errors::Continue as u8),
    Choice::new(Errors::RemountRo.name(), Errors::RemountRo as u8),
    Choice::new(Errors::Panic.name(), Errors::Panic as u8),
    Choice::END,
];

static DATA: [Choice; 4] = [
    Choice::new(Data::Ordered.name(), Data::Ordered as u8),
    Choice::new(Data::Writeback.name(), Data::Writeback as u8),
    Choice::new(Data::Journal.name(), Data::Journal as u8),
    Choice::END,
];

static DATA_ERR: [Choice; 3] = [
    Choice::new(c"ignore", 0),
    Choice::new(c"abort", 1),
    Choice::END,
];

const TABLE: &[Parameter] = &[
    Parameter::flag(c"dax", OPT_DAX),
    Parameter::choice(c"dax", OPT_DAX, &DAX),
    Parameter::choice(c"dax_switch", OPT_DAX_SWITCH, &DAX_SWITCH),
    Parameter::choice(c"errors", OPT_ERRORS, &ERRORS),
    Parameter::flag(c"quota", OPT_QUOTA),
    Parameter::flag(QUOTAS[0].0, OPT_QUOTA),
    Parameter::flag(QUOTAS[1].0, OPT_QUOTA + 1),
    Parameter::flag(QUOTAS[2].0, OPT_QUOTA + 2),
    Parameter::flag(c"noquota", OPT_NOQUOTA),
    Parameter::flag(c"acl", OPT_ACL),
    Parameter::flag(c"noacl", OPT_NOACL),
    Parameter::u32(c"commit", OPT_COMMIT),
    Parameter::choice(c"data", OPT_DATA, &DATA),
    Parameter::choice(c"data_err", OPT_DATA_ERR, &DATA_ERR),
    Parameter::flag(c"barrier", OPT_BARRIER),
    Parameter::u32(c"barrier", OPT_BARRIER),
    Parameter::flag(c"nobarrier", OPT_NOBARRIER),
    Parameter::u32(c"journal_dev", OPT_JOURNAL_DEV),
    Parameter::flag(c"discard", OPT_DISCARD),
    Parameter::flag(c"nodiscard", OPT_NODISCARD),
    Parameter::flag(c"norecovery", OPT_NORECOVERY),
    Parameter::flag(c"noload", OPT_NORECOVERY),
    Parameter::flag(c"bsddf", OPT_BSDDF),
    Parameter::flag(c"minixdf", OPT_MINIXDF),
    Parameter::u32(c"resuid", OPT_RESUID),
    Parameter::u32(c"resgid", OPT_RESGID),
    // As always, and as with ext4 by now.
    Parameter::flag(c"user_xattr", OPT_IGNORED),
    // Blocks are allocated when they are written to, and stay unwritten until the data is on them.
    Parameter::flag(c"delalloc", OPT_IGNORED),
    Parameter::flag(c"nodelalloc", OPT_IGNORED),
    Parameter::flag(c"auto_da_alloc", OPT_IGNORED),
    Parameter::u32(c"auto_da_alloc", OPT_IGNORED),
    Parameter::flag(c"noauto_da_alloc", OPT_IGNORED),
    Parameter::flag(c"dioread_nolock", OPT_IGNORED),
    Parameter::flag(c"dioread_lock", OPT_IGNORED),
    Parameter::flag(c"nodioread_nolock", OPT_IGNORED),
    // Tables of inodes are zeroed when inodes are taken from them.
    Parameter::flag(c"init_itable", OPT_IGNORED),
    Parameter::u32(c"init_itable", OPT_IGNORED),
    Parameter::flag(c"noinit_itable", OPT_IGNORED),
    // The journal has checksums if the image has.
    Parameter::flag(c"journal_checksum", OPT_IGNORED),
    Parameter::flag(c"nojournal_checksum", OPT_IGNORED),
    // Whatever the image says of its stripes, the allocator looks at the device.
    Parameter::u32(c"stripe", OPT_IGNORED),
    // Blocks are never taken from the metadata of groups.
    Parameter::flag(c"block_validity", OPT_IGNORED),
    Parameter::flag(c"noblock_validity", OPT_IGNORED),
    // There is no cache of blocks of attributes.
    Parameter::flag(c"nombcache", OPT_IGNORED),
    Parameter::flag(c"no_mbcache", OPT_IGNORED),
    // Bitmaps are read when they are needed.
    Parameter::flag(c"prefetch_block_bitmaps", OPT_IGNORED),
    Parameter::flag(c"no_prefetch_block_bitmaps", OPT_IGNORED),
    Parameter::u32(c"inode_readahead_blks", OPT_IGNORED),
    Parameter::END,
];

/// The options that [`Options::parse`] understands.
pub static PARAMETERS: Parameters = Parameters::new(TABLE);

impl Options {
    /// Which files are mapped directly.
    pub fn dax(&self) -> Dax {
        self.dax.unwrap_or(Dax::INode)
    }

    /// When a change of the flag changes the mode.
    pub fn dax_switch(&self) -> DaxSwitch {
        // The parameter was checked when the module was loaded.
        let default = || DaxSwitch::of_module().unwrap_or(DaxSwitch::Live);
        self.dax_switch.unwrap_or_else(default)
    }

    /// What follows upon an error, if it was said.
    pub fn errors(&self) -> Option<Errors> {
        self.errors
    }

    /// The kinds of quotas whose limits are enforced: bits by [`Kind`].
    pub fn enforced_quotas(&self) -> u8 {
        self.quotas
    }

    /// Whether the limits of projects are enforced.
    pub fn enforces_projects(&self) -> bool {
        self.quotas & 1 << Kind::Project as u8 != 0
    }

    /// Whether there are access control lists.
    pub fn acl(&self) -> bool {
        self.acl.unwrap_or(true)
    }

    /// Seconds between commits that nobody asks for.
    pub fn commit(&self) -> u32 {
        self.commit
            .filter(|commit| *commit > 0)
            .unwrap_or(DEFAULT_COMMIT)
    }

    /// The device of the journal, if it was said.
    pub fn journal_device(&self) -> Option<u32> {
        self.journal_dev
    }

    /// Whether the journal is aborted when data cannot be written back, which the order of `data=ordered` is
    /// about.
    pub fn data_err_abort(&self) -> bool {
        self.data_err_abort && self.data != Some(Data::Writeback)
    }

    /// Whether data goes through the journal.
    pub fn journals_data(&self) -> bool {
        self.data == Some(Data::Journal)
    }

    /// Whether the device's cache is flushed where the order of writes matters.
    pub fn barrier(&self) -> bool {
        self.barrier.unwrap_or(true)
    }

    /// Whether blocks that were freed are discarded.
    pub fn discard(&self) -> bool {
        self.discard
    }

    /// Whether the journal is left alone.
    pub fn norecovery(&self) -> bool {
        self.norecovery
    }

    /// Whether `statfs(2)` counts the blocks that metadata takes as well.
    pub fn minixdf(&self) -> bool {
        self.minixdf
    }

    /// The user and the group that get the reserved blocks besides root, as far as it was said.
    pub fn reserved_for(&self) -> (Option<u32>, Option<u32>) {
        self.reserved_for
    }

    /// Takes an option that was parsed. Of several the last one counts, as everywhere.
    pub fn parse(&mut self, opt: u8, value: Value) -> Result {
        match (opt, value) {
            (OPT_DAX, Value::Flag) => self.dax = Some(Dax::Always),
            (OPT_DAX, Value::Number(n)) => {
                self.dax = Some(match n {
                    0 => Dax::INode,
                    1 => Dax::Always,
                    _ => Dax::Never,
                });
            }
            (OPT_DAX_SWITCH, Value::Number(n)) => {
                self.dax_switch = Some(match n {
                    0 => DaxSwitch::Live,
                    _ => DaxSwitch::Deferred,
                });
            }
            (OPT_ERRORS, Value::Number(n)) => {
                self.errors = Some(match n {
                    0 => Errors::Continue,
                    1 => Errors::RemountRo,
                    _ => Errors::Panic,
                });
            }
            (OPT_QUOTA..OPT_NOQUOTA, Value::Flag) => self.quotas |= 1 << (opt - OPT_QUOTA),
            (OPT_NOQUOTA, Value::Flag) => self.quotas = 0,
            (OPT_ACL, _) => self.acl = Some(true),
            (OPT_NOACL, _) => self.acl = Some(false),
            (OPT_IGNORED, _) => {}
            (OPT_DISCARD, _) => self.discard = true,
            (OPT_NODISCARD, _) => self.discard = false,
            (OPT_NORECOVERY, _) => self.norecovery = true,
            (OPT_BSDDF, _) => self.minixdf = false,
            (OPT_MINIXDF, _) => self.minixdf = true,
            (OPT_RESUID, Value::Number(uid)) => self.reserved_for.0 = Some(uid),
            (OPT_RESGID, Value::Number(gid)) => self.reserved_for.1 = Some(gid),
            (OPT_COMMIT, Value::Number(n)) if n <= MAX_COMMIT => self.commit = Some(n),
            (OPT_DATA, Value::Number(n)) => {
                self.data = Some(match n {
                    0 => Data::Ordered,
                    1 => Data::Writeback,
                    _ => Data::Journal,
                });
            }
            (OPT_DATA_ERR, Value::Number(n)) => self.data_err_abort = n != 0,
            (OPT_BARRIER, Value::Flag) => self.barrier = Some(true),
            (OPT_BARRIER, Value::Number(n)) => self.barrier = Some(n != 0),
            (OPT_NOBARRIER, Value::Flag) => self.barrier = Some(false),
            (OPT_JOURNAL_DEV, Value::Number(n)) => self.journal_dev = Some(n),
            _ => return Err(EINVAL),
        }
        Ok(())
    }

    /// Shows the options that were given.
    pub fn show(&self, m: &SeqFile) {
        if let Some(dax) = self.dax {
            seq_print!(m, ",dax={}", dax.name());
        }
        if let Some(switch) = self.dax_switch {
            seq_print!(m, ",dax_switch={}", switch.name());
        }
        if let Some(errors) = self.errors {
            seq_print!(m, ",errors={}", errors.name());
        }
        if !self.acl() {
            seq_print!(m, ",noacl");
        }
        for (name, kind) in QUOTAS {
            if self.quotas & 1 << kind as u8 != 0 {
                seq_print!(m, ",{}", name);
            }
        }
        if let Some(commit) = self.commit {
            seq_print!(m, ",commit={}", commit);
        }
        if let Some(device) = self.journal_dev {
            seq_print!(m, ",journal_dev={:#x}", device);
        }
        if let Some(data) = self.data {
            seq_print!(m, ",data={}", data.name());
        }
        match self.barrier {
            Some(true) => seq_print!(m, ",barrier"),
            Some(false) => seq_print!(m, ",nobarrier"),
            None => {}
        }
        for (given, name) in [
            (self.data_err_abort, c"data_err=abort"),
            (self.discard, c"discard"),
            (self.norecovery, c"norecovery"),
            (self.minixdf, c"minixdf"),
        ] {
            if given {
                seq_print!(m, ",{}", name);
            }
        }
        if let Some(uid) = self.reserved_for.0 {
            seq_print!(m, ",resuid={}", uid);
        }
        if let Some(gid) = self.reserved_for.1 {
            seq_print!(m, ",resgid={}", gid);
        }
    }
}
