//! Links and images of an HTML letter, and whose they are. One pass; no document is built.

use memchr::memchr;

/// Links of one letter that are kept; newsletters have some hundreds.
const LINKS: usize = 1_000;
/// Bytes between `<a>` and `</a>` that are read.
const LINK_TEXT_BYTES: usize = 2_048;

/// What the HTML parts of a letter point at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) is_html: bool,
    pub(crate) links: Vec<Link>,
    /// Images that are fetched over the network when the letter is shown.
    pub(crate) remote_images: usize,
    /// Letters and digits that a reader sees.
    pub(crate) text_chars: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Where it leads, lower case.
    pub(crate) host: String,
    /// What is shown.
    pub(crate) text: String,
}

/// Adds what one HTML part holds; `shown` is its text.
pub(crate) fn read_page(html: &str, shown: &str, page: &mut Page) {
    page.is_html = true;
    page.text_chars += shown.chars().filter(|c| c.is_alphanumeric()).count();
    let mut rest = html;
    while let Some(start) = memchr(b'<', rest.as_bytes()) {
        rest = rest.get(start + 1..).unwrap_or_default();
        let Some(end) = memchr(b'>', rest.as_bytes()) else {
            return;
        };
        let (tag, after) = rest.split_at(end);
        let after = after.get(1..).unwrap_or_default();
        let name = tag.split(|c: char| c.is_ascii_whitespace() || c == '/').next();
        match name {
            Some("a" | "A") => add_link(tag, after, page),
            Some(image) if image.eq_ignore_ascii_case("img") => {
                let source = attribute(tag, "src").and_then(host);
                page.remote_images += usize::from(source.is_some());
            }
            _ => {}
        }
        rest = after;
    }
}

fn add_link(tag: &str, after: &str, page: &mut Page) {
    let Some(host) = attribute(tag, "href").and_then(host) else {
        return;
    };
    if page.links.len() >= LINKS {
        return;
    }
    let mut window = LINK_TEXT_BYTES.min(after.len());
    while !after.is_char_boundary(window) {
        window -= 1;
    }
    let window = after.get(..window).unwrap_or_default();
    let ends = [b"</a", b"</A"].map(|end| memchr::memmem::find(window.as_bytes(), end));
    let end = ends.into_iter().flatten().min().unwrap_or(window.len());
    let text = mparser::html_to_text(window.get(..end).unwrap_or_default(), 256);
    page.links.push(Link { host, text });
}

/// The value of an attribute in the text of a tag.
fn attribute<'a>(tag: &'a str, wanted: &str) -> Option<&'a str> {
    let mut rest = tag.get(tag.find(|c: char| c.is_ascii_whitespace())?..)?;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        let stop = rest.find(|c: char| c.is_ascii_whitespace() || c == '=')?;
        let (name, after) = rest.split_at(stop);
        let Some(value) = after.trim_ascii_start().strip_prefix('=') else {
            rest = after;
            continue;
        };
        let value = value.trim_ascii_start();
        let (value, after) = if let Some(quote @ ('"' | '\'')) = value.chars().next() {
            let inner = value.get(1..)?;
            inner.split_once(quote).unwrap_or((inner, ""))
        } else {
            let stop = value.find(|c: char| c.is_ascii_whitespace()).unwrap_or(value.len());
            value.split_at(stop)
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value.trim());
        }
        rest = after;
    }
}

/// The host of a web address, lower case, without user and port. `None` for other schemes and relative addresses.
pub(crate) fn host(url: &str) -> Option<String> {
    let url = url.trim_start();
    let rest = match url.split_once("//")? {
        (scheme, rest) if scheme.is_empty() || is_web(scheme) => rest,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = match host.strip_prefix('[') {
        Some(literal) => literal.split(']').next()?,
        None => host.split(':').next()?,
    };
    let host = host.trim_end_matches('.').to_lowercase();
    (!host.is_empty()).then_some(host)
}

fn is_web(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http:") || scheme.eq_ignore_ascii_case("https:")
}

/// The host that a text shows, when it is nothing but an address: `www.bank.test`, `https://bank.test/login`.
pub(crate) fn shown_host(text: &str) -> Option<String> {
    // Words like `node.js` look like hosts: without a scheme only these ends count.
    const ENDS: &[&str] = &["com", "de", "eu", "gov", "org", "pl", "test", "uk"];
    let text = text.trim();
    if text.contains(|c: char| c.is_whitespace() || c == '@') {
        return None;
    }
    let host = match host(text) {
        Some(host) => host,
        None if text.contains("//") => return None,
        None => {
            let host = text.split(['/', '?', '#', ':']).next()?.to_lowercase();
            let end = host.rsplit('.').next()?;
            (host.starts_with("www.") || ENDS.contains(&end)).then_some(host)?
        }
    };
    let label = |l: &str| !l.is_empty() && l.chars().all(|c| c.is_alphanumeric() || c == '-');
    (host.contains('.') && host.split('.').all(label)).then_some(host)
}

/// The part of a host that one owner has: `bank.test` of `www.bank.test`, `bank.co.uk` of `www.bank.co.uk`.
pub(crate) fn owner(host: &str) -> &str {
    const SHARED: &[&str] =
        &["ac", "co", "com", "edu", "gmina", "gov", "info", "ne", "net", "or", "org", "waw"];
    let mut dots = host.rmatch_indices('.').map(|(at, _)| at);
    let (Some(last), second) = (dots.next(), dots.next()) else {
        return host;
    };
    let top = host.get(last + 1..).unwrap_or_default();
    let middle = host.get(second.map_or(0, |s| s + 1)..last).unwrap_or_default();
    let start = if top.len() == 2 && SHARED.contains(&middle) {
        dots.next().map(|third| third + 1).or(Some(0))
    } else {
        second.map(|second| second + 1)
    };
    host.get(start.unwrap_or(0)..).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        let mut page = Page::default();
        let html = "<p>Hi <A class=x HREF='http://Evil.test:80/x?a'>www.<b>bank</b>.test</A>\
             <img alt=\"a\" src=//pix.test/1.gif><img src=cid:1><a name=x>y</a><a href=\"/rel\">z</a><a";
        read_page(html, "Hi www.bank.test", &mut page);
        let link = Link { host: "evil.test".into(), text: "www.bank.test".into() };
        assert_eq!((page.links, page.remote_images, page.is_html), (vec![link], 1, true));
        assert_eq!(page.text_chars, "Hiwwwbanktest".len());
    }

    #[test]
    fn hosts() {
        #[track_caller]
        fn check(url: &str, expect: &str) {
            assert_eq!(host(url).unwrap_or_default(), expect, "{url:?}");
        }
        check("http://a.test", "a.test");
        check("HTTPS://user:pw@A.Test.:8080/x@y", "a.test");
        check("//a.test?x", "a.test");
        check("http://[2001:db8::1]:80/", "2001:db8::1");
        check("mailto:a@b.test", "");
        check("ftp://a.test", "");
        check("/x//y", "");
        check("http://", "");
        check("http:///a", "");
    }

    #[test]
    fn hosts_in_texts() {
        #[track_caller]
        fn check(text: &str, expect: &str) {
            assert_eq!(shown_host(text).unwrap_or_default(), expect, "{text:?}");
        }
        check(" https://www.Bank.test/login ", "www.bank.test");
        check("www.bank.xyz", "www.bank.xyz");
        check("bank.pl", "bank.pl");
        check("bank.com/login", "bank.com");
        check("node.js", "");
        check("click here", "");
        check("jan@bank.pl", "");
        check("bank", "");
        check("e.g.", "");
        check("http://x", "");
    }

    #[test]
    fn owners() {
        #[track_caller]
        fn check(host: &str, expect: &str) {
            assert_eq!(owner(host), expect);
        }
        check("www.bank.test", "bank.test");
        check("bank.test", "bank.test");
        check("localhost", "localhost");
        check("a.b.c.bank.com.pl", "bank.com.pl");
        check("bank.com.pl", "bank.com.pl");
        check("com.pl", "com.pl");
        check("www.com.test", "com.test");
        check("", "");
    }

    #[test]
    fn attributes() {
        #[track_caller]
        fn check(tag: &str, expect: Option<&str>) {
            assert_eq!(attribute(tag, "href"), expect, "{tag:?}");
        }
        check("a href=x", Some("x"));
        check("a x y = 'href=2' HREF = \" z \"", Some("z"));
        check("a href=\"unclosed", Some("unclosed"));
        check("a hrefx=1", None);
        check("a =", None);
        check("a = = =", None);
        check("a", None);
    }
}
