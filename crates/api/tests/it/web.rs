//! Files of the web UI, and the headers every answer has.

use crate::client::request;
use crate::house::House;

const APP_CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; frame-src 'self'; worker-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types dompurify";

#[tokio::test]
async fn every_answer_is_guarded() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    for path in [
        "/",
        "/mail/inbox",
        "/healthz",
        "/nothing.txt",
        "/rpc",
        "/auth/session",
        "/api/openrpc.json",
        "/message/e999/html",
        "/blob/a1/b1/x",
    ] {
        let answer = house.get(&alice, path).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cross-origin-opener-policy"), Some("same-origin"));
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"));
        assert!(answer.header("permissions-policy").unwrap().contains("camera=()"));
        let csp = answer.header("content-security-policy").unwrap();
        if path.starts_with("/message/") {
            assert!(csp.starts_with("sandbox allow-popups"), "{csp}");
        } else {
            assert_eq!(csp, APP_CSP, "{path}");
        }
    }
    let refused = request(house.address, "GET /", &[("Host", "evil.test")], b"").await;
    assert_eq!(refused.header("content-security-policy"), Some(APP_CSP));
}

#[tokio::test]
async fn the_page() {
    let house = House::open().await;
    let get = async |path: &str, headers: &[(&str, &str)]| {
        request(house.address, &format!("GET {path}"), headers, b"").await
    };
    let index = get("/", &[]).await;
    assert_eq!(index.status, 200);
    assert!(index.header("content-type").unwrap().starts_with("text/html"));
    // Places inside the web UI are the same page; files that are not there are not.
    assert_eq!(get("/mail/inbox/e5", &[]).await.body, index.body);
    assert_eq!(get("/nothing.js", &[]).await.status, 404);
    assert_eq!(get("/assets/nothing", &[]).await.status, 404);
    assert_eq!(get("/api/nothing", &[]).await.status, 404);
    let head = request(house.address, "HEAD /", &[], b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let put = request(house.address, "PUT /", &[], b"").await;
    assert_eq!(put.status, 405);
    let Some(tag) = index.header("etag") else {
        assert!(index.text().contains("npm --prefix web"));
        return;
    };
    assert_eq!(index.header("cache-control"), Some("no-cache"));
    let again = get("/", &[("If-None-Match", tag)]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    let text = index.text();
    let script = text.split('"').find(|s| s.starts_with("/assets/") && s.contains(".js"));
    let script = get(script.unwrap(), &[]).await;
    assert_eq!(script.status, 200);
    assert_eq!(script.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert!(script.header("content-type").unwrap().starts_with("text/javascript"));
}
