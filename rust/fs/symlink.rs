// SPDX-License-Identifier: GPL-2.0

//! Symbolic links.
//!
//! A target of less than 60 bytes lies in `i_block`, in the place of an extent tree (a fast link), and is
//! kept in memory. A longer one lies in the file's only block, which is metadata: written within a
//! transaction, read through the buffer cache.

use kernel::sync::atomic::Relaxed;

use super::{
    attr::Attributes,
    error::{
        corrupt,
        At, //
    },
    map::{
        self,
        Fill,
        Place, //
    },
    INode,
    RdaxFs,
    SuperBlock,
    Transaction, //
};
use crate::{
    ondisk::{
        extent::ROOT_SIZE,
        inode::flag, //
    },
    prelude::*,
    vfs::{
        self,
        inode::New, //
    }, //
};

/// Format and permission bits of every symbolic link.
pub const MODE: u16 = 0o120_777;

/// The operations of symbolic links.
struct Links;

#[vtable]
impl vfs::symlink::Operations for Links {
    type FileSystem = RdaxFs;
    type Attributes = Attributes;

    fn read_link(inode: &INode) -> Result<KVec<u8>> {
        let len = target_len(inode)?;
        let Place::Written(at) = map::map_blocks(inode, 0)?.place else {
            return Err(bad(inode, "without its block"));
        };
        let mut target = KVec::from_elem(0, len, GFP_KERNEL)?;
        inode.sb().read_buffer(at.get())?.read_at(0, &mut target)?;
        if target.contains(&0) {
            return Err(bad(inode, "shorter than it says"));
        }
        Ok(target)
    }
}

/// The length of the target in bytes, which leaves room in a block for one more.
fn target_len(inode: &INode) -> Result<usize> {
    match usize::try_from(inode.size()) {
        Ok(len) if (1..inode.sb().block_size()).contains(&len) => Ok(len),
        _ => Err(bad(inode, "of impossible length")),
    }
}

fn bad(inode: &INode, what: &str) -> Error {
    let at = At::inode(inode.ino(), 0);
    corrupt(inode.sb(), "symbolic link", at, fmt!("{what}"))
}

/// Whether the target of a symbolic link is in `i_block`: by its length, and not in the place of an
/// extent tree.
pub fn is_fast(inode: &INode) -> bool {
    inode.size() < ROOT_SIZE as u64 && inode.data().flags.load(Relaxed) & flag::EXTENTS == 0
}

/// Gives a symbolic link that was read from disk its operations; `root` is its `i_block`.
pub fn init(inode: &mut New<RdaxFs>, root: &[u8; ROOT_SIZE]) -> Result {
    if !is_fast(inode) {
        return inode.init_symlink(vfs::symlink::operations::<Links>());
    }
    let mut text = *root;
    if let Some(end) = usize::try_from(inode.size())
        .ok()
        .and_then(|len| text.get_mut(len))
    {
        *end = 0;
    }
    match CStr::from_bytes_until_nul(&text) {
        Ok(target) if target.count_bytes() as u64 == inode.size() && !target.is_empty() => {
            init_fast(inode, target)
        }
        _ => Err(bad(inode, "of another length than it says")),
    }
}

fn init_fast(inode: &mut New<RdaxFs>, target: &CStr) -> Result {
    inode.init_fast_symlink(vfs::symlink::fast_operations::<Attributes>(), target)
}

/// [`ENAMETOOLONG`] if `target` does not fit into a block with its NUL.
pub fn check(sb: &SuperBlock, target: &CStr) -> Result {
    if target.to_bytes_with_nul().len() > sb.block_size() {
        return Err(ENAMETOOLONG);
    }
    Ok(())
}

/// Gives a new symbolic link its target, which [`check`] has found to fit, and its operations.
pub fn set_target(tx: &Transaction<'_>, inode: &mut New<RdaxFs>, target: &CStr) -> Result {
    let bytes = target.to_bytes();
    inode.set_size(bytes.len() as u64);
    if bytes.len() < ROOT_SIZE {
        let mut root = [0; ROOT_SIZE];
        for (to, from) in root.iter_mut().zip(bytes) {
            *to = *from;
        }
        let info = inode.data();
        info.extents.load(root);
        info.flags
            .store(info.flags.load(Relaxed) & !flag::EXTENTS, Relaxed);
        init_fast(inode, target)?;
    } else {
        let (mapping, _) = map::allocate(tx, inode, 0, 1, Fill::Written)?;
        let Place::Written(at) = mapping.place else {
            return Err(bad(inode, "that is new has a block"));
        };
        let buffer = tx.create(at.get())?;
        tx.write_at(&buffer, 0, target.to_bytes_with_nul(), Some(inode))?;
        inode.init_symlink(vfs::symlink::operations::<Links>())?;
    }
    inode.mark_dirty();
    Ok(())
}
