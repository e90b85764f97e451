//! The configuration file: one TOML, every key with a default, every mistake named with its line.
//!
//! [`KEYS`] is the table: a row is a key, what it is for, how it is read and shown. `config describe`
//! prints it as a file that can be used as it is.
//!
//! ```toml
//! hostname = "mail.example.test"
//! [imap]
//! listen = ["127.0.0.1:143"]
//! ```

use crate::listeners::{Encryption, LISTENERS, ListenerRow};
use crate::logs::Format;
use crate::out::{RouteRow, Server, Settings};
use crate::place::Place;
use crate::tls::{Minimum, Pair};
use antispam::dkim::Signer;
use smtp::relay::Protection;
use smtp::{Guard, Network, NoNetwork};
use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use toml::de::{DeTable, DeValue};
use types::Limits;

/// All that `serve` has to know.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) hostname: String,
    /// Domains whose mail is taken; none: those of the accounts.
    pub(crate) domains: Vec<String>,
    pub(crate) data_folder: PathBuf,
    pub(crate) index: String,
    /// The address of a database; empty: mail is in the folder.
    pub(crate) store: String,
    pub(crate) segment_bytes: u64,
    pub(crate) reserve_bytes: u64,
    pub(crate) pack: bool,
    pub(crate) cache_bytes: u64,
    pub(crate) dkim_keys: Vec<DkimKey>,
    /// What IMAP tells of a JMAP server; none: nothing.
    pub(crate) jmap_session_url: Option<String>,
    pub(crate) limits: Limits,
    pub(crate) junk_points: f32,
    pub(crate) refuse_points: f32,
    pub(crate) check_senders: bool,
    pub(crate) spam_lists: Vec<filter::List>,
    pub(crate) trusted_sealers: Vec<String>,
    /// Beside `X-Spam-Status`.
    pub(crate) spam_fields: Vec<String>,
    /// The operator's own; empty: none.
    pub(crate) spam_rules: PathBuf,
    /// 0: no letter is asked to come again.
    pub(crate) greylist_points: f32,
    pub(crate) greylist_wait_s: u32,
    /// Programs that know viruses.
    pub(crate) clamd: Option<filter::Clamd>,
    pub(crate) virus_hook: Option<filter::Hook>,
    pub(crate) virus_timeout_ms: u32,
    pub(crate) log_level: tracing::Level,
    pub(crate) log_format: Format,
    /// Whose bearer tokens are taken; without a name nobody's.
    pub(crate) issuer: auth::Issuer,
    /// None: no TLS. The first is for clients that ask for no name we know.
    pub(crate) certificates: Vec<Pair>,
    pub(crate) tls_minimum: Minimum,
    pub(crate) hide_client: bool,
    /// 0: no limit.
    pub(crate) letters_per_hour: u32,
    /// 0: no limit.
    pub(crate) recipients_per_day: u32,
    /// Where each listener listens, by its name; nowhere: it is off.
    pub(crate) listen: BTreeMap<&'static str, Vec<Place>>,
    /// Of the Unix sockets.
    pub(crate) socket_mode: u32,
    /// Proxies that say for whom they speak, on every listener.
    pub(crate) proxies: Vec<Network>,
    /// Mail servers in front, which may use XFORWARD.
    pub(crate) fronts: Vec<Network>,
    /// Those which may use XCLIENT.
    pub(crate) xclient_from: Vec<Network>,
    /// What strangers may do on smtp.
    pub(crate) guard: Guard,
    /// Mail to other servers.
    pub(crate) relay: Settings,
}

/// A key that signs letters of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DkimKey {
    pub(crate) domain: String,
    pub(crate) selector: String,
    pub(crate) file: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        let options = storage::Options::in_folder("/var/lib/openpoczta");
        let spam = antispam::Thresholds::default();
        Self {
            hostname: "localhost".to_owned(),
            domains: Vec::new(),
            data_folder: options.folder,
            index: options.index,
            store: String::new(),
            segment_bytes: options.segment_bytes,
            reserve_bytes: options.reserve_bytes,
            pack: options.pack,
            cache_bytes: options.cache_bytes,
            dkim_keys: Vec::new(),
            jmap_session_url: None,
            limits: Limits::default(),
            junk_points: spam.junk,
            refuse_points: spam.refuse,
            check_senders: true,
            spam_lists: Vec::new(),
            trusted_sealers: Vec::new(),
            spam_fields: Vec::new(),
            spam_rules: PathBuf::new(),
            greylist_points: 0.0,
            greylist_wait_s: 120,
            clamd: None,
            virus_hook: None,
            virus_timeout_ms: 30_000,
            log_level: tracing::Level::INFO,
            log_format: Format::Text,
            issuer: auth::Issuer {
                name: String::new(),
                audience: String::new(),
                claim: "email".to_owned(),
                keys: PathBuf::new(),
            },
            certificates: Vec::new(),
            tls_minimum: Minimum::Tls12,
            hide_client: false,
            letters_per_hour: 500,
            recipients_per_day: 5000,
            listen: LISTENERS.iter().map(|row| (row.name, row.default_places())).collect(),
            socket_mode: 0o660,
            proxies: Vec::new(),
            fronts: Vec::new(),
            xclient_from: Vec::new(),
            guard: Guard::default(),
            relay: Settings::default(),
        }
    }
}

impl Config {
    pub(crate) fn storage_options(&self) -> storage::Options {
        storage::Options {
            index: if self.store.is_empty() { &self.index } else { &self.store }.clone(),
            segment_bytes: self.segment_bytes,
            reserve_bytes: self.reserve_bytes,
            pack: self.pack,
            cache_bytes: self.cache_bytes,
            ..storage::Options::in_folder(&self.data_folder)
        }
    }

    pub(crate) fn token_issuer(&self) -> Option<auth::Issuer> {
        Some(self.issuer.clone()).filter(|issuer| !issuer.name.is_empty())
    }

    pub(crate) fn outgoing(&self, signer: Arc<Signer>) -> mda::Outgoing {
        mda::Outgoing {
            stays_here: !self.relay.enabled,
            hide_client: self.hide_client,
            letters_per_hour: self.letters_per_hour,
            recipients_per_day: self.recipients_per_day,
            signer,
        }
    }

    pub(crate) fn scanners(&self) -> Vec<filter::Scanner> {
        let timeout = Duration::from_millis(self.virus_timeout_ms.into());
        let clamd = self.clamd.clone().map(filter::Engine::Clamd);
        let hook = self.virus_hook.clone().map(filter::Engine::Hook);
        let engines = clamd.into_iter().chain(hook);
        engines.map(|engine| filter::Scanner { engine, timeout }).collect()
    }

    pub(crate) fn greylisting(&self) -> Option<filter::Greylisting> {
        let (points, wait_s) = (self.greylist_points, self.greylist_wait_s);
        (points > 0.0).then_some(filter::Greylisting { points, wait_s })
    }

    pub(crate) fn thresholds(&self) -> antispam::Thresholds {
        antispam::Thresholds { junk: self.junk_points, refuse: self.refuse_points }
    }
}

/// A key: its name with dots, what it is for, its value as TOML, and how a value is taken over.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    get: fn(&Config) -> String,
    set: fn(&mut Config, &Value<'_>) -> Result<(), String>,
}

/// Sorted by section, then by what an operator looks for first. Listeners add `NAME.listen` each; keys of their sections
/// come last.
static KEYS: &[Key] = &[
    Key {
        name: "hostname",
        about: "The name of this server, as it greets others and signs `Received`.",
        get: |c| quote(&c.hostname),
        set: |c, v| v.hostname().map(|name| c.hostname = name),
    },
    Key {
        name: "domains",
        about: "Domains whose mail is taken; the first one completes user names without @. Empty: those of the accounts.",
        get: |c| list(c.domains.iter()),
        set: |c, v| v.domains().map(|domains| c.domains = domains),
    },
    Key {
        name: "antivirus.clamd",
        about: "The daemon of ClamAV, which is asked about each letter: \"unix:/run/clamav/clamd.ctl\", or \"127.0.0.1:3310\". Empty: nobody is asked.",
        get: |c| quote(&shown(c.clamd.as_ref())),
        set: |c, v| v.parsed("unix:/run/clamav/clamd.ctl").map(|place| c.clamd = place),
    },
    Key {
        name: "antivirus.hook",
        about: "A program of yours that is sent each letter by HTTP POST and answers {\"virus\": null} or {\"virus\": \"NAME\"}, such as \"http://127.0.0.1:8080/scan\". Empty: none.",
        get: |c| quote(&shown(c.virus_hook.as_ref())),
        set: |c, v| v.parsed("http://127.0.0.1:8080/scan").map(|hook| c.virus_hook = hook),
    },
    Key {
        name: "antivirus.timeout_ms",
        about: "How long a letter waits for them; one that was not scanned by then goes on.",
        get: |c| c.virus_timeout_ms.to_string(),
        set: |c, v| v.integer(100, 300_000).map(|n| c.virus_timeout_ms = n),
    },
    Key {
        name: "data.folder",
        about: "Where mail is kept. One server at a time.",
        get: |c| quote(&c.data_folder.to_string_lossy()),
        set: |c, v| v.text().map(|text| c.data_folder = text.into()),
    },
    Key {
        name: "data.index",
        about: "The index of the mail: `sqlite:` in the data folder, or `memory:`, rebuilt at each start.",
        get: |c| quote(&c.index),
        set: |c, v| v.one_of(&["sqlite:", "memory:"]).map(|text| text.clone_into(&mut c.index)),
    },
    Key {
        name: "data.store",
        about: "`postgres://USER:PASSWORD@HOST/DATABASE`: mail is kept in that database, which several servers may share; the folder has only the queue of letters that leave.",
        get: |c| quote(&c.store),
        set: |c, v| v.database().map(|url| c.store = url),
    },
    Key {
        name: "data.segment_bytes",
        about: "Size at which a file of the log is closed and the next begins.",
        get: |c| c.segment_bytes.to_string(),
        set: |c, v| v.integer(1 << 20, 1 << 32).map(|n| c.segment_bytes = n),
    },
    Key {
        name: "data.reserve_bytes",
        about: "With less room than this on the disk, new letters are refused for a while (452), so that deletes still work.",
        get: |c| c.reserve_bytes.to_string(),
        set: |c, v| v.integer(1 << 20, 1 << 40).map(|n| c.reserve_bytes = n),
    },
    Key {
        name: "data.pack",
        about: "Closed files of the log are compressed in the background, and letters that nobody has any more are given up.",
        get: |c| c.pack.to_string(),
        set: |c, v| v.yes_or_no().map(|pack| c.pack = pack),
    },
    Key {
        name: "data.cache_bytes",
        about: "Memory for what was read lately: letters, their rows, lists of mailboxes.",
        get: |c| c.cache_bytes.to_string(),
        set: |c, v| v.integer(0, 1 << 40).map(|n| c.cache_bytes = n),
    },
    Key {
        name: "dkim.keys",
        about: "What signs letters of our people, such as [{ domain = \"example.test\", selector = \"s2026\", file = \"/etc/openpoczta/dkim.pem\" }]; one domain may have several. Empty: no signatures.",
        get: |c| dkim_keys(&c.dkim_keys),
        set: |c, v| v.dkim_keys().map(|keys| c.dkim_keys = keys),
    },
    Key {
        name: "dns.servers",
        about: "Resolvers that know where mail for other domains goes, such as [\"127.0.0.1:53\"]; one that checks DNSSEC, on this machine, is best. Empty: those of /etc/resolv.conf.",
        get: |c| list(c.relay.dns_servers.iter()),
        set: |c, v| v.list("[\"127.0.0.1:53\"]").map(|servers| c.relay.dns_servers = servers),
    },
    Key {
        name: "jmap.session_url",
        about: "The `https://` address of the session resource of a JMAP server that shows the same mail under the same object IDs to the same passwords; IMAP tells it to clients (JMAPACCESS). Empty: there is none.",
        get: |c| quote(c.jmap_session_url.as_deref().unwrap_or_default()),
        set: |c, v| v.https_url().map(|url| c.jmap_session_url = url),
    },
    Key {
        name: "limits.message_bytes",
        about: "The largest letter that is taken.",
        get: |c| c.limits.message_bytes.to_string(),
        set: |c, v| v.integer(64 << 10, 1 << 30).map(|n| c.limits.message_bytes = n),
    },
    Key {
        name: "limits.recipients",
        about: "Recipients of one letter; RFC 5321 wants at least 100.",
        get: |c| c.limits.recipients.to_string(),
        set: |c, v| v.integer(100, 100_000).map(|n| c.limits.recipients = n),
    },
    Key {
        name: "limits.connections",
        about: "Connections of one listener at a time.",
        get: |c| c.limits.connections.to_string(),
        set: |c, v| v.integer(1, 1_000_000).map(|n| c.limits.connections = n),
    },
    Key {
        name: "limits.line_bytes",
        about: "The longest command line of SMTP, LMTP and POP3.",
        get: |c| c.limits.line_bytes.to_string(),
        set: |c, v| v.integer(512, 1 << 20).map(|n| c.limits.line_bytes = n),
    },
    Key {
        name: "limits.command_bytes",
        about: "The longest IMAP command with its literals, the letter of APPEND aside.",
        get: |c| c.limits.command_bytes.to_string(),
        set: |c, v| v.integer(8 << 10, 1 << 26).map(|n| c.limits.command_bytes = n),
    },
    Key {
        name: "limits.command_bytes_before_login",
        about: "The same before login.",
        get: |c| c.limits.command_bytes_before_login.to_string(),
        set: |c, v| v.integer(1 << 10, 1 << 20).map(|n| c.limits.command_bytes_before_login = n),
    },
    Key {
        name: "limits.idle_timeout_ms",
        about: "Silence after which a connection is closed; RFC 9051 wants at least 30 minutes.",
        get: |c| c.limits.idle_timeout_ms.to_string(),
        set: |c, v| v.integer(1000, 86_400_000).map(|n| c.limits.idle_timeout_ms = n),
    },
    Key {
        name: "limits.login_timeout_ms",
        about: "The same before login.",
        get: |c| c.limits.login_timeout_ms.to_string(),
        set: |c, v| v.integer(1000, 3_600_000).map(|n| c.limits.login_timeout_ms = n),
    },
    Key {
        name: "limits.write_timeout_ms",
        about: "How long a peer may leave an answer unread.",
        get: |c| c.limits.write_timeout_ms.to_string(),
        set: |c, v| v.integer(1000, 3_600_000).map(|n| c.limits.write_timeout_ms = n),
    },
    Key {
        name: "log.level",
        about: "error, warn, info, debug or trace.",
        get: |c| quote(&c.log_level.to_string().to_lowercase()),
        set: |c, v| {
            let word = v.one_of(&["error", "warn", "info", "debug", "trace"])?;
            word.parse().map(|level| c.log_level = level).map_err(|_| "is no level".to_owned())
        },
    },
    Key {
        name: "log.format",
        about: "text for people, json for programs; always on standard error.",
        get: |c| quote(c.log_format.name()),
        set: |c, v| {
            let word = v.one_of(&["text", "json"])?;
            c.log_format = if word == "json" { Format::Json } else { Format::Text };
            Ok(())
        },
    },
    Key {
        name: "oauth.issuer",
        about: "Who signs the bearer tokens that log in (OAUTHBEARER, XOAUTH2): `iss` in them. Empty: no tokens are taken.",
        get: |c| quote(&c.issuer.name),
        set: |c, v| v.text_or_nothing().map(|text| c.issuer.name = text),
    },
    Key {
        name: "oauth.audience",
        about: "What stands in `aud` of the tokens that are meant for this server.",
        get: |c| quote(&c.issuer.audience),
        set: |c, v| v.text_or_nothing().map(|text| c.issuer.audience = text),
    },
    Key {
        name: "oauth.claim",
        about: "The claim in a token that has the account's address.",
        get: |c| quote(&c.issuer.claim),
        set: |c, v| v.text().map(|text| c.issuer.claim = text),
    },
    Key {
        name: "oauth.keys",
        about: "A file with the issuer's public keys, a JWK set; it is read again when it changes.",
        get: |c| quote(&c.issuer.keys.to_string_lossy()),
        set: |c, v| v.text_or_nothing().map(|text| c.issuer.keys = text.into()),
    },
    Key {
        name: "proxy.from",
        about: "Proxies such as HAProxy, whose connections to every listener begin with a PROXY header (version 1 or 2) that says for whom they speak; without it they are closed. Networks such as 10.0.0.0/8.",
        get: |c| list(c.proxies.iter()),
        set: |c, v| v.networks().map(|networks| c.proxies = networks),
    },
    Key {
        name: "relay.enabled",
        about: "Mail of our people for other domains is taken and sent there; false: it is refused.",
        get: |c| c.relay.enabled.to_string(),
        set: |c, v| v.yes_or_no().map(|enabled| c.relay.enabled = enabled),
    },
    Key {
        name: "relay.host",
        about: "A server that takes all mail for other domains, such as \"smart.example.test:587\". Empty: mail goes to the servers of its domain (MX).",
        get: |c| quote(&c.relay.host.as_ref().map(ToString::to_string).unwrap_or_default()),
        set: |c, v| v.server().map(|host| c.relay.host = host),
    },
    Key {
        name: "relay.user",
        about: "Who we are to relay.host. Empty: it does not ask.",
        get: |c| quote(&c.relay.user),
        set: |c, v| v.text_or_nothing().map(|text| c.relay.user = text),
    },
    Key {
        name: "relay.password_file",
        about: "A file with the password of relay.user in its first line.",
        get: |c| quote(&c.relay.password_file.to_string_lossy()),
        set: |c, v| v.text_or_nothing().map(|text| c.relay.password_file = text.into()),
    },
    Key {
        name: "relay.tls",
        about: "TLS to relay.host: opportunistic (where it is offered, whatever the certificate), required (STARTTLS and a good certificate, or no mail), implicit (from the first byte on, with a good certificate).",
        get: |c| quote(protection_name(c.relay.tls)),
        set: |c, v| v.protection().map(|tls| c.relay.tls = tls),
    },
    Key {
        name: "relay.routes",
        about: "Servers for certain domains, before relay.host and MX, such as [{ domain = \"else.example.test\", host = \"10.0.0.7:25\", tls = \"opportunistic\" }]; tls may be left out.",
        get: |c| routes(&c.relay.routes),
        set: |c, v| v.routes().map(|routes| c.relay.routes = routes),
    },
    Key {
        name: "relay.port",
        about: "The port of the servers of a domain (MX).",
        get: |c| c.relay.port.to_string(),
        set: |c, v| v.integer(1, 65535).map(|port| c.relay.port = port),
    },
    Key {
        name: "relay.source",
        about: "Addresses of this machine to send from, one for IPv4, one for IPv6. Empty: the system chooses.",
        get: |c| list(c.relay.source.iter()),
        set: |c, v| {
            v.list("[\"192.0.2.25\", \"2001:db8::25\"]").map(|source| c.relay.source = source)
        },
    },
    Key {
        name: "relay.authorities",
        about: "A PEM file of those whose signature makes a certificate good: for relay.tls, and for letters that ask for REQUIRETLS.",
        get: |c| quote(&c.relay.authorities.to_string_lossy()),
        set: |c, v| v.text().map(|text| c.relay.authorities = text.into()),
    },
    Key {
        name: "relay.letters_per_connection",
        about: "Letters that are sent over one connection before it is closed.",
        get: |c| c.relay.letters_per_connection.to_string(),
        set: |c, v| v.integer(1, 100_000).map(|n| c.relay.letters_per_connection = n),
    },
    Key {
        name: "spam.junk_points",
        about: "From this score on, a letter goes to Junk.",
        get: |c| format!("{:?}", c.junk_points),
        set: |c, v| v.number(0.1, 1000.0).map(|n| c.junk_points = n),
    },
    Key {
        name: "spam.refuse_points",
        about: "From this score on, a letter is refused.",
        get: |c| format!("{:?}", c.refuse_points),
        set: |c, v| v.number(0.1, 1000.0).map(|n| c.refuse_points = n),
    },
    Key {
        name: "spam.greylist_points",
        about: "From this score on, a letter of a stranger that is not for Junk is asked to come again (greylisting); 0: none is.",
        get: |c| format!("{:?}", c.greylist_points),
        set: |c, v| v.number(0.0, 1000.0).map(|n| c.greylist_points = n),
    },
    Key {
        name: "spam.greylist_wait_s",
        about: "A letter that comes again after so long is taken, and its sender not asked again.",
        get: |c| c.greylist_wait_s.to_string(),
        set: |c, v| v.integer(1, 86_400).map(|n| c.greylist_wait_s = n),
    },
    Key {
        name: "spam.check_senders",
        about: "Asks the DNS whether a letter is from whom it says (SPF, DKIM, DMARC, ARC), for at most 0.3 s; letters from this machine itself are not asked about.",
        get: |c| c.check_senders.to_string(),
        set: |c, v| v.yes_or_no().map(|check| c.check_senders = check),
    },
    Key {
        name: "spam.lists",
        about: "Lists of clients or domains in the DNS, such as [{ symbol = \"LISTED_ZEN\", zone = \"zen.example.test\", of = \"clients\", points = 4.0, answers = \"127.0.0.0/24\" }]; of: \"clients\" or \"domains\". answers, which may be left out: those that mean it.",
        get: |c| spam_lists(&c.spam_lists),
        set: |c, v| v.spam_lists().map(|lists| c.spam_lists = lists),
    },
    Key {
        name: "spam.fields",
        about: "Header fields that letters get beside X-Spam-Status: \"X-Spam\" and \"X-Spam-Flag\" (spam only), \"X-Spam-Level\" (a star for each point), \"X-Spam-Score\".",
        get: |c| list(c.spam_fields.iter()),
        set: |c, v| v.status_fields().map(|fields| c.spam_fields = fields),
    },
    Key {
        name: "spam.rules",
        about: "A file with spam rules of your own, read again at SIGHUP; empty: none. docs/howto/local-spam-rules.md shows one.",
        get: |c| quote(&c.spam_rules.to_string_lossy()),
        set: |c, v| {
            v.parsed("/etc/openpoczta/rules.toml")
                .map(|file| c.spam_rules = file.unwrap_or_default())
        },
    },
    Key {
        name: "spam.trusted_sealers",
        about: "Domains of forwarders and mailing lists whose word about earlier checks is taken (ARC), such as [\"lists.example.test\"].",
        get: |c| list(c.trusted_sealers.iter()),
        set: |c, v| {
            v.list("[\"lists.example.test\"]").map(|domains: Vec<String>| {
                c.trusted_sealers = domains.iter().map(|d| d.to_lowercase()).collect();
            })
        },
    },
    Key {
        name: "tls.certificates",
        about: "PEM files, such as [{ cert = \"/etc/mail/chain.pem\", key = \"/etc/mail/key.pem\" }]; of several, the name a client asks for (SNI) chooses, else the first. Empty: no TLS.",
        get: |c| pairs(&c.certificates),
        set: |c, v| v.certificates().map(|pairs| c.certificates = pairs),
    },
    Key {
        name: "tls.minimum",
        about: "The oldest version of TLS that is spoken: 1.2 or 1.3.",
        get: |c| quote(c.tls_minimum.name()),
        set: |c, v| {
            let word = v.one_of(&["1.2", "1.3"])?;
            c.tls_minimum = if word == "1.3" { Minimum::Tls13 } else { Minimum::Tls12 };
            Ok(())
        },
    },
    Key {
        name: "lmtp.socket_mode",
        about: "Who may use a Unix socket of `listen`, such as [\"unix:/run/openpoczta/lmtp\"]: its permissions as chmod has them; of socketmap, sasl and milter too.",
        get: |c| quote(&format!("{:04o}", c.socket_mode)),
        set: |c, v| v.mode().map(|mode| c.socket_mode = mode),
    },
    Key {
        name: "smtp.fronts",
        about: "Mail servers in front that may say where a letter comes from (XFORWARD), on smtp and lmtp. The limits below do not hold for them.",
        get: |c| list(c.fronts.iter()),
        set: |c, v| v.networks().map(|networks| c.fronts = networks),
    },
    Key {
        name: "smtp.xclient_from",
        about: "Proxies in front that may also say for whom they speak (XCLIENT), on smtp, lmtp and submission: up to who has logged in, without a password.",
        get: |c| list(c.xclient_from.iter()),
        set: |c, v| v.networks().map(|networks| c.xclient_from = networks),
    },
    Key {
        name: "smtp.address_sessions",
        about: "Sessions at once from one address (of IPv6: a /64). This and what follows does not hold for this machine; 0: no limit.",
        get: |c| c.guard.address_sessions.to_string(),
        set: |c, v| v.integer(0, 1_000_000).map(|n| c.guard.address_sessions = n),
    },
    Key {
        name: "smtp.network_sessions",
        about: "Sessions at once from the addresses around it (a /24, of IPv6 a /48).",
        get: |c| c.guard.network_sessions.to_string(),
        set: |c, v| v.integer(0, 1_000_000).map(|n| c.guard.network_sessions = n),
    },
    Key {
        name: "smtp.address_rate",
        about: "Sessions begun by one address in a minute.",
        get: |c| c.guard.address_rate.to_string(),
        set: |c, v| v.integer(0, 10_000_000).map(|n| c.guard.address_rate = n),
    },
    Key {
        name: "smtp.network_rate",
        about: "Sessions begun by the addresses around it in a minute.",
        get: |c| c.guard.network_rate.to_string(),
        set: |c, v| v.integer(0, 10_000_000).map(|n| c.guard.network_rate = n),
    },
    Key {
        name: "smtp.address_letters",
        about: "Letters begun by one address in a minute; more are put off (451).",
        get: |c| c.guard.address_letters.to_string(),
        set: |c, v| v.integer(0, 10_000_000).map(|n| c.guard.address_letters = n),
    },
    Key {
        name: "smtp.network_letters",
        about: "Letters begun by the addresses around it in a minute.",
        get: |c| c.guard.network_letters.to_string(),
        set: |c, v| v.integer(0, 10_000_000).map(|n| c.guard.network_letters = n),
    },
    Key {
        name: "smtp.greeting_delay_ms",
        about: "How long a stranger waits for the greeting; who speaks before it is a program that does not listen, and is sent away (554). 0: nobody waits.",
        get: |c| c.guard.greeting_delay_ms.to_string(),
        set: |c, v| v.integer(0, 60_000).map(|n| c.guard.greeting_delay_ms = n),
    },
    Key {
        name: "smtp.unknown_recipients",
        about: "Unknown recipients after which a session is closed, where they are more than those known: somebody is guessing.",
        get: |c| c.guard.unknown_recipients.to_string(),
        set: |c, v| v.integer(0, 1_000_000).map(|n| c.guard.unknown_recipients = n),
    },
    Key {
        name: "smtp.session_timeout_ms",
        about: "The longest session, from the greeting to the end.",
        get: |c| c.guard.session_timeout_ms.to_string(),
        set: |c, v| v.integer(0, 604_800_000).map(|n| c.guard.session_timeout_ms = n),
    },
    Key {
        name: "smtp.slowest_bytes_per_s",
        about: "The slowest a letter may come, once three minutes are over; also on submission.",
        get: |c| c.guard.slowest_bytes_per_s.to_string(),
        set: |c, v| v.integer(0, 1_000_000_000).map(|n| c.guard.slowest_bytes_per_s = n),
    },
    Key {
        name: "submission.hide_client",
        about: "`Received` does not say from which address our people sent.",
        get: |c| c.hide_client.to_string(),
        set: |c, v| v.yes_or_no().map(|hide| c.hide_client = hide),
    },
    Key {
        name: "submission.letters_per_hour",
        about: "Letters one account may send in an hour; 0: no limit.",
        get: |c| c.letters_per_hour.to_string(),
        set: |c, v| v.integer(0, 1_000_000).map(|n| c.letters_per_hour = n),
    },
    Key {
        name: "submission.recipients_per_day",
        about: "Recipients one account may write to in a day, each letter counted; 0: no limit.",
        get: |c| c.recipients_per_day.to_string(),
        set: |c, v| v.integer(0, 100_000_000).map(|n| c.recipients_per_day = n),
    },
];

/// Everything that is wrong with a file, one sentence each, with `file:line` in front.
#[derive(Debug, PartialEq)]
pub(crate) struct Problems(Vec<String>);

impl Problems {
    /// Each with the file in front.
    pub(crate) fn new(sentences: Vec<String>) -> Self {
        Self(sentences)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Problems {}

/// Reads and checks a file.
pub(crate) fn load(file: &Path) -> Result<Config, Problems> {
    let name = file.display().to_string();
    match std::fs::read_to_string(file) {
        Ok(text) => parse(&name, &text),
        Err(error) => Err(Problems(vec![format!(
            "{name}: cannot be read ({error}). Give the path of your file after --config; \
             `openpoczta config describe` prints one to begin with"
        )])),
    }
}

/// `file` is the name that stands in the messages.
pub(crate) fn parse(file: &str, text: &str) -> Result<Config, Problems> {
    let mut reader =
        Reader { file, text, config: Config::default(), listens: Vec::new(), problems: Vec::new() };
    match DeTable::parse(text) {
        Ok(table) => {
            reader.table("", table.get_ref());
            reader.passwords_stay_private();
            reader.issuer_is_whole();
            reader.relay_is_whole();
        }
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            let message = error.message().replace('\n', ", ");
            reader.problem(at, &format!("this is not TOML: {message}"));
        }
    }
    if reader.problems.is_empty() { Ok(reader.config) } else { Err(Problems(reader.problems)) }
}

/// The whole configuration as a file with comments.
pub(crate) fn describe(config: &Config) -> String {
    let mut out =
        String::from("# OpenPoczta configuration. Every key has the default shown here.\n");
    let mut section = "";
    let of_listener = |head: &str| LISTENERS.iter().any(|row| row.name == head);
    for key in KEYS {
        let (head, name) = key.name.rsplit_once('.').unwrap_or(("", key.name));
        if of_listener(head) {
            continue;
        }
        if head != section {
            let _ = write!(out, "\n[{head}]\n");
            section = head;
        }
        let _ = write!(out, "# {}\n{name} = {}\n", key.about, (key.get)(config));
    }
    for row in LISTENERS {
        let addresses = config.listen.get(row.name).map(Vec::as_slice).unwrap_or_default();
        let (name, about, value) = (row.name, row.about, list(addresses.iter()));
        let _ = write!(out, "\n[{name}]\n# {about} Empty: off.\nlisten = {value}\n");
        for key in KEYS.iter().filter(|key| section_of(key.name) == Some(row.name)) {
            let name = key.name.rsplit_once('.').map_or(key.name, |(_, last)| last);
            let _ = write!(out, "# {}\n{name} = {}\n", key.about, (key.get)(config));
        }
    }
    out
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    config: Config,
    /// Where the file says where to listen.
    listens: Vec<(&'static ListenerRow, usize)>,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = match prefix {
                "" => key.get_ref().to_string(),
                _ => format!("{prefix}.{}", key.get_ref()),
            };
            let is_section = names().any(|known| section_of(known) == Some(&name));
            match value.get_ref() {
                DeValue::Table(inner) if is_section => self.table(&name, inner),
                DeValue::Table(_) if !names().any(|known| known == name) => {
                    let nearest = closest(&name, names().filter_map(section_of));
                    let fix = format!(
                        "unknown section [{name}]; the nearest one is [{nearest}]. Correct or remove it \
                         (`openpoczta config describe` lists all)"
                    );
                    self.problem(key.span().start, &fix);
                }
                _ if is_section => {
                    let fix = format!("{name} is a section: write [{name}] on a line of its own");
                    self.problem(key.span().start, &fix);
                }
                inner => self.value(key.span().start, value.span().start, &name, inner),
            }
        }
    }

    fn value(&mut self, key_at: usize, value_at: usize, name: &str, value: &DeValue<'_>) {
        let value = Value(value);
        let result = if let Some(key) = KEYS.iter().find(|key| key.name == name) {
            (key.set)(&mut self.config, &value)
        } else if let Some(row) = listener(name) {
            value.addresses(row).map(|list| {
                self.config.listen.insert(row.name, list);
                self.listens.push((row, value_at));
            })
        } else {
            let nearest = nearest(name);
            let fix = format!(
                "unknown key {name}; the nearest one is {nearest}. Correct or remove it \
                 (`openpoczta config describe` lists all keys)"
            );
            return self.problem(key_at, &fix);
        };
        if let Err(reason) = result {
            self.problem(value_at, &format!("{name} {reason}"));
        }
    }

    fn issuer_is_whole(&mut self) {
        let auth::Issuer { name, audience, claim, keys } = &self.config.issuer;
        let lacks = audience.is_empty() || claim.is_empty() || keys.as_os_str().is_empty();
        if !name.is_empty() && lacks {
            let at = self.text.find("[oauth]").unwrap_or(0);
            self.problem(
                at,
                "oauth.issuer wants oauth.audience, oauth.claim and oauth.keys beside it",
            );
        }
    }

    fn relay_is_whole(&mut self) {
        if let Some(mistake) = self.config.relay.mistake() {
            let at = self.text.find("[relay]").unwrap_or(0);
            self.problem(at, &format!("relay.{mistake}"));
        }
    }

    /// No password crosses a network in the clear: what takes them listens off loopback only with TLS. STARTTLS is
    /// enough, because before it nobody can log in.
    fn passwords_stay_private(&mut self) {
        let has_tls = !self.config.certificates.is_empty();
        for (row, at) in std::mem::take(&mut self.listens) {
            let addresses = self.config.listen.get(row.name).map(Vec::as_slice).unwrap_or_default();
            let is_far = |a: &SocketAddr| !a.ip().to_canonical().is_loopback();
            let far = addresses.iter().filter_map(Place::tcp).find(is_far);
            let (name, key) = (row.name, row.key);
            let message = match (row.encryption, far) {
                (Encryption::Implicit, _) if !has_tls && !addresses.is_empty() => format!(
                    "{key} needs a certificate: write [tls] and certificates = [{{ cert = \"...\", key = \"...\" }}], \
                     or remove [{name}]"
                ),
                (Encryption::StartTls, Some(far)) if !has_tls && row.takes_passwords => format!(
                    "{key} cannot be {:?}: {name} takes passwords, and without a certificate they would cross the \
                     network in the clear. Give one with tls.certificates, or listen on 127.0.0.1:{} and put a TLS \
                     proxy in front of it",
                    far.to_string(),
                    far.port()
                ),
                (Encryption::Never, Some(far)) if row.takes_passwords => format!(
                    "{key} cannot be {:?}: {name} takes passwords, which would cross the network in the clear. Use \
                     [{name}s] with a certificate (tls.certificates), or listen on 127.0.0.1:{} and put a TLS proxy \
                     in front of it",
                    far.to_string(),
                    far.port()
                ),
                _ => continue,
            };
            self.problem(at, &message);
        }
    }

    fn problem(&mut self, at: usize, message: &str) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        self.problems.push(format!("{}:{line}: {message}", self.file));
    }
}

/// IMAP clients take no longer text between quotes.
const URL_BYTES: usize = 1024;

/// A value of the file, taken as what a key wants. The error completes a sentence that begins with the key.
struct Value<'a>(&'a DeValue<'a>);

impl Value<'_> {
    fn text(&self) -> Result<String, String> {
        match self.0.as_str() {
            Some("") => Err("is empty: remove it, or write a value between the quotes".to_owned()),
            Some(text) => Ok(text.to_owned()),
            None => Err(format!("must be a text in quotes, not a {}", self.0.type_str())),
        }
    }

    fn text_or_nothing(&self) -> Result<String, String> {
        match self.0.as_str() {
            Some(text) => Ok(text.to_owned()),
            None => self.text(),
        }
    }

    fn yes_or_no(&self) -> Result<bool, String> {
        let found = self.0.as_bool();
        found.ok_or_else(|| {
            format!("must be true or false, without quotes, not a {}", self.0.type_str())
        })
    }

    /// Empty, as it is described, or an address; the message never repeats it, since a password stands in it.
    fn database(&self) -> Result<String, String> {
        match self.0.as_str() {
            Some("") => Ok(String::new()),
            Some(url) if url.starts_with("postgres://") => Ok(url.to_owned()),
            Some(_) => Err("must begin with postgres://, such as \
                 postgres://openpoczta:PASSWORD@127.0.0.1/openpoczta"
                .to_owned()),
            None => self.text(),
        }
    }

    /// Empty, as it is described, or an address that can stand between quotes as it is.
    fn https_url(&self) -> Result<Option<String>, String> {
        let Some(text) = self.0.as_str() else { return self.text().map(Some) };
        let name = text.strip_prefix("https://").unwrap_or_default();
        let fits = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\');
        match text {
            "" => Ok(None),
            // RFC 8620 §1.7 wants https; a URL has no other characters.
            _ if text.len() <= URL_BYTES && name.bytes().all(fits) && !name.is_empty() => {
                Ok(Some(text.to_owned()))
            }
            _ => Err(format!(
                "cannot be {text:?}: write an address such as \
                 \"https://mail.example.test/.well-known/jmap\", without spaces or quotes"
            )),
        }
    }

    fn one_of(&self, words: &[&'static str]) -> Result<&'static str, String> {
        let text = self.text()?;
        let found = words.iter().find(|word| **word == text);
        found.copied().ok_or_else(|| {
            let nearest = closest(&text, words.iter().copied());
            format!(
                "cannot be {text:?}: write one of {} (the nearest is {nearest})",
                words.join(", ")
            )
        })
    }

    /// A list of tables, or one table alone.
    fn certificates(&self) -> Result<Vec<Pair>, String> {
        match self.0 {
            DeValue::Table(table) => Ok(vec![pair(table)?]),
            DeValue::Array(items) => {
                let one = |item: &toml::Spanned<DeValue<'_>>| match item.get_ref() {
                    DeValue::Table(table) => pair(table),
                    other => Err(format!("holds a {}: {PAIR_EXAMPLE}", other.type_str())),
                };
                items.iter().map(one).collect()
            }
            other => Err(format!("must be a list, not a {}: {PAIR_EXAMPLE}", other.type_str())),
        }
    }

    /// A list of tables, or one table alone.
    fn dkim_keys(&self) -> Result<Vec<DkimKey>, String> {
        match self.0 {
            DeValue::Table(table) => Ok(vec![dkim_key(table)?]),
            DeValue::Array(items) => {
                let one = |item: &toml::Spanned<DeValue<'_>>| match item.get_ref() {
                    DeValue::Table(table) => dkim_key(table),
                    other => Err(format!("holds a {}: {DKIM_EXAMPLE}", other.type_str())),
                };
                items.iter().map(one).collect()
            }
            other => Err(format!("must be a list, not a {}: {DKIM_EXAMPLE}", other.type_str())),
        }
    }

    fn domains(&self) -> Result<Vec<String>, String> {
        let Some(array) = self.0.as_array() else {
            return Err(format!(
                "must be a list such as [\"example.test\"], not a {}",
                self.0.type_str()
            ));
        };
        array.iter().map(|item| Value(item.get_ref()).hostname()).collect()
    }

    fn hostname(&self) -> Result<String, String> {
        let text = self.text()?;
        match format!("postmaster@{text}").parse::<types::Address>() {
            Ok(address) => Ok(address.domain().to_owned()),
            Err(_) => {
                Err(format!("cannot be {text:?}: write a name such as \"mail.example.test\""))
            }
        }
    }

    /// Empty text is none.
    fn parsed<T: FromStr>(&self, example: &str) -> Result<Option<T>, String> {
        if self.0.as_str() == Some("") {
            return Ok(None);
        }
        let text = self.text()?;
        let found = text.parse().map(Some);
        found.map_err(|_| format!("cannot be {text:?}: write one such as {example:?}"))
    }

    /// A whole number from `low` to `high`, both included.
    fn integer<N: TryFrom<i64>>(&self, low: i64, high: i64) -> Result<N, String> {
        let range = format!("must be a whole number from {low} to {high}");
        let Some(text) = self.0.as_integer() else {
            return Err(format!("{range}, not a {}", self.0.type_str()));
        };
        let number = i64::from_str_radix(text.as_str(), text.radix()).ok();
        let fits = number.filter(|n| (low..=high).contains(n));
        fits.and_then(|n| N::try_from(n).ok()).ok_or(range)
    }

    fn number(&self, low: f32, high: f32) -> Result<f32, String> {
        let text = match self.0 {
            DeValue::Integer(text) => text.as_str(),
            DeValue::Float(text) => text.as_str(),
            _ => return Err(format!("must be a number, not a {}", self.0.type_str())),
        };
        let number = text.parse().ok().filter(|n| (low..=high).contains(n));
        number.ok_or_else(|| format!("must be a number from {low} to {high}"))
    }

    fn networks(&self) -> Result<Vec<Network>, String> {
        let example = "write a list such as [\"127.0.0.1\", \"10.0.0.0/8\", \"2001:db8::/32\"]";
        let Some(array) = self.0.as_array() else {
            return Err(format!("must be a list, not a {}: {example}", self.0.type_str()));
        };
        let one = |item: &toml::Spanned<DeValue<'_>>| {
            let text = Value(item.get_ref()).text()?;
            let network: Network =
                text.parse().map_err(|NoNetwork| format!("cannot be {text:?}: {example}"))?;
            if network.is_everybody() {
                return Err(format!("cannot be {text:?}: that is everybody; {example}"));
            }
            Ok(network)
        };
        array.iter().map(one).collect()
    }

    /// Texts that are all of one kind.
    fn list<T: FromStr>(&self, example: &str) -> Result<Vec<T>, String> {
        let Some(array) = self.0.as_array() else {
            let kind = self.0.type_str();
            return Err(format!("must be a list, not a {kind}: write one such as {example}"));
        };
        let one = |item: &toml::Spanned<DeValue<'_>>| {
            let text = Value(item.get_ref()).text()?;
            let wrong = format!("cannot be {text:?}: write a list such as {example}");
            text.parse().map_err(|_| wrong)
        };
        array.iter().map(one).collect()
    }

    fn server(&self) -> Result<Option<Server>, String> {
        let text = self.text_or_nothing()?;
        if text.is_empty() {
            return Ok(None);
        }
        let wrong = || {
            format!(
                "cannot be {text:?}: write a name or an address and a port, such as \"smart.example.test:587\""
            )
        };
        Server::parse(&text).map(Some).ok_or_else(wrong)
    }

    fn protection(&self) -> Result<Protection, String> {
        Ok(match self.one_of(&["opportunistic", "required", "implicit"])? {
            "required" => Protection::Required,
            "implicit" => Protection::Implicit,
            _ => Protection::Opportunistic,
        })
    }

    fn routes(&self) -> Result<Vec<RouteRow>, String> {
        match self.0 {
            DeValue::Table(table) => Ok(vec![route(table)?]),
            DeValue::Array(items) => {
                let one = |item: &toml::Spanned<DeValue<'_>>| match item.get_ref() {
                    DeValue::Table(table) => route(table),
                    other => Err(format!("holds a {}: {ROUTE_EXAMPLE}", other.type_str())),
                };
                items.iter().map(one).collect()
            }
            other => Err(format!("must be a list, not a {}: {ROUTE_EXAMPLE}", other.type_str())),
        }
    }

    /// A list of tables, or one table alone.
    fn spam_lists(&self) -> Result<Vec<filter::List>, String> {
        match self.0 {
            DeValue::Table(table) => Ok(vec![spam_list(table)?]),
            DeValue::Array(items) => {
                let one = |item: &toml::Spanned<DeValue<'_>>| match item.get_ref() {
                    DeValue::Table(table) => spam_list(table),
                    other => Err(format!("holds a {}: {LIST_EXAMPLE}", other.type_str())),
                };
                items.iter().map(one).collect()
            }
            other => Err(format!("must be a list, not a {}: {LIST_EXAMPLE}", other.type_str())),
        }
    }

    fn status_fields(&self) -> Result<Vec<String>, String> {
        let fields: Vec<String> = self.list("[\"X-Spam-Flag\"]")?;
        let known = || antispam::STATUS_FIELDS.iter().map(|field| field.name);
        let wrong = fields.iter().find(|field| !known().any(|name| name == field.as_str()));
        wrong.map_or(Ok(fields.clone()), |wrong| {
            let nearest = closest(wrong, known());
            Err(format!("cannot have {wrong:?}: the nearest field that is known is {nearest}"))
        })
    }

    /// Permissions in octal, as chmod takes them.
    fn mode(&self) -> Result<u32, String> {
        let text = self.text()?;
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777);
        mode.ok_or_else(|| format!("cannot be {text:?}: write permissions such as \"0660\""))
    }

    fn addresses(&self, row: &ListenerRow) -> Result<Vec<Place>, String> {
        let example = format!("write a list such as [\"127.0.0.1:{}\"]", row.port);
        let Some(array) = self.0.as_array() else {
            return Err(format!("must be a list, not a {}: {example}", self.0.type_str()));
        };
        let mut list = Vec::new();
        for item in array {
            let text = Value(item.get_ref()).text()?;
            let place: Place = text
                .parse()
                .map_err(|()| format!("cannot be {text:?}: {example}, an IP address and a port"))?;
            if place.tcp().is_none() && !row.may_be_unix() {
                return Err(format!(
                    "cannot be {text:?}: only lmtp, socketmap, sasl and milter have Unix sockets; {example}"
                ));
            }
            list.push(place);
        }
        Ok(list)
    }
}

const PAIR_EXAMPLE: &str =
    "write [{ cert = \"/etc/mail/chain.pem\", key = \"/etc/mail/key.pem\" }] with your files";

fn pair(table: &DeTable<'_>) -> Result<Pair, String> {
    let file = |wanted: &str| {
        let found = table.iter().find(|(key, _)| key.get_ref() == wanted);
        let (_, value) = found.ok_or_else(|| format!("lacks {wanted}: {PAIR_EXAMPLE}"))?;
        Value(value.get_ref())
            .text()
            .map(PathBuf::from)
            .map_err(|e| format!("has a {wanted} that {e}"))
    };
    let pair = Pair { cert: file("cert")?, key: file("key")? };
    let known = |key: &str| matches!(key, "cert" | "key");
    match table.iter().find(|(key, _)| !known(key.get_ref())) {
        Some((key, _)) => Err(format!("knows no {:?}: {PAIR_EXAMPLE}", key.get_ref())),
        None => Ok(pair),
    }
}

const DKIM_EXAMPLE: &str = "write [{ domain = \"example.test\", selector = \"s2026\", file = \"/etc/openpoczta/dkim.pem\" }] with your own";

fn dkim_key(table: &DeTable<'_>) -> Result<DkimKey, String> {
    let field = |wanted: &str| {
        let found = table.iter().find(|(key, _)| key.get_ref() == wanted);
        let (_, value) = found.ok_or_else(|| format!("lacks {wanted}: {DKIM_EXAMPLE}"))?;
        Ok::<_, String>(Value(value.get_ref()))
    };
    // A selector is a part of a domain name (RFC 6376 §3.1).
    let selector = field("selector")?;
    let selector = selector.hostname().map_err(|e| format!("has a selector that {e}"))?;
    let key = DkimKey {
        domain: field("domain")?.hostname().map_err(|e| format!("has a domain that {e}"))?,
        selector,
        file: field("file")?.text().map_err(|e| format!("has a file that {e}"))?.into(),
    };
    let known = |key: &str| matches!(key, "domain" | "selector" | "file");
    match table.iter().find(|(key, _)| !known(key.get_ref())) {
        Some((other, _)) => Err(format!("knows no {:?}: {DKIM_EXAMPLE}", other.get_ref())),
        None => Ok(key),
    }
}

fn dkim_keys(keys: &[DkimKey]) -> String {
    let one = |key: &DkimKey| {
        let (domain, selector) = (quote(&key.domain), quote(&key.selector));
        let file = quote(&key.file.to_string_lossy());
        format!("{{ domain = {domain}, selector = {selector}, file = {file} }}")
    };
    format!("[{}]", keys.iter().map(one).collect::<Vec<_>>().join(", "))
}

const ROUTE_EXAMPLE: &str =
    "write [{ domain = \"else.example.test\", host = \"10.0.0.7:25\" }] with your own";

fn route(table: &DeTable<'_>) -> Result<RouteRow, String> {
    let find = |wanted: &str| {
        let found = table.iter().find(|(key, _)| key.get_ref() == wanted);
        found.map(|(_, value)| Value(value.get_ref()))
    };
    let field =
        |wanted: &str| find(wanted).ok_or_else(|| format!("lacks {wanted}: {ROUTE_EXAMPLE}"));
    let host = field("host")?.server().map_err(|e| format!("has a host that {e}"))?;
    let tls = find("tls").map_or(Ok(Protection::Opportunistic), |tls| tls.protection());
    let row = RouteRow {
        domain: field("domain")?.hostname().map_err(|e| format!("has a domain that {e}"))?,
        host: host.ok_or_else(|| format!("lacks host: {ROUTE_EXAMPLE}"))?,
        tls: tls.map_err(|e| format!("has a tls that {e}"))?,
    };
    let known = |key: &str| matches!(key, "domain" | "host" | "tls");
    match table.iter().find(|(key, _)| !known(key.get_ref())) {
        Some((other, _)) => Err(format!("knows no {:?}: {ROUTE_EXAMPLE}", other.get_ref())),
        None => Ok(row),
    }
}

fn routes(rows: &[RouteRow]) -> String {
    let one = |row: &RouteRow| {
        let (domain, host) = (quote(&row.domain), quote(&row.host.to_string()));
        format!("{{ domain = {domain}, host = {host}, tls = {} }}", quote(protection_name(row.tls)))
    };
    format!("[{}]", rows.iter().map(one).collect::<Vec<_>>().join(", "))
}

const LIST_EXAMPLE: &str = "write { symbol = \"LISTED_ZEN\", zone = \"zen.example.test\", of = \"clients\", points = 4.0 }";

fn spam_list(table: &DeTable<'_>) -> Result<filter::List, String> {
    let find = |wanted: &str| {
        let found = table.iter().find(|(key, _)| key.get_ref() == wanted);
        found.map(|(_, value)| Value(value.get_ref()))
    };
    let field =
        |wanted: &str| find(wanted).ok_or_else(|| format!("lacks {wanted}: {LIST_EXAMPLE}"));
    let is_known = |key: &str| matches!(key, "symbol" | "zone" | "of" | "points" | "answers");
    if let Some((other, _)) = table.iter().find(|(key, _)| !is_known(key.get_ref())) {
        return Err(format!("knows no {:?}: {LIST_EXAMPLE}", other.get_ref()));
    }
    let symbol = field("symbol")?.text().map_err(|e| format!("has a symbol that {e}"))?;
    let is_of_symbol = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if symbol.is_empty() || symbol.len() > 40 || !symbol.chars().all(is_of_symbol) {
        return Err(format!("has the symbol {symbol:?}: write capitals, digits and _, up to 40"));
    }
    let of = match field("of")?.text().map_err(|e| format!("has an of that {e}"))?.as_str() {
        "clients" => filter::ListOf::Clients,
        "domains" => filter::ListOf::Domains,
        other => return Err(format!("is of {other:?}: write \"clients\" or \"domains\"")),
    };
    let answers = find("answers").map_or(Ok(String::new()), |answers| answers.text());
    let answers = answers.map_err(|e| format!("has answers that {e}"))?;
    Ok(filter::List {
        symbol,
        zone: field("zone")?.hostname().map_err(|e| format!("has a zone that {e}"))?,
        of,
        points: field("points")?
            .number(-100.0, 100.0)
            .map_err(|e| format!("has points that {e}"))?,
        answers: list_answers(&answers)?,
    })
}

/// RFC 5782 §2.3: all of 127.0.0.0/8; without the last addresses, by which lists say that they do not serve us.
fn list_answers(text: &str) -> Result<(std::net::Ipv4Addr, u8), String> {
    if text.is_empty() {
        return Ok((std::net::Ipv4Addr::new(127, 0, 0, 0), 16));
    }
    let parts = || {
        let (address, bits) = text.split_once('/').unwrap_or((text, "32"));
        let bits: u8 = bits.parse().ok().filter(|bits| *bits <= 32)?;
        Some((address.parse().ok()?, bits))
    };
    parts().ok_or_else(|| {
        format!("has the answers {text:?}: write a network such as \"127.0.0.0/24\"")
    })
}

fn spam_lists(lists: &[filter::List]) -> String {
    let one = |list: &filter::List| {
        let of = if list.of == filter::ListOf::Clients { "clients" } else { "domains" };
        format!(
            "{{ symbol = {}, zone = {}, of = \"{of}\", points = {:?}, answers = \"{}/{}\" }}",
            quote(&list.symbol),
            quote(&list.zone),
            list.points,
            list.answers.0,
            list.answers.1
        )
    };
    format!("[{}]", lists.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn protection_name(tls: Protection) -> &'static str {
    match tls {
        Protection::Opportunistic => "opportunistic",
        Protection::Required => "required",
        Protection::Implicit => "implicit",
    }
}

fn pairs(pairs: &[Pair]) -> String {
    let path = |path: &Path| quote(&path.to_string_lossy());
    let one = |p: &Pair| format!("{{ cert = {}, key = {} }}", path(&p.cert), path(&p.key));
    format!("[{}]", pairs.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// None is empty.
fn shown<T: ToString>(one: Option<&T>) -> String {
    one.map(ToString::to_string).unwrap_or_default()
}

fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn list<T: ToString>(items: impl Iterator<Item = T>) -> String {
    let quoted: Vec<String> = items.map(|item| quote(&item.to_string())).collect();
    format!("[{}]", quoted.join(", "))
}

fn listener(name: &str) -> Option<&'static ListenerRow> {
    let section = name.strip_suffix(".listen")?;
    LISTENERS.iter().find(|row| row.name == section)
}

/// The names of all keys.
fn names() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|key| key.name).chain(LISTENERS.iter().map(|row| row.key))
}

fn section_of(name: &'static str) -> Option<&'static str> {
    name.rsplit_once('.').map(|(section, _)| section)
}

/// The key most like a wrong one: the same word in another section, else one in its own section that begins so, else the
/// most like it there, else the most like it anywhere.
fn nearest(wrong: &str) -> &'static str {
    let (section, word) = wrong.rsplit_once('.').unwrap_or(("", wrong));
    let last = |name: &'static str| name.rsplit_once('.').map_or(name, |(_, last)| last);
    let same_word = names().find(|name| last(name) == word && word != "listen");
    let in_section = || names().filter(|name| section_of(name) == Some(section));
    let unlike = |name: &&'static str| (!last(name).starts_with(word), distance(word, last(name)));
    let like_it = || in_section().min_by_key(unlike);
    same_word.or_else(like_it).unwrap_or_else(|| closest(wrong, names()))
}

fn closest(wrong: &str, known: impl Iterator<Item = &'static str>) -> &'static str {
    known.min_by_key(|name| distance(wrong, name)).unwrap_or_default()
}

/// Letters to change, add or remove (Levenshtein). Both are short: keys of our table, words of an operator.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(&b) {
            let up = *cell;
            let change = diagonal + usize::from(a != *b);
            *cell = change.min(up + 1).min(left + 1);
            (diagonal, left) = (up, *cell);
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_describe_prints_is_the_default() {
        let text = describe(&Config::default());
        assert_eq!(parse("x.toml", &text), Ok(Config::default()), "{text}");
        assert_eq!(parse("x.toml", ""), Ok(Config::default()));
        for name in names() {
            let last = name.rsplit('.').next().unwrap();
            assert!(text.contains(&format!("\n{last} = ")), "{name}");
        }
    }

    #[test]
    fn the_page_about_it_is_up_to_date() {
        let page = include_str!("../../../docs/ops/configuration.md");
        let described = describe(&Config::default());
        assert!(page.contains(&described), "put this into docs/ops/configuration.md:\n{described}");
    }

    #[test]
    fn every_key_is_taken_over() {
        let text = "hostname = 'mail.example.test'\ndomains = ['Example.TEST']\n\
            [data]\nfolder = '/srv/mail'\nindex = 'memory:'\nstore = 'postgres://a:b@c/d'\nsegment_bytes = 0x200000\n\
            reserve_bytes = 2_000_000\npack = false\ncache_bytes = 0\n\
            [dkim]\nkeys = [{domain = 'Example.test', selector = 's2026', file = '/etc/a b.pem'}]\n\
            [antivirus]\nclamd = 'unix:/run/x.ctl'\nhook = 'http://[::1]:8080/scan'\ntimeout_ms = 900\n\
            [jmap]\nsession_url = 'https://mail.example.test/jmap'\n\
            [submission]\nhide_client = true\nletters_per_hour = 7\nrecipients_per_day = 0\n\
            [limits]\nmessage_bytes = 100000\nrecipients = 200\nconnections = 7\nline_bytes = 600\n\
            command_bytes = 9000\ncommand_bytes_before_login = 2000\nidle_timeout_ms = 2000\n\
            login_timeout_ms = 3000\nwrite_timeout_ms = 4000\n\
            [log]\nlevel = 'debug'\nformat = 'json'\n\
            [oauth]\nissuer = 'https://id.test'\naudience = 'mail'\nclaim = 'sub'\nkeys = '/etc/k.json'\n\
            [spam]\njunk_points = 5\nrefuse_points = 9.5\nrules = '/etc/r.toml'\nfields = ['X-Spam-Flag']\ngreylist_points = 2.5\ngreylist_wait_s = 9\ncheck_senders = false\ntrusted_sealers = ['Lists.test']\n\
            lists = [{symbol = 'A_B', zone = 'Bl.test', of = 'domains', points = 2, answers = '127.0.1.2'}]\n\
            [tls]\ncertificates = [{cert = 'a b', key = 'c'}, {key = 'd', cert = 'e'}]\nminimum = '1.3'\n\
            [imap]\nlisten = ['[::1]:143', '0.0.0.0:144']\n[https]\nlisten = ['0.0.0.0:443']\n\
            [proxy]\nfrom = ['10.0.0.0/8']\n[lmtp]\nlisten = ['unix:/run/lmtp', '127.0.0.1:24']\nsocket_mode = '0600'\n\
            [dns]\nservers = ['127.0.0.1:5353']\n[relay]\nenabled = false\nhost = 'Smart.example.test:587'\n\
            user = 'u'\npassword_file = '/etc/p'\ntls = 'required'\nport = 2525\nsource = ['127.0.0.2']\n\
            authorities = '/etc/ca.pem'\nletters_per_connection = 7\n\
            routes = [{domain = 'A.test', host = '[::1]:25'}, {domain = 'b.test', host = 'c:26', tls = 'implicit'}]\n\
            [smtp]\nlisten = ['0.0.0.0:25']\nfronts = ['127.0.0.1', '::1']\nxclient_from = ['10.0.0.1']\naddress_sessions = 1\nnetwork_sessions = 2\n\
            address_rate = 3\nnetwork_rate = 4\naddress_letters = 9\nnetwork_letters = 10\ngreeting_delay_ms = 5\nunknown_recipients = 6\n\
            session_timeout_ms = 7\nslowest_bytes_per_s = 8\n[pop3]\nlisten = []\n";
        let config = parse("x.toml", text).unwrap();
        let default = Config::default();
        for key in KEYS {
            assert_ne!((key.get)(&config), (key.get)(&default), "{}", key.name);
        }
        assert_eq!(config.storage_options().index, "postgres://a:b@c/d");
        assert_eq!(config.segment_bytes, 2 << 20);
        assert_eq!(config.listen["imap"].len(), 2);
        assert!(config.listen["pop3"].is_empty());
        assert_eq!(config.certificates[0], Pair { cert: "a b".into(), key: "c".into() });
        assert_eq!(config.certificates[1], Pair { cert: "e".into(), key: "d".into() });
        for text in [
            "[tls]\ncertificates = {cert = 'a', key = 'b'}",
            "[tls.certificates]\ncert='a'\nkey='b'",
        ] {
            let config = parse("x.toml", text).unwrap();
            assert_eq!(config.certificates, [Pair { cert: "a".into(), key: "b".into() }]);
            assert_eq!(parse("x.toml", &describe(&config)), Ok(config));
        }
        let text = "[[tls.certificates]]\ncert = 'a'\nkey = 'b'\n[[tls.certificates]]\ncert = 'c'\nkey = 'd'\n";
        assert_eq!(parse("x.toml", text).unwrap().certificates.len(), 2);
    }

    #[track_caller]
    fn check_mistake(text: &str, line: u32, says: &[&str]) {
        let problems = parse("x.toml", text).unwrap_err().to_string();
        let start = format!("x.toml:{line}: ");
        assert!(problems.starts_with(&start), "{problems}");
        for part in says {
            assert!(problems.contains(part), "{part}: {problems}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let check = check_mistake;
        check(
            "# mine\n\n[imap]\nlisten_on = ['x']\n",
            4,
            &["imap.listen_on", "nearest one is imap.listen."],
        );
        check(
            "[limit]\nrecipients = 100\n",
            1,
            &["unknown section [limit]; the nearest one is [limits]"],
        );
        check("limits.recipient = 100", 1, &["nearest one is limits.recipients."]);
        check("[data]\nlevel = 'info'", 2, &["nearest one is log.level."]);
        check("[data]\npack = 'no'", 2, &["must be true or false, without quotes"]);
        check("[spam]\njunk = 4", 2, &["nearest one is spam.junk_points."]);
        check("[imapp]\nlisten = []", 1, &["nearest one is [imap]."]);
        check("hostnaem = 'x'", 1, &["nearest one is hostname."]);
        check(
            "[limits]\n\nrecipients = 5",
            3,
            &["limits.recipients must be a whole number from 100 to"],
        );
        check("[limits]\nrecipients = '500'", 2, &["not a string"]);
        check("[data]\nstore = 'mysql://a:b@c/d'", 2, &["data.store must begin with postgres://"]);
        check("[data]\nstore = 7", 2, &["data.store must be a text in quotes"]);
        check(
            "[jmap]\nsession_url = 'http://a.test/'",
            2,
            &["jmap.session_url cannot be", "https://"],
        );
        check("[jmap]\nsession_url = 'https://a b'", 2, &["without spaces"]);
        check("[spam]\nfields = ['X-Spam-Flagg']", 2, &["known is X-Spam-Flag"]);
        check("[antivirus]\nclamd = '/run/x'", 2, &["cannot be \"/run/x\"", "unix:/run/clamav"]);
        check("[antivirus]\nhook = 'https://x/'", 2, &["such as \"http://127"]);
        check("[oauth]\nissuer = 'https://id.test'\nkeys = 'k'", 1, &["wants oauth.audience"]);
        check("[jmap]\nsession_url = 'https://a\"b'", 2, &["without spaces"]);
        check("[jmap]\nsession_url = 'https://'", 2, &["cannot be"]);
        check("[jmap]\nsession_url = 7", 2, &["must be a text in quotes"]);
        check("[log]\nlevel = 'loud'", 2, &["cannot be \"loud\"", "error, warn, info"]);
        check("log = 'info'", 1, &["log is a section: write [log]"]);
        check("[smtp]\nlisten = ['25']", 2, &["cannot be \"25\"", "127.0.0.1:25"]);
        check("[smtp]\nlisten = '0.0.0.0:25'", 2, &["must be a list"]);
        check(
            "[smtp]\nlisten = ['unix:/run/x']",
            2,
            &["only lmtp, socketmap, sasl and milter have Unix sockets"],
        );
        check("[lmtp]\nlisten = ['unix:run/x']", 2, &["cannot be \"unix:run/x\""]);
        check("[lmtp]\nsocket_mode = '0999'", 2, &["cannot be \"0999\"", "\"0660\""]);
        check("[proxy]\nfrom = ['10.0.0.0/33']", 2, &["cannot be \"10.0.0.0/33\"", "10.0.0.0/8"]);
        check("[proxy]\nfrom = '10.0.0.0/8'", 2, &["proxy.from must be a list"]);
        check("[smtp]\nxclient_from = ['::/0']", 2, &["that is everybody"]);
        check("[smtp]\nfronts = [10]", 2, &["smtp.fronts must be a text in quotes"]);
        check("hostname = 'a b'", 1, &["such as \"mail.example.test\""]);
        check("hostname = ", 1, &["not TOML"]);
        check("hostname = 'a'\nhostname = 'b'", 2, &["duplicate key"]);
        check("[spam]\njunk_points = nan", 2, &["must be a number from"]);
        check("[spam]\njunk_points = 'x'", 2, &["not a string"]);
    }

    #[test]
    fn passwords_and_certificates() {
        let check = check_mistake;
        check("[imap]\nlisten = ['0.0.0.0:143']", 2, &["TLS proxy", "127.0.0.1:143"]);
        check(
            "[imap]\nlisten = ['0.0.0.0:143']",
            2,
            &["imap.listen cannot be", "tls.certificates"],
        );
        check("[http]\nlisten = ['[::]:80']", 2, &["TLS proxy", "[https]"]);
        let pair = "[tls]\ncertificates = [{ cert = 'a', key = 'b' }]\n";
        check(&format!("{pair}[http]\nlisten = ['[::]:80']"), 4, &["[https]"]);
        check(
            "[imaps]\nlisten = ['127.0.0.1:993']",
            2,
            &["imaps.listen needs a certificate", "[tls]"],
        );
        check(
            "[tls]\ncertificates = ['a.pem']",
            2,
            &["tls.certificates holds a string: write [{ cert ="],
        );
        check("[tls]\ncertificates = 'a.pem'", 2, &["tls.certificates must be a list", "cert = "]);
        check("[tls]\ncertificates = [{ cert = 'a' }]", 2, &["tls.certificates lacks key"]);
        check(
            "[tls]\ncertificates = [{ cert = 'a', key = 1 }]",
            2,
            &["has a key that must be a text"],
        );
        check(
            "[tls]\ncertificates = [{ cert = 'a', key = 'b', ca = 'c' }]",
            2,
            &["knows no \"ca\""],
        );
        check("[dkim]\nkeys = 'a.pem'", 2, &["dkim.keys must be a list", "selector = "]);
        check("[dkim]\nkeys = [{ domain = 'a.test', file = 'x' }]", 2, &["lacks selector"]);
        check(
            "[dkim]\nkeys = [{ domain = 'a b', selector = 's', file = 'x' }]",
            2,
            &["has a domain that cannot be \"a b\""],
        );
        check(
            "[dkim]\nkeys = [{ domain = 'a.test', selector = 's', file = 'x', bits = 1 }]",
            2,
            &["knows no \"bits\""],
        );
        check(
            "[relay]\nhost = 'smart'",
            2,
            &["relay.host cannot be \"smart\"", "smart.example.test:587"],
        );
        check(
            "[relay]\nhost = 'a.test:25'\nuser = 'u'\npassword_file = 'p'",
            1,
            &["relay.tls must be"],
        );
        check("[relay]\nhost = 'a.test:25'\nuser = 'u'", 1, &["belong together"]);
        check("[relay]\nuser = 'u'\npassword_file = 'p'", 1, &["give relay.host"]);
        check("[relay]\nroutes = ['a']", 2, &["relay.routes holds a string", "domain = "]);
        check("[relay]\nroutes = [{ domain = 'a.test' }]", 2, &["lacks host"]);
        check(
            "[relay]\nroutes = [{ domain = 'a', host = 'b:1', tls = 'x' }]",
            2,
            &["has a tls that"],
        );
        check("[dns]\nservers = ['127.0.0.1']", 2, &["dns.servers cannot be", "127.0.0.1:53"]);
        check("[submission]\nletters_per_hour = -1", 2, &["whole number from 0"]);
        check("[tls]\nminimum = '1.1'", 2, &["tls.minimum cannot be \"1.1\"", "1.2, 1.3"]);
        check("[tls.cert]\nfile = 'x'", 1, &["unknown section [tls.cert]"]);
    }

    #[test]
    fn all_mistakes_at_once() {
        let problems = parse("x.toml", "a = 1\nhostname = 2\n[log]\nlevel = 3\n").unwrap_err();
        assert_eq!(problems.0.len(), 3, "{problems}");
    }

    #[test]
    fn distances() {
        #[track_caller]
        fn check(a: &str, b: &str, expect: usize) {
            assert_eq!(distance(a, b), expect);
            assert_eq!(distance(b, a), expect);
        }
        check("", "abc", 3);
        check("kitten", "sitting", 3);
        check("żółw", "żółw", 0);
    }
}
