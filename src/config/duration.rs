//! Durations as operators write them: HOCON's units (`90s`, `5 minutes`) and the weeks and years of Puppet's token
//! lifetimes.

use std::time::Duration;

/// What a number without a unit means; the reference differs from key to key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bare {
    /// As in HOCON and in the broker's settings.
    Milliseconds,
    /// As in pxp-agent's and the orchestrator's settings.
    Seconds,
}

/// Reads `<whole number><unit>`; spaces may stand between the two.
pub fn parse(text: &str, bare: Bare) -> Option<Duration> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    let unit_ms: u64 = match text[digits..].trim() {
        "" => match bare {
            Bare::Milliseconds => 1,
            Bare::Seconds => 1000,
        },
        "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1,
        "s" | "second" | "seconds" => 1000,
        "m" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        "w" | "week" | "weeks" => 7 * 86_400_000,
        "y" | "year" | "years" => 365 * 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit_ms).map(Duration::from_millis)
}

/// The shortest exact form, for messages.
pub fn show(duration: Duration) -> String {
    let ms = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    match units.iter().find(|(unit_ms, _)| ms > 0 && ms.is_multiple_of(*unit_ms)) {
        Some((unit_ms, unit)) => format!("{}{unit}", ms / unit_ms),
        None => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_bare_numbers() {
        assert_eq!(parse("90s", Bare::Milliseconds), Some(Duration::from_secs(90)));
        assert_eq!(parse("5 minutes", Bare::Milliseconds), Some(Duration::from_secs(300)));
        assert_eq!(parse("360000", Bare::Milliseconds), Some(Duration::from_secs(360)));
        assert_eq!(parse("120", Bare::Seconds), Some(Duration::from_secs(120)));
        assert_eq!(parse("10y", Bare::Seconds), Some(Duration::from_secs(3650 * 86_400)));
        assert_eq!(parse("-1s", Bare::Seconds), None);
        assert_eq!(parse("s", Bare::Seconds), None);
        assert_eq!(parse("1 fortnight", Bare::Seconds), None);
        assert_eq!(parse("99999999999999999y", Bare::Seconds), None);
    }

    #[test]
    fn shown_in_the_largest_unit_that_fits() {
        assert_eq!(show(Duration::from_secs(90)), "90s");
        assert_eq!(show(Duration::from_secs(86_400)), "1d");
        assert_eq!(show(Duration::from_millis(1500)), "1500ms");
        assert_eq!(show(Duration::ZERO), "0ms");
    }
}
