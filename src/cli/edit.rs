//! `synod edit KIND [NAME]`: a spec as YAML in an editor, and what was made of it put back.
//!
//! What was written is put only over what was read (`If-Match`). Whatever goes wrong, what was written stays: faults
//! are shown above it in the editor, and else its file is kept and named.

use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, anyhow};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::remote::{Remote, Write};
use super::{Failure, backend, changes, file};
use crate::client::{Answer, Call, Error};

#[derive(clap::Args)]
pub(super) struct Args {
    /// What to edit
    #[arg(value_enum)]
    kind: Kind,
    /// Its name; a backend's is POOL/BACKEND; none for the whole config
    name: Option<String>,
    #[command(flatten)]
    write: Write,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    #[value(alias = "pools")]
    Pool,
    #[value(alias = "routes")]
    Route,
    #[value(alias = "backends")]
    Backend,
    #[value(alias = "policies")]
    Policy,
    Config,
}

pub(super) fn run(remote: &Remote, args: Args) -> Result<(), Failure> {
    let subject = Subject::read(remote, &args)?;
    let mut draft = Draft::new(&subject)?;
    loop {
        let edited = draft.edit()?;
        let wrong = match parse(&edited) {
            Ok(None) => return unchanged(remote, &subject),
            Ok(Some(spec)) if spec == subject.spec => return unchanged(remote, &subject),
            Ok(Some(spec)) => match subject.put(remote, &spec, &args.write) {
                Ok(answer) => return changed(remote, &subject, spec, &answer),
                Err(Refused::Faults(faults)) => faults,
                Err(Refused::Else(failure)) => return Err(draft.keep(failure)),
            },
            Err(wrong) => wrong,
        };
        draft.complain(&subject, &edited, &wrong)?;
    }
}

fn unchanged(remote: &Remote, subject: &Subject) -> Result<(), Failure> {
    let answer = json!({"path": subject.path, "changed": false});
    let text = |_: &Value| format!("{} is as it was", subject.name);
    remote.output.print(&answer, text)
}

fn changed(
    remote: &Remote,
    subject: &Subject,
    spec: Value,
    answer: &Answer,
) -> Result<(), Failure> {
    remote.output.print(&answer.body, |_| {
        let change = json!([{"path": subject.name, "before": subject.spec, "after": spec}]);
        format!("{}\nrevision {}", changes::text(&change), answer.revision)
    })
}

/// What is edited, as it was read.
struct Subject {
    path: String,
    /// As changes name it.
    name: String,
    spec: Value,
    etag: String,
}

/// Why an edit was not taken.
enum Refused {
    /// It breaks rules, which are told.
    Faults(String),
    Else(Failure),
}

impl Subject {
    fn read(remote: &Remote, args: &Args) -> Result<Self, Failure> {
        let path = match (args.kind, args.name.as_deref()) {
            (Kind::Config, None) => "/v1/config".to_owned(),
            (Kind::Pool, Some(name)) => format!("/v1/pools/{}", backend::name_of(name)?),
            (Kind::Route, Some(name)) => format!("/v1/routes/{}", backend::name_of(name)?),
            (Kind::Backend, Some(name)) => backend::path(name)?,
            (Kind::Policy, Some(name)) => format!("/v1/policies/{}", backend::name_of(name)?),
            (Kind::Config, Some(_)) => {
                return Err(Failure::Usage(anyhow!("the whole config has no name")));
            }
            (_, None) => return Err(Failure::Usage(anyhow!("which one? give its name"))),
        };
        let answer = remote.call(Call::get(&path))?;
        let etag = answer.etag.clone();
        let etag = etag.ok_or_else(|| answer.without("`ETag`"))?;
        let spec = match args.kind {
            Kind::Config => answer.body,
            _ => answer.field("spec")?.clone(),
        };
        Ok(Self {
            name: path.trim_start_matches("/v1").to_owned(),
            path,
            spec,
            etag,
        })
    }

    /// Puts `spec` in the place of what was read.
    fn put(&self, remote: &Remote, spec: &Value, write: &Write) -> Result<Answer, Refused> {
        let put = remote.replace(&self.path, spec.clone(), write, &self.etag);
        put.map_err(|failure| {
            let Failure::Failed(error) = failure else {
                return Refused::Else(failure);
            };
            match error.downcast_ref() {
                Some(Error::Refused(problem)) => match problem.status {
                    StatusCode::PRECONDITION_FAILED => {
                        let (name, etag) = (&self.name, &self.etag);
                        let why = format!(
                            "{name} has changed since it was read at revision {etag}: edit it again"
                        );
                        Refused::Else(Failure::Failed(anyhow!(why)))
                    }
                    StatusCode::BAD_REQUEST
                    | StatusCode::CONFLICT
                    | StatusCode::UNPROCESSABLE_ENTITY => Refused::Faults(problem.to_string()),
                    _ => Refused::Else(Failure::Failed(error)),
                },
                _ => Refused::Else(Failure::Failed(error)),
            }
        })
    }
}

/// What was written; `None` where there is nothing but comments.
fn parse(text: &str) -> Result<Option<Value>, String> {
    let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    if text.lines().all(blank) {
        return Ok(None);
    }
    let value = file::parse_yaml(text);
    value
        .map_err(|why| format!("this is not YAML: {why}"))
        .map(Some)
}

/// Without a terminal nobody reads the faults: an editor that is a script may correct what it wrote, but not for ever.
const UNWATCHED: usize = 3;

/// The file in the editor; gone with this unless it is kept.
struct Draft {
    path: PathBuf,
    kept: bool,
    /// What was written and refused, the latest last.
    refused: Vec<String>,
}

impl Draft {
    fn new(subject: &Subject) -> Result<Self, Failure> {
        let name = subject.name.trim_start_matches('/').replace('/', "-");
        let file = format!("synod-{name}-{}.yaml", uuid::Uuid::new_v4().simple());
        let path = std::env::temp_dir().join(file);
        let head = format!("{} at revision {}\n", subject.name, subject.etag);
        let help = "What is saved is put back; unchanged or empty, nothing is done.";
        let spec = serde_saphyr::to_string(&subject.spec)?;
        let text = format!("{}{spec}", comment(&format!("{head}{help}")));
        // It may hold keys: nobody else reads it, and nobody else has made it.
        let mut options = fs::File::options();
        let made = options.write(true).create_new(true).mode(0o600).open(&path);
        let made = made.and_then(|mut file| file.write_all(text.as_bytes()));
        made.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            path,
            kept: false,
            refused: Vec::new(),
        })
    }

    /// Has it edited; what is in it then.
    fn edit(&mut self) -> Result<String, Failure> {
        let before = file::read_text(&self.path)?;
        let ended = open_editor(&self.path);
        let after = file::read_text(&self.path)?;
        match ended {
            Ok(()) => Ok(after),
            Err(error) if after == before => Err(error.into()),
            Err(error) => Err(self.keep(error.into())),
        }
    }

    /// Puts what is wrong above what was written. Who saved the same again has given up.
    fn complain(&mut self, subject: &Subject, edited: &str, wrong: &str) -> Result<(), Failure> {
        let written = edited.lines().skip_while(|line| line.starts_with('#'));
        let written: String = written.map(|line| format!("{line}\n")).collect();
        let help = "Nothing was changed yet. Saved as it is, or empty, nothing will be.";
        let head = comment(&format!("{}: {wrong}\n{help}", subject.name));
        let text = format!("{head}{written}");
        let same = text == edited || self.refused.last() == Some(&written);
        self.refused.push(written);
        let unwatched = !std::io::stdin().is_terminal() && self.refused.len() >= UNWATCHED;
        if same || unwatched {
            return Err(self.keep(Failure::Failed(anyhow!("nothing was changed: {wrong}"))));
        }
        let put = fs::write(&self.path, text);
        Ok(put.with_context(|| format!("cannot write {}", self.path.display()))?)
    }

    /// Leaves the file where it is, and adds to the failure where that is.
    fn keep(&mut self, failure: Failure) -> Failure {
        self.kept = true;
        let kept = |error: anyhow::Error| {
            anyhow!("{error:#}\nwhat was written is in {}", self.path.display())
        };
        match failure {
            Failure::Failed(error) => Failure::Failed(kept(error)),
            Failure::TimedOut(error) => Failure::TimedOut(kept(error)),
            Failure::Usage(error) => Failure::Usage(kept(error)),
            told => told,
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed lies where temporary files do.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn comment(text: &str) -> String {
    text.lines().map(|line| format!("# {line}\n")).collect()
}

/// Runs $VISUAL, $EDITOR or vi, which may be a command with arguments, until it ends.
fn open_editor(path: &Path) -> anyhow::Result<()> {
    let named = ["VISUAL", "EDITOR"].into_iter().find_map(|variable| {
        std::env::var(variable)
            .ok()
            .filter(|editor| !editor.trim().is_empty())
    });
    let editor = named.unwrap_or_else(|| "vi".to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _inside = runtime.enter();
    // An interrupt typed in the editor is the editor's.
    let _interrupts = signal(SignalKind::interrupt())?;
    let status = Command::new("sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(path)
        .status()
        .context("cannot run `sh`")?;
    match status.success() {
        true => Ok(()),
        false => Err(anyhow!(
            "`{editor}` ended with {status}, nothing was changed; set VISUAL or EDITOR to name another editor"
        )),
    }
}
