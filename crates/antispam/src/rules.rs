//! The rules: one row each. A row says what it looks for in one plain sentence and shows a letter that hits and
//! one that does not; the test at the end of this file walks through all of them.
//!
//! How many points: a letter goes to Junk at 6. What alone proves nothing gets 0.5 to 2, what honest senders
//! hardly ever do 2.5 to 4. An ordinary letter stays under 2.

use crate::authentication::{Arc, Authentication, Dkim, Dmarc, DmarcPolicy, Outcome, Spf};
use crate::facts::Facts;
use crate::files::{Finding, is_container, is_program, turns_direction};
use crate::links::{Trick, is_mixed, owner, shown_host};
use memchr::memmem;
use mparser::{Ambiguity, DefectKind};
use std::net::IpAddr;

/// Refused wherever it stands in the text of a letter: to try out a filter without real spam.
pub const TEST_STRING: &str =
    "XJS*OPENPOCZTA-TEST-STRING-THAT-EVERY-FILTER-REFUSES-AND-NOBODY-WRITES*C.34X";
/// The same, but the letter goes to Junk.
pub const JUNK_STRING: &str =
    "XJS*OPENPOCZTA-TEST-STRING-THAT-GOES-TO-THE-JUNK-MAILBOX-AND-NOBODY-WRITES*C.34X";
/// The test string of `SpamAssassin`, which most other filters know too.
pub const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// As it stands in the header field. Capitals, digits, `_`.
    pub symbol: &'static str,
    pub points: f32,
    pub test: fn(&Facts<'_>) -> bool,
    /// What it looks for, in one sentence.
    pub says: &'static str,
    pub hits: Example,
    pub misses: Example,
}

/// A letter with `\n` for line ends, and what was known beside it. It came on 22 November 2026.
#[derive(Debug)]
pub struct Example {
    /// The name its sender gave in HELO.
    pub helo: &'static str,
    pub letter: &'static str,
    pub authentication: Option<fn() -> Authentication>,
    pub virus: Option<&'static str>,
}

const fn letter(letter: &'static str) -> Example {
    Example { helo: "mail.sender.test", letter, authentication: None, virus: None }
}

const fn from_host(helo: &'static str, text: &'static str) -> Example {
    Example { helo, ..letter(text) }
}

const fn proven(authentication: fn() -> Authentication, text: &'static str) -> Example {
    Example { authentication: Some(authentication), ..letter(text) }
}

/// Sorted by symbol.
pub static RULES: &[Rule] = &[
    Rule {
        symbol: "ADVANCE_FEE",
        points: 4.0,
        test: advance_fee,
        says: "The text has four or more phrases of letters that promise money for a fee.",
        hits: letter(
            "Subject: Hi\n\nDear beneficiary, the late minister left a bank deposit of USD 10.5 million. As his next of \
             kin you receive 40%. Treat this as confidential and urgent.\n",
        ),
        misses: letter(
            "Subject: Hi\n\nThe bank moved our deposit to another account, nothing urgent.\n",
        ),
    },
    Rule {
        symbol: "ARCHIVE_ENCRYPTED",
        points: 1.5,
        test: |facts| facts.findings.contains(&Finding::Encrypted),
        says: "An attached archive needs a password, so that no scanner sees what is in it.",
        hits: letter(
            "Subject: The file\nContent-Disposition: attachment; filename=\"a.zip\"\nContent-Type: application/octet-stream\n\nPK\u{1}03\u{1}04\u{1}14\u{1}00\u{1}01\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}05\u{1}00\u{1}00\u{1}00a.pdf\n",
        ),
        misses: letter(
            "Subject: The file\nContent-Disposition: attachment; filename=\"a.zip\"\nContent-Type: application/octet-stream\n\nPK\u{1}03\u{1}04\u{1}14\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}05\u{1}00\u{1}00\u{1}00a.pdf\n",
        ),
    },
    Rule {
        symbol: "ARCHIVE_PROGRAM",
        points: 3.5,
        test: |facts| facts.findings.contains(&Finding::ProgramInside),
        says: "A small archive is attached, and in it is a program.",
        hits: letter(
            "Subject: The file\nContent-Disposition: attachment; filename=\"invoice.zip\"\nContent-Type: application/octet-stream\n\nPK\u{1}03\u{1}04\u{1}14\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}0b\u{1}00\u{1}00\u{1}00invoice.exe\n",
        ),
        misses: letter(
            "Subject: The file\nContent-Disposition: attachment; filename=\"invoice.zip\"\nContent-Type: application/octet-stream\n\nPK\u{1}03\u{1}04\u{1}14\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}0b\u{1}00\u{1}00\u{1}00invoice.pdf\n",
        ),
    },
    Rule {
        symbol: "DATE_AHEAD",
        points: 2.0,
        test: date_ahead,
        says: "The letter is dated more than two days ahead.",
        hits: letter("From: a@b.test\nDate: Thu, 26 Nov 2026 18:00:00 +0100\n\nx\n"),
        misses: letter("From: a@b.test\nDate: Mon, 23 Nov 2026 18:00:00 +0100\n\nx\n"),
    },
    Rule {
        symbol: "DKIM_INVALID",
        points: 0.5,
        test: dkim_invalid,
        says: "There are signatures, and none of them is good (RFC 6376).",
        hits: proven(|| dkim(&[Outcome::Fail]), "Subject: Hi\n\nx\n"),
        misses: proven(|| dkim(&[Outcome::Fail, Outcome::Pass]), "Subject: Hi\n\nx\n"),
    },
    Rule {
        symbol: "DMARC_PASS",
        points: -0.2,
        test: dmarc_pass,
        says: "The author's domain is proven to have sent this letter (RFC 7489).",
        hits: proven(|| dmarc(Outcome::Pass, DmarcPolicy::None), "Subject: Hi\n\nx\n"),
        misses: proven(|| dmarc(Outcome::TempError, DmarcPolicy::Reject), "Subject: Hi\n\nx\n"),
    },
    Rule {
        symbol: "DMARC_QUARANTINE",
        points: 2.0,
        test: |facts| dmarc_fails(facts, DmarcPolicy::Quarantine),
        says: "The author's domain did not send this letter and wants such letters in Junk (RFC 7489).",
        hits: proven(|| dmarc(Outcome::Fail, DmarcPolicy::Quarantine), "Subject: Hi\n\nx\n"),
        misses: proven(resealed, "Subject: Hi\n\nx\n"),
    },
    Rule {
        symbol: "DMARC_REJECT",
        points: 3.5,
        test: |facts| dmarc_fails(facts, DmarcPolicy::Reject),
        says: "The author's domain did not send this letter and wants such letters refused (RFC 7489).",
        hits: proven(|| dmarc(Outcome::Fail, DmarcPolicy::Reject), "Subject: Hi\n\nx\n"),
        misses: proven(|| dmarc(Outcome::Pass, DmarcPolicy::Reject), "Subject: Hi\n\nx\n"),
    },
    Rule {
        symbol: "DOUBLE_EXTENSION",
        points: 2.5,
        test: double_extension,
        says: "An attached program hides behind the name of a document, as invoice.pdf.exe does.",
        hits: letter(
            "Content-Disposition: attachment; filename=invoice.pdf.exe\nContent-Type: application/octet-stream\n\nMZ\n",
        ),
        misses: letter(
            "Content-Disposition: attachment; filename=setup.exe\nContent-Type: application/octet-stream\n\nMZ\n",
        ),
    },
    Rule {
        symbol: "DUPLICATE_HEADER",
        points: 1.5,
        test: |facts| facts.has_double_field(),
        says: "A header field that may stand only once stands twice (RFC 5322 §3.6).",
        hits: letter("From: a@b.test\nFrom: c@d.test\n\nx\n"),
        misses: letter("From: a@b.test\nReceived: 1\nReceived: 2\n\nx\n"),
    },
    Rule {
        symbol: "EIGHT_BIT_HEADER",
        points: 1.0,
        test: |facts| facts.has_defect(DefectKind::EightBitHeader),
        says: "The header has bytes over 127 that are neither encoded words nor UTF-8.",
        hits: letter("Subject: \u{1}80\n\nx\n"),
        misses: letter("Subject: zażółć\n\nx\n"),
    },
    Rule {
        symbol: "EMPTY_WITH_FILE",
        points: 1.0,
        test: empty_with_file,
        says: "There is an attachment, but not a word in the subject or the text.",
        hits: letter(
            "Content-Disposition: attachment; filename=a.zip\nContent-Type: application/zip\n\nPK\n",
        ),
        misses: letter(
            "Subject: The files\nContent-Disposition: attachment; filename=a.zip\nContent-Type: application/zip\n\nPK\n",
        ),
    },
    Rule {
        symbol: "EXECUTABLE_FILE",
        points: 4.0,
        test: |facts| facts.files.iter().any(|name| is_program(name)),
        says: "An attachment is a program or a script.",
        hits: letter(
            "Content-Disposition: attachment; filename=\"update.js\"\nContent-Type: text/plain\n\nx()\n",
        ),
        misses: letter(
            "Content-Disposition: attachment; filename=\"report.pdf\"\nContent-Type: application/pdf\n\nx\n",
        ),
    },
    Rule {
        symbol: "EXTORTION",
        points: 4.0,
        test: extortion,
        says: "The text wants a secret payment and says that it has pictures or data of the reader.",
        hits: letter(
            "Subject: Hi\n\nI recorded you through your webcam. Send 900 USD in bitcoin within 48 hours or all your contacts see it.\n",
        ),
        misses: letter(
            "Subject: Hi\n\nThe talk on bitcoin was recorded, see you at the next one.\n",
        ),
    },
    Rule {
        symbol: "FILE_DISGUISED",
        points: 4.0,
        test: |facts| facts.findings.contains(&Finding::Disguised),
        says: "An attached program has the name of a document or an image.",
        hits: letter(
            "Subject: The file\nContent-Disposition: attachment; filename=\"invoice.pdf\"\nContent-Type: application/octet-stream\n\nMZ\u{1}90\n",
        ),
        misses: letter(
            "Subject: The file\nContent-Disposition: attachment; filename=\"invoice.pdf\"\nContent-Type: application/octet-stream\n\n%PDF-1.7 MZ\n",
        ),
    },
    Rule {
        symbol: "FILE_DISK_IMAGE",
        points: 2.5,
        test: |facts| facts.files.iter().any(|name| is_container(name)),
        says: "An attachment is a disk image or a notebook, in which programs pass unmarked.",
        hits: letter(
            "Subject: The file\nContent-Disposition: attachment; filename=\"invoice.iso\"\nContent-Type: application/octet-stream\n\nx\n",
        ),
        misses: letter(
            "Subject: The file\nContent-Disposition: attachment; filename=\"invoice.iso.pdf\"\nContent-Type: application/octet-stream\n\nx\n",
        ),
    },
    Rule {
        symbol: "FILE_NAME_TURNED",
        points: 4.0,
        test: |facts| facts.files.iter().any(|name| turns_direction(name)),
        says: "The name of an attachment is written backwards so that it seems to be another type.",
        hits: letter(
            "Content-Type: application/octet-stream\nContent-Disposition: attachment; filename*=utf-8''cod%E2%80%AEfdp.exe\n\nx\n",
        ),
        misses: letter(
            "Content-Type: application/octet-stream\nContent-Disposition: attachment; filename*=utf-8''%D7%A9%D7%9C%D7%95%D7%9D.pdf\n\nx\n",
        ),
    },
    Rule {
        symbol: "FILE_OTHER_TYPE",
        points: 1.5,
        test: |facts| facts.findings.contains(&Finding::OtherType),
        says: "An attachment is called an image or PDF and is an archive, an office file or a web page.",
        hits: letter(
            "Subject: The file\nContent-Disposition: attachment; filename=\"scan.jpg\"\nContent-Type: application/octet-stream\n\nPK\u{1}03\u{1}04\n",
        ),
        misses: letter(
            "Subject: The file\nContent-Disposition: attachment; filename=\"scan.zip\"\nContent-Type: application/octet-stream\n\nPK\u{1}03\u{1}04\n",
        ),
    },
    Rule {
        symbol: "FROM_SEVERAL",
        points: 1.5,
        test: |facts| facts.from.len() > 1 && facts.message.index().envelope.sender.is_empty(),
        says: "From names several people and no Sender says who sent it (RFC 5322 §3.6.2).",
        hits: letter("From: a@b.test, c@d.test\n\nx\n"),
        misses: letter("From: a@b.test, c@d.test\nSender: a@b.test\n\nx\n"),
    },
    Rule {
        symbol: "HELO_IS_RECIPIENT",
        points: 2.5,
        test: helo_is_recipient,
        says: "A client from elsewhere introduces itself with the name of our own domain.",
        hits: from_host("Example.test", "Subject: Hi\n\nx\n"),
        misses: from_host("mail.sender.test", "Subject: Hi\n\nx\n"),
    },
    Rule {
        symbol: "HTML_HIDDEN_TEXT",
        points: 1.5,
        test: |facts| facts.page.has(Trick::HiddenText),
        says: "More text than a preview line is there for filters only.",
        hits: letter(HIDDEN_TEXT),
        misses: letter(
            "Content-Type: text/html; charset=utf-8\n\n<div style=\"display:none\">The news of this month</div>Dear reader\n",
        ),
    },
    Rule {
        symbol: "HTML_IMAGE_ONLY",
        points: 2.5,
        test: |facts| {
            facts.page.remote_images > 0 && facts.page.text_chars < 40 && !has_plain_text(facts)
        },
        says: "The letter is an image from the network with hardly a word beside it.",
        hits: letter(
            "Content-Type: text/html\n\n<a href=\"http://a.test\"><img src=\"http://a.test/offer.png\"></a> Click\n",
        ),
        misses: letter(
            "Content-Type: text/html\n\n<img src=\"http://a.test/logo.png\"><p>Dear customer, here is the news of this month from our shop.</p>\n",
        ),
    },
    Rule {
        symbol: "HTML_PASSWORD",
        points: 3.5,
        test: |facts| facts.page.has(Trick::PasswordField),
        says: "The letter itself has a field to type a password in.",
        hits: letter(
            "Content-Type: text/html; charset=utf-8\n\n<form><input type=\"password\"></form>\n",
        ),
        misses: letter(
            "Content-Type: text/html; charset=utf-8\n\n<form><input type=\"text\"> password</form>\n",
        ),
    },
    Rule {
        symbol: "HTML_REFRESH",
        points: 2.5,
        test: |facts| facts.page.has(Trick::Refresh),
        says: "The letter wants to be replaced by another page.",
        hits: letter(
            "Content-Type: text/html; charset=utf-8\n\n<meta http-equiv=\"refresh\" content=\"0;url=http://a.test\">x\n",
        ),
        misses: letter(
            "Content-Type: text/html; charset=utf-8\n\n<meta name=\"refresh\" content=\"x\">x\n",
        ),
    },
    Rule {
        symbol: "HTML_SAME_COLOUR",
        points: 1.5,
        test: |facts| facts.page.has(Trick::SameColour),
        says: "Text has the colour of its background.",
        hits: letter(
            "Content-Type: text/html; charset=utf-8\n\n<p style=\"color:#fff;background-color:white\">x</p>\n",
        ),
        misses: letter(
            "Content-Type: text/html; charset=utf-8\n\n<p style=\"color:#fff;background-color:#036\">x</p>\n",
        ),
    },
    Rule {
        symbol: "INVISIBLE_CHARACTERS",
        points: 2.0,
        test: invisible_characters,
        says: "Words are broken up with characters that nobody sees.",
        hits: letter(
            "Subject: Hi\nContent-Type: text/plain; charset=utf-8\n\nVi\u{200b}ag\u{200b}ra and Ci\u{200b}alis\n",
        ),
        misses: letter(
            "Subject: Hi\nContent-Type: text/plain; charset=utf-8\n\nhttp://a.test/\u{200b}x می\u{200c}خواهم\u{200c}و\u{200c}ا\n",
        ),
    },
    Rule {
        symbol: "LINK_HOMOGRAPH",
        points: 3.5,
        test: |facts| facts.page.has(Trick::Homograph),
        says: "A link leads to a name with letters of another script that look like ours.",
        hits: letter(
            "Content-Type: text/html; charset=utf-8\n\n<a href=\"http://xn--pple-43d.test/\">here</a>\n",
        ),
        misses: letter(
            "Content-Type: text/html; charset=utf-8\n\n<a href=\"http://xn--w-uga1v8h.test/\">here</a>\n",
        ),
    },
    Rule {
        symbol: "LINK_NUMBER_HOST",
        points: 3.0,
        test: |facts| facts.page.has(Trick::NumberHost),
        says: "A link leads to an IP address in a spelling that hides it, as 0xc0.0.2.7 does.",
        hits: letter(
            "Content-Type: text/html; charset=utf-8\n\n<a href=\"http://0xc0.0.2.7/login\">here</a>\n",
        ),
        misses: letter(
            "Content-Type: text/html; charset=utf-8\n\n<a href=\"http://0xc0.test/login\">here</a>\n",
        ),
    },
    Rule {
        symbol: "LINK_PORT",
        points: 0.5,
        test: |facts| facts.page.has(Trick::Port),
        says: "A link leads to an unusual port.",
        hits: letter(
            "Content-Type: text/html; charset=utf-8\n\n<a href=\"http://a.test:8123/\">here</a>\n",
        ),
        misses: letter(
            "Content-Type: text/html; charset=utf-8\n\n<a href=\"http://a.test:443/:8123\">here</a>\n",
        ),
    },
    Rule {
        symbol: "LINK_SCRIPT",
        points: 1.0,
        test: |facts| facts.page.has(Trick::Script),
        says: "A link runs a script, or carries the page that it opens.",
        hits: letter(
            "Content-Type: text/html; charset=utf-8\n\n<a href=\"data:text/html,x\">here</a>\n",
        ),
        misses: letter(
            "Content-Type: text/html; charset=utf-8\n\n<a href=\"http://a.test/javascript:\">here</a>\n",
        ),
    },
    Rule {
        symbol: "LINK_TO_IP",
        points: 2.0,
        test: |facts| facts.page.links.iter().any(|link| link.host.parse::<IpAddr>().is_ok()),
        says: "A link leads to an IP address instead of a name.",
        hits: letter("Content-Type: text/html\n\n<a href=\"http://192.0.2.7/login\">here</a>\n"),
        misses: letter("Content-Type: text/html\n\n<a href=\"http://a.test/192.0.2.7\">here</a>\n"),
    },
    Rule {
        symbol: "LINK_TO_OTHER",
        points: 2.5,
        test: link_to_other,
        says: "A link shows one address and leads to somebody else's.",
        hits: letter(
            "Content-Type: text/html\n\n<a href=\"http://evil.test/x\">https://www.bank.test/login</a>\n",
        ),
        misses: letter(
            "Content-Type: text/html\n\n<a href=\"http://click.bank.test/x\">www.bank.test</a>\n",
        ),
    },
    Rule {
        symbol: "LINK_USER_HOST",
        points: 3.0,
        test: |facts| facts.page.has(Trick::UserHost),
        says: "A link has another host's name before an @, where it means nothing.",
        hits: letter(
            "Content-Type: text/html; charset=utf-8\n\n<a href=\"http://www.bank.test@evil.test/\">here</a>\n",
        ),
        misses: letter(
            "Content-Type: text/html; charset=utf-8\n\n<a href=\"http://a.test/?to=me@www.bank.test\">here</a>\n",
        ),
    },
    Rule {
        symbol: "MACRO",
        points: 2.0,
        test: |facts| facts.findings.contains(&Finding::Macro),
        says: "An attached office document has a macro.",
        hits: letter(
            "Subject: The file\nContent-Disposition: attachment; filename=\"a.docm\"\nContent-Type: application/octet-stream\n\nPK\u{1}03\u{1}04\u{1}14\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}13\u{1}00\u{1}00\u{1}00word/vbaProject.bin\n",
        ),
        misses: letter(
            "Subject: The file\nContent-Disposition: attachment; filename=\"a.docx\"\nContent-Type: application/octet-stream\n\nPK\u{1}03\u{1}04\u{1}14\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}00\u{1}11\u{1}00\u{1}00\u{1}00word/document.xml\n",
        ),
    },
    Rule {
        symbol: "MESSAGE_ID_ODD",
        points: 1.0,
        test: message_id_odd,
        says: "The Message-ID has no @, or no name beside it.",
        hits: letter("Message-ID: <12345>\n\nx\n"),
        misses: letter("Message-ID: <12345@b.test>\n\nx\n"),
    },
    Rule {
        symbol: "MISSING_DATE",
        points: 1.0,
        test: |facts| facts.has_defect(DefectKind::MissingDate),
        says: "The header has no Date (RFC 5322 §3.6).",
        hits: letter("From: a@b.test\n\nx\n"),
        misses: letter("From: a@b.test\nDate: Sun, 22 Nov 2026 18:00:00 +0100\n\nx\n"),
    },
    Rule {
        symbol: "MISSING_FROM",
        points: 2.5,
        test: |facts| facts.has_defect(DefectKind::MissingFrom),
        says: "The header has no From (RFC 5322 §3.6).",
        hits: letter("Subject: Hi\n\nx\n"),
        misses: letter("From: a@b.test\n\nx\n"),
    },
    Rule {
        symbol: "MISSING_MESSAGE_ID",
        points: 0.5,
        test: |facts| {
            facts.message.index().envelope.message_id.as_deref().unwrap_or_default().is_empty()
        },
        says: "The header has no Message-ID.",
        hits: letter("From: a@b.test\n\nx\n"),
        misses: letter("Message-ID: <1@b.test>\n\nx\n"),
    },
    Rule {
        symbol: "MISSING_TO",
        points: 0.5,
        test: missing_to,
        says: "The header names no recipient.",
        hits: letter("From: a@b.test\nTo: undisclosed-recipients:;\n\nx\n"),
        misses: letter("From: a@b.test\nCc: c@d.test\n\nx\n"),
    },
    Rule {
        symbol: "NAME_IS_OTHER_ADDRESS",
        points: 2.5,
        test: name_is_other_address,
        says: "The sender's display name is an address, and of another domain than the real one.",
        hits: letter("From: \"service@bank.test\" <x@evil.test>\n\nx\n"),
        misses: letter("From: \"a@bank.test\" <a@mail.bank.test>\n\nx\n"),
    },
    Rule {
        symbol: "NAME_LOOKALIKE",
        points: 3.0,
        test: name_lookalike,
        says: "The sender's name or the subject mixes letters of two scripts that look the same in one word.",
        hits: letter("From: \u{420}ayPal <a@b.test>\n\nx\n"),
        misses: letter("From: Анна Nowak <a@b.test>\nSubject: USB-кабель\n\nx\n"),
    },
    Rule {
        symbol: "NUL_BYTE",
        points: 1.5,
        test: |facts| facts.has_defect(DefectKind::NulByte),
        says: "The letter has NUL bytes, which no mail program writes.",
        hits: letter("Subject: Hi\n\na\0b\n"),
        misses: letter("Subject: Hi\n\na b\n"),
    },
    Rule {
        symbol: "PARCEL_FEE",
        points: 2.5,
        test: parcel_fee,
        says: "A parcel is said to wait for a small payment behind a link.",
        hits: letter(
            "Content-Type: text/html; charset=utf-8\n\n<p>Twoja paczka czeka. Wymagana <a href=\"http://a.test\">dopłata 1,99 zł</a>.</p>\n",
        ),
        misses: letter(
            "Content-Type: text/html; charset=utf-8\n\n<p>Twoja paczka czeka w <a href=\"http://a.test\">automacie</a>.</p>\n",
        ),
    },
    Rule {
        symbol: "PASSWORD_BAIT",
        points: 2.5,
        test: password_bait,
        says: "The text threatens an account and asks to confirm it behind a link.",
        hits: letter(
            "Content-Type: text/html\n\n<p>Your account has been suspended. <a href=\"http://a.test\">Verify your account</a> now.</p>\n",
        ),
        misses: letter(
            "Content-Type: text/html\n\n<p>The invoice is in <a href=\"http://a.test\">your account</a>.</p>\n",
        ),
    },
    Rule {
        symbol: "PRIZE",
        points: 1.5,
        test: prize,
        says: "The reader is said to have won something, and has to claim it.",
        hits: letter(
            "Subject: Hi\n\nCongratulations, you have won the lottery! To claim your prize, answer today.\n",
        ),
        misses: letter("Subject: Hi\n\nCongratulations, our team has won the prize!\n"),
    },
    Rule {
        symbol: "REPLY_TO_FREE",
        points: 1.5,
        test: reply_to_free,
        says: "Answers go to a free mailbox that anybody can open, and not to the sender's domain.",
        hits: letter("From: director@company.test\nReply-To: director.company@gmail.com\n\nx\n"),
        misses: letter("From: jan@gmail.com\nReply-To: jan@outlook.com\n\nx\n"),
    },
    Rule {
        symbol: "SPF_FAIL",
        points: 1.5,
        test: |facts| spf_says(facts, Outcome::Fail),
        says: "The sender's domain says that this host may not send for it (RFC 7208).",
        hits: proven(|| spf(Outcome::Fail), "Subject: Hi\n\nx\n"),
        misses: proven(|| spf(Outcome::TempError), "Subject: Hi\n\nx\n"),
    },
    Rule {
        symbol: "SPF_SOFTFAIL",
        points: 0.5,
        test: |facts| spf_says(facts, Outcome::SoftFail),
        says: "The sender's domain says that this host probably may not send for it (RFC 7208).",
        hits: proven(|| spf(Outcome::SoftFail), "Subject: Hi\n\nx\n"),
        misses: proven(|| spf(Outcome::Neutral), "Subject: Hi\n\nx\n"),
    },
    Rule {
        symbol: "SUBJECT_CAPITALS",
        points: 1.5,
        test: |facts| is_shouted(&facts.subject),
        says: "The subject is a sentence in capitals.",
        hits: letter("Subject: ZARABIAJ TERAZ, NIE CZEKAJ\n\nx\n"),
        misses: letter("Subject: RFC 5322 and MIME\n\nx\n"),
    },
    Rule {
        symbol: "TEST_JUNK",
        points: 7.0,
        test: |facts| has(facts, JUNK_STRING),
        says: "The text has the test string that goes to Junk.",
        hits: letter(
            "Subject: Hi\n\nXJS*OPENPOCZTA-TEST-STRING-THAT-GOES-TO-THE-JUNK-MAILBOX-AND-NOBODY-WRITES*C.34X\n",
        ),
        misses: letter("Subject: Hi\n\nXJS*OPENPOCZTA-TEST-STRING\n"),
    },
    Rule {
        symbol: "TEST_STRING",
        points: 16.0,
        test: |facts| has(facts, TEST_STRING) || has(facts, GTUBE),
        says: "The text has a test string that filters refuse: ours or GTUBE.",
        hits: letter(
            "Subject: Hi\nContent-Transfer-Encoding: quoted-printable\n\nXJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD=\n-ANTI-UBE-TEST-EMAIL*C.34X\n",
        ),
        misses: letter("Subject: Hi\n\nXJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE\n"),
    },
    Rule {
        symbol: "TWO_READINGS",
        points: 2.5,
        test: |facts| facts.message.ambiguity().intersects(TWO_READINGS),
        says: "What a part is or where it ends is said twice, so that a filter and a mail program see two letters.",
        hits: letter(
            "Content-Type: multipart/mixed; boundary=a; boundary=b\n\n--a\n\nx\n--a--\n--b\n\ny\n--b--\n",
        ),
        misses: letter("Content-Type: multipart/mixed; boundary=a\n\n--a\n\nx\n--a--\n"),
    },
    Rule {
        symbol: "VIRUS",
        points: 16.0,
        test: |facts| facts.evidence.virus.is_some(),
        says: "A virus scanner knows something in the letter.",
        hits: Example { virus: Some("Eicar-Test"), ..letter("Subject: Hi\n\nx\n") },
        misses: letter("Subject: Hi\n\nx\n"),
    },
];

/// As one does who wants a learner to see other words than the reader.
const HIDDEN_TEXT: &str = "Content-Type: text/html\n\n<p style=\"font-size:0\">harbour window seven lantern quiet garden harbour window seven lantern quiet garden harbour window seven lantern quiet garden harbour window seven lantern quiet garden harbour window seven lantern quiet garden harbour window seven lantern quiet garden harbour window seven lantern quiet garden harbour window seven lantern quiet garden harbour window seven lantern quiet garden harbour window seven lantern quiet garden harbour window seven lantern quiet garden harbour window seven lantern quiet garden</p>Buy now";

/// Doubts that none of 3,250 real letters raises (bench corpus `sa_dev`). A multipart left open, broken base64 or a line
/// that is no field are found in honest ones, too.
const TWO_READINGS: Ambiguity = Ambiguity::DUPLICATE_BOUNDARY
    .or(Ambiguity::DUPLICATE_ENCODING)
    .or(Ambiguity::DUPLICATE_TYPE)
    .or(Ambiguity::PARAMETER_CONFLICT);

fn has(facts: &Facts<'_>, needle: &str) -> bool {
    memmem::find(facts.text.as_bytes(), needle.as_bytes()).is_some()
}

fn count(words: &str, phrases: &[&str]) -> usize {
    let found = |phrase: &&&str| memmem::find(words.as_bytes(), phrase.as_bytes()).is_some();
    phrases.iter().filter(found).count()
}

fn advance_fee(facts: &Facts<'_>) -> bool {
    const PHRASES: &[&str] = &[
        "beneficiary",
        "beneficjent",
        "confidential",
        "deceased",
        "inheritance",
        "late minister",
        "million dollars",
        "milionów dolarów",
        "million united states",
        "next of kin",
        "poufn",
        "spadek",
        "spadkobierc",
        "strictly confidential",
        "transfer of this fund",
        "transfer the fund",
        "urgent",
        "usd 1",
        "us$",
        "your country",
        "zmarły klient",
    ];
    count(&facts.words, PHRASES) >= 4
}

/// A threat and a request, in English or Polish, and a link to follow.
fn password_bait(facts: &Facts<'_>) -> bool {
    const THREATS: &[&str] = &[
        "account has been limited",
        "account has been suspended",
        "account will be closed",
        "account will be suspended",
        "konto zostanie zablokowane",
        "konto zostanie zawieszone",
        "konto zostało zablokowane",
        "konto zostało zawieszone",
        "mailbox is almost full",
        "mailbox will be closed",
        "nietypowe logowanie",
        "unusual sign-in",
    ];
    const REQUESTS: &[&str] = &[
        "confirm your identity",
        "confirm your password",
        "potwierdź dane",
        "potwierdź hasło",
        "potwierdź swoje dane",
        "potwierdź tożsamość",
        "update your account",
        "verify your account",
        "verify your identity",
        "zaloguj się, aby",
        "zweryfikuj konto",
        "zweryfikuj swoje konto",
    ];
    let asks = || count(&facts.words, THREATS) > 0 && count(&facts.words, REQUESTS) > 0;
    !facts.page.links.is_empty() && asks()
}

fn double_extension(facts: &Facts<'_>) -> bool {
    const DOCUMENTS: &[&str] = &[
        "doc", "docx", "gif", "htm", "html", "jpeg", "jpg", "pdf", "png", "txt", "xls", "xlsx",
        "zip",
    ];
    let mut names = facts.files.iter().filter(|name| is_program(name));
    names.any(|name| {
        let before = name.rsplit_once('.').and_then(|(front, _)| front.trim_end().rsplit_once('.'));
        before.is_some_and(|(_, end)| DOCUMENTS.contains(&end))
    })
}

fn has_plain_text(facts: &Facts<'_>) -> bool {
    let index = facts.message.index();
    index.text_part().is_some_and(|part| !facts.message.body(part).trim_ascii().is_empty())
}

fn empty_with_file(facts: &Facts<'_>) -> bool {
    !facts.message.index().attachments().is_empty()
        && facts.subject.trim().is_empty()
        && facts.words.trim().is_empty()
}

fn helo_is_recipient(facts: &Facts<'_>) -> bool {
    let elsewhere = facts.evidence.client_ip.is_some_and(|ip| match ip.to_canonical() {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_private(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unique_local(),
    });
    let helo = facts.evidence.helo.unwrap_or_default();
    elsewhere && facts.evidence.recipients.iter().any(|r| r.domain().eq_ignore_ascii_case(helo))
}

fn link_to_other(facts: &Facts<'_>) -> bool {
    facts.page.links.iter().any(|link| {
        let shown = shown_host(&link.text);
        shown.is_some_and(|shown| owner(&shown) != owner(&link.host))
    })
}

fn missing_to(facts: &Facts<'_>) -> bool {
    let index = facts.message.index();
    index.to_().is_empty() && index.cc_().is_empty()
}

fn name_is_other_address(facts: &Facts<'_>) -> bool {
    facts.from.iter().any(|from| {
        let name =
            from.name.as_deref().unwrap_or_default().trim_matches(['\'', '"', '<', '>', ' ']);
        let Some((_, shown)) = name.rsplit_once('@').filter(|_| !name.contains(' ')) else {
            return false;
        };
        let (shown, real) = (shown.to_lowercase(), from.address.to_lowercase());
        let real = real.rsplit('@').next().unwrap_or_default();
        shown.contains('.') && owner(&shown) != owner(real)
    })
}

fn spf(outcome: Outcome) -> Authentication {
    let spf = Spf { outcome, domain: "b.test".to_owned(), of_helo: false };
    Authentication { spf, ..Authentication::default() }
}

fn dkim(outcomes: &[Outcome]) -> Authentication {
    let dkim = outcomes.iter().map(|outcome| Dkim { outcome: *outcome, ..Dkim::default() });
    Authentication { dkim: dkim.collect(), ..Authentication::default() }
}

fn dmarc(outcome: Outcome, policy: DmarcPolicy) -> Authentication {
    let dmarc = Dmarc { outcome, policy, from_domain: "b.test".to_owned() };
    Authentication { dmarc, ..Authentication::default() }
}

/// A mailing list changed the letter, and says that it was authentic before.
fn resealed() -> Authentication {
    let sealer = "lists.test".to_owned();
    let arc = Arc { outcome: Outcome::Pass, sealer, passed_before: true };
    Authentication { arc, ..dmarc(Outcome::Fail, DmarcPolicy::Quarantine) }
}

fn spf_says(facts: &Facts<'_>, outcome: Outcome) -> bool {
    facts.evidence.authentication.is_some_and(|a| a.spf.outcome == outcome)
}

fn dkim_invalid(facts: &Facts<'_>) -> bool {
    let signed = facts.evidence.authentication.map_or(&[][..], |a| &a.dkim);
    signed.iter().any(|one| matches!(one.outcome, Outcome::Fail | Outcome::PermError))
        && signed.iter().all(|one| one.outcome != Outcome::Pass)
}

/// A forwarder that vouches for an earlier pass takes the weight away (RFC 8617 §1): anybody can be one, so it gives none.
fn dmarc_fails(facts: &Facts<'_>, policy: DmarcPolicy) -> bool {
    facts.evidence.authentication.is_some_and(|a| {
        let forwarded = a.arc.outcome == Outcome::Pass && a.arc.passed_before;
        a.dmarc.outcome == Outcome::Fail && a.dmarc.policy == policy && !forwarded
    })
}

fn dmarc_pass(facts: &Facts<'_>) -> bool {
    facts.evidence.authentication.is_some_and(|a| a.dmarc.outcome == Outcome::Pass)
}

/// Between Latin letters only: other scripts need some of these to be written well.
fn invisible_characters(facts: &Facts<'_>) -> bool {
    const UNSEEN: &[char] = &['\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}'];
    const BREAKS: usize = 3;
    let words = &facts.words;
    if words.is_ascii() {
        return false;
    }
    let latin = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphabetic());
    let breaks = words.match_indices(UNSEEN).filter(|(at, unseen)| {
        let before = words.get(..*at).and_then(|s| s.chars().next_back());
        let after = words.get(at + unseen.len()..).and_then(|s| s.chars().next());
        latin(before) && latin(after)
    });
    breaks.take(BREAKS).count() == BREAKS
}

fn name_lookalike(facts: &Facts<'_>) -> bool {
    let names = facts.from.iter().filter_map(|from| from.name.as_deref());
    names
        .chain([facts.subject.as_str()])
        .filter(|text| !text.is_ascii())
        .any(|text| text.split(|c: char| !c.is_alphabetic()).any(is_mixed))
}

/// Nothing without a clock.
fn date_ahead(facts: &Facts<'_>) -> bool {
    const TWO_DAYS_S: i64 = 2 * 86_400;
    let now = facts.evidence.now_unix_s;
    let date = facts.message.index().date();
    now > 0 && date.is_some_and(|date| date.to_unix_s() > now + TWO_DAYS_S)
}

fn reply_to_free(facts: &Facts<'_>) -> bool {
    const FREE: &[&str] = &[
        "aol.com",
        "gmail.com",
        "gmx.com",
        "hotmail.com",
        "interia.pl",
        "mail.ru",
        "o2.pl",
        "onet.pl",
        "outlook.com",
        "proton.me",
        "protonmail.com",
        "wp.pl",
        "yahoo.com",
        "yandex.com",
    ];
    let is_free = |address: &str| {
        let domain = address.rsplit('@').next().unwrap_or_default();
        FREE.iter().any(|free| free.eq_ignore_ascii_case(domain))
    };
    !facts.from.is_empty()
        && !facts.from.iter().any(|from| is_free(&from.address))
        && facts.message.index().reply_to_().iter().any(|to| is_free(&to.address))
}

fn message_id_odd(facts: &Facts<'_>) -> bool {
    let id = facts.message.index().envelope.message_id.as_deref().unwrap_or_default();
    let id = id.trim().trim_start_matches('<').trim_end_matches('>');
    let around = id.split_once('@');
    !id.is_empty() && around.is_none_or(|(name, host)| name.is_empty() || host.is_empty())
}

fn extortion(facts: &Facts<'_>) -> bool {
    const MONEY: &[&str] = &["bitcoin", "btc"];
    const HOLDS: &[&str] = &[
        "hacked",
        "nagrałem",
        "nagranie",
        "recorded you",
        "recording of you",
        "twoje hasło",
        "video of you",
        "włamałem",
        "your password",
    ];
    const THREATS: &[&str] = &[
        "48 godzin",
        "48 hours",
        "all your contacts",
        "do wszystkich kontaktów",
        "kamer",
        "webcam",
        "twoich znajomych",
        "your camera",
        "your friends",
    ];
    let words = &facts.words;
    count(words, MONEY) > 0 && count(words, HOLDS) > 0 && count(words, THREATS) > 0
}

fn parcel_fee(facts: &Facts<'_>) -> bool {
    const PARCELS: &[&str] = &["paczk", "parcel", "przesyłk", "your package"];
    const FEES: &[&str] = &[
        "customs fee",
        "delivery fee",
        "dopłacić",
        "dopłata",
        "dopłaty",
        "opłata celna",
        "opłatę celną",
        "redelivery fee",
        "shipping fee",
        "unpaid fee",
    ];
    !facts.page.links.is_empty()
        && count(&facts.words, PARCELS) > 0
        && count(&facts.words, FEES) > 0
}

fn prize(facts: &Facts<'_>) -> bool {
    const WON: &[&str] = &[
        "winning notification",
        "wygrałaś",
        "wygrałeś",
        "you are a winner",
        "you have been selected to receive",
        "you have won",
        "you've won",
        "zostałeś wybrany",
    ];
    const CLAIM: &[&str] = &[
        "claim your",
        "lottery",
        "odbierz nagrodę",
        "odbierz swoją",
        "odebrać nagrodę",
        "to claim",
    ];
    count(&facts.words, WON) > 0 && count(&facts.words, CLAIM) > 0
}

/// Three words or more, ten letters or more, none of them small. Scripts without small letters do not count.
fn is_shouted(subject: &str) -> bool {
    let large = subject.chars().filter(|c| c.is_uppercase()).count();
    large >= 10
        && !subject.chars().any(char::is_lowercase)
        && subject.split_whitespace().count() >= 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Evidence, Thresholds, score};
    use mparser::Message;

    /// Control characters in examples stand for bytes that no text has: `\u{1}80` is the byte 80.
    fn bytes_of(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut pieces = text.split('\u{1}');
        bytes.extend_from_slice(pieces.next().unwrap().as_bytes());
        for piece in pieces {
            let (code, rest) = piece.split_at(2);
            bytes.push(u8::from_str_radix(code, 16).unwrap());
            bytes.extend_from_slice(rest.as_bytes());
        }
        let text = |bytes: &[u8]| {
            bytes
                .iter()
                .flat_map(|b| if *b == b'\n' { vec![b'\r', b'\n'] } else { vec![*b] })
                .collect()
        };
        text(&bytes)
    }

    #[track_caller]
    fn check(rule: &Rule, example: &Example, expect: bool) {
        let raw = bytes_of(example.letter);
        let message = Message::parse(&raw);
        let recipients = ["alice@example.test".parse().unwrap()];
        let authentication = example.authentication.map(|make| make());
        let evidence = Evidence {
            client_ip: Some([192, 0, 2, 1].into()),
            helo: Some(example.helo),
            sender: None,
            recipients: &recipients,
            authentication: authentication.as_ref(),
            virus: example.virus,
            now_unix_s: 1_795_370_400,
            ..Evidence::default()
        };
        let verdict = score(&message, &evidence, &Thresholds::default());
        let hit = verdict.symbols.iter().any(|hit| hit.symbol == rule.symbol);
        assert_eq!(hit, expect, "{} on {:?}: {verdict:?}", rule.symbol, example.letter);
    }

    #[test]
    fn the_table_does_what_it_says() {
        assert!(RULES.is_sorted_by(|a, b| a.symbol < b.symbol));
        for rule in RULES {
            assert!(
                rule.symbol
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
            );
            assert!(rule.points.abs() > 0.1 && rule.says.ends_with('.'), "{}", rule.symbol);
            check(rule, &rule.hits, true);
            check(rule, &rule.misses, false);
        }
    }

    #[test]
    fn no_rule_alone_but_test_strings_and_viruses_makes_junk() {
        let strong: Vec<&str> = RULES
            .iter()
            .filter(|r| r.points >= Thresholds::default().junk)
            .map(|r| r.symbol)
            .collect();
        assert_eq!(strong, ["TEST_JUNK", "TEST_STRING", "VIRUS"]);
    }

    #[test]
    fn shouting() {
        #[track_caller]
        fn check(subject: &str, expect: bool) {
            assert_eq!(is_shouted(subject), expect, "{subject:?}");
        }
        check("BUY NOW, BUY CHEAP!!!", true);
        check("ZAŻÓŁĆ GĘŚLĄ JAŹŃ", true);
        check("FW: RFC", false);
        check("Re: BUY NOW BUY CHEAP", false);
        check("日本語の件名です とても 長い", false);
        check("123 456 789 000", false);
        check("", false);
    }
}
