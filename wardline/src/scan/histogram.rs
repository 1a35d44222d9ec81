//! Matches over time, by level, in buckets that grow coarser rather than many.

use std::collections::BTreeMap;

use time::{Date, Month, OffsetDateTime};
use wardline_event::{Severity, Timestamp};

/// Buckets kept before they are made coarser: five years of hours without a gap.
const MAX_BUCKETS: usize = 50_000;

/// How wide a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    Hour,
    Day,
    Month,
    Year,
}

impl Width {
    const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Month, Self::Year];

    /// `hour`, `day`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
            Self::Year => "year",
        }
    }
}

/// A bucket's beginning: hours since 1970. Months and years begin with their first hour.
type Start = i64;

/// Matches of each level, mildest first.
pub type Levels = [u64; 5];

/// One bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// `2024-11-03 10:00`, `2024-11-03`, `2024-11` or `2024`.
    pub label: String,
    /// Its matches.
    pub levels: Levels,
    /// Buckets without a match between the last bar and this one.
    pub gap: u64,
}

impl Bar {
    /// All its matches.
    pub fn total(&self) -> u64 {
        self.levels.iter().sum()
    }
}

/// Matches over time.
#[derive(Debug)]
pub struct Histogram {
    width: Width,
    buckets: BTreeMap<Start, Levels>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { width: Width::Hour, buckets: BTreeMap::new() }
    }
}

impl Histogram {
    /// Counts a match.
    pub fn add(&mut self, time: Timestamp, level: Severity) {
        let start = start_of(time.0.div_euclid(3_600_000), self.width);
        self.buckets.entry(start).or_default()[level as usize] += 1;
        while self.buckets.len() > MAX_BUCKETS && self.width != Width::Year {
            let wider = Width::ALL[self.width as usize + 1];
            self.buckets = self.buckets_of(wider);
            self.width = wider;
        }
    }

    /// The finest bars of which there are no more than `most`; none if nothing was counted.
    pub fn bars(&self, most: usize) -> Option<(Width, Vec<Bar>)> {
        let (width, buckets) = Width::ALL
            .into_iter()
            .filter(|w| *w >= self.width)
            .map(|w| (w, self.buckets_of(w)))
            .find(|(w, buckets)| buckets.len() <= most || *w == Width::Year)?;
        let bars = in_order(&buckets, width);
        (!bars.is_empty()).then_some((width, bars))
    }

    /// The finest bars of which there are no more than `most` between the first and the last, empty ones too.
    pub fn axis(&self, most: usize) -> Option<(Width, Vec<Bar>)> {
        let widths = Width::ALL.into_iter().filter(|w| *w >= self.width);
        let (width, bars) = widths.map(|w| (w, in_order(&self.buckets_of(w), w))).find(|(w, bars)| {
            *w == Width::Year || bars.iter().map(|b| b.gap + 1).sum::<u64>() <= most as u64
        })?;
        (!bars.is_empty()).then_some((width, bars))
    }

    fn buckets_of(&self, width: Width) -> BTreeMap<Start, Levels> {
        let mut out: BTreeMap<Start, Levels> = BTreeMap::new();
        for (start, levels) in &self.buckets {
            let into = out.entry(start_of(*start, width)).or_default();
            for (sum, n) in into.iter_mut().zip(levels) {
                *sum += n;
            }
        }
        out
    }
}

fn in_order(buckets: &BTreeMap<Start, Levels>, width: Width) -> Vec<Bar> {
    let mut last = None;
    let bar = |(start, levels): (&Start, &Levels)| {
        let number = ordinal(*start, width);
        let gap = last.map_or(0, |last: i64| (number - last - 1).cast_unsigned());
        last = Some(number);
        Bar { label: label(*start, width), levels: *levels, gap }
    };
    buckets.iter().map(bar).collect()
}

/// The day that an hour since 1970 lies in; forged times outside the years 0–9999 count as the nearest of them.
fn day_of(hour: i64) -> Date {
    let first = Date::from_ordinal_date(0, 1).map_or(Date::MIN, |d| d);
    let seconds = hour.saturating_mul(3600);
    let day = OffsetDateTime::from_unix_timestamp(seconds)
        .map_or(if hour < 0 { first } else { Date::MAX }, OffsetDateTime::date);
    day.max(first)
}

fn hours_to(day: Date) -> Start {
    day.midnight().assume_utc().unix_timestamp() / 3600
}

fn start_of(hour: i64, width: Width) -> Start {
    let day = day_of(hour);
    match width {
        // Within the day, so that a clamped day clamps its hours.
        Width::Hour => hours_to(day) + hour.rem_euclid(24),
        Width::Day => hours_to(day),
        Width::Month => hours_to(day.replace_day(1).unwrap_or(day)),
        Width::Year => hours_to(Date::from_calendar_date(day.year(), Month::January, 1).unwrap_or(day)),
    }
}

/// The bucket's number, in buckets.
fn ordinal(start: Start, width: Width) -> i64 {
    let day = day_of(start);
    match width {
        Width::Hour => start,
        Width::Day => start.div_euclid(24),
        Width::Month => i64::from(day.year()) * 12 + i64::from(u8::from(day.month())),
        Width::Year => i64::from(day.year()),
    }
}

fn label(start: Start, width: Width) -> String {
    let text = Timestamp(start * 3_600_000).to_string();
    match width {
        Width::Hour => format!("{} {}:00", &text[..10], &text[11..13]),
        Width::Day => text[..10].to_owned(),
        Width::Month => text[..7].to_owned(),
        Width::Year => text[..4].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn the_finest_width_that_fits_is_shown_with_its_gaps() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.bars(10), None);
        for (time, level) in [
            ("2024-02-28T23:59:59Z", Severity::High),
            ("2024-02-28T23:00:00Z", Severity::Low),
            ("2024-02-29T01:00:00Z", Severity::High),
            ("2024-05-01T00:00:00Z", Severity::Critical),
        ] {
            histogram.add(at(time), level);
        }
        let shown = |most| {
            let (width, bars) = histogram.bars(most).unwrap();
            (width, bars.into_iter().map(|b| (b.label.clone(), b.total(), b.gap)).collect::<Vec<_>>())
        };
        let bar = |label: &str, total, gap| (label.to_owned(), total, gap);
        assert_eq!(shown(3).0, Width::Hour);
        assert_eq!(shown(3).1[..2], [bar("2024-02-28 23:00", 2, 0), bar("2024-02-29 01:00", 1, 1)]);
        assert_eq!(shown(2), (Width::Month, vec![bar("2024-02", 3, 0), bar("2024-05", 1, 2)]));
        assert_eq!(shown(1), (Width::Year, vec![bar("2024", 4, 0)]));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_whatever_the_times(times in proptest::collection::vec(any::<i64>(), 0..50)) {
            let mut histogram = Histogram::default();
            for time in &times {
                histogram.add(Timestamp(*time), Severity::Low);
            }
            for most in [1, 10, 100] {
                let total: u64 = histogram.bars(most).map_or(0, |(_, bars)| bars.iter().map(Bar::total).sum());
                prop_assert_eq!(total, times.len() as u64);
            }
        }
    }
}
