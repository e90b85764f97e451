//! Push: at once, only to who may know, and no more than there is room for.

use crate::client::open;
use crate::house::{House, Person};
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

struct Feed(BufReader<TcpStream>);

impl Feed {
    async fn open(house: &House, person: &Person) -> Self {
        let headers = [("Cookie", person.cookie.as_str())];
        Self(BufReader::new(open(house.address, "GET /events", &headers, b"").await))
    }

    /// The next line that begins so; `None` at the end of the stream.
    async fn line(&mut self, begin: &str) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).await.unwrap_or(0) == 0 {
                return None;
            }
            if let Some(rest) = line.strip_prefix(begin) {
                return Some(rest.trim().to_owned());
            }
        }
    }

    async fn event(&mut self) -> Value {
        let data = timeout(Duration::from_secs(5), self.line("data:")).await.unwrap();
        serde_json::from_str(&data.unwrap()).unwrap()
    }
}

#[tokio::test]
async fn told_at_once() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let mut feed = Feed::open(&house, &alice).await;
    assert_eq!(feed.line("HTTP/1.1 ").await.unwrap(), "200 OK");
    assert_eq!(feed.line("content-type: ").await.unwrap(), "text/event-stream");
    assert_eq!(feed.line("event: ").await.unwrap(), "state");
    let first = feed.event().await;
    assert_eq!(first["@type"], "StateChange");
    let state = |event: &Value| {
        let of = &event["changed"][&alice.account];
        assert_eq!(of["Email"], of["Mailbox"]);
        of["Email"].as_str().unwrap().parse::<u64>().unwrap()
    };
    let mut last = state(&first);
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let begin = Instant::now();
        house.deliver(house.alice, "Subject: x\n\nx\n").await;
        let event = feed.event().await;
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        assert!(state(&event) > last);
        last = state(&event);
    }
    // What happens to Bob is not told to Alice.
    house.deliver(house.bob, "Subject: x\n\nx\n").await;
    assert!(timeout(Duration::from_millis(300), feed.line("data:")).await.is_err());
}

/// A flood of letters becomes a few events, and the last one tells the last state.
#[tokio::test]
async fn a_flood_is_gathered() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let mut feed = Feed::open(&house, &alice).await;
    feed.event().await;
    for _ in 0..100 {
        house.deliver(house.alice, "Subject: x\n\nx\n").await;
    }
    let now = house.store.state(house.alice).await.unwrap().to_string();
    let mut events = 0;
    loop {
        let event = feed.event().await;
        events += 1;
        if event["changed"][&alice.account]["Email"] == now {
            break;
        }
    }
    assert!(events < 100, "{events}");
}

#[tokio::test]
async fn ends_with_the_session_and_the_service() {
    let house = House::open().await;
    let (alice, bob) = (house.login("alice").await, house.login("bob").await);
    let mut hers = Feed::open(&house, &alice).await;
    let mut his = Feed::open(&house, &bob).await;
    hers.event().await;
    his.event().await;
    house.post(&alice, "/auth/logout", b"").await;
    let end = timeout(Duration::from_secs(5), hers.line("data:")).await.unwrap();
    assert_eq!(end, None);
    assert!(timeout(Duration::from_millis(200), his.line("data:")).await.is_err());
    house.service.stop();
    let end = timeout(Duration::from_secs(5), his.line("data:")).await.unwrap();
    assert_eq!(end, None);
}

#[tokio::test]
async fn so_many_and_no_more() {
    let house = House::open().await;
    let (alice, bob) = (house.login("alice").await, house.login("bob").await);
    let mut feeds = Vec::new();
    for _ in 0..api::limits::LISTENERS_OF_ACCOUNT {
        let mut feed = Feed::open(&house, &alice).await;
        feed.event().await;
        feeds.push(feed);
    }
    let refused = house.get(&alice, "/events").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("30")));
    Feed::open(&house, &bob).await.event().await;
    // A place that is left is free again, once the server has noticed.
    feeds.pop();
    let begin = Instant::now();
    loop {
        house.deliver(house.alice, "Subject: x\n\nx\n").await;
        let mut feed = Feed::open(&house, &alice).await;
        if feed.line("HTTP/1.1 ").await.unwrap() == "200 OK" {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
