// SPDX-License-Identifier: GPL-2.0

//! Bytes that are only looked at, wherever they are.

/// Where the bytes of a structure are read from.
///
/// A buffer that others may write to meanwhile can stand behind it: each piece is copied out, then
/// checked, then used, and never read a second time.
pub trait Bytes {
    /// The number of bytes there are.
    fn size(&self) -> usize;

    /// The `N` bytes at `offset`, or nothing if they are not all there.
    fn read_at<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// Whether the bytes at `offset` are those of `expected`.
    fn is_at(&self, offset: usize, expected: &[u8]) -> bool {
        let words = expected.chunks_exact(8);
        let rest = offset.saturating_add(expected.len() - words.remainder().len());
        let mut last = (rest..).zip(words.remainder());
        let mut words = (offset..).step_by(8).zip(words);
        words.all(|(at, word)| self.read_at::<8>(at).as_ref().map(|w| &w[..]) == Some(word))
            && last.all(|(at, byte)| self.read_at(at) == Some([*byte]))
    }
}

impl<T: AsRef<[u8]>> Bytes for T {
    fn size(&self) -> usize {
        self.as_ref().len()
    }

    fn read_at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.as_ref().get(offset..)?.first_chunk().copied()
    }

    fn is_at(&self, offset: usize, expected: &[u8]) -> bool {
        let bytes = self.as_ref().get(offset..);
        bytes.is_some_and(|bytes| bytes.starts_with(expected))
    }
}
