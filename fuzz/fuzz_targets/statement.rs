#![no_main]

libfuzzer_sys::fuzz_target!(init: targets::start("statement"), |input: &[u8]| targets::statement(input));
