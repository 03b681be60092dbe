#![no_main]

libfuzzer_sys::fuzz_target!(init: targets::start("tlog_proof"), |input: &[u8]| targets::tlog_proof(input));
