//! What is new is on trial until it has lasted: if the agent or the machine fails again and again meanwhile, the agent returns
//! to what last proved good. Pure; whoever calls keeps it on disk.
//!
//! What failed twice is rejected for good: a newer version, other rules or another policy are a new trial.

use serde::{Deserialize, Serialize};

/// Failures of one setting in a row after which the agent returns to the last good one. One alone may be anything: a power
/// cut, a person.
pub const FAILURES: u32 = 2;

/// What an agent runs with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Of the program.
    pub version: String,
    /// Fingerprint of the rules that were added to its own.
    pub content: String,
    /// Fingerprint of the policy.
    pub policy: String,
}

/// What to start with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advice {
    /// With what was asked for.
    GoOn,
    /// With what last proved good: what was asked for failed, now or before.
    GoBack(Setting),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Start {
    setting: Setting,
    /// It ended as it should.
    ended: bool,
}

/// What is remembered from start to start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    good: Option<Setting>,
    last: Option<Start>,
    failing: Option<(Setting, u32)>,
    rejected: Option<Setting>,
}

impl Trial {
    /// An agent starts and would like this setting. Whoever takes the advice runs with it.
    pub fn begin(&mut self, wanted: &Setting) -> Advice {
        if let Some(last) = self.last.take()
            && !last.ended
            && self.good.as_ref() != Some(&last.setting)
        {
            let before = self.failing.take().filter(|(setting, _)| *setting == last.setting);
            self.failing = Some((last.setting, before.map_or(0, |(_, n)| n) + 1));
        }
        if let Some(good) = self.good.clone().filter(|good| good != wanted) {
            let failed = self.failing.as_ref().is_some_and(|(of, n)| of == wanted && *n >= FAILURES);
            if failed {
                self.rejected = Some(wanted.clone());
                self.failing = None;
            }
            if self.rejected.as_ref() == Some(wanted) {
                self.last = Some(Start { setting: good.clone(), ended: false });
                return Advice::GoBack(good);
            }
        }
        self.last = Some(Start { setting: wanted.clone(), ended: false });
        Advice::GoOn
    }

    /// The policy has changed while the agent runs. True if that is a new trial.
    pub fn changed(&mut self, policy: &str) -> bool {
        match &mut self.last {
            Some(last) if last.setting.policy != policy => {
                policy.clone_into(&mut last.setting.policy);
                true
            }
            _ => false,
        }
    }

    /// What runs has lasted. Gives it if it was on trial.
    pub fn lasted(&mut self) -> Option<Setting> {
        let setting = self.last.as_ref()?.setting.clone();
        if self.good.as_ref() == Some(&setting) {
            return None;
        }
        self.failing = None;
        self.good = Some(setting.clone());
        Some(setting)
    }

    /// The agent stops as it should.
    pub fn ended(&mut self) {
        if let Some(last) = &mut self.last {
            last.ended = true;
        }
    }

    /// What was rejected last.
    pub fn rejected(&self) -> Option<&Setting> {
        self.rejected.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn setting(name: &str) -> Setting {
        Setting { version: name.to_owned(), ..Setting::default() }
    }

    #[test]
    fn what_fails_twice_gives_way_to_what_was_good() {
        let mut trial = Trial::default();
        assert_eq!(trial.begin(&setting("1")), Advice::GoOn);
        assert_eq!(trial.lasted(), Some(setting("1")));
        assert_eq!(trial.lasted(), None, "once");
        assert_eq!(
            trial.begin(&setting("2")),
            Advice::GoOn,
            "a crash of what was good says nothing about the new"
        );
        assert_eq!(trial.begin(&setting("2")), Advice::GoOn, "once may be anything");
        assert_eq!(trial.begin(&setting("2")), Advice::GoBack(setting("1")));
        trial.ended();
        assert_eq!(trial.begin(&setting("2")), Advice::GoBack(setting("1")), "and stays rejected");
        assert_eq!(trial.rejected(), Some(&setting("2")));
        assert_eq!(trial.begin(&setting("3")), Advice::GoOn, "another one is tried");
        // A policy that came while it ran is on trial with it.
        assert!(trial.changed("p") && !trial.changed("p"));
        assert_eq!(trial.lasted(), Some(Setting { policy: "p".into(), ..setting("3") }));
    }

    #[derive(Clone, Debug)]
    enum Fate {
        Crashes,
        LastsAndCrashes,
        Ends,
    }

    proptest! {
        /// Whatever is asked for and whatever becomes of it.
        #[test]
        fn no_boot_loop_and_nothing_good_is_left(
            days in prop::collection::vec(
                (0..3u8, prop::sample::select(vec![Fate::Crashes, Fate::LastsAndCrashes, Fate::Ends])),
                1..60,
            ),
        ) {
            let mut trial = Trial::default();
            let (mut good, mut crashes): (Option<Setting>, (Option<Setting>, u32)) = (None, (None, 0));
            for (wanted, fate) in days {
                let wanted = setting(&wanted.to_string());
                let advice = trial.begin(&wanted);
                // As it comes back from the disk.
                trial = serde_json::from_str(&serde_json::to_string(&trial).unwrap()).unwrap();
                let runs = match &advice {
                    Advice::GoOn => wanted.clone(),
                    Advice::GoBack(to) => {
                        prop_assert_eq!(Some(to), good.as_ref(), "only to what has lasted");
                        prop_assert_ne!(to, &wanted);
                        to.clone()
                    }
                };
                if good.as_ref() == Some(&wanted) {
                    prop_assert_eq!(&advice, &Advice::GoOn, "what is good is never left");
                }
                let unproven = good.as_ref() != Some(&runs);
                match fate {
                    Fate::Crashes if unproven => {
                        crashes = if crashes.0.as_ref() == Some(&runs) { (crashes.0, crashes.1 + 1) } else { (Some(runs), 1) };
                        prop_assert!(good.is_none() || crashes.1 <= FAILURES, "it loops: {crashes:?}");
                    }
                    Fate::Crashes => {}
                    Fate::LastsAndCrashes => {
                        trial.lasted();
                        (good, crashes) = (Some(runs), (None, 0));
                    }
                    Fate::Ends => trial.ended(),
                }
            }
        }
    }
}
