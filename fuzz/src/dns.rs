//! Messages of DNS that the sensor saw.

use wardline_sense::dns::{Data, MAX_ANSWERS, kind_name, parse};

/// A message: what is told is bounded and can be shown.
pub fn message(data: &[u8]) {
    let Ok(message) = parse(data) else { return };
    assert!(message.answers.len() <= MAX_ANSWERS);
    assert!(!kind_name(message.kind).is_empty());
    // A name has 255 bytes at most, each of which becomes four at most.
    let printable = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    assert!(message.name.len() <= 4 * 255 && printable(&message.name));
    for answer in &message.answers {
        match &answer.data {
            Data::Name(text) | Data::Text(text) => assert!(text.len() <= 4 * 255 && printable(text)),
            Data::Address(_) | Data::Other => {}
        }
    }
    assert!(message.response || message.answers.is_empty(), "a question answers nothing");
}
