//! Dropout (Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR
//! 2014): in training, numbers between two layers become 0 at random, so that none of them can rely on
//! another.
//!
//! Where each network has it:
//!
//! - recurrent networks: what the embedding reads, what goes from one layer to the next, and what is scored;
//!   not from one step to the next (Zaremba, Sutskever and Vinyals, "Recurrent neural network
//!   regularization", 2014);
//! - Transformers: what the embedding reads, and what attention and feed-forward networks add to the stream
//!   (Vaswani et al. 2017, section 5.4);
//! - networks of images: what the hidden layers make of them, but not the maps of the convolutions, where
//!   neighbours would tell what is missing.

use std::cell::RefCell;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tch::Tensor;

/// What falls out in a pass. Masks come from a generator of their own, not from libtorch's, which is one
/// for the whole process: the same training has the same masks, whatever else runs.
#[derive(Debug)]
pub(crate) struct Dropout(Option<Falling>);

#[derive(Debug)]
struct Falling {
    /// What is below it falls, of 2³² numbers.
    below: f64,
    /// What those that stay are multiplied by, 1/(1 − p): sums are as large on average as without.
    stays: f32,
    rng: RefCell<ChaCha20Rng>,
}

/// The stream of a training's seed that masks are taken from; its first one orders the examples.
const STREAM: u64 = 1;

impl Dropout {
    /// Nothing falls: evaluation.
    pub(crate) const NONE: Self = Self(None);

    /// Each number falls with this probability, 0 or more and below 1, in a training with this seed.
    pub(crate) fn new(probability: f32, seed: [u8; 32]) -> Self {
        if probability == 0.0 {
            return Self::NONE;
        }
        let mut rng = ChaCha20Rng::from_seed(seed);
        rng.set_stream(STREAM);
        Self(Some(Falling {
            below: f64::from(probability) * 2f64.powi(32),
            stays: 1.0 / (1.0 - probability),
            rng: RefCell::new(rng),
        }))
    }

    /// The tensor as the next layer sees it.
    pub(super) fn apply(&self, tensor: Tensor) -> Tensor {
        let Self(Some(falling)) = self else {
            return tensor;
        };
        let mut rng = falling.rng.borrow_mut();
        let mask: Vec<f32> = (0..tensor.numel())
            .map(|_| {
                let falls = f64::from(rng.next_u32()) < falling.below;
                if falls { 0.0 } else { falling.stays }
            })
            .collect();
        let mask = Tensor::from_slice(&mask).to_kind(tensor.kind());
        &tensor * mask.view_as(&tensor)
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::model::by_hand::{Hand, assert_close, masks, model, times};
    use crate::model::{
        Architecture, Batch, MlpSizes, StackSizes, every_kind, every_kind_of_images,
    };
    use crate::vocabulary::{BEGIN, END, Token};

    const SEED: [u8; 32] = [1; 32];

    #[test]
    fn so_many_fall_and_the_others_make_up_for_them() {
        let ones = Tensor::ones([400, 500], (Kind::Float, Device::Cpu));
        for probability in [0.2, 0.5, 0.9] {
            let dropout = Dropout::new(probability, SEED);
            let found = dropout.apply(ones.shallow_clone());
            let fallen = found.eq(0.0).sum(Kind::Float).double_value(&[]) / 200_000.0;
            let expected = f64::from(probability);
            // Four standard deviations of 200,000 draws are at most 0.0045.
            assert!(
                (fallen - expected).abs() < 0.0045,
                "{probability}: {fallen}"
            );
            let stays = 1.0 / (1.0 - expected);
            let largest = found.max().double_value(&[]);
            assert!((largest - stays).abs() < 1e-5, "{largest} {stays}");
            // No two masks of a training are the same, and two trainings with one seed have the same ones.
            assert!(!dropout.apply(ones.shallow_clone()).equal(&found));
            let again = Dropout::new(probability, SEED);
            assert!(again.apply(ones.shallow_clone()).equal(&found));
            let other = Dropout::new(probability, [2; 32]);
            assert!(!other.apply(ones.shallow_clone()).equal(&found));
        }
        let none = Dropout::new(0.0, SEED).apply(ones.shallow_clone());
        assert!(none.equal(&ones));
    }

    #[test]
    fn what_falls_has_no_gradient() {
        let ones = Tensor::ones([1_000], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let found = Dropout::new(0.25, SEED).apply(ones.shallow_clone());
        found.sum(Kind::Float).backward();
        assert!(ones.grad().equal(&found.detach()));
    }

    /// What is read, what goes up a layer and what is scored falls, what goes on to the next step does not.
    #[test]
    fn recurrent_layers_lose_what_goes_up() {
        const MESSAGE: [Token; 5] = [BEGIN, 5, 8, 4, END];
        let sizes = StackSizes {
            vocabulary: 9,
            embedding: 4,
            units: 5,
            layers: 2,
            output_bias: true,
        };
        let (model, weights) = model(Architecture::TanhRnn(sizes), |_, value| value * 1.5);
        let batch = Batch::messages(&mut [&MESSAGE]);
        let scores = model.training_logits(&batch, &Dropout::new(0.5, SEED));
        let found = Vec::<Vec<f32>>::try_from(scores).unwrap();
        let hand = Hand::new(&weights);
        let [read, up, scored] = masks(&Dropout::new(0.5, SEED), [[4, 4], [4, 5], [4, 4]]);
        let mut states = [vec![0.0; 5], vec![0.0; 5]];
        for (step, &token) in MESSAGE[..4].iter().enumerate() {
            let input = times(hand.row("embedding", token as usize), &read[step]);
            let tanh = |sums: Vec<f64>| sums.into_iter().map(f64::tanh).collect::<Vec<f64>>();
            states[0] = tanh(hand.gates("layer_00", &input, &states[0]));
            let input = times(&states[0], &up[step]);
            states[1] = tanh(hand.gates("layer_01", &input, &states[1]));
            let state = hand.product("projection", &states[1]);
            let expected = hand.scores(&times(&state, &scored[step]));
            assert_close(&found[step], &expected, &format!("step {step}"));
        }
    }

    #[test]
    fn hidden_layers_of_images_lose_units() {
        let sizes = MlpSizes {
            vocabulary: 9,
            units: 6,
            layers: 2,
        };
        let (model, weights) = model(Architecture::Mlp(sizes), |_, value| value + 0.02);
        let pixels: Vec<u8> = (0..=255).cycle().take(crate::examples::PIXELS).collect();
        let batch = Batch::images(&pixels, &[0]);
        let scores = model.training_logits(&batch, &Dropout::new(0.25, SEED));
        let found = Vec::<Vec<f32>>::try_from(scores).unwrap();
        let hand = Hand::new(&weights);
        let [first, second] = masks(&Dropout::new(0.25, SEED), [[1, 6], [1, 6]]);
        let mut state: Vec<f64> = pixels.iter().map(|&p| f64::from(p) / 255.0).collect();
        for (layer, mask) in [("layer_00", &first[0]), ("layer_01", &second[0])] {
            let sums = hand.dense(layer, &state).into_iter();
            state = times(&sums.map(|sum| sum.max(0.0)).collect::<Vec<_>>(), mask);
        }
        assert_close(&found[0], &hand.dense("output", &state), "the image");
    }

    /// In every network, and in evaluation in none.
    #[test]
    fn every_network_has_it_in_training_only() {
        for architecture in every_kind().into_iter().chain(every_kind_of_images()) {
            let (model, _) = model(architecture, |_, value| value + 0.01);
            let batch = match architecture {
                Architecture::Mlp(_) | Architecture::Cnn(_) => {
                    Batch::images(&[200; crate::examples::PIXELS], &[0])
                }
                Architecture::EncoderDecoder(_) => {
                    Batch::pairs(&mut [(&[4, 5, END], &[BEGIN, 5, 4, END])])
                }
                _ => Batch::messages(&mut [&[BEGIN, 4, 5, END]]),
            };
            let scores = model.logits(&batch);
            assert!(scores.equal(&model.logits(&batch)), "{architecture:?}");
            let passes = |seed| {
                let dropout = Dropout::new(0.5, [seed; 32]);
                [0, 1].map(|_| model.training_logits(&batch, &dropout))
            };
            let [first, second] = passes(1);
            assert!(!first.equal(&scores), "{architecture:?}");
            assert!(!first.equal(&second), "{architecture:?}");
            assert!(passes(1)[1].equal(&second), "{architecture:?}");
            let none = Dropout::new(0.0, SEED);
            assert!(model.training_logits(&batch, &none).equal(&scores));
        }
    }
}
