//! How far one voter follows this leader, and what to send it next.

use super::log::Log;
use super::outbox::Outbox;
use super::{Ballot, Message, NodeId, Options, Position, Round, Slot, Summary, SyncId, Time};

/// After so many rounds without a word of its sync a voter in sync is taken to have lost it.
const SILENT: u32 = 3;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Progress {
    /// Accepted in this ballot through this slot, durably: this voter's vote.
    pub(super) matched: Slot,
    /// The newest round it has answered in sync with this leader.
    pub(super) round: Round,
    /// When it last said anything in this ballot.
    pub(super) heard: Time,
    /// Told decided through this slot.
    told: Slot,
    /// The summary its last sync answers.
    sync: Option<SyncId>,
    /// Rounds it has answered since it last said how far its sync has come.
    silent: u32,
    /// The round in which it was last told to fetch a checkpoint.
    told_to_fetch: Option<Round>,
    stage: Stage,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Stage {
    /// Its log is not known.
    Unknown,
    /// Its log is being made this leader's through `through`. The part at `sent` left in round `round`.
    Syncing {
        from: Slot,
        through: Slot,
        sent: Slot,
        round: Round,
    },
    /// Its log is this leader's; `next` is to be sent.
    Streaming { next: Slot, probe: Option<Probe> },
}

/// An answer to this round that has not received all before `next` tells of a loss.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Probe {
    round: Round,
    next: Slot,
}

/// What a progress must know of its leader.
pub(super) struct Led<'a> {
    pub(super) ballot: Ballot,
    pub(super) round: Round,
    pub(super) decided: Slot,
    pub(super) log: &'a Log,
}

impl Progress {
    pub(super) fn new(now: Time) -> Self {
        Progress {
            matched: Slot::ZERO,
            round: Round(0),
            heard: now,
            told: Slot::ZERO,
            sync: None,
            silent: 0,
            told_to_fetch: None,
            stage: Stage::Unknown,
        }
    }

    /// Whether it has said anything within the election timeout.
    pub(super) fn is_heard(&self, now: Time, options: &Options) -> bool {
        now.since(self.heard) < options.election_timeout
    }

    /// The voter is not in sync, and this is its log: begins to sync it, or goes on.
    ///
    /// The sync ends with this leader's last entry as of now, which is past everything the voter may have accepted in
    /// this ballot and lost since: so a damaged voter is whole by it.
    ///
    /// Also of one that was taken for synced: what said so may have been sent before it crashed. One that is synced
    /// passes over the sync. (`a_voter_that_asks_again_is_synced_whatever_was_said_before`)
    pub(super) fn on_summary(
        &mut self,
        to: NodeId,
        summary: &Summary,
        led: &Led,
        out: &mut Outbox,
    ) {
        let Some(from) = led.log.meets(summary) else {
            return self.tell_to_fetch(to, led, out);
        };
        let syncing = matches!(self.stage, Stage::Syncing { .. });
        if self.sync != Some(summary.sync) || !syncing {
            let last = led.log.last();
            let from = from.min(last);
            self.sync = Some(summary.sync);
            // Not sent yet, in no round.
            self.stage = Stage::Syncing {
                from,
                through: last,
                sent: Slot::ZERO,
                round: Round(0),
            };
        }
        match self.stage {
            Stage::Syncing { from, .. } if from < led.log.start() => {
                self.tell_to_fetch(to, led, out);
            }
            Stage::Syncing { from, .. } => self.send_part(to, from, led, out),
            _ => {}
        }
    }

    /// The voter has staged the sync up to `next`.
    pub(super) fn on_staged(
        &mut self,
        to: NodeId,
        sync: SyncId,
        next: Slot,
        led: &Led,
        out: &mut Outbox,
    ) {
        if self.sync != Some(sync) {
            return;
        }
        self.silent = 0;
        match self.stage {
            // Compacted meanwhile.
            Stage::Unknown => self.tell_to_fetch(to, led, out),
            _ if next < led.log.start() => self.tell_to_fetch(to, led, out),
            _ => self.send_part(to, next, led, out),
        }
    }

    /// This log no longer holds what the voter lacks. Said once a round.
    fn tell_to_fetch(&mut self, to: NodeId, led: &Led, out: &mut Outbox) {
        (self.stage, self.silent) = (Stage::Unknown, 0);
        if self.told_to_fetch < Some(led.round) {
            self.told_to_fetch = Some(led.round);
            let (ballot, start) = (led.ballot, led.log.start());
            out.send(to, Message::Fetch { ballot, start });
        }
    }

    /// Sends the part at `next`, unless it is on its way: it is taken for lost after two rounds.
    fn send_part(&mut self, to: NodeId, next: Slot, led: &Led, out: &mut Outbox) {
        let (
            Stage::Syncing {
                from,
                through,
                sent,
                round,
            },
            Some(sync),
        ) = (&mut self.stage, self.sync)
        else {
            return;
        };
        if next < *from || next > *through || (next == *sent && led.round.0 < round.0 + 2) {
            return;
        }
        (*sent, *round) = (next, led.round);
        let (ballot, from, through) = (led.ballot, *from, *through);
        let entries = led.log.chunk(next, through).to_vec();
        out.send(
            to,
            Message::Sync {
                ballot,
                sync,
                from,
                through,
                first: next,
                entries,
            },
        );
    }

    /// The voter has this leader's log through `last`, durably.
    pub(super) fn on_accepted(&mut self, last: Slot, led: &Led) {
        assert!(
            last <= led.log.last(),
            "a vote for slot {last}, which was not proposed"
        );
        self.matched = self.matched.max(last);
        if let Stage::Syncing { through, .. } = self.stage
            && last >= through
        {
            self.stage = Stage::Streaming {
                next: last.next(),
                probe: None,
            };
        }
    }

    /// The voter, in sync, has answered a round.
    pub(super) fn on_position(
        &mut self,
        to: NodeId,
        round: Round,
        position: Position,
        led: &Led,
        out: &mut Outbox,
    ) {
        assert!(
            position.received <= led.log.last(),
            "received slot {}, which was not proposed",
            position.received
        );
        self.on_accepted(position.accepted, led);
        self.round = self.round.max(round);
        let wanted = position.received.next();
        if wanted < led.log.start() {
            // In sync, but behind what is compacted. One on its way behind a checkpoint says so after each heartbeat;
            // one that does not has lost that checkpoint in a crash.
            match &self.stage {
                Stage::Syncing { round: sent, .. } if self.silent < SILENT => {
                    self.silent += u32::from(round > *sent);
                }
                _ => self.tell_to_fetch(to, led, out),
            }
            return;
        }
        match &mut self.stage {
            Stage::Streaming { next, probe } => {
                if let Some(lost) = probe.take_if(|probe| round >= probe.round) {
                    *next = if wanted < lost.next { wanted } else { *next };
                }
                *next = wanted.max(*next);
            }
            stage => {
                *stage = Stage::Streaming {
                    next: wanted,
                    probe: None,
                }
            }
        }
    }

    /// A heartbeat is about to be sent. Its answer will tell whether what was sent before has arrived.
    pub(super) fn on_heartbeat(&mut self, led: &Led) {
        self.told = self.told.max(led.decided);
        if let Stage::Streaming { next, probe } = &mut self.stage {
            probe.get_or_insert(Probe {
                round: led.round,
                next: *next,
            });
        }
    }

    /// Sends what the voter lacks, as far as the window allows, and what is decided.
    pub(super) fn stream(&mut self, to: NodeId, led: &Led, options: &Options, out: &mut Outbox) {
        let Stage::Streaming { next, .. } = &mut self.stage else {
            return;
        };
        if *next < led.log.start() {
            return self.tell_to_fetch(to, led, out);
        }
        let mut told = self.told >= led.decided;
        while *next <= led.log.last() {
            let flying = next.previous().since(self.matched) as usize;
            let full = flying >= options.window_entries
                || led.log.weight(self.matched.next(), next.previous()) >= options.window_bytes;
            if full {
                break;
            }
            let room = next.plus(options.window_entries - flying).previous();
            let entries = led.log.chunk(*next, room);
            let foreign = entries.iter().any(|entry| entry.ballot != led.ballot);
            assert!(!foreign, "an entry of another ballot behind the barrier");
            let payloads: Vec<_> = entries.iter().map(|entry| entry.payload.clone()).collect();
            let first = *next;
            *next = next.plus(payloads.len());
            out.send(
                to,
                Message::Accept {
                    ballot: led.ballot,
                    first,
                    payloads,
                    decided: led.decided,
                },
            );
            told = true;
        }
        if !told {
            let (ballot, decided) = (led.ballot, led.decided);
            out.send(
                to,
                Message::Accept {
                    ballot,
                    first: *next,
                    payloads: Vec::new(),
                    decided,
                },
            );
        }
        self.told = self.told.max(led.decided);
    }
}
