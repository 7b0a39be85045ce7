-- Jobs that bring files wait until these are here; a slot is given prepared jobs only.
ALTER TABLE jobs ADD COLUMN prepared TEXT;    -- the Prepared as JSON; NULL until the job is ready

-- Whatever waited or ran under the version before brought nothing.
UPDATE jobs SET prepared = '{"sources": {}, "prompt": null, "notes": []}';

DROP INDEX waiting;
CREATE INDEX ready ON jobs (priority, number) WHERE state = 'queued' AND prepared IS NOT NULL;
