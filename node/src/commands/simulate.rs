//! `simulate`: many virtual clients in one process, and pictures of what came out.

mod report;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use secagg_learning::Parts;
use secagg_wire::process::disable_core_dumps;

use self::report::Report;
use super::print_json;
use crate::progress::Progress;
use crate::simulate::results::{Results, RoundLine};
use crate::simulate::{Event, Experiment, Places, RESULTS_FILE, Simulation, plot};
use crate::training::slow_precision;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The experiment's file; with --plot, results or the folders that hold them.
    #[arg(required = true, num_args = 1.., value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The folder for results, weights and state. A run that is there already goes on [default: the
    /// experiment's name and `.results`, in the present folder].
    #[arg(long, value_name = "DIR", conflicts_with = "plot")]
    out: Option<PathBuf>,
    /// The folder that text is read from [default: that of the experiment's file].
    #[arg(long, value_name = "DIR", conflicts_with = "plot")]
    data: Option<PathBuf>,
    /// What the run is called in its results and in plots [default: the experiment's file].
    #[arg(long, value_name = "NAME", conflicts_with = "plot")]
    name: Option<String>,
    /// Another value for a key of the experiment, such as training.batch=8; can be given often.
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "plot")]
    settings: Vec<String>,
    /// Remove the results of an earlier run, and begin anew.
    #[arg(long, conflicts_with = "plot")]
    restart: bool,
    /// Draw results into this file (SVG) instead of running anything.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, conflicts_with = "plot")]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(plot) = &arguments.plot {
        return draw(&arguments.files, plot);
    }
    let [file] = arguments.files.as_slice() else {
        bail!(
            "{} files were given; one experiment runs at a time, and only --plot takes several",
            arguments.files.len()
        );
    };
    disable_core_dumps().context("core dumps cannot be switched off")?;
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the experiment {}", file.display()))?;
    let experiment = Experiment::parse_with(&text, &arguments.settings)
        .with_context(|| file.display().to_string())?;
    let stem = file.file_stem().unwrap_or(file.as_os_str());
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => stem.to_string_lossy().into_owned(),
    };
    let folder = file.parent().unwrap_or(Path::new(""));
    let out = match &arguments.out {
        Some(out) => out.clone(),
        None => PathBuf::from(format!("{name}.results")),
    };
    let places = Places {
        experiment: folder,
        data: arguments.data.as_deref().unwrap_or(folder),
    };
    let rounds = experiment.rounds.stopping.max_rounds;
    if let Some(slow) = slow_precision(experiment.plan(1, Parts::ALL)?.training()) {
        eprintln!("{name}: {slow}");
    }
    let mut simulation = Simulation::open(experiment, &name, places, &out, arguments.restart)?;
    let reason = carry_out(&mut simulation, rounds)?;
    let results = Results::read(&out.join(RESULTS_FILE))?;
    let report = Report::new(&results, reason, out);
    if arguments.json {
        return print_json(&report);
    }
    report.print();
    Ok(())
}

fn carry_out(simulation: &mut Simulation, rounds: u32) -> anyhow::Result<String> {
    let cohort = u64::from(simulation.header().cohort);
    let name = simulation.header().experiment.clone();
    let mut progress = Progress::new(&name, u64::from(rounds) * cohort);
    if simulation.completed() > 0 {
        eprintln!("{name}: goes on after round {}", simulation.completed());
        progress.start_at(u64::from(simulation.completed()) * cohort);
    }
    let mut figures = String::new();
    let finished = simulation.run(&mut |event| {
        let (round, clients) = match event {
            Event::Client { round, done } => {
                (round, u64::from(round - 1) * cohort + u64::from(done))
            }
            Event::Round(line) => {
                figures = describe(line).unwrap_or_else(|| std::mem::take(&mut figures));
                (line.round, u64::from(line.round) * cohort)
            }
        };
        progress.set(clients, || {
            format!("clients, round {round} of {rounds}{figures}")
        });
        ControlFlow::Continue(())
    })?;
    let reason = finished.sentence();
    progress.finish(&reason);
    Ok(reason)
}

/// The figures of a round that was evaluated.
fn describe(line: &RoundLine) -> Option<String> {
    let validation = line.validation?;
    let loss = validation
        .loss
        .map_or_else(|| "no number".to_owned(), |loss| format!("{loss:.3}"));
    Some(format!(
        "; after {}: loss {loss}, top-1 {:.2} %",
        line.round,
        100.0 * validation.top1
    ))
}

fn draw(files: &[PathBuf], plot: &Path) -> anyhow::Result<()> {
    let mut results = Vec::new();
    for file in files {
        let file = match file.is_dir() {
            true => file.join(RESULTS_FILE),
            false => file.clone(),
        };
        results.push(Results::read(&file)?);
    }
    plot::draw(&results, plot)?;
    println!("{}: {} experiments", plot.display(), results.len());
    Ok(())
}
