//! The parameters of a session, and the only place where they are checked.

use alloc::{string::String, vec::Vec};
use core::{fmt, ops::RangeInclusive};

use crate::{
    chooser,
    codec::{DecodeError, Reader, put_len, put_u32, to_u32},
    shamir,
    vector::{Layout, Segment},
};

/// Smallest cohort: a sum of two tells each of them the other's input.
pub const MIN_COHORT: u32 = 3;

/// Largest cohort of a complete graph: a holder's coordinate has 16 bits.
pub const MAX_COHORT: u32 = shamir::MAX_HOLDERS + 1;

/// Largest cohort of the sparse graph.
pub const MAX_SPARSE_COHORT: u32 = 1_000_000;

/// η unless one chooses another.
pub const CORRECTNESS_BITS: u8 = 20;

/// Which primitives are used. The number enters the session id, so that another suite can be
/// added without ambiguity.
///
/// Suite 1: ristretto255, HKDF-SHA256, `ChaCha20`, ChaCha20-Poly1305, Shamir over GF(2^16),
/// Ed25519.
const SUITE: u8 = 1;

/// What the server is trusted with. The weaker model is the smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ThreatModel {
    /// The server follows the protocol, but keeps and studies everything that it sees, alone or
    /// with corrupt clients.
    HonestButCurious,
    /// The server may do anything, alone or with corrupt clients: adverts are signed, and nobody
    /// reveals shares before enough neighbours have signed the same survivor set.
    #[default]
    Malicious,
}

impl fmt::Display for ThreatModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HonestButCurious => "honest-but-curious",
            Self::Malicious => "malicious",
        })
    }
}

/// Who is whose neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GraphKind {
    /// Everybody is everybody's neighbour (Bonawitz et al. 2017).
    Complete,
    /// A Harary ring of even degree over positions that the digest of the whole roster permutes
    /// (after Bell et al. 2020); of degree n − 1 where no smaller one is enough.
    Sparse,
}

impl fmt::Display for GraphKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Complete => "complete",
            Self::Sparse => "sparse",
        })
    }
}

/// The parameters of a session: valid whenever they exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    threat_model: ThreatModel,
    graph: GraphKind,
    security_bits: u8,
    correctness_bits: u8,
    cohort: RangeInclusive<u32>,
    layout: Layout,
}

impl Parameters {
    /// Checks and keeps the parameters. `cohort` bounds the number of clients in the roster.
    ///
    /// The sparse graph gets the σ of [`security_bits`](crate::security_bits) and η =
    /// [`CORRECTNESS_BITS`]; see [`with_bits`](Self::with_bits).
    ///
    /// # Errors
    ///
    /// When the cohort's bounds are out of order or outside [`MIN_COHORT`] to [`MAX_COHORT`]
    /// ([`MAX_SPARSE_COHORT`] for the sparse graph), or a segment has so few bits that the largest
    /// cohort could not even submit ones.
    pub fn new(
        threat_model: ThreatModel,
        graph: GraphKind,
        cohort: RangeInclusive<u32>,
        layout: Layout,
    ) -> Result<Self, ParametersError> {
        let (min, max) = (*cohort.start(), *cohort.end());
        let largest = match graph {
            GraphKind::Complete => MAX_COHORT,
            GraphKind::Sparse => MAX_SPARSE_COHORT,
        };
        // V-45. Two clients would read each other's input off the sum; above 65,535 holders a
        // share would have no coordinate.
        if min < MIN_COHORT || max > largest || min > max {
            return Err(ParametersError::Cohort { min, max, largest });
        }
        for segment in layout.segments() {
            if segment.max_element() < u64::from(max) {
                return Err(ParametersError::SegmentTooNarrow {
                    name: segment.name().into(),
                    bits: segment.bits(),
                    cohort: max,
                });
            }
        }
        Ok(Self {
            threat_model,
            graph,
            security_bits: chooser::security_bits(threat_model),
            correctness_bits: CORRECTNESS_BITS,
            cohort,
            layout,
        })
    }

    /// The same parameters with other probabilities for the sparse graph: security fails with
    /// less than 2^−σ, and the sum with less than 2^−η.
    ///
    /// # Errors
    ///
    /// When σ is not within 20 to 120 or η not within 10 to 60.
    pub fn with_bits(self, security: u8, correctness: u8) -> Result<Self, ParametersError> {
        let checked = |what, bits: u8, allowed: RangeInclusive<u8>| {
            if allowed.contains(&bits) {
                return Ok(bits);
            }
            let (min, max) = (*allowed.start(), *allowed.end());
            Err(ParametersError::Bits {
                what,
                bits,
                min,
                max,
            })
        };
        Ok(Self {
            security_bits: checked("σ, the bits of security", security, 20..=120)?,
            correctness_bits: checked("η, the bits of correctness", correctness, 10..=60)?,
            ..self
        })
    }

    /// σ: with the sparse graph, security fails with a probability below 2^−σ.
    #[must_use]
    pub const fn security_bits(&self) -> u8 {
        self.security_bits
    }

    /// η: with the sparse graph, the sum is lost with a probability below 2^−η.
    #[must_use]
    pub const fn correctness_bits(&self) -> u8 {
        self.correctness_bits
    }

    /// What the server is trusted with.
    #[must_use]
    pub const fn threat_model(&self) -> ThreatModel {
        self.threat_model
    }

    /// The kind of graph.
    #[must_use]
    pub const fn graph(&self) -> GraphKind {
        self.graph
    }

    /// The smallest and largest number of clients in the roster.
    #[must_use]
    pub const fn cohort(&self) -> &RangeInclusive<u32> {
        &self.cohort
    }

    /// The shape of the vectors.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The canonical encoding: it is hashed into the session id and sent to clients.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let threat_model = match self.threat_model {
            ThreatModel::HonestButCurious => 1,
            ThreatModel::Malicious => 2,
        };
        let graph = match self.graph {
            GraphKind::Complete => 1,
            GraphKind::Sparse => 2,
        };
        let (security, correctness) = (self.security_bits, self.correctness_bits);
        let mut out = Vec::from([SUITE, threat_model, graph, security, correctness]);
        put_u32(&mut out, *self.cohort.start());
        put_u32(&mut out, *self.cohort.end());
        put_len(&mut out, self.layout.segments().len());
        for segment in self.layout.segments() {
            put_len(&mut out, segment.name().len());
            out.extend_from_slice(segment.name().as_bytes());
            put_u32(&mut out, segment.len());
            out.push(segment.bits());
        }
        out
    }

    /// Reads the canonical encoding.
    ///
    /// # Errors
    ///
    /// When the bytes are not the encoding of valid parameters. A suite, threat model or graph
    /// kind that this crate does not know is out of range.
    ///
    /// # Security
    ///
    /// Valid parameters may describe a vector of terabytes. Before a vector is made, whoever has
    /// them from the network compares the layout with the one that it expects, or at least
    /// [`Layout::packed_len`] with a limit.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let mut known = |what, max| {
            let value = reader.u8(what)?;
            if (1..=max).contains(&value) {
                return Ok(value);
            }
            Err(DecodeError::OutOfRange {
                what,
                value: value.into(),
                min: 1,
                max: max.into(),
            })
        };
        known("suite", SUITE)?;
        let threat_model = match known("threat model", 2)? {
            1 => ThreatModel::HonestButCurious,
            _ => ThreatModel::Malicious,
        };
        let graph = match known("graph kind", 2)? {
            1 => GraphKind::Complete,
            _ => GraphKind::Sparse,
        };
        let security = reader.u8("bits of security")?;
        let correctness = reader.u8("bits of correctness")?;
        let min = reader.u32("smallest cohort")?;
        let max = reader.u32("largest cohort")?;
        let count = reader.count("number of segments", 1, to_u32(Layout::MAX_SEGMENTS))?;
        let mut segments = Vec::new();
        for _ in 0..count {
            let max = to_u32(Segment::MAX_NAME_LEN);
            let len = reader.count("length of a segment's name", 1, max)?;
            let name = reader.bytes("segment's name", len as usize)?;
            let name = core::str::from_utf8(name).map_err(|_| DecodeError::NotText {
                what: "segment's name",
            })?;
            let len = reader.u32("segment's length")?;
            let bits = reader.u8("segment's bits")?;
            segments.push(Segment::new(name, len, bits).map_err(DecodeError::Parameters)?);
        }
        reader.finish()?;
        let layout = Layout::new(segments).map_err(DecodeError::Parameters)?;
        Self::new(threat_model, graph, min..=max, layout)
            .and_then(|parameters| parameters.with_bits(security, correctness))
            .map_err(DecodeError::Parameters)
    }
}

/// Why parameters are not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParametersError {
    /// The cohort's bounds are out of order or out of range.
    Cohort {
        /// The smallest cohort asked for.
        min: u32,
        /// The largest cohort asked for.
        max: u32,
        /// The largest cohort of this kind of graph.
        largest: u32,
    },
    /// Bits of security or correctness outside their range.
    Bits {
        /// Which.
        what: &'static str,
        /// The bits asked for.
        bits: u8,
        /// The fewest allowed.
        min: u8,
        /// The most allowed.
        max: u8,
    },
    /// A segment's name is empty or too long.
    SegmentName {
        /// Its length in bytes.
        len: usize,
    },
    /// A segment's bits are not within 1..=64.
    SegmentBits {
        /// The segment.
        name: String,
        /// The bits asked for.
        bits: u8,
    },
    /// A segment without elements.
    SegmentEmpty {
        /// The segment.
        name: String,
    },
    /// No segment, or too many.
    SegmentCount {
        /// How many.
        count: usize,
    },
    /// Two segments of one name.
    DuplicateSegment {
        /// The name.
        name: String,
    },
    /// A segment whose sum would wrap around even if everybody submitted ones.
    SegmentTooNarrow {
        /// The segment.
        name: String,
        /// Its bits.
        bits: u8,
        /// The largest cohort.
        cohort: u32,
    },
}

impl fmt::Display for ParametersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cohort { min, max, largest } => write!(
                f,
                "a cohort of {min} to {max} clients: the bounds must be in order and within \
                 {MIN_COHORT} to {largest}"
            ),
            Self::Bits {
                what,
                bits,
                min,
                max,
            } => write!(f, "{what}, is {bits}; allowed are {min} to {max}"),
            Self::SegmentName { len } => write!(
                f,
                "a segment's name has {len} bytes, allowed are 1 to {}",
                Segment::MAX_NAME_LEN
            ),
            Self::SegmentBits { name, bits } => {
                write!(f, "segment {name:?} has {bits} bits, allowed are 1 to 64")
            }
            Self::SegmentEmpty { name } => write!(f, "segment {name:?} has no elements"),
            Self::SegmentCount { count } => write!(
                f,
                "a layout of {count} segments, allowed are 1 to {}",
                Layout::MAX_SEGMENTS
            ),
            Self::DuplicateSegment { name } => write!(f, "two segments are named {name:?}"),
            Self::SegmentTooNarrow { name, bits, cohort } => write!(
                f,
                "segment {name:?} has {bits} bits: a sum over {cohort} clients could wrap around \
                 even if each submitted a one; use more bits or a smaller cohort"
            ),
        }
    }
}

impl core::error::Error for ParametersError {}
