//! A PDF of one page of text, small enough to be written by hand: PDF 1.4, base fonts only.
//!
//! The base fonts have no Polish letters, so the texts do without them.

use std::fmt::Write;

pub(crate) fn invoice() -> Vec<u8> {
    page(&[
        "FAKTURA nr 7/2026",
        "",
        "Sprzedawca: Zaklad Swiatel Morskich, ul. Falista 3, Przyladek",
        "Nabywca:    Alicja Zimorodek, Latarnia Wschodnia",
        "",
        "1. Zarowka 1000 W, gwint latarniany   2 szt.   x 340,00      680,00",
        "2. Sciereczka do soczewki             5 szt.   x  12,00       60,00",
        "3. Odstraszacz mew (akustyczny)       1 szt.   x  99,00       99,00",
        "",
        "Razem netto                                                  839,00",
        "VAT 23%                                                      192,97",
        "Do zaplaty                                                 1 031,97",
        "",
        "Termin: 14 dni albo trzy sztormy, co nastapi pozniej.",
    ])
}

pub(crate) fn ticket() -> Vec<u8> {
    page(&[
        "BILET JEDNORAZOWY",
        "",
        "Relacja:   Przyladek Glowny - Gory Dolne",
        "Pociag:    KOS 4821, wagon 7, miejsce 42 (okno, od strony widokow)",
        "Podrozny:  Alicja Zimorodek",
        "",
        "Bilet prosze okazac na kazde ladne wezwanie.",
    ])
}

/// One A4 page, a line of Courier for each text.
fn page(lines: &[&str]) -> Vec<u8> {
    let mut content = String::from("BT /F1 11 Tf 50 780 Td 16 TL\n");
    for line in lines {
        let escaped = line.replace('\\', "\\\\").replace('(', "\\(").replace(')', "\\)");
        let _ = writeln!(content, "({escaped}) Tj T*");
    }
    content.push_str("ET\n");
    document(&[
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 5 0 R \
         /Resources << /Font << /F1 4 0 R >> >> >>"
            .to_owned(),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Courier >>".to_owned(),
        format!("<< /Length {} >>\nstream\n{content}endstream", content.len()),
    ])
}

/// Numbers the objects from 1 and writes the table that tells where each begins.
fn document(objects: &[String]) -> Vec<u8> {
    let mut out = String::from("%PDF-1.4\n");
    let mut offsets = Vec::new();
    for (at, object) in objects.iter().enumerate() {
        offsets.push(out.len());
        let _ = write!(out, "{} 0 obj\n{object}\nendobj\n", at + 1);
    }
    let table_at = out.len();
    let size = objects.len() + 1;
    let _ = write!(out, "xref\n0 {size}\n0000000000 65535 f \n");
    for offset in offsets {
        let _ = writeln!(out, "{offset:010} 00000 n ");
    }
    let _ = write!(out, "trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{table_at}\n%%EOF\n");
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_points_at_the_objects() {
        let text = String::from_utf8(invoice()).unwrap();
        let start: usize = text
            .rsplit_once("startxref\n")
            .and_then(|(_, rest)| rest.lines().next()?.parse().ok())
            .unwrap();
        assert!(text[start..].starts_with("xref\n0 6\n"));
        for (at, line) in text[start..].lines().skip(3).take(5).enumerate() {
            assert_eq!(line.len(), 19, "an entry has 20 bytes with its line end");
            let offset: usize = line[..10].parse().unwrap();
            assert!(text[offset..].starts_with(&format!("{} 0 obj", at + 1)));
        }
    }
}
