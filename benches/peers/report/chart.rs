//! One SVG with a group of bars for each scenario; lower is better in all of them.

use std::fmt::Write as _;

use super::Outcome;

const WIDTH: f64 = 860.0;
const LABELS: f64 = 260.0;
const BAR: f64 = 18.0;
const TITLE: f64 = 34.0;

/// Draws it.
pub(super) fn draw(scenarios: &[Outcome]) -> String {
    let mut body = String::new();
    let mut top = 12.0;
    for scenario in scenarios {
        top = group(&mut body, scenario, top);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top}\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}

/// Draws one scenario from `top` down, and says where it ends.
fn group(body: &mut String, scenario: &Outcome, mut top: f64) -> f64 {
    let longest = scenario
        .rows
        .iter()
        .map(|row| row.median)
        .fold(f64::MIN_POSITIVE, f64::max);
    let _ = writeln!(
        body,
        "<text x=\"8\" y=\"{:.0}\" font-weight=\"600\">{} <tspan fill=\"#777\" font-weight=\"400\">({}, lower is better)</tspan></text>",
        top + 18.0,
        escaped(&scenario.title),
        scenario.measure
    );
    top += TITLE;
    for (index, row) in scenario.rows.iter().enumerate() {
        let length = (WIDTH - LABELS - 110.0) * row.median / longest;
        let colour = if index == 0 { "#2563eb" } else { "#c3c8d0" };
        let middle = top + BAR * 0.72;
        let _ = writeln!(
            body,
            "<text x=\"{:.0}\" y=\"{middle:.1}\" text-anchor=\"end\">{}</text><rect x=\"{LABELS:.0}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"{:.0}\" rx=\"2\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{middle:.1}\" fill=\"#555\">{:.1}{}</text>",
            LABELS - 8.0,
            escaped(&row.label),
            top + 1.0,
            BAR - 4.0,
            LABELS + length + 6.0,
            row.median,
            if row.failed > 0 {
                format!(", {} failed", row.failed)
            } else {
                String::new()
            },
        );
        top += BAR;
    }
    top + 14.0
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
