-- As for PostgreSQL, where the comments are. SQLite keeps its statements prepared by itself.

select 1;
