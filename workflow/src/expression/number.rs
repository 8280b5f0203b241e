//! Numbers as JavaScript reads and writes them: what a text is as a number, and how a number looks as text.
//!
//! Rules: ECMA-262, "StringToNumber" and "Number::toString"; actions/languageservices `expressions/src/data/number.ts`.

/// What a text is as a number; not-a-number when it is none. The empty text is 0.
pub(crate) fn parse(text: &str) -> f64 {
    let text = text.trim();
    if text.is_empty() {
        return 0.0;
    }
    let radix = |digits: &str, radix: u32| {
        let step = |sum: f64, c: char| Some(sum * f64::from(radix) + f64::from(c.to_digit(radix)?));
        let sum = digits.chars().try_fold(0.0, step);
        sum.filter(|_| !digits.is_empty()).unwrap_or(f64::NAN)
    };
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o").or_else(|| text.strip_prefix("0O")) {
        return radix(digits, 8);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned == "Infinity" {
        return if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    // What Rust reads beyond this ("inf", "nan") is no number here.
    if is_decimal(unsigned) { text.parse().unwrap_or(f64::NAN) } else { f64::NAN }
}

/// `12`, `1.5`, `.5`, `1.`, `1e-3`: at least one digit before the exponent, and one in it.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_digit = !whole.is_empty() || !decimals.is_empty();
    let exponent_fine = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    has_digit && digits(whole) && digits(decimals) && exponent_fine
}

/// A number as an expression writes it: rounded to 15 decimals, so that `0.1 + 0.2` would not show its error; never `-0`.
pub(crate) fn coerce(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    if !number.is_finite() || number.abs() >= 1e21 {
        return exact(number);
    }
    exact(fixed_15(number).parse().unwrap_or(number))
}

/// The number with 15 decimals; halves go up, as in JavaScript, where Rust would round them to even.
fn fixed_15(number: f64) -> String {
    let magnitude = number.abs();
    // Exactly half of the last decimal is possible only for multiples of 2^-16 with 16 decimals, the last a 5.
    let is_half = (magnitude * 65_536.0).fract() == 0.0 && format!("{magnitude:.16}").ends_with('5');
    let rounded = if is_half { round_up(&format!("{magnitude:.16}")) } else { format!("{magnitude:.15}") };
    if number < 0.0 { format!("-{rounded}") } else { rounded }
}

/// A decimal without its last digit, the digit before it one higher.
fn round_up(decimal: &str) -> String {
    let mut digits = decimal.as_bytes()[..decimal.len() - 1].to_vec();
    for digit in digits.iter_mut().rev().filter(|digit| **digit != b'.') {
        if *digit != b'9' {
            *digit += 1;
            return String::from_utf8_lossy(&digits).into_owned();
        }
        *digit = b'0';
    }
    format!("1{}", String::from_utf8_lossy(&digits))
}

/// The shortest text that reads as this number again, laid out as JavaScript does.
pub(crate) fn exact(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if number == 0.0 {
        return "0".to_owned();
    }
    let magnitude = number.abs();
    let sign = if number < 0.0 { "-" } else { "" };
    if (1e-6..1e21).contains(&magnitude) {
        return format!("{number}");
    }
    let scientific = format!("{magnitude:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let plus = if exponent.starts_with('-') { "" } else { "+" };
    format!("{sign}{mantissa}e{plus}{exponent}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_javascript_reads_them() {
        for (text, number) in [
            ("", 0.0),
            ("  ", 0.0),
            ("12", 12.0),
            (" +1.5 ", 1.5),
            ("-.5", -0.5),
            ("1.", 1.0),
            ("1e3", 1000.0),
            ("1E-2", 0.01),
            ("0xFf", 255.0),
            ("0o17", 15.0),
            ("0010", 10.0),
            ("Infinity", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("1e999", f64::INFINITY),
        ] {
            assert_eq!(parse(text), number, "{text:?}");
        }
        for text in ["x", ".", "1e", "e1", "-0x1", "0x", "0o8", "inf", "nan", "NaN", "1_0", "1 2", "infinity"]
        {
            assert!(parse(text).is_nan(), "{text:?}");
        }
    }

    #[test]
    fn numbers_are_written_as_javascript_writes_them() {
        for (number, text) in [
            (-0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (123_456.789, "123456.789"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (1e-6, "0.000001"),
            (1.25e-7, "1.25e-7"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(exact(number), text);
        }
        assert_eq!(coerce(0.1 + 0.2), "0.3");
        assert_eq!(coerce(1e-16), "0");
        assert_eq!(coerce(-1e-15), "-1e-15");
        assert_eq!(coerce(0.845_512_408_225_570_1), "0.84551240822557");
        // 2^-16 has 16 decimals, the last a 5.
        assert_eq!(coerce(2f64.powi(-16)), "0.000015258789063");
        assert_eq!(coerce(-(2f64.powi(-16))), "-0.000015258789063");
        assert_eq!(coerce(1.0 + 2f64.powi(-16)), "1.000015258789063");
        assert_eq!(round_up("9.95"), "10.0");
        assert_eq!(coerce(1e22), "1e+22");
    }
}
