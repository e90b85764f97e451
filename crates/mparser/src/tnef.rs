//! TNEF, the wrapping Outlook calls `winmail.dat` (MS-OXTNEF): only far enough to give its attachments.
//!
//! ```text
//! stream    = %x78 %x9F %x3E %x22 key *attribute            ; key: 2 bytes; numbers have their low byte first
//! attribute = level id length data checksum                  ; 1, 4, 4, length and 2 bytes (MS-OXTNEF §2.1.3)
//! ```
//! Attributes of one attachment follow `attAttachRenddata`. Its name is the long one among its MAPI properties,
//! else the short one of `attAttachTitle`.

use crate::{decode_charset, limits};

/// First bytes of a stream (MS-OXTNEF §2.1.3.1).
const SIGNATURE: &[u8] = &[0x78, 0x9f, 0x3e, 0x22];

const ATTACH_TITLE: u32 = 0x0001_8010;
const ATTACH_DATA: u32 = 0x0006_800f;
const ATTACH_REND_DATA: u32 = 0x0006_9002;
const ATTACHMENT: u32 = 0x0006_9005;
const OEM_CODEPAGE: u32 = 0x0006_9007;

const PR_ATTACH_DATA: u16 = 0x3701;
const PR_ATTACH_FILENAME: u16 = 0x3704;
const PR_ATTACH_LONG_FILENAME: u16 = 0x3707;
const PR_ATTACH_MIME_TAG: u16 = 0x370e;
const PR_ATTACH_CONTENT_ID: u16 = 0x3712;

/// One file of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Attachment<'a> {
    pub(crate) name: Option<String>,
    pub(crate) media_type: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) content: &'a [u8],
}

/// The attachments in a stream, at most [`limits::EMBEDDED_FILES`]. What is cut off or damaged ends the list; the
/// files before it are kept.
pub(crate) fn attachments(stream: &[u8]) -> Vec<Attachment<'_>> {
    let mut list: Vec<Attachment<'_>> = Vec::new();
    let Some(rest) = stream.strip_prefix(SIGNATURE) else {
        return list;
    };
    let mut reader = Reader(rest.get(2..).unwrap_or_default());
    let mut codepage = None;
    while let Some((id, data)) = reader.attribute() {
        if id == ATTACH_REND_DATA {
            if list.len() == limits::EMBEDDED_FILES {
                break;
            }
            list.push(Attachment::default());
        } else if id == OEM_CODEPAGE {
            codepage = Reader(data).number().map(|n| format!("cp{n}"));
        } else if let Some(last) = list.last_mut() {
            match id {
                ATTACH_TITLE if last.name.is_none() => last.name = text(data, codepage.as_deref()),
                ATTACH_DATA => last.content = data,
                ATTACHMENT => properties(data, codepage.as_deref(), last),
                _ => {}
            }
        }
    }
    list
}

/// Text of one byte a character, up to its NUL.
fn text(data: &[u8], codepage: Option<&str>) -> Option<String> {
    let end = memchr::memchr(0, data).unwrap_or(data.len());
    let text = decode_charset(data.get(..end)?, codepage);
    Some(text).filter(|t| !t.is_empty())
}

fn utf_16(data: &[u8]) -> Option<String> {
    let text = encoding_rs::UTF_16LE.decode_without_bom_handling(data).0;
    let text = text.split('\0').next().unwrap_or_default().to_owned();
    Some(text).filter(|t| !t.is_empty())
}

/// MAPI properties (MS-OXTNEF §2.1.3.4): a count, then tag and value of each.
fn properties<'a>(data: &'a [u8], codepage: Option<&str>, into: &mut Attachment<'a>) {
    let mut reader = Reader(data);
    let Some(count) = reader.number() else {
        return;
    };
    let mut short = None;
    for _ in 0..count.min(limits::TNEF_PROPERTIES) {
        let Some((id, kind, value)) = reader.property() else {
            break;
        };
        let as_text = || match kind {
            0x1f => utf_16(value),
            _ => text(value, codepage),
        };
        match id {
            PR_ATTACH_LONG_FILENAME => into.name = as_text().or(into.name.take()),
            PR_ATTACH_FILENAME => short = as_text(),
            PR_ATTACH_MIME_TAG => into.media_type = as_text(),
            PR_ATTACH_CONTENT_ID => into.id = as_text(),
            PR_ATTACH_DATA if into.content.is_empty() => {
                // An object begins with the number of its interface (MS-OXTNEF §2.1.3.4.2).
                into.content =
                    if kind == 0x0d { value.get(16..).unwrap_or_default() } else { value };
            }
            _ => {}
        }
    }
    into.name = into.name.take().or(short);
}

/// Numbers and pieces off the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn attribute(&mut self) -> Option<(u32, &'a [u8])> {
        let level = self.take(1)?;
        if !matches!(level, [1 | 2]) {
            return None;
        }
        let id = self.number()?;
        let length = usize::try_from(self.number()?).ok()?;
        let data = self.take(length)?;
        // The last checksum may be cut off.
        self.take(2.min(self.0.len()))?;
        Some((id, data))
    }

    /// Id, type and first value of a property; every value is padded to four bytes.
    fn property(&mut self) -> Option<(u16, u16, &'a [u8])> {
        let tag = self.number()?;
        let [kind_low, kind_high, id_low, id_high] = tag.to_le_bytes();
        let kind = u16::from_le_bytes([kind_low, kind_high]);
        let id = u16::from_le_bytes([id_low, id_high]);
        if id >= 0x8000 {
            self.skip_name()?;
        }
        let many = kind & 0x1000 != 0;
        let kind = kind & !0x1000;
        let fixed = match kind {
            // A value of two bytes takes four, like one of four.
            0x02 | 0x03 | 0x04 | 0x0a | 0x0b => Some(4),
            0x05 | 0x06 | 0x07 | 0x14 | 0x40 => Some(8),
            0x48 => Some(16),
            0x0d | 0x1e | 0x1f | 0x102 => None,
            _ => return None,
        };
        let values = if many || fixed.is_none() { self.number()? } else { 1 };
        let mut first = None;
        // Each round takes at least four bytes, so the loop is as long as the stream at most.
        for _ in 0..values {
            let length = match fixed {
                Some(length) => length,
                None => usize::try_from(self.number()?).ok()?,
            };
            let value = self.take(length)?;
            self.take((4 - length % 4) % 4)?;
            first = first.or(Some(value));
        }
        Some((id, kind, first.unwrap_or_default()))
    }

    /// The name of a named property: an interface, then a number or text of UTF-16.
    fn skip_name(&mut self) -> Option<()> {
        self.take(16)?;
        if self.number()? == 0 {
            self.take(4)?;
        } else {
            let length = usize::try_from(self.number()?).ok()?;
            self.take(length)?;
            self.take((4 - length % 4) % 4)?;
        }
        Some(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn attribute(id: u32, data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).unwrap();
        let sum = data.iter().fold(0_u16, |sum, b| sum.wrapping_add(u16::from(*b)));
        let level =
            if id & 0xf000 == 0x9000 && id != OEM_CODEPAGE || id == ATTACH_DATA { 2 } else { 1 };
        let head = [&[level][..], &id.to_le_bytes(), &length.to_le_bytes()].concat();
        [&head[..], data, &sum.to_le_bytes()].concat()
    }

    fn property(id: u16, kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u32::try_from(value.len()).unwrap().to_le_bytes();
        let one = 1_u32.to_le_bytes();
        let mut out = [&kind.to_le_bytes()[..], &id.to_le_bytes(), &one, &length, value].concat();
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    pub(crate) fn stream(attributes: &[Vec<u8>]) -> Vec<u8> {
        [SIGNATURE, &[1, 0], &attributes.concat()].concat()
    }

    /// Two files: one with a short name and data, one with a long name among its properties.
    fn example() -> Vec<u8> {
        let long: Vec<u8> = "faktura ą.pdf\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut named = 0x0003_u32.to_le_bytes().to_vec();
        named[2..].copy_from_slice(&0x8000_u16.to_le_bytes());
        named.extend(
            [[0; 16].as_slice(), &0_u32.to_le_bytes(), &7_u32.to_le_bytes(), &9_u32.to_le_bytes()]
                .concat(),
        );
        let properties = [
            &4_u32.to_le_bytes()[..],
            &named,
            &property(PR_ATTACH_LONG_FILENAME, 0x1f, &long),
            &property(PR_ATTACH_MIME_TAG, 0x1e, b"application/pdf\0"),
            &property(PR_ATTACH_DATA, 0x102, b"%PDF-"),
        ];
        stream(&[
            attribute(OEM_CODEPAGE, &[0xe2, 4, 0, 0, 0, 0, 0, 0]),
            attribute(ATTACH_REND_DATA, &[0; 14]),
            attribute(ATTACH_TITLE, b"a\xb9.txt\0"),
            attribute(ATTACH_DATA, b"hello"),
            attribute(ATTACH_REND_DATA, &[0; 14]),
            attribute(ATTACH_TITLE, b"FAKTUR~1.PDF\0"),
            attribute(ATTACHMENT, &properties.concat()),
        ])
    }

    #[test]
    fn two_files() {
        let stream = example();
        let list = attachments(&stream);
        let names: Vec<_> = list.iter().map(|a| a.name.as_deref().unwrap()).collect();
        assert_eq!(names, ["aą.txt", "faktura ą.pdf"]);
        assert_eq!(list[0].content, b"hello");
        assert_eq!(list[1].content, b"%PDF-");
        assert_eq!(list[1].media_type.as_deref(), Some("application/pdf"));
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_read() {
        let stream = example();
        for length in 0..stream.len() {
            assert!(attachments(&stream[..length]).len() <= 2);
            let mut changed = stream.clone();
            changed[length] ^= 0xff;
            drop(attachments(&changed));
        }
        assert_eq!(attachments(SIGNATURE), []);
        assert_eq!(attachments(b"no TNEF"), []);
    }
}
