//! HTML of a letter through an allow-list: ammonia decides on tags and attributes, this file on addresses and
//! styles. Whatever would be fetched from elsewhere is left out and counted.

use super::balance::{ATTRIBUTES_KNOWN, balance, tag_names};
use super::image::{data_url, data_url_bytes};
use super::source::Image;
use crate::limits;
use ammonia::Builder;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Stands where an image of another server was; the page's style shows it as an empty frame.
pub(super) const BLOCKED: &str =
    "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7#blocked";
/// One `style` attribute; longer ones are not made by people or their programs.
const STYLE_BYTES: usize = 8 * 1024;
/// One address of a link; browsers take about as much.
const LINK_BYTES: usize = 8 * 1024;

pub(super) struct Cleaned {
    pub(super) html: String,
    /// Addresses of other servers that were left out.
    pub(super) outside: usize,
    /// The letter sets colours: it is shown on paper white in the dark theme too.
    pub(super) coloured: bool,
    pub(super) cut: bool,
}

pub(super) fn clean(
    html: &str,
    images: &Arc<HashMap<String, Image>>,
    budget: &Arc<AtomicUsize>,
) -> Cleaned {
    let balanced = balance(html);
    let seen = Arc::new(Seen::default());
    let filter = Filter { images: images.clone(), budget: budget.clone(), seen: seen.clone() };
    let html = Builder::default()
        .tags(tag_names().collect())
        .clean_content_tags(HashSet::from(["script", "style"]))
        .tag_attributes(HashMap::new())
        .generic_attributes(ATTRIBUTES_KNOWN.iter().copied().collect())
        .url_schemes(HashSet::from(["cid", "data", "http", "https", "mailto", "tel"]))
        .set_tag_attribute_value("a", "target", "_blank")
        .link_rel(Some("noopener noreferrer nofollow"))
        .attribute_filter(move |element, attribute, value| filter.value(element, attribute, value))
        .clean(&balanced.html)
        .to_string();
    Cleaned {
        html,
        outside: seen.outside.load(Ordering::Relaxed),
        coloured: seen.colours.load(Ordering::Relaxed) > 0,
        cut: balanced.cut,
    }
}

#[derive(Default)]
struct Seen {
    outside: AtomicUsize,
    colours: AtomicUsize,
}

struct Filter {
    images: Arc<HashMap<String, Image>>,
    /// Bytes that `data:` addresses of the page may still take.
    budget: Arc<AtomicUsize>,
    seen: Arc<Seen>,
}

impl Filter {
    fn value<'v>(&self, element: &str, attribute: &str, value: &'v str) -> Option<Cow<'v, str>> {
        match (element, attribute) {
            ("img", "src") => Some(self.image(value).into()),
            ("a", "href") => link(value).map(Cow::Owned),
            (_, "src" | "href" | "cite") => None,
            (_, "srcset" | "background") => {
                self.outside(value);
                None
            }
            (_, "style") => Some(self.style(value)).filter(|s| !s.is_empty()).map(Cow::Owned),
            (_, "bgcolor" | "color") => {
                self.seen.colours.fetch_add(1, Ordering::Relaxed);
                Some(Cow::Borrowed(value))
            }
            _ => Some(Cow::Borrowed(value)),
        }
    }

    fn outside(&self, text: &str) {
        if text.contains("//") {
            self.seen.outside.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Images of the letter come inside (`cid:`, RFC 2392 §2); those of other servers become an empty frame.
    fn image(&self, value: &str) -> String {
        let address = squeezed(value);
        if let Some(id) = strip_scheme(&address, "cid:") {
            let plain = percent_decoded(id);
            let image = self.images.get(id).or_else(|| self.images.get(&plain));
            return image.and_then(|i| self.inside(i)).unwrap_or_else(|| BLOCKED.to_owned());
        }
        let lower = address.get(..64).unwrap_or(&address).to_ascii_lowercase();
        let kinds = ["png", "jpeg", "jpg", "gif", "webp", "bmp", "avif"];
        let picture = lower
            .strip_prefix("data:image/")
            .is_some_and(|rest| kinds.iter().any(|k| rest.starts_with(&format!("{k};base64,"))));
        if picture && self.take(address.len()) {
            return address;
        }
        self.outside(&address);
        BLOCKED.to_owned()
    }

    fn inside(&self, image: &Image) -> Option<String> {
        let fits = self.take(data_url_bytes(image.bytes.len()));
        fits.then(|| data_url(image.kind, &image.bytes))
    }

    fn take(&self, bytes: usize) -> bool {
        let left = |left: usize| left.checked_sub(bytes);
        self.budget.try_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok()
    }

    /// Declarations that are known and fetch nothing.
    fn style(&self, value: &str) -> String {
        let mut kept = String::new();
        if value.len() > STYLE_BYTES {
            return kept;
        }
        let value = without_comments(value);
        for declaration in declarations(&value) {
            let Some((property, value)) = declaration.split_once(':') else {
                continue;
            };
            let property = property.trim().to_ascii_lowercase();
            if let Some(value) = self.declared(&property, value.trim()) {
                let _ = write!(kept, "{property}:{value};");
            }
        }
        kept
    }

    fn declared(&self, property: &str, value: &str) -> Option<String> {
        let mut value = value.to_owned();
        // More than some addresses in one declaration are not meant to be read.
        let mut most = 4;
        while let Some(at) = value.to_ascii_lowercase().find("url(") {
            self.outside(value.get(at..).unwrap_or_default());
            let end = value.get(at..).and_then(|tail| tail.find(')'))?;
            value.replace_range(at..=at + end, " ");
            most -= 1;
            if most == 0 {
                return None;
            }
        }
        let value = value.trim();
        let lower = value.to_ascii_lowercase();
        let known = PROPERTIES.binary_search(&property).is_ok()
            || FAMILIES.iter().any(|family| property.starts_with(family));
        if !known || value.is_empty() || DOUBTFUL.iter().any(|word| lower.contains(word)) {
            return None;
        }
        if property == "color" || property.starts_with("background") {
            self.seen.colours.fetch_add(1, Ordering::Relaxed);
        }
        Some(value.to_owned())
    }
}

/// Sorted. `position` is not among them: nothing shall lie over something else.
static PROPERTIES: &[&str] = &[
    "background",
    "background-color",
    "box-sizing",
    "clear",
    "color",
    "direction",
    "display",
    "float",
    "height",
    "letter-spacing",
    "line-height",
    "list-style-type",
    "opacity",
    "overflow",
    "table-layout",
    "vertical-align",
    "visibility",
    "white-space",
    "width",
];
static FAMILIES: &[&str] =
    &["border", "font", "margin", "max-", "min-", "padding", "text-", "word-"];
/// What may fetch, run, or hide one of these two from us.
static DOUBTFUL: &[&str] = &[
    "\\",
    "<",
    "@",
    "attr(",
    "behavior",
    "cross-fade(",
    "element(",
    "expression",
    "image(",
    "image-set(",
    "javascript",
    "paint(",
    "src(",
    "url",
    "var(",
];

/// At `;`, but not inside quotes or parentheses.
fn declarations(style: &str) -> Vec<&str> {
    let mut list = Vec::new();
    let (mut start, mut quote, mut depth) = (0, None, 0_usize);
    for (at, c) in style.char_indices() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            ('(', None) => depth += 1,
            (')', None) => depth = depth.saturating_sub(1),
            (';', None) if depth == 0 => {
                list.extend(style.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    list.extend(style.get(start..));
    list
}

fn without_comments(style: &str) -> String {
    let mut out = String::with_capacity(style.len());
    let mut rest = style;
    while let Some((before, after)) = rest.split_once("/*") {
        out.push_str(before);
        out.push(' ');
        rest = after.split_once("*/").map_or("", |(_, tail)| tail);
    }
    out.push_str(rest);
    out
}

/// An address without the white space and control characters that browsers ignore.
fn squeezed(address: &str) -> String {
    address.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect()
}

fn strip_scheme<'a>(address: &'a str, scheme: &str) -> Option<&'a str> {
    let (head, tail) = address.split_at_checked(scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then_some(tail)
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|h| std::str::from_utf8(h).ok());
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(value) if byte == b'%' => {
                bytes.push(value);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The address of a link, if it is of a kind that leads to a page, a letter or a telephone.
pub(super) fn link(address: &str) -> Option<String> {
    let address = squeezed(address);
    if address.len() > LINK_BYTES {
        return None;
    }
    if address.starts_with("//") {
        return Some(format!("https:{address}"));
    }
    let schemes = ["http://", "https://", "mailto:", "tel:"];
    let known = schemes.iter().any(|s| strip_scheme(&address, s).is_some());
    known.then_some(address)
}

/// What one page may hold in images.
pub(super) fn image_budget() -> Arc<AtomicUsize> {
    Arc::new(AtomicUsize::new(data_url_bytes(limits::PAGE_IMAGE_BYTES)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn run(html: &str) -> Cleaned {
        let png = Bytes::from_static(b"\x89PNG\r\n\x1a\n");
        let image = Image { kind: "image/png", bytes: png };
        let images = HashMap::from([("pic@x".to_owned(), image)]);
        clean(html, &Arc::new(images), &image_budget())
    }

    #[test]
    fn cleaned() {
        #[track_caller]
        fn check(html: &str, expect: &str) {
            assert_eq!(run(html).html, expect);
        }
        let link = |href: &str, text: &str| {
            format!(
                "<a href=\"{href}\" target=\"_blank\" rel=\"noopener noreferrer nofollow\">{text}</a>"
            )
        };
        check("<a href='https://x.test/?a=1&b=2'>x</a>", &link("https://x.test/?a=1&amp;b=2", "x"));
        check("<a href=//x.test>x</a>", &link("https://x.test", "x"));
        for bad in [
            "javascript:alert(1)",
            "&#106;avascript:alert(1)",
            "java\tscript:a",
            "data:text/html,x",
            "#top",
            "cid:pic@x",
            "file:///etc",
            "/rpc",
        ] {
            let cleaned = run(&format!("<a href=\"{bad}\">x</a>")).html;
            assert!(cleaned.starts_with("<a ") && !cleaned.contains("href"), "{cleaned}");
        }
        let png = "data:image/png;base64,iVBORw0KGgo=";
        check("<img src=cid:pic@x width=9>", &format!("<img src=\"{png}\" width=\"9\">"));
        check("<img src=CID:pic%40x>", &format!("<img src=\"{png}\">"));
        for bad in [
            "http://x.test/a.png",
            "//x.test/a",
            "cid:none",
            "data:image/svg+xml;base64,AA",
            "/a.png",
            "javascript:x",
        ] {
            let cleaned = run(&format!("<img src='{bad}'>")).html;
            assert!(
                cleaned == format!("<img src=\"{BLOCKED}\">") || cleaned == "<img>",
                "{cleaned}"
            );
        }
        check(
            "<p style='color:red;position:fixed;background:#fff url(http://x.test/a) no-repeat'>x",
            "<p style=\"color:red;background:#fff   no-repeat;\">x</p>",
        );
        check(
            "<p style=\"font-family:'a;b';/*x*/width:10px\">x",
            "<p style=\"font-family:'a;b';width:10px;\">x</p>",
        );
        for bad in [
            "width:expression(alert(1))",
            "background:u\\72l(http://x)",
            "color:red\\",
            "background-image:image-set('http://x' 1x)",
            "-moz-binding:url(x)",
            "background:url(http://x",
            "behavior:url(x)",
        ] {
            check(&format!("<p style=\"{bad}\">x</p>"), "<p>x</p>");
        }
    }

    #[test]
    fn what_is_left_out_is_counted() {
        #[track_caller]
        fn check(html: &str, outside: usize, coloured: bool) {
            let cleaned = run(html);
            assert_eq!((cleaned.outside, cleaned.coloured), (outside, coloured), "{html}");
        }
        check("<p>x <a href=http://x.test>y</a>", 0, false);
        check("<img src=http://x.test/1><img src=//x.test/2><img src=cid:pic@x>", 2, false);
        check("<table background='https://x.test/1'><td>x", 1, false);
        check("<body background='https://x.test/1' bgcolor=red>x", 1, true);
        check("<p style='background:url(\"https://x.test/1\")'>x", 1, false);
        check("<p style='background:url(data:x)'>x", 0, false);
        check("<font color=red>x", 0, true);
        check("<img srcset='https://x.test/1 2x'>", 1, false);
        check("<style>a{background:url(http://x)}</style><script src=http://x></script>", 0, false);
    }

    #[test]
    fn images_share_a_budget() {
        let large =
            Image { kind: "image/png", bytes: vec![0; limits::PAGE_IMAGE_BYTES / 4].into() };
        let images = Arc::new(HashMap::from([("a".to_owned(), large)]));
        let html = "<img src=cid:a>".repeat(1000);
        let cleaned = clean(&html, &images, &image_budget()).html;
        assert!(cleaned.len() < limits::PAGE_IMAGE_BYTES * 2);
        assert_eq!(cleaned.matches("data:image/png").count(), 3);
    }

    #[test]
    fn hostile_html_is_quick() {
        let hostile = [
            "<div>".repeat(300_000),
            "<b id=1><p>x".repeat(100_000),
            format!("<table>{}", "<hr>x".repeat(200_000)),
            "<table><td><b>x</table>".repeat(50_000),
            "<p><font color=red>x".repeat(100_000),
            format!("<a {}>", "a=b ".repeat(300_000)),
            format!("<p style='{}'>", "a:url(".repeat(300_000)),
            "<p style='a:url(x)url(x)url(x)'>".repeat(30_000),
            "<math><mi><svg><style><a>".repeat(40_000),
            "&lt".repeat(300_000),
            format!("<p style='background:{}'>", "url(//x)".repeat(900)).repeat(100),
            format!("<p style='{}'>", "color:red;".repeat(800)).repeat(200),
        ];
        for html in hostile {
            let begin = std::time::Instant::now();
            let cleaned = run(&html);
            let took = begin.elapsed();
            assert!(took.as_secs() < 10, "{:?} {}", took, html.get(..20).unwrap());
            assert!(cleaned.html.len() < 30_000_000);
        }
    }
}
