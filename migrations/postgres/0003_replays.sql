-- Dead letters that were sent to their topic again. A row is written before the record is sent, so that a replay that was
-- cut off in between is not repeated by accident.

create table replays (
    topic text not null,
    partition integer not null,        -- partition, log_offset, recorded_at: the record that was put aside
    log_offset bigint not null,
    recorded_at bigint not null,       -- its own timestamp; -1 if it had none
    begun_at timestamptz not null default now(),
    sent_partition integer,            -- where it went; null: nobody knows whether it arrived
    sent_offset bigint,
    primary key (topic, partition, log_offset, recorded_at)
);
