// SPDX-License-Identifier: GPL-2.0

//! Names and what they name: create, link, unlink, symlink, mkdir, rmdir, mknod, rename, tmpfile.
//!
//! Each operation is one transaction. Whatever can fail comes before the first change of an inode in
//! memory; a step on disk that succeeded before another one failed is taken back. An inode that was
//! made in vain is dropped after the transaction: its eviction frees it in one of its own.

use kernel::sync::{
    aref::ARef,
    atomic::Relaxed, //
};

use super::{
    acl,
    alloc,
    attr::Attributes,
    dir::{
        self,
        Entry, //
    },
    error::{
        corrupt,
        At, //
    },
    file,
    ialloc,
    inode,
    map,
    orphan,
    readdir::OpenDir,
    symlink,
    INode,
    RdaxFs,
    Transaction, //
};
use crate::vfs::{
    self,
    dentry::{
        Instantiated,
        Lookup,
        Negative,
        Opened,
        Positive,
        QStr,
        Spliced,
        Target,
        Tmpfile, //
    },
    dir::{
        Rename,
        RenameFlags, //
    },
    inode::{
        Fresh,
        IdMap,
        Locked,
        LockedShared,
        New, //
    },
    Credits,
    FileType, //
};
use crate::{
    ondisk::{
        feature::RoCompat,
        inode::flag, //
    },
    prelude::*, //
};

/// The most links that the format allows an inode.
const MAX_LINKS: u32 = 65_000;

/// Format and permission bits of a whiteout: a character device that nobody can open.
const WHITEOUT_MODE: u16 = 0o020_000;

/// The operations of directories.
pub struct Names;

#[vtable]
impl vfs::dir::Operations for Names {
    type FileSystem = RdaxFs;
    type Attributes = Attributes;

    fn lookup<'a>(dir: &LockedShared<RdaxFs>, entry: Lookup<'a, RdaxFs>) -> Result<Spliced<'a>> {
        let inode = match dir::lookup(dir, entry.name())? {
            Some(ino) => Some(named(dir, ino.into())?),
            None => None,
        };
        entry.splice(inode)
    }

    fn create<'a>(
        idmap: &IdMap,
        dir: &Locked<RdaxFs>,
        entry: Negative<'a, RdaxFs>,
        mode: u16,
    ) -> Result<Instantiated<'a>> {
        let inode = add_new(idmap, dir, entry.name(), mode, |_, inode| file::init(inode))?;
        Ok(entry.instantiate_new(inode))
    }

    fn mknod<'a>(
        idmap: &IdMap,
        dir: &Locked<RdaxFs>,
        entry: Negative<'a, RdaxFs>,
        mode: u16,
        device: (u32, u32),
    ) -> Result<Instantiated<'a>> {
        let inode = add_new(idmap, dir, entry.name(), mode, |_, inode| {
            match inode.kind() {
                FileType::Regular => file::init(inode),
                _ => init_special(inode, device),
            }
        })?;
        Ok(entry.instantiate_new(inode))
    }

    fn symlink<'a>(
        idmap: &IdMap,
        dir: &Locked<RdaxFs>,
        entry: Negative<'a, RdaxFs>,
        target: &CStr,
    ) -> Result<Instantiated<'a>> {
        symlink::check(dir.sb(), target)?;
        let inode = add_new(idmap, dir, entry.name(), symlink::MODE, |tx, inode| {
            symlink::set_target(tx, inode, target)
        })?;
        Ok(entry.instantiate_new(inode))
    }

    fn mkdir<'a>(
        idmap: &IdMap,
        dir: &Locked<RdaxFs>,
        entry: Negative<'a, RdaxFs>,
        mode: u16,
    ) -> Result<Instantiated<'a>> {
        check_subdirs(dir)?;
        let inode = add_new(idmap, dir, entry.name(), mode, |tx, inode| {
            init_dir(inode)?;
            inode.set_nlink(2);
            dir::init(tx, inode, dir)
        })?;
        Ok(entry.instantiate_new(inode))
    }

    fn tmpfile<'a>(
        idmap: &IdMap,
        dir: &INode,
        tmp: Tmpfile<'a, RdaxFs>,
        mode: u16,
    ) -> Result<Opened<'a>> {
        let fresh = ialloc::prepare(dir, idmap, mode)?;
        let (inode, filled) = {
            let credits = ialloc::NEW_CREDITS + acl::inherit_credits(dir.sb()) + orphan::CREDITS;
            let tx = Transaction::start(dir.sb(), credits)?;
            let mut inode = ialloc::new_inode(&tx, dir, fresh)?;
            let filled =
                acl::inherit(&tx, &mut inode, dir, None).and_then(|()| file::init(&mut inode));
            inode.clear_nlink();
            inode.mark_dirty();
            let filled = filled.and(orphan::add(&tx, &inode));
            (inode, filled)
        };
        filled?;
        // What the VFS is about to take from it, for all the world: it never had a link on the disk.
        inode.set_nlink(1);
        tmp.finish(inode)
    }

    fn link<'a>(
        inode: &Locked<RdaxFs>,
        dir: &Locked<RdaxFs>,
        entry: Negative<'a, RdaxFs>,
    ) -> Result<Instantiated<'a>> {
        if inode.nlink() >= MAX_LINKS {
            return Err(EMLINK);
        }
        check_project(dir, inode)?;
        transact(dir, inode, dir::insert_credits(dir), |tx| {
            dir::insert(tx, dir, entry.name().bytes(), Entry::of(inode))?;
            touch(dir);
            inode.set_ctime_current();
            inode.inc_nlink();
            if inode.nlink() == 1 {
                return orphan::remove(tx, inode, 0);
            }
            inode.mark_dirty();
            Ok(())
        })?;
        Ok(entry.instantiate(ARef::from(&**inode)))
    }

    fn unlink(dir: &Locked<RdaxFs>, entry: Positive<'_, RdaxFs>) -> Result {
        let inode = entry.inode();
        transact(dir, inode, dir::CHANGE_CREDITS, |tx| {
            dir::remove(tx, dir, entry.name(), Entry::of(inode))?;
            touch(dir);
            lose_link(tx, inode)
        })
    }

    fn rmdir(dir: &Locked<RdaxFs>, entry: Positive<'_, RdaxFs>) -> Result {
        let inode = entry.inode();
        if !dir::is_empty(inode)? {
            return Err(ENOTEMPTY);
        }
        transact(dir, inode, dir::CHANGE_CREDITS, |tx| {
            dir::remove(tx, dir, entry.name(), Entry::of(inode))?;
            drop_subdir(dir);
            touch(dir);
            lose_link(tx, inode)
        })
    }

    fn rename(idmap: &IdMap, rename: Rename<'_, RdaxFs>) -> Result {
        rename
            .flags
            .only(RenameFlags::NOREPLACE | RenameFlags::EXCHANGE | RenameFlags::WHITEOUT)?;
        let (old_dir, new_dir) = (rename.old_dir, rename.new_dir);
        let inode = rename.old.inode();
        let target = match &rename.new {
            Target::Occupied(target) => Some(target.inode()),
            Target::Vacant(_) => None,
        };
        check_project(new_dir, inode)?;
        if let Some(target) = target.filter(|_| rename.flags.exchange()) {
            check_project(old_dir, target)?;
        }
        if target.is_some() && !rename.flags.exchange() && inode.kind() == FileType::Regular {
            // Many a program replaces a file with a new version that it has not synced: let its data
            // be there before the old version is gone.
            inode.begin_writeback();
        }
        new_dir.attach_dquots()?;
        let prepared = match rename.flags.whiteout() {
            true => Some(ialloc::prepare(old_dir, idmap, WHITEOUT_MODE)?),
            false => None,
        };
        let (whiteout, renamed) = {
            let credits = dir::insert_credits(new_dir)
                + dir::CHANGE_CREDITS * 4
                + inode::WRITE_CREDITS * 4
                + orphan::CREDITS
                + ialloc::NEW_CREDITS;
            let tx = Transaction::start(old_dir.sb(), credits)?;
            let mut whiteout = None;
            let renamed = rename_within(&tx, &rename, target, prepared, &mut whiteout);
            (whiteout, renamed)
        };
        // On an error the whiteout goes here, when the transaction is over.
        renamed?;
        let whiteout = whiteout.map(New::unlock);
        settle(&[old_dir, new_dir, inode, target.unwrap_or(inode)]);
        if let Some(whiteout) = &whiteout {
            settle(&[old_dir, whiteout]);
        }
        Ok(())
    }
}

/// Gives a directory its operations.
pub fn init_dir(inode: &mut New<RdaxFs>) -> Result {
    inode.init_dir(
        vfs::dir::operations::<Names>(),
        vfs::readdir::operations::<OpenDir>(),
    )
}

/// Gives a device node, named pipe or socket its operations.
pub fn init_special(inode: &mut New<RdaxFs>, device: (u32, u32)) -> Result {
    inode.init_special(vfs::attr::special_operations::<Attributes>(), device)
}

/// Runs one operation on `inode` and an entry of `dir` as one transaction.
fn transact(
    dir: &INode,
    inode: &INode,
    credits: Credits,
    operation: impl Fn(&Transaction<'_>) -> Result,
) -> Result {
    dir.attach_dquots()?;
    let credits = credits + inode::WRITE_CREDITS * 2 + orphan::CREDITS;
    alloc::retry(dir.sb(), || {
        operation(&Transaction::start(dir.sb(), credits)?)
    })?;
    settle(&[dir, inode]);
    Ok(())
}

/// Writes inodes that changed together, if one of them is a synchronous directory, and waits.
///
/// What was done stays done if that fails; `fsync` tells of it.
fn settle(changed: &[&INode]) {
    if changed
        .iter()
        .any(|inode| inode.kind() == FileType::Directory && inode.is_dirsync())
    {
        for inode in changed {
            let _ = inode.sync();
        }
    }
}

/// The inode `ino`, which an entry of `dir` names: so it is in use.
fn named(dir: &INode, ino: u64) -> Result<ARef<INode>> {
    inode::iget(dir.sb(), ino).map_err(|error| match error {
        ESTALE => {
            let at = At::inode(dir.ino(), 0);
            corrupt(
                dir.sb(),
                "directory",
                at,
                fmt!("inode {ino} is named and not in use"),
            )
        }
        error => error,
    })
}

/// Makes an inode, has `fill` give it its contents, and enters it as `name`.
fn add_new(
    idmap: &IdMap,
    dir: &Locked<RdaxFs>,
    name: QStr<'_>,
    mode: u16,
    fill: impl Fn(&Transaction<'_>, &mut New<RdaxFs>) -> Result,
) -> Result<New<RdaxFs>> {
    // A new directory or symbolic link has one block of its own.
    let block = map::allocate_credits(dir) + dir::INIT_CREDITS;
    let own = inode::WRITE_CREDITS + orphan::CREDITS;
    let made = ialloc::NEW_CREDITS + acl::inherit_credits(dir.sb());
    let credits = made + block + dir::insert_credits(dir) + own;
    let inode = alloc::retry(dir.sb(), || {
        let fresh = ialloc::prepare(dir, idmap, mode)?;
        let (inode, added) = {
            let tx = Transaction::start(dir.sb(), credits)?;
            let mut inode = ialloc::new_inode(&tx, dir, fresh)?;
            let added = acl::inherit(&tx, &mut inode, dir, Some(name))
                .and_then(|()| fill(&tx, &mut inode))
                .and_then(|()| dir::insert(&tx, dir, name.bytes(), Entry::of(&inode)));
            if added.is_ok() {
                if inode.kind() == FileType::Directory {
                    add_subdir(dir);
                }
                touch(dir);
                inode.mark_dirty();
            } else {
                inode.clear_nlink();
                // If that fails, nothing is written any more.
                let _ = orphan::add(&tx, &inode);
            }
            (inode, added)
        };
        // On an error the inode goes here, when the transaction is over.
        added.map(|()| inode)
    })?;
    settle(&[dir, &inode]);
    Ok(inode)
}

/// The contents of a directory change now.
fn touch(dir: &INode) {
    dir.set_mtime_ctime_current();
    dir.mark_dirty();
}

/// Takes one link from what a removed entry named: the last one if that is a directory.
///
/// There may be none left on an image where more entries name it than it has links.
fn lose_link(tx: &Transaction<'_>, inode: &INode) -> Result {
    inode.set_ctime_current();
    if inode.kind() == FileType::Directory {
        inode.clear_nlink();
    } else if inode.nlink() > 0 {
        inode.drop_nlink();
    }
    if inode.nlink() == 0 {
        return orphan::add(tx, inode);
    }
    inode.mark_dirty();
    Ok(())
}

/// [`EXDEV`] if all that is in `dir` is to be of its project, and `inode` is not: it is copied then.
fn check_project(dir: &INode, inode: &INode) -> Result {
    let info = dir.data();
    let hands_down = info.flags.load(Relaxed) & flag::PROJINHERIT != 0;
    if hands_down && info.projid() != inode.data().projid() {
        return Err(EXDEV);
    }
    Ok(())
}

/// [`EMLINK`] if `dir` cannot have another subdirectory.
fn check_subdirs(dir: &INode) -> Result {
    if dir.nlink() >= MAX_LINKS && !has_dir_nlink(dir) {
        return Err(EMLINK);
    }
    Ok(())
}

/// Whether a directory may have more subdirectories than links can be counted.
fn has_dir_nlink(dir: &INode) -> bool {
    let features = dir.sb().data().geometry().ro_compat();
    features.contains(RoCompat::DIR_NLINK)
}

/// Counts the `..` of a new subdirectory.
///
/// With `dir_nlink`, one link stands for more than can be counted, and stays.
fn add_subdir(dir: &INode) {
    match dir.nlink() {
        1 => {}
        n if n + 1 >= MAX_LINKS && has_dir_nlink(dir) => dir.set_nlink(1),
        _ => dir.inc_nlink(),
    }
}

/// Uncounts the `..` of a subdirectory that is gone.
fn drop_subdir(dir: &INode) {
    if dir.nlink() > 2 {
        dir.drop_nlink();
    }
}

/// The change of a rename. If it makes a whiteout, of what was prepared for one, the caller gets that in
/// any case, since it must not be dropped within the transaction.
fn rename_within(
    tx: &Transaction<'_>,
    rename: &Rename<'_, RdaxFs>,
    target: Option<&INode>,
    prepared: Option<Fresh<RdaxFs>>,
    whiteout: &mut Option<New<RdaxFs>>,
) -> Result {
    if let Some(prepared) = prepared {
        let new = whiteout.insert(ialloc::new_inode(tx, rename.old_dir, prepared)?);
        init_special(new, (0, 0))?;
        new.mark_dirty();
    }
    let left = whiteout.as_ref().map(|inode| Entry::of(inode));
    match target {
        Some(target) if rename.flags.exchange() => exchange(tx, rename, target)?,
        Some(target) => replace(tx, rename, target, left)?,
        None => move_entry(tx, rename, left)?,
    }
    touch(rename.new_dir);
    if rename.crosses_directories() {
        touch(rename.old_dir);
    }
    let inode = rename.old.inode();
    inode.set_ctime_current();
    inode.mark_dirty();
    Ok(())
}

/// Takes a moved entry from its old place, or leaves another one there.
fn leave(tx: &Transaction<'_>, rename: &Rename<'_, RdaxFs>, left: Option<Entry>) -> Result {
    let (dir, name) = (rename.old_dir, rename.old.name());
    let entry = Entry::of(rename.old.inode());
    match left {
        Some(left) => dir::replace(tx, dir, name, entry, left),
        None => dir::remove(tx, dir, name, entry),
    }
}

/// Moves an entry to a name that nothing has, with another one `left` in its old place.
fn move_entry(tx: &Transaction<'_>, rename: &Rename<'_, RdaxFs>, left: Option<Entry>) -> Result {
    let (old_dir, new_dir) = (rename.old_dir, rename.new_dir);
    let inode = rename.old.inode();
    let entry = Entry::of(inode);
    let new_parent = rename.crosses_directories() && inode.kind() == FileType::Directory;
    if new_parent {
        check_subdirs(new_dir)?;
    }

    dir::insert(tx, new_dir, rename.new.name(), entry)?;
    let undo = || {
        let _ = dir::remove(tx, new_dir, rename.new.name(), entry);
    };
    if new_parent {
        dir::set_parent(tx, inode, old_dir, new_dir).inspect_err(|_| undo())?;
    }
    leave(tx, rename, left).inspect_err(|_| {
        if new_parent {
            let _ = dir::set_parent(tx, inode, new_dir, old_dir);
        }
        undo();
    })?;

    if new_parent {
        add_subdir(new_dir);
        drop_subdir(old_dir);
    }
    Ok(())
}

/// Moves an entry to the name of another, whose inode loses that link; as for [`move_entry`].
fn replace(
    tx: &Transaction<'_>,
    rename: &Rename<'_, RdaxFs>,
    victim: &INode,
    left: Option<Entry>,
) -> Result {
    let (old_dir, new_dir) = (rename.old_dir, rename.new_dir);
    let inode = rename.old.inode();
    let (entry, lost) = (Entry::of(inode), Entry::of(victim));
    let is_dir = inode.kind() == FileType::Directory;
    let new_parent = rename.crosses_directories() && is_dir;
    if is_dir && !dir::is_empty(victim)? {
        return Err(ENOTEMPTY);
    }

    dir::replace(tx, new_dir, rename.new.name(), lost, entry)?;
    let undo = || {
        let _ = dir::replace(tx, new_dir, rename.new.name(), entry, lost);
    };
    if new_parent {
        dir::set_parent(tx, inode, old_dir, new_dir).inspect_err(|_| undo())?;
    }
    leave(tx, rename, left).inspect_err(|_| {
        if new_parent {
            let _ = dir::set_parent(tx, inode, new_dir, old_dir);
        }
        undo();
    })?;

    if is_dir {
        // The victim's `..` is gone from `new_dir`; the moved one's came in its place.
        drop_subdir(old_dir);
    }
    lose_link(tx, victim)
}

/// Exchanges two entries.
fn exchange(tx: &Transaction<'_>, rename: &Rename<'_, RdaxFs>, other: &INode) -> Result {
    let (old_dir, new_dir) = (rename.old_dir, rename.new_dir);
    let inode = rename.old.inode();
    let (entry, other_entry) = (Entry::of(inode), Entry::of(other));
    let crosses = rename.crosses_directories();
    let moves = crosses && inode.kind() == FileType::Directory;
    let other_moves = crosses && other.kind() == FileType::Directory;
    if moves && !other_moves {
        check_subdirs(new_dir)?;
    }
    if other_moves && !moves {
        check_subdirs(old_dir)?;
    }

    let (old_name, new_name) = (rename.old.name(), rename.new.name());
    dir::replace(tx, new_dir, new_name, other_entry, entry)?;
    let undo_new = || {
        let _ = dir::replace(tx, new_dir, new_name, entry, other_entry);
    };
    dir::replace(tx, old_dir, old_name, entry, other_entry).inspect_err(|_| undo_new())?;
    let undo = || {
        let _ = dir::replace(tx, old_dir, old_name, other_entry, entry);
        undo_new();
    };
    if moves {
        dir::set_parent(tx, inode, old_dir, new_dir).inspect_err(|_| undo())?;
    }
    if other_moves {
        dir::set_parent(tx, other, new_dir, old_dir).inspect_err(|_| {
            if moves {
                let _ = dir::set_parent(tx, inode, new_dir, old_dir);
            }
            undo();
        })?;
    }

    if moves && !other_moves {
        add_subdir(new_dir);
        drop_subdir(old_dir);
    }
    if other_moves && !moves {
        add_subdir(old_dir);
        drop_subdir(new_dir);
    }
    other.set_ctime_current();
    other.mark_dirty();
    Ok(())
}
