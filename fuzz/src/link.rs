//! What a courier says to the guard: it may be in the hands of whoever attacked it.

use wardline_agent::link::{Frames, MOST_TO_GUARD, ToCourier, ToGuard};

/// A stream of frames, as the guard cuts and reads them.
pub fn to_guard(data: &[u8]) {
    let mut frames = Frames::new(MOST_TO_GUARD);
    // In two pieces, so that a frame may be cut anywhere.
    let (first, second) = data.split_at(data.len() / 2);
    for piece in [first, second] {
        frames.push(piece);
        loop {
            match frames.cut() {
                Ok(Some(frame)) => message(frame),
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
    message(data);
    // The other direction is the guard's own; a courier reads it all the same without harm.
    if let Ok(said) = ToCourier::decode(data) {
        assert_eq!(ToCourier::decode(&said.encode()[4..]), Ok(said));
    }
}

fn message(frame: &[u8]) {
    if let Ok(said) = ToGuard::decode(frame) {
        assert_eq!(&said.encode()[4..], frame, "one form for one message");
        assert!(frame.len() <= MOST_TO_GUARD + 4);
    }
}
