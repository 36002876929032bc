//! The pipelines between a real log, a real database and screens, without sockets: fanout, recorder, snapshots.

mod embedded;
mod fanout;
mod faulty;
mod gateway;
mod hand_over;
mod instance;
mod logs;
mod outages;
mod recorder;
mod screen;
mod snapshots;
