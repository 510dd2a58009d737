//! One lock: who holds it, who waits, and who comes next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::{Acquire, Mode, SessionId, Token};
use crate::bugs::{Bug, broken};
use crate::state::Stamp;

/// A lock that somebody holds or waits for, or that was held not long ago.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    pub(super) newest: Token,
    pub(super) fence: Token,
    pub(super) holders: Vec<Holder>,
    pub(super) queue: VecDeque<Claim>,
    pub(super) delay: Option<Delay>,
}

/// What a session wants of a lock, or has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose.
    pub session: SessionId,
    /// The slot that made it: its name.
    pub ticket: u64,
    /// How the lock is to be held.
    pub mode: Mode,
    /// How long it may wait.
    pub wait: Duration,
    /// How long nobody else gets the lock if the session fails while it holds it.
    pub delay: Duration,
    /// What others see of it.
    pub content: Arc<str>,
}

/// A claim that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The claim.
    pub claim: Claim,
    /// The slot of the grant.
    pub token: Token,
    /// State time of the grant.
    pub since: Stamp,
}

/// A holder has failed, and what it had on the way may still arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// How the lock was held.
    pub mode: Mode,
    /// The newest token of those that failed.
    pub token: Token,
    /// How long nobody gets the lock whom that would harm.
    pub lasts: Duration,
}

impl Lock {
    /// The newest grant there ever was.
    pub fn newest(&self) -> Token {
        self.newest
    }

    /// The oldest token that is still good: that of the newest exclusive grant, or of the first of those that share the
    /// lock since.
    pub fn fence(&self) -> Token {
        self.fence
    }

    /// Who holds it now, in the order of their grants: one that is exclusive, or any number that share it.
    pub fn holders(&self) -> &[Holder] {
        &self.holders
    }

    /// Who waits, the next one first.
    pub fn queue(&self) -> impl ExactSizeIterator<Item = &Claim> {
        self.queue.iter()
    }

    /// Why nobody gets it, though nobody may hold it.
    pub fn delay(&self) -> Option<Delay> {
        self.delay
    }

    pub(super) fn is_idle(&self) -> bool {
        self.holders.is_empty() && self.queue.is_empty() && self.delay.is_none()
    }

    /// How many claims there are, granted or not.
    pub(super) fn claims(&self) -> usize {
        self.holders.len() + self.queue.len()
    }

    /// The session's claim and, where it was granted, its token.
    pub(super) fn claim(&self, session: SessionId) -> Option<(&Claim, Option<Token>)> {
        let held = self.holders.iter().find(|it| it.claim.session == session);
        let held = held.map(|holder| (&holder.claim, Some(holder.token)));
        held.or_else(|| {
            let waiting = self.queue.iter().find(|claim| claim.session == session);
            waiting.map(|claim| (claim, None))
        })
    }

    /// Whether a claim of this mode that comes now would be granted now: nobody overtakes who waits.
    pub(super) fn admits_now(&self, mode: Mode) -> bool {
        self.queue.is_empty() && admits(&self.holders, self.delay, mode)
    }

    pub(super) fn enqueue(&mut self, acquire: &Acquire, ticket: u64) {
        self.queue.push_back(Claim {
            session: acquire.session,
            ticket,
            mode: acquire.mode,
            wait: acquire.wait,
            delay: acquire.delay,
            content: acquire.content.clone(),
        });
    }

    /// Grants as many as can be, in the order they came, by this slot. It is called once a slot, when all that ends in
    /// it has ended: so a slot is the token of one exclusive grant at most. Answers the new holders.
    pub(super) fn grant(&mut self, slot: u64, now: Stamp) -> &[Holder] {
        let (holders, delay) = (&mut self.holders, self.delay);
        let before = holders.len();
        while let Some(claim) = self
            .queue
            .pop_front_if(|next| admits(holders, delay, next.mode))
        {
            self.newest = Token(match broken(Bug::RequestToken) {
                true => claim.ticket,
                false => slot,
            });
            if holders.is_empty() {
                self.fence = self.newest;
            }
            holders.push(Holder {
                claim,
                token: self.newest,
                since: now,
            });
        }
        &self.holders[before..]
    }

    /// Takes the session's claim away; its token if it held the lock. Where it failed then, its lock-delay begins.
    pub(super) fn withdraw(&mut self, session: SessionId, failed: bool) -> Option<Token> {
        if !(failed && broken(Bug::Etcd11456)) {
            self.queue.retain(|claim| claim.session != session);
        }
        let mut holders = self.holders.iter();
        let at = holders.position(|holder| holder.claim.session == session)?;
        let holder = self.holders.remove(at);
        if !failed || holder.claim.delay.is_zero() {
            return Some(holder.token);
        }
        // Several can only be of holders that shared it: the longest covers all.
        let before = self.delay.map_or(Duration::ZERO, |delay| delay.lasts);
        self.delay = Some(Delay {
            mode: holder.claim.mode,
            token: holder.token.max(self.delay.map_or(Token(0), |it| it.token)),
            lasts: holder.claim.delay.max(before),
        });
        Some(holder.token)
    }
}

/// Whether one more may hold the lock so.
fn admits(holders: &[Holder], delay: Option<Delay>, mode: Mode) -> bool {
    let held = holders.iter().map(|holder| holder.claim.mode);
    let delayed = delay.map(|delay| delay.mode);
    held.chain(delayed).all(|other| mode.goes_with(other))
}
