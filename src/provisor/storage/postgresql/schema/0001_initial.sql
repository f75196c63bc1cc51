-- Times are unix seconds. A serial is the order-preserving key of encoding.py, an issuer_n the short number of an
-- issuer. What every issuance writes (certificates, tokens, events) is only ever appended, and what grows with time
-- is partitioned by it, so that it can be dropped instead of deleted.

CREATE TABLE provisor.meta (
    key text NOT NULL PRIMARY KEY,
    value text NOT NULL
);

-- The latest time that anybody has seen is the highest of these: each replica writes a row of its own.
CREATE TABLE provisor.clock (
    slot integer NOT NULL PRIMARY KEY,
    at bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE provisor.issuers (
    n integer NOT NULL PRIMARY KEY,
    id bytea NOT NULL UNIQUE CHECK (length(id) = 32),
    certificate bytea NOT NULL,
    state text NOT NULL CHECK (state IN ('next', 'active', 'retiring', 'disabled'))
);

CREATE TABLE provisor.certificates (
    issuer_n integer NOT NULL,
    serial bytea NOT NULL,
    lineage bytea NOT NULL,
    predecessor bytea,
    not_before bigint NOT NULL,
    not_after bigint NOT NULL,
    provisioner_id text NOT NULL,
    provisioner_name text NOT NULL,
    provisioner_kind text NOT NULL,
    csr_digest bytea NOT NULL,
    crl_shard integer NOT NULL DEFAULT 0,
    der bytea NOT NULL,
    PRIMARY KEY (issuer_n, serial)
);

-- DER does not get smaller, and a row of usual size stays in its page.
ALTER TABLE provisor.certificates ALTER COLUMN der SET STORAGE EXTERNAL;

CREATE TABLE provisor.revocations (
    issuer_n integer NOT NULL,
    serial bytea NOT NULL,
    reason_code bigint NOT NULL,
    reason text NOT NULL,
    revoked_at bigint NOT NULL,
    expires bigint,
    provisioner_id text NOT NULL,
    token_id text NOT NULL,
    mtls boolean NOT NULL,
    PRIMARY KEY (issuer_n, serial)
);

-- key is the SHA-256 of the token key. expires is the greatest number for a token that is kept for ever. A day has a
-- partition of its own (tokens_<day since 1970>), made ahead of it; what has none is in tokens_other.
CREATE TABLE provisor.tokens (
    key bytea NOT NULL CHECK (length(key) = 32),
    expires bigint NOT NULL,
    outcome text NOT NULL,
    digest bytea NOT NULL,
    PRIMARY KEY (key, expires)
) PARTITION BY RANGE (expires);

CREATE TABLE provisor.tokens_other PARTITION OF provisor.tokens DEFAULT;
CREATE INDEX tokens_other_by_expiry ON provisor.tokens_other (expires);
CREATE TABLE provisor.tokens_kept PARTITION OF provisor.tokens FOR VALUES FROM (9223372036854775807) TO (MAXVALUE);

-- Audit events under the id of their entry, which begins with 48 bits of milliseconds: a month has a partition
-- (events_<year>_<month>). issuer_n and serial name the certificate that was signed with the entry.
CREATE TABLE provisor.events (
    id bytea NOT NULL CHECK (length(id) = 16),
    issuer_n integer,
    serial bytea,
    body bytea NOT NULL,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);

CREATE TABLE provisor.events_other PARTITION OF provisor.events DEFAULT;

-- Events that have no place in the log yet. Commit order is not id order, so they are a set.
CREATE TABLE provisor.unsequenced (
    id bytea NOT NULL PRIMARY KEY
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

-- The order of the audit log: n from 1 without a gap.
CREATE TABLE provisor.log_entries (
    n bigint NOT NULL PRIMARY KEY,
    id bytea NOT NULL UNIQUE
);

-- Entries that had no event, so that the outcome of a lost commit can be looked up for an hour.
CREATE TABLE provisor.receipts (
    id bytea NOT NULL PRIMARY KEY CHECK (length(id) = 16)
);

CREATE TABLE provisor.crls (
    issuer_n integer NOT NULL PRIMARY KEY,
    number bigint NOT NULL,
    this_update bigint NOT NULL,
    next_update bigint NOT NULL,
    der bytea NOT NULL
);

-- woken is the time a job was woken for while somebody held its lease.
CREATE TABLE provisor.jobs (
    kind text NOT NULL,
    key text NOT NULL,
    due bigint NOT NULL,
    leased_until bigint NOT NULL DEFAULT 0,
    fence bigint NOT NULL DEFAULT 0,
    woken bigint,
    PRIMARY KEY (kind, key)
) WITH (fillfactor = 50);

CREATE TABLE provisor.sealing_keys (
    id bigint NOT NULL PRIMARY KEY,
    wrapped bytea NOT NULL,
    created_at bigint NOT NULL
);

-- The hashes of the log's tree (RFC 6962): 256 of a level to a row, the last row of a level holds fewer.
CREATE TABLE provisor.log_tiles (
    level integer NOT NULL,
    tile bigint NOT NULL,
    hashes bytea NOT NULL,
    PRIMARY KEY (level, tile)
);

ALTER TABLE provisor.log_tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

-- Signed heads; text is what was signed.
CREATE TABLE provisor.log_heads (
    size bigint NOT NULL PRIMARY KEY,
    at bigint NOT NULL,
    text bytea NOT NULL,
    signature bytea NOT NULL
);

-- What certificates are found by: a term is a letter for its kind and a key, n the place of the event in the log.
CREATE TABLE provisor.terms (
    term bytea NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (term, n)
);

-- What stays of a certificate whose row was dropped some time after it expired.
CREATE TABLE provisor.expired_certificates (
    issuer_n integer NOT NULL,
    serial bytea NOT NULL,
    lineage bytea NOT NULL,
    predecessor bytea,
    not_before bigint NOT NULL,
    not_after bigint NOT NULL,
    provisioner_id text NOT NULL,
    provisioner_name text NOT NULL,
    provisioner_kind text NOT NULL,
    csr_digest bytea NOT NULL,
    fingerprint bytea NOT NULL,
    PRIMARY KEY (issuer_n, serial)
);
