//! MAIL (RFC 5321 §4.1.1.2): a letter begins.
//!
//! ```text
//! mail       = "MAIL FROM:" Reverse-path [SP Mail-parameters] CRLF
//! size-value = 1*20DIGIT                                             ; RFC 1870 §3
//! body-value = "7BIT" / "8BITMIME" / "BINARYMIME"                    ; RFC 6152 §3, RFC 3030 §3
//! ```
//!
//! Besides: SMTPUTF8 (RFC 6531 §3.4), RET and ENVID (RFC 3461 §4.3), REQUIRETLS (RFC 8689 §4.1), HOLDFOR and HOLDUNTIL
//! (RFC 4865 §5); what they hold is read in [`params`].

use crate::Kind;
use crate::commands::Waiting;
use crate::deliver;
use crate::params;
use crate::path;
use crate::reply::Reply;
use crate::session::{Session, Transaction};
use crate::submit;
use queue::Body as BodyType;
use types::Address;

pub(crate) fn run<'a>(session: &'a mut Session, arg: &'a str) -> Waiting<'a> {
    Box::pin(async move {
        let begun = begin(session, arg).await;
        Ok(begun.unwrap_or_else(|reply| reply))
    })
}

async fn begin(session: &mut Session, arg: &str) -> Result<Reply, Reply> {
    if session.mail.is_some() {
        return Err(Reply::sequence("a letter is under way; RSET forgets it"));
    }
    let now_unix_s = session.service.clock.now_unix_s();
    let mail = parse(arg, session.may_report(), now_unix_s)?;
    if mail.release_unix_s.is_some() && !session.may_hold() {
        return Err(not_here());
    }
    allowed(session, &mail)?;
    session.count_letter()?;
    if session.kind() == Kind::Submission {
        submit::sender(session, &mail).await?;
    }
    session.mail = Some(mail);
    Ok(Reply::new(250, "2.1.0", "sender ok"))
}

fn allowed(session: &Session, mail: &Transaction) -> Result<(), Reply> {
    if mail.size_bytes > Some(session.limits().message_bytes.into()) {
        return Err(deliver::too_large(session));
    }
    // RFC 8689 §4.1: whoever asks for it in clear has said it too late.
    if mail.require_tls && !session.is_encrypted() {
        return Err(Reply::new(530, "5.7.10", "REQUIRETLS is for encrypted connections"));
    }
    Ok(())
}

/// `reports`: somebody here writes reports.
fn parse(arg: &str, reports: bool, now_unix_s: i64) -> Result<Transaction, Reply> {
    let path =
        path::parse(arg, "FROM").ok_or_else(|| Reply::syntax("the form is MAIL FROM:<address>"))?;
    let mut mail = Transaction::new(None);
    let (mut size, mut body) = (None, None);
    for (key, value) in path::params(path.params) {
        let hold = &mut mail.release_unix_s;
        let first = match key.to_ascii_uppercase().as_str() {
            "SIZE" => size.replace(size_value(value)?).is_none(),
            "BODY" => body.replace(body_value(value)?).is_none(),
            "SMTPUTF8" if value.is_none() => !std::mem::replace(&mut mail.utf8, true),
            "REQUIRETLS" if value.is_none() => !std::mem::replace(&mut mail.require_tls, true),
            "RET" if reports => mail.ret.replace(params::ret(value)?).is_none(),
            "ENVID" if reports => mail.envelope_id.replace(params::envid(value)?).is_none(),
            // RFC 4865 §5: one of the two, once.
            "HOLDFOR" if reports => hold.replace(params::hold_for(value, now_unix_s)?).is_none(),
            "HOLDUNTIL" if reports => {
                hold.replace(params::hold_until(value, now_unix_s)?).is_none()
            }
            // RFC 4954 §5: whoever logs in may name the author; we trust the login only.
            "AUTH" if value.is_some() => true,
            _ => return Err(not_here()),
        };
        if !first {
            return Err(Reply::syntax("a parameter is there twice"));
        }
    }
    mail.size_bytes = size;
    mail.body = body.unwrap_or_default();
    mail.sender = sender(path.mailbox, mail.utf8)?;
    Ok(mail)
}

fn not_here() -> Reply {
    Reply::new(555, "5.5.4", "there is no such parameter here")
}

fn sender(mailbox: &str, utf8: bool) -> Result<Option<Address>, Reply> {
    if mailbox.is_empty() {
        return Ok(None);
    }
    check_ascii(mailbox, utf8)?;
    match mailbox.parse() {
        Ok(address) => Ok(Some(address)),
        Err(error) => {
            let error: types::AddressError = error;
            Err(Reply::new(553, "5.1.7", format!("no address: {error}")))
        }
    }
}

/// RFC 6531 §3.4: UTF-8 in an address only after SMTPUTF8.
pub(super) fn check_ascii(mailbox: &str, utf8: bool) -> Result<(), Reply> {
    if utf8 || mailbox.is_ascii() {
        return Ok(());
    }
    let text = "an address with letters outside ASCII needs SMTPUTF8";
    Err(Reply::new(553, "5.6.7", text))
}

fn size_value(value: Option<&str>) -> Result<u64, Reply> {
    let digits =
        value.filter(|v| (1..=20).contains(&v.len()) && v.bytes().all(|b| b.is_ascii_digit()));
    let digits = digits.ok_or_else(|| Reply::syntax("SIZE is a number of bytes"))?;
    // Twenty digits may pass 64 bits: too large all the same.
    Ok(digits.parse().unwrap_or(u64::MAX))
}

fn body_value(value: Option<&str>) -> Result<BodyType, Reply> {
    match value.unwrap_or_default().to_ascii_uppercase().as_str() {
        "7BIT" => Ok(BodyType::SevenBit),
        "8BITMIME" => Ok(BodyType::EightBit),
        "BINARYMIME" => Ok(BodyType::Binary),
        _ => Err(Reply::syntax("BODY is 7BIT, 8BITMIME or BINARYMIME")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted() {
        #[track_caller]
        fn check(arg: &str, sender: &str, size: Option<u64>, body: BodyType, utf8: bool) {
            let mail = parse(arg, false, 0).unwrap();
            assert_eq!(mail.sender.map(|s| s.to_string()).unwrap_or_default(), sender);
            assert_eq!((mail.size_bytes, mail.body, mail.utf8), (size, body, utf8));
        }
        use BodyType::{Binary, EightBit, SevenBit};
        check("FROM:<a@Example.TEST>", "a@example.test", None, SevenBit, false);
        check("FROM:<>", "", None, SevenBit, false);
        check("FROM:<> BODY=8bitmime SIZE=7", "", Some(7), EightBit, false);
        check("FROM:<a@b> SIZE=0 BODY=BINARYMIME", "a@b", Some(0), Binary, false);
        check("FROM:<ż@b> SMTPUTF8", "ż@b", None, SevenBit, true);
        check(
            "FROM:<a@b> AUTH=<> SIZE=99999999999999999999",
            "a@b",
            Some(u64::MAX),
            SevenBit,
            false,
        );
        check("FROM:<@c.test:a@b>", "a@b", None, SevenBit, false);
    }

    #[test]
    fn refused() {
        #[track_caller]
        fn check(arg: &str, code: u16) {
            assert_eq!(parse(arg, true, 0).unwrap_err().code, code, "{arg:?}");
        }
        check("", 501);
        check("FROM:", 501);
        check("FROM:a@b", 501);
        check("TO:<a@b>", 501);
        check("FROM:<a@b> SIZE=", 501);
        check("FROM:<a@b> SIZE=-1", 501);
        check("FROM:<a@b> SIZE=999999999999999999999", 501);
        check("FROM:<a@b> SIZE=1 SIZE=2", 501);
        check("FROM:<a@b> BODY=9BIT", 501);
        check("FROM:<a@b> SMTPUTF8 SMTPUTF8", 501);
        check("FROM:<a@b> SMTPUTF8=1", 555);
        check("FROM:<a@b> X-OWN=1", 555);
        check("FROM:<a@b> RET=ALL", 501);
        check("FROM:<a@b> RET=FULL RET=FULL", 501);
        check("FROM:<a@b> ENVID=a+", 501);
        check("FROM:<a@b> ENVID=a ENVID=a", 501);
        check("FROM:<a@b> HOLDFOR=0", 501);
        check("FROM:<a@b> HOLDFOR=1 HOLDUNTIL=1970-01-01T00:00:01Z", 501);
        check("FROM:<a@b> REQUIRETLS=1", 555);
        check("FROM:<a@b> REQUIRETLS REQUIRETLS", 501);
        check("FROM:<ż@b>", 553);
        check("FROM:<a>", 553);
        check("FROM:<a b@c>", 553);
        check("FROM:<|/bin/sh@c d>", 553);
    }

    #[test]
    fn reports_and_waiting() {
        let arg = "FROM:<a@b> ret=hdrs ENVID=QQ+2B1 REQUIRETLS HOLDFOR=60";
        let mail = parse(arg, true, 1000).unwrap();
        assert_eq!(mail.ret, Some(queue::Return::Headers));
        assert_eq!(mail.envelope_id.as_deref(), Some("QQ+1"));
        assert_eq!((mail.require_tls, mail.release_unix_s), (true, Some(1060)));
        let mail = parse("FROM:<a@b> HOLDUNTIL=1970-01-02T00:00:00Z", true, 1000).unwrap();
        assert_eq!(mail.release_unix_s, Some(86_400));
        for param in ["RET=FULL", "ENVID=a", "HOLDFOR=1", "HOLDUNTIL=1970-01-02T00:00:00Z"] {
            let reply = parse(&format!("FROM:<a@b> {param}"), false, 0).unwrap_err();
            assert_eq!(reply.code, 555, "{param}");
        }
    }
}
