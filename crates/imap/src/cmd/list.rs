//! LIST (RFC 9051 §6.3.9), with selection and return options (RFC 5258, RFC 5819, RFC 6154, RFC 8440).
//!
//! ```text
//! list             = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]
//! list-select-opts = "(" [list-select-opt *(SP list-select-opt)] ")"
//! mbox-or-pat      = list-mailbox / "(" list-mailbox *(SP list-mailbox) ")"
//! list-return-opts = "RETURN" SP "(" [return-option *(SP return-option)] ")"
//! ```

use super::{myrights, status};
use crate::commands::Verb;
use crate::encode;
use crate::parse::{Parsed, Parser, limits};
use crate::pattern::{self, Pattern};
use crate::reply::{Answer, Done, Error};
use crate::session::Session;
use crate::sharing::{self, Named, OTHERS, Rights};
use std::collections::{BTreeSet, HashSet};
use storage::Mailbox;

pub(crate) struct List {
    select: Select,
    reference: String,
    patterns: Vec<String>,
    give: Give,
}

/// Which mailboxes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Select {
    subscribed: bool,
    special_use: bool,
    /// Also those with a mailbox below them that the other options select (RFC 5258 §3.5).
    recursive: bool,
}

/// What of them, besides what is said always.
#[derive(Default)]
struct Give {
    subscribed: bool,
    rights: bool,
    status: Vec<&'static status::Item>,
}

impl Verb for List {
    const NEEDS_LIST: bool = false;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let mut select = Select::default();
        if p.peek() == Some(b'(') {
            select = selection(p)?;
            p.sp()?;
        }
        let reference = p.mailbox()?;
        p.sp()?;
        let patterns = if p.peek() == Some(b'(') {
            p.list(limits::OPTIONS, Parser::list_mailbox)?
        } else {
            vec![p.list_mailbox()?]
        };
        let mut give = Give::default();
        if p.more() {
            if !p.word("RETURN") {
                return p.wanted("RETURN");
            }
            p.sp()?;
            p.list(limits::OPTIONS, |p| return_option(p, &mut give))?;
        }
        give.subscribed |= select.subscribed;
        Ok(Self { select, reference, patterns, give })
    }

    async fn run(self, session: &mut Session) -> Answer {
        let patterns = full_patterns(&self.reference, &self.patterns)?;
        if let [pattern] = self.patterns.as_slice()
            && pattern.is_empty()
        {
            // RFC 9051 §6.3.9: a question for the separator.
            session.wire.say("* LIST (\\Noselect) \"/\" \"\"");
            return Ok(Done::new("Listed"));
        }
        let mut mailboxes = known(session, &patterns).await?;
        if self.select.subscribed {
            let (account, store) = (session.account()?, session.store());
            mailboxes.extend(sharing::subscribed_without(&store, account, &mailboxes).await?);
        }
        let tree = Tree::of(&mailboxes, |named| self.select.wants(named));
        for named in &mailboxes {
            // Thousands of mailboxes and dozens of patterns keep nobody else waiting.
            tokio::task::consume_budget().await;
            let name = named.mailbox.name.as_str();
            let chosen = self.select.wants(named);
            let below = self.select.recursive && tree.chosen.contains(name);
            if !(chosen || below) || !patterns.iter().any(|p| p.matches(name)) {
                continue;
            }
            self.say(session, named, &tree, below).await?;
            session.wire.relieve().await?;
        }
        for name in leading(&mailboxes) {
            let below = self.select.recursive && tree.chosen.contains(name);
            let shown = below || self.select == Select::default();
            if shown && patterns.iter().any(|p| p.ends_with_percent() && p.matches(name)) {
                line(session, "LIST", &["\\NonExistent", "\\Noselect", "\\HasChildren"], name);
                self.end_line(session, below);
            }
        }
        Ok(Done::new("Listed"))
    }
}

/// All mailboxes that the patterns may match: one's own, and those of others.
pub(super) async fn known(
    session: &mut Session,
    patterns: &[Pattern],
) -> Result<Vec<Named>, Error> {
    let account = session.account()?;
    let reaches = |pattern: &Pattern| {
        let literal = pattern.literal();
        sharing::is_others(literal) || (pattern.is_wild() && OTHERS.starts_with(literal))
    };
    let (own, mut others) = if patterns.iter().any(reaches) {
        // Boxed: all sessions would wait with the room for it.
        Box::pin(with_others(session, patterns)).await?
    } else {
        (session.store().mailboxes(account).await?, Vec::new())
    };
    let own = own.into_iter().filter(|mailbox| !sharing::is_others(&mailbox.name));
    let mut known: Vec<Named> = own.map(|mailbox| Named::own(account, mailbox)).collect();
    known.append(&mut others);
    Ok(known)
}

async fn with_others(
    session: &mut Session,
    patterns: &[Pattern],
) -> Result<(Vec<Mailbox>, Vec<Named>), Error> {
    let (me, store) = (session.me()?, session.store());
    let (own, mut found) = sharing::visible(&store, (me.0, &me.1)).await?;
    // What is shared with everybody is not shown to everybody, but to who knows its name.
    for pattern in patterns.iter().filter(|pattern| !pattern.is_wild()) {
        if found.iter().any(|named| named.mailbox.name == pattern.literal()) {
            continue;
        }
        match session.named(pattern.literal(), Rights::LOOKUP).await {
            Ok(named) if !named.is_own() => found.push(named),
            Ok(_) | Err(Error::No { .. } | Error::Storage(storage::Error::NoMailbox)) => {}
            Err(other) => return Err(other),
        }
    }
    Ok((own, found))
}

/// Names above those of others' mailboxes, or of missing ones, that are no mailboxes, or none that may be seen.
pub(super) fn leading(mailboxes: &[Named]) -> BTreeSet<&str> {
    let names: HashSet<&str> = mailboxes.iter().map(|named| named.mailbox.name.as_str()).collect();
    let above = |name| {
        std::iter::successors(Some(name), |name: &&str| {
            Some(name.rsplit_once(pattern::SEPARATOR)?.0)
        })
    };
    let others = mailboxes.iter().filter(|named| !named.is_own() || named.is_missing());
    let above = others.flat_map(|named| above(named.mailbox.name.as_str()).skip(1));
    above.filter(|name| !names.contains(name)).collect()
}

impl List {
    async fn say(
        &self,
        session: &mut Session,
        named: &Named,
        tree: &Tree<'_>,
        below: bool,
    ) -> Result<(), Error> {
        let mailbox = &named.mailbox;
        let may_read = named.rights.has(Rights::READ);
        let mut attributes = Vec::with_capacity(4);
        if self.give.subscribed && mailbox.subscribed {
            attributes.push("\\Subscribed");
        }
        attributes.push(tree.children(mailbox));
        if named.is_missing() {
            attributes.push("\\NonExistent");
        } else if !may_read {
            attributes.push("\\Noselect");
        }
        attributes.extend(special_use(named));
        line(session, "LIST", &attributes, &mailbox.name);
        self.end_line(session, below);
        if self.give.rights && !named.is_missing() {
            myrights::say(session, mailbox, named.rights);
        }
        if !self.give.status.is_empty() && may_read {
            status::say(session, named, &self.give.status).await?;
        }
        Ok(())
    }

    /// `below`: with mailboxes below that the options select.
    fn end_line(&self, session: &mut Session, below: bool) {
        let out = session.wire.out();
        if below {
            let option = match (self.select.subscribed, self.select.special_use) {
                (true, false) => r#""SUBSCRIBED""#,
                (false, _) => r#""SPECIAL-USE""#,
                (true, true) => r#""SUBSCRIBED" "SPECIAL-USE""#,
            };
            out.extend_from_slice(format!(" (\"CHILDINFO\" ({option}))").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// What somebody uses a mailbox for says nothing to others.
fn special_use(named: &Named) -> Option<&'static str> {
    let special_use = named.mailbox.special_use.filter(|_| named.is_own());
    special_use.and_then(types::SpecialUse::attribute)
}

impl Select {
    fn wants(self, named: &Named) -> bool {
        let special = || special_use(named).is_some();
        (!self.subscribed || named.mailbox.subscribed) && (!self.special_use || special())
    }
}

/// `* LIST (\HasNoChildren) "/" Work`, without the line end.
pub(crate) fn line(session: &mut Session, verb: &str, attributes: &[&str], name: &str) {
    let utf8 = session.utf8();
    let out = session.wire.out();
    out.extend_from_slice(b"* ");
    out.extend_from_slice(verb.as_bytes());
    out.extend_from_slice(b" (");
    out.extend_from_slice(attributes.join(" ").as_bytes());
    out.extend_from_slice(b") \"/\" ");
    encode::mailbox(out, name, utf8);
}

/// The LIST line for one mailbox: of SELECT in `IMAP4rev2` (RFC 9051 §6.3.2), and for a name that is not the one which
/// the client used (§6.3.9.7).
pub(super) async fn one(
    session: &mut Session,
    mailbox: &Mailbox,
    old_name: &str,
) -> Result<(), Error> {
    let own = !sharing::is_others(&mailbox.name);
    let patterns = if own { Vec::new() } else { full_patterns(OTHERS, &["*".to_owned()])? };
    let mailboxes = known(session, &patterns).await?;
    let tree = Tree::of(&mailboxes, |_| false);
    let special = mailbox.special_use.and_then(types::SpecialUse::attribute).filter(|_| own);
    let attributes: Vec<_> = [tree.children(mailbox)].into_iter().chain(special).collect();
    line(session, "LIST", &attributes, &mailbox.name);
    let utf8 = session.utf8();
    let out = session.wire.out();
    if old_name != mailbox.name {
        out.extend_from_slice(b" (\"OLDNAME\" (");
        encode::mailbox(out, old_name, utf8);
        out.extend_from_slice(b"))");
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Names with something below them.
pub(super) struct Tree<'a> {
    /// Anything.
    parents: HashSet<&'a str>,
    /// A mailbox that was chosen.
    pub(super) chosen: HashSet<&'a str>,
}

impl<'a> Tree<'a> {
    pub(super) fn of(mailboxes: &'a [Named], choose: impl Fn(&Named) -> bool) -> Self {
        let (mut parents, mut chosen) = (HashSet::new(), HashSet::new());
        for named in mailboxes {
            let is_chosen = choose(named);
            let mut name = named.mailbox.name.as_str();
            while let Some((parent, _)) = name.rsplit_once(pattern::SEPARATOR) {
                parents.insert(parent);
                if is_chosen {
                    chosen.insert(parent);
                }
                name = parent;
            }
        }
        Self { parents, chosen }
    }

    /// Something is below that name.
    pub(super) fn is_above(&self, name: &str) -> bool {
        self.parents.contains(name)
    }

    pub(super) fn children(&self, mailbox: &Mailbox) -> &'static str {
        if self.is_above(&mailbox.name) { "\\HasChildren" } else { "\\HasNoChildren" }
    }
}

/// The reference is put in front. Wildcards in a very long pattern would only cost time.
pub(super) fn full_patterns(reference: &str, patterns: &[String]) -> Result<Vec<Pattern>, Error> {
    let full = patterns.iter().map(|pattern| Pattern::new(format!("{reference}{pattern}")));
    let too_long = || Error::no("LIMIT", "the pattern is too long for one with wildcards");
    full.collect::<Option<_>>().ok_or_else(too_long)
}

/// ```text
/// list-select-opt = "SUBSCRIBED" / "REMOTE" / "RECURSIVEMATCH" / "SPECIAL-USE"
/// ```
fn selection(p: &mut Parser<'_>) -> Parsed<Select> {
    let mut select = Select::default();
    let words = ["SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"];
    p.list(limits::OPTIONS, |p| {
        match p.one_of(&words, "a selection option")? {
            0 => select.subscribed = true,
            // No mailbox is on another server.
            1 => {}
            2 => select.recursive = true,
            _ => select.special_use = true,
        }
        Ok(())
    })?;
    // RFC 5258 §3.1: it says nothing by itself.
    if select.recursive && !select.subscribed && !select.special_use {
        return p.wanted("another option beside RECURSIVEMATCH");
    }
    Ok(select)
}

/// ```text
/// return-option = "SUBSCRIBED" / "CHILDREN" / "SPECIAL-USE" / "MYRIGHTS" /
///                 "STATUS" SP "(" status-att ... ")"
/// ```
fn return_option(p: &mut Parser<'_>, give: &mut Give) -> Parsed<()> {
    let options = ["SUBSCRIBED", "CHILDREN", "SPECIAL-USE", "MYRIGHTS", "STATUS"];
    match p.one_of(&options, "a return option")? {
        0 => give.subscribed = true,
        // Children and uses are always said.
        1 | 2 => {}
        3 => give.rights = true,
        _ => {
            p.sp()?;
            give.status = status::items(p)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::whole;

    #[test]
    fn forms() {
        #[track_caller]
        fn check(text: &str, expect: Option<&str>) {
            let found = whole(text.as_bytes(), List::parse).ok();
            let found = found.map(|l| format!("{}|{}", l.reference, l.patterns.join(",")));
            assert_eq!(found.as_deref(), expect, "{text}");
        }
        check(" \"\" *", Some("|*"));
        check(" \"\"  \"*\" ", Some("|*"));
        check(" a/ %b%", Some("a/|%b%"));
        check(" \"\" \"\"", Some("|"));
        check(" \"\" (INBOX Work/%)", Some("|INBOX,Work/%"));
        check(" (SUBSCRIBED) \"\" *", Some("|*"));
        check(" () \"\" * RETURN ()", Some("|*"));
        check(" (SUBSCRIBED RECURSIVEMATCH) \"\" * RETURN (CHILDREN)", Some("|*"));
        check(" \"\" * RETURN (SUBSCRIBED STATUS (MESSAGES UNSEEN) SPECIAL-USE)", Some("|*"));
        check(" (RECURSIVEMATCH) \"\" *", None);
        check(" (FOO) \"\" *", None);
        check(" \"\" * RETURN (FOO)", None);
        check(" \"\" * RETURN (STATUS ())", None);
        check(" \"\" * SUBSCRIBED", None);
        check(" \"\"", None);
        check(" \"\" &AX", None);
    }
}
