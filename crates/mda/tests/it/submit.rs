//! Letters of our own users: at once into mailboxes, or durably into a real queue.

use crate::World;
use mda::{Config, Local, Login, Mda, Objection, Outgoing, Refusal, Sent, Submission};
use queue::{Outcome, Progress, Queue, Transport as _};
use std::sync::Arc;
use std::time::Duration;
use storage::{Amount, Store};
use tempfile::TempDir;
use tokio::sync::watch;
use types::{ManualClock, UidSet};

const NOW: i64 = 1_795_370_400;
const LETTER: &str = "From: alice@example.test\r\nSubject: x\r\n\r\nhello\r\n";

struct Sender {
    world: World,
    mda: Arc<Mda>,
    queue: Queue,
    clock: Arc<ManualClock>,
    _folder: TempDir,
}

impl Sender {
    async fn new() -> Self {
        Self::with(Outgoing::default()).await
    }

    async fn with(outgoing: Outgoing) -> Self {
        let world = World::new().await;
        let clock = Arc::new(ManualClock::at_unix_s(NOW));
        let config = Config {
            hostname: "mx.example.test".to_owned(),
            domains: vec!["example.test".to_owned()],
            outgoing,
            ..Config::default()
        };
        let mda = Mda::new(world.store.clone(), config, clock.clone());
        let folder = TempDir::new().unwrap();
        let postmaster = "postmaster@example.test".parse().unwrap();
        let options = queue::Options::in_folder(folder.path(), "mx.example.test", postmaster);
        let queue = Queue::open(options, clock.clone()).unwrap();
        mda.with_queue(queue.clone());
        Self { world, mda, queue, clock, _folder: folder }
    }

    async fn submission(&self, recipients: &[&str]) -> Submission {
        let key = "alice@example.test".to_owned();
        let account = self.store().account_by_key(&key).await.unwrap().unwrap().id;
        let recipient = |address: &&str| queue::Recipient::plain(address.parse().unwrap());
        Submission {
            envelope: queue::Envelope {
                sender: Some(key.parse().unwrap()),
                recipients: recipients.iter().map(recipient).collect(),
                body: queue::Body::EightBit,
                utf8: false,
                require_tls: false,
                ret: None,
                envelope_id: None,
                account: None,
                release_unix_s: None,
            },
            login: Login { account, key },
            client_ip: "192.0.2.7".parse().unwrap(),
            helo: "laptop".to_owned(),
            protocol: "ESMTPSA",
            id: "4K7Q".to_owned(),
        }
    }

    fn store(&self) -> &Store {
        &self.world.store
    }

    async fn submit(&self, recipients: &[&str]) -> Result<Sent, Objection> {
        self.mda.submit(self.submission(recipients).await, LETTER.into()).await
    }

    /// The letters in an inbox.
    async fn inbox(&self, name: &str) -> Vec<String> {
        let key = format!("{name}@example.test");
        let account = self.store().account_by_key(&key).await.unwrap().unwrap().id;
        let inbox = self.store().mailbox_by_name(account, "INBOX").await.unwrap();
        let messages = self.store().messages(account, inbox.id, &UidSet::all()).await.unwrap();
        let ids: Vec<_> = messages.iter().map(|m| m.email).collect();
        let mut letters = Vec::new();
        for email in self.store().emails(account, &ids).await.unwrap() {
            let bytes = self.store().bytes(&email).await.unwrap();
            letters.push(String::from_utf8(bytes.to_vec()).unwrap());
        }
        letters
    }

    /// Lets the queue deliver what is for us.
    fn start(&self) -> watch::Sender<bool> {
        let (stop, shutdown) = watch::channel(false);
        drop(self.queue.start(Arc::new(Local::new(self.mda.clone())), shutdown));
        stop
    }

    async fn until_empty(&self) {
        for _ in 0..500 {
            if self.queue.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(self.queue.is_empty(), "still waiting: {:?}", self.queue.list(None, 0, 10));
    }
}

#[tokio::test]
async fn all_here_is_at_once() {
    let sender = Sender::new().await;
    let sent = sender.submit(&["bob@example.test", "alice+copy@example.test"]).await;
    assert_eq!(sent, Ok(Sent::Delivered));
    assert!(sender.queue.is_empty());
    let letters = sender.inbox("bob").await;
    assert_eq!(letters.len(), 1);
    let start = "Return-Path: <alice@example.test>\r\nX-Spam-Status: No";
    assert!(letters[0].starts_with(start), "{}", letters[0]);
    assert_eq!(letters[0].matches("\r\nReceived: from laptop ([192.0.2.7])").count(), 1);
    assert_eq!(letters[0].matches("Received:").count(), 1);
    assert_eq!(letters[0].matches("\r\nMessage-ID: <4K7Q.").count(), 1);
    assert!(letters[0].contains("\r\nDate: Sun, 22 Nov 2026 18:00:00 +0000\r\n"));
    assert!(letters[0].ends_with(LETTER));
    assert_eq!(sender.inbox("alice").await.len(), 1);
}

#[tokio::test]
async fn one_elsewhere_is_all_in_the_queue() {
    let sender = Sender::new().await;
    assert_eq!(sender.submit(&["bob@example.test", "x@far.test"]).await, Ok(Sent::Queued));
    assert!(sender.inbox("bob").await.is_empty());
    let (entry, letter) = sender.queue.show("4K7Q").unwrap();
    let to: Vec<String> = entry.envelope.recipients.iter().map(|r| r.address.to_string()).collect();
    assert_eq!(to, ["bob@example.test", "x@far.test"]);
    let account = sender.submission(&[]).await.login.account;
    assert_eq!(entry.envelope.account, Some(account));
    let letter = String::from_utf8(letter.to_vec()).unwrap();
    // Nothing of a mailbox is in a letter that leaves.
    assert!(letter.starts_with("Received: from laptop"), "{letter}");
    assert!(letter.ends_with(LETTER) && !letter.contains("Return-Path"), "{letter}");
}

#[tokio::test]
async fn a_report_of_success_goes_through_the_queue() {
    let sender = Sender::new().await;
    let mut submission = sender.submission(&["bob@example.test"]).await;
    submission.envelope.recipients[0].notify =
        queue::Notify { success: true, ..queue::Notify::NEVER };
    assert_eq!(sender.mda.submit(submission, LETTER.into()).await, Ok(Sent::Queued));
    let stop = sender.start();
    sender.until_empty().await;
    let letters = sender.inbox("bob").await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].matches("Received:").count(), 1);
    let reports = sender.inbox("alice").await;
    assert_eq!(reports.len(), 1, "one report");
    assert!(reports[0].starts_with("Return-Path: <>"), "{}", reports[0]);
    assert!(reports[0].contains("Action: delivered"), "{}", reports[0]);
    stop.send_replace(true);
}

#[tokio::test]
async fn held_letters_wait_and_can_be_taken_back() {
    let sender = Sender::new().await;
    let stop = sender.start();
    let hold = async |id: &str| {
        let mut submission = sender.submission(&["bob@example.test"]).await;
        submission.envelope.release_unix_s = Some(NOW + 60);
        submission.id = id.to_owned();
        sender.mda.submit(submission, LETTER.into()).await
    };
    assert_eq!(hold("A").await, Ok(Sent::Held { release_unix_s: NOW + 60 }));
    assert_eq!(hold("B").await, Ok(Sent::Held { release_unix_s: NOW + 60 }));
    let alice = sender.submission(&[]).await.login.account;
    let bob = sender.store().account_by_key("bob@example.test").await.unwrap().unwrap().id;
    assert!(sender.mda.cancel("A", bob).await.is_err(), "it is not bob's");
    sender.mda.cancel("A", alice).await.unwrap();
    assert!(sender.mda.cancel("A", alice).await.is_err(), "it is gone");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(sender.inbox("bob").await.is_empty(), "it is not time");
    sender.clock.advance_ms(61_000);
    sender.until_empty().await;
    assert_eq!(sender.inbox("bob").await.len(), 1);
    // A time that has passed is no reason to wait.
    assert_eq!(hold("C").await, Ok(Sent::Delivered));
    stop.send_replace(true);
}

#[tokio::test]
async fn what_is_not_taken_is_nowhere() {
    let sender = Sender::new().await;
    let with = async |letter: &str, to: &str| {
        let submission = sender.submission(&["bob@example.test", to]).await;
        sender.mda.submit(submission, letter.to_owned().into()).await.unwrap_err()
    };
    let foreign = LETTER.replace("alice", "bob");
    let spam = format!("{LETTER}{}\r\n", mda::TEST_STRING);
    let here = "alice@example.test";
    assert!(matches!(with(&foreign, here).await, Objection::NotYours { .. }));
    assert!(matches!(with(&foreign, "x@far.test").await, Objection::NotYours { .. }));
    assert_eq!(with("\r\nhello", here).await, Objection::BrokenHeader);
    assert_eq!(with("Subject: x\r\n\r\n", here).await, Objection::NoAuthor);
    assert_eq!(with(&spam, here).await, Objection::Refused(Refusal::Unwanted));
    let large = format!("{foreign}{}", "0123456789\r\n".repeat(50_000));
    assert!(matches!(with(&large, here).await, Objection::NotYours { .. }));
    assert!(sender.queue.is_empty());
    assert!(sender.inbox("bob").await.is_empty() && sender.inbox("alice").await.is_empty());
}

#[tokio::test]
async fn who_cannot_have_it_now_gets_it_from_the_queue() {
    let sender = Sender::new().await;
    let bob = sender.store().account_by_key("bob@example.test").await.unwrap().unwrap().id;
    let limit = |messages| Amount { size_bytes: 0, messages };
    let to = ["bob@example.test", "alice@example.test"];
    assert_eq!(sender.submit(&to).await, Ok(Sent::Delivered));
    sender.store().set_quota(bob, limit(1)).await.unwrap();
    assert_eq!(sender.submit(&to).await, Ok(Sent::Queued));
    assert_eq!(sender.inbox("alice").await.len(), 2, "not twice for one letter");
    let entry = sender.queue.list(None, 0, 10).unwrap().remove(0);
    assert_eq!(entry.envelope.recipients.len(), 1);
    assert!(matches!(entry.recipients[..], [Progress::Waiting { attempts: 0, .. }]));
    // Nobody else has it: then the sender hears it at once.
    let alone = sender.submit(&["bob@example.test"]).await;
    assert_eq!(alone, Err(Objection::Refused(Refusal::MailboxFull)));
    let stop = sender.start();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(sender.queue.len(), 1, "it is tried again");
    sender.store().set_quota(bob, limit(0)).await.unwrap();
    sender.queue.retry(None).await.unwrap();
    sender.until_empty().await;
    assert_eq!(sender.inbox("bob").await.len(), 2);
    stop.send_replace(true);
}

#[tokio::test]
async fn rates() {
    let outgoing = Outgoing { letters_per_hour: 2, recipients_per_day: 3, ..Outgoing::default() };
    let sender = Sender::with(outgoing).await;
    let bad = LETTER.replace("From", "Form");
    let submission = sender.submission(&["bob@example.test"]).await;
    // What was refused does not count.
    for _ in 0..5 {
        assert!(sender.mda.submit(submission.clone(), bad.clone().into()).await.is_err());
    }
    let twice = ["bob@example.test", "x@far.test"];
    assert_eq!(sender.submit(&twice).await, Ok(Sent::Queued));
    let full = sender.submit(&twice).await.unwrap_err().to_string();
    assert!(full.starts_with("you may write to 3 recipients in one day, and have"), "{full}");
    assert_eq!(sender.submit(&["bob@example.test"]).await, Ok(Sent::Delivered));
    let full = sender.submit(&["bob@example.test"]).await.unwrap_err().to_string();
    assert!(full.starts_with("you may send 2 letters in one hour, and have"), "{full}");
    sender.clock.advance_ms(25 * 3600 * 1000);
    assert_eq!(sender.submit(&twice).await, Ok(Sent::Queued));
}

#[tokio::test]
async fn without_a_queue() {
    let world = World::new().await;
    let account = world.store.account_by_key("alice@example.test").await.unwrap().unwrap().id;
    let sender = Sender::new().await;
    let mut submission = sender.submission(&["bob@example.test"]).await;
    submission.login.account = account;
    assert_eq!(world.mda.submit(submission.clone(), LETTER.into()).await, Ok(Sent::Delivered));
    submission.envelope.recipients[0].address = "x@far.test".parse().unwrap();
    let refused = world.mda.submit(submission, LETTER.into()).await;
    assert_eq!(refused, Err(Objection::Refused(Refusal::OtherDomain)));
    assert!(!world.mda.has_queue());
}

/// The server ends after the mailboxes have the letter and before the queue knows: nobody gets it twice.
#[tokio::test]
async fn a_letter_from_before_the_start_is_not_delivered_twice() {
    let sender = Sender::new().await;
    sender.store().put_alias("all@example.test", &ALL.map(str::to_owned)).await.unwrap();
    let mut submission = sender.submission(&["all@example.test", "bob@example.test"]).await;
    submission.envelope.release_unix_s = Some(NOW + 60);
    assert!(sender.mda.submit(submission.clone(), LETTER.into()).await.is_ok());
    let (entry, letter) = sender.queue.show("4K7Q").unwrap();
    let local = Local::new(sender.mda.clone());
    let attempt = |from_before, recipients: &[usize]| queue::Attempt {
        id: "4K7Q".to_owned(),
        route: queue::Route(queue::Route::LOCAL.into()),
        from_before,
        envelope: Arc::new(entry.envelope.clone()),
        recipients: recipients.to_vec(),
        letter: letter.clone(),
    };
    let tried = async |attempt| {
        let outcomes = local.attempt(attempt).await;
        assert!(outcomes.iter().all(|o| matches!(o, Outcome::Delivered(_))), "{outcomes:?}");
        (sender.inbox("alice").await.len(), sender.inbox("bob").await.len())
    };
    assert_eq!(tried(attempt(true, &[0])).await, (1, 1));
    assert_eq!(tried(attempt(true, &[0, 1])).await, (1, 1));
    assert_eq!(tried(attempt(false, &[1])).await, (1, 2), "only what may be there is looked for");
    // The same letter, sent once more, is another one.
    submission.id = "4K7R".to_owned();
    submission.envelope.release_unix_s = None;
    assert_eq!(sender.mda.submit(submission, LETTER.into()).await, Ok(Sent::Delivered));
    assert_eq!(sender.inbox("alice").await.len(), 2);
}

const ALL: [&str; 2] = ["alice@example.test", "bob@example.test"];
