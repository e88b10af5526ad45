//! The keys of scheduled jobs and of what is kept about use, in the section `orchestrator`.

use super::reader::Reader;
use super::settings::{MissedRuns, ScheduleSettings};

/// Reads them.
pub(super) fn settings(reader: &mut Reader<'_>) -> ScheduleSettings {
    let days = reader.integer("orchestrator.usage-days", 1..=36_500);
    ScheduleSettings {
        missed: missed(reader),
        v1_api: v1_api(reader),
        usage_days: days.and_then(|days| u32::try_from(days).ok()).unwrap_or(365),
    }
}

fn missed(reader: &mut Reader<'_>) -> MissedRuns {
    let key = "orchestrator.schedule-missed";
    match reader.text(key).as_deref() {
        None | Some("run-once") => MissedRuns::RunOnce,
        Some("skip") => MissedRuns::Skip,
        Some(other) => {
            reader.fail(key, format!("\"{other}\" is not possible; give run-once, or skip for the next regular time"));
            MissedRuns::RunOnce
        }
    }
}

fn v1_api(reader: &mut Reader<'_>) -> bool {
    let key = "orchestrator.scheduled-jobs-v1-api";
    match reader.text(key).as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => {
            reader.fail(key, format!("\"{other}\" is not possible; give true or false"));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::hocon;

    fn read(text: &str) -> (ScheduleSettings, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x.conf"), text).unwrap();
        let mut problems = Vec::new();
        let tree = hocon::load(dir.path(), &mut problems).unwrap();
        let mut reader = Reader::new(&tree);
        let settings = settings(&mut reader);
        let problems = reader.finish(&[]).0;
        (settings, problems.into_iter().map(|problem| problem.message).collect())
    }

    #[test]
    fn what_can_be_said() {
        let defaults = ScheduleSettings { missed: MissedRuns::RunOnce, v1_api: false, usage_days: 365 };
        assert_eq!(read("orchestrator {}"), (defaults, vec![]));
        let set = ScheduleSettings { missed: MissedRuns::Skip, v1_api: true, usage_days: 7 };
        let text = "orchestrator { schedule-missed: skip, scheduled-jobs-v1-api: true, usage-days: 7 }";
        assert_eq!(read(text), (set, vec![]));
        let (_, problems) = read("orchestrator { schedule-missed: never, scheduled-jobs-v1-api: 1, usage-days: 0 }");
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems.iter().any(|problem| problem.contains("give run-once, or skip")), "{problems:?}");
    }
}
