//! What is told to who asks once more under the same key.

use super::*;

#[test]
fn a_retry_is_not_told_that_it_holds_what_it_has_lost() {
    let mut m = led();
    let under = |m: &mut Machine, key, operation| apply_under(m, key, Body::Locks(operation));
    let lease = limits::LEASE;
    let Answer::Opened { session: a } = under(&mut m, "open", Operation::Open { lease }) else {
        panic!("it is the first");
    };
    let b = open(&mut m);
    let first = acquire(a, Exclusive, 0, 0);
    assert_eq!(under(&mut m, "claim", first.clone()), granted(4));
    assert_eq!(
        under(&mut m, "claim", first.clone()),
        granted(4),
        "it holds"
    );
    ask(&mut m, release(a));
    ask(&mut m, acquire(b, Exclusive, 0, 0));
    let lost = Answer::Refused(Refusal::not_held(a, &name("deploy")));
    assert_eq!(under(&mut m, "claim", first.clone()), lost);
    ask(&mut m, Operation::Close { session: a });
    let ended = Answer::Refused(Refusal::NoSession { session: a });
    assert_eq!(under(&mut m, "claim", first), ended);
    assert_eq!(under(&mut m, "open", Operation::Open { lease }), ended);
}
