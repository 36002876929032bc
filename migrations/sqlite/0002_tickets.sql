-- One-time tickets, and what finds the dead letters of an order: as in PostgreSQL.

create table tickets (
    digest blob primary key,
    claims text not null,
    expires_at integer not null
);
create index tickets_expires_at on tickets (expires_at);

create index dead_letters_key on dead_letters (key);
