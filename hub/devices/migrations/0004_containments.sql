-- What is contained on a device, by its last heartbeat; an isolation is in the device's own row, too.
CREATE TABLE device_containment (
    organisation TEXT   NOT NULL,
    device       TEXT   NOT NULL REFERENCES device (id),
    rung         TEXT   NOT NULL,
    action       TEXT   NOT NULL,
    since_ms     BIGINT NOT NULL,
    expires_ms   BIGINT NOT NULL,
    ordered_by   TEXT   NOT NULL,
    reason       TEXT   NOT NULL,
    PRIMARY KEY (device, rung)
);
