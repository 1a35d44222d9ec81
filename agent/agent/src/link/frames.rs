//! Cuts a stream of bytes into frames.

use super::Malformed;

/// Bytes that came, until they are a frame.
#[derive(Debug)]
pub struct Frames {
    bytes: Vec<u8>,
    /// Where the bytes begin that were not handed out yet.
    at: usize,
    most: usize,
}

impl Frames {
    /// For frames of at most so many bytes.
    pub fn new(most: usize) -> Self {
        Self { bytes: Vec::new(), at: 0, most }
    }

    /// Takes in bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.at));
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame; `None` until more bytes have come.
    pub fn cut(&mut self) -> Result<Option<&[u8]>, Malformed> {
        let rest = &self.bytes[self.at..];
        let Some(head) = rest.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*head) as usize;
        if length > self.most {
            return Err(Malformed("a frame longer than allowed"));
        }
        if rest.len() < 4 + length {
            return Ok(None);
        }
        let begin = self.at + 4;
        self.at = begin + length;
        Ok(Some(&self.bytes[begin..self.at]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_they_came_in() {
        let frames: [&[u8]; 3] = [b"one", b"", b"three"];
        let stream: Vec<u8> =
            frames.iter().flat_map(|f| [&(f.len() as u32).to_le_bytes()[..], f].concat()).collect();
        for size in 1..=stream.len() {
            let (mut cutter, mut found) = (Frames::new(5), Vec::new());
            for piece in stream.chunks(size) {
                cutter.push(piece);
                while let Some(frame) = cutter.cut().unwrap() {
                    found.push(frame.to_vec());
                }
            }
            assert_eq!(found, frames, "in pieces of {size}");
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_its_bytes_are_awaited() {
        let mut cutter = Frames::new(5);
        cutter.push(&6u32.to_le_bytes());
        assert!(cutter.cut().is_err());
    }
}
