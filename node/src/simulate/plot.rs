//! Pictures of results: loss and accuracy against rounds, against bytes and against computing time, several
//! experiments in one.

mod summary;

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use self::summary::Summary;
use super::SimulateError;
use super::results::{Results, RoundLine};

/// Draws the results into an SVG file of seven panels: top-1 accuracy and loss on the validation
/// text, over rounds, over the megabytes that a client would have sent that took part in every
/// round, and over the CPU seconds that all clients have trained for; and each experiment's best
/// accuracy over what a client sends in a round. Where the experiments' bytes differ much, their axis
/// is logarithmic; that of the last panel always is.
///
/// # Errors
/// [`SimulateError::Plot`] where no weights were ever evaluated, or where the file cannot be
/// written.
pub fn draw(results: &[Results], path: &Path) -> Result<(), SimulateError> {
    let failed = |problem: String| SimulateError::Plot {
        path: path.to_owned(),
        problem,
    };
    let evaluated = |results: &&Results| {
        let mut lines = results.rounds.iter();
        lines.any(|line| line.validation.is_some())
    };
    let results: Vec<&Results> = results.iter().filter(evaluated).collect();
    let series: Vec<Series> = results.iter().copied().map(Series::new).collect();
    let summaries: Vec<(usize, Summary)> = results
        .iter()
        .enumerate()
        .filter_map(|(index, results)| Some((index, Summary::new(results)?)))
        .collect();
    if series.is_empty() {
        return Err(failed(
            "in none of the results were weights evaluated".to_owned(),
        ));
    }
    draw_all(&series, &summaries, path).map_err(|error| failed(error.to_string()))
}

/// One experiment's evaluated rounds.
struct Series {
    label: String,
    points: Vec<Point>,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    round: f64,
    megabytes: f64,
    /// Of training, all clients together.
    seconds: f64,
    loss: Option<f64>,
    /// In per cent.
    top1: f64,
}

impl Series {
    fn new(results: &Results) -> Self {
        let (mut bytes, mut seconds) = (0, 0.0);
        let point = |line: &RoundLine| {
            bytes += line.bytes_up;
            seconds += line.seconds.training;
            line.validation.map(|validation| Point {
                round: line.round.into(),
                megabytes: bytes as f64 / 1e6,
                seconds,
                loss: validation.loss,
                top1: 100.0 * validation.top1,
            })
        };
        Self {
            label: results.header.experiment.clone(),
            points: results.rounds.iter().filter_map(point).collect(),
        }
    }
}

/// One of the six.
struct Panel {
    y: &'static str,
    value: fn(&Point) -> Option<f64>,
    x: &'static str,
    place: fn(&Point) -> f64,
    logarithmic: bool,
}

type Drawn = Result<(), Box<dyn Error>>;

const WIDTH: u32 = 1440;
const PANELS: u32 = 720;
const SUMMARY: u32 = 400;
const LEGEND_COLUMNS: usize = 4;
const LEGEND_ROW: u32 = 22;

fn draw_all(series: &[Series], summaries: &[(usize, Summary)], path: &Path) -> Drawn {
    let rows = u32::try_from(series.len().div_ceil(LEGEND_COLUMNS))?;
    let height = match summaries {
        [] => PANELS,
        _ => PANELS + SUMMARY,
    };
    let size = (WIDTH, height + LEGEND_ROW * rows + 12);
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE)?;
    let (panels, legend) = area.split_vertically(height);
    let (panels, below) = panels.split_vertically(PANELS);
    let logarithmic = differs_much(series);
    let bytes = if logarithmic {
        "MB sent by a client, logarithmic"
    } else {
        "MB sent by a client"
    };
    let (top1, loss) = ("top-1 accuracy, %", "loss, nats a token");
    let of_top1 = |point: &Point| Some(point.top1);
    let of_round = |point: &Point| point.round;
    let of_bytes = |point: &Point| point.megabytes;
    let of_seconds = |point: &Point| point.seconds;
    let seconds = "CPU seconds of training, all clients";
    let all = [
        (
            top1,
            of_top1 as fn(&Point) -> Option<f64>,
            "round",
            of_round as fn(&Point) -> f64,
            false,
        ),
        (top1, of_top1, bytes, of_bytes, logarithmic),
        (top1, of_top1, seconds, of_seconds, false),
        (loss, |point| point.loss, "round", of_round, false),
        (loss, |point| point.loss, bytes, of_bytes, logarithmic),
        (loss, |point| point.loss, seconds, of_seconds, false),
    ];
    for ((y, value, x, place, logarithmic), area) in
        all.into_iter().zip(panels.split_evenly((2, 3)))
    {
        let panel = Panel {
            y,
            value,
            x,
            place,
            logarithmic,
        };
        panel.draw(series, &area)?;
    }
    if !summaries.is_empty() {
        summary::draw(summaries, &below, &area)?;
    }
    draw_legend(series, &legend)?;
    Ok(area.present()?)
}

/// Whether one experiment sends four times as much as another.
fn differs_much(series: &[Series]) -> bool {
    let last = series.iter().filter_map(|series| series.points.last());
    let sent = last.map(|point| point.megabytes).filter(|&sent| sent > 0.0);
    let (least, most) = sent.fold((f64::INFINITY, 0.0_f64), |(least, most), sent| {
        (least.min(sent), most.max(sent))
    });
    most >= 4.0 * least
}

impl Panel {
    fn draw(&self, series: &[Series], area: &DrawingArea<SVGBackend<'_>, Shift>) -> Drawn {
        let lines: Vec<Vec<(f64, f64)>> = series.iter().map(|series| self.line(series)).collect();
        let all = || lines.iter().flatten();
        let Some(xs) = range(all().map(|point| point.0)) else {
            return Ok(());
        };
        let Some(ys) = range(all().map(|point| point.1)) else {
            return Ok(());
        };
        let margin = 0.05 * (ys.1 - ys.0);
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .margin_right(24)
            .x_label_area_size(42)
            .y_label_area_size(56)
            .build_cartesian_2d(xs.0..xs.1, ys.0 - margin..ys.1 + margin)?;
        let x_label = |place: &f64| {
            short(if self.logarithmic {
                10_f64.powf(*place)
            } else {
                *place
            })
        };
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(BLACK.mix(0.1))
            .label_style(("sans-serif", 13))
            .x_labels(7)
            .y_labels(7)
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&x_label)
            .y_label_formatter(&|value| short(*value))
            .draw()?;
        for (index, line) in lines.into_iter().enumerate() {
            let style = Palette99::pick(index).stroke_width(2);
            chart.draw_series(LineSeries::new(line.clone(), style))?;
            // A single point has no line.
            let dots = line
                .into_iter()
                .map(|at| Circle::new(at, 2, Palette99::pick(index).filled()));
            chart.draw_series(dots)?;
        }
        Ok(())
    }

    fn line(&self, series: &Series) -> Vec<(f64, f64)> {
        let place = |point: &Point| match ((self.place)(point), self.logarithmic) {
            (x, false) => Some(x),
            (x, true) => (x > 0.0).then(|| x.log10()),
        };
        series
            .points
            .iter()
            .filter_map(|point| Some((place(point)?, (self.value)(point)?)))
            .collect()
    }
}

fn draw_legend(series: &[Series], area: &DrawingArea<SVGBackend<'_>, Shift>) -> Drawn {
    let column = i32::try_from(WIDTH)? / i32::try_from(LEGEND_COLUMNS)?;
    for (index, series) in series.iter().enumerate() {
        let x = 66 + column * i32::try_from(index % LEGEND_COLUMNS)?;
        let y = 8 + i32::try_from(LEGEND_ROW)? * i32::try_from(index / LEGEND_COLUMNS)?;
        let style = Palette99::pick(index).stroke_width(3);
        area.draw(&PathElement::new([(x, y + 7), (x + 24, y + 7)], style))?;
        let label = Text::new(series.label.as_str(), (x + 32, y), ("sans-serif", 15));
        area.draw(&label)?;
    }
    Ok(())
}

/// The least and the largest, never equal; `None` where there is nothing.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (least, most) = values.fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(least, most), value| (least.min(value), most.max(value)),
    );
    match least < most {
        true => Some((least, most)),
        false => least.is_finite().then_some((least - 0.5, most + 0.5)),
    }
}

/// Three significant digits, or whole.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        large if large >= 100.0 => 0,
        medium if medium >= 10.0 => 1,
        small if small >= 1.0 || small == 0.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::simulate::results::tests::{header, round};

    fn results(name: &str, bytes: u64) -> Results {
        let mut rounds = vec![
            round(0, Some(0.01)),
            round(1, None),
            round(2, Some(0.12)),
            round(3, Some(0.15)),
        ];
        for line in &mut rounds {
            line.bytes_up = bytes * u64::from(line.round.min(1));
            line.seconds.training = 2.5;
        }
        Results {
            header: header(name),
            rounds,
        }
    }

    #[test]
    fn every_experiment_has_a_line_and_a_label() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plot.svg");
        draw(
            &[
                results("fedavg <8 bit>", 100_000),
                results("fedadam", 1_600_000),
            ],
            &path,
        )
        .unwrap();
        let drawn = fs::read_to_string(&path).unwrap();
        for text in [
            "fedavg &lt;8 bit&gt;",
            "fedadam",
            "round",
            "MB sent by a client, logarithmic",
            "CPU seconds of training, all clients",
            "top-1 accuracy, %",
            "loss, nats a token",
            "best top-1 accuracy, %",
            "kB sent by a client in a round, logarithmic",
        ] {
            assert!(drawn.contains(text), "no {text}");
        }
        // Two experiments in six panels, three points each, but for round 0 over bytes; and one each.
        assert_eq!(drawn.matches("<circle").count(), 2 * (2 * (3 + 2 + 3) + 1));
        assert_eq!(drawn.matches("fedadam").count(), 2, "legend and summary");
        draw(&[results("one", 5)], &path).unwrap();
        let drawn = fs::read_to_string(&path).unwrap();
        assert!(!drawn.contains("MB sent by a client, logarithmic"));
        // Only the initial weights: nothing was sent.
        let mut begun = results("begun", 5);
        begun.rounds.truncate(1);
        draw(&[begun], &path).unwrap();
        let drawn = fs::read_to_string(&path).unwrap();
        assert!(drawn.contains("top-1 accuracy, %") && !drawn.contains("best top-1"));
    }

    #[test]
    fn results_without_figures_are_refused() {
        let mut empty = results("none", 1);
        for line in &mut empty.rounds {
            line.validation = None;
        }
        let error = draw(&[empty], Path::new("plot.svg")).unwrap_err();
        assert!(error.to_string().contains("evaluated"), "{error}");
    }

    #[test]
    fn labels_are_short() {
        let labels = [0.0, 0.125, 2.5, 4.125, 10.0, 22.25, 150.4].map(short);
        assert_eq!(labels, ["0", "0.125", "2.5", "4.12", "10", "22.2", "150"]);
    }
}
