//! A command that imap-codec can read is one for us too, and the same one; also in the form in which imap-codec would
//! write it. Where we refuse on purpose, `on_purpose` says why. We read more than it does (doubled spaces, newer
//! extensions), so the other way round is no finding. APPEND is compared up to its message, which we read in a second
//! step; what it is given, REPLACE of a number must take too (RFC 8508 §5). imap-codec knows neither REPLACE nor CATENATE
//! nor several letters: those have seeds of their own in `seeds/imap_command`.
#![no_main]

use imap_codec::CommandCodec;
use imap_codec::decode::Decoder as _;
use imap_codec::encode::Encoder as _;
use imap_codec::imap_types::command::CommandBody;
use imap_codec::imap_types::extensions::binary::LiteralOrLiteral8;
use imap_codec::imap_types::extensions::thread::ThreadingAlgorithm;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    let line = [raw, b"\r\n"].concat();
    let Ok((b"", theirs)) = CommandCodec::default().decode(&line) else { return };
    // THREAD by what is not in the capability line.
    if matches!(&theirs.body, CommandBody::Thread { algorithm, .. } if is_other(algorithm)) {
        return;
    }
    let name = theirs.body.name();
    let written = CommandCodec::default().encode(&theirs).dump();
    for text in [raw, written.strip_suffix(b"\r\n").unwrap_or(&written)] {
        if let CommandBody::Append { message, .. } = &theirs.body {
            let message_bytes = match message {
                LiteralOrLiteral8::Literal(literal) => literal.as_ref().len(),
                LiteralOrLiteral8::Literal8(literal) => literal.data.len(),
            };
            let head = text.get(..text.len().saturating_sub(message_bytes)).unwrap_or_default();
            same(head, name);
            if let Some(replace) = replace(head) {
                same(&replace, "REPLACE");
            }
        } else {
            same(text, name);
        }
    }
});

/// The APPEND as a REPLACE.
fn replace(append: &[u8]) -> Option<Vec<u8>> {
    const VERB: &[u8] = b" APPEND ";
    let at = append.windows(VERB.len()).position(|word| word.eq_ignore_ascii_case(VERB))?;
    Some([&append[..at], b" REPLACE 7 ", &append[at + VERB.len()..]].concat())
}

fn is_other(algorithm: &ThreadingAlgorithm<'_>) -> bool {
    matches!(algorithm, ThreadingAlgorithm::Other(_))
}

/// We read `raw` as the command of this name.
fn same(raw: &[u8], name: &str) {
    // Commands we do not have are refused by name.
    if !imap::COMMANDS.iter().any(|row| row.name == name) {
        return;
    }
    match imap::parse_command(raw) {
        Ok(ours) => assert_eq!(ours.trim_start_matches("UID "), name, "{}", raw.escape_ascii()),
        Err(why) => {
            assert!(on_purpose(&format!("{why:?}")), "{name}: {why:?}: {}", raw.escape_ascii())
        }
    }
}

/// imap-codec takes it and we do not: what we wanted there, with the reason.
fn on_purpose(why: &str) -> bool {
    [
        // Unterminated, or printable ASCII such as `/` in base64: two names for one mailbox.
        "a mailbox name in modified UTF-7",
        // Tags have a limit of 64 bytes here.
        "a tag",
        // A MODSEQ has 63 bits (RFC 7162 §7).
        "a smaller number",
        // Lists, nesting and strings have limits.
        "fewer ",
        "less ",
        "a shorter ",
        // STATUS () is against the grammar (RFC 9051 §9: status-att is there once at least).
        "something STATUS can say",
        // FETCH 1 () likewise (fetch-att).
        "something to fetch",
        // \Unknown: system flags are a closed list (RFC 9051 §2.3.2), and `\Recent` is ours to set.
        "a flag or keyword that can be stored",
    ]
    .iter()
    .any(|wanted| why.contains(wanted))
}
