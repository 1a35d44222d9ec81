//! `wardline hub`: run, link, token, organisations, keys, audit; migrate, backup, restore, doctor.

mod audit;
mod doctor;
mod keys;
mod organisations;
mod upkeep;

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use tracing::{info, warn};
use wardline_event::hex;
use wardline_hub::{HubConfig, Invited, RunningHub, TokenSpec};
use wardline_policy::{DeviceClass, Mode, Role};

use crate::data::{self, Folder};
use crate::logging;

#[derive(Subcommand)]
pub enum HubCommand {
    /// Serve agents, the API and the console, in the foreground
    #[command(after_help = "Example:
  wardline hub run --data /var/lib/wardline/hub --agents 0.0.0.0:8701 --organisation \"St Aldhelm's\"
  PGPASSFILE=/etc/wardline/pgpass wardline hub run --database \"postgres://wardline@db.example/wardline?sslmode=verify-full\"")]
    Run(RunArgs),
    /// Make a one-time sign-in link, while the hub runs or not
    Link(LinkArgs),
    /// Make an enrolment token for agents
    #[command(after_help = "Example:
  wardline hub token --role \"ward PC\" --mode protect --uses 40")]
    Token(TokenArgs),
    /// List the organisations that share this hub, or import a register of them
    #[command(subcommand)]
    Organisations(organisations::OrganisationsCommand),
    /// Replace the key that signs commands
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Take a signed copy of the audit log, or show the key that signs it
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Bring the database to this version before the hub starts, or tell what would be done
    Migrate(upkeep::MigrateArgs),
    /// Write everything a hub knows into one file, while it runs
    #[command(after_help = upkeep::BACKUP_EXAMPLES)]
    Backup(upkeep::BackupArgs),
    /// Make a hub from a backup, in an empty folder or an empty database
    #[command(after_help = upkeep::RESTORE_EXAMPLES)]
    Restore(upkeep::RestoreArgs),
    /// Check a hub's data: database, schema, audit log, keys, room, rights
    Doctor(doctor::DoctorArgs),
}

#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    database: upkeep::Database,
    /// Address of the console and the API
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8700")]
    http: SocketAddr,
    /// Address at which agents reach this hub
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8701")]
    agents: SocketAddr,
    /// Name of the organisation, taken when the folder is new
    #[arg(long, value_name = "NAME", default_value = "This organisation")]
    organisation: String,
    /// Report readiness as JSON on standard output and stop when standard input closes
    #[arg(long, hide = true)]
    supervised: bool,
    /// With --supervised: also make a token for one device in this mode
    #[arg(long, hide = true, value_enum)]
    token_for: Option<ModeArg>,
    /// With --supervised: lay down monitor mode for this device, and report the signed policy
    #[arg(long, hide = true, value_name = "DEVICE")]
    monitor_device: Option<String>,
}

#[derive(Args)]
pub struct LinkArgs {
    #[command(flatten)]
    folder: Folder,
    /// Name of the person, as it goes into the audit log
    #[arg(long, value_name = "NAME", default_value = "administrator")]
    person: String,
    /// What they may do
    #[arg(long, value_enum, default_value_t = RoleArg::Administrator)]
    role: RoleArg,
    /// ODS code of the organisation in which, and in all below it; the hub's own if not said
    #[arg(long, value_name = "ODS")]
    organisation: Option<String>,
    /// Address of the console, as its users reach it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8700")]
    http: String,
}

#[derive(Args)]
pub struct TokenArgs {
    #[command(flatten)]
    folder: Folder,
    /// What the devices are for, in words
    #[arg(long, default_value = "")]
    role: String,
    /// Whether patients depend on them: no rule kills on clinical devices
    #[arg(long, value_enum, default_value_t = ClassArg::Workstation)]
    class: ClassArg,
    /// Whether rules may act there
    #[arg(long, value_enum, default_value_t = ModeArg::Monitor)]
    mode: ModeArg,
    /// How many devices may use it
    #[arg(long, default_value_t = 1)]
    uses: u32,
    /// For how many hours
    #[arg(long, default_value_t = 24)]
    hours: u64,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum ModeArg {
    /// Findings are recorded, with what would have been done
    Monitor,
    /// Rules with a response act at once
    Protect,
}

impl ModeArg {
    fn mode(self) -> Mode {
        match self {
            Self::Monitor => Mode::Monitor,
            Self::Protect => Mode::Protect,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub enum RoleArg {
    /// Looks at findings and handles them
    Analyst,
    /// Also orders devices
    Responder,
    /// Answers for an organisation's devices
    TrustLead,
    /// Lays down how devices are guarded, and takes orders back
    ClinicalEngineer,
    /// Orders devices at night
    OnCallManager,
    /// Reads everything, changes nothing
    Inspector,
    /// Runs the hub
    Administrator,
}

impl RoleArg {
    fn role(self) -> Role {
        match self {
            Self::Analyst => Role::Analyst,
            Self::Responder => Role::Responder,
            Self::TrustLead => Role::TrustLead,
            Self::ClinicalEngineer => Role::ClinicalEngineer,
            Self::OnCallManager => Role::OnCallManager,
            Self::Inspector => Role::Inspector,
            Self::Administrator => Role::Administrator,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub enum ClassArg {
    /// A person's computer
    Workstation,
    /// A server
    Server,
    /// Patients depend on it directly
    Clinical,
}

impl ClassArg {
    fn class(self) -> DeviceClass {
        match self {
            Self::Workstation => DeviceClass::Workstation,
            Self::Server => DeviceClass::Server,
            Self::Clinical => DeviceClass::Clinical,
        }
    }
}

pub fn run(command: &HubCommand) -> anyhow::Result<ExitCode> {
    logging::start(false);
    let runtime = data::runtime()?;
    match command {
        HubCommand::Run(args) => {
            data::keep_private();
            // Two threads: one serves while the other writes.
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(serve(args))?;
        }
        HubCommand::Link(args) => {
            let invited = Invited {
                person: args.person.clone(),
                role: args.role.role(),
                organisation: args.organisation.clone(),
            };
            let code = runtime.block_on(wardline_hub::make_link(&args.folder.path("hub")?, &invited))?;
            println!("http://{}/signin/{code}", args.http);
        }
        HubCommand::Token(args) => {
            let spec = TokenSpec {
                role: args.role.clone(),
                class: args.class.class(),
                mode: args.mode.mode(),
                uses: args.uses,
                life_s: args.hours.saturating_mul(3600),
            };
            println!(
                "{}",
                runtime.block_on(wardline_hub::make_enrolment_token(&args.folder.path("hub")?, &spec))?
            );
        }
        HubCommand::Organisations(command) => return runtime.block_on(organisations::run(command)),
        HubCommand::Keys(command) => return runtime.block_on(keys::run(command)),
        HubCommand::Audit(command) => return runtime.block_on(audit::run(command)),
        HubCommand::Migrate(args) => return runtime.block_on(upkeep::migrate(args)),
        HubCommand::Backup(args) => return runtime.block_on(upkeep::back_up(args)),
        HubCommand::Restore(args) => return runtime.block_on(upkeep::restore(args)),
        HubCommand::Doctor(args) => return runtime.block_on(doctor::run(args)),
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: &RunArgs) -> anyhow::Result<()> {
    let config = HubConfig {
        http: args.http,
        agents: args.agents,
        organisation: args.organisation.clone(),
        database: args.database.url(),
        ..HubConfig::new(args.folder.path("hub")?)
    };
    let hub = wardline_hub::start(config).await?;
    if !hub.http_addr().ip().is_loopback() {
        warn!(
            "the console and API speak plain HTTP on {}: put a TLS proxy in front of them",
            hub.http_addr()
        );
    }
    if args.supervised {
        report_ready(args, &hub).await?;
    } else {
        info!("agents connect to {}", hub.agents_addr());
        if std::io::stderr().is_terminal() {
            info!("sign in once, within 15 minutes: {}", hub.make_link().await?);
        } else {
            // A link in a log file would let whoever reads the log sign in.
            info!("the console is at http://{} (for a sign-in link: wardline hub link)", hub.http_addr());
        }
    }
    data::stop_asked(args.supervised)?.await;
    hub.stop().await;
    Ok(())
}

/// Tells whoever supervises this hub how to reach it, with what it asked to be made.
async fn report_ready(args: &RunArgs, hub: &RunningHub) -> anyhow::Result<()> {
    let mut ready = json!({"http": hub.http_addr().to_string(), "agents": hub.agents_addr().to_string(),
                           "link": hub.make_link().await?});
    if let Some(mode) = args.token_for {
        let spec = TokenSpec { mode: mode.mode(), role: "this machine".to_owned(), ..TokenSpec::default() };
        ready["token"] = json!(hub.make_enrolment_token(&spec).await?.to_string());
    }
    if let Some(device) = &args.monitor_device {
        ready["policy"] = json!(hex(&hub.monitor_only(device, "started with --monitor").await?));
    }
    let mut out = std::io::stdout();
    writeln!(out, "{ready}")?;
    out.flush()?;
    Ok(())
}
