//! Bearer tokens (RFC 6750) of a token issuer the operator trusts: signed JWTs (RFC 7519), checked against the issuer's
//! public keys, which lie in a file (RFC 7517 §5, a JWK set) that is read again when it changes.
//!
//! The key decides which signature is checked, never the token: no `none`, no shared secrets (RFC 8725 §3.1).

use base64ct::{Base64UrlUnpadded, Encoding as _};
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Real ones have one or two thousand.
const TOKEN_BYTES: usize = 16 << 10;
/// Of the file with the keys, and keys in it.
const FILE_BYTES: u64 = 1 << 20;
const KEYS: usize = 100;
/// Clocks differ.
const LEEWAY_S: f64 = 60.0;

/// Whose tokens are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// `iss` of its tokens.
    pub name: String,
    /// `aud` of those that are meant for this server.
    pub audience: String,
    /// The claim that has the account's address.
    pub claim: String,
    /// Its public keys, a JWK set.
    pub keys: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{0}")]
    Token(&'static str),
    /// All else is right with it: the client has to get a new one, and nobody is guessing.
    #[error("it has expired")]
    Expired,
    #[error("the keys of the token issuer cannot be read: {0}")]
    Keys(String),
}

use Refused::Token as Bad;

pub(crate) struct Tokens {
    issuer: Issuer,
    read: Mutex<Option<(SystemTime, Arc<Vec<Key>>)>>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    exp: f64,
    nbf: Option<f64>,
    #[serde(flatten)]
    others: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

/// RFC 7518 §6, RFC 8037 §2
#[derive(Deserialize)]
#[serde(tag = "kty")]
enum Material {
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
    #[serde(rename = "EC")]
    Ec { crv: String, x: String, y: String },
    #[serde(rename = "OKP")]
    Okp { crv: String, x: String },
}

#[derive(Deserialize)]
struct Described {
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
}

/// A public key, with the one `alg` it is for.
struct Key {
    id: Option<String>,
    alg: &'static str,
    public: Public,
}

enum Public {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Other(&'static dyn VerificationAlgorithm, Vec<u8>),
}

impl Tokens {
    pub(crate) fn new(issuer: Issuer) -> Self {
        Self { issuer, read: Mutex::default() }
    }

    /// The address in the token. Blocks: it may read the file.
    pub(crate) fn check(&self, token: &str, now_unix_s: i64) -> Result<String, Refused> {
        if token.len() > TOKEN_BYTES {
            return Err(Bad("it is too long"));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Bad("it is no JWT"))?;
        let (header, claims) = signed.split_once('.').ok_or(Bad("it is no JWT"))?;
        let header: Header = json(header)?;
        if header.crit.is_some() {
            return Err(Bad("it has extensions that nobody here knows"));
        }
        let signature = decode(signature)?;
        let keys = self.keys()?;
        let fits = |key: &&Key| {
            key.alg == header.alg
                && (header.kid.is_none() || key.id.is_none() || key.id == header.kid)
        };
        let mut candidates = keys.iter().filter(fits).peekable();
        if candidates.peek().is_none() {
            return Err(Bad("the issuer has no such key"));
        }
        if !candidates.any(|key| key.verifies(signed.as_bytes(), &signature)) {
            return Err(Bad("the signature is wrong"));
        }
        self.judge(&json(claims)?, now_unix_s)
    }

    fn judge(&self, claims: &Claims, now_unix_s: i64) -> Result<String, Refused> {
        #[expect(clippy::cast_precision_loss, reason = "seconds fit for millions of years")]
        let now_s = now_unix_s as f64;
        let audience = &self.issuer.audience;
        let for_us = match &claims.aud {
            Audience::One(one) => one == audience,
            Audience::Many(many) => many.contains(audience),
        };
        match claims {
            claims if claims.iss != self.issuer.name => Err(Bad("it is of another issuer")),
            _ if !for_us => Err(Bad("it is meant for another server")),
            claims if now_s >= claims.exp + LEEWAY_S => Err(Refused::Expired),
            claims if claims.nbf.is_some_and(|from| now_s + LEEWAY_S < from) => {
                Err(Bad("it does not hold yet"))
            }
            claims if self.issuer.claim == "email" && claims.is_unverified() => {
                Err(Bad("the issuer does not know that the address is theirs"))
            }
            claims => {
                let address =
                    claims.others.get(&self.issuer.claim).and_then(|value| value.as_str());
                address.map(str::to_owned).ok_or(Bad("it has no address"))
            }
        }
    }

    /// Reads the file when it is another than the last time.
    fn keys(&self) -> Result<Arc<Vec<Key>>, Refused> {
        let failed = |error: std::io::Error| Refused::Keys(error.to_string());
        let about = std::fs::metadata(&self.issuer.keys).map_err(failed)?;
        let changed = about.modified().map_err(failed)?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, keys)) = &*read
            && *when == changed
        {
            return Ok(keys.clone());
        }
        if about.len() > FILE_BYTES {
            return Err(Refused::Keys("the file has more than a megabyte".to_owned()));
        }
        let text = std::fs::read_to_string(&self.issuer.keys).map_err(failed)?;
        let keys = Arc::new(parse(&text).map_err(Refused::Keys)?);
        *read = Some((changed, keys.clone()));
        Ok(keys)
    }
}

impl Claims {
    /// `OpenID` Connect Core §5.1: anybody may have typed that address at the issuer. Some say it as a text.
    fn is_unverified(&self) -> bool {
        let said = self.others.get("email_verified");
        said.is_some_and(|said| *said == false || *said == "false")
    }
}

fn decode(text: &str) -> Result<Vec<u8>, Refused> {
    Base64UrlUnpadded::decode_vec(text).map_err(|_| Bad("it is no JWT"))
}

fn json<T: for<'a> Deserialize<'a>>(text: &str) -> Result<T, Refused> {
    serde_json::from_slice(&decode(text)?).map_err(|_| Bad("it is no JWT, or lacks a claim"))
}

/// Keys of other kinds or for other purposes are left aside; none that is left is a mistake.
fn parse(text: &str) -> Result<Vec<Key>, String> {
    let set: KeySet = serde_json::from_str(text).map_err(|error| format!("no JWK set: {error}"))?;
    let keys: Vec<Key> = set.keys.iter().take(KEYS).filter_map(Key::of).collect();
    if keys.is_empty() {
        return Err("there is no key for RS256, ES256 or EdDSA in it".to_owned());
    }
    Ok(keys)
}

impl Key {
    fn of(value: &serde_json::Value) -> Option<Self> {
        let described = Described::deserialize(value).ok()?;
        let bytes = |text: &str| Base64UrlUnpadded::decode_vec(text).ok();
        let (alg, public) = match Material::deserialize(value).ok()? {
            Material::Rsa { n, e } => ("RS256", Public::Rsa { n: bytes(&n)?, e: bytes(&e)? }),
            Material::Ec { crv, x, y } if crv == "P-256" => {
                // Uncompressed, as ring wants it (SEC 1 §2.3.3).
                let point = [vec![4], bytes(&x)?, bytes(&y)?].concat();
                ("ES256", Public::Other(&signature::ECDSA_P256_SHA256_FIXED, point))
            }
            Material::Okp { crv, x } if crv == "Ed25519" => {
                ("EdDSA", Public::Other(&signature::ED25519, bytes(&x)?))
            }
            _ => return None,
        };
        let other_alg = described.alg.is_some_and(|named| named != alg);
        let other_purpose = described.purpose.is_some_and(|purpose| purpose != "sig");
        (!other_alg && !other_purpose).then_some(Self { id: described.kid, alg, public })
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.public {
            Public::Rsa { n, e } => RsaPublicKeyComponents { n, e }
                .verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
            Public::Other(algorithm, key) => {
                UnparsedPublicKey::new(*algorithm, key).verify(message, signature).is_ok()
            }
        }
    }
}

/// What the client of OAUTHBEARER or XOAUTH2 sent: whom it names, if anybody, and the token.
///
/// ```text
/// OAUTHBEARER: "n," ["a=" authzid] "," %x01 *(key "=" value %x01) %x01     ; RFC 7628 §3.1
/// XOAUTH2:     "user=" user %x01 "auth=Bearer " token %x01 %x01
/// ```
pub(crate) fn bearer(message: &[u8], is_xoauth2: bool) -> Option<(Option<String>, String)> {
    let text = str::from_utf8(message).ok()?.strip_suffix("\u{1}\u{1}")?;
    let (head, fields) = text.split_once('\u{1}')?;
    let user = if is_xoauth2 {
        head.strip_prefix("user=").filter(|user| !user.is_empty())?.to_owned()
    } else {
        let named =
            head.strip_prefix("n,").or_else(|| head.strip_prefix("y,"))?.strip_suffix(',')?;
        match named {
            "" => String::new(),
            named => named.strip_prefix("a=")?.replace("=2C", ",").replace("=3D", "="),
        }
    };
    let auth = fields.split('\u{1}').find_map(|field| field.strip_prefix("auth="))?;
    let (scheme, token) = auth.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty())
        .then(|| (Some(user).filter(|user| !user.is_empty()), token.to_owned()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    };

    const NOW: i64 = 1_795_000_000;

    fn base64(bytes: &[u8]) -> String {
        Base64UrlUnpadded::encode_string(bytes)
    }

    pub(crate) struct Signer(Ed25519KeyPair);

    impl Signer {
        pub(crate) fn new() -> Self {
            let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
            Self(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
        }

        pub(crate) fn jwk(&self, kid: &str) -> String {
            let x = base64(self.0.public_key().as_ref());
            format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}","use":"sig"}}"#)
        }

        pub(crate) fn token(&self, header: &str, claims: &str) -> String {
            let signed = format!("{}.{}", base64(header.as_bytes()), base64(claims.as_bytes()));
            format!("{signed}.{}", base64(self.0.sign(signed.as_bytes()).as_ref()))
        }
    }

    pub(crate) fn issuer(folder: &std::path::Path, keys: &str) -> Issuer {
        let file = folder.join("keys.json");
        std::fs::write(&file, format!(r#"{{"keys":[{keys}]}}"#)).unwrap();
        Issuer {
            name: "https://id.example.test".to_owned(),
            audience: "mail".to_owned(),
            claim: "email".to_owned(),
            keys: file,
        }
    }

    pub(crate) fn claims(more: &str) -> String {
        format!(
            r#"{{"iss":"https://id.example.test","aud":"mail","email":"alice@example.test"{more}}}"#
        )
    }

    const HEADER: &str = r#"{"alg":"EdDSA","kid":"one","typ":"JWT"}"#;

    #[test]
    fn tokens_are_judged() {
        let folder = tempfile::tempdir().unwrap();
        let (signer, stranger) = (Signer::new(), Signer::new());
        let tokens = Tokens::new(issuer(folder.path(), &signer.jwk("one")));
        let exp = |s: i64| format!(r#","exp":{}"#, NOW + s);
        let check = |token: &str, expect: Result<&str, &'static str>| {
            let found = tokens.check(token, NOW);
            assert_eq!(found, expect.map(str::to_owned).map_err(Bad), "{token}");
        };
        let good = signer.token(HEADER, &claims(&exp(300)));
        check(&good, Ok("alice@example.test"));
        check(&signer.token(HEADER, &claims(&exp(-30))), Ok("alice@example.test"));
        let late = signer.token(HEADER, &claims(&exp(-61)));
        assert_eq!(tokens.check(&late, NOW), Err(Refused::Expired));
        let early = format!(r#"{},"nbf":{}"#, exp(300), NOW + 120);
        check(&signer.token(HEADER, &claims(&early)), Err("it does not hold yet"));
        let lacks = "it is no JWT, or lacks a claim";
        check(&signer.token(HEADER, &claims("")), Err(lacks));
        check(&signer.token(HEADER, &claims(r#","exp":"9999999999""#)), Err(lacks));
        check(&signer.token(HEADER, &claims(&format!(r#"{},"nbf":"x""#, exp(300)))), Err(lacks));
        let many = claims(&exp(300)).replace(r#""mail""#, r#"["web","mail"]"#);
        check(&signer.token(HEADER, &many), Ok("alice@example.test"));
        let other = claims(&exp(300)).replace(r#""mail""#, r#""web""#);
        check(&signer.token(HEADER, &other), Err("it is meant for another server"));
        let other = claims(&exp(300)).replace("id.", "evil.");
        check(&signer.token(HEADER, &other), Err("it is of another issuer"));
        let unknown = claims(&format!(r#"{},"email_verified":false"#, exp(300)));
        let not_theirs = Err("the issuer does not know that the address is theirs");
        check(&signer.token(HEADER, &unknown), not_theirs);
        check(&signer.token(HEADER, &unknown.replace("false", "\"false\"")), not_theirs);
        for known in ["true", "\"true\""] {
            let known = unknown.replace("false", known);
            check(&signer.token(HEADER, &known), Ok("alice@example.test"));
        }
        let other = claims(&exp(300)).replace("email", "sub");
        check(&signer.token(HEADER, &other), Err("it has no address"));
        check(&stranger.token(HEADER, &claims(&exp(300))), Err("the signature is wrong"));
        let changed = good.replace(&good[60..64], "AAAA");
        assert!(tokens.check(&changed, NOW).is_err());
        for alg in ["none", "HS256", "RS256", "eddsa"] {
            let header = HEADER.replace("EdDSA", alg);
            check(&signer.token(&header, &claims(&exp(300))), Err("the issuer has no such key"));
        }
        let header = HEADER.replace("one", "two");
        check(&signer.token(&header, &claims(&exp(300))), Err("the issuer has no such key"));
        let header = HEADER.replace(r#""typ":"JWT""#, r#""crit":["x"]"#);
        let crit = Err("it has extensions that nobody here knows");
        check(&signer.token(&header, &claims(&exp(300))), crit);
        let unsigned = good.rsplit_once('.').unwrap().0;
        check(&format!("{unsigned}."), Err("the signature is wrong"));
        for bad in ["", ".", "..", "a.b", "a.b.c", unsigned] {
            assert!(tokens.check(bad, NOW).is_err(), "{bad}");
        }
        check(&"x".repeat(20_000), Err("it is too long"));
    }

    #[test]
    fn keys_of_other_kinds() {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let pair = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            pkcs8.unwrap().as_ref(),
            &SystemRandom::new(),
        );
        let pair = pair.unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let jwk = format!(
            r#"{{"kty":"oct","k":"c2VjcmV0"}},{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}"#,
            base64(x),
            base64(y)
        );
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::new(issuer(folder.path(), &jwk));
        let claims = claims(&format!(r#","exp":{}"#, NOW + 9));
        let signed = format!("{}.{}", base64(br#"{"alg":"ES256"}"#), base64(claims.as_bytes()));
        let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        let token = format!("{signed}.{}", base64(signature.as_ref()));
        assert_eq!(tokens.check(&token, NOW), Ok("alice@example.test".to_owned()));
        for bad in ["", "[]", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_read_again_when_they_change() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (Signer::new(), Signer::new());
        let tokens = Tokens::new(issuer(folder.path(), &old.jwk("one")));
        let claims = claims(&format!(r#","exp":{}"#, NOW + 9));
        assert!(tokens.check(&old.token(HEADER, &claims), NOW).is_ok());
        let file = issuer(folder.path(), &new.jwk("one")).keys;
        let later = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
        assert!(tokens.check(&new.token(HEADER, &claims), NOW).is_ok());
        assert!(tokens.check(&old.token(HEADER, &claims), NOW).is_err());
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(tokens.check(&new.token(HEADER, &claims), NOW), Err(Refused::Keys(_))));
    }

    #[test]
    fn messages() {
        #[track_caller]
        fn check(message: &str, is_xoauth2: bool, expect: Option<(Option<&str>, &str)>) {
            let found = bearer(message.replace('^', "\u{1}").as_bytes(), is_xoauth2);
            let found = found.as_ref().map(|(user, token)| (user.as_deref(), token.as_str()));
            assert_eq!(found, expect, "{message}");
        }
        check(
            "n,a=a@b.test,^host=x^port=143^auth=Bearer t.o.k^^",
            false,
            Some((Some("a@b.test"), "t.o.k")),
        );
        check("n,,^auth=bearer t^^", false, Some((None, "t")));
        check("n,a=a=2Cb,^auth=Bearer t^^", false, Some((Some("a,b"), "t")));
        check("n,,^auth=Basic t^^", false, None);
        check("n,,^auth=Bearer ^^", false, None);
        check("n,,^^", false, None);
        check("p=x,,^auth=Bearer t^^", false, None);
        check("n,,^auth=Bearer t^", false, None);
        check("user=a@b.test^auth=Bearer t^^", true, Some((Some("a@b.test"), "t")));
        check("user=^auth=Bearer t^^", true, None);
        check("n,,^auth=Bearer t^^", true, None);
        check("", true, None);
    }
}
