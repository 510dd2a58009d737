//! The figures of a bench, each beside what is expected of it.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

/// One figure, and what is expected of it.
pub(crate) struct Figure {
    what: String,
    value: f64,
    unit: &'static str,
    /// The most it may be, if anything is expected.
    most: Option<f64>,
}

impl Figure {
    pub(crate) fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        let (what, most) = (what.into(), None);
        Self {
            what,
            value,
            unit,
            most,
        }
    }

    pub(crate) fn at_most(self, most: f64) -> Self {
        let most = Some(most);
        Self { most, ..self }
    }

    fn line(&self) -> String {
        let expected = match self.most {
            Some(most) if self.value <= most => format!("at most {most:.2}: met"),
            Some(most) => format!("at most {most:.2}: MISSED"),
            None => String::new(),
        };
        let (what, value, unit) = (&self.what, self.value, self.unit);
        format!("{what:<64} {value:>8.2} {unit:<7} {expected}")
    }
}

/// All figures of a bench.
#[derive(Default)]
pub(crate) struct Table(Vec<Figure>);

impl Table {
    /// Prints them as they come.
    pub(crate) fn tell(&mut self, figures: impl IntoIterator<Item = Figure>) {
        for figure in figures {
            println!("{}", figure.line());
            self.0.push(figure);
        }
    }

    /// Writes them as JSON into a folder of the build named for the bench.
    pub(crate) fn write(&self, bench: &str) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(bench);
        let item = |it: &Figure| json!({"what": it.what, "value": it.value, "unit": it.unit, "most": it.most});
        let items: Vec<_> = self.0.iter().map(item).collect();
        let text =
            serde_json::to_string_pretty(&json!({ "figures": items })).expect("numbers and names");
        let file = folder.join(format!("{bench}.json"));
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(&file, text))
            .expect("the folder of the build is writable");
        println!("\nwritten to {}", file.display());
    }
}

/// Milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The value that this share of all is below.
pub(crate) fn percentile(mut times: Vec<Duration>, share: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share).round() as usize]
}
