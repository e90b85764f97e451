//! TLS towards the database: what `sslmode` and `sslrootcert` of the address ask for, and who is trusted.
//!
//! | `sslmode` | this machine or a socket | another machine |
//! | --- | --- | --- |
//! | none, `prefer` | in the clear | as `require` |
//! | `disable` | in the clear | in the clear |
//! | `require` | encrypted; as `verify-ca` with `sslrootcert` | the same |
//! | `verify-ca` | signed by who is in `sslrootcert` or trusted by the system | the same |
//! | `verify-full` | the same, and made for the host of the address | the same |
//!
//! The words are those of `libpq`. Two differences: `prefer` never goes over a network in the clear, and
//! `verify-*` without `sslrootcert` asks the system's list. Sockets are never encrypted.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{Config, NoTls, Socket};

/// Where systems keep the list of authorities they trust: Debian, Red Hat, Alpine and the BSDs.
const SYSTEM_LISTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// What the address says about TLS.
#[derive(Default, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    mode: Option<String>,
    roots: Option<String>,
}

/// How much is asked of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// Nothing: who only listens learns nothing, who answers in the server's place is not noticed.
    Nothing,
    Authority,
    AuthorityAndName,
}

/// Takes `sslmode` and `sslrootcert` out of an address; the client library knows only a part of them.
pub(super) fn take_wish(url: &str) -> (String, Wish) {
    let mut wish = Wish::default();
    let after_user = url.find('@').unwrap_or(0);
    let Some(at) = url.get(after_user..).and_then(|rest| rest.find('?')) else {
        return (url.to_owned(), wish);
    };
    let (address, query) = url.split_at(after_user + at);
    let mut left = String::new();
    for pair in query.trim_start_matches('?').split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", mode)) => wish.mode = Some(decoded(mode)),
            Some(("sslrootcert", roots)) => wish.roots = Some(decoded(roots)),
            _ => {
                left.push(if left.is_empty() { '?' } else { '&' });
                left.push_str(pair);
            }
        }
    }
    (format!("{address}{left}"), wish)
}

/// `%2F` is `/`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        rest = match byte {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                after.get(2..).unwrap_or_default()
            }
            _ => {
                bytes.push(*first);
                after
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The way to the server: in the clear, or encrypted.
#[derive(Clone)]
pub(super) enum Way {
    Clear,
    Encrypted(Tls),
}

impl Way {
    /// Sets what the client library must know in `config`. The error is for people.
    pub(super) fn new(wish: &Wish, config: &mut Config) -> Result<Self, String> {
        let check = check(wish, config)?;
        let Some(check) = check else {
            config.ssl_mode(SslMode::Disable);
            return Ok(Self::Clear);
        };
        config.ssl_mode(SslMode::Require);
        // The address is the name then, as for libpq.
        if config.get_hosts().is_empty() {
            for address in config.get_hostaddrs().to_vec() {
                config.host(address.to_string());
            }
        }
        Tls::new(check, wish.roots.as_deref()).map(Self::Encrypted)
    }
}

/// `None`: in the clear.
fn check(wish: &Wish, config: &Config) -> Result<Option<Check>, String> {
    if config.get_hostaddrs().is_empty()
        && config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)))
    {
        return Ok(None);
    }
    let system = wish.roots.as_deref() == Some("system");
    let with_roots = if wish.roots.is_some() { Check::Authority } else { Check::Nothing };
    let check = match wish.mode.as_deref() {
        Some("disable") => return Ok(None),
        Some("verify-full") => Check::AuthorityAndName,
        None if system => Check::AuthorityAndName,
        Some(mode) if system => {
            return Err(format!(
                "sslrootcert=system trusts every authority on this machine, so sslmode={mode} would take any \
                 server; write sslmode=verify-full"
            ));
        }
        Some("verify-ca") => Check::Authority,
        None | Some("prefer") if wish.roots.is_none() && !crosses_a_network(config) => {
            return Ok(None);
        }
        None | Some("prefer" | "require") => with_roots,
        Some(mode) => {
            return Err(format!(
                "sslmode={mode} is not known; it is disable, prefer, require, verify-ca or verify-full"
            ));
        }
    };
    Ok(Some(check))
}

/// Whether a host of the address is not this machine.
fn crosses_a_network(config: &Config) -> bool {
    let is_here = |host: &str| {
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    let addresses = config.get_hostaddrs();
    if !addresses.is_empty() {
        return addresses.iter().any(|address| !address.is_loopback());
    }
    config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if !is_here(name)))
}

/// Makes encrypted streams.
#[derive(Clone)]
pub(super) struct Tls(Arc<ClientConfig>);

impl Tls {
    fn new(check: Check, roots: Option<&str>) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut verifier = Verifier {
            check,
            roots: RootCertStore::empty(),
            listed: Vec::new(),
            algorithms: provider.signature_verification_algorithms,
        };
        if check != Check::Nothing {
            verifier.trust(roots)?;
        }
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| format!("TLS cannot be used: {e}"))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

#[derive(Debug)]
struct Verifier {
    check: Check,
    roots: RootCertStore,
    /// As they stand in the file: a server may show one of them itself.
    listed: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn trust(&mut self, roots: Option<&str>) -> Result<(), String> {
        let own = roots.filter(|roots| *roots != "system");
        let file = match own {
            Some(file) => file,
            None => SYSTEM_LISTS.into_iter().find(|file| Path::new(file).exists()).ok_or(
                "this system has no list of authorities it trusts (package ca-certificates); name one with \
                 sslrootcert=FILE",
            )?,
        };
        let unread = |e| format!("certificates of sslrootcert cannot be read from {file}: {e}");
        for certificate in CertificateDer::pem_file_iter(file).map_err(unread)? {
            let certificate = certificate.map_err(unread)?;
            // A system's list may have some of an age that is not understood; one of our own may not.
            match self.roots.add(certificate.clone()) {
                Err(e) if own.is_some() => {
                    return Err(format!("a certificate of {file} cannot be used: {e}"));
                }
                _ => self.listed.push(certificate),
            }
        }
        if self.roots.is_empty() {
            return Err(format!("{file} has no certificate in it; sslrootcert names a PEM file"));
        }
        Ok(())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.check == Check::Nothing {
            return Ok(ServerCertVerified::assertion());
        }
        let parsed = ParsedCertificate::try_from(end_entity)?;
        // `openssl req -x509` makes a certificate that is its own authority. Who lists that one means it, though
        // the rules of chains forbid an authority to be a server.
        if !self.listed.contains(end_entity) {
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &parsed,
                &self.roots,
                intermediates,
                now,
                algorithms,
            )?;
        }
        if self.check == Check::AuthorityAndName {
            verify_server_name(&parsed, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What a failed handshake means, if TLS is why the connection failed.
pub(super) fn meaning(error: &tokio_postgres::Error) -> Option<String> {
    let source = std::error::Error::source(error)?;
    if source.to_string() == "server does not support TLS" {
        return Some(
            "it takes no TLS; switch it on there (ssl = on in postgresql.conf), or write sslmode=disable if nobody \
             else can listen on that network"
                .to_owned(),
        );
    }
    let io = source.downcast_ref::<io::Error>()?;
    let rustls::Error::InvalidCertificate(why) = io.get_ref()?.downcast_ref()? else {
        return io.get_ref()?.downcast_ref::<rustls::Error>().map(|e| format!("TLS failed: {e}"));
    };
    Some(match why {
        CertificateError::UnknownIssuer => {
            "its certificate is signed by nobody who is trusted; name the certificate \
             of who signed it with sslrootcert=FILE"
                .to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "its certificate is not made for the host of this address ({why}); write a host that it is made for, or \
             sslmode=verify-ca if any server of that authority will do"
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("its certificate has expired ({why}); give the database a new one")
        }
        why => format!("its certificate is not accepted: {why}"),
    })
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Encrypted;
    type TlsConnect = ToHost;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<ToHost> {
        Ok(ToHost { config: self.0.clone(), host: host.to_owned() })
    }
}

/// Encrypts a connection to this host.
pub(super) struct ToHost {
    config: Arc<ClientConfig>,
    host: String,
}

impl TlsConnect<Socket> for ToHost {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, stream: Socket) -> Self::Future {
        Box::pin(async move {
            let host = ServerName::try_from(self.host).map_err(io::Error::other)?;
            let connector = tokio_rustls::TlsConnector::from(self.config);
            Ok(Encrypted(Box::new(connector.connect(host, stream).await?)))
        })
    }
}

pub(super) struct Encrypted(Box<tokio_rustls::client::TlsStream<Socket>>);

impl TlsStream for Encrypted {
    /// Passwords go by SCRAM without it: the certificate says who is there.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(context)
    }
}

/// Stands in where nothing is encrypted.
pub(super) const CLEAR: NoTls = NoTls;

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr as _;

    #[test]
    fn the_address_says_how_much_is_checked() {
        #[track_caller]
        fn check(url: &str, expect: Result<Option<Check>, &str>) {
            let (rest, wish) = take_wish(url);
            assert!(!rest.contains("ssl"), "{rest}");
            let got = super::check(&wish, &Config::from_str(&rest).unwrap());
            match (got, expect) {
                (Err(got), Err(word)) => assert!(got.contains(word), "{url}: {got}"),
                (got, expect) => assert_eq!(got, expect.map_err(str::to_owned), "{url}"),
            }
        }
        let (any, ca, full) = (Check::Nothing, Check::Authority, Check::AuthorityAndName);
        check("postgres://mail@localhost/mail", Ok(None));
        check("postgres://mail@127.0.0.1:5432/mail?sslmode=prefer", Ok(None));
        check("postgres://mail@/mail?host=/run/postgresql&sslmode=verify-full", Ok(None));
        check("postgres://mail@db.example.test/mail", Ok(Some(any)));
        check("postgres://mail@db.example.test/mail?sslmode=prefer", Ok(Some(any)));
        check("postgres://mail@localhost,192.0.2.1/mail", Ok(Some(any)));
        check("postgres://mail@localhost/mail?hostaddr=192.0.2.1", Ok(Some(any)));
        check("postgres://mail@db.example.test/mail?hostaddr=127.0.0.1", Ok(None));
        check("postgres://mail@db.example.test/mail?sslmode=disable", Ok(None));
        check("postgres://mail@localhost/mail?sslmode=require", Ok(Some(any)));
        check("postgres://mail@localhost/mail?sslrootcert=/ca.pem", Ok(Some(ca)));
        check("postgres://mail@localhost/mail?sslmode=require&sslrootcert=/ca.pem", Ok(Some(ca)));
        check("postgres://mail@localhost/mail?connect_timeout=3&sslmode=verify-ca", Ok(Some(ca)));
        check("postgres://mail@localhost/mail?sslmode=verify-full", Ok(Some(full)));
        check("postgres://mail@db.example.test/mail?sslrootcert=system", Ok(Some(full)));
        check("postgres://mail@db/mail?sslrootcert=system&sslmode=require", Err("verify-full"));
        check("postgres://mail@db/mail?sslmode=allow", Err("allow is not known"));
    }

    #[test]
    fn wishes_are_taken_out_and_the_rest_stays() {
        #[track_caller]
        fn check(url: &str, rest: &str, mode: Option<&str>, roots: Option<&str>) {
            let wish = Wish { mode: mode.map(str::to_owned), roots: roots.map(str::to_owned) };
            assert_eq!(take_wish(url), (rest.to_owned(), wish));
        }
        check("postgres://a:b@c/d", "postgres://a:b@c/d", None, None);
        check(
            "postgres://a:b?c@d/e?x=1&sslmode=require&y=2",
            "postgres://a:b?c@d/e?x=1&y=2",
            Some("require"),
            None,
        );
        check("postgres://c/d?sslrootcert=%2Fa%20b%2", "postgres://c/d", None, Some("/a b%2"));
        check("postgres://c/d?sslmode=%€", "postgres://c/d", Some("%€"), None);
    }
}
