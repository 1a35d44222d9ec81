//! The list of actions, those that wait for approval above it.

use askama::Template;
use wardline_event::{ActionState, Timestamp};
use wardline_kernel::page::{ActionRow, Ago, Exact, Tag, UndoForm, action_row, deed_in_words, filters};
use wardline_kernel::views::{ActionQuery, ActionSummary};

/// The filter and the place in the list. Empty: all, from the newest.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub struct Filter {
    /// A state's name.
    #[serde(default)]
    pub state: String,
    /// The last of the page before, as `CREATED_MS-ID`.
    #[serde(default)]
    pub after: String,
}

impl Filter {
    /// The place in the list, if there is one.
    pub fn place(&self) -> Option<(i64, String)> {
        let (at, id) = self.after.split_once('-')?;
        let hex = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
        hex.then_some((at.parse().ok()?, id.to_owned()))
    }

    /// What is asked of the store.
    pub fn query(&self, limit: u32) -> ActionQuery {
        ActionQuery {
            state: ActionState::parse(&self.state).map(|state| state.as_str().to_owned()),
            waiting: self.state == "waiting",
            after: self.place(),
            limit,
            ..ActionQuery::default()
        }
    }
}

/// What was asked for at once and waits for the same agreement.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The first action's id.
    pub id: String,
    /// True if there are several.
    pub together: bool,
    /// What is asked for.
    pub what: String,
    /// The devices: id and name.
    pub devices: Vec<(String, String)>,
    /// Devices beside those.
    pub more: usize,
    /// Why.
    pub reason: String,
    /// Who asked.
    pub by: String,
    /// True if that is who looks.
    pub own: bool,
    /// When.
    pub when: Ago,
    /// When the request is void.
    pub until: Exact,
    /// Whose agreement it needs, and why.
    pub needs: Vec<(&'static str, String)>,
    /// Who agreed already; empty if nobody has.
    pub approved_by: String,
}

/// Devices of one request that are named in the list.
const NAMED: usize = 8;

/// The page.
#[derive(Template)]
#[template(path = "actions.html")]
pub struct ListPage {
    /// The actions.
    pub rows: Vec<ActionRow>,
    /// What waits for approval.
    pub waiting: Vec<Asked>,
    /// By what they were filtered.
    pub filter: Filter,
    /// Where the next page begins, if there is one.
    pub older: Option<String>,
    /// True if whoever looks may approve.
    pub may_approve: bool,
    /// True if whoever looks may take orders back.
    pub may_cancel: bool,
}

impl ListPage {
    /// Puts actions into a page; `full` if there may be more.
    pub fn of(actions: &[ActionSummary], filter: Filter, full: bool, now: Timestamp) -> Self {
        let older = actions.last().filter(|_| full).map(|last| format!("{}-{}", last.created_ms, last.id));
        let rows = actions.iter().map(|a| action_row(a, now)).collect();
        Self { rows, waiting: Vec::new(), filter, older, may_approve: false, may_cancel: false }
    }

    /// Puts what waits for approval above the list, for `person`.
    pub fn put_waiting(&mut self, actions: &[ActionSummary], person: &str, now: Timestamp) {
        for action in actions {
            let name = if action.hostname.is_empty() { "unknown device" } else { &action.hostname };
            let device = (action.device.clone(), name.to_owned());
            let same = self.waiting.iter_mut().find(|asked| {
                asked.together && asked.id.ends_with(&action.together) && !action.together.is_empty()
            });
            let needs = action.needs.iter().map(|need| (need.of.whose(), need.because.clone()));
            if let Some(asked) = same {
                for need in needs {
                    if !asked.needs.contains(&need) {
                        asked.needs.push(need);
                    }
                }
                if asked.devices.len() < NAMED {
                    asked.devices.push(device);
                } else {
                    asked.more += 1;
                }
                continue;
            }
            self.waiting.push(Asked {
                // The id of all of them stands behind that of the first, until they are all together.
                id: format!("{} {}", action.id, action.together),
                together: !action.together.is_empty(),
                what: deed_in_words(&action.kind, &action.target),
                devices: vec![device],
                more: 0,
                reason: action.reason.clone(),
                by: action.requested_by.clone(),
                own: action.requested_by == person,
                when: Ago { at: Timestamp(action.created_ms), now },
                until: Exact(Timestamp(action.expires_ms)),
                needs: needs.collect(),
                approved_by: action.approved_by.clone(),
            });
        }
        for asked in &mut self.waiting {
            asked.id = asked.id.split(' ').next().unwrap_or_default().to_owned();
            asked.together = asked.devices.len() + asked.more > 1;
        }
    }

    fn undo_form(row: &ActionRow) -> UndoForm<'_> {
        UndoForm { action: &row.id, back: "/actions" }
    }

    /// This page's own address, for its live updates. Only words that the form knows get in.
    fn here(&self) -> String {
        let word = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let state = if word(&self.filter.state) { &self.filter.state } else { "" };
        let after = if word(&self.filter.after) { &self.filter.after } else { "" };
        format!("/actions?state={state}&after={after}")
    }
}
