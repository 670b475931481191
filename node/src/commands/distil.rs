//! `distil`: a student learns from a teacher's predictions on public text. What it ends with can be what
//! a federation begins with.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use secagg_wire::process::{Access, disable_core_dumps, write_atomic};

use super::model_source::read_model;
use super::pooled::report::{Figures, Teacher};
use super::pooled::{Options, Pooled};
use super::print_json;
use crate::evaluation::evaluate;
use crate::memory;
use crate::model::{Model, newest_weights};
use crate::training::{Distillation, Mixture};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The teacher's folder: a model with the student's vocabulary, of any kind for the same task.
    #[arg(long, value_name = "DIR")]
    teacher: PathBuf,
    /// The teacher's weights (safetensors), if not the newest in its folder.
    #[arg(long, value_name = "FILE")]
    teacher_weights: Option<PathBuf>,
    /// The student's folder, as init-model writes it; training starts from its initial weights.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Where to write the student's weights with the best validation top-1 (safetensors). Over the
    /// student's own initial.safetensors, they are what a federation of it begins with.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Files or folders with public messages to train on.
    #[arg(required = true, num_args = 1.., value_name = "FILE")]
    text: Vec<PathBuf>,
    /// How much the teacher counts beside the right answers, from 0 to 1.
    #[arg(long, default_value_t = 0.9)]
    share: f64,
    /// What scores are divided by before teacher and student are compared, 0.1 to 100: the higher, the
    /// more the teacher's less probable answers say.
    #[arg(long, default_value_t = 2.0)]
    temperature: f64,
    #[command(flatten)]
    options: Options,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    memory::prepare();
    disable_core_dumps().context("core dumps cannot be switched off")?;
    let mixture = Mixture::new(arguments.share, arguments.temperature)?;
    let files = read_model(&arguments.model)?;
    let teacher_files = read_model(&arguments.teacher)?;
    let path = match &arguments.teacher_weights {
        Some(path) => path.clone(),
        None => newest_weights(&arguments.teacher),
    };
    let weights = teacher_files
        .read_weights(&path)
        .with_context(|| format!("cannot use the teacher's weights {}", path.display()))?;
    let teacher = Model::new(&teacher_files.description, &weights)?;
    drop(weights);
    let distillation = Distillation::new(&teacher, &teacher_files, &files, mixture)?;

    let options = &arguments.options;
    let mut pooled = Pooled::read(&arguments.model, &files, &arguments.text, options)?;
    pooled.teacher = Some(distillation);
    let validation = Figures::from(&evaluate(&teacher, &pooled.validation));
    let (mut report, best) = pooled.train()?;
    report.teacher = Some(Teacher {
        kind: teacher_files.description.kind().as_str(),
        parameters: teacher_files.description.parameters(),
        share: arguments.share,
        temperature: arguments.temperature,
        validation,
    });
    if let Some(weights) = &best {
        write_atomic(&arguments.out, &weights.to_safetensors(), Access::Shared)
            .with_context(|| format!("cannot write {}", arguments.out.display()))?;
    }
    if options.json {
        print_json(&report)?;
    } else {
        report.print();
    }
    ensure!(
        best.is_some(),
        "no epoch came to its end, and {} was not written: give more time, or a lower rate",
        arguments.out.display()
    );
    Ok(())
}
