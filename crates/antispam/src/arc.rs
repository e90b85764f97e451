//! ARC: what forwarders say they saw before they changed a letter (RFC 8617). A chain of links, each of three fields, each
//! sealed over all before it.

use crate::authentication::{Arc, Outcome};
use crate::dkim::canonical::Field;
use crate::dkim::tags::Tags;
use crate::dkim::verify::{Answer, Signature, Signed, sealed};

/// Links of a chain that are followed; RFC 8617 §4.2.1 allows 50, real chains have up to five, and each costs a question.
const LINKS: usize = 10;

const RESULTS: &[u8] = b"arc-authentication-results";
const MESSAGE: &[u8] = b"arc-message-signature";
const SEAL: &[u8] = b"arc-seal";

/// The chain of a letter, before its keys are known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Chain {
    /// The newest signature of the letter, then the seals, oldest first. Empty: there is no chain, or it is broken.
    signatures: Vec<Signature>,
    broken: bool,
    passed_before: bool,
}

struct Link<'a> {
    results: Field<'a>,
    message: Field<'a>,
    seal: Field<'a>,
}

impl Chain {
    pub(crate) fn read(signed: &mut Signed<'_>) -> Self {
        if [RESULTS, MESSAGE, SEAL].iter().all(|name| signed.of(name).is_empty()) {
            return Self::default();
        }
        let broken = Self { broken: true, ..Self::default() };
        let Some(links) = links(signed) else { return broken };
        let Some(newest) = links.last() else { return broken };
        let mut signatures = vec![Signature::arc_message(signed, newest.message)];
        let mut chain = Vec::new();
        for link in &links {
            sealed(&mut chain, link.results);
            sealed(&mut chain, link.message);
            signatures.push(Signature::arc_seal(link.seal, &chain));
            sealed(&mut chain, link.seal);
        }
        let passed_before = links.first().is_some_and(|first| says_pass(first.results.value));
        Self { signatures, broken: false, passed_before }
    }

    /// Where the keys are, in the order in which [`Chain::check`] wants them.
    pub(crate) fn key_names(&self) -> impl Iterator<Item = Option<String>> {
        self.signatures.iter().map(Signature::key_name)
    }

    /// RFC 8617 §5.2. A key that nobody told in time leaves the chain unknown.
    pub(crate) fn check(&self, keys: &[Answer]) -> Arc {
        let sealer = self.signatures.last().map(|seal| seal.domain.clone()).unwrap_or_default();
        let outcome = if self.broken {
            Outcome::Fail
        } else if self.signatures.is_empty() {
            Outcome::None
        } else {
            let of = |(place, signature): (usize, &Signature)| {
                let key = keys.get(place).unwrap_or(&Answer::Unknown);
                signature.check(key).map_or_else(|(outcome, _)| outcome, |()| Outcome::Pass)
            };
            let outcomes: Vec<Outcome> = self.signatures.iter().enumerate().map(of).collect();
            if outcomes.iter().all(|one| *one == Outcome::Pass) {
                Outcome::Pass
            } else if outcomes.iter().all(|one| matches!(one, Outcome::Pass | Outcome::TempError)) {
                Outcome::TempError
            } else {
                Outcome::Fail
            }
        };
        Arc { outcome, sealer, passed_before: self.passed_before && outcome == Outcome::Pass }
    }
}

/// Oldest first; `None`: not a whole chain (RFC 8617 §5.2, 3).
fn links<'a>(signed: &Signed<'a>) -> Option<Vec<Link<'a>>> {
    let count = signed.of(SEAL).len();
    if !(1..=LINKS).contains(&count) {
        return None;
    }
    let numbered = |name: &[u8]| {
        let fields = signed.of(name);
        let mut places: Vec<Option<Field<'a>>> = vec![None; count];
        for field in fields.iter().take(LINKS + 1) {
            let place = places.get_mut(number(field.value)?.checked_sub(1)?)?;
            if place.replace(*field).is_some() {
                return None;
            }
        }
        places.into_iter().collect::<Option<Vec<_>>>()
    };
    let (results, messages, seals) = (numbered(RESULTS)?, numbered(MESSAGE)?, numbered(SEAL)?);
    for (place, seal) in seals.iter().enumerate() {
        let expect = if place == 0 { "none" } else { "pass" };
        if Tags::parse(seal.value)?.get("cv")? != expect {
            return None;
        }
    }
    let parts = results.into_iter().zip(messages).zip(seals);
    Some(parts.map(|((results, message), seal)| Link { results, message, seal }).collect())
}

/// `i=`, the first tag; the field with the results has no other.
fn number(value: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(value).ok()?;
    let number = text.split(';').find_map(|tag| {
        let (name, value) = tag.split_once('=')?;
        (name.trim() == "i").then_some(value.trim())
    });
    number?.parse().ok()
}

/// Whether the first link saw a letter that its author's domain, or a signer, vouched for.
fn says_pass(results: &[u8]) -> bool {
    let text = String::from_utf8_lossy(results);
    let mut words = text.split(|c: char| c.is_ascii_whitespace() || c == ';');
    words.any(|word| matches!(word, "dmarc=pass" | "dkim=pass"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkim::canonical::{self, split};
    use crate::dkim::{Key, Signer};
    use base64ct::{Base64, Encoding as _};

    const NOW: i64 = 1_795_370_400;
    const PEM: &str = include_str!("../../../testdata/dkim/rsa.pem");

    fn key() -> Key {
        Key::from_pem("lists.test", "s1", PEM.as_bytes()).unwrap()
    }

    /// One more link before a letter, as a forwarder makes it: the signature of the letter is one of DKIM with other names.
    fn forward(letter: &str, number: usize, results: &str) -> String {
        let results = format!("ARC-Authentication-Results: i={number}; lists.test; {results}\r\n");
        let dkim = Signer::new(vec![key()]).sign(letter.as_bytes(), "lists.test", NOW);
        let head = dkim.split_once("b=").unwrap().0;
        assert!(!head.contains("\tb="));
        let (_, body) = split(letter.as_bytes());
        let hash = Base64::encode_string(canonical::body_hash(body).as_ref());
        let names = "from:subject";
        let unsigned = format!(
            "ARC-Message-Signature: i={number}; a=rsa-sha256; c=relaxed/relaxed; d=lists.test; s=s1;\r\n\th={names}; bh={hash}; b="
        );
        let mut data = Vec::new();
        for name in names.split(':') {
            let mut fields = split(letter.as_bytes()).0;
            let field = fields.find(|f| f.name.eq_ignore_ascii_case(name.as_bytes())).unwrap();
            canonical::header(&mut data, field);
        }
        let message = unsigned.clone() + &sign(data, &unsigned) + "\r\n";
        let status = if number == 1 { "none" } else { "pass" };
        let unsigned =
            format!("ARC-Seal: i={number}; a=rsa-sha256; cv={status}; d=lists.test; s=s1; b=");
        let mut data = Vec::new();
        for link in 1..number {
            for name in ["arc-authentication-results", "arc-message-signature", "arc-seal"] {
                let mut fields = split(letter.as_bytes()).0;
                let field = fields.find(|f| {
                    f.name.eq_ignore_ascii_case(name.as_bytes())
                        && super::number(f.value) == Some(link)
                });
                canonical::header(&mut data, field.unwrap());
            }
        }
        for text in [&results, &message] {
            canonical::header(&mut data, split(text.as_bytes()).0.next().unwrap());
        }
        let seal = unsigned.clone() + &sign(data, &unsigned) + "\r\n";
        format!("{seal}{message}{results}{letter}")
    }

    fn sign(mut data: Vec<u8>, unsigned: &str) -> String {
        let own = format!("{unsigned}\r\n");
        canonical::header(&mut data, split(own.as_bytes()).0.next().unwrap());
        data.truncate(data.len() - 2);
        Base64::encode_string(&key().sign(&data).unwrap())
    }

    #[track_caller]
    fn check(letter: &str, expect: Outcome) -> Arc {
        let (fields, body) = split(letter.as_bytes());
        let chain = Chain::read(&mut Signed::new(fields, body));
        let answer = Answer::Found(vec![key().record().text]);
        let keys: Vec<Answer> = chain.key_names().map(|_| answer.clone()).collect();
        let found = chain.check(&keys);
        assert_eq!(found.outcome, expect, "{letter}");
        if expect == Outcome::Pass {
            let unknown = chain.check(&vec![Answer::Unknown; keys.len()]);
            assert_eq!((unknown.outcome, unknown.passed_before), (Outcome::TempError, false));
            assert_eq!(chain.check(&vec![Answer::Nothing; keys.len()]).outcome, Outcome::Fail);
        }
        found
    }

    const LETTER: &str = "From: a@example.test\r\nSubject: x\r\n\r\nhello\r\n";

    #[test]
    fn chains() {
        assert_eq!(check(LETTER, Outcome::None), Arc::default());
        let one = forward(LETTER, 1, "spf=fail; dmarc=pass header.from=example.test");
        let expect =
            Arc { outcome: Outcome::Pass, sealer: "lists.test".into(), passed_before: true };
        assert_eq!(check(&one, Outcome::Pass), expect);
        let two = forward(&one, 2, "arc=pass");
        assert_eq!(check(&two, Outcome::Pass), expect);
        let three = forward(&two, 3, "arc=pass");
        assert_eq!(check(&three, Outcome::Pass), expect);
        assert!(!check(&forward(LETTER, 1, "spf=pass"), Outcome::Pass).passed_before);
    }

    #[test]
    fn broken_chains() {
        let one = forward(LETTER, 1, "dmarc=pass header.from=example.test");
        let two = forward(&one, 2, "arc=pass");
        check(&two.replace("hello", "goodbye"), Outcome::Fail);
        check(&two.replace("dmarc=pass", "dmarc=fail"), Outcome::Fail);
        check(&two.replace("cv=pass", "cv=none"), Outcome::Fail);
        check(&two.replace("cv=pass", "cv=fail"), Outcome::Fail);
        check(&two.replacen("ARC-Seal", "X-Seal", 1), Outcome::Fail);
        check(&two.replace("i=1", "i=3"), Outcome::Fail);
        check(&two.replace("i=1", "i=0"), Outcome::Fail);
        check(&format!("ARC-Seal: i=1; cv=none\r\n{LETTER}"), Outcome::Fail);
        check(&format!("ARC-Seal: \r\n{LETTER}"), Outcome::Fail);
        let seal = |n| format!("ARC-Seal: i={n}; cv=none\r\n");
        let seals = (1..=LINKS + 1).map(seal).collect::<Vec<_>>().concat();
        check(&format!("{seals}{LETTER}"), Outcome::Fail);
    }
}
