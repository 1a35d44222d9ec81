-- Portable between SQLite and PostgreSQL: text ids, bigint milliseconds, flags as 0/1, JSON as text.
CREATE TABLE organisation (
    id         TEXT   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL,
    created_ms BIGINT NOT NULL
);

-- Each organisation's entries form one chain: `hash` covers `previous` and every other column.
CREATE TABLE audit (
    organisation TEXT   NOT NULL REFERENCES organisation (id),
    number       BIGINT NOT NULL,
    time_ms      BIGINT NOT NULL,
    actor        TEXT   NOT NULL,
    act          TEXT   NOT NULL,
    target       TEXT   NOT NULL,
    detail       TEXT   NOT NULL,
    previous     TEXT   NOT NULL,
    hash         TEXT   NOT NULL,
    PRIMARY KEY (organisation, number)
);

-- The last link, so that removing the newest entries is noticed as well.
CREATE TABLE audit_head (
    organisation TEXT   NOT NULL PRIMARY KEY REFERENCES organisation (id),
    number       BIGINT NOT NULL,
    hash         TEXT   NOT NULL
);

CREATE TABLE sign_in_link (
    code_hash    TEXT   NOT NULL PRIMARY KEY,
    organisation TEXT   NOT NULL REFERENCES organisation (id),
    person       TEXT   NOT NULL,
    created_ms   BIGINT NOT NULL,
    expires_ms   BIGINT NOT NULL,
    used_ms      BIGINT
);

CREATE TABLE session (
    id_hash      TEXT   NOT NULL PRIMARY KEY,
    organisation TEXT   NOT NULL REFERENCES organisation (id),
    person       TEXT   NOT NULL,
    created_ms   BIGINT NOT NULL,
    expires_ms   BIGINT NOT NULL,
    ended_ms     BIGINT
);

CREATE TABLE api_token (
    id           TEXT   NOT NULL PRIMARY KEY,
    organisation TEXT   NOT NULL REFERENCES organisation (id),
    name         TEXT   NOT NULL,
    secret_hash  TEXT   NOT NULL UNIQUE,
    created_by   TEXT   NOT NULL,
    created_ms   BIGINT NOT NULL,
    expires_ms   BIGINT NOT NULL,
    revoked_ms   BIGINT
);

-- The event store's first form. Nothing above the EventStore trait knows this table.
CREATE TABLE event (
    organisation TEXT   NOT NULL,
    device       TEXT   NOT NULL,
    spool        TEXT   NOT NULL,
    seq          BIGINT NOT NULL,
    time_ms      BIGINT NOT NULL,
    class_uid    BIGINT NOT NULL,
    process_key  TEXT   NOT NULL,
    parent_key   TEXT,
    simulated    BIGINT NOT NULL,
    body         TEXT   NOT NULL,
    PRIMARY KEY (device, spool, seq)
);
CREATE INDEX event_by_time ON event (organisation, device, time_ms);
CREATE INDEX event_by_process ON event (device, process_key, time_ms);
CREATE INDEX event_by_parent ON event (device, parent_key);
