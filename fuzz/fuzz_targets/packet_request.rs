#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whist_packet::fuzzing::fuzz_request(data));
