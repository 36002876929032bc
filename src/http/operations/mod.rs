//! The operations listener, apart from the public one: health and metrics, open to all who reach it; and what operators see and
//! do, behind a [`Guard`].

mod control;
mod form;
mod guard;
mod sessions;
mod trace;

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use serde::Serialize;
use tokio::sync::watch;

pub use self::guard::Guard;
use super::refusal::Refusal;
use crate::{
    auth::RevocationList,
    control::ControlWriter,
    domain::Timestamp,
    hub::SharedHub,
    protocol::StaleReasons,
    store::gateway::StoreHandle,
    telemetry::{Metrics, OPEN_METRICS},
    transport::Instance,
};

/// What the operations listener shows.
pub struct Operations {
    /// Freshness and drain.
    pub instance: Arc<Instance>,
    /// Whether the instance has caught up with the log and knows what is revoked.
    pub ready: watch::Receiver<bool>,
    /// Whether this instance serves viewers.
    pub pushes: bool,
    /// Whether the database answers.
    pub database_answers: Box<dyn Fn() -> bool + Send + Sync>,
    /// All that is counted.
    pub metrics: Metrics,
    /// What this instance is called.
    pub name: String,
    /// Whose sessions are listed.
    pub hub: Arc<SharedHub>,
    /// What is revoked.
    pub revocations: Arc<RevocationList>,
    /// Tells all instances.
    pub control: Arc<ControlWriter>,
    /// Asks SQL.
    pub store: StoreHandle,
    /// Who may do more than look at health and metrics.
    pub guard: Guard,
}

/// Routes of the operations listener. Of an instance that only records they are those about what is stored: it has no
/// sessions, and does not hear what instances tell each other.
pub fn routes(pushes: bool) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        config.configure(for_all);
        if pushes {
            config.configure(about_sessions);
        }
    }
}

fn for_all(config: &mut web::ServiceConfig) {
    config
        .route("/health/live", web::get().to(live))
        .route("/health/ready", web::get().to(ready))
        .route("/metrics", web::get().to(metrics))
        .app_data(web::PayloadConfig::new(form::MAX_BODY_BYTES))
        .service(web::resource("/orders/{order_id}/trace").get(trace::trace).default_service(web::to(other_method)));
}

fn about_sessions(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/sessions")
                .get(sessions::list)
                .delete(control::disconnect)
                .default_service(web::to(other_method)),
        )
        .service(
            web::resource("/revocations")
                .get(control::revoked)
                .post(control::revoke)
                .delete(control::lift)
                .default_service(web::to(other_method)),
        )
        .service(web::resource("/announcements").post(control::announce).default_service(web::to(other_method)));
}

async fn other_method() -> Result<&'static str, Refusal> {
    Err(Refusal::MethodNotAllowed)
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
