//! Reads what callgrind writes: a file for each dump and thread, with the cost of each function and who called whom.

use std::fs;
use std::path::Path;

/// What was counted.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) instructions: u64,
    /// Calls of the allocator that take memory or move it.
    pub(crate) allocations: u64,
}

/// What each dump holds, in order; they are of the only thread.
pub(crate) fn dumps(folder: &Path) -> Vec<Counts> {
    let mut dumps: Vec<(usize, Counts)> = files(folder)
        .filter_map(|(name, text)| {
            // `out.PART-THREAD`; what is left at the end of the process has no part.
            let part = name.strip_prefix("out.")?.split('-').next()?;
            Some((part.parse().ok()?, count(&text)))
        })
        .collect();
    dumps.sort_by_key(|(part, _)| *part);
    dumps.into_iter().map(|(_, counts)| counts).collect()
}

/// All that the thread did, not the first, that runs a function whose name contains this.
pub(crate) fn thread(folder: &Path, function: &str) -> Counts {
    let runs = |text: &str| text.contains(function) && !text.contains("\nthread: 1\n");
    let thread = files(folder).find(|(_, text)| runs(text));
    count(&thread.expect("the thread runs").1)
}

fn files(folder: &Path) -> impl Iterator<Item = (String, String)> {
    let files = fs::read_dir(folder).expect("the folder is there");
    files.map(|file| {
        let file = file.expect("it can be listed");
        let text = fs::read_to_string(file.path()).expect("it can be read");
        (file.file_name().to_string_lossy().into_owned(), text)
    })
}

fn count(file: &str) -> Counts {
    let mut counts = Counts::default();
    let mut names: Vec<(&str, &str)> = Vec::new();
    let mut called = "";
    for line in file.lines() {
        if let Some(total) = line.strip_prefix("totals: ") {
            counts.instructions = total.trim().parse().expect("a number");
        } else if let Some((id, name)) = function(line) {
            // A name is written once, and then only its number.
            if !name.is_empty() {
                names.push((id, name));
            }
            if line.starts_with("cfn") {
                let named = names.iter().find(|(of, _)| *of == id);
                called = named.map_or("", |(_, name)| *name);
            }
        } else if let Some(calls) = line.strip_prefix("calls=")
            && [
                "malloc",
                "calloc",
                "realloc",
                "posix_memalign",
                "aligned_alloc",
            ]
            .contains(&called)
        {
            let calls = calls.split(' ').next().unwrap_or_default();
            counts.allocations += calls.parse::<u64>().expect("a number");
        }
    }
    counts
}

/// The number and the name in `fn=(12) name` or `cfn=(12)`.
fn function(line: &str) -> Option<(&str, &str)> {
    let text = line.strip_prefix("fn=").or(line.strip_prefix("cfn="))?;
    let (id, name) = text.split_once(')')?;
    Some((id, name.trim()))
}
