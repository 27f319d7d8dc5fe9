-- How the subject of a line was called then. A node of an older version writes none.
ALTER TABLE audit ADD COLUMN subject_name text;
