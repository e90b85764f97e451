//! `/metrics` and `/healthz`: how the server is, for Prometheus and for whoever restarts it.

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::Store;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a listener counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections {
    pub(crate) open: Gauge,
    pub(crate) opened: Counter,
    pub(crate) turned_away: Counter,
    pub(crate) panics: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabel {
    listener: &'static str,
}

/// The same for all listeners, by name.
#[derive(Default)]
pub(crate) struct ListenerFigures {
    open: Family<ListenerLabel, Gauge>,
    opened: Family<ListenerLabel, Counter>,
    turned_away: Family<ListenerLabel, Counter>,
    panics: Family<ListenerLabel, Counter>,
}

impl ListenerFigures {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("listener");
        registry.register("connections", "Connections open now", self.open.clone());
        registry.register("connections_opened", "Connections accepted", self.opened.clone());
        registry.register(
            "connections_turned_away",
            "Connections over the limit",
            self.turned_away.clone(),
        );
        registry.register("panics", "Sessions ended by a bug", self.panics.clone());
    }

    pub(crate) fn of(&self, listener: &'static str) -> Connections {
        let label = ListenerLabel { listener };
        Connections {
            open: self.open.get_or_create_owned(&label),
            opened: self.opened.get_or_create_owned(&label),
            turned_away: self.turned_away.get_or_create_owned(&label),
            panics: self.panics.get_or_create_owned(&label),
        }
    }
}

/// The two paths, for programs on this machine: they ask for no password, and `https` is open to everybody.
pub(crate) fn router(registry: Registry, store: Store) -> Router {
    Router::new()
        .route("/metrics", get(metrics).with_state(Arc::new(registry)))
        .route("/healthz", get(health).with_state(store))
        .route_layer(middleware::from_fn(from_here))
}

async fn from_here(request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if peer.is_some_and(|peer| peer.0.ip().to_canonical().is_loopback()) {
        return next.run(request).await;
    }
    StatusCode::NOT_FOUND.into_response()
}

async fn metrics(State(registry): State<Arc<Registry>>) -> Response {
    // Figures of the process and the disk are read from files.
    let encoded = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).map(|()| text)
    });
    match encoded.await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn health(State(store): State<Store>) -> Response {
    match store.health().await {
        Ok(()) => axum::Json(serde_json::json!({ "status": "ok" })).into_response(),
        Err(error) => {
            let body = serde_json::json!({ "status": "failing", "reason": error.to_string() });
            (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response()
        }
    }
}

/// Figures of this process and of its data folder, read when somebody asks. Names as Prometheus expects them.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) data_folder: PathBuf,
    pub(crate) started_unix_s: i64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut gauge = |name: &str, help: &str, value: Option<u64>| {
            let Some(value) = value.and_then(|v| i64::try_from(v).ok()) else {
                return Ok(());
            };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        let started = u64::try_from(self.started_unix_s).ok();
        gauge(
            "process_resident_memory_bytes",
            "Memory in use",
            status_kib("VmRSS").map(|n| n * 1024),
        )?;
        gauge("process_threads", "Threads", status_kib("Threads"))?;
        gauge("process_open_fds", "Open files and sockets", open_files())?;
        gauge("process_start_time_seconds", "Start, Unix time", started)?;
        gauge(
            "openpoczta_data_free_bytes",
            "Room left on the disk of the mail",
            free_bytes(&self.data_folder),
        )?;
        if let Some(seconds) = cpu_seconds() {
            let counter = ConstCounter::new(seconds);
            let help = "CPU time of all threads";
            let kind = counter.metric_type();
            counter.encode(encoder.encode_descriptor(
                "process_cpu_seconds",
                help,
                None,
                kind,
            )?)?;
        }
        Ok(())
    }
}

/// A number of `/proc/self/status`.
fn status_kib(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn open_files() -> Option<u64> {
    let count = std::fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them is the folder we are looking through.
    u64::try_from(count.saturating_sub(1)).ok()
}

/// User and system time from `/proc/self/stat`, in whole clock ticks.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name of the program, which may hold anything but ends in the last `)`.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut ticks = rest.split_ascii_whitespace().skip(11).map(str::parse::<u32>);
    let total = ticks.next()?.ok()?.checked_add(ticks.next()?.ok()?)?;
    let per_second = u32::try_from(rustix::param::clock_ticks_per_second()).ok()?;
    Some(f64::from(total) / f64::from(per_second))
}

fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_this_process() {
        let mut registry = Registry::default();
        let process = Process { data_folder: "/".into(), started_unix_s: 1_795_370_400 };
        registry.register_collector(Box::new(process));
        let listeners = ListenerFigures::default();
        listeners.register(registry.sub_registry_with_prefix("openpoczta"));
        listeners.of("imap").opened.inc();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for name in [
            "process_cpu_seconds_total ",
            "process_open_fds ",
            "process_resident_memory_bytes ",
            "process_start_time_seconds 1795370400\n",
            "process_threads ",
            "openpoczta_data_free_bytes ",
            "openpoczta_listener_connections_opened_total{listener=\"imap\"} 1\n",
        ] {
            assert!(text.contains(&format!("\n{name}")), "{name}: {text}");
        }
    }
}
