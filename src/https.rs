//! HTTP requests over TLS: task files for the agent, the API for the operator.
