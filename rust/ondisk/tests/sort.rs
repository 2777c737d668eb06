// SPDX-License-Identifier: GPL-2.0

//! The sort against the library's.

use ondisk::sort::sort_by_key;
use proptest::prelude::*;

proptest! {
    #[test]
    fn sorts_like_the_library(mut items in prop::collection::vec(any::<(u8, u32)>(), 0..700)) {
        let mut expected = items.clone();
        sort_by_key(&mut items, |item| item.0);
        prop_assert!(items.is_sorted_by_key(|item| item.0));
        sort_by_key(&mut items, |item| *item);
        expected.sort();
        prop_assert_eq!(items, expected);
    }
}
