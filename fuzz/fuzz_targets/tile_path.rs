#![no_main]

libfuzzer_sys::fuzz_target!(init: targets::start("tile_path"), |input: &[u8]| targets::tile_path(input));
