//! Messages out of files: plain text, folders, JSON Lines, and the LEAF JSON layout; and labelled images
//! out of IDX files, each as a line of text.

mod idx;
mod jsonl;
mod leaf;
mod lines;

use std::fs;
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

pub use idx::{Idx, read_labelled};

/// One message, and who wrote it where the file says so.
pub struct Message {
    /// The author, for the formats that name one.
    pub user: Option<String>,
    /// The text; wiped from memory when dropped.
    pub text: Zeroizing<String>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The text is private: a log must not hold it.
        write!(formatter, "Message({} bytes)", self.text.len())
    }
}

/// How messages lie in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// By the file's ending: `.jsonl` and `.ndjson` are JSON Lines, `.json` is LEAF, all else is
    /// plain lines.
    #[default]
    Auto,
    /// One message a line; blank lines are skipped.
    Lines,
    /// One JSON object a line: `{"user": "…", "text": "…"}`; the user may be absent.
    Jsonl,
    /// One JSON object a file: `{"users": […], "user_data": {"…": {"x": […]}}}` (Caldas et al.
    /// 2018).
    Leaf,
    /// Images of unsigned bytes (LeCun et al. 1998); their labels are in a file of their own.
    Idx,
}

/// Why messages could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TextError {
    /// The file or folder could not be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is not UTF-8.
    #[error("{path}, line {line}: not UTF-8 text; convert the file, or leave it out")]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// A line of a JSON Lines file is not a message.
    #[error(
        "{path}, line {line}: {problem}; a line must be like {{\"user\": \"u1\", \"text\": \"hi\"}}"
    )]
    JsonLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A LEAF file is not of that layout.
    #[error(
        "{path}: {problem}; a LEAF file is like \
         {{\"users\": [\"u1\"], \"user_data\": {{\"u1\": {{\"x\": [\"hi\"]}}}}}}"
    )]
    Leaf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        problem: String,
    },
    /// A file is not of the IDX format, or not of images and labels.
    #[error("{path}: {problem}")]
    Idx {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Images in the IDX format have no labels in the same file.
    #[error("{path}: images in the IDX format need their labels: give that file with --labels")]
    NeedsLabels {
        /// The file of images.
        path: PathBuf,
    },
    /// A user was asked for, but the file names no users.
    #[error(
        "{path}: plain text names no users, so \"{user}\" cannot be picked out; use JSON Lines, or leave the user out"
    )]
    NamesNoUsers {
        /// The file.
        path: PathBuf,
        /// Who was asked for.
        user: String,
    },
    /// The user who was asked for wrote nothing there.
    #[error("{path}: no message by \"{user}\"; the file has {known}")]
    UnknownUser {
        /// The file or folder.
        path: PathBuf,
        /// Who was asked for.
        user: String,
        /// Some of those who are there.
        known: String,
    },
    /// There is no message at all.
    #[error("{path}: no message in it")]
    Empty {
        /// The file or folder.
        path: PathBuf,
    },
}

/// All messages in a file, or in all files of a folder, in order.
///
/// A folder is read recursively, sorted by name; hidden files are left out. With `user`, only that
/// user's messages are returned.
///
/// # Errors
/// A [`TextError`] that names the file, the line where there is one, and what is wrong with it;
/// also when there is no message at all.
pub fn read(path: &Path, format: Format, user: Option<&str>) -> Result<Vec<Message>, TextError> {
    let mut messages = Vec::new();
    for file in files_below(path)? {
        messages.append(&mut read_file(&file, format, user)?);
    }
    if messages.is_empty() {
        return Err(TextError::Empty {
            path: path.to_owned(),
        });
    }
    let Some(user) = user else {
        return Ok(messages);
    };
    let mut known: Vec<String> = messages.iter().filter_map(|m| m.user.clone()).collect();
    messages.retain(|message| message.user.as_deref() == Some(user));
    if messages.is_empty() {
        known.sort_unstable();
        known.dedup();
        return Err(TextError::UnknownUser {
            path: path.to_owned(),
            user: user.to_owned(),
            known: describe_users(&known),
        });
    }
    Ok(messages)
}

fn describe_users(known: &[String]) -> String {
    const SHOWN: usize = 5;
    match known {
        [] => "no user names".to_owned(),
        _ if known.len() <= SHOWN => known.join(", "),
        _ => format!(
            "{} and {} more",
            known[..SHOWN].join(", "),
            known.len() - SHOWN
        ),
    }
}

/// The file, or all files of the folder, as [`read`] goes through them.
pub(crate) fn files_below(path: &Path) -> Result<Vec<PathBuf>, TextError> {
    let io = |source| TextError::Io {
        path: path.to_owned(),
        source,
    };
    if !fs::metadata(path).map_err(io)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(io)? {
        let entry = entry.map_err(io)?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // A link to a folder could lead round in a circle.
        let is_link = entry.file_type().map_err(io)?.is_symlink();
        if is_link && entry.path().is_dir() {
            continue;
        }
        entries.push(entry.path());
    }
    entries.sort_unstable();
    let mut files = Vec::new();
    for entry in entries {
        files.append(&mut files_below(&entry)?);
    }
    Ok(files)
}

fn read_file(path: &Path, format: Format, user: Option<&str>) -> Result<Vec<Message>, TextError> {
    if format == Format::Idx {
        let path = path.to_owned();
        return Err(TextError::NeedsLabels { path });
    }
    let bytes = Zeroizing::new(fs::read(path).map_err(|source| TextError::Io {
        path: path.to_owned(),
        source,
    })?);
    let text = std::str::from_utf8(&bytes).map_err(|error| TextError::NotUtf8 {
        path: path.to_owned(),
        line: 1 + bytes[..error.valid_up_to()]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count(),
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match resolve(path, format) {
        Format::Jsonl => jsonl::parse(path, text),
        Format::Leaf => leaf::parse(path, text),
        Format::Lines | Format::Auto | Format::Idx => match user {
            Some(user) => Err(TextError::NamesNoUsers {
                path: path.to_owned(),
                user: user.to_owned(),
            }),
            None => Ok(lines::parse(text)),
        },
    }
}

fn resolve(path: &Path, format: Format) -> Format {
    if format != Format::Auto {
        return format;
    }
    let ending = path
        .extension()
        .and_then(|ending| ending.to_str())
        .unwrap_or_default();
    match ending.to_ascii_lowercase().as_str() {
        "jsonl" | "ndjson" => Format::Jsonl,
        "json" => Format::Leaf,
        _ => Format::Lines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(messages: &[Message]) -> Vec<&str> {
        messages
            .iter()
            .map(|message| message.text.as_str())
            .collect()
    }

    #[test]
    fn folders_are_read_in_order_of_names_without_hidden_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        fs::write(folder.path().join("b/inner.txt"), "second\n\n  \nthird\r\n").unwrap();
        fs::write(folder.path().join("a.txt"), "\u{feff}first").unwrap();
        fs::write(
            folder.path().join("c.jsonl"),
            "{\"user\":\"u\",\"text\":\"fourth\"}\n",
        )
        .unwrap();
        fs::write(folder.path().join(".hidden"), [0xff]).unwrap();
        let messages = read(folder.path(), Format::Auto, None).unwrap();
        assert_eq!(texts(&messages), ["first", "second", "third", "fourth"]);
    }

    #[test]
    fn a_user_is_picked_out_and_an_unknown_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.jsonl");
        fs::write(
            &path,
            "{\"user\":\"ann\",\"text\":\"one\"}\n{\"user\":\"bob\",\"text\":\"two\"}\n",
        )
        .unwrap();
        assert_eq!(
            texts(&read(&path, Format::Auto, Some("bob")).unwrap()),
            ["two"]
        );
        let error = read(&path, Format::Auto, Some("eve")).unwrap_err();
        assert!(
            matches!(&error, TextError::UnknownUser { user, known, .. } if user == "eve" && known == "ann, bob"),
            "{error}"
        );
    }

    #[test]
    fn plain_text_cannot_pick_a_user() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.txt");
        fs::write(&path, "hello").unwrap();
        let error = read(&path, Format::Auto, Some("eve")).unwrap_err();
        assert!(matches!(error, TextError::NamesNoUsers { .. }), "{error}");
    }

    #[test]
    fn bytes_that_are_not_utf8_name_their_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.txt");
        fs::write(&path, b"fine\nfine\nbad \xff here\n").unwrap();
        let error = read(&path, Format::Auto, None).unwrap_err();
        assert!(
            matches!(error, TextError::NotUtf8 { line: 3, .. }),
            "{error}"
        );
    }

    #[test]
    fn an_empty_file_and_a_missing_file_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.txt");
        let error = read(&path, Format::Auto, None).unwrap_err();
        assert!(matches!(error, TextError::Io { .. }), "{error}");
        fs::write(&path, "\n \n").unwrap();
        let error = read(&path, Format::Auto, None).unwrap_err();
        assert!(matches!(error, TextError::Empty { .. }), "{error}");
    }

    #[test]
    fn a_message_is_not_shown_by_debug() {
        let message = Message {
            user: None,
            text: Zeroizing::new("a secret".to_owned()),
        };
        assert_eq!(format!("{message:?}"), "Message(8 bytes)");
    }
}
