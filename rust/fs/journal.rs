// SPDX-License-Identifier: GPL-2.0

//! The journal of a file system: where it is, and its recovery at mount.
//!
//! This comes before all else is read, since recovery may change everything, the super block included.
//! A journal in an inode is found by the inode as it is before that: nobody moves a journal while it is
//! in use.
//!
//! With `data=ordered` and `data=writeback` alike, new blocks of a file are unwritten until the data is
//! on them, and the transaction that says so comes after it. So there is no data to be waited for by a
//! commit, and nothing is exposed. With `data=journal` the data is part of that transaction
//! ([`iomap::write_to_journal`](super::iomap::write_to_journal)).

use super::{
    options::Options,
    RdaxFs, //
};
use crate::{
    ondisk::{
        self,
        extent,
        feature::{
            Compat,
            Incompat, //
        },
        fork::Fork,
        group::GroupDesc,
        inode::Inode as DiskInode,
        superblock::{
            SuperBlock as DiskSuperBlock,
            OFFSET,
            SIZE, //
        },
        tree,
        BlockNr,
        Blocks,
        Csum,
        Error as E,
        Geometry, //
    },
    prelude::*,
    vfs::{
        crc32c,
        journal::{
            Device,
            Journal,
            Run, //
        },
        sb_err,
        sb_info,
        Context,
        New, //
    }, //
};
use kernel::alloc::AllocError;

type SuperBlock = crate::vfs::SuperBlock<RdaxFs, New>;

/// Opens the journal, and replays it if it needs that. There is none if the file system has none, or if
/// it cannot be written to anyway.
pub fn open(
    sb: &SuperBlock,
    fc: &Context,
    geometry: &Geometry,
    disk: &DiskSuperBlock,
    options: &Options,
) -> Result<Option<Journal>> {
    let recover = disk.needs_recovery();
    if !geometry.compat().contains(Compat::HAS_JOURNAL) {
        if recover {
            fc.error(fmt!(
                "a journal that is not there needs recovery; run e2fsck"
            ));
            return Err(EUCLEAN);
        }
        return Ok(None);
    }
    if sb.device_is_read_only() {
        if recover {
            // Not to the mounting program, which has its own words for this error.
            sb_err!(
                sb,
                "the journal needs recovery, and the device is read-only"
            );
            return Err(EROFS);
        }
        return Ok(None);
    }
    if recover && geometry.compat().contains(Compat::FAST_COMMIT) {
        fc.error(fmt!(
            "the journal may hold fast commits to recover; run e2fsck, or mount it as ext4"
        ));
        return Err(EOPNOTSUPP);
    }
    let journal = match geometry.journal_ino() {
        Some(ino) => {
            let runs = runs(sb, geometry, ino).map_err(|failure| failure.report(fc))?;
            Journal::new(sb, runs)?
        }
        None => on_device(sb, fc, disk, options)?,
    };
    // Nothing is written on a read-only mount that need not be.
    if recover || !fc.is_read_only() {
        load(&journal, geometry, recover)
            .inspect_err(|_| fc.error(fmt!("the journal cannot be recovered; run e2fsck")))?;
    }
    journal.set_options(options.commit(), options.barrier());
    if recover {
        sb_info!(sb, "the journal was recovered");
    }
    Ok(Some(journal))
}

/// There is no journal, with the option `norecovery`: what it holds stays as it is, and is not seen.
pub fn leave(fc: &Context, disk: &DiskSuperBlock) -> Result<Option<Journal>> {
    if disk.needs_recovery() && !fc.is_read_only() {
        fc.error(fmt!(
            "norecovery: the journal needs recovery; mount with -o ro"
        ));
        return Err(EROFS);
    }
    Ok(None)
}

/// The journal on the device that the super block, or the option, names.
fn on_device(
    sb: &SuperBlock,
    fc: &Context,
    disk: &DiskSuperBlock,
    options: &Options,
) -> Result<Journal> {
    let (device, uuid) = disk.journal_device();
    let device = options.journal_device().unwrap_or(device);
    let device = Device::open(sb, device)
        .inspect_err(|_| fc.error(fmt!("the device of the journal cannot be opened")))?;
    let mut bytes = [0; SIZE];
    device.read(OFFSET, &mut bytes)?;
    let blocks = DiskSuperBlock::from_bytes(&bytes)
        .journal_device_blocks(Csum::new(crc32c), &uuid)
        .map_err(|error| {
            fc.error(fmt!("device of the journal: {}", format_args!("{error}")));
            EINVAL
        })?;
    // What follows the block with the super block.
    let start = (OFFSET >> sb.block_bits()) + 1;
    Journal::on_device(sb, device, start, blocks)
}

/// Makes the journal usable, and replays it with `recover`. Does nothing if it is usable.
pub fn load(journal: &Journal, geometry: &Geometry, recover: bool) -> Result {
    let wide = geometry.incompat().contains(Incompat::IS_64BIT);
    journal.load(recover, wide, geometry.csum().is_some())
}

/// Why the journal was not found.
enum Failure {
    OnDisk(ondisk::Error),
    Other(Error),
}

impl From<ondisk::Error> for Failure {
    fn from(error: ondisk::Error) -> Self {
        Self::OnDisk(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<AllocError> for Failure {
    fn from(error: AllocError) -> Self {
        Self::Other(error.into())
    }
}

impl Failure {
    fn report(self, fc: &Context) -> Error {
        match self {
            Self::OnDisk(error) => {
                fc.error(fmt!("journal inode: {}", format_args!("{error}")));
                EUCLEAN
            }
            Self::Other(error) => error,
        }
    }
}

/// Where the blocks of the journal's inode are.
fn runs(sb: &SuperBlock, geometry: &Geometry, ino: u32) -> Result<KVec<Run>, Failure> {
    let inode = read_inode(sb, geometry, ino)?;
    let regular = inode.mode & 0o170_000 == 0o100_000 && inode.links > 0;
    if !regular {
        return Err(E::Corrupt("inode of the journal").into());
    }
    let fork = Fork::of(inode.flags, geometry.block_size());
    let blocks = u32::try_from(inode.size >> geometry.block_bits())
        .map_err(|_| E::Corrupt("size of the journal"))?;
    let mut nodes = Nodes {
        sb,
        fork,
        blocks: geometry.blocks(),
        csum: geometry
            .csum()
            .filter(|_| fork.has_extents())
            .map(|csum| csum.for_inode(ino, inode.generation)),
    };
    let mut runs = KVec::new();
    let mut lblk = 0;
    while lblk < blocks {
        let tree::Mapping::Extent(extent) = fork.lookup(&inode.block, &mut nodes, lblk)? else {
            return Err(E::Corrupt("hole in the journal").into());
        };
        if extent.lblk() != lblk {
            return Err(E::Corrupt("extents of the journal").into());
        }
        let len = extent.len().min(blocks - lblk);
        let run = Run {
            first: lblk,
            start: extent.pblk().get(),
            len,
        };
        runs.push(run, GFP_KERNEL)?;
        lblk += len;
    }
    Ok(runs)
}

/// An inode as it is on the disk, before groups and inodes are there.
fn read_inode(sb: &SuperBlock, geometry: &Geometry, ino: u32) -> Result<DiskInode, Failure> {
    let place = geometry.inode(ino)?;
    let (nr, offset) = geometry.desc_place(place.group)?;
    let desc = sb
        .read_buffer(nr.get())?
        .read_vec(offset, geometry.desc_size().into())?;
    let desc = GroupDesc::decode(geometry, place.group, &desc)?;
    let nr = desc
        .inode_table()
        .nth(place.block)
        .ok_or(E::Corrupt("inode table"))?;
    let bytes = sb
        .read_buffer(nr.get())?
        .read_vec(place.offset, geometry.inode_size().into())?;
    Ok(DiskInode::decode(geometry, ino, &bytes)?)
}

/// A block of the map of that inode.
struct Node(KVec<u8>);

impl AsRef<[u8]> for Node {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The blocks of the map of the journal's inode.
struct Nodes<'a> {
    sb: &'a SuperBlock,
    fork: Fork,
    blocks: Blocks,
    csum: Option<Csum>,
}

impl tree::Read for Nodes<'_> {
    type Error = Failure;
    type View = Node;

    fn blocks(&self) -> Blocks {
        self.blocks
    }

    fn view(&mut self, at: BlockNr) -> Result<Node, Failure> {
        let node = self.sb.read_buffer(at.get())?.to_vec()?;
        if let Some(csum) = self.csum {
            extent::verify(&node, csum)?;
        }
        self.fork.check(&node, &self.blocks)?;
        Ok(Node(node))
    }

    fn error(&self, _at: Option<BlockNr>, error: ondisk::Error) -> Failure {
        error.into()
    }
}
