//! Signed and encrypted letters, recognised by their types (RFC 1847, RFC 8551 §3, RFC 3156) or, for PGP, by the
//! lines its text begins with. Recognised only: nothing is verified or decrypted here.

use crate::{Index, Message, Part, PartKind};

/// How a part is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protection {
    /// `multipart/signed` with a PKCS #7 signature, or `application/pkcs7-mime` that holds signed data.
    SmimeSigned,
    /// `application/pkcs7-mime` with enveloped data.
    SmimeEncrypted,
    /// `application/pkcs7-mime` with certificates only, or compressed.
    SmimeOther,
    /// `multipart/signed` with a PGP signature, or text signed in the clear.
    PgpSigned,
    /// `multipart/encrypted` for PGP, or an armoured message in text.
    PgpEncrypted,
    /// A public key, as a part or in text.
    PgpKeys,
}

impl Index {
    /// How a part is protected, as far as its type and file name tell.
    pub fn protection(&self, part: usize) -> Option<Protection> {
        let p = self.parts.get(part)?;
        match (&*p.media_type, &*p.subtype) {
            ("multipart", "signed") => self.signed(part, p),
            ("multipart", "encrypted") => {
                let protocol = p.param("protocol").map(str::to_ascii_lowercase);
                let inside = self.children(part).next().and_then(|c| self.parts.get(c));
                let pgp = protocol.as_deref() == Some("application/pgp-encrypted")
                    || inside.is_some_and(|c| c.subtype == "pgp-encrypted");
                pgp.then_some(Protection::PgpEncrypted)
            }
            ("application", "pkcs7-mime" | "x-pkcs7-mime") => Some(pkcs7(p)),
            ("application", "pgp-keys") => Some(Protection::PgpKeys),
            // RFC 8551 §3.2.2: programs that know no better send the file under a general type.
            ("application", "octet-stream") => match p.filename()?.rsplit_once('.')?.1 {
                "p7m" => Some(pkcs7(p)),
                "p7c" => Some(Protection::SmimeOther),
                _ => None,
            },
            _ => None,
        }
    }

    fn signed(&self, part: usize, p: &Part) -> Option<Protection> {
        let by_name = |name: &str| match name {
            "application/pgp-signature" => Some(Protection::PgpSigned),
            "application/pkcs7-signature" | "application/x-pkcs7-signature" => {
                Some(Protection::SmimeSigned)
            }
            _ => None,
        };
        let protocol = p.param("protocol").map(str::to_ascii_lowercase);
        protocol.as_deref().and_then(by_name).or_else(|| {
            let signature = self.children(part).nth(1).and_then(|c| self.parts.get(c))?;
            by_name(&format!("{}/{}", signature.media_type, signature.subtype))
        })
    }
}

fn pkcs7(part: &Part) -> Protection {
    match part.param("smime-type").map(str::to_ascii_lowercase).as_deref() {
        Some("signed-data") => Protection::SmimeSigned,
        Some("certs-only" | "compressed-data") => Protection::SmimeOther,
        // Without a word the file is most often enveloped (RFC 8551 §3.2.2).
        _ => Protection::SmimeEncrypted,
    }
}

impl Message<'_> {
    /// The same, and PGP in the text itself (RFC 9580 §6.2): a line of armour at the start of a line.
    pub fn protection(&self, part: usize) -> Option<Protection> {
        let index = self.index();
        let p = index.parts.get(part)?;
        let plain_text = p.kind == PartKind::Leaf && p.media_type == "text" && p.subtype == "plain";
        if !plain_text {
            return index.protection(part);
        }
        let content = self.bytes(part);
        let armours = memchr::memmem::find_iter(&content, b"-----BEGIN PGP ");
        let at_line_start = armours.filter(|at| {
            at.checked_sub(1)
                .is_none_or(|before| matches!(content.get(before), Some(b'\r' | b'\n')))
        });
        let mut kinds = at_line_start.filter_map(|at| {
            let rest = content.get(at + 15..)?;
            let known: [(&[u8], Protection); 3] = [
                (b"MESSAGE-----", Protection::PgpEncrypted),
                (b"SIGNED MESSAGE-----", Protection::PgpSigned),
                (b"PUBLIC KEY BLOCK-----", Protection::PgpKeys),
            ];
            known.into_iter().find(|(words, _)| rest.starts_with(words)).map(|(_, kind)| kind)
        });
        kinds.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognised() {
        #[track_caller]
        fn check(raw: &str, expect: Option<Protection>) {
            assert_eq!(Message::parse(raw.as_bytes()).protection(0), expect, "{raw:?}");
        }
        let of = |content_type: &str| {
            format!("Content-Type: {content_type}\r\n\r\n--x\r\n\r\na\r\n--x--\r\n")
        };
        check(
            &of("multipart/signed; boundary=x; protocol=\"application/pgp-signature\""),
            Some(Protection::PgpSigned),
        );
        check(
            &of("multipart/signed; boundary=x; protocol=\"application/pkcs7-signature\""),
            Some(Protection::SmimeSigned),
        );
        check(
            &of("multipart/encrypted; boundary=x; protocol=\"application/pgp-encrypted\""),
            Some(Protection::PgpEncrypted),
        );
        check(&of("multipart/signed; boundary=x"), None);
        check(&of("application/pkcs7-mime; smime-type=signed-data"), Some(Protection::SmimeSigned));
        check(&of("application/x-pkcs7-mime"), Some(Protection::SmimeEncrypted));
        check(&of("application/octet-stream; name=smime.p7m"), Some(Protection::SmimeEncrypted));
        check(&of("application/octet-stream; name=a.pdf"), None);
        let guessed = "Content-Type: multipart/signed; boundary=x\r\n\r\n--x\r\n\r\na\r\n--x\r\nContent-Type: application/pgp-signature\r\n\r\nb\r\n--x--\r\n";
        check(guessed, Some(Protection::PgpSigned));
        check("\r\n-----BEGIN PGP MESSAGE-----\r\n", Some(Protection::PgpEncrypted));
        check("\r\nhi\n-----BEGIN PGP SIGNED MESSAGE-----\n", Some(Protection::PgpSigned));
        check("\r\n> -----BEGIN PGP MESSAGE-----\r\n", None);
        check("\r\n-----BEGIN PGP NONSENSE-----\r\n", None);
    }
}
