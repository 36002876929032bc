-- Orders, who may see them, how far the recorder is, and what it could not use.
--
-- Ids are compared byte by byte (collate "C"): the order of locks is then the same in the database and in the program,
-- and an operating system upgrade that changes a locale cannot damage an index.
-- Moments of events are milliseconds since 1970 in UTC, as on the wire: exact, and wider than timestamptz, which ends at
-- 4713 BC. Moments of the database's own clock are timestamptz.
-- Epochs and digests are unsigned 64-bit numbers, stored as the bigint of the same bits.

do $$
begin
    if current_setting('server_encoding') <> 'UTF8' then
        raise exception 'ordercast needs a database with encoding UTF8, this one has %', current_setting('server_encoding');
    end if;
end
$$;

create table orders (
    order_id text collate "C" primary key,
    user_id text collate "C" not null,
    viewers text not null,             -- JSON array of further users who may see it
    status text not null,
    terminal boolean not null,
    version_number bigint not null,
    version_epoch bigint,              -- null: the number came from the event's own field; else from the log of this epoch
    epoch bigint not null,             -- epoch, partition, log_offset: the record that set this state
    partition integer not null,
    log_offset bigint not null,
    occurred_at bigint not null,
    details text,                      -- as sent, byte for byte
    event_id text,
    timeline text not null,            -- JSON array of the last steps, oldest first
    updated_at timestamptz not null default now()
) with (fillfactor = 80);              -- room for an order's next states on its own page, so that no index changes

-- Who may see which order. The primary key answers "all orders of these users but terminal ones up to a moment".
create table order_viewers (
    user_id text collate "C" not null,
    terminal_at bigint not null,       -- when it became terminal; the largest bigint while it is not
    order_id text collate "C" not null,
    primary key (user_id, terminal_at, order_id)
);

-- Markers of erased orders. An order is in `orders`, or here, or in neither.
create table erased_orders (
    order_id text collate "C" primary key,
    version_number bigint not null,
    version_epoch bigint,
    epoch bigint not null,
    partition integer not null,
    log_offset bigint not null,
    erased_at timestamptz not null default now()
);
create index erased_orders_erased_at on erased_orders (erased_at);

create table topics (
    topic text primary key,
    partition_count integer not null,  -- under which versions were first taken from the log
    last_dead_letter bigint not null default 0
);

create table progress (
    topic text not null,
    partition integer not null,
    log_id text not null,
    generation integer not null,
    next_offset bigint not null,
    last_offset bigint,
    last_digest bigint,
    updated_at timestamptz not null default now(),
    primary key (topic, partition)
) with (fillfactor = 50);

-- Records that could not be used. Numbers come from `topics`, whose row stays locked until the commit: who has read
-- number 7 will never see a 6 appear, as could happen with a sequence.
create table dead_letters (
    topic text not null,
    id bigint not null,
    epoch bigint not null,
    partition integer not null,
    log_offset bigint not null,
    code text not null,
    message text not null,
    recorded_at bigint,                -- the record's own timestamp
    key bytea,
    held boolean not null,             -- this row alone holds the record: the dead-letter topic did not take it
    value bytea,
    headers text,                      -- JSON: [[name, [byte, …] or null], …]
    created_at timestamptz not null default now(),
    primary key (topic, id),
    unique (topic, epoch, partition, log_offset)
);

-- Records that expired before the recorder had read them.
create table lost_ranges (
    id bigint generated always as identity primary key,
    topic text not null,
    epoch bigint not null,
    partition integer not null,
    from_offset bigint not null,
    to_offset bigint not null,         -- exclusive
    noticed_at timestamptz not null default now()
);
