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

/// MS-OXTNEF §2.1.3: a file `name` that says `content`.
fn winmail(name: &str, content: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x9f, 0x3e, 0x22, 0, 0];
    let title = [name.as_bytes(), b"\0"].concat();
    for (id, data) in
        [(0x0006_9002_u32, &[0; 14][..]), (0x0001_8010, &title), (0x0006_800f, content)]
    {
        stream.push(2);
        stream.extend(id.to_le_bytes());
        stream.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        stream.extend(data);
        stream.extend(data.iter().fold(0_u16, |sum, byte| sum + u16::from(*byte)).to_le_bytes());
    }
    stream
}

/// What Outlook wraps, and what old programs put into the text, are attachments as any other.
#[tokio::test]
async fn files_inside_parts() {
    let house = House::open().await;
    let alice = house.login("alice").await;
    let stream = mparser::encode_base64(&winmail("plan.pdf", b"%PDF-1.7"));
    let letter = format!(
        "Subject: from Outlook\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n\
         --b\n\nHello\nbegin 644 u.bin\n%:&5L;&\\\n`\nend\n\
         --b\nContent-Type: application/ms-tnef; name=winmail.dat\n\
         Content-Transfer-Encoding: base64\n\n{stream}\n--b--\n"
    );
    let arrived = house.deliver(house.alice, &letter).await;
    let id = format!("e{}", arrived.email);
    let got = house.ok(&alice, "Email/get", json!({"ids": [id]})).await;
    let email = &got["list"][0];
    assert_eq!(email["hasAttachment"], true);
    let attachments = email["attachments"].as_array().unwrap();
    let shown: Vec<_> =
        attachments.iter().map(|a| (&a["name"], &a["size"], &a["partId"])).collect();
    let null = &serde_json::Value::Null;
    assert_eq!(shown, [(&json!("plan.pdf"), &json!(8), null), (&json!("u.bin"), &json!(5), null)]);
    for (attachment, content) in attachments.iter().zip([&b"%PDF-1.7"[..], b"hello"]) {
        let blob = attachment["blobId"].as_str().unwrap();
        let path = format!("/blob/{}/{blob}/file", alice.account);
        let file = house.get(&alice, &path).await;
        assert_eq!((file.status, &*file.body), (200, content));
    }
    for wrong in ["2.1", "2.0.0", "0.0", "9.0"] {
        let path = format!("/blob/{}/b{}.{wrong}/file", alice.account, arrived.email);
        assert_eq!(house.get(&alice, &path).await.status, 404, "{wrong}");
    }
}
