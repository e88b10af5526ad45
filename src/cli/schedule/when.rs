//! When: a start and an interval, or a time of day on some days. Times without an offset are those of a time zone, which is
//! this host's if none is named.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::cli::output::Failure;

/// When a job is started.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "When")]
pub(super) struct WhenFlags {
    /// First run: 2026-03-02T02:00, in --zone, or with an offset 2026-03-02T01:00:00Z
    #[arg(long, value_name = "TIME", required_unless_present = "at")]
    start: Option<String>,
    /// Again after so long: a number with s, m, h, d or w [default: one run]
    #[arg(long, value_name = "INTERVAL", conflicts_with = "at")]
    every: Option<String>,
    /// At this time of day, in --zone, summer and winter alike; from now on if there is no --start
    #[arg(long, value_name = "HH:MM")]
    at: Option<String>,
    /// Only on these days, separated by commas: mon,tue,wed,thu,fri,sat,sun [default: all]
    #[arg(long, value_name = "DAYS", value_delimiter = ',', requires = "at")]
    days: Vec<String>,
    /// Time zone, such as Europe/Zurich [default: this host's]
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
}

impl WhenFlags {
    /// The key `schedule` of a request.
    pub(super) fn schedule(&self) -> Result<Value, Failure> {
        let mut schedule = json!({});
        if let Some(start) = &self.start {
            schedule["start_time"] = json!(self.instant(start)?);
        }
        if let Some(every) = &self.every {
            schedule["interval"] = json!({"units": "seconds", "value": seconds(every)?});
        }
        if let Some(at) = &self.at {
            let zone = match &self.zone {
                Some(zone) => zone.clone(),
                None => TimeZone::system().iana_name().unwrap_or("UTC").to_owned(),
            };
            schedule["calendar"] = json!({"zone": zone, "at": at});
            if !self.days.is_empty() {
                schedule["calendar"]["days"] = json!(self.days);
            }
        }
        Ok(schedule)
    }

    fn instant(&self, text: &str) -> Result<String, Failure> {
        if let Ok(timestamp) = text.parse::<Timestamp>() {
            return Ok(timestamp.to_string());
        }
        let zone = match &self.zone {
            None => TimeZone::system(),
            Some(zone) => TimeZone::get(zone).map_err(|_| {
                Failure::Usage(format!("--zone: this host knows no time zone {zone:?}; give one such as Europe/Zurich"))
            })?,
        };
        let zoned = text.parse::<DateTime>().ok().and_then(|time| time.to_zoned(zone).ok());
        zoned.map(|zoned| zoned.timestamp().to_string()).ok_or_else(|| {
            Failure::Usage(format!(
                "--start: {text:?} is no time; give one such as 2026-03-02T02:00, or with its offset"
            ))
        })
    }
}

fn seconds(text: &str) -> Result<u64, Failure> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        "w" => Some(7 * 86_400),
        _ => None,
    };
    let seconds = unit.zip(number.parse::<u64>().ok()).and_then(|(unit, number)| number.checked_mul(unit));
    seconds.filter(|seconds| *seconds > 0).ok_or_else(|| {
        Failure::Usage(format!("--every: {text:?} is no interval; give a number with s, m, h, d or w, such as 12h"))
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        when: WhenFlags,
    }

    fn schedule(line: &str) -> Result<Value, String> {
        let words = std::iter::once("x").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.kind().to_string())?;
        line.when.schedule().map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn what_is_asked_for() {
        let utc = json!({"start_time": "2026-03-02T01:00:00Z"});
        assert_eq!(schedule("--start 2026-03-02T01:00:00Z").unwrap(), utc);
        assert_eq!(schedule("--start 2026-03-02T02:00:00+01:00").unwrap(), utc);
        assert_eq!(schedule("--start 2026-03-02T01:00 --zone UTC").unwrap(), utc);
        let daily = json!({"start_time": "2026-03-02T01:00:00Z", "interval": {"units": "seconds", "value": 86400}});
        assert_eq!(schedule("--start 2026-03-02T01:00:00Z --every 1d").unwrap(), daily);
        let calendar = json!({"calendar": {"zone": "Europe/Zurich", "at": "02:30", "days": ["mon", "fri"]}});
        assert_eq!(schedule("--at 02:30 --days mon,fri --zone Europe/Zurich").unwrap(), calendar);
        assert!(schedule("--at 02:30").unwrap()["calendar"]["zone"].is_string());
    }

    #[test]
    fn what_makes_no_sense() {
        for line in ["", "--every 1d", "--at 02:30 --every 1d", "--start 2026-03-02T01:00:00Z --days mon"] {
            assert!(schedule(line).is_err(), "{line}");
        }
        for every in ["1", "d", "0d", "1 d", "1y", "-1d", "99999999999999999999d", "9999999999999999999w"] {
            let when = WhenFlags { every: Some(every.into()), ..WhenFlags::default() };
            assert!(when.schedule().is_err(), "{every}");
        }
        assert!(schedule("--start tomorrow").unwrap_err().contains("--start: \\\"tomorrow\\\" is no time"));
        assert!(schedule("--start 2026-03-02T01:00 --zone Nowhere").unwrap_err().contains("--zone: "));
    }
}
