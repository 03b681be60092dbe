//! The file that a permit is written to: whole or not at all, for its owner alone, and never left from an earlier run.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use samebits::record::is_permit;

/// The longest file that is looked into.
const LIMIT: u64 = 1024 * 1024;

/// The place of a permit to come: it can be written, and nothing is there. Without a permit nothing stays there.
#[derive(Debug)]
pub(crate) struct PermitFile {
    file: PathBuf,
    /// Open beside it; gone once it is in its place.
    new: Option<(PathBuf, File)>,
}

impl PermitFile {
    /// Before anything is decided: a workspace that is used again may hold the permit of an earlier run, which would be
    /// taken for an answer to this question. It is removed. Whatever is no permit is somebody's, and stays.
    pub(crate) fn open(file: &Path) -> anyhow::Result<Self> {
        let shown = file.display();
        match fs::symlink_metadata(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("the permit file {shown} cannot be looked for"));
            }
            Ok(found) if found.is_file() && is_left(file).unwrap_or(false) => {
                fs::remove_file(file)
                    .with_context(|| format!("the earlier permit {shown} cannot be removed"))?;
            }
            Ok(_) => bail!(
                "{shown} is there and is no permit: expected the name of a new file, or of an earlier permit"
            ),
        }
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let Some(name) = file.file_name() else { bail!("{shown} is no name of a file") };
        // Another run may be writing the same.
        let new = folder.join(format!(".{}.{}.new", name.to_string_lossy(), std::process::id()));
        let opened = own(&new).with_context(|| format!("the permit file {shown} cannot be written"))?;
        Ok(Self { file: file.to_owned(), new: Some((new, opened)) })
    }

    /// Its name, as typed.
    pub(crate) fn shown(&self) -> String {
        self.file.display().to_string()
    }

    /// Puts the permit in its place.
    pub(crate) fn write(mut self, permit: &[u8]) -> anyhow::Result<()> {
        let Some((new, opened)) = self.new.as_mut() else { return Ok(()) };
        let write = |new: &Path, opened: &mut File| {
            opened.write_all(permit)?;
            opened.write_all(b"\n")?;
            opened.sync_all()?;
            fs::rename(new, &self.file)
        };
        write(new, opened)
            .with_context(|| format!("the permit file {} cannot be written", self.file.display()))?;
        self.new = None;
        Ok(())
    }
}

impl Drop for PermitFile {
    fn drop(&mut self) {
        if let Some((new, _)) = &self.new {
            // Empty: whoever finds it has no permit.
            let _ = fs::remove_file(new);
        }
    }
}

/// Whether it is a permit of an earlier run, or nothing at all.
fn is_left(file: &Path) -> io::Result<bool> {
    let mut bytes = Vec::new();
    File::open(file)?.take(LIMIT + 1).read_to_end(&mut bytes)?;
    Ok(bytes.is_empty() || is_permit(&bytes))
}

/// A new file for its owner alone. One of the same name is what a killed run left.
fn own(file: &Path) -> io::Result<File> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)
}
