//! What a substring search of 10,000 letters of 5 KB costs in CPU: a text that none of them holds, so that every
//! byte is looked at. The bound is the plainest scan there is: the same bytes in memory, put in lower case as
//! ASCII and searched, by one thread.

use crate::args::Args;
use crate::baseline::{self, Row};
use crate::figures::Spread;
use crate::letters::Pool;
use crate::{cpu, storage::make_accounts};
use anyhow::{Context as _, Result, ensure};
use std::path::Path;
use std::sync::Arc;
use storage::{Letter, Options, Query, Store, Target};
use tokio::runtime::Runtime;
use types::{AccountId, MailboxId, SystemClock};

const LETTERS: u64 = 10_000;
const LETTER_BYTES: usize = 5000;
const SEED: u64 = 1;
/// `/proc` counts in steps of 10 ms: so many searches make one figure.
const REPEATS: usize = 10;

/// What is searched: its name in the table, and the query.
struct Case {
    name: &'static str,
    query: fn() -> Query,
    expect: usize,
}

static CASES: &[Case] = &[
    Case { name: "TEXT, in none", query: || Query::Text("nowhere to be found".into()), expect: 0 },
    Case {
        name: "TEXT, Polish, in none", query: || Query::Text("żółwią łapę".into()), expect: 0
    },
    Case { name: "BODY, in all", query: || Query::Body("pozdrawiam".into()), expect: 10_000 },
    Case { name: "SUBJECT", query: || Query::Subject("invoice 17".into()), expect: 3 },
    Case { name: "FROM", query: || Query::From("nadawca 96".into()), expect: 103 },
];

pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("opbench-").tempdir_in(&args.folder);
    let folder = folder.with_context(|| format!("cannot write in {}", args.folder.display()))?;
    let busy = cpu::busy();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (scene, letters) = Scene::fill(&runtime, folder.path())?;
    println!(
        "\nSearch of {LETTERS} letters of {LETTER_BYTES} bytes, {} rounds, {}\n\
         Median of the rounds (smallest..largest).\n\n{:<24} {:<24} {:<20} {:<20}",
        args.rounds,
        cpu::machine(),
        "",
        "of the plain scan",
        "CPU ms/search",
        "wall ms/search"
    );
    let mut rows = Vec::new();
    for case in CASES {
        let (mut cpu_ms, mut wall_ms, mut plain_ms) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..args.rounds {
            plain_ms.push(timed(|| plain(&letters))?.0);
            let (cpu, wall) = timed(|| scene.search(&runtime, case))?;
            cpu_ms.push(cpu);
            wall_ms.push(wall);
        }
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        let ratio = Spread::of_ratios(&cpu_ms, &plain_ms);
        let show = |spread: Option<Spread>| spread.map(|s| s.to_string()).unwrap_or_default();
        let (cpu, wall) = (spread(&cpu_ms), spread(&wall_ms));
        println!("{:<24} {:<24} {:<20} {:<20}", case.name, show(ratio), show(cpu), show(wall));
        if let (Some(value), Some(ratio)) = (cpu, ratio) {
            let figure = format!("search of 10,000 x 5 KB: {}", case.name);
            rows.push(Row {
                figure,
                value,
                unit: "CPU ms",
                ratio,
                against: "plain scan in memory",
            });
        }
    }
    if let Some(busy) = busy {
        println!("{busy}");
    }
    if args.save {
        let path = baseline::save(&rows)?;
        println!("Saved {} rows in {}", rows.len(), path.display());
    }
    Ok(())
}

struct Scene {
    store: Store,
    account: AccountId,
    inbox: MailboxId,
}

impl Scene {
    fn fill(runtime: &Runtime, folder: &Path) -> Result<(Self, Vec<Vec<u8>>)> {
        let pool = Pool::new(LETTER_BYTES, SEED);
        let letters: Vec<Vec<u8>> =
            (0..LETTERS).map(|number| pool.letter(number, "u0000@example.test")).collect();
        let store = Store::open(&Options::in_folder(folder.join("search")), Arc::new(SystemClock))?;
        let account = *runtime.block_on(make_accounts(&store, 1))?.first().context("no account")?;
        runtime.block_on(async {
            let mut deliveries = tokio::task::JoinSet::new();
            for letter in &letters {
                let (store, letter) = (store.clone(), Letter::parse(letter.clone().into()));
                if deliveries.len() >= 64 {
                    deliveries.join_next().await.context("no delivery")???;
                }
                deliveries.spawn(async move {
                    let done = store.deliver(letter, vec![Target::inbox(account)]).await?;
                    ensure!(done.iter().all(std::result::Result::is_ok), "a letter was refused");
                    Ok(())
                });
            }
            while let Some(done) = deliveries.join_next().await {
                done??;
            }
            let inbox = store.mailbox_by_name(account, "INBOX").await?.id;
            anyhow::Ok((Self { store, account, inbox }, letters.clone()))
        })
    }

    fn search(&self, runtime: &Runtime, case: &Case) -> Result<()> {
        let search = self.store.search(self.account, self.inbox, (case.query)());
        let found = runtime.block_on(search)?.len();
        ensure!(found == case.expect, "{}: {found} found, not {}", case.name, case.expect);
        Ok(())
    }
}

/// All bytes once, and nothing decoded.
fn plain(letters: &[Vec<u8>]) -> Result<()> {
    for letter in letters {
        let mut lower = String::from_utf8_lossy(letter).into_owned();
        lower.make_ascii_lowercase();
        ensure!(!lower.contains("nowhere to be found"), "it was found");
    }
    Ok(())
}

/// CPU and wall time of one, in ms.
fn timed(work: impl Fn() -> Result<()>) -> Result<(f64, f64)> {
    let (before, from) = (cpu::used_ms(std::process::id())?, std::time::Instant::now());
    for _ in 0..REPEATS {
        work()?;
    }
    let repeats = crate::storage::exact(REPEATS);
    let cpu_ms = cpu::used_ms(std::process::id())? - before;
    Ok((cpu_ms / repeats, from.elapsed().as_secs_f64() * 1000.0 / repeats))
}
