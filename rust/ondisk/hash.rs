// SPDX-License-Identifier: GPL-2.0

//! Hashes of names, by which the entries of an indexed directory are ordered.
//!
//! Half MD4 and TEA are the round functions of the hash and of the cipher of these names, fed with the
//! name in pieces of 32 and 16 bytes and seeded with `s_hash_seed`. Each exists for names taken as signed
//! and as unsigned bytes, for file systems that moved between machines on which `char` differs.

use super::{
    Error,
    Result, //
};

/// What begins the hash if the file system has no seed.
const DEFAULT_SEED: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// Cannot be: it would stand for the end of a directory.
const END: u32 = 0xffff_fffe;

/// The hash of a name.
///
/// Names are in the order of `major`, those of equal `major` in no order of the disk's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hash {
    /// The hash that the index has: bit 0 is clear.
    pub major: u32,
    /// More bits, to tell names of equal `major`. They are on no disk.
    pub minor: u32,
}

/// The functions, in the numbers of `hash_version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Legacy,
    HalfMd4,
    Tea,
}

/// How a directory's names are hashed.
#[derive(Clone, Copy, Debug)]
pub struct Hasher {
    function: Function,
    unsigned: bool,
    seed: [u32; 4],
}

impl Hasher {
    /// The hash of directories whose index says `version` (`dx_root_info.hash_version`).
    ///
    /// The rest is what the superblock says: whether bytes are unsigned, and `s_hash_seed`.
    pub fn new(version: u8, unsigned: bool, seed: [u32; 4]) -> Result<Self> {
        let function = match version % 3 {
            0 => Function::Legacy,
            1 => Function::HalfMd4,
            _ => Function::Tea,
        };
        if version > 5 {
            return Err(Error::Unsupported("hash of a directory index"));
        }
        Ok(Self {
            function,
            // The numbers from 3 on are the unsigned variants.
            unsigned: unsigned || version >= 3,
            seed: match seed {
                [0, 0, 0, 0] => DEFAULT_SEED,
                seed => seed,
            },
        })
    }

    /// The number that stands for this hash in an index: that of the signed variant, the superblock
    /// says the rest.
    pub fn version(&self) -> u8 {
        self.function as u8
    }

    /// The hash of `name`.
    pub fn hash(&self, name: &[u8]) -> Hash {
        let (major, minor) = match self.function {
            Function::Legacy => (self.legacy(name), minor(name)),
            Function::HalfMd4 => {
                let mut state = self.seed;
                self.pieces::<8>(name, |piece| half_md4(&mut state, piece));
                let [_, major, minor, _] = state;
                (major, minor)
            }
            Function::Tea => {
                let mut state = self.seed;
                self.pieces::<4>(name, |piece| tea(&mut state, piece));
                let [major, minor, ..] = state;
                (major, minor)
            }
        };
        let major = match major & !1 {
            END => END - 2,
            major => major,
        };
        Hash { major, minor }
    }

    /// The value of a byte of a name.
    fn byte(&self, byte: u8) -> u32 {
        match self.unsigned {
            true => u32::from(byte),
            // Sign extension is what is wanted.
            false => byte as i8 as u32,
        }
    }

    /// Calls `f` with the name in pieces of `N` words, the last filled up with the length of what is
    /// left.
    fn pieces<const N: usize>(&self, name: &[u8], mut f: impl FnMut(&[u32; N])) {
        let mut rest = name;
        while !rest.is_empty() {
            // At most 255.
            let pad = rest.len() as u32 * 0x0101_0101;
            let (piece, next) = rest.split_at(rest.len().min(4 * N));
            let mut words = [pad; N];
            for (word, bytes) in words.iter_mut().zip(piece.chunks(4)) {
                *word = bytes
                    .iter()
                    .fold(pad, |word, b| self.byte(*b).wrapping_add(word << 8));
            }
            f(&words);
            rest = next;
        }
    }

    fn legacy(&self, name: &[u8]) -> u32 {
        let (mut last, mut before) = (0x12a3_fe2du32, 0x37ab_e8f9u32);
        for byte in name {
            let mixed = last ^ self.byte(*byte).wrapping_mul(7_152_373);
            let mut hash = before.wrapping_add(mixed);
            if hash & 0x8000_0000 != 0 {
                hash = hash.wrapping_sub(0x7fff_ffff);
            }
            (before, last) = (last, hash);
        }
        last << 1
    }
}

/// More bits for the hash that has no more: FNV-1a.
fn minor(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// Three rounds of MD4 on half its input, each word used once a round.
fn half_md4(state: &mut [u32; 4], input: &[u32; 8]) {
    let [w0, w1, w2, w3, w4, w5, w6, w7] = *input;
    let start = *state;
    round(
        state,
        [w0, w1, w2, w3, w4, w5, w6, w7],
        [3, 7, 11, 19],
        |b, c, d| d ^ (b & (c ^ d)),
    );
    let [w0, w1, w2, w3, w4, w5, w6, w7] = input.map(|word| word.wrapping_add(0x5a82_7999));
    round(
        state,
        [w1, w3, w5, w7, w0, w2, w4, w6],
        [3, 5, 9, 13],
        |b, c, d| (b & c).wrapping_add((b ^ c) & d),
    );
    let [w0, w1, w2, w3, w4, w5, w6, w7] = input.map(|word| word.wrapping_add(0x6ed9_eba1));
    round(
        state,
        [w3, w7, w2, w6, w1, w5, w0, w4],
        [3, 9, 11, 15],
        |b, c, d| b ^ c ^ d,
    );
    for (word, start) in state.iter_mut().zip(start) {
        *word = word.wrapping_add(start);
    }
}

/// One round of MD4: eight steps, which take the words in turn and rotate by four distances in turn.
fn round(
    state: &mut [u32; 4],
    words: [u32; 8],
    distances: [u32; 4],
    mix: impl Fn(u32, u32, u32) -> u32,
) {
    let [mut a, mut b, mut c, mut d] = *state;
    for (word, distance) in words
        .into_iter()
        .zip(distances.into_iter().chain(distances))
    {
        let sum = a.wrapping_add(mix(b, c, d)).wrapping_add(word);
        (a, b, c, d) = (d, sum.rotate_left(distance), b, c);
    }
    *state = [a, b, c, d];
}

/// Sixteen cycles of the Tiny Encryption Algorithm, with the input as the key.
fn tea(state: &mut [u32; 4], input: &[u32; 4]) {
    let [key0, key1, key2, key3] = *input;
    let [mut left, mut right, ..] = *state;
    let mut sum = 0u32;
    let half = |v: u32, sum: u32, even: u32, odd: u32| {
        (v << 4).wrapping_add(even) ^ v.wrapping_add(sum) ^ (v >> 5).wrapping_add(odd)
    };
    for _ in 0..16 {
        sum = sum.wrapping_add(0x9e37_79b9);
        left = left.wrapping_add(half(right, sum, key0, key1));
        right = right.wrapping_add(half(left, sum, key2, key3));
    }
    for (state, word) in state.iter_mut().zip([left, right]) {
        *state = state.wrapping_add(word);
    }
}
