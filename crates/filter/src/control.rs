//! The filter of a server that runs, for the person at its console: a Unix socket in the folder of its history.
//!
//! One JSON object on a line asks, then comes the letter, if it is about one; one line answers. Only the owner of the
//! folder gets there.

use crate::filter::Taught;
use crate::history::{Judged, look_up};
use crate::{Connection, Filter, as_it_came};
use antispam::Class;
use bytes::Bytes;
use mparser::Message;
use serde::{Deserialize, Serialize};
use std::fs::Permissions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::watch;

const SOCKET: &str = "control";
/// The longest question.
const LINE_BYTES: u64 = 4096;
/// The largest letter.
const LETTER_BYTES: usize = 64 << 20;
/// The longest answer.
const ANSWER_BYTES: u64 = 1 << 20;
/// How long either side may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// A question; those with `bytes` are followed by a letter of that size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// A verdict that was given.
    Explain { id: String },
    /// What the verdict on a letter would be.
    Score { bytes: usize },
    /// A letter is spam, or not.
    Learn { spam: bool, bytes: usize },
    /// How much was learned.
    Status,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Response {
    Verdict {
        judged: Judged,
    },
    /// `false`: it was said before.
    Learned {
        new: bool,
    },
    Status {
        lessons: u32,
    },
    Failed {
        message: String,
    },
}

impl Filter {
    /// Answers one question.
    pub async fn answer(&self, folder: &Path, request: Request, letter: &[u8]) -> Response {
        match request {
            Request::Explain { id } => match look_up(folder, &id) {
                Ok(Some(judged)) => Response::Verdict { judged },
                Ok(None) => failed(format!(
                    "no verdict with the id {id} is remembered; the id stands in the letter's Received field, after `id`, and in the log"
                )),
                Err(error) => {
                    failed(format!("the verdicts in {} cannot be read: {error}", folder.display()))
                }
            },
            Request::Score { .. } => Response::Verdict { judged: self.try_out(letter).await },
            Request::Learn { spam, .. } => {
                let class = if spam { Class::Spam } else { Class::Ham };
                match self.learn(None, letter, class).await {
                    Ok(taught) => Response::Learned { new: taught != Taught::Already },
                    Err(error) => failed(error.to_string()),
                }
            }
            Request::Status => Response::Status { lessons: self.model().learner.lessons() },
        }
    }

    /// The verdict on a letter out of a file: as it came, when this server stored it.
    async fn try_out(&self, letter: &[u8]) -> Judged {
        let came = as_it_came(letter, self.hostname());
        let connection = Connection {
            id: "",
            client_ip: came.client_ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            helo: came.helo.unwrap_or_default(),
            sender: came.sender.as_ref(),
            recipients: &[],
            accounts: &[],
            tls: false,
            is_known: false,
        };
        let looked = self.look(&connection, came.original).await;
        let message = Message::parse(came.original);
        let now = self.clock().now_unix_s();
        let judgement = self.weigh(&connection, &looked, &message);
        judgement.for_people(&connection, now)
    }

    /// Answers on the socket of the folder until `shutdown` turns true.
    pub async fn serve_control(self, folder: PathBuf, mut shutdown: watch::Receiver<bool>) {
        let listener = match bind(&folder) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!(%error, folder = %folder.display(), "`openpoczta spam` cannot ask this server");
                return;
            }
        };
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stopped(&mut shutdown) => return,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (filter, folder) = (self.clone(), folder.clone());
            tokio::spawn(async move {
                let talk = tokio::time::timeout(PATIENCE, filter.talk(&folder, stream)).await;
                if let Ok(Err(error)) = talk {
                    tracing::debug!(%error, "a question about spam was not heard out");
                }
            });
        }
    }

    async fn talk(&self, folder: &Path, stream: tokio::net::UnixStream) -> io::Result<()> {
        let mut stream = tokio::io::BufReader::new(stream);
        let mut line = Vec::new();
        (&mut stream).take(LINE_BYTES).read_until(b'\n', &mut line).await?;
        let response = match serde_json::from_slice::<Request>(&line) {
            Ok(Request::Score { bytes } | Request::Learn { bytes, .. }) if bytes > LETTER_BYTES => {
                failed(format!("a letter of {bytes} bytes is too large"))
            }
            Ok(request) => {
                let size = match request {
                    Request::Score { bytes } | Request::Learn { bytes, .. } => bytes,
                    Request::Explain { .. } | Request::Status => 0,
                };
                let mut letter = vec![0; size];
                stream.read_exact(&mut letter).await?;
                self.answer(folder, request, &letter).await
            }
            Err(error) => failed(format!("not a question this version knows: {error}")),
        };
        let mut answer = serde_json::to_vec(&response)?;
        answer.push(b'\n');
        stream.get_mut().write_all(&answer).await
    }
}

async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    drop(shutdown.wait_for(|stop| *stop).await);
}

fn failed(message: String) -> Response {
    Response::Failed { message }
}

fn bind(folder: &Path) -> io::Result<UnixListener> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(SOCKET);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Asks the server that runs. `None`: none does.
pub fn ask(folder: &Path, request: &Request, letter: &Bytes) -> io::Result<Option<Response>> {
    let mut stream = match UnixStream::connect(folder.join(SOCKET)) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    stream.write_all(letter)?;
    let mut answer = Vec::new();
    BufReader::new(stream).take(ANSWER_BYTES).read_until(b'\n', &mut answer)?;
    Ok(Some(serde_json::from_slice(&answer)?))
}
