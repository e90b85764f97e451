//! Tables that Postfix asks: socketmap (postfix.org, `socketmap_table`).
//!
//! ```text
//! request = netstring of: mapname SP key
//! reply   = netstring of: "OK" SP value / "NOTFOUND" SP / "TEMP" SP reason / "PERM" SP reason
//! ```

use crate::{Service, netstring};
use mda::Refusal;
use std::io;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite, BufStream};
use tokio::time::timeout;
use types::Address;

/// A table: its name in Postfix's configuration, what it is for, who answers.
pub struct Table {
    pub name: &'static str,
    pub about: &'static str,
    answer: for<'a> fn(&'a Service, &'a str) -> Answering<'a>,
}

type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// What stands in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Found(String),
    NotFound,
    /// The store cannot say at the moment; Postfix answers 451, and nobody is refused for good.
    Later(String),
    NoTable,
}

// sorted by name
pub static TABLES: &[Table] = &[
    Table {
        name: "domain",
        about: "virtual_mailbox_domains: whose mail is taken here",
        answer: |service, key| Box::pin(std::future::ready(domain(service, key))),
    },
    Table {
        name: "mailbox",
        about: "virtual_mailbox_maps: addresses that lead to somebody, aliases and catch-all included",
        answer: |service, key| Box::pin(mailbox(service, key)),
    },
    Table {
        name: "sender",
        about: "smtpd_sender_login_maps: the accounts that may send as an address",
        answer: |service, key| Box::pin(sender(service, key)),
    },
];

pub(crate) async fn talk<S>(service: &Service, stream: S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufStream::new(stream);
    loop {
        let Some(request) = timeout(service.idle_timeout, netstring::read(&mut stream)).await??
        else {
            return Ok(());
        };
        let reply = answer(service, &request).await.to_text();
        timeout(service.write_timeout, netstring::write(&mut stream, &reply)).await??;
    }
}

async fn answer(service: &Service, request: &[u8]) -> Answer {
    // Whatever is no text is in no table.
    let Ok(text) = std::str::from_utf8(request) else { return Answer::NotFound };
    let (name, key) = text.split_once(' ').unwrap_or((text, ""));
    match TABLES.iter().find(|table| table.name == name) {
        Some(table) => (table.answer)(service, key).await,
        None => Answer::NoTable,
    }
}

impl Answer {
    fn to_text(&self) -> String {
        match self {
            Self::Found(value) => format!("OK {value}"),
            Self::NotFound => "NOTFOUND ".to_owned(),
            Self::Later(reason) => format!("TEMP {reason}"),
            Self::NoTable => {
                let names: Vec<&str> = TABLES.iter().map(|table| table.name).collect();
                format!("PERM there is no such table; there are {}", names.join(", "))
            }
        }
    }
}

fn domain(service: &Service, key: &str) -> Answer {
    // Any local part will do.
    match format!("postmaster@{key}").parse::<Address>() {
        Ok(address) if service.mda.is_local(&address) => Answer::Found(key.to_lowercase()),
        _ => Answer::NotFound,
    }
}

/// Postfix also asks for `@domain` and for local parts alone; those are in no table of ours: a catch-all answers for
/// every address.
async fn mailbox(service: &Service, key: &str) -> Answer {
    let Ok(address) = key.parse::<Address>() else { return Answer::NotFound };
    match service.mda.recipient(&address, 0).await {
        // A full mailbox is there; LMTP says that it is full.
        Ok(_) | Err(Refusal::MailboxFull) => Answer::Found(address.account_key()),
        Err(refusal) => refused(refusal),
    }
}

async fn sender(service: &Service, key: &str) -> Answer {
    let Ok(address) = key.parse::<Address>() else { return Answer::NotFound };
    match service.mda.owners(&address).await {
        Ok(owners) if owners.is_empty() => Answer::NotFound,
        Ok(owners) => Answer::Found(owners.join(",")),
        Err(refusal) => refused(refusal),
    }
}

fn refused(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::UnknownUser | Refusal::OtherDomain => Answer::NotFound,
        other => Answer::Later(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(TABLES.is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn on_the_wire() {
        #[track_caller]
        fn check(answer: &Answer, expect: &str) {
            assert_eq!(answer.to_text(), expect);
        }
        check(&Answer::Found("alice@example.test".to_owned()), "OK alice@example.test");
        check(&Answer::NotFound, "NOTFOUND ");
        check(&refused(Refusal::UnknownUser), "NOTFOUND ");
        check(&refused(Refusal::OtherDomain), "NOTFOUND ");
        let later = "TEMP the mail store cannot take the letter at the moment; try again later";
        check(&refused(Refusal::Unavailable), later);
        check(&Answer::NoTable, "PERM there is no such table; there are domain, mailbox, sender");
    }
}
