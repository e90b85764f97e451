//! Signs of life while a command takes long (RFC 9585).

use crate::encode;
use crate::wire::{Stop, Wire};
use std::time::Duration;
use tokio::time::Instant;

/// After so long, and then as often: well before people and their programs think that we are gone (RFC 9585 §3).
const EVERY: Duration = Duration::from_secs(10);

/// Waits for `work`, and says every ten seconds that it goes on. What has been answered so far goes out with it.
///
/// ```text
/// * OK [INPROGRESS ("a1" NIL NIL)] Still at work
/// ```
pub(crate) async fn reporting<T>(
    wire: &mut Wire,
    tag: &str,
    work: impl Future<Output = T>,
) -> Result<T, Stop> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            () = tokio::time::sleep(EVERY) => {}
        }
        say(wire, tag, "NIL NIL").await?;
    }
}

/// The same for work that comes in pieces and is counted.
///
/// ```text
/// * OK [INPROGRESS ("a1" 3000 10000)] Still at work
/// ```
pub(crate) struct Counting {
    said: Instant,
    goal: usize,
}

impl Counting {
    pub(crate) fn to(goal: usize) -> Self {
        Self { said: Instant::now(), goal }
    }

    /// After each piece: how many are done.
    pub(crate) async fn at(&mut self, wire: &mut Wire, tag: &str, done: usize) -> Result<(), Stop> {
        if self.said.elapsed() < EVERY {
            return Ok(());
        }
        self.said = Instant::now();
        say(wire, tag, &format!("{done} {}", self.goal)).await
    }
}

async fn say(wire: &mut Wire, tag: &str, state: &str) -> Result<(), Stop> {
    let out = wire.out();
    out.extend_from_slice(b"* OK [INPROGRESS (");
    encode::string(out, tag);
    out.extend_from_slice(format!(" {state})] Still at work\r\n").as_bytes());
    wire.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;
    use tokio::io::AsyncReadExt;

    fn pipe() -> (Wire, tokio::io::DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(4096);
        let (_down, shutdown) = tokio::sync::watch::channel(false);
        let counters = (Counter::default(), Counter::default());
        (Wire::new(Box::new(ours), EVERY, shutdown, counters), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_sign_every_ten_seconds() {
        async fn check(seconds: u64, expect: &str) {
            let (mut wire, mut theirs) = pipe();
            let work = async {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                7
            };
            assert_eq!(reporting(&mut wire, "a1", work).await.unwrap(), 7);
            drop(wire);
            let mut said = String::new();
            theirs.read_to_string(&mut said).await.unwrap();
            assert_eq!(said, expect);
        }
        let sign = "* OK [INPROGRESS (\"a1\" NIL NIL)] Still at work\r\n";
        check(0, "").await;
        check(9, "").await;
        check(11, sign).await;
        check(25, &sign.repeat(2)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn counted() {
        let (mut wire, mut theirs) = pipe();
        let mut counting = Counting::to(90);
        for done in 1..=9 {
            tokio::time::sleep(Duration::from_secs(3)).await;
            counting.at(&mut wire, "a1", done * 10).await.unwrap();
        }
        drop(wire);
        let mut said = String::new();
        theirs.read_to_string(&mut said).await.unwrap();
        let sign = |done| format!("* OK [INPROGRESS (\"a1\" {done} 90)] Still at work\r\n");
        assert_eq!(said, sign(40) + &sign(80));
    }
}
