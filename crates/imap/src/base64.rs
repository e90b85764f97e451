//! The base64 of mailbox names (RFC 3501 §5.1.3): `,` for `/`, no padding.
//!
//! Strict both ways: one text for each byte string, so that no mailbox has two names.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

pub(crate) fn encode(bytes: &[u8], into: &mut String) {
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, b| bits << 8 | u32::from(*b));
        let bits = bits << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            let value = bits >> (18 - 6 * place) & 63;
            let letter = usize::try_from(value).ok().and_then(|v| ALPHABET.get(v));
            into.extend(letter.map(|l| char::from(*l)));
        }
    }
}

/// `None`: not base64, or not in its one canonical form.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for letter in text {
        let value = ALPHABET.iter().position(|a| a == letter)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    // Bits left over must be fewer than a letter and zero, else two texts would mean the same.
    (held < 6 && bits & ((1 << held) - 1) == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for length in 0..20 {
            let bytes: Vec<u8> = (0..length).map(|n: u8| n.wrapping_mul(37)).collect();
            let mut text = String::new();
            encode(&bytes, &mut text);
            assert_eq!(decode(text.as_bytes()), Some(bytes));
        }
    }

    #[test]
    fn refused() {
        for bad in ["A", "AB", "AAB", "AA==", "A/AA", "AA\n"] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(decode(b"AA"), Some(vec![0]));
    }
}
