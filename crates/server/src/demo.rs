//! `openpoczta demo`: a working server with a filled mailbox, for this machine only.

use crate::app::{App, Running, Signals};
use crate::cli::{DemoArguments, print, say};
use crate::config::Config;
use crate::listeners::{Bound, LISTENERS, Protocol};
use crate::place::Place;
use crate::{first_letter, router, seed};
use anyhow::{Context, Result, anyhow};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::Store;
use tempfile::TempDir;
use tokio::task::JoinSet;
use types::{Clock, SystemClock};

const DOMAIN: &str = "example.test";
const PASSWORD: &str = "secret";
/// Accounts made at one time: so many share one sync of the disk.
const ACCOUNTS_AT_ONCE: usize = 512;

/// Until a signal; the temporary folder goes with it.
pub(crate) async fn run(arguments: &DemoArguments) -> Result<()> {
    let mut signals = Signals::new()?;
    let bound = bind(arguments.base_port_offset).await?;
    let folder = Folder::new(arguments.data.as_deref())?;
    // A signal while mailboxes are being filled must not leave the folder behind.
    let running = tokio::select! {
        running = start(arguments, bound, folder.path()) => running?,
        () = signals.next() => return Ok(()),
    };
    running.until(signals).await;
    Ok(())
}

async fn bind(offset: u16) -> Result<Vec<Bound>> {
    let mut bound = Vec::new();
    let rows = LISTENERS.iter().filter_map(|row| Some((row, row.demo_port?)));
    for (row, port) in rows {
        let port = port.checked_add(offset).ok_or_else(|| {
            anyhow!(
                "--base-port-offset {offset} is too large: {} would get a port over 65535",
                row.name
            )
        })?;
        let place = Place::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let fix = "move all ports of this one: openpoczta demo --base-port-offset 1000";
        bound.push(Bound::open(row, &place, 0, fix).await?);
    }
    Ok(bound)
}

async fn start(arguments: &DemoArguments, bound: Vec<Bound>, folder: &Path) -> Result<Running> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = arguments.store.clone().unwrap_or_default();
    anyhow::ensure!(
        store.is_empty() || store.starts_with("postgres://"),
        "--store takes the address of a database: postgres://USER:PASSWORD@HOST:PORT/DATABASE"
    );
    let relay = crate::out::Settings { enabled: false, ..crate::out::Settings::default() };
    let config = Config { data_folder: folder.to_owned(), store, relay, ..Config::default() };
    let store = Store::open(&config.storage_options(), clock.clone())?;
    let fresh = fill(arguments, &store, &*clock).await?;
    let domains = vec![DOMAIN.to_owned()];
    let queue = Some(router::open(&config, &domains, clock.clone())?);
    let filter = crate::app::filter(&config, &store, clock.clone()).await?;
    let app = App {
        config,
        store,
        filter,
        queue,
        relay: None,
        domains,
        clock,
        browsers_use_tls: false,
        tls: None,
        signer: Arc::default(),
    };
    let running = app.start(bound);
    if fresh && !arguments.no_seed {
        send_first_letter(&running).await;
    }
    welcome(&running, arguments);
    let addresses = running.addresses();
    print(&format!("ready {addresses} user=alice@{DOMAIN} password={PASSWORD}\n"))?;
    Ok(running)
}

/// Makes the accounts that are missing; letters only where alice was missing. `true` when she was.
async fn fill(arguments: &DemoArguments, store: &Store, clock: &dyn Clock) -> Result<bool> {
    let people = ["alice".to_owned(), "bob".to_owned()].into_iter();
    let users = (0..arguments.users).map(|n| format!("u{n:04}"));
    let mut missing = Vec::new();
    for key in people.chain(users).map(|name| format!("{name}@{DOMAIN}")) {
        if store.account_by_key(&key).await?.is_none() {
            missing.push(key);
        }
    }
    if missing.is_empty() {
        return Ok(false);
    }
    // One hash for all: a thousand would take a minute.
    let secret: Arc<str> = auth::hash_password(PASSWORD.as_bytes())?.into();
    for keys in missing.chunks(ACCOUNTS_AT_ONCE) {
        let mut making = JoinSet::new();
        for key in keys {
            let (store, key, secret) = (store.clone(), key.clone(), secret.clone());
            making.spawn(async move { store.put_account(&key, &secret).await });
        }
        while let Some(made) = making.join_next().await {
            made??;
        }
    }
    let fresh = missing.iter().any(|key| key.starts_with("alice@"));
    if fresh && !arguments.no_seed {
        let account = async |name: &str| {
            let row = store.account_by_key(&format!("{name}@{DOMAIN}")).await?;
            row.map(|row| row.id).with_context(|| format!("{name} has no account"))
        };
        seed::fill(store, account("alice").await?, account("bob").await?, clock.now_unix_s())
            .await?;
    }
    Ok(fresh)
}

async fn send_first_letter(running: &Running) {
    let ports = (running.address(Protocol::Lmtp), running.address(Protocol::Imap));
    let (Some(lmtp), Some(imap)) = ports else { return };
    let user = format!("alice@{DOMAIN}");
    match first_letter::send(lmtp, imap, &user, PASSWORD).await {
        Ok(took) => {
            let ms = took.as_secs_f64() * 1000.0;
            say(&format!(
                "first letter: from LMTP to an IMAP session that was waiting in {ms:.1} ms"
            ));
        }
        Err(error) => say(&format!("first letter: did not arrive ({error:#})")),
    }
}

fn welcome(running: &Running, arguments: &DemoArguments) {
    if let Some(http) = running.address(Protocol::Http) {
        say(&format!(
            "webmail: http://{http}/  user alice@{DOMAIN}, password {PASSWORD} (or bob@{DOMAIN})"
        ));
    }
    if arguments.users > 0 {
        let last = arguments.users - 1;
        say(&format!("more users: u0000@{DOMAIN} to u{last:04}@{DOMAIN}, same password"));
    }
    match (&arguments.data, &arguments.store) {
        (_, Some(url)) => say(&format!("mail is kept in {}", db::without_password(url))),
        (Some(folder), None) => say(&format!("mail is kept in {}", folder.display())),
        (None, None) => say("mail is kept until you stop this; --data DIR keeps it for longer"),
    }
    say("Ctrl-C stops it");
}

/// A folder of the user, or one of ours that is removed when dropped.
enum Folder {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl Folder {
    fn new(wanted: Option<&Path>) -> Result<Self> {
        if let Some(folder) = wanted {
            return Ok(Self::Kept(folder.to_owned()));
        }
        let made = tempfile::Builder::new().prefix("openpoczta-demo-").tempdir();
        let place = std::env::temp_dir();
        Ok(Self::Temporary(made.with_context(|| {
            format!("no temporary folder can be made in {}; use --data DIR", place.display())
        })?))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(folder) => folder,
            Self::Temporary(folder) => folder.path(),
        }
    }
}
