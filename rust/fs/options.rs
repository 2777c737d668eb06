// SPDX-License-Identifier: GPL-2.0

//! Mount options.

use crate::vfs::{
    context::{
        Choice,
        Parameter,
        Parameters,
        Value, //
    },
    Context, //
};
use kernel::{
    prelude::*,
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

/// The mount options.
#[derive(Clone, Copy)]
pub struct Options {
    /// `dax=`
    pub dax: Option<Dax>,
    /// `errors=`; what the super block says if it is not given.
    pub errors: Option<Errors>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dax: None,
            errors: None,
        }
    }
}

const OPT_DAX: u8 = 0;
const OPT_ERRORS: u8 = 1;

static DAX: [Choice; 4] = [
    Choice::new(c"inode", Dax::INode as u8),
    Choice::new(c"always", Dax::Always as u8),
    Choice::new(c"never", Dax::Never as u8),
    Choice::END,
];

static ERRORS: [Choice; 4] = [
    Choice::new(c"continue", Errors::Continue as u8),
    Choice::new(c"remount-ro", Errors::RemountRo as u8),
    Choice::new(c"panic", Errors::Panic as u8),
    Choice::END,
];

static TABLE: [Parameter; 4] = [
    Parameter::flag(c"dax", OPT_DAX),
    Parameter::choice(c"dax", OPT_DAX, &DAX),
    Parameter::choice(c"errors", OPT_ERRORS, &ERRORS),
    Parameter::END,
];

/// The options that [`Options::parse`] understands.
pub static PARAMETERS: Parameters = Parameters::new(&TABLE);

impl Options {
    /// Takes an option that was parsed.
    pub fn parse(&mut self, _fc: &Context, _opt: u8, _value: Value) -> Result {
        Ok(())
    }

    /// Shows the options that are not the defaults.
    pub fn show(&self, m: &SeqFile) {
        if self.dax == Some(Dax::Always) {
            seq_print!(m, ",dax=always");
        }
    }
}
