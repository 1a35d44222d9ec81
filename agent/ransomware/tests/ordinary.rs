//! Ordinary work, done by the real programs, over folders that hold letters, pictures and what looks random: nobody is
//! stopped. Programs that are not installed are skipped, with a word; in CI all of them must be there.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used)] // The lint knows test functions, not their helpers.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{documents, noise, watch};
use wardline_ransomware::canary;

/// Runs a shell script in a folder full of documents below `docs`, and fails if anybody was stopped, or anything failed.
/// What gave evidence is printed: none is the rule.
fn work(name: &str, needs: &[&str], script: &str) {
    let missing = needs.iter().find(|p| {
        !Command::new("sh")
            .args(["-c", &format!("command -v {p}")])
            .stdout(Stdio::null())
            .status()
            .unwrap()
            .success()
    });
    if let Some(missing) = missing {
        assert!(std::env::var_os("CI").is_none(), "CI must have {missing}");
        println!("{name}: skipped: needs {missing}");
        return;
    }
    let Some(mut watch) = watch() else { return };
    let folder = tempfile::tempdir().unwrap();
    let docs = folder.path().join("docs");
    documents(&docs, 200);
    // Encrypted archives, keys, random samples: what has no structure at all.
    for i in 0..20 {
        fs::write(docs.join("ward-0").join(format!("sample-{i}.bin")), noise(20_000)).unwrap();
    }
    // Canaries lie among them, which whoever works here reads, copies and packs like the rest.
    let wards = [format!("{}/*", docs.display())];
    let (canaries, _) = canary::plant(watch.state.path(), &wards);
    assert_eq!(watch.guard.watch_canaries(&canaries).unwrap(), 16);
    let log = folder.path().join("log");
    let mut child = Command::new("sh")
        .args(["-euc", script])
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .stdout(fs::File::create(&log).unwrap())
        .stderr(fs::File::options().append(true).open(&log).unwrap())
        .spawn()
        .unwrap();
    let until = std::time::Instant::now() + Duration::from_mins(5);
    let mut alarms = Vec::new();
    let status = loop {
        for alarm in watch.guard.poll(Duration::from_millis(20)).unwrap() {
            watch.guard.release(alarm.family).unwrap();
            alarms.push(alarm);
        }
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if std::time::Instant::now() > until {
            child.kill().unwrap();
        }
    };
    assert!(status.success(), "{name}: {}", fs::read_to_string(log).unwrap());
    assert!(alarms.is_empty(), "{name} was stopped: {alarms:#?}");
    println!("{name}: not stopped");
}

#[test]
fn tar_packs_and_unpacks_over_what_is_there() {
    work(
        "tar",
        &["tar"],
        "tar cf a.tar docs; tar xf a.tar; tar czf a.tgz docs; tar xzf a.tgz; tar xf a.tar --overwrite; \
        tar cf b.tar --remove-files docs; tar xf b.tar",
    );
}

#[test]
fn rsync_copies_updates_and_deletes() {
    work(
        "rsync",
        &["rsync"],
        "rsync -a docs/ copy/; for f in docs/*/*.bin; do head -c 9000 /dev/urandom > \"$f\"; done; \
        rsync -a docs/ copy/; rsync -ac --no-whole-file docs/ copy/; for f in docs/*/*.txt; do echo more >> $f; done; for f in docs/*/*.bin; do head -c 9001 /dev/urandom > \"$f\"; done; \
        rsync -a --inplace --no-whole-file docs/ copy/; rm -r docs/ward-1; rsync -a --delete docs/ copy/",
    );
}

#[test]
fn git_commits_switches_stashes_and_collects() {
    work(
        "git",
        &["git"],
        "cd docs; git init -q .; git config user.email a@b; git config user.name a; git add .; \
        git commit -qm one; git checkout -qb two; for f in */*.txt */*.csv; do echo more >> $f; done; git commit -qam two; \
        git rm -rq ward-3; git commit -qm three; git checkout -q -; git checkout -q two; git stash list; \
        for f in ward-0/*; do echo x >> $f; done; git stash -q; git stash pop -q; git reset -q --hard; git gc -q --prune=now; \
        git clone -q . ../clone; git checkout -q master 2>/dev/null || git checkout -q main; git clean -fdxq",
    );
}

#[test]
fn a_package_is_built_installed_upgraded_and_removed() {
    work(
        "dpkg",
        &["dpkg", "dpkg-deb"],
        "for v in 1 2; do mkdir -p p/DEBIAN p/usr/share/wl-test; \
        printf 'Package: wl-test\\nVersion: %s\\nArchitecture: all\\nMaintainer: a <a@b>\\nDescription: t\\n' $v > p/DEBIAN/control; \
        cp -r docs p/usr/share/wl-test/; echo $v >> p/usr/share/wl-test/docs/ward-0/letter-0.txt; dpkg-deb -b p p$v.deb; done; \
        mkdir -p root/var/lib/dpkg/info root/var/lib/dpkg/updates; : > root/var/lib/dpkg/status; : > root/var/lib/dpkg/available; \
        for v in 1 2; do dpkg --root=$PWD/root --force-not-root --force-all -i p$v.deb; done; \
        dpkg --root=$PWD/root --force-all -P wl-test",
    );
}

#[test]
fn cargo_builds_twice() {
    work(
        "cargo",
        &["cargo"],
        "export CARGO_HOME=$PWD/cargo; \
        export RUSTUP_HOME=${RUSTUP_HOME:-/root/.rustup}; cargo init -q --vcs none --name t app; cd app; \
        for i in 1 2 3 4 5 6 7 8 9; do echo \"pub mod m$i;\" >> src/lib.rs; echo \"pub fn f() -> u32 { $i }\" > src/m$i.rs; done; \
        CARGO_INCREMENTAL=1 cargo build -q --offline; for f in src/m*.rs; do echo 'pub fn g() {}' >> $f; done; \
        CARGO_INCREMENTAL=1 cargo build -q --offline; cargo clean -q; cargo build -q --offline",
    );
}

#[test]
fn databases_under_load() {
    work(
        "sqlite",
        &["sqlite3"],
        "for n in 1 2 3 4 5 6 7 8; do (sqlite3 d$n.db 'create table t(a,b)'; for i in 1 2 3 4 5; do \
        sqlite3 d$n.db \"with recursive c(x) as (select 1 union all select x+1 from c where x<2000) insert into t select x, randomblob(300) from c; \
        update t set b=randomblob(300) where a%2; delete from t where a%3=0; vacuum;\"; done) & done; wait",
    );
}

#[test]
fn postgres_under_load() {
    work(
        "postgres",
        &["pg_ctlcluster", "runuser"],
        "B=$(ls -d /usr/lib/postgresql/*/bin | tail -1); chmod 755 .; mkdir pg; chown postgres pg; \
        R=\"runuser -u postgres --\"; $R $B/initdb -D pg/d -A trust >/dev/null; \
        $R $B/pg_ctl -D pg/d -w -o \"-k $PWD/pg -c listen_addresses=\" start >/dev/null; trap \"$R $B/pg_ctl -D pg/d -m immediate stop\" EXIT; \
        $R $B/pgbench -h $PWD/pg -i -s 5 -q postgres; $R $B/pgbench -h $PWD/pg -c 4 -T 5 postgres; \
        $R $B/psql -h $PWD/pg -q postgres -c 'create extension pgcrypto' -c \"create table s as select i, gen_random_bytes(1000) b from generate_series(1,5000) i\" \
        -c 'update s set b=gen_random_bytes(1000)' -c 'vacuum full' -c checkpoint; $R $B/pg_dump -h $PWD/pg -Fc postgres -f pg/dump",
    );
}

#[test]
fn a_person_encrypts_and_packs() {
    work(
        "gpg",
        &["gpg"],
        "for f in docs/ward-0/*.txt docs/ward-4/*.txt; do gpg --batch -q --pinentry-mode loopback --passphrase x -c $f; done; \
        f=$(ls docs/ward-1/*.csv | head -1); gpg --batch -q --pinentry-mode loopback --passphrase x -c $f; rm $f; \
        gpgconf --kill gpg-agent || true",
    );
    work(
        "zip",
        &["zip", "unzip"],
        "zip -qr a.zip docs; zip -qrm -P secret b.zip docs; unzip -qo -P secret b.zip; unzip -qo a.zip",
    );
}

#[test]
fn logs_are_compressed() {
    work(
        "gzip",
        &["gzip", "xz", "bzip2"],
        "cp -r docs d2; cp -r docs d3; gzip -r docs; xz d2/*/*; bzip2 d3/*/*; gunzip -r docs; unxz d2/*/*",
    );
    work("zstd", &["zstd"], "zstd -q --rm docs/*/*; zstd -qd --rm docs/*/*");
}

#[test]
fn backups_are_made_pruned_and_restored() {
    work(
        "borg",
        &["borg"],
        "export BORG_BASE_DIR=$PWD/b BORG_PASSPHRASE=x; borg init -e repokey repo; borg create repo::1 docs; \
        for f in docs/*/*.txt; do echo more >> $f; done; borg create repo::2 docs; borg prune --keep-last 1 repo; borg compact repo; \
        borg extract repo::2; borg check repo",
    );
    work(
        "restic",
        &["restic"],
        "export RESTIC_PASSWORD=x RESTIC_CACHE_DIR=$PWD/c; restic -q -r repo init; restic -q -r repo backup docs; \
        for f in docs/*/*.txt; do echo more >> $f; done; restic -q -r repo backup docs; restic -q -r repo forget --keep-last 1 --prune; \
        restic -q -r repo restore latest --target .; restic -q -r repo check",
    );
}

#[test]
fn editors_scripts_and_copies() {
    work(
        "sed, cp, mv, dd, shred",
        &["sed", "shred"],
        "sed -i s/patient/person/ docs/*/*.txt; cp -r docs copy; cp -r docs/. copy/; mv copy other; \
        cp other/ward-0/* docs/ward-0/; for f in other/ward-2/*; do dd if=$f of=$f.new bs=4k status=none; mv $f.new $f; done; \
        find other -type f -exec touch {} +; shred -u other/ward-5/*; rm -r other",
    );
}

/// Not a test of its own: the folder is where the test says.
#[test]
fn documents_are_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let all = documents(folder.path(), 16);
    assert_eq!(all.len(), 16);
    assert_eq!(common::lost(&all), 0);
    fs::remove_file(all.keys().next().unwrap()).unwrap();
    assert_eq!(common::lost(&all), 1);
    assert!(Path::new(all.keys().nth(1).unwrap()).exists());
}
