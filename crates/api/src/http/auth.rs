//! Login, session, logout.
//!
//! ```text
//! POST /auth/login {"user", "password"}  -> 200 {"user", "account", "csrf"}, a cookie; 401; 429 with Retry-After
//! GET  /auth/session                     -> 200 the same; 401
//! POST /auth/logout, X-CSRF-Token        -> 204, the cookie is gone
//! ```

use super::guard::{self, Who};
use crate::jmap::ids;
use crate::reply::json_response;
use crate::sessions::Session;
use crate::{Error, Result, Service, limits};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    user: String,
    password: String,
}

pub(super) async fn login(State(service): State<Arc<Service>>, request: Request) -> Response {
    let result = start(&service, request).await;
    let outcome = result.as_ref().err().map_or("ok", crate::reply::kind);
    service.metrics.count("login", outcome);
    result.unwrap_or_else(IntoResponse::into_response)
}

async fn start(service: &Service, request: Request) -> Result<Response> {
    let (request, body) = request.into_parts();
    if !is_json(&request.headers) {
        return Err(Error::NotRequest("the Content-Type must be application/json"));
    }
    let body = guard::read(body, limits::LOGIN_BYTES).await?;
    // What the body holds is never repeated: it may be a password.
    let credentials: Credentials = serde_json::from_slice(&body)
        .map_err(|_| Error::NotRequest("login takes {\"user\": \"...\", \"password\": \"...\"}"))?;
    let peer = guard::peer(&request);
    let identity = guard::log_in(service, peer, &credentials.user, &credentials.password).await?;
    // A login in a browser that has a session already replaces it.
    if let Ok(Who { token, session: Some(_), .. }) = guard::who(service, &request).await {
        service.sessions.end(&token);
    }
    let (token, session) = service.sessions.start(identity.account, &identity.key)?;
    gauge(service);
    let life_s = limits::SESSION_LIFE_MS / 1000;
    Ok(with_cookie(service, description(&session), &token, life_s))
}

pub(super) fn is_json(headers: &axum::http::HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let kind = value.and_then(|v| v.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

fn description(session: &Session) -> Response {
    let value = json!({
        "user": session.user,
        "account": ids::of_account(session.account),
        "csrf": session.csrf,
    });
    json_response(StatusCode::OK, &value)
}

fn with_cookie(service: &Service, mut response: Response, token: &str, life_s: i64) -> Response {
    let name = guard::cookie_name(service);
    let secure = if service.config.cookie_secure { "; Secure" } else { "" };
    let cookie =
        format!("{name}={token}; Path=/; Max-Age={life_s}; HttpOnly; SameSite=Strict{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

fn gauge(service: &Service) {
    let count = i64::try_from(service.sessions.count()).unwrap_or(i64::MAX);
    service.metrics.sessions.set(count);
}

pub(super) async fn session(State(service): State<Arc<Service>>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    match guard::who(&service, &request).await {
        Ok(Who { session: Some(session), .. }) => description(&session),
        Ok(_) => Error::LoggedOut.into_response(),
        Err(error) => error.into_response(),
    }
}

pub(super) async fn logout(State(service): State<Arc<Service>>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    match guard::who_changes(&service, &request).await {
        Ok(who) => {
            service.sessions.end(&who.token);
            gauge(&service);
            service.metrics.count("logout", "ok");
            with_cookie(&service, StatusCode::NO_CONTENT.into_response(), "", 0)
        }
        Err(error) => error.into_response(),
    }
}
