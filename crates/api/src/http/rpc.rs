//! `POST /rpc` and the description of what can be called there.

use super::{auth, guard};
use crate::methods::Context;
use crate::reply::json_response;
use crate::{Error, Result, Service, limits, rpc};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// JSON-RPC over HTTP: refused before it is read, the status says why; once read, the status is 200.
pub(super) async fn call(State(service): State<Arc<Service>>, request: Request) -> Response {
    match answer(&service, request).await {
        Ok(response) => response,
        Err(error) => {
            service.metrics.count("rpc", crate::reply::kind(&error));
            let body = rpc::refused(&error);
            let plain = error.into_response();
            let mut response = json_response(plain.status(), &body);
            let retry = plain.headers().get(axum::http::header::RETRY_AFTER);
            if let Some(retry) = retry {
                let name = axum::http::header::RETRY_AFTER;
                response.headers_mut().insert(name, retry.clone());
            }
            response
        }
    }
}

async fn answer(service: &Arc<Service>, request: Request) -> Result<Response> {
    let (request, body) = request.into_parts();
    let who = guard::who_changes(service, &request).await?;
    // Forms of other sites can send any body, but not this type.
    if who.session.is_some() && !auth::is_json(&request.headers) {
        return Err(Error::NotRequest("the Content-Type must be application/json"));
    }
    let body = match guard::read(body, limits::REQUEST_BYTES).await {
        Ok(body) => body,
        Err(error @ Error::Limit(..)) => {
            return Ok(json_response(StatusCode::OK, &rpc::refused(&error)));
        }
        Err(error) => return Err(error),
    };
    let context = Context::new(service.clone(), who.account, who.scope);
    Ok(match rpc::answer(&context, &body).await {
        Some(value) => json_response(StatusCode::OK, &value),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// `GET /api/openrpc.json`
pub(super) async fn describe() -> Response {
    json_response(StatusCode::OK, crate::openrpc::document())
}
