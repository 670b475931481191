//! Messages as numbers, in one piece of memory.

use zeroize::Zeroize;

use super::{BEGIN, END, Token, UNKNOWN, Vocabulary};

/// Messages as numbers: `<begin>`, up to so many words, `<end>`. Wiped when dropped.
pub struct TokenizedText {
    tokens: Vec<Token>,
    /// Where each message starts in `tokens`, and, last, where the last one ends.
    starts: Vec<usize>,
}

impl std::fmt::Debug for TokenizedText {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "TokenizedText({} messages)", self.len())
    }
}

impl Drop for TokenizedText {
    fn drop(&mut self) {
        self.tokens.zeroize();
    }
}

impl TokenizedText {
    /// The first `max_words` words (or characters) of each message; messages without any are left out.
    #[must_use]
    pub fn new<'a>(
        vocabulary: &Vocabulary,
        messages: impl IntoIterator<Item = &'a str>,
        max_words: usize,
    ) -> Self {
        let mut text = Self {
            tokens: Vec::new(),
            starts: vec![0],
        };
        for message in messages {
            text.tokens.push(BEGIN);
            let mut words = 0;
            vocabulary.for_each_token(message.trim(), |token| {
                if words < max_words {
                    text.tokens.push(token);
                    words += 1;
                }
            });
            if words == 0 {
                text.tokens.pop();
                continue;
            }
            text.tokens.push(END);
            text.starts.push(text.tokens.len());
        }
        text
    }

    /// How many messages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there is no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many tokens a model has to predict: all but each message's `<begin>`.
    #[must_use]
    pub fn targets(&self) -> usize {
        self.tokens.len() - self.len()
    }

    /// One message, from `<begin>` to `<end>`.
    ///
    /// # Panics
    /// When `index` is not below [`TokenizedText::len`].
    #[must_use]
    pub fn message(&self, index: usize) -> &[Token] {
        &self.tokens[self.starts[index]..self.starts[index + 1]]
    }

    /// The token that is most often the right answer, and how often it is; an unknown word is no
    /// right answer. The smaller number wins a tie.
    #[must_use]
    pub fn most_frequent_target(&self) -> Option<(Token, u64)> {
        let mut counts = std::collections::BTreeMap::new();
        for &token in &self.tokens {
            if token != BEGIN && token != UNKNOWN {
                *counts.entry(token).or_insert(0_u64) += 1;
            }
        }
        counts
            .into_iter()
            .max_by_key(|&(token, count)| (count, std::cmp::Reverse(token)))
    }

    /// How often `token` is the right answer.
    #[must_use]
    pub fn count(&self, token: Token) -> u64 {
        self.tokens
            .iter()
            .filter(|&&candidate| candidate == token)
            .count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(messages: &[&str], max_words: usize) -> TokenizedText {
        let vocabulary = Vocabulary::from_text(["a a a b b c"], 7).unwrap();
        TokenizedText::new(&vocabulary, messages.iter().copied(), max_words)
    }

    #[test]
    fn messages_begin_and_end_and_are_cut() {
        let text = text(&["a b x", "  ", "c c c c"], 3);
        assert_eq!(text.len(), 2);
        assert_eq!(text.message(0), [BEGIN, 4, 5, UNKNOWN, END]);
        assert_eq!(text.message(1), [BEGIN, 6, 6, 6, END]);
        assert_eq!(text.targets(), 8);
    }

    #[test]
    fn characters_are_cut_and_blank_messages_left_out() {
        let units = crate::vocabulary::TextUnits::Characters;
        let vocabulary = Vocabulary::of(units, ["a a b"], 20).unwrap();
        let text = TokenizedText::new(&vocabulary, [" \n\t", " a bx ", "abbbbbb"], 4);
        assert_eq!(text.len(), 2);
        assert_eq!(text.message(0), [BEGIN, 5, 4, 6, UNKNOWN, END]);
        assert_eq!(text.message(1), [BEGIN, 5, 6, 6, 6, END]);
    }

    #[test]
    fn the_most_frequent_target_is_never_begin_or_unknown() {
        let text = text(&["x", "x y", "x a", "z a"], 29);
        assert_eq!(text.most_frequent_target(), Some((END, 4)));
        assert_eq!(text.count(4), 2);
        assert_eq!(self::text(&[], 29).most_frequent_target(), None);
    }
}
