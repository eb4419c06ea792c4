//! Values from text: counts, durations, sizes, choices, addresses, URLs.
//!
//! An error says what is allowed, beginning with `must`; it never repeats the value.

use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use url::Url;

use crate::auth::KeyUrl;
use crate::broker::address::Address;

/// What is allowed instead.
pub type Allowed = String;

/// 1,024 bytes.
pub const KIB: usize = 1_024;
/// 1,024 KiB.
pub const MIB: usize = 1_024 * KIB;
/// 1,024 MiB.
pub const GIB: usize = 1_024 * MIB;

/// Reads a whole number within bounds.
pub fn count<T>(text: &str, min: T, max: T) -> Result<T, Allowed>
where
    T: FromStr + PartialOrd + Display,
{
    match text.parse::<T>() {
        Ok(number) if number >= min && number <= max => Ok(number),
        Ok(_) | Err(_) => Err(format!("must be a whole number from {min} to {max}")),
    }
}

/// Reads `true` or `false`.
pub fn boolean(text: &str) -> Result<bool, Allowed> {
    choice(text, &[("true", true), ("false", false)])
}

/// Reads one of a few words.
pub fn choice<T: Clone>(text: &str, words: &[(&str, T)]) -> Result<T, Allowed> {
    match words.iter().find(|(word, _)| *word == text) {
        Some((_, value)) => Ok(value.clone()),
        None => {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Err(format!("must be {}", listed(&words)))
        }
    }
}

/// Joins words as `a, b or c`.
pub fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// Reads a duration: whole seconds, or a whole number with `ms`, `s`, `m`, `h` or `d`.
pub fn duration(text: &str, min: Duration, max: Duration) -> Result<Duration, Allowed> {
    let units = [
        ("ms", 1),
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
    ];
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[number.len()..] {
        "" => Some(1_000),
        given => units
            .iter()
            .find(|(unit, _)| *unit == given)
            .map(|(_, ms)| *ms),
    };
    unit.and_then(|ms: u64| digits(number)?.checked_mul(ms))
        .map(Duration::from_millis)
        .filter(|given| (min..=max).contains(given))
        .ok_or_else(|| {
            let (min, max) = (shown(min), shown(max));
            format!("must be a duration from {min} to {max}, such as 250ms, 5s or 1h")
        })
}

/// Reads a duration of whole seconds.
pub fn seconds(text: &str, min_s: u64, max_s: u64) -> Result<Duration, Allowed> {
    let (min, max) = (Duration::from_secs(min_s), Duration::from_secs(max_s));
    let given = duration(text, min, max)?;
    if given.subsec_nanos() == 0 {
        Ok(given)
    } else {
        Err(String::from(
            "must be a duration of whole seconds, such as 5s or 1h",
        ))
    }
}

/// Reads a size: bytes, or a whole number with `KiB`, `MiB` or `GiB`.
pub fn bytes(text: &str, min: usize, max: usize) -> Result<usize, Allowed> {
    let units = [("KiB", KIB), ("MiB", MIB), ("GiB", GIB)];
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[number.len()..] {
        "" => Some(1),
        given => units
            .iter()
            .find(|(unit, _)| *unit == given)
            .map(|(_, bytes)| *bytes),
    };
    unit.and_then(|unit| usize::try_from(digits(number)?).ok()?.checked_mul(unit))
        .filter(|given| (min..=max).contains(given))
        .ok_or_else(|| {
            format!("must be a size from {min} to {max} bytes, such as 65536, 64KiB or 1MiB")
        })
}

/// Reads a text of a bounded length without control characters.
pub fn words(text: &str, bytes_min: usize, bytes_max: usize) -> Result<String, Allowed> {
    if (bytes_min..=bytes_max).contains(&text.len()) && !text.contains(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "must be a text of {bytes_min} to {bytes_max} bytes"
        ))
    }
}

/// Reads a name that is safe in logs, metrics and channel names.
pub fn name(text: &str) -> Result<String, Allowed> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if (1..=128).contains(&text.len()) && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(String::from(
            "must be 1 to 128 of the characters A-Z a-z 0-9 - _ . @",
        ))
    }
}

/// Reads an address to listen on.
pub fn address(text: &str) -> Result<SocketAddr, Allowed> {
    text.parse()
        .map_err(|_| String::from("must be IP:PORT, such as 127.0.0.1:4000 or [::]:4000"))
}

/// Reads the URL of a Redis or Valkey server, of one behind sentinels, or of a cluster.
pub fn redis_url(text: &str) -> Result<String, Allowed> {
    Address::parse(text).map(|_| text.to_owned())
}

/// Reads the URL of a database.
pub fn database_url(text: &str) -> Result<String, Allowed> {
    let sqlite = text
        .strip_prefix("sqlite://")
        .is_some_and(|path| !path.is_empty());
    let postgres =
        Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "postgres" | "postgresql"));
    if text == "sqlite::memory:" || sqlite || postgres {
        Ok(text.to_owned())
    } else {
        Err(String::from(
            "must be sqlite://FILE, sqlite::memory: or postgres://USER@HOST/DATABASE",
        ))
    }
}

/// Reads the URL of a JWK Set.
pub fn key_url(text: &str) -> Result<KeyUrl, Allowed> {
    KeyUrl::parse(text).ok_or_else(|| {
        String::from(
            "must be https://HOST/PATH, or http:// to this machine, without a user or password",
        )
    })
}

/// Reads levels of the log: one, or some of them for single modules.
pub fn log_level(text: &str) -> Result<String, Allowed> {
    let level = |word: &str| matches!(word, "off" | "error" | "warn" | "info" | "debug" | "trace");
    let directive = |one: &str| match one.split_once('=') {
        Some((target, word)) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
            !target.is_empty() && target.chars().all(plain) && level(word)
        }
        None => level(one),
    };
    if text.split(',').all(directive) {
        Ok(text.to_owned())
    } else {
        Err(String::from(
            "must be off, error, warn, info, debug or trace, or several such as info,fanfare::broker=debug",
        ))
    }
}

/// Writes levels of the log as `tracing` directives: a level alone is Fanfare's own.
///
/// Other crates log what passes through them at `debug` and `trace`: headers, frames, tokens. They stay at
/// `info` unless they are named, as in `info,tungstenite=trace`.
pub fn log_directives(levels: &str) -> String {
    let directive = |one: &str| match one {
        "debug" | "trace" => format!("info,fanfare={one}"),
        other => other.to_owned(),
    };
    levels
        .split(',')
        .map(directive)
        .collect::<Vec<_>>()
        .join(",")
}

/// Parses digits alone: no sign, no space, no fraction.
fn digits(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// Writes a duration in the largest unit that holds it whole.
fn shown(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0 => String::from("0s"),
        _ if ms.is_multiple_of(86_400_000) => format!("{}d", ms / 86_400_000),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        _ => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_or_are_seconds() {
        let check = |text: &str, ms: Option<u64>| {
            let read = duration(text, Duration::ZERO, Duration::from_secs(864_000));
            assert_eq!(read.ok(), ms.map(Duration::from_millis), "{text}");
        };
        check("250ms", Some(250));
        check("5s", Some(5_000));
        check("5", Some(5_000));
        check("0", Some(0));
        check("2m", Some(120_000));
        check("1h", Some(3_600_000));
        check("10d", Some(864_000_000));
        for bad in [
            "",
            "s",
            "5 s",
            "-5s",
            "+5s",
            "1.5s",
            "5S",
            "5min",
            "11d",
            "99999999999999999999s",
            "5é",
        ] {
            check(bad, None);
        }
        assert!(seconds("1500ms", 0, 10).is_err());
        assert_eq!(seconds("2000ms", 0, 10), Ok(Duration::from_secs(2)));
    }

    #[test]
    fn sizes_have_binary_units_or_are_bytes() {
        let check = |text: &str, expected: Option<usize>| {
            assert_eq!(bytes(text, 1, 2 * GIB).ok(), expected, "{text}");
        };
        check("65536", Some(65_536));
        check("64KiB", Some(65_536));
        check("1MiB", Some(1_048_576));
        check("2GiB", Some(2 * GIB));
        for bad in [
            "",
            "KiB",
            "0",
            "64KB",
            "64k",
            "64 KiB",
            "-1",
            "1.5MiB",
            "3GiB",
            "18446744073709551615GiB",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn urls_need_a_known_scheme_and_a_place() {
        for good in [
            "redis://h",
            "rediss://u:p@h:6380/1",
            "unix:///run/redis.sock",
            "redis+sentinel://u:p@h,h2:26379/main/1",
            "valkeys+cluster://h,h2:6379",
        ] {
            assert!(redis_url(good).is_ok(), "{good}");
        }
        for bad in ["", "h:6379", "http://h", "redis://", "redis:h", "unix://"] {
            assert!(redis_url(bad).is_err(), "{bad}");
        }
        for good in [
            "sqlite://a.db",
            "sqlite::memory:",
            "postgres://u@h/d",
            "postgresql:///d?host=/run",
        ] {
            assert!(database_url(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "sqlite://",
            "sqlite:a.db",
            "mysql://h/d",
            "fanfare.db",
            "postgres",
        ] {
            assert!(database_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mistyped_log_level_is_no_target() {
        for good in ["info", "off", "info,fanfare::broker=debug", "fanfare=trace"] {
            assert!(log_level(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "infoo",
            "INFO",
            "info,",
            "=info",
            "a=b",
            "fanfare[x]=info",
        ] {
            assert!(log_level(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bounds_are_written_in_the_largest_whole_unit() {
        let texts = [0, 50, 5_000, 90_000, 120_000, 3_600_000, 86_400_000]
            .map(|ms| shown(Duration::from_millis(ms)));
        assert_eq!(texts, ["0s", "50ms", "5s", "90s", "2m", "1h", "1d"]);
    }
}
