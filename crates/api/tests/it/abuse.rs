//! Requests made to hurt: each gets a short, exact answer, and the next request works.

use crate::client::request;
use crate::house::House;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[tokio::test]
async fn bodies() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"Core/echo","params":{}}"#;
    let nested = |depth: usize| {
        let open = "[".repeat(depth);
        let close = "]".repeat(depth);
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"Core/echo","params":{{"a":{open}{close}}}}}"#)
    };
    let check = async |body: &[u8], code: i64, kind: &str| {
        let begin = Instant::now();
        let answer = house.post(&alice, "/rpc", body).await;
        assert_eq!(answer.status, 200);
        let error = &answer.json()["error"];
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!(
            (&error["code"], &error["data"]["type"]),
            (&json!(code), &json!(kind)),
            "{shown}"
        );
        assert!(answer.body.len() < 1000, "{shown}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{shown}");
    };
    check(b"\xff\xfe", -32700, "notJSON").await;
    check(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"Core/\xc3\x28\"}", -32700, "notJSON").await;
    check(&vec![0; 1000], -32700, "notJSON").await;
    check(nested(200).as_bytes(), -32700, "notJSON").await;
    check(nested(100_000).as_bytes(), -32700, "notJSON").await;
    check("[".repeat(9_000_000).as_bytes(), -32600, "limit").await;
    check(format!("[{}]", vec!["1"; 4_000_000].join(",")).as_bytes(), -32600, "limit").await;
    check(format!("[{}]", vec![call; 10_000].join(",")).as_bytes(), -32600, "limit").await;
    check(format!("[{}]", vec![call; 65].join(",")).as_bytes(), -32600, "limit").await;
    check(&vec![b' '; 10_000_001], -32600, "limit").await;
    let answer = house.post(&alice, "/rpc", nested(100).as_bytes()).await;
    assert!(answer.json()["result"]["a"].is_array());
    let answer =
        house.post(&alice, "/rpc", format!("[{}]", vec![call; 64].join(",")).as_bytes()).await;
    assert_eq!(answer.json().as_array().unwrap().len(), 64);
}

#[tokio::test]
async fn arguments() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let check = async |method: &str, params: Value, code: i64, argument: &str| {
        let answer = house.call(&alice, method, params.clone()).await;
        let error = &answer["error"];
        assert_eq!(error["code"], code, "{method} {params}: {answer}");
        if !argument.is_empty() {
            assert_eq!(error["data"]["arguments"], json!([argument]), "{answer}");
        }
    };
    let many: Vec<String> = (0..501).map(|n| format!("e{n}")).collect();
    check("Email/get", json!({"accountId": 7, "ids": []}), -32602, "accountId").await;
    check("Email/get", json!({"accountId": null, "ids": []}), -32602, "accountId").await;
    check("Email/get", json!({"ids": "e1"}), -32602, "ids").await;
    check("Email/get", json!({"ids": [1]}), -32602, "ids[0]").await;
    check("Email/get", json!({"ids": [], "properties": ["nonsense"]}), -32602, "properties").await;
    check(
        "Email/get",
        json!({"ids": [], "properties": ["header:Subject:asNonsense"]}),
        -32602,
        "properties",
    )
    .await;
    check(
        "Email/get",
        json!({"ids": [], "properties": vec!["header:A"; 200]}),
        -32602,
        "properties",
    )
    .await;
    check("Email/get", json!({"ids": [], "bodyProperties": ["x"]}), -32602, "bodyProperties").await;
    check("Email/get", json!({"ids": [], "maxBodyValueBytes": -1}), -32602, "maxBodyValueBytes")
        .await;
    check("Email/get", json!({"ids": many}), -32005, "").await;
    check("Email/query", json!({"filter": []}), -32602, "filter").await;
    check("Email/query", json!({"filter": {"colour": 1}}), -32008, "").await;
    check("Email/query", json!({"sort": [{"property": "colour"}]}), -32008, "").await;
    check("Email/query", json!({"sort": [{"property": "size", "collation": "x"}]}), -32008, "")
        .await;
    check("Email/query", json!({"sort": vec![json!({"property": "size"}); 100]}), -32008, "").await;
    check("Email/query", json!({"anchor": "e999"}), -32008, "").await;
    check("Email/query", json!({"limit": 1.5}), -32602, "limit").await;
    check("Email/query", json!({"positon": 1}), -32602, "positon").await;
    check("Email/set", json!({"update": []}), -32602, "update").await;
    check("Email/set", json!({"destroy": many}), -32005, "").await;
    check("Email/set", json!({"ifInState": "x"}), -32007, "").await;
    check("Email/changes", json!({}), -32602, "sinceState").await;
    check("Email/changes", json!({"sinceState": "x"}), -32006, "").await;
    check("Email/changes", json!({"sinceState": "99999999999"}), -32006, "").await;
    check("Email/changes", json!({"sinceState": "007"}), -32006, "").await;
    check("Email/changes", json!({"sinceState": "0", "maxChanges": 0}), -32602, "maxChanges").await;
    check("Mailbox/get", json!({"ids": null, "properties": ["x"]}), -32602, "properties").await;
    check("Thread/get", json!({"ids": null}), -32005, "").await;
    check("rpc.discover", json!({"x": 1}), -32602, "accountId").await;
}

/// A reference may not multiply what it brings in.
#[tokio::test]
async fn references_that_grow() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let mut calls = vec![
        json!({"jsonrpc": "2.0", "id": "0", "method": "Core/echo", "params": {"x": vec![1; 2000]}}),
    ];
    for n in 1..64 {
        let path = if n == 1 { "/x" } else { "/y" };
        let reference = json!({"resultOf": (n - 1).to_string(), "name": "Core/echo", "path": path});
        let params = json!({"#y": reference, "#z": reference});
        calls.push(
            json!({"jsonrpc": "2.0", "id": n.to_string(), "method": "Core/echo", "params": params}),
        );
    }
    let answers = house.rpc(&alice, &Value::Array(calls)).await;
    let answers = answers.as_array().unwrap();
    let failed = answers.iter().filter(|a| a["error"]["data"]["type"] == "invalidResultReference");
    assert!(failed.count() > 50);
}

#[tokio::test]
async fn a_body_that_stops() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let headers = [
        ("Cookie", alice.cookie.as_str()),
        ("X-CSRF-Token", alice.csrf.as_str()),
        ("Content-Type", "application/json"),
    ];
    // Cut off in the middle: the connection ends, nothing else happens.
    let mut stream = crate::client::open(house.address, "POST /rpc?", &headers, b"").await;
    tokio::io::AsyncWriteExt::shutdown(&mut stream).await.unwrap();
    let answer = request(house.address, "GET /healthz", &[], b"").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn odd_paths() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    for (path, status) in [
        ("/message/e1%00/html", 404),
        ("/message/%ff/html", 400),
        ("/message/../rpc/html", 404),
        ("/message/e99999999999999999999/html", 404),
        ("/blob/a1/b1.99999999999999999999/x", 404),
        ("/blob/a1/b1.1.1/x", 404),
        ("/assets/../index.html", 404),
        ("/assets/%2e%2e/%2e%2e/Cargo.toml", 404),
        ("/rpc", 405),
        ("/auth/login", 405),
        ("/auth/nothing", 404),
        ("/jmap/session", 404),
        ("/.well-known/jmap", 404),
    ] {
        let answer = house.get(&alice, path).await;
        assert_eq!(answer.status, status, "{path}");
    }
}
