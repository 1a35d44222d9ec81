//! Orders to devices as forms, and what became of them as a list: the same on every page that shows them.
//!
//! The forms are sent to `POST /actions`, which belongs to the room `actions`.

use askama::Template;
use wardline_event::{ActionState, Timestamp};
use wardline_policy::{KeptFlow, needs_in_words};

use super::{Ago, Markup, Tag, absolute, filters};
use crate::views::ActionSummary;

/// The form that cuts a device off.
#[derive(Template, Clone, Debug)]
#[template(path = "order_isolate.html")]
pub struct IsolateForm<'a> {
    /// The device's id.
    pub device: &'a str,
    /// What people call it.
    pub hostname: &'a str,
    /// True if patients depend on it directly.
    pub clinical: bool,
    /// True if it cannot be heard now.
    pub silent: bool,
    /// What stays open beside the hub, because its policy says so; none if that is not known here.
    pub kept: Option<&'a [KeptFlow]>,
    /// The page to come back to.
    pub back: &'a str,
}

/// The form that contains a device by less than isolation, or a process.
#[derive(Template, Clone, Debug)]
#[template(path = "order_contain.html")]
pub struct ContainForm<'a> {
    /// The device's id.
    pub device: &'a str,
    /// What people call it.
    pub hostname: &'a str,
    /// `east-west`, `logons` or `process/KEY`.
    pub rung: String,
    /// What people call the process, if it is one.
    pub process: &'a str,
    /// True if patients depend on it directly.
    pub clinical: bool,
    /// What stays open beside the hub, because its policy says so; none if that is not known here.
    pub kept: Option<&'a [KeptFlow]>,
    /// Who may log on all the same.
    pub break_glass: &'a [String],
    /// The page to come back to.
    pub back: &'a str,
}

impl ContainForm<'_> {
    /// Makes the ids of its fields its own: there may be several on a page.
    fn slug(&self) -> &str {
        self.rung.split('/').next().unwrap_or_default()
    }
}

/// The form that ends a containment.
#[derive(Template, Clone, Debug)]
#[template(path = "order_lift.html")]
pub struct LiftForm<'a> {
    /// The device's id.
    pub device: &'a str,
    /// Which.
    pub rung: &'a str,
    /// The page to come back to.
    pub back: &'a str,
}

/// The form that ends an isolation.
#[derive(Template, Clone, Debug)]
#[template(path = "order_release.html")]
pub struct ReleaseForm<'a> {
    /// The device's id.
    pub device: &'a str,
    /// What people call it.
    pub hostname: &'a str,
    /// The page to come back to.
    pub back: &'a str,
}

/// The form that kills a process and what it started.
#[derive(Template, Clone, Debug)]
#[template(path = "order_kill.html")]
pub struct KillForm<'a> {
    /// The device's id.
    pub device: &'a str,
    /// What people call it.
    pub hostname: &'a str,
    /// The process.
    pub process_key: &'a str,
    /// What people call it.
    pub process: &'a str,
    /// Its process id.
    pub pid: u32,
    /// True if patients depend on the device directly.
    pub clinical: bool,
    /// The page to come back to.
    pub back: &'a str,
}

/// An action as people read it.
#[derive(Clone, Debug)]
pub struct ActionRow {
    /// Its id.
    pub id: String,
    /// `Isolate for 1 hour`.
    pub what: String,
    /// The device's id.
    pub device: String,
    /// The device's name.
    pub hostname: String,
    /// Why.
    pub reason: String,
    /// Who ordered it.
    pub by: String,
    /// How far it got.
    pub state: Tag,
    /// The device's word, or what the hub waits for.
    pub detail: String,
    /// When it was ordered.
    pub when: Ago,
    /// True if it can still be taken back.
    pub may_cancel: bool,
    /// From the exercise range.
    pub simulated: bool,
    /// Who agreed to it; empty if nobody had to.
    pub approved_by: String,
    /// `Standing consent` or `Break-glass`, if it rests on that.
    pub rests_on: Option<Tag>,
    /// True while what it did can be undone.
    pub may_undo: bool,
}

/// Until when what an action did lasts at most, as far as the hub knows; none if it did nothing that lasts.
fn lasts_until_ms(action: &ActionSummary) -> Option<i64> {
    let seconds = match action.kind.as_str() {
        "isolate" => action.target.as_str(),
        "contain" => action.target.split_once(' ')?.1,
        "quarantine_file" if action.detail.contains(" is in quarantine as ") => return Some(i64::MAX),
        _ => return None,
    };
    let lasts_ms = seconds.parse::<i64>().ok()?.checked_mul(1000)?;
    action.updated_ms.checked_add(lasts_ms)
}

/// Puts an action into words.
pub fn action_row(action: &ActionSummary, now: Timestamp) -> ActionRow {
    let state = ActionState::parse(&action.state);
    let waits = state == Some(ActionState::Pending) && !action.needs.is_empty();
    let detail = match state {
        _ if waits => format!(
            "{}. The request is void if nobody approves it by {}.",
            capitalised(&needs_in_words(&action.needs)),
            absolute(Timestamp(action.expires_ms))
        ),
        _ if !action.detail.is_empty() => action.detail.clone(),
        Some(ActionState::Pending) => {
            format!(
                "The order is void if the device does not answer by {}.",
                absolute(Timestamp(action.expires_ms))
            )
        }
        _ => String::new(),
    };
    ActionRow {
        id: action.id.clone(),
        what: deed_in_words(&action.kind, &action.target),
        device: action.device.clone(),
        hostname: if action.hostname.is_empty() { "unknown device" } else { &action.hostname }.to_owned(),
        reason: action.reason.clone(),
        by: action.requested_by.clone(),
        state: match state {
            _ if waits => Tag::new(super::Tone::Warn, "Waiting for approval"),
            Some(state) => Tag::action_state(state),
            None => Tag::new(super::Tone::Plain, &action.state),
        },
        detail,
        when: Ago { at: Timestamp(action.created_ms), now },
        may_cancel: state == Some(ActionState::Pending),
        simulated: action.simulated,
        approved_by: action.approved_by.clone(),
        rests_on: match action.basis.as_str() {
            "consent" => Some(Tag::new(super::Tone::Outline, "Standing consent")),
            "break_glass" => Some(Tag::new(super::Tone::Warn, "Break-glass")),
            _ => None,
        },
        may_undo: matches!(state, Some(ActionState::InProgress | ActionState::Succeeded))
            && lasts_until_ms(action).is_some_and(|until| until > now.0),
    }
}

/// An action's kind and target in words: `Isolate for 1 hour`.
pub fn deed_in_words(kind: &str, target: &str) -> String {
    match kind {
        "isolate" => format!("Isolate{}", duration_in_words(target)),
        "release" => "Release from isolation".to_owned(),
        "kill_process" => match target.rsplit_once('-') {
            Some((_, pid)) => format!("Kill process {pid} and what it started"),
            None => "Kill a process and what it started".to_owned(),
        },
        "contain" => {
            let (rung, seconds) = target.split_once(' ').unwrap_or((target, ""));
            let what = match rung {
                "east-west" => "Cut SMB, RDP, SSH and WinRM".to_owned(),
                "logons" => "Suspend logons".to_owned(),
                process => format!("Cut the network of {}", process_in_words(process)),
            };
            format!("{what}{}", duration_in_words(seconds))
        }
        "lift" => match target {
            "east-west" => "Open SMB, RDP, SSH and WinRM again".to_owned(),
            "logons" => "Let everybody log on again".to_owned(),
            process => format!("Give {} its network back", process_in_words(process)),
        },
        "quarantine_file" => format!("Quarantine {target}"),
        "restore_file" => format!("Give file {target} back from quarantine"),
        other => other.to_owned(),
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn duration_in_words(seconds: &str) -> String {
    match seconds.parse::<u64>() {
        Ok(s) if s.is_multiple_of(3600) && s > 0 => {
            format!(" for {} hour{}", s / 3600, if s == 3600 { "" } else { "s" })
        }
        Ok(s) => format!(" for {} minutes", s / 60),
        Err(_) => String::new(),
    }
}

fn process_in_words(rung: &str) -> String {
    match rung.rsplit_once('-') {
        Some((_, pid)) if rung.starts_with("process/") => format!("process {pid} and what it started"),
        _ => "a process and what it started".to_owned(),
    }
}

/// A containment in words, with the end of the sentence "On this device …".
pub fn containment_in_words(rung: &str) -> String {
    match rung {
        "isolation" => "everything but this hub and the kept flows is cut off".to_owned(),
        "east-west" => "SMB, RDP, SSH and WinRM are cut".to_owned(),
        "logons" => "new logons are refused".to_owned(),
        process => format!("{} have no network", process_in_words(process)),
    }
}

/// What became of orders, newest first.
#[derive(Template, Clone, Debug)]
#[template(path = "ordered_list.html")]
pub struct OrderedList<'a> {
    /// The actions.
    pub actions: &'a [ActionRow],
    /// The page to come back to after taking one back.
    pub back: &'a str,
}

/// The button that undoes what an action did.
#[derive(Template, Clone, Debug)]
#[template(path = "order_undo.html")]
pub struct UndoForm<'a> {
    /// The action's id.
    pub action: &'a str,
    /// The page to come back to.
    pub back: &'a str,
}

impl OrderedList<'_> {
    fn undo_form<'a>(&'a self, action: &'a ActionRow) -> UndoForm<'a> {
        UndoForm { action: &action.id, back: self.back }
    }
}

impl Markup for UndoForm<'_> {}
impl Markup for IsolateForm<'_> {}
impl Markup for ContainForm<'_> {}
impl Markup for LiftForm<'_> {}
impl Markup for ReleaseForm<'_> {}
impl Markup for KillForm<'_> {}
impl Markup for OrderedList<'_> {}
