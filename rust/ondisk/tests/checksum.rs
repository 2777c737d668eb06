// SPDX-License-Identifier: GPL-2.0

//! The checksums give the published check values.

mod common;

use common::CRC32C;
use ondisk::checksum::crc16;
use proptest::prelude::*;

#[test]
fn check_values() {
    assert_eq!(!CRC32C.with(b"123456789").value(), 0xe306_9283);
    assert_eq!(crc16(0, b"123456789"), 0xbb3d);
}

#[test]
fn in_pieces() {
    assert_eq!(
        CRC32C.with(b"1234").with(b"56789").value(),
        CRC32C.with(b"123456789").value()
    );
    assert_eq!(
        CRC32C.for_inode(12, 7).value(),
        CRC32C.with(&[12, 0, 0, 0, 7, 0, 0, 0]).value()
    );
}

proptest! {
    /// Whatever is replaced wherever, the checksum is that of all the bytes.
    #[test]
    fn replaced(
        mut bytes in prop::collection::vec(any::<u8>(), 1..70_000),
        at in any::<prop::sample::Index>(),
        new in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        bytes.truncate(0x10000);
        let at = at.index(bytes.len());
        let new = &new[..new.len().min(bytes.len() - at)];
        let (csum, before) = (CRC32C.with_u32(7), CRC32C.with_u32(7).with(&bytes).value());
        let old = bytes[at..][..new.len()].to_vec();
        bytes[at..][..new.len()].copy_from_slice(new);
        let after = bytes.len() - at - new.len();
        prop_assert_eq!(csum.replaced(before, &old, new, after), csum.with(&bytes).value());
    }
}
