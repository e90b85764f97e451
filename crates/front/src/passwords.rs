//! Dovecot's authentication protocol, version 1.1 and later, the side of the server (doc.dovecot.org, "Dovecot
//! authentication protocol"), as Postfix speaks it with `smtpd_sasl_type = dovecot`.
//!
//! ```text
//! server: VERSION  MECH...  SPID  CUID  COOKIE  DONE
//! client: VERSION  CPID
//! client: AUTH TAB id TAB mechanism TAB service=smtp [TAB rip=ip]... [TAB resp=base64]
//! server: CONT TAB id TAB base64  /  OK TAB id TAB user=name  /  FAIL TAB id [TAB user=name] [TAB temp]
//! client: CONT TAB id TAB base64
//! ```

use crate::Service;
use auth::{Auth, Door, Error, Exchange, Step};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::timeout;
use types::Peer;

/// RFC 4954 §4 has 12,288 for what a client says; the rest is about it.
const LINE_BYTES: usize = 16 * 1024;
/// Exchanges under way in one connection: Postfix has one, a proxy with many clients some.
const EXCHANGES: usize = 256;
/// Questions in one exchange.
const STEPS: u8 = 8;
const MAJOR: &str = "1";

/// One exchange.
struct Running {
    exchange: Exchange,
    steps: u8,
    /// Where the one who logs in is.
    ip: IpAddr,
}

/// What there is to say to a line.
enum Said {
    Reply(String),
    Nothing,
    /// This is not the protocol.
    Close(&'static str),
}

pub(crate) async fn talk<S>(service: &Service, stream: S, peer: Peer) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (read, mut write) = tokio::io::split(stream);
    let mut read = BufReader::new(read);
    timeout(service.write_timeout, write.write_all(greeting(&service.auth)?.as_bytes())).await??;
    let mut running = HashMap::new();
    let mut line = String::new();
    loop {
        line.clear();
        let mut limited = (&mut read).take(LINE_BYTES as u64);
        let count = timeout(service.idle_timeout, limited.read_line(&mut line)).await??;
        if count == 0 {
            return Ok(());
        }
        if !line.ends_with('\n') {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the line is too long"));
        }
        match answer(service, &mut running, line.trim_end_matches(['\r', '\n']), peer).await {
            Said::Nothing => {}
            Said::Reply(reply) => {
                let all = async {
                    write.write_all(reply.as_bytes()).await?;
                    write.flush().await
                };
                timeout(service.write_timeout, all).await??;
            }
            Said::Close(why) => return Err(io::Error::new(io::ErrorKind::InvalidData, why)),
        }
    }
}

/// All of it at once: Postfix waits for DONE before it says anything.
fn greeting(auth: &Auth) -> io::Result<String> {
    let mut random = [0u8; 20];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let mut text = format!("VERSION\t{MAJOR}\t1\n");
    for name in auth.mechanisms(false) {
        let _ = writeln!(text, "MECH\t{name}{}", traits(name));
    }
    let (connection, cookie) = random.split_at(4);
    let number = connection.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
    let cookie = cookie.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let _ = write!(text, "SPID\t{}\nCUID\t{number}\nCOOKIE\t{cookie}\nDONE\n", std::process::id());
    Ok(text)
}

/// What a front has to know of a mechanism: whether it shows the password to who listens.
fn traits(name: &str) -> &'static str {
    match name {
        "PLAIN" | "LOGIN" => "\tplaintext",
        "SCRAM-SHA-256" => "\tmutual-auth",
        _ => "",
    }
}

async fn answer(
    service: &Service,
    running: &mut HashMap<u32, Running>,
    line: &str,
    peer: Peer,
) -> Said {
    let mut fields = line.split('\t');
    match fields.next().unwrap_or_default() {
        "VERSION" if fields.next() != Some(MAJOR) => Said::Close("another major version"),
        "AUTH" => match number(fields.next()) {
            Some(id) if running.len() < EXCHANGES => {
                begin(service, running, id, fields, peer).await
            }
            Some(id) => Said::Reply(fail(id, "", "\ttemp\treason=too many at once")),
            None => Said::Close("AUTH without a number"),
        },
        "CONT" => match number(fields.next()) {
            Some(id) => match running.remove(&id) {
                Some(exchange) => go_on(service, running, id, exchange, fields.next()).await,
                None => Said::Reply(fail(id, "", "\treason=there is no such exchange")),
            },
            None => Said::Close("CONT without a number"),
        },
        "CANCEL" => {
            if let Some(id) = number(fields.next()) {
                running.remove(&id);
            }
            Said::Nothing
        }
        // VERSION, CPID, and what later versions add: to be passed over.
        name if !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') => {
            Said::Nothing
        }
        _ => Said::Close("not a command"),
    }
}

async fn begin<'a>(
    service: &Service,
    running: &mut HashMap<u32, Running>,
    id: u32,
    mut fields: impl Iterator<Item = &'a str>,
    peer: Peer,
) -> Said {
    let mechanism = fields.next().unwrap_or_default();
    let (mut ip, mut initial) = (peer.ip, None);
    for field in fields {
        match field.split_once('=') {
            // Who guesses is slowed down where it comes from, not the front.
            Some(("rip", text)) => ip = text.parse::<IpAddr>().unwrap_or(peer.ip),
            // Always the last one; base64 may end in `=`.
            Some(("resp", text)) => initial = Some(text),
            _ => {}
        }
    }
    let door = Door {
        auth: service.auth.clone(),
        peer: ip,
        binding: None,
        default_domain: Some(service.mda.full_address("").split_off(1)),
    };
    let Some(mut exchange) = Exchange::start(mechanism, door) else {
        return Said::Reply(fail(id, "", "\treason=there is no such mechanism here"));
    };
    // An empty `resp=` is an empty response, no response none.
    let step = match initial {
        None => exchange.next(None).await,
        Some("") => exchange.next(Some(b"")).await,
        Some(line) => exchange.next_line(line.as_bytes()).await,
    };
    judge(service, running, id, Running { exchange, steps: 0, ip }, step).await
}

async fn go_on(
    service: &Service,
    running: &mut HashMap<u32, Running>,
    id: u32,
    mut exchange: Running,
    response: Option<&str>,
) -> Said {
    exchange.steps += 1;
    if exchange.steps > STEPS {
        return Said::Reply(fail(id, "", "\treason=too many steps"));
    }
    let response = response.unwrap_or_default();
    let step = match response {
        "" => exchange.exchange.next(Some(b"")).await,
        line => exchange.exchange.next_line(line.as_bytes()).await,
    };
    judge(service, running, id, exchange, step).await
}

async fn judge(
    service: &Service,
    running: &mut HashMap<u32, Running>,
    id: u32,
    exchange: Running,
    step: Step,
) -> Said {
    let (user, outcome) = match step {
        Step::Ask(question) => {
            running.insert(id, exchange);
            return Said::Reply(format!("CONT\t{id}\t{}\n", Step::question_base64(&question)));
        }
        Step::Password { user, password } => {
            let user = service.mda.full_address(&user);
            let outcome = service.auth.login(&user, &password, exchange.ip).await;
            (user, outcome)
        }
        Step::Done { user, outcome } => (user, outcome),
        Step::Malformed => return Said::Reply(fail(id, "", "\treason=not understood")),
        Step::Cancelled => return Said::Reply(fail(id, "", "\treason=cancelled")),
    };
    Said::Reply(match outcome {
        Ok(identity) => format!("OK\t{id}\tuser={}\n", escaped(&identity.key)),
        Err(error @ Error::Credentials) => fail(id, &user, &format!("\treason={error}")),
        Err(error) => fail(id, &user, &format!("\ttemp\treason={}", escaped(&error.to_string()))),
    })
}

fn fail(id: u32, user: &str, rest: &str) -> String {
    match user {
        "" => format!("FAIL\t{id}{rest}\n"),
        user => format!("FAIL\t{id}\tuser={}{rest}\n", escaped(user)),
    }
}

fn number(field: Option<&str>) -> Option<u32> {
    field?.parse().ok().filter(|id| *id > 0)
}

/// Tabs and line ends begin new fields; Dovecot writes them as `\001t`, `\001n` and so on.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push_str("\u{1}t"),
            '\n' => out.push_str("\u{1}n"),
            '\r' => out.push_str("\u{1}r"),
            '\u{1}' => out.push_str("\u{1}1"),
            '\0' => out.push_str("\u{1}0"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        assert_eq!(escaped("a\tb\nc\rd\u{1}e\0f"), "a\u{1}tb\u{1}nc\u{1}rd\u{1}1e\u{1}0f");
        assert_eq!(fail(7, "a@b", "\ttemp"), "FAIL\t7\tuser=a@b\ttemp\n");
        assert_eq!(fail(7, "", ""), "FAIL\t7\n");
        assert_eq!([number(Some("0")), number(Some("-1")), number(None)], [None, None, None]);
        assert_eq!(number(Some("4294967295")), Some(u32::MAX));
    }
}
