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

    /// Copies the bytes at `offset` to `to`, or nothing if they are not all there.
    fn copy_at(&self, offset: usize, to: &mut [u8]) -> Option<()>;

    /// Whether the bytes at `offset` are those of `expected`.
    fn is_at(&self, offset: usize, expected: &[u8]) -> bool {
        let mut rest = expected;
        while let Some((before, word)) = rest.split_last_chunk::<8>() {
            if self.read_at(offset.saturating_add(before.len())) != Some(*word) {
                return false;
            }
            rest = before;
        }
        let mut bytes = (offset..).zip(rest);
        bytes.all(|(at, byte)| self.read_at(at) == Some([*byte]))
    }
}

impl<T: AsRef<[u8]>> Bytes for T {
    fn size(&self) -> usize {
        self.as_ref().len()
    }

    #[inline]
    fn read_at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.as_ref().get(offset..)?.first_chunk().copied()
    }

    fn copy_at(&self, offset: usize, to: &mut [u8]) -> Option<()> {
        to.copy_from_slice(self.as_ref().get(offset..)?.get(..to.len())?);
        Some(())
    }
}
