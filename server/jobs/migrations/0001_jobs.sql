-- Jobs, and the webhooks that are owed for the ones that have ended.
CREATE TABLE jobs (
    -- AUTOINCREMENT: a number that retention has freed must not be given out again.
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    request TEXT NOT NULL,              -- the NewJob as JSON
    owner TEXT NOT NULL,
    idempotency_key TEXT,
    priority INTEGER NOT NULL,
    affinity TEXT NOT NULL,
    start_deadline REAL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    attempt INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    slot TEXT,
    created_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL,
    outcome TEXT,                       -- the Outcome as JSON, once there is one
    log TEXT NOT NULL DEFAULT '[]'      -- saved with the outcome
) STRICT;

CREATE UNIQUE INDEX one_job_per_key ON jobs (owner, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX waiting ON jobs (priority, number) WHERE state = 'queued';
CREATE INDEX deadlines ON jobs (start_deadline) WHERE state = 'queued';
CREATE INDEX in_progress ON jobs (number) WHERE state = 'running';
CREATE INDEX ended ON jobs (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE webhooks (
    job TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    url TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    next_at REAL NOT NULL,
    delivered_at REAL
) STRICT;

CREATE INDEX due ON webhooks (next_at) WHERE delivered_at IS NULL;
