//! The server behind the webmail: one table of methods, JSON-RPC 2.0 in front of it, and the HTTP around both.
//!
//! Names and meaning of the methods are JMAP's (RFC 8620, RFC 8621). The web UI uses nothing else. Knows
//! nothing about IMAP, SMTP, or how letters are stored; opens no port: `server` serves the [`axum::Router`].
//!
//! ```text
//! POST /auth/login {"user":"alice@example.test","password":"secret"}   -> cookie, {"user","account","csrf"}
//! POST /rpc {"jsonrpc":"2.0","id":1,"method":"Mailbox/get","params":{"accountId":"a1","ids":null}}
//! ```
//!
//! | room | holds |
//! |---|---|
//! | `methods` | [`METHODS`], the table; one file for each method |
//! | `jmap` | what methods share: ids, keywords, filters, the table of email properties |
//! | `rpc`, `reference`, `openrpc` | the JSON-RPC front, back references, the machine-readable description |
//! | `http` | [`ROUTES`]: sessions, push, letters as pages, blobs, web files; guards and headers |
//! | `letter` | a letter as a page that cannot run or fetch anything |
//! | `error`, `reply` | what goes wrong, and how each front says it |
//! | `limits` | how much one request may ask for |

mod error;
mod http;
mod jmap;
mod letter;
pub mod limits;
mod methods;
mod metrics;
mod openrpc;
mod reference;
mod reply;
mod rpc;
mod service;
mod sessions;

pub use error::{Error, Result};
pub use http::{ROUTES, Route};
pub use methods::{METHODS, Method, Scope};
pub use openrpc::document as openrpc_document;
pub use service::{Config, Service};
