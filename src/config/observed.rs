//! The keys of the access logs and of who may see the status pages: `pcp-broker.access-log`, and `access-log` and
//! `client-auth` of the broker's listener.

use super::reader::Reader;
use super::settings::{AccessFormat, AccessLevel, AccessLogSettings, ClientAuth};

/// `client-auth` of a listener's section, with the words of Trapperkeeper's webserver.
pub(super) fn client_auth(reader: &mut Reader<'_>, section: &str) -> ClientAuth {
    let key = format!("{section}.client-auth");
    match reader.text(&key).as_deref() {
        None | Some("need") => ClientAuth::Need,
        Some("want") => ClientAuth::Want,
        Some(other) => {
            reader.fail(&key, format!("\"{other}\" is not possible; give need, or want for status pages without one"));
            ClientAuth::Need
        }
    }
}

/// The log of messages: off, as the reference ships it (at level error, which no line has).
pub(super) fn message_log(reader: &mut Reader<'_>) -> AccessLogSettings {
    let key = "pcp-broker.access-log.level";
    let level = match reader.text(key).map(|text| text.to_lowercase()).as_deref() {
        None | Some("off" | "error") => AccessLevel::Off,
        Some("warn") => AccessLevel::Warn,
        Some("info") => AccessLevel::Info,
        Some(other) => {
            let advice = "give info for every message, warn for those that were refused, or off";
            reader.fail(key, format!("invalid level: '{other}'; {advice}"));
            AccessLevel::Off
        }
    };
    let file = reader.log_file("pcp-broker.access-log.file", None);
    let is_given = reader.has("pcp-broker.access-log.file");
    if level != AccessLevel::Off && !is_given {
        reader.fail("pcp-broker.access-log.file", "must be set; give a file, or - for standard error");
    }
    if level == AccessLevel::Off && is_given {
        reader.warn("pcp-broker.access-log.file", "stays empty: pcp-broker.access-log.level is off; set it to info");
    }
    AccessLogSettings { level, file, format: format(reader, "pcp-broker.access-log.format") }
}

/// The log of requests: on if it has a file.
pub(super) fn request_log(reader: &mut Reader<'_>, section: &str) -> AccessLogSettings {
    let key = format!("{section}.access-log.file");
    let file = reader.log_file(&key, None);
    let level = if reader.has(&key) { AccessLevel::Info } else { AccessLevel::Off };
    AccessLogSettings { level, file, format: format(reader, &format!("{section}.access-log.format")) }
}

fn format(reader: &mut Reader<'_>, key: &str) -> AccessFormat {
    match reader.text(key).as_deref() {
        None | Some("text") => AccessFormat::Text,
        Some("json") => AccessFormat::Json,
        Some(other) => {
            reader.fail(key, format!("'{other}' is no format; give text or json"));
            AccessFormat::Text
        }
    }
}
