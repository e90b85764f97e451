//! Questions over the socket.

use crate::world::{START_UNIX_S, World, letter, text};
use queue::control::{Request, Response, ShownProgress, ask};
use std::path::Path;
use tokio::sync::watch;

async fn asked(folder: &Path, request: Request) -> Option<Response> {
    let folder = folder.to_owned();
    tokio::task::spawn_blocking(move || ask(&folder, &request)).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_looks_and_acts() {
    // Deeper than a socket address is long.
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("d".repeat(120)).join("queue");
    assert_eq!(asked(&deep, Request::Retry { id: None }).await, None);
    let world = World::open(&deep);
    let (stop, shutdown) = watch::channel(false);
    let serving = world.queue.serve_control(shutdown).unwrap();
    let mut held = letter("a@example.test", &["b@else.test"]);
    held.release_unix_s = Some(START_UNIX_S + 1000);
    for id in ["A1", "A2", "A3"] {
        world.accept(id, held.clone(), text(1)).await;
    }
    let Some(Response::Letters { waiting: 3, letters }) =
        asked(&deep, Request::List { skip: 1, most: 1 }).await
    else {
        panic!("no list")
    };
    assert_eq!((letters.len(), letters[0].id.as_str()), (1, "A2"));
    assert_eq!(letters[0].recipients[0].address, "b@else.test");
    assert!(matches!(
        letters[0].recipients[0].progress,
        ShownProgress::Waiting { attempts: 0, .. }
    ));
    let shown = asked(&deep, Request::Show { id: "A1".to_owned() }).await;
    assert!(matches!(&shown, Some(Response::Letter { text, .. }) if text.contains("Subject: 1")));
    let gone = asked(&deep, Request::Cancel { id: "A3".to_owned() }).await;
    assert_eq!(gone, Some(Response::Done { count: 1 }));
    let again = asked(&deep, Request::Cancel { id: "A3".to_owned() }).await;
    assert!(
        matches!(&again, Some(Response::Failed { message }) if message.contains("no such letter"))
    );
    let one = asked(&deep, Request::Retry { id: Some("A1".to_owned()) }).await;
    assert_eq!(one, Some(Response::Done { count: 1 }));
    world.until(|w| w.queue.len() == 1).await;
    asked(&deep, Request::Retry { id: None }).await.unwrap();
    world.until(|w| w.queue.is_empty()).await;
    stop.send(true).unwrap();
    serving.await.unwrap();
    world.close().await;
    assert_eq!(asked(&deep, Request::Retry { id: None }).await, None);
}
