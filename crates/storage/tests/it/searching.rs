//! Criteria of SEARCH.

use crate::{NOW_UNIX_S, Scene, letter, uids};
use storage::Query;
use types::{Flag, FlagChange, Flags};

fn text(text: &str) -> String {
    text.to_owned()
}

#[tokio::test]
async fn criteria() {
    let scene = Scene::new().await;
    scene.deliver(&letter(1)).await;
    let polish = "From: =?UTF-8?Q?=C5=BBaneta?= <z@example.test>\r\nTo: \"Kot, Alicja\" <alice@example.test>\r\n\
        Cc: copy@example.test\r\nSubject: =?ISO-8859-2?Q?za=BF=F3=B3=E6?= =?ISO-8859-2?Q?_g=EA=B6l=B1?=\r\n\
        Date: Sat, 1 Feb 2020 10:00:00 +0100\r\nX-Tag: Blue\r\nContent-Type: text/plain; charset=iso-8859-2\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\nWiadomo=B6=E6 o =AFubrze\r\n";
    scene.deliver(polish).await;
    let file = "Subject: file\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n\
        Content-Type: application/pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n\
        Content-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--b--\r\n";
    scene.deliver(file).await;
    let inbox = scene.inbox().await.id;
    let seen = FlagChange::Add(Flags::new(&[Flag::Seen]));
    scene.store.store_flags(scene.alice, inbox, uids(&[1]), seen, None).await.unwrap();
    let day = NOW_UNIX_S.div_euclid(86_400);
    let february = 18_293;
    let rows: Vec<(Query, &[u32])> = vec![
        (Query::All, &[1, 2, 3]),
        (Query::Flag(Flag::Seen), &[1]),
        (Query::Not(Box::new(Query::Flag(Flag::Seen))), &[2, 3]),
        (Query::And(vec![Query::Subject(text("e")), Query::Uids(uids(&[1, 2]))]), &[1]),
        (Query::Or(vec![Query::Uids(uids(&[3])), Query::From(text("BOB"))]), &[1, 3]),
        (Query::From(text("żan")), &[2]),
        (Query::To(text("alicja")), &[2]),
        (Query::Cc(text("COPY@")), &[2]),
        (Query::Subject(text("ZAŻÓŁĆ GĘŚ")), &[2]),
        (Query::Body(text("wiadomość o żub")), &[2]),
        (Query::Body(text("subject")), &[]),
        (Query::Text(text("x-tag")), &[2]),
        (Query::Text(text("letter 1")), &[1]),
        (Query::Header(text("x-TAG"), text("blu")), &[2]),
        (Query::Header(text("X-Tag"), text("")), &[2]),
        (Query::Header(text("X-Tag"), text("red")), &[]),
        (Query::HasAttachment, &[3]),
        (Query::Larger(350), &[2]),
        (Query::ReceivedDays(day, day + 1), &[1, 2, 3]),
        (Query::ReceivedDays(0, day), &[]),
        (Query::SentDays(february, february + 1), &[2]),
        (Query::Keyword(text("none")), &[]),
    ];
    for (query, expect) in rows {
        let found = scene.store.search(scene.alice, inbox, query.clone()).await.unwrap();
        let found: Vec<u32> = found.iter().map(|row| row.uid.get()).collect();
        assert_eq!(found, expect, "{query:?}");
    }
}
