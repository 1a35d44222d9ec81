-- A finding's id is its device's choice. The first one stays, in whatever organisation it is: the database says so also to
-- a statement that sees no other organisation than its own.
DROP INDEX finding_by_id;
CREATE UNIQUE INDEX finding_by_id ON finding (id);
