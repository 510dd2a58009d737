//! Heads of responses from a backend.
#![no_main]

use libfuzzer_sys::fuzz_target;
use synod::wire;

#[path = "../../../src/wire/oracle/coherence.rs"]
mod coherence;

fuzz_target!(|bytes: &[u8]| coherence::check_response(bytes));
