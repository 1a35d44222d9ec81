CREATE TABLE enrolment_token (
    id           TEXT   NOT NULL PRIMARY KEY,
    organisation TEXT   NOT NULL REFERENCES organisation (id),
    secret_hash  TEXT   NOT NULL UNIQUE,
    role         TEXT   NOT NULL,
    class        TEXT   NOT NULL,
    mode         TEXT   NOT NULL,
    made_by      TEXT   NOT NULL,
    created_ms   BIGINT NOT NULL,
    expires_ms   BIGINT NOT NULL,
    uses_left    BIGINT NOT NULL,
    revoked_ms   BIGINT
);

-- What a device says about itself is null until it has said it: unknown is not zero.
CREATE TABLE device (
    id                   TEXT   NOT NULL PRIMARY KEY,
    organisation         TEXT   NOT NULL REFERENCES organisation (id),
    hostname             TEXT   NOT NULL,
    os                   TEXT   NOT NULL,
    kernel               TEXT   NOT NULL,
    agent_version        TEXT   NOT NULL,
    role                 TEXT   NOT NULL,
    simulated            BIGINT NOT NULL,
    enrolled_ms          BIGINT NOT NULL,
    enrolled_with        TEXT   NOT NULL REFERENCES enrolment_token (id),
    certificate_until_ms BIGINT NOT NULL,
    revoked_ms           BIGINT,
    class                TEXT   NOT NULL,
    mode                 TEXT   NOT NULL,
    policy_json          TEXT   NOT NULL,
    policy_command       TEXT   NOT NULL,
    policy_signature     TEXT   NOT NULL,
    policy_digest        TEXT   NOT NULL,
    last_seen_ms         BIGINT,
    boot_id              TEXT,
    heartbeat_ms         BIGINT,
    device_time_ms       BIGINT,
    mode_in_force        TEXT,
    digest_in_force      TEXT,
    isolation_action     TEXT,
    isolation_since_ms   BIGINT,
    isolation_expires_ms BIGINT,
    rules_loaded         BIGINT,
    rss_bytes            BIGINT,
    produced             BIGINT,
    kernel_lost          BIGINT,
    decode_lost          BIGINT,
    kept_local           BIGINT,
    spooled              BIGINT,
    spool_dropped        BIGINT,
    waiting              BIGINT,
    findings             BIGINT
);
CREATE INDEX device_by_organisation ON device (organisation, hostname, id);

CREATE TABLE device_sensor (
    organisation TEXT   NOT NULL,
    device       TEXT   NOT NULL REFERENCES device (id),
    kind         TEXT   NOT NULL,
    state        TEXT   NOT NULL,
    reason       TEXT   NOT NULL,
    produced     BIGINT NOT NULL,
    lost         BIGINT NOT NULL,
    PRIMARY KEY (device, kind)
);

-- How far each spool of a device has been stored. `missing`: numbers that were skipped, so lost on the device.
CREATE TABLE spool (
    organisation TEXT   NOT NULL,
    device       TEXT   NOT NULL REFERENCES device (id),
    spool        TEXT   NOT NULL,
    high         BIGINT NOT NULL,
    stored       BIGINT NOT NULL,
    missing      BIGINT NOT NULL,
    unreadable   BIGINT NOT NULL,
    first_ms     BIGINT NOT NULL,
    last_ms      BIGINT NOT NULL,
    PRIMARY KEY (device, spool)
);

-- Records that arrived whole and cannot be read: kept as they came (hexadecimal), so that nothing is lost and
-- nothing blocks the spool.
CREATE TABLE unreadable_record (
    organisation TEXT   NOT NULL,
    device       TEXT   NOT NULL REFERENCES device (id),
    spool        TEXT   NOT NULL,
    seq          BIGINT NOT NULL,
    received_ms  BIGINT NOT NULL,
    kind         BIGINT NOT NULL,
    reason       TEXT   NOT NULL,
    body         TEXT   NOT NULL,
    PRIMARY KEY (device, spool, seq)
);

CREATE VIEW view_device AS
SELECT d.organisation, d.id, d.hostname, d.os, d.role, d.class, d.simulated, d.last_seen_ms, d.revoked_ms,
       d.mode, d.mode_in_force, d.policy_json,
       d.isolation_expires_ms AS isolated_until_ms,
       -- What the device dropped from its spool and what never arrived here are the same records, seen from
       -- both ends: the larger of the two counts.
       CASE WHEN d.produced IS NULL THEN NULL
            ELSE d.kernel_lost + d.decode_lost
                 + CASE WHEN d.spool_dropped > COALESCE(s.missing, 0) THEN d.spool_dropped
                        ELSE COALESCE(s.missing, 0) END
       END AS lost
FROM device d
LEFT JOIN (SELECT device, CAST(SUM(missing) AS BIGINT) AS missing FROM spool GROUP BY device) s
       ON s.device = d.id;
