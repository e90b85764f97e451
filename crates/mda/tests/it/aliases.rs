//! Where addresses lead.

use crate::{LETTER, World};
use mda::{Delivered, Leads, Refusal};
use storage::Amount;

impl World {
    /// `sales = alice@example.test, @old.test`, one a line; a name without a domain is of `example.test`.
    pub(crate) async fn aliases(&self, lines: &str) {
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            let (key, targets) = line.split_once('=').unwrap();
            let targets: Vec<String> = targets.split(',').map(full).collect();
            self.store.put_alias(&full(key), &targets).await.unwrap();
        }
    }

    /// `alice bob >x@other.test`, or the refusal.
    async fn leads(&self, address: &str) -> String {
        match self.mda.recipient(&full(address).parse().unwrap(), 0).await {
            Ok(recipient) => self.shown(&recipient.leads).await,
            Err(refusal) => format!("{refusal:?}"),
        }
    }

    async fn shown(&self, leads: &Leads) -> String {
        let (here, elsewhere) = match leads {
            Leads::Account(account) => (vec![*account], Vec::new()),
            Leads::Alias(targets) => (
                targets.here.iter().map(|share| share.account).collect(),
                targets.elsewhere.iter().map(|to| format!(">{to}")).collect(),
            ),
        };
        let mut names = Vec::new();
        for account in here {
            let key = self.store.account(account).await.unwrap().key;
            names.push(key.split('@').next().unwrap().to_owned());
        }
        names.extend(elsewhere);
        names.join(" ")
    }
}

fn full(name: &str) -> String {
    let name = name.trim();
    if name.contains('@') { name.to_owned() } else { format!("{name}@example.test") }
}

/// Aliases, then addresses and where they lead.
async fn check(aliases: &str, rows: &[(&str, &str)]) {
    let world = World::new().await;
    world.aliases(aliases).await;
    for (address, expect) in rows {
        assert_eq!(world.leads(address).await, *expect, "{address} with {aliases}");
    }
}

#[tokio::test]
async fn an_alias_leads_to_accounts() {
    let aliases = "
        sales = alice
        staff = alice, bob
        Both.Again = staff, alice, bob+work
        alice+lists = bob
        dead = ghost
        half = ghost, bob";
    check(
        aliases,
        &[
            ("sales", "alice"),
            ("SALES+tag@EXAMPLE.test", "alice"),
            ("staff", "alice bob"),
            ("both.again", "alice bob"),
            ("alice+lists", "bob"),
            ("alice+LISTS", "bob"),
            ("alice+lists+x", "alice"),
            ("alice", "alice"),
            ("half", "bob"),
            ("dead", "UnknownUser"),
            ("ghost", "UnknownUser"),
            ("sales@other.test", "OtherDomain"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_domain_leads_where_its_alias_says() {
    check(
        "@example.test = bob",
        &[("alice", "alice"), ("ghost", "bob"), ("ghost+x", "bob"), ("a@old.test", "UnknownUser")],
    )
    .await;
    let aliases = "
        @old.test = @example.test
        sales = bob
        only@old.test = alice
        @far.test = alice";
    check(
        aliases,
        &[
            ("Alice+x@old.test", "alice"),
            ("sales@old.test", "bob"),
            ("only@old.test", "alice"),
            ("ghost@old.test", "UnknownUser"),
            // An alias makes no domain ours.
            ("x@far.test", "OtherDomain"),
        ],
    )
    .await;
    // What leads to the same domain again ends.
    check("@example.test = ghost", &[("nobody", "UnknownUser"), ("alice", "alice")]).await;
    check("@old.test = @old.test", &[("x@old.test", "UnknownUser")]).await;
    let circle = "
        @old.test = @example.test
        @example.test = @old.test";
    check(circle, &[("x@old.test", "UnknownUser"), ("bob@old.test", "bob")]).await;
}

#[tokio::test]
async fn circles_end() {
    check("a = b\nb = a", &[("a", "UnknownUser"), ("b", "UnknownUser")]).await;
    check("a = a", &[("a", "UnknownUser")]).await;
    check("a = b, alice\nb = c\nc = a, bob", &[("a", "alice bob")]).await;
    // One that comes back to an account ends in it: nobody gets nothing.
    check("alice = bob\nbob = alice", &[("alice", "alice"), ("bob", "bob")]).await;
    check("alice = alice", &[("alice", "alice"), ("alice+x", "alice")]).await;
    check("alice = alice+x", &[("alice", "alice")]).await;
}

#[tokio::test]
async fn an_alias_comes_before_the_account() {
    // Alice is away: bob gets her mail. She is not in it, by whatever way it comes.
    check("alice = bob", &[("alice", "bob"), ("alice+x", "bob"), ("bob", "bob")]).await;
    let aliases = "
        alice = bob
        staff = alice, c
        c = alice";
    check(aliases, &[("staff", "bob")]).await;
    check("alice = alice, bob", &[("alice", "alice bob"), ("alice+x", "alice bob")]).await;
}

#[tokio::test]
async fn limits() {
    let chain = |length: usize| -> String {
        let mut lines: Vec<_> = (1..length).map(|n| format!("a{n} = a{}", n + 1)).collect();
        lines.push(format!("a{length} = alice"));
        lines.join("\n")
    };
    check(&chain(10), &[("a1", "alice")]).await;
    check(&chain(11), &[("a1", "Unavailable"), ("a2", "alice")]).await;
    let many = |count: usize| {
        let names: Vec<_> = (0..count).map(|n| format!("nobody{n}")).collect();
        names.join(", ")
    };
    check(&format!("a = {}, bob", many(999)), &[("a", "bob")]).await;
    let aliases = format!("a = {}, b\nb = alice, bob", many(999));
    check(&aliases, &[("a", "Unavailable"), ("b", "alice bob")]).await;
}

#[tokio::test]
async fn without_a_queue_nothing_leaves() {
    check(
        "out = x@other.test\nalice = alice, x@other.test\nstaff = alice, bob",
        &[
            ("out", "Unavailable"),
            ("alice", "Unavailable"),
            ("staff", "Unavailable"),
            ("bob", "bob"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_full_mailbox() {
    let world = World::new().await;
    world.aliases("sales = alice\nstaff = alice, bob").await;
    let alice = world.store.account_by_key("alice@example.test").await.unwrap().unwrap().id;
    world.store.set_quota(alice, Amount { size_bytes: 10, messages: 0 }).await.unwrap();
    for (address, expect) in [("alice", "alice"), ("bob", "bob")] {
        assert_eq!(world.leads(address).await, expect);
    }
    for address in ["alice@example.test", "sales@example.test", "staff@example.test"] {
        let full = world.mda.recipient(&address.parse().unwrap(), 100).await;
        assert_eq!(full, Err(Refusal::MailboxFull), "{address}: nobody would try again for her");
    }
}

#[tokio::test]
async fn one_copy_for_each_mailbox_whatever_leads_there() {
    let world = World::new().await;
    world.aliases("staff = alice, bob\nsales = alice").await;
    let to = ["staff@example.test", "alice@example.test", "sales@example.test"];
    let answers = world.mda.deliver(&world.envelope(&to).await, LETTER.into()).await;
    assert_eq!(answers, [Ok(Delivered::Inbox); 3]);
    assert_eq!(world.count("alice@example.test", "INBOX").await, 1);
    assert_eq!(world.count("bob@example.test", "INBOX").await, 1);
}

#[tokio::test]
async fn what_nobody_can_refuse_any_more_goes_to_junk() {
    let world = World::new().await;
    let mut envelope = (*world.envelope(&["alice@example.test"]).await).clone();
    envelope.may_refuse = false;
    let spam = format!("{LETTER}{}\r\n", mda::TEST_STRING);
    let answers = world.mda.deliver(&envelope.into(), spam.into()).await;
    assert_eq!(answers, [Ok(Delivered::Junk)]);
    assert_eq!(world.count("alice@example.test", "Junk").await, 1);
}
