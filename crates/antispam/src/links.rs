//! Links and images of an HTML letter, and whose they are. One pass; no document is built.

use memchr::memchr;

/// Links of one letter that are kept; newsletters have some hundreds.
const LINKS: usize = 1_000;
/// Elements that hide their text and are looked into. An honest letter has a few.
const HIDDEN: usize = 20;
/// Bytes that are read of each.
const HIDDEN_BYTES: usize = 4_096;
/// A preview line, which newsletters hide, is shorter.
const HIDDEN_CHARS: usize = 300;
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
    /// Each once.
    pub(crate) tricks: Vec<Trick>,
    hidden: usize,
}

/// What an address or a tag does so that people or filters see something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trick {
    /// An IP address as one number, in hexadecimal or octal digits.
    NumberHost,
    /// A host name before the `@`: `http://bank.test@other.test/`.
    UserHost,
    /// A port that web servers for people do not have.
    Port,
    /// The link runs a program, or has its page in itself.
    Script,
    /// Letters of another script that look like ours.
    Homograph,
    /// Much text that is never shown.
    HiddenText,
    /// Text in the colour of its background.
    SameColour,
    /// A field for a password.
    PasswordField,
    /// Another page comes by itself.
    Refresh,
}

impl Page {
    pub(crate) fn has(&self, trick: Trick) -> bool {
        self.tricks.contains(&trick)
    }

    fn note(&mut self, trick: Trick) {
        if !self.has(trick) {
            self.tricks.push(trick);
        }
    }
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
            Some(input) if input.eq_ignore_ascii_case("input") => {
                let of = attribute(tag, "type").unwrap_or_default();
                if of.eq_ignore_ascii_case("password") {
                    page.note(Trick::PasswordField);
                }
            }
            Some(meta) if meta.eq_ignore_ascii_case("meta") => {
                let says = attribute(tag, "http-equiv").unwrap_or_default();
                if says.eq_ignore_ascii_case("refresh") {
                    page.note(Trick::Refresh);
                }
            }
            _ => {}
        }
        if let (Some(name), Some(style)) = (name, attribute(tag, "style")) {
            note_style(name, style, after, page);
        }
        rest = after;
    }
}

/// The start of `text`, cut between characters.
fn window(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

/// `text` up to the end tag of `name`.
fn until_end<'a>(text: &'a str, name: &str) -> &'a str {
    let small = format!("</{}", name.to_ascii_lowercase());
    let large = format!("</{}", name.to_ascii_uppercase());
    let ends = [small, large].map(|end| memchr::memmem::find(text.as_bytes(), end.as_bytes()));
    let end = ends.into_iter().flatten().min().unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

fn note_style(name: &str, style: &str, after: &str, page: &mut Page) {
    let style: String =
        window(style, HIDDEN_BYTES).chars().filter(|c| !c.is_whitespace()).collect();
    let style = style.to_lowercase();
    let (mut hides, mut colour, mut behind) = (false, None, None);
    for (property, value) in style.split(';').filter_map(|one| one.split_once(':')) {
        let value = value.trim_end_matches("!important");
        match property {
            "display" => hides |= value == "none",
            "visibility" => hides |= value == "hidden",
            "font-size" => hides |= matches!(value, "0" | "0px" | "0pt" | "0em" | "0%"),
            "color" => colour = Some(colour_of(value)),
            "background" | "background-color" => behind = Some(colour_of(value)),
            _ => {}
        }
    }
    if colour.is_some() && colour == behind {
        page.note(Trick::SameColour);
    }
    if hides && page.hidden < HIDDEN && !page.has(Trick::HiddenText) {
        page.hidden += 1;
        let text =
            mparser::html_to_text(until_end(window(after, HIDDEN_BYTES), name), HIDDEN_BYTES);
        if text.chars().filter(|c| c.is_alphanumeric()).count() >= HIDDEN_CHARS {
            page.note(Trick::HiddenText);
        }
    }
}

/// One spelling of each of the colours that hide text.
fn colour_of(value: &str) -> &str {
    match value {
        "white" | "#fff" | "#ffffff" | "rgb(255,255,255)" => "white",
        "black" | "#000" | "#000000" | "rgb(0,0,0)" => "black",
        other => other,
    }
}

fn add_link(tag: &str, after: &str, page: &mut Page) {
    let Some(url) = attribute(tag, "href").filter(|_| page.links.len() < LINKS) else {
        return;
    };
    let Some(host) = host(url) else {
        let scheme = url.split(':').next().unwrap_or_default();
        if ["data", "javascript", "vbscript"].iter().any(|s| scheme.eq_ignore_ascii_case(s)) {
            page.note(Trick::Script);
        }
        return;
    };
    note_address(url, &host, page);
    let text = mparser::html_to_text(until_end(window(after, LINK_TEXT_BYTES), "a"), 256);
    page.links.push(Link { host, text });
}

fn note_address(url: &str, host: &str, page: &mut Page) {
    let rest = url.split_once("//").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let (user, place) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.contains('.') {
        page.note(Trick::UserHost);
    }
    let port = place.rsplit_once(':').map_or("", |(_, port)| port);
    let is_port = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if is_port && !["80", "443", "8000", "8080", "8443"].contains(&port) {
        page.note(Trick::Port);
    }
    if is_number_host(host) {
        page.note(Trick::NumberHost);
    }
    if (!host.is_ascii() || host.contains("xn--")) && is_homograph(host) {
        page.note(Trick::Homograph);
    }
}

/// Browsers take these for IPv4 addresses: `3221225985`, `0xc0.0.2.7`, `0300.0.2.7`.
fn is_number_host(host: &str) -> bool {
    let is_number = |label: &str| {
        let digits = label.strip_prefix("0x");
        !label.is_empty()
            && digits.map_or_else(
                || label.bytes().all(|b| b.is_ascii_digit()),
                |digits| digits.bytes().all(|b| b.is_ascii_hexdigit()),
            )
    };
    host.parse::<std::net::Ipv4Addr>().is_err()
        && host.split('.').count() <= 4
        && host.split('.').all(is_number)
}

/// Cyrillic and Greek letters that a reader takes for Latin ones.
const LOOKALIKES: &str = "аеорсухіјѕһԁԛԝӏАВЕКМНОРСТУХІЈЅΑΒΕΖΗΙΚΜΝΟΡΤΥΧον";

/// One word of Latin letters and letters that look like them, of both kinds.
pub(crate) fn is_mixed(word: &str) -> bool {
    let latin = |c: char| c.is_ascii_alphabetic();
    let alike = |c: char| LOOKALIKES.contains(c);
    !word.is_ascii()
        && word.contains(latin)
        && word.contains(alike)
        && word.chars().all(|c| latin(c) || alike(c) || !c.is_alphabetic())
}

/// A label with mixed scripts, or all of it foreign letters that look Latin under a top-level domain in Latin letters.
fn is_homograph(host: &str) -> bool {
    let (host, _) = idna::domain_to_unicode(window(host, 255));
    let latin_top = host.rsplit('.').next().is_some_and(str::is_ascii);
    let all_alike = |label: &str| {
        let mut letters = label.chars().filter(|c| c.is_alphabetic()).peekable();
        letters.peek().is_some() && letters.all(|c| LOOKALIKES.contains(c))
    };
    host.split('.').any(|label| is_mixed(label) || (latin_top && all_alike(label)))
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

/// Of web addresses that stand in text.
pub(crate) fn hosts_in(text: &str) -> impl Iterator<Item = &str> {
    text.split("://").skip(1).filter_map(|rest| {
        let is_of_host = |c: char| c.is_alphanumeric() || c == '.' || c == '-';
        let end = rest.find(|c| !is_of_host(c)).unwrap_or(rest.len());
        rest.get(..end).map(|host| host.trim_matches('.')).filter(|host| !host.is_empty())
    })
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
    fn tricks() {
        #[track_caller]
        fn check(html: &str, expect: &[Trick]) {
            let mut page = Page::default();
            read_page(html, "", &mut page);
            assert_eq!(page.tricks, expect, "{html:.200}");
        }
        let link = |url: &str| format!("<a href=\"{url}\">x</a>");
        check(&link("http://3221225985/x"), &[Trick::NumberHost]);
        check(&link("http://0xC0.0x0.2.7"), &[Trick::NumberHost]);
        check(&link("http://0300.0.2.7"), &[Trick::NumberHost]);
        check(&link("http://192.0.2.7"), &[]);
        check(&link("http://1and1.test"), &[]);
        check(&link("http://www.bank.test@other.test/"), &[Trick::UserHost]);
        check(&link("http://me@other.test/a.b@c"), &[]);
        check(&link("http://other.test:8099/"), &[Trick::Port]);
        check(&link("http://other.test:443/a:99"), &[]);
        check(&link("JavaScript:x()"), &[Trick::Script]);
        check(&link("mailto:a@b.test"), &[]);
        // The first letter is Cyrillic; then all letters are; then an honest Polish and an honest Russian name.
        check(&link("http://аpple.test"), &[Trick::Homograph]);
        check(&link("http://xn--80ak6aa92e.test"), &[Trick::Homograph]);
        check(&link("http://żółw.test"), &[]);
        check(&link("http://пример.test"), &[]);
        let long = "word and ".repeat(60);
        check(&format!("<div style='display: none'>{long}</div>"), &[Trick::HiddenText]);
        check(&format!("<DIV STYLE='FONT-SIZE:0'>{long}</DIV>"), &[Trick::HiddenText]);
        check(&format!("<div style='display:none'>A preview</div>{long}"), &[]);
        check("<b style='color:#FFF; background-color: white'>x</b>", &[Trick::SameColour]);
        check("<b style='color:#FFF; background: blue'>x</b>", &[]);
        check("<input name=a type=Password>", &[Trick::PasswordField]);
        check("<meta http-equiv=refresh content='0;url=http://a.test'>", &[Trick::Refresh]);
        check("<meta http-equiv=content-type content=text/html>", &[]);
    }

    /// Limits, not luck: twice the letter takes about twice the time, and none takes long.
    #[test]
    fn bombs() {
        let hidden = "<p style=display:none>".repeat(40_000);
        let links = "<a href=http://a.test/".repeat(10_000) + ">";
        let many = "<a href=http://а.test>x".repeat(10_000);
        for html in [hidden, links, many] {
            let mut page = Page::default();
            read_page(&html, "", &mut page);
            assert!(page.links.len() <= LINKS && page.hidden <= HIDDEN);
        }
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
