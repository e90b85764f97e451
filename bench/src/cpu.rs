//! How much CPU time a process has used, all its threads together, and which machine this is.

use anyhow::{Context as _, Result};

/// Linux counts in hundredths of a second here, whatever the kernel's own tick is (`USER_HZ`).
const TICKS_PER_S: f64 = 100.0;

/// User and system time of a process in ms, of its ended threads too.
pub(crate) fn used_ms(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {path}: has the process ended?"))?;
    parse_ms(&text).with_context(|| format!("cannot understand {path}"))
}

fn parse_ms(stat: &str) -> Option<f64> {
    // The name in brackets may hold anything; the numbers begin after the last bracket.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) * 1000.0 / TICKS_PER_S)
}

/// Cores and CPU model, as the baseline names a class of machines.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    format!("{cores} cores, {}", model(&text).unwrap_or("unknown CPU"))
}

/// A sentence when other programs want the cores too: then waits measured here are partly theirs.
pub(crate) fn busy() -> Option<String> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    let load: f64 = text.split_whitespace().next()?.parse().ok()?;
    (load >= 1.0).then(|| {
        format!("The machine is busy with something else (load {load}): rates are too low, more so at one connection.")
    })
}

fn model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, model)| model.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line() {
        let line = "42 (a) b) (c) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 9 0 12345 1 2";
        assert_eq!(parse_ms(line), Some(2000.0));
        assert_eq!(parse_ms("42 (x) S 1"), None);
        assert_eq!(parse_ms(""), None);
    }

    #[test]
    fn our_own_time_grows() {
        let before = used_ms(std::process::id()).unwrap();
        let mut sum = 0_u64;
        while used_ms(std::process::id()).unwrap() < before + 20.0 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(used_ms(u32::MAX).is_err());
    }

    #[test]
    fn the_model() {
        assert_eq!(model("processor\t: 0\nmodel name\t: Fast CPU\n"), Some("Fast CPU"));
        assert_eq!(model(""), None);
    }
}
