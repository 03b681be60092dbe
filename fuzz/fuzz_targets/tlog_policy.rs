#![no_main]

libfuzzer_sys::fuzz_target!(init: targets::start("tlog_policy"), |input: &[u8]| targets::tlog_policy(input));
