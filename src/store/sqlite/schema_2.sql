CREATE TABLE account (
    number INTEGER PRIMARY KEY,
    uid BLOB NOT NULL UNIQUE,
    email TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    password TEXT,
    created_at INTEGER NOT NULL
);

-- Accounts at somebody else's, by which ours are signed in to.
CREATE TABLE identity (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    account BLOB NOT NULL REFERENCES account (uid),
    PRIMARY KEY (issuer, subject)
) WITHOUT ROWID;

-- role: 0 reader, 1 member, 2 owner.
CREATE TABLE membership (
    number INTEGER PRIMARY KEY,
    team INTEGER NOT NULL REFERENCES team (id),
    account BLOB NOT NULL REFERENCES account (uid),
    role INTEGER NOT NULL,
    since INTEGER NOT NULL,
    UNIQUE (team, account)
);
CREATE INDEX membership_by_account ON membership (account);

-- door: 0 browser, 1 API. Of what the browser holds there is only the hash.
CREATE TABLE session (
    number INTEGER PRIMARY KEY,
    uid BLOB NOT NULL UNIQUE,
    hash BLOB NOT NULL UNIQUE,
    account BLOB NOT NULL REFERENCES account (uid),
    team INTEGER,
    door INTEGER NOT NULL,
    address TEXT,
    agent TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);
CREATE INDEX session_by_account ON session (account);

CREATE TABLE invitation (
    number INTEGER PRIMARY KEY,
    uid BLOB NOT NULL UNIQUE,
    hash BLOB NOT NULL UNIQUE,
    team INTEGER NOT NULL REFERENCES team (id),
    role INTEGER NOT NULL,
    email TEXT,
    invited_by BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);
CREATE INDEX invitation_by_team ON invitation (team);

-- Who did what. actor: 0 account, 1 key, 2 operator, 3 stranger.
CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor INTEGER NOT NULL,
    actor_id BLOB,
    actor_name TEXT NOT NULL,
    action TEXT NOT NULL,
    team INTEGER,
    subject TEXT NOT NULL,
    address TEXT
);
CREATE INDEX audit_by_team ON audit (team) WHERE team IS NOT NULL;
CREATE INDEX audit_by_actor ON audit (actor_id) WHERE actor_id IS NOT NULL;
CREATE INDEX audit_by_subject ON audit (subject) WHERE team IS NULL;
