//! Why the codec refuses.

use secagg::InputError;

use crate::counters::Counter;

/// Why an update or a sum was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The session or the sum has another layout than the plan.
    #[error("the layout is not that of the plan")]
    Layout,
    /// The session allows more clients than the plan has room for.
    #[error("the session allows {session} clients; the plan has room for {plan}")]
    Cohort {
        /// The session's largest cohort.
        session: u32,
        /// The plan's largest cohort.
        plan: u32,
    },
    /// The update has another length than the plan says.
    #[error("the update has {found} elements; the plan says {expected}")]
    Length {
        /// The update's length.
        found: usize,
        /// The plan's; 0 where clients only evaluate.
        expected: usize,
    },
    /// The residual is that of a model of another size.
    #[error("the residual has {found} elements; the plan says {expected}")]
    Residual {
        /// The residual's length.
        found: usize,
        /// The plan's.
        expected: usize,
    },
    /// An element of the update is infinite or not a number.
    #[error("element {index} of the update is {value}")]
    NotFinite {
        /// Where.
        index: usize,
        /// Which value.
        value: f32,
    },
    /// A count is larger than one client may send.
    #[error("{counter} is {value}; one client may send at most {maximum}")]
    Counter {
        /// Which counter.
        counter: Counter,
        /// Its value.
        value: u64,
        /// The largest value allowed.
        maximum: u64,
    },
    /// The protocol refused the vector.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A sum has at least one contributor and at most the plan's largest cohort.
    #[error("a sum of {contributors} clients; the plan has room for 1 to {max_cohort}")]
    Contributors {
        /// How many were said to be in the sum.
        contributors: u32,
        /// The plan's largest cohort.
        max_cohort: u32,
    },
    /// An element of the sum is larger than the contributors can have sent.
    #[error("element {index} of the summed update is {value}; the contributors can reach {bound}")]
    ElementSum {
        /// Where.
        index: usize,
        /// Its value.
        value: u64,
        /// The largest sum that honest contributors can reach.
        bound: u64,
    },
    /// The sum of a counter is larger than the contributors can have sent.
    #[error("the sum of {counter} is {value}; the contributors can reach {bound}")]
    CounterSum {
        /// Which counter.
        counter: Counter,
        /// Its value.
        value: u64,
        /// The largest sum that honest contributors can reach.
        bound: u64,
    },
}
