//! The settings of `podium broker`, from pcp-broker's own sections `webserver` and `pcp-broker`.

use std::path::Path;

use super::listener::{address, certificates};
use super::pcp_broker::{self, Role};
use super::reader::{Reader, WithoutEffect};
use super::settings::{BrokerNodeSettings, LogSettings};
use super::{Loaded, Problems, hocon};

const WITHOUT_EFFECT: &[WithoutEffect] = &[
    ("global.logging-config", "use global.log.level and global.log.file"),
    ("global.hostname", "the name of the certificate is used"),
    ("webserver.access-log-config", "use webserver.access-log"),
    ("web-router-service", "the paths are fixed"),
    ("authorization", "only controllers and pcp-broker.privileged-clients give orders; see docs/secure.md"),
    ("metrics", "see docs/watch.md"),
];

/// Reads all `*.conf` of a directory and of its `conf.d`.
pub fn load_broker(dir: &Path) -> Result<Loaded<BrokerNodeSettings>, Problems> {
    let mut problems = Vec::new();
    let Some(tree) = hocon::load(dir, &mut problems) else { return Err(Problems(problems)) };
    let mut reader = Reader::new(&tree);
    let certificates = certificates(&mut reader, &["webserver"]);
    let log =
        LogSettings { level: reader.log_level("global.log.level"), file: reader.log_file("global.log.file", None) };
    let listen = address(&mut reader, "webserver", 8142);
    let broker = pcp_broker::settings(&mut reader, listen, Role::CompileNode);
    let (problems, warnings) = reader.finish(WITHOUT_EFFECT);
    match certificates {
        Some(certificates) if problems.is_empty() => {
            Ok(Loaded { settings: BrokerNodeSettings { certificates, log, broker }, warnings })
        }
        _ => Err(Problems(problems)),
    }
}
