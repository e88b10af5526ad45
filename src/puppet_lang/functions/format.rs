//! Format texts as `sprintf` knows them: flags, width, precision and a letter, with values by position or by name.

use crate::puppet_lang::types::Type;
use crate::puppet_lang::value::Value;

/// Characters that a field may be wide, or have behind the point.
const WIDTH_MAX: usize = 10_000;

/// A placeholder.
#[derive(Default)]
struct Field {
    flags: String,
    width: usize,
    precision: Option<usize>,
    name: Option<String>,
}

/// The text with the values in the places of its placeholders.
pub fn format(text: &str, values: &[Value]) -> Result<String, String> {
    let mut out = String::new();
    let mut values_left = values.iter();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut field = Field::default();
        let letter = loop {
            match chars.next() {
                Some(c @ ('-' | '+' | ' ' | '0' | '#')) => field.flags.push(c),
                Some('*') => field.width = width(&next(&mut values_left)?)?,
                Some(c @ '1'..='9') => field.width = number(c, &mut chars)?,
                Some('.') => {
                    let first = chars.next_if(char::is_ascii_digit).unwrap_or('0');
                    field.precision = Some(number(first, &mut chars)?);
                }
                Some(open @ ('<' | '{')) => {
                    let close = if open == '<' { '>' } else { '}' };
                    field.name = Some(chars.by_ref().take_while(|c| *c != close).collect());
                    if open == '{' {
                        break 's';
                    }
                }
                Some(letter) => break letter,
                None => return Err("the format ends within a placeholder".to_owned()),
            }
        };
        if letter == '%' {
            out.push('%');
            continue;
        }
        let value = match (&field.name, values) {
            (Some(name), [Value::Hash(hash)]) => {
                hash.get_text(name).cloned().ok_or_else(|| format!("the hash has no key `{name}`"))?
            }
            (Some(name), _) => return Err(format!("`%<{name}>` expects one hash as argument")),
            (None, _) => next(&mut values_left)?,
        };
        let body = field.body(letter, &value)?;
        out.push_str(&field.padded(body, letter));
    }
    Ok(out)
}

fn next<'a>(values: &mut impl Iterator<Item = &'a Value>) -> Result<Value, String> {
    values.next().cloned().ok_or_else(|| "the format has more placeholders than there are values".to_owned())
}

fn width(value: &Value) -> Result<usize, String> {
    match value {
        Value::Integer(width) => usize::try_from(*width).ok().filter(|width| *width <= WIDTH_MAX),
        _ => None,
    }
    .ok_or_else(|| format!("a width is an integer from 0 to {WIDTH_MAX}"))
}

fn number(first: char, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<usize, String> {
    let mut digits = String::from(first);
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    let number = digits.parse().ok().filter(|width| *width <= WIDTH_MAX);
    number.ok_or_else(|| format!("a field can be {WIDTH_MAX} characters wide at most"))
}

fn integer(value: &Value) -> Result<i64, String> {
    let found = match value {
        Value::Integer(value) => Some(*value),
        Value::Float(value) if value.abs() < 9e18 => Some(value.floor() as i64),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    found.ok_or_else(|| format!("expected an integer, got {}", Type::of(value).generalized()))
}

fn float(value: &Value) -> Result<f64, String> {
    let found = match value {
        Value::Integer(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    found.ok_or_else(|| format!("expected a number, got {}", Type::of(value).generalized()))
}

/// `1.5e+00` as C writes it.
fn exponential(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

impl Field {
    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    fn body(&self, letter: char, value: &Value) -> Result<String, String> {
        let precision = self.precision.unwrap_or(6);
        let signed = |text: String| {
            let is_negative = text.starts_with('-');
            match (is_negative, self.has('+'), self.has(' ')) {
                (false, true, _) => format!("+{text}"),
                (false, false, true) => format!(" {text}"),
                _ => text,
            }
        };
        let radix = |prefix: &str, digits: fn(u64) -> String| -> Result<String, String> {
            let value = integer(value)?;
            let prefix = if self.has('#') { prefix } else { "" };
            let sign = if value < 0 { "-" } else { "" };
            Ok(signed(format!("{sign}{prefix}{}", digits(value.unsigned_abs()))))
        };
        Ok(match letter {
            's' => {
                let text = value.to_string();
                self.precision.map_or(text.clone(), |precision| text.chars().take(precision).collect())
            }
            'p' => crate::puppet_lang::value::Literal(value).to_string(),
            'd' | 'i' | 'u' => {
                let value = integer(value)?;
                let digits = format!("{:0>1$}", value.unsigned_abs(), self.precision.unwrap_or(0));
                signed(format!("{}{digits}", if value < 0 { "-" } else { "" }))
            }
            'x' => radix("0x", |value| format!("{value:x}"))?,
            'X' => radix("0X", |value| format!("{value:X}"))?,
            'o' => radix("0", |value| format!("{value:o}"))?,
            'b' => radix("0b", |value| format!("{value:b}"))?,
            'B' => radix("0B", |value| format!("{value:b}"))?,
            'f' => signed(format!("{:.precision$}", float(value)?)),
            'e' => signed(exponential(float(value)?, precision)),
            'E' => signed(exponential(float(value)?, precision).to_uppercase()),
            'g' | 'G' => signed(shortest(float(value)?, precision.max(1))),
            'c' => match value {
                Value::String(text) => text.chars().take(1).collect(),
                other => {
                    let code = u32::try_from(integer(other)?).ok().and_then(char::from_u32);
                    code.ok_or_else(|| "there is no such character".to_owned())?.to_string()
                }
            },
            other => return Err(format!("`%{other}` is no placeholder that is known")),
        })
    }

    fn padded(&self, body: String, letter: char) -> String {
        let missing = self.width.saturating_sub(body.chars().count());
        if missing == 0 {
            return body;
        }
        let pad = " ".repeat(missing);
        if self.has('-') {
            return body + &pad;
        }
        let is_number = !matches!((letter, self.precision), ('s' | 'p' | 'c', _) | ('d', Some(_)));
        if !self.has('0') || !is_number {
            return pad + &body;
        }
        let head = body.len() - body.trim_start_matches(['+', '-', ' ']).len();
        let prefix =
            ["0x", "0X", "0b", "0B"].iter().find(|prefix| body[head..].starts_with(**prefix)).map_or(0, |p| p.len());
        format!("{}{}{}", &body[..head + prefix], "0".repeat(missing), &body[head + prefix..])
    }
}

/// As many digits as `precision`, no zeros at the end, with an exponent where that is shorter.
fn shortest(value: f64, precision: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let scientific = exponential(value, precision - 1);
    let exponent: i32 = scientific.split('e').nth(1).and_then(|exponent| exponent.parse().ok()).unwrap_or(0);
    let trim = |text: &str| {
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() }
    };
    if exponent < -4 || exponent >= i32::try_from(precision).unwrap_or(i32::MAX) {
        let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "+00"));
        return format!("{}e{exponent}", trim(mantissa));
    }
    let decimals = usize::try_from(i32::try_from(precision).unwrap_or(0) - 1 - exponent).unwrap_or(0);
    trim(&format!("{value:.decimals$}"))
}
