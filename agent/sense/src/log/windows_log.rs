//! What Sigma calls a Windows event: channel → service, event id → category, and the fields that carry another
//! name there. Tables only; a new log is a new line.
//!
//! Services are those of Sigma's list of log sources (its appendix on taxonomy); the categories are defined by
//! Sysmon's events, and events of other logs that say the same are given Sysmon's field names.

/// Windows' channel names, and Sigma's services.
pub const SERVICES: &[(&str, &str)] = &[
    ("Security", "security"),
    ("System", "system"),
    ("Application", "application"),
    ("Microsoft-Windows-Sysmon/Operational", "sysmon"),
    ("Windows PowerShell", "powershell-classic"),
    ("Microsoft-Windows-PowerShell/Operational", "powershell"),
    ("PowerShellCore/Operational", "powershell"),
    ("Microsoft-Windows-Windows Defender/Operational", "windefend"),
    ("Microsoft-Windows-TaskScheduler/Operational", "taskscheduler"),
    ("Microsoft-Windows-WMI-Activity/Operational", "wmi"),
    ("Microsoft-Windows-Bits-Client/Operational", "bits-client"),
    ("Microsoft-Windows-Windows Firewall With Advanced Security/Firewall", "firewall-as"),
    ("Microsoft-Windows-NTLM/Operational", "ntlm"),
    (
        "Microsoft-Windows-TerminalServices-LocalSessionManager/Operational",
        "terminalservices-localsessionmanager",
    ),
    (
        "Microsoft-Windows-TerminalServices-RemoteConnectionManager/Operational",
        "terminalservices-remoteconnectionmanager",
    ),
    ("Microsoft-Windows-RemoteDesktopServices-RdpCoreTS/Operational", "rdpcorets"),
    ("Microsoft-Windows-AppLocker/EXE and DLL", "applocker"),
    ("Microsoft-Windows-AppLocker/MSI and Script", "applocker"),
    ("Microsoft-Windows-AppLocker/Packaged app-Deployment", "applocker"),
    ("Microsoft-Windows-AppLocker/Packaged app-Execution", "applocker"),
    ("DNS Server", "dns-server"),
    ("Microsoft-Windows-DNSServer/Audit", "dns-server-audit"),
    ("Microsoft-Windows-DNS-Server/Analytical", "dns-server-analytic"),
    ("Microsoft-Windows-DNS Client Events/Operational", "dns-client"),
    ("Microsoft-Windows-DNS-Client/Operational", "dns-client"),
    ("Microsoft-Windows-PrintService/Admin", "printservice-admin"),
    ("Microsoft-Windows-PrintService/Operational", "printservice-operational"),
    ("Microsoft-Windows-SMBClient/Security", "smbclient-security"),
    ("Microsoft-Windows-SmbClient/Connectivity", "smbclient-connectivity"),
    ("Microsoft-Windows-SMBServer/Connectivity", "smbserver-connectivity"),
    ("Microsoft-Windows-SMBServer/Security", "smbserver-security"),
    ("Microsoft-Windows-CodeIntegrity/Operational", "codeintegrity-operational"),
    ("Microsoft-Windows-Security-Mitigations/Kernel Mode", "security-mitigations"),
    ("Microsoft-Windows-Security-Mitigations/User Mode", "security-mitigations"),
    ("Microsoft-Windows-AppXDeploymentServer/Operational", "appxdeployment-server"),
    ("Microsoft-Windows-AppxPackaging/Operational", "appxpackaging-om"),
    ("Microsoft-Windows-AppModel-Runtime/Admin", "appmodel-runtime"),
    ("Microsoft-Windows-CAPI2/Operational", "capi2"),
    (
        "Microsoft-Windows-CertificateServicesClient-Lifecycle-System/Operational",
        "certificateservicesclient-lifecycle-system",
    ),
    ("Microsoft-Windows-Diagnosis-Scripted/Operational", "diagnosis-scripted"),
    ("Microsoft-Windows-DriverFrameworks-UserMode/Operational", "driver-framework"),
    ("Microsoft-Windows-LSA/Operational", "lsa-server"),
    ("Microsoft-Windows-LDAP-Client/Debug", "ldap"),
    ("Microsoft-ServiceBus-Client/Operational", "microsoft-servicebus-client"),
    ("Microsoft-ServiceBus-Client/Admin", "microsoft-servicebus-client"),
    ("Microsoft-Windows-Shell-Core/Operational", "shell-core"),
    ("Microsoft-Windows-VHDMP/Operational", "vhdmp"),
    ("Microsoft-Windows-WinRM/Operational", "winrm"),
    ("Microsoft-IIS-Configuration/Operational", "iis-configuration"),
    ("MSExchange Management", "msexchange-management"),
    ("OpenSSH/Operational", "openssh"),
    ("Microsoft-Windows-Kernel-ShimEngine/Operational", "kernel-shimengine"),
    ("Microsoft-Windows-Kernel-EventTracing/Admin", "kernel-event-tracing"),
    ("Microsoft-Windows-Application-Experience/Program-Telemetry", "application-experience"),
    ("Linux-Sysmon/Operational", "sysmon"),
];

/// Services by provider, for records that name no channel.
pub const SERVICES_BY_PROVIDER: &[(&str, &str)] = &[
    ("Microsoft-Windows-Sysmon", "sysmon"),
    ("Linux-Sysmon", "sysmon"),
    ("Microsoft-Windows-Security-Auditing", "security"),
    ("Microsoft-Windows-PowerShell", "powershell"),
    ("PowerShell", "powershell-classic"),
    ("Microsoft-Windows-Windows Defender", "windefend"),
    ("Service Control Manager", "system"),
];

/// How a value changes on its way to Sysmon's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Not at all.
    None,
    /// `0x1f4` → 500.
    HexToNumber,
    /// A mandatory label's SID → `Low`, `Medium`, `High`, `System`.
    IntegrityLevel,
    /// `%%14593` (outbound) → `true`, `%%14592` (inbound) → `false`.
    Initiated,
    /// The protocol's number → `tcp`, `udp`, `icmp`.
    Protocol,
}

/// A field of the record, Sysmon's name for it, and the change of its value.
pub type Rename = (&'static str, &'static str, Change);

/// What an event is.
#[derive(Debug)]
pub struct Kind {
    /// Sigma's service.
    pub service: &'static str,
    /// The event ids.
    pub ids: &'static [i64],
    /// The category.
    pub category: &'static str,
    /// Further categories of the same event.
    pub also: &'static [&'static str],
    /// Fields that are copied to Sysmon's names.
    pub renames: &'static [Rename],
}

const fn kind(service: &'static str, ids: &'static [i64], category: &'static str) -> Kind {
    Kind { service, ids, category, also: &[], renames: &[] }
}

/// Events with a category. The order matters only for registry events, which `registry_kind` refines.
pub const KINDS: &[Kind] = &[
    kind("sysmon", &[1], "process_creation"),
    kind("sysmon", &[2], "file_change"),
    kind("sysmon", &[3], "network_connection"),
    kind("sysmon", &[4, 16], "sysmon_status"),
    kind("sysmon", &[5], "process_termination"),
    kind("sysmon", &[6], "driver_load"),
    kind("sysmon", &[7], "image_load"),
    kind("sysmon", &[8], "create_remote_thread"),
    kind("sysmon", &[9], "raw_access_thread"),
    kind("sysmon", &[10], "process_access"),
    kind("sysmon", &[11], "file_event"),
    Kind { also: &["registry_set"], ..kind("sysmon", &[13], "registry_event") },
    Kind { also: &["registry_rename"], ..kind("sysmon", &[14], "registry_event") },
    // Event 12 is a key's creation or a deletion; which one its EventType says.
    kind("sysmon", &[12], "registry_event"),
    kind("sysmon", &[15], "create_stream_hash"),
    kind("sysmon", &[17, 18], "pipe_created"),
    kind("sysmon", &[19, 20, 21], "wmi_event"),
    kind("sysmon", &[22], "dns_query"),
    kind("sysmon", &[23], "file_delete"),
    kind("sysmon", &[24], "clipboard_change"),
    kind("sysmon", &[25], "process_tampering"),
    Kind { also: &["file_delete_detected"], ..kind("sysmon", &[26], "file_delete") },
    kind("sysmon", &[27], "file_block_executable"),
    kind("sysmon", &[28], "file_block_shredding"),
    kind("sysmon", &[29], "file_executable_detected"),
    kind("sysmon", &[255], "sysmon_error"),
    kind("powershell", &[4103], "ps_module"),
    kind("powershell", &[4104], "ps_script"),
    kind("powershell-classic", &[400], "ps_classic_start"),
    kind("powershell-classic", &[600], "ps_classic_provider_start"),
    kind("powershell-classic", &[800], "ps_classic_script"),
    Kind {
        renames: &[
            ("NewProcessName", "Image", Change::None),
            ("ParentProcessName", "ParentImage", Change::None),
            ("MandatoryLabel", "IntegrityLevel", Change::IntegrityLevel),
            // The event's ProcessId is the creator's; it moves before the new process' id takes its name.
            ("ProcessId", "ParentProcessId", Change::HexToNumber),
            ("NewProcessId", "ProcessId", Change::HexToNumber),
            ("SubjectLogonId", "LogonId", Change::None),
        ],
        ..kind("security", &[4688], "process_creation")
    },
    Kind {
        renames: &[("ProcessName", "Image", Change::None), ("ProcessId", "ProcessId", Change::HexToNumber)],
        ..kind("security", &[4689], "process_termination")
    },
    Kind {
        renames: &[
            ("Application", "Image", Change::None),
            ("ProcessID", "ProcessId", Change::None),
            ("Direction", "Initiated", Change::Initiated),
            ("SourceAddress", "SourceIp", Change::None),
            ("DestAddress", "DestinationIp", Change::None),
            ("DestPort", "DestinationPort", Change::None),
            ("Protocol", "Protocol", Change::Protocol),
        ],
        ..kind("security", &[5156], "network_connection")
    },
    Kind {
        renames: &[("Threat Name", "Signature", Change::None), ("Path", "Filename", Change::None)],
        ..kind("windefend", &[1006, 1007, 1008, 1015, 1116, 1117, 1118, 1119], "antivirus")
    },
];

/// The service of a record; empty if the tables do not know its log.
pub fn service(channel: &str, provider: &str) -> &'static str {
    let by_channel = SERVICES.iter().find(|(name, _)| name.eq_ignore_ascii_case(channel));
    let by_provider = || SERVICES_BY_PROVIDER.iter().find(|(name, _)| name.eq_ignore_ascii_case(provider));
    by_channel
        .or_else(|| if channel.is_empty() { by_provider() } else { None })
        .map_or("", |(_, service)| service)
}

/// The kind of an event of `service`.
pub fn kind_of(service: &str, id: i64) -> Option<&'static Kind> {
    KINDS.iter().find(|k| k.service == service && k.ids.contains(&id))
}

/// What a Sysmon event 12 says further, by its `EventType`.
pub fn registry_kind(event_type: &str) -> &'static [&'static str] {
    match event_type {
        "CreateKey" => &["registry_add"],
        "DeleteKey" | "DeleteValue" => &["registry_delete"],
        _ => &[],
    }
}

/// The integrity level that a mandatory label's SID means (`S-1-16-` and a number).
pub fn integrity_level(sid: &str) -> Option<&'static str> {
    Some(match sid.strip_prefix("S-1-16-")? {
        "0" => "Untrusted",
        "4096" => "Low",
        "8192" => "Medium",
        "8448" => "MediumPlus",
        "12288" => "High",
        "16384" => "System",
        "20480" => "ProtectedProcess",
        _ => return None,
    })
}
