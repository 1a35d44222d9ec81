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
CREATE INDEX finding_by_time ON finding (organisation, time_ms, id);
CREATE INDEX finding_by_device ON finding (organisation, device, time_ms);

CREATE VIEW view_finding AS
SELECT organisation, id, device, time_ms, severity, severity_id, rule_id, rule_title, techniques, process_key,
       image, command_line, disposition, state, simulated
FROM finding;
