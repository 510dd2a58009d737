//! What is wrong with settings, told with the line it stands on.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// Settings as read, with the place of each value, so that later faults can show the line.
#[derive(Clone, Debug)]
pub struct Source {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) places: BTreeMap<String, Range<usize>>,
}

/// One thing wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key at fault, dotted: `admin.address`.
    pub key: String,
    /// What is wrong and what would be right.
    pub detail: String,
    pub(super) place: Option<Range<usize>>,
}

/// All that is wrong with the settings. Its text shows each fault with its line.
#[derive(Debug)]
pub struct SettingsError {
    pub(super) source: Option<Source>,
    /// Every fault found, in the order of the file.
    pub faults: Vec<Fault>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match (&self.source, &fault.place) {
                (Some(source), Some(place)) => f.write_str(&source.show(place, &fault.detail))?,
                _ => write!(f, "error: {}: {}", fault.key, fault.detail)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for SettingsError {}

impl Source {
    fn show(&self, place: &Range<usize>, detail: &str) -> String {
        let snippet = Snippet::source(&self.text)
            .path(&self.name)
            .annotation(AnnotationKind::Primary.span(place.clone()));
        Renderer::plain().render(&[Level::ERROR.primary_title(detail).element(snippet)])
    }
}
