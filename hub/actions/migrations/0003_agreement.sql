-- Under what authority each order was given. What was ordered before was ordered by one person by their role.
ALTER TABLE action ADD COLUMN basis TEXT NOT NULL DEFAULT 'role';
-- Whose agreement it waits for, as JSON; empty: nobody's. Until then it has no command: nothing is signed.
ALTER TABLE action ADD COLUMN needs TEXT NOT NULL DEFAULT '';
-- Names, for lists; the agreements themselves are in action_agreement.
ALTER TABLE action ADD COLUMN approved_by TEXT NOT NULL DEFAULT '';
-- One id for what was ordered at once.
ALTER TABLE action ADD COLUMN together TEXT NOT NULL DEFAULT '';
-- Who answers for the order: two API tokens of one person are one person.
ALTER TABLE action ADD COLUMN answerable TEXT NOT NULL DEFAULT '';
ALTER TABLE action ADD COLUMN role TEXT NOT NULL DEFAULT '';
ALTER TABLE action ADD COLUMN from_above BIGINT NOT NULL DEFAULT 0;
-- What was wished and how far it reaches, as JSON: what is signed once everybody agrees.
ALTER TABLE action ADD COLUMN wish TEXT NOT NULL DEFAULT '';
ALTER TABLE action ADD COLUMN reach TEXT NOT NULL DEFAULT '';
-- The standing consent or the broken glass that it rests on.
ALTER TABLE action ADD COLUMN rests_on TEXT NOT NULL DEFAULT '';
CREATE INDEX action_by_answerable ON action (answerable, created_ms);
CREATE INDEX action_by_needs ON action (state, needs, created_ms);

-- Who agreed to an order, or refused it.
CREATE TABLE action_agreement (
    organisation TEXT   NOT NULL,
    action       TEXT   NOT NULL,
    number       BIGINT NOT NULL,
    person       TEXT   NOT NULL,
    answerable   TEXT   NOT NULL,
    role         TEXT   NOT NULL,
    from_above   BIGINT NOT NULL,
    agreed       BIGINT NOT NULL,
    reason       TEXT   NOT NULL,
    at_ms        BIGINT NOT NULL,
    PRIMARY KEY (organisation, action, number)
);

-- What an organisation allows one above it to do to its devices without asking.
CREATE TABLE consent (
    organisation TEXT   NOT NULL REFERENCES organisation (id),
    id           TEXT   NOT NULL,
    given_to     TEXT   NOT NULL REFERENCES organisation (id),
    -- Those below do not see those above: the name as it was.
    given_to_name TEXT  NOT NULL,
    kinds        TEXT   NOT NULL,
    classes      TEXT   NOT NULL,
    reason       TEXT   NOT NULL,
    given_by     TEXT   NOT NULL,
    given_ms     BIGINT NOT NULL,
    expires_ms   BIGINT NOT NULL,
    revoked_ms   BIGINT,
    revoked_by   TEXT   NOT NULL DEFAULT '',
    PRIMARY KEY (organisation, id)
);
CREATE INDEX consent_given_to ON consent (given_to, expires_ms);

-- Who acted where others would have had to agree, and who looked into it afterwards.
CREATE TABLE break_glass (
    organisation TEXT   NOT NULL REFERENCES organisation (id),
    id           TEXT   NOT NULL,
    person       TEXT   NOT NULL,
    answerable   TEXT   NOT NULL,
    role         TEXT   NOT NULL,
    reason       TEXT   NOT NULL,
    begun_ms     BIGINT NOT NULL,
    expires_ms   BIGINT NOT NULL,
    ended_ms     BIGINT,
    reviewed_ms  BIGINT,
    reviewed_by  TEXT   NOT NULL DEFAULT '',
    review       TEXT   NOT NULL DEFAULT '',
    PRIMARY KEY (organisation, id)
);
CREATE INDEX break_glass_by_person ON break_glass (answerable, expires_ms);

DROP VIEW view_action;
CREATE VIEW view_action AS
SELECT organisation, id, device, kind, target, reason, requested_by, state, detail, created_ms, expires_ms,
       updated_ms, basis, needs, approved_by, together
FROM action;
