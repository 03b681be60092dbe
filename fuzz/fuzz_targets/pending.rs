#![no_main]

libfuzzer_sys::fuzz_target!(init: targets::start("pending"), |input: &[u8]| targets::pending(input));
