//! `apply prep` and `apply apply`: plugins and facts for a catalog, and the catalog itself, by the Puppet that is
//! installed on the node (pxp-agent, apply module). A short Ruby program, given to Puppet's own Ruby, does it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::agent::output::Output;
use crate::agent::registry::Entry;
use crate::agent::work::{Prepared, Room, Step, Work};
use crate::config::settings::{CertificatePaths, PrimaryUri};

/// Of the packages of Puppet and OpenVox, then of the distribution.
const RUBIES: [&str; 3] = ["/opt/puppetlabs/puppet/bin/ruby", "/usr/bin/ruby", "/usr/local/bin/ruby"];

const PROGRAM: &str = include_str!("apply.rb");

/// What the Puppet that applies catalogs has to know of the agent.
#[derive(Debug, Clone)]
pub struct ApplySettings {
    /// With which it asks for plugins and files.
    pub certificates: CertificatePaths,
    /// Whom it asks.
    pub primaries: Vec<PrimaryUri>,
    /// Through which it asks.
    pub proxy: Option<String>,
    /// Below which it keeps plugins.
    pub cache_dir: PathBuf,
}

/// The actions.
pub fn entries(settings: ApplySettings) -> Vec<Entry> {
    let settings = Arc::new(settings);
    let of_prep = settings.clone();
    let prep = Entry::work("apply", "prep", Output::Text, move |params| {
        let Prep { environment } = super::read(params)?;
        let (settings, more) = (of_prep.clone(), Map::new());
        Some(Box::new(Apply { action: "prep", environment: Some(environment), more, settings }))
    });
    let apply = Entry::work("apply", "apply", Output::Text, move |params| {
        let Catalog { catalog, apply_options } = super::read(params)?;
        let environment = catalog.get("environment").and_then(Value::as_str).map(str::to_owned);
        let more = [("catalog".to_owned(), catalog.into()), ("apply_options".to_owned(), apply_options.into())];
        let (settings, more) = (settings.clone(), more.into_iter().collect());
        Some(Box::new(Apply { action: "apply", environment, more, settings }))
    });
    vec![prep, apply]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Prep {
    environment: String,
}

#[derive(Deserialize)]
struct Catalog {
    catalog: Map<String, Value>,
    apply_options: Map<String, Value>,
}

#[derive(Debug)]
struct Apply {
    action: &'static str,
    environment: Option<String>,
    more: Map<String, Value>,
    settings: Arc<ApplySettings>,
}

impl Work for Apply {
    fn subject(&self) -> String {
        format!("apply {}", self.action)
    }

    fn prepare(&self, _room: &Room<'_>) -> Result<Step, String> {
        let ApplySettings { certificates, primaries, proxy, cache_dir } = &*self.settings;
        let crl = certificates.crl.as_deref().ok_or("ssl-crl setting is required for apply")?;
        let environment = self.environment.as_deref().ok_or("the catalog names no environment")?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if environment.is_empty() || !environment.bytes().all(plain) {
            return Err(format!("'{environment}' cannot be the name of an environment"));
        }
        let ruby = RUBIES.into_iter().find(|ruby| Path::new(ruby).exists());
        let ruby = ruby.ok_or_else(|| format!("there is no Ruby for Puppet: none of {}", RUBIES.join(", ")))?;
        let uri = |PrimaryUri { host, port }: &PrimaryUri| format!("https://{host}:{port}");
        let mut input = json!({
            "action": self.action,
            "environment": environment,
            "ca": certificates.ca,
            "crt": certificates.certificate,
            "key": certificates.key,
            "crl": crl,
            "proxy": proxy.as_deref().unwrap_or_default(),
            "plugin_cache": cache_dir.join(environment),
            "primary_uris": primaries.iter().map(uri).collect::<Vec<_>>(),
        });
        for (key, value) in &self.more {
            input[key] = value.clone();
        }
        Ok(Step::Execute(Prepared {
            executable: ruby.into(),
            arguments: vec!["-e".into(), PROGRAM.into()],
            environment: BTreeMap::new(),
            input: input.to_string(),
        }))
    }
}
