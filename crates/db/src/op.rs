//! Facts as the log keeps them. An op says what became true, with every number already given, so
//! that applying the same ops in the same order always gives the same index.
//!
//! On disk: one tag byte, then the fields in order; numbers as LEB128, text and bytes with their
//! length in front. A tag never changes its meaning; a new form gets a new tag (`docs/format/`).

use crate::{Amount, LetterPart, MessageRow};
use types::{
    AccountId, EmailId, Flags, Keyword, MailboxId, ModSeq, SpecialUse, ThreadId, Uid, UidSet,
    UidValidity,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// An account exists with this key and secret.
    AccountPut { account: AccountId, key: String, secret: String },
    /// A mailbox exists with this name. First put makes it, later ones rename or (un)subscribe.
    MailboxPut {
        account: AccountId,
        mailbox: MailboxId,
        modseq: ModSeq,
        uid_validity: UidValidity,
        name: String,
        special_use: Option<SpecialUse>,
        subscribed: bool,
    },
    /// A mailbox and all its messages are gone.
    MailboxGone { account: AccountId, mailbox: MailboxId, modseq: ModSeq },
    /// The frame's blob, or a part of it, is this email's bytes.
    EmailAdd {
        account: AccountId,
        email: EmailId,
        thread: ThreadId,
        received_unix_s: i64,
        /// Encoded `mparser::Index`.
        index: Vec<u8>,
        /// Hashes of Message-ID and References that lead to `thread` from now on.
        message_ids: Vec<u64>,
        /// `None`: all of the blob.
        part: Option<LetterPart>,
    },
    /// An email is in a mailbox under this UID.
    MessageAdd { account: AccountId, mailbox: MailboxId, row: MessageRow },
    /// These messages have exactly these flags.
    FlagsPut { account: AccountId, mailbox: MailboxId, modseq: ModSeq, uids: UidSet, flags: Flags },
    /// These messages are gone from the mailbox; an email whose last copy goes is dead.
    MessageGone { account: AccountId, mailbox: MailboxId, modseq: ModSeq, uids: UidSet },
    /// The account may hold so much from now on; 0: no limit.
    QuotaPut { account: AccountId, limit: Amount },
    /// The change log of the account begins after this MODSEQ: what is older is forgotten.
    ChangesFloor { account: AccountId, modseq: ModSeq },
    /// A mailbox, or the account, has this note; `None`: no longer.
    NotePut {
        account: AccountId,
        mailbox: Option<MailboxId>,
        modseq: ModSeq,
        name: String,
        value: Option<Vec<u8>>,
    },
    /// Somebody whom the mailbox is shared with has read these messages, or wants them to be unread.
    SeenPut {
        account: AccountId,
        mailbox: MailboxId,
        modseq: ModSeq,
        user: AccountId,
        uids: UidSet,
        seen: bool,
    },
    /// Mail for this address goes to these from now on; none: the alias is gone. `@domain` is all of a domain.
    AliasPut { key: String, targets: Vec<String> },
}

/// The bytes are not an op this build knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an operation this version knows")]
pub struct DecodeError;

const ACCOUNT_PUT: u8 = 1;
const MAILBOX_PUT: u8 = 2;
const MAILBOX_GONE: u8 = 3;
const EMAIL_ADD: u8 = 4;
const MESSAGE_ADD: u8 = 5;
const FLAGS_PUT: u8 = 6;
const MESSAGE_GONE: u8 = 7;
const QUOTA_PUT: u8 = 8;
const CHANGES_FLOOR: u8 = 9;
const NOTE_PUT: u8 = 10;
const SEEN_PUT: u8 = 11;
const EMAIL_PART: u8 = 12;
const ALIAS_PUT: u8 = 13;

impl Op {
    /// Whose rows it changes; `None`: an alias is nobody's.
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Self::AccountPut { account, .. }
            | Self::MailboxPut { account, .. }
            | Self::MailboxGone { account, .. }
            | Self::EmailAdd { account, .. }
            | Self::MessageAdd { account, .. }
            | Self::FlagsPut { account, .. }
            | Self::MessageGone { account, .. }
            | Self::QuotaPut { account, .. }
            | Self::ChangesFloor { account, .. }
            | Self::NotePut { account, .. }
            | Self::SeenPut { account, .. } => Some(*account),
            Self::AliasPut { .. } => None,
        }
    }

    /// Appends the on-disk form.
    #[expect(clippy::too_many_lines, reason = "one row for each op")]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut w = Writer(out);
        match self {
            Self::AccountPut { account, key, secret } => {
                w.tag(ACCOUNT_PUT).number(account.0).bytes(key.as_bytes()).bytes(secret.as_bytes());
            }
            Self::MailboxPut {
                account,
                mailbox,
                modseq,
                uid_validity,
                name,
                special_use,
                subscribed,
            } => {
                w.tag(MAILBOX_PUT).place(*account, *mailbox, *modseq);
                w.number(uid_validity.0.into()).bytes(name.as_bytes());
                w.bytes(special_use.map_or("", SpecialUse::role).as_bytes());
                w.number((*subscribed).into());
            }
            Self::MailboxGone { account, mailbox, modseq } => {
                w.tag(MAILBOX_GONE).place(*account, *mailbox, *modseq);
            }
            Self::EmailAdd {
                account,
                email,
                thread,
                received_unix_s,
                index,
                message_ids,
                part,
            } => {
                w.tag(if part.is_some() { EMAIL_PART } else { EMAIL_ADD });
                w.number(account.0).number(email.0).number(thread.0);
                w.signed(*received_unix_s).bytes(index).hashes(message_ids);
                if let Some(part) = part {
                    w.part(part);
                }
            }
            Self::MessageAdd { account, mailbox, row } => {
                w.tag(MESSAGE_ADD).place(*account, *mailbox, row.modseq);
                w.number(row.uid.get().into()).number(row.email.0).flags(&row.flags);
                w.signed(row.received_unix_s).signed(row.saved_unix_s);
                w.number(row.size_bytes.into());
            }
            Self::FlagsPut { account, mailbox, modseq, uids, flags } => {
                w.tag(FLAGS_PUT).place(*account, *mailbox, *modseq).uids(uids).flags(flags);
            }
            Self::MessageGone { account, mailbox, modseq, uids } => {
                w.tag(MESSAGE_GONE).place(*account, *mailbox, *modseq).uids(uids);
            }
            Self::QuotaPut { account, limit } => {
                w.tag(QUOTA_PUT).number(account.0).number(limit.size_bytes).number(limit.messages);
            }
            Self::ChangesFloor { account, modseq } => {
                w.tag(CHANGES_FLOOR).number(account.0).number(modseq.0);
            }
            Self::NotePut { account, mailbox, modseq, name, value } => {
                w.tag(NOTE_PUT).place(*account, mailbox.unwrap_or_default(), *modseq);
                w.bytes(name.as_bytes()).number(value.is_some().into());
                if let Some(value) = value {
                    w.bytes(value);
                }
            }
            Self::SeenPut { account, mailbox, modseq, user, uids, seen } => {
                w.tag(SEEN_PUT).place(*account, *mailbox, *modseq).number(user.0);
                w.uids(uids).number((*seen).into());
            }
            Self::AliasPut { key, targets } => {
                w.tag(ALIAS_PUT).bytes(key.as_bytes()).texts(targets);
            }
        }
    }

    /// Takes one op from the front of `bytes`.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader(bytes);
        match r.byte()? {
            ACCOUNT_PUT => Ok(Self::AccountPut {
                account: AccountId(r.number()?),
                key: r.text()?,
                secret: r.text()?,
            }),
            MAILBOX_PUT => {
                let (account, mailbox, modseq) = r.place()?;
                Ok(Self::MailboxPut {
                    account,
                    mailbox,
                    modseq,
                    uid_validity: UidValidity(r.small()?),
                    name: r.text()?,
                    special_use: SpecialUse::from_role(&r.text()?),
                    subscribed: r.number()? != 0,
                })
            }
            MAILBOX_GONE => {
                let (account, mailbox, modseq) = r.place()?;
                Ok(Self::MailboxGone { account, mailbox, modseq })
            }
            tag @ (EMAIL_ADD | EMAIL_PART) => Ok(Self::EmailAdd {
                account: AccountId(r.number()?),
                email: EmailId(r.number()?),
                thread: ThreadId(r.number()?),
                received_unix_s: r.signed()?,
                index: r.bytes()?.to_vec(),
                message_ids: r.hashes()?,
                part: if tag == EMAIL_PART { Some(r.part()?) } else { None },
            }),
            MESSAGE_ADD => {
                let (account, mailbox, modseq) = r.place()?;
                let uid = r.uid()?;
                let row = MessageRow {
                    uid,
                    modseq,
                    email: EmailId(r.number()?),
                    flags: r.flags()?,
                    received_unix_s: r.signed()?,
                    saved_unix_s: r.signed()?,
                    size_bytes: r.small()?,
                };
                Ok(Self::MessageAdd { account, mailbox, row })
            }
            FLAGS_PUT => {
                let (account, mailbox, modseq) = r.place()?;
                Ok(Self::FlagsPut { account, mailbox, modseq, uids: r.uids()?, flags: r.flags()? })
            }
            MESSAGE_GONE => {
                let (account, mailbox, modseq) = r.place()?;
                Ok(Self::MessageGone { account, mailbox, modseq, uids: r.uids()? })
            }
            QUOTA_PUT => Ok(Self::QuotaPut {
                account: AccountId(r.number()?),
                limit: Amount { size_bytes: r.number()?, messages: r.number()? },
            }),
            CHANGES_FLOOR => Ok(Self::ChangesFloor {
                account: AccountId(r.number()?),
                modseq: ModSeq(r.number()?),
            }),
            NOTE_PUT => r.note(),
            SEEN_PUT => r.seen(),
            ALIAS_PUT => r.alias(),
            _ => Err(DecodeError),
        }
    }
}

/// A set in the form it has in ops.
pub(crate) fn encode_uids(uids: &UidSet) -> Vec<u8> {
    let mut bytes = Vec::new();
    Writer(&mut bytes).uids(uids);
    bytes
}

/// What [`encode_uids`] wrote.
pub(crate) fn decode_uids(mut bytes: &[u8]) -> Result<UidSet, DecodeError> {
    Reader(&mut bytes).uids()
}

struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    fn tag(&mut self, tag: u8) -> &mut Self {
        self.0.push(tag);
        self
    }

    fn number(&mut self, mut n: u64) -> &mut Self {
        while n >= 0x80 {
            self.0.push(n.to_le_bytes()[0] | 0x80);
            n >>= 7;
        }
        self.0.push(n.to_le_bytes()[0]);
        self
    }

    /// Zigzag: small negative numbers stay short.
    fn signed(&mut self, n: i64) -> &mut Self {
        self.number(((n << 1) ^ (n >> 63)).cast_unsigned())
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn hashes(&mut self, hashes: &[u64]) -> &mut Self {
        self.number(hashes.len() as u64);
        for hash in hashes {
            self.0.extend_from_slice(&hash.to_le_bytes());
        }
        self
    }

    fn texts(&mut self, texts: &[String]) -> &mut Self {
        self.number(texts.len() as u64);
        for text in texts {
            self.bytes(text.as_bytes());
        }
        self
    }

    fn part(&mut self, part: &LetterPart) -> &mut Self {
        self.number(part.offset_bytes.into()).number(part.size_bytes.into());
        self.0.extend_from_slice(&part.hash);
        self
    }

    fn place(&mut self, account: AccountId, mailbox: MailboxId, modseq: ModSeq) -> &mut Self {
        self.number(account.0).number(mailbox.0.into()).number(modseq.0)
    }

    fn flags(&mut self, flags: &Flags) -> &mut Self {
        self.number(flags.bits().into()).number(flags.keywords().len() as u64);
        for keyword in flags.keywords() {
            self.bytes(keyword.as_str().as_bytes());
        }
        self
    }

    fn uids(&mut self, uids: &UidSet) -> &mut Self {
        self.number(uids.ranges().len() as u64);
        for (first, last) in uids.ranges() {
            self.number(first.get().into()).number((last.get() - first.get()).into());
        }
        self
    }
}

struct Reader<'a, 'b>(&'b mut &'a [u8]);

impl<'a> Reader<'a, '_> {
    fn byte(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.0.split_first().ok_or(DecodeError)?;
        *self.0 = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<u64, DecodeError> {
        let mut n = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits.leading_zeros() < shift {
                return Err(DecodeError);
            }
            n |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(DecodeError)
    }

    fn part(&mut self) -> Result<LetterPart, DecodeError> {
        let (offset_bytes, size_bytes) = (self.small()?, self.small()?);
        let (hash, rest) = self.0.split_first_chunk().ok_or(DecodeError)?;
        *self.0 = rest;
        Ok(LetterPart { offset_bytes, size_bytes, hash: *hash })
    }

    fn signed(&mut self) -> Result<i64, DecodeError> {
        let n = self.number()?;
        Ok((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
    }

    fn small(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.number()?).map_err(|_| DecodeError)
    }

    fn uid(&mut self) -> Result<Uid, DecodeError> {
        Uid::new(self.small()?).ok_or(DecodeError)
    }

    fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.number()?).map_err(|_| DecodeError)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(DecodeError)?;
        *self.0 = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<String, DecodeError> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| DecodeError)
    }

    fn place(&mut self) -> Result<(AccountId, MailboxId, ModSeq), DecodeError> {
        Ok((AccountId(self.number()?), MailboxId(self.small()?), ModSeq(self.number()?)))
    }

    /// A count that what is left can hold: nothing is allocated on a lie.
    fn count(&mut self, bytes_each: usize) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.number()?).map_err(|_| DecodeError)?;
        if count > self.0.len() / bytes_each { Err(DecodeError) } else { Ok(count) }
    }

    fn hashes(&mut self) -> Result<Vec<u64>, DecodeError> {
        let count = self.count(8)?;
        let mut hashes = Vec::with_capacity(count);
        for _ in 0..count {
            let (bytes, rest) = self.0.split_first_chunk::<8>().ok_or(DecodeError)?;
            *self.0 = rest;
            hashes.push(u64::from_le_bytes(*bytes));
        }
        Ok(hashes)
    }

    fn flags(&mut self) -> Result<Flags, DecodeError> {
        let bits = u8::try_from(self.number()?).map_err(|_| DecodeError)?;
        let mut flags = Flags::from_bits(bits);
        for _ in 0..self.count(2)? {
            let text = std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError)?;
            flags.insert_keyword(Keyword::new(text).ok_or(DecodeError)?);
        }
        Ok(flags)
    }

    fn note(&mut self) -> Result<Op, DecodeError> {
        let (account, mailbox, modseq) = self.place()?;
        let name = self.text()?;
        let value = if self.number()? == 0 { None } else { Some(self.bytes()?.to_vec()) };
        let mailbox = Some(mailbox).filter(|mailbox| mailbox.0 > 0);
        Ok(Op::NotePut { account, mailbox, modseq, name, value })
    }

    fn seen(&mut self) -> Result<Op, DecodeError> {
        let (account, mailbox, modseq) = self.place()?;
        let (user, uids, seen) = (AccountId(self.number()?), self.uids()?, self.number()? != 0);
        Ok(Op::SeenPut { account, mailbox, modseq, user, uids, seen })
    }

    fn alias(&mut self) -> Result<Op, DecodeError> {
        let key = self.text()?;
        let count = self.count(1)?;
        let mut targets = Vec::with_capacity(count);
        for _ in 0..count {
            targets.push(self.text()?);
        }
        Ok(Op::AliasPut { key, targets })
    }

    fn uids(&mut self) -> Result<UidSet, DecodeError> {
        let count = self.count(2)?;
        let mut ranges = Vec::with_capacity(count);
        for _ in 0..count {
            let first = self.uid()?;
            let last = first.get().checked_add(self.small()?).ok_or(DecodeError)?;
            ranges.push((first, Uid::new(last).ok_or(DecodeError)?));
        }
        Ok(UidSet::from_ranges(ranges))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::Flag;

    fn samples() -> Vec<Op> {
        let (account, mailbox, modseq) = (AccountId(7), MailboxId(300), ModSeq(u64::MAX));
        let mut flags = Flags::new(&[Flag::Seen, Flag::Draft]);
        flags.insert_keyword(Keyword::new("$Work").unwrap());
        let uids: UidSet = [1, 2, 3, 9, u32::MAX].into_iter().filter_map(Uid::new).collect();
        vec![
            Op::AccountPut {
                account, key: "zażółć@example.test".into(), secret: String::new()
            },
            Op::MailboxPut {
                account,
                mailbox,
                modseq,
                uid_validity: UidValidity(u32::MAX),
                name: "Żółte/Kartki".into(),
                special_use: Some(SpecialUse::Junk),
                subscribed: true,
            },
            Op::MailboxGone { account, mailbox, modseq },
            Op::EmailAdd {
                account,
                email: EmailId(1 << 40),
                thread: ThreadId(3),
                received_unix_s: -5,
                index: vec![0, 255, 7],
                message_ids: vec![0, u64::MAX],
                part: None,
            },
            Op::EmailAdd {
                account,
                email: EmailId(2),
                thread: ThreadId(2),
                received_unix_s: 5,
                index: vec![1],
                message_ids: vec![7],
                part: Some(LetterPart { offset_bytes: 300, size_bytes: u32::MAX, hash: [7; 16] }),
            },
            Op::MessageAdd {
                account,
                mailbox,
                row: MessageRow {
                    uid: Uid::MAX,
                    email: EmailId(9),
                    modseq,
                    flags: flags.clone(),
                    received_unix_s: i64::MIN,
                    saved_unix_s: i64::MAX,
                    size_bytes: u32::MAX,
                },
            },
            Op::FlagsPut { account, mailbox, modseq, uids: uids.clone(), flags },
            Op::MessageGone { account, mailbox, modseq, uids: uids.clone() },
            Op::NotePut {
                account,
                mailbox: Some(mailbox),
                modseq,
                name: "/shared/comment".into(),
                value: Some(vec![0, 255]),
            },
            Op::NotePut { account, mailbox: None, modseq, name: String::new(), value: None },
            Op::SeenPut { account, mailbox, modseq, user: AccountId(2), uids, seen: true },
            Op::QuotaPut { account, limit: Amount { size_bytes: u64::MAX, messages: 3 } },
            Op::ChangesFloor { account, modseq },
            Op::AliasPut {
                key: "@example.test".into(),
                targets: vec!["zażółć@example.test".into(), String::new()],
            },
            Op::AliasPut { key: String::new(), targets: Vec::new() },
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        for op in samples() {
            op.encode(&mut bytes);
        }
        let mut rest = &bytes[..];
        for op in samples() {
            assert_eq!(Op::decode(&mut rest), Ok(op));
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn cut_off_or_changed_bytes_never_panic() {
        for op in samples() {
            let mut bytes = Vec::new();
            op.encode(&mut bytes);
            for cut in 0..bytes.len() {
                assert!(Op::decode(&mut &bytes[..cut]).is_err(), "{op:?} cut at {cut}");
            }
            for at in 0..bytes.len() {
                for bit in 0..8 {
                    let mut bytes = bytes.clone();
                    bytes[at] ^= 1 << bit;
                    let _ = Op::decode(&mut &bytes[..]).is_ok();
                }
            }
        }
    }
}
