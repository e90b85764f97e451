//! Letters that are wrong on purpose, byte by byte. They arrive all the same: damaged mail is still mail.

/// A damaged letter by name: what is wrong with it, and its bytes after the Date field.
pub(crate) struct Broken {
    pub(crate) key: &'static str,
    pub(crate) bytes: &'static [u8],
}

/// Sorted by key.
pub(crate) static BROKEN: &[Broken] = &[
    // The second header line has no colon, the body begins without an empty line.
    Broken {
        key: "half-header",
        bytes: b"From: Half a Header <half@broken.example.test>\r\n\
            To: alice@example.test\r\n\
            Message-ID: <odd-11@seed.example.test>\r\n\
            Subject: This header stops in the middle of a\r\n\
            this line wanted to be a header but forgot its colon\r\n\
            \r\n\
            A letter that lost its balance. It was delivered standing up.\r\n",
    },
    // The multipart never closes and its second part stops in the middle of base64.
    Broken {
        key: "no-end",
        bytes: b"From: Unfinished Business <open@broken.example.test>\r\n\
            To: alice@example.test\r\n\
            Message-ID: <odd-8@seed.example.test>\r\n\
            Subject: The attachment is still on its w\r\n\
            MIME-Version: 1.0\r\n\
            Content-Type: multipart/mixed; boundary=\"never closed\"\r\n\
            \r\n\
            --never closed\r\n\
            Content-Type: text/plain; charset=us-ascii\r\n\
            \r\n\
            The closing boundary of this letter fell into the sea.\r\n\
            Everything above the water line is still readable.\r\n\
            --never closed\r\n\
            Content-Type: text/plain; name=log.txt\r\n\
            Content-Disposition: attachment; filename=log.txt\r\n\
            Content-Transfer-Encoding: base64\r\n\
            \r\n\
            MDM6MTAgd2luayByZWNlaXZlZA0KMDM6MTEgd2luayByZXR1cm5lZA0KMDM6MTIgZ3V",
    },
    // Header and body in ISO-8859-2 without a word about it.
    Broken {
        key: "raw-latin2",
        bytes: b"From: Stary Program <stary@broken.example.test>\r\n\
            To: alice@example.test\r\n\
            Message-ID: <odd-9@seed.example.test>\r\n\
            Subject: Za\xbf\xf3\xb3\xe6 g\xea\xb6l\xb1 ja\xbc\xf1, po staremu\r\n\
            MIME-Version: 1.0\r\n\
            Content-Type: text/plain; charset=iso-8859-2\r\n\
            Content-Transfer-Encoding: 8bit\r\n\
            \r\n\
            Ten list napisa\xb3 program z 1996 roku. Nie wie nic o kodowaniu\r\n\
            nag\xb3\xf3wk\xf3w i jest z tego dumny.\r\n",
    },
    // Says ASCII, is UTF-8; twice the same Subject; a date that was never a date.
    Broken {
        key: "wrong-charset",
        bytes: b"From: Pewny Siebie <pewny@broken.example.test>\r\n\
            To: alice@example.test\r\n\
            Message-ID: <odd-10@seed.example.test>\r\n\
            Subject: Na pewno us-ascii\r\n\
            Subject: =?us-ascii?Q?Na_pewno_us-asci=C5=82?=\r\n\
            MIME-Version: 1.0\r\n\
            Content-Type: text/plain; charset=us-ascii\r\n\
            \r\n\
            Zapewniam, \xc5\xbce w tym li\xc5\x9bcie nie ma ani jednej polskiej litery.\r\n",
    },
];

pub(crate) fn find(key: &str) -> Option<&'static Broken> {
    BROKEN.iter().find(|broken| broken.key == key)
}
