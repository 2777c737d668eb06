// SPDX-License-Identifier: GPL-2.0

//! The checksums give the published check values.

mod common;

use common::CRC32C;
use ondisk::checksum::crc16;

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
