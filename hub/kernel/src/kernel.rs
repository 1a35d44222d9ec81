//! The kernel: what every handler and job is given.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use wardline_event::Timestamp;
use wardline_policy::{Deed, Role};

use crate::auth::{Access, Limiter};
use crate::bus::Bus;
use crate::clock::{Clock, SystemClock};
use crate::events::{EventStore, TableEvents};
use crate::keys::{KeyError, Keys};
use crate::scope::{OrganisationId, Scope};
use crate::store::{Migration, Store, StoreError};
use crate::tree::{self, Facts, OrganisationKind, TreeError};

/// The person behind sign-in links that name nobody.
pub const FIRST_PERSON: &str = "administrator";

/// How to open a kernel.
pub struct KernelConfig {
    /// The data folder; made if it is not there.
    pub data_dir: PathBuf,
    /// Address of a database server, `postgres://…`; `None`: what the folder remembers, or a file in it.
    pub database: Option<String>,
    /// Name of the first organisation; used once, when the data folder is new.
    pub organisation: String,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The kernel's own migrations and those of every capability.
    pub migrations: Vec<Migration>,
    /// What each route does, as the policies call it.
    pub access: Vec<Access>,
}

impl KernelConfig {
    /// A kernel on the machine's clock, for "This organisation".
    pub fn new(data_dir: impl Into<PathBuf>, migrations: Vec<Migration>) -> Self {
        Self {
            data_dir: data_dir.into(),
            database: None,
            organisation: "This organisation".into(),
            clock: Arc::new(SystemClock),
            migrations,
            access: Vec::new(),
        }
    }
}

/// The kernel could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

struct Inner {
    store: Store,
    events: Arc<dyn EventStore>,
    clock: Arc<dyn Clock>,
    bus: Bus,
    keys: Keys,
    home: Scope,
    organisation: String,
    limiter: Limiter,
    token_limiter: Limiter,
    access: HashMap<(&'static str, &'static str), Deed>,
    stopping: watch::Sender<bool>,
}

/// What every handler and job is given. Cheap to clone.
#[derive(Clone)]
pub struct Kernel(Arc<Inner>);

impl Kernel {
    /// Opens the data folder, brings it to this version, and reads or makes the keys.
    pub async fn open(config: KernelConfig) -> Result<Self, OpenError> {
        let now = config.clock.now();
        let store =
            Store::open(&config.data_dir, config.database.as_deref(), &config.migrations, now).await?;
        let known = tree::root_of(store.read()).await?;
        // The keys come before the organisation: a first start that is cut off in between begins again.
        if known.is_some() {
            Keys::complete(&config.data_dir)?;
        }
        let keys = Keys::open(&config.data_dir, known.is_none().then_some(now))?;
        let (home, organisation) = match known {
            Some(known) => known,
            None => first_organisation(&store, &config.organisation, now).await?,
        };
        Ok(Self::new(store, keys, (home, organisation), config.clock, &config.access))
    }

    /// Opens the data folder of a hub that may be running, for the command line: nothing is made and nothing is
    /// migrated. [`StoreError::NoHub`] if there is no hub of this version.
    pub async fn open_beside(config: KernelConfig) -> Result<Self, OpenError> {
        let store = Store::open_beside(&config.data_dir, &config.migrations).await?;
        let known = tree::root_of(store.read()).await?;
        let (home, organisation) = known.ok_or(StoreError::NoHub { path: config.data_dir.clone() })?;
        let keys = Keys::open(&config.data_dir, None)?;
        Ok(Self::new(store, keys, (home, organisation), config.clock, &config.access))
    }

    fn new(
        store: Store,
        keys: Keys,
        (home, organisation): (OrganisationId, String),
        clock: Arc<dyn Clock>,
        access: &[Access],
    ) -> Self {
        let access = access.iter().map(|(method, path, deed)| ((*method, *path), *deed)).collect();
        let events = Arc::new(TableEvents::new(store.read().clone()));
        Self(Arc::new(Inner {
            store,
            events,
            clock,
            bus: Bus::default(),
            keys,
            home: Scope::within(home),
            organisation,
            limiter: Limiter::default(),
            token_limiter: Limiter::default(),
            access,
            stopping: watch::channel(false).0,
        }))
    }

    /// The state.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The events.
    pub fn events(&self) -> &dyn EventStore {
        &*self.0.events
    }

    /// Now, by the hub's only clock.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The bus.
    pub fn bus(&self) -> &Bus {
        &self.0.bus
    }

    /// The hub's secrets.
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// Everything on this hub, from the organisation that runs it down: for jobs and for the command line.
    pub fn home(&self) -> &Scope {
        &self.0.home
    }

    /// That organisation's name when the hub started.
    pub fn organisation(&self) -> &str {
        &self.0.organisation
    }

    /// What a route does, as the policies call it; `None` if nobody has said.
    pub(crate) fn deed(&self, method: &str, pattern: &str) -> Option<Deed> {
        let method = if method == "HEAD" { "GET" } else { method };
        self.0.access.get(&(method, pattern)).copied()
    }

    /// Failed sign-ins by code.
    pub(crate) fn limiter(&self) -> &Limiter {
        &self.0.limiter
    }

    /// Wrong API tokens. Counted apart: a program with an old token must not keep people from signing in.
    pub(crate) fn token_limiter(&self) -> &Limiter {
        &self.0.token_limiter
    }

    /// Makes a one-time sign-in code for the first person. The link is `http://ADDRESS/signin/CODE`.
    pub async fn make_link(&self) -> Result<String, StoreError> {
        let root = self.home().root();
        crate::auth::make_link(self.store(), root, FIRST_PERSON, Role::Administrator, self.now()).await
    }

    /// Ends live streams and jobs.
    pub fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Returns when the hub is stopping.
    pub async fn stopped(&self) {
        // The sender lives as long as this kernel, so waiting cannot fail.
        let _ = self.0.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }
}

/// Makes the organisation that runs the hub.
async fn first_organisation(
    store: &Store,
    name: &str,
    now: Timestamp,
) -> Result<(OrganisationId, String), StoreError> {
    let facts = Facts {
        name: name.to_owned(),
        kind: OrganisationKind::Other,
        ods: None,
        town: String::new(),
        postcode: String::new(),
    };
    let mut tx = store.write_everywhere().await?;
    let id = tree::new_id();
    tree::insert(&mut tx, &id, None, &facts, now).await.map_err(|error| match error {
        TreeError::Store(error) => error,
        // A new hub has no other organisation that anything could clash with.
        _ => StoreError::Corrupt { what: "organisation" },
    })?;
    tx.commit().await?;
    Ok((id, name.to_owned()))
}
