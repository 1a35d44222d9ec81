-- What everybody who sees an organisation is told at the top of each page, until it ends.
CREATE TABLE notice (
    organisation TEXT   NOT NULL REFERENCES organisation (id),
    id           TEXT   NOT NULL,
    text         TEXT   NOT NULL,
    href         TEXT   NOT NULL,
    made_ms      BIGINT NOT NULL,
    until_ms     BIGINT NOT NULL,
    PRIMARY KEY (organisation, id)
);
CREATE INDEX notice_by_end ON notice (until_ms);
