//! One message a line.

use zeroize::Zeroizing;

use super::Message;

pub(super) fn parse(text: &str) -> Vec<Message> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| Message {
            user: None,
            text: Zeroizing::new(line.to_owned()),
        })
        .collect()
}
