//! What a letter claims about where it comes from, and which questions to the DNS show whether that is true. Pure: whoever
//! has a resolver asks [`Claims::questions`] and gives the answers to [`Claims::check`].
//!
//! ```
//! use antispam::{Answer, Claims, Outcome, Spf};
//! let letter = mparser::Message::parse(b"From: a@example.test\r\n\r\nhello\r\n");
//! let claims = Claims::read(&letter, 1_795_370_400);
//! assert_eq!(claims.questions(), ["_dmarc.example.test"]);
//! let found = claims.check(&[Answer::Nothing], Spf::default());
//! assert_eq!((found.dmarc.outcome, found.dkim.len()), (Outcome::None, 0));
//! ```

use crate::arc::Chain;
use crate::authentication::{Authentication, Spf};
use crate::dkim::canonical::split;
use crate::dkim::verify::{Answer, Signature, Signed};
use crate::dmarc;
use mparser::Message;

/// Signatures that are tried: each costs a question and a calculation. Letters have two or three.
const SIGNATURES: usize = 10;

/// Of one letter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claims {
    signatures: Vec<Signature>,
    chain: Chain,
    /// The domain of the one author, lower case; empty: there is not exactly one.
    from_domain: String,
    policy_names: Vec<String>,
}

impl Claims {
    /// One pass over the letter, and as many over its header as there are signatures.
    pub fn read(message: &Message<'_>, now_unix_s: i64) -> Self {
        let (fields, body) = split(message.raw());
        let mut signed = Signed::new(fields, body);
        let own = signed.of(b"dkim-signature").to_vec();
        let tried = own.into_iter().take(SIGNATURES);
        let signatures =
            tried.map(|field| Signature::dkim(&mut signed, field, now_unix_s)).collect();
        let chain = Chain::read(&mut signed);
        let from_domain = match signed.of(b"from") {
            [_] => only_domain(message),
            _ => String::new(),
        };
        let policy_names =
            if from_domain.is_empty() { Vec::new() } else { dmarc::policy_names(&from_domain) };
        Self { signatures, chain, from_domain, policy_names }
    }

    /// The domain of the one author, lower case; empty: there is not exactly one.
    pub fn from_domain(&self) -> &str {
        &self.from_domain
    }

    /// Names whose TXT records are asked for; a name may be there twice, and an empty one is no question.
    pub fn questions(&self) -> Vec<String> {
        let signatures = self.signatures.iter().map(Signature::key_name);
        let keys = signatures.chain(self.chain.key_names()).map(Option::unwrap_or_default);
        keys.chain(self.policy_names.iter().cloned()).collect()
    }

    /// `answers` in the order of the questions; one that is missing is unknown.
    pub fn check(&self, answers: &[Answer], spf: Spf) -> Authentication {
        let answer = |place: usize| answers.get(place).unwrap_or(&Answer::Unknown);
        let numbered = self.signatures.iter().enumerate();
        let dkim: Vec<_> = numbered.map(|(n, one)| one.result(answer(n))).collect();
        let rest = answers.get(dkim.len()..).unwrap_or_default();
        let arc = self.chain.check(rest);
        let policies = rest.get(self.chain.key_names().count()..).unwrap_or_default();
        let unknown = [Answer::Unknown];
        let policies = if policies.is_empty() { &unknown[..] } else { policies };
        let dmarc = dmarc::check(&self.from_domain, policies, &spf, &dkim);
        Authentication { spf, dkim, dmarc, arc, client_name: None }
    }
}

/// Domains that the letter leads to and that of its author, each as its owner has it, none twice, the first ones of many: for
/// lists of domains in the DNS.
pub fn domains_to_ask_about(message: &Message<'_>, most: usize) -> Vec<String> {
    let evidence = crate::Evidence::default();
    let facts = crate::Facts::gather(message, &evidence);
    let mut domains: Vec<String> = Vec::new();
    let author = only_domain(message);
    let linked = facts.page.links.iter().map(|link| link.host.as_str());
    for host in
        std::iter::once(author.as_str()).chain(linked).chain(crate::links::hosts_in(&facts.words))
    {
        let ascii = idna::domain_to_ascii(host).unwrap_or_default();
        let domain = dmarc::organization(&ascii).to_ascii_lowercase();
        let is_domain = domain.contains('.')
            && crate::dkim::tags::is_name(&domain)
            && ascii.parse::<std::net::IpAddr>().is_err();
        if is_domain && !domains.contains(&domain) {
            domains.push(domain);
        }
        if domains.len() >= most {
            break;
        }
    }
    domains
}

fn only_domain(message: &Message<'_>) -> String {
    let authors = message.index().from_();
    let [one] = authors.as_slice() else { return String::new() };
    let domain = one.address.rsplit_once('@').map_or("", |(_, domain)| domain);
    let ascii = idna::domain_to_ascii(domain).unwrap_or_default().to_ascii_lowercase();
    let ascii = ascii.trim_end_matches('.');
    if crate::dkim::tags::is_name(ascii) { ascii.to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authentication::{DmarcPolicy, Outcome};
    use crate::dkim::{Key, Signer};

    const NOW: i64 = 1_795_370_400;
    const RSA: &str = include_str!("../../../testdata/dkim/rsa.pem");
    const ED: &str = include_str!("../../../testdata/dkim/ed25519.pem");
    const RSA_TXT: &str = include_str!("../../../testdata/dkim/rsa.txt");

    /// RFC 8463 §A: the letter, its two signatures and the keys.
    const RFC_8463: &str = include_str!("../../../testdata/dkim/rfc8463.eml");
    const BRISBANE: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    const TEST: &str = "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3id\
        Y6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hst\
        T5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB";

    fn found(letter: &str, records: &[&str]) -> Vec<(Outcome, &'static str)> {
        let letter = letter.replace("\r\n", "\n").replace('\n', "\r\n");
        let claims = Claims::read(&Message::parse(letter.as_bytes()), NOW);
        let answers: Vec<Answer> =
            records.iter().map(|text| Answer::Found(vec![(*text).to_owned()])).collect();
        let found = claims.check(&answers, Spf::default());
        found.dkim.iter().map(|one| (one.outcome, one.why)).collect()
    }

    const GOOD: (Outcome, &str) = (Outcome::Pass, "");

    #[test]
    fn the_letter_of_the_standard() {
        let keys = [BRISBANE, TEST];
        assert_eq!(found(RFC_8463, &keys), [GOOD, GOOD]);
        let body = (Outcome::Fail, "the body was changed");
        assert_eq!(found(&RFC_8463.replace("hungry", "angry"), &keys), [body, body]);
        let header = (Outcome::Fail, "the signature is not of this header");
        assert_eq!(found(&RFC_8463.replace("dinner", "supper"), &keys), [header, header]);
        let kind = (Outcome::PermError, "its key is of another kind");
        assert_eq!(found(RFC_8463, &[TEST, BRISBANE]), [kind, kind]);
        let none = (Outcome::TempError, "nobody told the key in time");
        assert_eq!(found(RFC_8463, &[BRISBANE]), [GOOD, none]);
        let claims = Claims::read(&Message::parse(RFC_8463.replace('\n', "\r\n").as_bytes()), NOW);
        assert_eq!(
            claims.questions(),
            [
                "brisbane._domainkey.football.example.com",
                "test._domainkey.football.example.com",
                "_dmarc.football.example.com",
                "_dmarc.example.com",
            ]
        );
    }

    fn signer() -> Signer {
        let key = |selector, pem: &str| Key::from_pem("example.test", selector, pem.as_bytes());
        Signer::new(vec![key("rsa", RSA).unwrap(), key("ed", ED).unwrap()])
    }

    fn keys() -> Vec<String> {
        signer().keys().iter().map(|key| key.record().text).collect()
    }

    /// Blanks, folds and line ends in all places: what our signer signs, written apart from this, is good here.
    #[test]
    fn what_we_sign_is_good() {
        let keys = keys();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        for letter in [
            "From: a@example.test\r\n\r\n",
            "From: a@example.test\r\nTo: b@x.test,\r\n\tc@x.test\r\nDate : now\r\n\r\nhello \t\r\n\r\n\r\n",
            "FROM:   Ala <a@example.test>  \r\nSubject:\r\nX: y\r\n\r\n no line end",
            "Subject: a\r\nSubject: b\r\nFrom: a@example.test\r\n\r\n \r\n\r\n",
            "From: a@example.test\r\nMIME-Version: 1.0\r\n\r\nza\u{17c}\u{f3}\u{142}\u{107}\r\n",
        ] {
            let signed = signer().sign(letter.as_bytes(), "example.test", NOW) + letter;
            let claims = Claims::read(&Message::parse(signed.as_bytes()), NOW);
            let answers: Vec<Answer> =
                keys.iter().map(|text| Answer::Found(vec![(*text).to_owned()])).collect();
            let found = claims.check(&answers, Spf::default());
            assert!(
                found.dkim.iter().all(|one| one.outcome == Outcome::Pass),
                "{found:?}: {signed}"
            );
            assert_eq!(found.dkim.len(), 2);
        }
    }

    #[test]
    fn keys_that_are_not_for_it() {
        #[track_caller]
        fn check(record: &str, expect: (Outcome, &str)) {
            let letter = "From: a@example.test\r\n\r\nhello\r\n";
            let signed = signer().sign(letter.as_bytes(), "example.test", NOW) + letter;
            assert_eq!(found(&signed, &[record])[0], expect, "{record}");
        }
        let text = RSA_TXT.trim();
        let public = keys()[0].rsplit("p=").next().unwrap().to_owned();
        let with = |tags: &str| format!("{tags}; p={public}");
        assert!(text.is_empty() || !public.is_empty());
        check(&with("v=DKIM1"), GOOD);
        check(&with("k=rsa; h=sha1:sha256; s=*; t=y"), GOOD);
        let bare = |why| (Outcome::PermError, why);
        check(&with("v=DKIM2"), bare("its key cannot be read"));
        check(&with("v=DKIM1; h=sha1"), bare("its key is not for this"));
        check(&with("v=DKIM1; s=other"), bare("its key is not for this"));
        check("v=DKIM1; p=", bare("its key was taken back"));
        check("v=DKIM1; p=%%", bare("its key cannot be read"));
        check("v=DKIM1", bare("its key cannot be read"));
        check("v=DKIM1; p=AAAA", (Outcome::Policy, "its key is too short"));
    }

    #[test]
    fn signatures_that_are_none() {
        #[track_caller]
        fn check(from: &str, to: &str, why: &str) {
            let letter = RFC_8463.replacen(from, to, 1);
            assert_ne!(letter, RFC_8463);
            let expect = if why.is_empty() { Outcome::Pass } else { Outcome::PermError };
            let (outcome, found) = found(&letter, &[BRISBANE, TEST])[0];
            assert!(why == found || why == "header" && outcome == Outcome::Fail, "{to}: {found}");
            assert!(outcome == expect || why == "header");
        }
        check("v=1", "v=2", "its version is unknown");
        check("a=ed25519-sha256", "a=rsa-sha1", "its algorithm is not one that we take");
        check("c=relaxed/relaxed", "c=loose", "its form is unknown");
        check("h=from : to :", "h=to :", "header");
        check("subject : date : message-id : from : subject : date", "subject", "header");
        check("i=@football.example.com", "i=@example.com", "it signs for another domain");
        check("i=@football.example.com", "i=@xfootball.example.com", "it signs for another domain");
        check("q=dns/txt", "q=carrier/pigeon", "its key is not in the DNS");
        check("t=1528637909", "t=9528637909", "it is of the future");
        check("t=1528637909", "x=1528637909", "it has expired");
        check("d=football.example.com", "d=", "it cannot be read");
        check("s=brisbane", "s=a b", "it cannot be read");
        check("v=1;", "v=1; v=1;", "it cannot be read");
        let many = format!("h={}from", "x:".repeat(300));
        check("h=from", &many, "it names no fields, or too many");
    }

    #[test]
    fn the_length_is_passed_over() {
        let letter = "From: a@example.test\r\n\r\nhello\r\n";
        let signed = signer().sign(letter.as_bytes(), "example.test", NOW) + letter;
        let keys = keys();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let shorter =
            signed.replace("; bh=", "; l=2; bh=").replace(";\r\n\tbh=", ";\r\n\tl=2; bh=");
        assert!(found(&shorter, &keys).iter().all(|(outcome, _)| *outcome == Outcome::Fail));
        let longer = format!("{shorter}and more");
        assert!(found(&longer, &keys).iter().all(|(_, why)| *why == "the body was changed"));
    }

    #[test]
    fn ten_thousand_signatures() {
        let one = "DKIM-Signature: v=1; a=rsa-sha256; d=a.test; s=s; h=from; bh=AA; b=AA\r\n";
        let letter = format!("{}From: a@a.test\r\n\r\n", one.repeat(10_000));
        let claims = Claims::read(&Message::parse(letter.as_bytes()), NOW);
        assert_eq!(claims.signatures.len(), SIGNATURES);
        assert!(claims.questions().len() <= SIGNATURES + 2);
    }

    #[test]
    fn where_it_leads() {
        let letter = "From: a@news.example.co.uk\r\nContent-Type: text/html\r\n\r\n<a href=\"http://www.bank.com/x\">x</a> \
            see https://WWW.Shop.com/a, http://192.0.2.7/ and http://bank.com http://localhost/\r\n";
        let message = Message::parse(letter.as_bytes());
        assert_eq!(domains_to_ask_about(&message, 9), ["example.co.uk", "bank.com", "shop.com"]);
        assert_eq!(domains_to_ask_about(&message, 1), ["example.co.uk"]);
    }

    #[test]
    fn who_the_author_is() {
        #[track_caller]
        fn check(header: &str, expect: &str) {
            let letter = format!("{header}\r\n\r\nx");
            let claims = Claims::read(&Message::parse(letter.as_bytes()), NOW);
            assert_eq!(claims.from_domain(), expect, "{header}");
            let found = claims.check(&[], Spf::default());
            assert_eq!(found.dmarc.outcome == Outcome::PermError, expect.is_empty());
            assert_eq!(found.dmarc.policy, DmarcPolicy::None);
        }
        check("From: Ala <ala@Else.TEST>", "else.test");
        check("From: a@else.test\r\nFrom: b@bank.test", "");
        check("From: a@else.test, b@bank.test", "");
        check("From: nobody", "");
        check("Subject: x", "");
        check("From: a@b\u{17c}.test", "xn--b-poa.test");
        check("From: a@..", "");
    }
}
