//! Logs of steps as they travel.
#![expect(
    clippy::unwrap_used,
    reason = "a test's helper fails the test by panicking"
)]

use proptest::prelude::*;
use secagg_learning::Step;
use secagg_wire::{
    digest::{Digest, FileDigest},
    steps::{
        Block, BlockError, LoggedStep, MAX_BLOCKS, MAX_STEPS, blocks, bytes_to_follow, offered,
    },
};

fn logged(number: usize, pairs: usize) -> LoggedStep {
    let byte = u8::try_from(number).unwrap();
    LoggedStep {
        from: Digest::of(&[byte]),
        step: Step {
            factor: 1.0 / (number + 1) as f64,
            seed: [byte; 32],
            falls: vec![-0.5 * number as f32; pairs],
        },
    }
}

fn log(steps: usize, pairs: usize) -> Vec<LoggedStep> {
    (0..steps).map(|number| logged(number, pairs)).collect()
}

/// Walks back from the newest file, as a node does: steps ascending.
fn walk(files: &[Vec<u8>], pairs: u32, missed: usize) -> (Vec<LoggedStep>, u64) {
    let (mut steps, mut bytes) = (Vec::new(), 0);
    let mut next = files.first().map(|file| FileDigest::of(file));
    while let Some(wanted) = next.filter(|_| steps.len() < missed) {
        let file = files.iter().find(|file| FileDigest::of(file) == wanted);
        let block = Block::decode(file.unwrap(), pairs).unwrap();
        bytes += wanted.len;
        next = block.earlier;
        steps.splice(0..0, block.steps);
    }
    (steps, bytes)
}

#[test]
fn who_missed_little_fetches_little() {
    const PAIRS: u32 = 5;
    for count in [0, 1, 2, 3, 6, 7, 40, 62, 63, 70] {
        let log = log(count, 5);
        let files = blocks(&log);
        assert!(files.len() <= MAX_BLOCKS);
        let kept = count.min(MAX_STEPS as usize);
        for missed in [0, 1, 2, 3, 7, 8, 63, 64, 1000] {
            let (steps, bytes) = walk(&files, PAIRS, missed);
            assert_eq!(bytes, bytes_to_follow(missed, count, PAIRS));
            // At most twice of what was missed, and never others than the newest.
            assert!(steps.len() >= missed.min(kept) && steps.len() <= kept.min(2 * missed));
            assert_eq!(steps, log[count - steps.len()..]);
        }
    }
}

#[test]
fn a_log_costs_at_most_a_quarter_of_a_checkpoint() {
    // A step of 10 directions has 112 bytes.
    assert_eq!(offered(63, 10, 4 * 112 - 1), 0);
    assert_eq!(offered(63, 10, 4 * 112), 1);
    assert_eq!(offered(63, 10, 4 * 112 * 7), 7);
    assert_eq!(offered(5, 10, 4 * 112 * 7), 5);
    assert_eq!(offered(usize::MAX, 10, u64::MAX), MAX_STEPS as usize);
}

#[test]
fn what_is_no_block_is_named() {
    let block = Block {
        earlier: None,
        steps: log(2, 3),
    };
    let good = block.encode();
    assert_eq!(Block::decode(&good, 3), Ok(block.clone()));
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        Block::decode(&bytes, 3).unwrap_err()
    };
    let len = good.len();
    assert_eq!(
        with(&|bytes| bytes[0] = 2),
        BlockError::Version { found: 2 }
    );
    assert_eq!(
        with(&|bytes| bytes[1] = 9),
        BlockError::Earlier { found: 9 }
    );
    // Under a plan with another number of directions, or cut anywhere.
    let steps = len - 2;
    let length = |step| BlockError::Length { len: steps, step };
    assert_eq!(Block::decode(&good, 4), Err(length(88)));
    let cut = with(&|bytes| bytes.truncate(len - 1));
    let (short, step) = (steps - 1, 84);
    assert_eq!(cut, BlockError::Length { len: short, step });
    for len in [0, 1, 2] {
        let cut = with(&|bytes| bytes.truncate(len));
        assert_eq!(cut, BlockError::Truncated { len });
    }
    let cut = with(&|bytes| {
        bytes[1] = 1;
        bytes.truncate(30);
    });
    assert_eq!(cut, BlockError::Truncated { len: 30 });
    let factor = with(&|bytes| bytes[34..42].copy_from_slice(&1.5_f64.to_le_bytes()));
    let expected = BlockError::Factor {
        step: 0,
        factor: 1.5,
    };
    assert_eq!(factor, expected);
    let infinite = with(&|bytes| bytes[len - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes()));
    let expected = BlockError::NotFinite {
        step: 1,
        direction: 2,
    };
    assert_eq!(infinite, expected);
    let max = Block::longest(3);
    let long = vec![1; usize::try_from(max).unwrap() + 1];
    let len = long.len();
    assert_eq!(
        Block::decode(&long, 3),
        Err(BlockError::TooLong { len, max })
    );
}

fn any_step(pairs: usize) -> impl Strategy<Value = LoggedStep> {
    let falls = proptest::collection::vec(-1e30_f32..1e30, pairs);
    (any::<[u8; 32]>(), 0.0..=1.0, any::<[u8; 32]>(), falls).prop_map(
        |(from, factor, seed, falls)| LoggedStep {
            from: Digest::from_bytes(from),
            step: Step {
                factor,
                seed,
                falls,
            },
        },
    )
}

fn any_block() -> impl Strategy<Value = (u32, Block)> {
    let earlier = (any::<[u8; 32]>(), any::<u64>()).prop_map(|(sha256, len)| FileDigest {
        sha256: Digest::from_bytes(sha256),
        len,
    });
    (1..9_usize).prop_flat_map(move |pairs| {
        let steps = proptest::collection::vec(any_step(pairs), 1..=32);
        (proptest::option::of(earlier.clone()), steps).prop_map(move |(earlier, steps)| {
            let pairs = u32::try_from(pairs).unwrap();
            (pairs, Block { earlier, steps })
        })
    })
}

proptest! {
    #[test]
    fn a_block_comes_back((pairs, block) in any_block()) {
        let bytes = block.encode();
        prop_assert!(bytes.len() as u64 <= Block::longest(pairs));
        prop_assert_eq!(Block::decode(&bytes, pairs), Ok(block));
    }

    #[test]
    fn bytes_that_decode_have_one_form(
        (pairs, block) in any_block(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = block.encode();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(end.index(bytes.len()) + 1);
        if let Ok(block) = Block::decode(&bytes, pairs) {
            prop_assert_eq!(block.encode(), bytes);
        }
    }
}
