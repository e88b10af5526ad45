//! The flags of `podium agent`: pxp-agent's own, one for each key of pxp-agent.conf.

use std::path::PathBuf;

use crate::config::Overrides;

/// Each flag stands for the key of its name and wins over the file.
#[derive(Debug, Clone, clap::Args)]
pub struct Flags {
    /// Directory with pxp-agent.conf, or the file itself
    // The last one counts: a process that leaves its terminal is told the whole path at the end.
    #[arg(
        long,
        alias = "config-file",
        default_value = "/etc/puppetlabs/pxp-agent",
        global = true,
        overrides_with = "config"
    )]
    pub config: PathBuf,
    /// The broker; stands in place of the file's list of brokers
    #[arg(long, global = true, help_heading = SETTINGS)]
    broker_ws_uri: Option<String>,
    /// Proxy for the connection to the broker
    #[arg(long, global = true, help_heading = SETTINGS)]
    broker_ws_proxy: Option<String>,
    /// Version of PCP: 1 or 2
    #[arg(long, global = true, help_heading = SETTINGS)]
    pcp_version: Option<String>,
    /// Seconds for one attempt to connect
    #[arg(long, global = true, help_heading = SETTINGS)]
    connection_timeout: Option<u64>,
    /// Seconds between pings
    #[arg(long, global = true, hide = true)]
    ping_interval: Option<u64>,
    /// Seconds for an association (PCP v1)
    #[arg(long, global = true, hide = true)]
    association_timeout: Option<u64>,
    /// Seconds after which messages expire (PCP v1)
    #[arg(long, global = true, hide = true)]
    pcp_message_ttl: Option<u64>,
    /// Of no effect
    #[arg(long, global = true, hide = true)]
    allowed_keepalive_timeouts: Option<u64>,
    /// Of no effect
    #[arg(long, global = true, hide = true)]
    association_request_ttl: Option<u64>,
    /// Of no effect
    #[arg(long, global = true, hide = true)]
    primary_uri: Option<String>,
    /// Of no effect
    #[arg(long, global = true, hide = true)]
    master_uri: Option<String>,
    /// Proxy for downloads
    #[arg(long, global = true, help_heading = SETTINGS)]
    master_proxy: Option<String>,
    /// Seconds to connect for a download
    #[arg(long, global = true, help_heading = SETTINGS)]
    task_download_connect_timeout: Option<u64>,
    /// Seconds for a whole download
    #[arg(long, global = true, help_heading = SETTINGS)]
    task_download_timeout: Option<u64>,
    /// CAs that brokers and primaries are trusted by
    #[arg(long, global = true, help_heading = SETTINGS)]
    ssl_ca_cert: Option<PathBuf>,
    /// Certificate of this host
    #[arg(long, global = true, help_heading = SETTINGS)]
    ssl_cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, global = true, help_heading = SETTINGS)]
    ssl_key: Option<PathBuf>,
    /// Revocation lists
    #[arg(long, global = true, help_heading = SETTINGS)]
    ssl_crl: Option<PathBuf>,
    /// The log, or - for standard error
    #[arg(long, global = true, help_heading = SETTINGS)]
    logfile: Option<PathBuf>,
    /// error, warn, info, debug or trace
    #[arg(long, global = true, help_heading = SETTINGS)]
    loglevel: Option<String>,
    /// Of no effect
    #[arg(long, global = true, hide = true)]
    syslog_facility: Option<String>,
    /// Log a line for each message that comes
    #[arg(long, global = true, help_heading = SETTINGS, num_args = 0..=1, default_missing_value = "true")]
    log_pcp_access: Option<bool>,
    /// The file for these lines
    #[arg(long, global = true, help_heading = SETTINGS)]
    pcp_access_logfile: Option<PathBuf>,
    /// Programs that are modules
    #[arg(long, global = true, help_heading = SETTINGS)]
    modules_dir: Option<PathBuf>,
    /// Configuration of modules
    #[arg(long, global = true, help_heading = SETTINGS)]
    modules_config_dir: Option<PathBuf>,
    /// Downloaded files
    #[arg(long, global = true, help_heading = SETTINGS)]
    task_cache_dir: Option<PathBuf>,
    /// Age at which downloaded files are removed
    #[arg(long, global = true, help_heading = SETTINGS)]
    task_cache_dir_purge_ttl: Option<String>,
    /// Results of what was run
    #[arg(long, global = true, help_heading = SETTINGS)]
    spool_dir: Option<PathBuf>,
    /// Age at which results are removed
    #[arg(long, global = true, help_heading = SETTINGS)]
    spool_dir_purge_ttl: Option<String>,
    /// Bytes of the largest answer
    #[arg(long, global = true, help_heading = SETTINGS)]
    max_message_size: Option<u64>,
    /// Stay in the foreground (the default); --foreground=false leaves the terminal
    #[arg(long, global = true, help_heading = SETTINGS, num_args = 0..=1, default_missing_value = "true")]
    foreground: Option<bool>,
    /// Write the process id there
    #[arg(long, global = true, help_heading = SETTINGS)]
    pidfile: Option<PathBuf>,
}

const SETTINGS: &str = "Settings, instead of those in pxp-agent.conf";

impl Flags {
    /// The keys that were given.
    pub fn overrides(&self) -> Overrides {
        let mut all = Overrides::default();
        for (key, path) in [
            ("ssl-ca-cert", &self.ssl_ca_cert),
            ("ssl-cert", &self.ssl_cert),
            ("ssl-key", &self.ssl_key),
            ("ssl-crl", &self.ssl_crl),
            ("logfile", &self.logfile),
            ("pcp-access-logfile", &self.pcp_access_logfile),
            ("modules-dir", &self.modules_dir),
            ("modules-config-dir", &self.modules_config_dir),
            ("task-cache-dir", &self.task_cache_dir),
            ("spool-dir", &self.spool_dir),
            ("pidfile", &self.pidfile),
        ] {
            all.set(key, path.as_ref().map(|path| path.display()));
        }
        for (key, text) in [
            ("broker-ws-uri", &self.broker_ws_uri),
            ("broker-ws-proxy", &self.broker_ws_proxy),
            ("pcp-version", &self.pcp_version),
            ("primary-uri", &self.primary_uri),
            ("master-uri", &self.master_uri),
            ("master-proxy", &self.master_proxy),
            ("loglevel", &self.loglevel),
            ("syslog-facility", &self.syslog_facility),
            ("task-cache-dir-purge-ttl", &self.task_cache_dir_purge_ttl),
            ("spool-dir-purge-ttl", &self.spool_dir_purge_ttl),
        ] {
            all.set(key, text.as_ref());
        }
        for (key, number) in [
            ("connection-timeout", self.connection_timeout),
            ("ping-interval", self.ping_interval),
            ("association-timeout", self.association_timeout),
            ("pcp-message-ttl", self.pcp_message_ttl),
            ("allowed-keepalive-timeouts", self.allowed_keepalive_timeouts),
            ("association-request-ttl", self.association_request_ttl),
            ("task-download-connect-timeout", self.task_download_connect_timeout),
            ("task-download-timeout", self.task_download_timeout),
            ("max-message-size", self.max_message_size),
        ] {
            all.set(key, number);
        }
        all.set("log-pcp-access", self.log_pcp_access);
        all.set("foreground", self.foreground);
        all
    }
}
