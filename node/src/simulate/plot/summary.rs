//! One point an experiment: the best accuracy, against what a client sends in a round.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::{Drawn, range, short};
use crate::simulate::results::Results;

/// An experiment as a point.
pub(super) struct Summary {
    label: String,
    /// What a client sends in a round.
    kilobytes: f64,
    /// The best on the validation text, in per cent.
    top1: f64,
}

impl Summary {
    /// `None` where no round was done or no weights were evaluated.
    pub(super) fn new(results: &Results) -> Option<Self> {
        let bytes = results.rounds.last()?.bytes_up;
        let evaluated = results.rounds.iter().filter_map(|line| line.validation);
        let best = evaluated
            .map(|validation| validation.top1)
            .max_by(f64::total_cmp)?;
        (bytes > 0).then(|| Self {
            label: results.header.experiment.clone(),
            kilobytes: bytes as f64 / 1e3,
            top1: 100.0 * best,
        })
    }

    fn place(&self) -> (f64, f64) {
        (self.kilobytes.log10(), self.top1)
    }
}

/// Draws the points with their labels into `area`, a part of `root`. A point has the number, and with
/// it the colour, of its experiment.
pub(super) fn draw(
    points: &[(usize, Summary)],
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    root: &DrawingArea<SVGBackend<'_>, Shift>,
) -> Drawn {
    let places = || points.iter().map(|(_, point)| point.place());
    let (Some(xs), Some(ys)) = (
        range(places().map(|place| place.0)),
        range(places().map(|place| place.1)),
    ) else {
        return Ok(());
    };
    let (wide, high) = (0.06 * (xs.1 - xs.0), 0.12 * (ys.1 - ys.0));
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .margin_right(24)
        .x_label_area_size(42)
        .y_label_area_size(56)
        .build_cartesian_2d(xs.0 - wide..xs.1 + wide, ys.0 - high..ys.1 + high)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.1))
        .label_style(("sans-serif", 13))
        .x_labels(9)
        .y_labels(7)
        .x_desc("kB sent by a client in a round, logarithmic")
        .y_desc("best top-1 accuracy, %")
        .x_label_formatter(&|place| short(10_f64.powf(*place)))
        .y_label_formatter(&|value| short(*value))
        .draw()?;
    let plotting = chart.plotting_area();
    let dots: Vec<(i32, i32)> = places()
        .map(|place| plotting.map_coordinate(&place))
        .collect();
    let (columns, rows) = plotting.get_pixel_range();
    let inside = Rectangle {
        left: columns.start,
        right: columns.end,
        top: rows.start,
        bottom: rows.end,
    };
    let texts: Vec<&str> = points
        .iter()
        .map(|(_, point)| point.label.as_str())
        .collect();
    let labels = arrange(&dots, &texts, inside);
    for (((index, _), dot), (label, text)) in points.iter().zip(&dots).zip(labels.iter().zip(texts))
    {
        let colour = Palette99::pick(*index);
        if let Some(end) = label.far_from(*dot) {
            let line = PathElement::new([*dot, end], BLACK.mix(0.4).stroke_width(1));
            root.draw(&line)?;
        }
        root.draw(&Circle::new(*dot, 4, colour.filled()))?;
        let at = (label.left, label.top);
        root.draw(&Text::new(text, at, ("sans-serif", SIZE)))?;
    }
    Ok(())
}

/// Pixels, y downwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rectangle {
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
}

impl Rectangle {
    fn overlaps(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    fn holds(&self, other: &Self) -> bool {
        self.left <= other.left
            && other.right <= self.right
            && self.top <= other.top
            && other.bottom <= self.bottom
    }

    /// Where a line from a dot to this label ends; `None` for one beside its dot.
    fn far_from(&self, (x, y): (i32, i32)) -> Option<(i32, i32)> {
        let end = (
            x.clamp(self.left, self.right),
            y.clamp(self.top, self.bottom),
        );
        let far = (end.0 - x).abs().max((end.1 - y).abs()) > 2 * GAP;
        far.then_some(end)
    }
}

const SIZE: i32 = 13;
const GAP: i32 = 8;
/// From a label to the next below.
const LINE: i32 = SIZE + 3;

/// Where the labels go: each at the first place, from beside its dot outwards, where it covers no dot
/// and no label before it; beside its dot where there is none.
fn arrange(dots: &[(i32, i32)], texts: &[&str], inside: Rectangle) -> Vec<Rectangle> {
    let half = GAP / 2 + 1;
    let mut taken: Vec<Rectangle> = dots
        .iter()
        .map(|&(x, y)| Rectangle {
            left: x - half,
            right: x + half,
            top: y - half,
            bottom: y + half,
        })
        .collect();
    let mut labels = Vec::with_capacity(dots.len());
    for (&(x, y), text) in dots.iter().zip(texts) {
        // Six pixels a character hold any but the widest words.
        let width = 6 * i32::try_from(text.chars().count()).unwrap_or(i32::MAX / 16);
        let at = |left: i32, middle: i32| Rectangle {
            left,
            right: left + width,
            top: middle - SIZE / 2 - 1,
            bottom: middle + SIZE / 2 + 2,
        };
        let (right, left, centred) = (x + GAP, x - GAP - width, x - width / 2);
        let away = (0..24).flat_map(|step| {
            let shift = step * LINE;
            [
                (right, y - shift),
                (left, y - shift),
                (centred, y - shift - 2 * GAP),
                (right, y + shift),
                (left, y + shift),
                (centred, y + shift + 2 * GAP),
            ]
        });
        let label = away
            .map(|(left, middle)| at(left, middle))
            .find(|label| inside.holds(label) && !taken.iter().any(|other| other.overlaps(label)))
            .unwrap_or_else(|| at(right, y));
        taken.push(label);
        labels.push(label);
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twelve dots on one spot, on a line and in a corner.
    #[test]
    fn labels_cover_neither_each_other_nor_a_dot() {
        let inside = Rectangle {
            left: 60,
            right: 960,
            top: 10,
            bottom: 300,
        };
        let texts = ["sms-fedavg-8-bit-rotated"; 12];
        for step in [(0, 0), (12, 0), (3, 5), (40, 9)] {
            for corner in [(70, 20), (400, 150), (950, 290)] {
                let towards = |from: i32, step: i32, n: i32, middle: i32| {
                    from + n * step * (middle - from).signum()
                };
                let dots: Vec<(i32, i32)> = (0..12)
                    .map(|n| {
                        let x = towards(corner.0, step.0, n, 500);
                        (x, towards(corner.1, step.1, n, 160))
                    })
                    .collect();
                let labels = arrange(&dots, &texts, inside);
                for (index, label) in labels.iter().enumerate() {
                    assert!(inside.holds(label), "{step:?} {corner:?} {label:?}");
                    let overlaps = |other: &Rectangle| label.overlaps(other);
                    assert!(!labels[..index].iter().any(overlaps), "{step:?} {corner:?}");
                    let covered = |&(x, y): &(i32, i32)| {
                        (label.left..label.right).contains(&x)
                            && (label.top..label.bottom).contains(&y)
                    };
                    assert!(!dots.iter().any(covered), "{step:?} {corner:?}");
                }
            }
        }
    }
}
