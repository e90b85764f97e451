//! LMTP as RFC 2033 has it: one answer for each recipient, after the commit.

use crate::world::{World, without_trace};
use smtp::Kind::Lmtp;

const LHLO: &str = "S: 220 mx.example.test LMTP OpenPoczta
    C: LHLO client.example.test
    S: 250-mx.example.test
    S: 250-8BITMIME
    S: 250-BINARYMIME
    S: 250-CHUNKING
    S: 250-ENHANCEDSTATUSCODES
    S: 250-LIMITS RCPTMAX=*
    S: 250-PIPELINING
    S: 250-SIZE *
    S: 250 SMTPUTF8";

/// The example of RFC 2033 §4.2, with our people.
#[tokio::test]
async fn one_answer_for_each_recipient() {
    let world = World::new().await;
    let script = r"
        C: MAIL FROM:<chris@bar.test>
        S: 250 2.1.0 *
        C: RCPT TO:<alice+x@example.test>
        S: 250 2.1.5 *
        C: RCPT TO:<jones@example.test>
        S: 550 5.1.1 *
        C: RCPT TO:<bob@example.test>
        S: 250 2.1.5 *
        C: RCPT TO:<alice@example.test>
        S: 250 2.1.5 *
        C: DATA
        S: 354 *
        C: Blah blah blah...
        C: etc. etc. etc.
        C: .
        S: 250 2.1.5 <alice+x@example.test> * delivered
        S: 250 2.1.5 <bob@example.test> * delivered
        S: 250 2.1.5 <alice@example.test> * delivered
        C: QUIT
        S: 221 2.0.0 *";
    world.talk(Lmtp, &format!("{LHLO}{script}")).await;
    for name in ["alice", "bob"] {
        let letters = world.inbox(name).await;
        assert_eq!(letters.len(), 1, "{name}");
        assert!(letters[0].contains(" with LMTP id "), "{}", letters[0]);
        assert_eq!(without_trace(&letters[0]), "Blah blah blah...\r\netc. etc. etc.\r\n");
    }
}

#[tokio::test]
async fn as_postfix_pipelines() {
    let world = World::new().await;
    let script = r"
        C| MAIL FROM:<a@b.test> SIZE=30\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<ghost@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n
        S: 250 2.1.0 *
        S: 250 2.1.5 *
        S: 550 5.1.1 *
        S: 250 2.1.5 *
        S: 354 *
        C| Subject: one\r\n\r\n1\r\n.\r\nRSET\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n
        S: 250 2.1.5 <alice@example.test> *
        S: 250 2.1.5 <bob@example.test> *
        S: 250 2.0.0 *
        S: 250 2.1.0 *
        S: 250 2.1.5 *
        S: 354 *
        C| Subject: two\r\n\r\n2\r\n.\r\nQUIT\r\n
        S: 250 2.1.5 <bob@example.test> *
        S: 221 *";
    world.talk(Lmtp, &format!("{LHLO}{script}")).await;
    assert_eq!(
        world.bodies("bob").await,
        ["Subject: one\r\n\r\n1\r\n", "Subject: two\r\n\r\n2\r\n"]
    );
}

#[tokio::test]
async fn refusals_also_come_for_each_recipient() {
    let mut world = World::choosy().await;
    world.limits.message_bytes = 2000;
    let begin = r"
        C: MAIL FROM:<a@b.test>
        S: 250 *
        C: RCPT TO:<alice@example.test>
        S: 250 *
        C: RCPT TO:<bob@example.test>
        S: 250 *
        C: DATA
        S: 354 *";
    let mut client = world.connect(Lmtp);
    client.steps(LHLO).await;
    client.steps(begin).await;
    client.send("0123456789\r\n".repeat(200) + ".\r\n").await;
    client.steps("S: 552 5.3.4 *\nS: 552 5.3.4 *").await;
    client.steps(begin).await;
    client.send("Received: by x; y\r\n".repeat(51) + "\r\nx\r\n.\r\n").await;
    client.steps("S: 554 5.4.6 <alice@example.test> *\nS: 554 5.4.6 <bob@example.test> *").await;
    client.steps(begin).await;
    client
        .play(
            "C| From: a@b.test\\r\\n\\r\\nok\\r\\n.\\r\\nQUIT\\r\\n\nS: 250 *\nS: 250 *\nS: 221 *",
        )
        .await;
    assert_eq!(world.bodies("alice").await, ["From: a@b.test\r\n\r\nok\r\n"]);
}

/// The server in front would bounce it to whomever it names as the sender (the same on SMTP: `mx`).
#[tokio::test]
async fn what_smtp_refuses_goes_to_junk() {
    let world = World::choosy().await;
    let script = format!(
        "{LHLO}
        C: MAIL FROM:<a@b.test>
        S: 250 *
        C: RCPT TO:<alice@example.test>
        S: 250 *
        C: RCPT TO:<bob@example.test>
        S: 250 *
        C: DATA
        S: 354 *
        C: Subject: x
        C: 
        C: {}
        C: .
        S: 250 2.1.5 <alice@example.test> *
        S: 250 2.1.5 <bob@example.test> *
        C: QUIT
        S: 221 *",
        mda::TEST_STRING
    );
    world.talk(Lmtp, &script).await;
    for name in ["alice", "bob"] {
        assert!(world.inbox(name).await.is_empty());
        let junk = world.letters(name, types::SpecialUse::Junk).await;
        assert!(junk[0].contains("\r\nX-Spam-Status: Yes, "), "{}", junk[0]);
    }
}

#[tokio::test]
async fn other_dialects_are_refused() {
    let world = World::new().await;
    world
        .talk(
            Lmtp,
            "S: 220 *
             C: HELO x
             S: 500 5.5.1 *
             C: EHLO x
             S: 500 5.5.1 *
             C: MAIL FROM:<a@b.test>
             S: 503 5.5.1 *
             C: QUIT
             S: 221 *",
        )
        .await;
}

#[tokio::test]
async fn a_store_that_is_closed_is_a_temporary_failure() {
    let world = World::new().await;
    let mut client = world.connect(Lmtp);
    client.steps(LHLO).await;
    client
        .steps(
            "C: MAIL FROM:<a@b.test>
             S: 250 *
             C: RCPT TO:<alice@example.test>
             S: 250 *
             C: RCPT TO:<bob@example.test>
             S: 250 *
             C: DATA
             S: 354 *",
        )
        .await;
    world.store.close().await;
    client
        .play(
            "C: x
             C: .
             S: 451 4.3.0 <alice@example.test> *
             S: 451 4.3.0 <bob@example.test> *
             C: QUIT
             S: 221 *",
        )
        .await;
}

#[tokio::test]
async fn two_letters_with_one_message_id_are_two_letters() {
    let world = World::new().await;
    let letter = |body: &str| {
        format!(
            "C: MAIL FROM:<a@b.test>\nS: 250 *\nC: RCPT TO:<alice@example.test>\nS: 250 *\n\
             C: DATA\nS: 354 *\nC: Message-ID: <same@b.test>\nC: \nC: {body}\nC: .\nS: 250 *\n"
        )
    };
    let script = format!("{LHLO}\n{}{}C: QUIT\nS: 221 *", letter("one"), letter("two"));
    world.talk(Lmtp, &script).await;
    let bodies = world.bodies("alice").await;
    assert_eq!(bodies.len(), 2);
    assert!(bodies[0].ends_with("one\r\n") && bodies[1].ends_with("two\r\n"));
}

#[tokio::test]
async fn a_full_mailbox_does_not_hinder_the_others() {
    let world = World::new().await;
    let alice = world.store.account_by_key("alice@example.test").await.unwrap().unwrap().id;
    let to_both = |alice: &str, rest: &str| {
        format!(
            "
        C: MAIL FROM:<chris@bar.test>
        S: 250 2.1.0 *
        C: RCPT TO:<alice@example.test>
        S: {alice}
        C: RCPT TO:<bob@example.test>
        S: 250 2.1.5 *
        C: DATA
        S: 354 *
        C: {}
        C: .{rest}
        S: 250 2.1.5 <bob@example.test> * delivered",
            "x".repeat(900)
        )
    };
    let limit = |size_bytes, messages| storage::Amount { size_bytes, messages };
    // It would not fit, which is seen when it is here.
    world.store.set_quota(alice, limit(900, 0)).await.unwrap();
    let after = "\n        S: 452 4.2.2 <alice@example.test> the mailbox is full *";
    world.talk(Lmtp, &format!("{LHLO}{}", to_both("250 2.1.5 *", after))).await;
    // Nothing fits, which is seen before.
    world.store.set_quota(alice, limit(0, 1)).await.unwrap();
    world
        .talk(
            Lmtp,
            &format!(
                "{LHLO}{}",
                to_both("250 2.1.5 *", "\n        S: 250 2.1.5 <alice@example.test> * delivered")
            ),
        )
        .await;
    world.talk(Lmtp, &format!("{LHLO}{}", to_both("452 4.2.2 *", ""))).await;
    assert_eq!((world.inbox("alice").await.len(), world.inbox("bob").await.len()), (1, 3));
}

/// The sender says how large the letter is: who has no room is told at RCPT, the others get it once (RFC 1870 §6.1).
#[tokio::test]
async fn a_mailbox_too_full_for_the_size_is_refused_at_rcpt() {
    let world = World::new().await;
    let alice = world.store.account_by_key("alice@example.test").await.unwrap().unwrap().id;
    let limit = storage::Amount { size_bytes: 900, messages: 0 };
    world.store.set_quota(alice, limit).await.unwrap();
    let letter = |size: u32, alice: &str| {
        format!(
            "
        C: MAIL FROM:<a@b.test> SIZE={size}
        S: 250 *
        C: RCPT TO:<bob@example.test>
        S: 250 *
        C: RCPT TO:<alice@example.test>
        S: {alice}
        C: RSET
        S: 250 *"
        )
    };
    let (fits, too_large) = (letter(900, "250 2.1.5 *"), letter(901, "452 4.2.2 *"));
    world
        .talk(
            smtp::Kind::Smtp,
            &format!(
                "\n        S: 220 *\n        C: HELO c.test\n        S: 250 *{fits}{too_large}"
            ),
        )
        .await;
}

/// The server in front leaves the report to us: we know what became of the letter (RFC 3461 §5.2.3).
#[tokio::test]
async fn a_success_is_reported_to_who_asked() {
    let mut world = World::choosy().await;
    let queue = world.with_queue();
    let mut client = world.connect(Lmtp);
    client.steps("S: 220 *\nC: LHLO front.test").await;
    let mut told = Vec::new();
    loop {
        let line = client.line().await;
        told.push(line[4..].trim_end().to_owned());
        if line.starts_with("250 ") {
            break;
        }
    }
    assert!(told.iter().any(|line| line == "DSN"), "{told:?}");
    let spam = format!("C: {}\nC: .", mda::TEST_STRING);
    client
        .play(&format!(
            "C: MAIL FROM:<a@b.test> RET=HDRS ENVID=QQ+2B1
             S: 250 *
             C: RCPT TO:<alice@example.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;old@b.test
             S: 250 *
             C: RCPT TO:<bob@example.test> NOTIFY=FAILURE
             S: 250 *
             C: DATA
             S: 354 *
             C: From: a@b.test
             C: Subject: hello
             C: 
             C: secret words
             C: .
             S: 250 2.1.5 <alice@example.test> *
             S: 250 2.1.5 <bob@example.test> *
             C: MAIL FROM:<a@b.test>
             S: 250 *
             C: RCPT TO:<bob@example.test> NOTIFY=SUCCESS
             S: 250 *
             C: DATA
             S: 354 *
             {spam}
             S: 250 *
             C: MAIL FROM:<>
             S: 250 *
             C: RCPT TO:<bob@example.test> NOTIFY=SUCCESS
             S: 250 *
             C: DATA
             S: 354 *
             C: .
             S: 250 *
             C: QUIT
             S: 221 *"
        ))
        .await;
    let reports = queue.list(None, 0, 10).unwrap();
    assert_eq!(reports.len(), 1, "Junk and the null sender are told nothing");
    let (entry, report) = queue.show(&reports[0].id).unwrap();
    assert_eq!(entry.envelope.sender, None);
    let report = String::from_utf8_lossy(&report).into_owned();
    for line in [
        "To: <a@b.test>",
        "Original-Envelope-Id: QQ+1",
        "Original-Recipient: rfc822; old@b.test",
        "Final-Recipient: rfc822; alice@example.test",
        "Action: delivered",
        "Status: 2.",
    ] {
        assert!(report.contains(line), "{line}: {report}");
    }
    assert!(!report.contains("bob@") && !report.contains("secret words"), "{report}");
    queue.close().await;
}

/// Who forwards a letter cannot know its end, and says so (RFC 3461 §5.2.2).
#[tokio::test]
async fn a_letter_that_is_forwarded_is_reported_as_handed_on() {
    let mut world = World::new().await;
    let queue = world.with_queue();
    world.store.put_alias("away@example.test", &["x@else.test".to_owned()]).await.unwrap();
    let mut client = world.connect(Lmtp);
    client.steps("S: 220 *\nC: LHLO front.test").await;
    while client.line().await.starts_with("250-") {}
    client
        .play(
            "C: MAIL FROM:<a@b.test>
             S: 250 *
             C: RCPT TO:<away@example.test> NOTIFY=SUCCESS
             S: 250 *
             C: DATA
             S: 354 *
             C: From: a@b.test
             C: .
             S: 250 2.1.5 <away@example.test> *
             C: QUIT
             S: 221 *",
        )
        .await;
    let waiting = queue.list(None, 0, 10).unwrap();
    let to = |entry: &queue::Entry| entry.envelope.recipients[0].address.to_string();
    assert_eq!(waiting.len(), 2);
    let report = waiting.iter().find(|entry| to(entry) == "a@b.test").unwrap();
    let (_, report) = queue.show(&report.id).unwrap();
    let report = String::from_utf8_lossy(&report).into_owned();
    assert!(report.contains("Final-Recipient: rfc822; away@example.test"), "{report}");
    assert!(report.contains("Action: relayed") && !report.contains("x@else.test"), "{report}");
    queue.close().await;
}
