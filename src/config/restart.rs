//! Which changed settings a running process does not take up: everything but the log level, the access logs and the rules of
//! who may send what.

use super::settings::{
    AccessSettings, BrokerNodeSettings, BrokerSettings, ControllerSettings, LogSettings, OrchestratorSettings,
    ScheduleSettings, ServerSettings,
};

/// The keys of `podium server` whose values are not those of its start.
pub fn server(start: &ServerSettings, now: &ServerSettings) -> Vec<&'static str> {
    let ServerSettings { certificates, log, broker, api_listen, orchestrator } = now;
    let mut keys = common(start.certificates != *certificates, &start.log, log);
    keys.extend(broker_keys(&start.broker, broker));
    keys.extend(changed(&[("webserver.orchestrator.ssl-host or .ssl-port", start.api_listen != *api_listen)]));
    keys.extend(orchestrator_keys(&start.orchestrator, orchestrator));
    keys
}

/// The keys of `podium broker` whose values are not those of its start.
pub fn broker_node(start: &BrokerNodeSettings, now: &BrokerNodeSettings) -> Vec<&'static str> {
    let BrokerNodeSettings { certificates, log, broker } = now;
    let mut keys = common(start.certificates != *certificates, &start.log, log);
    keys.extend(broker_keys(&start.broker, broker));
    keys
}

fn common(has_other_certificates: bool, start: &LogSettings, now: &LogSettings) -> Vec<&'static str> {
    let LogSettings { level: _, file } = now;
    let keys =
        [("the paths of the certificate files", has_other_certificates), ("global.log.file", start.file != *file)];
    changed(&keys).collect()
}

fn broker_keys(start: &BrokerSettings, now: &BrokerSettings) -> Vec<&'static str> {
    let BrokerSettings {
        listen,
        mounts,
        workers,
        connections_max,
        client_auth,
        tls_sessions,
        message_log: _,
        request_log: _,
        message_bytes_max,
        idle_timeout,
        access: _,
        controllers,
        certificate_check_period,
        expired_throttle,
        drain_timeout,
    } = now;
    let ControllerSettings { uris, allowlist, grace_period } = controllers;
    let keys = [
        ("ssl-host or ssl-port of the broker", start.listen != *listen),
        ("client-auth of the broker", start.client_auth != *client_auth),
        ("pcp-broker.tls-session", start.tls_sessions != *tls_sessions),
        ("web-router-service", start.mounts != *mounts),
        ("pcp-broker.workers", start.workers != *workers),
        ("pcp-broker.max-connections", start.connections_max != *connections_max),
        ("pcp-broker.max-message-size", start.message_bytes_max != *message_bytes_max),
        ("pcp-broker.idle-timeout", start.idle_timeout != *idle_timeout),
        ("pcp-broker.controller-uris", start.controllers.uris != *uris),
        ("pcp-broker.controller-allowlist", start.controllers.allowlist != *allowlist),
        ("pcp-broker.controller-disconnection-graceperiod", start.controllers.grace_period != *grace_period),
        ("pcp-broker.crl-check-period", start.certificate_check_period != *certificate_check_period),
        ("pcp-broker.expired-conn-throttle", start.expired_throttle != *expired_throttle),
        ("pcp-broker.drain-timeout", start.drain_timeout != *drain_timeout),
    ];
    changed(&keys).collect()
}

fn orchestrator_keys(start: &OrchestratorSettings, now: &OrchestratorSettings) -> Vec<&'static str> {
    let OrchestratorSettings {
        data_dir,
        database,
        code_dir,
        task_concurrency,
        deploy_concurrency,
        allowed_status_requests,
        status_interval,
        default_task_timeout,
        default_deploy_timeout,
        access,
        brokers,
        keep_jobs,
        graph_dir,
        disk_reserve,
        webhooks,
        code_source,
        puppetdb,
        classifier,
        schedules: ScheduleSettings { missed, v1_api, usage_days },
    } = now;
    let AccessSettings {
        token_lifetime,
        token_lifetime_max,
        failed_logins_max,
        lockout,
        certificate_allowlist,
        audit_log,
    } = access;
    let keys = [
        ("orchestrator.data-dir", start.data_dir != *data_dir),
        ("orchestrator.database or its password file", start.database != *database),
        ("orchestrator.code-dir", start.code_dir != *code_dir),
        ("orchestrator.task-concurrency", start.task_concurrency != *task_concurrency),
        ("orchestrator.global-concurrent-compiles", start.deploy_concurrency != *deploy_concurrency),
        ("orchestrator.allowed-pcp-status-requests", start.allowed_status_requests != *allowed_status_requests),
        ("orchestrator.status-interval", start.status_interval != *status_interval),
        ("orchestrator.default-task-node-timeout", start.default_task_timeout != *default_task_timeout),
        ("orchestrator.default-deploy-node-timeout", start.default_deploy_timeout != *default_deploy_timeout),
        ("orchestrator.token-lifetime", start.access.token_lifetime != *token_lifetime),
        ("orchestrator.token-lifetime-max", start.access.token_lifetime_max != *token_lifetime_max),
        ("orchestrator.failed-attempts-lockout", start.access.failed_logins_max != *failed_logins_max),
        ("orchestrator.lockout-minutes", start.access.lockout != *lockout),
        ("orchestrator.certificate-allowlist", start.access.certificate_allowlist != *certificate_allowlist),
        ("orchestrator.audit-log.file", start.access.audit_log != *audit_log),
        ("orchestrator.brokers", start.brokers != *brokers),
        ("orchestrator.job-prune-days", start.keep_jobs != *keep_jobs),
        ("orchestrator.graph-dir", start.graph_dir != *graph_dir),
        ("orchestrator.disk-reserve", start.disk_reserve != *disk_reserve),
        ("orchestrator.webhook-ca", start.webhooks.ca != webhooks.ca),
        ("orchestrator.webhook-loopback", start.webhooks.loopback != webhooks.loopback),
        ("orchestrator.code-source, its puppet-server-url or its timeouts", start.code_source != *code_source),
        ("orchestrator.puppetdb-url or its timeouts", start.puppetdb != *puppetdb),
        ("orchestrator.classifier-url or its timeouts", start.classifier != *classifier),
        ("orchestrator.schedule-missed", start.schedules.missed != *missed),
        ("orchestrator.scheduled-jobs-v1-api", start.schedules.v1_api != *v1_api),
        ("orchestrator.usage-days", start.schedules.usage_days != *usage_days),
    ];
    changed(&keys).collect()
}

fn changed<'a>(keys: &'a [(&'static str, bool)]) -> impl Iterator<Item = &'static str> + 'a {
    keys.iter().filter(|(_, has_changed)| *has_changed).map(|(key, _)| *key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{load_broker, load_server};

    const CERTIFICATES: &str = "ssl-cert: a.pem, ssl-key: a.pem, ssl-ca-cert: a.pem, ssl-crl-path: a.pem";

    fn directory() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.pem"), "").unwrap();
        std::fs::write(dir.path().join("b.pem"), "").unwrap();
        dir
    }

    #[test]
    fn what_a_server_takes_up_while_it_runs_is_not_named() {
        let dir = directory();
        let load = |text: &str| {
            let text = format!("global.certs {{ {CERTIFICATES} }}, orchestrator.code-dir: ., {text}");
            std::fs::write(dir.path().join("server.conf"), text).unwrap();
            load_server(dir.path()).unwrap().settings
        };
        let start = load("");
        assert_eq!(server(&start, &load("")), Vec::<&str>::new());
        let live =
            "global.log.level: debug, pcp-broker.privileged-clients: [a], webserver.pcp-broker.access-log.file: l
                    pcp-broker.access-log { level: info, file: m }";
        assert_eq!(server(&start, &load(live)), Vec::<&str>::new());
        let other = "webserver { pcp-broker.ssl-port: 1, orchestrator.ssl-port: 2 }, global.log.file: g
                     pcp-broker { workers: 3, max-connections: 5, drain-timeout: 1, tls-session: rustls }, orchestrator.brokers: [b]";
        let keys = [
            "global.log.file",
            "ssl-host or ssl-port of the broker",
            "pcp-broker.tls-session",
            "pcp-broker.workers",
            "pcp-broker.max-connections",
            "pcp-broker.drain-timeout",
            "webserver.orchestrator.ssl-host or .ssl-port",
            "orchestrator.brokers",
        ];
        assert_eq!(server(&start, &load(other)), keys);
    }

    #[test]
    fn a_broker_s_controllers_are_those_of_its_start() {
        let dir = directory();
        let load = |text: &str| {
            std::fs::write(dir.path().join("broker.conf"), text).unwrap();
            load_broker(dir.path()).unwrap().settings
        };
        let start = load(&format!("webserver {{ {CERTIFICATES} }}"));
        let other = CERTIFICATES.replace("ssl-crl-path: a", "ssl-crl-path: b");
        let now = load(&format!("webserver {{ {other} }}, pcp-broker.controller-uris: [\"wss://o:8143/server\"]"));
        assert_eq!(broker_node(&start, &now), ["the paths of the certificate files", "pcp-broker.controller-uris"]);
    }
}
