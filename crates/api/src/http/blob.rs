//! `GET /blob/{accountId}/{blobId}/{name}?type=&inline=1`: a letter (`b17`), a part of one (`b17.3`), decoded, or a file
//! inside that (`b17.3.0`) (RFC 8620 §6.2). Always a download, but for pictures with `inline=1`.

use super::guard;
use crate::jmap::body;
use crate::jmap::ids::{self, Blob};
use crate::{Error, Result, Service, letter};
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use mparser::PartKind;
use serde::Deserialize;
use std::fmt::Write as _;
use std::sync::Arc;

/// Nothing in a blob may run or fetch, even when a browser shows it.
const CSP: &str = "sandbox; default-src 'none'; frame-ancestors 'none'";

/// Types a download may name itself; all others are bytes. A browser saves them anyway, and an office or
/// PDF program is found by the file's name.
static TYPES: &[&str] = &[
    "application/pdf",
    "application/zip",
    "audio/mpeg",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
    "message/rfc822",
    "text/calendar",
    "text/plain",
    "video/mp4",
];

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Wanted {
    #[serde(rename = "type")]
    kind: String,
    inline: String,
}

pub(super) async fn download(
    State(service): State<Arc<Service>>,
    Path((account, blob, name)): Path<(String, String, String)>,
    Query(wanted): Query<Wanted>,
    request: Request,
) -> Response {
    let (request, _) = request.into_parts();
    let result = async {
        let who = guard::who(&service, &request).await?;
        let missing = || Error::NotFound("the blob");
        let own = ids::account(&account) == Some(who.account);
        let (email, wanted_blob) = ids::blob(&blob).filter(|_| own).ok_or_else(missing)?;
        let found = service.store.emails(who.account, &[email]).await?;
        let email = found.first().ok_or_else(missing)?;
        let tag = format!("\"{blob}\"");
        if is_known(&request.headers, &tag) {
            return Ok(not_modified(&tag));
        }
        let store = &service.store;
        let part = |at: usize| {
            let part = email.index.parts.get(at).filter(|part| part.kind != PartKind::Multipart);
            part.ok_or_else(missing)
        };
        let bytes = match wanted_blob {
            Blob::Letter => store.bytes(email).await?,
            Blob::Part(at) => body::bytes(store, email, part(at)?).await?,
            Blob::File(at, number) => {
                let file = body::file(store, email, part(at)?, number).await?;
                file.ok_or_else(missing)?
            }
        };
        Ok(answer(bytes, &name, &wanted, &tag))
    };
    let result: Result<Response> = result.await;
    let outcome = result.as_ref().err().map_or("ok", crate::reply::kind);
    service.metrics.count("blob", outcome);
    result.unwrap_or_else(IntoResponse::into_response)
}

/// A blob never changes under its id, but who asks is checked each time.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    known.is_some_and(|list| list.split(',').any(|t| t.trim() == tag))
}

fn not_modified(tag: &str) -> Response {
    let headers = [(header::ETAG, tag), (header::CACHE_CONTROL, "private, no-cache")];
    (StatusCode::NOT_MODIFIED, headers).into_response()
}

fn answer(bytes: Bytes, name: &str, wanted: &Wanted, tag: &str) -> Response {
    let picture = letter::image_kind(&bytes).filter(|_| wanted.inline == "1");
    let kind = picture.or_else(|| TYPES.iter().find(|t| wanted.kind == **t).copied());
    let disposition = if picture.is_some() { "inline" } else { "attachment" };
    let headers = [
        (header::CONTENT_TYPE, kind.unwrap_or("application/octet-stream").to_owned()),
        (header::CONTENT_DISPOSITION, content_disposition(disposition, name)),
        (header::CONTENT_SECURITY_POLICY, CSP.to_owned()),
        (header::CACHE_CONTROL, "private, no-cache".to_owned()),
        (header::ETAG, tag.to_owned()),
    ];
    let mut response = Body::from(bytes).into_response();
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// RFC 6266 §4.1: a plain name for old clients, and the real one as RFC 8187 §3.2 writes it.
fn content_disposition(kind: &str, name: &str) -> String {
    let name: String =
        name.chars().filter(|c| !c.is_control() && !matches!(c, '/' | '\\')).take(200).collect();
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii() && !matches!(c, '"' | '%') { c } else { '_' })
        .collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        #[track_caller]
        fn check(name: &str, expect: &str) {
            assert_eq!(content_disposition("attachment", name), format!("attachment; {expect}"));
        }
        check("a b.pdf", "filename=\"a b.pdf\"; filename*=UTF-8''a%20b.pdf");
        check("żółć.txt", "filename=\"____.txt\"; filename*=UTF-8''%C5%BC%C3%B3%C5%82%C4%87.txt");
        check("a\"\r\nX: y\\..", "filename=\"a_X: y..\"; filename*=UTF-8''a%22X%3A%20y..");
    }

    #[test]
    fn types() {
        #[track_caller]
        fn check(bytes: &'static [u8], kind: &str, inline: &str, expect: (&str, &str)) {
            let wanted = Wanted { kind: kind.to_owned(), inline: inline.to_owned() };
            let response = answer(Bytes::from_static(bytes), "x", &wanted, "\"t\"");
            let get = |name| response.headers().get(name).unwrap().to_str().unwrap();
            let disposition = get(header::CONTENT_DISPOSITION).split(';').next().unwrap();
            assert_eq!((get(header::CONTENT_TYPE), disposition), expect);
        }
        check(b"%PDF", "application/pdf", "1", ("application/pdf", "attachment"));
        check(b"<script>", "text/html", "1", ("application/octet-stream", "attachment"));
        check(b"<svg>", "image/svg+xml", "1", ("application/octet-stream", "attachment"));
        check(b"GIF89a", "text/html", "1", ("image/gif", "inline"));
        check(b"GIF89a", "image/gif", "", ("image/gif", "attachment"));
        check(b"<html>", "image/png", "1", ("image/png", "attachment"));
    }
}
