//! Points and lengths of time as text.

use jiff::civil::DateTime;

const SECOND: i128 = 1_000_000_000;
const MINUTE: i128 = 60 * SECOND;
const HOUR: i128 = 60 * MINUTE;
const DAY: i128 = 24 * HOUR;

/// `2026-01-02T03:04:05.000000000 UTC`.
pub fn format_time(nanoseconds: i128) -> String {
    let Ok(time) = jiff::Timestamp::from_nanosecond(nanoseconds) else { return nanoseconds.to_string() };
    format!("{} UTC", time.strftime("%Y-%m-%dT%H:%M:%S.%9f"))
}

/// Reads a date, with a time and an offset from UTC if they are there.
pub fn parse_time(text: &str) -> Option<i128> {
    let text = text.trim();
    let zoned = text.strip_suffix("UTC").or_else(|| text.strip_suffix("GMT")).map(|text| text.trim_end().to_owned());
    let civil = zoned.as_deref().unwrap_or(text);
    if zoned.is_none()
        && let Ok(time) = civil.replacen(" +", "+", 1).replacen(" -", "-", 1).parse::<jiff::Timestamp>()
    {
        return Some(time.as_nanosecond());
    }
    let civil: DateTime = match civil.len() {
        10 => civil.parse::<jiff::civil::Date>().ok()?.to_datetime(jiff::civil::Time::midnight()),
        _ if civil.ends_with(['Z', 'z']) => return None,
        _ => civil.parse().ok()?,
    };
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_nanosecond())
}

/// `1-02:03:04.5`: days, hours, minutes, seconds.
pub fn format_span(nanoseconds: i128) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let span = nanoseconds.abs();
    let (days, hours) = (span / DAY, span % DAY / HOUR);
    let (minutes, seconds) = (span % HOUR / MINUTE, span % MINUTE / SECOND);
    let fraction = format!("{:09}", span % SECOND);
    let fraction = Some(fraction.trim_end_matches('0')).filter(|text| !text.is_empty()).unwrap_or("0");
    format!("{sign}{days}-{hours:02}:{minutes:02}:{seconds:02}.{fraction}")
}

/// Reads what [`format_span`] writes; leading parts and the fraction may be missing.
pub fn parse_span(text: &str) -> Option<i128> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
    let number = |text: &str| Some(text).filter(|text| text.len() <= 12 && !text.starts_with('+'))?.parse::<u64>().ok();
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (number(days)?, rest),
        None => (0, text),
    };
    let (clock, fraction) = rest.split_once('.').map_or((rest, None), |(clock, fraction)| (clock, Some(fraction)));
    let parts: Vec<u64> = clock.split(':').map(number).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = match (parts.as_slice(), fraction) {
        ([hours, minutes, seconds], _) => [*hours, *minutes, *seconds],
        ([hours, minutes], None) if rest.len() < text.len() => [*hours, *minutes, 0],
        ([minutes, seconds], Some(_)) => [0, *minutes, *seconds],
        ([seconds], _) if rest.len() == text.len() => [0, 0, *seconds],
        _ => return None,
    };
    let fraction = match fraction {
        Some(digits) if (1..=9).contains(&digits.len()) => i128::from(number(&format!("{digits:0<9}"))?),
        Some(_) => return None,
        None => 0,
    };
    let [days, hours, minutes, seconds] = [days, hours, minutes, seconds].map(i128::from);
    Some(sign * (days * DAY + hours * HOUR + minutes * MINUTE + seconds * SECOND + fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        assert_eq!(format_time(3 * SECOND), "1970-01-01T00:00:03.000000000 UTC");
        for text in ["1970-01-01T00:00:03.000000000 UTC", "1970-01-01T01:00:03+01:00", "1970-01-01 00:00:03"] {
            assert_eq!(parse_time(text), Some(3 * SECOND), "{text}");
        }
        assert_eq!(parse_time("2000-01-01"), Some(946_684_800 * SECOND));
        assert_eq!(format_span(-DAY - 3 * SECOND - SECOND / 2), "-1-00:00:03.5");
        for text in ["1-00:00:03.5", "24:00:03.5", "1440:03.5", "86403.5"] {
            assert_eq!(parse_span(text), Some(DAY + 3 * SECOND + SECOND / 2), "{text}");
        }
        for text in ["", "x", "1:2:3:4", "1-", "1.x", "+1", "1.0000000000"] {
            assert_eq!(parse_span(text), None, "{text}");
        }
    }
}
