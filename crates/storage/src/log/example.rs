//! The example at the end of `docs/format/segment.md`: the bytes there are those the code writes, and a store opens
//! them.

use super::segments::header;
use super::{Frame, blob_hash};
use crate::{Options, Store};
use db::{MessageRow, Op};
use std::sync::Arc;
use types::{
    AccountId, EmailId, Flag, Flags, MailboxId, ManualClock, ModSeq, SpecialUse, ThreadId, Uid,
    UidSet, UidValidity,
};

const MADE_UNIX_S: i64 = 1_795_370_400;
const LETTER: &[u8] = b"Subject: hi\r\n\r\nyo\r\n";
const ALICE: AccountId = AccountId(1);
const INBOX: MailboxId = MailboxId(1);

/// What each of the three frames says.
fn ops() -> [Vec<Op>; 3] {
    let (account, mailbox, key) = (ALICE, INBOX, "alice@example.test".to_owned());
    let received_unix_s = MADE_UNIX_S + 60;
    let made = vec![
        Op::AccountPut { account, key, secret: String::new() },
        Op::MailboxPut {
            account,
            mailbox,
            modseq: ModSeq(1),
            uid_validity: UidValidity(1_795_370_401),
            name: "INBOX".to_owned(),
            special_use: Some(SpecialUse::Inbox),
            subscribed: true,
        },
    ];
    let (email, thread) = (EmailId(1), ThreadId(1));
    let row = MessageRow {
        uid: Uid::MIN,
        email,
        modseq: ModSeq(2),
        flags: Flags::default(),
        received_unix_s,
        saved_unix_s: received_unix_s,
        size_bytes: 19,
    };
    // Without a part table, which has a format of its own: the letter is then parsed when it is read.
    let (index, message_ids) = (Vec::new(), Vec::new());
    let came = vec![
        Op::EmailAdd { account, email, thread, received_unix_s, index, message_ids, part: None },
        Op::MessageAdd { account, mailbox, row },
    ];
    let (modseq, uids, flags) = (ModSeq(3), UidSet::one(Uid::MIN), Flags::new(&[Flag::Seen]));
    [made, came, vec![Op::FlagsPut { account, mailbox, modseq, uids, flags }]]
}

fn segment() -> Vec<u8> {
    let key = std::array::from_fn(|n| u8::try_from(n).unwrap());
    let mut bytes = header(1, 1, MADE_UNIX_S * 1000, &key).to_vec();
    for (n, frame) in ops().into_iter().enumerate() {
        let mut ops = Vec::new();
        for op in frame {
            op.encode(&mut ops);
        }
        let letter = if n == 1 { LETTER } else { &[] };
        let header = Frame {
            lsn: n as u64 + 1,
            synced_lsn: n as u64,
            after_s: [0, 60, 61][n],
            blob_bytes: u32::try_from(letter.len()).unwrap(),
            ops_bytes: u32::try_from(ops.len()).unwrap(),
            blob_hash: if n == 1 { blob_hash(letter) } else { [0; 16] },
        };
        bytes.extend_from_slice(&header.header(&ops, &key));
        bytes.extend_from_slice(letter);
        bytes.extend_from_slice(&ops);
    }
    bytes
}

/// The bytes in the last block of the page: an offset, bytes in hex, two spaces, words.
fn of_the_page() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/format/segment.md");
    let page = std::fs::read_to_string(path).unwrap();
    let block = page.rsplit("```").nth(1).unwrap();
    let mut bytes = Vec::new();
    for line in block.lines().filter(|line| !line.trim().is_empty()) {
        let (offset, rest) = line.split_once("  ").unwrap();
        if offset.trim().is_empty() {
            continue;
        }
        assert_eq!(usize::from_str_radix(offset, 16).unwrap(), bytes.len(), "{line}");
        let hex = rest.split("  ").next().unwrap().replace(' ', "");
        for pair in hex.as_bytes().chunks(2) {
            bytes.push(u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap());
        }
    }
    bytes
}

#[tokio::test]
async fn the_example_of_the_page_is_a_log() {
    let bytes = segment();
    assert_eq!(of_the_page(), bytes, "the page should have {bytes:02x?}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("log")).unwrap();
    std::fs::write(folder.path().join("log/0000000000000001.seg"), bytes).unwrap();
    let clock = Arc::new(ManualClock::at_unix_s(MADE_UNIX_S + 100));
    let store = Store::open(&Options::in_folder(folder.path()), clock).unwrap();
    let row = store.messages(ALICE, INBOX, &UidSet::all()).await.unwrap().pop().unwrap();
    assert_eq!((row.uid, row.received_unix_s), (Uid::MIN, MADE_UNIX_S + 60));
    assert!(row.flags.contains(Flag::Seen));
    let email = store.emails(ALICE, &[row.email]).await.unwrap().pop().unwrap();
    assert_eq!(store.bytes(&email).await.unwrap(), LETTER);
    assert_eq!(email.index.envelope.subject.as_deref(), Some("hi"));
}
