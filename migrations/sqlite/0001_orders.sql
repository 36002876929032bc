-- Orders, who may see them, how far the recorder is, and what it could not use: the tables of PostgreSQL, where they
-- are explained. All moments are milliseconds since 1970 in UTC.
--
-- SQLite would store U+0000, which PostgreSQL refuses. Both must accept the same events, hence the checks.

create table orders (
    order_id text primary key,
    user_id text not null,
    viewers text not null,
    status text not null check (instr(status, char(0)) = 0),
    terminal integer not null,
    version_number integer not null,
    version_epoch integer,
    epoch integer not null,
    partition integer not null,
    log_offset integer not null,
    occurred_at integer not null,
    details text check (instr(details, char(0)) = 0),
    event_id text check (instr(event_id, char(0)) = 0),
    timeline text not null,
    updated_at integer not null default (cast(unixepoch('subsec') * 1000 as integer))
) strict;

create table order_viewers (
    user_id text not null,
    terminal_at integer not null,
    order_id text not null,
    primary key (user_id, terminal_at, order_id)
) without rowid, strict;

create table erased_orders (
    order_id text primary key,
    version_number integer not null,
    version_epoch integer,
    epoch integer not null,
    partition integer not null,
    log_offset integer not null,
    erased_at integer not null default (cast(unixepoch('subsec') * 1000 as integer))
) without rowid, strict;
create index erased_orders_erased_at on erased_orders (erased_at);

create table topics (
    topic text primary key,
    partition_count integer not null,
    last_dead_letter integer not null default 0
) without rowid, strict;

create table progress (
    topic text not null,
    partition integer not null,
    log_id text not null,
    generation integer not null,
    next_offset integer not null,
    last_offset integer,
    last_digest integer,
    updated_at integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
    primary key (topic, partition)
) without rowid, strict;

create table dead_letters (
    topic text not null,
    id integer not null,
    epoch integer not null,
    partition integer not null,
    log_offset integer not null,
    code text not null,
    message text not null,
    recorded_at integer,
    key blob,
    held integer not null,
    value blob,
    headers text,
    created_at integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
    primary key (topic, id),
    unique (topic, epoch, partition, log_offset)
) strict;

create table lost_ranges (
    id integer primary key,
    topic text not null,
    epoch integer not null,
    partition integer not null,
    from_offset integer not null,
    to_offset integer not null,
    noticed_at integer not null default (cast(unixepoch('subsec') * 1000 as integer))
) strict;
