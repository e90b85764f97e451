//! The filter for programs that ask an Rspamd: Exim, `rspamc`, scripts of Dovecot that teach. The parts of its HTTP protocol
//! (<https://rspamd.com/doc/architecture/protocol.html>) that they use.
//!
//! | path | answers |
//! |---|---|
//! | `/checkv2`, `/symbols` | the verdict on the letter in the body |
//! | `/learnspam`, `/learnham` | learned; 208 when it was said before |
//! | `/ping`, `/stat` | that it is there; how much was learned |

use crate::asked::{self, Asked};
use antispam::{Action, Class};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{any, get, post};
use filter::{Filter, Judgement, Taught};
use mparser::Message;
use serde_json::{Value, json};

/// Recipients that are read; the verdict hardly depends on them.
const RECIPIENTS: usize = 1_000;

/// All that is answered. Letters of more bytes are refused.
pub fn rspamd(filter: Filter, letter_bytes: usize) -> Router {
    Router::new()
        .route("/checkv2", post(check))
        .route("/symbols", post(check))
        .route(
            "/learnspam",
            post(async |state, headers, body| learn(state, headers, body, Class::Spam).await),
        )
        .route(
            "/learnham",
            post(async |state, headers, body| learn(state, headers, body, Class::Ham).await),
        )
        .route("/ping", any(async || "pong\r\n"))
        .route("/stat", get(stat))
        .layer(DefaultBodyLimit::max(letter_bytes))
        .with_state(filter)
}

async fn check(State(filter): State<Filter>, headers: HeaderMap, letter: Bytes) -> Response {
    if let Some(refused) = refuse(&headers) {
        return refused;
    }
    let asked = asked(&headers, letter);
    let looked = filter.look(&asked.connection(), &asked.letter).await;
    // A letter may take some milliseconds.
    let judged = tokio::task::spawn_blocking(move || {
        let message = Message::parse(&asked.letter);
        let judgement = filter.judge(&asked.connection(), &looked, &message);
        let id = message.index().message_id().unwrap_or_else(|| "undef".to_owned());
        answer(&judgement, &id, filter.thresholds().refuse)
    });
    match judged.await {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => {
            fault(StatusCode::INTERNAL_SERVER_ERROR, &format!("the letter was not judged: {error}"))
        }
    }
}

async fn learn(
    State(filter): State<Filter>,
    headers: HeaderMap,
    letter: Bytes,
    class: Class,
) -> Response {
    if let Some(refused) = refuse(&headers) {
        return refused;
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let person = text("deliver-to").or_else(|| text("user"));
    match filter.learn_from(person, &letter, class).await {
        Ok(Taught::Already) => {
            fault(StatusCode::ALREADY_REPORTED, "this letter was learned as that before")
        }
        Ok(_) => Json(json!({ "success": true })).into_response(),
        Err(error) => fault(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

async fn stat(State(filter): State<Filter>) -> Json<Value> {
    Json(
        json!({ "version": env!("CARGO_PKG_VERSION"), "learned": filter.model().learner.lessons() }),
    )
}

/// Pages in a browser on this machine may not ask, and what we do not understand is not judged.
fn refuse(headers: &HeaderMap) -> Option<Response> {
    if headers.contains_key(header::ORIGIN) {
        return Some(fault(StatusCode::FORBIDDEN, "this is not for browsers"));
    }
    let packed =
        headers.contains_key("compression") || headers.contains_key(header::CONTENT_ENCODING);
    packed.then(|| fault(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the letter must not be compressed"))
}

fn fault(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "error": text }))).into_response()
}

/// What the header of the request says of the envelope.
fn asked(headers: &HeaderMap, letter: Bytes) -> Asked {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let recipients = headers.get_all("rcpt").iter().filter_map(|value| value.to_str().ok());
    Asked {
        id: asked::name(text("queue-id").unwrap_or_default()),
        client_ip: text("ip").and_then(asked::ip),
        helo: text("helo").unwrap_or_default().to_owned(),
        sender: text("from").and_then(asked::address),
        recipients: recipients.filter_map(asked::address).take(RECIPIENTS).collect(),
        user: text("user").filter(|user| !user.is_empty()).map(str::to_owned),
        tls: text("tls-version").is_some(),
        letter,
    }
}

fn answer(judgement: &Judgement, message_id: &str, refuse: f32) -> Value {
    let verdict = &judgement.verdict;
    let action = match verdict.action {
        Action::Accept if judgement.later => "soft reject",
        Action::Accept => "no action",
        Action::Junk => "add header",
        Action::Refuse => "reject",
    };
    let symbols = judgement.reasons().map(|reason| {
        let said = json!({
            "name": reason.symbol,
            "score": reason.points,
            "metric_score": reason.points,
            "description": reason.says,
        });
        (reason.symbol, said)
    });
    let status = verdict.header_value().replace("\r\n\t", " ");
    json!({
        "is_skipped": false,
        "score": verdict.score,
        "required_score": refuse,
        "action": action,
        "thresholds": { "add header": verdict.required, "reject": refuse },
        "symbols": symbols.collect::<serde_json::Map<String, Value>>(),
        "message-id": message_id,
        "milter": { "add_headers": { "X-Spam-Status": { "value": status, "order": 0 } } },
    })
}
