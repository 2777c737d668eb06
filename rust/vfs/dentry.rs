// SPDX-License-Identifier: GPL-2.0

//! Directory entries, one type for each state in which the VFS hands one over.
//!
//! What may be done with a `struct dentry` depends on how far the VFS has come with it. Each state is
//! a type of its own, and the step that ends a state consumes the value:
//!
//! | type | state | ends with | proof |
//! |---|---|---|---|
//! | [`Lookup`] | in lookup: neither positive nor negative yet | [`Lookup::splice`] | [`Spliced`] |
//! | [`Negative`] | without an inode, in a directory locked for writing | [`Negative::instantiate_new`], [`Negative::instantiate`] | [`Instantiated`] |
//! | [`Positive`] | with an inode, in a directory locked for writing | (it is only lent) | |
//! | [`Tmpfile`] | an open file without a name, and without an inode yet | [`Tmpfile::finish`] | [`Opened`] |
//!
//! A callback has to return the proof, so that it cannot report success for a dentry that it left
//! without an inode. The lifetime `'a` of a state is invariant and made anew for each call: the
//! proof for one dentry is not accepted for another.
//!
//! A name is borrowed from the state. It is stable for as long as the dentry cannot be moved, that
//! is, until it is spliced or instantiated, and the borrow ends right there.
//!
//! C header: [`include/linux/dcache.h`](srctree/include/linux/dcache.h)

use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::{
        self,
        NonNull, //
    },
    slice, //
};
use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    sync::aref::ARef, //
};

use super::{
    inode::{
        INode,
        New, //
    },
    FileSystem, //
};
use crate::{
    bindings,
    prelude::*, //
};

/// Ties a state to its proof: invariant in `'a`, so that one lifetime never stands in for another.
type Brand<'a> = PhantomData<fn(&'a ()) -> &'a ()>;

/// A name as the VFS has it: with its hash, and a NUL behind it.
#[derive(Clone, Copy)]
pub struct QStr<'a>(&'a bindings::qstr);

impl<'a> QStr<'a> {
    /// The C object.
    pub(super) fn as_ptr(self) -> *const bindings::qstr {
        self.0
    }

    /// The bytes of the name.
    pub fn bytes(self) -> &'a [u8] {
        // SAFETY: The name has `len` bytes. Both views of the union are the same memory.
        unsafe {
            let len = self.0.__bindgen_anon_1.__bindgen_anon_1.len;
            slice::from_raw_parts(self.0.name, len as usize)
        }
    }
}

/// Returns the name of a dentry.
///
/// # Safety
///
/// `dentry` is valid and is not renamed during `'a`: either its parent is locked for writing, or it
/// is in lookup.
unsafe fn name<'a>(dentry: NonNull<bindings::dentry>) -> QStr<'a> {
    // SAFETY: By the safety requirements nobody changes the name now. Both views of the union are the
    // same memory.
    unsafe { QStr(&*(&raw const (*dentry.as_ptr()).__bindgen_anon_1.d_name).cast()) }
}

/// A dentry in lookup, in a directory that is locked at least for reading.
///
/// # Invariants
///
/// `dentry` belongs to a super block of type `T` and is in lookup, or negative and unhashed, for `'a`.
pub struct Lookup<'a, T: FileSystem> {
    dentry: NonNull<bindings::dentry>,
    _brand: Brand<'a>,
    _fs: PhantomData<T>,
}

/// The proof that a lookup was answered; holds the dentry to use in place of the one looked up.
///
/// # Invariants
///
/// `alias`, if not null, is a dentry whose count is owned here.
pub struct Spliced<'a> {
    alias: *mut bindings::dentry,
    _brand: Brand<'a>,
}

impl<'a, T: FileSystem> Lookup<'a, T> {
    /// # Safety
    ///
    /// `dentry` is what the VFS passed to `->lookup`, on a super block of type `T`, and `'a` ends
    /// with that call.
    pub(super) unsafe fn from_raw(dentry: *mut bindings::dentry) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            // SAFETY: The VFS passes a valid dentry.
            dentry: unsafe { NonNull::new_unchecked(dentry) },
            _brand: PhantomData,
            _fs: PhantomData,
        }
    }

    /// The name being looked up.
    pub fn name(&self) -> &[u8] {
        // SAFETY: A dentry in lookup is not renamed before it is spliced, which consumes `self`.
        unsafe { name(self.dentry) }.bytes()
    }

    /// Answers the lookup: `None` makes the dentry negative.
    ///
    /// A directory that is in the dentry cache already is moved here, which can fail with `ELOOP`
    /// on a corrupt tree and with `ESTALE` when the locks for the move are busy.
    pub fn splice(self, inode: Option<ARef<INode<T>>>) -> Result<Spliced<'a>> {
        let inode = inode.map_or(ptr::null_mut(), |inode| {
            ARef::into_raw(inode).as_ptr().cast()
        });
        // SAFETY: By the type invariant the dentry may be spliced; it consumes the reference to the
        // inode in all cases.
        let alias = from_err_ptr(unsafe { bindings::d_splice_alias(inode, self.dentry.as_ptr()) })?;
        // INVARIANT: `d_splice_alias` returns null or a counted dentry.
        Ok(Spliced {
            alias,
            _brand: PhantomData,
        })
    }
}

impl Spliced<'_> {
    /// Hands the dentry over to the VFS, as the return value of `->lookup`.
    pub(super) fn into_raw(self) -> *mut bindings::dentry {
        ManuallyDrop::new(self).alias
    }
}

impl Drop for Spliced<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the count is ours; null is accepted.
        unsafe { bindings::dput(self.alias) };
    }
}

/// A dentry without an inode, in a directory that is locked for writing.
///
/// # Invariants
///
/// `dentry` belongs to a super block of type `T`, is negative, and stays so for `'a` until
/// instantiated through this value.
pub struct Negative<'a, T: FileSystem> {
    dentry: NonNull<bindings::dentry>,
    _brand: Brand<'a>,
    _fs: PhantomData<T>,
}

/// The proof that a [`Negative`] dentry was given an inode.
pub struct Instantiated<'a>(Brand<'a>);

impl<'a, T: FileSystem> Negative<'a, T> {
    /// # Safety
    ///
    /// `dentry` is what the VFS passed to one of the creating operations, on a super block of type
    /// `T`, and `'a` ends with that call.
    pub(super) unsafe fn from_raw(dentry: *mut bindings::dentry) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            // SAFETY: The VFS passes a valid dentry.
            dentry: unsafe { NonNull::new_unchecked(dentry) },
            _brand: PhantomData,
            _fs: PhantomData,
        }
    }

    /// The name to create.
    pub fn name(&self) -> QStr<'_> {
        // SAFETY: The parent is locked for writing.
        unsafe { name(self.dentry) }
    }

    /// Gives the name its new inode, and publishes both.
    pub fn instantiate_new(self, inode: New<T>) -> Instantiated<'a> {
        let inode = inode.into_raw();
        // SAFETY: The dentry is negative by the type invariant. `New` owned the inode, which is
        // initialised and still `I_NEW`; its reference goes to the dentry.
        unsafe { bindings::d_instantiate_new(self.dentry.as_ptr(), inode) };
        Instantiated(PhantomData)
    }

    /// Makes the name another link of `inode`.
    pub fn instantiate(self, inode: ARef<INode<T>>) -> Instantiated<'a> {
        let inode = ARef::into_raw(inode).as_ptr().cast();
        // SAFETY: The dentry is negative by the type invariant; the reference goes to the dentry.
        unsafe { bindings::d_instantiate(self.dentry.as_ptr(), inode) };
        Instantiated(PhantomData)
    }
}

/// A dentry with an inode, in a directory that is locked for writing.
///
/// # Invariants
///
/// `dentry` belongs to a super block of type `T`, is positive and not renamed for `'a`.
pub struct Positive<'a, T: FileSystem> {
    dentry: NonNull<bindings::dentry>,
    inode: &'a INode<T>,
}

impl<'a, T: FileSystem> Positive<'a, T> {
    /// # Safety
    ///
    /// `dentry` is a positive dentry that the VFS passed to a removing operation, on a super block
    /// of type `T`, and `'a` ends with that call.
    pub(super) unsafe fn from_raw(dentry: *mut bindings::dentry) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            // SAFETY: The VFS passes a valid dentry.
            dentry: unsafe { NonNull::new_unchecked(dentry) },
            // SAFETY: The inode of a positive dentry is valid while the dentry is counted, and an
            // inode of a super block of type `T` is an `INode<T>`.
            inode: unsafe { INode::from_raw((*dentry).d_inode) },
        }
    }

    /// The name of the entry.
    pub fn name(&self) -> &[u8] {
        // SAFETY: The parent is locked for writing.
        unsafe { name(self.dentry) }.bytes()
    }

    /// The inode of the entry.
    pub fn inode(&self) -> &'a INode<T> {
        self.inode
    }
}

/// What a rename may find at its destination.
pub enum Target<'a, T: FileSystem> {
    /// No such name yet.
    Vacant(&'a [u8]),
    /// An entry to replace, or to exchange with.
    Occupied(Positive<'a, T>),
}

impl<'a, T: FileSystem> Target<'a, T> {
    /// # Safety
    ///
    /// `dentry` is what the VFS passed to `->rename` as the new dentry, on a super block of type
    /// `T`, and `'a` ends with that call.
    pub(super) unsafe fn from_raw(dentry: *mut bindings::dentry) -> Self {
        // SAFETY: The VFS passes a valid dentry, whose directory is locked for writing, so that
        // neither its inode nor its name changes.
        unsafe {
            if (*dentry).d_inode.is_null() {
                Self::Vacant(name(NonNull::new_unchecked(dentry)).bytes())
            } else {
                Self::Occupied(Positive::from_raw(dentry))
            }
        }
    }

    /// The name of the destination.
    pub fn name(&self) -> &[u8] {
        match self {
            Self::Vacant(name) => name,
            Self::Occupied(entry) => entry.name(),
        }
    }
}

/// An open file (`O_TMPFILE`) that has neither a name nor, yet, an inode.
///
/// # Invariants
///
/// `file` is being opened, on a super block of type `T`, and its dentry is negative.
pub struct Tmpfile<'a, T: FileSystem> {
    file: NonNull<bindings::file>,
    _brand: Brand<'a>,
    _fs: PhantomData<T>,
}

/// The proof that a [`Tmpfile`] was opened.
pub struct Opened<'a>(Brand<'a>);

impl<'a, T: FileSystem> Tmpfile<'a, T> {
    /// # Safety
    ///
    /// `file` is what the VFS passed to `->tmpfile`, on a super block of type `T`, and `'a` ends
    /// with that call.
    pub(super) unsafe fn from_raw(file: *mut bindings::file) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            // SAFETY: The VFS passes a valid file.
            file: unsafe { NonNull::new_unchecked(file) },
            _brand: PhantomData,
            _fs: PhantomData,
        }
    }

    /// Gives the file its inode, whose link count goes from one to zero, and opens it.
    pub fn finish(self, inode: New<T>) -> Result<Opened<'a>> {
        let file = self.file.as_ptr();
        let inode = inode.into_raw();
        // SAFETY: The file's dentry is negative by the type invariant; `New` owned the inode,
        // which is initialised and still `I_NEW`; its reference goes to the dentry, which the file
        // holds, so that the inode is still there to be unlocked.
        unsafe {
            bindings::d_tmpfile(file, inode);
            bindings::unlock_new_inode(inode);
        }
        // SAFETY: The file is being opened and its dentry has an inode now.
        to_result(unsafe {
            bindings::finish_open(file, (*file).__bindgen_anon_1.f_path.dentry, None)
        })?;
        Ok(Opened(PhantomData))
    }
}
