// SPDX-License-Identifier: GPL-2.0

//! Bitmaps against a vector of booleans.

use std::{
    num::NonZero,
    ops::Range, //
};

use ondisk::{
    bitmap::{
        self,
        Align, //
    },
    Error, //
};
use proptest::prelude::*;

const BITS: u32 = 1024;

/// A bitmap of [`BITS`] bits, in which runs are as likely as noise.
fn bitmap() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => Just(0u8), 1 => Just(0xff), 1 => any::<u8>()];
    prop::collection::vec(byte, BITS as usize / 8)
}

/// A range that may be empty, upside down or beyond the end.
fn range() -> impl Strategy<Value = Range<u32>> {
    let end = prop_oneof![8 => 0..BITS + 9, 1 => Just(u32::MAX)];
    (end.clone(), end).prop_map(|(start, end)| start..end)
}

fn model(bits: &[u8]) -> Vec<bool> {
    let bit = |nr: usize| bits[nr / 8] >> (nr % 8) & 1 == 1;
    (0..bits.len() * 8).map(bit).collect()
}

fn within(range: &Range<u32>) -> impl Iterator<Item = usize> {
    range.start as usize..range.end.min(BITS) as usize
}

/// All the runs of clear bits of the model within `range`.
fn runs(model: &[bool], range: &Range<u32>) -> Vec<Range<u32>> {
    let mut runs: Vec<Range<u32>> = Vec::new();
    for nr in within(range).filter(|nr| !model[*nr]) {
        let nr = nr as u32;
        match runs.last_mut() {
            Some(run) if run.end == nr => run.end += 1,
            _ => runs.push(nr..nr + 1),
        }
    }
    runs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn reads_like_the_model(bits in bitmap(), range in range(), nr in 0..BITS + 99) {
        let model = model(&bits);
        prop_assert_eq!(bitmap::test(&bits, nr), *model.get(nr as usize).unwrap_or(&true));
        let set = within(&range).filter(|nr| model[*nr]).count();
        prop_assert_eq!(bitmap::count_set(&bits, range.clone()) as usize, set);
        prop_assert_eq!(
            bitmap::next_clear(&bits, range.clone()),
            within(&range).find(|nr| !model[*nr]).map(|nr| nr as u32)
        );
        prop_assert_eq!(
            bitmap::next_set(&bits, range.clone()),
            within(&range).find(|nr| model[*nr]).map(|nr| nr as u32)
        );
        let found: Vec<_> = bitmap::clear_runs(&bits, range.clone()).collect();
        prop_assert_eq!(found, runs(&model, &range));
        let clear = within(&(nr..BITS)).take_while(|nr| !model[*nr]).count();
        prop_assert_eq!(bitmap::clear_len(&bits, nr, 40) as usize, clear.min(40));
    }

    #[test]
    fn changes_like_the_model(mut bits in bitmap(), range in range(), set: bool) {
        let (before, mut model) = (bits.clone(), model(&bits));
        let change = if set { bitmap::set } else { bitmap::clear };
        let possible = range.end <= BITS && within(&range).all(|nr| model[nr] != set);
        let result = change(&mut bits, range.clone());
        prop_assert_eq!(result.is_ok(), possible);
        if possible {
            within(&range).for_each(|nr| model[nr] = set);
            prop_assert_eq!(self::model(&bits), model);
        } else {
            prop_assert_eq!(bits, before);
        }
    }

    #[test]
    fn merges_like_the_model(mut bits in bitmap(), other in bitmap(), short in 0..BITS) {
        let other = &other[..short as usize / 8];
        let model: Vec<bool> =
            (0..BITS).map(|nr| bitmap::test(&bits, nr) || nr < short / 64 * 64 && bitmap::test(other, nr)).collect();
        bitmap::merge(&mut bits, other);
        prop_assert_eq!((0..BITS).map(|nr| bitmap::test(&bits, nr)).collect::<Vec<_>>(), model);
    }

    #[test]
    fn finds_what_there_is(bits in bitmap(), range in range(), goal in 0..BITS + 9, want in 0u32..200) {
        let model = model(&bits);
        let goal_in = goal.clamp(range.start, range.end.max(range.start));
        let mut all = runs(&model, &(goal_in..range.end));
        all.extend(runs(&model, &(range.start..goal_in)));
        let expected = match all.iter().find(|run| run.end - run.start >= want) {
            _ if want == 0 => None,
            Some(run) => Some(run.start..run.start + want),
            // Of equals the first.
            None => all.into_iter().rev().max_by_key(|run| run.end - run.start),
        };
        prop_assert_eq!(bitmap::find(&bits, range, goal, want), expected);
    }

    #[test]
    fn finds_aligned_runs(
        bits in bitmap(), range in range(), goal in 0..BITS, want in 0u32..200, unit in 1u32..70, phase: u32,
    ) {
        let align = Align { unit: NonZero::new(unit).unwrap(), phase };
        let aligned = |nr: u32| (u64::from(nr) + u64::from(phase)) % u64::from(unit) == 0;
        let room = |nr: u32| bitmap::clear_len(&bits, nr, range.end.saturating_sub(nr)) ;
        match bitmap::find_aligned(&bits, range.clone(), goal, want, align) {
            Some(run) => {
                let len = run.end - run.start;
                prop_assert!(range.start <= run.start && run.end <= range.end);
                prop_assert!(aligned(run.start));
                prop_assert_eq!(bitmap::count_set(&bits, run.clone()), 0);
                prop_assert!(len == want || len < want && len % unit == 0 && len > 0);
            }
            None => for nr in within(&range).map(|nr| nr as u32).filter(|nr| aligned(*nr)) {
                // The goal may have cut a unit in two.
                let cut = nr < goal && goal - nr < unit;
                prop_assert!(cut || want < unit || room(nr) < unit, "unit free at {}", nr);
            }
        }
    }
}

#[test]
fn freeing_twice_is_told() {
    let mut bits = [0xff; 64];
    assert_eq!(bitmap::clear(&mut bits, 100..164), Ok(()));
    assert_eq!(
        bitmap::clear(&mut bits, 160..170),
        Err(Error::Corrupt("bit already clear"))
    );
    assert_eq!(bitmap::count_set(&bits, 0..512), 512 - 64);
    assert_eq!(bitmap::set(&mut bits, 100..164), Ok(()));
    assert_eq!(bits, [0xff; 64]);
}
