//! What an order would do, shown before its button works.

use std::collections::BTreeMap;

use askama::Template;
use wardline_kernel::ApiError;
use wardline_kernel::page::{Tag, Tone, deed_in_words, filters};
use wardline_policy::Rung;

use crate::domain::Wish;
use crate::survey::{Effect, Preview};

/// What the kernel's order forms, the list of devices and this page send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrderForm {
    /// `isolate`, `contain`, …
    pub kind: String,
    /// The devices.
    pub devices: Vec<String>,
    /// For `kill_process`.
    pub process_key: String,
    /// For `contain` and `lift`.
    pub rung: String,
    /// For how long.
    pub minutes: String,
    /// Why.
    pub reason: String,
    /// The page to come back to.
    pub back: String,
    /// The preview that was shown.
    pub seen: String,
}

impl OrderForm {
    /// Reads the pairs of a form; `device` may come several times, and everything may be missing.
    pub fn of(pairs: Vec<(String, String)>) -> Self {
        let mut form = Self::default();
        for (name, value) in pairs {
            match name.as_str() {
                "kind" => form.kind = value,
                "device" => form.devices.push(value),
                "process_key" => form.process_key = value,
                "rung" => form.rung = value,
                "minutes" => form.minutes = value,
                "reason" => form.reason = value,
                "back" => form.back = value,
                "seen" => form.seen = value,
                // The choice of this page: kind and rung in one.
                "do" => match value.as_str() {
                    "east-west" | "logons" => (form.kind, form.rung) = ("contain".into(), value),
                    _ => (form.kind, form.rung) = ("isolate".into(), String::new()),
                },
                _ => {}
            }
        }
        if form.kind.is_empty() && !form.devices.is_empty() {
            form.kind = "isolate".into();
        }
        if form.minutes.is_empty() && form.kind != "contain" {
            form.minutes = "60".into();
        }
        form
    }

    /// What is wished, if the form makes sense.
    pub fn wish(&self) -> Result<Wish, ApiError> {
        let again = "go back, reload the page and try again";
        let for_s = || {
            let minutes = self.minutes.parse::<u32>().map(|minutes| u64::from(minutes) * 60);
            minutes.map_err(|_| ApiError::invalid("no duration was chosen", "go back and choose one"))
        };
        let rung =
            || self.rung.parse().map_err(|_| ApiError::invalid("the form named no containment", again));
        Ok(match self.kind.as_str() {
            "kill_process" => Wish::KillProcess {
                process_key: self
                    .process_key
                    .parse()
                    .map_err(|_| ApiError::invalid("the form named no process", again))?,
            },
            "isolate" => Wish::Isolate { for_s: for_s()? },
            "release" => Wish::Release,
            "contain" => Wish::Contain { rung: rung()?, for_s: for_s()? },
            "lift" => Wish::Lift { rung: rung()? },
            "" => {
                return Err(ApiError::invalid(
                    "no device was chosen",
                    "choose devices in the list of devices",
                ));
            }
            _ => return Err(ApiError::invalid("the form named no order", again)),
        })
    }
}

/// A group of devices that would be contained, with how much of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// `Ward 7, North General`.
    pub name: String,
    /// How many of the devices of this order.
    pub devices: usize,
    /// Per cent of the group that would be contained at once; 0 if it would be a single one.
    pub share: u32,
}

/// The page.
#[derive(Template)]
#[template(path = "look.html")]
pub struct LookPage {
    form: OrderForm,
    what: String,
    effects: Vec<Effect>,
    by_person: u32,
    seen: String,
    wards: Vec<Group>,
    sites: Vec<Group>,
    types: Vec<Group>,
    /// Whose agreement is needed, and for how many devices.
    needs: BTreeMap<String, usize>,
    /// True if what is shown is not what was shown before.
    pub changed: bool,
    /// True if another containment can be chosen here.
    may_choose: bool,
}

fn groups(effects: &[Effect], of: impl Fn(&Effect) -> (String, u32)) -> Vec<Group> {
    let mut groups: BTreeMap<String, (usize, u32)> = BTreeMap::new();
    for effect in effects {
        let (name, share) = of(effect);
        let group = groups.entry(name).or_default();
        *group = (group.0 + 1, group.1.max(share));
    }
    groups.into_iter().map(|(name, (devices, share))| Group { name, devices, share }).collect()
}

fn or<'a>(text: &'a str, unknown: &'a str) -> &'a str {
    if text.is_empty() { unknown } else { text }
}

impl LookPage {
    /// Puts a preview into a page.
    pub fn of(form: OrderForm, wish: &Wish, preview: Preview) -> Self {
        let Preview { effects, by_person, seen } = preview;
        let mut needs: BTreeMap<String, usize> = BTreeMap::new();
        for need in effects.iter().flat_map(|effect| &effect.needs) {
            *needs.entry(format!("{}: {}", need.of.whose(), need.because)).or_default() += 1;
        }
        let ward = |e: &Effect| {
            let at = [or(&e.ward, "ward not known"), e.site.as_str()];
            (at.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", "), e.of_ward)
        };
        let rung = match wish {
            Wish::Contain { rung, .. } => *rung,
            _ => Rung::Isolation,
        };
        Self {
            what: deed_in_words(wish.kind(), &wish.target()),
            wards: groups(&effects, ward),
            sites: groups(&effects, |e| (or(&e.site, "site not known").to_owned(), e.of_site)),
            types: groups(&effects, |e| {
                (or(&e.device_type, &format!("{}, type not known", e.class)).to_owned(), e.of_type)
            }),
            needs,
            changed: false,
            may_choose: wish.order().contains_device() && !matches!(rung, Rung::Process(_)),
            form,
            effects,
            by_person,
            seen,
        }
    }

    fn clinical(&self) -> usize {
        self.effects.iter().filter(|e| e.class == "clinical").count()
    }

    fn unheard(&self) -> usize {
        self.effects.iter().filter(|e| e.presence != "live").count()
    }

    fn possible(&self) -> bool {
        self.effects.iter().all(|e| e.refused.is_empty())
    }

    fn chosen(&self, what: &str) -> bool {
        match self.form.kind.as_str() {
            "contain" => self.form.rung == what,
            _ => what == "isolation",
        }
    }

    fn tags(effect: &Effect) -> Vec<Tag> {
        let mut tags = Vec::new();
        if !effect.refused.is_empty() {
            tags.push(Tag::new(Tone::Bad, "Not possible"));
        }
        match effect.last_of_type.as_str() {
            "yes" => tags.push(Tag::new(Tone::Bad, "Last of its type here")),
            "unknown" => tags.push(Tag::new(Tone::Warn, "Perhaps the last of its type")),
            _ => {}
        }
        if effect.class == "clinical" {
            tags.push(Tag::new(Tone::Outline, "Clinical"));
        }
        match effect.basis.as_str() {
            "consent" => tags.push(Tag::new(Tone::Outline, "Standing consent")),
            "break_glass" => tags.push(Tag::new(Tone::Warn, "Break-glass")),
            _ => {}
        }
        if !effect.needs.is_empty() {
            tags.push(Tag::new(Tone::Warn, "Needs approval"));
        }
        tags
    }
}
