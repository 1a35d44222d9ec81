//! Where the matches go.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Standard output, or a file that somebody named.
pub struct Output {
    to: Box<dyn Write>,
    /// The file's name; none for standard output.
    name: Option<String>,
}

impl Output {
    /// Standard output.
    pub fn stdout() -> Self {
        Self { to: Box::new(BufWriter::new(io::stdout())), name: None }
    }

    /// A new file, in the place of what is there.
    ///
    /// # Errors
    /// It cannot be written; the message names it.
    pub fn file(path: &Path) -> io::Result<Self> {
        let name = path.display().to_string();
        let file = File::create(path).map_err(|e| named(&name, &e))?;
        Ok(Self { to: Box::new(BufWriter::new(file)), name: Some(name) })
    }

    /// Writes text.
    ///
    /// # Errors
    /// As the system's, with the file's name.
    pub fn write(&mut self, text: &str) -> io::Result<()> {
        self.to.write_all(text.as_bytes()).map_err(|e| self.named(e))
    }

    /// Hands on what waits.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush().map_err(|e| self.named(e))
    }

    fn named(&self, e: io::Error) -> io::Error {
        match &self.name {
            Some(name) => named(name, &e),
            None => e,
        }
    }
}

/// An error with the file's name before it.
pub fn named(name: &str, e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{name}: {e}"))
}
