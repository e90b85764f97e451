//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), the server's half: the password never crosses the wire,
//! and the client learns that the server knows it.
//!
//! ```text
//! C: n,,n=alice@example.test,r=CLIENT
//! S: r=CLIENTserver,s=SALT,i=65536
//! C: c=biws,r=CLIENTserver,p=PROOF
//! S: v=SIGNATURE
//! ```
//! Extensions change nothing, as RFC 5802 §7 wants it, but for `m=`, which ends the exchange; nobody acts for another (`a=`).

use base64ct::{Base64, Encoding as _};
use ring::{digest, hmac, pbkdf2};
use std::num::NonZeroU32;
use subtle::ConstantTimeEq as _;

/// What a guess costs whoever has stolen the verifiers, and each client at each login: some 10 ms on a laptop. The most
/// that clients with Cyrus SASL compute, mbsync among them; RFC 7677 §4 asks for 4,096 at least.
const ITERATIONS: u32 = 65_536;
/// What is taken from a secret: less protects nobody, more stops a client for minutes.
const SANE_ITERATIONS: std::ops::RangeInclusive<u32> = 4_096..=10_000_000;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 18;
/// A client's nonce, and each message.
const LONGEST_BYTES: usize = 4_096;
const HASH_BYTES: usize = 32;
const NAME: &str = "SCRAM-SHA-256";

type Hash = [u8; HASH_BYTES];

/// What the server keeps of a password (RFC 5802 §3): enough to check a proof, not enough to make one.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Verifier {
    salt: Vec<u8>,
    iterations: u32,
    stored_key: Hash,
    server_key: Hash,
}

impl Verifier {
    /// Takes some 10 ms of CPU. `None`: the password has characters that may not stand in one (RFC 4013), or the system
    /// has no random bytes.
    pub(crate) fn new(password: &[u8]) -> Option<Self> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).ok()?;
        Self::with(password, &salt, ITERATIONS)
    }

    fn with(password: &[u8], salt: &[u8], iterations: u32) -> Option<Self> {
        let text = str::from_utf8(password).ok()?;
        let prepared = stringprep::saslprep(text).ok()?;
        let mut salted = [0; HASH_BYTES];
        let count = NonZeroU32::new(iterations)?;
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, count, salt, prepared.as_bytes(), &mut salted);
        let stored_key = sha256(&mac(&salted, b"Client Key"));
        let server_key = mac(&salted, b"Server Key");
        Some(Self { salt: salt.to_vec(), iterations, stored_key, server_key })
    }

    /// For an account that does not exist or has no verifier: the same salt each time, as a real one has, and a key that
    /// no password leads to. `seed` is the server's own.
    pub(crate) fn of_nobody(user: &str, seed: &Hash) -> Self {
        let salt = blake3::keyed_hash(seed, user.as_bytes());
        let salt = salt.as_bytes().get(..SALT_BYTES).unwrap_or_default().to_vec();
        let server_key = *blake3::keyed_hash(seed, &salt).as_bytes();
        let stored_key = *blake3::keyed_hash(seed, &server_key).as_bytes();
        Self { salt, iterations: ITERATIONS, stored_key, server_key }
    }

    /// `SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER` (RFC 5803 §2)
    pub(crate) fn to_text(&self) -> String {
        let base64 = Base64::encode_string;
        let (salt, stored, server) =
            (base64(&self.salt), base64(&self.stored_key), base64(&self.server_key));
        format!("{NAME}${}:{salt}${stored}:{server}", self.iterations)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (costs, keys) = text.strip_prefix(NAME)?.strip_prefix('$')?.split_once('$')?;
        let ((iterations, salt), (stored, server)) =
            (costs.split_once(':')?, keys.split_once(':')?);
        let bytes = |text: &str| Base64::decode_vec(text).ok();
        let iterations = iterations.parse().ok().filter(|n| SANE_ITERATIONS.contains(n))?;
        let salt = bytes(salt).filter(|salt| !salt.is_empty())?;
        let (stored_key, server_key) =
            (bytes(stored)?.try_into().ok()?, bytes(server)?.try_into().ok()?);
        Some(Self { salt, iterations, stored_key, server_key })
    }
}

fn mac(key: &[u8], message: &[u8]) -> Hash {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    tag.as_ref().try_into().unwrap_or_default()
}

fn sha256(bytes: &[u8]) -> Hash {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().unwrap_or_default()
}

/// What the client said first.
#[derive(Debug)]
pub(crate) struct First {
    pub(crate) user: String,
    /// `n,,` with what is bound to it: what the client repeats at the end.
    bound: Vec<u8>,
    bare: String,
    nonce: String,
}

/// ```text
/// client-first-message = gs2-header client-first-message-bare
/// gs2-header           = ("p=" cb-name / "n" / "y") "," [authzid] ","
/// bare                 = "n=" saslname "," "r=" c-nonce ["," extensions]
/// ```
/// `binding`: of the connection, if it has one (RFC 9266); `plus`: the mechanism that uses it was chosen. `None`: not
/// what it should be, or somebody in between took the better mechanism off the list (RFC 5802 §6).
pub(crate) fn first(message: &[u8], binding: Option<&[u8]>, plus: bool) -> Option<First> {
    let text = str::from_utf8(message).ok().filter(|text| text.len() <= LONGEST_BYTES)?;
    let (flag, rest) = text.split_once(',')?;
    let (authzid, bare) = rest.split_once(',')?;
    let bound = match (flag, plus, binding) {
        ("n", false, _) | ("y", false, None) => &[],
        ("p=tls-exporter", true, Some(binding)) => binding,
        _ => return None,
    };
    let (user, rest) = bare.strip_prefix("n=")?.split_once(',')?;
    // Some libraries always say for whom they act; it is for themselves.
    if !authzid.is_empty() && authzid.strip_prefix("a=")? != user {
        return None;
    }
    let rest = rest.strip_prefix("r=")?;
    let nonce = rest.split_once(',').map_or(rest, |(nonce, _extensions)| nonce);
    let is_nonce = |b: u8| b.is_ascii_graphic() && b != b',';
    if nonce.is_empty() || !nonce.bytes().all(is_nonce) {
        return None;
    }
    let bound = [format!("{flag},{authzid},").as_bytes(), bound].concat();
    Some(First { user: unescape(user)?, bound, bare: bare.to_owned(), nonce: nonce.to_owned() })
}

/// `=2C` is a comma, `=3D` an equals sign; no other may stand in a name.
fn unescape(name: &str) -> Option<String> {
    let plain = name.replace("=2C", ",").replace("=3D", "=");
    let escaped = name.matches("=2C").count() + name.matches("=3D").count();
    (escaped == name.matches('=').count() && !plain.is_empty()).then_some(plain)
}

/// An exchange after its first message.
pub(crate) struct Challenge {
    verifier: Verifier,
    bound: Vec<u8>,
    nonce: String,
    /// Both first messages with a comma after each.
    said: String,
}

impl Challenge {
    /// The challenge, and what to say to the client. `None`: no random bytes.
    pub(crate) fn new(first: First, verifier: Verifier) -> Option<(Self, String)> {
        let mut random = [0; NONCE_BYTES];
        getrandom::fill(&mut random).ok()?;
        Some(Self::with(first, verifier, &Base64::encode_string(&random)))
    }

    fn with(first: First, verifier: Verifier, random: &str) -> (Self, String) {
        let First { bound, bare, nonce, .. } = first;
        let nonce = format!("{nonce}{random}");
        let salt = Base64::encode_string(&verifier.salt);
        let message = format!("r={nonce},s={salt},i={}", verifier.iterations);
        let said = format!("{bare},{message},");
        (Self { verifier, bound, nonce, said }, message)
    }

    /// `c=BINDING,r=NONCE[,EXTENSIONS],p=PROOF`. `Err`: not what it should be; `Ok(None)`: a wrong password; else what proves to the
    /// client that the server knows it.
    pub(crate) fn last(&self, message: &[u8]) -> Result<Option<String>, ()> {
        let text =
            str::from_utf8(message).ok().filter(|text| text.len() <= LONGEST_BYTES).ok_or(())?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(())?;
        let bound = Base64::encode_string(&self.bound);
        let extensions = without_proof.strip_prefix(&format!("c={bound},r={}", self.nonce));
        if !extensions.is_some_and(|text| text.is_empty() || text.starts_with(',')) {
            return Err(());
        }
        let proof = Base64::decode_vec(proof).map_err(|_| ())?;
        let message = format!("{}{without_proof}", self.said);
        let signature = mac(&self.verifier.stored_key, message.as_bytes());
        if proof.len() != HASH_BYTES {
            return Err(());
        }
        let client_key: Vec<u8> = proof.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        let is_right = sha256(&client_key).ct_eq(&self.verifier.stored_key);
        let signature = mac(&self.verifier.server_key, message.as_bytes());
        Ok(bool::from(is_right).then(|| format!("v={}", Base64::encode_string(&signature))))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The client's half, from the RFC: the answer to a challenge, and what the server must prove.
    pub(crate) fn answer(
        bare: &str,
        bound: &[u8],
        challenge: &str,
        password: &str,
    ) -> (String, String) {
        answer_with(bare, bound, challenge, password, "")
    }

    /// The same with extensions in the last message.
    fn answer_with(
        bare: &str,
        bound: &[u8],
        challenge: &str,
        password: &str,
        more: &str,
    ) -> (String, String) {
        let field = |name: &str| challenge.split(',').find_map(|f| f.strip_prefix(name)).unwrap();
        let salt = Base64::decode_vec(field("s=")).unwrap();
        let count = NonZeroU32::new(field("i=").parse().unwrap()).unwrap();
        let mut salted = [0; HASH_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, count, &salt, password.as_bytes(), &mut salted);
        let client_key = mac(&salted, b"Client Key");
        let without_proof = format!("c={},r={}{more}", Base64::encode_string(bound), field("r="));
        let message = format!("{bare},{challenge},{without_proof}");
        let signature = mac(&sha256(&client_key), message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        let proves = mac(&mac(&salted, b"Server Key"), message.as_bytes());
        (
            format!("{without_proof},p={}", Base64::encode_string(&proof)),
            format!("v={}", Base64::encode_string(&proves)),
        )
    }

    /// RFC 7677 §3
    #[test]
    fn the_example_of_the_rfc() {
        let first = first(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", None, false).unwrap();
        assert_eq!(first.user, "user");
        let salt = Base64::decode_vec("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = Verifier::with(b"pencil", &salt, 4096).unwrap();
        let (challenge, said) = Challenge::with(first, verifier, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
        assert_eq!(
            said,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let expect = Some("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_owned());
        assert_eq!(challenge.last(last), Ok(expect));
        let wrong = str::from_utf8(last).unwrap().replace("dHzb", "dHzc");
        assert_eq!(challenge.last(wrong.as_bytes()), Ok(None));
    }

    #[test]
    fn first_messages() {
        #[track_caller]
        fn check(message: &str, binding: Option<&[u8]>, plus: bool, expect: Option<&str>) {
            let found = first(message.as_bytes(), binding, plus);
            assert_eq!(found.map(|f| f.user).as_deref(), expect, "{message}");
        }
        let bound: Option<&[u8]> = Some(b"0123");
        check("n,,n=a@b.test,r=x", None, false, Some("a@b.test"));
        check("n,,n=a=2Cb=3D2C,r=x", None, false, Some("a,b=2C"));
        check("y,,n=a,r=x", None, false, Some("a"));
        check("p=tls-exporter,,n=a,r=x", bound, true, Some("a"));
        // Somebody hid that the better one was offered.
        check("y,,n=a,r=x", bound, false, None);
        check("n,,n=a,r=x", bound, true, None);
        check("p=tls-exporter,,n=a,r=x", bound, false, None);
        check("p=tls-exporter,,n=a,r=x", None, true, None);
        check("p=tls-unique,,n=a,r=x", bound, true, None);
        check("n,a=b,n=a,r=x", None, false, None);
        check("n,x=a,n=a,r=x", None, false, None);
        check("n,a=a=2Cb,n=a=2Cb,r=x", None, false, Some("a,b"));
        check("p=tls-exporter,a=a,n=a,r=x", bound, true, Some("a"));
        check("n,,n=a,r=x,y=z", None, false, Some("a"));
        check("n,,n=a,r=,y=z", None, false, None);
        check("n,,n=a,y=z,r=x", None, false, None);
        check("n,,m=x,n=a,r=x", None, false, None);
        check("n,,n=,r=x", None, false, None);
        check("n,,n=a=2x,r=x", None, false, None);
        check("n,,n=a=,r=x", None, false, None);
        check("n,,n=a,r=", None, false, None);
        check("n,,n=a,r=ż", None, false, None);
        check("n,n=a,r=x", None, false, None);
        check("", None, false, None);
        check(&format!("n,,n=a,r={}", "x".repeat(5_000)), None, false, None);
    }

    #[test]
    fn last_messages_that_are_none() {
        let verifier = Verifier::with(b"secret", b"salt", 4096).unwrap();
        let start = || first(b"p=tls-exporter,,n=a,r=x", Some(b"0123"), true).unwrap();
        let (challenge, said) = Challenge::with(start(), verifier.clone(), "y");
        let bound = b"p=tls-exporter,,0123";
        let (good, proves) = answer("n=a,r=x", bound, &said, "secret");
        assert_eq!(challenge.last(good.as_bytes()), Ok(Some(proves)));
        // Of another connection: somebody sits in between.
        let (other, _) = answer("n=a,r=x", b"p=tls-exporter,,4567", &said, "secret");
        for bad in [
            &other,
            &good.replace(",r=xy", ",r=xz"),
            "",
            ",p=",
            "c=biws,r=xy",
            &good.replace(",p=", "z,p="),
            &good[..good.len() - 4],
        ] {
            assert_eq!(challenge.last(bad.as_bytes()), Err(()), "{bad}");
        }
        let (wrong, _) = answer("n=a,r=x", bound, &said, "Secret");
        assert_eq!(challenge.last(wrong.as_bytes()), Ok(None));
    }

    #[test]
    fn extensions_change_nothing_and_are_signed_too() {
        for (header, bare, more) in
            [("n,,", "n=a,r=x,y=z", ""), ("n,,", "n=a,r=x", ",t=later"), ("n,a=a,", "n=a,r=x", "")]
        {
            let verifier = Verifier::with(b"secret", b"salt", 4096).unwrap();
            let start = first(format!("{header}{bare}").as_bytes(), None, false).unwrap();
            let (challenge, said) = Challenge::with(start, verifier, "y");
            assert!(said.starts_with("r=xy,s="), "{said}");
            let answer = answer_with(bare, header.as_bytes(), &said, "secret", more);
            let (last, proves) = answer;
            assert_eq!(challenge.last(last.as_bytes()), Ok(Some(proves)), "{header}{bare}{more}");
            let unsigned = last.replace(",p=", ",z=z,p=");
            assert_eq!(challenge.last(unsigned.as_bytes()), Ok(None), "{unsigned}");
        }
    }

    #[test]
    fn verifiers_are_kept_as_text() {
        let verifier = Verifier::new("za\u{17c}\u{f3}\u{142}\u{107}".as_bytes()).unwrap();
        assert!(Verifier::parse(&verifier.to_text()) == Some(verifier.clone()));
        assert!(verifier.to_text().starts_with("SCRAM-SHA-256$65536:"));
        // The same for who types it in another form of Unicode (RFC 4013).
        let (a, b) = ("\u{2168}\u{ad}", "IX");
        let with = |text: &str| Verifier::with(text.as_bytes(), b"salt", 4096);
        assert!(with(a) == with(b));
        assert!(with("\u{7}").is_none() && Verifier::with(b"\xff", b"salt", 4096).is_none());
        let text = verifier.to_text();
        for bad in [
            "",
            "SCRAM-SHA-256$",
            &text.replace("65536", "1"),
            &text.replace("65536", "99999999"),
            &text[..text.len() - 1],
            &text.replace("SHA-256", "SHA-1"),
        ] {
            assert!(Verifier::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn nobody_looks_like_somebody() {
        let seed = [7; 32];
        let (a, again) = (Verifier::of_nobody("a", &seed), Verifier::of_nobody("a", &seed));
        assert!(a == again && a != Verifier::of_nobody("b", &seed));
        let real = Verifier::new(b"secret").unwrap();
        assert_eq!((a.salt.len(), a.iterations), (real.salt.len(), real.iterations));
        let first = first(b"n,,n=a,r=x", None, false).unwrap();
        let (challenge, said) = Challenge::new(first, a).unwrap();
        let (last, _) = answer("n=a,r=x", b"n,,", &said, "secret");
        assert_eq!(challenge.last(last.as_bytes()), Ok(None));
    }
}
