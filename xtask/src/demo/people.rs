//! Whose text the nodes hold: twelve bundled people, or the busiest users of a corpus.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::workspace;

/// One person: one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    /// The node's name.
    pub(crate) name: String,
    /// A name for files and folders.
    pub(crate) slug: String,
    /// The messages.
    pub(crate) messages: PathBuf,
    /// Messages for evaluation alone; without them every tenth message is held out.
    pub(crate) held_out: Option<PathBuf>,
}

/// Everybody who takes part, and the text that the vocabulary is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct People {
    pub(crate) people: Vec<Person>,
    pub(crate) vocabulary_from: PathBuf,
    /// How messages lie in the vocabulary's file: the name of a `--format` of `secagg-node`.
    pub(crate) format: &'static str,
}

/// A line of a corpus.
#[derive(Debug, Serialize, Deserialize)]
struct Message {
    user: String,
    text: String,
}

impl People {
    /// The first `count` of the bundled people, by name.
    ///
    /// # Errors
    ///
    /// When there are not as many.
    pub(crate) fn bundled(count: usize) -> Result<Self> {
        let data = workspace::root().join("node").join("data");
        let folder = data.join("messages");
        let entries = fs::read_dir(&folder)
            .with_context(|| format!("cannot list the bundled people in {}", folder.display()))?;
        let mut files = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "txt") {
                files.push(path);
            }
        }
        files.sort();
        let bundled = files.len();
        ensure!(
            count <= bundled,
            "--nodes {count}: only {bundled} people are bundled; name a --corpus with more users"
        );
        let people = files.into_iter().take(count).map(|messages| {
            let stem = messages.file_stem().unwrap_or(messages.as_os_str());
            let name = stem.to_string_lossy().into_owned();
            Person {
                slug: name.clone(),
                name,
                messages,
                held_out: None,
            }
        });
        Ok(Self {
            people: people.collect(),
            vocabulary_from: data.join("public.txt"),
            format: "lines",
        })
    }

    /// The `count` users of a corpus with the most messages, busiest first, their messages each
    /// in a file of their own below `folder`.
    ///
    /// # Errors
    ///
    /// When a file is no corpus, has too few users, or cannot be split.
    pub(crate) fn of_corpus(
        corpus: &Path,
        validation: Option<&Path>,
        count: usize,
        folder: &Path,
    ) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut training: Vec<_> = read(corpus)?.into_iter().collect();
        let users = training.len();
        ensure!(
            count <= users,
            "--nodes {count}: {} has messages of {users} users",
            corpus.display()
        );
        // Stable: among equals the first by name.
        training.sort_by_key(|(_, messages)| std::cmp::Reverse(messages.len()));
        let held_out = validation.map(read).transpose()?;
        let mut people = Vec::new();
        for (place, (user, messages)) in (1..).zip(training.into_iter().take(count)) {
            let slug = slug(place, &user);
            let own = folder.join(format!("{slug}.jsonl"));
            write(&own, &messages)?;
            let held_out = match &held_out {
                None => None,
                Some(held_out) => {
                    let Some(messages) = held_out.get(&user) else {
                        bail!(
                            "{} has no message of {user}, who is among the {count} users with the \
                             most messages",
                            validation.unwrap_or(corpus).display()
                        );
                    };
                    let path = folder.join(format!("{slug}.held-out.jsonl"));
                    write(&path, messages)?;
                    Some(path)
                }
            };
            people.push(Person {
                name: user,
                slug,
                messages: own,
                held_out,
            });
        }
        Ok(Self {
            people,
            vocabulary_from: corpus.to_owned(),
            format: "jsonl",
        })
    }
}

/// Unique, and harmless in a path whatever the user's name is.
fn slug(place: u32, user: &str) -> String {
    let harmless = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let user: String = user.chars().take(24).map(harmless).collect();
    format!("{place:03}-{user}")
}

fn read(path: &Path) -> Result<BTreeMap<String, Vec<Message>>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut users = BTreeMap::<String, Vec<Message>>::new();
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let line = line.with_context(|| format!("cannot read {}", path.display()))?;
        if line.trim().is_empty() {
            continue;
        }
        let message: Message = serde_json::from_str(&line).with_context(|| {
            format!(
                "{}, line {number}: not of the form {{\"user\": …, \"text\": …}}",
                path.display()
            )
        })?;
        users.entry(message.user.clone()).or_default().push(message);
    }
    Ok(users)
}

fn write(path: &Path, messages: &[Message]) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let mut file = BufWriter::new(File::create(path).with_context(cannot)?);
    for message in messages {
        serde_json::to_writer(&mut file, message).with_context(cannot)?;
        file.write_all(b"\n").with_context(cannot)?;
    }
    file.flush().with_context(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus(folder: &Path, name: &str, users: &str) -> PathBuf {
        let path = folder.join(name);
        let lines = users.chars().map(|user| {
            let text = format!("hi \"{user}\"");
            serde_json::json!({ "user": user, "text": text }).to_string() + "\n"
        });
        fs::write(&path, lines.collect::<String>()).unwrap();
        path
    }

    #[test]
    fn twelve_people_are_bundled() {
        let people = People::bundled(12).unwrap();
        assert_eq!(people.people.len(), 12);
        assert_eq!(people.people[0].name, "amara");
        assert!(people.vocabulary_from.exists());
        let message = People::bundled(13).unwrap_err().to_string();
        assert!(message.contains("only 12 people are bundled"), "{message}");
    }

    #[test]
    fn the_busiest_users_get_a_file_each() {
        let folder = tempfile::tempdir().unwrap();
        let train = corpus(folder.path(), "train", "cabbacbd/");
        let validation = corpus(folder.path(), "validation", "abcd");
        let split = folder.path().join("split");
        let found = People::of_corpus(&train, Some(&validation), 3, &split).unwrap();
        let names: Vec<_> = found.people.iter().map(|person| &person.name[..]).collect();
        assert_eq!(names, ["b", "a", "c"]);
        let lines = |path: &Path| read(path).unwrap().remove("b").unwrap().len();
        assert_eq!(lines(&found.people[0].messages), 3);
        assert_eq!(lines(found.people[0].held_out.as_deref().unwrap()), 1);
        assert_eq!(found.vocabulary_from, train);
        let own = People::of_corpus(&train, None, 5, &split).unwrap();
        assert_eq!(own.people[4].held_out, None);
        assert_eq!(own.people[3].slug, "004--");
    }

    #[test]
    fn impossible_wishes_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let train = corpus(folder.path(), "train", "aab");
        let validation = corpus(folder.path(), "validation", "a");
        let split = |count, validation| {
            let found = People::of_corpus(&train, validation, count, folder.path());
            found.unwrap_err().to_string()
        };
        assert!(split(3, None).contains("has messages of 2 users"));
        assert!(split(2, Some(&validation)).contains("has no message of b"));
        fs::write(&train, "{\"user\":\"a\",\"text\":\"x\"}\n\n{}\n").unwrap();
        assert!(split(1, None).contains("line 3"));
    }
}
