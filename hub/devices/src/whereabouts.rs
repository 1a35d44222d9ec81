//! Where a device stands and what it is: what the blast radius of containments is counted by.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use wardline_kernel::audit::{self, Act};
use wardline_kernel::{ApiError, Kernel, ReasonTooLong, Scope, StoreError, Topic, WriteTx, csv, fit_reason};

use crate::store;

/// Where a device stands and what it is. Empty: not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Whereabouts {
    /// The hospital, practice or building.
    #[serde(default)]
    pub site: String,
    /// The ward or department.
    #[serde(default)]
    pub ward: String,
    /// What it is: "CT scanner", "ward PC". Devices of one type can stand in for each other.
    #[serde(default)]
    pub device_type: String,
}

/// Characters of each at most.
pub const LONGEST: usize = 80;
/// Lines of a list at most.
pub const MOST_LINES: usize = 20_000;

/// Why whereabouts were not changed.
#[derive(Debug, thiserror::Error)]
pub enum WhereaboutsError {
    /// There is no such device.
    #[error("there is no device `{0}` in this organisation")]
    NoDevice(String),
    /// A word that cannot be kept.
    #[error("{0}")]
    Word(String),
    /// Without a reason.
    #[error("changing where a device stands needs a reason that others can read later")]
    NoReason,
    /// The reason is too long.
    #[error(transparent)]
    Reason(#[from] ReasonTooLong),
    /// A list with faults; nothing of it was taken.
    #[error("{}", .0.join("; "))]
    Faults(Vec<String>),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Whereabouts {
    /// As they are kept: single spaces, no more than [`LONGEST`] characters each; or what is wrong.
    pub fn fit(&self) -> Result<Self, WhereaboutsError> {
        let word = |what: &str, text: &str| {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let wrong = match text.chars().count() {
                n if n > LONGEST => format!("has {n} characters and at most {LONGEST} are kept"),
                _ if text.chars().any(char::is_control) => "has a control character in it".to_owned(),
                _ => return Ok(text),
            };
            Err(WhereaboutsError::Word(format!("the {what} {wrong}")))
        };
        Ok(Self {
            site: word("site", &self.site)?,
            ward: word("ward", &self.ward)?,
            device_type: word("type", &self.device_type)?,
        })
    }
}

async fn put(
    tx: &mut WriteTx,
    kernel: &Kernel,
    scope: &Scope,
    by: &str,
    device: &str,
    at: &Whereabouts,
    reason: &str,
) -> Result<Option<wardline_kernel::OrganisationId>, WhereaboutsError> {
    let (organisation, before) = store::whereabouts::of(tx, scope, device)
        .await?
        .ok_or_else(|| WhereaboutsError::NoDevice(device.to_owned()))?;
    if before == *at {
        return Ok(None);
    }
    store::whereabouts::put(tx, &organisation, device, at).await?;
    let act = Act {
        actor: by.to_owned(),
        act: "device.whereabouts_changed",
        target: device.to_owned(),
        detail: json!({"before": before, "after": at, "reason": reason}),
    };
    audit::append(tx, &organisation, kernel.now(), act).await?;
    Ok(Some(organisation))
}

/// Changes where a device stands and what it is.
pub async fn change(
    kernel: &Kernel,
    scope: &Scope,
    by: &str,
    device: &str,
    at: &Whereabouts,
    reason: &str,
) -> Result<(), WhereaboutsError> {
    let (reason, at) = (fit_reason(reason)?, at.fit()?);
    if reason.is_empty() {
        return Err(WhereaboutsError::NoReason);
    }
    let mut tx = kernel.store().write(scope).await?;
    let changed = put(&mut tx, kernel, scope, by, device, &at, &reason).await?;
    tx.commit().await.map_err(StoreError::from)?;
    if let Some(organisation) = changed {
        kernel.bus().tell(&organisation, Topic::DeviceChanged { id: device.to_owned() });
    }
    Ok(())
}

/// One line of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    number: usize,
    device: String,
    at: Whereabouts,
}

/// Reads a list: CSV with the columns `device` (id or name), `site`, `ward` and `type`, in any order.
fn lines(text: &str) -> Result<Vec<Line>, WhereaboutsError> {
    let fault = |what: String| WhereaboutsError::Faults(vec![what]);
    let mut records = csv::read(text).map_err(|e| fault(e.to_string()))?.into_iter();
    let header = records.next().ok_or_else(|| fault("the list is empty".to_owned()))?;
    let column = |name: &str| header.fields.iter().position(|field| field.trim().eq_ignore_ascii_case(name));
    let Some(device) = column("device").or_else(|| column("id")).or_else(|| column("name")) else {
        return Err(fault("line 1: there is no column `device` (its id or its name)".to_owned()));
    };
    let columns = [column("site"), column("ward"), column("type").or_else(|| column("device_type"))];
    if columns.iter().all(Option::is_none) {
        return Err(fault("line 1: there is none of the columns `site`, `ward` and `type`".to_owned()));
    }
    let (mut lines, mut faults) = (Vec::new(), Vec::new());
    for record in records {
        if lines.len() >= MOST_LINES {
            return Err(fault(format!("the list has more than {MOST_LINES} lines; send it in parts")));
        }
        let field = |i: Option<usize>| i.and_then(|i| record.fields.get(i)).cloned().unwrap_or_default();
        let [site, ward, device_type] = columns.map(field);
        match (Whereabouts { site, ward, device_type }.fit(), field(Some(device)).trim()) {
            (_, "") => faults.push(format!("line {}: no device is named", record.line)),
            (Err(what), _) => faults.push(format!("line {}: {what}", record.line)),
            (Ok(at), device) => lines.push(Line { number: record.line, device: device.to_owned(), at }),
        }
    }
    if faults.is_empty() { Ok(lines) } else { Err(WhereaboutsError::Faults(faults)) }
}

/// Takes a list of whereabouts, whole or not at all; gives how many devices changed.
pub async fn import(
    kernel: &Kernel,
    scope: &Scope,
    by: &str,
    text: &str,
    reason: &str,
) -> Result<usize, WhereaboutsError> {
    let reason = fit_reason(reason)?;
    if reason.is_empty() {
        return Err(WhereaboutsError::NoReason);
    }
    let lines = lines(text)?;
    let (mut changed, mut faults) = (Vec::new(), Vec::new());
    let mut tx = kernel.store().write(scope).await?;
    for Line { number: line, device, at } in &lines {
        let is_id = device.len() == 32 && device.bytes().all(|b| b.is_ascii_hexdigit());
        let found = if is_id {
            vec![device.clone()]
        } else {
            store::whereabouts::named(&mut tx, scope, device).await?
        };
        let shown: String = device.chars().filter(|c| !c.is_control()).take(60).collect();
        match found.as_slice() {
            [] => faults.push(format!("line {line}: there is no device `{shown}`")),
            [one] => match put(&mut tx, kernel, scope, by, one, at, &reason).await {
                Ok(Some(organisation)) => changed.push((organisation, one.clone())),
                Ok(None) => {}
                Err(WhereaboutsError::NoDevice(_)) => {
                    faults.push(format!("line {line}: there is no device `{shown}`"));
                }
                Err(error) => return Err(error),
            },
            _ => faults.push(format!("line {line}: several devices are called `{shown}`; use its id")),
        }
        if faults.len() >= 20 {
            break;
        }
    }
    if !faults.is_empty() {
        return Err(WhereaboutsError::Faults(faults));
    }
    tx.commit().await.map_err(StoreError::from)?;
    for (organisation, id) in &changed {
        kernel.bus().tell(organisation, Topic::DeviceChanged { id: id.clone() });
    }
    Ok(changed.len())
}

impl From<WhereaboutsError> for ApiError {
    fn from(error: WhereaboutsError) -> Self {
        let detail = error.to_string();
        match error {
            WhereaboutsError::NoDevice(id) => Self::not_found("device", &id),
            WhereaboutsError::Word(_) => Self::invalid(detail, "shorten it and send it again"),
            WhereaboutsError::NoReason => Self::invalid(detail, "say in `reason` why"),
            WhereaboutsError::Faults(_) => {
                Self::invalid(detail, "correct the list and send it again; nothing of it was taken")
            }
            WhereaboutsError::Reason(error) => error.into(),
            WhereaboutsError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_or_each_fault_is_told_with_its_line() {
        let read = lines("Device,ward,SITE,type\nct-1,\" Imaging \",North  General,CT scanner\n").unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!((read[0].number, read[0].device.as_str()), (2, "ct-1"));
        let at = &read[0].at;
        assert_eq!(
            (at.site.as_str(), at.ward.as_str(), at.device_type.as_str()),
            ("North General", "Imaging", "CT scanner")
        );
        for (text, said) in [
            ("", "the list is empty"),
            ("name\nx", "none of the columns"),
            ("site\nx", "no column `device`"),
            (
                "device,site\n,north\nx,a\u{1b}b",
                "line 2: no device is named; line 3: the site has a control character",
            ),
            (&*format!("device,site\nx,{}", "y".repeat(81)), "line 2: the site has 81 characters"),
            ("device,site\nx,\"y", "line 2: a quoted field"),
        ] {
            let error = lines(text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
