//! Reads content/imitations/linux.yml: a list of mappings whose values are one line or a block (`|`). No more of YAML.

/// One of them.
#[derive(Default, Debug)]
pub struct Imitation {
    pub technique: String,
    pub title: String,
    pub rule: String,
    pub stands_in: String,
    pub act: String,
    pub leaves: String,
}

impl Imitation {
    /// Its own name.
    pub fn name(&self) -> String {
        format!("{}-{}", self.technique, self.rule)
    }

    /// The words on the command line of the shell that does it.
    pub fn script(&self) -> String {
        format!("/imitations/{}.sh", self.name())
    }
}

/// A value in one line: as it stands, or in quotation marks.
fn scalar(text: &str) -> String {
    let unquoted = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\''));
    unquoted.map_or_else(|| text.to_owned(), |t| t.replace("''", "'"))
}

/// Reads all; panics with the place of a line that it cannot read.
pub fn read(text: &str) -> Vec<Imitation> {
    let mut all: Vec<Imitation> = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((n, line)) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with("- ") {
            all.push(Imitation::default());
        }
        let at = format!("line {}: {line}", n + 1);
        let (key, value) = line[2..].split_once(": ").unwrap_or_else(|| panic!("{at}"));
        let mut value = scalar(value);
        if value == "|" {
            value.clear();
            while let Some((_, line)) = lines.next_if(|(_, line)| line.starts_with("    ")) {
                value += &line[4..];
                value.push('\n');
            }
        }
        let one = all.last_mut().unwrap_or_else(|| panic!("{at}"));
        let field = match key {
            "technique" => &mut one.technique,
            "name" => &mut one.title,
            "rule" => &mut one.rule,
            "stands_in" => &mut one.stands_in,
            "act" => &mut one.act,
            "leaves" => &mut one.leaves,
            _ => panic!("{at}"),
        };
        assert!(field.is_empty() && !value.is_empty(), "{at}");
        *field = value;
    }
    for one in &all {
        assert!(
            [&one.technique, &one.title, &one.rule, &one.act, &one.leaves].iter().all(|f| !f.is_empty()),
            "incomplete: {one:?}"
        );
    }
    all
}
