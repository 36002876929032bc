//! What the two pipelines count, each under its own label.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use crate::domain::{Verdict, decode::RefusalCode};

/// The metrics both pipelines have.
pub(super) struct Families {
    pub(super) records: Family<Record, Counter>,
    pub(super) refused: Family<Refused, Counter>,
    pub(super) unreadable: Family<Pipeline, Counter>,
    pub(super) kind_changed: Family<Pipeline, Counter>,
    pub(super) partition_changed: Family<Pipeline, Counter>,
    pub(super) lag: Family<Partition, Gauge>,
    pub(super) up: Family<Pipeline, Gauge>,
    pub(super) halted: Family<Pipeline, Gauge>,
}

impl Families {
    pub(super) fn of(&self, pipeline: &'static str) -> PipelineMetrics {
        let label = Pipeline { pipeline };
        let outcome = |outcome| self.records.get_or_create_owned(&Record { pipeline, outcome });
        for code in RefusalCode::ALL {
            drop(self.refused.get_or_create(&Refused { pipeline, code: code.as_str() }));
        }
        PipelineMetrics {
            applied: outcome("applied"),
            late: outcome("late"),
            duplicate: outcome("duplicate"),
            conflict: outcome("conflict"),
            nothing_to_erase: outcome("nothing_to_erase"),
            refused: outcome("refused"),
            occurred_at_unreadable: self.unreadable.get_or_create_owned(&label),
            kind_changed: self.kind_changed.get_or_create_owned(&label),
            partition_changed: self.partition_changed.get_or_create_owned(&label),
            kafka_up: self.up.get_or_create_owned(&label),
            partitions_halted: self.halted.get_or_create_owned(&label),
            refused_by_code: self.refused.clone(),
            lag: self.lag.clone(),
            up: self.up.clone(),
            halted: self.halted.clone(),
            pipeline,
        }
    }
}

/// One pipeline's metrics. The counters are plain atomics: cheap enough for every record.
#[derive(Debug)]
pub struct PipelineMetrics {
    /// Events that set or erased an order.
    pub applied: Counter,
    /// Events of a version below the known one.
    pub late: Counter,
    /// Events of the known version with its status.
    pub duplicate: Counter,
    /// Events of the known version with another status.
    pub conflict: Counter,
    /// Tombstones of unknown orders.
    pub nothing_to_erase: Counter,
    /// Events whose `occurred_at` is no time.
    pub occurred_at_unreadable: Counter,
    /// Events that replaced a version of the other kind.
    pub kind_changed: Counter,
    /// 1 while brokers are reached, else 0.
    pub kafka_up: Gauge,
    /// Partitions that wait for an operator.
    pub partitions_halted: Gauge,
    partition_changed: Counter,
    refused: Counter,
    refused_by_code: Family<Refused, Counter>,
    lag: Family<Partition, Gauge>,
    up: Family<Pipeline, Gauge>,
    halted: Family<Pipeline, Gauge>,
    pipeline: &'static str,
}

impl PipelineMetrics {
    /// This instance does not run the pipeline: a gauge at 0 would say that something is wrong, or that nothing is.
    pub fn not_run(&self) {
        let label = Pipeline { pipeline: self.pipeline };
        self.up.remove(&label);
        self.halted.remove(&label);
    }

    /// Counts what an event did to its order.
    pub fn judged(&self, verdict: &Verdict) {
        match verdict {
            Verdict::Applies { kind_changed, .. } => {
                self.applied.inc();
                self.kind_changed.inc_by(u64::from(*kind_changed));
            }
            Verdict::Late => drop(self.late.inc()),
            Verdict::Duplicate => drop(self.duplicate.inc()),
            Verdict::Conflict => drop(self.conflict.inc()),
            Verdict::NothingToErase => drop(self.nothing_to_erase.inc()),
            Verdict::Unordered => self.partition_changed(),
        }
    }

    /// Counts a record that cannot be used.
    pub fn refused(&self, code: RefusalCode) {
        self.refused.inc();
        self.refused_by_code.get_or_create(&Refused { pipeline: self.pipeline, code: code.as_str() }).inc();
    }

    /// Counts an event without a version in another partition than its order: it cannot be used.
    pub fn partition_changed(&self) {
        self.partition_changed.inc();
        self.refused(RefusalCode::Unordered);
    }

    /// Sets how many records of a partition are still to come.
    pub fn set_lag(&self, partition: i32, records: i64) {
        self.lag.get_or_create(&Partition { pipeline: self.pipeline, partition }).set(records);
    }

    /// Forgets the lag of a partition that the topic has no longer.
    pub fn forget_lag(&self, partition: i32) {
        self.lag.remove(&Partition { pipeline: self.pipeline, partition });
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Pipeline {
    pipeline: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Record {
    pipeline: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Refused {
    pipeline: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Partition {
    pipeline: &'static str,
    partition: i32,
}
