//! `GET /events`: tells at once that something changed, as server-sent events (RFC 8620 §7.3). What changed is
//! asked for with the methods.
//!
//! ```text
//! event: state
//! id: 42
//! data: {"@type":"StateChange","changed":{"a1":{"Email":"42","Mailbox":"42"}}}
//! ```
//!
//! The first event comes right after connecting and tells the state now, so that nothing is missed between a
//! page's first look and its first event.

use super::guard;
use crate::jmap::{ids, state};
use crate::{Error, Result, Service, limits};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::json;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use storage::Watch;
use tokio::sync::watch;
use tokio::time::Instant;
use types::{AccountId, ModSeq};

/// How many listen, by account.
#[derive(Default)]
pub(crate) struct Listeners(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    all: usize,
    of: HashMap<AccountId, usize>,
}

/// One listener's place; given back when dropped.
struct Seat {
    service: Arc<Service>,
    account: AccountId,
}

impl Seat {
    fn take(service: &Arc<Service>, account: AccountId) -> Result<Self> {
        let mut counts = service.listeners.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = counts.of.get(&account).copied().unwrap_or(0);
        if own >= limits::LISTENERS_OF_ACCOUNT || counts.all >= limits::LISTENERS {
            return Err(Error::Busy { retry_after_s: 30 });
        }
        counts.all += 1;
        counts.of.insert(account, own + 1);
        service.metrics.listeners.inc();
        Ok(Self { service: service.clone(), account })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.service.listeners.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all = counts.all.saturating_sub(1);
        if let Some(own) = counts.of.get_mut(&self.account) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                counts.of.remove(&self.account);
            }
        }
        self.service.metrics.listeners.dec();
    }
}

/// One listener.
struct Feed {
    seat: Seat,
    changes: Watch,
    /// The session's end; `None` for HTTP Basic.
    ended: Option<watch::Receiver<()>>,
    stop: watch::Receiver<bool>,
    /// Told right after connecting.
    first: Option<ModSeq>,
    told: Option<Instant>,
    until: Instant,
}

pub(super) async fn listen(State(service): State<Arc<Service>>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    let result = async {
        let who = guard::who(&service, &request).await?;
        let seat = Seat::take(&service, who.account)?;
        // Listening begins before the state is read: what comes between is told twice, not never.
        let changes = service.store.watch(who.account);
        let now = service.store.state(who.account).await?;
        Ok(Feed {
            seat,
            changes,
            ended: who.session.map(|session| session.ended),
            stop: service.stop.subscribe(),
            first: Some(now).filter(|now| !is_known(&request.headers, *now)),
            told: None,
            until: Instant::now() + Duration::from_millis(limits::LISTEN_LIFE_MS),
        })
    };
    match result.await {
        Ok(feed) => open(feed),
        Err(error) => Error::into_response(error),
    }
}

/// A browser that reconnects says which event it saw last.
fn is_known(headers: &HeaderMap, now: ModSeq) -> bool {
    let last = headers.get("last-event-id").and_then(|v| v.to_str().ok());
    last == Some(state::of(now).as_str())
}

fn open(feed: Feed) -> Response {
    let ping = Duration::from_millis(limits::LISTEN_PING_MS);
    let events = stream::unfold(feed, next);
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(ping)).into_response();
    // Proxies that collect answers before passing them on would hold events back.
    let no = axum::http::HeaderValue::from_static("no");
    response.headers_mut().insert("x-accel-buffering", no);
    let no_store = axum::http::HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    response
}

async fn next(mut feed: Feed) -> Option<(Result<Event, Infallible>, Feed)> {
    let state = match feed.first.take() {
        Some(state) => state,
        None => feed.wait().await?,
    };
    feed.told = Some(Instant::now());
    let account = ids::of_account(feed.seat.account);
    let state = state::of(state);
    let data = json!({
        "@type": "StateChange",
        "changed": {account: {"Email": &state, "Mailbox": &state}},
    });
    let event = Event::default().event("state").id(&state).data(data.to_string());
    Some((Ok(event), feed))
}

impl Feed {
    /// The next state, or `None` when nobody shall listen any more.
    async fn wait(&mut self) -> Option<ModSeq> {
        let gap = Duration::from_millis(limits::LISTEN_GAP_MS);
        let not_before = self.told.map_or_else(Instant::now, |told| told + gap);
        let change = async {
            let open = self.changes.changed().await;
            // The first change after a quiet time is told at once, the next ones together.
            tokio::time::sleep_until(not_before).await;
            open.then(|| self.changes.seen())
        };
        let over = async {
            match &mut self.ended {
                Some(ended) => drop(ended.changed().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            state = change => state,
            () = over => None,
            _ = self.stop.wait_for(|stop| *stop) => None,
            () = tokio::time::sleep_until(self.until) => None,
        }
    }
}
