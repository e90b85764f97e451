//! Writes a letter: header fields, and a tree of parts, as bytes with CRLF.
//!
//! Knows nothing about what the letters say. The output depends on the input only: boundaries are
//! numbered, not drawn.

use std::fmt::Write;

/// A part on its way into a letter: its header fields (each with CRLF) and its encoded body.
pub(crate) struct Part {
    pub(crate) header: String,
    pub(crate) body: Vec<u8>,
}

/// `text/plain` or `text/html` in UTF-8, quoted-printable when it has to be.
pub(crate) fn text(subtype: &str, content: &str) -> Part {
    let plain = content.is_ascii() && content.lines().all(|line| line.len() <= 78);
    let content = content.replace('\n', "\r\n");
    if plain {
        return Part {
            header: format!("Content-Type: text/{subtype}; charset=us-ascii\r\n"),
            body: content.into_bytes(),
        };
    }
    Part {
        header: format!(
            "Content-Type: text/{subtype}; charset=utf-8\r\n\
             Content-Transfer-Encoding: quoted-printable\r\n"
        ),
        body: quoted_printable(&content).into_bytes(),
    }
}

/// A file in base64. With `content_id` it is shown inside the letter, else it hangs on it.
pub(crate) fn file(media_type: &str, name: &str, content_id: Option<&str>, bytes: &[u8]) -> Part {
    let place = match content_id {
        Some(id) => format!("Content-ID: <{id}>\r\nContent-Disposition: inline;\r\n"),
        None => "Content-Disposition: attachment;\r\n".to_owned(),
    };
    Part {
        header: format!(
            "Content-Type: {media_type}\r\n\
             Content-Transfer-Encoding: base64\r\n\
             {place} {}\r\n",
            filename_param(name)
        ),
        body: base64_lines(bytes).into_bytes(),
    }
}

/// A whole letter inside a letter.
pub(crate) fn letter(bytes: Vec<u8>) -> Part {
    Part {
        header: "Content-Type: message/rfc822\r\nContent-Disposition: inline\r\n".to_owned(),
        body: bytes,
    }
}

/// `multipart/SUBTYPE` around the parts. `number` makes the boundary unique in the letter.
pub(crate) fn multipart(subtype: &str, number: u32, parts: Vec<Part>) -> Part {
    let boundary = format!("=_openpoczta_{number}_=");
    let mut body = Vec::new();
    for part in parts {
        body.extend_from_slice(format!("--{boundary}\r\n{}\r\n", part.header).as_bytes());
        body.extend_from_slice(&part.body);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Part {
        header: format!("Content-Type: multipart/{subtype};\r\n boundary=\"{boundary}\"\r\n"),
        body,
    }
}

/// `Zofia Żak <zofia@example.test>, bob@example.test`: names encoded, addresses as they are.
pub(crate) fn address_list(list: &str) -> String {
    let one = |item: &str| match item.trim().rsplit_once(" <") {
        Some((name, address)) => {
            format!("{} <{address}", mparser::encode_header_text(name.trim()))
        }
        None => item.trim().to_owned(),
    };
    list.split(',').map(one).collect::<Vec<_>>().join(",\r\n ")
}

/// RFC 2183 §2.3, RFC 2231 §4 when the name is not ASCII.
fn filename_param(name: &str) -> String {
    if name.is_ascii() {
        return format!("filename=\"{name}\"");
    }
    let mut value = String::from("filename*=utf-8''");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            value.push(char::from(byte));
        } else {
            let _ = write!(value, "%{byte:02X}");
        }
    }
    value
}

/// RFC 2045 §6.7: lines of at most 76 characters, blanks at line ends written out.
fn quoted_printable(content: &str) -> String {
    let mut out = String::with_capacity(content.len() * 5 / 4);
    for line in content.split_inclusive("\r\n") {
        let (line, end) = match line.strip_suffix("\r\n") {
            Some(line) => (line, "\r\n"),
            None => (line, ""),
        };
        let mut column = 0;
        for (at, byte) in line.bytes().enumerate() {
            let last = at + 1 == line.len();
            let literal = match byte {
                b'=' => false,
                b' ' | b'\t' => !last,
                b => b.is_ascii_graphic(),
            };
            let token = if literal { char::from(byte).to_string() } else { format!("={byte:02X}") };
            if column + token.len() > 75 {
                out.push_str("=\r\n");
                column = 0;
            }
            column += token.len();
            out.push_str(&token);
        }
        out.push_str(end);
    }
    out
}

/// RFC 4648 §4, 76 characters a line.
fn base64_lines(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len() * 4 / 3 + bytes.len() / 38 + 8);
    for line in bytes.chunks(57) {
        for group in line.chunks(3) {
            let at = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
            let bits = at(0) << 16 | at(1) << 8 | at(2);
            for digit in 0..4 {
                let value = (bits >> (18 - 6 * digit) & 63) as usize;
                let byte = ALPHABET.get(value).copied().unwrap_or(b'=');
                out.push(if digit <= group.len() { char::from(byte) } else { '=' });
            }
        }
        out.push_str("\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64() {
        #[track_caller]
        fn check(bytes: &[u8], expect: &str) {
            assert_eq!(base64_lines(bytes).trim_end(), expect);
        }
        // RFC 4648 §10
        check(b"", "");
        check(b"f", "Zg==");
        check(b"fo", "Zm8=");
        check(b"foo", "Zm9v");
        check(b"foob", "Zm9vYg==");
        check(b"fooba", "Zm9vYmE=");
        check(b"foobar", "Zm9vYmFy");
        assert!(base64_lines(&[0; 200]).lines().all(|l| l.len() <= 76));
    }

    #[test]
    fn quoted() {
        #[track_caller]
        fn check(text: &str, expect: &str) {
            assert_eq!(quoted_printable(text), expect);
        }
        check("ala\r\n", "ala\r\n");
        check("-- \r\nala", "--=20\r\nala");
        check("1=2", "1=3D2");
        check("żó", "=C5=BC=C3=B3");
        let long = "ż".repeat(100);
        let lines = quoted_printable(&long);
        assert!(lines.lines().all(|l| l.len() <= 76));
        assert_eq!(lines.replace("=\r\n", ""), "=C5=BC".repeat(100));
    }

    #[test]
    fn names_of_files() {
        assert_eq!(filename_param("a b.pdf"), "filename=\"a b.pdf\"");
        assert_eq!(filename_param("żuk 1.pdf"), "filename*=utf-8''%C5%BCuk%201.pdf");
    }
}
