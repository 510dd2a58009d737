//! What the log hands to the state machine.
#![no_main]

use libfuzzer_sys::fuzz_target;
use synod::replication::oracle;

fuzz_target!(|bytes: &[u8]| oracle::check_command(bytes));
