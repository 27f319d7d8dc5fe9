//! Counters and gauges in arrays: the label is the index, so nothing is hashed, locked or allocated to count.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::labels::{Label, Method, Route, StatusClass};

/// So many zeros.
pub(super) fn zeros(count: usize) -> Arc<[AtomicU64]> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

fn encode_count(mut encoder: MetricEncoder<'_>, count: u64) -> fmt::Result {
    encoder.encode_counter::<NoLabelSet, _, u64>(&count, None)
}

/// A counter for each value of a label.
#[derive(Clone, Debug)]
pub(super) struct CounterBy<L>(Arc<[AtomicU64]>, PhantomData<fn(L)>);

impl<L: Label> Default for CounterBy<L> {
    fn default() -> Self {
        Self(zeros(L::ALL.len()), PhantomData)
    }
}

impl<L: Label> CounterBy<L> {
    pub(super) fn add(&self, label: L) {
        self.0[label.index()].fetch_add(1, Relaxed);
    }
}

impl<L: Label + fmt::Debug> EncodeMetric for CounterBy<L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        L::ALL.iter().try_for_each(|label| {
            let count = self.0[label.index()].load(Relaxed);
            encode_count(encoder.encode_family(&[(L::KEY, label.text())])?, count)
        })
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

/// A gauge for each value of a label.
#[derive(Clone, Debug)]
pub(super) struct GaugeBy<L>(Arc<[AtomicU64]>, PhantomData<fn(L)>);

impl<L: Label> Default for GaugeBy<L> {
    fn default() -> Self {
        Self(zeros(L::ALL.len()), PhantomData)
    }
}

impl<L: Label> GaugeBy<L> {
    pub(super) fn set(&self, label: L, value: u64) {
        self.0[label.index()].store(value, Relaxed);
    }
}

impl<L: Label + fmt::Debug> EncodeMetric for GaugeBy<L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        L::ALL.iter().try_for_each(|label| {
            let value = self.0[label.index()].load(Relaxed);
            encoder.encode_family(&[(L::KEY, label.text())])?.encode_gauge(&value)
        })
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

/// Requests by route, method and class of the answer. Combinations nobody has used are not shown.
#[derive(Clone, Debug)]
pub(super) struct RequestCounter(Arc<[AtomicU64]>);

impl Default for RequestCounter {
    fn default() -> Self {
        Self(zeros(Route::ALL.len() * Method::ALL.len() * StatusClass::ALL.len()))
    }
}

impl RequestCounter {
    pub(super) fn add(&self, route: Route, method: Method, class: StatusClass) {
        self.cell(route, method, class).fetch_add(1, Relaxed);
    }

    fn cell(&self, route: Route, method: Method, class: StatusClass) -> &AtomicU64 {
        let row = route.index() * Method::ALL.len() + method.index();
        &self.0[row * StatusClass::ALL.len() + class.index()]
    }
}

impl EncodeMetric for RequestCounter {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for &route in Route::ALL {
            for &method in Method::ALL {
                for &class in StatusClass::ALL {
                    let count = self.cell(route, method, class).load(Relaxed);
                    if count > 0 {
                        let labels = [
                            (Route::KEY, route.text()),
                            (Method::KEY, method.text()),
                            (StatusClass::KEY, class.text()),
                        ];
                        encode_count(encoder.encode_family(&labels)?, count)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}
