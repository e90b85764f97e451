//! The store's counters, as Prometheus reads them.

use crate::pack::Packer;
use crate::writer::Figures;
use ocache::{Kind, ObjectCache};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;

pub(crate) fn register(registry: &mut Registry, figures: &Figures, cache: &Arc<dyn ObjectCache>) {
    let registry = registry.sub_registry_with_prefix("storage");
    registry.register("letters", "Letters stored", figures.letters.clone());
    registry.register("letter_bytes", "Bytes of letters stored", figures.letter_bytes.clone());
    registry.register("changes", "Changes made durable", figures.changes.clone());
    registry.register("batches", "Batches: one sync each", figures.batches.clone());
    registry.register("index_commits", "Commits of the index", figures.commits.clone());
    registry.register_collector(Box::new(CacheFigures(cache.clone())));
}

/// The cache counts by itself; it is asked when somebody looks.
struct CacheFigures(Arc<dyn ObjectCache>);

impl fmt::Debug for CacheFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheFigures")
    }
}

impl Collector for CacheFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let held = i64::try_from(self.0.size_bytes()).unwrap_or(i64::MAX);
        let help = "Bytes held by the object cache";
        ConstGauge::new(held).encode_as(&mut encoder, "cache_bytes", help)?;
        let figures = Kind::ALL.map(|kind| (kind, self.0.figures(kind)));
        let hits = figures.map(|(kind, figures)| (kind, figures.hits));
        family(&mut encoder, "cache_hits", "Objects found in the cache", &hits)?;
        let misses = figures.map(|(kind, figures)| (kind, figures.misses));
        family(&mut encoder, "cache_misses", "Objects not found in the cache", &misses)
    }
}

/// One counter for each kind of object.
fn family(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: &[(Kind, u64)],
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (kind, count) in rows {
        let labels = [("kind", kind.name())];
        ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
/// What packing has done, as of its last look.
pub(crate) struct PackFigures(pub(crate) Arc<Packer>);

impl fmt::Debug for PackFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PackFigures")
    }
}

impl Collector for PackFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let packed = self.0.figures();
        let rows = [
            ("storage_packs", "Segments of the log that are packed", packed.packs),
            ("storage_pack_raw_bytes", "Bytes of packed segments before", packed.raw_bytes),
            ("storage_pack_stored_bytes", "Bytes of packed segments now", packed.stored_bytes),
            ("storage_pack_dead_bytes", "Bytes of letters nobody has", packed.dead_bytes),
        ];
        for (name, help, value) in rows {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode_as(&mut encoder, name, help)?;
        }
        Ok(())
    }
}

/// [`EncodeMetric`] is not made for trait objects.
trait DynMetric {
    fn encode_as(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str)
    -> fmt::Result;
}

impl<M: EncodeMetric> DynMetric for M {
    fn encode_as(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
    ) -> fmt::Result {
        let metric = encoder.encode_descriptor(name, help, None, self.metric_type())?;
        self.encode(metric)
    }
}
