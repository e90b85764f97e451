//! What SPF, DKIM, DMARC and ARC say about who sent a letter: words only. Who asks the DNS fills them in; a question that
//! was not answered in time stays [`Outcome::TempError`] and proves nothing.

use crate::dmarc::organization;
use types::Address;

/// RFC 8601 §2.7, the words of all methods; each method uses its own ones of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outcome {
    /// Nobody said anything, or nobody asked.
    #[default]
    None,
    Pass,
    Fail,
    SoftFail,
    Neutral,
    /// DKIM: signed, but in a way that we do not take (too short a key, `l=`).
    Policy,
    /// No answer in time: unknown.
    TempError,
    PermError,
}

/// RFC 7208.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spf {
    pub outcome: Outcome,
    /// The domain of MAIL FROM, or of HELO where the sender is null. Lower case.
    pub domain: String,
    pub of_helo: bool,
}

/// One signature (RFC 6376), in the order of the letter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dkim {
    pub outcome: Outcome,
    /// `d=`, lower case.
    pub domain: String,
    pub selector: String,
    /// The first letters of `b=`, which tell two signatures of one domain apart (RFC 6008).
    pub signature_start: String,
    /// Why it is not `Pass`, in a few words; empty otherwise.
    pub why: &'static str,
}

/// What the author's domain wants done with letters that are not authentic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DmarcPolicy {
    #[default]
    None,
    Quarantine,
    Reject,
}

/// RFC 7489.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dmarc {
    pub outcome: Outcome,
    /// The domain of the one author in From. Empty: there is not exactly one.
    pub from_domain: String,
    pub policy: DmarcPolicy,
}

/// RFC 8617.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Arc {
    pub outcome: Outcome,
    /// Who sealed the last set, lower case.
    pub sealer: String,
    /// Whether the first set of a chain that passes says that DMARC or DKIM passed there.
    pub passed_before: bool,
}

/// All four, of one letter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Authentication {
    pub spf: Spf,
    pub dkim: Vec<Dkim>,
    pub dmarc: Dmarc,
    pub arc: Arc,
    /// The name of the client's address, when that name leads back to it (RFC 8601 §2.7.3). Lower case.
    pub client_name: Option<String>,
}

/// A list in the DNS knows the client, or a domain in the letter.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The name of the row in the configuration, as a symbol: `DNSBL_EXAMPLE`.
    pub symbol: String,
    pub points: f32,
    /// The address or domain that is listed.
    pub what: String,
}

impl Authentication {
    /// Domains that vouch for this letter: signed it, or sent it from a host of theirs. Lower case, no doubles.
    pub fn proven_domains(&self) -> Vec<&str> {
        let signed = self.dkim.iter().filter(|one| one.outcome == Outcome::Pass);
        let mut domains: Vec<&str> = signed.map(|one| one.domain.as_str()).collect();
        if self.spf.outcome == Outcome::Pass {
            domains.push(&self.spf.domain);
        }
        domains.sort_unstable();
        domains.dedup();
        domains
    }

    /// Whether the author's domain is proven to have sent it: by what it says of DMARC, or, where it says nothing, by a
    /// domain of the same owner.
    pub fn is_authentic(&self, from: &Address) -> bool {
        let domain = from.domain().to_ascii_lowercase();
        let owner = organization(&domain);
        match self.dmarc.outcome {
            Outcome::Pass => self.dmarc.from_domain == domain,
            Outcome::None => self.proven_domains().iter().any(|one| organization(one) == owner),
            _ => false,
        }
    }
}
