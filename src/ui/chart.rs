//! Charts as SVG, drawn here: geometry in attributes, because the policy allows no inline style; colours in the sheet.

use maud::{Markup, html};

use super::words;

/// A row of numbers with a name and the class that colours it.
pub struct Series<'a> {
    /// What the legend says.
    pub name: &'a str,
    /// A colour class of the sheet.
    pub class: &'a str,
    /// One value for each step of time; none where nothing was measured.
    pub values: Vec<Option<f64>>,
}

/// A chart over time.
pub struct Chart<'a> {
    /// What it shows, in a sentence for who cannot see it.
    pub summary: String,
    /// The rows, the first at the bottom.
    pub series: Vec<Series<'a>>,
    /// Labels under the first, the middle and the last step.
    pub ends: [String; 3],
    /// How a value is said on the axis.
    pub axis: fn(f64) -> String,
    /// What is said of one step when pointed at.
    pub steps: Vec<String>,
}

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 148.0;
const LEFT: f64 = 40.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 20.0;

impl Chart<'_> {
    /// Columns, stacked.
    pub fn columns(&self) -> Markup {
        let totals = (0..self.steps.len()).map(|step| self.series.iter().filter_map(|row| at(row, step)).sum());
        let top = nice(totals.fold(0.0, f64::max));
        self.frame(
            top,
            html! {
                @for step in 0..self.steps.len() { (self.column(step, top)) }
            },
        )
    }

    fn column(&self, step: usize, top: f64) -> Markup {
        let wide = self.step_width();
        let mut base = 0.0;
        let parts: Vec<_> = self
            .series
            .iter()
            .filter_map(|row| {
                let value = at(row, step).filter(|value| *value > 0.0)?;
                let (from, to) = (y(base, top), y(base + value, top));
                base += value;
                Some((row.class, to, (from - to).max(0.75)))
            })
            .collect();
        html! {
            @for (class, from, high) in parts {
                rect class={"bar " (class)} x=(n(self.x(step) + wide * 0.1)) y=(n(from)) width=(n(wide * 0.8)) height=(n(high)) {}
            }
        }
    }

    /// Lines, the first with its area filled.
    pub fn lines(&self) -> Markup {
        let values = self.series.iter().flat_map(|row| row.values.iter().flatten().copied());
        let top = nice(values.fold(0.0, f64::max));
        self.frame(
            top,
            html! {
                @for row in &self.series { (self.line(row, top)) }
            },
        )
    }

    fn line(&self, row: &Series<'_>, top: f64) -> Markup {
        let half = self.step_width() / 2.0;
        let runs = runs(&row.values);
        let points = |run: &[(usize, f64)]| {
            let place = |(step, value): &(usize, f64)| format!("{},{}", n(self.x(*step) + half), n(y(*value, top)));
            run.iter().map(place).collect::<Vec<_>>().join(" ")
        };
        html! {
            g class=(row.class) {
                @for run in &runs {
                    @if let [(step, value)] = run[..] {
                        circle fill="currentColor" cx=(n(self.x(step) + half)) cy=(n(y(value, top))) r="2" {}
                    } @else {
                        polyline class="line" points=(points(run)) {}
                    }
                }
            }
        }
    }

    fn frame(&self, top: f64, content: Markup) -> Markup {
        let floor = HEIGHT - BOTTOM;
        let middle = f64::midpoint(LEFT, WIDTH);
        html! {
            svg.chart viewBox={"0 0 " (WIDTH) " " (HEIGHT)} role="img" aria-label=(self.summary) {
                @for share in [0.5, 1.0] {
                    line class="rule" x1=(LEFT) x2=(WIDTH) y1=(n(y(top * share, top))) y2=(n(y(top * share, top))) {}
                    text x=(LEFT - 6.0) y=(n(y(top * share, top) + 4.0)) text-anchor="end" { ((self.axis)(top * share)) }
                }
                text x=(LEFT - 6.0) y=(n(floor + 4.0)) text-anchor="end" { ((self.axis)(0.0)) }
                (content)
                line class="axis" x1=(LEFT) x2=(WIDTH) y1=(floor) y2=(floor) {}
                text x=(LEFT) y=(HEIGHT - 4.0) { (self.ends[0]) }
                text x=(middle) y=(HEIGHT - 4.0) text-anchor="middle" { (self.ends[1]) }
                text x=(WIDTH) y=(HEIGHT - 4.0) text-anchor="end" { (self.ends[2]) }
                @for (step, said) in self.steps.iter().enumerate() {
                    rect class="hit" x=(n(self.x(step))) y=(TOP) width=(n(self.step_width())) height=(floor - TOP) { title { (said) } }
                }
            }
        }
    }

    /// The names of the rows with their colours.
    pub fn legend(&self) -> Markup {
        html! {
            p.legend {
                @for row in &self.series { span { i class=(row.class) {} (row.name) } }
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a chart has some sixty steps")]
    fn step_width(&self) -> f64 {
        (WIDTH - LEFT) / self.steps.len().max(1) as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "a chart has some sixty steps")]
    fn x(&self, step: usize) -> f64 {
        LEFT + self.step_width() * step as f64
    }
}

fn at(row: &Series<'_>, step: usize) -> Option<f64> {
    row.values.get(step).copied().flatten()
}

fn y(value: f64, top: f64) -> f64 {
    HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP)
}

/// A coordinate, to a tenth.
fn n(value: f64) -> String {
    format!("{value:.1}")
}

/// Stretches without a gap.
fn runs(values: &[Option<f64>]) -> Vec<Vec<(usize, f64)>> {
    let mut runs = vec![Vec::new()];
    for (step, value) in values.iter().enumerate() {
        match (value, runs.last_mut()) {
            (Some(value), Some(run)) => run.push((step, *value)),
            (None, Some(run)) if !run.is_empty() => runs.push(Vec::new()),
            _ => {}
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

/// The end of an axis: 1, 2 or 5 times a power of ten, not below `most`.
fn nice(most: f64) -> f64 {
    let mut step = 1.0;
    while step * 10.0 < most {
        step *= 10.0;
    }
    let whole = [2.0, 4.0, 5.0, 10.0].into_iter().map(|factor| factor * step).find(|end| *end >= most);
    whole.unwrap_or(step * 10.0)
}

/// A share of a whole as a small bar.
pub fn meter(part: u64, whole: u64, class: &str) -> Markup {
    let share = if whole == 0 { 0 } else { part.saturating_mul(100).div_ceil(whole) };
    html! {
        svg.meter viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label=(words::percent(part, whole)) {
            rect class="base" width="100" height="6" {}
            rect class={"part " (class)} width=(share) height="6" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        let ends = [0.0, 1.0, 3.0, 4.5, 7.0, 11.0, 99.0, 420.0].map(|most| format!("{}", nice(most)));
        assert_eq!(ends, ["2", "2", "4", "5", "10", "20", "100", "500"]);
    }

    #[test]
    fn gaps_break_a_line() {
        let found = runs(&[None, Some(1.0), Some(2.0), None, None, Some(3.0)]);
        assert_eq!(found, [vec![(1, 1.0), (2, 2.0)], vec![(5, 3.0)]]);
    }

    #[test]
    fn what_is_drawn_says_itself_in_words_and_is_escaped() {
        let chart = Chart {
            summary: "<b>3 tasks</b>".to_owned(),
            series: vec![Series { name: "Completed", class: "t-ok", values: vec![Some(1.0), None, Some(2.0)] }],
            ends: ["10:00".to_owned(), String::new(), "11:00".to_owned()],
            axis: words::short,
            steps: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
        };
        let drawn = chart.columns().into_string();
        assert!(drawn.contains("aria-label=\"&lt;b&gt;3 tasks&lt;/b&gt;\""), "{drawn}");
        assert_eq!(drawn.matches("class=\"bar t-ok\"").count(), 2);
        assert!(!drawn.contains("style="));
    }
}
