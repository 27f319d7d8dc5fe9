//! A histogram of atomics. The library's own takes a lock for each observation, which the hot path should not.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::labels::Label;
use super::table::zeros;

/// Where the buckets end, in whole units of which `per_unit` make one of the unit shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    bounds: &'static [u64],
    per_unit: f64,
}

impl Scale {
    /// Bounds in microseconds, shown as seconds.
    pub(super) const fn seconds(bounds: &'static [u64]) -> Self {
        Self { bounds, per_unit: 1e6 }
    }

    /// Bounds shown as they are.
    pub(super) const fn plain(bounds: &'static [u64]) -> Self {
        Self { bounds, per_unit: 1.0 }
    }

    #[expect(clippy::cast_precision_loss, reason = "a sum past 2^53 µs is 285 years of waiting")]
    fn shown(self, value: u64) -> f64 {
        value as f64 / self.per_unit
    }
}

/// A distribution of durations or counts.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    scale: Scale,
    /// One more than there are bounds: the last takes what is above them all.
    buckets: Arc<[AtomicU64]>,
    sum: Arc<AtomicU64>,
}

impl Histogram {
    pub(super) fn new(scale: Scale) -> Self {
        Self { scale, buckets: zeros(scale.bounds.len() + 1), sum: Arc::default() }
    }

    pub(super) fn observe(&self, took: Duration) {
        self.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn observe_count(&self, count: usize) {
        self.add(u64::try_from(count).unwrap_or(u64::MAX));
    }

    fn add(&self, value: u64) {
        let bucket = self.scale.bounds.partition_point(|bound| *bound < value);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    fn encode_into(&self, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        let bounds = self.scale.bounds.iter().map(|bound| self.scale.shown(*bound)).chain([f64::INFINITY]);
        let counts = self.buckets.iter().map(|bucket| bucket.load(Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        // The count is what the buckets hold, so that the two agree whatever is being added meanwhile.
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(self.scale.shown(self.sum.load(Relaxed)), count, &buckets, None)
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        self.encode_into(&mut encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// A histogram for each value of a label. One that is still empty is not shown.
#[derive(Clone, Debug)]
pub(super) struct HistogramBy<L>(Arc<[Histogram]>, PhantomData<fn(L)>);

impl<L: Label> HistogramBy<L> {
    pub(super) fn new(scale: Scale) -> Self {
        Self(L::ALL.iter().map(|_| Histogram::new(scale)).collect(), PhantomData)
    }

    pub(super) fn observe(&self, label: L, took: Duration) {
        self.0[label.index()].observe(took);
    }
}

impl<L: Label + fmt::Debug> EncodeMetric for HistogramBy<L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let used = |label: &&L| self.0[label.index()].buckets.iter().any(|bucket| bucket.load(Relaxed) > 0);
        L::ALL.iter().filter(used).try_for_each(|label| {
            let labels = [(L::KEY, label.text())];
            self.0[label.index()].encode_into(&mut encoder.encode_family(&labels)?)
        })
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
