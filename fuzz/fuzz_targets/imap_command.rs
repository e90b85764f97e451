//! Any bytes are a command or none: no panic, no deep recursion, no long list.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    if let Ok(name) = imap::parse_command(raw) {
        assert!(imap::COMMANDS.iter().any(|row| row.name == name));
    }
});
