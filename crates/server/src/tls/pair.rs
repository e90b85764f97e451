//! A certificate and its key, read from PEM files and checked before they are used.

use super::x509::{Facts, facts};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use types::Date;

/// A certificate with its chain is a few kilobytes; a file of this size is something else.
const FILE_BYTES: u64 = 1 << 20;
/// Certificates in one file. Chains have two to four.
const CHAIN: usize = 20;
/// An operator is told before clients are.
const SOON_DAYS: i64 = 14;
const DAY_S: i64 = 86_400;

/// The files; in that of the certificate the server's own comes first, then who signed it, then who signed that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// A pair that has been read.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    /// Its file.
    pub(super) file: PathBuf,
    pub(super) key: Arc<CertifiedKey>,
    /// In lower case; the first label may be a star.
    pub(super) names: Vec<String>,
    pub(super) until_unix_s: i64,
    /// What is odd about it, though it can be used. Whole sentences.
    pub(super) warnings: Vec<String>,
}

impl Certificate {
    /// Whole days, rounded down; negative when it is over.
    pub(super) fn days_left(&self, now_unix_s: i64) -> i64 {
        (self.until_unix_s - now_unix_s).div_euclid(DAY_S)
    }

    /// What to tell an operator in time.
    pub(super) fn ending(&self, now_unix_s: i64) -> Option<String> {
        let (file, until) = (self.file.display(), date(self.until_unix_s));
        match self.days_left(now_unix_s) {
            ..0 => Some(format!(
                "{file}: has been over since {until}, so that clients refuse it; renew it"
            )),
            left @ 0..SOON_DAYS => {
                Some(format!("{file}: ends on {until}, in {left} days; renew it"))
            }
            _ => None,
        }
    }

    pub(super) fn covers(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.names.contains(&name) || star(&name).is_some_and(|star| self.names.contains(&star))
    }
}

/// The name with a star for its first label (RFC 9525 §6.3): `*.example.test` for `mail.example.test`.
pub(super) fn star(name: &str) -> Option<String> {
    name.split_once('.').map(|(_, rest)| format!("*.{rest}"))
}

/// What changes when a file is written again or a link to it is turned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(Option<(SystemTime, u64, u64)>);

impl Stamp {
    pub(super) fn of(file: &Path) -> Self {
        let found = std::fs::metadata(file).ok();
        Self(found.and_then(|m| Some((m.modified().ok()?, m.len(), m.ino()))))
    }
}

/// Reads and checks both files. The error begins with the file and ends with what to do.
pub(super) fn load(pair: &Pair, now_unix_s: i64) -> Result<Certificate, String> {
    let (file, key_file) = (pair.cert.display(), pair.key.display());
    let chain = chain(&pair.cert)?;
    let all: Option<Vec<Facts<'_>>> = chain.iter().map(|der| facts(der)).collect();
    let all = all.ok_or_else(|| {
        format!("{file}: holds something that is no X.509 certificate; write the file anew as the authority gave it")
    })?;
    let mut warnings = order(&pair.cert, &all);
    let Some(Facts { names, from_unix_s, until_unix_s, .. }) = all.into_iter().next() else {
        return Err(format!("{file}: is empty"));
    };
    let key = private_key(&pair.key)?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|error| {
        format!("{key_file}: is a key that cannot be used ({error}); make one of ECDSA P-256 or of RSA 2048 and more")
    })?;
    let key = CertifiedKey::new(chain, key);
    key.keys_match().map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => format!(
            "{key_file}: is not the key of {file}; give the key that this certificate was made for, and the server's \
             own certificate as the first in its file"
        ),
        other => format!("{file}: cannot be used ({other}); ask the authority for an X.509 version 3 certificate"),
    })?;
    let made = Certificate {
        file: pair.cert.clone(),
        key: Arc::new(key),
        names,
        until_unix_s,
        warnings: Vec::new(),
    };
    warnings.extend(not_yet(&pair.cert, from_unix_s, now_unix_s));
    warnings.extend(made.ending(now_unix_s));
    warnings.extend(readable_by_all(&pair.key));
    if made.names.is_empty() {
        warnings.push(format!(
            "{file}: has no DNS name among its alternative names, so that clients will not trust it; make one with \
             subjectAltName"
        ));
    }
    Ok(Certificate { warnings, ..made })
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let name = file.display();
    let text = read(file)?;
    let mut chain = Vec::new();
    for item in CertificateDer::pem_slice_iter(&text) {
        let item = item.map_err(|error| {
            format!("{name}: is damaged ({error}); write the file anew as the authority gave it")
        })?;
        chain.push(item);
        if chain.len() > CHAIN {
            return Err(format!(
                "{name}: holds more than {CHAIN} certificates, which is a list of authorities and no chain; give the \
                 file with the certificate of this server"
            ));
        }
    }
    if chain.is_empty() {
        return Err(format!(
            "{name}: holds no certificate; it begins with -----BEGIN CERTIFICATE----- (PEM form; `openssl x509 \
             -inform der` makes it from DER)"
        ));
    }
    Ok(chain)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = read(file)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let name = file.display();
        let text = String::from_utf8_lossy(&text);
        if text.contains("BEGIN ENCRYPTED") || text.contains("Proc-Type: 4,ENCRYPTED") {
            return format!(
                "{name}: is locked with a pass phrase, and nobody is there to type it when the server starts; unlock \
                 it: openssl pkey -in {name} -out NEW-FILE"
            );
        }
        format!("{name}: holds no private key in PEM form ({error}); it begins with -----BEGIN PRIVATE KEY-----")
    })
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let name = file.display();
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|open| open.take(FILE_BYTES + 1).read_to_end(&mut bytes));
    let fix = match read.as_ref().map_err(std::io::Error::kind) {
        Ok(_) if bytes.len() as u64 <= FILE_BYTES => return Ok(bytes),
        Ok(_) => {
            return Err(format!("{name}: is larger than {FILE_BYTES} bytes; that is no PEM file"));
        }
        Err(std::io::ErrorKind::PermissionDenied) => "let the user that runs the server read it",
        Err(std::io::ErrorKind::NotFound) => {
            "correct its path in tls.certificates, or put the file there"
        }
        Err(_) => "tls.certificates must name PEM files",
    };
    let why = read.err().map(|error| error.to_string()).unwrap_or_default();
    Err(format!("{name}: cannot be read ({why}); {fix}"))
}

/// Clients that build the chain themselves manage; others say that the certificate is unknown.
fn order(file: &Path, chain: &[Facts<'_>]) -> Vec<String> {
    let broken =
        chain.iter().zip(chain.iter().skip(1)).position(|(one, next)| one.issuer != next.subject);
    let sentence = |place: usize| {
        format!(
            "{}: certificate {} did not sign certificate {}, so that some clients will not trust it; put the server's \
             own first, then who signed it, then who signed that",
            file.display(),
            place + 2,
            place + 1
        )
    };
    broken.map(sentence).into_iter().collect()
}

/// `2026-11-23`
fn date(unix_s: i64) -> String {
    let text = Date::from_unix_s(unix_s).rfc3339();
    text.get(..10).unwrap_or_default().to_owned()
}

fn not_yet(file: &Path, from_unix_s: i64, now_unix_s: i64) -> Option<String> {
    (from_unix_s > now_unix_s).then(|| {
        format!(
            "{}: begins only on {}, so that clients refuse it; is the clock of this machine right?",
            file.display(),
            date(from_unix_s)
        )
    })
}

fn readable_by_all(key: &Path) -> Option<String> {
    let mode = std::fs::metadata(key).ok()?.permissions().mode();
    let name = key.display();
    (mode & 0o004 != 0).then(|| {
        format!("{name}: every user of this machine can read this key, and pass for this server; chmod o= {name}")
    })
}
