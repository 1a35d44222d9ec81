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
CREATE INDEX action_by_device ON action (organisation, device, created_ms);
CREATE INDEX action_by_state ON action (organisation, state, expires_ms);

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

CREATE VIEW view_action AS
SELECT organisation, id, device, kind, target, reason, requested_by, state, detail, created_ms, expires_ms,
       updated_ms
FROM action;
