//! The writes of a batch: one statement for each kind of row, its values in arrays.

use std::time::Duration;

use sqlx::{
    postgres::{PgBindIterExt, PgConnection},
    query, query_scalar,
};

use crate::store::{
    Batch, StoreError,
    dead_letters::DeadLetterRow,
    plan::Plan,
    rows::{MarkerRow, MovedRow, OrderRow, ViewerRow},
};

const PROGRESS: &str = "
    update progress p
    set next_offset = n.next_offset, halted = null, updated_at = now(),
        last_offset = coalesce(n.last_offset, p.last_offset), last_digest = coalesce(n.last_digest, p.last_digest)
    from unnest($2::integer[], $3::bigint[], $4::bigint[], $5::bigint[])
        as n (partition, next_offset, last_offset, last_digest)
    where p.topic = $1 and p.partition = n.partition";

const INSERT_ORDERS: &str = "
    insert into orders (order_id, user_id, viewers, status, terminal, version_number, version_epoch, epoch, partition,
                        log_offset, occurred_at, details, event_id, timeline)
    select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::bigint[], $7::bigint[],
                         $8::bigint[], $9::integer[], $10::bigint[], $11::bigint[], $12::text[], $13::text[],
                         $14::text[])";

const UPDATE_ORDERS: &str = "
    update orders o
    set user_id = n.user_id, viewers = n.viewers, status = n.status, terminal = n.terminal,
        version_number = n.version_number, version_epoch = n.version_epoch, epoch = n.epoch, partition = n.partition,
        log_offset = n.log_offset, occurred_at = n.occurred_at, details = n.details, event_id = n.event_id,
        timeline = n.timeline, updated_at = now()
    from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::bigint[], $7::bigint[],
                $8::bigint[], $9::integer[], $10::bigint[], $11::bigint[], $12::text[], $13::text[], $14::text[])
        as n (order_id, user_id, viewers, status, terminal, version_number, version_epoch, epoch, partition,
              log_offset, occurred_at, details, event_id, timeline)
    where o.order_id = n.order_id";

const INSERT_PASSING: &str = "
    insert into orders (order_id, user_id, viewers, status, terminal, version_number, epoch, partition, log_offset,
                        occurred_at, timeline)
    select order_id, '', '[]', '', true, 0, 0, 0, 0, 0, '[]' from unnest($1::text[]) as passing (order_id)";

const DELETE_ORDERS: &str = "delete from orders where order_id = any($1)";

const DELETE_MARKERS: &str = "delete from erased_orders where order_id = any($1)";

const INSERT_MARKERS: &str = "
    insert into erased_orders (order_id, version_number, version_epoch, epoch, partition, log_offset)
    select * from unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::integer[], $6::bigint[])";

const DELETE_VIEWERS: &str = "
    delete from order_viewers v
    using unnest($1::text[], $2::bigint[], $3::text[]) as n (user_id, terminal_at, order_id)
    where v.user_id = n.user_id and v.terminal_at = n.terminal_at and v.order_id = n.order_id";

const MOVE_VIEWERS: &str = "
    update order_viewers v set terminal_at = n.moved_to
    from unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[]) as n (user_id, terminal_at, order_id, moved_to)
    where v.user_id = n.user_id and v.terminal_at = n.terminal_at and v.order_id = n.order_id";

const INSERT_VIEWERS: &str = "
    insert into order_viewers (user_id, terminal_at, order_id)
    select n.user_id, n.terminal_at, n.order_id
    from unnest($1::text[], $2::bigint[], $3::text[]) as n (user_id, terminal_at, order_id)
    where not exists (select from erased_orders e where e.order_id = n.order_id)";

const RESTATE_ORDERS: &str = "update orders set terminal = not terminal where order_id = any($1)";

const INSERT_MISSING_VIEWERS: &str = "
    insert into order_viewers (user_id, terminal_at, order_id)
    select * from unnest($1::text[], $2::bigint[], $3::text[]) on conflict do nothing";

const NUMBER_DEAD_LETTERS: &str = "
    update topics set last_dead_letter = last_dead_letter + $2 where topic = $1 returning last_dead_letter - $2";

const DEAD_LETTERS: &str = "
    insert into dead_letters as old (topic, id, epoch, partition, log_offset, code, message, recorded_at, key, held,
                                     value, headers)
    select $1, $2 + row_number() over (), n.*
    from unnest($3::bigint[], $4::integer[], $5::bigint[], $6::text[], $7::text[], $8::bigint[], $9::bytea[],
                $10::boolean[], $11::bytea[], $12::text[]) as n
    on conflict (topic, epoch, partition, log_offset) do update
    set id = excluded.id, code = excluded.code, message = excluded.message, held = old.held or excluded.held,
        value = coalesce(excluded.value, old.value), headers = coalesce(excluded.headers, old.headers)";

const FORGET_ERASED: &str = "
    delete from erased_orders where order_id in (
        select order_id from erased_orders where erased_at <= now() - make_interval(secs => $1)
        order by order_id for update skip locked)";

/// Writes what the plan says, in its order: an order's own row first, on which two recorders meet. The later of two
/// inserts waits for the other's commit and then violates the primary key, which [`StoreError`] knows as contention; to
/// insert `on conflict do nothing` and count would cost twice the time.
pub(super) async fn plan(connection: &mut PgConnection, plan: &Plan) -> Result<(), StoreError> {
    if !plan.inserted.is_empty() {
        orders(connection, INSERT_ORDERS, &plan.inserted).await?;
    }
    if !plan.passing.is_empty() {
        named(connection, INSERT_PASSING, &plan.passing).await?;
        named(connection, DELETE_ORDERS, &plan.passing).await?;
    }
    if !plan.updated.is_empty() {
        orders(connection, UPDATE_ORDERS, &plan.updated).await?;
    }
    if !plan.removed.is_empty() {
        named(connection, DELETE_ORDERS, &plan.removed).await?;
    }
    if !plan.unmarked.is_empty() {
        named(connection, DELETE_MARKERS, &plan.unmarked).await?;
    }
    if !plan.marked.is_empty() {
        markers(connection, &plan.marked).await?;
    }
    if !plan.moved.is_empty() {
        moved(connection, &plan.moved).await?;
    }
    if !plan.hidden.is_empty() {
        viewers(connection, DELETE_VIEWERS, &plan.hidden).await?;
    }
    if !plan.shown.is_empty() {
        let shown = viewers(connection, INSERT_VIEWERS, &plan.shown).await?;
        // Where another recorder made and erased an order between our reading of it and our insert, the insert
        // succeeds, and only the marker, which a later statement sees, tells.
        if shown != plan.shown.len() as u64 {
            return Err(StoreError::Contended);
        }
    }
    Ok(())
}

/// Writes what a plan says that restates orders, which are locked.
pub(super) async fn restate(connection: &mut PgConnection, plan: &Plan) -> sqlx::Result<()> {
    if !plan.restated.is_empty() {
        named(connection, RESTATE_ORDERS, &plan.restated).await?;
    }
    if !plan.hidden.is_empty() {
        viewers(connection, DELETE_VIEWERS, &plan.hidden).await?;
        viewers(connection, INSERT_MISSING_VIEWERS, &plan.shown).await?;
    }
    Ok(())
}

async fn orders(connection: &mut PgConnection, statement: &'static str, rows: &[OrderRow]) -> sqlx::Result<()> {
    query(statement)
        .persistent(false)
        .bind(rows.iter().map(|row| row.order_id.as_str()).bind_iter())
        .bind(rows.iter().map(|row| row.user_id.as_str()).bind_iter())
        .bind(rows.iter().map(|row| row.viewers.as_str()).bind_iter())
        .bind(rows.iter().map(|row| row.status.as_str()).bind_iter())
        .bind(rows.iter().map(|row| row.terminal).bind_iter())
        .bind(rows.iter().map(|row| row.version_number).bind_iter())
        .bind(rows.iter().map(|row| row.version_epoch).bind_iter())
        .bind(rows.iter().map(|row| row.epoch).bind_iter())
        .bind(rows.iter().map(|row| row.partition).bind_iter())
        .bind(rows.iter().map(|row| row.log_offset).bind_iter())
        .bind(rows.iter().map(|row| row.occurred_at).bind_iter())
        .bind(rows.iter().map(|row| row.details.as_deref()).bind_iter())
        .bind(rows.iter().map(|row| row.event_id.as_deref()).bind_iter())
        .bind(rows.iter().map(|row| row.timeline.as_str()).bind_iter())
        .execute(connection)
        .await?;
    Ok(())
}

async fn named(connection: &mut PgConnection, statement: &'static str, orders: &[String]) -> sqlx::Result<()> {
    query(statement).persistent(false).bind(orders).execute(connection).await?;
    Ok(())
}

async fn markers(connection: &mut PgConnection, rows: &[MarkerRow]) -> sqlx::Result<()> {
    query(INSERT_MARKERS)
        .persistent(false)
        .bind(rows.iter().map(|row| row.order_id.as_str()).bind_iter())
        .bind(rows.iter().map(|row| row.version_number).bind_iter())
        .bind(rows.iter().map(|row| row.version_epoch).bind_iter())
        .bind(rows.iter().map(|row| row.epoch).bind_iter())
        .bind(rows.iter().map(|row| row.partition).bind_iter())
        .bind(rows.iter().map(|row| row.log_offset).bind_iter())
        .execute(connection)
        .await?;
    Ok(())
}

async fn viewers(connection: &mut PgConnection, statement: &'static str, rows: &[ViewerRow]) -> sqlx::Result<u64> {
    let done = query(statement)
        .persistent(false)
        .bind(rows.iter().map(|row| row.user_id.as_str()).bind_iter())
        .bind(rows.iter().map(|row| row.terminal_at).bind_iter())
        .bind(rows.iter().map(|row| row.order_id.as_str()).bind_iter())
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

async fn moved(connection: &mut PgConnection, rows: &[MovedRow]) -> sqlx::Result<()> {
    let done = query(MOVE_VIEWERS)
        .persistent(false)
        .bind(rows.iter().map(|row| row.from.user_id.as_str()).bind_iter())
        .bind(rows.iter().map(|row| row.from.terminal_at).bind_iter())
        .bind(rows.iter().map(|row| row.from.order_id.as_str()).bind_iter())
        .bind(rows.iter().map(|row| row.to).bind_iter())
        .execute(&mut *connection)
        .await?;
    if done.rows_affected() != rows.len() as u64 {
        // An earlier version had them elsewhere, or nowhere.
        let unordered: Vec<ViewerRow> = rows.iter().map(MovedRow::unordered).collect();
        let moved: Vec<ViewerRow> = rows.iter().map(MovedRow::moved).collect();
        viewers(connection, DELETE_VIEWERS, &unordered).await?;
        viewers(connection, INSERT_MISSING_VIEWERS, &moved).await?;
    }
    Ok(())
}

pub(super) async fn progress(connection: &mut PgConnection, batch: &Batch) -> sqlx::Result<()> {
    let parts = &batch.partitions;
    query(PROGRESS)
        .persistent(false)
        .bind(&batch.topic)
        .bind(parts.iter().map(|part| part.partition).bind_iter())
        .bind(parts.iter().map(|part| part.next_offset).bind_iter())
        .bind(parts.iter().map(|part| part.last_record.map(|record| record.offset)).bind_iter())
        .bind(parts.iter().map(|part| part.last_record.map(|record| record.digest.cast_signed())).bind_iter())
        .execute(connection)
        .await?;
    Ok(())
}

/// Comes last: the topic's row, which gives the numbers, stays locked until the commit.
pub(super) async fn dead_letters(connection: &mut PgConnection, batch: &Batch) -> sqlx::Result<()> {
    let rows = DeadLetterRow::of(batch);
    if rows.is_empty() {
        return Ok(());
    }
    let before: i64 = query_scalar(NUMBER_DEAD_LETTERS)
        .persistent(false)
        .bind(&batch.topic)
        .bind(rows.len() as i64)
        .fetch_one(&mut *connection)
        .await?;
    query(DEAD_LETTERS)
        .persistent(false)
        .bind(&batch.topic)
        .bind(before)
        .bind(rows.iter().map(|row| row.epoch).bind_iter())
        .bind(rows.iter().map(|row| row.partition).bind_iter())
        .bind(rows.iter().map(|row| row.log_offset).bind_iter())
        .bind(rows.iter().map(|row| row.code).bind_iter())
        .bind(rows.iter().map(|row| row.message.as_str()).bind_iter())
        .bind(rows.iter().map(|row| row.recorded_at).bind_iter())
        .bind(rows.iter().map(|row| row.key).bind_iter())
        .bind(rows.iter().map(|row| row.held).bind_iter())
        .bind(rows.iter().map(|row| row.value).bind_iter())
        .bind(rows.iter().map(|row| row.headers.as_deref()).bind_iter())
        .execute(connection)
        .await?;
    Ok(())
}

/// Skips what a recorder holds at this moment: it will still be there next time.
pub(super) async fn forget_erased(connection: &mut PgConnection, life: Duration) -> Result<u64, StoreError> {
    let done = query(FORGET_ERASED).persistent(false).bind(life.as_secs_f64()).execute(connection).await?;
    Ok(done.rows_affected())
}
