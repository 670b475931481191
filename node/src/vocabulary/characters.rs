//! A message's characters, as they are written: no change of case.

/// How a vocabulary spells the space. Everything else that it spells is a single character.
const SPACE: &str = "<space>";
/// How a vocabulary spells the end of a line.
const NEWLINE: &str = "<newline>";

/// Calls `each` with every character of a message, in order, as a vocabulary spells it. White space is
/// a space or the end of a line; other control characters are left out.
pub(super) fn for_each_character(message: &str, mut each: impl FnMut(&str)) {
    for (index, character) in message.char_indices() {
        match character {
            '\n' => each(NEWLINE),
            '\r' => {}
            _ if character.is_whitespace() => each(SPACE),
            _ if character.is_control() => {}
            _ => each(&message[index..index + character.len_utf8()]),
        }
    }
}

/// Says what is wrong with a line of a vocabulary of characters.
pub(super) fn check(line: &str) -> Result<(), &'static str> {
    let mut characters = line.chars();
    let one = match (characters.next(), characters.next()) {
        (None, _) => return Err("the line is empty"),
        (Some(one), None) => one,
        _ if line == SPACE || line == NEWLINE => return Ok(()),
        _ => {
            return Err(
                "not a single character; a space is written <space>, a line's end <newline>",
            );
        }
    };
    if one.is_whitespace() {
        return Err("white space is written <space> or <newline>");
    }
    if one.is_control() {
        return Err("a control character in it");
    }
    Ok(())
}

/// What is written.
pub(super) fn join<'a>(tokens: impl Iterator<Item = &'a str>) -> String {
    let written = tokens.map(|token| match token {
        SPACE => " ",
        NEWLINE => "\n",
        _ => token,
    });
    written.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn characters(message: &str) -> Vec<String> {
        let mut characters = Vec::new();
        for_each_character(message, |character| characters.push(character.to_owned()));
        characters
    }

    #[test]
    fn white_space_is_a_space_or_a_lines_end() {
        assert_eq!(
            characters("A\té\u{a0}你\r\nx\u{1b}<"),
            ["A", "<space>", "é", "<space>", "你", "<newline>", "x", "<"]
        );
        assert_eq!(characters(""), [""; 0]);
    }

    #[test]
    fn lines_are_single_characters() {
        for line in ["a", "É", "你", "<", "\\", "<space>", "<newline>", "\u{301}"] {
            assert_eq!(check(line), Ok(()), "{line:?}");
        }
        for (line, hint) in [
            ("", "empty"),
            ("ab", "single"),
            ("<end>", "single"),
            (" ", "<space>"),
            ("\u{2028}", "<space>"),
            ("\u{1b}", "control"),
        ] {
            let problem = check(line).unwrap_err();
            assert!(problem.contains(hint), "{line:?}: {problem}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_comes_back(message in "[ -~\nà-ž]{0,40}") {
            let spelt = characters(&message);
            proptest::prop_assert_eq!(join(spelt.iter().map(String::as_str)), message);
            for character in spelt {
                proptest::prop_assert_eq!(check(&character), Ok(()));
            }
        }
    }
}
