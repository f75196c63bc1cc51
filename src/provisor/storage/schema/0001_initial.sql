-- Times are unix seconds. A serial is the order-preserving key of encoding.py, an issuer_n the short
-- number of an issuer. What every issuance writes (certificates, tokens, events) is only ever appended.

CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE issuers (
    n INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 32),
    certificate BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('next', 'active', 'retiring', 'disabled'))
) STRICT;

-- With a rowid: a row without one that is longer than a quarter page takes a page of its own.
CREATE TABLE certificates (
    issuer_n INTEGER NOT NULL REFERENCES issuers (n),
    serial BLOB NOT NULL,
    lineage BLOB NOT NULL,
    predecessor BLOB,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    provisioner_id TEXT NOT NULL,
    provisioner_name TEXT NOT NULL,
    provisioner_kind TEXT NOT NULL,
    csr_digest BLOB NOT NULL,
    crl_shard INTEGER NOT NULL DEFAULT 0,
    der BLOB NOT NULL,
    PRIMARY KEY (issuer_n, serial)
) STRICT;

CREATE TABLE revocations (
    issuer_n INTEGER NOT NULL REFERENCES issuers (n),
    serial BLOB NOT NULL,
    reason_code INTEGER NOT NULL,
    reason TEXT NOT NULL,
    revoked_at INTEGER NOT NULL,
    expires INTEGER,
    provisioner_id TEXT NOT NULL,
    token_id TEXT NOT NULL,
    mtls INTEGER NOT NULL CHECK (mtls IN (0, 1)),
    PRIMARY KEY (issuer_n, serial)
) STRICT, WITHOUT ROWID;

-- key is the SHA-256 of the token key: whatever a stranger calls his token, the row is short.
CREATE TABLE tokens (
    key BLOB NOT NULL PRIMARY KEY CHECK (length(key) = 32),
    expires INTEGER,
    outcome TEXT NOT NULL,
    digest BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX tokens_by_expiry ON tokens (expires) WHERE expires IS NOT NULL;

-- One row an entry, so that the outcome of a lost commit can be looked up. body is the audit event;
-- housekeeping has none. issuer_n and serial name the certificate that was signed with the entry.
CREATE TABLE events (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    issuer_n INTEGER,
    serial BLOB,
    body BLOB
) STRICT;

CREATE TABLE crls (
    issuer_n INTEGER NOT NULL PRIMARY KEY REFERENCES issuers (n),
    number INTEGER NOT NULL,
    this_update INTEGER NOT NULL,
    next_update INTEGER NOT NULL,
    der BLOB NOT NULL
) STRICT;

-- woken is the time a job was woken for while somebody held its lease.
CREATE TABLE jobs (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    due INTEGER NOT NULL,
    leased_until INTEGER NOT NULL DEFAULT 0,
    fence INTEGER NOT NULL DEFAULT 0,
    woken INTEGER,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;

-- Data keys of the sealed columns (sealed.py), each sealed itself under a key that is not in this file.
CREATE TABLE sealing_keys (
    id INTEGER PRIMARY KEY,
    wrapped BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
