// SPDX-License-Identifier: GPL-2.0

//! Extended attributes: in the inode while there is room, else in one block, which inodes with the
//! same attributes may share; on images with `ea_inode` a large value may be in an inode of its own
//! ([`value`]).
//!
//! An area of attributes is read whole, and written anew whole ([`rewrite`]). A block that is shared
//! is never written: whoever changes it gets one of its own. rdaxfs does not begin to share.
//!
//! Invariants: the attributes of an inode change with [`Info::file_acl`] held exclusively, in one
//! transaction with the inode. Who counts the users of a block, or those of an inode that is a value,
//! holds the lock of [`SuperData::attributes`], since the inodes that share it are not otherwise kept
//! from each other. Each block, but not each inode that shares it, counts as one user of a value.
//!
//! [`Info::file_acl`]: super::Info::file_acl
//! [`SuperData::attributes`]: super::SuperData::attributes

use super::{
    alloc,
    error::{
        report,
        At, //
    },
    inode,
    meta::{
        Block,
        Format,
        MetaBlock, //
    },
    orphan,
    value,
    INode,
    RdaxFs,
    SuperBlock,
    Transaction, //
};
use crate::{
    ondisk::{
        self,
        feature::Incompat,
        xattr::{
            index,
            rewrite,
            Area,
            Entry,
            Header,
            Name,
            Value,
            Writer, //
        },
        BlockNr,
        Csum, //
    },
    prelude::*,
    vfs::{
        self,
        inode::Locked,
        nofs,
        xattr::{
            Buffer,
            Namespace,
            SetFlags, //
        },
        Credits, //
    }, //
};

/// A block of extended attributes.
struct Attributes {
    csum: Option<Csum>,
    ea_inode: bool,
    nr: BlockNr,
}

impl Attributes {
    fn of(sb: &SuperBlock, nr: BlockNr) -> Self {
        Self {
            csum: sb.data().geometry().csum(),
            ea_inode: has_ea_inode(sb),
            nr,
        }
    }

    /// The attributes in a block whose checksum is known to be right.
    fn area<'a>(&self, bytes: &'a [u8]) -> ondisk::Result<Area<'a>> {
        Area::in_block(None, self.ea_inode, self.nr, bytes)
    }

    /// How many inodes have the block.
    fn refcount(&self, bytes: &[u8]) -> ondisk::Result<u32> {
        Header::decode(None, self.nr, bytes).map(Header::refcount)
    }
}

impl Format for Attributes {
    const NAME: &'static str = "extended attributes";

    fn verify(&self, bytes: &[u8]) -> ondisk::Result {
        Area::in_block(self.csum, self.ea_inode, self.nr, bytes).map(|_| ())
    }

    fn seal(&self, bytes: &mut [u8]) -> ondisk::Result {
        Header::seal(self.csum, self.nr, bytes)
    }
}

/// Whether large values may be in inodes of their own.
pub fn has_ea_inode(sb: &SuperBlock) -> bool {
    sb.data().geometry().incompat().contains(Incompat::EA_INODE)
}

/// Blocks that setting one attribute changes: the inode's in its table, the block of attributes and
/// its successor with what says that they are free or not, the inode of the value before; and where
/// values may be in inodes, all those that a block that is no longer shared counts for.
pub fn set_credits(sb: &SuperBlock) -> Credits {
    const SMALLEST_ENTRY: u32 = 20;
    let own = inode::WRITE_CREDITS * 2 + orphan::CREDITS;
    let basic = own + Credits(2) + alloc::ALLOC_CREDITS * 2;
    match has_ea_inode(sb) {
        true => basic + Credits(sb.block_size() as u32 / SMALLEST_ENTRY),
        false => basic,
    }
}

/// The attributes of an inode, copied from where they are.
struct Found {
    ea_inode: bool,
    body: KVec<u8>,
    block: Option<(Attributes, Block)>,
}

impl Found {
    /// Reads what there is. The caller holds the lock of the inode's attributes, `nr` being what it
    /// guards.
    fn read(inode: &INode, nr: Option<BlockNr>) -> Result<Self> {
        let sb = inode.sb();
        let block = match nr {
            Some(nr) => {
                let format = Attributes::of(sb, nr);
                let block = Block::read(sb, Some(inode), nr, &format)?;
                Some((format, block))
            }
            None => None,
        };
        Ok(Self {
            ea_inode: has_ea_inode(sb),
            body: inode::attributes(inode)?,
            block,
        })
    }

    /// Those in the inode and those in the block.
    fn areas(&self, inode: &INode) -> Result<[Option<Area<'_>>; 2]> {
        let bad = |nr: u64| {
            move |error| {
                report(
                    inode.sb(),
                    Attributes::NAME,
                    At::inode(inode.ino(), nr),
                    error,
                )
            }
        };
        let in_inode = Area::in_inode(self.ea_inode, &self.body).map_err(bad(0))?;
        let in_block = match &self.block {
            Some((format, block)) => Some(format.area(block).map_err(bad(format.nr.get()))?),
            None => None,
        };
        Ok([in_inode, in_block])
    }
}

/// Puts the value of an attribute. [`ENODATA`] if there is none of this name.
pub fn get(inode: &INode, name: Name<'_>, to: &mut Buffer<'_>) -> Result {
    // Evicting an inode takes this lock as well.
    nofs(|| {
        let file_acl = inode.data().get_ref().file_acl.read();
        let found = Found::read(inode, *file_acl)?;
        let areas = found.areas(inode)?;
        let entry = areas.into_iter().flatten().find_map(|area| area.find(name));
        let entry = entry.ok_or(ENODATA)?;
        match entry.value {
            Value::Here(value) => to.put(value),
            Value::INode { size, .. } if to.wants_length() => {
                to.skip(size as usize);
                Ok(())
            }
            Value::INode { ino, size } => to.put(&value::read(inode, ino, size, &entry)?),
        }
    })
}

/// Where attributes are.
pub enum Place {
    /// In the inode: `len` bytes, the first of which is the byte `at` of the device.
    INode {
        /// The first byte, on the device.
        at: u64,
        /// How many bytes there are for attributes.
        len: u64,
    },
    /// In a block.
    Block(BlockNr),
}

/// Where the attributes of an inode are, if it has any: in the inode, or else in a block.
pub fn place(inode: &INode) -> Result<Option<Place>> {
    nofs(|| {
        let sb = inode.sb();
        let file_acl = inode.data().get_ref().file_acl.read();
        let found = Found::read(inode, None)?;
        if let [Some(area), _] = found.areas(inode)? {
            if area.entries().next().is_some() {
                let len = found.body.len() as u64;
                let (nr, offset) = sb.inode_place(inode.ino())?;
                let size = u64::from(sb.data().geometry().inode_size());
                let at = (nr.get() << sb.block_bits()) + offset as u64 + size - len;
                return Ok(Some(Place::INode { at, len }));
            }
        }
        Ok((*file_acl).map(Place::Block))
    })
}

/// Puts the names of all attributes that the current task may see.
fn list(inode: &INode, to: &mut Buffer<'_>) -> Result {
    let trusted = vfs::capable_sys_admin();
    nofs(|| {
        let file_acl = inode.data().get_ref().file_acl.read();
        let found = Found::read(inode, *file_acl)?;
        let areas = found.areas(inode)?;
        for entry in areas.into_iter().flatten().flat_map(Area::entries) {
            let prefix = match entry.name.index() {
                index::USER => Namespace::User.prefix(),
                index::SECURITY => Namespace::Security.prefix(),
                index::TRUSTED if trusted => Namespace::Trusted.prefix(),
                index::POSIX_ACL_ACCESS if inode.sb().has_posix_acl() => c"system.posix_acl_access",
                index::POSIX_ACL_DEFAULT if inode.sb().has_posix_acl() => {
                    c"system.posix_acl_default"
                }
                _ => continue,
            };
            to.put_name(prefix, entry.name.suffix())?;
        }
        Ok(())
    })
}

/// Sets an attribute in a transaction of its own, or removes it.
fn set_alone(
    inode: &Locked<RdaxFs>,
    name: Name<'_>,
    value: Option<&[u8]>,
    flags: SetFlags,
) -> Result {
    let mut gone = value::Gone::default();
    inode.attach_dquots()?;
    {
        let tx = Transaction::start(inode.sb(), set_credits(inode.sb()))?;
        set(&tx, inode, name, value, flags, &mut gone)?;
        inode.set_ctime_current();
        inode.mark_dirty();
    }
    drop(gone);
    if inode.is_sync() {
        inode.sync()?;
    }
    Ok(())
}

/// Sets an attribute, or removes it.
///
/// [`EEXIST`] and [`ENODATA`] as `flags` say, [`ENOSPC`] if there is no room in inode and block. The
/// caller marks the inode dirty, holds it exclusively or has made it, and drops `gone` when the
/// transaction is over. [`set_credits`].
pub fn set(
    tx: &Transaction<'_>,
    inode: &INode,
    name: Name<'_>,
    value: Option<&[u8]>,
    flags: SetFlags,
    gone: &mut value::Gone,
) -> Result {
    let mut file_acl = inode.data().get_ref().file_acl.write();
    let found = Found::read(inode, *file_acl)?;
    let [in_inode, in_block] = found.areas(inode)?;
    let old_here = in_inode.and_then(|area| area.find(name));
    let old_here = old_here.map(|entry| entry.value);
    let old_there = in_block.and_then(|area| area.find(name));
    let old_there = old_there.map(|entry| entry.value);
    let old = old_here.or(old_there);
    flags.check(old.is_some())?;
    if old == value.map(Value::Here) {
        return Ok(());
    }

    let mut new = value.map(|value| Entry::new(name, value));

    let mut body = vfs::zeroes(found.body.len());
    let in_body = |body: &mut KVec<u8>, new| rewrite(in_inode, Writer::in_inode(body)?, name, new);
    let body_changes = match in_body(&mut body, new) {
        Ok(_) => {
            new = None;
            true
        }
        Err(ondisk::Error::Full) if old_here.is_none() => false,
        Err(ondisk::Error::Full) => in_body(&mut body, None).map(|_| true).map_err(|_| ENOSPC)?,
        Err(_) => return Err(EIO),
    };
    let _guard = inode.sb().data().get_ref().attributes.lock();
    let (mut nr, mut shared) = (*file_acl, false);
    if new.is_some() || old_there.is_some() {
        let mut block = vfs::zeroes(inode.sb().block_size());
        let any = Writer::in_block(&mut block)
            .and_then(|writer| rewrite(in_block, writer, name, new))
            .map_err(|_| ENOSPC)?;
        (nr, shared) = put_block(tx, inode, nr, any.then_some(&block))?;
    }
    if shared {
        // Two blocks have these values now; the one that is left keeps the old value.
        for ino in in_block
            .into_iter()
            .flat_map(|area| values(area, Some(name)))
        {
            value::get(tx, inode, ino, gone)?;
        }
    }
    if let Some(Value::INode { ino, .. }) = old_here.or(old_there.filter(|_| !shared)) {
        value::put(tx, inode, ino, gone)?;
    }
    let body = body_changes.then_some(&body[..]);
    inode::update_attributes(tx, inode, nr, body)?;
    *file_acl = nr;
    Ok(())
}

/// Gives the inode the attributes `new` in a block, or none, in place of those in the block `old`.
/// Returns which block that is, and whether others have the old one still.
///
/// The caller holds the lock of attribute blocks.
fn put_block(
    tx: &Transaction<'_>,
    inode: &INode,
    old: Option<BlockNr>,
    new: Option<&KVec<u8>>,
) -> Result<(Option<BlockNr>, bool)> {
    let sb = tx.sb();
    let mut shared = false;
    if let Some(nr) = old {
        let mut block = MetaBlock::read(tx, Some(inode), nr, Attributes::of(sb, nr))?;
        shared = refcount(inode, &block)? > 1;
        if let (Some(new), false) = (new, shared) {
            block.fill_from(new);
            block.commit()?;
            return Ok((old, false));
        }
    }
    let made = match new {
        Some(new) => Some(new_block(tx, inode, new)?),
        None => None,
    };
    if let Some(nr) = old {
        leave_block(tx, inode, nr, None)?;
    }
    Ok((made, shared))
}

/// The inodes that are values of the attributes, but for that of `except`.
fn values<'a>(area: Area<'a>, except: Option<Name<'a>>) -> impl Iterator<Item = u32> + 'a {
    area.entries().filter_map(move |entry| match entry.value {
        Value::INode { ino, .. } if Some(entry.name) != except => Some(ino),
        _ => None,
    })
}

fn refcount(inode: &INode, block: &MetaBlock<'_, Attributes>) -> Result<u32> {
    block.format().refcount(block).map_err(|error| {
        let at = At::inode(inode.ino(), block.nr());
        report(inode.sb(), Attributes::NAME, at, error)
    })
}

/// Writes attributes to a new block.
fn new_block(tx: &Transaction<'_>, inode: &INode, bytes: &[u8]) -> Result<BlockNr> {
    let request = alloc::Request {
        goal: alloc::Goal::Inode,
        lblk: 0,
        len: 1,
        tree: false,
    };
    let nr = alloc::alloc_blocks(tx, inode, request)?.start();
    let mut block = MetaBlock::create(tx, Some(inode), nr, Attributes::of(tx.sb(), nr))?;
    block.fill_from(bytes);
    block.commit()?;
    Ok(nr)
}

/// The inode gives up its block, which is freed if no other inode has it. The values that a block
/// which is freed counts for are given up too, if there is a `gone` to hold them.
///
/// The caller holds the lock of attribute blocks, and forgets the block in the inode.
fn leave_block(
    tx: &Transaction<'_>,
    inode: &INode,
    nr: BlockNr,
    gone: Option<&mut value::Gone>,
) -> Result {
    let sb = tx.sb();
    let mut block = MetaBlock::read(tx, Some(inode), nr, Attributes::of(sb, nr))?;
    let refcount = refcount(inode, &block)?;
    if refcount > 1 {
        Header::set_refcount(&mut block, refcount - 1).map_err(|_| EIO)?;
        inode.uncharge(tx, 1 << (sb.block_bits() - 9));
        return block.commit();
    }
    if let (Some(gone), Ok(area)) = (gone, block.format().area(&block)) {
        for ino in values(area, None) {
            value::put(tx, inode, ino, gone)?;
        }
    }
    drop(block);
    tx.forget(nr.get());
    alloc::free_blocks(tx, inode, nr.into())
}

/// Gives up all that the attributes of an inode take outside it, when its last link is gone.
///
/// The inode is the caller's alone. Takes group locks, in a transaction of its own.
pub fn free(inode: &INode) -> Result {
    let sb = inode.sb();
    let mut gone = value::Gone::default();
    let attributes = &inode.data().get_ref().file_acl;
    // What is a value itself has none, or else one could follow the other without end.
    let values_too = has_ea_inode(sb) && !value::is_value(inode);
    if attributes.read().is_none() && !values_too {
        return Ok(());
    }
    let tx = Transaction::start(sb, set_credits(sb))?;
    let mut file_acl = attributes.write();
    let guard = sb.data().get_ref().attributes.lock();
    if values_too {
        let body = inode::attributes(inode)?;
        if let Ok(Some(area)) = Area::in_inode(true, &body) {
            for ino in values(area, None) {
                value::put(&tx, inode, ino, &mut gone)?;
            }
        }
    }
    if let Some(nr) = *file_acl {
        leave_block(&tx, inode, nr, values_too.then_some(&mut gone))?;
    }
    *file_acl = None;
    inode::update_attributes(&tx, inode, None, Some(&[]))?;
    drop(guard);
    drop(file_acl);
    drop(tx);
    Ok(())
}

/// The operations on extended attributes.
pub struct ExtendedAttributes;

/// An attribute's name in the format. [`ERANGE`] if it is too long.
fn name(namespace: Namespace, suffix: &[u8]) -> Result<Name<'_>> {
    let index = match namespace {
        Namespace::User => index::USER,
        Namespace::Trusted => index::TRUSTED,
        Namespace::Security => index::SECURITY,
    };
    Name::new(index, suffix).map_err(|_| ERANGE)
}

#[vtable]
impl vfs::xattr::Operations for ExtendedAttributes {
    type FileSystem = RdaxFs;

    fn get(inode: &INode, space: Namespace, suffix: &[u8], to: &mut Buffer<'_>) -> Result {
        get(inode, name(space, suffix)?, to)
    }

    fn set(
        inode: &Locked<RdaxFs>,
        space: Namespace,
        suffix: &[u8],
        value: Option<&[u8]>,
        flags: SetFlags,
    ) -> Result {
        set_alone(inode, name(space, suffix)?, value, flags)
    }

    fn list(inode: &INode, to: &mut Buffer<'_>) -> Result {
        list(inode, to)
    }
}
