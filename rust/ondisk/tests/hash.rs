// SPDX-License-Identifier: GPL-2.0

//! Hashes of names, against those that debugfs computes.

mod common;

use common::*;
use ondisk::hash::Hasher;

/// debugfs knows the signed hashes by name, the unsigned ones by number.
#[test]
fn as_debugfs_has_them() {
    let image = Image::new("-b 4096 -N 16", "2M");
    let seeds = [
        ("00000000-0000-0000-0000-000000000000", [0u32; 4]),
        (
            "01234567-89ab-cdef-0123-456789abcdef",
            [0x6745_2301, 0xefcd_ab89, 0x6745_2301, 0xefcd_ab89],
        ),
    ];
    let hashes = [
        ("legacy", 0),
        ("half_md4", 1),
        ("tea", 2),
        ("HASHALG_3", 3),
        ("HASHALG_4", 4),
        ("HASHALG_5", 5),
    ];
    let mut names: Vec<String> = (1..=255).step_by(7).map(|len| "x".repeat(len)).collect();
    names.extend(
        [
            "a",
            "lost+found",
            "Makefile",
            "grüße",
            "ÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿ",
        ]
        .map(String::from),
    );
    names.extend((0..40).map(|n| format!("{}é", "x".repeat(n))));

    let mut script = String::new();
    let mut ours = Vec::new();
    for (uuid, seed) in seeds {
        for (hash, version) in hashes {
            for name in &names {
                script += &format!("dx_hash -h {hash} -s {uuid} {name}\n");
                let hasher = Hasher::new(version, false, seed).unwrap();
                let unsigned = Hasher::new(version % 3, version >= 3, seed).unwrap();
                let hash = hasher.hash(name.as_bytes());
                assert_eq!(hash, unsigned.hash(name.as_bytes()));
                assert_eq!(hasher.version(), version % 3);
                ours.push((hash, version % 3 == 0));
            }
        }
    }
    let output = image.debugfs(&script);
    let theirs = output.lines().filter(|line| line.starts_with("Hash of"));
    let mut count = 0;
    for (line, (ours, legacy)) in theirs.zip(&ours) {
        let mut numbers = line.rsplit("is 0x").next().unwrap().split(" (minor 0x");
        let mut number = || u32::from_str_radix(numbers.next().unwrap().trim_end_matches(')'), 16);
        let (major, minor) = (number().unwrap(), number().unwrap());
        assert_eq!(ours.major, major, "{line}");
        assert!(*legacy || ours.minor == minor, "{line}");
        count += 1;
    }
    assert_eq!(count, ours.len());
}
