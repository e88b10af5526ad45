//! The orchestrator as a whole: threads, store and files, against a broker and agents in this process.
use std::path::Path;
use std::time::Duration;

use crate::config::settings::OrchestratorSettings;

/// Settings with everything below `dir`.
pub fn settings(dir: &Path) -> OrchestratorSettings {
    OrchestratorSettings {
        data_dir: dir.to_owned(),
        code_dir: dir.join("code"),
        task_concurrency: 4,
        allowed_status_requests: 35,
        status_interval: Duration::from_secs(12),
        default_task_timeout: None,
        token_lifetime: Duration::from_secs(3600),
        token_lifetime_max: Duration::from_secs(10 * 365 * 86_400),
    }
}
