-- The hot table: what changes about a task, and nothing else. No column that changes is in an index, so that an update
-- stays on its page (HOT); what is due when, and who has it in hand, is in small tables beside it.
--
-- status: 0 pending, 1 delayed, 2 processing, 3 waiting, 4 polling, 5 completed, 6 failed, 7 timeout, 8 cancelled.
CREATE TABLE task (
    id uuid NOT NULL PRIMARY KEY,
    team bigint NOT NULL,
    host bigint NOT NULL,
    status smallint NOT NULL,
    priority smallint NOT NULL,
    at bigint NOT NULL,
    max_wait bigint NOT NULL,
    created_at bigint NOT NULL,
    started_at bigint,
    flags integer NOT NULL,
    max_retries integer NOT NULL,
    attempt integer NOT NULL,
    retries integer NOT NULL,
    key_number integer NOT NULL,
    head integer NOT NULL,
    answer integer,
    result integer,
    progress integer,
    hook_status smallint,
    hook_attempts integer,
    hook_code integer,
    hook_next bigint,
    error bytea,
    polling text
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0.2, autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1);
CREATE INDEX task_by_team ON task (team, id);

-- Whatever is written once: a task's request (seq 0), answers, results, history. Partitioned by the time in the id;
-- retention drops whole partitions.
CREATE TABLE journal (
    id uuid NOT NULL,
    seq integer NOT NULL,
    at bigint NOT NULL,
    events text,
    head text,
    body bytea,
    PRIMARY KEY (id, seq)
) PARTITION BY RANGE (id);
ALTER TABLE journal ALTER body SET STORAGE EXTERNAL;
CREATE TABLE journal_rest PARTITION OF journal DEFAULT
    WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 1);

-- Tasks to be called: pending ones, and processing ones with the node that calls.
CREATE TABLE call (
    id uuid NOT NULL PRIMARY KEY,
    team bigint NOT NULL,
    host bigint NOT NULL,
    rank smallint NOT NULL,
    since bigint NOT NULL,
    node bigint
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX call_next ON call (team, host, rank, since, id) WHERE node IS NULL;
CREATE INDEX call_in_hand ON call (node) WHERE node IS NOT NULL;

-- When delays and waits end. A timer is left behind when its task moves on, and dropped when it fires.
CREATE TABLE timer (at bigint NOT NULL, id uuid NOT NULL, PRIMARY KEY (at, id))
    WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 1);

-- Completion webhooks to be delivered, and polls to be made, with the node that does so.
CREATE TABLE outbox (id uuid NOT NULL PRIMARY KEY, at bigint NOT NULL, node bigint)
    WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX outbox_next ON outbox (at, id) WHERE node IS NULL;
CREATE INDEX outbox_in_hand ON outbox (node) WHERE node IS NOT NULL;
CREATE TABLE poll (id uuid NOT NULL PRIMARY KEY, at bigint NOT NULL, host bigint NOT NULL, node bigint)
    WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX poll_next ON poll (at, id) WHERE node IS NULL;
CREATE INDEX poll_in_hand ON poll (node) WHERE node IS NOT NULL;

-- What retention removes, in order; and the ends that are few, for lists.
CREATE TABLE ended (at bigint NOT NULL, id uuid NOT NULL, PRIMARY KEY (at, id))
    WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 1);
CREATE TABLE ended_badly (team bigint NOT NULL, status smallint NOT NULL, id uuid NOT NULL, PRIMARY KEY (team, status, id));

-- How many tasks each team has in each status, in several parts, so that writers need not wait for each other.
CREATE TABLE counter (
    part integer NOT NULL, team bigint NOT NULL, status smallint NOT NULL, tasks bigint NOT NULL,
    PRIMARY KEY (part, team, status)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE idempotency (
    team bigint NOT NULL, key bytea NOT NULL, body bytea NOT NULL, task uuid NOT NULL, at bigint NOT NULL,
    PRIMARY KEY (team, key)
);
CREATE INDEX idempotency_by_time ON idempotency (at);

-- Which task a job at such a provider stands for. A provider's own words may hold a NUL, which text refuses.
CREATE TABLE job (
    team bigint NOT NULL, provider text NOT NULL, job bytea NOT NULL, task uuid NOT NULL,
    PRIMARY KEY (team, provider, job)
);
CREATE INDEX job_by_task ON job (task);

-- Events that came before the answer that names their job.
CREATE TABLE stray (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    team bigint NOT NULL, provider text NOT NULL, job bytea NOT NULL, at bigint NOT NULL, verdict text NOT NULL,
    body bytea NOT NULL
);
CREATE INDEX stray_by_team ON stray (team);

-- The processes that share this store. One whose time is over is taken for dead, and what it had in hand is taken back.
CREATE TABLE node (
    id bigint NOT NULL PRIMARY KEY,
    name text NOT NULL,
    version text NOT NULL,
    roles text NOT NULL,
    address text NOT NULL,
    started_at bigint NOT NULL,
    seen_at bigint NOT NULL,
    alive_until bigint NOT NULL,
    calls integer NOT NULL
);

-- What nodes tell each other for a few seconds: whom they admitted, so that limits hold over all of them.
CREATE UNLOGGED TABLE notice (node bigint NOT NULL, seq bigint NOT NULL, at bigint NOT NULL, text text NOT NULL, PRIMARY KEY (node, seq))
    WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE meta (name text NOT NULL PRIMARY KEY, value bytea NOT NULL);

CREATE TABLE team (
    id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    uid uuid NOT NULL UNIQUE,
    name text NOT NULL UNIQUE,
    created_at bigint NOT NULL,
    rate_limit bigint,
    secret bytea NOT NULL,
    old_secret bytea,
    old_secret_until bigint
);

CREATE TABLE api_key (
    number bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    uid uuid NOT NULL UNIQUE,
    team bigint NOT NULL REFERENCES team (id),
    name text NOT NULL,
    prefix text NOT NULL,
    hash bytea NOT NULL UNIQUE,
    created_at bigint NOT NULL,
    revoked_at bigint
);
CREATE INDEX api_key_by_team ON api_key (team);

-- The vault. A revoked secret's value is gone.
CREATE TABLE token (
    number bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    team bigint NOT NULL REFERENCES team (id),
    name text NOT NULL,
    sealed bytea NOT NULL,
    allowed_hosts text NOT NULL,
    verify_only boolean NOT NULL,
    created_at bigint NOT NULL,
    revoked_at bigint
);
CREATE INDEX token_by_team ON token (team);

-- Addresses for the webhooks of all jobs at one provider.
CREATE TABLE endpoint (
    number bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    uid uuid NOT NULL UNIQUE,
    address uuid NOT NULL UNIQUE,
    team bigint NOT NULL REFERENCES team (id),
    provider text NOT NULL,
    secret text,
    key_number bigint NOT NULL,
    created_at bigint NOT NULL
);
CREATE INDEX endpoint_by_team ON endpoint (team);

CREATE TABLE account (
    number bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    uid uuid NOT NULL UNIQUE,
    email text NOT NULL UNIQUE,
    name text NOT NULL,
    password text,
    created_at bigint NOT NULL
);

-- Accounts at somebody else's, by which ours are signed in to.
CREATE TABLE identity (
    issuer text NOT NULL,
    subject text NOT NULL,
    account uuid NOT NULL REFERENCES account (uid),
    PRIMARY KEY (issuer, subject)
);

-- role: 0 reader, 1 member, 2 owner.
CREATE TABLE membership (
    number bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    team bigint NOT NULL REFERENCES team (id),
    account uuid NOT NULL REFERENCES account (uid),
    role smallint NOT NULL,
    since bigint NOT NULL,
    UNIQUE (team, account)
);
CREATE INDEX membership_by_account ON membership (account);

-- door: 0 browser, 1 API. Of what the browser holds there is only the hash.
CREATE TABLE session (
    number bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    uid uuid NOT NULL UNIQUE,
    hash bytea NOT NULL UNIQUE,
    account uuid NOT NULL REFERENCES account (uid),
    team bigint,
    door smallint NOT NULL,
    address text,
    agent text NOT NULL,
    created_at bigint NOT NULL,
    seen_at bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX session_by_account ON session (account);

CREATE TABLE invitation (
    number bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    uid uuid NOT NULL UNIQUE,
    hash bytea NOT NULL UNIQUE,
    team bigint NOT NULL REFERENCES team (id),
    role smallint NOT NULL,
    email text,
    invited_by uuid NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX invitation_by_team ON invitation (team);

-- Who did what. actor: 0 account, 1 key, 2 operator, 3 stranger.
CREATE TABLE audit (
    number bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    at bigint NOT NULL,
    actor smallint NOT NULL,
    actor_id uuid,
    actor_name text NOT NULL,
    action text NOT NULL,
    team bigint,
    subject text NOT NULL,
    address text
);
CREATE INDEX audit_by_team ON audit (team, number) WHERE team IS NOT NULL;
CREATE INDEX audit_by_actor ON audit (actor_id, number) WHERE actor_id IS NOT NULL;
CREATE INDEX audit_by_subject ON audit (subject, number) WHERE team IS NULL;
