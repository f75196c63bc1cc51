"""The one process that holds the keys and writes: it checks, signs and records."""
