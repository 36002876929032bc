//! What PostgreSQL alone has to show: locks, plans of its planner, and a network between.

mod batches;
mod encoding;
mod locks;
mod network;
mod query_plan;
mod throughput;
