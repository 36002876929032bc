-- As for PostgreSQL, where the comments are.

create table replays (
    topic text not null,
    partition integer not null,
    log_offset integer not null,
    recorded_at integer not null,
    begun_at integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
    sent_partition integer,
    sent_offset integer,
    primary key (topic, partition, log_offset, recorded_at)
) strict;
