//! The membership as a Seal says it, and how this node's record of the group comes from one to the next.
//!
//! Pure rules over `group`'s record. Numbers of voters come from the log and are never given twice: each Seal says
//! which is the next one free.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message;

use super::group::{Group, Member};
use crate::paxos::{Epoch, MAX_VOTERS, Membership, NodeId, Seal};

/// The number of the first membership.
pub(super) const FIRST_EPOCH: Epoch = Epoch(1);

/// What a Seal says of the next voters.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Details {
    /// In the order of their ids.
    #[prost(message, repeated, tag = "1")]
    pub(super) members: Vec<Member>,
    /// The lowest id that was never given.
    #[prost(uint32, tag = "2")]
    pub(super) next: u32,
}

/// A follower that is to vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Newcomer {
    pub(super) name: String,
    pub(super) instance: Bytes,
    pub(super) address: String,
}

impl Details {
    /// What the bytes of a decided Seal say; nothing where this build cannot read them.
    pub(super) fn of(seal: &Seal) -> Option<Self> {
        let details = Self::decode(seal.details.clone()).ok()?;
        let ids: BTreeSet<NodeId> = details.members.iter().map(|m| NodeId(m.id)).collect();
        (ids == seal.voters).then_some(details)
    }

    pub(super) fn seal(&self) -> Seal {
        Seal {
            voters: self.members.iter().map(|m| NodeId(m.id)).collect(),
            details: self.encode_to_vec().into(),
        }
    }
}

impl Group {
    /// What is wrong with a change for as long as this is the membership: no waiting makes it good.
    pub(super) fn contradiction(&self, add: &[String], remove: &[String]) -> Option<String> {
        let votes = |name: &String| self.members.iter().any(|member| member.name == *name);
        let leaves = remove.iter().find(|name| !votes(name));
        let leaves = leaves.map(|name| format!("`{name}` is no voter of this cluster"));
        let comes = add.iter().find(|name| votes(name));
        leaves.or(comes.map(|name| format!("`{name}` has a vote already")))
    }

    /// The next membership: without those named, and with these. Or why that would not be safe or makes no sense.
    pub(super) fn change(&self, add: &[Newcomer], remove: &[String]) -> Result<Details, String> {
        if let Some(why) = self.contradiction(&[], remove) {
            return Err(why);
        }
        let first = self.next_id();
        // What was met of a member is this node's own matter; a Seal is the same whoever proposes it.
        let plain = |member: &Member| Member {
            incarnation: 0,
            process: 0,
            ..member.clone()
        };
        let stays = |member: &&Member| !remove.contains(&member.name);
        let mut members: Vec<Member> = self.members.iter().filter(stays).map(plain).collect();
        members.extend(add.iter().zip(first..).map(|(newcomer, id)| Member {
            id,
            name: newcomer.name.clone(),
            address: newcomer.address.clone(),
            instance: newcomer.instance.clone(),
            ..Member::default()
        }));
        sensible(self.members.len(), &members)?;
        Ok(Details {
            members,
            next: first + add.len() as u32,
        })
    }

    /// Who votes, as the core knows them.
    pub(super) fn membership(&self) -> Membership {
        Membership {
            epoch: Epoch(self.epoch).max(FIRST_EPOCH),
            voters: self.members.iter().map(|m| NodeId(m.id)).collect(),
        }
    }

    fn next_id(&self) -> u32 {
        let highest = self.members.iter().map(|member| member.id).max();
        self.next.max(highest.unwrap_or(0) + 1)
    }

    /// Whether a Seal gives this node, which follows, a vote: by another number than it may have had, for none is given
    /// twice.
    pub(super) fn is_named_anew(&self, details: &Details) -> bool {
        let own = self.follower.as_ref();
        own.is_some_and(|own| {
            let mut members = details.members.iter();
            members.any(|member| member.instance == own.instance && member.id != own.id)
        })
    }

    /// It votes no more, and what it knows is needed no more.
    pub(super) fn demoted(&mut self) {
        self.follower = self.own().cloned();
        self.me = 0;
    }

    /// Takes the membership that a decided Seal began. A node it names for the first time has a vote from now on; one
    /// it names no more keeps its number, by which it hands over what it knows, until it is demoted.
    pub(super) fn enter(&mut self, epoch: Epoch, details: &Details) {
        let own = self.own().cloned().unwrap_or_default();
        let mut members = details.members.clone();
        for member in &mut members {
            let known = self.members.iter().find(|known| known.id == member.id);
            if let Some(known) = known {
                member.incarnation = known.incarnation;
                member.process = known.process;
            }
            if member.instance == own.instance {
                *member = Member {
                    id: member.id,
                    address: member.address.clone(),
                    ..own.clone()
                };
                self.me = member.id;
            }
        }
        let votes = members.iter().any(|member| member.instance == own.instance);
        self.follower = (!votes).then_some(own);
        self.complete = true;
        self.members = members;
        self.next = details.next;
        self.epoch = epoch.0;
    }
}

/// Whether this many voters are of use after those before.
fn sensible(before: usize, members: &[Member]) -> Result<(), String> {
    let names: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
    match members.len() {
        0 => Err("a cluster has one voter at least".to_owned()),
        2 if before == 1 => Err(
            "two voters survive the loss of none, as one does, and need each other; add two in one step"
                .to_owned(),
        ),
        count if count > MAX_VOTERS => {
            Err(format!("{count} voters are more than {MAX_VOTERS}; let the others follow"))
        }
        count if names.len() < count => Err("two voters would have one name".to_owned()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newcomer(name: &str, instance: u8) -> Newcomer {
        Newcomer {
            name: name.to_owned(),
            instance: Bytes::from(vec![instance; 16]),
            address: format!("127.0.0.1:{instance}"),
        }
    }

    #[test]
    fn numbers_are_never_given_twice() {
        let mut group = Group::alone("n1", [9; 16], [1; 16]);
        let two = [newcomer("n2", 2), newcomer("n3", 3)];
        let details = group.change(&two, &[]).expect("one to three");
        group.enter(Epoch(2), &details);
        let ids = |group: &Group| group.members.iter().map(|m| m.id).collect::<Vec<_>>();
        assert_eq!((ids(&group), group.me), (vec![1, 2, 3], 1));

        let details = group.change(&[], &["n3".to_owned()]).expect("three to two");
        group.enter(Epoch(3), &details);
        let back = [newcomer("n3", 3)];
        let details = group.change(&back, &[]).expect("two to three");
        assert_eq!(details.seal().voters, [1, 2, 4].map(NodeId).into());
        assert_eq!(Details::of(&details.seal()), Some(details));
    }

    #[test]
    fn a_newcomer_votes_and_who_left_follows() {
        let mut group = Group::alone("n1", [9; 16], [1; 16]);
        let mut follower = Group::joining("n2", [2; 16]);
        follower.cluster = group.cluster.clone();
        let details = group
            .change(&[newcomer("n2", 2)], &["n1".to_owned()])
            .expect("one for another");
        follower.enter(Epoch(2), &details);
        assert_eq!((follower.me, follower.follower.clone()), (2, None));
        group.enter(Epoch(2), &details);
        let own = group.own().expect("it still has a name");
        assert_eq!((own.name.as_str(), group.follower.is_some()), ("n1", true));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        let group = Group::alone("n1", [9; 16], [1; 16]);
        let refused = |add: &[Newcomer], remove: &[String]| {
            group.change(add, remove).expect_err("it makes no sense")
        };
        assert!(refused(&[newcomer("n2", 2)], &[]).contains("add two in one step"));
        assert!(refused(&[], &["n1".to_owned()]).contains("one voter at least"));
        assert!(refused(&[], &["n7".to_owned()]).contains("no voter"));
        let twins = [newcomer("n2", 2), newcomer("n2", 3)];
        assert!(refused(&twins, &[]).contains("one name"));
        let crowd: Vec<_> = (2..20).map(|n| newcomer(&format!("n{n}"), n)).collect();
        assert!(refused(&crowd, &[]).contains("more than 9"));
    }
}
