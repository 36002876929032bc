//! `ordercast token`: a token for trying things out, signed with `auth.secret`.

use std::time::Duration;

use clap::Args;
use ulid::Ulid;

use super::{context::Context, error::CommandError, output::print};
use crate::{
    auth::{Grant, MAX_ORDERS, Signer},
    config::Need,
    domain::{OrderId, Timestamp, UserId},
};

/// Arguments of `ordercast token`.
#[derive(Debug, Args)]
#[group(id = "whom", required = true, multiple = true, args = ["user", "order"])]
pub(super) struct Token {
    /// The user the token speaks for
    #[arg(long, value_parser = UserId::parse)]
    user: Option<UserId>,
    /// An order it shows; may be repeated. Without --user: a link to these orders; with it: only these of the user's
    #[arg(long, value_parser = OrderId::parse)]
    order: Vec<OrderId>,
    /// How long it is good, such as 15m, 1h or 30d
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = ttl)]
    ttl: Duration,
}

impl Token {
    /// Prints the token.
    pub(super) fn run(self, context: &Context) -> Result<(), CommandError> {
        if self.order.len() > MAX_ORDERS {
            return Err(CommandError::Usage(format!("--order: a token may list {MAX_ORDERS} orders at most")));
        }
        let settings = context.settings(&[Need::Secret])?;
        let signer = Signer::new(&settings.auth)
            .ok_or_else(|| CommandError::Usage("auth.algorithms names none that auth.secret signs with".to_owned()))?;
        let issued_at = Timestamp::now();
        let expires_at = i64::try_from(self.ttl.as_millis())
            .ok()
            .and_then(|ttl| Timestamp::from_millis(issued_at.as_millis().checked_add(ttl)?))
            .ok_or_else(|| CommandError::Usage("--ttl: reaches beyond the year 9999".to_owned()))?;
        let token = signer.sign(&Grant {
            user: self.user,
            orders: (!self.order.is_empty()).then_some(self.order),
            issued_at,
            expires_at,
            token_id: Some(Ulid::generate().to_string()),
        });
        print(token)
    }
}

fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    // A token's times are whole seconds.
    if ttl < Duration::from_secs(1) { Err("must be at least 1s".to_owned()) } else { Ok(ttl) }
}
