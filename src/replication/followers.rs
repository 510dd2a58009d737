//! The followers of the group, as this voter knows them: its own and, by what the other voters tell, theirs.
//!
//! A follower is known by its instance and must have a name of its own among the living. One that falls silent is
//! waited for and named for a minute; only a clean stop takes it off at once.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::frame::{self, Report};
use super::reports::SILENT;

/// How long a follower that has fallen silent is still counted as a node.
pub const REMEMBERED: Duration = Duration::from_secs(60);

/// All followers heard of.
#[derive(Default)]
pub(super) struct Followers(Mutex<Known>);

#[derive(Default)]
struct Known {
    followers: BTreeMap<Bytes, Follower>,
    /// Instances that left by this voter and of which the others are to be told.
    left: Vec<Bytes>,
}

/// One follower.
#[derive(Clone)]
pub(super) struct Follower {
    pub(super) name: String,
    pub(super) peer: String,
    pub(super) report: Report,
    pub(super) at: Instant,
    /// Slots behind this node when it spoke.
    lag: u64,
    /// Its connection to this voter, if it has one: cancelled to end it.
    connection: Option<CancellationToken>,
    /// Heard here since the other voters were last told.
    news: bool,
}

impl Followers {
    /// A follower wants to connect. It is refused where its name is another's; an older connection of it ends.
    pub(super) fn admit(
        &self,
        follow: &frame::Follow,
        lag: u64,
    ) -> Result<CancellationToken, String> {
        let mut known = self.lock();
        known.forget();
        if let Some((_, other)) = known
            .followers
            .iter()
            .find(|(instance, other)| **instance != follow.instance && other.name == follow.name)
        {
            return Err(format!(
                "the name `{}` is that of another follower, heard {} s ago; give this node another with --node, \
                 or wait until that one is forgotten, {} s after it was last heard",
                follow.name,
                other.at.elapsed().as_secs(),
                REMEMBERED.as_secs()
            ));
        }
        let before = known.followers.get(&follow.instance);
        if let Some(twin) = before.filter(|twin| twin.name != follow.name && twin.lives()) {
            return Err(format!(
                "its data directory is a copy of that of `{}`, which runs; give it an empty one",
                twin.name
            ));
        }
        let connection = CancellationToken::new();
        let report = before.map(|before| before.report.clone());
        let follower = Follower {
            name: follow.name.clone(),
            peer: follow.peer.clone(),
            report: report.unwrap_or_default(),
            at: Instant::now(),
            lag,
            connection: Some(connection.clone()),
            news: true,
        };
        if let Some(Follower {
            connection: Some(old),
            ..
        }) = known.followers.insert(follow.instance.clone(), follower)
        {
            old.cancel();
        }
        Ok(connection)
    }

    /// Its follower has told this voter what it serves. Tells whether that is anything new.
    pub(super) fn told(&self, instance: &Bytes, report: Report, applied: u64) -> bool {
        let mut known = self.lock();
        let Some(follower) = known.followers.get_mut(instance) else {
            return false;
        };
        let news = served(&follower.report) != served(&report);
        follower.lag = applied.saturating_sub(report.slot);
        (follower.report, follower.at, follower.news) = (report, Instant::now(), true);
        news
    }

    /// Another voter has told of its followers. Tells whether that is anything new.
    pub(super) fn heard(&self, told: frame::Followers, applied: u64) -> bool {
        let mut known = self.lock();
        let mut news = false;
        for heard in told.heard {
            let report = heard.report.unwrap_or_default();
            if known.oust(&heard.instance, &heard.name) {
                continue;
            }
            let before = known.followers.get(&heard.instance);
            news |= before.is_none_or(|before| served(&before.report) != served(&report));
            let follower = Follower {
                name: heard.name,
                peer: heard.peer,
                lag: applied.saturating_sub(report.slot),
                report,
                at: Instant::now(),
                connection: before.and_then(|before| before.connection.clone()),
                news: before.is_some_and(|before| before.news),
            };
            known.followers.insert(heard.instance, follower);
        }
        for instance in told.left {
            news |= known.followers.remove(&instance).is_some();
        }
        known.forget();
        news
    }

    /// A connection has ended, but for one that took its place.
    pub(super) fn parted(&self, instance: &Bytes, connection: &CancellationToken) {
        // A token that was cancelled has been replaced.
        if let Some(follower) = self.lock().followers.get_mut(instance)
            && !connection.is_cancelled()
        {
            follower.connection = None;
        }
    }

    /// It stops, and says so.
    pub(super) fn left(&self, instance: &Bytes) {
        let mut known = self.lock();
        if known.followers.remove(instance).is_some() {
            known.left.push(instance.clone());
        }
    }

    /// What the other voters are to be told, if anything.
    pub(super) fn news(&self) -> Option<frame::Followers> {
        let mut known = self.lock();
        let fresh = known.followers.iter_mut().filter(|(_, f)| f.news);
        let heard: Vec<frame::Follower> = fresh
            .map(|(instance, follower)| {
                follower.news = false;
                frame::Follower {
                    instance: instance.clone(),
                    name: follower.name.clone(),
                    report: Some(follower.report.clone()),
                    peer: follower.peer.clone(),
                }
            })
            .collect();
        let left = std::mem::take(&mut known.left);
        (!heard.is_empty() || !left.is_empty()).then_some(frame::Followers { heard, left })
    }

    /// All that were heard within the last minute, by instance.
    pub(super) fn all(&self) -> Vec<(Bytes, Follower)> {
        let mut known = self.lock();
        known.forget();
        let all = known.followers.iter();
        all.map(|(instance, follower)| (instance.clone(), follower.clone()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing under this lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn forget(&mut self) {
        self.followers
            .retain(|_, follower| follower.at.elapsed() <= REMEMBERED);
    }

    /// Two voters may each have admitted a follower of one name at the same time. Everywhere the lower instance keeps
    /// it; the other is cut off, and hears why when it calls again. Tells whether the one heard of is that other.
    fn oust(&mut self, instance: &Bytes, name: &str) -> bool {
        let same = |(other, follower): &(&Bytes, &Follower)| {
            follower.name == name && *other != instance && follower.lives()
        };
        let Some(other) = self.followers.iter().find(same).map(|(other, _)| other) else {
            return false;
        };
        let other = other.clone();
        if other < *instance {
            return true;
        }
        let loser = self.followers.remove(&other);
        if let Some(connection) = loser.and_then(|loser| loser.connection) {
            connection.cancel();
        }
        false
    }
}

impl Follower {
    /// Slots behind this node when it spoke, or by now, where somebody is at `furthest`, if it has fallen silent.
    pub(super) fn lag(&self, furthest: u64) -> u64 {
        match self.lives() {
            true => self.lag,
            false => furthest.saturating_sub(self.report.slot),
        }
    }

    fn lives(&self) -> bool {
        self.at.elapsed() <= SILENT
    }
}

/// Slots move with every commit; whoever waits, waits for what is served.
pub(super) fn served(report: &Report) -> Report {
    Report {
        slot: 0,
        ..report.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(name: &str, instance: u8) -> frame::Follow {
        frame::Follow {
            name: name.to_owned(),
            instance: Bytes::from(vec![instance; 16]),
            ..Default::default()
        }
    }

    fn names(followers: &Followers) -> Vec<String> {
        followers.all().into_iter().map(|(_, f)| f.name).collect()
    }

    #[test]
    fn a_name_is_one_followers_until_it_leaves() {
        let followers = Followers::default();
        let first = followers.admit(&follow("p1", 1), 0).expect("nobody has it");
        let refused = followers
            .admit(&follow("p1", 2), 0)
            .expect_err("it is taken");
        assert!(refused.contains("`p1`"), "{refused}");
        let again = followers.admit(&follow("p1", 1), 0).expect("the same one");
        assert!(first.is_cancelled() && !again.is_cancelled());
        followers.left(&follow("p1", 1).instance);
        assert!(followers.admit(&follow("p1", 2), 0).is_ok());
    }

    #[test]
    fn one_that_is_silent_falls_behind() {
        let followers = Followers::default();
        let p1 = follow("p1", 1);
        followers.admit(&p1, 0).expect("nobody has it");
        let report = Report {
            slot: 22,
            ..Report::default()
        };
        followers.told(&p1.instance, report, 22);
        let (_, mut follower) = followers.all().remove(0);
        assert_eq!(follower.lag(38), 0, "it was in step when it spoke");
        follower.at -= SILENT + Duration::from_secs(1);
        assert_eq!(follower.lag(38), 16);
    }

    #[test]
    fn a_copied_directory_is_refused_under_another_name() {
        let followers = Followers::default();
        followers.admit(&follow("p1", 1), 0).expect("nobody has it");
        let refused = followers.admit(&follow("p2", 1), 0);
        assert!(refused.is_err_and(|why| why.contains("copy")));
    }

    #[test]
    fn voters_tell_each_other_and_of_two_with_one_name_one_stays() {
        let (here, there) = (Followers::default(), Followers::default());
        let kept = here.admit(&follow("p1", 1), 0).expect("nobody has it");
        let lost = there.admit(&follow("p1", 2), 0).expect("nor here");
        let (from_here, from_there) = (here.news().expect("news"), there.news().expect("news"));
        there.heard(from_here, 0);
        assert!(lost.is_cancelled());
        here.heard(from_there, 0);
        assert!(!kept.is_cancelled());
        assert_eq!(
            (names(&here), names(&there)),
            (vec!["p1".to_owned()], vec!["p1".to_owned()])
        );
        assert_eq!(here.all()[0].0, there.all()[0].0);

        here.left(&follow("p1", 1).instance);
        there.heard(here.news().expect("it left"), 0);
        assert_eq!(names(&there), [""; 0]);
        assert_eq!(here.news(), None);
    }
}
