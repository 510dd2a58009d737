//! What no log can tell: while a client could believe that it holds a lock, nobody else could.

use super::super::lockers::Belief;

pub(super) fn check(beliefs: &[Belief], faults: &mut Vec<String>) {
    for (index, one) in beliefs.iter().enumerate() {
        let same = beliefs[index + 1..].iter().filter(|it| it.lock == one.lock);
        for other in same {
            if one.from < other.until && other.from < one.until {
                faults.push(format!(
                    "both could believe to hold it: {one:?}\n  and {other:?}"
                ));
            }
        }
    }
}
