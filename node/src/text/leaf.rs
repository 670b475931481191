//! The layout of LEAF (Caldas et al. 2018): one JSON object, samples by user.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Message, TextError};

#[derive(Deserialize)]
struct File {
    users: Vec<String>,
    user_data: BTreeMap<String, Samples>,
}

#[derive(Deserialize)]
struct Samples {
    x: Vec<Sample>,
}

/// A message is a string, or a list of words.
#[derive(Deserialize)]
#[serde(untagged)]
enum Sample {
    Text(String),
    Words(Vec<String>),
    Other(serde::de::IgnoredAny),
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Message>, TextError> {
    let error = |problem: String| TextError::Leaf {
        path: path.to_owned(),
        problem,
    };
    let mut file: File = serde_json::from_str(text).map_err(|cause| error(cause.to_string()))?;
    let mut messages = Vec::new();
    for user in file.users {
        let samples = file.user_data.remove(&user).ok_or_else(|| {
            error(format!(
                "user \"{user}\" is listed twice, or has no entry in user_data"
            ))
        })?;
        for (index, sample) in samples.x.into_iter().enumerate() {
            let text = match sample {
                Sample::Text(text) => Zeroizing::new(text),
                Sample::Words(words) => Zeroizing::new(words.join(" ")),
                Sample::Other(_) => {
                    return Err(error(format!(
                        "user \"{user}\", sample {} of x is neither a string nor a list of words",
                        index + 1
                    )));
                }
            };
            if !text.trim().is_empty() {
                messages.push(Message {
                    user: Some(user.clone()),
                    text,
                });
            }
        }
    }
    if let Some((user, _)) = file.user_data.first_key_value() {
        return Err(error(format!(
            "user \"{user}\" of user_data is not in the list of users"
        )));
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        match parse(Path::new("f.json"), text) {
            Err(TextError::Leaf { problem, .. }) => problem,
            other => panic!("expected a Leaf error, not {other:?}"),
        }
    }

    #[test]
    fn users_keep_the_order_of_the_list() {
        let text = r#"{"users":["b","a"],"num_samples":[1,2],
            "user_data":{"a":{"x":["one",["two","words"]],"y":[0,0]},"b":{"x":["zero"]}}}"#;
        let messages = parse(Path::new("f.json"), text).unwrap();
        let seen: Vec<_> = messages
            .iter()
            .map(|m| (m.user.as_deref().unwrap(), m.text.as_str()))
            .collect();
        assert_eq!(seen, [("b", "zero"), ("a", "one"), ("a", "two words")]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(problem("{\"users\":[").contains("line 1"));
        assert!(problem(r#"{"users":["a"]}"#).contains("user_data"));
        let absent = problem(r#"{"users":["a"],"user_data":{}}"#);
        assert!(absent.contains("\"a\""), "{absent}");
        let unlisted = problem(r#"{"users":[],"user_data":{"z":{"x":[]}}}"#);
        assert!(unlisted.contains("\"z\""), "{unlisted}");
        let number = problem(r#"{"users":["a"],"user_data":{"a":{"x":["hi",7]}}}"#);
        assert!(number.contains("sample 2"), "{number}");
    }
}
