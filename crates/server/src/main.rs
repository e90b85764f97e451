//! `openpoczta`: a mail platform in one binary. Reads configuration, opens ports, wires the rooms together.
//!
//! | file | holds |
//! |---|---|
//! | `cli` | what can be typed, and what happens then |
//! | `config` | the configuration file: the table `KEYS` |
//! | `listeners` | the ports: the table [`listeners::LISTENERS`], the accept loop |
//! | `place`, `proxy` | IP addresses and Unix sockets to listen on; the PROXY header |
//! | `app` | the wiring: store, services, start and stop |
//! | `demo`, `first_letter`, `seed` | `openpoczta demo` |
//! | `account`, `alias` | `openpoczta account`, `openpoczta alias` |
//! | `deliver` | `openpoczta deliver`: standard input to LMTP |
//! | `tools` | `fsck`, `inspect`, `backup`, `restore`, `export`, `import` |
//! | `tls/` | certificates, the handshake |
//! | `http`, `metrics`, `logs` | the HTTP connection, `/metrics` and `/healthz`, log lines |

mod account;
mod alias;
mod app;
mod cli;
mod config;
mod deliver;
mod demo;
mod dkim;
mod dns;
mod first_letter;
mod http;
mod listeners;
mod logs;
mod metrics;
mod out;
mod place;
mod proxy;
mod router;
mod rules;
mod seed;
mod tls;
mod tools;

fn main() -> std::process::ExitCode {
    cli::run()
}
