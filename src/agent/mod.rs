//! The PXP agent: dials a broker, runs tasks, keeps their results in its spool.
