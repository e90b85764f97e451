//! SELECT (RFC 9051 §6.3.2) and EXAMINE (§6.3.3).
//!
//! ```text
//! select  = "SELECT" SP mailbox
//! examine = "EXAMINE" SP mailbox
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done};
use crate::selected::Selected;
use crate::session::Session;
use storage::View;
use types::{Flag, Flags};

/// Keywords in use that are shown; a client may use others all the same (`\*`).
const KEYWORDS: usize = 100;

pub(crate) struct Select(String);
pub(crate) struct Examine(String);

impl Verb for Select {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        p.mailbox().map(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        open(session, &self.0, false).await?;
        Ok(Done::with("READ-WRITE".to_owned(), "Mailbox selected"))
    }
}

impl Verb for Examine {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        p.mailbox().map(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        open(session, &self.0, true).await?;
        Ok(Done::with("READ-ONLY".to_owned(), "Mailbox selected, nothing in it will be changed"))
    }
}

async fn open(session: &mut Session, name: &str, read_only: bool) -> Result<(), crate::Error> {
    // Even a failed SELECT leaves the mailbox selected before.
    session.selected = None;
    let account = session.account()?;
    let view = session.store().view_by_name(account, name).await?;
    let mailbox = view.mailbox();

    let flags = flags_in_use(&view);
    let permanent = if read_only { String::new() } else { format!("{flags} \\*") };
    session.wire.say(&format!("* FLAGS ({flags})"));
    session.wire.say(&format!("* {} EXISTS", view.len()));
    session.wire.say("* 0 RECENT");
    if let Some(at) = view.first_unseen() {
        session.wire.say(&format!("* OK [UNSEEN {}] The first one not read", at + 1));
    }
    session.wire.say(&format!("* OK [PERMANENTFLAGS ({permanent})] Flags that are kept"));
    session.wire.say(&format!("* OK [UIDVALIDITY {}] UIDs are valid", mailbox.uid_validity));
    let uid_next = super::status::uid_next(mailbox);
    session.wire.say(&format!("* OK [UIDNEXT {uid_next}] The next UID"));
    session.wire.say(&format!("* OK [HIGHESTMODSEQ {}] The last change", mailbox.modseq));
    session.wire.say(&format!("* OK [MAILBOXID (F{})] Its id", mailbox.id));

    session.selected = Some(Selected::new(mailbox.id, read_only, view.uids(), view.state()));
    Ok(())
}

fn flags_in_use(view: &View) -> Flags {
    let mut flags = Flags::new(&Flag::ALL);
    for keyword in view.flags_in_use().into_iter().flat_map(Flags::keywords) {
        if flags.keywords().len() >= KEYWORDS {
            break;
        }
        if !flags.has_keyword(keyword.as_str()) {
            flags.insert_keyword(keyword.clone());
        }
    }
    flags
}
