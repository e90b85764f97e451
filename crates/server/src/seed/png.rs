//! PNG pictures made by code: a palette, one byte a pixel, stored without compression.

use std::iter;

/// A bar chart: burning hours by month.
pub(crate) fn chart() -> Vec<u8> {
    const HOURS: [u32; 12] = [96, 84, 74, 60, 48, 40, 44, 54, 66, 80, 90, 98];
    let palette = [[255, 255, 255], [24, 90, 157], [210, 220, 230], [240, 170, 40]];
    encode(240, 110, &palette, |x, y| {
        let (bar, inside) = ((x / 20) as usize, (4..16).contains(&(x % 20)));
        let top = 104 - HOURS.get(bar).copied().unwrap_or(0);
        match (inside && y >= top && y < 104, y % 25) {
            (true, _) if bar == 5 => 3,
            (true, _) => 1,
            (false, 4) => 2,
            (false, _) => 0,
        }
    })
}

/// Three ridges, a sky, and a sun.
pub(crate) fn panorama() -> Vec<u8> {
    let palette = [[250, 224, 196], [255, 196, 92], [150, 160, 190], [96, 116, 150], [44, 66, 92]];
    encode(280, 100, &palette, |x, y| {
        let ridge = |step: u32, height: u32, base: u32| {
            let along = x % (2 * step);
            base - along.min(2 * step - along) * height / step
        };
        let (dx, dy) = (x.abs_diff(205), y.abs_diff(28));
        if y >= ridge(70, 30, 100) {
            4
        } else if y >= ridge(43, 34, 88) {
            3
        } else if y >= ridge(31, 30, 72) {
            2
        } else {
            u8::from(dx * dx + dy * dy < 196)
        }
    })
}

/// `pixel(x, y)` gives an index into the palette.
fn encode(width: u32, height: u32, palette: &[[u8; 3]], pixel: impl Fn(u32, u32) -> u8) -> Vec<u8> {
    let mut rows = Vec::new();
    for y in 0..height {
        rows.push(0); // filter: none
        rows.extend((0..width).map(|x| pixel(x, y)));
    }
    let mut header = Vec::new();
    header.extend_from_slice(&width.to_be_bytes());
    header.extend_from_slice(&height.to_be_bytes());
    header.extend_from_slice(&[8, 3, 0, 0, 0]); // 8 bits, palette
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut out, *b"IHDR", &header);
    chunk(&mut out, *b"PLTE", palette.as_flattened());
    chunk(&mut out, *b"IDAT", &zlib_stored(&rows));
    chunk(&mut out, *b"IEND", &[]);
    out
}

fn chunk(out: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    out.extend_from_slice(&u32::try_from(data.len()).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(&kind);
    out.extend_from_slice(data);
    let sum = crc32(kind.iter().chain(data));
    out.extend_from_slice(&sum.to_be_bytes());
}

/// RFC 1950 around stored blocks of RFC 1951 §3.2.4.
fn zlib_stored(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let mut blocks = data.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(0);
        out.push(u8::from(blocks.peek().is_none()));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.extend_from_slice(&adler32(data).to_be_bytes());
    out
}

fn adler32(data: &[u8]) -> u32 {
    let (a, b) = data.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65521;
        (a, (b + a) % 65521)
    });
    b << 16 | a
}

fn crc32<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    let eight = |crc| iter::successors(Some(crc), |c| Some(step(*c))).nth(8).unwrap_or(0);
    !bytes.fold(!0, |crc, byte| eight(crc ^ u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums() {
        assert_eq!(crc32(b"123456789".iter()), 0xcbf4_3926);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn a_picture_has_all_its_rows() {
        let stored = zlib_stored(&vec![7; 70_000]);
        assert_eq!(stored.len(), 2 + 5 + 0xffff + 5 + (70_000 - 0xffff) + 4);
        assert!(chart().len() > 241 * 110);
        assert!(panorama().ends_with(b"IEND\xae\x42\x60\x82"));
    }
}
