//! The last run report of Puppet (`last_run_report.yaml`, report formats 4 and up), as far as a controller is told of
//! it: four words of the top level and the metric `resources`. Reports have a line per property of every resource, so
//! they are read line by line and not as a document; what Puppet's serializer writes has one form.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use crate::limits::PUPPET_REPORT_LINE_BYTES_MAX;

/// What matters of a report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// When the run began.
    pub time: String,
    /// Of the run; also in PuppetDB.
    pub transaction_uuid: String,
    /// In which the node ran.
    pub environment: String,
    /// `changed`, `unchanged` or `failed`.
    pub status: String,
    /// The metric `resources`: numbers by name.
    pub metrics: BTreeMap<String, f64>,
}

impl Report {
    /// Where there is no report.
    pub fn unknown() -> Self {
        let unknown = || "unknown".to_owned();
        Self {
            time: unknown(),
            transaction_uuid: unknown(),
            environment: unknown(),
            status: unknown(),
            metrics: BTreeMap::new(),
        }
    }

    /// Reads a report. The error says what is missing.
    pub fn read(mut from: impl BufRead) -> io::Result<Self> {
        let mut report = Self::default();
        let mut place = Place::Elsewhere;
        let mut line = Vec::new();
        while read_line(&mut from, &mut line)? {
            let text = std::str::from_utf8(&line).unwrap_or_default().trim_end();
            report.take(text, &mut place);
        }
        match report.missing() {
            None => Ok(report),
            Some(key) => Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has no {key}"))),
        }
    }

    fn take(&mut self, line: &str, place: &mut Place) {
        let depth = line.len() - line.trim_start_matches(' ').len();
        let text = &line[depth..];
        let key = text.split_once(':').map_or("", |(key, _)| key);
        let value = |key: &str| scalar(&text[key.len() + 1..]);
        *place = match (&*place, depth) {
            (_, 0) if key == "metrics" => Place::Metrics,
            // Items of a list may begin in the column of its key.
            (Place::Values { depth: of_values, .. }, _) if depth >= *of_values && text.starts_with('-') => {
                let Place::Values { item, depth } = std::mem::take(place) else { return };
                self.value(text, item, depth)
            }
            (Place::Values { depth: of_values, .. }, _) if depth > *of_values => std::mem::take(place),
            (Place::Metrics, 2) if key == "resources" => Place::Resources,
            (Place::Resources | Place::Values { .. }, 2) | (Place::Metrics, 2) => Place::Metrics,
            (Place::Resources, 4) if key == "values" => Place::Values { depth: 4, item: Vec::new() },
            (Place::Metrics | Place::Resources | Place::Values { .. }, 1..) => std::mem::take(place),
            (_, 0) => {
                match key {
                    "time" => self.time = value(key),
                    "transaction_uuid" => self.transaction_uuid = value(key),
                    "environment" => self.environment = value(key),
                    "status" => self.status = value(key),
                    _ => {}
                }
                Place::Elsewhere
            }
            _ => Place::Elsewhere,
        };
    }

    /// `- - name`, `  - Label`, `  - number`.
    fn value(&mut self, text: &str, mut item: Vec<String>, depth: usize) -> Place {
        let inner = text.strip_prefix("- - ");
        if inner.is_some() {
            item.clear();
        }
        item.push(scalar(inner.unwrap_or(&text[1..])));
        if let [name, _, number] = &item[..]
            && let Ok(number) = number.parse()
        {
            self.metrics.insert(name.clone(), number);
        }
        Place::Values { depth, item }
    }

    fn missing(&self) -> Option<&'static str> {
        let words = [
            ("time", &self.time),
            ("transaction_uuid", &self.transaction_uuid),
            ("environment", &self.environment),
            ("status", &self.status),
        ];
        words.into_iter().find(|(_, value)| value.is_empty()).map(|(key, _)| key)
    }
}

/// Where in the report a line stands.
#[derive(Debug, Default)]
enum Place {
    #[default]
    Elsewhere,
    Metrics,
    Resources,
    Values {
        depth: usize,
        item: Vec<String>,
    },
}

/// A plain or quoted word.
fn scalar(text: &str) -> String {
    let text = text.trim();
    for quote in ['\'', '"'] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote)) {
            return inner.replace("''", "'");
        }
    }
    text.to_owned()
}

/// Reads a line into `line`; of a long one only the beginning. `false` at the end.
fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    loop {
        let buffer = from.fill_buf()?;
        if buffer.is_empty() {
            return Ok(!line.is_empty());
        }
        let end = memchr::memchr(b'\n', buffer);
        let part = &buffer[..end.unwrap_or(buffer.len())];
        let room = PUPPET_REPORT_LINE_BYTES_MAX.saturating_sub(line.len());
        line.extend_from_slice(&part[..part.len().min(room)]);
        let used = part.len() + usize::from(end.is_some());
        from.consume(used);
        if end.is_some() {
            line.push(b'\n');
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "--- !ruby/object:Puppet::Transaction::Report
host: node01.example.test
time: '2026-11-22T20:40:01.123456789+00:00'
configuration_version: 1795380001
transaction_uuid: 6b2f8e5c-4f0a-4a3c-9f0e-0a8d3a2a7a11
report_format: 12
status: changed
environment: production
logs:
- !ruby/object:Puppet::Util::Log
  level: :notice
  message: |-
    status: failed
    metrics:
  source: Puppet
metrics:
  resources: !ruby/object:Puppet::Util::Metric
    name: resources
    label: Resources
    values:
    - - total
      - Total
      - 8
    - - corrective_change
      - Corrective change
      - 1
  time: !ruby/object:Puppet::Util::Metric
    name: time
    label: Time
    values:
    - - file
      - File
      - 0.0041
resource_statuses:
  Notify[status]:
    status: failed
    events:
    - - total
      - Total
      - 9
corrective_change: true
";

    fn read(text: &str) -> io::Result<Report> {
        Report::read(text.as_bytes())
    }

    #[test]
    fn what_matters_is_found_and_what_looks_like_it_is_not() {
        let report = read(REPORT).unwrap();
        assert_eq!(report.time, "2026-11-22T20:40:01.123456789+00:00");
        assert_eq!(report.transaction_uuid, "6b2f8e5c-4f0a-4a3c-9f0e-0a8d3a2a7a11");
        assert_eq!((report.status.as_str(), report.environment.as_str()), ("changed", "production"));
        let metrics: Vec<(&str, f64)> = report.metrics.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(metrics, [("corrective_change", 1.0), ("total", 8.0)]);
    }

    #[test]
    fn keys_may_come_in_any_order_and_lists_may_be_indented() {
        let text = "metrics:\n  time:\n    values:\n      - - x\n        - X\n        - 1\n  resources:\n    values:\n\
                    \x20     - - total\n        - Total\n        - 3\nstatus: unchanged\ntime: 1\nenvironment: e\n\
                    transaction_uuid: u\n";
        assert_eq!(read(text).unwrap().metrics, [("total".to_owned(), 3.0)].into());
    }

    #[test]
    fn half_a_report_is_none() {
        assert!(read("--- x\nstatus: changed\n").unwrap_err().to_string().contains("it has no time"));
        assert!(read("").is_err());
        let long = format!("x: {}\n{REPORT}", "y".repeat(1_000_000));
        assert_eq!(read(&long).unwrap().status, "changed");
    }
}
