#![no_main]

libfuzzer_sys::fuzz_target!(init: targets::start("cosignature"), |input: &[u8]| targets::cosignature(input));
