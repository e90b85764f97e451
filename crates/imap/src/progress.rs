//! Signs of life while a command takes long (RFC 9585).

use crate::encode;
use crate::wire::{Stop, Wire};
use std::time::Duration;

/// After so long, and then as often: well before people and their programs think that we are gone (RFC 9585 §3).
const EVERY: Duration = Duration::from_secs(10);

/// Waits for `work`, and says every ten seconds that it goes on. What has been answered so far goes out with it.
///
/// ```text
/// * OK [INPROGRESS ("a1" NIL NIL)] Still looking
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
        let out = wire.out();
        out.extend_from_slice(b"* OK [INPROGRESS (");
        encode::string(out, tag);
        out.extend_from_slice(b" NIL NIL)] Still looking\r\n");
        wire.flush().await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;
    use tokio::io::AsyncReadExt;

    #[tokio::test(start_paused = true)]
    async fn a_sign_every_ten_seconds() {
        async fn check(seconds: u64, expect: &str) {
            let (ours, mut theirs) = tokio::io::duplex(4096);
            let (_down, shutdown) = tokio::sync::watch::channel(false);
            let counters = (Counter::default(), Counter::default());
            let mut wire = Wire::new(Box::new(ours), EVERY, shutdown, counters);
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
        let sign = "* OK [INPROGRESS (\"a1\" NIL NIL)] Still looking\r\n";
        check(0, "").await;
        check(9, "").await;
        check(11, sign).await;
        check(25, &sign.repeat(2)).await;
    }
}
