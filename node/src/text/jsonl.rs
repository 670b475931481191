//! One JSON object a line.

use std::path::Path;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Message, TextError};

#[derive(Deserialize)]
struct Line {
    user: Option<String>,
    text: String,
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Message>, TextError> {
    let mut messages = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let line: Line = serde_json::from_str(line).map_err(|error| TextError::JsonLine {
            path: path.to_owned(),
            line: index + 1,
            problem: describe(&error),
        })?;
        let text = Zeroizing::new(line.text);
        if text.trim().is_empty() {
            continue;
        }
        messages.push(Message {
            user: line.user,
            text,
        });
    }
    Ok(messages)
}

/// serde counts every line of JSON Lines as line 1; the column alone is of use.
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let column = error.column();
    let problem = text.split(" at line ").next().unwrap_or_default();
    if column == 0 {
        problem.to_owned()
    } else {
        format!("{problem} at column {column}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(text: &str) -> (usize, String) {
        match parse(Path::new("f.jsonl"), text) {
            Err(TextError::JsonLine { line, problem, .. }) => (line, problem),
            other => panic!("expected a JsonLine error, not {other:?}"),
        }
    }

    #[test]
    fn objects_are_read_and_blank_ones_skipped() {
        let text =
            "{\"user\":\"a\",\"text\":\"hi \\u00e9\"}\n\n{\"text\":\"alone\"}\n{\"text\":\" \"}";
        let messages = parse(Path::new("f.jsonl"), text).unwrap();
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0].user.as_deref(), Some("a"));
        assert_eq!(messages[0].text.as_str(), "hi é");
        assert_eq!(messages[1].user, None);
    }

    #[test]
    fn a_bad_line_is_named_with_what_is_wrong() {
        let (line, problem) = failure("{\"text\":\"hi\"}\n{\"user\":\"a\"}\n");
        assert_eq!(line, 2);
        assert!(problem.contains("missing field `text`"), "{problem}");
        let (line, problem) = failure("{\"text\":\"hi\"}\n\n{\"text\": 5}\n");
        assert_eq!(line, 3);
        assert!(problem.contains("expected a string"), "{problem}");
        let (line, problem) = failure("hello\n");
        assert_eq!(line, 1);
        assert!(problem.contains("column 1"), "{problem}");
    }
}
