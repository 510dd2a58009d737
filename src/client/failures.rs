//! Which nodes gave no answer to a call, and what that means for it as a whole.

use http::StatusCode;

use super::{Error, Problem, Repeat};

/// What one node came to instead of an answer that counts.
#[derive(Debug)]
pub(super) enum Missed {
    /// The call is no HTTP request.
    Unfit(Error),
    /// It was not reached.
    Unasked(String),
    /// It was asked, in part at least, and did not answer.
    Silent(String),
    /// It answered an error.
    Refused(Problem),
    /// What answered is no node.
    Strange { error: Error, sent_on: bool },
}

/// Of one call.
#[derive(Debug)]
pub(super) struct Failures {
    repeat: Repeat,
    /// A write's.
    key: Option<String>,
    tried: Vec<String>,
    /// That it may have been carried out for all that is known.
    unknown: Option<Error>,
    /// That no quorum answered.
    refused: Option<Problem>,
    strange: Option<Error>,
}

impl Failures {
    pub(super) fn of(repeat: Repeat, key: Option<String>) -> Self {
        Self {
            repeat,
            key,
            tried: Vec::new(),
            unknown: None,
            refused: None,
            strange: None,
        }
    }

    /// Notes one more. An error ends the call: it is what the `others` would say too, or they may not be asked.
    pub(super) fn note(&mut self, admin: &str, missed: Missed, others: bool) -> Result<(), Error> {
        match missed {
            Missed::Unfit(error) => return Err(error),
            Missed::Unasked(why) => self.tried.push(format!("{admin}: {why}")),
            Missed::Silent(why) => {
                self.tried.push(format!("{admin}: {why}"));
                self.may_be_done(admin, why)?;
            }
            Missed::Strange { error, sent_on } => {
                self.tried.push(format!("{admin}: {error}"));
                if sent_on {
                    self.may_be_done(admin, error.to_string())?;
                }
                self.strange.get_or_insert(error);
            }
            Missed::Refused(problem) => return self.refused(admin, problem, others),
        }
        Ok(())
    }

    /// Nobody tells what became of it, unless the next node does, under the same key.
    fn may_be_done(&mut self, admin: &str, why: String) -> Result<(), Error> {
        let unknown = Error::Unknown {
            admin: admin.to_owned(),
            why,
            key: self.key.clone(),
        };
        match self.repeat {
            Repeat::Read => {}
            Repeat::Order => return Err(unknown),
            Repeat::Write | Repeat::Claim => {
                self.unknown.get_or_insert(unknown);
            }
        }
        Ok(())
    }

    fn refused(&mut self, admin: &str, problem: Problem, others: bool) -> Result<(), Error> {
        let no_quorum = problem.status == StatusCode::SERVICE_UNAVAILABLE;
        let passes = match self.repeat {
            Repeat::Read => no_quorum,
            Repeat::Order => problem.is_undone(),
            Repeat::Write | Repeat::Claim => problem.is_undone() || problem.is_unknown() && others,
        };
        // Who does not know the sender, or fails, says nothing of what another may have done.
        let says_nothing = self.unknown.is_some() && !decides(problem.status);
        if !passes && !says_nothing {
            return Err(Error::Refused(Box::new(problem)));
        }
        self.tried.push(format!("{admin}: {problem}"));
        if problem.is_unknown() && self.repeat != Repeat::Read {
            self.unknown
                .get_or_insert(Error::Refused(Box::new(problem)));
        } else {
            self.refused.get_or_insert(problem);
        }
        Ok(())
    }

    /// When all have failed.
    pub(super) fn most_telling(self) -> Error {
        let refused = || Some(Error::Refused(Box::new(self.refused?)));
        let unreachable = Error::Unreachable { tried: self.tried };
        self.unknown
            .or_else(refused)
            .or(self.strange)
            .unwrap_or(unreachable)
    }
}

/// Whether it was the log that decided so.
fn decides(status: StatusCode) -> bool {
    let by_this_node = [
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    !status.is_server_error() && !by_this_node.contains(&status)
        || status == StatusCode::GATEWAY_TIMEOUT
}
