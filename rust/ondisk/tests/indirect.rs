// SPDX-License-Identifier: GPL-2.0

//! Block pointers against a model: any sequence of changes, at any depth, and pointers of an enemy.

use std::collections::{
    BTreeMap,
    BTreeSet,
    HashMap, //
};

use ondisk::{
    extent::ValidExtent,
    indirect::{
        self,
        Indirect,
        MAX_DEPTH, //
    },
    tree::{
        self,
        Mapping,
        Read,
        Root,
        Store, //
    },
    BlockNr,
    Blocks,
    Error, //
};
use proptest::prelude::*;

/// Blocks of 16 pointers, so that all depths are soon reached.
const SIZE: u32 = 64;

fn blocks() -> Blocks {
    Blocks::new(1, 1 << 33).unwrap()
}

/// Pointer blocks in memory.
#[derive(Clone, Default, PartialEq)]
struct Memory {
    nodes: HashMap<u64, Vec<u8>>,
    next: u64,
    /// Allocations that fail after so many.
    budget: Option<usize>,
    touched: BTreeSet<u64>,
}

impl Read for Memory {
    type Error = Error;
    type View = Vec<u8>;

    fn blocks(&self) -> Blocks {
        blocks()
    }

    fn view(&mut self, at: BlockNr) -> Result<Vec<u8>, Error> {
        self.nodes.get(&at.get()).cloned().ok_or(Error::TooSmall)
    }

    fn error(&self, _at: Option<BlockNr>, error: Error) -> Error {
        error
    }
}

impl Store for Memory {
    type Node = Vec<u8>;

    fn read(&mut self, at: BlockNr) -> Result<Vec<u8>, Error> {
        self.view(at)
    }

    fn write(&mut self, at: BlockNr, node: Vec<u8>) -> Result<(), Error> {
        self.touched.insert(at.get());
        self.nodes.insert(at.get(), node);
        Ok(())
    }

    fn alloc(&mut self, _goal: BlockNr) -> Result<(BlockNr, Vec<u8>), Error> {
        if let Some(left) = &mut self.budget {
            *left = left.checked_sub(1).ok_or(Error::Full)?;
        }
        self.next += 1;
        self.nodes.insert((1 << 20) + self.next, Vec::new());
        // What was in the block before must not matter.
        Ok((
            blocks().block((1 << 20) + self.next)?,
            vec![0xa5; SIZE as usize],
        ))
    }

    fn free(&mut self, at: BlockNr) -> Result<(), Error> {
        self.touched.insert(at.get());
        self.nodes
            .remove(&at.get())
            .map(drop)
            .ok_or(Error::TooSmall)
    }
}

/// What is mapped: each logical block and its block.
type Model = BTreeMap<u32, u64>;

#[derive(Clone, Debug)]
enum Op {
    Insert {
        lblk: u32,
        len: u32,
        contiguous: bool,
    },
    Remove {
        from: u32,
        len: u32,
    },
    Truncate {
        from: u32,
    },
    Budget(usize),
}

fn op() -> impl Strategy<Value = Op> {
    // Places near where the depth changes, and others.
    let lblk = || prop_oneof![0..40u32, 270..300u32, 0..4380u32];
    prop_oneof![
        6 => (lblk(), 1..17u32, any::<bool>())
            .prop_map(|(lblk, len, contiguous)| Op::Insert { lblk, len, contiguous }),
        3 => (lblk(), 1..600u32).prop_map(|(from, len)| Op::Remove { from, len }),
        1 => lblk().prop_map(|from| Op::Truncate { from }),
        1 => (0..3usize).prop_map(Op::Budget),
    ]
}

fn extent(lblk: u32, at: u64, len: u32) -> ValidExtent {
    ValidExtent::new(lblk, blocks().run(at, len).unwrap(), false).unwrap()
}

fn apply(op: &Op, serial: u64, root: &mut Root, memory: &mut Memory, model: &mut Model) {
    let map = Indirect::new(SIZE);
    memory.touched.clear();
    match *op {
        Op::Budget(n) => {
            memory.budget = Some(n);
            return;
        }
        Op::Insert {
            lblk,
            len,
            contiguous,
        } => {
            let len = len.min(map.room(lblk));
            let at = if contiguous {
                5_000 + u64::from(lblk)
            } else {
                50_000 + 20 * serial
            };
            let before = (*root, memory.nodes.clone());
            let result = map.insert(root, memory, extent(lblk, at, len));
            assert!(memory.touched.len() <= MAX_DEPTH);
            if model.range(lblk..lblk + len).next().is_some() {
                assert!(matches!(result, Err(Error::Corrupt(_) | Error::Full)));
            }
            match result {
                Ok(()) => model.extend((0..len).map(|n| (lblk + n, at + u64::from(n)))),
                Err(_) => assert!(before == (*root, memory.nodes.clone()), "half a change"),
            }
        }
        Op::Remove { .. } | Op::Truncate { .. } => {
            let (from, mut to) = match *op {
                Op::Remove { from, len } => (from, from + len),
                Op::Truncate { from } => (from, tree::END),
                _ => unreachable!(),
            };
            // As for the blocks of a directory, every other time.
            let max = if serial % 2 == 0 { 5 } else { u32::MAX };
            loop {
                memory.touched.clear();
                let removed = map.remove(root, memory, from, to, max).unwrap();
                let gone: u32 = removed.extents().map(|e| e.len()).sum();
                assert!(gone <= max);
                assert!(memory.touched.len() <= MAX_DEPTH);
                for gone in removed.extents() {
                    for n in 0..gone.len() {
                        let at = model.remove(&(gone.lblk() + n));
                        assert_eq!(at, Some(gone.pblk().get() + u64::from(n)));
                    }
                }
                let Some(rest) = removed.rest() else { break };
                assert!(from < rest && rest < to);
                assert!(model.range(rest..to).next().is_none());
                to = rest;
            }
            assert!(model
                .range(from..)
                .next()
                .is_none_or(|(lblk, _)| *lblk >= to));
        }
    }
    memory.budget = None;
}

/// Every block is found where the model has it, and every pointer block is in use.
fn compare(root: &Root, memory: &mut Memory, model: &Model) {
    let map = Indirect::new(SIZE);
    let mut lblk = 0;
    while lblk < map.limit() + 5 {
        lblk = match map.lookup(root, memory, lblk).unwrap() {
            Mapping::Extent(found) => {
                assert_eq!(found.lblk(), lblk);
                for n in 0..found.len() {
                    let at = Some(found.pblk().get() + u64::from(n));
                    assert_eq!(model.get(&(lblk + n)).copied(), at);
                }
                found.end()
            }
            Mapping::Hole { end } => {
                assert!(end > lblk && model.range(lblk..end).next().is_none());
                end
            }
        }
    }
    for node in memory.nodes.values() {
        indirect::check(node, &blocks()).unwrap();
        assert!(node.iter().any(|byte| *byte != 0), "an empty pointer block");
    }
    // As many as the model asks for.
    let mut wanted = BTreeSet::new();
    for lblk in model.keys().filter_map(|lblk| lblk.checked_sub(12)) {
        match lblk {
            0..16 => drop(wanted.insert((1, 0))),
            16..272 => wanted.extend([(2, 0), (3, (lblk - 16) / 16)]),
            _ => wanted.extend([(4, 0), (5, (lblk - 272) / 256), (6, (lblk - 272) / 16)]),
        }
    }
    assert_eq!(memory.nodes.len(), wanted.len());
}

proptest! {
    #[test]
    fn any_sequence(ops in prop::collection::vec(op(), 1..120)) {
        let (mut root, mut memory, mut model) = ([0; 60], Memory::default(), Model::new());
        for (serial, op) in ops.iter().enumerate() {
            apply(op, serial as u64, &mut root, &mut memory, &mut model);
            if serial % 16 == 0 {
                compare(&root, &mut memory, &model);
            }
        }
        compare(&root, &mut memory, &model);
        apply(&Op::Truncate { from: 0 }, 0, &mut root, &mut memory, &mut model);
        prop_assert!(root == [0; 60] && memory.nodes.is_empty() && model.is_empty());
    }

    /// Whatever the pointers say, nothing panics or loops, and an error leaves the root as it was.
    #[test]
    fn hostile_pointers(
        root in prop::collection::vec(any::<u8>(), 60),
        near in prop::collection::vec(0..16u32, 15),
        nodes in prop::collection::vec(prop::collection::vec(0..40u32, 16), 12),
        ops in prop::collection::vec(op(), 1..20),
        wild in any::<bool>(),
    ) {
        let map = Indirect::new(SIZE);
        let mut memory = Memory::default();
        for (at, node) in nodes.iter().enumerate() {
            memory.nodes.insert(at as u64, node.iter().flat_map(|nr| nr.to_le_bytes()).collect());
        }
        let near: Vec<u8> = near.iter().flat_map(|nr| nr.to_le_bytes()).collect();
        let mut root: Root = if wild { root } else { near }.try_into().unwrap();
        for op in &ops {
            let before = root;
            let failed = match *op {
                Op::Insert { lblk, len, .. } => {
                    let len = len.min(map.room(lblk));
                    map.lookup(&root, &mut memory, lblk).ok();
                    map.insert(&mut root, &mut memory, extent(lblk, 7_000, len)).is_err()
                }
                Op::Remove { from, len } => {
                    map.remove(&mut root, &mut memory, from, from + len, 7).is_err()
                }
                // A pointer block that is named twice is gone when it is freed again: the root has
                // changed then.
                Op::Truncate { .. } | Op::Budget(_) => false,
            };
            let may_change = matches!(op, Op::Remove { .. });
            prop_assert!(!failed || root == before || may_change);
        }
    }
}

/// What blocks of each size can map, and what is past that.
#[test]
fn limits() {
    assert_eq!(
        Indirect::new(1024).limit(),
        12 + 256 + (1 << 16) + (1 << 24)
    );
    assert_eq!(
        Indirect::new(4096).limit(),
        12 + 1024 + (1 << 20) + (1 << 30)
    );
    assert_eq!(Indirect::new(65536).limit(), tree::END);
    let map = Indirect::new(1024);
    let (mut root, mut memory) = ([0; 60], Memory::default());
    let limit = map.limit();
    assert_eq!(map.room(limit - 1), 1);
    assert_eq!(map.room(limit), 0);
    assert_eq!(map.room(0), 12);
    assert_eq!(map.room(12), 256);
    let hole = map.lookup(&root, &mut memory, limit);
    assert_eq!(hole, Ok(Mapping::Hole { end: tree::END }));
    let past = map.insert(&mut root, &mut memory, extent(limit, 9, 1));
    assert_eq!(past, Err(Error::TooLarge));
    let far = map.insert(&mut root, &mut memory, extent(0, (1 << 32) - 1, 2));
    assert_eq!(far, Err(Error::TooLarge));
    map.insert(&mut root, &mut memory, extent(0, (1 << 32) - 2, 2))
        .unwrap();
}
