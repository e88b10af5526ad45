//! The REST API on port 8143: orchestrator v1, RBAC tokens, task files for agents.
