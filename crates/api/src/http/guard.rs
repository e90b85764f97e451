//! What stands before and after every handler: which hosts and origins may ask, who is asking, and the security
//! headers of every answer.

use crate::methods::Scope;
use crate::sessions::Session;
use crate::{Error, Result, Service, limits};
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use types::AccountId;

/// The policy of the web UI. A letter's page brings its own, stricter one.
const APP_CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
    connect-src 'self'; font-src 'self'; frame-src 'self'; worker-src 'self'; manifest-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
    trusted-types dompurify";

/// On every answer, unless the handler said otherwise.
static HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, APP_CSP),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// The layer around all routes.
pub(super) async fn every(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match allowed(&service, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal,
    };
    for (name, value) in &HEADERS {
        response.headers_mut().entry(name.clone()).or_insert(HeaderValue::from_static(value));
    }
    response
}

#[expect(clippy::result_large_err, reason = "the error is the answer itself")]
fn allowed(service: &Service, request: &Request) -> Result<(), Response> {
    let host = host(request);
    if service.config.loopback_only && !is_ours(host, &service.config.hostname) {
        let text = "This server only answers to its own name; open it as http://127.0.0.1 with its port.\n";
        return Err((StatusCode::MISDIRECTED_REQUEST, text).into_response());
    }
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    same_origin(request.headers(), host).map_err(IntoResponse::into_response)
}

fn host(request: &Request) -> &str {
    let header = request.headers().get(header::HOST);
    let header = header.and_then(|value| value.to_str().ok());
    let authority = request.uri().authority().map(axum::http::uri::Authority::as_str);
    header.or(authority).unwrap_or_default()
}

fn is_ours(host: &str, hostname: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    ["127.0.0.1", "localhost", "[::1]", hostname].iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// A change must come from our own page, or from no page at all. Browsers send both headers by themselves
/// and pages cannot forge them.
fn same_origin(headers: &HeaderMap, host: &str) -> Result<()> {
    let text = |name| headers.get(name).map(|v: &HeaderValue| v.to_str().unwrap_or("?"));
    if !matches!(text("sec-fetch-site"), None | Some("same-origin" | "none")) {
        return Err(Error::WrongOrigin("this request comes from another site's page"));
    }
    let Some(origin) = text("origin") else {
        return Ok(());
    };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    if authority.is_some_and(|a| a.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    Err(Error::WrongOrigin("this request comes from another origin"))
}

/// Who asks.
pub(super) struct Who {
    pub(super) account: AccountId,
    pub(super) scope: Scope,
    /// `None` for HTTP Basic.
    pub(super) session: Option<Session>,
    pub(super) token: String,
}

/// The caller, by HTTP Basic or by cookie. We never ask for Basic (`WWW-Authenticate`), so browsers do not
/// send it by themselves and it needs no CSRF token.
pub(super) async fn who(service: &Service, request: &Parts) -> Result<Who> {
    if let Some(value) = request.headers.get(header::AUTHORIZATION) {
        let (user, password) = basic(value).ok_or(Error::LoggedOut)?;
        let account = log_in(service, peer(request), &user, &password).await?.account;
        return Ok(Who { account, scope: Scope::Write, session: None, token: String::new() });
    }
    let token = cookie(&request.headers, cookie_name(service)).ok_or(Error::LoggedOut)?;
    let session = service.sessions.find(token).ok_or(Error::LoggedOut)?;
    Ok(Who {
        account: session.account,
        scope: Scope::Write,
        token: token.to_owned(),
        session: Some(session),
    })
}

/// A caller who may change things: a cookie alone does not count, the page must show its token too.
pub(super) async fn who_changes(service: &Service, request: &Parts) -> Result<Who> {
    let who = who(service, request).await?;
    if let Some(session) = &who.session {
        let given = request.headers.get("x-csrf-token");
        if !given.is_some_and(|g| same(g.as_bytes(), session.csrf.as_bytes())) {
            return Err(Error::Forbidden(
                "the X-CSRF-Token header is missing or not this session's",
            ));
        }
    }
    Ok(who)
}

/// Compares without telling by time where the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y)) == 0
}

/// Checks a password; without TLS only for peers on this machine.
pub(super) async fn log_in(
    service: &Service,
    peer: IpAddr,
    user: &str,
    password: &str,
) -> Result<auth::Identity> {
    if !service.config.cookie_secure && !peer.is_loopback() {
        return Err(Error::Forbidden("passwords are only taken over HTTPS"));
    }
    let domain = service.config.default_domain.as_deref();
    let user = match domain.filter(|_| !user.contains('@')) {
        Some(domain) => format!("{user}@{domain}"),
        None => user.to_owned(),
    };
    Ok(service.auth.login(&user, password.as_bytes(), peer).await?)
}

/// RFC 7617 §2: `Basic` and base64 of `user:password`.
fn basic(value: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || encoded.len() > limits::LOGIN_BYTES {
        return None;
    }
    let decoded = String::from_utf8(mparser::decode_base64(encoded.as_bytes())).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

pub(super) fn peer(request: &Parts) -> IpAddr {
    let info = request.extensions.get::<ConnectInfo<SocketAddr>>();
    let ip = info.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
    ip.to_canonical()
}

/// The `__Host-` prefix makes browsers insist on Secure, no Domain, Path=/ (RFC 6265bis §4.1.3.2).
pub(super) fn cookie_name(service: &Service) -> &'static str {
    if service.config.cookie_secure { "__Host-op" } else { "op" }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(n, _)| *n == name)
        .map(|(_, value)| value)
}

/// Reads a body within its limits of size and time.
pub(super) async fn read(body: Body, most_bytes: usize) -> Result<Vec<u8>> {
    let reading = async {
        let mut stream = body.into_data_stream();
        let mut bytes = Vec::new();
        let mut passed = 0;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|_| Error::NotRequest("the request was cut off"))?;
            // A little past the limit is read and dropped, so that the client sees the answer instead of a
            // broken connection.
            passed += chunk.len();
            if passed > most_bytes.saturating_mul(2) {
                break;
            }
            if passed <= most_bytes {
                bytes.extend_from_slice(&chunk);
            }
        }
        if passed > most_bytes {
            return Err(Error::Limit("maxSizeRequest", most_bytes));
        }
        Ok(bytes)
    };
    tokio::time::timeout(Duration::from_millis(limits::BODY_TIMEOUT_MS), reading)
        .await
        .unwrap_or(Err(Error::NotRequest("the request came too slowly")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in
            ["127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:8080", "mail.example.test"]
        {
            assert!(is_ours(good, "mail.example.test"), "{good}");
        }
        for bad in
            ["", "evil.test", "127.0.0.1.evil.test", "localhost:80a", "[::2]", "example.test"]
        {
            assert!(!is_ours(bad, "mail.example.test"), "{bad}");
        }
    }

    #[test]
    fn origins() {
        #[track_caller]
        fn check(headers: &[(&'static str, &'static str)], expect: bool) {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, HeaderValue::from_static(value));
            }
            assert_eq!(same_origin(&map, "mail.test:8080").is_ok(), expect, "{headers:?}");
        }
        check(&[], true);
        check(&[("origin", "http://mail.test:8080")], true);
        check(&[("origin", "https://MAIL.test:8080"), ("sec-fetch-site", "same-origin")], true);
        check(&[("sec-fetch-site", "none")], true);
        check(&[("sec-fetch-site", "cross-site")], false);
        check(&[("sec-fetch-site", "same-site")], false);
        check(&[("origin", "null")], false);
        check(&[("origin", "http://mail.test")], false);
        check(&[("origin", "http://evil.test")], false);
        check(&[("origin", "")], false);
    }

    #[test]
    fn basic_credentials() {
        let of = |text: &'static str| basic(&HeaderValue::from_static(text));
        let expect = Some(("alice@example.test".to_owned(), "a:b".to_owned()));
        assert_eq!(of("Basic YWxpY2VAZXhhbXBsZS50ZXN0OmE6Yg=="), expect);
        for bad in ["Bearer x", "Basic", "Basic !!", "Basic YWxpY2U="] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
