-- Every statement of the job store. `-- name:` starts one; the lines below it say why it is so.

-- name: insert
-- A second submission with the same key inserts nothing and returns no row.
INSERT INTO jobs (id, request, owner, idempotency_key, priority, affinity, start_deadline, state,
                  prepared, created_at)
VALUES (:id, :request, :owner, :idempotency_key, :priority, :affinity, :start_deadline, 'queued',
        :prepared, :now)
ON CONFLICT (owner, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
RETURNING *

-- name: find_by_key
SELECT * FROM jobs WHERE owner = :owner AND idempotency_key = :idempotency_key

-- name: get
SELECT * FROM jobs WHERE id = :id

-- name: next_in_line
-- The head of the best priority that waits, and those behind it that may be preferred to it.
-- A job that is not ready stands aside: no slot waits for somebody's download.
SELECT id, affinity FROM jobs
WHERE state = 'queued' AND prepared IS NOT NULL AND priority = (
    SELECT min(priority) FROM jobs WHERE state = 'queued' AND prepared IS NOT NULL
)
ORDER BY number LIMIT :window

-- name: prepare
-- Once: what was found first stays, and a cancelled job stays cancelled.
UPDATE jobs SET prepared = :prepared WHERE id = :id AND state = 'queued' AND prepared IS NULL
RETURNING *

-- name: claim
UPDATE jobs SET state = 'running', attempt = attempt + 1, slot = :slot, started_at = :now
WHERE id = :id AND state = 'queued' AND prepared IS NOT NULL
RETURNING *

-- name: finish
-- The fence: a slot that was thought dead cannot overwrite its successor's result.
UPDATE jobs SET state = :state, outcome = :outcome, log = :log, finished_at = :now
WHERE id = :id AND attempt = :attempt AND state = 'running'
RETURNING *

-- name: end_queued
UPDATE jobs SET state = :state, outcome = :outcome, log = :log, finished_at = :now
WHERE id = :id AND state = 'queued'
RETURNING *

-- name: running_attempt
SELECT * FROM jobs WHERE id = :id AND attempt = :attempt AND state = 'running'

-- name: request_cancel
UPDATE jobs SET cancel_requested = 1 WHERE id = :id AND state = 'running'
RETURNING *

-- name: blame
UPDATE jobs SET crashes = crashes + 1 WHERE id = :id AND attempt = :attempt AND state = 'running'

-- name: requeue
-- The number is kept: a job that comes back stands where it stood.
UPDATE jobs SET state = 'queued', slot = NULL, started_at = NULL
WHERE id = :id AND attempt = :attempt AND state = 'running'
RETURNING *

-- name: overdue
-- Only jobs that never started: a deadline is for the start, and a retry is not a new one.
SELECT id FROM jobs WHERE state = 'queued' AND attempt = 0 AND start_deadline <= :now

-- name: live
SELECT * FROM jobs WHERE state IN ('queued', 'running')

-- name: recent
SELECT * FROM jobs WHERE finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT :limit

-- name: counts
SELECT state, count(*) AS count FROM jobs GROUP BY state

-- name: forget
DELETE FROM jobs WHERE number IN (
    SELECT number FROM jobs WHERE finished_at < :before ORDER BY finished_at LIMIT :limit
) RETURNING *

-- name: owe_webhook
INSERT INTO webhooks (job, url, next_at) VALUES (:id, :url, :now)

-- name: due_webhooks
SELECT jobs.*, webhooks.url AS webhook_url, webhooks.tries AS webhook_tries
FROM webhooks JOIN jobs ON jobs.id = webhooks.job
WHERE delivered_at IS NULL AND next_at <= :now ORDER BY next_at LIMIT :limit

-- name: webhook_delivered
UPDATE webhooks SET delivered_at = :now, tries = tries + 1 WHERE job = :id

-- name: webhook_failed
UPDATE webhooks SET tries = tries + 1, next_at = :next_at WHERE job = :id
