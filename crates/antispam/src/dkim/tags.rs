//! Lists of tags, as signatures, keys, seals and policies are written.
//!
//! ```text
//! tag-list = tag-spec *( ";" tag-spec ) [ ";" ]                      ; RFC 6376 §3.2
//! tag-spec = [FWS] tag-name [FWS] "=" [FWS] tag-value [FWS]
//! ```

/// Signatures have some fifteen tags.
const TAGS: usize = 64;

/// Names and values without the blanks around them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tags<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Tags<'a> {
    /// `None`: it is no list of tags, or one of them stands twice.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut tags: Vec<(&str, &str)> = Vec::new();
        for spec in text.split(';') {
            if spec.trim().is_empty() {
                continue;
            }
            let (name, value) = spec.split_once('=')?;
            let name = name.trim();
            let is_known = tags.iter().any(|(known, _)| *known == name);
            if name.is_empty() || is_known || tags.len() == TAGS {
                return None;
            }
            tags.push((name, value.trim()));
        }
        Some(Self(tags))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The name of the first tag.
    pub(crate) fn first(&self) -> Option<&'a str> {
        self.0.first().map(|(name, _)| *name)
    }

    /// A domain or a selector: lower case; `None` when it cannot be asked for.
    pub(crate) fn domain(&self, name: &str) -> Option<String> {
        let text = self.get(name)?.to_ascii_lowercase();
        is_name(&text).then_some(text)
    }

    /// A time or a count.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.get(name)?.parse().ok().filter(|number| *number >= 0)
    }
}

/// Labels of letters, digits, `-` and `_`, as they are asked for in the DNS.
pub(crate) fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// Folding in long values does not count.
pub(crate) fn without_blanks(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_whitespace()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        #[track_caller]
        fn check(text: &str, expect: Option<&[(&str, &str)]>) {
            let found = Tags::parse(text.as_bytes());
            assert_eq!(found, expect.map(|tags| Tags(tags.to_vec())), "{text}");
        }
        check(
            " v = 1 ;\r\n\ta=rsa-sha256; b=a=b;",
            Some(&[("v", "1"), ("a", "rsa-sha256"), ("b", "a=b")]),
        );
        check("", Some(&[]));
        check(" ; ", Some(&[]));
        check("v=1; v=1", None);
        check("v=1; x", None);
        check("=1", None);
        assert!(Tags::parse(b"v=\xff").is_none());
        let many = (0..=TAGS).map(|n| format!("t{n}=1;")).collect::<Vec<_>>().concat();
        check(&many, None);
    }

    #[test]
    fn names() {
        let tags =
            Tags::parse(b"d=Example.TEST; s=a..b; u=ex\xc3\xa4mple.test; t=12; x=-1").unwrap();
        assert_eq!(tags.domain("d").unwrap(), "example.test");
        assert_eq!((tags.domain("s"), tags.domain("u"), tags.domain("q")), (None, None, None));
        assert_eq!((tags.number("t"), tags.number("x")), (Some(12), None));
        assert_eq!(without_blanks("a b\r\n\tc"), "abc");
        assert!(!is_name(&"a".repeat(64)) && !is_name(&"a.".repeat(127)) && !is_name(""));
    }
}
