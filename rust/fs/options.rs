// SPDX-License-Identifier: GPL-2.0

//! Mount options.

use crate::{
    ondisk::superblock::OnError,
    vfs::{
        context::{
            Choice,
            Parameter,
            Parameters,
            Value, //
        },
        Context, //
    },
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

impl Dax {
    const fn name(self) -> &'static CStr {
        match self {
            Self::INode => c"inode",
            Self::Always => c"always",
            Self::Never => c"never",
        }
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

/// The mount options that were given.
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// `dax=`; [`Dax::INode`] if it was not given.
    dax: Option<Dax>,
    /// `errors=`; what the super block says if it was not given.
    errors: Option<Errors>,
}

const OPT_DAX: u8 = 0;
const OPT_ERRORS: u8 = 1;

static DAX: [Choice; 4] = [
    Choice::new(Dax::INode.name(), Dax::INode as u8),
    Choice::new(Dax::Always.name(), Dax::Always as u8),
    Choice::new(Dax::Never.name(), Dax::Never as u8),
    Choice::END,
];

static ERRORS: [Choice; 4] = [
    Choice::new(Errors::Continue.name(), Errors::Continue as u8),
    Choice::new(Errors::RemountRo.name(), Errors::RemountRo as u8),
    Choice::new(Errors::Panic.name(), Errors::Panic as u8),
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

/// Sets an option that may be given twice only with the same value.
fn set<V: Copy + PartialEq>(
    fc: &Context,
    name: &'static str,
    option: &mut Option<V>,
    value: V,
) -> Result {
    match *option {
        Some(old) if old != value && !fc.is_remount() => {
            fc.invalid(fmt!("option {} is given twice, and differs", name))
        }
        _ => {
            *option = Some(value);
            Ok(())
        }
    }
}

impl Options {
    /// Which files are mapped directly.
    pub fn dax(&self) -> Dax {
        self.dax.unwrap_or(Dax::INode)
    }

    /// What follows upon an error, if it was said.
    pub fn errors(&self) -> Option<Errors> {
        self.errors
    }

    /// Takes an option that was parsed.
    pub fn parse(&mut self, fc: &Context, opt: u8, value: Value) -> Result {
        match (opt, value) {
            (OPT_DAX, Value::Flag) => set(fc, "dax", &mut self.dax, Dax::Always),
            (OPT_DAX, Value::Number(n)) => {
                let dax = match n {
                    0 => Dax::INode,
                    1 => Dax::Always,
                    _ => Dax::Never,
                };
                set(fc, "dax", &mut self.dax, dax)
            }
            (OPT_ERRORS, Value::Number(n)) => {
                let errors = match n {
                    0 => Errors::Continue,
                    1 => Errors::RemountRo,
                    _ => Errors::Panic,
                };
                set(fc, "errors", &mut self.errors, errors)
            }
            _ => Err(EINVAL),
        }
    }

    /// Shows the options that were given.
    pub fn show(&self, m: &SeqFile) {
        if let Some(dax) = self.dax {
            seq_print!(m, ",dax={}", dax.name());
        }
        if let Some(errors) = self.errors {
            seq_print!(m, ",errors={}", errors.name());
        }
    }
}
