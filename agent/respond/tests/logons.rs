//! Suspends logons for a PAM configuration of the test's own, which only a mount namespace of its own sees.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // The lint knows test functions, not their helpers.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::root;
use wardline_respond::LogonSpec;
use wardline_respond::linux::logons::Logons;

/// Whether PAM lets somebody in: `su` stands for `sshd`, with its configuration, and asks the same modules.
fn is_let_in(pam: &Path, user: &str) -> bool {
    let script = format!("mount --bind {} /etc/pam.d && exec su {user} -s /bin/true", pam.display());
    let mut command = Command::new("unshare");
    let out = command.args(["-m", "--propagation", "private", "sh", "-c", &script]).output().unwrap();
    out.status.success()
}

#[test]
fn pam_refuses_everybody_but_root_and_the_break_glass_accounts() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let logons = Logons { nologin: at("nologin"), break_glass: at("run/break-glass"), pam: at("pam.d") };
    let configuration = format!(
        "auth sufficient pam_rootok.so\n\
         account [success=1 default=ignore] pam_listfile.so item=user sense=allow file={} onerr=fail\n\
         account required pam_nologin.so file={}\n\
         account required pam_permit.so\n\
         session required pam_permit.so\n",
        logons.break_glass.display(),
        logons.nologin.display()
    );
    fs::create_dir(&logons.pam).unwrap();
    for service in ["su", "sshd"] {
        fs::write(logons.pam.join(service), &configuration).unwrap();
    }
    let let_in = || ["root", "daemon", "nobody"].map(|user| is_let_in(&logons.pam, user));
    assert_eq!(let_in(), [true, true, true], "before");
    let spec = LogonSpec { except: vec!["daemon".into()] };
    let contained = logons.suspend(&spec).unwrap();
    assert_eq!(contained.notes, ["root can log on; sessions that are open go on"]);
    assert_eq!(let_in(), [true, true, false], "suspended");
    // Another policy: nobody is named any more.
    logons.suspend(&LogonSpec::default()).unwrap();
    assert_eq!(let_in(), [true, false, false]);
    assert!(logons.restore().unwrap());
    assert_eq!(let_in(), [true, true, true], "restored");
}
