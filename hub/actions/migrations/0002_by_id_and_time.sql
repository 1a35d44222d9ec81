-- Actions of many organisations together: newest first, one by its id, and those that wait.
CREATE INDEX action_by_id ON action (id);
CREATE INDEX action_newest ON action (created_ms, id);
CREATE INDEX action_waiting ON action (state, expires_ms);
