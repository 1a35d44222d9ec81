//! Records written as the kernel half does, for tests.

pub(crate) struct Written(Vec<u8>);

impl Written {
    /// A record of this kind, of process 6 and its parent 4, 77 ns after boot.
    pub(crate) fn new(kind: u32) -> Self {
        let mut out = Self(Vec::new());
        out.u32(kind).u32(0).u64(77);
        for (start, tgid, euid) in [(5, 6, 7), (3, 4, 8)] {
            out.u64(start).u32(tgid).u32(euid);
        }
        out
    }

    pub(crate) fn u16(&mut self, number: u16) -> &mut Self {
        self.bytes(&number.to_ne_bytes())
    }

    pub(crate) fn u32(&mut self, number: u32) -> &mut Self {
        self.bytes(&number.to_ne_bytes())
    }

    pub(crate) fn u64(&mut self, number: u64) -> &mut Self {
        self.bytes(&number.to_ne_bytes())
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend(bytes);
        self
    }

    /// Checks how much was written.
    pub(crate) fn at(&mut self, offset: usize) -> &mut Self {
        assert_eq!(self.0.len(), offset);
        self
    }

    pub(crate) fn end(&mut self) -> Vec<u8> {
        let len = self.0.len() as u32;
        self.0[4..8].copy_from_slice(&len.to_ne_bytes());
        std::mem::take(&mut self.0)
    }
}
