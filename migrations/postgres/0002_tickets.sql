-- One-time tickets, and what finds the dead letters of an order.

create table tickets (
    digest bytea primary key,          -- SHA-256 of the ticket, which nobody can read here
    claims text not null,              -- JSON: what the token says that it was had for
    expires_at timestamptz not null    -- by this database's clock, which all instances share
);
create index tickets_expires_at on tickets (expires_at);

-- A key may be longer than a b-tree takes.
create index dead_letters_key on dead_letters using hash (key);
