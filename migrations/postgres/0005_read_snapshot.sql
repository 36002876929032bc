-- The statement of snapshots, as a function: PostgreSQL then plans it once for each connection. Planning takes three
-- times as long as what a few viewers read, and statements cannot be prepared by name behind a pooler in transaction
-- mode.
--
-- Stable, so all of it sees one state of the database, that of the statement which calls it. The plan is the general
-- one from the first time on, and by indexes although the tables may be empty when it is made. Whoever calls it has no
-- transaction around it in which it could be told how long to wait for a lock.
--
-- Instances of other releases call what they know: whoever changes it makes another, under a new name.
--
-- $1 topic, $2 users, $3 the moment up to which terminal orders are left out, $4 order ids, $5 the most rows of a
-- list; $6, $7, $8 where in the list of each user to begin, among those that have not ended, among others, and the
-- id; $9 how many orders of each list.
--
-- Gives rows of positions (kind 0), of orders (1), of markers (2) and of the ends of lists (3), under the column
-- names of orders. Either half of a list, and each order, is fetched by its index up to a limit, whatever the planner
-- believes about numbers: the tables may be far larger than what is asked, and freshly loaded ones have no
-- statistics. One row of each list tells only that there are more. The large numbers are `rows::OPEN` and half of it.
-- Of an upper bound for `terminal_at` the scan would not begin at the lower of two.

create function read_snapshot(text, text[], bigint, text[], bigint, bigint[], bigint[], text[], bigint[])
returns table (
    kind integer, order_id text, user_id text, viewers text, status text, terminal boolean, version_number bigint,
    version_epoch bigint, epoch bigint, partition integer, log_offset bigint, occurred_at bigint, details text,
    event_id text, timeline text
)
language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set lock_timeout = '30s'
as $function$
#variable_conflict use_column
begin
    return query
    with listed as materialized (
        select viewer.number, viewer.max_orders, list.order_id, list.changed_at, list.rank
        from unnest($2::text[], $6::bigint[], $7::bigint[], $8::text[], $9::bigint[]) with ordinality
            as viewer (user_id, before_open, before_ended, before_id, max_orders, number)
        cross join lateral (
            select halves.order_id, halves.changed_at,
                   row_number() over (order by halves.changed_at desc, halves.order_id desc) as rank
            from (
                (select v.order_id, v.terminal_at - 4611686018427387904 as changed_at from order_viewers v
                 where v.user_id = viewer.user_id and v.terminal_at >= 2305843009213693952
                   and (v.terminal_at, v.order_id) < (viewer.before_open, viewer.before_id)
                 order by v.terminal_at desc, v.order_id desc limit $5)
                union all
                (select v.order_id, v.terminal_at from order_viewers v
                 where v.user_id = viewer.user_id and v.terminal_at > $3
                   and (v.terminal_at, v.order_id) < (viewer.before_ended, viewer.before_id)
                 order by v.terminal_at desc, v.order_id desc limit $5)
            ) as halves
        ) as list
        where list.rank <= viewer.max_orders + 1
    )
    select 0 as kind, log_id as order_id, null as user_id, null as viewers, null as status, null::boolean as terminal,
           generation::bigint as version_number, null::bigint as version_epoch, null::bigint as epoch, partition,
           next_offset as log_offset, null::bigint as occurred_at, null as details, null as event_id, null as timeline
    from progress where topic = $1
    union all
    select 1, o.order_id, o.user_id, o.viewers, o.status, o.terminal, o.version_number, o.version_epoch, o.epoch,
           o.partition, o.log_offset, o.occurred_at, o.details, o.event_id, o.timeline
    from (
        select order_id from listed where rank <= max_orders
        union
        select unnest($4::text[])
    ) as wanted
    cross join lateral (select * from orders where order_id = wanted.order_id limit 1) as o
    union all
    select 2, e.order_id, null, null, null, null, e.version_number, e.version_epoch, e.epoch, e.partition,
           e.log_offset, null, null, null, null
    from unnest($4::text[]) as named (order_id)
    cross join lateral (select * from erased_orders where order_id = named.order_id limit 1) as e
    union all
    select 3, order_id, null, null, null, null, number, null, null, null, rank, changed_at, null, null, null
    from listed where rank >= max_orders;
end
$function$;
