//! Who is there, and what happens to them.

use wardline_event::{
    ActionTaken, Body, Disposition, Event, EventId, Finding, MatchedField, NetworkActivity, NetworkOp,
    Process, ProcessActivity, ProcessOp, RuleRef, Severity, Technique, Timestamp,
};
use wardline_kernel::{Kernel, random_bytes};
use wardline_policy::{DeviceClass, Mode};

use crate::Result;
use crate::device::{Device, Role};

const ROLES: [Role; 7] = [
    role("WARD7-PC3", "ward PC", DeviceClass::Workstation, Mode::Protect, true, 0),
    role("LAB-ANALYSER-2", "pathology analyser's PC", DeviceClass::Clinical, Mode::Protect, true, 0),
    role("PACS-01", "PACS server", DeviceClass::Server, Mode::Monitor, true, 214),
    role("RECEPTION-1", "reception PC", DeviceClass::Workstation, Mode::Protect, true, 0),
    role("THEATRE4-ANAES", "anaesthetic record PC", DeviceClass::Clinical, Mode::Protect, true, 0),
    role("FINANCE-12", "finance PC", DeviceClass::Workstation, Mode::Monitor, true, 0),
    role("PHARM-PC1", "pharmacy PC", DeviceClass::Workstation, Mode::Protect, false, 0),
];

const fn role(
    hostname: &'static str,
    purpose: &'static str,
    class: DeviceClass,
    mode: Mode,
    connected: bool,
    lost: u64,
) -> Role {
    Role { hostname, purpose, os: "Windows 11 Enterprise", class, mode, connected, lost }
}

/// Enrols every device.
pub async fn enrol_all(kernel: &Kernel) -> Result<Vec<Device>> {
    let mut devices = Vec::new();
    for role in &ROLES {
        let mut device = Device::enrol(kernel, role).await?;
        if device.connected {
            device.beat(kernel).await?;
        }
        devices.push(device);
    }
    Ok(devices)
}

fn event(at: Timestamp, body: Body) -> Event {
    Event {
        id: EventId::from_bytes(random_bytes()),
        time: at,
        product: "windows".into(),
        simulated: true,
        body,
    }
}

fn launched(process: &Process, parent: &Process) -> Event {
    let activity = ProcessActivity {
        op: ProcessOp::Exec,
        process: process.clone(),
        parent: Some(parent.clone()),
        exit_code: None,
        launch: None,
    };
    event(process.started, Body::Process(activity))
}

/// What a rule says and does.
struct Alarm {
    title: &'static str,
    means: &'static str,
    technique: &'static str,
    severity: Severity,
    pattern: &'static str,
    disposition: Disposition,
    detail: &'static str,
}

fn finding(alarm: &Alarm, subject: Event, ancestors: Vec<Process>) -> Finding {
    let process = subject.process().clone();
    let acts = alarm.disposition != Disposition::Recorded;
    let stopped = alarm.disposition == Disposition::Stopped;
    let level = alarm.severity.as_str();
    let source = format!(
        "title: {}\nid: 3f6c2b1e-0000-4000-8000-000000000001\nstatus: test\ndescription: {}\nlogsource:\n  \
         category: process_creation\n  product: windows\ndetection:\n  selection:\n    CommandLine|contains: \
         '{}'\n  condition: selection\nlevel: {level}\ntags:\n  - attack.{}\n",
        alarm.title,
        alarm.means,
        alarm.pattern,
        alarm.technique.to_lowercase()
    );
    Finding {
        id: EventId::from_bytes(random_bytes()),
        time: subject.time,
        simulated: true,
        severity: alarm.severity,
        rule: RuleRef {
            id: "3f6c2b1e-0000-4000-8000-000000000001".into(),
            title: alarm.title.into(),
            description: alarm.means.into(),
            source,
        },
        techniques: vec![Technique(alarm.technique.into())],
        matched: vec![MatchedField {
            selection: "selection".into(),
            field: "CommandLine".into(),
            pattern: format!("contains '{}'", alarm.pattern),
            value: process.command_line,
        }],
        event: subject,
        ancestors,
        action: ActionTaken {
            disposition: alarm.disposition,
            action: if acts { "kill process tree" } else { "" }.into(),
            by: format!("rule {}", alarm.title),
            detail: alarm.detail.into(),
            decided_after_us: 810,
            done_after_us: stopped.then_some(4_130),
        },
    }
}

/// A document's macro starts PowerShell, and so on; then neighbours see their part of it.
pub async fn attack(kernel: &Kernel, devices: &mut [Device]) -> Result<()> {
    let ward = &mut devices[0];
    let explorer =
        Device::process(kernel, 2210, 7_200_000, "C:\\Windows\\explorer.exe", "C:\\Windows\\Explorer.EXE");
    let word = Device::process(
        kernel,
        4312,
        340_000,
        "C:\\Program Files\\Microsoft Office\\root\\Office16\\WINWORD.EXE",
        "\"C:\\Program Files\\Microsoft Office\\root\\Office16\\WINWORD.EXE\" /n \
         \"C:\\Users\\j.bloggs\\Downloads\\Rota change urgent.docm\"",
    );
    let shell = Device::process(
        kernel,
        5120,
        300_000,
        "C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe",
        "powershell.exe -nop -w hidden -enc dwBhAHIAZABsAGkAbgBlACAAcwBhAG0AcABsAGUAIABvAG4AbAB5ACwAIABuAG8AdABoAGkAbgBnACAAdABvACAAcwBlAGUAIABoAGUAcgBlAA==",
    );
    let macro_ran = Alarm {
        title: "PowerShell started by an Office document",
        means: "A document that starts PowerShell is almost always an attack: its macro fetches the attacker's tools. Nobody needs this for their work.",
        technique: "T1059.001",
        severity: Severity::High,
        pattern: "-enc",
        disposition: Disposition::Recorded,
        detail: "",
    };
    let started = launched(&shell, &word);
    let first = finding(&macro_ran, started.clone(), vec![word.clone(), explorer.clone()]);
    let net = NetworkActivity {
        op: NetworkOp::Open,
        actor: shell.clone(),
        protocol: "tcp".into(),
        initiated: true,
        src_ip: "10.20.4.31".into(),
        src_port: 50_112,
        dst_ip: "198.51.100.7".into(),
        dst_port: 443,
        dst_host: String::new(),
    };
    let called_home = event(Timestamp(shell.started.0 + 900), Body::Network(net));
    let whoami = Device::process(kernel, 5188, 280_000, "C:\\Windows\\System32\\whoami.exe", "whoami /all");
    let events = [launched(&word, &explorer), started, called_home, launched(&whoami, &shell)];
    ward.send(kernel, &events, Some(&first)).await?;

    let vss = Device::process(
        kernel,
        5304,
        120_000,
        "C:\\Windows\\System32\\vssadmin.exe",
        "vssadmin.exe delete shadows /all /quiet",
    );
    let subject = launched(&vss, &shell);
    let mut console = Device::process(
        kernel,
        5310,
        119_998,
        "C:\\Windows\\System32\\conhost.exe",
        "conhost.exe 0xffffffff -ForceV1",
    );
    console.started = Timestamp(vss.started.0 + 2);
    let second = finding(&shadow_copies(), subject.clone(), vec![shell, word, explorer]);
    ward.send(kernel, &[subject, launched(&console, &vss)], Some(&second)).await?;

    let elsewhere = [
        (
            1,
            600_000,
            "C:\\Windows\\System32\\rundll32.exe",
            "rundll32.exe comsvcs.dll, MiniDump 712 C:\\Temp\\o.bin full",
            Alarm {
                title: "Passwords read from memory",
                means: "The memory of Windows' sign-in service was written to a file. It holds the passwords of everybody who signed in.",
                technique: "T1003.001",
                severity: Severity::Critical,
                pattern: "MiniDump",
                disposition: Disposition::Withheld,
                detail: "this is a clinical device; rules never kill there. Speak to the people who use it",
            },
        ),
        (
            2,
            420_000,
            "C:\\Windows\\System32\\services.exe",
            "sc.exe \\\\PACS-01 create upd binPath= C:\\Windows\\upd.exe",
            Alarm {
                title: "Service created from another machine",
                means: "A service was made on this server from elsewhere on the network. Attackers spread this way.",
                technique: "T1569.002",
                severity: Severity::High,
                pattern: "create",
                disposition: Disposition::WouldAct,
                detail: "would have killed 1 process: services.exe (880)",
            },
        ),
        (
            3,
            5_400_000,
            "C:\\Windows\\System32\\net.exe",
            "net group \"Domain Admins\" /domain",
            Alarm {
                title: "Administrators listed",
                means: "Somebody asked for the list of administrators. Support staff do this as well; look at what came before and after.",
                technique: "T1069.002",
                severity: Severity::Low,
                pattern: "Domain Admins",
                disposition: Disposition::Recorded,
                detail: "",
            },
        ),
        (
            5,
            86_400_000,
            "C:\\Windows\\System32\\schtasks.exe",
            "schtasks /create /tn Updater /tr C:\\Users\\Public\\u.exe /sc onlogon",
            Alarm {
                title: "Program set to start at every sign-in",
                means: "A program in a folder that everybody may write to was set to start by itself.",
                technique: "T1053.005",
                severity: Severity::Medium,
                pattern: "/create",
                disposition: Disposition::Recorded,
                detail: "",
            },
        ),
    ];
    for (index, ago, image, command, alarm) in elsewhere {
        let device = &mut devices[index];
        let parent =
            Device::process(kernel, 880, ago + 9_000_000, "C:\\Windows\\System32\\cmd.exe", "cmd.exe");
        let process = Device::process(kernel, 4_000 + index as u32, ago, image, command);
        let subject = launched(&process, &parent);
        let found = finding(&alarm, subject.clone(), vec![parent]);
        device.send(kernel, &[subject], Some(&found)).await?;
    }
    Ok(())
}

fn shadow_copies() -> Alarm {
    Alarm {
        title: "Shadow copies deleted",
        means: "Ransomware deletes Windows' own backup copies just before it encrypts, so that nobody can go back. People almost never do this by hand on a ward PC.",
        technique: "T1490",
        severity: Severity::Critical,
        pattern: "delete shadows",
        disposition: Disposition::Stopped,
        detail: "killed 2 processes: vssadmin.exe (5304), conhost.exe (5310)",
    }
}

/// One more finding, now.
pub async fn one_more(kernel: &Kernel, device: &mut Device) -> Result<()> {
    let parent = Device::process(kernel, 6000, 60_000, "C:\\Windows\\System32\\cmd.exe", "cmd.exe");
    let process = Device::process(
        kernel,
        6004,
        0,
        "C:\\Windows\\System32\\bcdedit.exe",
        "bcdedit /set {default} recoveryenabled no",
    );
    let alarm = Alarm {
        title: "Windows recovery switched off",
        means: "Ransomware switches Windows' repair mode off so that a damaged computer cannot mend itself.",
        pattern: "recoveryenabled",
        detail: "killed 1 process: bcdedit.exe (6004)",
        ..shadow_copies()
    };
    let subject = launched(&process, &parent);
    let found = finding(&alarm, subject.clone(), vec![parent]);
    println!("finding {} on {}", found.id, device.hostname);
    device.send(kernel, &[subject], Some(&found)).await
}
