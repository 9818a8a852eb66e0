#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whist_ratchet::fuzzing::stored_session(data));
