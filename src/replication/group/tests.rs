//! The rules of a handshake, on records alone.

use std::net::SocketAddr;

use super::*;

fn voters() -> BTreeMap<String, Address> {
    ["a", "b", "c"]
        .into_iter()
        .zip(7001..)
        .map(|(name, port)| {
            (
                name.to_owned(),
                SocketAddr::from(([127, 0, 0, 1], port)).into(),
            )
        })
        .collect()
}

fn started(name: &str, instance: u8) -> Group {
    let mut group = Group::first(name, &voters(), [instance; 16]);
    for member in &mut group.members {
        if member.name == name {
            (member.incarnation, member.process) = (1, u64::from(instance));
        }
    }
    group
}

fn founded() -> [Group; 3] {
    let groups = [started("a", 1), started("b", 2), started("c", 3)];
    let hellos = groups.clone().map(|group| group.hello(""));
    groups.map(|mut group| {
        let own = group.hello("").name;
        for hello in hellos.iter().filter(|hello| hello.name != own) {
            group.meet(hello).expect("the first voters know each other");
        }
        assert!(group.settle() && !group.settle());
        group
    })
}

#[test]
fn all_who_met_settle_on_one_cluster() {
    let [a, mut b, c] = founded();
    assert_eq!((&a.cluster, a.cluster.len()), (&c.cluster, 16));
    assert_eq!((a.me, b.me, c.me), (1, 2, 3));
    assert_eq!(b.meet(&a.hello("b")), Ok(NodeId(1)));
}

#[test]
fn a_member_that_does_not_know_the_cluster_yet_is_met() {
    let [mut a, ..] = founded();
    let before = a.clone();
    assert_eq!(a.meet(&started("b", 2).hello("a")), Ok(NodeId(2)));
    assert_eq!(a, before, "nothing of it was news");
}

#[test]
fn a_wiped_or_rolled_back_voter_is_refused_as_such() {
    let [mut a, b, _] = founded();
    let wiped = a
        .meet(&started("b", 9).hello("a"))
        .expect_err("another instance");
    assert!(
        wiped.wiped && wiped.reason.contains("wiped voter"),
        "{wiped:?}"
    );
    let again = Hello {
        process: 77,
        ..b.hello("a")
    };
    assert!(
        a.meet(&again).is_err_and(|refusal| refusal.wiped),
        "an equal incarnation of another process"
    );
    let next = Hello {
        process: 77,
        incarnation: 2,
        ..b.hello("a")
    };
    assert_eq!(a.meet(&next), Ok(NodeId(2)));
    assert_eq!(
        a.meet(&next),
        Ok(NodeId(2)),
        "a reconnect of the same process"
    );
    assert!(
        a.meet(&b.hello("a")).is_err_and(|refusal| refusal.wiped),
        "an older incarnation"
    );
}

#[test]
fn strangers_and_other_clusters_are_refused_without_being_called_wiped() {
    let [mut a, b, _] = founded();
    let theirs = b.hello("a");
    let cases = [
        (
            Hello {
                name: "x".into(),
                ..theirs.clone()
            },
            "no voter",
        ),
        (
            Hello {
                name: "a".into(),
                ..theirs.clone()
            },
            "own name",
        ),
        (
            Hello {
                to: "c".into(),
                ..theirs.clone()
            },
            "meant to reach",
        ),
        (
            Hello {
                cluster: Bytes::from_static(&[7; 16]),
                ..theirs.clone()
            },
            "of cluster",
        ),
        (
            Hello {
                version: 2,
                ..theirs.clone()
            },
            "version 2",
        ),
        (
            Hello {
                instance: Bytes::new(),
                ..theirs
            },
            "malformed",
        ),
    ];
    for (hello, why) in cases {
        let refusal = a.meet(&hello).expect_err(why);
        assert!(
            !refusal.wiped && refusal.reason.contains(why),
            "{refusal:?} for {why}"
        );
    }
    let mut fresh = started("a", 1);
    let other = Hello {
        voters: vec!["a".into(), "b".into()],
        ..started("b", 2).hello("a")
    };
    assert!(
        fresh
            .meet(&other)
            .is_err_and(|refusal| refusal.reason.contains("differ"))
    );
}

#[test]
fn the_list_only_moves_addresses() {
    let [mut a, ..] = founded();
    let before = a.clone();
    assert!(!a.readdress(&voters()));
    assert!(a.readdress(&BTreeMap::from([(
        "b".to_owned(),
        SocketAddr::from(([127, 0, 0, 1], 1)).into()
    )])));
    assert_eq!((a.names(), &a.cluster), (before.names(), &before.cluster));
}

#[test]
fn a_lone_voter_tells_where_it_is_reached_if_it_can_be() {
    let own = |group: &Group| group.own().map(|own| own.address.clone());
    let mut lone = Group::alone("a", [1; 16], [2; 16]);
    lone.locate(&"0.0.0.0:9901".parse().unwrap());
    assert_eq!(own(&lone).as_deref(), Some(""), "nobody can call that");
    lone.locate(&"10.0.0.1:9901".parse().unwrap());
    assert_eq!(own(&lone).as_deref(), Some("10.0.0.1:9901"));
    lone.locate(&"a.internal:9901".parse().unwrap());
    assert_eq!(own(&lone).as_deref(), Some("a.internal:9901"));
}

fn follow(name: &str, cluster: &[u8]) -> Follow {
    Follow {
        version: VERSION,
        name: name.to_owned(),
        instance: Bytes::from_static(&[5; 16]),
        cluster: Bytes::copy_from_slice(cluster),
        ..Follow::default()
    }
}

#[test]
fn who_may_not_follow_is_told_why() {
    let voter = Group::alone("a", [1; 16], [2; 16]);
    assert_eq!(voter.admits(&follow("p", &[])), Ok(()));
    assert_eq!(voter.admits(&follow("p", &[1; 16])), Ok(()));
    let newer = Follow {
        version: VERSION + 1,
        ..follow("p", &[])
    };
    for (follow, why) in [
        (newer, "speaks version"),
        (follow("p", &[3; 16]), "of cluster 03"),
        (follow("a", &[]), "name of a voter"),
        (follow("p", &[3; 2]), "malformed"),
    ] {
        let refused = voter.admits(&follow);
        assert!(
            refused.as_ref().is_err_and(|told| told.contains(why)),
            "{refused:?}"
        );
    }
    let founding = Group::first("a", &BTreeMap::new(), [2; 16]);
    assert!(founding.admits(&follow("p", &[])).is_err());
    let follower = Group::joining("q", [3; 16]);
    let refused = follower.admits(&follow("p", &[]));
    assert!(refused.is_err_and(|told| told.contains("a follower itself")));
}

#[test]
fn a_follower_takes_no_other_cluster_and_no_older_membership() {
    let mut follower = Group::joining("p", [5; 16]);
    let voter = Group::alone("a", [1; 16], [2; 16]);
    follower.welcomed(&voter.welcome(2)).expect("the first one");
    assert_eq!(follower.names(), ["a"]);
    assert_eq!(follower.own().map(|own| own.name.as_str()), Some("p"));
    let known = follower.clone();
    let stranger = Group::alone("x", [9; 16], [2; 16]);
    assert!(follower.welcomed(&stranger.welcome(3)).is_err());
    assert!(follower.welcomed(&voter.welcome(1)).is_err());
    assert_eq!(follower, known, "a refusal changes nothing");
    follower.welcomed(&voter.welcome(3)).expect("a newer one");
}
