-- Where a device stands and what it is: what the blast radius counts. Empty: not known.
ALTER TABLE device ADD COLUMN site TEXT NOT NULL DEFAULT '';
ALTER TABLE device ADD COLUMN ward TEXT NOT NULL DEFAULT '';
ALTER TABLE device ADD COLUMN device_type TEXT NOT NULL DEFAULT '';

-- What a device's containments depend on, for whoever counts devices. A containment counts until it ends by itself.
CREATE VIEW view_device_whereabouts AS
SELECT d.organisation, d.id, d.hostname, d.site, d.ward, d.device_type, d.class, d.revoked_ms, d.last_seen_ms,
       d.isolation_expires_ms AS isolated_until_ms,
       (SELECT MAX(c.expires_ms) FROM device_containment c
        WHERE c.device = d.id AND c.rung IN ('isolation', 'east-west', 'logons')) AS contained_until_ms
FROM device d;

DROP VIEW view_device;
CREATE VIEW view_device AS
SELECT d.organisation, d.id, d.hostname, d.sort_name, d.os, d.role, d.class, d.simulated, d.last_seen_ms, d.heard_ms,
       d.revoked_ms, d.mode, d.mode_in_force, d.policy_json, d.site, d.ward, d.device_type,
       d.isolation_expires_ms AS isolated_until_ms,
       CASE WHEN d.produced IS NULL THEN NULL
            ELSE d.kernel_lost + d.decode_lost
                 + (SELECT CASE WHEN d.spool_dropped > COALESCE(SUM(s.missing), 0) THEN d.spool_dropped
                                ELSE CAST(COALESCE(SUM(s.missing), 0) AS BIGINT) END
                    FROM spool s WHERE s.device = d.id)
       END AS lost
FROM device d;
