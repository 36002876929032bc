//! `ordercast reset-order`: the way out where a version that was never meant holds all later ones off.

use clap::Args;

use super::{
    context::Context,
    error::CommandError,
    event::check,
    output::print,
    target::{self, Target},
};
use crate::{
    domain::{OrderId, decode::RESET_HEADER},
    log::kafka::producer::Outgoing,
};

/// Arguments of `ordercast reset-order`.
#[derive(Debug, Args)]
pub(super) struct ResetOrder {
    /// The order
    #[arg(value_name = "ORDER_ID", value_parser = OrderId::parse)]
    order: OrderId,
    /// The partition in which upstream publishes the order, where that is not the one of its id [default: by the key's hash]
    #[arg(long)]
    partition: Option<i32>,
    #[command(flatten)]
    target: Target,
}

impl ResetOrder {
    /// Publishes a tombstone that resets the order, and prints where the record went.
    pub(super) fn run(self, context: &Context) -> Result<(), CommandError> {
        let settings = self.target.settings(context)?;
        check(&settings, &self.order, None)?;
        let record = Outgoing {
            key: Some(self.order.as_str().as_bytes()),
            value: None,
            headers: &[(RESET_HEADER, b"true")],
            partition: self.partition,
        };
        let delivered = target::publish(&settings.kafka, &record)?;
        print(format_args!("partition {}, offset {}", delivered.partition, delivered.offset))
    }
}
