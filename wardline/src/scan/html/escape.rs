//! Text into HTML: log content is hostile, and stays text.

use crate::printable::printable;

/// Appends text where text or a quoted attribute may stand.
pub fn push(out: &mut String, text: &str) {
    for c in printable(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}

/// The text for HTML.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    push(&mut out, text);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_what_steers_is_written_out() {
        assert_eq!(
            escaped("</script><img src=x onerror='a()'>\"&\u{202e}\u{1b}"),
            r"&lt;/script&gt;&lt;img src=x onerror=&#39;a()&#39;&gt;&quot;&amp;\u{202e}\u{1b}"
        );
    }
}
