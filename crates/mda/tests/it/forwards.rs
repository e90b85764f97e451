//! What leaves again, with a real queue and another server that is played.

use crate::{LETTER, World};
use bytes::Bytes;
use mda::{Delivered, Local, Refusal};
use queue::{Answer, Attempt, Outcome, Progress, Queue, Route, Transport, Trying};
use std::sync::{Arc, Mutex};
use storage::Amount;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use types::{Address, ManualClock};

/// Our own domains into mailboxes, all others to a server that takes letters, or never does.
struct Net {
    local: Local,
    refuses: bool,
    /// Sender, recipients, letter.
    got: Mutex<Vec<(String, String, Bytes)>>,
}

impl Transport for Net {
    fn route(&self, address: &Address) -> Route {
        let is_ours = ["example.test", "old.test"].contains(&address.domain());
        Route(if is_ours { Route::LOCAL } else { address.domain() }.into())
    }

    fn attempt(&self, attempt: Attempt) -> Trying<'_> {
        if &*attempt.route.0 == Route::LOCAL {
            return self.local.attempt(attempt);
        }
        let envelope = &attempt.envelope;
        let names: Vec<String> = attempt
            .recipients
            .iter()
            .map(|at| envelope.recipients.get(*at).unwrap().address.to_string())
            .collect();
        let sender = envelope.sender.as_ref().map(ToString::to_string).unwrap_or_default();
        self.got.lock().unwrap().push((sender, names.join(" "), attempt.letter));
        let (code, enhanced) = if self.refuses { (550, "5.1.1") } else { (250, "2.0.0") };
        let answer = Answer {
            code,
            enhanced: enhanced.to_owned(),
            text: "said".to_owned(),
            host: Some("mx.other.test".to_owned()),
            reports: false,
        };
        let outcome =
            if self.refuses { Outcome::Never(answer) } else { Outcome::Delivered(answer) };
        Box::pin(std::future::ready(vec![outcome; names.len()]))
    }
}

struct Far {
    world: World,
    queue: Queue,
    net: Arc<Net>,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
    _folder: TempDir,
}

impl Far {
    async fn new(aliases: &str, refuses: bool) -> Self {
        let (world, folder) = (World::new().await, TempDir::new().unwrap());
        world.aliases(aliases).await;
        let postmaster = "postmaster@example.test".parse().unwrap();
        let options = queue::Options::in_folder(folder.path(), "mx.example.test", postmaster);
        let clock = Arc::new(ManualClock::at_unix_s(1_795_370_400));
        let queue = Queue::open(options, clock).unwrap();
        world.mda.with_queue(queue.clone());
        let local = Local::new(world.mda.clone());
        let net = Arc::new(Net { local, refuses, got: Mutex::default() });
        let (stop, stopping) = watch::channel(false);
        let running = queue.start(net.clone(), stopping);
        Self { world, queue, net, stop, running, _folder: folder }
    }

    async fn deliver(&self, to: &[&str], letter: &str) -> Vec<Result<Delivered, Refusal>> {
        let envelope = self.world.envelope(to).await;
        self.world.mda.deliver(&envelope, letter.to_owned().into()).await
    }

    /// Until nothing waits but what cannot be sent now.
    async fn settle(&self, left: usize) {
        for _ in 0..1000 {
            let waits = |progress: &Progress| match progress {
                Progress::Waiting { attempts, sending, .. } => *attempts > 0 && !sending,
                Progress::Delivered | Progress::Failed => true,
            };
            let entries = self.queue.list(None, 0, 100).unwrap();
            if entries.len() == left && entries.iter().flat_map(|e| &e.recipients).all(waits) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        unreachable!("the queue does not come to rest: {:#?}", self.queue.list(None, 0, 100));
    }

    fn got(&self) -> Vec<(String, String)> {
        let got = self.net.got.lock().unwrap();
        got.iter().map(|(sender, to, _)| (sender.clone(), to.clone())).collect()
    }

    fn letter(&self) -> String {
        String::from_utf8(self.net.got.lock().unwrap().last().unwrap().2.to_vec()).unwrap()
    }

    async fn end(self) {
        self.stop.send(true).unwrap();
        self.running.await.unwrap();
        self.queue.close().await;
    }
}

fn sent(sender: &str, to: &str) -> (String, String) {
    (sender.to_owned(), to.to_owned())
}

const INBOX: Result<Delivered, Refusal> = Ok(Delivered::Inbox);
const GONE: Result<Delivered, Refusal> = Ok(Delivered::Forwarded);

#[tokio::test]
async fn a_copy_stays_and_one_leaves_in_the_name_of_the_alias() {
    let far = Far::new("sales = alice, x@other.test, y@other.test", false).await;
    assert_eq!(far.deliver(&["Sales+a@example.test"], LETTER).await, [INBOX]);
    assert_eq!(far.world.count("alice@example.test", "INBOX").await, 1);
    far.settle(0).await;
    assert_eq!(far.got(), [sent("Sales+a@example.test", "x@other.test y@other.test")]);
    let letter = far.letter();
    assert!(letter.starts_with("Delivered-To: Sales+a@example.test\r\nReceived: from"), "{letter}");
    assert!(
        letter.contains("\tfor <Sales+a@example.test>;") && letter.ends_with(LETTER),
        "{letter}"
    );
    assert!(!letter.contains("Return-Path"), "{letter}");
    far.end().await;
}

#[tokio::test]
async fn each_alias_sends_its_own_copy_and_tells_of_no_other() {
    let far = Far::new("a = x@other.test\nb = y@other.test, x@other.test\nc = bob", false).await;
    let to = ["a@example.test", "alice@example.test", "b@example.test", "c@example.test"];
    assert_eq!(far.deliver(&to, LETTER).await, [GONE, INBOX, GONE, INBOX]);
    far.settle(0).await;
    let mut got = far.got();
    got.sort();
    let expect = [
        sent("a@example.test", "x@other.test"),
        sent("b@example.test", "y@other.test x@other.test"),
    ];
    assert_eq!(got, expect);
    for (_, _, letter) in far.net.got.lock().unwrap().iter() {
        let letter = String::from_utf8(letter.to_vec()).unwrap();
        assert!(letter.contains("for <a@") != letter.contains("for <b@"), "{letter}");
    }
    far.end().await;
}

#[tokio::test]
async fn nobody_stays_nobody() {
    let far = Far::new("a = x@other.test", false).await;
    let mut envelope = (*far.world.envelope(&["a@example.test"]).await).clone();
    envelope.sender = None;
    assert_eq!(far.world.mda.deliver(&envelope.into(), LETTER.into()).await, [GONE]);
    far.settle(0).await;
    assert_eq!(far.got(), [sent("", "x@other.test")]);
    far.end().await;
}

#[tokio::test]
async fn what_comes_back_is_refused_for_who_sent_it_on() {
    let far = Far::new("a = bob, x@other.test\nb = x@other.test", false).await;
    assert_eq!(far.deliver(&["a@example.test"], LETTER).await, [INBOX]);
    far.settle(0).await;
    let back = format!("Received: from x by y; now\r\n{}", far.letter());
    let to = ["a@example.test", "b@example.test", "alice@example.test"];
    assert_eq!(far.deliver(&to, &back).await, [Err(Refusal::Loop), GONE, INBOX]);
    far.settle(0).await;
    assert_eq!(far.got().len(), 2);
    assert_eq!(far.world.count("bob@example.test", "INBOX").await, 1, "he had it already");
    far.end().await;
}

#[tokio::test]
async fn no_queue_no_answer_but_later() {
    let far = Far::new("a = alice, x@other.test", false).await;
    let envelope = far.world.envelope(&["a@example.test", "bob@example.test"]).await;
    far.stop.send(true).unwrap();
    far.running.await.unwrap();
    far.queue.close().await;
    let answers = far.world.mda.deliver(&envelope, LETTER.into()).await;
    assert_eq!(answers, [Err(Refusal::Unavailable), INBOX]);
    // She gets it again when the sender tries again; that is better than nobody elsewhere.
    assert_eq!(far.world.count("alice@example.test", "INBOX").await, 1);
    assert_eq!(far.net.got.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn no_store_and_nothing_leaves() {
    let far = Far::new("a = alice, x@other.test\nb = x@other.test", false).await;
    let to = ["a@example.test", "b@example.test", "bob@example.test"];
    let envelope = far.world.envelope(&to).await;
    far.world.store.close().await;
    let answers = far.world.mda.deliver(&envelope, LETTER.into()).await;
    assert_eq!(answers, [Err(Refusal::Unavailable), GONE, Err(Refusal::Unavailable)]);
    far.settle(0).await;
    assert_eq!(far.got(), [sent("b@example.test", "x@other.test")]);
    far.end().await;
}

#[tokio::test]
async fn a_full_mailbox_of_several_gets_its_copy_later() {
    let far = Far::new("staff = alice, bob\nbob = bob, x@other.test", false).await;
    let id = async |key: &str| far.world.store.account_by_key(key).await.unwrap().unwrap().id;
    let (alice, bob) = (id("alice@example.test").await, id("bob@example.test").await);
    let tiny = Amount { size_bytes: 10, messages: 0 };
    far.world.store.set_quota(alice, tiny).await.unwrap();
    assert_eq!(far.deliver(&["staff@example.test"], LETTER).await, [INBOX]);
    assert_eq!(far.world.count("bob@example.test", "INBOX").await, 1);
    assert_eq!(far.world.count("alice@example.test", "INBOX").await, 0);
    far.settle(1).await;
    let waiting = far.queue.list(None, 0, 10).unwrap().remove(0).envelope;
    assert_eq!(waiting.sender.unwrap().to_string(), "staff@example.test");
    let to: Vec<String> = waiting.recipients.iter().map(|to| to.address.to_string()).collect();
    assert_eq!(to, ["x@other.test", "alice@example.test"]);
    assert_eq!(far.got(), [sent("staff@example.test", "x@other.test")], "and nobody else waits");
    far.world.store.set_quota(alice, Amount::default()).await.unwrap();
    far.queue.retry(None).await.unwrap();
    far.settle(0).await;
    assert_eq!(far.world.count("alice@example.test", "INBOX").await, 1);
    assert_eq!(far.world.count("bob@example.test", "INBOX").await, 1, "nobody gets it twice");
    // bob forwards and keeps a copy: nobody could try for his mailbox alone. The sender waits, and nothing has left.
    far.world.store.set_quota(bob, tiny).await.unwrap();
    let before = far.got().len();
    let full = far.world.mda.recipient(&"bob@example.test".parse().unwrap(), 100).await;
    assert_eq!(full, Err(Refusal::MailboxFull));
    assert_eq!(far.got().len(), before);
    far.end().await;
}

#[tokio::test]
async fn who_forwards_hears_of_failure() {
    let far = Far::new("sales = alice, x@other.test", true).await;
    assert_eq!(far.deliver(&["sales@example.test"], LETTER).await, [INBOX]);
    far.settle(0).await;
    assert_eq!(
        far.world.count("alice@example.test", "INBOX").await,
        2,
        "the letter and the report"
    );
    // The report was sent on too, and ended there.
    assert_eq!(far.got(), [sent("sales@example.test", "x@other.test"), sent("", "x@other.test")]);
    far.end().await;
}

#[tokio::test]
async fn the_postmaster_hears_of_failure_where_nobody_else_would() {
    let far = Far::new("out = x@other.test\npostmaster = bob", true).await;
    assert_eq!(far.deliver(&["out@example.test"], LETTER).await, [GONE]);
    far.settle(0).await;
    assert_eq!(far.world.count("bob@example.test", "INBOX").await, 1);
    // A report from elsewhere is no matter of his.
    let mut envelope = (*far.world.envelope(&["out@example.test"]).await).clone();
    envelope.sender = None;
    assert_eq!(far.world.mda.deliver(&envelope.into(), LETTER.into()).await, [GONE]);
    far.settle(0).await;
    assert_eq!(far.world.count("bob@example.test", "INBOX").await, 1);
    far.end().await;
}
