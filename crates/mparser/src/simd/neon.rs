//! The NEON twin, for 64-bit ARM: 16 bytes at a time. The same ways as AVX2 in `simd.rs`, with two differences: a mask of
//! bits has to be added up, and look-ups give 0 for an index over 15.

use super::{
    BATCH, BLOCK_BYTES, Batch, Masks, NAME_WINDOW, Seen, Survey, quoted_printable_end, unusual,
};
use std::arch::aarch64::{
    uint8x16_t, vaddq_u8, vaddvq_u8, vandq_u8, vbicq_u8, vceqq_u8, vceqzq_u8, vcltq_u8, vdupq_n_u8,
    vget_lane_u64, vgetq_lane_u64, vld1q_u8, vmaxvq_u8, vminq_u8, vminvq_u8, vorrq_u8, vpaddq_u8,
    vqtbl1q_u8, vreinterpret_u64_u8, vreinterpretq_s8_u8, vreinterpretq_u16_u8,
    vreinterpretq_u64_u8, vshlq_u8, vshrn_n_u16, vshrq_n_u8, vst1q_u8, vsubq_u8,
};

/// Bytes of a register.
const WIDTH: usize = 16;

#[inline]
#[target_feature(enable = "neon")]
fn load(raw: &[u8; WIDTH]) -> uint8x16_t {
    #[expect(unsafe_code, reason = "loads of 16 bytes have no safe form")]
    // SAFETY: the array has 16 bytes; the load needs no alignment.
    unsafe {
        vld1q_u8(raw.as_ptr())
    }
}

/// Writes the register behind what `out` holds and lets it count `kept` bytes of it.
#[inline]
#[target_feature(enable = "neon")]
fn append(out: &mut Vec<u8>, bytes: uint8x16_t, kept: usize) {
    out.reserve(WIDTH);
    #[expect(unsafe_code, reason = "writes 16 bytes at once into reserved memory")]
    // SAFETY: 16 bytes behind the end are reserved, all 16 are written, and no more than 16 are kept.
    unsafe {
        vst1q_u8(out.as_mut_ptr().add(out.len()), bytes);
        out.set_len(out.len() + kept.min(WIDTH));
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn is(bytes: uint8x16_t, wanted: u8) -> uint8x16_t {
    vceqq_u8(bytes, vdupq_n_u8(wanted))
}

/// One bit for each of 64 lanes that are all ones or all zeros.
#[inline]
#[target_feature(enable = "neon")]
fn bits(lanes: [uint8x16_t; 4]) -> u64 {
    let places = load(b"\x01\x02\x04\x08\x10\x20\x40\x80\x01\x02\x04\x08\x10\x20\x40\x80");
    let [a, b, c, d] = lanes.map(|lane| vandq_u8(lane, places));
    let sums = vpaddq_u8(vpaddq_u8(a, b), vpaddq_u8(c, d));
    vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(sums, sums)))
}

/// Four bits for each of 16 lanes: quicker than one.
#[inline]
#[target_feature(enable = "neon")]
fn nibbles(lanes: uint8x16_t) -> u64 {
    vget_lane_u64::<0>(vreinterpret_u64_u8(vshrn_n_u16::<4>(vreinterpretq_u16_u8(lanes))))
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn name_length(window: &[u8; NAME_WINDOW]) -> usize {
    let (Some(low), Some(high)) = (window.first_chunk(), window.last_chunk()) else {
        return 0;
    };
    let goes_on = |bytes: uint8x16_t| {
        let graphic = vcltq_u8(vsubq_u8(bytes, vdupq_n_u8(b'!')), vdupq_n_u8(b'~' - b'!' + 1));
        vbicq_u8(graphic, is(bytes, b':'))
    };
    let none = vdupq_n_u8(0);
    bits([goes_on(load(low)), goes_on(load(high)), none, none]).trailing_ones() as usize
}

const LOW_CLASSES: [u8; WIDTH] =
    *b"\x15\x11\x11\x11\x11\x11\x11\x11\x11\x11\x13\x1a\x1b\x1b\x1b\x1a";
const HIGH_CLASSES: [u8; WIDTH] =
    *b"\x10\x10\x01\x02\x04\x08\x04\x08\x10\x10\x10\x10\x10\x10\x10\x10";
/// 0, 16, 19, 4, -65, -65, -71, -71
const SHIFTS: [u8; WIDTH] = *b"\0\x10\x13\x04\xbf\xbf\xb9\xb9\0\0\0\0\0\0\0\0";

/// Bytes of the base64 alphabet. Wojciech Mula's and Daniel Lemire's two look-ups.
#[inline]
#[target_feature(enable = "neon")]
fn alphabet(text: uint8x16_t) -> uint8x16_t {
    let low = vqtbl1q_u8(load(&LOW_CLASSES), vandq_u8(text, vdupq_n_u8(0x0f)));
    let high = vqtbl1q_u8(load(&HIGH_CLASSES), vshrq_n_u8::<4>(text));
    vceqzq_u8(vandq_u8(low, high))
}

/// By its low half each blank finds itself here, and no other byte does.
const BLANKS: [u8; WIDTH] = *b" \0\0\0\0\0\0\0\0\t\n\0\0\r\0\0";

#[target_feature(enable = "neon")]
pub(super) fn clean_base64(raw: &[u8]) -> (usize, usize) {
    let (mut done, mut characters) = (0, 0);
    for block in raw.as_chunks::<BLOCK_BYTES>().0 {
        let (mut clean, mut count) = (vdupq_n_u8(u8::MAX), vdupq_n_u8(0));
        for chunk in block.as_chunks().0 {
            let text = load(chunk);
            let good = alphabet(text);
            let blank = vqtbl1q_u8(load(&BLANKS), vandq_u8(text, vdupq_n_u8(0x0f)));
            clean = vandq_u8(clean, vorrq_u8(good, vceqq_u8(blank, text)));
            // All ones is -1.
            count = vsubq_u8(count, good);
        }
        if vminvq_u8(clean) != u8::MAX {
            break;
        }
        done += BLOCK_BYTES;
        characters += usize::from(vaddvq_u8(count));
    }
    (done, characters)
}

/// Which value begins each of the 12 bytes, which one ends it, and how far both are moved, right if less than 0.
const BEGINS: [u8; WIDTH] = *b"\0\x01\x02\x04\x05\x06\x08\x09\x0a\x0c\x0d\x0e\xff\xff\xff\xff";
const ENDS: [u8; WIDTH] = *b"\x01\x02\x03\x05\x06\x07\x09\x0a\x0b\x0d\x0e\x0f\xff\xff\xff\xff";
const MOVE_BEGINS: [u8; WIDTH] = *b"\x02\x04\x06\x02\x04\x06\x02\x04\x06\x02\x04\x06\0\0\0\0";
const MOVE_ENDS: [u8; WIDTH] = *b"\xfc\xfe\0\xfc\xfe\0\xfc\xfe\0\xfc\xfe\0\0\0\0\0";

/// The 12 bytes that 16 characters write, and which characters are of the alphabet. Characters to values by two
/// look-ups; then each byte is made of two values, moved by as much as its place wants.
#[inline]
#[target_feature(enable = "neon")]
fn decode(text: uint8x16_t) -> (uint8x16_t, uint8x16_t) {
    let row = vaddq_u8(is(text, b'/'), vshrq_n_u8::<4>(text));
    let values = vaddq_u8(text, vqtbl1q_u8(load(&SHIFTS), row));
    let moved = |places: &[u8; WIDTH], by: &[u8; WIDTH]| {
        vshlq_u8(vqtbl1q_u8(values, load(places)), vreinterpretq_s8_u8(load(by)))
    };
    let bytes = vorrq_u8(moved(&BEGINS, &MOVE_BEGINS), moved(&ENDS, &MOVE_ENDS));
    (bytes, alphabet(text))
}

/// A line as nearly all are, 76 characters and its end: nothing waits for what was found before. Gives the bytes
/// read; `None`, and nothing written, if it is another line.
#[inline]
#[target_feature(enable = "neon")]
fn base64_line(line: &[u8; 78], out: &mut Vec<u8>) -> Option<usize> {
    let end = match line {
        [.., b'\r', b'\n'] => 78,
        [.., b'\n', _] => 77,
        _ => return None,
    };
    let (chunks, _) = line.as_chunks();
    let &[a, b, c, d] = chunks.first_chunk()?;
    // Its first characters are the last ones of the fourth.
    let last = line.get(60..)?.first_chunk()?;
    let [a, b, c, d] = [a, b, c, d].map(|chunk| decode(load(&chunk)));
    let last = decode(load(last));
    let good = vandq_u8(vandq_u8(vandq_u8(a.1, b.1), vandq_u8(c.1, d.1)), last.1);
    if vminvq_u8(good) != u8::MAX {
        return None;
    }
    append(out, a.0, 12);
    append(out, b.0, 12);
    append(out, c.0, 12);
    append(out, d.0, 9);
    append(out, last.0, 12);
    Some(end)
}

/// Characters behind the first one that is none are computed and not kept.
#[target_feature(enable = "neon")]
pub(super) fn base64(raw: &[u8], out: &mut Vec<u8>) -> usize {
    let mut rest = raw;
    loop {
        while let Some(end) = rest.first_chunk().and_then(|line| base64_line(line, out)) {
            rest = rest.get(end..).unwrap_or_default();
        }
        let Some(chunk) = rest.first_chunk() else {
            break;
        };
        let (bytes, good) = decode(load(chunk));
        let groups = nibbles(good).trailing_ones() as usize / 16;
        append(out, bytes, groups * 3);
        rest = rest.get(groups * 4..).unwrap_or_default();
        rest = match rest {
            [b'\r', b'\n', after @ ..] | [b'\n', after @ ..] => after,
            _ if groups == 0 => break,
            _ => rest,
        };
    }
    raw.len() - rest.len()
}

/// Copies 16 bytes at a time up to the next `=` or blank before a line end.
#[target_feature(enable = "neon")]
pub(super) fn quoted_printable(raw: &[u8], out: &mut Vec<u8>) {
    let either = |v: uint8x16_t, a: u8, b: u8| vorrq_u8(is(v, a), is(v, b));
    let mut at = 0;
    // What is written is never more than what was read, and the last 16 bytes.
    out.reserve(raw.len() + WIDTH);
    while let Some(window) = raw.get(at..).and_then(|rest| rest.first_chunk::<17>())
        && let (Some(here), Some(next)) = (window.first_chunk(), window.last_chunk())
    {
        let (here, next) = (load(here), load(next));
        let blank_at_end = vandq_u8(either(here, b' ', b'\t'), either(next, b'\r', b'\n'));
        let mut found = nibbles(vorrq_u8(is(here, b'='), blank_at_end));
        if found == 0 {
            append(out, here, WIDTH);
            at += WIDTH;
            continue;
        }
        // One after the other by the mask: the next one does not wait for a load.
        let start = at;
        while found != 0 {
            let place = start + found.trailing_zeros() as usize / 4;
            if let Some(run) = raw.get(at..).and_then(|rest| rest.first_chunk()) {
                append(out, load(run), place - at);
            } else {
                out.extend_from_slice(raw.get(at..place).unwrap_or_default());
            }
            at = unusual(raw, place, out);
            let done = at - start;
            found = if done < WIDTH { found & (u64::MAX << (4 * done)) } else { 0 };
        }
    }
    quoted_printable_end(raw, at, out);
}

/// The masks of a block.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn masks(block: &[u8; BLOCK_BYTES]) -> Masks {
    let (chunks, _) = block.as_chunks();
    let Some(&[a, b, c, d]) = chunks.first_chunk() else {
        return Masks::default();
    };
    let bytes = [a, b, c, d].map(|chunk| load(&chunk));
    let find = |wanted: u8| bits(bytes.map(|lane| is(lane, wanted)));
    Masks { cr: find(b'\r'), lf: find(b'\n'), dash: find(b'-') }
}

#[target_feature(enable = "neon")]
pub(super) fn fill(
    raw: &[u8],
    from: usize,
    blocks: &[[u8; BLOCK_BYTES]],
    survey: &mut Survey,
    batch: &mut Batch,
) {
    let mut found = [Masks::default(); BATCH];
    let (mut least, mut any) = (vdupq_n_u8(u8::MAX), vdupq_n_u8(0));
    for (slot, block) in found.iter_mut().zip(blocks) {
        *slot = masks(block);
        for chunk in block.as_chunks().0 {
            let chunk = load(chunk);
            (least, any) = (vminq_u8(least, chunk), vorrq_u8(any, chunk));
        }
    }
    let seen = Seen { nul: vminvq_u8(least) == 0, high: vmaxvq_u8(any) > 127 };
    survey.read(raw, from, found.get(..blocks.len()).unwrap_or_default(), seen, batch);
}
