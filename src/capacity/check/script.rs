//! A shell script with what the findings ask for. It is printed and not run; it can be run again, and changes only files of
//! its own.

use std::fmt::Write;

use super::{Finding, Role, Severity, Step};

const OPENING: &str = r#"#!/bin/sh
# What podium capacity check asks for on this host. Read it before you run it, as root. It may be run again; to take it back,
# remove the files that it names and reboot.
set -eu

# In file $1 the line "key = value" in place of an older one of the same key.
keep() {
    mkdir -p "$(dirname "$1")"
    touch "$1"
    { awk -v key="$2" '$1 != key' "$1"; printf '%s = %s\n' "$2" "$3"; } > "$1.new"
    mv "$1.new" "$1"
}

# File $1 with the heading of a unit's section, if it is not there yet.
section() {
    mkdir -p "$(dirname "$1")"
    [ -e "$1" ] || echo '[Service]' > "$1"
}

sysctl_file=/etc/sysctl.d/60-podium-check.conf
limits_file=/etc/security/limits.d/podium.conf
"#;

/// The script for these findings.
pub fn script(findings: &[Finding], role: Role) -> String {
    let mut text = OPENING.to_owned();
    // Nothing is left to be said if writing to a string fails.
    let _ = writeln!(text, "unit_file=/etc/systemd/system/{}.d/60-check.conf", role.unit());
    let mut unit_changes = false;
    for finding in findings.iter().filter(|finding| !finding.fix.is_empty()) {
        let _ = writeln!(text, "\n{}", comment(finding));
        for step in &finding.fix {
            unit_changes |= matches!(step, Step::Unit { .. });
            text.push_str(&command(step));
        }
    }
    if unit_changes {
        text.push_str("\nsystemctl daemon-reload\necho \"restart the service for its new limits\"\n");
    }
    text
}

/// One line, whatever the values are: they come from files of the host.
fn comment(finding: &Finding) -> String {
    let text =
        format!("# {}: {}: {}, wanted: {}", finding.severity.label(), finding.key, finding.value, finding.wanted);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn command(step: &Step) -> String {
    match step {
        Step::Sysctl { key, value } => format!("keep \"$sysctl_file\" {key} {0}\nsysctl -w {key}={0}\n", quoted(value)),
        Step::Unit { key, value } => format!("section \"$unit_file\"\nkeep \"$unit_file\" {key} {}\n", quoted(value)),
        Step::OpenFiles(limit) => format!(
            "mkdir -p \"$(dirname \"$limits_file\")\"\n\
             printf 'podium soft nofile {limit}\\npodium hard nofile {limit}\\n' > \"$limits_file\"\n"
        ),
        Step::Advice(advice) => {
            let advice: String = advice.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            format!("# by hand: {advice}\n")
        }
    }
}

/// For the shell: numbers and units as they are, all else in quotes.
fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric();
    if !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// Whether a host with these findings will do.
pub fn is_ready(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.severity < Severity::Fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_leave_their_quotes() {
        assert_eq!(quoted("4096"), "4096");
        assert_eq!(quoted("1 2 3"), "'1 2 3'");
        assert_eq!(quoted("$(reboot)'; x"), r"'$(reboot)'\''; x'");
        let finding = Finding::new("a\nrm -rf /", Severity::Fail, "b\nreboot", "c", "", Vec::new());
        assert_eq!(comment(&finding).lines().count(), 1);
    }
}
