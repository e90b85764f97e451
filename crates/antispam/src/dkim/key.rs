//! A private key of a domain, read from PEM, and what of it goes into DNS (RFC 6376 §3.6.1, RFC 8463 §4).

use base64ct::{Base64, Encoding as _};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{self, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use std::fmt;
use types::ErrorClass;

/// Why a key cannot be used. The operator must act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(
        "there is no private key in it that can be read: it must be PEM, without a password (`-----BEGIN PRIVATE KEY-----`)"
    )]
    NoKey,
    #[error(
        "the key is neither RSA nor Ed25519: `openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2048` makes one that every receiver understands"
    )]
    Kind,
    /// RFC 8301 §3.2 wants 1,024 bits at least and 2,048 better; we sign with no less.
    #[error(
        "the RSA key cannot be used ({0}): it must have 2048 to 4096 bits and an exponent of 65537"
    )]
    Rsa(String),
    #[error("the kernel gave no random bytes")]
    Random,
}

impl Error {
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NoKey | Self::Kind | Self::Rsa(_) => ErrorClass::Permanent,
            Self::Random => ErrorClass::Temporary,
        }
    }
}

/// A signing key and the name receivers find its public half by.
pub struct Key {
    domain: String,
    selector: String,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Ed25519KeyPair),
}

/// The TXT record of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// `s2026._domainkey.example.test`.
    pub name: String,
    /// `v=DKIM1; k=rsa; p=...`.
    pub text: String,
}

/// What stands before the 32 bytes of a private key in PKCS#8 (RFC 8410 §7).
const ED25519_HEAD: &[u8] =
    &[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/// `rsaEncryption` with its parameters (RFC 3279 §2.3.1).
const RSA_ALGORITHM: &[u8] = &[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
/// What a character string in a TXT record holds (RFC 1035 §3.3).
const TXT_BYTES: usize = 255;

impl Key {
    /// PKCS#8 or PKCS#1, as OpenSSL writes them.
    pub fn from_pem(domain: &str, selector: &str, pem: &[u8]) -> Result<Self, Error> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| Error::NoKey)?;
        let rsa = |key: RsaKeyPair| Pair::Rsa(Box::new(key));
        let pair = match &der {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).map(rsa),
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                let ed25519 = || Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Pair::Ed25519);
                RsaKeyPair::from_pkcs8(der).map(rsa).or_else(|why| match why.to_string().as_str() {
                    "WrongAlgorithm" => ed25519().map_err(|_| why),
                    _ => Err(why),
                })
            }
            _ => return Err(Error::Kind),
        };
        let pair = pair.map_err(|why| match why.to_string() {
            why if why == "WrongAlgorithm" => Error::Kind,
            why => Error::Rsa(why),
        })?;
        Ok(Self { domain: domain.to_lowercase(), selector: selector.to_owned(), pair })
    }

    /// A new private key, as PEM that OpenSSL reads too.
    pub fn make_ed25519() -> Result<String, Error> {
        let mut der = ED25519_HEAD.to_vec();
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| Error::Random)?;
        der.extend_from_slice(&seed);
        Ok(format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            Base64::encode_string(&der)
        ))
    }

    pub fn domain(&self) -> &str {
        &self.domain
    }

    pub fn selector(&self) -> &str {
        &self.selector
    }

    /// The value of `a=` (RFC 6376 §3.3, RFC 8463 §3).
    pub fn algorithm(&self) -> &'static str {
        match &self.pair {
            Pair::Rsa(_) => "rsa-sha256",
            Pair::Ed25519(_) => "ed25519-sha256",
        }
    }

    /// The signature of a header in its `relaxed` form. Fails only when the kernel gives no random bytes.
    pub(crate) fn sign(&self, header: &[u8]) -> Result<Vec<u8>, Error> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut out = vec![0; pair.public().modulus_len()];
                let encoding = &signature::RSA_PKCS1_SHA256;
                pair.sign(encoding, &SystemRandom::new(), header, &mut out)
                    .map_err(|_| Error::Random)?;
                Ok(out)
            }
            // RFC 8463 §3: what is signed is the hash.
            Pair::Ed25519(pair) => {
                Ok(pair.sign(digest(&SHA256, header).as_ref()).as_ref().to_vec())
            }
        }
    }

    /// What receivers look up.
    pub fn record(&self) -> Record {
        let (kind, public) = match &self.pair {
            Pair::Rsa(pair) => ("rsa", subject_public_key_info(pair.public_key().as_ref())),
            Pair::Ed25519(pair) => ("ed25519", pair.public_key().as_ref().to_vec()),
        };
        let public = Base64::encode_string(&public);
        Record {
            name: format!("{}._domainkey.{}", self.selector, self.domain),
            text: format!("v=DKIM1; k={kind}; p={public}"),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} key {} of {}", self.algorithm(), self.selector, self.domain)
    }
}

impl fmt::Display for Record {
    /// A line of a zone file; long texts in pieces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. IN TXT (", self.name)?;
        let mut rest = self.text.as_str();
        while !rest.is_empty() {
            let (piece, next) = rest.split_at_checked(TXT_BYTES).unwrap_or((rest, ""));
            write!(f, " \"{piece}\"")?;
            rest = next;
        }
        f.write_str(" )")
    }
}

/// A PKCS#1 public key in the frame that receivers expect in `p=` (RFC 6376 §3.6.1 says otherwise; its example in
/// Appendix C and everybody do this).
fn subject_public_key_info(pkcs1: &[u8]) -> Vec<u8> {
    let mut bits = vec![0];
    bits.extend_from_slice(pkcs1);
    let mut inner = RSA_ALGORITHM.to_vec();
    inner.extend(tagged(0x03, &bits));
    tagged(0x30, &inner)
}

/// DER: a tag, a length, the content.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut out = vec![tag];
    match length.as_slice() {
        [short] if *short < 0x80 => out.push(*short),
        long => {
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(0x7f));
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
    out
}
