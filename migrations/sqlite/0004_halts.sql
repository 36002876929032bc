-- As for PostgreSQL, where the comments are.

alter table progress add column halted text;
