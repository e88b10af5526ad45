//! Values as text: bare, as strings show them, and quoted, as they stand within arrays and hashes.

use std::fmt::{self, Write};

use super::{Value, format_span, format_time};

/// Of a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without quotes, even within arrays and hashes: as strings show values.
    Bare,
    /// Without quotes for the outermost value only.
    Plain,
    /// In quotes.
    Quoted,
}

/// Writes `value`; secrets are not shown.
pub fn write(value: &Value, f: &mut fmt::Formatter<'_>, style: Style) -> fmt::Result {
    let inner = if style == Style::Bare { Style::Bare } else { Style::Quoted };
    match value {
        Value::Undef if style != Style::Quoted => Ok(()),
        Value::Undef => f.write_str("undef"),
        Value::Default => f.write_str("default"),
        Value::Boolean(value) => write!(f, "{value}"),
        Value::Integer(value) => write!(f, "{value}"),
        Value::Float(value) => f.write_str(&float(*value)),
        Value::String(text) if style != Style::Quoted => f.write_str(text),
        Value::String(text) => f.write_str(&quoted(text)),
        Value::Regexp(pattern) => write!(f, "/{}/", pattern.text.replace('/', "\\/")),
        Value::Array(items) => {
            f.write_char('[')?;
            for (index, item) in items.iter().enumerate() {
                f.write_str(if index > 0 { ", " } else { "" })?;
                write(item, f, inner)?;
            }
            f.write_char(']')
        }
        Value::Hash(hash) => {
            f.write_char('{')?;
            for (index, (key, value)) in hash.iter().enumerate() {
                f.write_str(if index > 0 { ", " } else { "" })?;
                write(key, f, inner)?;
                f.write_str(" => ")?;
                write(value, f, inner)?;
            }
            f.write_char('}')
        }
        Value::Type(data_type) => write!(f, "{data_type}"),
        Value::Sensitive(_) => f.write_str("Sensitive [value redacted]"),
        Value::Timestamp(nanoseconds) => f.write_str(&format_time(*nanoseconds)),
        Value::Timespan(nanoseconds) => f.write_str(&format_span(*nanoseconds)),
        Value::SemVer(version) => write!(f, "{version}"),
        Value::SemVerRange(range) => write!(f, "{range}"),
        Value::Uri(text) => f.write_str(text),
        Value::Binary(bytes) => f.write_str(&crate::puppet_lang::base64::encode(bytes)),
        Value::Object(object) => match object.attributes.get_text("name") {
            Some(Value::String(name)) if *object.class == *"Target" => f.write_str(name),
            _ => {
                write!(f, "{}(", object.class)?;
                write(&Value::Hash(std::sync::Arc::new(object.attributes.clone())), f, Style::Quoted)?;
                f.write_char(')')
            }
        },
    }
}

/// A string in single quotes, or in double quotes if it has what only they can show.
pub fn quoted(text: &str) -> String {
    let is_special = |c: char| c.is_control();
    if !text.contains(is_special) {
        return format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '"' | '\\' | '$' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{{{:X}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A float with at least one digit behind the point, and an exponent where it would be long.
pub fn float(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let mantissa = if mantissa.contains('.') { mantissa.to_owned() } else { format!("{mantissa}.0") };
        let (sign, digits) = exponent.strip_prefix('-').map_or(("+", exponent), |digits| ("-", digits));
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    format!("{value:?}")
}
