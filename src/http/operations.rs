//! The operations listener: health and metrics, apart from the public one.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use serde::Serialize;
use tokio::sync::watch;

use super::instance::Instance;
use crate::{
    event::Timestamp,
    protocol::StaleReasons,
    telemetry::{Metrics, OPEN_METRICS},
};

/// What the operations listener shows.
pub struct Operations {
    /// Freshness and drain.
    pub instance: Arc<Instance>,
    /// Whether the fanout has caught up once.
    pub ready: watch::Receiver<bool>,
    /// Whether the database answers.
    pub database_answers: Box<dyn Fn() -> bool + Send + Sync>,
    /// All that is counted.
    pub metrics: Metrics,
}

/// Routes of the operations listener.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/health/live", web::get().to(live))
        .route("/health/ready", web::get().to(ready))
        .route("/metrics", web::get().to(metrics));
}

async fn live() -> HttpResponse {
    #[derive(Serialize)]
    struct Live {
        live: bool,
    }
    HttpResponse::Ok().json(Live { live: true })
}

/// *Ready* is: caught up once, and not leaving. An outage of Kafka or SQL does not take it away, because it would take
/// it from all instances at once; the body tells the state of each part.
async fn ready(operations: web::Data<Operations>) -> HttpResponse {
    #[derive(Serialize)]
    struct Ready {
        ready: bool,
        draining: bool,
        caught_up: bool,
        stale: StaleReasons,
        #[serde(skip_serializing_if = "Option::is_none")]
        stale_since: Option<Timestamp>,
        database: &'static str,
    }
    let staleness = operations.instance.staleness();
    let caught_up = *operations.ready.borrow();
    let draining = operations.instance.is_draining();
    let body = Ready {
        ready: caught_up && !draining,
        draining,
        caught_up,
        stale: staleness.reasons,
        stale_since: (!staleness.reasons.is_fresh()).then_some(staleness.since),
        database: if (operations.database_answers)() { "available" } else { "unavailable" },
    };
    if body.ready { HttpResponse::Ok().json(body) } else { HttpResponse::ServiceUnavailable().json(body) }
}

async fn metrics(operations: web::Data<Operations>) -> HttpResponse {
    HttpResponse::Ok().content_type(OPEN_METRICS).body(operations.metrics.encode())
}
