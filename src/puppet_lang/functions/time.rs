//! Points and lengths of time as text.

use super::{Arguments, Function};
use crate::puppet_lang::eval::{Evaluator, Outcome};
use crate::puppet_lang::value::Value;

pub const TABLE: &[Function] = &[Function {
    name: "strftime",
    signatures: &["Timestamp, String, Optional[String], 2, 3", "Timespan, String"],
    doc: "A time as text, by a format like `%Y-%m-%d` or, for lengths of time, `%H:%M:%S`.",
    run: strftime,
}];

fn strftime(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let format = arguments.text(1);
    let formatted = match arguments.value(0) {
        Value::Timestamp(time) => point(time, format, arguments.text(2)),
        Value::Timespan(span) => length(span, format),
        _ => Ok(String::new()),
    };
    let text = evaluator.at(arguments.at, formatted)?;
    evaluator.account(arguments.at, text.into())
}

/// Ruby's letters that jiff does not know are put into what it knows.
fn point(nanoseconds: i128, format: &str, zone: &str) -> Result<String, String> {
    let time = jiff::Timestamp::from_nanosecond(nanoseconds).map_err(|error| error.to_string())?;
    let zone = match zone {
        "" | "default" | "UTC" | "GMT" | "Z" => jiff::tz::TimeZone::UTC,
        name => offset(name)
            .or_else(|| jiff::tz::TimeZone::get(name).ok())
            .ok_or_else(|| format!("there is no time zone `{name}`"))?,
    };
    let millisecond = format!("{:03}", nanoseconds.rem_euclid(1_000_000_000) / 1_000_000);
    let format = format.replace("%L", &millisecond).replace("%N", "%9f").replace("%3N", &millisecond);
    let format = format.replace("%c", "%a %b %e %H:%M:%S %Y");
    let zoned = time.to_zoned(zone);
    jiff::fmt::strtime::format(&format, &zoned).map_err(|error| format!("the format cannot be used: {error}"))
}

/// `+02:00`.
fn offset(text: &str) -> Option<jiff::tz::TimeZone> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let digits = digits.replace(':', "");
    let hours: i32 = digits.get(..2)?.parse().ok()?;
    let minutes: i32 = digits.get(2..4)?.parse().ok()?;
    jiff::tz::Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok().map(jiff::tz::TimeZone::fixed)
}

/// The largest unit of the format takes all that is above it.
fn length(nanoseconds: i128, format: &str) -> Result<String, String> {
    let units = [('D', 86_400_000_000_000), ('H', 3_600_000_000_000), ('M', 60_000_000_000), ('S', 1_000_000_000)];
    let is_used = |letter: char| {
        format.replace("%%", "").contains(&format!("%{letter}")) || format.contains(&format!("%-{letter}"))
    };
    let mut text = String::from(if nanoseconds < 0 { "-" } else { "" });
    let span = nanoseconds.abs();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let mut next = chars.next();
        let is_bare = next == Some('-');
        if is_bare {
            next = chars.next();
        }
        match next {
            Some('%') => text.push('%'),
            Some('L') => text.push_str(&format!("{:03}", span % 1_000_000_000 / 1_000_000)),
            Some('N') => {
                let fraction = format!("{:09}", span % 1_000_000_000);
                let bare = Some(fraction.trim_end_matches('0')).filter(|text| !text.is_empty()).unwrap_or("0");
                text.push_str(if is_bare { bare } else { &fraction });
            }
            Some(letter) => {
                let Some(index) = units.iter().position(|(unit, _)| *unit == letter) else {
                    return Err(format!("`%{letter}` means nothing for a length of time"));
                };
                let above = units[..index].iter().rev().find(|(unit, _)| is_used(*unit)).map(|(_, size)| *size);
                let value = above.map_or(span, |above| span % above) / units[index].1;
                let width = if is_bare || letter == 'D' { 1 } else { 2 };
                text.push_str(&format!("{value:0width$}"));
            }
            None => return Err("the format ends within a `%`".to_owned()),
        }
    }
    Ok(text)
}
