//! How much of a stranger's letter is looked at. Beyond a limit the bytes stay where they are, opaque, and a defect says so.

/// Multiparts and letters inside each other. Real mail stays under 10; a forward of forwards under 30.
pub const DEPTH: usize = 64;
/// Parts of one letter. The largest real ones, digests, have some hundreds. [`parts`] tells how many of a small letter.
pub const PARTS: usize = 10_000;
/// Header fields of one part that are taken one by one; a letter through twenty relays has about 100.
pub const HEADERS: usize = 10_000;
/// Addresses kept from all address fields together: about 1 MB of memory. [`addresses`] tells how many of a small letter.
pub const ADDRESSES: usize = 10_000;
/// Languages of one part (RFC 3282).
pub const LANGUAGES: usize = 16;
/// Pieces of parameters in one field: RFC 2231 splits a long file name into a few of them.
pub const PARAMS: usize = 1_000;
/// Message ids kept from one `References` field; the thread is known from the first and the last.
pub const REFERENCES: usize = 1_000;
/// Defects kept of one kind; the first ones say it all.
pub const DEFECTS_OF_A_KIND: usize = 8;
/// Characters of a preview (RFC 8970 §3.1).
pub const PREVIEW_CHARS: usize = 256;
/// Bytes of a body that are read for the preview: newsletters open with long style sheets.
pub const PREVIEW_BYTES: usize = 32 * 1024;
/// RFC 5322 §2.1.1: a line has at most 998 characters.
pub const LINE_BYTES: usize = 998;
/// Offsets are 32 bits wide. Longer input is read up to here, with a defect.
pub const MESSAGE_BYTES: usize = u32::MAX as usize - 1;
/// Letters that were encoded against RFC 2045 §6.4, each inside another: the fourth stays bytes.
pub const ENCODED_DEPTH: usize = 3;
/// Files inside the text or TNEF stream of one part; Outlook sends a handful.
pub const EMBEDDED_FILES: usize = 1_000;
/// MAPI properties read of one TNEF attachment; Outlook writes about forty.
pub const TNEF_PROPERTIES: u32 = 1_000;

/// Parts of a letter of this size: a part with its delimiter and type takes some 80 bytes, its row in memory 300. A letter
/// of nothing but delimiters would otherwise take eighty times its size.
pub const fn parts(letter_bytes: usize) -> usize {
    least(PARTS, 1_000 + letter_bytes / 80)
}

/// Addresses of a letter of this size: `a,` twenty thousand times are no addresses, but take memory like them.
pub const fn addresses(letter_bytes: usize) -> usize {
    least(ADDRESSES, 1_000 + letter_bytes / 20)
}

const fn least(a: usize, b: usize) -> usize {
    if a < b { a } else { b }
}
