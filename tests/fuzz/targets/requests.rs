//! Requests: coherent by themselves, and as hyper sees them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use synod::wire;

#[path = "../../../src/wire/oracle/coherence.rs"]
mod coherence;
#[path = "../../../src/wire/oracle/compare.rs"]
mod compare;

fuzz_target!(|bytes: &[u8]| {
    coherence::check_request(bytes);
    if let Some(disagreement) = compare::disagreement(bytes) {
        panic!("{disagreement}");
    }
});
