// SPDX-License-Identifier: GPL-2.0

//! The file system: what rdaxfs does with the format ([`ondisk`](crate::ondisk)) and the kernel
//! ([`vfs`]). No unsafe code.

use crate::{
    prelude::*,
    vfs::{
        self,
        context::{
            Parameters,
            Value, //
        },
        Context,
        Credits,
        FileSystem,
        Journal,
        New,
        StatFs, //
    }, //
};
use kernel::{
    seq_file::SeqFile,
    sync::aref::ARef, //
};

pub mod acl;
pub mod alloc;
pub mod attr;
pub mod dir;
pub mod error;
pub mod export;
pub mod fault;
pub mod file;
pub mod fileattr;
pub mod fsmap;
pub mod group;
pub mod ialloc;
pub mod identity;
pub mod inode;
pub mod ioctl;
pub mod iomap;
pub mod journal;
pub mod map;
pub mod meta;
pub mod mount;
pub mod namei;
pub mod options;
pub mod orphan;
pub mod quota;
pub mod readdir;
#[cfg(refused)]
mod refused;
pub mod space;
pub mod stats;
pub mod switch;
pub mod symlink;
pub mod trim;
pub mod value;
pub mod xattr;
pub mod zone;

pub use self::{
    inode::Info,
    mount::SuperData, //
};

/// The file system type.
pub struct RdaxFs;

/// An inode of rdaxfs.
pub type INode = vfs::INode<RdaxFs>;
/// A mounted rdaxfs.
pub type SuperBlock<S = vfs::Ready> = vfs::SuperBlock<RdaxFs, S>;
/// A change of rdaxfs metadata.
pub type Transaction<'sb> = vfs::Transaction<'sb, RdaxFs>;

impl FileSystem for RdaxFs {
    type SuperData = SuperData;
    type INodeData = Info;
    type Params = options::Options;

    const NAME: &'static CStr = c"rdaxfs";
    const PARAMETERS: &'static Parameters = &options::PARAMETERS;

    fn params(sb: Option<&SuperBlock>) -> Result<Self::Params> {
        Ok(sb.map_or_else(options::Options::default, |sb| sb.data().options()))
    }

    fn parse_param(params: &mut Self::Params, opt: u8, value: Value) -> Result {
        params.parse(opt, value)
    }

    fn fill_super(
        sb: &mut SuperBlock<New>,
        fc: &Context,
        params: Self::Params,
    ) -> Result<Pin<KBox<Self::SuperData>>> {
        mount::fill_super(sb, fc, params)
    }

    fn root(sb: &SuperBlock) -> Result<ARef<INode>> {
        mount::root(sb)
    }

    fn reconfigure(sb: &SuperBlock, fc: &Context, params: Self::Params, read_only: bool) -> Result {
        mount::reconfigure(sb, fc, params, read_only)
    }

    fn put_super(sb: &SuperBlock) {
        mount::put_super(sb);
    }

    fn sync_fs(sb: &SuperBlock, wait: bool) -> Result {
        mount::sync_fs(sb, wait)
    }

    fn freeze_fs(sb: &SuperBlock) -> Result {
        mount::freeze(sb)
    }

    fn unfreeze_fs(sb: &SuperBlock) -> Result {
        mount::unfreeze(sb)
    }

    fn projid(inode: &INode) -> Option<u32> {
        fileattr::has_project(inode).then(|| inode.data().projid())
    }

    fn quota_entry_credits(file: &INode) -> Credits {
        quota::entry_credits(file)
    }

    fn quota_read(file: &INode, pos: u64, bytes: &mut [u8]) -> Result<usize> {
        quota::read(file, pos, bytes)
    }

    fn quota_write(tx: &Transaction<'_>, file: &INode, pos: u64, bytes: &[u8]) -> Result {
        quota::write(tx, file, pos, bytes)
    }

    #[inline]
    fn has_stopped(sb: &SuperBlock) -> bool {
        error::has_stopped(sb)
    }

    #[inline]
    fn is_shut_down(sb: &SuperBlock) -> bool {
        mount::is_shut_down(sb)
    }

    fn shut_down(sb: &SuperBlock) {
        mount::shut_down(sb);
    }

    fn statfs(inode: &INode) -> Result<StatFs> {
        let mut stat = mount::statfs(inode.sb())?;
        quota::limit_statfs(inode, &mut stat)?;
        Ok(stat)
    }

    fn show_options(sb: &SuperBlock, m: &SeqFile) -> Result {
        sb.data().options().show(m);
        Ok(())
    }

    fn inode_data() -> impl PinInit<Info> {
        Info::new()
    }

    #[inline]
    fn journal(sb: &SuperBlock) -> Option<&Journal> {
        sb.data().get_ref().journal.as_ref()
    }

    fn journal_aborted(sb: &SuperBlock) {
        error::journal_aborted(sb);
    }

    fn dirty_inode(inode: &INode) {
        inode::dirtied(inode);
    }

    fn sync_inode(inode: &INode) -> Result {
        inode::sync(inode)
    }

    fn evict_inode(inode: &INode, delete: bool) {
        inode::evict(inode, delete);
    }
}
