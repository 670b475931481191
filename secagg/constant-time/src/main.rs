//! A round with its secrets marked, to be run under valgrind:
//! `secagg-constant-time MODEL SECRET LEAK`, or `secagg-constant-time shamir`.

use std::{env, process::ExitCode};

use secagg::ThreatModel;
use secagg_constant_time::{
    leak::Leak,
    memcheck,
    round::{self, Done, Secret},
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Done<()> {
    if !memcheck::is_running() {
        return Err("this program does nothing without valgrind: start it with it".into());
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if words == ["shamir"] {
        return round::split_and_reconstruct();
    }
    let [model, secret, leak] = words[..] else {
        return Err("three arguments: model, secret, leak".into());
    };
    let model = match model {
        "malicious" => ThreatModel::Malicious,
        "honest" => ThreatModel::HonestButCurious,
        _ => return Err("the model is malicious or honest".into()),
    };
    let secret = match secret {
        "seeds" => Secret::Seeds,
        "inputs" => Secret::Inputs,
        _ => return Err("what is secret is seeds or inputs".into()),
    };
    let leak = match leak {
        "nothing" => Leak::Nothing,
        "look-up" => Leak::TableLookUp,
        "branch" => Leak::Branch,
        _ => return Err("what leaks is nothing, look-up or branch".into()),
    };
    round::run(model, secret, leak)
}
