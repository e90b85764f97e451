//! `GET /message/{emailId}/html?images=0&theme=light|dark|system&lang=en|pl`: a letter as a document of its own,
//! for a sandboxed frame. `images=0` is all there is: images of other servers stay out.

use super::guard;
use crate::jmap::ids;
use crate::letter::{self, Look, Theme};
use crate::{Error, Result, Service};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use std::sync::Arc;

/// Values we do not know are passed over: a page always comes.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Wanted {
    theme: String,
    lang: String,
}

pub(super) async fn show(
    State(service): State<Arc<Service>>,
    Path(email): Path<String>,
    Query(wanted): Query<Wanted>,
    request: Request,
) -> Response {
    let (request, _) = request.into_parts();
    let look = look(&wanted, &request.headers);
    let result = async {
        let who = guard::who(&service, &request).await?;
        let id = ids::email(&email).ok_or(Error::NotFound("the email"))?;
        let found = service.store.emails(who.account, &[id]).await?;
        let email = found.first().ok_or(Error::NotFound("the email"))?;
        let source = letter::source(&service.store, email).await?;
        letter::render(source, look).await
    };
    let result: Result<String> = result.await;
    let outcome = result.as_ref().err().map_or("ok", crate::reply::kind);
    service.metrics.count("message", outcome);
    let mut response = match result {
        Ok(page) => Html(page).into_response(),
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    let set = |headers: &mut HeaderMap, name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(headers, header::CONTENT_SECURITY_POLICY, letter::CSP);
    set(headers, header::CACHE_CONTROL, "no-store");
    response
}

fn look(wanted: &Wanted, headers: &HeaderMap) -> Look {
    let browser = headers.get(header::ACCEPT_LANGUAGE).and_then(|v| v.to_str().ok());
    let lang = match wanted.lang.as_str() {
        "" => browser.unwrap_or_default(),
        lang => lang,
    };
    Look {
        theme: match wanted.theme.as_str() {
            "light" => Theme::Light,
            "dark" => Theme::Dark,
            _ => Theme::System,
        },
        polish: lang.get(..2).is_some_and(|l| l.eq_ignore_ascii_case("pl")),
    }
}
