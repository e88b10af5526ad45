-- Jobs by when they ended, for those that are removed after some time.

CREATE INDEX jobs_finished ON jobs (finished) WHERE finished IS NOT NULL;
