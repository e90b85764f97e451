//! Where a listener listens: an IP address and a port, or a Unix socket, which only programs on this machine reach.

use anyhow::{Context, Result, anyhow, ensure};
use std::fmt;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as Probe;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use tokio::net::UnixListener;

/// `127.0.0.1:24`, or `unix:/run/openpoczta/lmtp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Place {
    pub(crate) fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err(()),
            None => text.parse().map(Self::Tcp).map_err(|_| ()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A Unix socket that is ours; its file goes when this goes.
pub(crate) struct UnixSocket {
    pub(crate) listener: UnixListener,
    path: PathBuf,
    /// The file as we made it: somebody else may have put another in its place.
    inode: u64,
}

impl UnixSocket {
    /// A socket that nobody listens on any more is replaced; anything else at that place stays. `mode` holds from the
    /// first moment.
    pub(crate) fn open(path: &Path, mode: u32) -> Result<Self> {
        if let Ok(found) = fs::symlink_metadata(path) {
            ensure!(found.file_type().is_socket(), "there is something else that is no socket");
            match Probe::connect(path) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => {
                    return Err(anyhow!("the socket that is there cannot be tried: {error}"));
                }
                Ok(_) => return Err(anyhow!("another program listens there")),
            }
        }
        // Under another name until its mode is right, and then in one step at its place.
        let mut name = path.file_name().context("it names no file")?.to_owned();
        name.push(format!(".{}", std::process::id()));
        let fresh = path.with_file_name(name);
        // Of an earlier process with our number.
        drop(fs::remove_file(&fresh));
        let listener = UnixListener::bind(&fresh)?;
        let placed = fs::set_permissions(&fresh, Permissions::from_mode(mode))
            .and_then(|()| fs::rename(&fresh, path))
            .and_then(|()| fs::symlink_metadata(path));
        let inode = match placed {
            Ok(metadata) => metadata.ino(),
            Err(error) => {
                drop(fs::remove_file(&fresh));
                return Err(error.into());
            }
        };
        Ok(Self { listener, path: path.to_owned(), inode })
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        #[track_caller]
        fn check(text: &str, expect: Option<&Place>) {
            let found = text.parse::<Place>().ok();
            assert_eq!(found.as_ref(), expect);
            assert!(found.is_none_or(|place| place.to_string() == text));
        }
        check("127.0.0.1:24", Some(&Place::Tcp("127.0.0.1:24".parse().unwrap())));
        check("[::1]:24", Some(&Place::Tcp("[::1]:24".parse().unwrap())));
        check("unix:/run/a b", Some(&Place::Unix("/run/a b".into())));
        check("unix:run/a", None);
        check("unix:", None);
        check("/run/a", None);
        check("24", None);
    }

    #[tokio::test]
    async fn only_what_nobody_uses_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lmtp");
        let socket = UnixSocket::open(&path, 0o640).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let Err(error) = UnixSocket::open(&path, 0o600) else { panic!("it was taken away") };
        assert!(error.to_string().contains("another program listens"), "{error}");
        // As after kill -9: the file is there, nobody listens.
        let stale = std::os::unix::net::UnixListener::bind(folder.path().join("stale")).unwrap();
        drop(stale);
        let second = UnixSocket::open(&folder.path().join("stale"), 0o600).unwrap();
        // Whoever took its place keeps it.
        fs::remove_file(folder.path().join("stale")).unwrap();
        fs::write(folder.path().join("stale"), "mine").unwrap();
        drop(second);
        assert_eq!(fs::read(folder.path().join("stale")).unwrap(), b"mine");
        let Err(error) = UnixSocket::open(&folder.path().join("stale"), 0o600) else {
            panic!("a file was replaced");
        };
        assert!(error.to_string().contains("no socket"), "{error}");
        drop(socket);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing of ours is left");
    }
}
