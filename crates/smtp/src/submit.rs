//! What MAIL, RCPT and the end of the data are to our own users (RFC 6409): who may send as whom, how much, where to.

use crate::deliver::protocol;
use crate::dots::Body;
use crate::metrics::Outcome;
use crate::reply::Reply;
use crate::session::{Accepted, Session, Transaction};
use mda::{Login, Objection, Sent, Submission};
use types::{Address, Date};

/// MAIL: the sender is the user's own, and there is room for a letter. The null sender is everybody's.
pub(crate) async fn sender(session: &mut Session, mail: &Transaction) -> Result<(), Reply> {
    let login = login(session)?;
    let mda = session.service.mda.clone();
    if let Some(sender) = &mail.sender {
        let owned = mda.owns(&login, sender).await;
        if !owned.map_err(|refusal| Reply::of_refusal(refusal, ""))? {
            let (address, key) = (shown(sender), login.key);
            let mut reply = Reply::of_objection(&Objection::NotYours { address, key }, "");
            reply.code = 553;
            return Err(reply);
        }
    }
    mda.may_send(login.account, 1).map_err(|objection| Reply::of_objection(&objection, ""))
}

/// RCPT: one more fits under the rates.
pub(crate) fn may_address(session: &Session, mail: &Transaction) -> Result<(), Reply> {
    let login = login(session)?;
    let recipients = u32::try_from(mail.recipients.len()).unwrap_or(u32::MAX).saturating_add(1);
    let answer = session.service.mda.may_send(login.account, recipients);
    answer.map_err(|objection| Reply::of_objection(&objection, ""))
}

/// RCPT of another domain: through the queue.
pub(crate) fn elsewhere(session: &Session, wanted: queue::Recipient) -> Result<Accepted, Reply> {
    if !session.service.mda.relays() {
        let text =
            "this server sends no mail to other domains; send it with the server of your provider";
        return Err(Reply::new(554, "5.7.1", text));
    }
    // RFC 6409 §4.2: whoever comes after us must be able to find it.
    let domain = wanted.address.domain();
    if !domain.contains('.') && !domain.starts_with('[') {
        let text = "the domain is not complete; write the whole address, such as user@example.test";
        return Err(Reply::new(554, "5.1.2", text));
    }
    Ok(Accepted { wanted, here: None })
}

/// The end of the data.
pub(crate) async fn finish(
    session: &mut Session,
    mail: Transaction,
    body: Body,
    id: &str,
) -> (Reply, Outcome) {
    let submission = match submission(session, mail, id) {
        Ok(submission) => submission,
        Err(reply) => return (reply, Outcome::Refused),
    };
    match session.service.mda.submit(submission, body.into_bytes().into()).await {
        Ok(sent) => (accepted(sent, id), Outcome::Accepted),
        Err(objection) => {
            let reply = Reply::of_objection(&objection, id);
            let outcome = if reply.is_temporary() { Outcome::Failed } else { Outcome::Refused };
            (reply, outcome)
        }
    }
}

fn submission(session: &Session, mail: Transaction, id: &str) -> Result<Submission, Reply> {
    let hello = session.hello.as_ref();
    Ok(Submission {
        login: login(session)?,
        protocol: protocol(session, mail.utf8),
        envelope: queue::Envelope {
            sender: mail.sender,
            recipients: mail.recipients.into_iter().map(|to| to.wanted).collect(),
            body: mail.body,
            utf8: mail.utf8,
            require_tls: mail.require_tls,
            ret: mail.ret,
            envelope_id: mail.envelope_id,
            account: None,
            release_unix_s: mail.release_unix_s,
        },
        client_ip: session.peer.ip,
        helo: hello.map(|h| h.name.clone()).unwrap_or_default(),
        id: id.to_owned(),
    })
}

fn accepted(sent: Sent, id: &str) -> Reply {
    let text = match sent {
        Sent::Delivered => format!("{id} delivered"),
        Sent::Queued => format!("{id} on its way"),
        Sent::Held { release_unix_s } => {
            format!("{id} waits until {}", Date::from_unix_s(release_unix_s).rfc3339())
        }
    };
    Reply::new(250, "2.0.0", text)
}

fn login(session: &Session) -> Result<Login, Reply> {
    let identity = session.identity.as_ref();
    let identity = identity.ok_or_else(|| Reply::new(530, "5.7.0", "log in first"))?;
    Ok(Login { account: identity.account, key: identity.key.clone() })
}

/// A reply is ASCII where SMTPUTF8 was not asked for (RFC 6531 §3.7.4.1).
fn shown(address: &Address) -> String {
    let text = address.to_string();
    if text.is_ascii() { text } else { "this address".to_owned() }
}
