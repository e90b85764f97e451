//! The files that hang on the seed letters, each made by code: small, valid, the same every time.

use super::{pdf, png, wav};
use std::fmt::Write;
use types::Date;

/// A file by the name the letters use for it.
pub(crate) struct File {
    pub(crate) key: &'static str,
    pub(crate) name: &'static str,
    pub(crate) media_type: &'static str,
    /// From the time of the demo, Unix seconds.
    pub(crate) make: fn(i64) -> Vec<u8>,
}

/// Sorted by key.
pub(crate) static FILES: &[File] = &[
    File {
        key: "canon",
        name: "kanon-proba-altów.wav",
        media_type: "audio/wav",
        make: |_| wav::canon(),
    },
    File { key: "chart", name: "chart.png", media_type: "image/png", make: |_| png::chart() },
    File {
        key: "invitation",
        name: "invite.ics",
        media_type: "text/calendar; charset=utf-8; method=REQUEST",
        make: invitation,
    },
    File {
        key: "invoice",
        name: "Faktura 7-2026 żarówka.pdf",
        media_type: "application/pdf",
        make: |_| pdf::invoice(),
    },
    File {
        key: "panorama",
        name: "panorama.png",
        media_type: "image/png",
        make: |_| png::panorama(),
    },
    File {
        key: "readings",
        name: "lamp-hours.csv",
        media_type: "text/csv; charset=us-ascii",
        make: |_| readings(),
    },
    File {
        key: "ticket",
        name: "bilet.pdf",
        media_type: "application/pdf",
        make: |_| pdf::ticket(),
    },
];

pub(crate) fn find(key: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.key == key)
}

/// An event three days from now (RFC 5545).
fn invitation(now_unix_s: i64) -> Vec<u8> {
    let time = |unix_s: i64| {
        let date = Date::from_unix_s(unix_s).rfc3339();
        date.replace(['-', ':'], "")
    };
    let start = now_unix_s - now_unix_s.rem_euclid(3600) + 3 * 86_400;
    include_str!("../../seed/invite.ics")
        .replace("{stamp}", &time(now_unix_s))
        .replace("{start}", &time(start))
        .replace("{end}", &time(start + 5400))
        .replace('\n', "\r\n")
        .into_bytes()
}

/// Burning hours of a lamp, day by day: longer in winter.
fn readings() -> Vec<u8> {
    let mut csv = String::from("day,hours,bulb\r\n");
    for day in 0..365_u32 {
        let winter = day.abs_diff(182) * 8 / 182;
        let _ = write!(csv, "{},{},{}\r\n", day + 1, 8 + winter, 1 + day / 120);
    }
    csv.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_what_they_say() {
        assert!(FILES.is_sorted_by_key(|f| f.key));
        for file in FILES {
            let bytes = (file.make)(1_795_370_400);
            assert_eq!(bytes, (file.make)(1_795_370_400), "{} differs from call to call", file.key);
            let magic: &[u8] = match file.media_type.split(';').next().unwrap() {
                "application/pdf" => b"%PDF-1.4",
                "audio/wav" => b"RIFF",
                "image/png" => b"\x89PNG\r\n\x1a\n",
                "text/calendar" => b"BEGIN:VCALENDAR\r\n",
                "text/csv" => b"day,",
                other => panic!("{other}"),
            };
            assert!(bytes.starts_with(magic), "{}", file.key);
        }
        assert!((find("canon").unwrap().make)(0).len() > 300_000);
    }
}
