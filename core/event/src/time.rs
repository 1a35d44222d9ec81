//! Points in time: milliseconds since 1970 in UTC, as OCSF's `timestamp_t`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The point `duration` later; saturates at the ends of time.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads RFC 3339, for example `2017-05-12T11:02:00.250Z`.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok().map(Self)
    }

    /// Reads a time as logs write it: RFC 3339, also with a space instead of the `T`, and without an offset, which then
    /// is UTC.
    pub fn parse_log(text: &str) -> Option<Self> {
        let text = text.trim();
        // No time is longer; a field may be.
        if text.len() > 40 || !text.is_ascii() {
            return None;
        }
        Self::parse_rfc3339(text).or_else(|| {
            let joined = text.replacen(' ', "T", 1);
            Self::parse_rfc3339(&joined).or_else(|| Self::parse_rfc3339(&(joined + "Z")))
        })
    }

    /// Unix time in seconds or milliseconds; `None` outside the years 0 to 9999.
    pub fn from_unix(number: f64) -> Option<Self> {
        /// Milliseconds of the year 2001 are seconds of the year 33658: what is above is milliseconds.
        const SECONDS_BELOW: f64 = 1e12;
        /// The beginning of the year 0 and the end of the year 9999.
        const YEARS: std::ops::RangeInclusive<f64> = -62_167_219_200_000.0..=253_402_300_799_999.0;
        let ms = if number.abs() < SECONDS_BELOW { number * 1000.0 } else { number };
        YEARS.contains(&ms).then(|| Self(ms.floor() as i64))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 with milliseconds; a value outside the years 0–9999 is printed as plain milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000);
        match at {
            Ok(at) if (0..=9999).contains(&at.year()) => write!(
                f,
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
                at.year(),
                u8::from(at.month()),
                at.day(),
                at.hour(),
                at.minute(),
                at.second(),
                at.millisecond()
            ),
            _ => write!(f, "{}ms", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_as_logs_write_them() {
        let read = |text| Timestamp::parse_log(text).map(|t| t.to_string());
        let at = Some("2019-03-17T19:09:41.318Z".to_owned());
        for text in [
            "2019-03-17T19:09:41.318Z",
            "2019-03-17 19:09:41.318",
            "2019-03-17T19:09:41.318000",
            " 2019-03-17 20:09:41.318+01:00 ",
        ] {
            assert_eq!(read(text), at, "{text}");
        }
        for text in ["", "2019-03-17", "yesterday", "2019-03-17T19:09:41ü", "1552849781318"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn unix_times_have_one_bound() {
        let read = |number| Timestamp::from_unix(number).map(|t| t.to_string());
        assert_eq!(read(1_552_849_781.318).as_deref(), Some("2019-03-17T19:09:41.318Z"));
        assert_eq!(read(1_552_849_781_318.0).as_deref(), Some("2019-03-17T19:09:41.318Z"));
        assert_eq!(read(-1.0).as_deref(), Some("1969-12-31T23:59:59.000Z"));
        assert_eq!(read(253_402_300_799.0).as_deref(), Some("9999-12-31T23:59:59.000Z"));
        for number in [253_402_300_800.0, 1e17, -1e17, f64::INFINITY, f64::NAN] {
            assert_eq!(read(number), None, "{number}");
        }
    }

    #[test]
    fn prints_and_reads_rfc3339() {
        let t = Timestamp(1_494_586_920_250);
        assert_eq!(t.to_string(), "2017-05-12T11:02:00.250Z");
        assert_eq!(Timestamp::parse_rfc3339("2017-05-12T12:02:00.25+01:00"), Some(t));
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
        assert_eq!(Timestamp(i64::MAX).to_string(), format!("{}ms", i64::MAX));
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp(i64::MAX).plus(Duration::MAX), Timestamp(i64::MAX));
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert_eq!(Timestamp(9).since(Timestamp(5)), Duration::from_millis(4));
    }
}
