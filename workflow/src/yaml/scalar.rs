//! What a scalar is: YAML 1.2's core schema (section 10.3.2), and explicit tags of it.

/// A scalar.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scalar {
    /// As written, without quotes.
    pub text: String,
    /// What it is.
    pub plain: Plain,
}

/// The type and value of a scalar; what is quoted is text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Plain {
    Null,
    Boolean(bool),
    Number(f64),
    Text,
}

impl Scalar {
    /// As text, where text is asked for: `null` is none, `0x10` is 16.
    pub(crate) fn as_text(&self) -> String {
        match self.plain {
            Plain::Null => String::new(),
            Plain::Boolean(value) => value.to_string(),
            Plain::Number(value) => number_text(value),
            Plain::Text => self.text.clone(),
        }
    }
}

impl Plain {
    /// What a plain scalar without a tag is.
    pub(crate) fn of(text: &str) -> Self {
        // Most scalars begin with a letter that none of the words below begins with.
        if !text.starts_with(|c: char| "~nNtTfF.+-0123456789".contains(c)) && !text.is_empty() {
            return Self::Text;
        }
        null(text).or_else(|| boolean(text)).or_else(|| number(text, true)).unwrap_or(Self::Text)
    }

    /// What a scalar with a tag of the core schema is; none when its text does not fit the tag, or the tag is no
    /// scalar's.
    pub(crate) fn tagged(tag: &str, text: &str) -> Option<Self> {
        match tag {
            "str" => Some(Self::Text),
            "null" => null(text),
            "bool" => boolean(text),
            "int" => number(text, false),
            "float" => number(text, true),
            _ => None,
        }
    }
}

fn null(text: &str) -> Option<Plain> {
    matches!(text, "" | "~" | "null" | "Null" | "NULL").then_some(Plain::Null)
}

fn boolean(text: &str) -> Option<Plain> {
    match text {
        "true" | "True" | "TRUE" => Some(Plain::Boolean(true)),
        "false" | "False" | "FALSE" => Some(Plain::Boolean(false)),
        _ => None,
    }
}

fn number(text: &str, fractions: bool) -> Option<Plain> {
    let radix = |digits: &str, radix: u32| {
        let step = |sum: f64, c: char| Some(sum * f64::from(radix) + f64::from(c.to_digit(radix)?));
        digits.chars().try_fold(0.0, step).filter(|_| !digits.is_empty())
    };
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16).map(Plain::Number);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8).map(Plain::Number);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if fractions && matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        let infinity = if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY };
        return Some(Plain::Number(infinity));
    }
    if fractions && matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Some(Plain::Number(f64::NAN));
    }
    let allowed = |b: u8| b.is_ascii_digit() || (fractions && matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    let is_number =
        unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') && unsigned.bytes().all(allowed);
    // Rust's own rule is the schema's for what is made of these letters.
    if is_number { text.parse().ok().map(Plain::Number) } else { None }
}

/// A number of a file as text: 15 significant digits, as GitHub's service writes it (.NET's `G15`).
pub(crate) fn number_text(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if number == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{number:.14e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
    if !(-4..15).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}E{sign}{:02}", exponent.abs());
    }
    let decimals = usize::try_from(14 - exponent).unwrap_or(0);
    let fixed = format!("{number:.decimals$}");
    match fixed.contains('.') {
        true => fixed.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => fixed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_have_the_types_of_the_core_schema() {
        for text in ["", "~", "null", "Null", "NULL"] {
            assert_eq!(Plain::of(text), Plain::Null, "{text}");
        }
        for (text, value) in
            [("true", true), ("True", true), ("TRUE", true), ("false", false), ("FALSE", false)]
        {
            assert_eq!(Plain::of(text), Plain::Boolean(value));
        }
        for (text, value) in [
            ("0", 0.0),
            ("+12", 12.0),
            ("-12", -12.0),
            ("0755", 755.0),
            ("0o10", 8.0),
            ("0xfF", 255.0),
            ("1.5", 1.5),
            ("1.", 1.0),
            (".5", 0.5),
            ("-.5e-1", -0.05),
            ("1e3", 1000.0),
            (".inf", f64::INFINITY),
            ("-.INF", f64::NEG_INFINITY),
            ("1e999", f64::INFINITY),
        ] {
            assert_eq!(Plain::of(text), Plain::Number(value), "{text}");
        }
        assert!(matches!(Plain::of(".nan"), Plain::Number(n) if n.is_nan()));
        for text in [
            "yes",
            "on",
            "nUll",
            "tRUE",
            "12_345",
            "0X1",
            "-0x1",
            "0o8",
            "1.2.3",
            "1e",
            "e1",
            ".",
            "+",
            "-",
            "inf",
            "1+1",
            "2026-01-01",
        ] {
            assert_eq!(Plain::of(text), Plain::Text, "{text}");
        }
    }

    #[test]
    fn a_tag_decides_and_must_fit() {
        assert_eq!(Plain::tagged("str", "1"), Some(Plain::Text));
        assert_eq!(Plain::tagged("int", "0x10"), Some(Plain::Number(16.0)));
        assert_eq!(Plain::tagged("float", "1"), Some(Plain::Number(1.0)));
        assert_eq!(Plain::tagged("bool", "FALSE"), Some(Plain::Boolean(false)));
        assert_eq!(Plain::tagged("null", ""), Some(Plain::Null));
        for (tag, text) in
            [("int", "1.5"), ("int", ".inf"), ("float", "x"), ("bool", "yes"), ("null", "x"), ("binary", "x")]
        {
            assert_eq!(Plain::tagged(tag, text), None, "{tag} {text}");
        }
    }

    /// The values that GitHub's reader tests record.
    #[test]
    fn numbers_have_fifteen_digits() {
        for (number, text) in [
            (0.845_512_408_225_570_1, "0.84551240822557"),
            (123_456.0, "123456"),
            (123_456.123_456, "123456.123456"),
            (1_587_106_672_383_762_434.0, "1.58710667238376E+18"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::NAN, "NaN"),
            (-0.0, "0"),
            (1.10, "1.1"),
            (1e-5, "1E-05"),
            (0.0001, "0.0001"),
            (1e14, "100000000000000"),
            (1e15, "1E+15"),
            (-2.5, "-2.5"),
        ] {
            assert_eq!(number_text(number), text);
        }
    }
}
