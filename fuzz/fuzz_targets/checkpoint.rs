#![no_main]

libfuzzer_sys::fuzz_target!(init: targets::start("checkpoint"), |input: &[u8]| targets::checkpoint(input));
