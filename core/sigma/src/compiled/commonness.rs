//! How common a short piece of text is thought to be, told from the rules' own literals.
//!
//! What rules look for is made of the same words, paths and separators as what events hold, so pairs of bytes that
//! are common in literals are taken to be common in events, beside those of a short sample: a class of few rules has
//! too few literals to learn from. It is the same wherever the rules are compiled. A bad guess costs time only.

/// What values of events look like.
const SAMPLE: &str = r"c:\windows\system32\svchost.exe -k localservicenetworkrestricted -p -s eventlog \
c:\program files (x86)\common files\microsoft shared\clicktorun\officeclicktorun.exe /service \
c:\users\administrator\appdata\local\temp\__psscriptpolicytest_0kd3xv.ps1 hklm\software\microsoft\windows nt\currentversion \
nt authority\system nt authority\network service microsoft-windows-security-auditing microsoft-windows-sysmon/operational \
0x00000000000003e7 s-1-5-21-1234567890-987654321-1000 {00000000-0000-0000-0000-000000000000} 2024-05-17 09:31:45.123 \
sha1=0a1b2c3d4e5f6789,md5=9876543210fedcba,sha256=00112233445566778899aabbccddeeff,imphash=f0e1d2c3b4a59687 \
microsoft windows operating system microsoft corporation 10.0.19041.1 (winbuild.160101.0800) kerberos negotiate ntlm ntlmssp \
sesecurityprivilege setakeownershipprivilege seloaddriverprivilege sebackupprivilege serestoreprivilege sedebugprivilege \
powershell.exe -noprofile -executionpolicy bypass -command &quot; cmd.exe /c start event logon type device driver network \
the service was successfully started by the user for this computer information message http://www.microsoft.com/ \
/usr/bin/python3 /usr/lib/systemd/systemd --user /etc/ssh/sshd_config /var/log/messages root session opened";
/// How much more the sample counts than a literal.
const WEIGHT: u32 = 4;

/// Counts of pairs of bytes.
#[derive(Debug)]
pub(crate) struct Commonness {
    /// Logarithms (base 2, in sixteenths) of how often byte `b` follows byte `a`, at `a << 8 | b`.
    pairs: Vec<u16>,
    /// The same for single bytes.
    bytes: [u16; 256],
}

impl Commonness {
    /// Learns from texts.
    pub fn learn<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut pairs = vec![0u32; 1 << 16];
        let mut bytes = [0u32; 256];
        for (text, weight) in texts.map(|text| (text, 1)).chain([(SAMPLE, WEIGHT)]) {
            for [a, b] in text.as_bytes().array_windows() {
                pairs[usize::from(*a) << 8 | usize::from(*b)] += weight;
                bytes[usize::from(*a)] += weight;
            }
        }
        Self { pairs: pairs.into_iter().map(log).collect(), bytes: bytes.map(log) }
    }

    /// A number that is the greater, the commoner the bytes are: the logarithm of their probability as a chain of
    /// pairs, and a constant. Only good for comparing texts of one length.
    pub fn of(&self, bytes: &[u8]) -> i32 {
        let pairs = bytes.array_windows().map(|[a, b]| {
            i32::from(self.pairs[usize::from(*a) << 8 | usize::from(*b)])
                - i32::from(self.bytes[usize::from(*a)])
        });
        bytes.first().map_or(0, |first| i32::from(self.bytes[usize::from(*first)])) + pairs.sum::<i32>()
    }
}

/// The logarithm of a count and a half, with four binary places.
fn log(count: u32) -> u16 {
    let doubled = u64::from(count) * 2 + 1;
    let whole = doubled.ilog2();
    let places = (doubled << 4 >> whole) & 15;
    whole as u16 * 16 + places as u16
}
