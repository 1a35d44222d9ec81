//! What an order would do before it is given: how far it reaches, and whose agreement it needs. The same for the page that
//! shows it first and for the order itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use utoipa::ToSchema;
use wardline_event::{DeviceId, Timestamp};
use wardline_kernel::clock::sha256_hex;
use wardline_kernel::db::DbConnection;
use wardline_kernel::views::{self, DeviceSummary, Presence};
use wardline_kernel::{Kernel, OrganisationId, Scope, StoreError, tree};
use wardline_policy::{
    Basis, DeviceClass, DevicePolicy, LastOfType, Need, Order, Party, Reach, Target, Verdict, Warrant,
    Whereabouts, judge, measure, permit,
};

use crate::domain::Wish;
use crate::order::OrderError;
use crate::person::Person;
use crate::store::survey as store;

/// Devices that can be ordered at once.
pub const MOST_AT_ONCE: usize = 200;

/// A device that an order is for, as the hub knows it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub id: DeviceId,
    pub summary: DeviceSummary,
    pub organisation: OrganisationId,
    pub policy: DevicePolicy,
}

/// A device with what the policies say of the order to it.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub seen: Seen,
    pub warrant: Warrant,
    pub rests_on: String,
    pub verdict: Verdict,
}

/// Looks up the devices of an order, each once, in the order in which they were named.
pub(crate) async fn see(kernel: &Kernel, scope: &Scope, devices: &[String]) -> Result<Vec<Seen>, OrderError> {
    let (pool, now) = (kernel.store().read(), kernel.now());
    if devices.is_empty() {
        return Err(OrderError::Nonsense("no device was named"));
    }
    let mut known = BTreeSet::new();
    let mut all = Vec::new();
    for device in devices {
        if !known.insert(device) {
            continue;
        }
        if known.len() > MOST_AT_ONCE {
            return Err(OrderError::Nonsense(
                "at most 200 devices can be ordered at once; order them in parts",
            ));
        }
        let no_device = || OrderError::NoDevice(device.clone());
        let id: DeviceId = device.parse().map_err(|_| no_device())?;
        let summary = views::device_by_id(pool, scope, device, now).await?.ok_or_else(no_device)?;
        if summary.presence == Presence::Revoked {
            return Err(OrderError::Revoked);
        }
        let policy = views::device_policy(pool, scope, device).await?.ok_or_else(no_device)?;
        let policy =
            DevicePolicy::from_json(policy.as_bytes()).map_err(|_| StoreError::Corrupt { what: "policy" })?;
        let organisation = OrganisationId::stored(summary.organisation.clone());
        all.push(Seen { id, summary, organisation, policy });
    }
    Ok(all)
}

/// True if somebody of this scope works above the organisation that is accountable for `organisation`.
pub(crate) async fn is_from_above(
    kernel: &Kernel,
    scope: &Scope,
    organisation: &OrganisationId,
) -> Result<bool, StoreError> {
    let pool = kernel.store().read();
    let accountable = tree::accountable(pool, organisation).await?;
    Ok(accountable != *scope.root() && tree::is_within(pool, scope, &accountable).await?)
}

fn whereabouts(device: &DeviceSummary) -> Whereabouts {
    Whereabouts {
        site: device.site.clone(),
        ward: device.ward.clone(),
        device_type: device.device_type.clone(),
        class: DeviceClass::parse(&device.class).unwrap_or_default(),
    }
}

/// How far an order to these devices reaches, for each of them.
pub(crate) async fn reach(
    database: &mut DbConnection,
    scope: &Scope,
    answerable: &str,
    order: &Order,
    devices: &[Seen],
    now: Timestamp,
) -> Result<Vec<Reach>, StoreError> {
    if !order.contains_device() {
        return Ok(vec![Reach::default(); devices.len()]);
    }
    let mut by_person = store::contained_by(database, scope, answerable, now).await?;
    by_person.extend(devices.iter().map(|seen| seen.summary.id.clone()));
    let by_person = u32::try_from(by_person.len()).unwrap_or(u32::MAX);
    let mut reaches: BTreeMap<&str, Reach> = BTreeMap::new();
    let organisations: BTreeSet<&OrganisationId> = devices.iter().map(|seen| &seen.organisation).collect();
    for organisation in organisations {
        let here: Vec<&Seen> = devices.iter().filter(|seen| seen.organisation == *organisation).collect();
        let cells = store::cells(database, organisation, now).await?;
        let mut targets = Vec::with_capacity(here.len());
        for seen in &here {
            let contained = store::is_contained(database, organisation, &seen.summary.id, now).await?;
            let standing = seen.summary.presence == Presence::Live && !contained;
            targets.push(Target { at: whereabouts(&seen.summary), contained, standing });
        }
        let measured = measure(&cells, &targets, by_person);
        reaches.extend(here.iter().map(|seen| seen.summary.id.as_str()).zip(measured));
    }
    Ok(devices
        .iter()
        .map(|seen| reaches.get(seen.summary.id.as_str()).copied().unwrap_or_default())
        .collect())
}

/// Judges an order to these devices: the first basis that needs nobody's agreement, or that of the person's role.
pub(crate) async fn assess(
    kernel: &Kernel,
    database: &mut DbConnection,
    person: &Person,
    wish: &Wish,
    devices: Vec<Seen>,
    now: Timestamp,
) -> Result<Vec<Judged>, StoreError> {
    let order = wish.order();
    let reaches = reach(database, &person.scope, &person.answerable, &order, &devices, now).await?;
    let mut judged = Vec::with_capacity(devices.len());
    for (seen, reach) in devices.into_iter().zip(reaches) {
        let from_above = is_from_above(kernel, &person.scope, &seen.organisation).await?;
        let mut warrant = Warrant {
            organisation: seen.organisation.to_string(),
            requester: person.party(from_above),
            basis: Basis::Role,
            approvals: Vec::new(),
            reach,
        };
        let class = seen.policy.class;
        let mut verdict = judge(&order, class, &warrant);
        let mut rests_on = String::new();
        if matches!(verdict, Verdict::Needs(_)) {
            let consent = match (from_above, order.action()) {
                (true, Some(action)) => {
                    let asked = (action, order.undoes(), class);
                    store::consent(database, person.scope.root(), &seen.organisation, asked, now).await?
                }
                _ => None,
            };
            let glass = store::glass(database, &person.answerable, &seen.organisation, now).await?;
            // Broken glass is used only where it is needed: each use is looked into.
            for (basis, id) in [(Basis::Consent, consent), (Basis::BreakGlass, glass)] {
                let Some(id) = id else { continue };
                let other = judge(&order, class, &Warrant { basis, ..warrant.clone() });
                let better = match (&other, &verdict) {
                    (Verdict::Go, _) => true,
                    (Verdict::Needs(few), Verdict::Needs(many)) => few.len() < many.len(),
                    _ => false,
                };
                if better {
                    (warrant.basis, rests_on, verdict) = (basis, id, other);
                }
                if verdict == Verdict::Go {
                    break;
                }
            }
        }
        judged.push(Judged { seen, warrant, rests_on, verdict });
    }
    Ok(judged)
}

/// What an order would do to one device.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Effect {
    /// The device.
    pub device: String,
    /// Its name.
    pub hostname: String,
    /// Its organisation's name.
    pub organisation_name: String,
    /// Where it stands; empty if not known.
    pub site: String,
    /// Its ward; empty if not known.
    pub ward: String,
    /// Its type; empty if not known.
    pub device_type: String,
    /// `workstation`, `server` or `clinical`.
    pub class: String,
    /// `live`, `silent` or `never_connected`: one that is not heard is asked when it is back.
    pub presence: String,
    /// Why it cannot be ordered at all; empty if it can.
    pub refused: String,
    /// Whose agreement is needed.
    #[schema(value_type = Vec<Object>)]
    pub needs: Vec<Need>,
    /// `role`, `consent` or `break_glass`.
    pub basis: String,
    /// Whether no other of its type would be left at its site: `no`, `unknown`, `yes`.
    pub last_of_type: String,
    /// Per cent of its ward that would be contained at once; 0 if it would be the only one.
    pub of_ward: u32,
    /// Per cent of its site.
    pub of_site: u32,
    /// Per cent of its organisation.
    pub of_organisation: u32,
    /// Per cent of its type within the organisation.
    pub of_type: u32,
    /// What stays open because patients depend on it.
    pub kept: Vec<String>,
}

/// What an order would do.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Preview {
    /// To each device.
    pub effects: Vec<Effect>,
    /// Devices that this person would have contained alone within the last hour.
    pub by_person: u32,
    /// Names this preview: send it as `seen` to order exactly this.
    pub seen: String,
}

impl Preview {
    pub(crate) fn of(wish: &Wish, reason: &str, judged: &[Judged]) -> Self {
        let order = wish.order();
        let effects: Vec<Effect> = judged.iter().map(|one| effect(&order, reason, one)).collect();
        // The shares may move while somebody reads; whose agreement is needed and which devices are meant must not.
        let mut essence: Vec<String> = effects
            .iter()
            .map(|e| format!("{} {} {} {:?} {:?}", e.device, e.refused, e.last_of_type, e.needs, e.kept))
            .collect();
        essence.sort_unstable();
        let essence = format!("{} {}\n{}", wish.kind(), wish.target(), essence.join("\n"));
        let by_person = judged.iter().map(|one| one.warrant.reach.devices).max().unwrap_or(0);
        Self { effects, by_person, seen: sha256_hex(essence.as_bytes())[..16].to_owned() }
    }

    /// True if there is something that somebody should see first: others must agree, or more than one device is meant.
    pub fn is_remarkable(&self) -> bool {
        self.effects.len() > 1
            || self.effects.iter().any(|e| !e.needs.is_empty() || e.last_of_type != "no" || e.basis != "role")
    }
}

fn effect(order: &Order, reason: &str, judged: &Judged) -> Effect {
    let (device, reach) = (&judged.seen.summary, &judged.warrant.reach);
    let (mut refused, needs) = match &judged.verdict {
        Verdict::Go => (String::new(), Vec::new()),
        Verdict::Needs(needs) => (String::new(), needs.clone()),
        Verdict::Refused(no) => (no.because.clone(), Vec::new()),
    };
    // A reason may still be to come.
    let reason = if reason.trim().is_empty() { "to come" } else { reason };
    if let Err(no) = permit(order, reason, &judged.seen.policy) {
        refused = no.to_string();
    }
    let kept = if order.contains_device() && order.action() != Some("suspend_logons") {
        let flow = |flow: &wardline_policy::KeptFlow| format!("{} ({} {})", flow.name, flow.peer, flow.ports);
        judged.seen.policy.keep_flows.iter().map(flow).collect()
    } else {
        Vec::new()
    };
    Effect {
        device: device.id.clone(),
        hostname: device.hostname.clone(),
        organisation_name: device.organisation_name.clone(),
        site: device.site.clone(),
        ward: device.ward.clone(),
        device_type: device.device_type.clone(),
        class: device.class.clone(),
        presence: device.presence.as_str().to_owned(),
        refused,
        needs,
        basis: judged.warrant.basis.as_str().to_owned(),
        last_of_type: reach.last_of_type.as_str().to_owned(),
        of_ward: reach.of_ward,
        of_site: reach.of_site,
        of_organisation: reach.of_organisation,
        of_type: reach.of_type,
        kept,
    }
}

/// Says what an order would do, and gives none.
pub async fn preview(
    kernel: &Kernel,
    person: &Person,
    devices: &[String],
    wish: &Wish,
    reason: &str,
) -> Result<Preview, OrderError> {
    if let Some(fault) = wish.fault() {
        return Err(OrderError::Nonsense(fault));
    }
    let seen = see(kernel, &person.scope, devices).await?;
    let mut reading = kernel.store().read().snapshot(&person.scope).await?;
    let judged = assess(kernel, &mut reading, person, wish, seen, kernel.now()).await?;
    Ok(Preview::of(wish, reason, &judged))
}

/// A warrant in the words of the wire.
pub(crate) fn on_the_wire(warrant: &Warrant, rests_on: &str) -> wardline_wire::proto::Authority {
    use wardline_wire::proto;
    let party = |party: &Party| proto::Party {
        name: party.name.clone(),
        role: party.role.as_str().to_owned(),
        from_above: party.from_above,
    };
    let Reach { devices, of_ward, of_site, of_organisation, of_type, last_of_type } = warrant.reach;
    proto::Authority {
        organisation: warrant.organisation.clone(),
        requester: Some(party(&warrant.requester)),
        basis: warrant.basis.as_str().to_owned(),
        rests_on: rests_on.to_owned(),
        approvals: warrant.approvals.iter().map(party).collect(),
        reach: Some(proto::Reach {
            devices,
            of_ward,
            of_site,
            of_organisation,
            of_type,
            last_of_type: LastOfType::as_str(last_of_type).to_owned(),
        }),
    }
}
