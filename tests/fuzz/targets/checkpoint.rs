//! A checkpoint's file on a disk that rots.
#![no_main]

use libfuzzer_sys::fuzz_target;
use synod::replication::oracle;

fuzz_target!(|bytes: &[u8]| oracle::check_checkpoint(bytes));
