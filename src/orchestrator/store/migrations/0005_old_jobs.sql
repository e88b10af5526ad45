-- Jobs by when they ended, for those that are removed after some time.

CREATE INDEX jobs_finished ON jobs (finished) WHERE finished IS NOT NULL;
CREATE INDEX plan_jobs_finished ON plan_jobs (finished) WHERE finished IS NOT NULL;
