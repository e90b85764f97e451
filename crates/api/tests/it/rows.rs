//! Rows of {request, reply}: what JSON-RPC 2.0 says about envelopes, with its own examples where it has them.

use crate::house::{House, Person};
use serde_json::{Value, json};

/// Every member that is expected is there; others may be too. `"*"` matches anything but nothing.
#[track_caller]
pub(crate) fn matches(expect: &Value, got: &Value, whole: &Value) {
    match (expect, got) {
        (Value::String(any), got) if any == "*" => assert!(!got.is_null(), "{whole}"),
        (Value::Object(expect), Value::Object(got)) => {
            for (name, value) in expect {
                let there = got.get(name).unwrap_or_else(|| panic!("no {name} in {whole}"));
                matches(value, there, whole);
            }
        }
        (Value::Array(expect), Value::Array(got)) => {
            assert_eq!(expect.len(), got.len(), "{whole}");
            expect.iter().zip(got).for_each(|(e, g)| matches(e, g, whole));
        }
        (expect, got) => assert_eq!(expect, got, "in {whole}"),
    }
}

/// Sends a body; `null` expects no answer at all.
async fn check(house: &House, alice: &Person, request: &str, expect: Value) {
    let answer = house.post(alice, "/rpc", request.as_bytes()).await;
    if expect.is_null() {
        assert_eq!((answer.status, answer.text().as_str()), (204, ""), "{request}");
        return;
    }
    assert_eq!(answer.status, 200, "{request}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let got = answer.json();
    matches(&expect, &got, &json!({"request": request, "got": got}));
}

fn error(id: impl Into<Value>, code: i64, kind: &str) -> Value {
    let error = json!({"code": code, "message": "*", "data": {"type": kind}});
    json!({"jsonrpc": "2.0", "id": id.into(), "error": error})
}

#[tokio::test]
async fn envelopes() {
    let house = House::open().await;
    let alice = house.login("alice@example.test").await;
    let check = async |request: &str, expect: Value| check(&house, &alice, request, expect).await;
    let echo = r#"{"jsonrpc":"2.0","id":"x","method":"Core/echo","params":{"a":[1,{"b":null}]}}"#;
    check(echo, json!({"jsonrpc": "2.0", "id": "x", "result": {"a": [1, {"b": null}]}})).await;
    check(r#"{"jsonrpc":"2.0","id":null,"method":"Core/echo"}"#, json!({"id": null, "result": {}}))
        .await;
    check(r#"{"jsonrpc":"2.0","id":1.5,"method":"Core/echo"}"#, json!({"id": 1.5, "result": {}}))
        .await;
    // JSON-RPC 2.0 §7
    check(r#"{"jsonrpc": "2.0", "method": "Core/echo", "params": {}}"#, Value::Null).await;
    check(r#"{"jsonrpc": "2.0", "method": "foobar"}"#, Value::Null).await;
    check(
        r#"{"jsonrpc": "2.0", "method": "foobar", "id": "1"}"#,
        error(json!("1"), -32601, "unknownMethod"),
    )
    .await;
    check(
        r#"{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]"#,
        error(Value::Null, -32700, "notJSON"),
    )
    .await;
    check(
        r#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#,
        error(Value::Null, -32600, "notRequest"),
    )
    .await;
    check(
        r#"[{"jsonrpc": "2.0", "method": "sum", "id": "1"},{"jsonrpc": "2.0", "method""#,
        error(Value::Null, -32700, "notJSON"),
    )
    .await;
}

#[tokio::test]
async fn batches() {
    let house = House::open().await;
    let alice = house.login("alice@example.test").await;
    let check = async |request: &str, expect: Value| check(&house, &alice, request, expect).await;
    check("[]", error(Value::Null, -32600, "notRequest")).await;
    let invalid = || error(Value::Null, -32600, "notRequest");
    check("[1]", json!([invalid()])).await;
    check("[1,2,3]", json!([invalid(), invalid(), invalid()])).await;
    check(
        r#"[{"jsonrpc":"2.0","method":"Core/echo"},{"jsonrpc":"2.0","method":"x"}]"#,
        Value::Null,
    )
    .await;
    check(
        r#"[{"jsonrpc":"2.0","method":"Core/echo","params":{"n":1},"id":"1"},
            {"jsonrpc":"2.0","method":"Core/echo","params":{"n":2}},
            {"foo":"boo"},
            {"jsonrpc":"2.0","method":"foo.get","params":{"name":"myself"},"id":"5"},
            {"jsonrpc":"2.0","method":"Core/echo","id":9}]"#,
        json!([
            {"jsonrpc": "2.0", "id": "1", "result": {"n": 1}},
            invalid(),
            error(json!("5"), -32601, "unknownMethod"),
            {"jsonrpc": "2.0", "id": 9, "result": {}},
        ]),
    )
    .await;
    let positional = r#"{"jsonrpc":"2.0","id":1,"method":"Email/get","params":["a1"]}"#;
    check(positional, error(json!(1), -32602, "invalidArguments")).await;
    // The same id twice is allowed; only a reference to it is not.
    let twice = r##"[{"jsonrpc":"2.0","id":1,"method":"Core/echo","params":{"x":1}},
        {"jsonrpc":"2.0","id":1,"method":"Core/echo"},
        {"jsonrpc":"2.0","id":2,"method":"Core/echo","params":{"#y":{"resultOf":1,"name":"Core/echo","path":"/x"}}}]"##;
    check(twice, json!([{"id": 1}, {"id": 1}, error(json!(2), -32602, "invalidResultReference")]))
        .await;
    let once = r##"[{"jsonrpc":"2.0","id":"a","method":"Core/echo","params":{"x":[5,6]}},
        {"jsonrpc":"2.0","id":"b","method":"Core/echo","params":{"#y":{"resultOf":"a","name":"Core/echo","path":"/x/1"}}}]"##;
    check(once, json!([{"id": "a"}, {"id": "b", "result": {"y": 6}}])).await;
}

#[tokio::test]
async fn discovery() {
    let house = House::open().await;
    let alice = house.login("alice@example.test").await;
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "rpc.discover"});
    let found = house.rpc(&alice, &call).await;
    let open = house.get(&alice, "/api/openrpc.json").await.json();
    assert_eq!(found["result"], open);
    let names: Vec<&str> =
        open["methods"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    let table: Vec<&str> = api::METHODS.iter().map(|m| m.name).collect();
    assert_eq!(names, table);
}
