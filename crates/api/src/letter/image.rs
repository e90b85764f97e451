//! Images a letter may show: told by their first bytes, put into the page as `data:` addresses.

/// What the bytes begin with, and what that is. SVG is not among them: it is a document, not a picture.
static KINDS: &[(&[u8], &str)] = &[
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
];

/// The media type of an image that browsers draw and that cannot do anything else.
pub(crate) fn kind(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Some("image/webp");
    }
    if bytes.get(4..12) == Some(b"ftypavif") {
        return Some("image/avif");
    }
    let found = KINDS.iter().find(|(magic, _)| bytes.starts_with(magic));
    found.map(|(_, kind)| *kind)
}

/// `data:image/png;base64,…` (RFC 2397).
pub(super) fn data_url(kind: &str, bytes: &[u8]) -> String {
    let mut url = String::with_capacity(data_url_bytes(bytes.len()) + kind.len());
    url.push_str("data:");
    url.push_str(kind);
    url.push_str(";base64,");
    base64(bytes, &mut url);
    url
}

/// About how long the address of so many bytes is.
pub(super) fn data_url_bytes(size_bytes: usize) -> usize {
    size_bytes.div_ceil(3) * 4 + 16
}

/// RFC 4648 §4.
fn base64(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or(0);
            let digit = DIGITS.get(digit).copied().unwrap_or(b'=');
            out.push(if place > chunk.len() { '=' } else { char::from(digit) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        assert_eq!(kind(b"\x89PNG\r\n\x1a\nxx"), Some("image/png"));
        assert_eq!(kind(b"RIFF\0\0\0\0WEBPVP8 "), Some("image/webp"));
        for not in [&b"<svg xmlns"[..], b"", b"RIFF", b"<html>", b"%PDF-1.7"] {
            assert_eq!(kind(not), None);
        }
    }

    #[test]
    fn addresses() {
        #[track_caller]
        fn check(bytes: &[u8], expect: &str) {
            assert_eq!(data_url("a/b", bytes), format!("data:a/b;base64,{expect}"));
        }
        check(b"", "");
        check(b"f", "Zg==");
        check(b"fo", "Zm8=");
        check(b"foo", "Zm9v");
        check(b"foobar\xff", "Zm9vYmFy/w==");
    }
}
