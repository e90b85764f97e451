//! So many threads doing one thing again and again for so long.

use anyhow::{Context as _, Result, bail};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many at once, for how long.
pub(crate) struct Load {
    pub(crate) connections: usize,
    pub(crate) time: Duration,
}

/// What was done, and how long it took until the last thread was through.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) count: u64,
    pub(crate) seconds: f64,
}

impl Done {
    pub(crate) fn per_second(&self) -> f64 {
        self.exact_count() / self.seconds
    }

    #[expect(clippy::cast_precision_loss, reason = "counts here lie far below 2^52")]
    pub(crate) fn exact_count(&self) -> f64 {
        self.count as f64
    }
}

/// Over all loads of this process, so that no letter is sent twice.
static NUMBER: AtomicU64 = AtomicU64::new(1);

impl Load {
    /// Each thread makes its work with `open` and then does it until the time is over. The work is given
    /// a number nobody else gets. The clock starts when all are open; an error in one ends all.
    pub(crate) fn run<W: FnMut(u64) -> Result<()>>(
        &self,
        open: impl Fn(usize) -> Result<W> + Sync,
    ) -> Result<Done> {
        let ready = Barrier::new(self.connections);
        let failed = AtomicBool::new(false);
        let one = |at| {
            let work = open(at).with_context(|| format!("connection {at}"));
            ready.wait();
            let done = work.and_then(|work| self.repeat(work, &failed));
            failed.fetch_or(done.is_err(), Ordering::Relaxed);
            done
        };
        let done: Vec<Stretch> = std::thread::scope(|scope| {
            let one = &one;
            let threads: Vec<_> =
                (0..self.connections).map(|at| scope.spawn(move || one(at))).collect();
            let joined = threads.into_iter().map(|thread| match thread.join() {
                Ok(done) => done,
                Err(_) => bail!("a thread of the load panicked"),
            });
            joined.collect::<Result<_>>()
        })?;
        let from = done.iter().map(|stretch| stretch.from).min().context("no connections")?;
        let to = done.iter().map(|stretch| stretch.to).max().context("no connections")?;
        let count = done.iter().map(|stretch| stretch.count).sum();
        Ok(Done { count, seconds: (to - from).as_secs_f64() })
    }

    fn repeat<W: FnMut(u64) -> Result<()>>(
        &self,
        mut work: W,
        failed: &AtomicBool,
    ) -> Result<Stretch> {
        let from = Instant::now();
        let mut count = 0;
        while from.elapsed() < self.time && !failed.load(Ordering::Relaxed) {
            work(NUMBER.fetch_add(1, Ordering::Relaxed))?;
            count += 1;
        }
        Ok(Stretch { count, from, to: Instant::now() })
    }
}

/// What one thread did.
struct Stretch {
    count: u64,
    from: Instant,
    to: Instant,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    #[test]
    fn everything_done_is_counted_once() {
        let seen = Mutex::new(BTreeSet::new());
        let load = Load { connections: 4, time: Duration::from_millis(30) };
        let done = load
            .run(|_| {
                Ok(|number| {
                    assert!(seen.lock().unwrap().insert(number), "{number} came twice");
                    Ok(())
                })
            })
            .unwrap();
        assert_eq!(done.count, seen.lock().unwrap().len() as u64);
        assert!(done.count >= 4 && done.seconds >= 0.03 && done.per_second() > 0.0);
    }

    #[test]
    fn the_first_error_ends_all() {
        let load = Load { connections: 4, time: Duration::from_mins(1) };
        let started = Instant::now();
        let error = load
            .run(|at| Ok(move |_| if at == 2 { bail!("refused") } else { Ok(()) }))
            .unwrap_err();
        assert_eq!(error.to_string(), "refused");
        let closed = load.run(|at| if at == 0 { bail!("closed") } else { Ok(|_| Ok(())) });
        assert_eq!(format!("{:#}", closed.unwrap_err()), "connection 0: closed");
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}
