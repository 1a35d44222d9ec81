//! A throw-away PostgreSQL for tests: one cluster in a temporary folder, reached by a Unix socket alone, for all test
//! processes of this user; a fresh database for each test. It goes when nobody has used it for a while.
//!
//! Included by the tests that need it. Without PostgreSQL they say so and pass; with `CI` or `WARDLINE_NEEDS_POSTGRES` set
//! they fail.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// The role that owns the databases, as a hub's operator would make it.
const OWNER: &str = "wardline";

struct Cluster {
    folder: PathBuf,
    bin: PathBuf,
    /// Held shared by everybody who uses the cluster; who ends it takes it alone.
    _used: File,
}

/// Where Debian and others put the newest server's programs.
fn bin() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut bins: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            let bin = path.join("bin");
            bin.join("initdb").exists().then_some((version, bin))
        })
        .collect();
    bins.sort();
    bins.pop().map(|(_, bin)| bin)
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A program that must not run as root: as `postgres`, whom the package makes, if this is root.
fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    command
}

fn done(command: &mut Command) {
    let output = command.env("LC_ALL", "C.UTF-8").current_dir("/").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {out}{err}");
}

fn locked(path: PathBuf) -> File {
    File::options().create(true).truncate(false).read(true).write(true).open(path).unwrap()
}

impl Cluster {
    fn running() -> Option<Self> {
        let bin = bin()?;
        let me = std::fs::metadata("/proc/self").unwrap().uid();
        let base = std::env::temp_dir().join(format!("wardline-postgres-{me}"));
        let (used, starting) = (locked(base.with_extension("used")), locked(base.with_extension("starting")));
        used.lock_shared().unwrap();
        starting.lock().unwrap();
        if UnixStream::connect(base.join(".s.PGSQL.5432")).is_err() {
            start(&base, &bin);
        }
        Some(Self { folder: base, bin, _used: used })
    }

    fn psql(&self, sql: &str) {
        let mut psql = Command::new(self.bin.join("psql"));
        done(psql.args(["-X", "-q", "-U", "postgres", "-d", "postgres", "-c", sql, "-h"]).arg(&self.folder));
    }

    fn url(&self, role: &str, name: &str) -> String {
        format!("postgres:///{name}?host={}&user={role}", self.folder.display())
    }
}

#[allow(clippy::zombie_processes, reason = "the keeper outlives this process on purpose")]
fn start(base: &Path, bin: &Path) {
    let _ = std::fs::remove_dir_all(base);
    std::fs::create_dir(base).unwrap();
    std::fs::set_permissions(base, std::fs::Permissions::from_mode(0o755)).unwrap();
    if is_root() {
        done(Command::new("chown").arg("postgres:postgres").arg(base));
    }
    let data = base.join("data");
    done(
        unprivileged(&bin.join("initdb"))
            .args([
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
                "-D",
            ])
            .arg(&data),
    );
    // Nothing here has to survive a power cut.
    let options = format!(
        "-c listen_addresses='' -c unix_socket_directories='{}' -c fsync=off -c full_page_writes=off \
         -c shared_buffers=32MB -c max_connections=200 -c autovacuum=off",
        base.display()
    );
    let mut pg_ctl = unprivileged(&bin.join("pg_ctl"));
    pg_ctl
        .args(["-w", "-s", "-l"])
        .arg(base.join("log"))
        .arg("-D")
        .arg(&data)
        .args(["-o", &options, "start"]);
    // The server inherits what pg_ctl has: nothing of the test's.
    let started = pg_ctl.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(started.status().unwrap().success(), "PostgreSQL did not start: see {}/log", base.display());
    let cluster = Cluster { folder: base.to_owned(), bin: bin.to_owned(), _used: locked(base.join("psql")) };
    cluster.psql(&format!("CREATE ROLE {OWNER} LOGIN CREATEDB"));

    // Whoever started it may be gone by then: it is ended by somebody who looks whether it is used.
    let stop = format!(
        "while sleep 15; do flock -n -x {used} sh -c \"$1 -m immediate -s -D {data} stop; rm -rf {base}\" && exit; done",
        used = base.with_extension("used").display(),
        data = data.display(),
        base = base.display()
    );
    let pg_ctl = bin.join("pg_ctl").display().to_string();
    let pg_ctl = if is_root() {
        format!("setpriv --reuid=postgres --regid=postgres --clear-groups -- {pg_ctl}")
    } else {
        pg_ctl
    };
    let mut keeper = Command::new("sh");
    keeper.args(["-c", &stop, "sh", &pg_ctl]).current_dir("/").process_group(0);
    keeper.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
}

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let Some(cluster) = Cluster::running() else {
            let needed =
                ["CI", "WARDLINE_NEEDS_POSTGRES"].iter().any(|name| std::env::var_os(name).is_some());
            assert!(!needed, "PostgreSQL is not installed, and is needed here");
            // Past the harness, which keeps what a passing test says to itself.
            std::io::stderr().write_all(b"skipped: PostgreSQL is not installed\n").unwrap();
            std::process::exit(0);
        };
        cluster
    })
}

/// The address of a fresh database, whose owner it names.
pub fn database() -> String {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let name = format!("t{}_{nanos}", std::process::id());
    cluster().psql(&format!("CREATE DATABASE {name} OWNER {OWNER} TEMPLATE template0"));
    cluster().url(OWNER, &name)
}

/// The same database for somebody else: `postgres` is the superuser.
#[allow(dead_code)] // Not every test that includes this needs it.
pub fn as_role(url: &str, role: &str) -> String {
    url.replace(&format!("user={OWNER}"), &format!("user={role}"))
}
