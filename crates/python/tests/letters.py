"""Letters the tests share."""

import base64

PNG = bytes(range(256)) * 40

POLISH = (
    "Date: Mon, 01 Jun 2026 10:00:00 +0200\r\n"
    "From: =?iso-8859-2?Q?Zofia_Ga=B3=B1zka?= <zofia@example.test>\r\n"
    'To: "Kowalski, Jan" <jan@example.test>, zespol: a@example.test, b@example.test;\r\n'
    "Cc: =?utf-8?B?xYHDs2TFug==?= <lodz@example.test>\r\n"
    "Reply-To: odp@example.test\r\n"
    "Sender: sekretariat@example.test\r\n"
    "Bcc: ukryty@example.test\r\n"
    "Subject: =?utf-8?Q?Za=C5=BC=C3=B3=C5=82=C4=87?=\r\n"
    " =?utf-8?Q?_g=C4=99=C5=9Bl=C4=85?=\r\n"
    "Message-ID: <id.1@example.test>\r\n"
    "In-Reply-To: <id.0@example.test>\r\n"
    "References: <root@example.test>\r\n <id.0@example.test>\r\n"
    "Received: one\r\nReceived: two\r\n"
    "MIME-Version: 1.0\r\n"
    'Content-Type: multipart/mixed; boundary="out"\r\n'
    "\r\nThis is MIME.\r\n"
    "--out\r\n"
    'Content-Type: multipart/alternative; boundary="alt"\r\n\r\n'
    "--alt\r\n"
    "Content-Type: text/plain; charset=iso-8859-2\r\n"
    "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    "Dzie=F1 dobry\r\n\r\n"
    "--alt\r\n"
    "Content-Type: text/html; charset=utf-8\r\n"
    "Content-Transfer-Encoding: base64\r\n\r\n"
    + base64.encodebytes("<p>Dzień dobry</p>".encode()).decode().replace("\n", "\r\n")
    + "\r\n--alt--\r\n"
    "--out\r\n"
    "Content-Type: image/png; name=zly.png\r\n"
    "Content-Disposition: attachment; filename*0*=utf-8''%C5%BC%C3%B3; filename*1*=%C5%82w.png\r\n"
    "Content-ID: <obraz@example.test>\r\n"
    "Content-Transfer-Encoding: base64\r\n\r\n"
    + base64.encodebytes(PNG).decode().replace("\n", "\r\n")
    + "\r\n--out\r\n"
    "Content-Type: message/rfc822\r\n\r\n"
    "From: in@example.test\r\nSubject: inside\r\nContent-Type: text/plain\r\n\r\nnested\r\n"
    "--out--\r\n"
).encode()

SIMPLE = b"From: Ala <ala@example.test>\nTo: bob@example.test\nSubject: hi\nDate: Tue, 02 Jun 2026 01:02:03 +0000\n\nHello\n"


def many(count: int) -> list[bytes]:
    """Different letters, small and big, all kinds of bodies."""
    letters = []
    for n in range(count):
        head = f"From: u{n}@example.test\r\nTo: x@example.test\r\nSubject: letter {n}\r\nMessage-ID: <{n}@example.test>\r\n"
        if n % 7 == 3:
            body = base64.encodebytes(bytes([n % 256]) * (n * 300)).decode()
            head += f"Content-Type: application/pdf; name=a{n}.pdf\r\nContent-Transfer-Encoding: base64\r\n"
            letters.append((head + "\r\n" + body).encode())
        elif n % 7 == 5:
            letters.append(POLISH.replace(b"id.1@", b"p%d@" % n))
        else:
            letters.append((head + "\r\n" + f"line of {n}\r\n" * (n % 50)).encode())
    return letters
