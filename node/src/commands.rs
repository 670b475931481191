//! What a user types: one module a command.

mod add;
mod audit;
mod average;
mod credential;
mod digits;
mod distil;
mod eval;
mod generate;
mod init_model;
mod join;
mod model_source;
mod numbers;
mod pooled;
mod quantise;
mod run;
mod simulate;
mod suggest;
mod train_pooled;
mod train_tokenizer;
mod translate;

use std::num::NonZeroU16;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The device side of private federated training.
#[derive(Debug, Parser)]
#[command(name = "secagg-node", version)]
struct Arguments {
    /// Threads for training and evaluation; more than one only where one node has the machine to
    /// itself.
    #[arg(long, global = true, default_value = "1", value_name = "N")]
    threads: NonZeroU16,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a model from public text or labels: its description, vocabulary and initial weights.
    InitModel(init_model::Arguments),
    /// Add text or images to this node; it is kept encrypted and never leaves it.
    Add(add::Arguments),
    /// Join a federation with a token from its coordinator's operator.
    Join(join::Arguments),
    /// Keep the credential that the authority has signed for this node.
    Credential(credential::Arguments),
    /// Take part in training rounds.
    Run(run::Arguments),
    /// Show and check this node's receipts: what it did in which rounds.
    Audit(audit::Arguments),
    /// Average the weights after several rounds: often better than any of them.
    Average(average::Arguments),
    /// Draw digits, as people write them, to train a model that classifies images.
    Digits(digits::Arguments),
    /// Evaluate weights on held-out text or images.
    Eval(eval::Arguments),
    /// Continue a phrase, and suggest the next word.
    Generate(generate::Arguments),
    /// Turn texts into others, with an encoder and a decoder.
    Translate(translate::Arguments),
    /// Suggest words for a text that is being typed, as a keyboard does.
    Suggest(suggest::Arguments),
    /// Round weights to 8 bits, for suggestions on the device.
    Quantise(quantise::Arguments),
    /// Make examples for an encoder and a decoder: numbers, and how they are said.
    Numbers(numbers::Arguments),
    /// Train on the text of many people at once, to compare federated training with.
    TrainPooled(train_pooled::Arguments),
    /// Make a tokenizer of public text, for `init-model`.
    TrainTokenizer(train_tokenizer::Arguments),
    /// Train a student on public text with a teacher's predictions, to begin a federation with.
    Distil(distil::Arguments),
    /// Carry out an experiment with many virtual clients in this process, or draw its results.
    Simulate(simulate::Arguments),
}

/// Runs what the command line says.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    crate::model::set_threads(arguments.threads);
    let result = match arguments.command {
        Command::InitModel(arguments) => init_model::run(&arguments),
        Command::Add(arguments) => add::run(&arguments),
        Command::Join(arguments) => join::run(&arguments),
        Command::Credential(arguments) => credential::run(&arguments),
        Command::Run(command) => run::run(&command, arguments.threads),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Average(arguments) => average::run(&arguments),
        Command::Digits(arguments) => digits::run(&arguments),
        Command::Eval(arguments) => eval::run(&arguments),
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Translate(arguments) => translate::run(&arguments),
        Command::Suggest(arguments) => suggest::run(&arguments),
        Command::Quantise(arguments) => quantise::run(&arguments),
        Command::Numbers(arguments) => numbers::run(&arguments),
        Command::TrainPooled(arguments) => train_pooled::run(&arguments),
        Command::TrainTokenizer(arguments) => train_tokenizer::run(&arguments),
        Command::Distil(arguments) => distil::run(&arguments),
        Command::Simulate(arguments) => simulate::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a value as JSON on standard output.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
