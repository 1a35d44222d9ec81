-- Where the audit log's chains ended, signed by a key that is not in the database.
CREATE TABLE audit_checkpoint (
    organisation TEXT   NOT NULL REFERENCES organisation (id),
    number       BIGINT NOT NULL,
    hash         TEXT   NOT NULL,
    time_ms      BIGINT NOT NULL,
    signed_by    TEXT   NOT NULL,
    signature    TEXT   NOT NULL,
    PRIMARY KEY (organisation, number)
);
