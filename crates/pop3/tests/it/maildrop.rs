//! TRANSACTION and UPDATE: the list, the letters, what goes at QUIT.

use crate::world::{LOGIN, World};

const ONE: &str = "Subject: one\r\n\r\nfirst\r\n.second\r\n.\r\nthird\r\n";
const TWO: &str = "Subject: two\r\n\r\nno end";

#[tokio::test]
async fn the_list() {
    let mut world = World::new(&[ONE, TWO, "x\r\n"]).await;
    let (one, two) = (ONE.len(), TWO.len());
    let all = one + two + 3;
    let script = format!(
        "C: STAT
         S: +OK 3 {all}
         C: LIST
         S: +OK 3 letters, {all} bytes
         S: 1 {one}
         S: 2 {two}
         S: 3 3
         S: .
         C: LIST 2
         S: +OK 2 {two}
         C: DELE 2
         S: +OK *
         C: DELE 2
         S: -ERR *
         C: LIST 2
         S: -ERR *
         C: UIDL 2
         S: -ERR *
         C: RETR 2
         S: -ERR *
         C: TOP 2 0
         S: -ERR *
         C: STAT
         S: +OK 2 {}
         C: LIST
         S: +OK 2 letters, *
         S: 1 {one}
         S: 3 3
         S: .
         C: RSET
         S: +OK 3 letters, {all} bytes
         C: LIST 2
         S: +OK 2 {two}
         C: QUIT
         S: +OK *",
        one + 3
    );
    world.talk(&script).await;
    assert_eq!(world.uids().await, [1, 2, 3], "nothing was marked at the end");
}

#[tokio::test]
async fn numbers_that_are_none() {
    let mut world = World::new(&[ONE]).await;
    for number in [
        "0",
        "2",
        "-1",
        "4294967297",
        "4294967296",
        "18446744073709551617",
        "+1",
        "x",
        "1x",
        "1 1",
        "",
    ] {
        let mut script = Vec::new();
        for command in ["RETR #", "DELE #", "TOP # 0", "LIST #", "UIDL #", "TOP 1 -1", "TOP 1"] {
            // LIST and UIDL without a number are about all letters.
            if !number.is_empty() || !["LIST #", "UIDL #"].contains(&command) {
                script.push(format!("C: {}\nS: -ERR *\n", command.replace('#', number)));
            }
        }
        world.talk(&format!("{}C: QUIT\nS: +OK *", script.concat())).await;
    }
    assert_eq!(world.uids().await, [1]);
}

#[tokio::test]
async fn letters_byte_for_byte() {
    let long = format!("Subject: x\r\n\r\n{}", ".dot\r\n0123456789\r\n".repeat(30_000));
    let rows = [
        (ONE, "Subject: one\r\n\r\nfirst\r\n..second\r\n..\r\nthird\r\n.\r\n".to_owned()),
        (TWO, "Subject: two\r\n\r\nno end\r\n.\r\n".to_owned()),
        ("", ".\r\n".to_owned()),
        (".", "..\r\n.\r\n".to_owned()),
        ("a\n.\n.b\rc\0\r\n", "a\n.\n.b\rc\0\r\n.\r\n".to_owned()),
        ("ż\r\n.\r\nQUIT\r\n", "ż\r\n..\r\nQUIT\r\n.\r\n".to_owned()),
        (&long, long.replace("\r\n.", "\r\n..") + ".\r\n"),
    ];
    let letters: Vec<&str> = rows.iter().map(|(letter, _)| *letter).collect();
    let mut world = World::new(&letters).await;
    let mut client = world.connect();
    client.steps(LOGIN).await;
    let commands: Vec<_> = (1..=rows.len()).map(|n| format!("RETR {n}\r\n")).collect();
    client.send(commands.concat()).await;
    for (letter, sent) in &rows {
        client.steps(&format!("S: +OK {} bytes", letter.len())).await;
        client.bytes(sent).await;
    }
    client.play("C: QUIT\nS: +OK *").await;
}

#[tokio::test]
async fn tops() {
    let bare = "A: b\nB: c\n\n1\n2\n3\n";
    let mut world = World::new(&[ONE, TWO, "Subject: header only\r\n", bare]).await;
    world
        .talk(
            "C: TOP 1 0
             S: +OK *
             S: Subject: one
             S: 
             S: .
             C: TOP 1 2
             S: +OK *
             S: Subject: one
             S: 
             S: first
             S: ..second
             S: .
             C: TOP 1 100
             S: +OK *
             S: Subject: one
             S: 
             S: first
             S: ..second
             S: ..
             S: third
             S: .
             C: TOP 2 1
             S: +OK *
             S: Subject: two
             S: 
             S: no end
             S: .
             C: TOP 3 5
             S: +OK *
             S: Subject: header only
             S: 
             S: .
             C: QUIT
             S: +OK *",
        )
        .await;
    let mut client = world.connect();
    client.steps(LOGIN).await;
    client.steps("C: TOP 4 1\nS: +OK *").await;
    client.bytes("A: b\nB: c\n\n1\n\r\n.\r\n").await;
}

#[tokio::test]
async fn unique_ids_stay() {
    let mut world = World::new(&[ONE, TWO]).await;
    let mut ids = Vec::new();
    for round in 0..3 {
        let mut client = world.connect();
        client.steps(LOGIN).await;
        client.steps("C: UIDL\nS: +OK *").await;
        let mut found = Vec::new();
        loop {
            let line = client.line().await;
            match line.trim_end().split_once(' ') {
                Some((_, id)) => found.push(id.to_owned()),
                None => break,
            }
        }
        let last = found.len();
        client.steps(&format!("C: UIDL {last}\nS: +OK {last} {}", found[last - 1])).await;
        // Numbers change, ids do not.
        client.play("C: DELE 1\nS: +OK *\nC: QUIT\nS: +OK *").await;
        ids.push(found);
        world.add(&format!("Subject: {round}\r\n\r\n")).await;
    }
    assert_eq!(ids[0][1], ids[1][0]);
    assert_eq!(ids[1][1], ids[2][0]);
    let mut all: Vec<&String> = ids.iter().flatten().collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|id| id.len() <= 70 && id.bytes().all(|b| b.is_ascii_graphic())));
}

#[tokio::test]
async fn letters_go_at_quit_and_only_there() {
    let mut world = World::new(&[ONE, TWO, "x\r\n"]).await;
    let mut broken = world.connect();
    broken.steps(LOGIN).await;
    broken.steps("C: DELE 1\nS: +OK *").await;
    assert_eq!(broken.rest().await, "");
    assert_eq!(world.uids().await, [1, 2, 3]);
    world
        .talk("C: DELE 1\nS: +OK *\nC: DELE 3\nS: +OK *\nC: QUIT\nS: +OK *2 letters deleted")
        .await;
    assert_eq!(world.uids().await, [2]);
    world.talk("C: STAT\nS: +OK 1 *\nC: UIDL\nS: +OK *\nS: 1 *.2\nS: .\nC: QUIT\nS: +OK *").await;
}

#[tokio::test]
async fn letters_that_come_or_go_meanwhile() {
    let mut world = World::new(&[ONE, TWO]).await;
    let mut client = world.connect();
    client.steps(LOGIN).await;
    world.add("late\r\n").await;
    let inbox = world.store.mailbox_by_name(world.alice, "INBOX").await.unwrap();
    let first = types::UidSet::one(types::Uid::MIN);
    world.store.remove(world.alice, inbox.id, first).await.unwrap();
    client
        .play(
            "C: STAT
             S: +OK 2 *
             C: RETR 1
             S: -ERR *gone*
             C: TOP 1 0
             S: -ERR *gone*
             C: RETR 3
             S: -ERR *
             C: DELE 1
             S: +OK *
             C: QUIT
             S: +OK *",
        )
        .await;
    assert_eq!(world.uids().await, [2, 3]);
}

#[tokio::test]
async fn a_delete_that_fails_is_told() {
    let mut world = World::new(&[ONE]).await;
    let mut client = world.connect();
    client.steps(LOGIN).await;
    client.steps("C: DELE 1\nS: +OK *").await;
    world.store.close().await;
    client.play("C: QUIT\nS: -ERR [SYS/TEMP] *").await;
}

#[tokio::test]
async fn everything_in_one_write_is_answered_in_order() {
    let mut world = World::new(&["a\r\n"]).await;
    let mut client = world.connect();
    client.send("USER alice\r\nPASS secret\r\nSTAT\r\nRETR 1\r\nDELE 1\r\nQUIT\r\nSTAT\r\n").await;
    client
        .play(
            "S: +OK *
             S: +OK *
             S: +OK *
             S: +OK 1 3
             S: +OK 3 bytes
             S: a
             S: .
             S: +OK *
             S: +OK *1 letters deleted",
        )
        .await;
    assert!(world.uids().await.is_empty());
}
