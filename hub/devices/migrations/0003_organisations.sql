-- Lists of 100,000 devices: by name in any case, and by how long they have not been heard (0: never).
ALTER TABLE device ADD COLUMN sort_name TEXT NOT NULL DEFAULT '';
ALTER TABLE device ADD COLUMN heard_ms BIGINT NOT NULL DEFAULT 0;
UPDATE device SET sort_name = lower(hostname), heard_ms = COALESCE(last_seen_ms, 0);
DROP INDEX device_by_organisation;
CREATE INDEX device_by_organisation ON device (organisation, sort_name, id);
CREATE INDEX device_by_name ON device (sort_name, id);
-- Everything that is counted, so that counting reads this index alone.
CREATE INDEX device_by_silence ON device (heard_ms, id, organisation, revoked_ms, last_seen_ms, isolation_expires_ms);

-- Where a device was before. What it saw there stays with the organisation where it saw it.
CREATE TABLE device_move (
    device   TEXT   NOT NULL REFERENCES device (id),
    number   BIGINT NOT NULL,
    left_organisation TEXT NOT NULL REFERENCES organisation (id),
    joined_organisation TEXT NOT NULL REFERENCES organisation (id),
    hostname TEXT   NOT NULL,
    at_ms    BIGINT NOT NULL,
    by_person TEXT  NOT NULL,
    reason   TEXT   NOT NULL,
    PRIMARY KEY (device, number)
);

-- Every organisation in which a device is or was, with the name it has or had there.
CREATE VIEW view_device_place AS
SELECT id AS device, organisation, hostname FROM device
UNION ALL
SELECT device, left_organisation AS organisation, hostname FROM device_move;

CREATE VIEW view_device_state AS
SELECT organisation, id, revoked_ms, last_seen_ms, heard_ms, isolation_expires_ms AS isolated_until_ms FROM device;

-- As before, with what lists are ordered by; and what never arrived is summed for the devices that are shown alone.
DROP VIEW view_device;
CREATE VIEW view_device AS
SELECT d.organisation, d.id, d.hostname, d.sort_name, d.os, d.role, d.class, d.simulated, d.last_seen_ms, d.heard_ms,
       d.revoked_ms, d.mode, d.mode_in_force, d.policy_json,
       d.isolation_expires_ms AS isolated_until_ms,
       -- What the device dropped from its spool and what never arrived here are the same records, seen from
       -- both ends: the larger of the two counts.
       CASE WHEN d.produced IS NULL THEN NULL
            ELSE d.kernel_lost + d.decode_lost
                 + (SELECT CASE WHEN d.spool_dropped > COALESCE(SUM(s.missing), 0) THEN d.spool_dropped
                                ELSE CAST(COALESCE(SUM(s.missing), 0) AS BIGINT) END
                    FROM spool s WHERE s.device = d.id)
       END AS lost
FROM device d;
