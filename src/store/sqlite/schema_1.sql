CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

CREATE TABLE team (
    id INTEGER PRIMARY KEY,
    uid BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    rate_limit INTEGER,
    secret BLOB NOT NULL,
    old_secret BLOB,
    old_secret_until INTEGER
);

CREATE TABLE api_key (
    id INTEGER PRIMARY KEY,
    uid BLOB NOT NULL UNIQUE,
    team INTEGER NOT NULL REFERENCES team (id),
    name TEXT NOT NULL,
    prefix TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
);

-- status: 0 pending, 1 delayed, 2 processing, 3 waiting, 4 polling, 5 completed, 6 failed, 7 timeout, 8 cancelled.
CREATE TABLE task (
    key INTEGER PRIMARY KEY,
    low INTEGER NOT NULL,
    team INTEGER NOT NULL,
    host INTEGER NOT NULL,
    status INTEGER NOT NULL,
    at INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    max_retries INTEGER NOT NULL,
    max_wait INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    retries INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    error TEXT,
    key_number INTEGER NOT NULL,
    head INTEGER NOT NULL,
    request INTEGER NOT NULL,
    answer INTEGER,
    result INTEGER,
    progress INTEGER,
    hook_status INTEGER,
    hook_attempts INTEGER,
    hook_code INTEGER,
    hook_next INTEGER,
    polling TEXT
);
-- Lists, newest first. Waiting and completed tasks are not in the second index: a change of this index's page would be
-- the dearest write of a resolution. They are found by team, or by the timers that waiting tasks have.
CREATE INDEX task_by_team ON task (team);
CREATE INDEX task_by_status ON task (team, status) WHERE status NOT IN (3, 5);
-- Who is next.
CREATE INDEX task_ready ON task (team, host, priority DESC, at) WHERE status = 0;
-- What retention removes.
CREATE INDEX task_ended ON task (at) WHERE status >= 5;

CREATE TABLE journal (
    id INTEGER PRIMARY KEY,
    prev INTEGER,
    at INTEGER NOT NULL,
    events TEXT,
    head TEXT,
    body BLOB
);

CREATE TABLE timer (at INTEGER NOT NULL, key INTEGER NOT NULL, PRIMARY KEY (at, key)) WITHOUT ROWID;
CREATE TABLE outbox (at INTEGER NOT NULL, key INTEGER NOT NULL, PRIMARY KEY (at, key)) WITHOUT ROWID;
CREATE TABLE poll (at INTEGER NOT NULL, key INTEGER NOT NULL, PRIMARY KEY (at, key)) WITHOUT ROWID;
CREATE TABLE counter (
    team INTEGER NOT NULL, status INTEGER NOT NULL, tasks INTEGER NOT NULL, PRIMARY KEY (team, status)
) WITHOUT ROWID;

CREATE TABLE idempotency (
    id INTEGER PRIMARY KEY,
    team INTEGER NOT NULL,
    key BLOB NOT NULL,
    body BLOB NOT NULL,
    task INTEGER NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (team, key)
);

-- The vault. A revoked secret's value is gone.
CREATE TABLE token (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    team INTEGER NOT NULL REFERENCES team (id),
    name TEXT NOT NULL,
    sealed BLOB NOT NULL,
    allowed_hosts TEXT NOT NULL,
    verify_only INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
);
CREATE INDEX token_by_team ON token (team);

-- Addresses for the webhooks of all jobs at one provider.
CREATE TABLE endpoint (
    number INTEGER PRIMARY KEY,
    uid BLOB NOT NULL UNIQUE,
    address BLOB NOT NULL UNIQUE,
    team INTEGER NOT NULL REFERENCES team (id),
    provider TEXT NOT NULL,
    secret TEXT,
    key_number INTEGER NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX endpoint_by_team ON endpoint (team);

-- Which task a job at such a provider stands for.
CREATE TABLE job (
    team INTEGER NOT NULL,
    provider TEXT NOT NULL,
    job TEXT NOT NULL,
    task INTEGER NOT NULL,
    PRIMARY KEY (team, provider, job)
) WITHOUT ROWID;
CREATE INDEX job_by_task ON job (task);

-- Events that came before the answer that names their job.
CREATE TABLE stray (
    id INTEGER PRIMARY KEY,
    team INTEGER NOT NULL,
    provider TEXT NOT NULL,
    job TEXT NOT NULL,
    at INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX stray_by_team ON stray (team);
