//! Letters as pages: what is shown, and what never is.

use crate::house::{House, Person};
use std::time::{Duration, Instant};

const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

async fn page(house: &House, alice: &Person, letter: &str) -> String {
    let arrived = house.deliver(house.alice, letter).await;
    let path = format!("/message/e{}/html?images=0&theme=light&lang=en", arrived.email);
    let answer = house.get(alice, &path).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(
        answer.header("content-security-policy"),
        Some(
            "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
        )
    );
    answer.text()
}

/// The page after its head: what comes from the letter.
fn body(page: &str) -> &str {
    page.split_once("<body>").unwrap().1
}

#[tokio::test]
async fn plain_text() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let letter = "Subject: x\nContent-Type: text/plain; charset=utf-8; format=flowed\n\n\
        Zażółć <b>gęślą</b> \njaźń: https://example.test/?a=1&b=2.\n> quoted\n-- \nAla\n";
    let page = page(&house, &alice, letter).await;
    assert!(page.contains("Zażółć &lt;b&gt;gęślą&lt;/b&gt; jaźń: "), "{page}");
    assert!(page.contains("<a href=\"https://example.test/?a=1&amp;b=2\" target=\"_blank\" rel=\"noopener noreferrer nofollow\">https://example.test/?a=1&amp;b=2</a>."));
    assert!(page.contains("<blockquote><div class=\"text\">quoted</div></blockquote>"));
    assert!(page.contains("<div class=\"text signature\">-- \nAla</div>"));
    assert!(page.contains("<html lang=\"en\" class=\"light\">"));
}

#[tokio::test]
async fn html_with_pictures() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let letter = format!(
        "Subject: x\nMIME-Version: 1.0\nContent-Type: multipart/related; boundary=b\n\n\
        --b\nContent-Type: text/html; charset=utf-8\n\n\
        <body bgcolor=\"#fff\"><p>a <img src=\"cid:pic@x\" alt=logo> b <img src=cid:self@x> c <img src=cid:none@x>\
        <img src=http://tracker.test/x.gif width=1 height=1></p>\n\
        --b\nContent-Type: image/png\nContent-ID: <pic@x>\nContent-Transfer-Encoding: base64\n\n{PNG}\n\
        --b\nContent-Type: text/html\nContent-ID: <self@x>\n\n<img src=cid:self@x><script>x</script>\n--b--\n"
    );
    let page = page(&house, &alice, &letter).await;
    assert!(
        page.contains(&format!("<img src=\"data:image/png;base64,{PNG}\" alt=\"logo\">")),
        "{page}"
    );
    // A part that is no picture, one that is not there, one of another server: three empty frames.
    assert_eq!(body(&page).matches("#blocked").count(), 3);
    assert!(!page.contains("tracker.test"));
    assert!(page.contains("<div class=\"html paper\"><div style=\"background-color:#fff;\">"));
}

#[tokio::test]
async fn letters_inside() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let mut letter = "Subject: innermost\n\nbottom\n".to_owned();
    for level in 0..30 {
        letter = format!(
            "From: \"<i>{level}</i>\" <a@example.test>\nSubject: level {level} <script>\nContent-Type: multipart/mixed; boundary=b{level}\n\n\
            --b{level}\nContent-Type: text/html\n\n<p>text {level}\n--b{level}\nContent-Type: message/rfc822\n\n{letter}\n--b{level}--\n"
        );
    }
    let page = page(&house, &alice, &letter).await;
    assert!(page.contains("<p>text 29"));
    assert!(page.contains("<dt>Subject</dt><dd>level 28 &lt;script&gt;</dd>"), "{page}");
    assert!(page.contains("<dd>&lt;i&gt;28&lt;/i&gt; &lt;a@example.test&gt;</dd>"));
    assert_eq!(page.matches("<section class=\"letter\">").count(), 10);
    assert!(!body(&page).contains("<script"));
}

static PAYLOADS: &[&str] = &[
    "<script>alert(1)</script>",
    "<scr<script>ipt>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<img src=\"x\" onerror\n=\n\"alert(1)\">",
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
    "<meta http-equiv=refresh content=\"0;url=http://evil.test\">",
    "<base href=http://evil.test/>",
    "<link rel=stylesheet href=http://evil.test/x.css>",
    "<form action=http://evil.test><input name=a><button>x</button></form>",
    "<iframe src=http://evil.test></iframe><object data=http://evil.test></object><embed src=http://evil.test>",
    "<video src=http://evil.test poster=http://evil.test></video><audio src=http://evil.test>",
    "<style>@import url(http://evil.test); body{background:url(http://evil.test)}</style>",
    "<p style=\"background:url(http://evil.test)\">x",
    "<p style=\"background:u\\72 l(http://evil.test)\">x",
    "<p style=\"background:url&#40;http://evil.test)\">x",
    "<p style=\"width:expression(alert(1));behavior:url(#x)\">x",
    "<p style=\"position:fixed;top:0;left:0;width:100%;height:100%;z-index:9\">x",
    "<a href=javascript:alert(1)>x</a><a href=\"java&#10;script:alert(1)\">x</a><a href=vbscript:x>x</a>",
    "<a href=\"data:text/html,<script>alert(1)</script>\">x</a>",
    "<img src=http://evil.test/x.png srcset=\"http://evil.test/y 2x\"><img src=//evil.test/z>",
    "<table background=http://evil.test/x><td background=http://evil.test/y>x",
    "<body onload=alert(1) background=http://evil.test>x",
    "<!--><img src=x onerror=alert(1)>-->",
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    "<xmp><p title=\"</xmp><img src=x onerror=alert(1)>\">",
    "<textarea></textarea><img src=x onerror=alert(1)>",
    "<template><img src=x onerror=alert(1)></template>",
    "<details open ontoggle=alert(1)><summary>x</summary></details>",
    "<select><option><style></option></select><img src=x onerror=alert(1)></style>",
    "<input type=image src=http://evil.test><isindex action=http://evil.test>",
    "</div></div></body></html><script>alert(1)</script>",
    "<p title=\"><script>alert(1)</script>\">x",
    "<image src=http://evil.test><bgsound src=http://evil.test>",
    "<a href=https://ok.test ping=http://evil.test target=_top>x</a>",
];

#[tokio::test]
async fn hostile_html() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    for payload in PAYLOADS {
        let letter = format!(
            "Subject: x\nContent-Type: text/html; charset=utf-8\n\n<p>begin</p>{payload}\n"
        );
        let page = page(&house, &alice, &letter).await;
        let body = body(&page).to_lowercase();
        assert!(body.contains("<p>begin</p>"), "{payload}: {body}");
        // Tags that are left, and in them only attributes in quotes.
        for tag in body.split('<').skip(1).filter(|t| !t.starts_with('/')) {
            let end = tag.find('>').expect("a whole tag");
            let (name, rest) = tag[..end].split_at(tag.find([' ', '>']).unwrap());
            for bad in [
                "script", "svg", "math", "style", "meta", "base", "link", "form", "input",
                "button", "iframe", "object", "embed", "video", "audio", "template", "body",
                "select", "details", "noscript", "image", "title", "html",
            ] {
                assert_ne!(name, bad, "{payload}: {body}");
            }
            for (at, piece) in rest.split('"').enumerate() {
                let names = at % 2 == 0;
                assert!(!(names && piece.contains("on")), "{payload}: {tag}");
                assert!(!(names && piece.contains("ping")), "{payload}: {tag}");
            }
            assert!(
                !rest.contains("url(")
                    && !rest.contains("javascript:")
                    && !rest.contains("position"),
                "{payload}: {tag}"
            );
        }
        assert!(!body.contains("evil.test"), "{payload}: {body}");
        assert!(!body.contains("expression"), "{payload}");
    }
}

/// Large and crooked letters come in reasonable time, and what is too long says so.
#[tokio::test]
async fn large_letters() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let check = async |kind: &str, text: String, cut: bool| {
        let letter = format!("Subject: x\nContent-Type: text/{kind}; charset=utf-8\n\n{text}\n");
        let begin = Instant::now();
        let page = page(&house, &alice, &letter).await;
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
        assert!(page.len() < 20_000_000, "{}", page.len());
        assert_eq!(
            page.contains("<p class=\"note\">The letter goes on"),
            cut,
            "{kind} {}",
            &text[..20]
        );
    };
    check("plain", "word ".repeat(1000), false).await;
    check("plain", "ąć\n".repeat(1_000_000), true).await;
    check("html", "<p>word</p>".repeat(1000), false).await;
    check("html", "<p>word</p>\n".repeat(400_000), true).await;
    check("html", "<div>".repeat(400_000), false).await;
    check("html", "<b id=1><p>x\n".repeat(100_000), true).await;
}
