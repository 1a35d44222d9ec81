-- Findings of many organisations together: newest first, and one by its id.
CREATE INDEX finding_by_id ON finding (id);
CREATE INDEX finding_newest ON finding (time_ms, id);
