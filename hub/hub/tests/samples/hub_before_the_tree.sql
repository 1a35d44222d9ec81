-- A hub's database of the version before organisations were a tree, with one of everything.
CREATE TABLE action (
    organisation TEXT   NOT NULL REFERENCES organisation (id),
    id           TEXT   NOT NULL,
    device       TEXT   NOT NULL,
    kind         TEXT   NOT NULL,
    target       TEXT   NOT NULL,
    reason       TEXT   NOT NULL,
    requested_by TEXT   NOT NULL,
    state        TEXT   NOT NULL,
    detail       TEXT   NOT NULL,
    created_ms   BIGINT NOT NULL,
    expires_ms   BIGINT NOT NULL,
    updated_ms   BIGINT NOT NULL,
    command      TEXT   NOT NULL,
    signature    TEXT   NOT NULL,
    PRIMARY KEY (organisation, id)
);
CREATE TABLE action_step (
    organisation TEXT   NOT NULL,
    action       TEXT   NOT NULL,
    number       BIGINT NOT NULL,
    state        TEXT   NOT NULL,
    source       TEXT   NOT NULL,
    detail       TEXT   NOT NULL,
    at_ms        BIGINT NOT NULL,
    device_at_ms BIGINT,
    PRIMARY KEY (organisation, action, number)
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
CREATE TABLE audit_head (
    organisation TEXT   NOT NULL PRIMARY KEY REFERENCES organisation (id),
    number       BIGINT NOT NULL,
    hash         TEXT   NOT NULL
);
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
, correlation_lost BIGINT);
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
CREATE TABLE finding (
    organisation TEXT   NOT NULL REFERENCES organisation (id),
    id           TEXT   NOT NULL,
    device       TEXT   NOT NULL,
    time_ms      BIGINT NOT NULL,
    received_ms  BIGINT NOT NULL,
    severity     TEXT   NOT NULL,
    severity_id  BIGINT NOT NULL,
    rule_id      TEXT   NOT NULL,
    rule_title   TEXT   NOT NULL,
    techniques   TEXT   NOT NULL,
    process_key  TEXT   NOT NULL,
    image        TEXT   NOT NULL,
    command_line TEXT   NOT NULL,
    disposition  TEXT   NOT NULL,
    simulated    BIGINT NOT NULL,
    state        TEXT   NOT NULL,
    state_by     TEXT,
    state_ms     BIGINT,
    state_reason TEXT,
    body         TEXT   NOT NULL,
    PRIMARY KEY (organisation, id)
);
CREATE TABLE migration (capability TEXT NOT NULL, version BIGINT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, applied_ms BIGINT NOT NULL, PRIMARY KEY (capability, version));
CREATE TABLE organisation (
    id         TEXT   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL,
    created_ms BIGINT NOT NULL
);
CREATE TABLE session (
    id_hash      TEXT   NOT NULL PRIMARY KEY,
    organisation TEXT   NOT NULL REFERENCES organisation (id),
    person       TEXT   NOT NULL,
    created_ms   BIGINT NOT NULL,
    expires_ms   BIGINT NOT NULL,
    ended_ms     BIGINT
);
CREATE TABLE sign_in_link (
    code_hash    TEXT   NOT NULL PRIMARY KEY,
    organisation TEXT   NOT NULL REFERENCES organisation (id),
    person       TEXT   NOT NULL,
    created_ms   BIGINT NOT NULL,
    expires_ms   BIGINT NOT NULL,
    used_ms      BIGINT
);
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
INSERT INTO "organisation" VALUES('833ac91cfff48eaab36c44266b7881cc','St Aldhelm''s Trust',1795486929502);
INSERT INTO "migration" VALUES('kernel',1,'kernel','ed483584e809207917f59f5549407265cf741b02ff2f059fe132399f31cd3cc2',1795486929502);
INSERT INTO "migration" VALUES('kernel',2,'audit log is append-only','f57aad61039f50436df83854d35e6685bb318e44a234bba8a792b31e000030c2',1795486929502);
INSERT INTO "migration" VALUES('devices',1,'devices','afe046ffa8f631f3ffa91ebc17491a7b81bb874faeca0890edabfe0bcea8d0aa',1795486929502);
INSERT INTO "migration" VALUES('devices',2,'correlation_lost','779514a1199138a1fb3b136d9907b8e6f16a157e7de4a88feff42dbc2f2d1e6f',1795486929502);
INSERT INTO "migration" VALUES('incidents',1,'findings','c4fc2cd1019e57d0499a5e1ffc11673040b92581f7a3d86ef2f271ab8943bf86',1795486929502);
INSERT INTO "migration" VALUES('actions',1,'actions','a9343d3dec9243c1c7a063aa290a9cc89248f917a5ec3a5538727e9b5d7b1182',1795486929502);
INSERT INTO "enrolment_token" VALUES('4b4329c0dde39fe33132b0666564d7ce','833ac91cfff48eaab36c44266b7881cc','d8bf6c54dcbb7c63050a684cd86e49552ccb66480866b24a941979c62ff6546e','this machine','workstation','monitor','administrator',1795486929568,1795573329568,1,NULL);
INSERT INTO "device" VALUES('00000000000000000000000000000011','833ac91cfff48eaab36c44266b7881cc','Lab-Analyser-2','Debian GNU/Linux 12 (bookworm)','6.1.0','0.1.0','pathology analyser''s PC',0,1795486929502,'4b4329c0dde39fe33132b0666564d7ce',1798078929502,NULL,'clinical','monitor','{"version":1,"mode":"monitor","class":"clinical","never_kill":["/usr/sbin/sshd"],"max_isolation_s":86400}','00','00','00',1795486934502,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,10,1,0,2,7,3,0,1,NULL);
INSERT INTO "action" VALUES('833ac91cfff48eaab36c44266b7881cc','0000000000000000000000000000acac','00000000000000000000000000000011','isolate','600','spreading','administrator','Pending','',1795486929502,1795490529502,1795486929502,'00','00');
INSERT INTO "api_token" VALUES('e088ccedef8c5ec82c4a7e0b018e0d0c','833ac91cfff48eaab36c44266b7881cc','old program','994f4907ed2aea599250e910aa0a3fba068fe5682ebfbaf367365208a3eb6115','administrator',1795486932907,1827109332907,NULL);
INSERT INTO "audit" VALUES('833ac91cfff48eaab36c44266b7881cc',1,1795486929566,'hub','sign_in_link.made','administrator','{"expires_ms":1795487829566}','0000000000000000000000000000000000000000000000000000000000000000','2973af3de3a803821c7620937177169ea6a5cd73605acdbfc211df23a188fd95');
INSERT INTO "audit" VALUES('833ac91cfff48eaab36c44266b7881cc',2,1795486929568,'administrator','enrolment_token.made','4b4329c0dde39fe33132b0666564d7ce','{"role":"this machine","class":"workstation","mode":"monitor","uses":1,"life_s":86400}','2973af3de3a803821c7620937177169ea6a5cd73605acdbfc211df23a188fd95','1a502a2d84318f5f0032c5fed252f10d0fbef7d90474856969729872e4909a77');
INSERT INTO "audit" VALUES('833ac91cfff48eaab36c44266b7881cc',3,1795486932879,'administrator','session.begun','administrator','{"by":"link"}','1a502a2d84318f5f0032c5fed252f10d0fbef7d90474856969729872e4909a77','2643e11f49591ac5b505eb3afbad6c1342f8b7fd1e74092bbaa3ab526d7d9d1c');
INSERT INTO "audit" VALUES('833ac91cfff48eaab36c44266b7881cc',4,1795486932907,'administrator','api_token.made','e088ccedef8c5ec82c4a7e0b018e0d0c','{"name":"old program","expires_ms":1827109332907}','2643e11f49591ac5b505eb3afbad6c1342f8b7fd1e74092bbaa3ab526d7d9d1c','52f090929d3501da324c5a51277a9313150c3ff4087df50699fc295775bf82bf');
INSERT INTO "audit_head" VALUES('833ac91cfff48eaab36c44266b7881cc',4,'52f090929d3501da324c5a51277a9313150c3ff4087df50699fc295775bf82bf');
INSERT INTO "event" VALUES('833ac91cfff48eaab36c44266b7881cc','00000000000000000000000000000011','09090909090909090909090909090909',1,1795486929502,1007,'00000000000000000000000000000001-11-11',NULL,0,'{}');
INSERT INTO "finding" VALUES('833ac91cfff48eaab36c44266b7881cc','0000000000000000000000000000f1f1','00000000000000000000000000000011',1795486929502,1795486929502,'high',4,'r','A shell of a web server','T1059.004','00000000000000000000000000000001-11-11','/bin/sh','sh -c id','recorded',0,'new',NULL,NULL,NULL,'{}');
INSERT INTO "session" VALUES('d2dac6722d084a5217d4d5ed4bc8f89a8d88f0d9e8fe4bb1662f6e3e08fb669a','833ac91cfff48eaab36c44266b7881cc','administrator',1795486932879,1795530132879,NULL);
INSERT INTO "sign_in_link" VALUES('5b8faee96acee704f00305f6e5c47c6cb355f30c63d41dc4d5eee86097a52880','833ac91cfff48eaab36c44266b7881cc','administrator',1795486929566,1795487829566,1795486932879);
INSERT INTO "spool" VALUES('833ac91cfff48eaab36c44266b7881cc','00000000000000000000000000000011','09090909090909090909090909090909',7,6,4,1,1795486929502,1795486929502);
CREATE INDEX event_by_time ON event (organisation, device, time_ms);
CREATE INDEX event_by_process ON event (device, process_key, time_ms);
CREATE INDEX event_by_parent ON event (device, parent_key);
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_is_never_removed BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE INDEX device_by_organisation ON device (organisation, hostname, id);
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
CREATE INDEX finding_by_time ON finding (organisation, time_ms, id);
CREATE INDEX finding_by_device ON finding (organisation, device, time_ms);
CREATE VIEW view_finding AS
SELECT organisation, id, device, time_ms, severity, severity_id, rule_id, rule_title, techniques, process_key,
       image, command_line, disposition, state, simulated
FROM finding;
CREATE INDEX action_by_device ON action (organisation, device, created_ms);
CREATE INDEX action_by_state ON action (organisation, state, expires_ms);
CREATE VIEW view_action AS
SELECT organisation, id, device, kind, target, reason, requested_by, state, detail, created_ms, expires_ms,
       updated_ms
FROM action;
