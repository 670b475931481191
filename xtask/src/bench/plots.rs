//! The figures as pictures.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use plotters::prelude::*;

use super::Metric;

/// Draws what the figures hold into a folder.
pub(super) fn draw(metrics: &[Metric], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let plots = [
        ("masks.svg", masks(metrics)),
        ("servers.svg", servers(metrics)),
        ("growth.svg", growth(metrics)),
    ];
    for (name, plot) in plots {
        let path = folder.join(name);
        plot.draw(&path)
            .map_err(|error| anyhow!("{error}"))
            .with_context(|| format!("cannot draw {}", path.display()))?;
        println!("drawn: {}", path.display());
    }
    Ok(())
}

/// Nanoseconds an element by bits an element, for each way to compute that the processor has.
fn masks(metrics: &[Metric]) -> Plot {
    let bits = [8, 16, 20, 24, 32, 48, 64];
    let of = |name: &dyn Fn(u8) -> String, value: &dyn Fn(&Metric) -> Option<f64>| {
        let points = bits.iter().filter_map(|bits| {
            let metric = find(metrics, &name(*bits))?;
            Some((f64::from(*bits), value(metric)?))
        });
        points.collect::<Vec<_>>()
    };
    let mut lines: Vec<Line> = ["avx512", "avx2", "portable"]
        .into_iter()
        .map(|path| Line {
            label: path.to_owned(),
            points: of(&|bits| format!("mask/b{bits}/{path}"), &|metric| {
                Some(metric.value)
            }),
            theirs: false,
        })
        .collect();
    lines.push(Line {
        label: "OpenSSL's ChaCha20, keystream alone".to_owned(),
        points: of(&|bits| format!("mask/b{bits}/portable"), &|metric| {
            metric.limit
        }),
        theirs: true,
    });
    Plot {
        title: "A mask, on one thread",
        x: "bits an element",
        y: "ns an element",
        logarithmic: false,
        lines,
    }
}

/// Seconds of the server by dropouts, beside what Google's C++ needs on another machine.
fn servers(metrics: &[Metric]) -> Plot {
    let rounds = ["n500/k76", "n1000/k88"];
    let ours = rounds.into_iter().map(|round| {
        let points = [0_u8, 10, 30].into_iter().filter_map(|dropouts| {
            let name = format!("server/{round}/drop{dropouts}/honest-but-curious");
            Some((f64::from(dropouts), find(metrics, &name)?.value))
        });
        Line {
            label: format!("secagg, {}", round.replace('/', ", ")),
            points: points.collect(),
            theirs: false,
        }
    });
    let theirs = [
        (
            "Google's C++, n500, k76 (another machine)",
            vec![(0.0, 0.64), (10.0, 2.8), (30.0, 5.4)],
        ),
        (
            "Google's C++, n1000, k88 (another machine)",
            vec![(0.0, 1.3), (10.0, 6.3), (30.0, 12.5)],
        ),
    ];
    let theirs = theirs.map(|(label, points)| Line {
        label: label.to_owned(),
        points,
        theirs: true,
    });
    Plot {
        title: "The server, on one thread: 100,000 elements of 20 bits",
        x: "% of the clients lost after ShareKeys",
        y: "seconds",
        logarithmic: false,
        lines: ours.chain(theirs).collect(),
    }
}

/// How server and client grow with each quantity.
fn growth(metrics: &[Metric]) -> Plot {
    let varied = [
        ('n', "clients", "/k88/m2000/"),
        ('k', "neighbours", "/m20000/"),
        ('m', "elements", "n40/k20/"),
    ];
    let mut lines: Vec<Line> = Vec::new();
    for who in ["server", "client"] {
        for (quantity, label, rest) in varied {
            let settings = metrics.iter().filter_map(|metric| {
                let setting = metric.name.strip_prefix(&format!("growth/{who}/"))?;
                let fits = setting.contains(rest);
                Some((number(setting, quantity).filter(|_| fits)?, metric.value))
            });
            let points: Vec<(f64, f64)> = settings.collect();
            let Some(first) = points.first().copied() else {
                continue;
            };
            let multiples = points.iter().map(|(x, y)| (x / first.0, y / first.1));
            lines.push(Line {
                label: format!("{who} over {label}"),
                points: multiples.collect(),
                theirs: who == "client",
            });
        }
    }
    Plot {
        title: "Growth, both as multiples of the first point",
        x: "times as many",
        y: "times as long",
        logarithmic: true,
        lines,
    }
}

/// The number behind a letter in a name like `n1000/k88/m2000/drop30`.
fn number(setting: &str, quantity: char) -> Option<f64> {
    let mut parts = setting.split('/');
    parts
        .find_map(|part| part.strip_prefix(quantity))?
        .parse()
        .ok()
}

fn find<'a>(metrics: &'a [Metric], name: &str) -> Option<&'a Metric> {
    metrics.iter().find(|metric| metric.name == name)
}

struct Plot {
    title: &'static str,
    x: &'static str,
    y: &'static str,
    logarithmic: bool,
    lines: Vec<Line>,
}

struct Line {
    label: String,
    points: Vec<(f64, f64)>,
    /// Drawn thinner, as what is compared with.
    theirs: bool,
}

impl Plot {
    fn draw(&self, path: &Path) -> std::result::Result<(), Box<dyn std::error::Error>> {
        let area = SVGBackend::new(path, (900, 520)).into_drawing_area();
        area.fill(&WHITE)?;
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let largest = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(1.0, f64::max);
        let end = (
            self.place(largest(|point| point.0)),
            self.place(largest(|point| point.1)),
        );
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..end.0 * 1.03, 0.0..end.1 * 1.08)?;
        let label = |place: &f64| match self.logarithmic {
            true => format!("{:.1}", 10_f64.powf(*place)),
            false => format!("{place}"),
        };
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&label)
            .y_label_formatter(&label)
            .draw()?;
        let lines = self.lines.iter().filter(|line| !line.points.is_empty());
        for (index, line) in lines.enumerate() {
            let width = if line.theirs { 1 } else { 2 };
            let style = Palette99::pick(index).stroke_width(width);
            let points = line.points.iter();
            let points = points.map(|point| (self.place(point.0), self.place(point.1)));
            let drawn = chart.draw_series(LineSeries::new(points, style).point_size(3))?;
            drawn
                .label(&line.label)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        Ok(area.present()?)
    }

    /// Where a value stands on its axis.
    fn place(&self, value: f64) -> f64 {
        if self.logarithmic {
            value.max(1.0).log10()
        } else {
            value
        }
    }
}

const TRANSPARENT: RGBAColor = RGBAColor(0, 0, 0, 0.0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_every_plot_is_drawn() {
        let names = [
            "mask/b8/avx512",
            "mask/b8/portable",
            "server/n1000/k88/drop30/honest-but-curious",
            "growth/server/n500/k88/m2000/drop30",
            "growth/server/n1000/k88/m2000/drop30",
            "growth/client/n40/k20/m100000/drop30",
        ];
        let metrics = names.map(|name| Metric {
            name: name.to_owned(),
            value: 2.0,
            unit: String::new(),
            limit: Some(1.0),
            ratio: Some(2.0),
        });
        let folder = tempfile::tempdir().unwrap();
        draw(&metrics, folder.path()).unwrap();
        for (plot, line) in [
            ("masks.svg", "avx512"),
            ("servers.svg", "secagg, n1000, k88"),
            ("growth.svg", "server over clients"),
            ("growth.svg", "client over elements"),
        ] {
            let drawn = fs::read_to_string(folder.path().join(plot)).unwrap();
            assert!(drawn.contains(line), "{plot} has no line {line}");
        }
    }
}
