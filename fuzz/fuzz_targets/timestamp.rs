#![no_main]

libfuzzer_sys::fuzz_target!(init: targets::start("timestamp"), |input: &[u8]| targets::timestamp(input));
