//! A log in pieces that any thread can read.

use std::fs::File;
use std::io::{Cursor, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::detect::{self, detect};
use super::evtx_chunks::{Chunks, ChunksPiece};
use super::json::{LinesPiece, WholeLines};
use super::unpack::{Archive, Checksum, Counted, MAX_LAYERS, Packing, packing, unpacked};
use super::{Fault, Format, Place, ReadError, Sink, Workspace, json, lines, xml};

/// Bytes of a piece, more or less: large enough that handing it to a thread costs nothing beside reading it.
pub(super) const PIECE_BYTES: usize = 1 << 20;

/// How logs are read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Looks for deleted records, too, in the unused space of EVTX chunks. Those that are found have the field
    /// `Recovered` with the value `true`.
    pub recover: bool,
    /// Grows by the bytes that are read from the file, before any unpacking.
    pub bytes_read: Arc<AtomicU64>,
}

/// The pieces of one log, in order.
///
/// One thread at a time takes the next piece, which reads about 1 MiB of the file; [`Piece::read`] then runs on any
/// thread. The records of a piece come before those of the next one. Formats in which a record is not found without
/// reading what stands before it are one piece, however long it is. Records come as they stand in the file: an EVTX log
/// that was written around its end begins with its newest. Whoever needs the order of time sorts by it. Memory is that of the pieces that were taken.
///
/// ```no_run
/// use std::ops::ControlFlow;
/// use std::path::Path;
/// use wardline_sense::log::{Options, Pieces, Workspace};
///
/// let mut workspace = Workspace::default(); // one per thread, used again for every piece
/// for piece in Pieces::open(Path::new("Security.evtx"), &Options::default()) {
///     piece.read(&mut workspace, &mut |record| {
///         match record {
///             Ok(record) => println!("{:?} {}", record.time, record.record_id),
///             Err(error) => eprintln!("{error}"),
///         }
///         ControlFlow::Continue(())
///     });
/// }
/// ```
pub struct Pieces<'a> {
    path: Arc<Path>,
    format: Option<Format>,
    options: Options,
    rest: Rest<'a>,
    /// Of a part of an archive: whether its bytes were the right ones. Told once.
    checksum: Option<Arc<Checksum>>,
}

/// Bytes from anywhere.
pub(super) type Input<'a> = Box<dyn Read + Send + 'a>;

/// What is still to be read.
enum Rest<'a> {
    Evtx(Chunks<Input<'a>>),
    JsonLines(WholeLines<Input<'a>>),
    Whole(Input<'a>, Format),
    /// The logs of an archive, and the one that is being read.
    Archive(Archive, Option<Box<Pieces<'static>>>),
    Failed(ReadError),
    Nothing,
}

/// A part of a log.
pub struct Piece<'a> {
    path: Arc<Path>,
    content: Content<'a>,
    /// As for [`Pieces`], if the piece is what reads the bytes.
    checksum: Option<Arc<Checksum>>,
}

enum Content<'a> {
    Evtx(ChunksPiece),
    JsonLines(LinesPiece),
    Whole(Input<'a>, Format),
    Failed(ReadError),
}

impl Pieces<'static> {
    /// Opens a file; its format is told by its content. What is wrong with it is told by its one piece.
    ///
    /// The logs in a zip archive follow each other, each under the path of the archive and its own name.
    pub fn open(path: &Path, options: &Options) -> Self {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(source) => return Self::failed(path, Fault::Io { doing: "opening it", source }),
        };
        let mut magic = Vec::new();
        if file.by_ref().take(4).read_to_end(&mut magic).is_ok() && packing(&magic) == Some(Packing::Zip) {
            return match Archive::open(path) {
                Ok(archive) => Self {
                    path: path.into(),
                    format: Some(Format::Zip),
                    options: options.clone(),
                    rest: Rest::Archive(archive, None),
                    checksum: None,
                },
                Err(what) => Self::failed(path, what),
            };
        }
        Self::new(path, Cursor::new(magic).chain(file), options)
    }
}

impl<'a> Pieces<'a> {
    /// Reads a log from anywhere, such as standard input; `path` is what errors call it.
    pub fn new(path: &Path, input: impl Read + Send + 'a, options: &Options) -> Self {
        let mut input: Input<'a> = Box::new(Counted { inner: input, bytes: Arc::clone(&options.bytes_read) });
        for _ in 0..=MAX_LAYERS {
            let mut head = Vec::new();
            if let Err(source) = input.by_ref().take(detect::HEAD_BYTES).read_to_end(&mut head) {
                return Self::failed(path, Fault::Io { doing: "reading its beginning", source });
            }
            let (packing, format) = (packing(&head), detect(&head));
            let whole: Input<'a> = Box::new(Cursor::new(head).chain(input));
            let Some(packing) = packing else {
                return match format {
                    Some(format) => Self::of_format(path, format, whole, options),
                    None => Self::failed(path, Fault::UnknownFormat),
                };
            };
            input = match unpacked(packing, whole) {
                Ok(input) => input,
                Err(what) => return Self::failed(path, what),
            };
        }
        Self::failed(path, Fault::Packed("it is packed too many times over; unpack it first"))
    }

    /// Reads a log of which the format is known.
    pub fn of_format(path: &Path, format: Format, input: impl Read + Send + 'a, options: &Options) -> Self {
        let input: Input<'a> = Box::new(input);
        let rest = match format {
            Format::Empty if detect::is_evtx_name(path) => return Self::failed(path, Fault::Empty),
            Format::Empty => Rest::Nothing,
            Format::Evtx => Rest::Evtx(Chunks::new(input, options.recover)),
            Format::JsonLines => Rest::JsonLines(WholeLines::new(input)),
            Format::Zip => return Self::failed(path, Fault::UnknownFormat),
            _ => Rest::Whole(input, format),
        };
        Self { path: path.into(), format: Some(format), options: options.clone(), rest, checksum: None }
    }

    fn failed(path: &Path, what: Fault) -> Self {
        let rest = Rest::Failed(ReadError::new(path, Place::File, what));
        Self { path: path.into(), format: None, options: Options::default(), rest, checksum: None }
    }

    /// The log's format; `None` if it could not be opened or told.
    pub fn format(&self) -> Option<Format> {
        self.format
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let failed = |(place, what)| Content::Failed(ReadError::new(&self.path, place, what));
        let next = match &mut self.rest {
            Rest::Evtx(chunks) => chunks.next().map(|next| next.map_or_else(failed, Content::Evtx)),
            Rest::JsonLines(lines) => lines.next().map(|next| next.map_or_else(failed, Content::JsonLines)),
            Rest::Archive(archive, log) => return next_of_archive(archive, log, &self.options),
            rest => match std::mem::replace(rest, Rest::Nothing) {
                Rest::Whole(input, format) => {
                    let checksum = self.checksum.take();
                    let content = Content::Whole(input, format);
                    return Some(Piece { path: Arc::clone(&self.path), content, checksum });
                }
                Rest::Failed(error) => Some(Content::Failed(error)),
                _ => None,
            },
        };
        let content = match next {
            Some(content) => content,
            None if self.checksum.take()?.is_wrong() => failed((Place::File, Fault::Checksum)),
            None => return None,
        };
        Some(Piece { path: Arc::clone(&self.path), content, checksum: None })
    }
}

/// The next piece of an archive. A member that only has the name of a log is passed over, as in a folder.
fn next_of_archive(
    archive: &mut Archive,
    log: &mut Option<Box<Pieces<'static>>>,
    options: &Options,
) -> Option<Piece<'static>> {
    loop {
        if let Some(piece) = log.as_mut().and_then(Iterator::next) {
            return Some(piece);
        }
        let (path, input) = archive.next()?;
        let pieces = match input {
            Ok((input, checksum)) => {
                Pieces { checksum: Some(checksum), ..Pieces::new(&path, input, options) }
            }
            Err(what) => Pieces::failed(&path, what),
        };
        let no_log = matches!(&pieces.rest, Rest::Failed(e) if matches!(e.what, Fault::UnknownFormat));
        *log = (!no_log).then(|| Box::new(pieces));
    }
}

impl Piece<'_> {
    /// What errors call the log: its path, for a part of an archive followed by the part's name.
    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Reads the piece's records. [`ControlFlow::Break`] is what the sink said.
    pub fn read(self, workspace: &mut Workspace, sink: &mut Sink<'_>) -> ControlFlow<()> {
        let path = &*self.path;
        match self.content {
            Content::Evtx(chunks) => chunks.read(path, workspace, sink),
            Content::JsonLines(lines) => lines.read(path, workspace, sink),
            Content::Failed(error) => sink(Err(error)),
            Content::Whole(input, format) => {
                read_whole(path, input, format, workspace, sink)?;
                match self.checksum {
                    Some(checksum) if checksum.is_wrong() => {
                        sink(Err(ReadError::new(path, Place::File, Fault::Checksum)))
                    }
                    _ => ControlFlow::Continue(()),
                }
            }
        }
    }
}

/// Reads a log that is one piece.
fn read_whole(
    path: &Path,
    input: Input<'_>,
    format: Format,
    workspace: &mut Workspace,
    sink: &mut Sink<'_>,
) -> ControlFlow<()> {
    match format {
        Format::JsonValues => json::read_values(path, input, workspace, sink),
        Format::Xml => xml::read_events(path, input, workspace, sink),
        Format::Auditd => lines::read(path, input, lines::Others::AreErrors, workspace, sink),
        Format::Syslog => lines::read(path, input, lines::Others::AreRecords, workspace, sink),
        Format::Empty | Format::Evtx | Format::JsonLines | Format::Zip => ControlFlow::Continue(()),
    }
}
