//! The estate of a small made-up trust.

use wardline_policy::{DeviceClass, Mode};

/// A process that runs on a device before anything happens: (name in scripts, parent's name, image, user).
pub type Root = (&'static str, &'static str, &'static str, &'static str);

/// A simulated device.
#[derive(Clone, Copy, Debug)]
pub struct DeviceSpec {
    /// Host name, by which scripts call it.
    pub host: &'static str,
    /// What it is for, in words.
    pub role: &'static str,
    /// What kind of device it is, as far as safety cares.
    pub class: DeviceClass,
    /// Whether rules may act there.
    pub mode: Mode,
    /// `windows` or `linux`.
    pub product: &'static str,
    /// What people read.
    pub os: &'static str,
}

/// The organisation's name.
pub const TRUST: &str = "St Aldhelm's Hospital (exercise)";

const fn device(
    host: &'static str,
    role: &'static str,
    class: DeviceClass,
    mode: Mode,
    product: &'static str,
) -> DeviceSpec {
    let os = match product.as_bytes()[0] {
        b'l' => "Debian GNU/Linux 12 (simulated)",
        _ => "Windows 10 Enterprise (simulated)",
    };
    DeviceSpec { host, role, class, mode, product, os }
}

/// Twelve devices. One ward PC was left in monitor mode, as happens.
pub const DEVICES: [DeviceSpec; 12] = {
    use DeviceClass::{Clinical, Server, Workstation};
    use Mode::{Monitor, Protect};
    [
        device("ward7-pc03", "ward PC", Workstation, Monitor, "windows"),
        device("ward7-pc04", "ward PC", Workstation, Protect, "windows"),
        device("reception-pc1", "reception PC", Workstation, Protect, "windows"),
        device("pharmacy-pc2", "pharmacy PC", Workstation, Protect, "windows"),
        device("radiology-ws2", "reporting workstation", Workstation, Protect, "windows"),
        device("theatre-pc1", "theatre list PC", Workstation, Protect, "windows"),
        device("path-lab-pc1", "pathology analyser's PC", Clinical, Protect, "windows"),
        device("mri-console1", "MRI console", Clinical, Protect, "windows"),
        device("file-01", "file server", Server, Protect, "windows"),
        device("backup-01", "backup server", Server, Protect, "linux"),
        device("pacs-01", "PACS server", Server, Protect, "linux"),
        device("pas-db-01", "patient administration database", Server, Protect, "linux"),
    ]
};

/// What runs before anything happens.
pub fn roots(product: &str) -> &'static [Root] {
    const SYSTEM: &str = "NT AUTHORITY\\SYSTEM";
    const CLERK: &str = "STALDHELM\\n.okafor";
    match product {
        "linux" => &[
            ("init", "", "/usr/lib/systemd/systemd", "root"),
            ("sshd", "init", "/usr/sbin/sshd", "root"),
            ("cron", "init", "/usr/sbin/cron", "root"),
        ],
        _ => &[
            ("services", "", "C:\\Windows\\System32\\services.exe", SYSTEM),
            ("svchost", "services", "C:\\Windows\\System32\\svchost.exe", SYSTEM),
            ("explorer", "", "C:\\Windows\\explorer.exe", CLERK),
        ],
    }
}

/// Ordinary work: (parent's name, image, command line). No rule may fire on it.
pub fn ordinary(product: &str) -> &'static [(&'static str, &'static str, &'static str)] {
    match product {
        "linux" => &[
            ("cron", "/usr/bin/rsync", "rsync -a /srv/dicom/incoming/ /srv/dicom/archive/"),
            ("cron", "/usr/sbin/logrotate", "logrotate /etc/logrotate.conf"),
            ("sshd", "/usr/bin/ls", "ls -l /var/log"),
        ],
        _ => &[
            ("explorer", "C:\\Program Files\\PatientSystem\\pas.exe", "pas.exe --ward 7"),
            ("svchost", "C:\\Windows\\System32\\taskhostw.exe", "taskhostw.exe"),
            ("explorer", "C:\\Windows\\System32\\mstsc.exe", "mstsc.exe /v:reporting-01"),
        ],
    }
}

/// The device with this host name.
pub fn find(host: &str) -> Option<&'static DeviceSpec> {
    DEVICES.iter().find(|d| d.host == host)
}
