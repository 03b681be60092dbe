//! Folders below the cache, that nobody but this user writes to.
//!
//! Guarantees: what is found there was put there by this user. Never does: put rights or owners right.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::SlotError;

/// Makes `folder` (0700) where it is not there, and refuses one that others could have put something into.
pub(super) fn private(folder: &Path) -> Result<(), SlotError> {
    let cannot = |source| SlotError::Room { folder: folder.to_owned(), source };
    let shared = |why| Err(SlotError::Shared { folder: folder.to_owned(), why });
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder).map_err(cannot)?;
    let about = fs::symlink_metadata(folder).map_err(cannot)?;
    if !about.is_dir() {
        return shared("it is a symbolic link");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if about.mode() & 0o022 != 0 {
            return shared("others can write to it");
        }
        // Whoever this process is, a file that it makes is his.
        if made_in(folder).map_err(cannot)?.uid() != about.uid() {
            return shared("it belongs to another user");
        }
    }
    Ok(())
}

/// [`private`] for `folder` and every folder above it up to `top`: who can rename one of them puts another in its place.
pub(super) fn private_from(top: &Path, folder: &Path) -> Result<(), SlotError> {
    let mut above: Vec<_> = folder.ancestors().take_while(|above| above.starts_with(top)).collect();
    above.reverse();
    above.into_iter().try_for_each(private)
}

/// What the system says of a file that was just made in `folder`, and is gone.
#[cfg(unix)]
fn made_in(folder: &Path) -> io::Result<fs::Metadata> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("no random bytes"))?;
    let path = folder.join(format!(".{:032x}", u128::from_ne_bytes(random)));
    let about = File::create_new(&path)?.metadata();
    fs::remove_file(&path)?;
    about
}

/// Opens a file to lock it. What is in it is left alone.
pub(super) fn lock(path: &Path) -> io::Result<File> {
    if fs::symlink_metadata(path).is_ok_and(|about| !about.is_file()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the lock file is not a file"));
    }
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    // What was put in its place since is not followed either.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        rustix::fs::OFlags::NOFOLLOW.bits().cast_signed(),
    );
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the lock file is not a file"));
    }
    file.lock()?;
    Ok(file)
}

/// Writes `bytes` into a file of that name, whatever is there.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    remove(path)?;
    io::Write::write_all(&mut File::create_new(path)?, bytes)
}

/// Removes what is there, if anything is; a symbolic link itself.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a").join("b");
        private(&folder).unwrap();
        private(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        for mode in [0o720, 0o702, 0o777] {
            fs::set_permissions(&folder, PermissionsExt::from_mode(mode)).unwrap();
            let refused = private(&folder).unwrap_err();
            assert!(
                matches!(&refused, SlotError::Shared { why, .. } if why.contains("others")),
                "{refused:?}"
            );
            assert!(refused.is_final() && refused.to_string().contains("others can write to it"));
        }
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
        private(&folder).unwrap();
        let link = home.path().join("link");
        symlink(&folder, &link).unwrap();
        let refused = private(&link).unwrap_err();
        assert!(matches!(refused, SlotError::Shared { why: "it is a symbolic link", .. }), "{refused:?}");
    }

    #[test]
    fn a_folder_in_one_that_others_can_write_to_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let top = home.path().join("cache");
        let folder = top.join("ledgers").join("x");
        private_from(&top, &folder).unwrap();
        for above in [&top, &top.join("ledgers"), &folder] {
            fs::set_permissions(above, PermissionsExt::from_mode(0o777)).unwrap();
            assert!(
                matches!(private_from(&top, &folder), Err(SlotError::Shared { folder, .. }) if folder == *above)
            );
            fs::set_permissions(above, PermissionsExt::from_mode(0o700)).unwrap();
        }
        // What is above the cache is its owner's choice.
        fs::set_permissions(home.path(), PermissionsExt::from_mode(0o777)).unwrap();
        private_from(&top, &folder).unwrap();
    }

    #[test]
    fn a_link_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let (theirs, link) = (home.path().join("theirs"), home.path().join("link"));
        fs::write(&theirs, "x").unwrap();
        symlink(&theirs, &link).unwrap();
        assert!(lock(&link).is_err());
        replace(&link, b"y").unwrap();
        assert_eq!((fs::read(&theirs).unwrap(), fs::read(&link).unwrap()), (b"x".to_vec(), b"y".to_vec()));
        drop(lock(&link).unwrap());
        assert_eq!(fs::read(&link).unwrap(), b"y", "what is locked is not emptied");
        remove(&link).unwrap();
        remove(&link).unwrap();
    }
}
