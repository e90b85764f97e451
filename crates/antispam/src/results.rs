//! `Authentication-Results`: what was found, for programs that read the letter later, and the fields of strangers that
//! pretend to be ours (RFC 8601).
//!
//! ```text
//! authres-header = "Authentication-Results:" [CFWS] authserv-id [ CFWS authres-version ]
//!                  ( no-result / 1*resinfo ) [CFWS] CRLF             ; RFC 8601 §2.2
//! ```

use crate::authentication::{Authentication, DmarcPolicy, Outcome, Spf};
use crate::dkim::canonical::split;
use std::fmt::Write as _;
use types::Address;

const NAME: &str = "Authentication-Results";
/// Signatures that are named.
const SIGNATURES: usize = 10;

impl Outcome {
    /// RFC 8601 §2.7
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::Neutral => "neutral",
            Self::Policy => "policy",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl Authentication {
    /// The whole field, each result on a line of its own, with its line end.
    pub fn field(&self, hostname: &str, sender: Option<&Address>) -> String {
        let mut results: Vec<String> = Vec::new();
        for one in self.dkim.iter().take(SIGNATURES) {
            let mut text = format!("dkim={}", one.outcome.word());
            if !one.why.is_empty() {
                let _infallible = write!(text, " ({})", one.why);
            }
            property(&mut text, "header.d", &one.domain);
            property(&mut text, "header.s", &one.selector);
            property(&mut text, "header.b", &one.signature_start);
            results.push(text);
        }
        if self.dkim.is_empty() {
            results.push("dkim=none".to_owned());
        }
        results.extend(spf(&self.spf, sender));
        let mut dmarc = format!("dmarc={}", self.dmarc.outcome.word());
        if !matches!(self.dmarc.outcome, Outcome::None | Outcome::PermError) {
            dmarc.push_str(match self.dmarc.policy {
                DmarcPolicy::None => " (p=none)",
                DmarcPolicy::Quarantine => " (p=quarantine)",
                DmarcPolicy::Reject => " (p=reject)",
            });
        }
        property(&mut dmarc, "header.from", &self.dmarc.from_domain);
        results.push(dmarc);
        if self.arc.outcome != Outcome::None {
            let mut arc = format!("arc={}", self.arc.outcome.word());
            property(
                &mut arc,
                "header.oldest-pass",
                if self.arc.passed_before { "1" } else { "0" },
            );
            results.push(arc);
        }
        if let Some(name) = &self.client_name {
            let mut iprev = "iprev=pass".to_owned();
            property(&mut iprev, "policy.iprev", name);
            results.push(iprev);
        }
        format!("{NAME}: {};\r\n\t{}\r\n", tame(hostname), results.join(";\r\n\t"))
    }
}

fn spf(spf: &Spf, sender: Option<&Address>) -> Option<String> {
    if spf.domain.is_empty() {
        return None;
    }
    let mut text = format!("spf={}", spf.outcome.word());
    match sender {
        Some(sender) if !spf.of_helo => property(&mut text, "smtp.mailfrom", sender.domain()),
        _ => property(&mut text, "smtp.helo", &spf.domain),
    }
    Some(text)
}

/// On the next line: names of strangers are long.
fn property(out: &mut String, name: &str, value: &str) {
    let value = tame(value);
    if !value.is_empty() {
        let _infallible = write!(out, "\r\n\t {name}={value}");
    }
}

/// Names are ASCII, or they are shown without what could end the field or the value.
fn tame(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || ".-_+/".contains(*c)).take(253).collect()
}

/// The letter without fields in which a stranger speaks in our name (RFC 8601 §5). `None`: there is none.
pub fn without_results_of(hostname: &str, letter: &[u8]) -> Option<Vec<u8>> {
    let (fields, _) = split(letter);
    let is_ours = |value: &[u8]| {
        let text = String::from_utf8_lossy(value);
        authserv(&text).is_some_and(|name| name.eq_ignore_ascii_case(hostname))
    };
    let mut kept = Vec::new();
    let mut from = 0;
    for field in fields {
        if field.name.eq_ignore_ascii_case(NAME.as_bytes()) && is_ours(field.value) {
            let at = field.raw.as_ptr().addr() - letter.as_ptr().addr();
            kept.extend_from_slice(letter.get(from..at)?);
            from = at + field.raw.len();
        }
    }
    if from == 0 {
        return None;
    }
    kept.extend_from_slice(letter.get(from..)?);
    Some(kept)
}

/// The name at the start, after comments.
fn authserv(value: &str) -> Option<&str> {
    let mut rest = value.trim_start();
    let mut depth = 0_usize;
    while depth > 0 || rest.starts_with('(') {
        let at = rest.find(['(', ')', '\\'])?;
        let step = match rest.as_bytes().get(at)? {
            b'(' => {
                depth += 1;
                1
            }
            b')' => {
                depth = depth.saturating_sub(1);
                1
            }
            _ => 2,
        };
        rest = rest.get(at + step..)?;
        if depth == 0 {
            rest = rest.trim_start();
        }
    }
    let rest = rest.strip_prefix('"').unwrap_or(rest);
    let end = rest
        .find(|c: char| c.is_whitespace() || matches!(c, ';' | '"' | '('))
        .unwrap_or(rest.len());
    rest.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authentication::{Arc, Dkim, Dmarc};

    #[test]
    fn the_field() {
        let sender: Address = "ala@else.test".parse().unwrap();
        let authentication = Authentication {
            spf: Spf { outcome: Outcome::SoftFail, domain: "else.test".into(), of_helo: false },
            dkim: vec![Dkim {
                outcome: Outcome::Fail,
                domain: "else.test".into(),
                selector: "s1".into(),
                signature_start: "abcd+/12".into(),
                why: "the body was changed",
            }],
            dmarc: Dmarc {
                outcome: Outcome::Fail,
                from_domain: "else.test".into(),
                policy: DmarcPolicy::Reject,
            },
            arc: Arc { outcome: Outcome::Pass, sealer: "lists.test".into(), passed_before: true },
            client_name: Some("mail.else.test".into()),
        };
        assert_eq!(
            authentication.field("mx.example.test", Some(&sender)),
            "Authentication-Results: mx.example.test;\r\n\
             \tdkim=fail (the body was changed)\r\n\t header.d=else.test\r\n\t header.s=s1\r\n\t header.b=abcd+/12;\r\n\
             \tspf=softfail\r\n\t smtp.mailfrom=else.test;\r\n\
             \tdmarc=fail (p=reject)\r\n\t header.from=else.test;\r\n\
             \tarc=pass\r\n\t header.oldest-pass=1;\r\n\
             \tiprev=pass\r\n\t policy.iprev=mail.else.test\r\n"
        );
        let nothing = Authentication::default().field("mx.example.test", None);
        assert_eq!(
            nothing,
            "Authentication-Results: mx.example.test;\r\n\tdkim=none;\r\n\tdmarc=none\r\n"
        );
        let helo = Spf { outcome: Outcome::Pass, domain: "x\r\n.test".into(), of_helo: true };
        let field = Authentication { spf: helo, ..Authentication::default() }.field("mx", None);
        assert!(field.contains("\tspf=pass\r\n\t smtp.helo=x.test;\r\n"), "{field}");
    }

    #[test]
    fn fields_of_strangers() {
        #[track_caller]
        fn check(letter: &str, expect: Option<&str>) {
            let found = without_results_of("mx.example.test", letter.as_bytes());
            let found = found.map(|kept| String::from_utf8(kept).unwrap());
            assert_eq!(found.as_deref(), expect, "{letter:?}");
        }
        check("Subject: x\r\n\r\nAuthentication-Results: mx.example.test; dkim=pass\r\n", None);
        check("Authentication-Results: other.test; dkim=pass\r\nA: b\r\n\r\n", None);
        check(
            "A: b\r\nAuthentication-Results: mx.example.test; dkim=pass\r\n\theader.d=x\r\nC: d\r\n\r\nx",
            Some("A: b\r\nC: d\r\n\r\nx"),
        );
        check(
            "authentication-results:\r\n (a (b\\) c)) \"MX.example.test\" 1; none\r\nC: d\r\n\r\n",
            Some("C: d\r\n\r\n"),
        );
        check(
            "Authentication-Results: mx.example.test\r\nAuthentication-Results : mx.example.test;\r\n\r\n",
            Some("\r\n"),
        );
        check("Authentication-Results: (((\r\n\r\n", None);
        check("Authentication-Results:\r\n\r\n", None);
    }
}
