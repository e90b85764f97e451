//! Errors as each front says them: a JSON-RPC code with JMAP's type, an HTTP status, a `SetError`.

use crate::Error;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use types::ErrorClass;

/// JSON-RPC code, JMAP type (RFC 8620 §3.6), HTTP status where the front is plain HTTP.
fn row(error: &Error) -> (i32, &'static str, StatusCode) {
    use StatusCode as S;
    match error {
        Error::NotJson(_) => (-32700, "notJSON", S::BAD_REQUEST),
        Error::NotRequest(_) => (-32600, "notRequest", S::BAD_REQUEST),
        Error::Limit(..) => (-32600, "limit", S::PAYLOAD_TOO_LARGE),
        Error::UnknownMethod(_) => (-32601, "unknownMethod", S::NOT_FOUND),
        Error::InvalidArguments { .. } => (-32602, "invalidArguments", S::BAD_REQUEST),
        Error::InvalidReference(_) => (-32602, "invalidResultReference", S::BAD_REQUEST),
        Error::NoAccount => (-32003, "accountNotFound", S::NOT_FOUND),
        Error::Forbidden(_) | Error::WrongOrigin(_) => (-32002, "forbidden", S::FORBIDDEN),
        Error::NotFound(_) => (-32004, "notFound", S::NOT_FOUND),
        Error::TooLarge(..) => (-32005, "requestTooLarge", S::PAYLOAD_TOO_LARGE),
        Error::NoChanges => (-32006, "cannotCalculateChanges", S::BAD_REQUEST),
        Error::StateMismatch => (-32007, "stateMismatch", S::CONFLICT),
        Error::NoAnchor => (-32008, "anchorNotFound", S::BAD_REQUEST),
        Error::UnsupportedSort(_) => (-32008, "unsupportedSort", S::BAD_REQUEST),
        Error::UnsupportedFilter(_) => (-32008, "unsupportedFilter", S::BAD_REQUEST),
        Error::LoggedOut | Error::Auth(auth::Error::Credentials) => {
            (-32001, "unauthenticated", S::UNAUTHORIZED)
        }
        Error::Busy { .. } | Error::Auth(auth::Error::Throttled { .. }) => {
            (-32029, "rateLimit", S::TOO_MANY_REQUESTS)
        }
        Error::Auth(auth::Error::Unavailable(_)) => {
            (-32000, "serverUnavailable", S::SERVICE_UNAVAILABLE)
        }
        Error::Storage(error) => storage_row(error),
        Error::Internal(_) => (-32603, "serverFail", S::INTERNAL_SERVER_ERROR),
    }
}

fn storage_row(error: &storage::Error) -> (i32, &'static str, StatusCode) {
    use StatusCode as S;
    match error.class() {
        ErrorClass::Temporary => (-32000, "serverUnavailable", S::SERVICE_UNAVAILABLE),
        ErrorClass::Full => (-32005, "overQuota", S::INSUFFICIENT_STORAGE),
        ErrorClass::NotFound => (-32004, "notFound", S::NOT_FOUND),
        ErrorClass::Permanent | ErrorClass::Client => (-32602, "invalidArguments", S::BAD_REQUEST),
        ErrorClass::Denied => (-32002, "forbidden", S::FORBIDDEN),
        ErrorClass::Corrupt => (-32603, "serverFail", S::INTERNAL_SERVER_ERROR),
    }
}

/// JMAP's name of the error; the `outcome` of a counter.
pub(crate) fn kind(error: &Error) -> &'static str {
    row(error).1
}

/// What the client is told. Paths and causes inside the server stay in the log.
fn text(error: &Error) -> String {
    match (error, error.class()) {
        (Error::Storage(_) | Error::Auth(auth::Error::Unavailable(_)), ErrorClass::Temporary) => {
            tracing::warn!(%error, "a request failed for now");
            "the server cannot do this at the moment; try again".to_owned()
        }
        (_, ErrorClass::Corrupt) => {
            tracing::error!(%error, "a request failed");
            "something is wrong on the server; its operator finds more in the log".to_owned()
        }
        _ => error.to_string(),
    }
}

/// The `error` member of a JSON-RPC 2.0 response; `data.type` is JMAP's.
pub(crate) fn rpc_error(error: &Error) -> Value {
    let (code, kind, _) = row(error);
    let mut data = Map::new();
    data.insert("type".to_owned(), kind.into());
    match error {
        Error::Limit(name, _) => drop(data.insert("limit".to_owned(), (*name).into())),
        Error::InvalidArguments { field, .. } => {
            data.insert("arguments".to_owned(), json!([field]));
        }
        _ => {}
    }
    if let Some(seconds) = retry_after_s(error) {
        data.insert("retryAfter".to_owned(), seconds.into());
    }
    json!({"code": code, "message": text(error), "data": data})
}

fn retry_after_s(error: &Error) -> Option<u64> {
    match error {
        Error::Busy { retry_after_s } | Error::Auth(auth::Error::Throttled { retry_after_s }) => {
            Some(*retry_after_s)
        }
        _ => None,
    }
}

/// Outside `/rpc` an error is an HTTP status with the same object under `error`.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (_, _, status) = row(&self);
        let mut response = json_response(status, &json!({"error": rpc_error(&self)}));
        if let Some(seconds) = retry_after_s(&self) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

pub(crate) fn json_response(status: StatusCode, value: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, value.to_string()).into_response()
}

/// Why one object of a `/set` was left as it is (RFC 8620 §5.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SetError {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub description: String,
    /// The properties that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<String>,
}

impl SetError {
    pub(crate) fn new(kind: &'static str, description: impl Into<String>) -> Self {
        Self { kind, description: description.into(), properties: Vec::new() }
    }

    pub(crate) fn property(name: impl Into<String>, description: impl Into<String>) -> Self {
        Self { properties: vec![name.into()], ..Self::new("invalidProperties", description) }
    }

    /// `property` is the one that names mailboxes in this call.
    pub(crate) fn of(error: storage::Error, property: &str) -> Self {
        use storage::Error as E;
        let description = error.to_string();
        match error {
            E::NoMessage => Self::new("notFound", description),
            E::NoMailbox | E::MailboxExists | E::MailboxName(_) => {
                Self::property(property, description)
            }
            E::MailboxFixed(_) => Self::new("forbidden", description),
            other => {
                let error = Error::Storage(other);
                Self::new(kind(&error), text(&error))
            }
        }
    }
}
