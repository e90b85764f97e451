//! An envelope address: `local@domain` of RFC 5321 §4.1.2, with UTF-8 as RFC 6531 allows.

use std::fmt;
use std::str::FromStr;

/// A mailbox address. The domain is kept in lower case; the local part as written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    local: String,
    domain: String,
}

/// Why a text is no address; the text itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressError {
    NoAt,
    LocalPart,
    Domain,
    /// Local part over 64 or domain over 255 bytes (RFC 5321 §4.5.3.1).
    TooLong,
}

impl Address {
    pub fn local(&self) -> &str {
        &self.local
    }

    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The key an account is found by: lower case, without `+tag` (RFC 5233).
    pub fn account_key(&self) -> String {
        let base = self.local.split('+').next().filter(|b| !b.is_empty()).unwrap_or(&self.local);
        format!("{}@{}", base.to_lowercase(), self.domain)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::NoAt)?;
        if local.len() > 64 || domain.len() > 255 {
            return Err(AddressError::TooLong);
        }
        let local = unquote(local).ok_or(AddressError::LocalPart)?;
        if !is_domain(domain) {
            return Err(AddressError::Domain);
        }
        Ok(Self { local, domain: domain.to_lowercase() })
    }
}

/// A dot-string as it is, a quoted string without its quotes (RFC 5321 §4.1.2).
fn unquote(local: &str) -> Option<String> {
    if let Some(inner) = local.strip_prefix('"') {
        let inner = inner.strip_suffix('"')?;
        let mut text = String::with_capacity(inner.len());
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => text.push(chars.next().filter(|c| *c == ' ' || c.is_ascii_graphic())?),
                '"' => return None,
                c if c.is_control() => return None,
                c => text.push(c),
            }
        }
        return (!text.is_empty()).then_some(text);
    }
    let atext = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    let atom = |part: &str| {
        !part.is_empty() && part.chars().all(|c| atext(c) || (!c.is_ascii() && !c.is_control()))
    };
    local.split('.').all(atom).then(|| local.to_owned())
}

/// Labels of letters, digits, hyphens and non-ASCII, or an address literal in brackets.
fn is_domain(domain: &str) -> bool {
    if let Some(literal) = domain.strip_prefix('[') {
        return literal.strip_suffix(']').is_some_and(|l| {
            !l.is_empty() && l.bytes().all(|b| b.is_ascii_hexdigit() || b".:IPv".contains(&b))
        });
    }
    let letter = |c: char| {
        c.is_ascii_alphanumeric() || c == '-' || c == '_' || (!c.is_ascii() && !c.is_control())
    };
    domain.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && label.chars().all(letter)
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// The wire form: the local part quoted where it must be.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if unquote(&self.local).as_deref() == Some(&self.local) {
            return write!(f, "{}@{}", self.local, self.domain);
        }
        f.write_str("\"")?;
        for c in self.local.chars() {
            if c == '"' || c == '\\' {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        write!(f, "\"@{}", self.domain)
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAt => "no @ between name and domain",
            Self::LocalPart => "the part before @ has a character that is not allowed there",
            Self::Domain => "the part after @ is not a domain name",
            Self::TooLong => "longer than 64 bytes before @ or 255 after it",
        })
    }
}

impl std::error::Error for AddressError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted() {
        #[track_caller]
        fn check(text: &str, key: &str) {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.account_key(), key);
            assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
        }
        check("alice@Example.TEST", "alice@example.test");
        check("Alice+lists+x@example.test", "alice@example.test");
        check("+x@example.test", "+x@example.test");
        check("\"a b\"@example.test", "a b@example.test");
        check("\"a\\\"b\"@example.test", "a\"b@example.test");
        check("zażółć@gęślą.test", "zażółć@gęślą.test");
        check("a@[127.0.0.1]", "a@[127.0.0.1]");
        check("a@b@example.test".replace("a@b", "\"a@b\"").as_str(), "a@b@example.test");
    }

    #[test]
    fn refused() {
        let long = format!("{}@example.test", "a".repeat(65));
        for bad in [
            "",
            "alice",
            "@example.test",
            "a..b@example.test",
            "a b@example.test",
            "a@",
            "a@-x.test",
            "a@x..test",
            "a@b@example.test",
            "a\0@example.test",
            "a@exa mple.test",
            "a@[|sh]",
            &long,
            "\"a@example.test",
            "a,b@example.test",
            "<a@example.test",
            "\"\"@example.test",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?}");
        }
    }
}
