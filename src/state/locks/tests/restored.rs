//! Tokens of a group that was made of another's state.

use super::*;

#[test]
fn tokens_rise_over_a_restore_also_of_a_lock_that_was_made_anew() {
    let mut m = led();
    let session = open(&mut m);
    let old = m.applied() + 1;
    assert_eq!(ask(&mut m, acquire(session, Exclusive, 0, 0)), granted(old));
    // More than the old group came to behind the image.
    let slot = m.applied() + 1_000;
    m.refound(slot);
    m.lead(slot + 1, TERM);
    ask(&mut m, Operation::Close { session });
    let session = open(&mut m);
    let new = m.applied() + 1;
    assert!(new > slot);
    assert_eq!(ask(&mut m, acquire(session, Exclusive, 0, 0)), granted(new));
}
