//! Ordercast shows every viewer the true status of their order, live.
//!
//! ```text
//!                  Kafka topic order-status                 log
//!          every partition │           │ shared by the instances
//!                          ▼           ▼
//!                       fanout     recorder                 decode once each, in domain
//!                          ▼           ▼
//!                         hub ◄────── SQL                   hub, snapshots, store
//!          tail, registry, mailboxes
//!                          │
//!                          ▼
//!                       session ──► client                  session, transport, http
//! ```
//!
//! Two pipelines read one log. Pushing never waits for SQL, and SQL never waits for a socket. A snapshot, read from SQL in one
//! statement and completed from the hub's tail, is the truth a screen is made of and compared with.
//!
//! The rooms, in the order of the data. A reader who follows this list has followed an event from the broker to the browser.
//!
//! | room | what lives there | may name |
//! | --- | --- | --- |
//! | [`domain`] | what one record says, and the fold that makes records the truth of an order; progress and halts; pure | – |
//! | [`protocol`] | what is said to viewers and by them, as messages; why a screen is stale, why a session ends | `domain` |
//! | [`log`] | a partitioned log: is it the one we know, is what is shown of it up to date; in [`log::kafka`] its clients | `domain`, `protocol` |
//! | [`fanout`] | log → hub | `log`, `hub`, `domain`, `protocol` |
//! | [`hub`] | tail, registry, screens, mailboxes, reconcile; one lock, no I/O | `domain`, `protocol` |
//! | [`recorder`] | log → SQL, dead letters, and whether every partition is recorded | `log`, `store`, `domain` |
//! | [`store`] | what is asked of SQL, in two dialects; by HTTP through its gateway | `domain` |
//! | [`snapshots`] | SQL → hub: reads that share statements, audits, the reader of progress | `store`, `hub`, `log`, `domain` |
//! | [`control`] | what instances tell each other: revocations, kicks, announcements | `log`, `hub`, `auth`, `domain`, `protocol` |
//! | [`session`] | everything a session decides, without a socket and without a clock | `domain`, `protocol` |
//! | [`auth`] | from a token to whom it speaks for | `domain` |
//! | [`transport`] | from a session to its client: one room per transport, and what all of them share | `session`, `hub`, `auth`, `domain`, `protocol` |
//! | [`http`] | both listeners, admission, origins, limits, operations | `transport`, `control`, `hub`, `auth`, `domain`, `protocol`, the store's gateway |
//!
//! Around them:
//!
//! | room | what lives there | may name |
//! | --- | --- | --- |
//! | [`config`] | settings, all checked before anything is opened | – |
//! | [`runtime`] | threads and tasks with a name, an owner and an end | – |
//! | [`telemetry`] | logs, and every metric's name | `domain`, `protocol`, `config` |
//! | [`app`] | builds an instance in the order of dependence, stops it in reverse | all |
//! | [`dev`] | Kafka, a database, a shop and a page in one process, for trying out | all |
//! | [`cli`] | the command line | all |
//!
//! Of the rooms above, `config` is named by `log`, `recorder` and `auth` alone: `app` hands the others what they need. What
//! has threads or tasks names `runtime`, and `telemetry` is named by whoever counts; the pure rooms (`domain`, `protocol`,
//! `hub`, `session`) name neither. `tests/it/house.rs` holds these arrows.
//!
//! The words (tail, mailbox, reconcile, stamp, …) are explained in `docs/architecture.md`; `CONTRIBUTING.md` says which
//! files a setting, a metric, a close cause or a message touches.

// The order of these groups is the order above.
pub mod domain;
pub mod protocol;

pub mod log;

pub mod fanout;
pub mod hub;

pub mod recorder;
pub mod store;

pub mod control;
pub mod snapshots;

pub mod auth;
pub mod session;

pub mod http;
pub mod transport;

pub mod config;
pub mod runtime;
pub mod telemetry;

pub mod app;
pub mod dev;

pub mod cli;

#[cfg(test)]
mod simulation;
