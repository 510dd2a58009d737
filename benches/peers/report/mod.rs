//! Medians, ratios, and where they are written: the terminal, JSON, a chart.

mod chart;

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::load::Figures;
use crate::scenario::{Measure, Row, Scenario};

/// How many times as long as without abuse others may wait under it, at the 99th percentile.
const MOST_ABUSED: f64 = 2.0;

/// All that was measured in one run.
#[derive(Serialize)]
pub(crate) struct Results {
    rounds: usize,
    seconds: u32,
    scenarios: Vec<Outcome>,
}

/// What one scenario gave.
#[derive(Serialize)]
pub(crate) struct Outcome {
    name: String,
    title: String,
    /// What the ratios are made of, with its unit.
    measure: &'static str,
    rows: Vec<Summary>,
}

/// What one row gave.
#[derive(Serialize)]
struct Summary {
    label: String,
    /// Median of the rounds.
    median: f64,
    /// Median of the rounds' ratios: the subject, which is the first row, to this one.
    ratio: f64,
    failed: u64,
    rounds: Vec<Figures>,
}

impl Results {
    pub(crate) fn new(rounds: usize, seconds: u32) -> Self {
        Self {
            rounds,
            seconds,
            scenarios: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, outcome: Outcome) {
        self.scenarios.push(outcome);
    }

    /// In the order in which they came.
    pub(crate) fn outcomes(&self) -> &[Outcome] {
        &self.scenarios
    }

    /// Writes `peers.json` and `peers.svg` into this folder.
    pub(crate) fn write(&self, folder: &Path) {
        let json = serde_json::to_string_pretty(self).expect("numbers and names");
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(folder.join("peers.json"), json))
            .and_then(|()| std::fs::write(folder.join("peers.svg"), chart::draw(&self.scenarios)))
            .unwrap_or_else(|fault| panic!("{}: {fault}", folder.display()));
    }
}

impl Outcome {
    pub(crate) fn new(scenario: &Scenario, rows: &[Row], rounds: Vec<Vec<Figures>>) -> Self {
        let figures: Vec<Vec<f64>> = rounds
            .iter()
            .map(|row| row.iter().map(|one| scenario.measure.of(one)).collect())
            .collect();
        let rows = rows
            .iter()
            .zip(rounds)
            .zip(&figures)
            .map(|((row, rounds), own)| {
                let ratios = figures[0]
                    .iter()
                    .zip(own)
                    .map(|(subject, own)| subject / own);
                Summary {
                    label: row.label.clone(),
                    median: median(own.clone()),
                    ratio: median(ratios.collect()),
                    failed: rounds.iter().map(|round| round.failed).sum(),
                    rounds,
                }
            })
            .collect();
        Self {
            name: scenario.name.clone(),
            title: scenario.title.clone(),
            measure: scenario.measure.name(),
            rows,
        }
    }

    /// Where the subject went past what it may, if others were abusing it.
    pub(crate) fn faults(&self, scenario: &Scenario) -> Vec<String> {
        let (Some(kind), Some(subject)) = (scenario.abuse(), self.rows.first()) else {
            return Vec::new();
        };
        let grown = subject
            .rounds
            .iter()
            .map(|round| round.memory_mib - round.memory_before_mib.unwrap_or_default());
        let grown = median(grown.collect());
        let mut faults = Vec::new();
        if subject.median.is_nan() || subject.median > MOST_ABUSED {
            faults.push(format!(
                "{}: others wait {:.2} times as long, which may be {MOST_ABUSED}",
                self.name, subject.median
            ));
        }
        if grown > kind.most_mib {
            faults.push(format!(
                "{}: {grown:.1} MiB more memory, which may be {}",
                self.name, kind.most_mib
            ));
        }
        if subject.failed > 0 {
            faults.push(format!("{}: {} requests failed", self.name, subject.failed));
        }
        faults
    }
}

impl Measure {
    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU us a request",
            Self::P99 => "p99 us",
            Self::Memory => "KiB a connection",
            Self::Abused => "p99 to p99 alone",
        }
    }

    fn of(self, figures: &Figures) -> f64 {
        let figure = match self {
            Self::Cpu => figures.cpu_us,
            Self::P99 => figures.p99_us,
            Self::Memory => figures.idle_kib,
            Self::Abused => figures
                .p99_us
                .zip(figures.alone_p99_us)
                .map(|(abused, alone)| abused / alone),
        };
        figure.unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  {:34} {:>18} {:>24} {:>8}",
            "", self.measure, "the first row to this one", "failed"
        )?;
        for row in &self.rows {
            writeln!(
                f,
                "  {:34} {:>18.2} {:>24.2} {:>8}",
                row.label, row.median, row.ratio, row.failed
            )?;
        }
        Ok(())
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
