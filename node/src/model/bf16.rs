//! A copy of a model's weights in bf16, to compute a step with: mixed precision as in Micikevicius et al.,
//! "Mixed Precision Training", ICLR 2018, section 3.1. The model's own weights are the *masters*: the
//! optimiser changes them in f32, so that changes much smaller than a step of bf16 add up.
//!
//! The copy's gradient is handed over after each backward pass, and added up in f32. Within one pass
//! libtorch adds up in bf16 what comes from the several places where a tensor is used (the steps of a
//! recurrence, the embedding that reads and scores), as it does under PyTorch's autocast.

use tch::nn::VarStore;
use tch::{Device, Kind, Tensor, no_grad};

use super::{Batch, Dropout, Input, Model, Network, network};

/// The network of a model over a copy of its weights in bf16.
#[derive(Debug)]
pub(crate) struct Bf16Copy {
    network: Network,
    variables: Vec<Variable>,
}

#[derive(Debug)]
struct Variable {
    /// The model's own.
    master: Tensor,
    copy: Tensor,
}

impl Bf16Copy {
    /// A copy of a model; what is trained of the one is trained of the other.
    pub(crate) fn new(model: &Model) -> Self {
        let mut variables = VarStore::new(Device::Cpu);
        variables.set_kind(Kind::BFloat16);
        let network = network(&variables.root(), model.description.architecture());
        let mut copies = variables.variables();
        let masters = model.description.shapes().iter().zip(&model.ordered);
        let variables = masters.map(|(shape, master)| {
            let copy = copies.remove(&shape.name);
            let copy = copy.expect("networks of one architecture have the same variables");
            Variable {
                copy: copy.set_requires_grad(master.requires_grad()),
                master: master.shallow_clone(),
            }
        });
        let mut copy = Self {
            variables: variables.collect(),
            network,
        };
        copy.refresh();
        copy
    }

    /// Rounds the model's present weights to the nearest bf16.
    pub(crate) fn refresh(&mut self) {
        no_grad(|| {
            for Variable { master, copy } in &mut self.variables {
                copy.copy_(master);
            }
        });
    }

    /// Scores of every answer for each prediction of a batch, in f32: `[predictions, answers]`.
    ///
    /// # Panics
    /// When the batch is of another task's examples.
    pub(crate) fn logits(&self, batch: &Batch, dropout: &Dropout) -> Tensor {
        let scores = match batch.input() {
            Input::Images(images) => {
                let images = images.to_kind(Kind::BFloat16);
                self.network.logits(&Input::Images(images), dropout)
            }
            input @ (Input::Tokens { .. } | Input::Pairs(_)) => self.network.logits(input, dropout),
        };
        scores.to_kind(Kind::Float)
    }

    /// Adds the copy's gradients to those of the model's weights, and begins anew with the copy's.
    pub(crate) fn hand_over_gradients(&mut self) {
        for Variable { master, copy } in &mut self.variables {
            let gradient = copy.grad();
            if gradient.defined() {
                // The gradient of ⟨w, g⟩ is g: libtorch lets nobody set one, but adds this one.
                let gradient = no_grad(|| gradient.to_kind(Kind::Float));
                master
                    .flatten(0, -1)
                    .dot(&gradient.flatten(0, -1))
                    .backward();
                copy.zero_grad();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::Reduction;

    use super::*;
    use crate::examples::Examples;
    use crate::model::{Architecture, ModelDescription, ModelFiles, Task, Weights};
    use crate::vocabulary::Vocabulary;

    /// A model of this kind, with weights that are no multiples of anything, and some examples.
    fn setting(architecture: Architecture) -> (Model, Examples) {
        tch::set_num_threads(1);
        let description = ModelDescription::new(architecture, 1).unwrap();
        let model = Model::new(&description, &Weights::initial(&description)).unwrap();
        let (vocabulary, lines) = match description.task() {
            Task::NextToken => (
                Vocabulary::from_text(["a b c d e"], 9),
                vec!["a b c".to_owned(), "d e".to_owned(), "b".to_owned()],
            ),
            Task::SequenceToSequence => (
                Vocabulary::from_text(["a b c d e"], 9),
                vec!["a b\tc".to_owned(), "d\te a b".to_owned()],
            ),
            Task::Classification => {
                let sheet = crate::digits::Sheet {
                    seed: 1,
                    images: 4,
                    alpha: None,
                };
                let mut lines: Vec<String> = sheet
                    .person(0)
                    .iter()
                    .map(|image| image.to_line().to_string())
                    .collect();
                for (line, label) in lines.iter_mut().zip(["0", "1", "2", "3"]) {
                    let tab = line.find('\t').unwrap();
                    line.replace_range(..tab, label);
                }
                let labels = ["0", "1", "2", "3", "4"].map(str::to_owned);
                (Vocabulary::of_labels(labels.to_vec()), lines)
            }
        };
        let files = ModelFiles::new(description, vocabulary.unwrap()).unwrap();
        let examples = Examples::new(&files, lines.iter().map(String::as_str), 29).unwrap();
        (model, examples)
    }

    fn loss(scores: &Tensor, batch: &Batch) -> Tensor {
        scores.cross_entropy_loss::<Tensor>(batch.targets(), None, Reduction::Mean, -100, 0.0)
    }

    /// Every operator of every kind has a bf16 on this processor, forward and backward, and gives what
    /// the weights in f32 give, but for the rounding.
    #[test]
    fn each_kind_computes_in_bf16() {
        let images = crate::model::every_kind_of_images();
        for architecture in crate::model::every_kind().into_iter().chain(images) {
            let (model, examples) = setting(architecture);
            let all: Vec<usize> = (0..examples.len()).collect();
            let batch = examples.batch(&all);
            let mut copy = Bf16Copy::new(&model);
            let scores = [model.logits(&batch), copy.logits(&batch, &Dropout::NONE)];
            assert_eq!(scores[1].kind(), Kind::Float);
            let largest = scores[0].abs().max().double_value(&[]);
            let error = (&scores[0] - &scores[1]).abs().max().double_value(&[]);
            assert!(
                error > 0.0 && error < 0.05 * largest.max(1.0),
                "{architecture:?}: off by {error}, the largest score is {largest}"
            );
            let gradient = || -> Vec<Tensor> {
                let gradients = model.ordered.iter().map(|master| {
                    let gradient = master.grad().copy();
                    assert_eq!(gradient.kind(), Kind::Float);
                    gradient
                });
                gradients.collect()
            };
            loss(&scores[0], &batch).backward();
            let expected = gradient();
            model
                .ordered
                .iter()
                .for_each(|master| master.shallow_clone().zero_grad());
            // Two halves, added up.
            for _ in 0..2 {
                (loss(&copy.logits(&batch, &Dropout::NONE), &batch) * 0.5).backward();
                copy.hand_over_gradients();
            }
            let norm = |gradients: &[Tensor]| {
                let squares = gradients.iter().map(|g| g.square().sum(Kind::Double));
                squares.map(|sum| sum.double_value(&[])).sum::<f64>().sqrt()
            };
            let found = gradient();
            let off: Vec<Tensor> = found.iter().zip(&expected).map(|(f, e)| f - e).collect();
            let (off, norm) = (norm(&off), norm(&expected));
            assert!(
                off > 0.0 && off < 0.05 * norm,
                "{architecture:?}: off by {off}, the gradient's norm is {norm}"
            );
        }
    }

    /// Later passes do not count what was handed over.
    #[test]
    fn the_copy_keeps_no_gradient_and_follows_its_model() {
        let (mut model, examples) = setting(crate::model::every_kind()[0]);
        let batch = examples.batch(&[0, 1]);
        let mut copy = Bf16Copy::new(&model);
        loss(&copy.logits(&batch, &Dropout::NONE), &batch).backward();
        copy.hand_over_gradients();
        let once = model.ordered[0].grad().copy();
        copy.hand_over_gradients();
        assert!(once.equal(&model.ordered[0].grad()));
        let before = copy.logits(&batch, &Dropout::NONE);
        let doubled: Vec<f32> = model.to_flat().iter().map(|weight| 2.0 * weight).collect();
        model.load_flat(&doubled).unwrap();
        assert!(before.equal(&copy.logits(&batch, &Dropout::NONE)));
        copy.refresh();
        assert!(!before.equal(&copy.logits(&batch, &Dropout::NONE)));
    }
}
