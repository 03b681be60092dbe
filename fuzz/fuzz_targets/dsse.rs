#![no_main]

libfuzzer_sys::fuzz_target!(init: targets::start("dsse"), |input: &[u8]| targets::dsse(input));
