// SPDX-License-Identifier: GPL-2.0

//! POSIX access control lists: the value of an attribute, in two forms.
//!
//! On the disk an entry has an identifier only if its tag wants one. In the form that the kernel's own
//! functions take, and user space passes, every entry has one. The kernel checks what a list means;
//! here it is only put from one form into the other.
//!
//! See [`attributes.rst`](srctree/Documentation/filesystems/ext4/attributes.rst), and for the other
//! form [`posix_acl_xattr.h`](srctree/include/uapi/linux/posix_acl_xattr.h).

use super::error::{
    Error,
    Result, //
};

/// `a_version` on the disk, and of user space.
const DISK_VERSION: u32 = 1;
const XATTR_VERSION: u32 = 2;

/// The tags of entries for one user and for one group, which have an identifier.
const USER: u16 = 2;
const GROUP: u16 = 8;

/// The identifier where there is none.
const UNDEFINED: u32 = u32::MAX;

/// An entry: whom it is about, what they may, and which user or group that is.
struct Entry {
    tag: [u8; 2],
    perm: [u8; 2],
    id: Option<[u8; 4]>,
}

impl Entry {
    fn is_named(tag: [u8; 2]) -> bool {
        matches!(u16::from_le_bytes(tag), USER | GROUP)
    }

    /// Takes an entry from the front of `bytes`. `all_have_id`: in which form.
    fn take(bytes: &mut &[u8], all_have_id: bool) -> Result<Self> {
        let tag = take(bytes)?;
        let perm = take(bytes)?;
        let named = Self::is_named(tag);
        let id = if named || all_have_id {
            Some(take(bytes)?).filter(|_| named)
        } else {
            None
        };
        Ok(Self { tag, perm, id })
    }
}

/// Takes bytes from the front.
fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk().ok_or(BAD)?;
    *bytes = rest;
    Ok(*first)
}

const BAD: Error = Error::Corrupt("access control list");

/// Puts the list `disk` into the form of user space, piece by piece by `put`.
pub fn to_xattr<E: From<Error>>(
    disk: &[u8],
    mut put: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut rest = disk;
    if u32::from_le_bytes(take(&mut rest)?) != DISK_VERSION {
        return Err(BAD.into());
    }
    put(&XATTR_VERSION.to_le_bytes())?;
    while !rest.is_empty() {
        let entry = Entry::take(&mut rest, false)?;
        put(&entry.tag)?;
        put(&entry.perm)?;
        put(&entry.id.unwrap_or(UNDEFINED.to_le_bytes()))?;
    }
    Ok(())
}

/// Puts the list `xattr` into the form of the disk, piece by piece by `put`.
pub fn to_disk<E: From<Error>>(
    xattr: &[u8],
    mut put: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut rest = xattr;
    if u32::from_le_bytes(take(&mut rest)?) != XATTR_VERSION {
        return Err(BAD.into());
    }
    put(&DISK_VERSION.to_le_bytes())?;
    while !rest.is_empty() {
        let entry = Entry::take(&mut rest, true)?;
        put(&entry.tag)?;
        put(&entry.perm)?;
        if let Some(id) = entry.id {
            put(&id)?;
        }
    }
    Ok(())
}
