// SPDX-License-Identifier: GPL-2.0

//! Counters of one mount: how often each fault handler ran, and how changes of mode ended.
//!
//! Each CPU counts in a cache line that few others use, so that counting costs a fault next to
//! nothing, also when many CPUs fault at once. A sum is exact once nobody counts. User space finds the
//! sums in `/sys/fs/rdaxfs/<device>/`.

use crate::vfs::sysfs::{
    File,
    Numbers, //
};
use kernel::{
    cpu::CpuId,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

/// Cache lines to count in. CPUs beyond share them.
const SHARDS: usize = 16;

/// The number of [`Counter`]s.
const COUNTERS: usize = Counter::Refused as usize + 1;

/// What is counted; in the order of [`Stats::FILES`].
#[derive(Clone, Copy)]
pub enum Counter {
    /// `.fault` of the page cache.
    Fault,
    /// `.page_mkwrite` of the page cache.
    Mkwrite,
    /// `.fault` of DAX.
    DaxFault,
    /// `.huge_fault` of DAX, for 2 MiB.
    DaxHugeFault,
    /// `.pfn_mkwrite` or `.page_mkwrite` of DAX.
    DaxMkwrite,
    /// Ranges of 2 MiB that DAX mapped at once.
    DaxHugeMapped,
    /// Faults that met the other mode than the one their mapping was made in, and were passed on.
    WrongMode,
    /// Files that went from the page cache to DAX.
    ToDax,
    /// Files that went from DAX to the page cache.
    ToPageCache,
    /// Changes of mode that were refused.
    Refused,
}

/// The counters of one mount.
pub struct Stats {
    shards: [Shard; SHARDS],
}

#[repr(align(128))]
struct Shard([Atomic<u64>; COUNTERS]);

impl Default for Stats {
    fn default() -> Self {
        Self {
            shards: core::array::from_fn(|_| Shard(core::array::from_fn(|_| Atomic::new(0)))),
        }
    }
}

impl Stats {
    /// Counts one more.
    #[inline]
    pub fn count(&self, what: Counter) {
        let Shard(counters) = &self.shards[CpuId::current().as_u32() as usize % SHARDS];
        counters[what as usize].fetch_add(1, Relaxed);
    }
}

impl Numbers for Stats {
    const FILES: &'static [File] = &[
        File::new(c"faults"),
        File::new(c"mkwrites"),
        File::new(c"dax_faults"),
        File::new(c"dax_huge_faults"),
        File::new(c"dax_mkwrites"),
        File::new(c"dax_huge_mapped"),
        File::new(c"wrong_mode"),
        File::new(c"switched_to_dax"),
        File::new(c"switched_to_page_cache"),
        File::new(c"switch_refused"),
    ];

    fn get(&self, index: usize) -> u64 {
        let counted = |Shard(counters): &Shard| counters.get(index).map(|c| c.load(Relaxed));
        self.shards.iter().filter_map(counted).sum()
    }
}
