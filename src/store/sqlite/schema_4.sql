-- Changes of tasks that are not in their rows yet, by the journal row that tells of the change.
CREATE TABLE redo (id INTEGER PRIMARY KEY, changed TEXT NOT NULL);
-- What retention removes: the tasks that ended and whose webhook is settled, by when they ended.
CREATE TABLE ended (at INTEGER NOT NULL, key INTEGER NOT NULL, PRIMARY KEY (at, key)) WITHOUT ROWID;
INSERT INTO ended (at, key) SELECT at, key FROM task WHERE status >= 5 AND hook_status IS NOT 0 ORDER BY at, key;
DROP INDEX task_ended;
