//! The keys of who gets in, in the section `orchestrator`: tokens, lock-out, certificates that need no token, and the audit
//! log. Names are those of Puppet Enterprise's RBAC service where it has them.

use std::path::Path;
use std::time::Duration;

use super::duration::Bare;
use super::reader::Reader;
use super::settings::AccessSettings;

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// Reads them.
pub(super) fn settings(reader: &mut Reader<'_>, data_dir: &Path) -> AccessSettings {
    let lifetimes = Duration::from_secs(1)..=100 * YEAR;
    let lifetime = reader.duration("orchestrator.token-lifetime", Bare::Seconds, lifetimes.clone());
    let lifetime_max = reader.duration("orchestrator.token-lifetime-max", Bare::Seconds, lifetimes);
    let failed = reader.integer("orchestrator.failed-attempts-lockout", 0..=1_000_000);
    let lockout = reader.integer("orchestrator.lockout-minutes", 0..=525_600);
    let lockout = lockout.unwrap_or(15);
    let settings = AccessSettings {
        token_lifetime: lifetime.unwrap_or(Duration::from_secs(3600)),
        token_lifetime_max: lifetime_max.unwrap_or(10 * YEAR),
        failed_logins_max: failed.and_then(|failed| u32::try_from(failed).ok()).unwrap_or(10),
        lockout: (lockout > 0).then(|| Duration::from_secs(60 * lockout)),
        certificate_allowlist: reader.file("orchestrator.certificate-allowlist"),
        audit_log: reader.log_file("orchestrator.audit-log.file", Some(data_dir.join("audit.log"))),
    };
    if settings.token_lifetime > settings.token_lifetime_max {
        let advice = "is longer than orchestrator.token-lifetime-max; shorten it or raise the maximum";
        reader.fail("orchestrator.token-lifetime", advice);
    }
    settings
}
