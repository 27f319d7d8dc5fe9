-- One row for what ended in one commit: `at` is the latest end, `id` is one of the tasks, and `others` are the rest of them.
-- What somebody deletes stays in its row until retention comes by, unless it is alone there.
-- A node of an older version must not run beside: it writes rows of one task each, which is fine, but its retention knows
-- only of `id` and removes the row with it, so that nobody finds the others any more, and its lists of completed tasks
-- leave them out.
ALTER TABLE ended ADD COLUMN others uuid[] NOT NULL DEFAULT '{}';
