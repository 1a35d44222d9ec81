//! The list of actions.

use askama::Template;
use wardline_event::Timestamp;
use wardline_kernel::page::{ActionRow, Tag, action_row, filters};
use wardline_kernel::views::ActionSummary;

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
}

/// The page.
#[derive(Template)]
#[template(path = "actions.html")]
pub struct ListPage {
    /// The actions.
    pub rows: Vec<ActionRow>,
    /// By what they were filtered.
    pub filter: Filter,
    /// Where the next page begins, if there is one.
    pub older: Option<String>,
}

impl ListPage {
    /// Puts actions into a page; `full` if there may be more.
    pub fn of(actions: &[ActionSummary], filter: Filter, full: bool, now: Timestamp) -> Self {
        let older = actions.last().filter(|_| full).map(|last| format!("{}-{}", last.created_ms, last.id));
        Self { rows: actions.iter().map(|a| action_row(a, now)).collect(), filter, older }
    }

    /// This page's own address, for its live updates. Only words that the form knows get in.
    fn here(&self) -> String {
        let word = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let state = if word(&self.filter.state) { &self.filter.state } else { "" };
        let after = if word(&self.filter.after) { &self.filter.after } else { "" };
        format!("/actions?state={state}&after={after}")
    }
}
