//! The methods, as a mail program uses them.

use crate::house::{House, Person};
use crate::rows::matches;
use serde_json::{Value, json};
use types::{Flag, FlagChange, Flags, UidSet};

const WELCOME: &str = "\
From: =?utf-8?Q?=C5=81ucja?= <lucja@example.test>
To: Alice <alice@example.test>, \"Bob, B.\" <bob@example.test>
Cc: carol@example.test
Subject: =?utf-8?Q?Za=C5=BC=C3=B3=C5=82=C4=87?=
Date: Sun, 22 Nov 2026 19:00:00 +0100
Message-ID: <one@example.test>
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary=b

--b
Content-Type: text/plain; charset=utf-8

Hello in text
second line
--b
Content-Type: text/html; charset=utf-8

<p>Hello in <b>HTML</b> <img src=\"https://tracker.example.test/1.gif\"></p>
--b--
";

const REPLY: &str = "\
From: alice@example.test
To: lucja@example.test
Subject: Re: =?utf-8?Q?Za=C5=BC=C3=B3=C5=82=C4=87?=
Date: Sun, 22 Nov 2026 20:00:00 +0100
Message-ID: <two@example.test>
In-Reply-To: <one@example.test>
References: <one@example.test>

a reply
";

#[track_caller]
fn check(expect: &Value, got: &Value) {
    matches(expect, got, got);
}

fn ids(found: &Value) -> Vec<&str> {
    let list = found["ids"].as_array().unwrap();
    list.iter().map(|id| id.as_str().unwrap()).collect()
}

#[tokio::test]
async fn mailboxes() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    house.deliver(house.alice, WELCOME).await;
    let got = house.ok(&alice, "Mailbox/get", json!({"ids": null})).await;
    let list = got["list"].as_array().unwrap();
    let roles: Vec<&str> = list.iter().filter_map(|m| m["role"].as_str()).collect();
    for role in ["inbox", "drafts", "sent", "junk", "trash", "archive"] {
        assert!(roles.contains(&role), "{roles:?}");
    }
    let inbox = list.iter().find(|m| m["role"] == "inbox").unwrap();
    check(
        &json!({"name": "INBOX", "parentId": null, "sortOrder": 1, "totalEmails": 1, "unreadEmails": 1,
            "isSubscribed": true, "myRights": {"mayReadItems": true, "mayDelete": false, "maySubmit": false}}),
        inbox,
    );
    let some =
        json!({"ids": [inbox["id"], "m999", "nonsense", inbox["id"]], "properties": ["name"]});
    let got = house.ok(&alice, "Mailbox/get", some).await;
    assert_eq!(got["list"], json!([{"id": inbox["id"], "name": "INBOX"}]));
    assert_eq!(got["notFound"], json!(["m999", "nonsense"]));
}

#[tokio::test]
async fn mailboxes_made_and_removed() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let old = house.ok(&alice, "Mailbox/get", json!({"ids": []})).await["state"].clone();
    let create = json!({"ifInState": old, "create": {
        "b": {"name": "Inner", "parentId": "#a"}, "a": {"name": "Zażółć"},
        "c": {"name": "Lost", "parentId": "#zz"}, "d": {"name": "a/b"}, "e": {"name": "Trash"}, "f": {},
        "g": {"name": "x", "role": "sent"},
    }});
    let set = house.ok(&alice, "Mailbox/set", create).await;
    let (outer, inner) = (&set["created"]["a"]["id"], &set["created"]["b"]["id"]);
    let wrong = |property: &str| json!({"type": "invalidProperties", "properties": [property]});
    check(
        &json!({"c": wrong("parentId"), "d": wrong("name"), "e": wrong("name"), "f": wrong("name"), "g": wrong("role")}),
        &set["notCreated"],
    );
    assert_eq!(set["created"].as_object().unwrap().len(), 2);
    let got = house.ok(&alice, "Mailbox/get", json!({"ids": [inner]})).await;
    check(&json!([{"name": "Inner", "parentId": outer, "role": null}]), &got["list"]);

    let update = json!({"update": {
        inner.as_str().unwrap(): {"name": "Moved", "parentId": null, "isSubscribed": false},
        "m999": {"name": "x"},
    }});
    let set = house.ok(&alice, "Mailbox/set", update).await;
    check(&json!({"m999": {"type": "notFound"}}), &set["notUpdated"]);
    let got = house.ok(&alice, "Mailbox/get", json!({"ids": [inner]})).await;
    check(&json!([{"name": "Moved", "parentId": null, "isSubscribed": false}]), &got["list"]);

    let inbox = house.mailbox(&alice, "inbox").await;
    house.deliver(house.alice, WELCOME).await;
    let destroy = json!({"destroy": [outer, inbox, "m999"]});
    let set = house.ok(&alice, "Mailbox/set", destroy).await;
    assert_eq!(set["destroyed"], json!([outer]));
    check(
        &json!({"m999": {"type": "notFound"}, inbox.as_str(): {"type": "mailboxHasEmail"}}),
        &set["notDestroyed"],
    );
    let destroy = json!({"destroy": [inbox], "onDestroyRemoveEmails": true});
    let set = house.ok(&alice, "Mailbox/set", destroy).await;
    check(&json!({inbox.as_str(): {"type": "forbidden"}}), &set["notDestroyed"]);

    let since = json!({"sinceState": old});
    let changes = house.ok(&alice, "Mailbox/changes", since).await;
    check(
        &json!({"created": [inner], "updated": [inbox], "destroyed": [], "hasMoreChanges": false, "updatedProperties": null}),
        &changes,
    );
}

#[tokio::test]
async fn an_email_with_everything() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let arrived = house.deliver(house.alice, WELCOME).await;
    let inbox = house.mailbox(&alice, "inbox").await;
    let id = format!("e{}", arrived.email);
    let got = house.ok(&alice, "Email/get", json!({"ids": [id, "e999", "x"]})).await;
    assert_eq!(got["notFound"], json!(["e999", "x"]));
    check(
        &json!({
            "id": id, "blobId": format!("b{}", arrived.email), "threadId": format!("t{}", arrived.thread),
            "mailboxIds": {inbox.as_str(): true}, "keywords": {},
            "size": WELCOME.replace('\n', "\r\n").len(),
            "messageId": ["one@example.test"], "inReplyTo": null, "references": null,
            "from": [{"name": "Łucja", "email": "lucja@example.test"}],
            "to": [{"name": "Alice", "email": "alice@example.test"}, {"name": "Bob, B.", "email": "bob@example.test"}],
            "cc": [{"name": null, "email": "carol@example.test"}],
            "bcc": null, "replyTo": null, "sender": null,
            "subject": "Zażółć", "sentAt": "2026-11-22T19:00:00+01:00", "hasAttachment": false,
            "preview": "Hello in text second line", "bodyValues": {},
            "textBody": [{"partId": "1", "type": "text/plain", "charset": "utf-8", "blobId": format!("b{}.1", arrived.email)}],
            "htmlBody": [{"partId": "2", "type": "text/html", "name": null, "disposition": null, "cid": null}],
            "attachments": [],
        }),
        &got["list"][0],
    );
    let received = got["list"][0]["receivedAt"].as_str().unwrap();
    assert!(received.len() == 20 && received.ends_with('Z'), "{received}");
    assert!(got["list"][0].get("bodyStructure").is_none());

    let wanted = json!({"ids": [id], "properties": ["bodyStructure", "headers", "header:Subject:asText",
        "header:to:asAddresses", "header:X-None:asText", "hasRemoteImages"], "bodyProperties": ["partId", "type"]});
    let got = house.ok(&alice, "Email/get", wanted).await;
    let email = &got["list"][0];
    assert_eq!(
        email["bodyStructure"],
        json!({"partId": null, "type": "multipart/alternative", "subParts": [
            {"partId": "1", "type": "text/plain"}, {"partId": "2", "type": "text/html"}]})
    );
    check(
        &json!({"id": id, "header:Subject:asText": "Zażółć", "header:X-None:asText": null, "hasRemoteImages": true,
            "header:to:asAddresses": [{"name": "Alice"}, {"name": "Bob, B."}]}),
        email,
    );
    assert_eq!(
        email["headers"][0],
        json!({"name": "From", "value": " =?utf-8?Q?=C5=81ucja?= <lucja@example.test>"})
    );
    assert_eq!(email.as_object().unwrap().len(), 7);

    let values = json!({"ids": [id], "properties": ["bodyValues"], "fetchTextBodyValues": true});
    let got = house.ok(&alice, "Email/get", values).await;
    check(
        &json!({"1": {"value": "Hello in text\nsecond line", "isTruncated": false, "isEncodingProblem": false}}),
        &got["list"][0]["bodyValues"],
    );
    let values = json!({"ids": [id], "properties": ["bodyValues"], "fetchHTMLBodyValues": true, "maxBodyValueBytes": 8});
    let got = house.ok(&alice, "Email/get", values).await;
    assert_eq!(got["list"][0]["bodyValues"]["2"]["value"], "<p>Hello");
    assert_eq!(got["list"][0]["bodyValues"]["2"]["isTruncated"], true);
}

/// What is not a letter at all is still shown.
#[tokio::test]
async fn broken_letters() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let letters: [&[u8]; 5] = [
        b"",
        b"\r\n",
        b"\xff\xfe\0nonsense",
        b"Subject: =?utf-8?B?????=\r\nContent-Type: multipart/mixed\r\n\r\n--\r\n",
        b"Content-Type: text/plain; charset=nonsense\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!\xff",
    ];
    for letter in letters {
        let arrived = house.deliver_bytes(house.alice, letter.to_vec()).await;
        let id = format!("e{}", arrived.email);
        let names: Vec<String> = [
            "bodyStructure",
            "headers",
            "bodyValues",
            "subject",
            "from",
            "hasRemoteImages",
            "preview",
        ]
        .map(str::to_owned)
        .to_vec();
        let got = house
            .ok(
                &alice,
                "Email/get",
                json!({"ids": [id], "properties": names, "fetchAllBodyValues": true}),
            )
            .await;
        assert_eq!(got["list"].as_array().unwrap().len(), 1);
        assert_eq!(house.get(&alice, &format!("/message/{id}/html")).await.status, 200);
        let blob =
            house.get(&alice, &format!("/blob/{}/b{}/x", alice.account, arrived.email)).await;
        assert_eq!(blob.body, letter);
    }
}

async fn fill(house: &House) -> Vec<String> {
    let mut emails = Vec::new();
    for (n, (from, subject, body)) in [
        ("zoe@example.test", "apple", "red"),
        (
            "adam@example.test",
            "Re: Banana",
            "yellow and long enough to be the largest of all of them",
        ),
        ("mia@example.test", "cherry", "Red"),
    ]
    .into_iter()
    .enumerate()
    {
        let letter = format!(
            "From: {from}\nTo: alice@example.test\nDate: Sun, {} Nov 2026 10:00:00 +0000\nSubject: {subject}\nMessage-ID: <{n}@x>\n\n{body}\n",
            20 - n
        );
        let letter = letter.replace('\n', "\r\n").into_bytes();
        let inbox = house.store.mailbox_by_name(house.alice, "INBOX").await.unwrap().id;
        let time = 1_000_000 + 86_400 * i64::try_from(n).unwrap();
        let letter = storage::Letter::parse(letter.into());
        let arrived = house
            .store
            .append(house.alice, inbox, letter, Flags::default(), Some(time))
            .await
            .unwrap();
        emails.push(format!("e{}", arrived.email));
    }
    emails
}

#[tokio::test]
async fn filters() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let e = fill(&house).await;
    let inbox = house.mailbox(&alice, "inbox").await;
    let trash = house.mailbox(&alice, "trash").await;
    let archive = house.mailbox(&alice, "archive").await;
    // The second is flagged and also in the archive; the third is read.
    let update = json!({"update": {
        &e[1]: {"keywords/$flagged": true, format!("mailboxIds/{archive}"): true},
        &e[2]: {"keywords/$seen": true},
    }});
    let set = house.ok(&alice, "Email/set", update).await;
    assert_eq!(set["notUpdated"], Value::Null);

    let filter = async |filter: Value, expect: &[usize]| {
        query(&house, &alice, &e, json!({"filter": filter}), expect).await
    };
    filter(json!({"inMailbox": inbox}), &[2, 1, 0]).await;
    filter(json!({"inMailbox": archive}), &[1]).await;
    filter(json!({"inMailbox": trash}), &[]).await;
    filter(json!({"inMailbox": "m999"}), &[]).await;
    filter(json!({"inMailbox": "nonsense"}), &[]).await;
    filter(json!({"inMailboxOtherThan": [inbox]}), &[1]).await;
    filter(json!({"inMailboxOtherThan": [archive]}), &[2, 1, 0]).await;
    filter(json!({"inMailbox": inbox, "inMailboxOtherThan": [inbox]}), &[1]).await;
    filter(json!({"hasKeyword": "$flagged"}), &[1]).await;
    filter(json!({"notKeyword": "$Flagged"}), &[2, 0]).await;
    filter(json!({"hasKeyword": "$seen"}), &[2]).await;
    filter(json!({"notKeyword": "$seen", "inMailbox": inbox}), &[1, 0]).await;
    filter(json!({"hasKeyword": "not a keyword"}), &[]).await;
    filter(json!({"from": "ADAM"}), &[1]).await;
    filter(json!({"subject": "an"}), &[1]).await;
    filter(json!({"body": "red"}), &[2, 0]).await;
    filter(json!({"text": "cherry"}), &[2]).await;
    filter(json!({"to": "alice", "from": "mia"}), &[2]).await;
    filter(json!({"header": ["Message-ID", "1@x"]}), &[1]).await;
    filter(json!({"before": "1970-01-12T13:46:40Z"}), &[]).await;
    filter(json!({"before": "1970-01-12T13:46:41Z"}), &[0]).await;
    filter(json!({"after": "1970-01-13T13:46:40Z"}), &[2, 1]).await;
    filter(json!({"minSize": 180}), &[1]).await;
    filter(json!({"maxSize": 180}), &[2, 0]).await;
    filter(json!({"hasAttachment": true}), &[]).await;
    filter(json!({"hasAttachment": false}), &[2, 1, 0]).await;
    let operator =
        |name: &str, conditions: Value| json!({"operator": name, "conditions": conditions});
    filter(operator("OR", json!([{"from": "zoe"}, {"hasKeyword": "$flagged"}])), &[1, 0]).await;
    filter(operator("NOT", json!([{"from": "zoe"}, {"hasKeyword": "$flagged"}])), &[2]).await;
    filter(operator("NOT", json!([{"inMailbox": archive}])), &[2, 0]).await;
    filter(
        operator(
            "AND",
            json!([{"inMailbox": inbox}, operator("NOT", json!([{"inMailbox": archive}]))]),
        ),
        &[2, 0],
    )
    .await;
    filter(operator("AND", json!([])), &[2, 1, 0]).await;
    filter(operator("OR", json!([])), &[]).await;
}

/// Asks, and compares the ids found with those at these places of `e`.
async fn query(
    house: &House,
    person: &Person,
    e: &[String],
    params: Value,
    expect: &[usize],
) -> Value {
    let found = house.ok(person, "Email/query", params.clone()).await;
    let expect: Vec<&str> = expect.iter().map(|n| e[*n].as_str()).collect();
    assert_eq!(ids(&found), expect, "{params}");
    found
}

#[tokio::test]
async fn sorts_and_windows() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let e = fill(&house).await;
    let query =
        async |params: Value, expect: &[usize]| query(&house, &alice, &e, params, expect).await;
    query(json!({}), &[2, 1, 0]).await;
    let sort = async |property: &str, up: bool, expect: &[usize]| {
        query(json!({"sort": [{"property": property, "isAscending": up}]}), expect).await;
    };
    sort("receivedAt", true, &[0, 1, 2]).await;
    sort("sentAt", true, &[2, 1, 0]).await;
    sort("from", true, &[1, 2, 0]).await;
    sort("subject", false, &[2, 1, 0]).await;
    sort("size", false, &[1, 2, 0]).await;
    sort("to", true, &[2, 1, 0]).await;

    let found = query(json!({"position": 1, "limit": 1, "calculateTotal": true}), &[1]).await;
    check(
        &json!({"position": 1, "total": 3, "canCalculateChanges": false, "queryState": "*"}),
        &found,
    );
    assert!(found.get("limit").is_none());
    query(json!({"position": -1}), &[0]).await;
    query(json!({"position": -9}), &[2, 1, 0]).await;
    query(json!({"position": 9}), &[]).await;
    query(json!({"limit": 0}), &[]).await;
    query(json!({"anchor": e[1], "limit": 1}), &[1]).await;
    query(json!({"anchor": e[1], "anchorOffset": -1}), &[2, 1, 0]).await;
    query(json!({"anchor": e[1], "anchorOffset": 1}), &[0]).await;
    let found = query(json!({"limit": 5000}), &[2, 1, 0]).await;
    assert_eq!(found["limit"], 1000);
}

#[tokio::test]
async fn conversations() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let first = house.deliver(house.alice, WELCOME).await;
    let second = house.deliver(house.alice, REPLY).await;
    assert_eq!(first.thread, second.thread);
    let (a, b) = (format!("e{}", first.email), format!("e{}", second.email));
    let thread = format!("t{}", first.thread);
    let got = house.ok(&alice, "Thread/get", json!({"ids": [thread, "t999"]})).await;
    assert_eq!(got["list"], json!([{"id": thread, "emailIds": [a, b]}]));
    assert_eq!(got["notFound"], json!(["t999"]));
    let found = house
        .ok(&alice, "Email/query", json!({"collapseThreads": true, "calculateTotal": true}))
        .await;
    assert_eq!((ids(&found), &found["total"]), (vec![b.as_str()], &json!(1)));
}

/// The way a list is shown: query and get in one round trip.
#[tokio::test]
async fn a_page_in_one_request() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let e = fill(&house).await;
    let account = &alice.account;
    let reference = json!({"resultOf": "c0", "name": "Email/query", "path": "/ids"});
    let batch = json!([
        {"jsonrpc": "2.0", "id": "c0", "method": "Email/query", "params": {"accountId": account, "limit": 2}},
        {"jsonrpc": "2.0", "id": "c1", "method": "Email/get", "params": {"accountId": account, "#ids": reference, "properties": ["subject", "threadId"]}},
        {"jsonrpc": "2.0", "id": "c2", "method": "Thread/get", "params": {"accountId": account,
            "#ids": {"resultOf": "c1", "name": "Email/get", "path": "/list/*/threadId"}}},
    ]);
    let answers = house.rpc(&alice, &batch).await;
    check(
        &json!([{"id": "c0"}, {"result": {"list": [{"id": e[2], "subject": "cherry"}, {"id": e[1]}]}},
            {"result": {"list": [{"emailIds": [e[2]]}, {"emailIds": [e[1]]}], "notFound": []}}]),
        &answers,
    );
    let (state, query) = (&answers[1]["result"]["state"], &answers[0]["result"]["queryState"]);
    assert_eq!(state, query);
}

async fn keywords(house: &House, person: &Person, id: &str) -> (Value, Value) {
    let wanted = json!({"ids": [id], "properties": ["keywords", "mailboxIds"]});
    let got = house.ok(person, "Email/get", wanted).await;
    let email = &got["list"][0];
    (email["keywords"].clone(), email["mailboxIds"].clone())
}

#[tokio::test]
async fn flags_moves_and_deletion() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let arrived = house.deliver(house.alice, WELCOME).await;
    let id = format!("e{}", arrived.email);
    let inbox = house.mailbox(&alice, "inbox").await;
    let trash = house.mailbox(&alice, "trash").await;
    let set =
        async |patch: Value| house.ok(&alice, "Email/set", json!({"update": {&id: patch}})).await;

    let outcome = set(json!({"keywords/$seen": true, "keywords/$Work": true})).await;
    assert_eq!(outcome["updated"], json!({&id: null}));
    assert_ne!(outcome["oldState"], outcome["newState"]);
    assert_eq!(keywords(&house, &alice, &id).await.0, json!({"$seen": true, "$work": true}));
    // IMAP's \Deleted is not JMAP's to see or to lose.
    let uids = UidSet::one(arrived.uid);
    let deleted = FlagChange::Add(Flags::new(&[Flag::Deleted]));
    house.store.store_flags(house.alice, arrived.mailbox, uids, deleted, None).await.unwrap();
    set(json!({"keywords": {"$flagged": true}})).await;
    assert_eq!(keywords(&house, &alice, &id).await.0, json!({"$flagged": true}));
    let homes = house.store.homes(house.alice, arrived.email).await.unwrap();
    assert_eq!(homes[0].1.flags.to_string(), "\\Flagged \\Deleted");

    set(json!({format!("mailboxIds/{trash}"): true})).await;
    assert_eq!(keywords(&house, &alice, &id).await.1, json!({&inbox: true, &trash: true}));
    set(json!({format!("mailboxIds/{inbox}"): null})).await;
    assert_eq!(keywords(&house, &alice, &id).await.1, json!({&trash: true}));
    set(json!({"mailboxIds": {&inbox: true}, "keywords/$flagged": null})).await;
    assert_eq!(keywords(&house, &alice, &id).await, (json!({}), json!({&inbox: true})));

    let limit = house.store.account(house.alice).await.unwrap().used;
    house.store.set_quota(house.alice, limit).await.unwrap();
    let refused = set(json!({format!("mailboxIds/{trash}"): true})).await;
    check(&json!({&id: {"type": "overQuota"}}), &refused["notUpdated"]);
    set(json!({"mailboxIds": {&trash: true}})).await;
    set(json!({"mailboxIds": {&inbox: true}})).await;
    house.store.set_quota(house.alice, storage::Amount::default()).await.unwrap();

    let refused = set(json!({"mailboxIds": {"m999": true}})).await;
    check(
        &json!({&id: {"type": "invalidProperties", "properties": ["mailboxIds"]}}),
        &refused["notUpdated"],
    );
    let refused = set(json!({format!("mailboxIds/{inbox}"): null})).await;
    check(&json!({&id: {"type": "invalidProperties"}}), &refused["notUpdated"]);
    assert_eq!(refused["oldState"], refused["newState"]);

    let all = json!({"create": {"new": {"subject": "x"}}, "update": {&id: {"keywords/$seen": true}, "e999": {}}, "destroy": [id, id, "e999"]});
    let outcome = house.ok(&alice, "Email/set", all).await;
    check(
        &json!({"created": null, "notCreated": {"new": {"type": "forbidden"}}, "updated": null,
            "notUpdated": {&id: {"type": "willDestroy"}, "e999": {"type": "willDestroy"}}, "destroyed": [id], "notDestroyed": {"e999": {"type": "notFound"}}}),
        &outcome,
    );
    let got = house.ok(&alice, "Email/get", json!({"ids": [id]})).await;
    assert_eq!(got["notFound"], json!([id]));
    assert_eq!(house.get(&alice, &format!("/message/{id}/html")).await.status, 404);
}

#[tokio::test]
async fn many_at_once() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let mut update = serde_json::Map::new();
    for n in 0..300 {
        let arrived = house.deliver(house.alice, &format!("Subject: {n}\n\nx\n")).await;
        update.insert(format!("e{}", arrived.email), json!({"keywords/$seen": true}));
    }
    let ids: Vec<String> = update.keys().cloned().collect();
    let outcome = house.ok(&alice, "Email/set", json!({"update": update})).await;
    assert_eq!(outcome["updated"].as_object().unwrap().len(), 300);
    let got = house.ok(&alice, "Mailbox/get", json!({"ids": null})).await;
    let inbox = got["list"].as_array().unwrap().iter().find(|m| m["role"] == "inbox").unwrap();
    assert_eq!((&inbox["totalEmails"], &inbox["unreadEmails"]), (&json!(300), &json!(0)));
    let got = house.ok(&alice, "Email/get", json!({"ids": null, "properties": ["keywords"]})).await;
    assert_eq!(got["list"].as_array().unwrap().len(), 300);
    let outcome = house.ok(&alice, "Email/set", json!({"destroy": ids})).await;
    assert_eq!(outcome["destroyed"].as_array().unwrap().len(), 300);
}

#[tokio::test]
async fn changes_tell_the_truth() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let old = house.deliver(house.alice, "Subject: old\n\nx\n").await;
    let doomed = house.deliver(house.alice, "Subject: doomed\n\nx\n").await;
    let start = house.ok(&alice, "Email/get", json!({"ids": []})).await["state"].clone();
    let id = |arrived: &storage::Arrived| format!("e{}", arrived.email);
    let since = async |state: &Value, max: Value| {
        house.ok(&alice, "Email/changes", json!({"sinceState": state, "maxChanges": max})).await
    };
    let none = since(&start, Value::Null).await;
    check(
        &json!({"created": [], "updated": [], "destroyed": [], "newState": start, "hasMoreChanges": false}),
        &none,
    );

    let trash = house.mailbox(&alice, "trash").await;
    let new = house.deliver(house.alice, "Subject: new\n\nx\n").await;
    let brief = house.deliver(house.alice, "Subject: brief\n\nx\n").await;
    // A move takes the old row away; the email itself is only changed.
    let update = json!({"update": {id(&old): {"mailboxIds": {trash: true}}, id(&new): {"keywords/$seen": true}},
        "destroy": [id(&doomed), id(&brief)]});
    house.ok(&alice, "Email/set", update).await;
    let all = since(&start, Value::Null).await;
    check(
        &json!({"created": [id(&new)], "updated": [id(&old)], "destroyed": [id(&doomed)], "hasMoreChanges": false}),
        &all,
    );
    // In pieces the same comes together.
    let (mut state, mut created, mut updated, mut destroyed) = (start, vec![], vec![], vec![]);
    for _ in 0..20 {
        let piece = since(&state, json!(1)).await;
        let list = |name: &str| piece[name].as_array().unwrap().clone();
        assert!(list("created").len() + list("updated").len() + list("destroyed").len() <= 1);
        created.extend(list("created"));
        updated.extend(list("updated"));
        destroyed.extend(list("destroyed"));
        state = piece["newState"].clone();
        if piece["hasMoreChanges"] == false {
            break;
        }
    }
    assert_eq!(created, [json!(id(&new))]);
    assert!(updated.contains(&json!(id(&old))));
    assert!(destroyed.contains(&json!(id(&doomed))) && !destroyed.contains(&json!(id(&old))));
    assert_eq!(state, all["newState"]);
}
