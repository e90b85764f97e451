//! The web UI's files, compiled in by `build.rs` from `web/dist`. Without them, a page that says how to make them.

use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

/// One file of `web/dist`.
struct File {
    /// As asked for, with `/` in front.
    path: &'static str,
    tag: &'static str,
    plain: &'static [u8],
    /// Compressed by the web build, beside the file.
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/web_files.rs"));

/// Where the API lives: nothing below is ever the web UI's page.
static RESERVED: &[&str] = &[
    "/.well-known",
    "/api",
    "/assets",
    "/auth",
    "/blob",
    "/events",
    "/healthz",
    "/jmap",
    "/message",
    "/metrics",
    "/rpc",
];

static TYPES: &[(&str, &str)] = &[
    ("css", "text/css; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/x-icon"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain; charset=utf-8"),
    ("webmanifest", "application/manifest+json"),
    ("webp", "image/webp"),
    ("woff2", "font/woff2"),
];

const MISSING: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>OpenPoczta</title>\
    <p>The server runs, but it was built without the web UI: run <code>./run.sh</code>, or \
    <code>npm --prefix web ci &amp;&amp; npm --prefix web run build</code> and build the server again.</p></html>\n";

/// Everything that is no route.
pub(super) async fn file(request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let path = request.uri().path();
    if let Some(file) = find(path) {
        return answer(file, request.headers());
    }
    let reserved = RESERVED.iter().any(|r| {
        let rest = path.strip_prefix(r);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    // A name with a dot is a file that is not there; anything else is a place inside the web UI.
    let file_name = path.rsplit('/').next().is_some_and(|last| last.contains('.'));
    if reserved || file_name {
        return (StatusCode::NOT_FOUND, "There is nothing here.\n").into_response();
    }
    match find("/index.html") {
        Some(index) => answer(index, request.headers()),
        None => ([(header::CACHE_CONTROL, "no-store")], Html(MISSING)).into_response(),
    }
}

fn find(path: &str) -> Option<&'static File> {
    let path = if path == "/" { "/index.html" } else { path };
    FILES.binary_search_by(|file| file.path.cmp(path)).ok().and_then(|at| FILES.get(at))
}

fn answer(file: &'static File, request: &HeaderMap) -> Response {
    let text = |name| request.get(name).and_then(|v: &axum::http::HeaderValue| v.to_str().ok());
    let cache = if file.path.starts_with("/assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let known = text(header::IF_NONE_MATCH)
        .is_some_and(|list| list.split(',').any(|t| t.trim().trim_start_matches("W/") == file.tag));
    let common = [
        (header::ETAG, file.tag),
        (header::CACHE_CONTROL, cache),
        (header::VARY, "Accept-Encoding"),
    ];
    if known {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let (bytes, encoding) = pick(file, text(header::ACCEPT_ENCODING).unwrap_or_default());
    let extension = file.path.rsplit('.').next().unwrap_or_default();
    let kind = TYPES.iter().find(|(e, _)| *e == extension);
    let kind = kind.map_or("application/octet-stream", |(_, kind)| *kind);
    let mut response = (common, [(header::CONTENT_TYPE, kind)], bytes).into_response();
    if let Some(encoding) = encoding {
        let encoding = axum::http::HeaderValue::from_static(encoding);
        response.headers_mut().insert(header::CONTENT_ENCODING, encoding);
    }
    response
}

/// The smallest form the client takes.
fn pick(file: &'static File, accepts: &str) -> (&'static [u8], Option<&'static str>) {
    let takes = |name: &str| {
        accepts.split(',').any(|word| {
            let (coding, weight) = word.split_once(';').unwrap_or((word, ""));
            let refused = weight.trim().trim_end_matches(['0', '.']) == "q=";
            coding.trim().eq_ignore_ascii_case(name) && !refused
        })
    };
    match (file.brotli, file.gzip) {
        (Some(bytes), _) if takes("br") => (bytes, Some("br")),
        (_, Some(bytes)) if takes("gzip") => (bytes, Some("gzip")),
        _ => (file.plain, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(FILES.is_sorted_by(|a, b| a.path < b.path));
        assert!(RESERVED.is_sorted_by(|a, b| a < b));
        assert!(TYPES.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn encodings() {
        static FILE: File = File {
            path: "/a.js",
            tag: "\"1\"",
            plain: b"plain",
            brotli: Some(b"br"),
            gzip: Some(b"gz"),
        };
        #[track_caller]
        fn check(accepts: &str, expect: &[u8]) {
            assert_eq!(pick(&FILE, accepts).0, expect);
        }
        check("", b"plain");
        check("gzip, deflate, br, zstd", b"br");
        check("gzip;q=0.5, br;q=0", b"gz");
        check("GZIP", b"gz");
        check("brx", b"plain");
    }
}
