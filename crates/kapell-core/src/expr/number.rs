//! Numbers as GitHub reads and writes them.

/// Reads a number as GitHub coerces text to one: NaN if it is none, 0 if there is nothing but white space.
///
/// Hexadecimal and octal numbers are 32 bits wide and signed, as in the runner.
pub(super) fn parse(text: &str) -> f64 {
    let text = text.trim();
    if text.is_empty() {
        return 0.0;
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let plain = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
            return match u32::from_str_radix(digits, radix) {
                Ok(bits) if plain => f64::from(bits.cast_signed()),
                _ => f64::NAN,
            };
        }
    }
    match text {
        "Infinity" | "+Infinity" => return f64::INFINITY,
        "-Infinity" => return f64::NEG_INFINITY,
        _ => {}
    }
    // Rust also reads "inf" and "nan" in any case; GitHub does not.
    if text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E')) {
        text.parse().unwrap_or(f64::NAN)
    } else {
        f64::NAN
    }
}

/// Writes a number as GitHub does: .NET's format `G15`.
pub(super) fn print(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    if number == 0.0 {
        return "0".into();
    }
    // Whole numbers of at most 15 digits are what nearly all are, and integers are written ten times as fast.
    if number.fract() == 0.0 && number.abs() < 1e15 {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole, and fits")]
        return (number as i64).to_string();
    }
    let scientific = format!("{number:.14e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        digits => digits,
    };
    if !(-5 < exponent && exponent < 15) {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        return format!("{sign}{first}{point}{rest}E{exponent:+03}");
    }
    match usize::try_from(exponent + 1) {
        Ok(whole) if whole > 0 && whole < digits.len() => {
            format!("{sign}{}.{}", &digits[..whole], &digits[whole..])
        }
        Ok(whole) if whole > 0 => format!("{sign}{digits:0<whole$}"),
        _ => format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1).unsigned_abs() as usize)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_dotnet_writes_them() {
        let cases = [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (10.0, "10"),
            (0.1 + 0.2, "0.3"),
            (1e14, "100000000000000"),
            (1e15, "1E+15"),
            (1.25e20, "1.25E+20"),
            (0.0001, "0.0001"),
            (0.000_01, "1E-05"),
            (1.0 / 3.0, "0.333333333333333"),
            (999_999_999_999_999.9, "1E+15"),
            (1e100, "1E+100"),
        ];
        for (number, text) in cases {
            assert_eq!(print(number), text);
        }
    }

    #[test]
    fn text_is_read_as_the_runner_reads_it() {
        let cases = [
            ("", 0.0),
            ("  ", 0.0),
            (" 42 ", 42.0),
            ("0xff", 255.0),
            ("0xFFFFFFFF", -1.0),
            ("0o17", 15.0),
            ("1e3", 1000.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("Infinity", f64::INFINITY),
            ("+Infinity", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
        ];
        for (text, number) in cases {
            assert_eq!(parse(text).to_bits(), number.to_bits(), "{text}");
        }
        for text in ["inf", "nan", "NaN", "1_000", "0x", "0x1FFFFFFFF", "0x+1", "1-2", "١", "-0x1", "e", "."]
        {
            assert!(parse(text).is_nan(), "{text}");
        }
    }
}
