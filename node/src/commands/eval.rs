//! `eval`: loss and accuracy on held-out text, pairs or images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use secagg_wire::process::disable_core_dumps;
use serde_json::{Value, json};

use super::model_source::{ModelSource, Weighted};
use super::print_json;
use crate::evaluation::{Evaluation, evaluate, evaluate_personal, evaluate_word_by_word};
use crate::examples::Examples;
use crate::generation::{Keyboard, Predictor};
use crate::model::{Model, ModelFiles, Task};
use crate::personal::Personal;
use crate::store::Store;
use crate::text::{self, Format, Message, TextError};
use crate::vocabulary::{Tokenization, TokenizedText, Vocabulary};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: ModelSource,
    /// Evaluate on this text, and not on the node's held-out messages.
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Labels of the text, which is a file of images in the IDX format.
    #[arg(long, value_name = "FILE", requires = "text", conflicts_with = "user")]
    labels: Option<PathBuf>,
    /// Take only this user's messages of the text.
    #[arg(long, requires = "text")]
    user: Option<String>,
    /// How messages lie in the text.
    #[arg(long, value_enum, default_value_t, requires = "text")]
    format: Format,
    /// Show the figures with a personal part, too: predictions interpolated with what the node's own
    /// training text says or, with --text, each user with what this FILE has of the same user.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "",
          conflicts_with_all = ["int8", "user"])]
    personal: Option<PathBuf>,
    /// Show the figures with the weights rounded to 8 bits, too, with sizes and the time that a
    /// keyboard's suggestion takes.
    #[arg(long)]
    int8: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    disable_core_dumps().context("core dumps cannot be switched off")?;
    if let Some(labels) = &arguments.labels {
        ensure!(
            matches!(arguments.format, Format::Auto | Format::Idx),
            "--labels {} goes with --format idx",
            labels.display()
        );
    }
    let (files, weighted, weights) = arguments.source.open_as(false)?;
    let most = files.vocabulary.tokenization().usual_most();
    let examples = if let Some(path) = &arguments.text {
        let messages = match &arguments.labels {
            None => text::read(path, arguments.format, arguments.user.as_deref())?,
            Some(labels) => text::read_labelled(path, labels)?,
        };
        let lines = messages.iter().map(|message| message.text.as_str());
        Examples::new(&files, lines, most).with_context(|| path.display().to_string())?
    } else {
        let directory = arguments.source.dir.as_deref();
        let directory = directory.context("no text: give --text, or the node's --dir")?;
        let stored = Store::open(directory)?.load()?;
        let lines = stored.held_out.iter().map(|line| line.as_str());
        Examples::new(&files, lines, most).context("the node's held-out messages")?
    };
    ensure!(
        !examples.is_empty(),
        "there is nothing held out to evaluate on{}; add text, pairs or images, or give --text",
        match examples.left_out() {
            0 => String::new(),
            pairs => format!(", because all {pairs} pairs are too long for the model"),
        }
    );
    let evaluation = match &weighted {
        Weighted::F32(model, _) => evaluate(model, &examples),
        Weighted::Int8(model, _) => evaluate_word_by_word(&**model, language(&examples)?),
    };
    let mut report = figures(&evaluation);
    let task = files.description.task();
    if task == Task::Classification {
        report["accuracy"] = report["top1"].clone();
    }
    report["weights"] = json!(weights);
    report["messages"] = json!(examples.len());
    if examples.left_out() > 0 {
        report["left_out"] = json!(examples.left_out());
    }
    let compared = if arguments.int8 {
        let text = language(&examples)?;
        let inference = inference(&weighted, &files.vocabulary, text);
        extend(&mut report, inference);
        let (_, rounded, _) = arguments.source.open_as(true)?;
        match (&weighted, &rounded) {
            (Weighted::F32(..), Weighted::Int8(model, _)) => {
                let mut int8 = figures(&evaluate_word_by_word(&**model, text));
                extend(
                    &mut int8,
                    self::inference(&rounded, &files.vocabulary, text),
                );
                Some(int8)
            }
            // The file holds int8 weights only.
            _ => None,
        }
    } else {
        None
    };
    let compared = match &arguments.personal {
        Some(path) => {
            let Weighted::F32(model, _) = &weighted else {
                bail!("a personal part is mixed into f32 weights only; these are of 8 bits");
            };
            ensure!(
                task == Task::NextToken,
                "only a language model's predictions have a personal part"
            );
            let own = personal(arguments, path, &files, model, &examples)?;
            Some(("personal", figures(&own)))
        }
        None => compared.map(|int8| ("int8", int8)),
    };
    if arguments.json {
        if let Some((name, figures)) = compared {
            report[name] = figures;
        }
        return print_json(&report);
    }
    println!("weights      {}", weights.display());
    match task {
        Task::NextToken => println!("messages     {}", examples.len()),
        Task::SequenceToSequence => {
            println!("pairs        {}", examples.len());
            if examples.left_out() > 0 {
                println!("left out     {} that are too long", examples.left_out());
            }
        }
        Task::Classification => println!("images       {}", examples.len()),
    }
    if task != Task::Classification {
        println!("tokens       {}", evaluation.tokens);
    }
    match &compared {
        Some(("int8", _)) => println!("{:23}f32       int8", ""),
        Some((name, _)) => println!("{:20}global {name:>10}", ""),
        None => {}
    }
    let rows = match task {
        Task::NextToken | Task::SequenceToSequence => &ROWS[..],
        Task::Classification => &IMAGE_ROWS,
    };
    for &(name, label, unit, factor, digits) in rows {
        let value = |figures: &Value| figures[name].as_f64().map(|value| factor * value);
        let Some(value_f32) = value(&report) else {
            continue;
        };
        let other = compared.as_ref().and_then(|(_, figures)| value(figures));
        let other = other.map_or_else(String::new, |other| format!(" {other:10.digits$}"));
        let row = format!("{label:13}{value_f32:.digits$}{other} {unit}");
        println!("{}", row.trim_end());
    }
    Ok(())
}

/// The figures with a personal part: of the node's own training text, or of each user's messages in a file.
fn personal(
    arguments: &Arguments,
    path: &Path,
    files: &ModelFiles,
    model: &Model,
    held_out: &Examples,
) -> anyhow::Result<Evaluation> {
    let most = files.vocabulary.tokenization().usual_most();
    let Some(text) = &arguments.text else {
        ensure!(
            path.as_os_str().is_empty(),
            "--personal takes no file without --text: the node's own training text is what counts"
        );
        let directory = arguments.source.dir.as_deref();
        let stored = Store::open(directory.context("no text: give the node's --dir")?)?.load()?;
        let lines = stored.training.iter().map(|line| line.as_str());
        let training = Examples::new(files, lines, most).context("the node's messages")?;
        return Ok(evaluate_personal(model, &Personal::new(model, &training), held_out).1);
    };
    ensure!(
        !path.as_os_str().is_empty(),
        "with --text, --personal needs a file: what the same users wrote before"
    );
    let [held_out, before] = [text, path].map(|file| by_user(file, arguments.format));
    let (held_out, before) = (held_out?, before?);
    let mut sum = Evaluation::default();
    for (user, messages) in &held_out {
        let examples = |messages: &[Message]| {
            let lines = messages.iter().map(|message| message.text.as_str());
            Examples::new(files, lines, most)
        };
        let own = before.get(user).map_or(&[][..], Vec::as_slice);
        let personal = Personal::new(model, &examples(own)?);
        sum += evaluate_personal(model, &personal, &examples(messages)?).1;
    }
    Ok(sum)
}

/// A file's messages by their users; all together where it names none.
fn by_user(
    path: &Path,
    format: Format,
) -> Result<BTreeMap<Option<String>, Vec<Message>>, TextError> {
    let mut users: BTreeMap<_, Vec<Message>> = BTreeMap::new();
    for message in text::read(path, format, None)? {
        users.entry(message.user.clone()).or_default().push(message);
    }
    Ok(users)
}

/// The text of a language model: what 8 bits are for.
fn language(examples: &Examples) -> anyhow::Result<&TokenizedText> {
    let text = examples.text();
    text.context("int8 weights are for language models only, and the model is another one")
}

/// Name in the report, label, unit, factor, digits after the point.
const ROWS: [(&str, &str, &str, f64, usize); 7] = [
    ("loss", "loss", "nats a token", 1.0, 4),
    ("perplexity", "perplexity", "", 1.0, 1),
    ("top1", "top-1", "%", 100.0, 2),
    ("top3", "top-3", "%", 100.0, 2),
    ("exact", "exact", "% of the targets", 100.0, 2),
    ("bytes", "size", "bytes of weights", 1.0, 0),
    (
        "suggestion_ms",
        "suggestion",
        "ms, the mean of one word after the other",
        1.0,
        3,
    ),
];

/// The rows of a model that classifies images.
const IMAGE_ROWS: [(&str, &str, &str, f64, usize); 3] = [
    ("accuracy", "accuracy", "%", 100.0, 2),
    ("top3", "top-3", "%", 100.0, 2),
    ("loss", "loss", "nats an image", 1.0, 4),
];

fn figures(evaluation: &Evaluation) -> Value {
    let mut figures = json!({
        "tokens": evaluation.tokens,
        "loss": evaluation.loss(),
        "perplexity": evaluation.perplexity(),
        "top1": evaluation.top1_rate(),
        "top3": evaluation.top3_rate(),
    });
    if let Some(exact) = evaluation.exact_rate() {
        figures["exact"] = json!(exact);
    }
    figures
}

/// What a model costs where it is used: bytes of weights, milliseconds a suggestion.
fn inference(weighted: &Weighted, vocabulary: &Vocabulary, text: &TokenizedText) -> Value {
    let (bytes, suggestion) = match weighted {
        Weighted::F32(model, bytes) => (bytes, suggestion_ms(&**model, vocabulary, text)),
        Weighted::Int8(model, bytes) => (bytes, suggestion_ms(&**model, vocabulary, text)),
    };
    json!({ "bytes": bytes, "suggestion_ms": suggestion })
}

/// Types up to this many words.
const TYPED: usize = 300;

/// Types the text's first messages, and measures how long three suggestions after each word take.
fn suggestion_ms(predictor: &impl Predictor, vocabulary: &Vocabulary, text: &TokenizedText) -> f64 {
    let mut keyboard = Keyboard::new(predictor, vocabulary);
    let (mut seconds, mut suggestions) = (0.0, 0_u32);
    let mut typed = String::new();
    'typing: for message in 0..text.len() {
        typed.clear();
        let [_, words @ .., _] = text.message(message) else {
            continue;
        };
        // Of a tokenizer's tokens several may be a word.
        let written = match vocabulary.tokenization() {
            Tokenization::Tokenizer => Some(vocabulary.join(words)),
            Tokenization::Units(_) => None,
        };
        let words: Vec<&str> = match &written {
            Some(text) => text.split_whitespace().collect(),
            // An unknown one stays unknown.
            None => words
                .iter()
                .filter_map(|&token| vocabulary.word(token))
                .collect(),
        };
        for word in words {
            typed.push_str(word);
            typed.push(' ');
            let started = Instant::now();
            keyboard.suggest(&typed, 3);
            seconds += started.elapsed().as_secs_f64();
            suggestions += 1;
            if suggestions as usize == TYPED {
                break 'typing;
            }
        }
    }
    1e3 * seconds / f64::from(suggestions.max(1))
}

fn extend(report: &mut Value, more: Value) {
    if let (Value::Object(report), Value::Object(more)) = (report, more) {
        report.extend(more);
    }
}
