//! Who belongs to the group, as this node durably knows it, and whether it believes who calls.
//!
//! Pure rules over one record; `founding` keeps the record on disk and `transport` asks here at each handshake.
//! A voter that lost its memory must not vote again: it could promise twice. Hence the instance, drawn once for a
//! data directory, and the incarnation, raised by each start: neither may ever go back.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use super::frame::{Follow, Hello, Refusal, VERSION, Voter, Welcome};
use crate::config::Address;
use crate::paxos::NodeId;

/// The durable record.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Group {
    /// 16 bytes; empty until all first voters are known.
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) cluster: Bytes,
    /// In the order of their ids.
    #[prost(message, repeated, tag = "2")]
    pub(super) members: Vec<Member>,
    /// This node's id.
    #[prost(uint32, tag = "3")]
    pub(super) me: u32,
    /// Whether all first voters have said that the membership is durable with them: from here on this one votes.
    #[prost(bool, tag = "4")]
    pub(super) complete: bool,
    /// Of a node without a vote: itself. It is no member, and `me` is 0.
    #[prost(message, optional, tag = "20")]
    pub(super) follower: Option<Member>,
    /// The number of the membership; 0 stands for the first. Of a node without a vote the newest it was told of.
    #[prost(uint32, tag = "21")]
    pub(super) epoch: u32,
    /// The lowest number that was never given to a voter; 0 before any change.
    #[prost(uint32, tag = "22")]
    pub(super) next: u32,
}

/// One voter.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Member {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    /// Where it listens for peers; empty for a lone voter that does not say it.
    #[prost(string, tag = "3")]
    pub(super) address: String,
    /// Drawn once by its data directory; empty until it was met.
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) instance: Bytes,
    /// The highest incarnation met; of this node its own.
    #[prost(uint64, tag = "5")]
    pub(super) incarnation: u64,
    /// The process that had it.
    #[prost(uint64, tag = "6")]
    pub(super) process: u64,
}

impl Group {
    /// A cluster of one, which may grow.
    pub(super) fn alone(name: &str, cluster: [u8; 16], instance: [u8; 16]) -> Self {
        let mut group = Self::first(name, &BTreeMap::new(), instance);
        group.cluster = Bytes::copy_from_slice(&cluster);
        group.complete = true;
        group
    }

    /// The first voters before they met: ids by the order of the names.
    pub(super) fn first(
        name: &str,
        voters: &BTreeMap<String, Address>,
        instance: [u8; 16],
    ) -> Self {
        let mut addresses: BTreeMap<&str, String> = voters
            .iter()
            .map(|(name, address)| (name.as_str(), address.to_string()))
            .collect();
        addresses.entry(name).or_default();
        let members = addresses
            .into_iter()
            .zip(1..)
            .map(|((name, address), id)| Member {
                id,
                name: name.to_owned(),
                address,
                ..Member::default()
            });
        let mut group = Self {
            members: members.collect(),
            ..Self::default()
        };
        for member in &mut group.members {
            if member.name == name {
                member.instance = Bytes::copy_from_slice(&instance);
                group.me = member.id;
            }
        }
        group
    }

    /// A node that will follow a cluster it does not know yet.
    pub(super) fn joining(name: &str, instance: [u8; 16]) -> Self {
        Self {
            follower: Some(Member {
                name: name.to_owned(),
                instance: Bytes::copy_from_slice(&instance),
                ..Member::default()
            }),
            ..Self::default()
        }
    }

    /// This node's own entry.
    pub(super) fn own(&self) -> Option<&Member> {
        self.follower.as_ref().or(self.member(NodeId(self.me)))
    }

    /// The entry of `id`.
    pub(super) fn member(&self, id: NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id.0)
    }

    /// Everybody's names.
    pub(super) fn names(&self) -> Vec<String> {
        self.members
            .iter()
            .map(|member| member.name.clone())
            .collect()
    }

    /// What this node says of itself to `to`.
    pub(super) fn hello(&self, to: &str) -> Hello {
        let own = self.own().cloned().unwrap_or_default();
        Hello {
            version: VERSION,
            name: own.name,
            instance: own.instance,
            incarnation: own.incarnation,
            process: own.process,
            cluster: self.cluster.clone(),
            voters: self.names(),
            to: to.to_owned(),
        }
    }

    /// Once every voter was met, fixes the membership: the cluster's id is its digest. Tells whether it did.
    pub(super) fn settle(&mut self) -> bool {
        let known = self
            .members
            .iter()
            .all(|member| !member.instance.is_empty());
        if !known || !self.cluster.is_empty() {
            return false;
        }
        let mut digest = Sha256::new();
        for member in &self.members {
            digest.update((member.name.len() as u64).to_be_bytes());
            digest.update(&member.name);
            digest.update(&member.instance);
        }
        self.cluster = Bytes::copy_from_slice(&digest.finalize()[..16]);
        true
    }

    /// Takes the addresses of `voters`, which may have moved, and nothing else. Tells whether any was new.
    pub(super) fn readdress(&mut self, voters: &BTreeMap<String, Address>) -> bool {
        let mut changed = false;
        for member in &mut self.members {
            if let Some(address) = voters.get(&member.name).map(ToString::to_string) {
                changed |= member.address != address;
                member.address = address;
            }
        }
        changed
    }

    /// Of a voter that was started without a list: where it is reached is its own to tell.
    pub(super) fn locate(&mut self, at: &Address) {
        let me = self.me;
        let votes = self.follower.is_none();
        let own = self.members.iter_mut().find(|member| member.id == me);
        // Nobody can call an address of all interfaces.
        let nowhere = matches!(at, Address::Socket(at) if at.ip().is_unspecified());
        if let Some(own) = own.filter(|_| votes && !nowhere) {
            own.address = at.to_string();
        }
    }

    /// What a voter tells its followers of the group.
    pub(super) fn welcome(&self, epoch: u32) -> Welcome {
        let voter = |member: &Member| Voter {
            id: member.id,
            name: member.name.clone(),
            address: member.address.clone(),
        };
        Welcome {
            cluster: self.cluster.clone(),
            epoch,
            voters: self.members.iter().map(voter).collect(),
            me: self.me,
            name: self.own().map(|own| own.name.clone()).unwrap_or_default(),
        }
    }

    /// A follower is told of the group: takes it, or says why not. It never follows another cluster, nor goes back to
    /// an older membership.
    pub(super) fn welcomed(&mut self, welcome: &Welcome) -> Result<(), String> {
        if self.follower.is_none() {
            return Err("this node has been given a vote meanwhile".to_owned());
        }
        if welcome.cluster.len() != 16 || welcome.speaker().is_none() {
            return Err("it does not say which cluster it is of".to_owned());
        }
        if !self.cluster.is_empty() && self.cluster != welcome.cluster {
            let (theirs, ours) = (hex(&welcome.cluster), hex(&self.cluster));
            return Err(format!("it is of cluster {theirs}, this node of {ours}"));
        }
        if welcome.epoch < self.epoch {
            return Err(format!(
                "it knows membership {}, this node {} already",
                welcome.epoch, self.epoch
            ));
        }
        if self.me > 0 {
            // It still judges who calls by what it knows of them.
            return Ok(());
        }
        self.cluster = welcome.cluster.clone();
        self.epoch = welcome.epoch;
        let member = |voter: &Voter| Member {
            id: voter.id,
            name: voter.name.clone(),
            address: voter.address.clone(),
            ..Member::default()
        };
        self.members = welcome.voters.iter().map(member).collect();
        Ok(())
    }

    /// Whether a voter lets this node follow it, or why not.
    pub(super) fn admits(&self, follow: &Follow) -> Result<(), String> {
        let own = self.own().map_or("", |own| own.name.as_str());
        let name = &follow.name;
        if follow.version != VERSION {
            return Err(format!(
                "`{name}` speaks version {}, `{own}` {VERSION}",
                follow.version
            ));
        }
        if self.follower.is_some() && self.me == 0 {
            return Err(format!(
                "`{own}` is a follower itself; name a voter with --join"
            ));
        }
        if !self.complete {
            return Err(format!("the group of `{own}` is still being founded"));
        }
        if follow.instance.len() != 16 || ![0, 16].contains(&follow.cluster.len()) {
            return Err(format!("what `{name}` says of itself is malformed"));
        }
        if !follow.cluster.is_empty() && self.cluster != follow.cluster {
            let (theirs, ours) = (hex(&follow.cluster), hex(&self.cluster));
            return Err(format!(
                "`{name}` is of cluster {theirs}, `{own}` of {ours}; to join this one it needs an empty data directory"
            ));
        }
        // A voter that does not know yet that it is one still has to learn it.
        let taken = |member: &Member| member.name == *name && member.instance != follow.instance;
        if self.members.iter().any(taken) {
            return Err(format!(
                "`{name}` is the name of a voter; give this node another with --node"
            ));
        }
        Ok(())
    }

    /// What a node without a vote answers to one that takes it for a voter: nothing, where it has one. Who votes, as
    /// far as it knows, may be news to the other, which may have no vote any more.
    /// (`one_whose_voters_all_follow_by_now_is_told_who_votes`)
    pub(super) fn has_no_vote(&self, caller: &str) -> Option<Refusal> {
        let own = self.follower.as_ref().filter(|_| self.me == 0)?;
        let known = !self.cluster.is_empty();
        let votes = self.members.iter().any(|member| member.name == caller);
        Some(Refusal {
            reason: format!("`{}` is a follower, and has no vote", own.name),
            cluster: self.cluster.clone(),
            follower: own.instance.clone(),
            moved: if known && !votes { self.epoch } else { 0 },
            known: known.then(|| Box::new(self.welcome(self.epoch))),
            ..Refusal::default()
        })
    }

    /// Accepts who calls, or says why not. Where the record changed, it must be durable before anything is answered.
    pub(super) fn meet(&mut self, hello: &Hello) -> Result<NodeId, Refusal> {
        let refuse = |wiped, reason| Refusal {
            wiped,
            reason,
            cluster: self.cluster.clone(),
            ..Refusal::default()
        };
        if let Err(reason) = self.knows(hello) {
            let stranger = self.members.iter().all(|member| member.name != hello.name);
            return Err(Refusal {
                moved: if stranger { self.epoch } else { 0 },
                ..refuse(false, reason)
            });
        }
        if let Err(reason) = self.remembers(hello) {
            return Err(refuse(true, reason));
        }
        let Some(member) = self
            .members
            .iter_mut()
            .find(|member| member.name == hello.name)
        else {
            return Err(refuse(
                false,
                format!("`{}` is no voter of this cluster", hello.name),
            ));
        };
        member.instance = hello.instance.clone();
        member.incarnation = hello.incarnation;
        member.process = hello.process;
        Ok(NodeId(member.id))
    }

    /// Whether the caller belongs here at all.
    fn knows(&self, hello: &Hello) -> Result<(), String> {
        let own = self.own().map_or("", |own| own.name.as_str());
        let name = &hello.name;
        if hello.version != VERSION {
            return Err(format!(
                "`{name}` speaks version {}, `{own}` {VERSION}",
                hello.version
            ));
        }
        if !hello.to.is_empty() && hello.to != own {
            return Err(format!(
                "`{name}` meant to reach `{}`, but this is `{own}`",
                hello.to
            ));
        }
        if *name == own {
            return Err(format!("`{name}` is this node's own name"));
        }
        if hello.instance.len() != 16 || ![0, 16].contains(&hello.cluster.len()) {
            return Err(format!("the hello of `{name}` is malformed"));
        }
        if !self.cluster.is_empty() && !hello.cluster.is_empty() && self.cluster != hello.cluster {
            let (theirs, ours) = (hex(&hello.cluster), hex(&self.cluster));
            return Err(format!(
                "`{name}` is of cluster {theirs}, `{own}` of {ours}"
            ));
        }
        if !self.members.iter().any(|member| member.name == *name) {
            return Err(format!(
                "`{name}` is no voter of this cluster ({})",
                self.names().join(", ")
            ));
        }
        let founding = self.cluster.is_empty() && hello.cluster.is_empty();
        if founding && hello.voters != self.names() {
            let (theirs, ours) = (hello.voters.join(", "), self.names().join(", "));
            return Err(format!(
                "the first voters differ: `{name}` lists {theirs}; `{own}` {ours}"
            ));
        }
        Ok(())
    }

    /// Whether the caller still has all that it ever promised. While nobody promised, all may begin again.
    fn remembers(&self, hello: &Hello) -> Result<(), String> {
        let Some(member) = self.members.iter().find(|member| member.name == hello.name) else {
            return Ok(());
        };
        let name = &hello.name;
        if !self.cluster.is_empty() && member.instance != hello.instance {
            return Err(format!(
                "`{name}` is a wiped voter, to be replaced under a new identity: \
                 its data directory is not the one that founded the cluster"
            ));
        }
        let reconnect = (hello.incarnation, hello.process) == (member.incarnation, member.process);
        if member.instance == hello.instance
            && !reconnect
            && hello.incarnation <= member.incarnation
        {
            return Err(format!(
                "`{name}` has an older data directory than it had, to be replaced under a new identity: \
                 it starts as incarnation {}, and {} was met",
                hello.incarnation, member.incarnation
            ));
        }
        Ok(())
    }
}

/// Bytes for people.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
