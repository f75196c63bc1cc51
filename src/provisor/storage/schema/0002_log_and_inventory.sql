-- The audit log's order, its tree and its heads; the inventory's index; receipts apart from events.

-- n is the event's place in the log, from 1 without a gap: there is one writer, and no place of the tree is given twice.
-- An event that a certificate was signed with names it by issuer_n and serial.
CREATE TABLE ordered_events (
    n INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    issuer_n INTEGER,
    serial BLOB,
    body BLOB NOT NULL
) STRICT;

INSERT INTO ordered_events (id, issuer_n, serial, body)
    SELECT id, issuer_n, serial, body FROM events WHERE body IS NOT NULL ORDER BY rowid;

-- Entries that had no event (housekeeping), so that the outcome of a lost commit can be looked up for an hour.
CREATE TABLE receipts (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16)
) STRICT, WITHOUT ROWID;

INSERT INTO receipts SELECT id FROM events WHERE body IS NULL;

DROP TABLE events;
ALTER TABLE ordered_events RENAME TO events;

-- Spent tokens have a table for each day on which some expire (token_days.py makes and drops them); the table tokens
-- has those without a day. This view shows them all.
CREATE VIEW spent_tokens (key, expires, outcome, digest) AS SELECT key, expires, outcome, digest FROM tokens;

-- The hashes of the log's tree (RFC 6962): 256 of a level to a row, the last row of a level holds fewer.
CREATE TABLE log_tiles (
    level INTEGER NOT NULL,
    tile INTEGER NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (level, tile)
) STRICT;

-- Signed heads; text is what was signed.
CREATE TABLE log_heads (
    size INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    text BLOB NOT NULL,
    signature BLOB NOT NULL
) STRICT;

-- Each provisioner as certificates were recorded under it, so that a certificate names it by a short number.
CREATE TABLE provisioners (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    UNIQUE (id, name, kind)
) STRICT;

INSERT INTO provisioners (id, name, kind)
    SELECT DISTINCT provisioner_id, provisioner_name, provisioner_kind FROM certificates;

CREATE TABLE short_certificates (
    issuer_n INTEGER NOT NULL REFERENCES issuers (n),
    serial BLOB NOT NULL,
    lineage BLOB NOT NULL,
    predecessor BLOB,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    provisioner_n INTEGER NOT NULL REFERENCES provisioners (n),
    crl_shard INTEGER NOT NULL DEFAULT 0,
    csr_digest BLOB NOT NULL,
    der BLOB NOT NULL,
    PRIMARY KEY (issuer_n, serial)
) STRICT;

INSERT INTO short_certificates
    (issuer_n, serial, lineage, predecessor, not_before, not_after, provisioner_n, crl_shard, csr_digest, der)
    SELECT c.issuer_n, c.serial, c.lineage, c.predecessor, c.not_before, c.not_after, p.n, c.crl_shard,
        c.csr_digest, c.der
    FROM certificates c JOIN provisioners p
        ON p.id = c.provisioner_id AND p.name = c.provisioner_name AND p.kind = c.provisioner_kind
    ORDER BY c.rowid;

DROP TABLE certificates;
ALTER TABLE short_certificates RENAME TO certificates;

-- What certificates are found by: a term is a letter for its kind and a key, n the place of the event in the log.
CREATE TABLE terms (
    term BLOB NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (term, n)
) STRICT, WITHOUT ROWID;

-- What stays of a certificate whose row was dropped some time after it expired.
CREATE TABLE expired_certificates (
    issuer_n INTEGER NOT NULL REFERENCES issuers (n),
    serial BLOB NOT NULL,
    lineage BLOB NOT NULL,
    predecessor BLOB,
    not_after INTEGER NOT NULL,
    provisioner_n INTEGER NOT NULL REFERENCES provisioners (n),
    fingerprint BLOB NOT NULL,
    PRIMARY KEY (issuer_n, serial)
) STRICT, WITHOUT ROWID;
