//! What a checkpoint that verifies may hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use synod::replication::oracle;

fuzz_target!(|bytes: &[u8]| oracle::check_content(bytes));
