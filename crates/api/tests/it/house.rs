//! The service under test: store, accounts, socket, and someone who is logged in.

use crate::client::{Answer, request};
use api::{Config, Service};
use auth::{Auth, hash_password};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use storage::tools::{fsck, silent};
use storage::{Arrived, Letter, Options, Store, Target};
use types::{AccountId, SystemClock};

pub(crate) struct House {
    pub(crate) store: Store,
    pub(crate) service: Arc<Service>,
    pub(crate) address: SocketAddr,
    pub(crate) alice: AccountId,
    pub(crate) bob: AccountId,
    _folder: Folder,
}

/// When the data folder of a test goes, `fsck` looks into it and must find nothing.
struct Folder(tempfile::TempDir);

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let options = Options::in_folder(self.0.path());
            let report = fsck(&options, false, &SystemClock, &silent).unwrap();
            assert!(report.is_fine(), "{:#?}", report.findings);
        }
    }
}

/// Someone with a session.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) cookie: String,
    pub(crate) csrf: String,
    pub(crate) account: String,
}

impl House {
    pub(crate) async fn open() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock);
        let store = Store::open(&Options::in_folder(folder.path()), clock.clone()).unwrap();
        let secret = hash_password(b"secret").unwrap();
        let alice = store.put_account("alice@example.test", &secret).await.unwrap();
        let bob = store.put_account("bob@example.test", &secret).await.unwrap();
        let auth = Auth::new(store.index(), clock.clone());
        let mut config = Config {
            hostname: "mail.example.test".to_owned(),
            cookie_secure: false,
            default_domain: Some("example.test".to_owned()),
            loopback_only: true,
            ..Config::default()
        };
        change(&mut config);
        let service = Service::new(store.clone(), auth, config, clock);
        let app = service.router(extra());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { store, service, address, alice, bob, _folder: Folder(folder) }
    }

    pub(crate) async fn deliver(&self, to: AccountId, letter: &str) -> Arrived {
        let bytes = letter.replace('\n', "\r\n").into_bytes();
        self.deliver_bytes(to, bytes).await
    }

    pub(crate) async fn deliver_bytes(&self, to: AccountId, letter: Vec<u8>) -> Arrived {
        let letter = Letter::parse(letter.into());
        let mut arrived = self.store.deliver(letter, vec![Target::inbox(to)]).await.unwrap();
        arrived.pop().unwrap().unwrap()
    }

    pub(crate) async fn login(&self, user: &str) -> Person {
        let body = json!({"user": user, "password": "secret"}).to_string();
        let json = [("Content-Type", "application/json")];
        let answer = request(self.address, "POST /auth/login", &json, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let cookie = answer.header("set-cookie").unwrap();
        let value = answer.json();
        let text = |name: &str| value[name].as_str().unwrap().to_owned();
        Person {
            cookie: cookie.split(';').next().unwrap().to_owned(),
            csrf: text("csrf"),
            account: text("account"),
        }
    }

    pub(crate) async fn get(&self, person: &Person, path: &str) -> Answer {
        let headers = [("Cookie", person.cookie.as_str())];
        request(self.address, &format!("GET {path}"), &headers, b"").await
    }

    pub(crate) async fn post(&self, person: &Person, path: &str, body: &[u8]) -> Answer {
        let headers = [
            ("Cookie", person.cookie.as_str()),
            ("X-CSRF-Token", person.csrf.as_str()),
            ("Content-Type", "application/json"),
        ];
        request(self.address, &format!("POST {path}"), &headers, body).await
    }

    /// A whole JSON-RPC exchange.
    pub(crate) async fn rpc(&self, person: &Person, call: &Value) -> Value {
        let answer = self.post(person, "/rpc", call.to_string().as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// One call; `accountId` is put in when it is missing.
    pub(crate) async fn call(&self, person: &Person, method: &str, params: Value) -> Value {
        let mut params = params;
        let object = params.as_object_mut().unwrap();
        object.entry("accountId").or_insert_with(|| person.account.clone().into());
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.rpc(person, &call).await
    }

    /// The result of a call that works.
    pub(crate) async fn ok(&self, person: &Person, method: &str, params: Value) -> Value {
        let mut answer = self.call(person, method, params).await;
        assert!(answer.get("result").is_some(), "{method}: {answer}");
        answer["result"].take()
    }

    /// The mailbox with this role.
    pub(crate) async fn mailbox(&self, person: &Person, role: &str) -> String {
        let got = self.ok(person, "Mailbox/get", json!({"ids": null})).await;
        let list = got["list"].as_array().unwrap();
        let found = list.iter().find(|m| m["role"] == role).expect(role);
        found["id"].as_str().unwrap().to_owned()
    }
}

fn extra() -> axum::Router {
    axum::Router::new().route("/healthz", axum::routing::get(|| async { "ok\n" }))
}
