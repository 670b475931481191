//! The log of steps: with it a node that holds earlier weights gets those of a round of evolution
//! strategies ([`secagg_learning::evolution`]), in a few bytes a step.
//!
//! The coordinator offers the newest steps in blocks: the newest block has one, the block before it
//! two, then four, up to 32. An announcement names the newest block, and each block the one before,
//! by length and SHA-256. So a node that has missed nothing fetches one step, and one that was away asks
//! a few times and gets hardly more than it has missed. Each step says from where it starts, as the
//! [`checkpoint_digest`](crate::digest::checkpoint_digest) of the weights and the optimiser's state;
//! where a log ends, the announcement says.
//!
//! ```text
//! block    1 ‖ 0 ‖ step …                           the oldest one
//!          1 ‖ 1 ‖ SHA-256 ‖ length: u64 ‖ step …    of the block before; 1 to 32 steps, ascending
//! step     from: 32 bytes ‖ factor: f64 ‖ seed: 32 bytes ‖ fall: f32, one for each direction
//! ```
//!
//! Numbers are little-endian. How many directions there are, the plan says, so that the length of a
//! block says how many steps it has.

use secagg_learning::Step;

use crate::digest::{Digest, FileDigest};

/// The most steps that a log has: blocks of 1, 2, 4, 8, 16 and 32.
pub const MAX_STEPS: u32 = 63;

/// The most blocks of a log.
pub const MAX_BLOCKS: usize = 6;

/// A step, and from where it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedStep {
    /// The checkpoint's digest before it.
    pub from: Digest,
    /// The step.
    pub step: Step,
}

/// Steps in a row, ascending.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The block with the steps before these.
    pub earlier: Option<FileDigest>,
    /// At least one.
    pub steps: Vec<LoggedStep>,
}

/// Why bytes are no block of a log.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BlockError {
    /// More than the largest block has.
    #[error("a block of {len} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes found.
        len: usize,
        /// The cap.
        max: u64,
    },
    /// A block of another version, or none.
    #[error("the block begins with {found}, a block of this version with 1")]
    Version {
        /// The byte found.
        found: u8,
    },
    /// What says whether there is an earlier block says neither.
    #[error("the block's second byte is {found}, it must be 0 or 1")]
    Earlier {
        /// The byte found.
        found: u8,
    },
    /// It ends too early, or has no step.
    #[error("a block of {len} bytes is cut off")]
    Truncated {
        /// Bytes found.
        len: usize,
    },
    /// It does not end with a step.
    #[error("{len} bytes of steps, a step under this plan has {step}")]
    Length {
        /// Bytes found.
        len: usize,
        /// Those of a step.
        step: usize,
    },
    /// A rate is multiplied by what is no number from 0 to 1.
    #[error("the factor of step {step} of the block is {factor}, it must be a number from 0 to 1")]
    Factor {
        /// Which step, from 0.
        step: usize,
        /// What was found.
        factor: f64,
    },
    /// A number is infinite, or none.
    #[error("the number of direction {direction} in step {step} of the block is not finite")]
    NotFinite {
        /// Which step, from 0.
        step: usize,
        /// Which direction, from 0.
        direction: usize,
    },
}

impl Block {
    /// The bytes of a file with this block.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, u8::from(self.earlier.is_some())];
        if let Some(FileDigest { sha256, len }) = &self.earlier {
            bytes.extend_from_slice(sha256.as_bytes());
            bytes.extend_from_slice(&len.to_le_bytes());
        }
        for LoggedStep { from, step } in &self.steps {
            bytes.extend_from_slice(from.as_bytes());
            bytes.extend_from_slice(&step.factor.to_le_bytes());
            bytes.extend_from_slice(&step.seed);
            bytes.extend(step.falls.iter().flat_map(|fall| fall.to_le_bytes()));
        }
        bytes
    }

    /// The block in such a file, under a plan with so many directions. There is one encoding of each.
    ///
    /// # Errors
    /// [`BlockError`].
    pub fn decode(bytes: &[u8], pairs: u32) -> Result<Self, BlockError> {
        let len = bytes.len();
        let max = Self::longest(pairs);
        if len as u64 > max {
            return Err(BlockError::TooLong { len, max });
        }
        let truncated = BlockError::Truncated { len };
        let (&[version, earlier], rest) = bytes.split_first_chunk().ok_or(truncated.clone())?;
        if version != VERSION {
            return Err(BlockError::Version { found: version });
        }
        let (earlier, rest) = match earlier {
            0 => (None, rest),
            1 => {
                let (sha256, rest) = rest.split_first_chunk().ok_or(truncated.clone())?;
                let (len, rest) = rest.split_first_chunk().ok_or(truncated.clone())?;
                let sha256 = Digest::from_bytes(*sha256);
                let len = u64::from_le_bytes(*len);
                (Some(FileDigest { sha256, len }), rest)
            }
            found => return Err(BlockError::Earlier { found }),
        };
        if rest.is_empty() {
            return Err(truncated);
        }
        let step = step_len(pairs);
        let steps = rest.chunks(step).enumerate().map(|(index, bytes)| {
            let length = BlockError::Length {
                len: rest.len(),
                step,
            };
            match bytes.len() == step {
                true => decode_step(index, bytes).unwrap_or(Err(length)),
                false => Err(length),
            }
        });
        let steps = steps.collect::<Result<_, _>>()?;
        Ok(Self { earlier, steps })
    }

    /// Bytes of the longest block under a plan with so many directions.
    #[must_use]
    pub fn longest(pairs: u32) -> u64 {
        block_len(pairs, LARGEST_BLOCK, true)
    }
}

/// The files of a log of these steps, ascending, of which the newest [`MAX_STEPS`] count. The newest file
/// first.
#[must_use]
pub fn blocks(steps: &[LoggedStep]) -> Vec<Vec<u8>> {
    let mut files: Vec<Vec<u8>> = Vec::new();
    let mut end = steps.len();
    let mut cuts = Vec::new();
    for size in sizes(steps.len()) {
        cuts.push(end - size..end);
        end -= size;
    }
    for cut in cuts.into_iter().rev() {
        let block = Block {
            earlier: files.last().map(|file| FileDigest::of(file)),
            steps: steps.get(cut).unwrap_or_default().to_vec(),
        };
        files.push(block.encode());
    }
    files.reverse();
    files
}

/// How many steps are offered, of at most `keep`, to nodes that could also fetch a checkpoint of so many
/// bytes, weights and optimiser's state. A node that finds out that it has missed more than all of them
/// has then fetched a quarter of a checkpoint in vain, at most.
#[must_use]
pub fn offered(keep: usize, pairs: u32, checkpoint: u64) -> usize {
    let affordable = checkpoint / VAIN / step_len(pairs) as u64;
    let affordable = usize::try_from(affordable).unwrap_or(usize::MAX);
    keep.min(MAX_STEPS as usize).min(affordable)
}

/// Bytes of the blocks that a node fetches that has missed so many steps of which so many are offered.
/// Where those are fewer, it fetches all of them before it knows.
#[must_use]
pub fn bytes_to_follow(missed: usize, offered: usize, pairs: u32) -> u64 {
    let offered = offered.min(MAX_STEPS as usize);
    let mut covered = 0;
    let mut bytes = 0;
    for size in sizes(offered) {
        if covered >= missed {
            break;
        }
        covered += size;
        bytes += block_len(pairs, size, covered < offered);
    }
    bytes
}

const VERSION: u8 = 1;

const LARGEST_BLOCK: usize = 32;

/// What part of a checkpoint may be fetched in vain.
const VAIN: u64 = 4;

/// From, factor and seed of a step.
const STEP_HEAD: usize = 32 + 8 + 32;

fn step_len(pairs: u32) -> usize {
    STEP_HEAD + 4 * pairs as usize
}

fn block_len(pairs: u32, steps: usize, earlier: bool) -> u64 {
    let head = if earlier { 2 + 32 + 8 } else { 2 };
    head + steps as u64 * step_len(pairs) as u64
}

/// How many steps the blocks of a log have, the newest first.
fn sizes(steps: usize) -> impl Iterator<Item = usize> {
    let mut rest = steps.min(MAX_STEPS as usize);
    (0..MAX_BLOCKS).map_while(move |block| {
        let size = rest.min(1 << block);
        rest -= size;
        (size > 0).then_some(size)
    })
}

/// `None` where the bytes are no step's.
fn decode_step(index: usize, bytes: &[u8]) -> Option<Result<LoggedStep, BlockError>> {
    let (from, rest) = bytes.split_first_chunk()?;
    let (factor, rest) = rest.split_first_chunk()?;
    let (seed, rest) = rest.split_first_chunk()?;
    let factor = f64::from_le_bytes(*factor);
    if !(0.0..=1.0).contains(&factor) {
        return Some(Err(BlockError::Factor {
            step: index,
            factor,
        }));
    }
    let (falls, _) = rest.as_chunks::<4>();
    let falls: Vec<f32> = falls.iter().map(|fall| f32::from_le_bytes(*fall)).collect();
    if let Some(direction) = falls.iter().position(|fall| !fall.is_finite()) {
        return Some(Err(BlockError::NotFinite {
            step: index,
            direction,
        }));
    }
    let step = Step {
        factor,
        seed: *seed,
        falls,
    };
    let from = Digest::from_bytes(*from);
    Some(Ok(LoggedStep { from, step }))
}
