//! What a signature says, and whether it is good (RFC 6376 §6.1). The key comes from outside: [`Signature::key_name`] is where
//! it stands in the DNS.
//!
//! `l=` is passed over: a signature is good for the whole body or not at all (RFC 6376 §8.2 says why).

use super::canonical::{Field, Form, body_hash_in, header, header_in};
use super::tags::{Tags, is_name, without_blanks};
use crate::authentication::{Dkim, Outcome};
use base64ct::{Base64Unpadded, Encoding as _};
use ring::digest::{Digest, SHA256, digest};
use ring::signature::{ED25519, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use std::collections::HashMap;

/// Names in `h=`: real letters have some twenty.
const SIGNED_NAMES: usize = 256;
/// A clock may be so far ahead of ours.
const CLOCKS_DIFFER_S: i64 = 3_600;
/// Of a signature so much stands in results (RFC 6008 wants eight at least).
const START: usize = 8;
/// A key of 1,024 bits in its frame has more bytes.
const RSA_BYTES: usize = 128;

/// What is said to a question to the DNS for text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Each record with its strings joined.
    Found(Vec<String>),
    Nothing,
    /// Nobody answered in time.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Rsa,
    Ed25519,
}

/// The letter as signatures see it: each field found by its name, the hash of the body made once.
pub(crate) struct Signed<'a> {
    /// By name in lower case, top down.
    fields: HashMap<Vec<u8>, Vec<Field<'a>>>,
    body: &'a [u8],
    hashes: [Option<Digest>; 2],
}

impl<'a> Signed<'a> {
    pub(crate) fn new(fields: impl Iterator<Item = Field<'a>>, body: &'a [u8]) -> Self {
        let mut by_name: HashMap<Vec<u8>, Vec<Field<'a>>> = HashMap::new();
        for field in fields {
            by_name.entry(field.name.to_ascii_lowercase()).or_default().push(field);
        }
        Self { fields: by_name, body, hashes: [None, None] }
    }

    pub(crate) fn of(&self, name: &[u8]) -> &[Field<'a>] {
        self.fields.get(name).map_or(&[], Vec::as_slice)
    }

    fn body_hash(&mut self, form: Form) -> Digest {
        let [simple, relaxed] = &mut self.hashes;
        let kept = if form == Form::Simple { simple } else { relaxed };
        *kept.get_or_insert_with(|| body_hash_in(form, self.body))
    }

    /// The fields of `h=`, each name from the bottom up (RFC 6376 §5.4.2); one that is not there is none.
    fn header(&self, names: &[&str], form: Form, own: Field<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(2_048);
        let mut taken: HashMap<Vec<u8>, usize> = HashMap::new();
        for name in names {
            let name = name.to_ascii_lowercase().into_bytes();
            let fields = self.of(&name);
            let taken = taken.entry(name).or_default();
            *taken += 1;
            if let Some(field) = fields.len().checked_sub(*taken).and_then(|at| fields.get(at)) {
                header_in(form, &mut out, *field);
            }
        }
        unsigned(form, &mut out, own);
        out
    }
}

/// The signature's own field, without what stands in `b=`, and without the line end (RFC 6376 §3.7).
pub(crate) fn unsigned(form: Form, out: &mut Vec<u8>, own: Field<'_>) {
    let head = own.raw.len() - own.value.len();
    let mut raw = own.raw.get(..head).unwrap_or_default().to_vec();
    for (place, spec) in own.value.split(|b| *b == b';').enumerate() {
        if place > 0 {
            raw.push(b';');
        }
        let equals = spec.iter().position(|b| *b == b'=');
        let name = equals.and_then(|at| spec.get(..at)).unwrap_or_default();
        let kept = if name.trim_ascii() == b"b" { name.len() + 1 } else { spec.len() };
        raw.extend_from_slice(spec.get(..kept).unwrap_or_default());
    }
    let value = raw.get(head..).unwrap_or_default();
    header_in(form, out, Field { raw: &raw, name: own.name, value });
    let end = out.len().saturating_sub(2);
    out.truncate(end);
}

/// What is to be checked with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ready {
    algorithm: Algorithm,
    data: Vec<u8>,
    signature: Vec<u8>,
    /// `i=` is of a subdomain of `d=`: some keys do not allow it.
    of_subdomain: bool,
}

type Refused = (Outcome, &'static str);

/// One signature of a letter; of DKIM, or of a link of an ARC chain, which is made the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) domain: String,
    pub(crate) selector: String,
    start: String,
    ready: Result<Ready, Refused>,
}

impl Signature {
    pub(crate) fn dkim(signed: &mut Signed<'_>, own: Field<'_>, now_unix_s: i64) -> Self {
        Self::with(own, |tags, signature| {
            if tags.get("v") != Some("1") {
                return Err((Outcome::PermError, "its version is unknown"));
            }
            if tags.get("q").is_some_and(|q| !q.split(':').any(|how| how.trim() == "dns/txt")) {
                return Err((Outcome::PermError, "its key is not in the DNS"));
            }
            let of_subdomain = is_of_subdomain(tags, &signature.domain)?;
            let names = names(tags)?;
            if !names.iter().any(|name| name.eq_ignore_ascii_case("from")) {
                return Err((Outcome::PermError, "it does not sign From"));
            }
            in_time(tags, now_unix_s)?;
            let ready = of_message(signed, own, tags, &names)?;
            Ok(Ready { of_subdomain, ..ready })
        })
    }

    /// RFC 8617 §4.1.2: `i=` is the number of the link, and there is no `v=`.
    pub(crate) fn arc_message(signed: &mut Signed<'_>, own: Field<'_>) -> Self {
        Self::with(own, |tags, _| {
            let names = names(tags)?;
            if names.iter().any(|name| name.eq_ignore_ascii_case("arc-seal")) {
                return Err((Outcome::PermError, "it signs a seal"));
            }
            of_message(signed, own, tags, &names)
        })
    }

    /// RFC 8617 §4.1.3: over the links so far, which `chain` has in their form.
    pub(crate) fn arc_seal(own: Field<'_>, chain: &[u8]) -> Self {
        Self::with(own, |tags, _| {
            if tags.get("h").is_some() {
                return Err((Outcome::PermError, "a seal must not name fields"));
            }
            let mut data = chain.to_vec();
            unsigned(Form::Relaxed, &mut data, own);
            let (algorithm, signature) = (algorithm(tags)?, base64(tags, "b")?);
            Ok(Ready { algorithm, data, signature, of_subdomain: false })
        })
    }

    fn with(
        own: Field<'_>,
        ready: impl FnOnce(&Tags<'_>, &Self) -> Result<Ready, Refused>,
    ) -> Self {
        let nothing = Err((Outcome::PermError, "it cannot be read"));
        let mut found = Self {
            domain: String::new(),
            selector: String::new(),
            start: String::new(),
            ready: nothing,
        };
        let Some(tags) = Tags::parse(own.value) else { return found };
        let (Some(domain), Some(selector)) = (tags.domain("d"), tags.domain("s")) else {
            return found;
        };
        let text = without_blanks(tags.get("b").unwrap_or_default());
        found.start = text.chars().filter(|c| is_base64(*c)).take(START).collect();
        (found.domain, found.selector) = (domain, selector);
        found.ready = if is_name(&found.record()) {
            ready(&tags, &found)
        } else {
            Err((Outcome::PermError, "the name of its key is too long"))
        };
        found
    }

    fn record(&self) -> String {
        format!("{}._domainkey.{}", self.selector, self.domain)
    }

    /// Where its key is. `None`: it is bad whatever the key.
    pub(crate) fn key_name(&self) -> Option<String> {
        self.ready.is_ok().then(|| self.record())
    }

    pub(crate) fn check(&self, key: &Answer) -> Result<(), Refused> {
        let ready = self.ready.as_ref().map_err(|refused| *refused)?;
        let records = match key {
            Answer::Found(records) => records,
            Answer::Nothing => return Err((Outcome::PermError, "there is no key")),
            Answer::Unknown => return Err((Outcome::TempError, "nobody told the key in time")),
        };
        // RFC 6376 §3.6.2.2: what more than one record means is not said; a good one is enough.
        let mut refused = (Outcome::PermError, "there is no key");
        for record in records.iter().take(4) {
            match ready.check(record) {
                Ok(()) => return Ok(()),
                Err(why) => refused = why,
            }
        }
        Err(refused)
    }

    pub(crate) fn result(&self, key: &Answer) -> Dkim {
        let (outcome, why) =
            self.check(key).map_or_else(|refused| refused, |()| (Outcome::Pass, ""));
        Dkim {
            outcome,
            domain: self.domain.clone(),
            selector: self.selector.clone(),
            signature_start: self.start.clone(),
            why,
        }
    }
}

impl Ready {
    /// RFC 6376 §6.1.2, RFC 8301 §3
    fn check(&self, record: &str) -> Result<(), Refused> {
        let unreadable = (Outcome::PermError, "its key cannot be read");
        let tags = Tags::parse(record.as_bytes()).ok_or(unreadable)?;
        if tags.get("v").is_some_and(|v| v != "DKIM1") {
            return Err(unreadable);
        }
        let list = |name: &str, wanted: &str| {
            let any = |text: &str| {
                text.split(':').any(|one| matches!(one.trim(), "*") || one.trim() == wanted)
            };
            tags.get(name).is_none_or(any)
        };
        if !list("h", "sha256") || !list("s", "email") {
            return Err((Outcome::PermError, "its key is not for this"));
        }
        let strict = tags.get("t").is_some_and(|t| t.split(':').any(|flag| flag.trim() == "s"));
        if strict && self.of_subdomain {
            return Err((Outcome::PermError, "its key is not for subdomains"));
        }
        let public = tags.get("p").ok_or(unreadable)?;
        if without_blanks(public).is_empty() {
            return Err((Outcome::PermError, "its key was taken back"));
        }
        let public = decode(public).ok_or(unreadable)?;
        let kind = tags.get("k").unwrap_or("rsa");
        match (kind, self.algorithm) {
            ("rsa", Algorithm::Rsa) => self.check_rsa(&public),
            ("ed25519", Algorithm::Ed25519) => {
                let key = UnparsedPublicKey::new(&ED25519, &public);
                let hash = digest(&SHA256, &self.data);
                key.verify(hash.as_ref(), &self.signature).map_err(|_| BAD)
            }
            _ => Err((Outcome::PermError, "its key is of another kind")),
        }
    }

    fn check_rsa(&self, public: &[u8]) -> Result<(), Refused> {
        if public.len() < RSA_BYTES {
            return Err((Outcome::Policy, "its key is too short"));
        }
        let scheme = &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY;
        let key = UnparsedPublicKey::new(scheme, unframed(public));
        key.verify(&self.data, &self.signature).map_err(|_| BAD)
    }
}

const BAD: Refused = (Outcome::Fail, "the signature is not of this header");

/// The PKCS#1 key in the frame that everybody puts around it in `p=`; without a frame, what is there.
///
/// ```text
/// SEQUENCE { SEQUENCE { OID rsaEncryption, NULL }, BIT STRING { 0 unused, RSAPublicKey } }   ; RFC 5280 §4.1
/// ```
fn unframed(public: &[u8]) -> &[u8] {
    let inner = || {
        let outer = content(public, 0x30)?.0;
        let bits = content(content(outer, 0x30)?.1, 0x03)?.0;
        bits.strip_prefix(&[0])
    };
    inner().unwrap_or(public)
}

/// DER: what is in the first value, and what comes after it. Lengths up to 65,535.
fn content(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match der.strip_prefix(&[tag])? {
        [length, rest @ ..] if *length < 0x80 => (usize::from(*length), rest),
        [0x81, length, rest @ ..] => (usize::from(*length), rest),
        [0x82, high, low, rest @ ..] => (usize::from(*high) << 8 | usize::from(*low), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
}

fn of_message(
    signed: &mut Signed<'_>,
    own: Field<'_>,
    tags: &Tags<'_>,
    names: &[&str],
) -> Result<Ready, Refused> {
    let algorithm = algorithm(tags)?;
    let (header_form, body_form) = forms(tags.get("c"))?;
    let (signature, body_hash) = (base64(tags, "b")?, base64(tags, "bh")?);
    if signed.body_hash(body_form).as_ref() != body_hash {
        return Err((Outcome::Fail, "the body was changed"));
    }
    let data = signed.header(names, header_form, own);
    Ok(Ready { algorithm, data, signature, of_subdomain: false })
}

/// RFC 8301 §3.1: signatures with SHA-1 prove nothing.
fn algorithm(tags: &Tags<'_>) -> Result<Algorithm, Refused> {
    match tags.get("a") {
        Some("rsa-sha256") => Ok(Algorithm::Rsa),
        Some("ed25519-sha256") => Ok(Algorithm::Ed25519),
        _ => Err((Outcome::PermError, "its algorithm is not one that we take")),
    }
}

fn forms(c: Option<&str>) -> Result<(Form, Form), Refused> {
    let form = |name: &str| match name {
        "simple" => Ok(Form::Simple),
        "relaxed" => Ok(Form::Relaxed),
        _ => Err((Outcome::PermError, "its form is unknown")),
    };
    let (header, body) =
        c.map_or(("simple", "simple"), |c| c.split_once('/').unwrap_or((c, "simple")));
    Ok((form(header)?, form(body)?))
}

fn names<'a>(tags: &Tags<'a>) -> Result<Vec<&'a str>, Refused> {
    let names: Vec<&str> = tags
        .get("h")
        .unwrap_or_default()
        .split(':')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .take(SIGNED_NAMES + 1)
        .collect();
    if (1..=SIGNED_NAMES).contains(&names.len()) {
        Ok(names)
    } else {
        Err((Outcome::PermError, "it names no fields, or too many"))
    }
}

/// RFC 6376 §3.5, `i=`: `Err` when it is of another domain.
fn is_of_subdomain(tags: &Tags<'_>, domain: &str) -> Result<bool, Refused> {
    let Some(agent) = tags.get("i") else { return Ok(false) };
    let of = agent.rsplit('@').next().unwrap_or(agent).to_ascii_lowercase();
    match of.strip_suffix(domain) {
        Some("") => Ok(false),
        Some(before) if before.ends_with('.') => Ok(true),
        _ => Err((Outcome::PermError, "it signs for another domain")),
    }
}

fn in_time(tags: &Tags<'_>, now_unix_s: i64) -> Result<(), Refused> {
    if tags.number("t").is_some_and(|t| t > now_unix_s.saturating_add(CLOCKS_DIFFER_S)) {
        return Err((Outcome::PermError, "it is of the future"));
    }
    if tags.number("x").is_some_and(|x| x < now_unix_s) {
        return Err((Outcome::PermError, "it has expired"));
    }
    Ok(())
}

fn base64(tags: &Tags<'_>, name: &str) -> Result<Vec<u8>, Refused> {
    let text = tags.get(name).unwrap_or_default();
    let bytes = decode(text).filter(|bytes| !bytes.is_empty());
    bytes.ok_or((Outcome::PermError, "it cannot be read"))
}

/// With blanks in it, with padding or without.
fn decode(text: &str) -> Option<Vec<u8>> {
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace() && *c != '=').collect();
    Base64Unpadded::decode_vec(&text).ok()
}

fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '+' || c == '/'
}

/// A field of a chain, as seals want it.
pub(crate) fn sealed(out: &mut Vec<u8>, field: Field<'_>) {
    header(out, field);
}
