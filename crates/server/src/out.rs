//! The way to other servers: what `[relay]` and `[dns]` say, and the relay made of it.

use crate::config::{Config, Problems};
use crate::dns::Dns;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use smtp::relay::{self, Login, Protection, Relay, Smarthost};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where most systems keep whom they trust.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// A password file of more than this is another file.
const PASSWORD_BYTES: u64 = 4096;

/// Of `[relay]` and `[dns]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// `false`: nothing leaves for other servers.
    pub(crate) enabled: bool,
    /// Takes all mail; `None`: it goes to the MX hosts of its domain.
    pub(crate) host: Option<Server>,
    pub(crate) user: String,
    pub(crate) password_file: PathBuf,
    pub(crate) tls: Protection,
    pub(crate) routes: Vec<RouteRow>,
    /// Of MX hosts.
    pub(crate) port: u16,
    pub(crate) source: Vec<IpAddr>,
    pub(crate) authorities: PathBuf,
    pub(crate) letters_per_connection: u32,
    pub(crate) dns_servers: Vec<SocketAddr>,
}

/// Mail for one domain.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RouteRow {
    pub(crate) domain: String,
    pub(crate) host: Server,
    pub(crate) tls: Protection,
}

/// `smart.example.test:587`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) port: u16,
}

impl Default for Settings {
    fn default() -> Self {
        let relay = relay::Config::default();
        Self {
            enabled: true,
            host: None,
            user: String::new(),
            password_file: PathBuf::new(),
            tls: Protection::Opportunistic,
            routes: Vec::new(),
            port: relay.port,
            source: Vec::new(),
            authorities: AUTHORITIES.into(),
            letters_per_connection: relay.letters_per_connection,
            dns_servers: Vec::new(),
        }
    }
}

impl Server {
    /// `None`: not a name or an address with a port.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        if let Some(inner) = name.strip_prefix('[') {
            let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
            return Some(Self { name: address.to_string(), port });
        }
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let label = |l: &str| !l.is_empty() && l.len() < 64 && l.chars().all(letter);
        let fits = name.len() < 254 && name.split('.').all(label);
        fits.then(|| Self { name: name.to_ascii_lowercase(), port })
    }

    fn smarthost(&self, tls: Protection, login: Option<Login>) -> Smarthost {
        Smarthost { host: self.name.clone(), port: self.port, tls, login }
    }

    fn is_here(&self) -> bool {
        self.name == "localhost" || self.name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.smarthost(Protection::Opportunistic, None).fmt(f)
    }
}

impl Settings {
    /// What does not fit together, as the end of a sentence that begins with `relay.`
    pub(crate) fn mistake(&self) -> Option<&'static str> {
        let has_password = !self.password_file.as_os_str().is_empty();
        let is_open = self.tls == Protection::Opportunistic;
        if self.user.is_empty() == has_password {
            return Some("user and relay.password_file belong together: give both, or none");
        }
        if self.user.is_empty() {
            return None;
        }
        match &self.host {
            None => Some("user is for a server that is named: give relay.host, too"),
            Some(host) if is_open && !host.is_here() => Some(
                "tls must be \"required\" or \"implicit\" where there is relay.user: else the password could be \
                 given to anybody who stands in between",
            ),
            Some(_) => None,
        }
    }
}

/// `None`: nothing leaves this machine. `file` is the configuration.
pub(crate) fn open(config: &Config, file: &Path) -> Result<Option<Arc<Relay>>, Problems> {
    let settings = &config.relay;
    if !settings.enabled {
        return Ok(None);
    }
    let problem = |text: String| Problems::new(vec![format!("{}: {text}", file.display())]);
    let login = login(settings).map_err(problem)?;
    let route = |row: &RouteRow| (row.domain.clone(), row.host.smarthost(row.tls, None));
    let relay = relay::Config {
        hostname: config.hostname.clone(),
        port: settings.port,
        smarthost: settings.host.as_ref().map(|host| host.smarthost(settings.tls, login)),
        routes: settings.routes.iter().map(route).collect(),
        source: settings.source.clone(),
        roots: roots(settings).map_err(problem)?,
        letters_per_connection: settings.letters_per_connection,
        ..relay::Config::default()
    };
    let dns = Box::new(Dns::new(&settings.dns_servers));
    let made = Relay::new(relay, dns);
    made.map(Some).map_err(|error| problem(format!("TLS cannot be begun ({error})")))
}

fn login(settings: &Settings) -> Result<Option<Login>, String> {
    if settings.user.is_empty() {
        return Ok(None);
    }
    let file = &settings.password_file;
    let wrong = |what: &str| {
        format!(
            "relay.password_file {} {what}: it has the password of relay.user in its first line",
            file.display()
        )
    };
    let size =
        std::fs::metadata(file).map_err(|error| wrong(&format!("cannot be read ({error})")))?;
    if size.len() > PASSWORD_BYTES {
        return Err(wrong("is too large"));
    }
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| wrong(&format!("cannot be read ({error})")))?;
    match text.lines().next().filter(|line| !line.is_empty()) {
        Some(line) => Ok(Some(Login { user: settings.user.clone(), password: line.to_owned() })),
        None => Err(wrong("is empty")),
    }
}

/// A file that is not there matters only to those who want certificates looked at.
fn roots(settings: &Settings) -> Result<RootCertStore, String> {
    let file = &settings.authorities;
    let mut roots = RootCertStore::empty();
    let wrong = |what: &str| {
        format!(
            "relay.authorities {} {what}: it is a PEM file of those who sign good certificates",
            file.display()
        )
    };
    let demanded = settings.tls != Protection::Opportunistic
        || settings.routes.iter().any(|row| row.tls != Protection::Opportunistic)
        || *file != Path::new(AUTHORITIES);
    match CertificateDer::pem_file_iter(file) {
        Ok(certificates) => {
            roots.add_parsable_certificates(certificates.filter_map(Result::ok));
        }
        Err(_) if !demanded => {}
        Err(error) => return Err(wrong(&format!("cannot be read ({error})"))),
    }
    if roots.is_empty() && demanded {
        return Err(wrong("holds no certificate"));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        #[track_caller]
        fn check(text: &str, expect: Option<&str>) {
            assert_eq!(Server::parse(text).map(|server| server.to_string()).as_deref(), expect);
        }
        check("Smart.example.test:587", Some("smart.example.test:587"));
        check("127.0.0.1:25", Some("127.0.0.1:25"));
        check("[::1]:2525", Some("[::1]:2525"));
        for bad in
            ["", "a", "a:", ":25", "a:0", "a:70000", "a b:25", "a..b:25", "[::1:25", "::1:25"]
        {
            check(bad, None);
        }
    }

    #[test]
    fn passwords() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        let settings = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Settings { user: "u".to_owned(), password_file: file.clone(), ..Settings::default() }
        };
        let found = login(&settings("se cret\nnotes\n")).unwrap().unwrap();
        assert_eq!((found.user.as_str(), found.password.as_str()), ("u", "se cret"));
        for (text, says) in
            [("", "is empty"), ("\nx", "is empty"), (&"x".repeat(5000), "too large")]
        {
            assert!(login(&settings(text)).unwrap_err().contains(says));
        }
        let gone = Settings { password_file: folder.path().join("no"), ..settings("x") };
        assert!(login(&gone).unwrap_err().contains("cannot be read"));
    }
}
