//! Rows of variables that training leaves as they are, where it changes others of the same variable.

use std::ops::Range;

use tch::{Tensor, no_grad};

/// Stretches of rows, each of a variable whose other rows are trained.
///
/// The library differentiates and steps whole variables. So these rows lose their gradient, that a clip
/// does not count it, and are put back after a step: weight decay moves what has no gradient, too.
#[derive(Debug, Default)]
pub(crate) struct FrozenRows {
    rows: Vec<(Tensor, Range<i64>)>,
}

/// Frozen rows with the values that they keep.
#[derive(Debug)]
pub(crate) struct KeptRows {
    kept: Vec<Kept>,
}

#[derive(Debug)]
struct Kept {
    variable: Tensor,
    rows: Range<i64>,
    values: Tensor,
}

impl FrozenRows {
    /// Adds the rows of a variable that are not in these ranges, which ascend.
    pub(super) fn keep_all_but(&mut self, variable: &Tensor, trained: &[Range<usize>]) {
        let rows = variable.size().first().copied().unwrap_or(0);
        let mut next = 0;
        let ends = trained.iter().map(|range| [range.start, range.end]);
        for [start, end] in ends.map(|range| range.map(|row| i64::try_from(row).unwrap_or(rows))) {
            self.keep(variable, next..start);
            next = end;
        }
        self.keep(variable, next..rows);
    }

    fn keep(&mut self, variable: &Tensor, rows: Range<i64>) {
        if !rows.is_empty() {
            self.rows.push((variable.shallow_clone(), rows));
        }
    }

    /// How many numbers [`FrozenRows::kept`] copies.
    pub(crate) fn elements(&self) -> u64 {
        let rows = self.rows.iter();
        rows.map(|(variable, rows)| within(variable, rows).numel() as u64)
            .sum()
    }

    /// The rows with their present values.
    pub(crate) fn kept(&self) -> KeptRows {
        let kept = self.rows.iter().map(|(variable, rows)| Kept {
            values: no_grad(|| within(variable, rows).detach().copy()),
            variable: variable.shallow_clone(),
            rows: rows.clone(),
        });
        KeptRows {
            kept: kept.collect(),
        }
    }
}

impl KeptRows {
    /// Takes away what a backward pass says about these rows.
    pub(crate) fn without_gradient(&self) {
        no_grad(|| {
            for Kept { variable, rows, .. } in &self.kept {
                let gradient = variable.grad();
                if gradient.defined() {
                    let _ = within(&gradient, rows).zero_();
                }
            }
        });
    }

    /// Puts these rows back, after a step has moved them.
    pub(crate) fn put_back(&self) {
        no_grad(|| {
            for Kept {
                variable,
                rows,
                values,
            } in &self.kept
            {
                within(variable, rows).copy_(values);
            }
        });
    }
}

/// A view of some rows.
fn within(tensor: &Tensor, rows: &Range<i64>) -> Tensor {
    tensor.narrow(0, rows.start, rows.end - rows.start)
}
