//! Line charts as inline SVG. Colours come from the page's style sheet, so that they follow the
//! reader's light or dark scheme.

use std::fmt::Write;

use crate::demo::format::escape;

/// A chart over rounds.
#[derive(Clone, Debug)]
pub(super) struct Chart<'a> {
    /// For people who cannot see it, and for the caption.
    pub(super) title: &'a str,
    /// How values are written, at the axis and at the ends of lines.
    pub(super) format: fn(f64) -> String,
    /// The last round; the first is 0, before any training.
    pub(super) rounds: u64,
    /// What is drawn as lines.
    pub(super) lines: Vec<Line>,
    /// What is drawn as dashed horizontals.
    pub(super) references: Vec<Reference>,
    /// Rounds with a mark, and its label.
    pub(super) marks: Vec<(u64, String)>,
}

/// A line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) label: &'static str,
    /// Its class in the style sheet.
    pub(super) class: &'static str,
    /// Rounds and values.
    pub(super) points: Vec<(u64, f64)>,
}

/// A horizontal.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    pub(super) label: &'static str,
    pub(super) class: &'static str,
    pub(super) value: f64,
}

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 42.0;
/// Lines of text need so much room.
const LABEL_GAP: f64 = 15.0;

impl Chart<'_> {
    /// The chart as an `svg` element.
    pub(super) fn svg(&self) -> String {
        let (low, high, step) = self.scale();
        let x =
            |round: u64| LEFT + (WIDTH - LEFT - RIGHT) * round as f64 / self.rounds.max(1) as f64;
        let y =
            |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low);
        let mut svg = format!(
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escape(self.title)
        );
        self.grid(&mut svg, (low, high, step), y);
        self.round_axis(&mut svg, x);
        for (round, label) in &self.marks {
            let x = x(*round);
            let _ = write!(
                svg,
                "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>\
                 <text class=\"mark\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">✕ {}</text>",
                HEIGHT - BOTTOM,
                TOP - 8.0,
                escape(label)
            );
        }
        let mut labels = Vec::new();
        for reference in &self.references {
            let y = y(reference.value);
            let _ = write!(
                svg,
                "<line class=\"reference {}\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" \
                 y2=\"{y:.1}\"/>",
                reference.class,
                WIDTH - RIGHT + 4.0
            );
            labels.push((
                y,
                reference.class,
                self.label(reference.label, reference.value),
            ));
        }
        for line in &self.lines {
            let points: Vec<String> = line
                .points
                .iter()
                .map(|&(round, value)| format!("{:.1},{:.1}", x(round), y(value)))
                .collect();
            let _ = write!(
                svg,
                "<polyline class=\"{}\" points=\"{}\"/>",
                line.class,
                points.join(" ")
            );
            for &(round, value) in &line.points {
                let _ = write!(
                    svg,
                    "<circle class=\"{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.6\"><title>{}, round \
                     {round}: {}</title></circle>",
                    line.class,
                    x(round),
                    y(value),
                    escape(line.label),
                    (self.format)(value)
                );
            }
            if let Some(&(_, value)) = line.points.last() {
                labels.push((y(value), line.class, self.label(line.label, value)));
            }
        }
        for (y, class, label) in spread(labels) {
            let _ = write!(
                svg,
                "<text class=\"end {class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                WIDTH - RIGHT + 9.0,
                y + 4.0,
                escape(&label)
            );
        }
        svg.push_str("</svg>");
        svg
    }

    fn label(&self, name: &str, value: f64) -> String {
        format!("{name} {}", (self.format)(value))
    }

    fn grid(&self, svg: &mut String, (low, high, step): (f64, f64, f64), y: impl Fn(f64) -> f64) {
        let mut value = low;
        while value <= high + step / 2.0 {
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                y(value),
                y(value),
                LEFT - 6.0,
                y(value) + 4.0,
                escape(&(self.format)(value))
            );
            value += step;
        }
    }

    fn round_axis(&self, svg: &mut String, x: impl Fn(u64) -> f64) {
        let every = self.rounds.div_ceil(10).max(1);
        for round in (0..=self.rounds).filter(|round| round.is_multiple_of(every)) {
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{round}</text>",
                x(round),
                HEIGHT - BOTTOM + 17.0
            );
        }
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">after round</text>",
            x(0).midpoint(x(self.rounds)),
            HEIGHT - 6.0
        );
    }

    /// The lowest and the highest value of the axis, and the step between its labels.
    fn scale(&self) -> (f64, f64, f64) {
        let points = self.lines.iter().flat_map(|line| &line.points);
        let values = points
            .map(|&(_, value)| value)
            .chain(self.references.iter().map(|reference| reference.value));
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        if low > high {
            return (0.0, 1.0, 1.0);
        }
        let step = nice_step((high - low) / 5.0);
        let low = (low / step).floor() * step;
        let high = ((high / step).ceil() * step).max(low + step);
        (low, high, step)
    }
}

/// The smallest of 1, 2 and 5 times a power of ten that is not below `least`.
fn nice_step(least: f64) -> f64 {
    let least = least.max(1e-9);
    let power = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|factor| factor * power);
    steps
        .into_iter()
        .find(|step| *step >= least * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

/// Moves labels apart where they would cover each other, and keeps them within the chart.
fn spread<T, U>(mut labels: Vec<(f64, T, U)>) -> Vec<(f64, T, U)> {
    labels.sort_by(|left, right| left.0.total_cmp(&right.0));
    let mut above = f64::NEG_INFINITY;
    for label in &mut labels {
        label.0 = label.0.max(above + LABEL_GAP).max(TOP);
        above = label.0;
    }
    let mut below = HEIGHT - BOTTOM + LABEL_GAP;
    for label in labels.iter_mut().rev() {
        label.0 = label.0.min(below - LABEL_GAP);
        below = label.0;
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: &[f64]) -> Chart<'static> {
        let points = (0..).zip(values.iter().copied()).collect();
        let (label, class) = ("loss", "first");
        Chart {
            title: "Loss & more",
            format: |value| format!("{value:.1}"),
            rounds: values.len() as u64 - 1,
            lines: vec![Line {
                label,
                class,
                points,
            }],
            references: vec![Reference {
                label: "pooled",
                class: "second",
                value: 3.0,
            }],
            marks: vec![(1, "2 killed".to_owned())],
        }
    }

    #[test]
    fn everything_is_drawn() {
        let svg = chart(&[7.6, 5.0, 4.2]).svg();
        for part in [
            "viewBox=\"0 0 480 280\"",
            "aria-label=\"Loss &amp; more\"",
            ">loss 4.2<",
            ">pooled 3.0<",
            "✕ 2 killed",
            "<title>loss, round 1: 5.0</title>",
        ] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        assert_eq!(svg.matches("<circle").count(), 3);
    }

    #[test]
    fn the_scale_covers_all_values_in_round_steps() {
        assert_eq!(chart(&[7.6, 4.2]).scale(), (3.0, 8.0, 1.0));
        let (low, high, step) = chart(&[3.0, 3.0]).scale();
        assert!(low <= 3.0 && high > low && step > 0.0);
        assert!((nice_step(0.021) - 0.05).abs() < 1e-12);
        assert!((nice_step(70.0) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn labels_move_apart_and_stay_inside() {
        let places = |ys: &[f64]| -> Vec<f64> {
            let labels = ys.iter().map(|&y| (y, (), ())).collect();
            spread(labels).into_iter().map(|label| label.0).collect()
        };
        assert_eq!(places(&[100.0, 102.0]), [100.0, 115.0]);
        let low = places(&[237.0, 236.0, 238.0]);
        assert!(low.windows(2).all(|pair| pair[1] - pair[0] >= LABEL_GAP));
        assert!(low.iter().all(|y| *y <= HEIGHT - BOTTOM));
    }
}
