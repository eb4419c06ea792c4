//! The only place that asks for the time.
//!
//! It never sleeps and keeps no state; whoever waits uses the runtime's timers.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

/// Microseconds since the Unix epoch, the unit of every stored time.
pub type UnixMicros = i64;

/// Returns the wall-clock time in microseconds since the Unix epoch.
pub fn unix_us() -> UnixMicros {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Returns the wall-clock time in whole seconds since the Unix epoch.
pub fn unix_s() -> u64 {
    u64::try_from(unix_us() / 1_000_000).unwrap_or(0)
}

/// Returns a monotonic instant, for durations.
pub fn now() -> Instant {
    Instant::now()
}

/// Makes a time-ordered unique id (UUIDv7, RFC 9562) for a record.
pub fn uid() -> Uuid {
    Uuid::now_v7()
}

/// Writes a time as RFC 3339 in UTC with six fractional digits.
///
/// # Examples
/// ```
/// assert_eq!(fanfare::clock::rfc3339(1_700_000_000_000_001), "2023-11-14T22:13:20.000001Z");
/// ```
pub fn rfc3339(at: UnixMicros) -> String {
    use time::macros::format_description;
    const FORM: &[time::format_description::BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1000)
        .ok()
        .and_then(|moment| moment.format(FORM).ok())
        .unwrap_or_else(|| String::from("1970-01-01T00:00:00.000000Z"))
}
