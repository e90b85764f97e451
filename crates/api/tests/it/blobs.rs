//! Letters and their parts as downloads.

use crate::house::House;
use serde_json::json;

const LETTER: &str = "\
From: Ala <ala@example.test>
Subject: a report
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain; charset=iso-8859-2
Content-Transfer-Encoding: quoted-printable

za=BF=F3=B3=E6
--b
Content-Type: application/pdf
Content-Disposition: attachment; filename*=UTF-8''za%C5%BC%C3%B3%C5%82%C4%87.pdf
Content-Transfer-Encoding: base64

JVBERi0xLjcKc29tZSBieXRlcw==
--b
Content-Type: image/gif
Content-Disposition: attachment; filename=dot.gif
Content-Transfer-Encoding: base64

R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7
--b
Content-Type: text/html
Content-Disposition: attachment; filename=x.html

<script>alert(1)</script>
--b--
";

#[tokio::test]
async fn downloads() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let arrived = house.deliver(house.alice, LETTER).await;
    let id = format!("e{}", arrived.email);
    let got = house.ok(&alice, "Email/get", json!({"ids": [id]})).await;
    let email = &got["list"][0];
    let base = format!("/blob/{}", alice.account);

    let whole = house
        .get(
            &alice,
            &format!("{base}/{}/letter.eml?type=message/rfc822", email["blobId"].as_str().unwrap()),
        )
        .await;
    assert_eq!(whole.status, 200);
    assert_eq!(whole.text(), LETTER.replace('\n', "\r\n"));
    assert_eq!(whole.header("content-type"), Some("message/rfc822"));
    assert_eq!(whole.header("content-length"), Some(whole.body.len().to_string().as_str()));

    let attachments = email["attachments"].as_array().unwrap();
    assert_eq!(attachments.len(), 3, "{attachments:?}");
    let part = async |at: usize, rest: &str| {
        let blob = attachments[at]["blobId"].as_str().unwrap();
        house.get(&alice, &format!("{base}/{blob}/{rest}")).await
    };
    let pdf = part(0, "za%C5%BC%C3%B3%C5%82%C4%87.pdf?type=application/pdf").await;
    assert_eq!(pdf.body, b"%PDF-1.7\nsome bytes");
    assert_eq!(attachments[0]["name"], "zażółć.pdf");
    // 19 bytes: told from the part table, without padding known, it is up to 2 too many.
    assert_eq!(attachments[0]["size"], 21);
    assert_eq!(pdf.header("content-type"), Some("application/pdf"));
    assert_eq!(
        pdf.header("content-disposition"),
        Some(
            "attachment; filename=\"za____.pdf\"; filename*=UTF-8''za%C5%BC%C3%B3%C5%82%C4%87.pdf"
        )
    );
    assert_eq!(
        pdf.header("content-security-policy"),
        Some("sandbox; default-src 'none'; frame-ancestors 'none'")
    );
    assert_eq!(pdf.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(pdf.header("cache-control"), Some("private, no-cache"));

    let gif = part(1, "dot.gif?inline=1").await;
    assert_eq!(gif.header("content-type"), Some("image/gif"));
    assert!(gif.header("content-disposition").unwrap().starts_with("inline; "));
    let html = part(2, "x.html?type=text/html&inline=1").await;
    assert_eq!(html.header("content-type"), Some("application/octet-stream"));
    assert!(html.header("content-disposition").unwrap().starts_with("attachment; "));

    // A multipart has no bytes of its own, and there is no tenth part.
    for blob in [format!("b{}.0", arrived.email), format!("b{}.10", arrived.email)] {
        assert_eq!(house.get(&alice, &format!("{base}/{blob}/x")).await.status, 404);
    }
    let tag = pdf.header("etag").unwrap();
    let blob = attachments[0]["blobId"].as_str().unwrap();
    let headers = [("Cookie", alice.cookie.as_str()), ("If-None-Match", tag)];
    let line = format!("GET {base}/{blob}/x");
    let again = crate::client::request(house.address, &line, &headers, b"").await;
    assert_eq!((again.status, again.body.len()), (304, 0));
}
