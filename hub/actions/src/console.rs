//! The console's pages about actions, and where its order forms are sent.

pub mod list;
#[cfg(test)]
mod samples;

use axum::Router;
use axum::extract::{Form, Path, Query};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use wardline_event::ActionState;
use wardline_kernel::page::{Section, Visit};
use wardline_kernel::views::{self, ActionQuery};
use wardline_kernel::{ApiError, Kernel};

use self::list::{Filter, ListPage};
use crate::domain::Wish;
use crate::order::{self, order};

/// Actions on one page of the list.
const PER_PAGE: u32 = 50;

/// The pages.
pub fn console() -> Router<Kernel> {
    Router::new().route("/actions", get(list).post(give)).route("/actions/{id}/cancel", post(cancel))
}

async fn list(visit: Visit, Query(filter): Query<Filter>) -> Response {
    let result = read_list(&visit, filter).await.map(|page| visit.page(Section::Actions, "Actions", &page));
    visit.answer(Section::Actions, result)
}

async fn read_list(visit: &Visit, filter: Filter) -> Result<ListPage, ApiError> {
    let query = ActionQuery {
        state: ActionState::parse(&filter.state).map(|state| state.as_str().to_owned()),
        after: filter.place(),
        limit: PER_PAGE,
        ..ActionQuery::default()
    };
    let actions = views::actions(visit.kernel.store().read(), &visit.session.scope, &query).await?;
    let full = actions.len() == PER_PAGE as usize;
    Ok(ListPage::of(&actions, filter, full, visit.now))
}

/// What the kernel's order forms send.
#[derive(Debug, Deserialize)]
pub(crate) struct OrderForm {
    pub kind: String,
    pub device: String,
    #[serde(default)]
    pub process_key: String,
    #[serde(default)]
    pub rung: String,
    #[serde(default)]
    pub minutes: String,
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub back: String,
}

impl OrderForm {
    /// What is wished, if the form makes sense.
    pub(crate) fn wish(&self) -> Result<Wish, ApiError> {
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
            _ => return Err(ApiError::invalid("the form named no order", again)),
        })
    }
}

async fn give(visit: Visit, Form(form): Form<OrderForm>) -> Response {
    let result = async {
        let wish = form.wish()?;
        let session = &visit.session;
        order(&visit.kernel, &session.scope, &session.person, &form.device, &wish, &form.reason).await?;
        Ok(visit.done(&form.back, "ordered"))
    };
    visit.answer(Section::Actions, result.await)
}

/// Where to go after an action was taken back.
#[derive(Debug, Deserialize)]
struct Back {
    #[serde(default)]
    back: String,
}

async fn cancel(visit: Visit, Path(id): Path<String>, Form(form): Form<Back>) -> Response {
    let result = async {
        order::cancel(&visit.kernel, &visit.session.scope, &visit.session.person, &id).await?;
        Ok(visit.done(&form.back, "cancelled"))
    };
    visit.answer(Section::Actions, result.await)
}
