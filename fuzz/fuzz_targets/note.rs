#![no_main]

libfuzzer_sys::fuzz_target!(init: targets::start("note"), |input: &[u8]| targets::note(input));
