//! What a program has used with all its processes: CPU, bytes for the disk, calls that make bytes durable.

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const TICKS_PER_S: f64 = 100.0;
/// Until strace has taken hold of every thread.
const ATTACH: Duration = Duration::from_millis(1500);

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Used {
    /// Of those that have ended too.
    pub(crate) cpu_ms: f64,
    /// Of those that still run.
    pub(crate) written_bytes: f64,
}

/// A process and all below it.
pub(crate) fn processes(root: u32) -> Result<Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").context("cannot list /proc")? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        let Ok(pid) = name.parse::<u32>() else { continue };
        // One that has ended meanwhile is no child of anybody.
        let Some(parent) = stat(pid).and_then(|fields| fields.get(1)?.parse().ok()) else {
            continue;
        };
        children.entry(parent).or_default().push(pid);
    }
    let mut all = vec![root];
    let mut at = 0;
    while let Some(pid) = all.get(at) {
        all.extend(children.remove(pid).unwrap_or_default());
        at += 1;
    }
    Ok(all)
}

/// The fields of `/proc/PID/stat` from the state on.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(String::from).collect())
}

pub(crate) fn used(root: u32) -> Result<Used> {
    let mut used = Used::default();
    for pid in processes(root)? {
        let Some(fields) = stat(pid) else { continue };
        // utime, stime, and those of children that were waited for.
        let ticks = fields.iter().skip(11).take(4).filter_map(|field| field.parse::<f64>().ok());
        used.cpu_ms += ticks.sum::<f64>() * 1000.0 / TICKS_PER_S;
        let io = std::fs::read_to_string(format!("/proc/{pid}/io"));
        let io = io.with_context(|| format!("cannot read /proc/{pid}/io; root may"))?;
        let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
        used.written_bytes += written.and_then(|n| n.parse::<f64>().ok()).unwrap_or_default();
    }
    Ok(used)
}

/// How many syncs a program and its processes do during `work`; `None` when there is no strace.
pub(crate) fn syncs(
    root: u32,
    folder: &Path,
    work: impl FnOnce() -> Result<()>,
) -> Result<Option<u64>> {
    calls(root, folder, &["fsync", "fdatasync", "msync", "sync_file_range", "syncfs"], work)
}

/// How many of these system calls they do; `None` when there is no strace.
pub(crate) fn calls(
    root: u32,
    folder: &Path,
    names: &[&str],
    work: impl FnOnce() -> Result<()>,
) -> Result<Option<u64>> {
    let log = folder.join("strace.txt");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e"]).arg(format!("trace={}", names.join(",")));
    strace.arg("-o").arg(&log).stdin(Stdio::null()).stderr(Stdio::null());
    for pid in processes(root)? {
        strace.arg("-p").arg(pid.to_string());
    }
    let Ok(mut child) = strace.spawn() else {
        return Ok(None);
    };
    wait(ATTACH);
    let done = work();
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a strange PID")?;
    kill_process(pid, Signal::INT).context("cannot end strace")?;
    child.wait().context("cannot wait for strace")?;
    done?;
    let text = std::fs::read_to_string(&log).context("strace wrote nothing; may it trace?")?;
    // PID, then the call; one that another thread interrupts has a second line without its arguments.
    let is_call = |line: &&str| {
        let call = line.split_whitespace().nth(1).unwrap_or_default();
        names.iter().any(|name| call.strip_prefix(name).is_some_and(|rest| rest.starts_with('(')))
    };
    let count = text.lines().filter(is_call).count();
    ensure!(count > 0, "no call was seen: may strace trace these processes?");
    Ok(Some(count as u64))
}

#[expect(clippy::disallowed_methods, reason = "there is no executor here that could be blocked")]
pub(crate) fn wait(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_all_its_processes() {
        let mut child =
            Command::new("sh").args(["-c", "sleep 60 & sleep 60 & wait"]).spawn().unwrap();
        let mut found = Vec::new();
        for _ in 0..100 {
            found = processes(child.id()).unwrap();
            if found.len() == 3 {
                break;
            }
            wait(Duration::from_millis(20));
        }
        assert_eq!(found.len(), 3);
        for pid in found.iter().rev() {
            let pid = i32::try_from(*pid).ok().and_then(Pid::from_raw).unwrap();
            kill_process(pid, Signal::TERM).unwrap_or_default();
        }
        child.wait().unwrap();
    }

    #[test]
    fn our_own_use_grows() {
        let before = used(std::process::id()).unwrap();
        let mut sum = 0_u64;
        while used(std::process::id()).unwrap().cpu_ms < before.cpu_ms + 20.0 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(used(u32::MAX).unwrap().cpu_ms < f64::EPSILON);
    }
}
