//! The queue of a server that runs, for the person at its console: a Unix socket in the queue's folder.
//!
//! One JSON object on a line asks, one answers. Only the owner of the folder gets there.

use crate::queue::{Entry, Progress, Queue};
use crate::{Answer, Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{File, Permissions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

const SOCKET: &str = "control";
/// The longest question.
const LINE_BYTES: u64 = 4096;
/// Of a letter, what is shown.
const TEXT_BYTES: usize = 1024 * 1024;
/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_mins(1);
/// Letters in one answer.
pub const LIST_MOST: usize = 10_000;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    List {
        skip: usize,
        most: usize,
    },
    Show {
        id: String,
    },
    /// Without an id: all.
    Retry {
        id: Option<String>,
    },
    Cancel {
        id: String,
    },
}

/// Its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Response {
    Letters {
        waiting: usize,
        letters: Vec<Shown>,
    },
    /// With its text, cut after a megabyte, and what is no UTF-8 replaced.
    Letter {
        letter: Shown,
        text: String,
    },
    /// So many letters.
    Done {
        count: usize,
    },
    Failed {
        message: String,
    },
}

/// A letter that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    pub id: String,
    pub received_unix_s: i64,
    pub size_bytes: usize,
    /// Empty: `<>`.
    pub from: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_unix_s: Option<i64>,
    pub recipients: Vec<ShownRecipient>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownRecipient {
    pub address: String,
    #[serde(flatten)]
    pub progress: ShownProgress,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "progress", rename_all = "snake_case")]
pub enum ShownProgress {
    Waiting {
        attempts: u32,
        next_unix_s: i64,
        sending: bool,
        /// What was said last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<String>,
    },
    Delivered,
    Failed,
}

impl Queue {
    /// Does what is asked.
    pub async fn answer(&self, request: Request) -> Response {
        let done = match request {
            Request::List { skip, most } => {
                let listed = self.list(None, skip, most.min(LIST_MOST));
                listed.map(|entries| Response::Letters {
                    waiting: self.len(),
                    letters: entries.iter().map(shown).collect(),
                })
            }
            Request::Show { id } => self.show(&id).map(|(entry, letter)| {
                let text = letter.get(..TEXT_BYTES).unwrap_or(&letter);
                Response::Letter {
                    letter: shown(&entry),
                    text: String::from_utf8_lossy(text).into(),
                }
            }),
            Request::Retry { id } => {
                self.retry(id.as_deref()).await.map(|count| Response::Done { count })
            }
            Request::Cancel { id } => {
                self.cancel(&id, None).await.map(|()| Response::Done { count: 1 })
            }
        };
        done.unwrap_or_else(|error| Response::Failed { message: error.to_string() })
    }

    /// Answers on the socket until `shutdown` turns true.
    pub fn serve_control(
        &self,
        mut shutdown: watch::Receiver<bool>,
    ) -> Result<tokio::task::JoinHandle<()>> {
        let folder = self.folder().to_owned();
        let path = folder.join(SOCKET);
        let listener = bind(&folder).map_err(|error| Error::Io {
            what: "the control socket of the queue could not be made",
            path: path.clone(),
            reason: error.to_string(),
        })?;
        let queue = self.clone();
        Ok(tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    _ = shutdown.wait_for(|stop| *stop) => break,
                };
                if let Ok((stream, _)) = accepted {
                    let queue = queue.clone();
                    tokio::spawn(async move {
                        let talked = tokio::time::timeout(PATIENCE, talk(&queue, stream)).await;
                        tracing::trace!(?talked, "control");
                    });
                }
            }
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::debug!(%error, "the control socket is gone already");
            }
        }))
    }
}

async fn talk(queue: &Queue, mut stream: tokio::net::UnixStream) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut line = String::new();
    tokio::io::BufReader::new(read.take(LINE_BYTES)).read_line(&mut line).await?;
    let response = match serde_json::from_str(&line) {
        Ok(request) => queue.answer(request).await,
        Err(error) => Response::Failed { message: format!("not understood: {error}") },
    };
    let mut answer = serde_json::to_vec(&response)?;
    answer.push(b'\n');
    write.write_all(&answer).await
}

/// Whoever holds the lock of the folder may take the place of a socket that a killed process left.
fn bind(folder: &Path) -> io::Result<tokio::net::UnixListener> {
    let (_open, path) = short(folder)?;
    if path.symlink_metadata().is_ok() {
        std::fs::remove_file(&path)?;
    }
    let listener = std::os::unix::net::UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    tokio::net::UnixListener::from_std(listener)
}

/// A way to the socket that fits into the 108 bytes of a socket address, however deep the folder is.
fn short(folder: &Path) -> io::Result<(File, PathBuf)> {
    let open = File::open(folder)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", open.as_raw_fd()));
    Ok((open, path))
}

/// Asks the process that has the queue in this folder. `Ok(None)`: none has.
pub fn ask(folder: &Path, request: &Request) -> io::Result<Option<Response>> {
    let Ok((_open, path)) = short(folder) else { return Ok(None) };
    let mut stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => return Ok(None),
            _ => return Err(error),
        },
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut question = serde_json::to_vec(request)?;
    question.push(b'\n');
    stream.write_all(&question)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(Some(serde_json::from_str(&line)?))
}

fn shown(entry: &Entry) -> Shown {
    let recipients = entry.envelope.recipients.iter().zip(&entry.recipients);
    Shown {
        id: entry.id.clone(),
        received_unix_s: entry.received_unix_s,
        size_bytes: entry.size_bytes,
        from: entry.envelope.sender.as_ref().map(ToString::to_string).unwrap_or_default(),
        release_unix_s: entry.envelope.release_unix_s,
        recipients: recipients
            .map(|(recipient, progress)| ShownRecipient {
                address: recipient.address.to_string(),
                progress: shown_progress(progress),
            })
            .collect(),
    }
}

fn shown_progress(progress: &Progress) -> ShownProgress {
    match progress {
        Progress::Waiting { attempts, next_unix_s, sending, last } => ShownProgress::Waiting {
            attempts: *attempts,
            next_unix_s: *next_unix_s,
            sending: *sending,
            last: last.as_ref().map(said),
        },
        Progress::Delivered => ShownProgress::Delivered,
        Progress::Failed => ShownProgress::Failed,
    }
}

fn said(answer: &Answer) -> String {
    let host = answer.host.as_deref().map(|host| format!("{host}: ")).unwrap_or_default();
    match answer.code {
        0 => format!("{host}{}", answer.text),
        code => format!("{host}{code} {} {}", answer.enhanced, answer.text),
    }
}
