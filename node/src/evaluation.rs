//! Loss and accuracy of a model on examples that it was not trained on.

use serde::Serialize;
use tch::Tensor;
use tch::kind::Element;

use crate::examples::Examples;
use crate::generation::Predictor;
use crate::model::{Batch, Model, Task};
use crate::personal::Personal;
use crate::vocabulary::{Token, TokenizedText};

/// Sums over all predictions: of every token, each message's end included, or of every image's label.
/// What follows says tokens for both.
///
/// The loss is over the whole vocabulary. Answers are ranked as a user sees them: `<pad>`, `<unk>`
/// and `<begin>` are no answers, and a word outside the vocabulary is a token that no answer gets
/// right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Evaluation {
    /// The sum of −ln p of the right answers, in nats.
    pub loss_sum: f64,
    /// How often the right answer was the most probable word.
    pub top1: u64,
    /// How often the right answer was among the three most probable words.
    pub top3: u64,
    /// How many tokens there were.
    pub tokens: u64,
    /// Of pairs: how many targets were right throughout. Each right word is then the most probable one
    /// after the right ones before it, so that this is how often the greedy choice of words writes
    /// exactly the target.
    pub exact: u64,
    /// How many pairs there were; 0 for other examples.
    pub pairs: u64,
}

impl std::ops::AddAssign for Evaluation {
    fn add_assign(&mut self, other: Self) {
        self.loss_sum += other.loss_sum;
        self.top1 += other.top1;
        self.top3 += other.top3;
        self.tokens += other.tokens;
        self.exact += other.exact;
        self.pairs += other.pairs;
    }
}

impl Evaluation {
    /// Nats a token; 0 without tokens.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.share(self.loss_sum)
    }

    /// e to the loss.
    #[must_use]
    pub fn perplexity(&self) -> f64 {
        self.loss().exp()
    }

    /// The share of tokens for which the right answer was the most probable word.
    #[must_use]
    pub fn top1_rate(&self) -> f64 {
        self.share(self.top1 as f64)
    }

    /// The share of tokens for which the right answer was among the three most probable words.
    #[must_use]
    pub fn top3_rate(&self) -> f64 {
        self.share(self.top3 as f64)
    }

    /// The share of pairs whose target is written exactly; `None` without pairs.
    #[must_use]
    pub fn exact_rate(&self) -> Option<f64> {
        (self.pairs > 0).then(|| self.exact as f64 / self.pairs as f64)
    }

    /// Adds one prediction: all answers' scores, the logarithm of their exponentials' sum, and the right
    /// answer.
    fn add(&mut self, task: Task, scores: &[f32], log_sum: f32, target: usize) {
        self.add_ranked(task, scores, f64::from(log_sum - scores[target]), target);
    }

    /// Adds one prediction: what all answers are ranked by, the loss, and the right answer.
    fn add_ranked(&mut self, task: Task, ranked: &[f32], loss: f64, target: usize) {
        self.loss_sum += loss;
        let first = task.first_answer();
        if let Some(right) = target.checked_sub(first) {
            let rank = rank(&ranked[first..], right);
            self.top1 += u64::from(rank < 1);
            self.top3 += u64::from(rank < 3);
        }
        self.tokens += 1;
    }

    /// Adds a batch's pairs, if it is one of pairs: which of its predictions are right.
    fn add_pairs(&mut self, batch: &Batch, right: &[bool]) {
        let mut rest = right;
        for &length in batch.pair_lengths().unwrap_or_default() {
            let (pair, after) = rest.split_at(length);
            rest = after;
            self.pairs += 1;
            self.exact += u64::from(pair.iter().all(|&right| right));
        }
    }

    fn share(&self, sum: f64) -> f64 {
        if self.tokens == 0 {
            0.0
        } else {
            sum / self.tokens as f64
        }
    }
}

/// Numbers of one sort that are held at once, scores or what the widest layer makes: 16 MiB of them.
const SCORES: usize = 1 << 22;

/// Evaluates a model on all examples.
///
/// # Panics
/// When the examples are of another task than the model's.
#[must_use]
pub fn evaluate(model: &Model, examples: &Examples) -> Evaluation {
    // Messages of like length together: fewer steps altogether.
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(examples.targets(index)));
    let mut sum = Evaluation::default();
    in_batches(model, examples, &order, |batch| {
        let mut right = Vec::new();
        for_each_row(model, batch, |_, scores, log_sum, target| {
            let before = sum.top1;
            sum.add(model.description().task(), scores, log_sum, target);
            right.push(sum.top1 > before);
        });
        sum.add_pairs(batch, &right);
    });
    sum
}

/// Evaluates a model on all examples, alone and with a personal part beside it; where the examples are
/// no text there is none, and both are the same.
///
/// # Panics
/// When the examples are of another task than the model's.
#[must_use]
pub fn evaluate_personal(
    model: &Model,
    personal: &Personal,
    examples: &Examples,
) -> (Evaluation, Evaluation) {
    if examples.text().is_none() {
        let global = evaluate(model, examples);
        return (global, global);
    }
    let task = model.description().task();
    let (mut global, mut both) = (Evaluation::default(), Evaluation::default());
    let all: Vec<usize> = (0..examples.len()).collect();
    in_batches(model, examples, &all, |batch| {
        let before = batch.tokens().map(values::<i64>).unwrap_or_default();
        for_each_row(model, batch, |row, scores, log_sum, target| {
            global.add(task, scores, log_sum, target);
            let before = Token::try_from(before[row]).expect("it was a token before");
            let mut mixed: Vec<f32> = scores.iter().map(|x| (x - log_sum).exp()).collect();
            personal.mix(before, &mut mixed);
            both.add_ranked(task, &mixed, -f64::from(mixed[target]).ln(), target);
        });
    });
    (global, both)
}

/// Calls `work` with these examples, in this order, as many at once as are evaluated at once.
pub(crate) fn in_batches(
    model: &Model,
    examples: &Examples,
    indices: &[usize],
    mut work: impl FnMut(&Batch),
) {
    let most_positions = most_positions(model);
    let mut pending: Vec<usize> = Vec::new();
    let mut positions = 0;
    for &index in indices {
        let own = examples.positions(index);
        if positions > 0 && positions + own > most_positions {
            work(&examples.batch(&pending));
            pending.clear();
            positions = 0;
        }
        positions += own;
        pending.push(index);
    }
    if !pending.is_empty() {
        work(&examples.batch(&pending));
    }
}

/// How many predictions are made at once.
fn most_positions(model: &Model) -> usize {
    (SCORES / model.description().widths().widest).max(1)
}

/// Evaluates what predicts one word after the other on all messages.
#[must_use]
pub fn evaluate_word_by_word(predictor: &impl Predictor, text: &TokenizedText) -> Evaluation {
    let mut sum = Evaluation::default();
    for message in 0..text.len() {
        let mut state = predictor.begin();
        // The state is that after the message's first token, `<begin>`.
        for &target in &text.message(message)[1..] {
            let scores = predictor.log_probabilities(&state);
            sum.add(Task::NextToken, &scores, 0.0, target as usize);
            predictor.read(&mut state, target);
        }
    }
    sum
}

/// Calls `work` with each prediction's number, scores, the logarithm of their exponentials' sum, and the
/// right answer.
fn for_each_row(model: &Model, batch: &Batch, mut work: impl FnMut(usize, &[f32], f32, usize)) {
    let scores = tch::no_grad(|| model.logits(batch));
    let log_sums = values::<f32>(&scores.logsumexp([1].as_slice(), false));
    let targets = values::<i64>(batch.targets());
    let answers = scores.size()[1].unsigned_abs();
    let scores = values::<f32>(&scores);
    let rows = scores.chunks_exact(usize::try_from(answers).expect("all scores fit into memory"));
    for (index, ((row, log_sum), target)) in rows.zip(log_sums).zip(targets).enumerate() {
        let target = usize::try_from(target).expect("targets are counted from 0");
        work(index, row, log_sum, target);
    }
}

/// How many words come before the right one by score; among equal scores the earlier word does.
fn rank(scores: &[f32], right: usize) -> u32 {
    let (before, from) = scores.split_at(right);
    let count = |scores: &[f32], comes_before: fn(f32, f32) -> bool| {
        let comes_before = scores
            .iter()
            .map(|&score| u32::from(comes_before(score, from[0])));
        comes_before.sum::<u32>()
    };
    count(before, |score, right| score >= right) + count(from, |score, right| score > right)
}

pub(crate) fn values<T: Element + Copy + Default>(tensor: &Tensor) -> Vec<T> {
    let mut values = vec![T::default(); tensor.numel()];
    let length = values.len();
    tensor.copy_data(&mut values, length);
    values
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::examples::{Image, PIXELS};
    use crate::model::{ModelDescription, ModelFiles, Sizes, Weights};
    use crate::vocabulary::{UNKNOWN, Vocabulary};

    const WORDS: &str = "a a a a b b b c c d";

    fn model(output_bias: [f32; 8]) -> (Model, Vocabulary) {
        let sizes = Sizes {
            vocabulary: 8,
            embedding: 2,
            units: 3,
            output_bias: true,
        };
        let description = ModelDescription::cifg_lstm(sizes, 1).unwrap();
        let mut values = vec![0.0; description.parameters()];
        let mut offset = 0;
        for shape in description.shapes() {
            if shape.name == "output_bias" {
                values[offset..offset + 8].copy_from_slice(&output_bias);
            }
            offset += shape.elements();
        }
        let weights = Weights::new(&description, values).unwrap();
        let vocabulary = Vocabulary::from_text([WORDS], 8).unwrap();
        (Model::new(&description, &weights).unwrap(), vocabulary)
    }

    #[test]
    fn sums_equal_a_computation_by_hand() {
        // All other weights are zero: the scores are the bias at every position. Probabilities are
        // 1/16 for <pad> and <begin>, 1/8 for <end>, c and d, 1/4 for a, and so on.
        let probabilities =
            [0.0625, 0.03125, 0.0625, 0.125, 0.25, 0.1875, 0.15625, 0.125].map(f64::from);
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        #[expect(clippy::cast_possible_truncation, reason = "32 bits are enough here")]
        let (model, vocabulary) = model(probabilities.map(|p| p.ln() as f32));
        let text = TokenizedText::new(&vocabulary, ["a b x", "a c d d"], 3);
        // Targets: a b <unk> <end>, a c d <end>.
        let stepwise = evaluate_word_by_word(&model, &text);
        let found = evaluate(&model, &text.into());
        assert!((stepwise.loss_sum - found.loss_sum).abs() < 1e-5);
        assert_eq!((stepwise.top1, stepwise.top3), (found.top1, found.top3));
        assert_eq!(stepwise.tokens, found.tokens);
        let expected: f64 = [4, 5, 1, 3, 4, 6, 7, 3]
            .map(|t: usize| -probabilities[t].ln())
            .iter()
            .sum();
        assert!(
            (found.loss_sum - expected).abs() < 1e-5,
            "{} {expected}",
            found.loss_sum
        );
        assert_eq!((found.top1, found.top3, found.tokens), (2, 4, 8));
        assert!((found.top1_rate() - 0.25).abs() < 1e-12);
        assert!((found.top3_rate() - 0.5).abs() < 1e-12);
        assert!((found.perplexity() - (expected / 8.0).exp()).abs() < 1e-4);
    }

    #[test]
    fn an_unknown_word_is_never_right_even_when_it_is_predicted() {
        let mut bias = [0.0; 8];
        bias[UNKNOWN as usize] = 9.0;
        let (model, vocabulary) = model(bias);
        let text = TokenizedText::new(&vocabulary, ["x y z"], 29);
        let found = evaluate(&model, &text.into());
        // The end is right, as the first of the words that are answers.
        assert_eq!((found.top1, found.top3, found.tokens), (1, 1, 4));
    }

    #[test]
    fn equal_scores_are_not_all_right() {
        let (model, vocabulary) = model([0.0; 8]);
        let text = TokenizedText::new(&vocabulary, ["a b c d"], 29);
        let found = evaluate(&model, &text.into());
        assert_eq!((found.top1, found.top3, found.tokens), (1, 3, 5));
        assert!((found.loss() - 8_f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn many_batches_sum_up_to_one() {
        let (model, vocabulary) = model([0.0, 0.0, 0.0, 1.0, 2.0, 0.5, 0.0, 0.0]);
        let one = evaluate(
            &model,
            &TokenizedText::new(&vocabulary, ["a b c", "b"], 29).into(),
        );
        let repeated = std::iter::repeat_n(["a b c", "b"], 200_000).flatten();
        let many = evaluate(
            &model,
            &TokenizedText::new(&vocabulary, repeated, 29).into(),
        );
        assert_eq!(many.tokens, one.tokens * 200_000);
        assert_eq!(many.top1, one.top1 * 200_000);
        assert!((many.loss() - one.loss()).abs() < 1e-4);
    }

    /// All labels are answers, the first one too, where a language model has its special words.
    #[test]
    fn every_label_counts() {
        let architecture = crate::model::every_kind_of_images()[0];
        let description = ModelDescription::new(architecture, 1).unwrap();
        let mut values = vec![0.0; description.parameters()];
        let mut offset = 0;
        for shape in description.shapes() {
            if shape.name == "output_bias" {
                // The scores of any image.
                values[offset..offset + 5].copy_from_slice(&[4.0, 3.0, 2.0, 1.0, 0.0]);
            }
            offset += shape.elements();
        }
        let weights = Weights::new(&description, values).unwrap();
        let model = Model::new(&description, &weights).unwrap();
        let labels = ["0", "1", "2", "3", "4"].map(str::to_owned);
        let vocabulary = Vocabulary::of_labels(labels.to_vec()).unwrap();
        let files = ModelFiles::new(description, vocabulary).unwrap();
        let image = |label: &str| Image {
            label: Zeroizing::new(label.to_owned()),
            pixels: Zeroizing::new([7; PIXELS]),
        };
        let lines = ["0", "0", "2", "3", "4"].map(|label| image(label).to_line());
        let lines = lines.iter().map(|line| line.as_str());
        let found = evaluate(&model, &Examples::new(&files, lines, 29).unwrap());
        assert_eq!((found.top1, found.top3, found.tokens), (2, 3, 5));
        let log_sum = [4.0_f64, 3.0, 2.0, 1.0, 0.0]
            .map(f64::exp)
            .iter()
            .sum::<f64>()
            .ln();
        let expected = 5.0 * log_sum - (4.0 + 4.0 + 2.0 + 1.0);
        assert!((found.loss_sum - expected).abs() < 1e-5, "{found:?}");
    }

    #[test]
    fn no_text_gives_zeros() {
        let (model, vocabulary) = model([0.0; 8]);
        let found = evaluate(&model, &TokenizedText::new(&vocabulary, [], 29).into());
        assert_eq!(found, Evaluation::default());
        assert!(found.loss() == 0.0 && found.top1_rate() == 0.0);
    }
}
