//! Gives a file back.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::place::{Place, dress, path_of};
use super::{Refusal, Step, Store, aside, seal};

impl Store {
    /// Gives a file back, at its old path or another, and forgets it. Nothing is overwritten.
    pub fn restore(&self, id: &str, to: Option<&Path>) -> Result<PathBuf, Refusal> {
        let manifest = self.show(id)?;
        let to = to.map_or_else(|| path_of(&manifest.path), Path::to_owned);
        let place = Place::of(&to)?;
        let occupied = || Refusal::Occupied(place.path.clone());
        if !matches!(place.stat(&place.name), Err(Errno::NOENT)) {
            return Err(occupied());
        }
        let content = self.content_path(id);
        let mut sealed = File::open(&content).map_err(Refusal::io("opening the sealed file"))?;
        let temporary = aside(id);
        let (mut file, named) =
            place.make(&temporary).map_err(Refusal::errno("making a file in the folder"))?;
        let written = (|| {
            let damaged = |what: &str| Refusal::Damaged { path: content.clone(), what: what.to_owned() };
            let (length, sha256) = seal::open(&manifest.key, &mut sealed, &mut file).map_err(|e| {
                if e.kind() == io::ErrorKind::InvalidData {
                    damaged(&e.to_string())
                } else {
                    Refusal::io("writing the file")(e)
                }
            })?;
            if (length, &sha256) != (manifest.size, &manifest.sha256) {
                return Err(damaged("its content is not what was taken"));
            }
            let whose = (manifest.uid, manifest.gid, manifest.mode);
            dress(&file, whose, &manifest.attributes, [manifest.accessed, manifest.modified]).map_err(
                |(what, source)| {
                    let doing = "giving the file back what it had";
                    let source = io::Error::other(format!("{what}: {}", io::Error::from(source)));
                    Refusal::Os { doing, source }
                },
            )?;
            file.sync_all().map_err(Refusal::io("writing the file"))?;
            place.name(&file, named.then_some(temporary.as_os_str())).map_err(|e| match e {
                Errno::EXIST => occupied(),
                e => Refusal::errno("giving the file its name")(e),
            })
        })();
        if let Err(error) = written {
            if named {
                let _ = place.unlink(&temporary);
            }
            return Err(error);
        }
        place.sync().map_err(Refusal::io("making the file durable"))?;
        self.reach(Step::Restored)?;
        self.forget(id)?;
        Ok(place.path)
    }
}
