//! Facts as the log keeps them: one JSON array in each frame, so that an operator can read it.
//!
//! A field never changes its meaning; a reader skips fields it does not know (`docs/format/queue.md`).

use crate::{Answer, Body, Envelope, Notify, Recipient, Return};
use serde::{Deserialize, Serialize};
use types::AccountId;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub(crate) enum Record {
    /// The letter of this frame waits to be sent.
    Taken(Taken),
    /// It is being sent to these recipients; what came of it follows, unless the power went.
    Began { number: u64, recipients: Vec<usize> },
    /// What is known of these recipients from now on.
    Now { number: u64, recipients: Vec<(usize, Status)> },
    /// Nobody gets it any more.
    Cancelled { number: u64 },
}

/// A letter and what is asked for. One that is written again, so that old files can go, brings what is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// Given once in the life of a queue.
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) received_unix_s: i64,
    pub(crate) envelope: EnvelopeForm,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) known: Vec<Status>,
}

/// How far it is with one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum Status {
    Waiting {
        attempts: u32,
        next_unix_s: i64,
        /// The sender has heard of the delay.
        #[serde(default)]
        told: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<Box<AnswerForm>>,
    },
    Delivered,
    Failed,
}

/// An [`Answer`] on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AnswerForm {
    pub(crate) code: u16,
    pub(crate) enhanced: String,
    pub(crate) text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
}

/// An [`Envelope`] on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EnvelopeForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    to: Vec<RecipientForm>,
    #[serde(default)]
    body: BodyForm,
    #[serde(default)]
    utf8: bool,
    #[serde(default)]
    require_tls: bool,
    /// `full` or `headers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ret: Option<ReturnForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    envelope_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    release_unix_s: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct RecipientForm {
    address: String,
    /// Nothing: the sender did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notify: Option<Vec<When>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    original: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum When {
    Success,
    Failure,
    Delay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BodyForm {
    #[default]
    SevenBit,
    EightBit,
    Binary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReturnForm {
    Full,
    Headers,
}

impl Status {
    pub(crate) fn waits(&self) -> bool {
        matches!(self, Self::Waiting { .. })
    }
}

impl EnvelopeForm {
    /// How many.
    pub(crate) fn recipients(&self) -> usize {
        self.to.len()
    }
}

impl From<&Answer> for AnswerForm {
    fn from(answer: &Answer) -> Self {
        let Answer { code, enhanced, text, host, .. } = answer.clone();
        Self { code, enhanced, text, host }
    }
}

impl From<&AnswerForm> for Answer {
    fn from(form: &AnswerForm) -> Self {
        let AnswerForm { code, enhanced, text, host } = form.clone();
        Self { code, enhanced, text, host, reports: false }
    }
}

impl From<&Envelope> for EnvelopeForm {
    fn from(envelope: &Envelope) -> Self {
        let recipient = |recipient: &Recipient| RecipientForm {
            address: recipient.address.to_string(),
            notify: recipient.notify.said.then(|| words(recipient.notify)),
            original: recipient.original.clone(),
        };
        Self {
            from: envelope.sender.as_ref().map(ToString::to_string),
            to: envelope.recipients.iter().map(recipient).collect(),
            body: match envelope.body {
                Body::SevenBit => BodyForm::SevenBit,
                Body::EightBit => BodyForm::EightBit,
                Body::Binary => BodyForm::Binary,
            },
            utf8: envelope.utf8,
            require_tls: envelope.require_tls,
            ret: envelope.ret.map(|ret| match ret {
                Return::Full => ReturnForm::Full,
                Return::Headers => ReturnForm::Headers,
            }),
            envelope_id: envelope.envelope_id.clone(),
            account: envelope.account.map(|account| account.0),
            release_unix_s: envelope.release_unix_s,
        }
    }
}

/// `None`: an address in it is none.
pub(crate) fn envelope(form: &EnvelopeForm) -> Option<Envelope> {
    let recipient = |form: &RecipientForm| {
        Some(Recipient {
            address: form.address.parse().ok()?,
            notify: form.notify.as_deref().map(notify).unwrap_or_default(),
            original: form.original.clone(),
        })
    };
    Some(Envelope {
        sender: form.from.as_deref().map(str::parse).transpose().ok()?,
        recipients: form.to.iter().map(recipient).collect::<Option<_>>()?,
        body: match form.body {
            BodyForm::SevenBit => Body::SevenBit,
            BodyForm::EightBit => Body::EightBit,
            BodyForm::Binary => Body::Binary,
        },
        utf8: form.utf8,
        require_tls: form.require_tls,
        ret: form.ret.map(|ret| match ret {
            ReturnForm::Full => Return::Full,
            ReturnForm::Headers => Return::Headers,
        }),
        envelope_id: form.envelope_id.clone(),
        account: form.account.map(AccountId),
        release_unix_s: form.release_unix_s,
    })
}

fn words(notify: Notify) -> Vec<When> {
    let all = [
        (notify.success, When::Success),
        (notify.failure, When::Failure),
        (notify.delay, When::Delay),
    ];
    all.into_iter().filter_map(|(wanted, when)| wanted.then_some(when)).collect()
}

fn notify(words: &[When]) -> Notify {
    let has = |when| words.contains(&when);
    Notify {
        success: has(When::Success),
        failure: has(When::Failure),
        delay: has(When::Delay),
        said: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_comes_back_as_it_was() {
        #[track_caller]
        fn check(change: impl FnOnce(&mut Envelope)) {
            let mut expect = Envelope {
                sender: Some("alice@example.test".parse().unwrap()),
                recipients: vec![Recipient::plain("bob@else.test".parse().unwrap())],
                body: Body::SevenBit,
                utf8: false,
                require_tls: false,
                ret: None,
                envelope_id: None,
                account: None,
                release_unix_s: None,
            };
            change(&mut expect);
            let text = serde_json::to_string(&EnvelopeForm::from(&expect)).unwrap();
            let form: EnvelopeForm = serde_json::from_str(&text).unwrap();
            assert_eq!(envelope(&form).as_ref(), Some(&expect), "{text}");
        }
        check(|_| {});
        check(|e| e.sender = None);
        check(|e| e.body = Body::Binary);
        check(|e| (e.body, e.utf8, e.require_tls) = (Body::EightBit, true, true));
        check(|e| e.ret = Some(Return::Headers));
        check(|e| e.ret = Some(Return::Full));
        check(|e| e.envelope_id = Some("QQ 314159 żółw".to_owned()));
        check(|e| (e.account, e.release_unix_s) = (Some(AccountId(7)), Some(1_795_370_400)));
        check(|e| e.recipients[0].notify = Notify::NEVER);
        check(|e| e.recipients[0].original = Some("rfc822;bob+2B@else.test".to_owned()));
        check(|e| {
            let notify = Notify { success: true, failure: true, delay: false, said: true };
            e.recipients[0].notify = notify;
            e.recipients.push(Recipient::plain("\"a b\"@żółw.test".parse().unwrap()));
        });
    }
}
