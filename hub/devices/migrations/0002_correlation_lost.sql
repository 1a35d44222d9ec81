-- What a device's correlations had to give up, by its last heartbeat.
ALTER TABLE device ADD COLUMN correlation_lost BIGINT;
