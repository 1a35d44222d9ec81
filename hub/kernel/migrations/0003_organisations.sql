-- Organisations become a tree. The one organisation of an older hub is its root.
ALTER TABLE organisation ADD COLUMN parent TEXT REFERENCES organisation (id);
ALTER TABLE organisation ADD COLUMN kind TEXT NOT NULL DEFAULT 'other';
ALTER TABLE organisation ADD COLUMN ods TEXT;
ALTER TABLE organisation ADD COLUMN town TEXT NOT NULL DEFAULT '';
ALTER TABLE organisation ADD COLUMN postcode TEXT NOT NULL DEFAULT '';
-- The name in lower case: lists are in its order.
ALTER TABLE organisation ADD COLUMN sort_name TEXT NOT NULL DEFAULT '';
UPDATE organisation SET sort_name = lower(name);
UPDATE organisation SET parent = (SELECT first.id FROM organisation first ORDER BY first.created_ms, first.id LIMIT 1)
WHERE id <> (SELECT first.id FROM organisation first ORDER BY first.created_ms, first.id LIMIT 1);
CREATE UNIQUE INDEX organisation_by_ods ON organisation (ods);
CREATE INDEX organisation_by_name ON organisation (sort_name, id);
CREATE INDEX organisation_by_parent ON organisation (parent, sort_name, id);

-- Every pair of an organisation and one below it, itself included (distance 0): what a scope covers is one look-up.
CREATE TABLE organisation_below (
    above    TEXT   NOT NULL REFERENCES organisation (id),
    below    TEXT   NOT NULL REFERENCES organisation (id),
    distance BIGINT NOT NULL,
    PRIMARY KEY (above, below)
);
CREATE INDEX organisation_above ON organisation_below (below, distance);
INSERT INTO organisation_below (above, below, distance) SELECT id, id, 0 FROM organisation;
INSERT INTO organisation_below (above, below, distance) SELECT parent, id, 1 FROM organisation WHERE parent IS NOT NULL;

-- The audit log of a whole subtree, newest first.
CREATE INDEX audit_by_time ON audit (time_ms, organisation, number);
