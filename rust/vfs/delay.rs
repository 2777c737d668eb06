// SPDX-License-Identifier: GPL-2.0

//! Windows of races, made wide: named points in the code at which a test has the kernel sleep.
//!
//! Built for kernels with KASAN, which are for testing; in others all of this is nothing. A test writes
//! microseconds to `/sys/kernel/debug/rdaxfs/delay/<point>`. Two numbers tell it what came of that:
//!
//! | file | tells |
//! |---|---|
//! | `hits/<point>` | how often somebody went to sleep there |
//! | `met/<point>` | how often, of those, the other side of the race came to the same file meanwhile |
//!
//! The other side of a reader's point is a change of mode; that of a point of the change is whoever
//! takes a lock that keeps the mode, even if that is all it comes to. At [`Point::Read`],
//! [`Point::Write`] and [`Point::DirectDone`] nobody is met: the reader holds `i_rwsem`, which the VFS takes
//! before it asks for a change, so the other side waits where it cannot be counted.

/// Declares [`Point`], and the names of the files.
macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)*) => {
        /// A place in the code, inside the window of a race.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
        pub enum Point {
            $($(#[$doc])* $point,)*
        }

        #[cfg(CONFIG_KASAN)]
        const NAMES: &[&kernel::str::CStr] = &[$($name,)*];
    };
}

points! {
    /// A page cache fault has asked for the mode, and goes on.
    Fault = c"fault",
    /// It is over, and has given up the mmap lock and its file if it had to read; the mode lock is held.
    FaultDone = c"fault_done",
    /// A store to a page of the page cache has asked for the mode, and goes on.
    Mkwrite = c"mkwrite",
    /// So does a DAX fault, for a load or a store.
    DaxFault = c"dax_fault",
    /// So does a read of either mode, buffered or direct, under `i_rwsem`.
    Read = c"read",
    /// So does a write.
    Write = c"write",
    /// The page cache asks for a page, or for many ahead. Stands for a slow device.
    ReadFolios = c"read_folios",
    /// `mmap_prepare` has asked for the mode, and holds the lock.
    MmapLook = c"mmap_look",
    /// `mmap_prepare` is done: nobody can find the VMA yet, and no lock is held.
    MmapPrepared = c"mmap_prepared",
    /// `mapped` begins: the VMA can be found, the mode has not been asked for again.
    MmapMapped = c"mmap_mapped",
    /// writepages of either mode has asked for the mode, and goes on.
    Writepages = c"writepages",
    /// A direct write is on the device, and its blocks are not yet marked as written.
    DirectDone = c"direct_done",
    /// What is dirty was written; no lock but `i_rwsem` is held. The first point of the change.
    SwitchBegin = c"switch_begin",
    /// The mode lock is held, `invalidate_lock` is not.
    SwitchFaults = c"switch_faults",
    /// Both are held, and no VMA maps the file.
    SwitchLocked = c"switch_locked",
    /// What became dirty meanwhile was written.
    SwitchWritten = c"switch_written",
    /// Nothing is cached.
    SwitchDropped = c"switch_dropped",
    /// The writeback lock is held as well.
    SwitchCommit = c"switch_commit",
    /// The flag is stored.
    SwitchStored = c"switch_stored",
    /// `S_DAX` has changed, and the address space operations have not.
    SwitchHalf = c"switch_half",
    /// Both have, and all locks are held.
    SwitchDone = c"switch_done",
}

#[cfg(CONFIG_KASAN)]
pub use built::{
    arrive,
    files,
    pass,
    Arrivals,
    Files, //
};
#[cfg(not(CONFIG_KASAN))]
pub use not_built::{
    arrive,
    files,
    pass,
    Arrivals,
    Files, //
};

#[cfg(CONFIG_KASAN)]
mod built {
    use super::{
        super::{
            FileSystem,
            INode, //
        },
        Point,
        NAMES, //
    };
    use core::convert::Infallible;
    use kernel::{
        debugfs::Scope,
        prelude::*,
        sync::atomic::{
            Atomic,
            Relaxed, //
        },
        time::{
            delay::fsleep,
            Delta, //
        },
    };

    struct State {
        microseconds: Atomic<u32>,
        hits: Atomic<u64>,
        met: Atomic<u64>,
    }

    static STATES: [State; NAMES.len()] = [const {
        State {
            microseconds: Atomic::new(0),
            hits: Atomic::new(0),
            met: Atomic::new(0),
        }
    }; NAMES.len()];

    /// How often each side of the races came to one inode.
    pub struct Arrivals {
        readers: Atomic<u32>,
        switches: Atomic<u32>,
    }

    impl Default for Arrivals {
        fn default() -> Self {
            Self {
                readers: Atomic::new(0),
                switches: Atomic::new(0),
            }
        }
    }

    /// Somebody is about to take a lock that keeps the mode.
    #[inline]
    pub fn arrive<T: FileSystem>(inode: &INode<T>) {
        inode.state().mode.arrivals.readers.fetch_add(1, Relaxed);
    }

    /// Sleeps at a point for as long as was asked for.
    pub fn pass<T: FileSystem>(inode: &INode<T>, point: Point) {
        let arrivals = &inode.state().mode.arrivals;
        let others = if point >= Point::SwitchBegin {
            if point == Point::SwitchBegin {
                arrivals.switches.fetch_add(1, Relaxed);
            }
            &arrivals.readers
        } else {
            &arrivals.switches
        };
        let Some(state) = STATES.get(point as usize) else {
            return;
        };
        let microseconds = state.microseconds.load(Relaxed);
        if microseconds == 0 {
            return;
        }
        let before = others.load(Relaxed);
        state.hits.fetch_add(1, Relaxed);
        fsleep(Delta::from_micros(microseconds.into()));
        if others.load(Relaxed) != before {
            state.met.fetch_add(1, Relaxed);
        }
    }

    /// The files, which are there as long as this is.
    pub type Files = Scope<()>;

    /// Makes the files.
    pub fn files() -> impl PinInit<Files> {
        Scope::dir::<Infallible, _>((), c"rdaxfs", |(), dir| {
            let (delay, hits, met) = (dir.dir(c"delay"), dir.dir(c"hits"), dir.dir(c"met"));
            for (name, state) in NAMES.iter().zip(&STATES) {
                delay.read_write_file(name, &state.microseconds);
                hits.read_only_file(name, &state.hits);
                met.read_only_file(name, &state.met);
            }
        })
    }
}

#[cfg(not(CONFIG_KASAN))]
mod not_built {
    use super::{
        super::{
            FileSystem,
            INode, //
        },
        Point, //
    };
    use kernel::prelude::*;

    /// Not counted.
    #[derive(Default)]
    pub struct Arrivals;

    /// Does nothing.
    #[inline(always)]
    pub fn arrive<T: FileSystem>(_inode: &INode<T>) {}

    /// Does nothing.
    #[inline(always)]
    pub fn pass<T: FileSystem>(_inode: &INode<T>, _point: Point) {}

    /// No files.
    pub struct Files;

    /// Makes none.
    pub fn files() -> impl PinInit<Files> {
        Files
    }
}
