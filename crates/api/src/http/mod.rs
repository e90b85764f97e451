//! The HTTP around the methods: one table of routes, guards in front of all of them, headers on every answer.

mod auth;
mod blob;
mod events;
mod guard;
mod message;
mod rpc;
mod web;

pub(crate) use events::Listeners;

use crate::Service;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};
use std::sync::Arc;

/// One address: who may ask, who answers, what specifies it.
pub struct Route {
    pub path: &'static str,
    /// Only for who is logged in.
    pub login: bool,
    pub(crate) handler: fn() -> MethodRouter<Arc<Service>>,
    pub spec: &'static str,
}

/// Sorted by path. Every other `GET` is for the web files.
#[rustfmt::skip]
pub static ROUTES: &[Route] = &[
    Route { path: "/api/openrpc.json", login: false, handler: || get(rpc::describe), spec: "OpenRPC 1.3" },
    Route { path: "/auth/login", login: false, handler: || post(auth::login), spec: "crates/api/src/http/auth.rs" },
    Route { path: "/auth/logout", login: true, handler: || post(auth::logout), spec: "crates/api/src/http/auth.rs" },
    Route { path: "/auth/session", login: true, handler: || get(auth::session), spec: "crates/api/src/http/auth.rs" },
    Route { path: "/blob/{account}/{blob}/{name}", login: true, handler: || get(blob::download), spec: "RFC 8620 §6.2" },
    Route { path: "/events", login: true, handler: || get(events::listen), spec: "RFC 8620 §7.3" },
    Route { path: "/message/{email}/html", login: true, handler: || get(message::show), spec: "crates/api/src/http/message.rs" },
    Route { path: "/rpc", login: true, handler: || post(rpc::call), spec: "JSON-RPC 2.0" },
];

pub(crate) fn router(service: &Arc<Service>, extra: Router) -> Router {
    let routes = ROUTES
        .iter()
        .fold(Router::new(), |router, route| router.route(route.path, (route.handler)()));
    routes
        .fallback(web::file)
        .with_state(service.clone())
        .merge(extra)
        .layer(from_fn_with_state(service.clone(), guard::every))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_without_doubles() {
        assert!(ROUTES.is_sorted_by(|a, b| a.path < b.path));
    }
}
