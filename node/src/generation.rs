//! Continues a phrase, and suggests next words with their probabilities.

use serde::Serialize;

use crate::model::Model;
use crate::vocabulary::{BEGIN, END, FIRST_ANSWER, Token, Vocabulary};

/// A next word and how probable it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suggestion {
    /// The word; `<end>` for the end of the message.
    pub word: String,
    /// Its probability, among all words that can be suggested.
    pub probability: f64,
}

/// A phrase, continued.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Completion {
    /// The phrase as it was given.
    pub phrase: String,
    /// The words that follow, each the most probable one, up to the end of the message.
    pub continuation: String,
    /// The most probable next words after the phrase, best first.
    pub suggestions: Vec<Suggestion>,
}

/// Continues a phrase greedily by up to `max_words` words, and gives the `top` best next words.
///
/// Padding, unknown and begin are never suggested.
#[must_use]
pub fn complete(
    model: &Model,
    vocabulary: &Vocabulary,
    phrase: &str,
    max_words: usize,
    top: usize,
) -> Completion {
    let mut tokens = vec![BEGIN];
    tokens.extend(vocabulary.tokens(phrase));
    let suggestions = ranked(model, &tokens, top)
        .into_iter()
        .map(|(token, probability)| Suggestion {
            word: vocabulary.word(token).unwrap_or_default().to_owned(),
            probability,
        })
        .collect();
    let mut words = Vec::new();
    while words.len() < max_words {
        let Some(&(token, _)) = ranked(model, &tokens, 1).first() else {
            break;
        };
        if token == END {
            break;
        }
        tokens.push(token);
        words.extend(vocabulary.word(token));
    }
    Completion {
        phrase: phrase.to_owned(),
        continuation: join(&words),
        suggestions,
    }
}

fn ranked(model: &Model, tokens: &[Token], top: usize) -> Vec<(Token, f64)> {
    let mut candidates: Vec<(Token, f64)> = (0..)
        .zip(model.next_log_probabilities(tokens))
        .filter(|(token, _)| *token >= FIRST_ANSWER)
        .map(|(token, logarithm)| (token, f64::from(logarithm).exp()))
        .collect();
    let sum: f64 = candidates.iter().map(|(_, probability)| probability).sum();
    candidates.sort_by(|(left, left_p), (right, right_p)| {
        right_p.total_cmp(left_p).then_with(|| left.cmp(right))
    });
    candidates.truncate(top);
    for (_, probability) in &mut candidates {
        *probability /= sum;
    }
    candidates
}

/// Joins words as one writes them: no space before a closing sign.
fn join(words: &[&str]) -> String {
    let mut text = String::new();
    for word in words {
        if !text.is_empty() && !matches!(*word, "." | "," | "!" | "?" | ":" | ";" | ")") {
            text.push(' ');
        }
        text.push_str(word);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ModelDescription, Sizes, Weights};
    use crate::training::{TrainingTask, train};
    use crate::vocabulary::TokenizedText;
    use secagg_learning::{Budget, LocalOptimizer, TrainingPlan};
    use std::ops::ControlFlow;

    #[test]
    fn a_learnt_phrase_is_continued_to_its_end() {
        tch::set_num_threads(1);
        let messages = ["see you at the station!", "are you home", "call me x later"];
        let vocabulary =
            Vocabulary::from_text(messages.map(|m| m.trim_end_matches("x later")), 40).unwrap();
        let words = u32::try_from(vocabulary.len()).unwrap();
        let sizes = Sizes {
            vocabulary: words,
            embedding: 12,
            units: 16,
            output_bias: true,
        };
        let description = ModelDescription::cifg_lstm(sizes, 1).unwrap();
        let initial = Weights::initial(&description);
        let mut model = Model::new(&description, &initial).unwrap();
        let text = TokenizedText::new(&vocabulary, messages, 29);
        let plan = TrainingPlan {
            budget: Budget::Epochs(80),
            batch: 3,
            optimizer: LocalOptimizer::Adam { rate: 0.02 },
            gradient_clip: 5.0,
            max_words: 29,
            ..TrainingPlan::DEFAULT
        };
        let task = TrainingTask::new(&plan, 1, [1; 32]);
        let mut go_on = |_| ControlFlow::Continue(());
        train(&mut model, initial.values(), &text, &task, &mut go_on).unwrap();
        let completion = complete(&model, &vocabulary, "See you", 12, 3);
        assert_eq!(completion.continuation, "at the station!");
        assert_eq!(completion.suggestions.len(), 3);
        assert_eq!(completion.suggestions[0].word, "at");
        assert!(completion.suggestions[0].probability > 0.5);
        let all = complete(&model, &vocabulary, "call me", 2, 99);
        assert!(
            all.suggestions
                .iter()
                .all(|s| !["<pad>", "<unk>", "<begin>"].contains(&&*s.word))
        );
        let sum: f64 = all.suggestions.iter().map(|s| s.probability).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    }
}
