//! Chunked bodies, from either side.
#![no_main]

use libfuzzer_sys::fuzz_target;
use synod::wire;

#[path = "../../../src/wire/oracle/coherence.rs"]
mod coherence;

fuzz_target!(|bytes: &[u8]| coherence::check_chunked(bytes));
