//! Parts of a time: `minute`, `hour`, `day`, `week`, `month`, `year`.

use wardline_event::{Timestamp, Value};

/// Which part of a time in UTC is compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum TimePart {
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// Of the month, 1 to 31.
    Day,
    /// Of the year by ISO 8601, 1 to 53.
    Week,
    /// 1 to 12.
    Month,
    Year,
}

const DAY_MS: i64 = 86_400_000;

impl TimePart {
    /// The part with this modifier's name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "minute" => Self::Minute,
            "hour" => Self::Hour,
            "day" => Self::Day,
            "week" => Self::Week,
            "month" => Self::Month,
            "year" => Self::Year,
            _ => return None,
        })
    }

    /// This part of the time that a field holds; `None` if it holds none.
    pub fn of(self, value: &Value<'_>) -> Option<i64> {
        Some(self.part(time(value)?))
    }

    fn part(self, time: Timestamp) -> i64 {
        let days = time.0.div_euclid(DAY_MS);
        let minutes = time.0.rem_euclid(DAY_MS) / 60_000;
        match self {
            Self::Minute => minutes % 60,
            Self::Hour => minutes / 60,
            Self::Day => civil(days).2,
            Self::Week => iso_week(days),
            Self::Month => civil(days).1,
            Self::Year => civil(days).0,
        }
    }
}

/// The time in a field: RFC 3339; the same without a zone, which is UTC, also with a space instead of the `T`; a date
/// alone, which is its midnight; Unix time in seconds or milliseconds.
fn time(value: &Value<'_>) -> Option<Timestamp> {
    match value {
        Value::Int(n) => Timestamp::from_unix(*n as f64),
        Value::Float(n) => Timestamp::from_unix(*n),
        Value::Str(text) => {
            let text = text.trim();
            // No time is longer; a field may be.
            if text.len() > 40 {
                return None;
            }
            if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
                return text.parse().ok().and_then(Timestamp::from_unix);
            }
            Timestamp::parse_log(text).or_else(|| Timestamp::parse_log(&format!("{text}T00:00:00")))
        }
        Value::Null | Value::Bool(_) | Value::List(_) => None,
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Counted from 1 March of the year 0, so that the leap day is the last of its year; 400 years are 146,097 days.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let (first, wraps) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + wraps, first, of_year - (153 * month + 2) / 5 + 1)
}

/// The week that a day is in: weeks begin on Monday, and the first is the one with the year's first Thursday.
fn iso_week(days: i64) -> i64 {
    // 1970-01-01 was a Thursday.
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let (year, _, _) = civil(thursday);
    let mut first = thursday;
    while civil(first - 7).0 == year {
        first -= 7;
    }
    (thursday - first) / 7 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [TimePart; 6] =
        [TimePart::Year, TimePart::Month, TimePart::Day, TimePart::Week, TimePart::Hour, TimePart::Minute];

    #[test]
    fn a_time_is_taken_apart() {
        // The weeks are those of `date -u +%V`.
        for (value, wanted) in [
            (Value::str("2019-03-17T19:09:41.318Z"), [2019, 3, 17, 11, 19, 9]),
            (Value::str("2019-03-17 19:09:41.318"), [2019, 3, 17, 11, 19, 9]),
            (Value::str("2019-03-17T01:09:41+02:00"), [2019, 3, 16, 11, 23, 9]),
            (Value::str("2021-01-03"), [2021, 1, 3, 53, 0, 0]),
            (Value::str("2024-12-30 23:59:59"), [2024, 12, 30, 1, 23, 59]),
            (Value::str("2024-02-29"), [2024, 2, 29, 9, 0, 0]),
            (Value::Int(1_552_849_781), [2019, 3, 17, 11, 19, 9]),
            (Value::Int(1_552_849_781_318), [2019, 3, 17, 11, 19, 9]),
            (Value::str("1552849781.318"), [2019, 3, 17, 11, 19, 9]),
            (Value::Int(0), [1970, 1, 1, 1, 0, 0]),
            (Value::Int(-1), [1969, 12, 31, 1, 23, 59]),
        ] {
            assert_eq!(ALL.map(|part| part.of(&value).unwrap()), wanted, "{value:?}");
        }
    }

    #[test]
    fn what_is_no_time_has_no_parts() {
        for value in [
            Value::Null,
            Value::Bool(true),
            Value::str(""),
            Value::str("yesterday"),
            Value::str("2019-13-17"),
            Value::str("12:30"),
            Value::Float(f64::NAN),
            Value::Float(1e300),
            Value::Int(i64::MAX),
            Value::str("9".repeat(39).leak()),
        ] {
            assert_eq!(ALL.map(|part| part.of(&value)), [None; 6], "{value:?}");
        }
    }

    /// Against the days of every year: each day follows the one before it.
    #[test]
    fn the_calendar_has_no_gaps() {
        let mut before = civil(-800_000);
        for days in -799_999..800_000 {
            let (year, month, day) = civil(days);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match before.1 {
                2 => 28 + i64::from(before.0 % 4 == 0 && (before.0 % 100 != 0 || before.0 % 400 == 0)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            let wanted = if before.2 < last {
                (before.0, before.1, before.2 + 1)
            } else if before.1 < 12 {
                (before.0, before.1 + 1, 1)
            } else {
                (before.0 + 1, 1, 1)
            };
            assert_eq!((year, month, day), wanted, "{leap}");
            before = (year, month, day);
        }
        assert_eq!(civil(0), (1970, 1, 1));
    }
}
