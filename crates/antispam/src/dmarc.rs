//! DMARC: whether who sent a letter has to do with who is named in From, and what the author's domain wants done when not
//! (RFC 7489). Whose a domain is, the Public Suffix List says.

use crate::authentication::{Dkim, Dmarc, DmarcPolicy, Outcome, Spf};
use crate::dkim::tags::Tags;
use crate::dkim::verify::Answer;

/// Where the policy is: at the domain itself, else at that of its owner (RFC 7489 §6.6.3).
pub(crate) fn policy_names(from_domain: &str) -> Vec<String> {
    let owner = organization(from_domain);
    let mut names = vec![format!("_dmarc.{from_domain}")];
    if owner != from_domain {
        names.push(format!("_dmarc.{owner}"));
    }
    names
}

/// The domain that one owner has: `example.co.uk` of `mail.example.co.uk` (RFC 7489 §3.2).
pub(crate) fn organization(domain: &str) -> &str {
    psl::domain_str(domain).unwrap_or(domain)
}

struct Record {
    policy: DmarcPolicy,
    of_subdomains: DmarcPolicy,
    strict_dkim: bool,
    strict_spf: bool,
}

/// `answers` in the order of [`policy_names`]. An empty `from_domain` is of a letter without one author.
pub(crate) fn check(from_domain: &str, answers: &[Answer], spf: &Spf, dkim: &[Dkim]) -> Dmarc {
    let mut dmarc = Dmarc { from_domain: from_domain.to_owned(), ..Dmarc::default() };
    if from_domain.is_empty() {
        // RFC 7489 §6.6.1: nobody can vouch for it, and nobody's policy is about it.
        dmarc.outcome = Outcome::PermError;
        return dmarc;
    }
    let (record, of_owner) = match find(answers) {
        Ok(Some(found)) => found,
        Ok(None) => return dmarc,
        Err(outcome) => {
            dmarc.outcome = outcome;
            return dmarc;
        }
    };
    dmarc.policy = if of_owner { record.of_subdomains } else { record.policy };
    let aligned = |domain: &str, strict: bool| {
        domain == from_domain || !strict && organization(domain) == organization(from_domain)
    };
    let signed = dkim.iter().filter(|one| aligned(&one.domain, record.strict_dkim));
    let mut outcomes: Vec<Outcome> = signed.map(|one| one.outcome).collect();
    if aligned(&spf.domain, record.strict_spf) || spf.outcome == Outcome::None {
        outcomes.push(spf.outcome);
    }
    dmarc.outcome = if outcomes.contains(&Outcome::Pass) {
        Outcome::Pass
    } else if outcomes.contains(&Outcome::TempError) || is_unasked(spf) {
        Outcome::TempError
    } else {
        Outcome::Fail
    };
    dmarc
}

/// Nobody asked for SPF, as for letters from our own network: then what DKIM does not prove is not known.
fn is_unasked(spf: &Spf) -> bool {
    spf.outcome == Outcome::None && spf.domain.is_empty()
}

/// The record, and whether it is that of the owner.
fn find(answers: &[Answer]) -> Result<Option<(Record, bool)>, Outcome> {
    for (place, answer) in answers.iter().enumerate() {
        match answer {
            Answer::Unknown => return Err(Outcome::TempError),
            Answer::Nothing => {}
            Answer::Found(records) => {
                let is_policy = |text: &&String| text.starts_with("v=DMARC1");
                let mut policies = records.iter().filter(is_policy);
                match (policies.next(), policies.next()) {
                    (None, _) => {}
                    (Some(_), Some(_)) => return Ok(None),
                    (Some(one), None) => {
                        let record = parse(one).ok_or(Outcome::PermError)?;
                        return Ok(Some((record, place > 0)));
                    }
                }
            }
        }
    }
    Ok(None)
}

/// RFC 7489 §6.3. `pct=` is passed over: the verdict is a sum of points anyway.
fn parse(text: &str) -> Option<Record> {
    let tags = Tags::parse(text.as_bytes())?;
    if tags.first() != Some("v") || tags.get("v") != Some("DMARC1") {
        return None;
    }
    let policy = |name: &str| match tags.get(name).map(str::to_ascii_lowercase).as_deref() {
        Some("reject") => Some(DmarcPolicy::Reject),
        Some("quarantine") => Some(DmarcPolicy::Quarantine),
        Some("none") => Some(DmarcPolicy::None),
        _ => None,
    };
    // RFC 7489 §6.6.3, 6: with an address for reports a policy that cannot be read is `none`.
    let own = match policy("p") {
        Some(own) => own,
        None if tags.get("rua").is_some() => DmarcPolicy::None,
        None => return None,
    };
    let strict = |name: &str| tags.get(name).is_some_and(|mode| mode.eq_ignore_ascii_case("s"));
    Some(Record {
        policy: own,
        of_subdomains: policy("sp").unwrap_or(own),
        strict_dkim: strict("adkim"),
        strict_spf: strict("aspf"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spf(outcome: Outcome, domain: &str) -> Spf {
        Spf { outcome, domain: domain.into(), of_helo: false }
    }

    fn dkim(outcome: Outcome, domain: &str) -> Dkim {
        Dkim { outcome, domain: domain.into(), ..Dkim::default() }
    }

    #[track_caller]
    fn check(
        from: &str,
        records: &[&str],
        spf: &Spf,
        dkim: &[Dkim],
        expect: (Outcome, DmarcPolicy),
    ) {
        let answers: Vec<Answer> = records
            .iter()
            .map(|text| match *text {
                "" => Answer::Nothing,
                "?" => Answer::Unknown,
                text => Answer::Found(text.split('|').map(str::to_owned).collect()),
            })
            .collect();
        let found = super::check(from, &answers, spf, dkim);
        assert_eq!((found.outcome, found.policy), expect, "{from} {records:?}");
    }

    #[test]
    fn names() {
        assert_eq!(policy_names("example.test"), ["_dmarc.example.test"]);
        assert_eq!(
            policy_names("a.b.example.co.uk"),
            ["_dmarc.a.b.example.co.uk", "_dmarc.example.co.uk"]
        );
        assert_eq!(organization("poczta.onet.pl"), "onet.pl");
        assert_eq!(organization("mail.firma.waw.pl"), "firma.waw.pl");
        assert_eq!(organization("co.uk"), "co.uk");
    }

    #[test]
    fn alignment() {
        use DmarcPolicy::{None as Nothing, Quarantine, Reject};
        let reject = ["v=DMARC1; p=reject; rua=mailto:x@example.com"];
        let failed = spf(Outcome::Fail, "example.com");
        let signed = |domain| [dkim(Outcome::Fail, "other.com"), dkim(Outcome::Pass, domain)];
        check("example.com", &reject, &failed, &signed("example.com"), (Outcome::Pass, Reject));
        check(
            "example.com",
            &reject,
            &failed,
            &signed("mail.example.com"),
            (Outcome::Pass, Reject),
        );
        check("example.com", &reject, &failed, &signed("example.org"), (Outcome::Fail, Reject));
        check("example.com", &reject, &failed, &[], (Outcome::Fail, Reject));
        let sent = spf(Outcome::Pass, "bounces.example.com");
        check("example.com", &reject, &sent, &[], (Outcome::Pass, Reject));
        let strict = ["v=DMARC1; p=quarantine; aspf=s; adkim=s"];
        check(
            "example.com",
            &strict,
            &sent,
            &signed("mail.example.com"),
            (Outcome::Fail, Quarantine),
        );
        check("example.com", &strict, &failed, &signed("example.com"), (Outcome::Pass, Quarantine));
        let of_owner = ["", "v=DMARC1; p=reject; sp=none"];
        check("news.example.com", &of_owner, &failed, &[], (Outcome::Fail, Nothing));
        let slow = [dkim(Outcome::TempError, "example.com")];
        check("example.com", &reject, &failed, &slow, (Outcome::TempError, Reject));
        check("example.com", &reject, &Spf::default(), &[], (Outcome::TempError, Reject));
        check(
            "example.com",
            &reject,
            &Spf::default(),
            &signed("example.com"),
            (Outcome::Pass, Reject),
        );
        check("", &[], &sent, &[], (Outcome::PermError, Nothing));
    }

    #[test]
    fn records() {
        let failed = spf(Outcome::Fail, "example.com");
        let none = (Outcome::None, DmarcPolicy::None);
        let reject = (Outcome::Fail, DmarcPolicy::Reject);
        check("example.com", &[""], &failed, &[], none);
        check("example.com", &["?"], &failed, &[], (Outcome::TempError, DmarcPolicy::None));
        check("example.com", &["v=spf1 -all|v=DMARC1; p=reject"], &failed, &[], reject);
        check("example.com", &["v=DMARC1; p=reject|v=DMARC1; p=none"], &failed, &[], none);
        check(
            "example.com",
            &["v=DMARC1; p=maybe"],
            &failed,
            &[],
            (Outcome::PermError, DmarcPolicy::None),
        );
        check("example.com", &["v=DMARC1; p=Reject;"], &failed, &[], reject);
        check(
            "example.com",
            &["v=DMARC1; p=x; rua=mailto:a@b"],
            &failed,
            &[],
            (Outcome::Fail, DmarcPolicy::None),
        );
    }
}
