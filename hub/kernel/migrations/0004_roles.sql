-- What somebody may do. Who could sign in before, or had a token, could do everything, and still can.
ALTER TABLE sign_in_link ADD COLUMN role TEXT NOT NULL DEFAULT 'administrator';
ALTER TABLE session ADD COLUMN role TEXT NOT NULL DEFAULT 'administrator';
ALTER TABLE api_token ADD COLUMN role TEXT NOT NULL DEFAULT 'administrator';
