//! What a host lacks is named, and the agent does the rest; what its processes do does not trouble it. Needs root.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for code.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use common::machine::Machine;
use common::process::{SHELL_WORDS, Tree};
use common::up::{Hub, Running};
use common::watching::Watching;
use common::{WARDLINE, alone, folder, is_root, said, until, wardline};

/// The words of one line that the agent must say.
type Words = &'static [&'static str];

/// What a host lacks, the way into such a host, and what the agent must say of it.
const LACKS: &[(&str, &[&str], &[Words])] = &[
    (
        "kernel types",
        &["mount -t tmpfs none /sys/kernel/btf"],
        &[
            &["sensor Linux eBPF: off", "does not describe its types", "CONFIG_DEBUG_INFO_BTF"],
            &["sensor", "process connector: "],
        ],
    ),
    // The kernel refuses it the packet filter, as where nf_tables is not built.
    (
        "the packet filter",
        &["exec setpriv --bounding-set=-net_admin --inh-caps=-net_admin \"$@\""],
        &[&["containment isolation is not available here"]],
    ),
    // As on hosts of before 2019; here beside the other version, or there is none at all.
    (
        "control groups of version 2",
        &["if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi"],
        &[],
    ),
    ("control groups", &["umount -l -R /sys/fs/cgroup"], &[&["a ceiling could not be set"]]),
];

#[test]
fn what_a_host_lacks_is_named_and_the_rest_is_done() {
    if !is_root() {
        return;
    }
    let (_lock, dir) = (alone(), folder("poor"));
    let hub = Hub::start(&dir.path().join("hub"), "127.0.0.1:0");
    let data = dir.path().join("agent");
    let data = data.to_str().unwrap();
    wardline(&["agent", "enrol", &hub.agents, &hub.token(), "--data", data]).succeeds();
    for (n, (what, way, lines)) in LACKS.iter().enumerate() {
        let script = format!("{} && exec \"$@\"", way.join(" && "));
        let enter = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
        let enter: Vec<String> = enter.into_iter().map(str::to_owned).collect();
        let mut agent = Running::start(&enter, &["agent", "run", "--data", data]);
        agent.says(&["connected to the hub"]);
        for words in *lines {
            agent.says(words);
        }
        let attack = Tree::start(dir.path(), &format!("poor-{n}"), SHELL_WORDS);
        let pid = format!("(pid {})", attack.pid());
        agent.says(&["Shell wired to the network through /dev/tcp", &pid]);
        assert_eq!(agent.interrupt().code(), Some(0), "without {what}");
        assert!(!agent.said().contains("panicked"), "without {what}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    if !is_root() {
        return;
    }
    let dir = folder("read-only");
    let hub = Hub::start(&dir.path().join("hub"), "127.0.0.1:0");
    let (data, token) = (dir.path().join("agent"), hub.token());
    fs::create_dir(&data).unwrap();
    let data = data.to_str().unwrap();
    let read_only = |args: &[&str]| {
        let script =
            format!("mount --bind '{data}' '{data}' && mount -o remount,bind,ro '{data}' && exec \"$@\"");
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "60", "unshare", "--mount", "--propagation", "private", "sh", "-c"]);
        said(command.args([&script, "sh", WARDLINE]).args(args))
    };
    let words = [data, "Read-only file system"];
    read_only(&["agent", "enrol", &hub.agents, &token, "--data", data]).refuses(&words);
    // The refusal did not use the token up.
    wardline(&["agent", "enrol", &hub.agents, &token, "--data", data]).succeeds();
    read_only(&["agent", "run", "--data", data]).refuses(&words);
    Running::start(&[], &["agent", "run", "--data", data]).says(&["connected to the hub"]);
}

/// A name of 255 bytes with a line break and bytes that are no UTF-8, so deep that its path is close to the kernel's limit
/// of 4,096; a program whose name ends with a space lies there.
const DEEP: &str = r#"
import os, shutil
part = b"a\n\xff\xfe" + b"n" * 251
os.chdir(b"/srv/work")
for _ in range(15):
    os.mkdir(part)
    os.chdir(part)
shutil.copy("/usr/bin/true", b"deep\n\xff ")
open("note\u202egpj".encode(), "w").close()
path = b"./deep\n\xff "
if os.fork() == 0:
    os.execv(path, [path])
os.wait()
"#;

/// As long a command line as the kernel takes: two megabytes, less what else lies there.
const LONG: &str = r#"
import os
os.execv("/usr/bin/true", ["[kworker/0:2]"] + ["x" * 131000] * 15)
"#;

/// Several thousand processes at once, half of which run a program of their own.
const MANY: &str = r"
for i in $(seq 1500); do sleep 600 & (exec -a sleeper sleep 600) & done
jobs -p | wc -l
kill $(jobs -p)
wait
true
";

#[test]
fn what_processes_do_does_not_trouble_the_agent() {
    if !is_root() {
        return;
    }
    let (_lock, dir) = (alone(), folder("hostile"));
    let Some(mut machine) = Machine::start(dir.path()) else { return };
    let mut watching = Watching::start(dir.path());
    for (name, text) in [("deep", DEEP), ("long", LONG)] {
        let file = dir.path().join("scripts").join(format!("{name}.py"));
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let ended = machine.run(name, &format!("/usr/bin/python3 /imitations/{name}.py"));
        assert_eq!(ended.code, 0, "{name}: {}", ended.said);
    }
    let ended = machine.run("many", MANY);
    assert_eq!((ended.code, ended.said.lines().next()), (0, Some("3000")), "{}", ended.said);
    machine.run("last", "bash -c 'true # :(){ :|:& };:'");

    let mut found = Vec::new();
    // What came of each is whole: seen, matched, told, stored, and shown.
    for (script, title) in [
        ("/imitations/deep.sh", "Program whose name ends with a space"),
        ("/imitations/deep.sh", "File name with letters that run backwards"),
        ("/imitations/long.sh", "Program that poses as a part of the kernel"),
        ("/imitations/last.sh", "Line that fills the computer with copies of itself"),
    ] {
        until(&format!("{script}: {title}"), || {
            found.extend(watching.fresh());
            found.iter().any(|f| f.title == title && f.came_from(script)).then_some(())
        });
    }
    let agent = watching.agent();
    assert!(agent.child.try_wait().unwrap().is_none(), "the agent goes on");
    assert!(!agent.said().contains("panicked"));
    assert_eq!(watching.device()["accounting"]["kernel_lost"], 0);
}
