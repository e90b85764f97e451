//! The table of commands, and how one is found, parsed and answered through it.

use crate::cmd;
use crate::parse::{Parsed, Parser, Syntax};
use crate::reply::{self, Answer};
use crate::session::Session;
use std::pin::Pin;

/// When a command is welcome (RFC 9051 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    Always,
    NotAuthenticated,
    Authenticated,
    Selected,
}

/// What a file in `cmd/` implements: the parsed command, how it is parsed, how it is answered.
pub(crate) trait Verb: Sized + Send + 'static {
    /// While it is answered, message numbers keep their meaning: no EXPUNGE (RFC 9051 §7.5.1).
    const KEEPS_NUMBERS: bool = false;
    /// Without UID in front, it names messages by number: not after ENABLE UIDONLY (RFC 9586 §3).
    const BY_NUMBER: bool = Self::KEEPS_NUMBERS;
    /// It may ask which UIDs are in the selected mailbox: they are read before, if they have not been.
    const NEEDS_LIST: bool = true;
    /// It reads its last literal from the connection itself.
    const STREAMS: bool = false;

    /// Parses what follows the verb.
    fn parse(p: &mut Parser<'_>) -> Parsed<Self>;

    /// Does it, and says all but the tagged line.
    fn run(self, session: &mut Session) -> impl Future<Output = Answer> + Send;
}

type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// One row of [`COMMANDS`].
#[derive(Debug)]
pub struct Command {
    pub name: &'static str,
    pub when: When,
    pub spec: &'static str,
    pub(crate) keeps_numbers: bool,
    pub(crate) needs_list: bool,
    pub(crate) streams: bool,
    pub(crate) check: fn(Parser<'_>) -> Parsed<()>,
    pub(crate) answer: for<'a> fn(&'a mut Session, Parser<'a>) -> Answering<'a>,
}

const fn row<V: Verb>(name: &'static str, when: When, spec: &'static str) -> Command {
    Command {
        name,
        when,
        spec,
        keeps_numbers: V::KEEPS_NUMBERS,
        needs_list: V::NEEDS_LIST,
        streams: V::STREAMS,
        check: |mut p| whole::<V>(&mut p).map(drop),
        answer: answer::<V>,
    }
}

/// The form with UIDs has no message numbers to keep.
const fn uid_row<V: Verb>(name: &'static str, spec: &'static str) -> Command {
    Command { keeps_numbers: false, ..row::<V>(name, Selected, spec) }
}

fn whole<V: Verb>(p: &mut Parser<'_>) -> Parsed<V> {
    let command = V::parse(p)?;
    p.end()?;
    Ok(command)
}

fn answer<'a, V: Verb>(session: &'a mut Session, mut p: Parser<'a>) -> Answering<'a> {
    match whole::<V>(&mut p) {
        Ok(_) if V::BY_NUMBER && !p.by_uid && session.enabled.uid_only => {
            Box::pin(std::future::ready(Err(reply::UID_REQUIRED)))
        }
        Ok(command) => Box::pin(command.run(session)),
        Err(syntax) => Box::pin(std::future::ready(Err(syntax.into()))),
    }
}

use When::{Always, Authenticated, NotAuthenticated, Selected};

/// Sorted by name.
#[rustfmt::skip]
pub static COMMANDS: &[Command] = &[
    row::<cmd::append::Append>("APPEND", Authenticated, "RFC 9051 §6.3.12"),
    row::<cmd::authenticate::Authenticate>("AUTHENTICATE", NotAuthenticated, "RFC 9051 §6.2.2"),
    row::<cmd::cancelupdate::CancelUpdate>("CANCELUPDATE", Authenticated, "RFC 5267 §4.3.5"),
    row::<cmd::capability::Capability>("CAPABILITY", Always, "RFC 9051 §6.1.1"),
    row::<cmd::noop::Check>("CHECK", Selected, "RFC 3501 §6.4.1"),
    row::<cmd::close::Close>("CLOSE", Selected, "RFC 9051 §6.4.1"),
    row::<cmd::compress::Compress>("COMPRESS", Authenticated, "RFC 4978 §3"),
    row::<cmd::copy::Copy>("COPY", Selected, "RFC 9051 §6.4.7"),
    row::<cmd::create::Create>("CREATE", Authenticated, "RFC 9051 §6.3.4"),
    row::<cmd::delete::Delete>("DELETE", Authenticated, "RFC 9051 §6.3.5"),
    row::<cmd::setacl::DeleteAcl>("DELETEACL", Authenticated, "RFC 4314 §3.2"),
    row::<cmd::enable::Enable>("ENABLE", Authenticated, "RFC 9051 §6.3.1"),
    row::<cmd::esearch::ESearch>("ESEARCH", Authenticated, "RFC 7377 §2"),
    row::<cmd::select::Examine>("EXAMINE", Authenticated, "RFC 9051 §6.3.3"),
    row::<cmd::expunge::Expunge>("EXPUNGE", Selected, "RFC 9051 §6.4.3"),
    row::<cmd::fetch::Fetch>("FETCH", Selected, "RFC 9051 §6.4.5"),
    row::<cmd::getacl::GetAcl>("GETACL", Authenticated, "RFC 4314 §3.3"),
    row::<cmd::getjmapaccess::GetJmapAccess>("GETJMAPACCESS", Authenticated, "RFC 9698 §4"),
    row::<cmd::getmetadata::GetMetadata>("GETMETADATA", Authenticated, "RFC 5464 §4.2"),
    row::<cmd::quota::GetQuota>("GETQUOTA", Authenticated, "RFC 9208 §4.1.2"),
    row::<cmd::quota::GetQuotaRoot>("GETQUOTAROOT", Authenticated, "RFC 9208 §4.1.3"),
    row::<cmd::id::Id>("ID", Always, "RFC 2971 §3.1"),
    row::<cmd::idle::Idle>("IDLE", Authenticated, "RFC 9051 §6.3.13"),
    row::<cmd::list::List>("LIST", Authenticated, "RFC 9051 §6.3.9"),
    row::<cmd::listrights::ListRights>("LISTRIGHTS", Authenticated, "RFC 4314 §3.4"),
    row::<cmd::login::Login>("LOGIN", NotAuthenticated, "RFC 9051 §6.2.3"),
    row::<cmd::logout::Logout>("LOGOUT", Always, "RFC 9051 §6.1.3"),
    row::<cmd::lsub::Lsub>("LSUB", Authenticated, "RFC 3501 §6.3.9"),
    row::<cmd::move_::Move>("MOVE", Selected, "RFC 9051 §6.4.8"),
    row::<cmd::myrights::MyRights>("MYRIGHTS", Authenticated, "RFC 4314 §3.5"),
    row::<cmd::namespace::Namespace>("NAMESPACE", Authenticated, "RFC 9051 §6.3.10"),
    row::<cmd::noop::Noop>("NOOP", Always, "RFC 9051 §6.1.2"),
    row::<cmd::notify::Notify>("NOTIFY", Authenticated, "RFC 5465 §3.1"),
    row::<cmd::rename::Rename>("RENAME", Authenticated, "RFC 9051 §6.3.6"),
    row::<cmd::replace::Replace>("REPLACE", Selected, "RFC 8508 §3.2"),
    row::<cmd::search::Search>("SEARCH", Selected, "RFC 9051 §6.4.4"),
    row::<cmd::select::Select>("SELECT", Authenticated, "RFC 9051 §6.3.2"),
    row::<cmd::setacl::SetAcl>("SETACL", Authenticated, "RFC 4314 §3.1"),
    row::<cmd::setmetadata::SetMetadata>("SETMETADATA", Authenticated, "RFC 5464 §4.3"),
    row::<cmd::sort::Sort>("SORT", Selected, "RFC 5256 §3"),
    row::<cmd::starttls::StartTls>("STARTTLS", NotAuthenticated, "RFC 9051 §6.2.1"),
    row::<cmd::status::Status>("STATUS", Authenticated, "RFC 9051 §6.3.11"),
    row::<cmd::store::Store>("STORE", Selected, "RFC 9051 §6.4.6"),
    row::<cmd::subscribe::Subscribe>("SUBSCRIBE", Authenticated, "RFC 9051 §6.3.7"),
    row::<cmd::thread::Thread>("THREAD", Selected, "RFC 5256 §3"),
    uid_row::<cmd::copy::Copy>("UID COPY", "RFC 9051 §6.4.9"),
    uid_row::<cmd::expunge::Expunge>("UID EXPUNGE", "RFC 9051 §6.4.9"),
    uid_row::<cmd::fetch::Fetch>("UID FETCH", "RFC 9051 §6.4.9"),
    uid_row::<cmd::move_::Move>("UID MOVE", "RFC 9051 §6.4.9"),
    uid_row::<cmd::replace::Replace>("UID REPLACE", "RFC 8508 §3.3"),
    uid_row::<cmd::search::Search>("UID SEARCH", "RFC 9051 §6.4.9"),
    uid_row::<cmd::sort::Sort>("UID SORT", "RFC 5256 §3"),
    uid_row::<cmd::store::Store>("UID STORE", "RFC 9051 §6.4.9"),
    uid_row::<cmd::thread::Thread>("UID THREAD", "RFC 5256 §3"),
    row::<cmd::unauthenticate::Unauthenticate>("UNAUTHENTICATE", Authenticated, "RFC 8437"),
    row::<cmd::close::Unselect>("UNSELECT", Selected, "RFC 9051 §6.4.2"),
    row::<cmd::subscribe::Unsubscribe>("UNSUBSCRIBE", Authenticated, "RFC 9051 §6.3.8"),
];

/// Takes the verb, which may be two words, and finds its row.
pub(crate) fn find(p: &mut Parser<'_>) -> Option<&'static Command> {
    let verb = p.name("a command").ok()?;
    if !verb.eq_ignore_ascii_case(b"UID") {
        return COMMANDS.iter().find(|row| row.name.as_bytes().eq_ignore_ascii_case(verb));
    }
    p.sp().ok()?;
    let verb = p.name("a command").ok()?;
    p.by_uid = true;
    COMMANDS.iter().find(|row| {
        let second = row.name.strip_prefix("UID ");
        second.is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(verb))
    })
}

/// Parses a whole command as a connection would hand it over, line end taken off, literals inside; of
/// APPEND up to the announcement of the message. Gives the row's name. For fuzzing.
#[doc(hidden)]
pub fn parse_command(bytes: &[u8]) -> Result<&'static str, Syntax> {
    let mut p = Parser::new(bytes);
    p.tag()?;
    p.sp()?;
    let Some(row) = find(&mut p) else { return p.wanted("a command") };
    (row.check)(p)?;
    Ok(row.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn commands_are_found() {
        #[track_caller]
        fn check(line: &str, expect: Option<&str>) {
            assert_eq!(parse_command(line.as_bytes()).ok(), expect, "{line}");
        }
        check("a1 noop", Some("NOOP"));
        check("a1  NOOP  ", Some("NOOP"));
        check("a1 UID  fetch 1 UID", Some("UID FETCH"));
        check("a1 UID NOOP", None);
        check("a1 UID", None);
        check("a1 XLIST \"\" *", None);
        check("a1 NOOP x", None);
        check("a+1 NOOP", None);
        check("NOOP", None);
        check(" a1 NOOP", None);
        check("", None);
        check(&format!("{} NOOP", "a".repeat(100)), None);
    }

    /// What a stranger may try on the parser; all of it must end fast, without deep recursion.
    #[test]
    fn abuse() {
        #[track_caller]
        fn check(line: &str) {
            let begin = std::time::Instant::now();
            assert!(parse_command(line.as_bytes()).is_err());
            assert!(begin.elapsed().as_secs() < 1);
        }
        check(&format!("a SEARCH {}", "(".repeat(60_000)));
        check(&format!("a SEARCH {}ALL{}", "(".repeat(60_000), ")".repeat(60_000)));
        check(&format!("a SEARCH {}ALL", "NOT ".repeat(15_000)));
        check(&format!("a SEARCH {}{}", "OR ".repeat(8_000), "ALL ".repeat(8_001)));
        check(&format!("a SEARCH {}", "ALL ".repeat(15_000)));
        check(&format!("a CANCELUPDATE {}", "\"x\" ".repeat(15_000)));
        check(&format!("a ESEARCH IN ({}) ALL", "(".repeat(60_000)));
        check(&format!("a ESEARCH IN ({}) ALL", "personal ".repeat(15_000)));
        check(&format!("a ESEARCH IN (mailboxes ({})) ALL", "x ".repeat(15_000)));
        check(&format!("a SEARCH RETURN ({}) ALL", "MIN ".repeat(15_000)));
        check(&format!("a SEARCH {}", "$ ".repeat(15_000)));
        check(&format!("a FETCH 1 BODY[{}1]", "1.".repeat(20_000)));
        check(&format!("a FETCH {}1 UID", "1,".repeat(20_000)));
        check(&format!("a FETCH 1 ({})", "UID ".repeat(15_000)));
        check(&format!("a FETCH 1 BODY[HEADER.FIELDS ({})]", "x ".repeat(15_000)));
        check(&format!("a STORE 1 FLAGS ({})", "x ".repeat(15_000)));
        check(&format!("a LIST {} *", "(".repeat(60_000)));
        check(&format!("a LIST \"\" ({})", "* ".repeat(15_000)));
        check(&format!("a STATUS x ({})", "MESSAGES ".repeat(15_000)));
        check(&format!("a ID ({})", "\"a\" \"b\" ".repeat(15_000)));
        check(&format!("a ENABLE {}", "x ".repeat(15_000)));
        check(&format!("a NOTIFY SET {}", "(".repeat(60_000)));
        check(&format!("a NOTIFY SET {}", "(personal NONE) ".repeat(4_000)));
        check(&format!("a NOTIFY SET (personal ({}))", "MailboxName ".repeat(5_000)));
        check(&format!("a NOTIFY SET (personal {})", "MailboxName ".repeat(5_000)));
        check(&format!(
            "a NOTIFY SET (selected (MessageNew ({}) MessageExpunge))",
            "UID ".repeat(9_000)
        ));
        check(&format!("a SORT ({}) UTF-8 ALL", "DATE ".repeat(15_000)));
        check(&format!("a SORT (DATE) UTF-8 {}", "(".repeat(60_000)));
        check(&format!("a SORT {} UTF-8 ALL", "(".repeat(60_000)));
        check(&format!("a THREAD REFS UTF-8 {}ALL", "NOT ".repeat(15_000)));
        check(&format!("a CREATE x (USE ({}))", "\\Sent ".repeat(15_000)));
        check(&format!("a CREATE x {}", "(".repeat(60_000)));
        check(&format!("a APPEND x {}", "(".repeat(60_000)));
        check(&format!("a APPEND x ({}) {{1}}\r\n", "x ".repeat(15_000)));
        check(&format!("a APPEND x CATENATE {}", "(".repeat(60_000)));
        check(&format!("a APPEND x CATENATE ({}", "URL \"/x/;UID=1\" ".repeat(15_000)));
        check(&format!("a APPEND x CATENATE ({}", "TEXT ".repeat(15_000)));
        check(&format!("a APPEND x{} UTF8", " CATENATE (URL x)".repeat(15_000)));
        check(&format!("a REPLACE {}1 x {{1}}\r\n", "1,".repeat(20_000)));
        check(&format!("a UID REPLACE 1 x {}", "UTF8 (".repeat(15_000)));
    }
}
