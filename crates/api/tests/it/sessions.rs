//! Who may ask: logins, cookies, CSRF tokens, origins, hosts, HTTP Basic.

use crate::client::{Answer, request};
use crate::house::House;
use serde_json::json;

const JSON: (&str, &str) = ("Content-Type", "application/json");

async fn login(house: &House, body: &str) -> Answer {
    request(house.address, "POST /auth/login", &[JSON], body.as_bytes()).await
}

#[tokio::test]
async fn logging_in_and_out() {
    let house = House::open().await;
    let answer = login(&house, r#"{"user":"alice@example.test","password":"secret"}"#).await;
    assert_eq!(answer.status, 200);
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    assert!(cookie.starts_with("op=") && !cookie.contains("Secure"), "{cookie}");
    assert!(cookie.contains("; HttpOnly; SameSite=Strict"), "{cookie}");
    let body = answer.json();
    assert_eq!(body["user"], "alice@example.test");
    assert_eq!(body["account"], format!("a{}", house.alice));
    assert_eq!(body["csrf"].as_str().unwrap().len(), 64);

    // The user's name may be short, in any case, and with a tag as everywhere.
    let alice = house.login("ALICE").await;
    assert_ne!(alice.csrf, body["csrf"].as_str().unwrap());
    let session = house.get(&alice, "/auth/session").await;
    assert_eq!(session.json()["csrf"], alice.csrf.as_str());

    // A cookie of before logout is worth nothing after it.
    assert_eq!(house.post(&alice, "/auth/logout", b"").await.status, 204);
    assert_eq!(house.get(&alice, "/auth/session").await.status, 401);
    let replayed = house.post(&alice, "/rpc", b"{}").await;
    assert_eq!((replayed.status, replayed.json()["error"]["code"].clone()), (401, json!(-32001)));
    // The other session lives on.
    let first = cookie.split(';').next().unwrap();
    let answer = request(house.address, "GET /auth/session", &[("Cookie", first)], b"").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn wrong_logins() {
    let house = House::open().await;
    let check = async |body: &str, status: u16, code: i64| {
        let answer = login(&house, body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        assert_eq!(answer.json()["error"]["code"], code);
        assert!(answer.header("set-cookie").is_none());
        answer
    };
    let wrong = check(r#"{"user":"alice@example.test","password":"nope"}"#, 401, -32001).await;
    let nobody = check(r#"{"user":"carol@example.test","password":"nope"}"#, 401, -32001).await;
    assert_eq!(wrong.body, nobody.body);
    assert!(wrong.header("www-authenticate").is_none());
    check("", 400, -32600).await;
    check("[]", 400, -32600).await;
    check(r#"{"user":"alice@example.test"}"#, 400, -32600).await;
    check(r#"{"user":1,"password":2}"#, 400, -32600).await;
    check(&"x".repeat(10_000), 413, -32600).await;
    let leak =
        check(r#"{"user":"alice@example.test","password":"hunter2","x":1}"#, 400, -32600).await;
    assert!(!leak.text().contains("hunter2"));
    let form =
        request(house.address, "POST /auth/login", &[("Content-Type", "text/plain")], b"{}").await;
    assert_eq!(form.status, 400);
    // Guessing is slowed down.
    let mut last = None;
    for _ in 0..30 {
        let answer = login(&house, r#"{"user":"bob@example.test","password":"nope"}"#).await;
        if answer.status == 429 {
            last = Some(answer);
            break;
        }
    }
    let throttled = last.expect("a 429 within 30 tries");
    assert!(throttled.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(throttled.json()["error"]["code"], -32029);
}

#[tokio::test]
async fn a_change_needs_more_than_a_cookie() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let bob = house.login("bob").await;
    let own_origin = format!("http://{}", house.address);
    let cookie = ("Cookie", alice.cookie.as_str());
    let csrf = ("X-CSRF-Token", alice.csrf.as_str());
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"Core/echo"}"#;
    let check = async |headers: &[(&str, &str)], status: u16| {
        let answer = request(house.address, "POST /rpc", headers, body).await;
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.text());
        if status != 200 {
            assert!(answer.json()["error"]["code"].as_i64().unwrap() < 0);
        }
    };
    check(&[cookie, csrf, JSON], 200).await;
    check(&[cookie, csrf, JSON, ("Origin", &own_origin), ("Sec-Fetch-Site", "same-origin")], 200)
        .await;
    check(&[cookie, csrf, ("Content-Type", "Application/JSON; charset=utf-8")], 200).await;
    check(&[JSON], 401).await;
    check(&[("Cookie", "op="), csrf, JSON], 401).await;
    check(&[("Cookie", "op=0123"), csrf, JSON], 401).await;
    check(&[cookie, JSON], 403).await;
    check(&[cookie, JSON, ("X-CSRF-Token", "")], 403).await;
    check(&[cookie, JSON, ("X-CSRF-Token", &bob.csrf)], 403).await;
    check(&[cookie, JSON, ("X-CSRF-Token", &alice.csrf[..63])], 403).await;
    check(&[cookie, csrf], 400).await;
    check(&[cookie, csrf, ("Content-Type", "text/plain")], 400).await;
    check(&[cookie, csrf, JSON, ("Origin", "http://evil.test")], 403).await;
    check(&[cookie, csrf, JSON, ("Origin", "null")], 403).await;
    check(&[cookie, csrf, JSON, ("Origin", "http://127.0.0.1:1")], 403).await;
    check(&[cookie, csrf, JSON, ("Sec-Fetch-Site", "cross-site")], 403).await;
    check(&[cookie, csrf, JSON, ("Sec-Fetch-Site", "same-site")], 403).await;
    // Logout and login are changes too.
    let answer = request(house.address, "POST /auth/logout", &[cookie], b"").await;
    assert_eq!(answer.status, 403);
    let login = br#"{"user":"alice","password":"secret"}"#;
    let answer =
        request(house.address, "POST /auth/login", &[JSON, ("Origin", "http://evil.test")], login)
            .await;
    assert_eq!(answer.status, 403);
    assert_eq!(house.get(&alice, "/auth/session").await.status, 200);
}

#[tokio::test]
async fn basic_for_scripts() {
    let house = House::open().await;
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"Core/echo"}"#;
    let check = async |credentials: &str, status: u16| {
        let headers = [("Authorization", credentials)];
        let answer = request(house.address, "POST /rpc", &headers, body).await;
        assert_eq!(answer.status, status, "{credentials}");
    };
    check("Basic YWxpY2VAZXhhbXBsZS50ZXN0OnNlY3JldA==", 200).await;
    check("basic YWxpY2U6c2VjcmV0", 200).await;
    check("Basic YWxpY2U6d3Jvbmc=", 401).await;
    check("Basic ????", 401).await;
    check("Bearer abc", 401).await;
}

#[tokio::test]
async fn only_our_own_name() {
    let house = House::open().await;
    let port = house.address.port();
    for (host, status) in [
        (format!("127.0.0.1:{port}"), 200),
        (format!("LOCALHOST:{port}"), 200),
        (format!("[::1]:{port}"), 200),
        ("mail.example.test".to_owned(), 200),
        (format!("evil.test:{port}"), 421),
        (format!("127.0.0.1.evil.test:{port}"), 421),
        (String::new(), 421),
    ] {
        for path in ["/healthz", "/api/openrpc.json"] {
            let line = format!("GET {path}");
            let answer = request(house.address, &line, &[("Host", &host)], b"").await;
            assert_eq!(answer.status, status, "{host}");
        }
    }
    let house = House::with(|config| config.loopback_only = false).await;
    let answer = request(house.address, "GET /healthz", &[("Host", "any.test")], b"").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok\n"));
}

#[tokio::test]
async fn secure_cookies() {
    let house = House::with(|config| config.cookie_secure = true).await;
    let answer = login(&house, r#"{"user":"alice","password":"secret"}"#).await;
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-op="), "{cookie}");
    assert!(cookie.contains("; Path=/;") && cookie.ends_with("; Secure"), "{cookie}");
    assert!(!cookie.contains("Domain"));
}

/// The table of routes and the table of methods: none answers a stranger.
#[tokio::test]
async fn nothing_without_login() {
    let house = House::open().await;
    let arrived = house.deliver(house.alice, "Subject: x\n\nx\n").await;
    for route in api::ROUTES.iter().filter(|route| route.login) {
        let path = route.path.replace("{account}", "a1").replace("{name}", "x");
        let path = path.replace("{blob}", &format!("b{}", arrived.email));
        let path = path.replace("{email}", &format!("e{}", arrived.email));
        let mut refused = 0;
        for method in ["GET", "POST"] {
            let answer = request(house.address, &format!("{method} {path}"), &[JSON], b"{}").await;
            assert!(matches!(answer.status, 401 | 405), "{path}: {}", answer.status);
            refused += usize::from(answer.status == 401);
        }
        assert!(refused >= 1, "{path}");
    }
    for method in api::METHODS {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": method.name, "params": {"accountId": "a1"}});
        let answer =
            request(house.address, "POST /rpc", &[JSON], call.to_string().as_bytes()).await;
        assert_eq!(answer.status, 401, "{}", method.name);
        assert_eq!(answer.json()["error"]["data"]["type"], "unauthenticated");
    }
}

/// Whatever takes an account refuses another one, and does not tell whether it exists.
#[tokio::test]
async fn nobody_elses_mail() {
    let house = House::open().await;
    let arrived = house.deliver(house.bob, "Subject: for bob\n\nsecret text\n").await;
    let alice = house.login("alice").await;
    let bobs = format!("a{}", house.bob);
    for method in api::METHODS {
        if matches!(method.name, "Core/echo" | "rpc.discover") {
            continue;
        }
        let mut answers = Vec::new();
        for account in [bobs.as_str(), "a999", "x", ""] {
            let params = match method.name {
                name if name.ends_with("/changes") => {
                    json!({"accountId": account, "sinceState": "0"})
                }
                name if name.ends_with("/get") => json!({"accountId": account, "ids": []}),
                _ => json!({"accountId": account}),
            };
            answers.push(house.call(&alice, method.name, params).await);
        }
        assert_eq!(answers[0]["error"]["code"], -32003, "{}", method.name);
        assert!(answers.iter().all(|a| a == &answers[0]), "{}", method.name);
    }
    // Bob's email, by its id, in Alice's account.
    let id = format!("e{}", arrived.email);
    let got = house.ok(&alice, "Email/get", json!({"ids": [id]})).await;
    assert_eq!((&got["list"], &got["notFound"]), (&json!([]), &json!([id])));
    let thread = format!("t{}", arrived.thread);
    let got = house.ok(&alice, "Thread/get", json!({"ids": [thread]})).await;
    assert_eq!(got["notFound"], json!([thread]));
    let update = json!({"update": {&id: {"keywords/$seen": true}}, "destroy": ["e999"]});
    let set = house.ok(&alice, "Email/set", update).await;
    assert_eq!(set["notUpdated"][&id]["type"], "notFound");
    assert_eq!(set["notDestroyed"]["e999"]["type"], "notFound");
    for path in [
        format!("/message/{id}/html"),
        format!("/blob/{bobs}/b{}/x", arrived.email),
        format!("/blob/{}/b{}/x", alice.account, arrived.email),
        format!("/blob/{}/b{}.0/x", alice.account, arrived.email),
        "/message/e999/html".to_owned(),
    ] {
        let answer = house.get(&alice, &path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.text().contains("secret text"));
    }
    let homes = house.store.homes(house.bob, arrived.email).await.unwrap();
    assert!(homes.iter().all(|(_, row)| row.flags.is_empty()));
}
