-- How the subject of a line was called then.
ALTER TABLE audit ADD COLUMN subject_name TEXT;
