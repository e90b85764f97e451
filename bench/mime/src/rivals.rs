//! The other parsers, each doing the three tasks: full, headers, structure. Each gives a number that depends on
//! all it read.

use std::hint::black_box;

pub mod mail_parser_1 {
    use super::black_box;
    use mail_parser::{Message, MessageBuffers, MessageParser};

    fn headers_of(message: &Message) -> usize {
        let from = message.from().and_then(|list| {
            list.first()
                .map(|one| one.address().map_or(0, str::len) + one.name().map_or(0, str::len))
        });
        message.subject().map_or(0, str::len)
            + message.message_id().map_or(0, str::len)
            + from.unwrap_or(0)
            + message.date().map_or(0, |d| d.to_timestamp() as usize & 1)
    }

    fn bodies(message: &Message) -> usize {
        let mut sum = 0;
        for part in message.parts() {
            sum += part.content_type().map_or(0, |c| c.ctype().len());
            if part.is_multipart() || part.is_message() {
                continue;
            }
            sum += part.attachment_name().map_or(0, str::len);
            sum += if part.is_text() {
                part.text().map_or(0, |text| black_box(text).len())
            } else {
                black_box(part.decoded()).len()
            };
        }
        sum
    }

    pub fn full(parser: &MessageParser, buffers: &mut MessageBuffers, raw: &[u8]) -> usize {
        parser.parse_with(raw, buffers).map_or(0, |message| {
            let sum = headers_of(&message) + bodies(&message);
            *buffers = message.into_buffers();
            sum
        })
    }

    pub fn headers(parser: &MessageParser, raw: &[u8]) -> usize {
        parser.parse_headers(raw).map_or(0, |message| headers_of(&message))
    }

    pub fn structure(parser: &MessageParser, buffers: &mut MessageBuffers, raw: &[u8]) -> usize {
        parser.parse_with(raw, buffers).map_or(0, |message| {
            let names = message.parts().map(|p| {
                p.content_type().map_or(0, |c| c.ctype().len())
                    + p.attachment_name().map_or(0, str::len)
            });
            let sum = names.sum();
            *buffers = message.into_buffers();
            sum
        })
    }
}

pub mod mailparse_018 {
    use super::black_box;
    use mailparse::{
        MailAddr, MailHeader, MailHeaderMap, ParsedMail, addrparse_header, dateparse,
        parse_headers, parse_mail,
    };

    fn headers_of(fields: &[MailHeader]) -> usize {
        let value = |name| fields.get_first_value(name).map_or(0, |v: String| v.len());
        let from = fields.get_first_header("From").and_then(|f| addrparse_header(f).ok());
        let from = from.and_then(|list| match list.first()? {
            MailAddr::Single(one) => Some(one.addr.len()),
            MailAddr::Group(group) => group.addrs.first().map(|one| one.addr.len()),
        });
        let date = fields.get_first_value("Date").and_then(|d| dateparse(&d).ok());
        value("Subject") + value("Message-ID") + from.unwrap_or(0) + date.unwrap_or(0) as usize % 2
    }

    fn walk(part: &ParsedMail, decode: bool) -> usize {
        let mut sum = part.ctype.mimetype.len();
        if !part.subparts.is_empty() {
            return sum + part.subparts.iter().map(|p| walk(p, decode)).sum::<usize>();
        }
        let disposition = part.get_content_disposition();
        let name = disposition.params.get("filename").or_else(|| part.ctype.params.get("name"));
        sum += name.map_or(0, String::len);
        if part.ctype.mimetype == "message/rfc822" {
            let inner = part.get_body_raw().unwrap_or_default();
            return sum + parse_mail(&inner).map_or(0, |p| walk(&p, decode));
        }
        if decode && part.ctype.mimetype.starts_with("text/") {
            sum += black_box(part.get_body().unwrap_or_default()).len();
        } else if decode {
            sum += black_box(part.get_body_raw().unwrap_or_default()).len();
        }
        sum
    }

    pub fn full(raw: &[u8]) -> usize {
        parse_mail(raw).map_or(0, |m| headers_of(&m.headers) + walk(&m, true))
    }

    pub fn headers(raw: &[u8]) -> usize {
        parse_headers(raw).map_or(0, |(fields, _)| headers_of(&fields))
    }

    pub fn structure(raw: &[u8]) -> usize {
        parse_mail(raw).map_or(0, |m| walk(&m, false))
    }
}

#[cfg(gmime)]
pub mod gmime {
    use std::ffi::{c_int, c_ulong};

    unsafe extern "C" {
        fn gmimebench_init();
        fn gmimebench_run(letter: *const u8, size: c_ulong, task: c_int) -> c_ulong;
    }

    pub fn start() {
        // SAFETY: takes nothing; called once, before the first run, on the one thread there is.
        unsafe { gmimebench_init() }
    }

    pub fn run(raw: &[u8], task: c_int) -> usize {
        // SAFETY: the shim reads `size` bytes from `letter` and keeps no pointer when it returns.
        unsafe { gmimebench_run(raw.as_ptr(), raw.len() as c_ulong, task) as usize }
    }
}
