//! From files to the text of virtual clients.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::SimulateError;
use super::experiment::{ModelSource, Split, TextSource};
use super::randomness::{Purpose, rng};
use super::split;
use crate::examples::{self, Examples, class, is_example};
use crate::model::{
    DescriptionError, INITIAL_FILE, ModelDescription, ModelError, ModelFiles, ModelKind, Task,
    Weights,
};
use crate::store::HELD_OUT_EVERY;
use crate::text::{self, Format, TextError};
use crate::vocabulary::{TextUnits, Tokenization};

/// Where the paths of an experiment begin.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The folder of the experiment's file, for models.
    pub experiment: &'a Path,
    /// The folder of the data, for text.
    pub data: &'a Path,
}

/// The examples of all clients, as numbers.
#[derive(Debug)]
pub(super) struct Corpus {
    /// One for each client; none is empty.
    pub(super) clients: Vec<Examples>,
    pub(super) validation: Examples,
}

/// Messages of one person, in order.
type People = BTreeMap<String, Vec<Zeroizing<String>>>;

impl Corpus {
    pub(super) fn read(
        source: &TextSource,
        files: &ModelFiles,
        max_words: usize,
        seed: u32,
        places: Places<'_>,
    ) -> Result<Self, SimulateError> {
        let mut people = read_people(&source.train, places.data)?;
        let validation: Vec<_> = if source.validation.is_empty() {
            people.values_mut().flat_map(hold_out).collect()
        } else {
            let people = read_people(&source.validation, places.data)?;
            people.into_values().flatten().collect()
        };
        // A client must not be dealt messages in which there is no word.
        let (task, vocabulary) = (files.description.task(), &files.vocabulary);
        for messages in people.values_mut() {
            messages.retain(|message| is_example(task, vocabulary, message));
        }
        people.retain(|_, messages| !messages.is_empty());
        let examples = |lines: &[&str]| Examples::new(files, lines.iter().copied(), max_words);
        let messages = || people.values().flatten().map(|message| message.as_str());
        let deal = |dealt: Vec<Vec<usize>>| {
            let all: Vec<&str> = messages().collect();
            let text_of = |own: Vec<usize>| {
                let own: Vec<&str> = own.into_iter().map(|message| all[message]).collect();
                examples(&own)
            };
            dealt.into_iter().map(text_of).collect::<Result<_, _>>()
        };
        let total = messages().count();
        let enough = |clients: u32| match clients as usize <= total {
            true => Ok(()),
            false => Err(SimulateError::TooFewMessages {
                clients,
                messages: total,
            }),
        };
        let mut rng = rng(seed, Purpose::Split, 0, 0);
        let clients: Vec<Examples> = match source.split {
            Split::Person => people
                .values()
                .map(|own| {
                    let own: Vec<&str> = own.iter().map(|message| message.as_str()).collect();
                    examples(&own)
                })
                .collect::<Result<_, _>>()?,
            Split::Mixture { clients, alpha } => {
                enough(clients)?;
                let labels: Vec<u32> = match task {
                    Task::NextToken | Task::SequenceToSequence => (0..)
                        .zip(people.values())
                        .flat_map(|(person, own)| std::iter::repeat_n(person, own.len()))
                        .collect(),
                    Task::Classification => {
                        messages().map(|line| class(vocabulary, line)).collect()
                    }
                };
                deal(split::mixture(&labels, clients, alpha, &mut rng))?
            }
            Split::Sizes { clients, alpha } => {
                enough(clients)?;
                deal(split::sizes(total, clients, alpha, &mut rng))?
            }
        };
        let validation: Vec<&str> = validation.iter().map(|message| message.as_str()).collect();
        Ok(Self {
            clients,
            validation: examples(&validation)?,
        })
    }
}

/// The model of an experiment, with its initial weights.
pub(super) fn model(
    source: &ModelSource,
    places: Places<'_>,
) -> Result<(ModelFiles, Weights), SimulateError> {
    match source {
        ModelSource::Folder(folder) => {
            let folder = places.experiment.join(folder);
            let files = ModelFiles::read(&folder)?;
            let initial = files.read_weights(&folder.join(INITIAL_FILE))?;
            Ok((files, initial))
        }
        ModelSource::Made {
            vocabulary_from,
            description,
        } => {
            let people = read_people(vocabulary_from, places.data)?;
            let messages = people.values().flatten().map(|message| message.as_str());
            let most = description
                .get("vocabulary")
                .and_then(|most| most.as_integer());
            let most = most
                .and_then(|most| usize::try_from(most).ok())
                .ok_or(SimulateError::NoVocabularySize)?;
            let tokenization = match description.get("text") {
                None => TextUnits::default().into(),
                Some(text) => {
                    let text = text.clone().try_into();
                    text.map_err(|error| unreadable("text", &error))?
                }
            };
            let Tokenization::Units(units) = tokenization else {
                let problem = "text: a tokenizer is a file; make a model of it with `secagg-node \
                               init-model --tokenizer`, and name its folder as the model";
                let problem = problem.to_owned();
                return Err(ModelError::from(DescriptionError::Syntax { problem }).into());
            };
            let kind = description.get("kind").cloned();
            let kind = kind.ok_or_else(|| unwritten("kind"))?;
            let kind: ModelKind = kind
                .try_into()
                .map_err(|error| unreadable("kind", &error))?;
            let vocabulary = examples::vocabulary(kind.task(), units, messages, most);
            let vocabulary = vocabulary.map_err(ModelError::from)?;
            let mut description = description.clone();
            // There may be fewer words than that.
            let words = toml::Value::try_from(vocabulary.len());
            description.insert("vocabulary".to_owned(), words.map_err(unwritable)?);
            let text = toml::to_string(&description).map_err(unwritable)?;
            let description = ModelDescription::parse(&text).map_err(ModelError::from)?;
            let initial = Weights::initial(&description);
            Ok((ModelFiles::new(description, vocabulary)?, initial))
        }
    }
}

fn unreadable(field: &str, error: &toml::de::Error) -> ModelError {
    let problem = format!("{field}: {error}");
    DescriptionError::Syntax { problem }.into()
}

fn unwritten(field: &str) -> ModelError {
    let problem = format!("missing field `{field}`");
    DescriptionError::Syntax { problem }.into()
}

fn unwritable(error: toml::ser::Error) -> ModelError {
    let problem = error.to_string();
    DescriptionError::Syntax { problem }.into()
}

/// Messages by person: as the files say, or else by file.
fn read_people(paths: &[PathBuf], folder: &Path) -> Result<People, SimulateError> {
    let mut people = People::new();
    for path in paths {
        let path = folder.join(path);
        let mut found = false;
        for file in text::files_below(&path)? {
            let messages = match text::read(&file, Format::Auto, None) {
                // One of several files in a folder may be empty.
                Err(TextError::Empty { .. }) => continue,
                messages => messages?,
            };
            found = true;
            for message in messages {
                let person = message.user.unwrap_or_else(|| file.display().to_string());
                people.entry(person).or_default().push(message.text);
            }
        }
        if !found {
            return Err(TextError::Empty { path }.into());
        }
    }
    Ok(people)
}

/// Takes every tenth message away, as a node does when text is added to it.
fn hold_out(messages: &mut Vec<Zeroizing<String>>) -> Vec<Zeroizing<String>> {
    let mut held_out = Vec::new();
    let mut place = 0;
    messages.retain_mut(|message| {
        place += 1;
        let held = u64::is_multiple_of(place, HELD_OUT_EVERY);
        if held {
            held_out.push(std::mem::take(message));
        }
        !held
    });
    held_out
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::Sizes;
    use crate::vocabulary::Vocabulary;

    /// Two people in JSON Lines, one in a plain file.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let line =
            |user: &str, text: &str| format!("{{\"user\":\"{user}\",\"text\":\"{text}\"}}\n");
        let mut people = String::new();
        for _ in 0..10 {
            people += &line("ann", "see you at two");
            people += &line("bob", "no");
        }
        people += &line("eve", "\\u0007");
        fs::write(folder.path().join("people.jsonl"), people).unwrap();
        fs::write(folder.path().join("carl.txt"), "home at three\nyes\n").unwrap();
        folder
    }

    fn read(split: Split, validation: &[&str]) -> Result<Corpus, SimulateError> {
        let folder = folder();
        let source = TextSource {
            model: ModelSource::Folder(PathBuf::new()),
            train: ["people.jsonl", "carl.txt"].map(PathBuf::from).into(),
            validation: validation.iter().map(PathBuf::from).collect(),
            split,
        };
        let vocabulary = Vocabulary::from_text(["see you at two three home no yes"], 20).unwrap();
        let sizes = Sizes {
            vocabulary: u32::try_from(vocabulary.len()).unwrap(),
            embedding: 1,
            units: 1,
            output_bias: false,
        };
        let description = ModelDescription::cifg_lstm(sizes, 1).unwrap();
        let files = ModelFiles::new(description, vocabulary).unwrap();
        let places = Places {
            experiment: Path::new(""),
            data: folder.path(),
        };
        Corpus::read(&source, &files, 29, 1, places)
    }

    fn sizes(corpus: &Corpus) -> Vec<usize> {
        corpus.clients.iter().map(Examples::len).collect()
    }

    #[test]
    fn a_person_is_whom_the_file_names_or_the_file() {
        // The file's path comes first; who wrote no word is left out.
        let corpus = read(Split::Person, &["carl.txt"]).unwrap();
        assert_eq!(sizes(&corpus), [2, 10, 10]);
        assert_eq!(corpus.validation.len(), 2);
        assert_eq!(corpus.clients[1].targets(0), 5);
        assert_eq!(corpus.clients[2].targets(0), 2);
    }

    #[test]
    fn without_validation_files_every_tenth_message_is_held_out() {
        let corpus = read(Split::Person, &[]).unwrap();
        assert_eq!(sizes(&corpus), [2, 9, 9]);
        assert_eq!(corpus.validation.len(), 2);
    }

    #[test]
    fn all_messages_are_dealt_out() {
        let mixture = Split::Mixture {
            clients: 4,
            alpha: 0.1,
        };
        assert_eq!(sizes(&read(mixture, &["carl.txt"]).unwrap()), [6, 6, 5, 5]);
        let by_size = Split::Sizes {
            clients: 4,
            alpha: 0.1,
        };
        let dealt = sizes(&read(by_size, &["carl.txt"]).unwrap());
        assert_eq!((dealt.len(), dealt.iter().sum()), (4, 22));
        let too_many = Split::Sizes {
            clients: 23,
            alpha: 0.1,
        };
        assert!(matches!(
            read(too_many, &["carl.txt"]),
            Err(SimulateError::TooFewMessages {
                clients: 23,
                messages: 22
            })
        ));
    }

    #[test]
    fn missing_data_is_named() {
        let error = read(Split::Person, &["nowhere.jsonl"]).unwrap_err();
        assert!(error.to_string().contains("nowhere.jsonl"), "{error}");
    }
}
