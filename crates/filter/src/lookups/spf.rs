//! Whether a host may send for a domain: the questions of RFC 7208 §4.6, no more than the standard allows.

use super::asker::{Asker, Kind, Missing, Record};
use super::{leads_to, names_of, no_outcome};
use crate::Connection;
use antispam::spf::{self, Client, LOOKUPS, Mechanism, Prefix, VOID_LOOKUPS};
use antispam::{Outcome, Spf};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use tokio::time::Instant;

/// Hosts of one `mx` and names of one `ptr` (RFC 7208 §4.6.4).
const HOSTS: usize = 10;

/// Of the sender, or of HELO where the sender is null (RFC 7208 §2.4).
pub(super) async fn check(asker: &Asker, connection: &Connection<'_>, until: Instant) -> Spf {
    let (local, domain, of_helo) = match connection.sender {
        Some(sender) => (sender.local(), sender.domain(), false),
        None => ("postmaster", connection.helo, true),
    };
    let client = Client { ip: connection.client_ip, local, domain, helo: connection.helo };
    // RFC 7208 §4.3: an address literal, or a name that nobody has.
    let Some(name) = spf::expand("%{d}", &client, domain).filter(|name| name.contains('.')) else {
        return no_outcome(domain, of_helo);
    };
    let mut walk = Walk { asker, client, until, lookups: 0, voids: 0 };
    let outcome = walk.check(name.clone()).await;
    Spf { outcome, domain: name, of_helo }
}

struct Walk<'a> {
    asker: &'a Asker,
    client: Client<'a>,
    until: Instant,
    lookups: usize,
    voids: usize,
}

type Checking<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

impl Walk<'_> {
    /// `check_host()` of RFC 7208 §4. It calls itself for each `include` and `redirect`: at most as often as [`LOOKUPS`] allows.
    fn check(&mut self, domain: String) -> Checking<'_> {
        Box::pin(async move { self.record(&domain).await.unwrap_or_else(|outcome| outcome) })
    }

    async fn record(&mut self, domain: &str) -> Result<Outcome, Outcome> {
        let texts = match self.asker.start(domain, Kind::Text).answer(self.until).await {
            Ok(texts) => texts,
            Err(Missing::Nothing) => return Ok(Outcome::None),
            Err(Missing::Failed) => return Err(Outcome::TempError),
        };
        let texts: Vec<String> = texts.iter().filter_map(Record::text).collect();
        let mut records = texts.iter().filter(|text| spf::is_record(text));
        let text = match (records.next(), records.next()) {
            (None, _) => return Ok(Outcome::None),
            (Some(text), None) => text,
            (Some(_), Some(_)) => return Err(Outcome::PermError),
        };
        let record = spf::parse(text).ok_or(Outcome::PermError)?;
        for directive in &record.directives {
            if self.matches(&directive.mechanism, domain).await? {
                return Ok(directive.outcome);
            }
        }
        let Some(redirect) = &record.redirect else { return Ok(Outcome::Neutral) };
        let next = self.name(redirect, domain)?;
        self.count()?;
        match self.check(next).await {
            // RFC 7208 §6.1
            Outcome::None => Err(Outcome::PermError),
            outcome => Ok(outcome),
        }
    }

    async fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Outcome> {
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip(network, bits) => Ok(spf::is_in(self.client.ip, *network, *bits)),
            Mechanism::Include(name) => {
                let name = self.name(name, domain)?;
                self.include(name).await
            }
            Mechanism::A(name, prefix) => {
                let name = self.name_or(name.as_deref(), domain)?;
                self.count()?;
                self.has_address(&name, *prefix).await
            }
            Mechanism::Mx(name, prefix) => {
                let name = self.name_or(name.as_deref(), domain)?;
                self.count()?;
                self.exchange(&name, *prefix).await
            }
            Mechanism::Ptr(name) => {
                let name = self.name_or(name.as_deref(), domain)?;
                self.count()?;
                Ok(self.pointer(&name).await)
            }
            Mechanism::Exists(name) => {
                let name = self.name(name, domain)?;
                self.count()?;
                Ok(!self.ask(&name, Kind::V4).await?.is_empty())
            }
        }
    }

    /// RFC 7208 §5.2
    async fn include(&mut self, name: String) -> Result<bool, Outcome> {
        self.count()?;
        match self.check(name).await {
            Outcome::Pass => Ok(true),
            Outcome::TempError => Err(Outcome::TempError),
            Outcome::None | Outcome::PermError => Err(Outcome::PermError),
            _ => Ok(false),
        }
    }

    async fn has_address(&mut self, name: &str, prefix: Prefix) -> Result<bool, Outcome> {
        let ip = self.client.ip.to_canonical();
        let kind = if ip.is_ipv4() { Kind::V4 } else { Kind::V6 };
        let found = self.ask(name, kind).await?;
        Ok(found.iter().filter_map(Record::address).any(|found: IpAddr| prefix.matches(ip, found)))
    }

    async fn exchange(&mut self, name: &str, prefix: Prefix) -> Result<bool, Outcome> {
        let hosts = self.ask(name, Kind::Exchanges).await?;
        if hosts.len() > HOSTS {
            return Err(Outcome::PermError);
        }
        for host in hosts.iter().filter_map(Record::host).filter(|host| !host.is_empty()) {
            if self.has_address(&host, prefix).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// RFC 7208 §5.5: what fails on the way matches nothing.
    async fn pointer(&self, name: &str) -> bool {
        let names = names_of(self.asker, self.client.ip, self.until).await.unwrap_or_default();
        let is_of = |host: &str| {
            host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        for host in names.iter().take(HOSTS).filter(|host| is_of(host)) {
            if leads_to(self.asker, host, self.client.ip, self.until).await {
                return true;
            }
        }
        false
    }

    /// Nothing, when there is no such name; but only so often (RFC 7208 §4.6.4).
    async fn ask(&mut self, name: &str, kind: Kind) -> Result<std::sync::Arc<[Record]>, Outcome> {
        match self.asker.start(name, kind).answer(self.until).await {
            Ok(found) if !found.is_empty() => Ok(found),
            Err(Missing::Failed) => Err(Outcome::TempError),
            Ok(_) | Err(Missing::Nothing) => {
                self.voids += 1;
                if self.voids > VOID_LOOKUPS { Err(Outcome::PermError) } else { Ok([].into()) }
            }
        }
    }

    fn count(&mut self) -> Result<(), Outcome> {
        self.lookups += 1;
        if self.lookups > LOOKUPS { Err(Outcome::PermError) } else { Ok(()) }
    }

    fn name(&self, text: &str, domain: &str) -> Result<String, Outcome> {
        spf::expand(text, &self.client, domain).ok_or(Outcome::PermError)
    }

    fn name_or(&self, text: Option<&str>, domain: &str) -> Result<String, Outcome> {
        text.map_or_else(|| Ok(domain.to_owned()), |text| self.name(text, domain))
    }
}
