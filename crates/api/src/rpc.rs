//! The JSON-RPC 2.0 front: one call or a batch in, as many answers out, in the order of the batch. Knows
//! nothing about HTTP, cookies, or what the methods do.

use crate::methods::Context;
use crate::reference::{self, Earlier};
use crate::{Error, Result, limits, reply};
use serde_json::{Map, Value, json};

/// Answers one request body; `None` when all calls were notifications.
pub(crate) async fn answer(ctx: &Context, body: &[u8]) -> Option<Value> {
    match parse(body) {
        Err(error) => Some(failure(&Value::Null, &error)),
        Ok(Value::Array(calls)) => match batch(ctx, calls).await {
            Ok(answers) if answers.is_empty() => None,
            Ok(answers) => Some(Value::Array(answers)),
            Err(error) => Some(failure(&Value::Null, &error)),
        },
        Ok(call) => run_all(ctx, vec![call]).await.pop(),
    }
}

fn parse(body: &[u8]) -> Result<Value> {
    if body.len() > limits::REQUEST_BYTES {
        return Err(Error::Limit("maxSizeRequest", limits::REQUEST_BYTES));
    }
    let text = std::str::from_utf8(body)
        .map_err(|e| Error::NotJson(format!("byte {} is not UTF-8", e.valid_up_to())))?;
    if values(body) > limits::JSON_VALUES {
        return Err(Error::Limit("maxValuesInRequest", limits::JSON_VALUES));
    }
    // serde_json refuses more than 128 levels.
    serde_json::from_str(text).map_err(|e| Error::NotJson(e.to_string()))
}

/// At least as many as the values in the text, told before any is made.
fn values(body: &[u8]) -> usize {
    let (mut count, mut inside, mut escaped) = (1, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            b',' | b'[' | b'{' if !inside => count += 1,
            _ => {}
        }
    }
    count
}

async fn batch(ctx: &Context, calls: Vec<Value>) -> Result<Vec<Value>> {
    if calls.is_empty() {
        return Err(Error::NotRequest("the batch is empty"));
    }
    if calls.len() > limits::CALLS_IN_REQUEST {
        return Err(Error::Limit("maxCallsInRequest", limits::CALLS_IN_REQUEST));
    }
    Ok(run_all(ctx, calls).await)
}

/// Runs calls one after the other: later ones see what earlier ones did, and may refer to their results.
async fn run_all(ctx: &Context, calls: Vec<Value>) -> Vec<Value> {
    let mut answers: Vec<Value> = Vec::with_capacity(calls.len());
    // For each answer the method that gave it.
    let mut methods: Vec<&'static str> = Vec::with_capacity(calls.len());
    let mut reference_values = limits::REFERENCE_VALUES;
    for call in calls {
        let Call { id, method, params } = match Call::of(call) {
            Ok(call) => call,
            Err((id, error)) => {
                answers.push(failure(&id, &error));
                methods.push("");
                continue;
            }
        };
        let params = params.and_then(|mut params| {
            let earlier: Vec<Earlier<'_>> = answers.iter().zip(&methods).map(earlier).collect();
            reference::resolve(&mut params, &earlier, &mut reference_values)?;
            Ok(params)
        });
        let known = crate::methods::find(&method).map_or("", |row| row.name);
        let result = match params {
            Ok(params) => ctx.call(&method, params).await,
            Err(error) => {
                ctx.service
                    .metrics
                    .count(if known.is_empty() { "unknown" } else { known }, reply::kind(&error));
                Err(error)
            }
        };
        // A notification is never answered, not even when it fails.
        let Some(id) = id else { continue };
        answers.push(match result {
            Ok((_, result)) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
            Err(error) => failure(&id, &error),
        });
        methods.push(known);
    }
    answers
}

fn earlier<'a>((answer, method): (&'a Value, &&'static str)) -> Earlier<'a> {
    Earlier { id: answer.get("id").unwrap_or(&Value::Null), method, result: answer.get("result") }
}

fn failure(id: &Value, error: &Error) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": reply::rpc_error(error)})
}

/// The answer to a request that is refused before it is read.
pub(crate) fn refused(error: &Error) -> Value {
    failure(&Value::Null, error)
}

/// One request object.
struct Call {
    /// `None`: a notification.
    id: Option<Value>,
    method: String,
    params: Result<Map<String, Value>>,
}

impl Call {
    fn of(value: Value) -> Result<Self, (Value, Error)> {
        let refuse = |id, why| Err((id, Error::NotRequest(why)));
        let Value::Object(mut object) = value else {
            return refuse(Value::Null, "a call must be an object");
        };
        let id = object.remove("id");
        if matches!(id, Some(Value::Bool(_) | Value::Array(_) | Value::Object(_))) {
            return refuse(Value::Null, "id must be text, a number or null");
        }
        let shown = || id.clone().unwrap_or_default();
        if object.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return refuse(shown(), "jsonrpc must be \"2.0\"");
        }
        let Some(Value::String(method)) = object.remove("method") else {
            return refuse(shown(), "method must be text");
        };
        let params = match object.remove("params") {
            None => Ok(Map::new()),
            Some(Value::Object(params)) => Ok(params),
            Some(Value::Array(_)) => Err(Error::argument("params", "must be given by name")),
            Some(_) => return refuse(shown(), "params must be an object"),
        };
        Ok(Self { id, method, params })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies() {
        #[track_caller]
        fn check(body: &[u8], kind: &str) {
            assert_eq!(reply::kind(&parse(body).unwrap_err()), kind);
        }
        check(b"", "notJSON");
        check(b"{", "notJSON");
        check(b"{} {}", "notJSON");
        check(b"\"\xff\"", "notJSON");
        check("[".repeat(100_000).as_bytes(), "notJSON");
        check("[".repeat(300_000).as_bytes(), "limit");
        check(format!("[{}1]", "1,".repeat(300_000)).as_bytes(), "limit");
        check(" ".repeat(limits::REQUEST_BYTES + 1).as_bytes(), "limit");
        let quoted = format!("\"{}\\\",{}\"", ",".repeat(300_000), "[".repeat(300_000));
        assert!(parse(quoted.as_bytes()).is_ok());
    }

    #[test]
    fn calls() {
        #[track_caller]
        fn check(call: &Value, id: &Value) {
            let (given, error) = Call::of(call.clone()).err().unwrap();
            assert_eq!((&given, reply::kind(&error)), (id, "notRequest"));
        }
        check(&json!(1), &Value::Null);
        check(&json!({"jsonrpc": "2.0", "id": [], "method": "x"}), &Value::Null);
        check(&json!({"id": 1, "method": "x"}), &json!(1));
        check(&json!({"jsonrpc": "1.0", "id": "a", "method": "x"}), &json!("a"));
        check(&json!({"jsonrpc": "2.0", "id": 1, "method": 1}), &json!(1));
        check(&json!({"jsonrpc": "2.0", "id": 1, "method": "x", "params": 1}), &json!(1));
        let positional = json!({"jsonrpc": "2.0", "method": "x", "params": [1]});
        let call = Call::of(positional).ok().unwrap();
        assert_eq!(call.id, None);
        assert_eq!(reply::kind(&call.params.unwrap_err()), "invalidArguments");
    }
}
