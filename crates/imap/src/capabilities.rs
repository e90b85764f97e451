//! The table of what we say we can. Nothing stands here that does not work.

use crate::Config;
use crate::order::thread::ALGORITHMS;

/// When a capability is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    Always,
    /// Before login, where a password may be sent.
    ToLogIn,
    /// Before login, where it may not.
    NoLogin,
    /// Before login, where STARTTLS may be said.
    Tls,
    AfterLogin,
}

/// What values depend on.
pub(crate) struct Has<'a> {
    pub(crate) config: &'a Config,
    /// What [`auth::Auth::mechanisms`] says of this connection.
    pub(crate) mechanisms: &'a [&'static str],
}

/// One row of [`CAPABILITIES`].
#[derive(Debug)]
pub struct Capability {
    pub name: &'static str,
    pub shown: Shown,
    pub spec: &'static str,
    /// What follows the name; each value is a capability of its own, and without one there is none.
    values: fn(&Has<'_>) -> Vec<String>,
}

const fn row(name: &'static str, shown: Shown, spec: &'static str) -> Capability {
    Capability { name, shown, spec, values: |_| vec![String::new()] }
}

use Shown::{AfterLogin, Always, NoLogin, Tls, ToLogIn};

// unsorted: by name, but for the versions, which some clients expect first
pub static CAPABILITIES: &[Capability] = &[
    row("IMAP4rev1", Always, "RFC 3501"),
    row("IMAP4rev2", Always, "RFC 9051"),
    row("ACL", AfterLogin, "RFC 4314"),
    Capability {
        values: |has| vec![has.config.limits.message_bytes.to_string()],
        ..row("APPENDLIMIT=", AfterLogin, "RFC 7889")
    },
    Capability {
        values: |has| has.mechanisms.iter().map(|name| (*name).to_owned()).collect(),
        ..row("AUTH=", ToLogIn, "RFC 9051 §6.2.2")
    },
    row("BINARY", AfterLogin, "RFC 3516"),
    row("CATENATE", AfterLogin, "RFC 4469"),
    row("CHILDREN", AfterLogin, "RFC 3348"),
    row("COMPRESS=DEFLATE", AfterLogin, "RFC 4978"),
    row("CONDSTORE", AfterLogin, "RFC 7162 §3.1"),
    row("CONTEXT=SEARCH", AfterLogin, "RFC 5267 §4"),
    row("CONTEXT=SORT", AfterLogin, "RFC 5267 §4"),
    row("CREATE-SPECIAL-USE", AfterLogin, "RFC 6154 §3"),
    row("ENABLE", Always, "RFC 5161"),
    row("ESEARCH", AfterLogin, "RFC 4731"),
    row("ESORT", AfterLogin, "RFC 5267"),
    row("I18NLEVEL=1", AfterLogin, "RFC 5255"),
    row("ID", Always, "RFC 2971"),
    row("IDLE", Always, "RFC 2177"),
    row("INPROGRESS", AfterLogin, "RFC 9585"),
    Capability {
        values: |has| has.config.jmap_session_url.iter().map(|_| String::new()).collect(),
        ..row("JMAPACCESS", AfterLogin, "RFC 9698")
    },
    row("LIST-EXTENDED", AfterLogin, "RFC 5258"),
    row("LIST-MYRIGHTS", AfterLogin, "RFC 8440"),
    row("LIST-STATUS", AfterLogin, "RFC 5819"),
    row("LITERAL+", Always, "RFC 7888"),
    row("LOGINDISABLED", NoLogin, "RFC 3501 §6.2.3"),
    row("METADATA", AfterLogin, "RFC 5464"),
    row("MOVE", AfterLogin, "RFC 6851"),
    row("MULTIAPPEND", AfterLogin, "RFC 3502"),
    row("MULTISEARCH", AfterLogin, "RFC 7377"),
    row("NAMESPACE", AfterLogin, "RFC 2342"),
    row("NOTIFY", AfterLogin, "RFC 5465"),
    row("OBJECTID", AfterLogin, "RFC 8474"),
    row("PARTIAL", AfterLogin, "RFC 9394"),
    row("PREVIEW", AfterLogin, "RFC 8970"),
    row("QRESYNC", AfterLogin, "RFC 7162 §3.2"),
    row("QUOTA", AfterLogin, "RFC 9208"),
    row("QUOTA=RES-MESSAGE", AfterLogin, "RFC 9208 §5.2"),
    row("QUOTA=RES-STORAGE", AfterLogin, "RFC 9208 §5.1"),
    row("REPLACE", AfterLogin, "RFC 8508"),
    row("RIGHTS=kxte", AfterLogin, "RFC 4314 §2.2"),
    row("SASL-IR", Always, "RFC 4959"),
    row("SAVEDATE", AfterLogin, "RFC 8514"),
    row("SEARCHRES", AfterLogin, "RFC 5182"),
    row("SORT", AfterLogin, "RFC 5256"),
    row("SORT=DISPLAY", AfterLogin, "RFC 5957"),
    row("SPECIAL-USE", AfterLogin, "RFC 6154"),
    row("STARTTLS", Tls, "RFC 9051 §6.2.1"),
    row("STATUS=SIZE", AfterLogin, "RFC 8438"),
    Capability {
        values: |_| ALGORITHMS.iter().map(|(name, ..)| (*name).to_owned()).collect(),
        ..row("THREAD=", AfterLogin, "RFC 5256")
    },
    row("UIDONLY", AfterLogin, "RFC 9586"),
    row("UIDPLUS", AfterLogin, "RFC 4315"),
    row("UNAUTHENTICATE", AfterLogin, "RFC 8437"),
    row("UNSELECT", AfterLogin, "RFC 3691"),
    row("UTF8=ACCEPT", AfterLogin, "RFC 6855"),
    row("WITHIN", AfterLogin, "RFC 5032"),
];

/// `CAPABILITY IMAP4rev1 IMAP4rev2 ...`, as it stands in the response and between the brackets of a code.
pub(crate) fn line(has: &Has<'_>, private: bool, logged_in: bool, tls: bool) -> String {
    let mut line = "CAPABILITY".to_owned();
    for row in CAPABILITIES {
        let shown = match row.shown {
            Always => true,
            ToLogIn => !logged_in && private,
            Tls => !logged_in && tls,
            NoLogin => !logged_in && !private,
            AfterLogin => logged_in,
        };
        if shown {
            for value in (row.values)(has) {
                line.extend([" ", row.name, &value]);
            }
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        let (versions, rest) = CAPABILITIES.split_at(2);
        assert_eq!([versions[0].name, versions[1].name], ["IMAP4rev1", "IMAP4rev2"]);
        assert!(rest.is_sorted_by(|a, b| a.name < b.name));
    }

    fn has(config: &Config) -> Has<'_> {
        Has { config, mechanisms: &["LOGIN", "PLAIN"] }
    }

    #[test]
    fn lines() {
        let config = Config::default();
        assert_eq!(
            line(&has(&config), true, false, false),
            "CAPABILITY IMAP4rev1 IMAP4rev2 AUTH=LOGIN AUTH=PLAIN ENABLE ID IDLE LITERAL+ SASL-IR"
        );
        let open = line(&has(&config), false, false, true);
        assert!(
            open.contains(" LOGINDISABLED")
                && open.contains(" STARTTLS")
                && !open.contains("AUTH=")
        );
        let inside = line(&has(&config), true, true, true);
        assert!(
            inside.contains(" APPENDLIMIT=52428800 ")
                && !inside.contains("AUTH=")
                && !inside.contains("STARTTLS")
                && !inside.contains("JMAPACCESS")
        );
        let jmap_session_url = Some("https://mail.example.test/.well-known/jmap".to_owned());
        let config = Config { jmap_session_url, ..config };
        assert!(
            line(&has(&config), true, true, true).contains(" INPROGRESS JMAPACCESS LIST-EXTENDED ")
        );
        assert!(!line(&has(&config), true, false, true).contains("JMAPACCESS"));
    }
}
