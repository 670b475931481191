//! A matrix of 8-bit weights.

use secagg_learning::download::Int8Rows;

/// Rows of 8-bit weights, each with a scale.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Matrix {
    columns: usize,
    /// Row by row, from −127 to 127.
    weights: Vec<i8>,
    /// Of each row; finite and not negative.
    scales: Vec<f32>,
}

/// Products that are added up side by side, so that the compiler can use vector instructions.
const LANES: usize = 16;

impl Matrix {
    /// Puts a matrix together; the number of rows is that of the scales.
    pub(super) fn from_parts(columns: usize, weights: Vec<i8>, scales: Vec<f32>) -> Self {
        debug_assert_eq!(weights.len(), columns * scales.len());
        Self {
            columns,
            weights,
            scales,
        }
    }

    /// The nearest 8-bit weights to these, which are finite.
    pub(super) fn quantise(columns: usize, values: &[f32]) -> Self {
        let Int8Rows { weights, scales } = Int8Rows::nearest(columns, values);
        Self::from_parts(columns, weights, scales)
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    pub(super) fn weights(&self) -> &[i8] {
        &self.weights
    }

    pub(super) fn scales(&self) -> &[f32] {
        &self.scales
    }

    pub(super) fn rows(&self) -> usize {
        self.scales.len()
    }

    /// One row in f32.
    pub(super) fn row(&self, row: usize) -> Vec<f32> {
        let weights = &self.weights[row * self.columns..][..self.columns];
        let scale = self.scales[row];
        let values = weights.iter().map(|&weight| scale * f32::from(weight));
        values.collect()
    }

    /// Adds the product with a column vector.
    pub(super) fn multiply_add(&self, vector: &[f32], sums: &mut [f32]) {
        debug_assert_eq!((vector.len(), sums.len()), (self.columns, self.rows()));
        let rows = self.weights.chunks_exact(self.columns);
        for ((row, scale), sum) in rows.zip(&self.scales).zip(sums) {
            *sum += scale * dot(row, vector);
        }
    }
}

fn dot(row: &[i8], vector: &[f32]) -> f32 {
    let (rows, row_rest) = row.as_chunks::<LANES>();
    let (vectors, vector_rest) = vector.as_chunks::<LANES>();
    let mut lanes = [0.0_f32; LANES];
    for (row, vector) in rows.iter().zip(vectors) {
        for lane in 0..LANES {
            lanes[lane] += f32::from(row[lane]) * vector[lane];
        }
    }
    let rest = row_rest.iter().zip(vector_rest);
    let rest: f32 = rest.map(|(&weight, value)| f32::from(weight) * value).sum();
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_weight_is_off_by_half_a_step_at_most_and_the_largest_by_nothing() {
        let values: Vec<f32> = (0..60_u8)
            .map(|n| (f32::from(n) * 0.7).sin() * (1.0 + f32::from(n / 20)))
            .collect();
        let matrix = Matrix::quantise(20, &values);
        for (row, values) in values.chunks_exact(20).enumerate() {
            let largest = values
                .iter()
                .fold(0.0_f32, |largest, w| largest.max(w.abs()));
            let step = largest / 127.0;
            assert_eq!(matrix.scales()[row], step);
            for (found, value) in matrix.row(row).iter().zip(values) {
                assert!((found - value).abs() <= 0.5001 * step, "{found} {value}");
                if value.abs() == largest {
                    assert!((found - value).abs() <= 1e-6 * largest, "{found} {value}");
                }
            }
        }
    }

    #[test]
    fn rows_of_zeros_and_of_next_to_nothing_are_zero() {
        let matrix = Matrix::quantise(2, &[0.0, -0.0, 1e-44, 0.0, 0.5, -1.0]);
        assert_eq!(matrix.row(0), [0.0, 0.0]);
        assert_eq!(matrix.row(1), [0.0, 0.0]);
        assert_eq!(matrix.weights()[4..], [64, -127]);
    }

    #[test]
    fn a_product_is_that_of_the_rows() {
        for columns in [1, 15, 16, 50] {
            let values: Vec<f32> = (0_u8..3)
                .flat_map(|row| {
                    let row = f32::from(row);
                    (0..columns).map(move |column| (column as f32 + row * 3.0).cos())
                })
                .collect();
            let matrix = Matrix::quantise(columns, &values);
            let vector: Vec<f32> = (0..columns).map(|n| 1.0 - n as f32 * 0.1).collect();
            let mut sums = [1.0, 2.0, 3.0];
            matrix.multiply_add(&vector, &mut sums);
            for (row, sum) in sums.into_iter().enumerate() {
                let product: f32 = matrix
                    .row(row)
                    .iter()
                    .zip(&vector)
                    .map(|(a, b)| a * b)
                    .sum();
                let expected = product + [1.0, 2.0, 3.0][row];
                assert!((sum - expected).abs() < 1e-4, "{sum} {expected}");
            }
        }
    }
}
