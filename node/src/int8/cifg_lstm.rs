//! The CIFG-LSTM of [`model`](crate::model), one word at a time, with 8-bit weights.

use super::matrix::Matrix;
use super::tensors::{Int8Error, Int8Weights};
use crate::vocabulary::Token;

/// See the network of the same name for the shapes; the formulas are the same.
#[derive(Debug)]
pub(super) struct CifgLstm {
    embedding: Matrix,
    input: Matrix,
    recurrent: Matrix,
    bias: Vec<f32>,
    projection: Matrix,
    output_bias: Option<Vec<f32>>,
}

/// What the network knows of the words read so far.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    cell: Vec<f32>,
    projected: Vec<f32>,
}

impl CifgLstm {
    pub(super) fn new(mut weights: Int8Weights) -> Result<Self, Int8Error> {
        Ok(Self {
            embedding: weights.take_matrix("embedding")?,
            input: weights.take_matrix("cell_input")?,
            recurrent: weights.take_matrix("cell_recurrent")?,
            bias: weights.take_vector("cell_bias")?,
            projection: weights.take_matrix("projection")?,
            output_bias: weights.take_vector("output_bias").ok(),
        })
    }

    /// Before any word, `<begin>` included.
    pub(super) fn start(&self) -> State {
        State {
            cell: vec![0.0; self.projection.columns()],
            projected: vec![0.0; self.projection.rows()],
        }
    }

    /// One step. A number that no word has changes nothing.
    pub(super) fn read(&self, state: &mut State, token: Token) {
        let token = token as usize;
        if token >= self.embedding.rows() {
            return;
        }
        let word = self.embedding.row(token);
        let mut gates = self.bias.clone();
        self.input.multiply_add(&word, &mut gates);
        self.recurrent.multiply_add(&state.projected, &mut gates);
        let units = state.cell.len();
        let (forget, gates) = gates.split_at(units);
        let (output, candidate) = gates.split_at(units);
        let mut hidden = Vec::with_capacity(units);
        for unit in 0..units {
            let forget = sigmoid(forget[unit]);
            let cell = forget * state.cell[unit] + (1.0 - forget) * candidate[unit].tanh();
            state.cell[unit] = cell;
            hidden.push(sigmoid(output[unit]) * cell.tanh());
        }
        state.projected.fill(0.0);
        self.projection.multiply_add(&hidden, &mut state.projected);
    }

    /// A score for every word of the vocabulary.
    pub(super) fn scores(&self, state: &State) -> Vec<f32> {
        let mut scores = match &self.output_bias {
            Some(bias) => bias.clone(),
            None => vec![0.0; self.embedding.rows()],
        };
        self.embedding.multiply_add(&state.projected, &mut scores);
        scores
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}
