// SPDX-License-Identifier: GPL-2.0

//! Extent trees against a map from block to block: any sequence of changes, nodes of any size,
//! allocations that fail, and nodes that lie.

mod common;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use common::CRC32C;
use ondisk::extent::{self, Node, ValidExtent, ROOT_SIZE};
use ondisk::tree::{self, Mapping, Read, Root, Store};
use ondisk::{BlockNr, Blocks, Csum, Error};
use proptest::prelude::*;

const BLOCKS: u64 = 1 << 40;

/// The size of a block that holds the least number of entries.
const TINY: usize = 12 + 6 * 12 + 4;

fn blocks() -> Blocks {
    Blocks::new(1, BLOCKS).unwrap()
}

fn csum() -> Csum {
    CRC32C.for_inode(12, 0x1234_5678)
}

/// Nodes in memory. What it hands out and takes it checks as the file system does.
struct Memory {
    size: usize,
    nodes: HashMap<u64, Vec<u8>>,
    next: u64,
    /// Allocations that succeed before one fails.
    budget: usize,
    touched: BTreeSet<u64>,
    allocated: usize,
}

impl Memory {
    fn new(size: usize) -> Self {
        Self {
            size,
            nodes: HashMap::new(),
            next: 1 << 30,
            budget: usize::MAX,
            touched: BTreeSet::new(),
            allocated: 0,
        }
    }

    /// Runs one change and checks that it keeps to its credits and is all or nothing.
    fn run<T>(
        &mut self,
        root: &mut Root,
        f: impl FnOnce(&mut Root, &mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.touched.clear();
        self.allocated = 0;
        let before = (*root, self.nodes.clone());
        let depth = tree::depth(root);
        let result = f(root, self);
        assert!(self.touched.len() <= tree::nodes_touched(depth));
        assert!(self.allocated <= tree::nodes_allocated(depth));
        if result.is_err() {
            assert!(before == (*root, self.nodes.clone()), "half a change");
        }
        result
    }
}

impl Read for Memory {
    type Error = Error;
    type View = Vec<u8>;

    fn blocks(&self) -> Blocks {
        blocks()
    }

    fn view(&mut self, at: BlockNr) -> Result<Vec<u8>, Error> {
        let node = self
            .nodes
            .get(&at.get())
            .expect("a node of the tree")
            .clone();
        extent::verify(&node, csum())?;
        extent::check(&node, &blocks())?;
        Ok(node)
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

    fn write(&mut self, at: BlockNr, mut node: Vec<u8>) -> Result<(), Error> {
        self.touched.insert(at.get());
        extent::seal(&mut node, csum())?;
        *self.nodes.get_mut(&at.get()).expect("an allocated node") = node;
        Ok(())
    }

    fn alloc(&mut self, _goal: BlockNr) -> Result<(BlockNr, Vec<u8>), Error> {
        if self.budget == 0 {
            return Err(Error::Full);
        }
        self.budget -= 1;
        self.allocated += 1;
        self.next += 1;
        self.nodes.insert(self.next, Vec::new());
        // What was in the block before must not matter.
        Ok((blocks().block(self.next)?, vec![0xa5; self.size]))
    }

    fn free(&mut self, at: BlockNr) -> Result<(), Error> {
        self.touched.insert(at.get());
        self.nodes.remove(&at.get()).expect("an allocated node");
        Ok(())
    }
}

/// All extents of the tree; every invariant is checked, and that no node is lost.
fn walk(root: &Root, memory: &Memory) -> Vec<ValidExtent> {
    fn node(bytes: &[u8], memory: &Memory, out: &mut Vec<ValidExtent>, count: &mut usize) {
        extent::check(bytes, &blocks()).unwrap();
        let node_ = Node::new(bytes).unwrap();
        for pos in 0..node_.entries() {
            if node_.depth() == 0 {
                out.push(node_.extent(pos, &blocks()).unwrap().unwrap());
                continue;
            }
            let at = node_.child(pos, &blocks()).unwrap();
            let child = &memory.nodes[&at.get()];
            extent::verify(child, csum()).unwrap();
            let below = Node::new(&child[..]).unwrap();
            assert_eq!(below.depth() + 1, node_.depth());
            assert_eq!(below.key(0), node_.key(pos));
            *count += 1;
            node(child, memory, out, count);
        }
    }
    let (mut out, mut count) = (Vec::new(), 0);
    node(root, memory, &mut out, &mut count);
    assert_eq!(count, memory.nodes.len(), "nodes lost");
    assert!(out.windows(2).all(|w| w[0].end() <= w[1].lblk()));
    let root = Node::new(root).unwrap();
    assert!(root.entries() > 0 || root.depth() == 0);
    out
}

type Model = BTreeMap<u32, (u64, bool)>;

fn flatten(extents: &[ValidExtent]) -> Model {
    let each = |e: &ValidExtent| {
        let (lblk, pblk, unwritten) = (e.lblk(), e.pblk().get(), e.is_unwritten());
        (0..e.len()).map(move |n| (lblk + n, (pblk + u64::from(n), unwritten)))
    };
    extents.iter().flat_map(each).collect()
}

fn valid(lblk: u32, pblk: u64, len: u32, unwritten: bool) -> ValidExtent {
    ValidExtent::new(lblk, blocks().run(pblk, len).unwrap(), unwritten).unwrap()
}

#[derive(Clone, Debug)]
enum Op {
    /// Contiguous ones are where their neighbours in the file would have them, so they merge.
    Insert {
        lblk: u32,
        len: u32,
        contiguous: bool,
        unwritten: bool,
    },
    Convert {
        from: u32,
        len: u32,
        unwritten: bool,
    },
    Remove {
        from: u32,
        len: u32,
    },
    Truncate {
        from: u32,
    },
    /// Takes blocks out of the file: what is behind them moves.
    Collapse {
        from: u32,
        len: u32,
    },
    /// Puts a hole into the file: what is behind it moves.
    Widen {
        from: u32,
        len: u32,
    },
    /// The next change may allocate so many nodes.
    Budget(usize),
}

fn op(range: u32) -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..range, 1..5u32, any::<bool>(), any::<bool>()).prop_map(
            |(lblk, len, contiguous, unwritten)| Op::Insert { lblk, len, contiguous, unwritten }
        ),
        3 => (0..range, 1..20u32, any::<bool>())
            .prop_map(|(from, len, unwritten)| Op::Convert { from, len, unwritten }),
        2 => (0..range, 1..30u32).prop_map(|(from, len)| Op::Remove { from, len }),
        1 => (range / 4..range).prop_map(|from| Op::Truncate { from }),
        2 => (0..range, 1..30u32).prop_map(|(from, len)| Op::Collapse { from, len }),
        2 => (0..range, 1..30u32).prop_map(|(from, len)| Op::Widen { from, len }),
        1 => (0..4usize).prop_map(Op::Budget),
    ]
}

/// Moves what the model has in `range` by `by` blocks.
fn rekey(model: &mut Model, range: std::ops::Range<u32>, by: i64) {
    let moved: Vec<_> = model.range(range).map(|(k, v)| (*k, *v)).collect();
    model.retain(|k, _| !moved.iter().any(|(gone, _)| gone == k));
    let at = |k: u32| u32::try_from(i64::from(k) + by).unwrap();
    model.extend(moved.iter().map(|(k, v)| (at(*k), *v)));
}

/// Applies `op` to both; an error of the tree leaves both as they were.
fn apply(op: &Op, serial: u64, root: &mut Root, memory: &mut Memory, model: &mut Model) {
    match *op {
        Op::Budget(n) => {
            memory.budget = n;
            return;
        }
        Op::Insert {
            lblk,
            len,
            contiguous,
            unwritten,
        } => {
            let pblk = if contiguous {
                1000 + u64::from(lblk)
            } else {
                (serial + 1) << 20
            };
            let extent = valid(lblk, pblk, len, unwritten);
            let taken = model.range(lblk..lblk + len).next().is_some();
            let result = memory.run(root, |root, memory| tree::insert(root, memory, extent));
            if taken {
                assert!(matches!(result, Err(Error::Corrupt(_) | Error::Full)));
            } else if result.is_ok() {
                model.extend(flatten(&[extent]));
            } else {
                assert_eq!(result, Err(Error::Full));
            }
        }
        Op::Convert {
            mut from,
            len,
            unwritten,
        } => {
            let to = from + len;
            while from < to {
                let step =
                    |root: &mut _, memory: &mut _| tree::convert(root, memory, from, to, unwritten);
                let Ok(next) = memory.run(root, step) else {
                    break;
                };
                assert!(next > from && next <= to);
                for (_, state) in model.range_mut(from..next) {
                    state.1 = unwritten;
                }
                from = next;
            }
        }
        Op::Collapse { from, len } => {
            memory.budget = usize::MAX;
            apply(&Op::Remove { from, len }, serial, root, memory, model);
            let mut next = from + len;
            while next < tree::END {
                let step = |root: &mut _, memory: &mut _| tree::shift_left(root, memory, next, len);
                let after = memory
                    .run(root, step)
                    .expect("a move to the left needs no room");
                assert!(after > next);
                assert_eq!(memory.allocated, 0);
                rekey(model, next..after, -i64::from(len));
                next = after;
                assert_eq!(&flatten(&walk(root, memory)), model);
            }
        }
        Op::Widen { from, len } => {
            let mut to = tree::END;
            while to > from {
                let step =
                    |root: &mut _, memory: &mut _| tree::shift_right(root, memory, from, to, len);
                let Ok(rest) = memory.run(root, step) else {
                    break;
                };
                assert!(rest < to);
                rekey(model, rest..to, len.into());
                to = rest;
                assert_eq!(&flatten(&walk(root, memory)), model);
            }
        }
        Op::Remove { .. } | Op::Truncate { .. } => {
            let (from, mut to) = match *op {
                Op::Remove { from, len } => (from, from + len),
                Op::Truncate { from } => (from, tree::END),
                _ => unreachable!(),
            };
            loop {
                let step = |root: &mut _, memory: &mut _| tree::remove(root, memory, from, to);
                let Ok(removed) = memory.run(root, step) else {
                    assert!(matches!(op, Op::Remove { .. }), "truncate needs no room");
                    break;
                };
                for (lblk, state) in removed.extents().flat_map(|e| flatten(&[e])) {
                    assert_eq!(model.remove(&lblk), Some(state));
                }
                let Some(rest) = removed.rest() else {
                    assert!(model.range(from..to).next().is_none());
                    break;
                };
                assert!(rest > from && rest < to);
                assert!(model.range(rest..to).next().is_none());
                to = rest;
            }
        }
    }
    memory.budget = usize::MAX;
}

/// What is found for each block must be what the model has, and holes must end where it says.
fn compare(root: &Root, memory: &mut Memory, model: &Model, range: u32) {
    assert_eq!(&flatten(&walk(root, memory)), model);
    for lblk in (0..range + 8).chain([tree::END - 1]) {
        let next = model.range(lblk..).next().map(|(lblk, _)| *lblk);
        match tree::lookup(root, memory, lblk).unwrap() {
            Mapping::Extent(e) => {
                let pblk = e.pblk().get() + u64::from(lblk - e.lblk());
                assert_eq!(model.get(&lblk), Some(&(pblk, e.is_unwritten())));
            }
            Mapping::Hole { end } => assert_eq!(end, next.unwrap_or(tree::END)),
        }
        let found = tree::next_extent(root, memory, lblk).unwrap();
        assert_eq!(found.map(|e| e.lblk().max(lblk)), next);
    }
}

fn new_root() -> Root {
    let mut root = [0x5a; ROOT_SIZE];
    extent::init_root(&mut root).unwrap();
    root
}

proptest! {
    #[test]
    fn any_sequence(
        size in prop_oneof![4 => Just(TINY), 2 => Just(TINY + 12), 1 => Just(1024), 1 => Just(4096)],
        ops in prop::collection::vec(op(400), 1..250),
    ) {
        let (mut root, mut memory, mut model) = (new_root(), Memory::new(size), Model::new());
        for (serial, op) in ops.iter().enumerate() {
            apply(op, serial as u64, &mut root, &mut memory, &mut model);
            walk(&root, &memory);
            if serial % 16 == 0 {
                assert_eq!(flatten(&walk(&root, &memory)), model);
            }
        }
        compare(&root, &mut memory, &model, 400);
    }

    /// Whatever a node says, nothing panics, nothing loops, and the root changes only on success.
    #[test]
    fn hostile_nodes(
        bytes in prop::collection::vec(any::<u8>(), ROOT_SIZE),
        flips in prop::collection::vec((0..400usize, any::<u16>(), any::<u8>()), 1..6),
        ops in prop::collection::vec(op(400), 1..20),
        keep_root in any::<bool>(),
    ) {
        let (mut root, mut memory, mut model) = (new_root(), Memory::new(TINY), Model::new());
        for n in 0..120 {
            let op = Op::Insert { lblk: n * 3, len: 1, contiguous: false, unwritten: false };
            apply(&op, n.into(), &mut root, &mut memory, &mut model);
        }
        if !keep_root {
            root.copy_from_slice(&bytes);
            root[..8].copy_from_slice(&[0x0a, 0xf3, bytes[2] % 5, 0, 4, 0, bytes[6] % 6, 0]);
        }
        let mut enemy = Enemy(memory);
        let mut keys: Vec<_> = enemy.0.nodes.keys().copied().collect();
        keys.sort_unstable();
        for (node, offset, value) in flips {
            let node = enemy.0.nodes.get_mut(&keys[node % keys.len()]).unwrap();
            let len = node.len();
            node[usize::from(offset) % len] = value;
        }
        for lblk in (0..400).step_by(7) {
            let _ = tree::lookup(&root, &mut enemy, lblk);
            let _ = tree::next_extent(&root, &mut enemy, lblk);
        }
        for (serial, op) in ops.iter().enumerate() {
            let before = root;
            let failed = match *op {
                Op::Insert { lblk, len, unwritten, .. } => {
                    let extent = valid(lblk, (serial as u64 + 1) << 24, len, unwritten);
                    tree::insert(&mut root, &mut enemy, extent).is_err()
                }
                Op::Convert { from, len, unwritten } => {
                    tree::convert(&mut root, &mut enemy, from, from + len, unwritten).is_err()
                }
                Op::Remove { from, len } => {
                    tree::remove(&mut root, &mut enemy, from, from + len).is_err()
                }
                Op::Truncate { from } => {
                    tree::remove(&mut root, &mut enemy, from, tree::END).is_err()
                }
                Op::Collapse { from, len } => {
                    tree::shift_left(&mut root, &mut enemy, from + len, len).is_err()
                }
                Op::Widen { from, len } => {
                    tree::shift_right(&mut root, &mut enemy, from, tree::END, len).is_err()
                }
                Op::Budget(_) => false,
            };
            prop_assert!(!failed || root == before);
        }
    }
}

/// Nodes whose checksums and entries nobody looked at; blocks that are nodes twice; unknown blocks.
struct Enemy(Memory);

impl Read for Enemy {
    type Error = Error;
    type View = Vec<u8>;

    fn blocks(&self) -> Blocks {
        blocks()
    }

    fn view(&mut self, at: BlockNr) -> Result<Vec<u8>, Error> {
        self.0.nodes.get(&at.get()).cloned().ok_or(Error::TooSmall)
    }

    fn error(&self, _at: Option<BlockNr>, error: Error) -> Error {
        error
    }
}

impl Store for Enemy {
    type Node = Vec<u8>;

    fn read(&mut self, at: BlockNr) -> Result<Vec<u8>, Error> {
        self.view(at)
    }

    fn write(&mut self, at: BlockNr, node: Vec<u8>) -> Result<(), Error> {
        self.0.nodes.insert(at.get(), node);
        Ok(())
    }

    fn alloc(&mut self, goal: BlockNr) -> Result<(BlockNr, Vec<u8>), Error> {
        self.0.alloc(goal)
    }

    fn free(&mut self, at: BlockNr) -> Result<(), Error> {
        self.0.nodes.remove(&at.get());
        Ok(())
    }
}

/// A tree as deep as can be: it grows to that, refuses more, answers, and goes back to nothing.
#[test]
fn depth_five() {
    let (mut root, mut memory, mut model) = (new_root(), Memory::new(TINY), Model::new());
    // A fixed order with no pattern: multiplication by a number without common factor.
    let lblk = |n: u32| n.wrapping_mul(2_654_435_761) % 65_536 * 2;
    let mut n = 0;
    let full = loop {
        let extent = valid(lblk(n), 1000 + u64::from(n) * 2, 1, false);
        // No `run` here: it compares all nodes.
        match tree::insert(&mut root, &mut memory, extent) {
            Ok(()) => model.extend(flatten(&[extent])),
            Err(error) => break error,
        }
        n += 1;
    };
    assert_eq!(full, Error::Full);
    assert_eq!(tree::depth(&root), extent::MAX_DEPTH);
    assert_eq!(flatten(&walk(&root, &memory)), model);
    assert!(n > 4 * 3u32.pow(5));
    for n in 0..n {
        let hole = tree::lookup(&root, &mut memory, lblk(n) + 1).unwrap();
        assert!(matches!(hole, Mapping::Hole { end } if end > lblk(n) + 1));
    }
    // Every second extent, in another order, then the rest from the end.
    for n in (0..n).step_by(2) {
        memory.run_one(&mut root, lblk(n), &mut model);
    }
    assert_eq!(flatten(&walk(&root, &memory)), model);
    apply(
        &Op::Truncate { from: 0 },
        0,
        &mut root,
        &mut memory,
        &mut model,
    );
    assert!(model.is_empty());
    assert_eq!(root[..8], new_root()[..8]);
    assert!(memory.nodes.is_empty());
}

impl Memory {
    fn run_one(&mut self, root: &mut Root, lblk: u32, model: &mut Model) {
        let removed = tree::remove(root, self, lblk, lblk + 1).unwrap();
        for extent in removed.extents() {
            model.remove(&extent.lblk());
        }
    }
}

/// A file written from its beginning to its end, block by block but never contiguous, fills its nodes.
#[test]
fn appending_fills_nodes() {
    let (mut root, mut memory) = (new_root(), Memory::new(4096));
    for n in 0..340 * 4 {
        tree::insert(
            &mut root,
            &mut memory,
            valid(n, 1000 + u64::from(n) * 2, 1, false),
        )
        .unwrap();
    }
    assert_eq!(memory.nodes.len(), 4);
    assert_eq!(tree::depth(&root), 1);
}

/// The longest extents of both kinds, and the conversion of one too long to be unwritten.
#[test]
fn longest_extents() {
    let (mut root, mut memory) = (new_root(), Memory::new(4096));
    let run = |len| blocks().run(5000, len).unwrap();
    assert!(ValidExtent::new(0, run(32769), false).is_err());
    assert!(ValidExtent::new(0, run(32768), true).is_err());
    assert!(ValidExtent::new(u32::MAX - 5, run(6), false).is_err());
    tree::insert(&mut root, &mut memory, valid(7, 5000, 32768, false)).unwrap();
    tree::insert(
        &mut root,
        &mut memory,
        valid(7 + 32768, 5000 + 32768, 1, false),
    )
    .unwrap();
    assert_eq!(walk(&root, &memory).len(), 2);
    let mut from = 0;
    while from < 40000 {
        from = tree::convert(&mut root, &mut memory, from, 40000, true).unwrap();
    }
    let extents = walk(&root, &memory);
    assert_eq!(
        extents
            .iter()
            .map(|e| (e.lblk(), e.len(), e.is_unwritten()))
            .collect::<Vec<_>>(),
        [(7, 32767, true), (32774, 2, true),]
    );
    let last = valid(u32::MAX - 2, 9, 2, false);
    tree::insert(&mut root, &mut memory, last).unwrap();
    assert_eq!(
        tree::next_extent(&root, &mut memory, 40000).unwrap(),
        Some(last)
    );
}

/// What would get past the last block stays where it is, and what has no room before it, too.
#[test]
fn no_room_to_move() {
    let (mut root, mut memory) = (new_root(), Memory::new(4096));
    for extent in [valid(3, 500, 2, false), valid(u32::MAX - 12, 9, 2, false)] {
        tree::insert(&mut root, &mut memory, extent).unwrap();
    }
    let far =
        |root: &mut Root, memory: &mut Memory| tree::shift_right(root, memory, 0, tree::END, 11);
    assert_eq!(memory.run(&mut root, far), Err(Error::TooLarge));
    let near = |root: &mut Root, memory: &mut Memory| tree::shift_left(root, memory, 3, 4);
    assert!(matches!(
        memory.run(&mut root, near),
        Err(Error::Corrupt(_))
    ));
    assert_eq!(
        tree::shift_right(&mut root, &mut memory, 4, tree::END, 10),
        Ok(4)
    );
    let found: Vec<_> = walk(&root, &memory)
        .iter()
        .map(|e| (e.lblk(), e.len()))
        .collect();
    assert_eq!(found, [(3, 1), (14, 1), (u32::MAX - 2, 2)]);
    assert_eq!(
        tree::shift_left(&mut root, &mut memory, 14, 10),
        Ok(tree::END)
    );
    let found: Vec<_> = walk(&root, &memory)
        .iter()
        .map(|e| (e.lblk(), e.len()))
        .collect();
    assert_eq!(found, [(3, 2), (u32::MAX - 12, 2)]);
}

/// A node that names itself, or an ancestor, as its child.
#[test]
fn cycles() {
    let (mut root, mut memory, mut model) = (new_root(), Memory::new(TINY), Model::new());
    for n in 0..200 {
        let op = Op::Insert {
            lblk: n * 3,
            len: 1,
            contiguous: false,
            unwritten: false,
        };
        apply(&op, n.into(), &mut root, &mut memory, &mut model);
    }
    assert!(tree::depth(&root) >= 3);
    let top = Node::new(&root).unwrap().child(0, &blocks()).unwrap();
    let node = memory.nodes.get_mut(&top.get()).unwrap();
    node[16..20].copy_from_slice(&(top.get() as u32).to_le_bytes());
    extent::seal(node, csum()).unwrap();
    let depth = Error::Corrupt("extent node: depth is not its parent's less one");
    assert_eq!(tree::lookup(&root, &mut memory, 0), Err(depth));
    let extent = valid(1, 9, 1, false);
    let result = memory.run(&mut root, |root, memory| tree::insert(root, memory, extent));
    assert_eq!(result, Err(depth));
}
