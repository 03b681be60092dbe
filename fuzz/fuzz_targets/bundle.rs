#![no_main]

libfuzzer_sys::fuzz_target!(init: targets::start("bundle"), |input: &[u8]| targets::bundle(input));
