// SPDX-License-Identifier: GPL-2.0

//! Sorting in place.
//!
//! The library's sort panics at an order that contradicts itself, and brings the code of several
//! algorithms. Here are a few hundred items at most, and this is as much as they need.

/// Sorts `items` by what `key` says of them; those that are equal come in any order.
///
/// A heap sort: no more than `n log n` steps, whatever an enemy chose the items to be.
pub fn sort_by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    for root in (0..items.len() / 2).rev() {
        sift_down(items, root, &key);
    }
    // The items up to `last` are a heap, those after it are sorted, and none of them is less.
    for last in (1..items.len()).rev() {
        items.swap(0, last);
        let (heap, _) = items.split_at_mut(last);
        sift_down(heap, 0, &key);
    }
}

/// Makes a heap of what below `root` already is two.
fn sift_down<T, K: Ord>(heap: &mut [T], mut root: usize, key: &impl Fn(&T) -> K) {
    loop {
        let left = 2 * root + 1;
        let (child, greatest) = match (heap.get(left), heap.get(left + 1)) {
            (Some(a), Some(b)) if key(a) < key(b) => (left + 1, b),
            (Some(a), _) => (left, a),
            (None, _) => return,
        };
        if heap.get(root).is_none_or(|item| key(item) >= key(greatest)) {
            return;
        }
        heap.swap(root, child);
        root = child;
    }
}
