use proptest::prelude::*;

use super::*;

fn any_ballot() -> impl Strategy<Value = Ballot> {
    (0..3u32, 0..MAX_COUNT, proptest::option::of(0..9u32)).prop_map(|(epoch, round, node)| Ballot {
        epoch: Epoch(epoch),
        round,
        node: node.map(NodeId),
    })
}

fn any_slot() -> impl Strategy<Value = Slot> {
    (0..MAX_COUNT).prop_map(Slot)
}

fn any_payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        Just(Payload::Barrier),
        proptest::collection::vec(any::<u8>(), 0..20)
            .prop_map(|bytes| Payload::Command(bytes.into())),
        (
            proptest::collection::btree_set((1..99u32).prop_map(NodeId), 1..MAX_VOTERS),
            proptest::collection::vec(any::<u8>(), 0..20)
        )
            .prop_map(|(voters, details)| Payload::Seal(Seal {
                voters,
                details: details.into()
            })),
    ]
}

fn any_entries() -> impl Strategy<Value = Vec<Entry>> {
    let entry =
        (any_ballot(), any_payload()).prop_map(|(ballot, payload)| Entry { ballot, payload });
    proptest::collection::vec(entry, 0..5)
}

fn any_summary() -> impl Strategy<Value = Summary> {
    let runs = proptest::collection::vec((any_ballot(), 1..9u64), 0..5);
    (any::<u64>(), 1..99u64, any_slot(), runs).prop_map(|(sync, start, decided, steps)| {
        let mut last = Slot(start - 1);
        let mut runs = Vec::new();
        for (ballot, length) in steps {
            runs.push(Run {
                ballot,
                first: last.next(),
            });
            last = Slot(last.0 + length);
        }
        Summary {
            sync: SyncId(sync),
            start: Slot(start),
            last,
            decided,
            base: Ballot::initial(Epoch(3)),
            runs,
        }
    })
}

fn any_message() -> impl Strategy<Value = Message> {
    let position =
        (any_slot(), any_slot()).prop_map(|(accepted, received)| Position { accepted, received });
    prop_oneof![
        any::<u64>().prop_map(|attempt| Message::Ask {
            attempt: Attempt(attempt)
        }),
        (any::<u64>(), any::<bool>(), any_ballot()).prop_map(|(attempt, support, promised)| {
            Message::Answer {
                attempt: Attempt(attempt),
                support,
                promised,
            }
        }),
        any_ballot().prop_map(|ballot| Message::Prepare { ballot }),
        any_ballot().prop_map(|ballot| Message::Stand { ballot }),
        (0..9u32, any_summary(), proptest::option::of(any_slot())).prop_map(
            |(epoch, log, next)| Message::Outdated {
                epoch: Epoch(epoch),
                log,
                next
            }
        ),
        (0..9u32, any_slot(), any_slot(), any_slot(), any_entries()).prop_map(
            |(epoch, from, through, first, entries)| Message::Sealed {
                epoch: Epoch(epoch),
                sync: SyncId(from.0),
                from,
                through,
                first,
                entries
            }
        ),
        (any_ballot(), any_slot()).prop_map(|(ballot, start)| Message::Fetch { ballot, start }),
        (0_u32..9, any_slot()).prop_map(|(epoch, start)| Message::Compacted {
            epoch: Epoch(epoch),
            start
        }),
        (any_ballot(), any_ballot(), any_summary()).prop_map(|(ballot, synced, log)| {
            Message::Promise {
                ballot,
                synced,
                log,
            }
        }),
        (any_ballot(), any_slot()).prop_map(|(ballot, first)| Message::Pull { ballot, first }),
        (any_ballot(), any_slot(), any_entries()).prop_map(|(ballot, first, entries)| {
            Message::Chunk {
                ballot,
                first,
                entries,
            }
        }),
        (any_ballot(), any_summary()).prop_map(|(ballot, log)| Message::Behind { ballot, log }),
        (
            any_ballot(),
            any::<u64>(),
            any_slot(),
            any_slot(),
            any_slot(),
            any_entries()
        )
            .prop_map(
                |(ballot, sync, from, through, first, entries)| Message::Sync {
                    ballot,
                    sync: SyncId(sync),
                    from,
                    through,
                    first,
                    entries
                }
            ),
        (any_ballot(), any::<u64>(), any_slot()).prop_map(|(ballot, sync, next)| Message::Staged {
            ballot,
            sync: SyncId(sync),
            next
        }),
        (
            any_ballot(),
            any_slot(),
            proptest::collection::vec(any_payload(), 0..5),
            any_slot()
        )
            .prop_map(|(ballot, first, payloads, decided)| Message::Accept {
                ballot,
                first,
                payloads,
                decided
            }),
        (any_ballot(), any_slot()).prop_map(|(ballot, last)| Message::Accepted { ballot, last }),
        (any_ballot(), 0..MAX_COUNT, any_slot()).prop_map(|(ballot, round, decided)| {
            Message::Heartbeat {
                ballot,
                round: Round(round),
                decided,
            }
        }),
        (any_ballot(), 0..MAX_COUNT, proptest::option::of(position)).prop_map(
            |(ballot, round, position)| {
                Message::Heard {
                    ballot,
                    round: Round(round),
                    position,
                }
            }
        ),
        (any_ballot(), any_ballot())
            .prop_map(|(ballot, promised)| Message::Reject { ballot, promised }),
    ]
}

proptest! {
    #[test]
    fn every_message_comes_back_as_it_went(message in any_message()) {
        prop_assert_eq!(decode(encode(&message)), Ok(message));
    }

    #[test]
    fn damaged_bytes_decode_or_are_refused(message in any_message(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = encode(&message).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decode(bytes.clone().into());
        bytes.truncate(at);
        let _ = decode(bytes.into());
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(bytes.into());
    }
}

#[test]
fn an_entry_with_the_largest_command_fits_a_message() {
    let ballot = Ballot {
        epoch: Epoch(u32::MAX),
        round: MAX_COUNT,
        node: Some(NodeId(u32::MAX)),
    };
    let payload = Payload::Command(vec![7; MAX_COMMAND_BYTES].into());
    let chunk = Message::Chunk {
        ballot,
        first: Slot(MAX_COUNT),
        entries: vec![Entry { ballot, payload }],
    };
    assert_eq!(decode(encode(&chunk)), Ok(chunk));
}

#[test]
fn the_longest_summary_fits_a_message() {
    let ballot = Ballot {
        epoch: Epoch(u32::MAX),
        round: MAX_COUNT,
        node: Some(NodeId(u32::MAX)),
    };
    let first = MAX_COUNT - MAX_RUNS as u64;
    let runs = (0..MAX_RUNS as u64)
        .map(|run| Run {
            ballot,
            first: Slot(first + run),
        })
        .collect();
    let log = Summary {
        sync: SyncId(u64::MAX),
        start: Slot(1),
        last: Slot(MAX_COUNT),
        decided: Slot(MAX_COUNT),
        base: Ballot::initial(Epoch(0)),
        runs,
    };
    let promise = Message::Promise {
        ballot,
        synced: ballot,
        log,
    };
    assert_eq!(decode(encode(&promise)), Ok(promise));
}

#[test]
fn what_the_core_would_not_send_is_refused() {
    let ballot = Ballot::initial(Epoch(0));
    let beyond = encode(&Message::Accepted {
        ballot,
        last: Slot(MAX_COUNT + 1),
    });
    assert_eq!(decode(beyond), Err(DecodeError::Bounds("a slot")));
    let log = Summary {
        sync: SyncId(1),
        start: Slot(1),
        last: Slot(2),
        decided: Slot(0),
        base: Ballot::initial(Epoch(0)),
        runs: Vec::new(),
    };
    assert_eq!(
        decode(encode(&Message::Behind { ballot, log })),
        Err(DecodeError::Bounds("the ends of a log"))
    );
    assert_eq!(
        decode(Bytes::new()),
        Err(DecodeError::Missing("the kind of message"))
    );
    assert_eq!(
        decode(vec![0; MAX_MESSAGE_BYTES + 1].into()),
        Err(DecodeError::TooLong(MAX_MESSAGE_BYTES + 1))
    );
}
