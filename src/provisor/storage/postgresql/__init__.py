"""PostgreSQL, for several Provisors on one database: tables in a schema of our own, `provisor`."""
