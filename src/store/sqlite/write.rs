//! The writes of a batch, row by row.

use std::time::Duration;

use sqlx::{query, query_scalar, sqlite::SqliteConnection};

use crate::store::{
    Batch, StoreError,
    dead_letters::DeadLetterRow,
    plan::Plan,
    rows::{MovedRow, OrderRow, ViewerRow},
};

const PROGRESS: &str = "
    update progress
    set next_offset = ?3, last_offset = coalesce(?4, last_offset), last_digest = coalesce(?5, last_digest),
        halted = null, updated_at = cast(unixepoch('subsec') * 1000 as integer)
    where topic = ?1 and partition = ?2";

const INSERT_ORDER: &str = "
    insert into orders (order_id, user_id, viewers, status, terminal, version_number, version_epoch, epoch, partition,
                        log_offset, occurred_at, details, event_id, timeline)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

const UPDATE_ORDER: &str = "
    update orders
    set user_id = ?2, viewers = ?3, status = ?4, terminal = ?5, version_number = ?6, version_epoch = ?7, epoch = ?8,
        partition = ?9, log_offset = ?10, occurred_at = ?11, details = ?12, event_id = ?13, timeline = ?14,
        updated_at = cast(unixepoch('subsec') * 1000 as integer)
    where order_id = ?1";

const DELETE_ORDER: &str = "delete from orders where order_id = ?1";

const DELETE_MARKER: &str = "delete from erased_orders where order_id = ?1";

const INSERT_MARKER: &str = "
    insert into erased_orders (order_id, version_number, version_epoch, epoch, partition, log_offset)
    values (?1, ?2, ?3, ?4, ?5, ?6)";

const DELETE_VIEWER: &str = "delete from order_viewers where user_id = ?1 and terminal_at = ?2 and order_id = ?3";

const MOVE_VIEWER: &str = "
    update or replace order_viewers set terminal_at = ?4 where user_id = ?1 and terminal_at = ?2 and order_id = ?3";

const INSERT_VIEWER: &str = "
    insert into order_viewers (user_id, terminal_at, order_id) values (?1, ?2, ?3) on conflict do nothing";

const RESTATE_ORDER: &str = "update orders set terminal = not terminal where order_id = ?1";

const NUMBER_DEAD_LETTER: &str = "
    update topics set last_dead_letter = last_dead_letter + 1 where topic = ?1 returning last_dead_letter";

const DEAD_LETTER: &str = "
    insert into dead_letters (topic, id, epoch, partition, log_offset, code, message, recorded_at, key, held, value,
                              headers)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
    on conflict (topic, epoch, partition, log_offset) do update
    set id = excluded.id, code = excluded.code, message = excluded.message, held = held or excluded.held,
        value = coalesce(excluded.value, value), headers = coalesce(excluded.headers, headers)";

const FORGET_ERASED: &str =
    "delete from erased_orders where erased_at <= cast(unixepoch('subsec') * 1000 as integer) - ?1";

/// Writes what the plan says. Orders that only pass through leave nothing: nobody else writes meanwhile.
pub(super) async fn plan(connection: &mut SqliteConnection, plan: &Plan) -> Result<(), StoreError> {
    for row in &plan.inserted {
        order(connection, INSERT_ORDER, row).await?;
    }
    for row in &plan.updated {
        order(connection, UPDATE_ORDER, row).await?;
    }
    for order in &plan.removed {
        query(DELETE_ORDER).bind(order).execute(&mut *connection).await?;
    }
    for order in &plan.unmarked {
        query(DELETE_MARKER).bind(order).execute(&mut *connection).await?;
    }
    for row in &plan.marked {
        query(INSERT_MARKER)
            .bind(&row.order_id)
            .bind(row.version_number)
            .bind(row.version_epoch)
            .bind(row.epoch)
            .bind(row.partition)
            .bind(row.log_offset)
            .execute(&mut *connection)
            .await?;
    }
    for row in &plan.moved {
        moved(connection, row).await?;
    }
    for row in &plan.hidden {
        viewer(connection, DELETE_VIEWER, row).await?;
    }
    for row in &plan.shown {
        viewer(connection, INSERT_VIEWER, row).await?;
    }
    Ok(())
}

/// Writes what a plan says that restates orders.
pub(super) async fn restate(connection: &mut SqliteConnection, plan: &Plan) -> sqlx::Result<()> {
    for order in &plan.restated {
        query(RESTATE_ORDER).bind(order).execute(&mut *connection).await?;
    }
    for row in &plan.hidden {
        viewer(connection, DELETE_VIEWER, row).await?;
    }
    for row in &plan.shown {
        viewer(connection, INSERT_VIEWER, row).await?;
    }
    Ok(())
}

async fn order(connection: &mut SqliteConnection, statement: &'static str, row: &OrderRow) -> sqlx::Result<()> {
    query(statement)
        .bind(&row.order_id)
        .bind(&row.user_id)
        .bind(&row.viewers)
        .bind(&row.status)
        .bind(row.terminal)
        .bind(row.version_number)
        .bind(row.version_epoch)
        .bind(row.epoch)
        .bind(row.partition)
        .bind(row.log_offset)
        .bind(row.occurred_at)
        .bind(&row.details)
        .bind(&row.event_id)
        .bind(&row.timeline)
        .execute(connection)
        .await?;
    Ok(())
}

async fn viewer(connection: &mut SqliteConnection, statement: &'static str, row: &ViewerRow) -> sqlx::Result<()> {
    query(statement).bind(&row.user_id).bind(row.terminal_at).bind(&row.order_id).execute(connection).await?;
    Ok(())
}

async fn moved(connection: &mut SqliteConnection, row: &MovedRow) -> sqlx::Result<()> {
    let ViewerRow { user_id, terminal_at, order_id } = &row.from;
    let moving = query(MOVE_VIEWER).bind(user_id).bind(terminal_at).bind(order_id).bind(row.to);
    if moving.execute(&mut *connection).await?.rows_affected() == 0 {
        // An earlier version had it elsewhere, or nowhere.
        viewer(connection, DELETE_VIEWER, &row.unordered()).await?;
        viewer(connection, INSERT_VIEWER, &row.moved()).await?;
    }
    Ok(())
}

pub(super) async fn progress(connection: &mut SqliteConnection, batch: &Batch) -> sqlx::Result<()> {
    for part in &batch.partitions {
        query(PROGRESS)
            .bind(&batch.topic)
            .bind(part.partition)
            .bind(part.next_offset)
            .bind(part.last_record.map(|record| record.offset))
            .bind(part.last_record.map(|record| record.digest.cast_signed()))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

pub(super) async fn dead_letters(connection: &mut SqliteConnection, batch: &Batch) -> sqlx::Result<()> {
    for row in DeadLetterRow::of(batch) {
        let id: i64 = query_scalar(NUMBER_DEAD_LETTER).bind(&batch.topic).fetch_one(&mut *connection).await?;
        query(DEAD_LETTER)
            .bind(&batch.topic)
            .bind(id)
            .bind(row.epoch)
            .bind(row.partition)
            .bind(row.log_offset)
            .bind(row.code)
            .bind(row.message)
            .bind(row.recorded_at)
            .bind(row.key)
            .bind(row.held)
            .bind(row.value)
            .bind(row.headers)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

pub(super) async fn forget_erased(connection: &mut SqliteConnection, life: Duration) -> Result<u64, StoreError> {
    Ok(query(FORGET_ERASED).bind(life.as_millis() as i64).execute(connection).await?.rows_affected())
}
