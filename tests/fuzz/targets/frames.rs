//! What a peer sends, and all that it carries.
#![no_main]

use libfuzzer_sys::fuzz_target;
use synod::replication::oracle;

fuzz_target!(|bytes: &[u8]| oracle::check_frame(bytes));
