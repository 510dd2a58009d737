//! Random schedules: messages lost, repeated and reordered, connections opened and closed, crashes between any two
//! batches, damaged logs. The network checks that nothing chosen changes; in the end everybody must agree.

use std::time::Duration;

use super::network::Network;
use crate::paxos::random::Random;
use crate::paxos::*;

struct Mix {
    voters: u32,
    steps: usize,
    loss: u64,
    repeat: u64,
    crash: u64,
    damage: bool,
    compact: bool,
    in_order: bool,
}

fn below(random: &mut Random, bound: usize) -> usize {
    (random.draw() % bound.max(1) as u64) as usize
}

fn pick<T: Copy>(random: &mut Random, items: &[T]) -> Option<T> {
    items.get(below(random, items.len())).copied()
}

fn step(network: &mut Network, mix: &Mix, random: &mut Random) {
    let ids = network.ids();
    let id = pick(random, &ids).expect("a node");
    match random.draw() % 100 {
        0..45 if !network.wire.is_empty() => {
            let index = if mix.in_order {
                0
            } else {
                below(random, network.wire.len())
            };
            if random.draw() % 100 < mix.loss {
                network.wire.remove(index);
            } else if random.draw() % 100 < mix.repeat {
                let (from, to, message) = network.wire[index].clone();
                network.input(to, Input::Message { from, message });
            } else {
                network.deliver(index);
            }
        }
        45..75 => {
            network.write(id);
        }
        75..85 => {
            network.propose(id);
        }
        85..88 => network.read(id),
        88..94 => {
            let wakes = network
                .hosts
                .iter()
                .filter_map(|(&id, host)| host.wake_at.map(|at| (at, id)));
            if let Some((at, id)) = wakes.min() {
                network.now = network.now.max(at);
                network.tick(id);
            }
        }
        96 => {
            let peer = pick(random, &ids).expect("a node");
            let open = !random.draw().is_multiple_of(3);
            network.input(
                id,
                if open {
                    Input::Connected(peer)
                } else {
                    Input::Disconnected(peer)
                },
            );
        }
        94..96 if mix.compact => {
            network.fetch(id);
            if random.draw().is_multiple_of(4) {
                let keep = below(random, 4) as u64;
                network.compact(id, keep);
            }
        }
        97 if random.draw() % 100 < mix.crash => crash(network, mix, id, random),
        98 if network.hosts[&id].replica.is_none() => {
            network.start(id);
            for peer in ids.into_iter().filter(|&peer| peer != id) {
                network.input(id, Input::Connected(peer));
                network.input(peer, Input::Disconnected(id));
                network.input(peer, Input::Connected(id));
            }
        }
        _ => {}
    }
}

fn crash(network: &mut Network, mix: &Mix, id: NodeId, random: &mut Random) {
    let unwritten = network.hosts[&id].unwritten.len();
    network.crash(id, below(random, unwritten + 1));
    // One damaged voter at a time: with a majority of them the group rightly never starts again.
    let sound = network
        .hosts
        .values()
        .all(|host| host.disk.0.synced.is_some());
    if mix.damage && sound && random.draw().is_multiple_of(3) {
        let disk = &mut network.hosts.get_mut(&id).expect("a host").disk;
        let keep = below(random, disk.0.entries.len() + 1);
        disk.damage(keep);
    }
}

fn run(seed: u64, mix: &Mix) -> Network {
    let mut random = Random::new(seed);
    let mut network = Network::new(mix.voters, seed << 20);
    network.start_all();
    for _ in 0..mix.steps {
        step(&mut network, mix, &mut random);
    }
    // The faults end: everybody comes back, and a majority must make progress.
    network.start_all();
    network.run(Duration::from_secs(10));
    assert!(
        !network.leaders().is_empty(),
        "nobody leads though all are well"
    );
    let leader = network.leaders()[0];
    network.propose(leader);
    network.read(leader);
    network.run(Duration::from_secs(1));
    let decided: Vec<Slot> = network
        .ids()
        .into_iter()
        .map(|id| network.replica(id).decided())
        .collect();
    assert!(
        decided
            .iter()
            .all(|&slot| slot == network.replica(leader).last()),
        "not all agree: {decided:?}"
    );
    assert!(
        network
            .hosts
            .values()
            .all(|host| host.disk.0.synced == Some(network.replica(leader).ballot()))
    );
    network
}

fn seeds() -> u64 {
    std::env::var("SYNOD_SCHEDULES")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(50)
}

fn run_all(mix: Mix) {
    let (mut chosen, mut reads, mut installed) = (0, 0, 0);
    for seed in 0..seeds() {
        let result = std::panic::catch_unwind(|| run(seed, &mix));
        let network = result.unwrap_or_else(|cause| {
            eprintln!("the schedule of seed {seed} failed");
            std::panic::resume_unwind(cause)
        });
        chosen += network.chosen.len();
        reads += network.reads_ready;
        installed += network.installed;
    }
    assert_eq!(
        installed > 0,
        mix.compact,
        "{installed} checkpoints installed"
    );
    assert!(
        chosen > seeds() as usize * 5,
        "the schedules hardly choose anything: {chosen}"
    );
    assert!(
        reads > seeds() as usize,
        "the schedules hardly read anything: {reads}"
    );
}

#[test]
fn random_schedules_agree() {
    run_all(Mix {
        voters: 3,
        steps: 3000,
        loss: 5,
        repeat: 5,
        crash: 50,
        damage: false,
        compact: false,
        in_order: false,
    });
}

#[test]
fn random_schedules_of_an_orderly_network_agree() {
    run_all(Mix {
        voters: 3,
        steps: 3000,
        loss: 1,
        repeat: 0,
        crash: 50,
        damage: false,
        compact: false,
        in_order: true,
    });
}

#[test]
fn random_schedules_of_five_voters_agree() {
    run_all(Mix {
        voters: 5,
        steps: 4000,
        loss: 5,
        repeat: 5,
        crash: 50,
        damage: false,
        compact: false,
        in_order: false,
    });
}

#[test]
fn random_schedules_with_damaged_logs_agree() {
    run_all(Mix {
        voters: 3,
        steps: 3000,
        loss: 5,
        repeat: 5,
        crash: 90,
        damage: true,
        compact: false,
        in_order: false,
    });
}

#[test]
fn random_schedules_with_compacted_logs_agree() {
    run_all(Mix {
        voters: 3,
        steps: 4000,
        loss: 5,
        repeat: 5,
        crash: 90,
        damage: true,
        compact: true,
        in_order: false,
    });
}

#[test]
fn random_schedules_of_five_compacted_voters_agree() {
    run_all(Mix {
        voters: 5,
        steps: 6000,
        loss: 5,
        repeat: 5,
        crash: 90,
        damage: false,
        compact: true,
        in_order: false,
    });
}

#[test]
fn random_schedules_of_a_single_voter_agree() {
    run_all(Mix {
        voters: 1,
        steps: 1000,
        loss: 0,
        repeat: 0,
        crash: 50,
        damage: false,
        compact: false,
        in_order: true,
    });
}
