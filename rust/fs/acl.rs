// SPDX-License-Identifier: GPL-2.0

//! POSIX access control lists, which are attributes; and what an inode that is being made inherits, or
//! is told by security modules.

use super::{
    inode,
    value::Gone,
    xattr::{
        self,
        ExtendedAttributes, //
    },
    INode,
    RdaxFs,
    SuperBlock,
    Transaction, //
};
use crate::{
    ondisk::{
        self,
        acl::{
            to_disk,
            to_xattr, //
        },
        xattr::{
            index,
            Name, //
        }, //
    },
    prelude::*,
    vfs::{
        self,
        acl::{
            Acl,
            Kind, //
        },
        dentry::QStr,
        inode::{
            IdMap,
            Locked,
            New, //
        },
        nofs,
        security::init_security,
        xattr::{
            Buffer,
            SetFlags, //
        },
        Credits, //
    }, //
};
use kernel::sync::aref::ARef;

/// Why a list was not put into another form.
struct Failed(Error);

impl From<ondisk::Error> for Failed {
    fn from(_: ondisk::Error) -> Self {
        Self(EINVAL)
    }
}

/// Appends to a vector, as the functions that change the form want it.
fn append(to: &mut KVec<u8>) -> impl FnMut(&[u8]) -> Result<(), Failed> + '_ {
    |bytes| {
        to.extend_from_slice(bytes, GFP_KERNEL)
            .map_err(|error| Failed(error.into()))
    }
}

fn name(kind: Kind) -> Result<Name<'static>> {
    let index = match kind {
        Kind::Access => index::POSIX_ACL_ACCESS,
        Kind::Default => index::POSIX_ACL_DEFAULT,
    };
    Name::new(index, &[]).map_err(|_| EINVAL)
}

/// Reads a list.
fn read(inode: &INode, kind: Kind) -> Result<Option<ARef<Acl>>> {
    let mut len = Buffer::new(None);
    match xattr::get(inode, name(kind)?, &mut len) {
        Err(ENODATA) => return Ok(None),
        result => result?,
    }
    let mut disk = KVec::from_elem(0, len.filled(), GFP_KERNEL)?;
    xattr::get(inode, name(kind)?, &mut Buffer::new(Some(&mut disk)))?;
    let mut bytes = KVec::new();
    to_xattr(&disk, append(&mut bytes)).map_err(|Failed(error)| error)?;
    Acl::from_xattr(&bytes)
}

/// Stores a list, or removes it. As for [`xattr::set`], whose credits these are.
fn store(
    tx: &Transaction<'_>,
    inode: &INode,
    kind: Kind,
    acl: Option<&Acl>,
    gone: &mut Gone,
) -> Result {
    let mut disk = KVec::new();
    if let Some(acl) = acl {
        to_disk(&acl.to_xattr()?, append(&mut disk)).map_err(|Failed(error)| error)?;
    }
    let value = acl.map(|_| &disk[..]);
    xattr::set(tx, inode, name(kind)?, value, SetFlags::ANY, gone)?;
    inode.set_cached_acl(kind, acl);
    Ok(())
}

/// Blocks that [`inherit`] changes.
pub fn inherit_credits(sb: &SuperBlock) -> Credits {
    xattr::set_credits(sb)
}

/// Gives an inode that was just made in `dir` what it inherits: permission bits, access control lists,
/// and the labels that security modules have for it. The caller marks it dirty.
pub fn inherit(
    tx: &Transaction<'_>,
    inode: &mut New<RdaxFs>,
    dir: &INode,
    name: Option<QStr<'_>>,
) -> Result {
    // A new inode has no values to give up.
    let mut gone = Gone::default();
    let inherited = inode.inherit_acls(dir)?;
    if let Some(acl) = &inherited.default {
        store(tx, inode, Kind::Default, Some(acl), &mut gone)?;
    }
    if let Some(acl) = &inherited.access {
        store(tx, inode, Kind::Access, Some(acl), &mut gone)?;
    }
    init_security(inode, dir, name, |suffix, value| {
        let name = Name::new(index::SECURITY, suffix).map_err(|_| ERANGE)?;
        xattr::set(tx, inode, name, Some(value), SetFlags::CREATE, &mut gone)
    })
}

#[vtable]
impl vfs::acl::Operations for ExtendedAttributes {
    fn get_acl(inode: &INode, kind: Kind) -> Result<Option<ARef<Acl>>> {
        nofs(|| read(inode, kind))
    }

    fn set_acl(idmap: &IdMap, inode: &Locked<RdaxFs>, kind: Kind, acl: Option<&Acl>) -> Result {
        let mut gone = Gone::default();
        let credits = xattr::set_credits(inode.sb()) + inode::WRITE_CREDITS;
        inode.attach_dquots()?;
        let tx = Transaction::start(inode.sb(), credits)?;
        let (mode, acl) = match (kind, acl) {
            (Kind::Access, Some(acl)) => {
                let (mode, says_more) = inode.mode_of_acl(idmap, acl)?;
                (mode, says_more.then_some(acl))
            }
            _ => (inode.mode(), acl),
        };
        store(&tx, inode, kind, acl, &mut gone)?;
        inode.set_permissions(mode);
        inode.set_ctime_current();
        inode.mark_dirty();
        drop(tx);
        drop(gone);
        if inode.is_sync() {
            inode.sync()?;
        }
        Ok(())
    }
}
