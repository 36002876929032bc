//! `ordercast publish`: one order event, as any producer would write it.

use clap::Args;
use serde_json::value::RawValue;

use super::{
    context::Context,
    error::CommandError,
    event::{Event, check},
    output::print,
    target::{self, Target},
};
use crate::{
    domain::{OrderId, Timestamp, UserId},
    log::kafka::producer::Outgoing,
};

/// Arguments of `ordercast publish`.
#[derive(Debug, Args)]
pub(super) struct Publish {
    /// The order
    #[arg(long, value_parser = OrderId::parse)]
    order: OrderId,
    /// The user whose order it is
    #[arg(long, value_parser = UserId::parse, required_unless_present = "delete")]
    user: Option<UserId>,
    /// The order's status from now on
    #[arg(long, required_unless_present = "delete")]
    status: Option<String>,
    /// The order's own growing number; without it, the record's place in the log decides what is newer
    #[arg(long)]
    version: Option<u64>,
    /// A further user who may see the order; may be repeated
    #[arg(long, value_name = "USER", value_parser = UserId::parse)]
    viewer: Vec<UserId>,
    /// A JSON object, such as {"carrier":"DHL"}
    #[arg(long, value_name = "JSON", value_parser = json)]
    details: Option<Box<RawValue>>,
    /// Erase the order: publish a tombstone
    #[arg(long, conflicts_with_all = ["user", "status", "version", "viewer", "details"])]
    delete: bool,
    #[command(flatten)]
    target: Target,
}

impl Publish {
    /// Publishes and prints where the record went.
    pub(super) fn run(self, context: &Context) -> Result<(), CommandError> {
        let settings = self.target.settings(context)?;
        let value = self.value(Timestamp::now());
        check(&settings, &self.order, value.as_deref())?;
        let record =
            Outgoing { key: Some(self.order.as_str().as_bytes()), value: value.as_deref(), ..Outgoing::default() };
        let delivered = target::publish(&settings.kafka, &record)?;
        print(format_args!("partition {}, offset {}", delivered.partition, delivered.offset))
    }

    /// The record's value; `None` is a tombstone.
    fn value(&self, occurred_at: Timestamp) -> Option<Vec<u8>> {
        let (user_id, status) = self.user.as_ref().zip(self.status.as_deref()).filter(|_| !self.delete)?;
        let event = Event {
            order_id: &self.order,
            user_id,
            status,
            version: self.version,
            occurred_at,
            details: self.details.as_deref(),
            viewers: &self.viewer,
        };
        Some(event.to_bytes())
    }
}

fn json(text: &str) -> Result<Box<RawValue>, serde_json::Error> {
    serde_json::from_str(text)
}
