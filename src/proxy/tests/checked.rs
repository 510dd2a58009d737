//! Backends that are checked while requests go to them: who is down, ejected, a backup or warms up, as clients see it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::harness::*;
use crate::config::Balance;

const BAD: &str = "HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nbad";

/// A backend that says its name to requests and to checks, unless it is told to fail them.
struct Checked {
    backend: Scripted,
    fails_checks: Arc<AtomicBool>,
    fails_requests: Arc<AtomicBool>,
    checks: Arc<AtomicUsize>,
}

impl Checked {
    fn new(name: &'static str) -> Self {
        let (fails_checks, fails_requests) = (Arc::new(false.into()), Arc::new(false.into()));
        let (checks, requests): (Arc<AtomicBool>, Arc<AtomicBool>) =
            (Arc::clone(&fails_checks), Arc::clone(&fails_requests));
        let checked = Arc::new(AtomicUsize::new(0));
        let count = checked.clone();
        let backend = Scripted::new(move |peer, _| {
            while let Some(head) = peer.try_until("\r\n\r\n") {
                let check = head.starts_with("GET /healthz ");
                count.fetch_add(usize::from(check), Ordering::SeqCst);
                let fails = if check { &checks } else { &requests };
                let bad = fails.load(Ordering::SeqCst);
                let answer = if bad { BAD.to_owned() } else { ok(name) };
                if !peer.try_send(answer) {
                    return;
                }
            }
        });
        Self {
            backend,
            fails_checks,
            fails_requests,
            checks: checked,
        }
    }

    /// Returns once so many more checks of it have come.
    fn wait_for_checks(&self, more: usize) {
        let before = self.checks();
        wait_until(|| self.checks() >= before + more);
    }

    fn checks(&self) -> usize {
        self.checks.load(Ordering::SeqCst)
    }

    fn fail_checks(&self, fails: bool) {
        self.fails_checks.store(fails, Ordering::SeqCst);
    }

    fn fail_requests(&self, fails: bool) {
        self.fails_requests.store(fails, Ordering::SeqCst);
    }
}

/// A pool `web` of these that is checked, with more of its fields, and more of each backend's.
fn checked(backends: &[&Checked], more: &Value, each: &[Value]) -> Harness {
    let harness = Harness::new(options(), &config(backends, more, each));
    harness.check();
    harness
        .runtime
        .block_on(crate::health::first_results(&harness.cell()));
    harness
}

/// The config of that.
fn config(backends: &[&Checked], more: &Value, each: &[Value]) -> Value {
    let addresses: Vec<_> = backends.iter().map(|it| it.backend.address).collect();
    let mut pool = json!({"health": {"http": {"path": "/healthz"}, "interval": "100ms", "rise": 1, "fall": 1}});
    for (key, value) in more.as_object().unwrap() {
        match value.as_object().zip(pool[key].as_object_mut()) {
            Some((value, before)) => before.extend(value.clone()),
            None => pool[key] = value.clone(),
        }
    }
    let mut config = web(&addresses, pool);
    for (backend, more) in each.iter().enumerate() {
        for (key, value) in more.as_object().unwrap() {
            config["pools"][0]["backends"][backend][key] = value.clone();
        }
    }
    config
}

/// How many of so many requests each backend answered, by what it says.
fn shares(harness: &Harness, requests: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    let mut client = harness.client();
    for _ in 0..requests {
        *shares.entry(client.get().1).or_default() += 1;
    }
    shares
}

fn only(name: &str, requests: usize) -> BTreeMap<String, usize> {
    BTreeMap::from([(name.to_owned(), requests)])
}

#[test]
fn who_fails_most_of_its_requests_is_ejected_for_its_time_though_some_succeed() {
    let good = Scripted::named("good");
    // Never more than two failures in a row.
    let bad = Scripted::new(|peer, _| {
        let mut asked = 0;
        while peer.try_until("\r\n\r\n").is_some() {
            asked += 1;
            let answer = if asked % 3 == 0 {
                ok("bad")
            } else {
                BAD.to_owned()
            };
            if !peer.try_send(answer) {
                return;
            }
        }
    });
    let outlier = json!({"interval": "200ms", "min_requests": 6, "ejection_time": "1s"});
    let rule = json!({"outlier": outlier, "retries": {"attempts": 1}});
    let harness = Harness::with_pool(&[good.address, bad.address], rule);
    let suspect = harness.backend(1);
    let mut client = harness.client();
    let mut ask = || client.get().1;
    wait_until(|| {
        ask();
        suspect.is_ejected()
    });
    let reason = suspect.condition().reason.unwrap();
    assert!(
        reason.contains('%') && !reason.contains("in a row"),
        "{reason}"
    );
    let answers: Vec<String> = (0..20).map(|_| ask()).collect();
    assert!(answers.iter().all(|body| body == "good"), "{answers:?}");
    wait_until(|| ask() == "bad");
    assert!(!suspect.is_ejected());
}

#[test]
fn a_good_check_ends_an_ejection_and_a_bad_one_takes_its_place() {
    let (good, bad) = (Checked::new("good"), Checked::new("bad"));
    let rule = json!({"outlier": {"ejection_time": "1h"}, "retries": {"attempts": 1}, "health": {"interval": "300ms"}});
    let harness = checked(&[&good, &bad], &rule, &[]);
    let suspect = harness.backend(1);
    bad.fail_requests(true);
    wait_until(|| {
        harness.get("/");
        suspect.is_ejected()
    });
    bad.fail_requests(false);
    wait_until(|| harness.get("/").1 == "bad");
    assert!(!suspect.is_ejected(), "long before its time is over");
    bad.fail_checks(true);
    wait_until(|| !suspect.is_up());
    assert_eq!(shares(&harness, 20), only("good", 20));
    bad.fail_checks(false);
    wait_until(|| harness.get("/").1 == "bad");
}

#[test]
fn backups_stand_in_while_checks_find_the_first_tier_down() {
    let (first, backup) = (Checked::new("first"), Checked::new("backup"));
    let harness = checked(
        &[&first, &backup],
        &json!({}),
        &[json!({}), json!({"backup": 1})],
    );
    for _ in 0..2 {
        wait_until(|| harness.backend(0).is_up() && harness.backend(1).is_up());
        wait_until(|| harness.get("/").1 == "first");
        assert_eq!(shares(&harness, 20), only("first", 20));
        first.fail_checks(true);
        wait_until(|| harness.get("/").1 == "backup");
        assert_eq!(shares(&harness, 20), only("backup", 20));
        first.fail_checks(false);
    }
}

#[test]
fn with_most_of_a_pool_down_all_are_used_unless_that_is_switched_off() {
    for (panics, percent) in [(true, 50), (false, 0)] {
        let names = ["a", "b", "c", "d", "e"];
        let backends = names.map(Checked::new);
        let each = [
            json!({}),
            json!({}),
            json!({"state": "drain"}),
            json!({"state": "maint"}),
            json!({"weight": 0}),
        ];
        let rule = json!({"health": {"panic_percent": percent}});
        let all: Vec<_> = backends.iter().collect();
        let harness = checked(&all, &rule, &each);
        backends
            .iter()
            .for_each(|backend| backend.fail_checks(true));
        wait_until(|| (0..2).all(|backend| !harness.backend(backend).is_up()));
        wait_until(|| harness.pool().recourse().is_panic() == panics);
        let shares_then = shares(&harness, 20);
        if panics {
            // A rebuild of the rotation may come between.
            let even = shares_then.values().all(|share| (8..=12).contains(share));
            let used: Vec<&str> = shares_then.keys().map(String::as_str).collect();
            assert!(even && used == ["a", "b"], "{shares_then:?}");
        } else {
            assert_eq!(shares_then, only("No backend is available.\n", 20));
        }
        let shown = format!("synod_pool_panic{{pool=\"web\"}} {}", u8::from(panics));
        assert!(harness.figures().contains(&shown), "{shown}");
        backends[0].fail_checks(false);
        wait_until(|| harness.backend(0).is_up() && !harness.pool().recourse().is_panic());
        assert_eq!(shares(&harness, 20), only("a", 20));
    }
}

/// At the start of the proxy all are new, and nobody is spared.
#[test]
fn who_comes_up_again_begins_with_a_tenth_of_its_share() {
    let (old, new) = (Checked::new("old"), Checked::new("new"));
    let harness = checked(&[&old, &new], &json!({"slow_start": "1h"}), &[]);
    let at_new = shares(&harness, 100)["new"];
    assert!((45..=55).contains(&at_new), "{at_new} of 100");
    new.fail_checks(true);
    wait_until(|| !harness.backend(1).is_up());
    assert_eq!(shares(&harness, 20), only("old", 20));
    new.fail_checks(false);
    wait_until(|| harness.backend(1).is_up());
    let at_new = shares(&harness, 600)
        .get("new")
        .copied()
        .unwrap_or_default();
    // Of each turn it takes one in ten, by chance: seven deviations off 30 to 60.
    assert!((1..=115).contains(&at_new), "{at_new} of 600");
}

#[test]
fn maintenance_ends_the_checks_and_is_over_with_a_good_one() {
    let (kept, out) = (Checked::new("kept"), Checked::new("out"));
    let revision = |second: Value| config(&[&kept, &out], &json!({}), &[json!({}), second]);
    let harness = checked(&[&kept, &out], &json!({}), &[]);
    assert_eq!(shares(&harness, 20).len(), 2);
    harness.publish(&revision(json!({"state": "maint"})));
    // One may be on its way.
    kept.wait_for_checks(2);
    let before = out.checks();
    kept.wait_for_checks(5);
    assert_eq!(out.checks(), before);
    assert_eq!(shares(&harness, 20), only("kept", 20));
    out.fail_checks(true);
    harness.publish(&revision(json!({})));
    out.wait_for_checks(2);
    assert_eq!(shares(&harness, 20), only("kept", 20));
    out.fail_checks(false);
    wait_until(|| harness.get("/").1 == "out");
}

#[test]
fn a_new_backend_gets_nothing_before_its_first_good_check() {
    let (old, new) = (Checked::new("old"), Checked::new("new"));
    // Fewer bad ones than that take nobody out of use.
    let rule = json!({"health": {"fall": 100}});
    let harness = checked(&[&old], &rule, &[]);
    new.fail_checks(true);
    harness.publish(&config(&[&old, &new], &rule, &[]));
    assert_eq!(shares(&harness, 20), only("old", 20));
    new.wait_for_checks(2);
    assert_eq!(shares(&harness, 20), only("old", 20));
    new.fail_checks(false);
    wait_until(|| harness.get("/").1 == "new");
}

/// As a deploy does that brings a pool and leads its route there in one transaction.
#[test]
fn a_pool_of_which_no_check_has_told_anything_is_served_at_once() {
    let (old, good, bad) = (
        Checked::new("old"),
        Checked::new("good"),
        Checked::new("bad"),
    );
    let harness = checked(&[&old], &json!({}), &[]);
    let rule = |percent: u8| json!({"health": {"interval": "1h", "panic_percent": percent}});
    // Nobody checks here.
    let silent = Harness::new(options(), &config(&[&good, &bad], &rule(50), &[]));
    assert_eq!(shares(&silent, 20).len(), 2);
    silent.publish(&config(&[&good, &bad], &rule(0), &[]));
    assert_eq!(status(&silent.get("/").0), 503, "switched off");
    bad.fail_checks(true);
    for _ in 0..20 {
        harness.publish(&config(&[&good, &bad], &json!({}), &[]));
        assert_eq!(status(&harness.get("/").0), 200);
        wait_until(|| shares(&harness, 4) == only("good", 4));
        harness.publish(&config(&[&old], &json!({}), &[]));
        assert_eq!(status(&harness.get("/").0), 200);
    }
}

/// Nothing is asked anew in between, so whoever forgets has nobody to send requests to, or sends them astray.
#[test]
fn what_checks_have_found_survives_revisions() {
    let (up, down) = (Checked::new("up"), Checked::new("down"));
    down.fail_checks(true);
    let rule = |n: usize| {
        let balance = Balance::ALL[n % Balance::ALL.len()].name();
        json!({"balance": balance, "health": {"interval": "1h", "panic_percent": 0}})
    };
    let harness = checked(&[&up, &down], &rule(0), &[]);
    let checks = (up.checks(), down.checks());
    for n in 1..=50 {
        let weights = [1 + n % 5, 1 + n % 3].map(|weight| json!({ "weight": weight }));
        harness.publish(&config(&[&up, &down], &rule(n), &weights));
        assert_eq!(shares(&harness, 4), only("up", 4), "revision {n}");
    }
    assert_eq!((up.checks(), down.checks()), checks);
}
