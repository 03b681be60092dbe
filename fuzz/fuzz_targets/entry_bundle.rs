#![no_main]

libfuzzer_sys::fuzz_target!(init: targets::start("entry_bundle"), |input: &[u8]| targets::entry_bundle(input));
