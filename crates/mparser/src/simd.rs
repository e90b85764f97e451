//! What is worth doing many bytes at a time: line ends as bit masks, names of fields, base64, quoted-printable. AVX2 or
//! AVX-512 where the processor has them, found at run time; NEON on 64-bit ARM (`neon.rs`; docs/howto/aarch64.md says
//! how to test it on another machine); the portable twin elsewhere. Tests hold them against each other.

use crate::cursor::Survey;
use crate::decode::hex_pair;
use crate::lines::line_at;

#[cfg(target_arch = "aarch64")]
mod neon;

/// Bytes behind one mask.
pub(crate) const BLOCK_BYTES: usize = 64;

/// What stands where in a block: bit 0 is its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Masks {
    pub(crate) cr: u64,
    pub(crate) lf: u64,
    pub(crate) dash: u64,
}

/// What some blocks have anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Seen {
    pub(crate) nul: bool,
    /// Bytes over 127.
    pub(crate) high: bool,
}

/// Line ends of a block, and dashes at its line starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lines {
    pub(crate) ends: u64,
    pub(crate) dashes: u64,
}

/// Blocks of one batch: enough to be worth a call, little enough to be no loss for who wants the header only.
pub(crate) const BATCH: usize = 16;

/// Some blocks, and what they tell together.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Batch {
    pub(crate) blocks: [Lines; BATCH],
    pub(crate) count: usize,
    /// Not 0: some line begins with a dash.
    pub(crate) dashes: u64,
    /// Line ends.
    pub(crate) lines: u32,
}

/// What the processor has. Found once for a letter, because it is asked often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level(Has);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Has {
    Nothing,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Level {
    pub(crate) fn find() -> Self {
        #[cfg(target_arch = "x86_64")]
        if has_avx2() {
            return Self(if has_avx512() { Has::Avx512 } else { Has::Avx2 });
        }
        #[cfg(target_arch = "aarch64")]
        if has_neon() {
            return Self(Has::Neon);
        }
        Self(Has::Nothing)
    }
}

/// Fills the batch with the blocks of `raw` from `from` on, at most this many and no more than [`BATCH`].
pub(crate) fn fill(
    level: Level,
    raw: &[u8],
    from: usize,
    most: usize,
    survey: &mut Survey,
    batch: &mut Batch,
) {
    (batch.count, batch.dashes, batch.lines) = (0, 0, 0);
    let most = most.min(BATCH);
    let (blocks, rest) = raw.get(from..).unwrap_or_default().as_chunks::<BLOCK_BYTES>();
    let blocks = blocks.get(..blocks.len().min(most)).unwrap_or_default();
    fill_blocks(level, raw, from, blocks, survey, batch);
    if batch.count < most && !rest.is_empty() {
        // Filled up with a byte that no mask looks for.
        let mut block = [b' '; BLOCK_BYTES];
        block.iter_mut().zip(rest).for_each(|(slot, byte)| *slot = *byte);
        fill_blocks(level, raw, from + blocks.len() * BLOCK_BYTES, &[block], survey, batch);
    }
}

fn fill_blocks(
    level: Level,
    raw: &[u8],
    from: usize,
    blocks: &[[u8; BLOCK_BYTES]],
    survey: &mut Survey,
    batch: &mut Batch,
) {
    match level.0 {
        Has::Nothing => {
            let mut masks = [Masks::default(); BATCH];
            let mut seen = Seen::default();
            for (slot, block) in masks.iter_mut().zip(blocks) {
                *slot = portable(block);
                seen.nul |= block.contains(&0);
                seen.high |= !block.is_ascii();
            }
            survey.read(raw, from, masks.get(..blocks.len()).unwrap_or_default(), seen, batch);
        }
        #[cfg(target_arch = "x86_64")]
        Has::Avx2 => {
            #[expect(
                unsafe_code,
                reason = "calls code for a processor feature, which was looked for"
            )]
            // SAFETY: the processor has what is needed: nobody but `Level::find` makes this level.
            unsafe {
                avx2::fill(raw, from, blocks, survey, batch);
            }
        }
        #[cfg(target_arch = "x86_64")]
        Has::Avx512 => {
            #[expect(
                unsafe_code,
                reason = "calls code for a processor feature, which was looked for"
            )]
            // SAFETY: the processor has what is needed: nobody but `Level::find` makes this level.
            unsafe {
                avx512::fill(raw, from, blocks, survey, batch);
            }
        }
        #[cfg(target_arch = "aarch64")]
        Has::Neon => {
            #[expect(
                unsafe_code,
                reason = "calls code for a processor feature, which was looked for"
            )]
            // SAFETY: the processor has what is needed: nobody but `Level::find` makes this level.
            unsafe {
                neon::fill(raw, from, blocks, survey, batch);
            }
        }
    }
}

/// AVX2 and what every processor with AVX2 has.
#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt")
}

/// Compares of 64 bytes at once, and what every processor with them has.
#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512bw") && has_avx2()
}

/// The compiler knows the answer: only builds for kernels and the like go without. Big-endian ones were never tried.
#[cfg(target_arch = "aarch64")]
fn has_neon() -> bool {
    cfg!(target_endian = "little") && std::arch::is_aarch64_feature_detected!("neon")
}

/// The masks of a block, one byte after the other.
fn portable(block: &[u8; BLOCK_BYTES]) -> Masks {
    let find = |wanted: u8| {
        block.iter().enumerate().fold(0, |mask, (at, byte)| mask | u64::from(*byte == wanted) << at)
    };
    Masks { cr: find(b'\r'), lf: find(b'\n'), dash: find(b'-') }
}

/// Bytes of which [`name_length`] looks for a colon. Few names of fields are longer.
pub(crate) const NAME_WINDOW: usize = 32;

/// How many printable bytes that are no colon stand at the start.
#[inline]
pub(crate) fn name_length(window: &[u8; NAME_WINDOW]) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        #[expect(unsafe_code, reason = "calls code for a processor feature")]
        // SAFETY: every x86-64 has SSE2.
        return unsafe { sse2::name_length(window) };
    }
    #[cfg(target_arch = "aarch64")]
    if has_neon() {
        #[expect(
            unsafe_code,
            reason = "calls code for a processor feature, which was looked for"
        )]
        // SAFETY: NEON is there, the line above says so.
        return unsafe { neon::name_length(window) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    name_length_portable(window)
}

/// The same, one byte after the other.
#[cfg(any(test, not(target_arch = "x86_64")))]
pub(crate) fn name_length_portable(window: &[u8; NAME_WINDOW]) -> usize {
    let stops = |b: &u8| *b == b':' || !b.is_ascii_graphic();
    window.iter().position(stops).unwrap_or(NAME_WINDOW)
}

/// Decodes whole groups of four base64 characters, over line ends, up to something unusual or nearly the end.
/// Gives how many bytes of `raw` are done; 0 where there is no fast way.
pub(crate) fn base64(raw: &[u8], out: &mut Vec<u8>) -> usize {
    #[cfg(target_arch = "x86_64")]
    if raw.len() >= 32 && is_x86_feature_detected!("avx2") {
        #[expect(
            unsafe_code,
            reason = "calls code for a processor feature, which was looked for"
        )]
        // SAFETY: AVX2 is there, the line above says so.
        return unsafe { avx2::base64(raw, out) };
    }
    #[cfg(target_arch = "aarch64")]
    if raw.len() >= 16 && has_neon() {
        #[expect(
            unsafe_code,
            reason = "calls code for a processor feature, which was looked for"
        )]
        // SAFETY: NEON is there, the line above says so.
        return unsafe { neon::base64(raw, out) };
    }
    let _ = (raw, out);
    0
}

/// How many bytes at the start are of the base64 alphabet or blanks, and how many of them are of the alphabet. Less
/// than there are, or nothing, where there is no fast way.
pub(crate) fn clean_base64(raw: &[u8]) -> (usize, usize) {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        #[expect(
            unsafe_code,
            reason = "calls code for a processor feature, which was looked for"
        )]
        // SAFETY: the processor has what is needed, the line above says so.
        return unsafe { avx2::clean_base64(raw) };
    }
    #[cfg(target_arch = "aarch64")]
    if has_neon() {
        #[expect(
            unsafe_code,
            reason = "calls code for a processor feature, which was looked for"
        )]
        // SAFETY: NEON is there, the line above says so.
        return unsafe { neon::clean_base64(raw) };
    }
    let _ = raw;
    (0, 0)
}

/// quoted-printable undone behind what `out` holds; `false`, and nothing written, where there is no fast way.
pub(crate) fn quoted_printable(raw: &[u8], out: &mut Vec<u8>) -> bool {
    #[cfg(target_arch = "x86_64")]
    if has_avx512() && is_x86_feature_detected!("avx512vbmi2") {
        #[expect(unsafe_code, reason = "calls code for a processor feature, which was looked for")]
        // SAFETY: the processor has what is needed, the line above says so.
        unsafe {
            vbmi2::quoted_printable(raw, out);
        }
        return true;
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[expect(unsafe_code, reason = "calls code for a processor feature, which was looked for")]
        // SAFETY: AVX2 is there, the line above says so.
        unsafe {
            avx2::quoted_printable(raw, 0, out);
        }
        return true;
    }
    #[cfg(target_arch = "aarch64")]
    if has_neon() {
        #[expect(unsafe_code, reason = "calls code for a processor feature, which was looked for")]
        // SAFETY: NEON is there, the line above says so.
        unsafe {
            neon::quoted_printable(raw, out);
        }
        return true;
    }
    let _ = (raw, out);
    false
}

/// Bytes as text if they are UTF-8, without a copy.
pub(crate) fn utf8(bytes: Vec<u8>) -> Result<String, Vec<u8>> {
    if simdutf8::basic::from_utf8(&bytes).is_err() {
        return Err(bytes);
    }
    #[expect(unsafe_code, reason = "the check of std would be a second one, and a slow one")]
    // SAFETY: simdutf8 looked at all of these bytes and found them to be UTF-8.
    Ok(unsafe { String::from_utf8_unchecked(bytes) })
}

fn is_blank(byte: Option<&u8>) -> bool {
    matches!(byte, Some(b' ' | b'\t'))
}

/// What stands at an `=`, or at a blank in front of a line end or of the end; gives where it goes on.
#[inline(always)]
fn unusual(raw: &[u8], at: usize, out: &mut Vec<u8>) -> usize {
    if raw.get(at) != Some(&b'=') {
        // Blanks at the end of a line are not meant (RFC 2045 §6.7); those before this one are written already.
        let mut before = at;
        while before > 0 && is_blank(raw.get(before - 1)) {
            before -= 1;
            out.pop();
        }
        return at + 1;
    }
    if let (Some(high), Some(low)) = (raw.get(at + 1), raw.get(at + 2))
        && let Some(byte) = hex_pair(*high, *low)
    {
        out.push(byte);
        return at + 3;
    }
    let mut end = at + 1;
    while is_blank(raw.get(end)) {
        end += 1;
    }
    match raw.get(end) {
        None => end,
        Some(b'\r' | b'\n') => line_at(raw, end).next,
        Some(_) => {
            out.push(b'=');
            at + 1
        }
    }
}

/// The last bytes of quoted-printable, which fill no register.
fn quoted_printable_end(raw: &[u8], from: usize, out: &mut Vec<u8>) {
    let mut at = from;
    while let Some(&byte) = raw.get(at) {
        let at_end = matches!(raw.get(at + 1), None | Some(b'\r' | b'\n'));
        if byte == b'=' || (is_blank(Some(&byte)) && at_end) {
            at = unusual(raw, at, out);
        } else {
            out.push(byte);
            at += 1;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use super::NAME_WINDOW;
    use std::arch::x86_64::{
        __m128i, _mm_andnot_si128, _mm_cmpeq_epi8, _mm_cmpgt_epi8, _mm_loadu_si128,
        _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    };

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(raw: &[u8; 16]) -> __m128i {
        #[expect(unsafe_code, reason = "loads of 16 bytes have no safe form")]
        // SAFETY: the array has 16 bytes; the load needs no alignment.
        unsafe {
            _mm_loadu_si128(raw.as_ptr().cast())
        }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn name_length(window: &[u8; NAME_WINDOW]) -> usize {
        let (Some(low), Some(high)) = (window.first_chunk(), window.last_chunk()) else {
            return 0;
        };
        let goes_on = |bytes: __m128i| {
            // Signed: bytes over 127 are less than a blank.
            let over_blank = _mm_cmpgt_epi8(bytes, _mm_set1_epi8(0x20));
            let delete = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
            let colon = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x3a));
            _mm_movemask_epi8(_mm_andnot_si128(_mm_or_si128(delete, colon), over_blank))
        };
        let (low, high) = (goes_on(load(low)), goes_on(load(high)));
        (low | high << 16).trailing_ones() as usize
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{BATCH, BLOCK_BYTES, Batch, Masks, Seen, Survey, quoted_printable_end, unusual};
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi8, _mm256_and_si256, _mm256_cmpeq_epi8, _mm256_loadu_si256,
        _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_min_epu8, _mm256_movemask_epi8,
        _mm256_or_si256, _mm256_permutevar8x32_epi32, _mm256_set1_epi8, _mm256_set1_epi32,
        _mm256_setr_epi32, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi32,
        _mm256_storeu_si256,
    };

    /// Bytes of a register.
    const WIDTH: usize = 32;

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(raw: &[u8; WIDTH]) -> __m256i {
        #[expect(unsafe_code, reason = "loads of 32 bytes have no safe form")]
        // SAFETY: the array has 32 bytes; the load needs no alignment.
        unsafe {
            _mm256_loadu_si256(raw.as_ptr().cast())
        }
    }

    /// Writes the register behind what `out` holds and lets it count `kept` bytes of it.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn append(out: &mut Vec<u8>, bytes: __m256i, kept: usize) {
        out.reserve(WIDTH);
        #[expect(unsafe_code, reason = "writes 32 bytes at once into reserved memory")]
        // SAFETY: 32 bytes behind the end are reserved, all 32 are written, and no more than 32 are kept.
        unsafe {
            _mm256_storeu_si256(out.as_mut_ptr().add(out.len()).cast(), bytes);
            out.set_len(out.len() + kept.min(WIDTH));
        }
    }

    /// Look-ups work in two halves of 16: each table stands twice.
    #[expect(clippy::indexing_slicing, reason = "a constant: the compiler would stop")]
    const fn twice(half: &[u8; 16]) -> [u8; WIDTH] {
        let mut both = [0; WIDTH];
        let mut at = 0;
        while at < WIDTH {
            both[at] = half[at % 16];
            at += 1;
        }
        both
    }

    /// Bytes of the base64 alphabet. Wojciech Mula's and Daniel Lemire's two look-ups.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn alphabet(text: __m256i) -> u32 {
        let nibbles = _mm256_set1_epi8(0x2f);
        let high = _mm256_and_si256(_mm256_srli_epi32::<4>(text), nibbles);
        let low = _mm256_and_si256(text, nibbles);
        let foreign = _mm256_and_si256(
            _mm256_shuffle_epi8(load(&LOW_CLASSES), low),
            _mm256_shuffle_epi8(load(&HIGH_CLASSES), high),
        );
        let good = _mm256_cmpeq_epi8(foreign, _mm256_setzero_si256());
        _mm256_movemask_epi8(good).cast_unsigned()
    }

    /// By its low half each blank finds itself here, and no other byte does.
    const BLANKS: [u8; WIDTH] = twice(b" \xff\xff\xff\xff\xff\xff\xff\xff\t\n\xff\xff\r\xff\xff");

    #[target_feature(enable = "avx2,popcnt")]
    pub(super) fn clean_base64(raw: &[u8]) -> (usize, usize) {
        let blanks = load(&BLANKS);
        let (mut done, mut characters) = (0, 0);
        for block in raw.as_chunks().0 {
            let text = load(block);
            let blank = _mm256_cmpeq_epi8(_mm256_shuffle_epi8(blanks, text), text);
            let good = alphabet(text);
            if good | _mm256_movemask_epi8(blank).cast_unsigned() != u32::MAX {
                break;
            }
            done += WIDTH;
            characters += good.count_ones() as usize;
        }
        (done, characters)
    }

    const LOW_CLASSES: [u8; WIDTH] =
        twice(b"\x15\x11\x11\x11\x11\x11\x11\x11\x11\x11\x13\x1a\x1b\x1b\x1b\x1a");
    const HIGH_CLASSES: [u8; WIDTH] =
        twice(b"\x10\x10\x01\x02\x04\x08\x04\x08\x10\x10\x10\x10\x10\x10\x10\x10");
    /// 0, 16, 19, 4, -65, -65, -71, -71
    const SHIFTS: [u8; WIDTH] = twice(b"\0\x10\x13\x04\xbf\xbf\xb9\xb9\0\0\0\0\0\0\0\0");
    const ORDER: [u8; WIDTH] =
        twice(b"\x02\x01\x00\x06\x05\x04\x0a\x09\x08\x0e\x0d\x0c\xff\xff\xff\xff");

    /// Wojciech Mula's and Daniel Lemire's way: characters to values by two look-ups, values to bytes by two
    /// multiplications. Characters behind the first one that is none are computed and not kept.
    #[target_feature(enable = "avx2")]
    pub(super) fn base64(raw: &[u8], out: &mut Vec<u8>) -> usize {
        let [low_classes, high_classes] = [load(&LOW_CLASSES), load(&HIGH_CLASSES)];
        let [shifts, order] = [load(&SHIFTS), load(&ORDER)];
        let gaps = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7);
        let slash = _mm256_set1_epi8(0x2f);
        // Gives the bytes of 32 characters, and how many characters at the start are of the alphabet.
        let decode = |text: __m256i| {
            let high = _mm256_and_si256(_mm256_srli_epi32::<4>(text), slash);
            let low = _mm256_and_si256(text, slash);
            let foreign = _mm256_and_si256(
                _mm256_shuffle_epi8(low_classes, low),
                _mm256_shuffle_epi8(high_classes, high),
            );
            let good = _mm256_movemask_epi8(_mm256_cmpeq_epi8(foreign, _mm256_setzero_si256()));
            let is_slash = _mm256_cmpeq_epi8(text, slash);
            let shift = _mm256_shuffle_epi8(shifts, _mm256_add_epi8(is_slash, high));
            let values = _mm256_add_epi8(text, shift);
            let pairs = _mm256_maddubs_epi16(values, _mm256_set1_epi32(0x0140_0140));
            let words = _mm256_madd_epi16(pairs, _mm256_set1_epi32(0x0001_1000));
            let bytes = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(words, order), gaps);
            (bytes, good.cast_unsigned())
        };
        let mut rest = raw;
        loop {
            // A line as nearly all are, 76 characters and its end: nothing waits for what was found before.
            while let Some(line) = rest.first_chunk::<78>()
                && let (Some(first), Some(second), Some(third)) =
                    (line.first_chunk(), line[32..].first_chunk(), line[44..].first_chunk())
            {
                let end = match line {
                    [.., b'\r', b'\n'] => 78,
                    [.., b'\n', _] => 77,
                    _ => break,
                };
                let (first, second, third) =
                    (decode(load(first)), decode(load(second)), decode(load(third)));
                if first.1 & second.1 & third.1 != u32::MAX {
                    break;
                }
                append(out, first.0, 24);
                append(out, second.0, 9);
                // Its first characters were the last ones of the second.
                append(out, third.0, 24);
                rest = rest.get(end..).unwrap_or_default();
            }
            let Some(chunk) = rest.first_chunk::<WIDTH>() else {
                break;
            };
            let (bytes, good) = decode(load(chunk));
            let groups = good.trailing_ones() as usize / 4;
            append(out, bytes, groups * 3);
            rest = rest.get(groups * 4..).unwrap_or_default();
            rest = match rest {
                _ if groups == 8 => rest,
                [b'\r', b'\n', after @ ..] | [b'\n', after @ ..] => after,
                _ if groups == 0 => break,
                _ => rest,
            };
        }
        raw.len() - rest.len()
    }

    /// Copies 32 bytes at a time up to the next `=` or blank before a line end, from `from` on.
    #[target_feature(enable = "avx2")]
    pub(super) fn quoted_printable(raw: &[u8], from: usize, out: &mut Vec<u8>) {
        let [equals, space, tab, cr, lf] =
            [b'=', b' ', b'\t', b'\r', b'\n'].map(|b| _mm256_set1_epi8(b.cast_signed()));
        let either = |v: __m256i, a: __m256i, b: __m256i| {
            _mm256_or_si256(_mm256_cmpeq_epi8(v, a), _mm256_cmpeq_epi8(v, b))
        };
        let mut at = from;
        // What is written is never more than what was read, and the last 32 bytes.
        out.reserve(raw.len() - from.min(raw.len()) + WIDTH);
        loop {
            let rest = raw.get(at..).unwrap_or_default();
            let (Some(here), Some(next)) =
                (rest.first_chunk(), rest.get(1..).and_then(|r| r.first_chunk()))
            else {
                break;
            };
            let (here, next) = (load(here), load(next));
            let blank_at_end = _mm256_and_si256(either(here, space, tab), either(next, cr, lf));
            let found = _mm256_or_si256(_mm256_cmpeq_epi8(here, equals), blank_at_end);
            let mut found = _mm256_movemask_epi8(found).cast_unsigned();
            if found == 0 {
                append(out, here, WIDTH);
                at += WIDTH;
                continue;
            }
            // One after the other by the mask: the next one does not wait for a load.
            let start = at;
            while found != 0 {
                let place = start + found.trailing_zeros() as usize;
                if let Some(run) = raw.get(at..).and_then(|r| r.first_chunk()) {
                    append(out, load(run), place - at);
                } else {
                    out.extend_from_slice(raw.get(at..place).unwrap_or_default());
                }
                at = unusual(raw, place, out);
                let done = at - start;
                found = if done < WIDTH { found & (u32::MAX << done) } else { 0 };
            }
        }
        quoted_printable_end(raw, at, out);
    }

    /// The masks of a block.
    #[inline]
    #[target_feature(enable = "avx2,bmi1,lzcnt,popcnt")]
    pub(super) fn masks(block: &[u8; BLOCK_BYTES]) -> Masks {
        let (Some(low), Some(high)) = (block.first_chunk(), block.last_chunk()) else {
            return Masks::default();
        };
        let (low, high) = (load(low), load(high));
        let find = |wanted: u8| {
            let wanted = _mm256_set1_epi8(wanted.cast_signed());
            let low = _mm256_movemask_epi8(_mm256_cmpeq_epi8(low, wanted)).cast_unsigned();
            let high = _mm256_movemask_epi8(_mm256_cmpeq_epi8(high, wanted)).cast_unsigned();
            u64::from(low) | u64::from(high) << 32
        };
        Masks { cr: find(b'\r'), lf: find(b'\n'), dash: find(b'-') }
    }

    #[target_feature(enable = "avx2,bmi1,lzcnt,popcnt")]
    pub(super) fn fill(
        raw: &[u8],
        from: usize,
        blocks: &[[u8; BLOCK_BYTES]],
        survey: &mut Survey,
        batch: &mut Batch,
    ) {
        let mut found = [Masks::default(); BATCH];
        let (mut least, mut any) = (_mm256_set1_epi8(-1), _mm256_setzero_si256());
        for (slot, block) in found.iter_mut().zip(blocks) {
            *slot = masks(block);
            for half in block.as_chunks().0 {
                let half = load(half);
                (least, any) = (_mm256_min_epu8(least, half), _mm256_or_si256(any, half));
            }
        }
        let nul = _mm256_movemask_epi8(_mm256_cmpeq_epi8(least, _mm256_setzero_si256())) != 0;
        let seen = Seen { nul, high: _mm256_movemask_epi8(any) != 0 };
        survey.read(raw, from, found.get(..blocks.len()).unwrap_or_default(), seen, batch);
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::{BATCH, BLOCK_BYTES, Batch, Masks, Seen, Survey};
    use std::arch::x86_64::{
        __m512i, _mm512_cmpeq_epi8_mask, _mm512_loadu_si512, _mm512_min_epu8, _mm512_movepi8_mask,
        _mm512_or_si512, _mm512_set1_epi8, _mm512_setzero_si512, _mm512_testn_epi8_mask,
    };

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,bmi1,lzcnt,popcnt")]
    pub(super) fn load(block: &[u8; BLOCK_BYTES]) -> __m512i {
        #[expect(unsafe_code, reason = "loads of 64 bytes have no safe form")]
        // SAFETY: the array has 64 bytes; the load needs no alignment.
        unsafe {
            _mm512_loadu_si512(block.as_ptr().cast())
        }
    }

    /// The masks of a block.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,bmi1,lzcnt,popcnt")]
    pub(super) fn masks(block: &[u8; BLOCK_BYTES]) -> Masks {
        let bytes = load(block);
        let find =
            |wanted: u8| _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(wanted.cast_signed()));
        Masks { cr: find(b'\r'), lf: find(b'\n'), dash: find(b'-') }
    }

    #[target_feature(enable = "avx512f,avx512bw,bmi1,lzcnt,popcnt")]
    pub(super) fn fill(
        raw: &[u8],
        from: usize,
        blocks: &[[u8; BLOCK_BYTES]],
        survey: &mut Survey,
        batch: &mut Batch,
    ) {
        let mut found = [Masks::default(); BATCH];
        let (mut least, mut any) = (_mm512_set1_epi8(-1), _mm512_setzero_si512());
        for (slot, block) in found.iter_mut().zip(blocks) {
            *slot = masks(block);
            let bytes = load(block);
            (least, any) = (_mm512_min_epu8(least, bytes), _mm512_or_si512(any, bytes));
        }
        let nul = _mm512_testn_epi8_mask(least, least) != 0;
        let seen = Seen { nul, high: _mm512_movepi8_mask(any) != 0 };
        survey.read(raw, from, found.get(..blocks.len()).unwrap_or_default(), seen, batch);
    }
}

#[cfg(target_arch = "x86_64")]
mod vbmi2 {
    use super::{BLOCK_BYTES, avx2, avx512::load, unusual};
    use std::arch::x86_64::{
        __m512i, _mm512_and_si512, _mm512_cmpeq_epi8_mask, _mm512_cmplt_epu8_mask,
        _mm512_mask_add_epi8, _mm512_mask_blend_epi8, _mm512_maskz_compress_epi8, _mm512_or_si512,
        _mm512_set1_epi8, _mm512_slli_epi16, _mm512_storeu_si512, _mm512_sub_epi8,
    };

    /// Values of hexadecimal digits, and which bytes are some.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,bmi1,lzcnt,popcnt")]
    fn digits(bytes: __m512i) -> (__m512i, u64) {
        let all = |byte: u8| _mm512_set1_epi8(byte.cast_signed());
        let decimal = _mm512_cmplt_epu8_mask(_mm512_sub_epi8(bytes, all(b'0')), all(10));
        let lower = _mm512_or_si512(bytes, all(0x20));
        let letter = _mm512_cmplt_epu8_mask(_mm512_sub_epi8(lower, all(b'a')), all(6));
        let values = _mm512_and_si512(bytes, all(0x0f));
        (_mm512_mask_add_epi8(values, letter, values, all(9)), decimal | letter)
    }

    /// Writes the register behind what `out` holds and lets it count `kept` bytes of it.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,bmi1,lzcnt,popcnt")]
    fn append(out: &mut Vec<u8>, bytes: __m512i, kept: usize) {
        out.reserve(BLOCK_BYTES);
        #[expect(unsafe_code, reason = "writes 64 bytes at once into reserved memory")]
        // SAFETY: 64 bytes behind the end are reserved, all 64 are written, and no more than 64 are kept.
        unsafe {
            _mm512_storeu_si512(out.as_mut_ptr().add(out.len()).cast(), bytes);
            out.set_len(out.len() + kept.min(BLOCK_BYTES));
        }
    }

    /// Undoes all escapes and soft line breaks of 64 bytes at once: each `=` becomes the byte that the two behind it
    /// write, and what is left over is squeezed out. Text in other languages than English is full of them.
    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vbmi2,bmi1,lzcnt,popcnt")]
    pub(super) fn quoted_printable(raw: &[u8], out: &mut Vec<u8>) {
        let all = |byte: u8| _mm512_set1_epi8(byte.cast_signed());
        let is = |bytes: __m512i, byte: u8| _mm512_cmpeq_epi8_mask(bytes, all(byte));
        out.reserve(raw.len() + BLOCK_BYTES);
        let mut at = 0;
        while let Some(window) = raw.get(at..).and_then(|rest| rest.first_chunk::<66>())
            && let (Some(here), Some(next), Some(second)) =
                (window.first_chunk(), window[1..].first_chunk(), window.last_chunk())
        {
            let (here, next, second) = (load(here), load(next), load(second));
            let equals = is(here, b'=');
            let (next_cr, next_lf) = (is(next, b'\r'), is(next, b'\n'));
            let ((high, is_high), (low, is_low)) = (digits(next), digits(second));
            let escapes = equals & is_high & is_low;
            let breaks = equals & next_cr & is(second, b'\n');
            let short_breaks = equals & next_lf;
            let blanks_at_end = (is(here, b' ') | is(here, b'\t')) & (next_cr | next_lf);
            let odd = (equals & !(escapes | breaks | short_breaks)) | blanks_at_end;
            // What is before the first odd byte.
            let done = odd.trailing_zeros();
            let lanes = u64::MAX.checked_shr(64 - done).unwrap_or(0);
            let (threes, twos) = ((escapes | breaks) & lanes, short_breaks & lanes);
            let gone = threes << 1 | threes << 2 | twos << 1 | breaks | twos;
            let decoded = _mm512_or_si512(_mm512_slli_epi16::<4>(high), low);
            let bytes = _mm512_mask_blend_epi8(escapes, here, decoded);
            let kept = lanes & !gone;
            append(out, _mm512_maskz_compress_epi8(kept, bytes), kept.count_ones() as usize);
            at = if odd != 0 {
                unusual(raw, at + done as usize, out)
            } else {
                // The last escape may reach over the end.
                let over = 2 * (threes >> 63) + (threes >> 62 & 1) + (twos >> 63);
                at + BLOCK_BYTES + usize::from(over == 1) + 2 * usize::from(over == 2)
            };
        }
        avx2::quoted_printable(raw, at, out);
    }
}

/// The bytes as text if they are printable ASCII.
#[inline]
pub(crate) fn printable(bytes: &[u8]) -> Option<&str> {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [b' '; 8];
    last.iter_mut().zip(rest).for_each(|(slot, byte)| *slot = *byte);
    let others = words.iter().fold(others_in(last), |found, word| found | others_in(*word));
    #[expect(unsafe_code, reason = "every byte was looked at already")]
    // SAFETY: all bytes are ASCII, and ASCII is UTF-8.
    (others == 0).then(|| unsafe { str::from_utf8_unchecked(bytes) })
}

/// Not 0: one of the bytes is not printable ASCII.
#[inline(always)]
fn others_in(word: [u8; 8]) -> u64 {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let word = u64::from_le_bytes(word);
    // A carry leaves a byte only where that byte has already set its top bit.
    let over = word | word.wrapping_add(0x0101_0101_0101_0101);
    let under = !(word | HIGH).wrapping_sub(0x2020_2020_2020_2020);
    (over | under) & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{decode_base64, quoted_printable_by_lines};

    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            let next = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            self.0 = next;
            usize::try_from(next >> 33).unwrap() % end
        }

        fn bytes(&mut self, length: usize, alphabet: &[u8]) -> Vec<u8> {
            (0..length).map(|_| alphabet[self.below(alphabet.len())]).collect()
        }
    }

    /// The masks in each way the processor has.
    #[expect(unsafe_code, reason = "calls code for processor features, which were looked for")]
    fn all_masks(block: &[u8; BLOCK_BYTES]) -> Vec<Masks> {
        let mut found = vec![portable(block)];
        #[cfg(target_arch = "x86_64")]
        if has_avx2() {
            // SAFETY: the processor has what is needed, `has_avx2` says so.
            found.push(unsafe { avx2::masks(block) });
        }
        #[cfg(target_arch = "x86_64")]
        if has_avx512() {
            // SAFETY: the processor has what is needed, `has_avx512` says so.
            found.push(unsafe { avx512::masks(block) });
        }
        #[cfg(target_arch = "aarch64")]
        if has_neon() {
            // SAFETY: the processor has what is needed, `has_neon` says so.
            found.push(unsafe { neon::masks(block) });
        }
        found
    }

    /// The masks that the processor gives are those of the portable twin.
    #[test]
    fn twins() {
        let mut random = Random(1);
        for round in 0..2000 {
            let bytes = random.bytes(BLOCK_BYTES + 16, b"ab-\r\n\0\xff\x8d");
            let block: &[u8; BLOCK_BYTES] = bytes[round % 16..].first_chunk().unwrap();
            let found = all_masks(block);
            assert!(found.iter().all(|masks| *masks == found[0]), "{found:x?}");
        }
    }

    #[test]
    fn printable_or_not() {
        for length in 0..20 {
            for place in 0..length {
                for byte in 0..=255 {
                    let mut bytes = vec![b'a'; length];
                    bytes[place] = byte;
                    let expect = matches!(byte, b' '..=b'~');
                    assert_eq!(printable(&bytes).is_some(), expect, "{}", bytes.escape_ascii());
                }
            }
        }
        let mut random = Random(4);
        for _ in 0..3000 {
            let bytes = random.bytes(17, b"ab ~\x1f\x7f\x80\xff\0!");
            let expect = bytes.iter().all(|b| matches!(b, b' '..=b'~'));
            assert_eq!(printable(&bytes).is_some(), expect, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn names() {
        let mut random = Random(3);
        for round in 0..3000 {
            let alphabet: &[u8] =
                if round % 2 == 0 { b"abcdefghijklmno:" } else { b"ab-AZ~!\x7f :\t\xff\x80\0" };
            let bytes = random.bytes(NAME_WINDOW, alphabet);
            let window = bytes.first_chunk().unwrap();
            assert_eq!(
                name_length(window),
                name_length_portable(window),
                "{}",
                bytes.escape_ascii()
            );
        }
        for byte in 0..=255 {
            for place in 0..NAME_WINDOW {
                let mut window = [b'~'; NAME_WINDOW];
                window[place] = byte;
                assert_eq!(name_length(&window), name_length_portable(&window), "{byte} {place}");
            }
        }
    }

    /// All that this processor can do. An ARM without NEON would be tested for nothing.
    fn levels() -> Vec<Has> {
        #[cfg(target_arch = "x86_64")]
        let more = [has_avx2().then_some(Has::Avx2), has_avx512().then_some(Has::Avx512)];
        #[cfg(target_arch = "aarch64")]
        let more = [Some(Has::Neon)];
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let more = [None];
        let levels: Vec<Has> = [Some(Has::Nothing)].into_iter().chain(more).flatten().collect();
        assert!(levels.contains(&Level::find().0));
        levels
    }

    /// Whatever the processor has, the batches are the same.
    fn check_batches(raw: &[u8]) {
        let read = |has: Has| {
            let (mut survey, mut from, mut batches) = (Survey::default(), 0, Vec::new());
            while from < raw.len() {
                let mut batch = Batch::default();
                let most = 1 + batches.len() % BATCH;
                fill(Level(has), raw, from, most, &mut survey, &mut batch);
                from += batch.count * BLOCK_BYTES;
                batches.push(batch);
            }
            (survey, batches)
        };
        let expect = read(Has::Nothing);
        for level in levels() {
            assert_eq!(read(level), expect, "{level:?} {}", raw.escape_ascii());
        }
    }

    #[test]
    fn batches() {
        let mut random = Random(5);
        for round in 0..2000 {
            let alphabets: [&[u8]; 4] =
                [b"ab-\r\n", b"abcdefghijk\n-", b"abcdefghijklmnopqrst\0\xff", b"abc-"];
            let lines = random.below(5);
            let mut raw = Vec::new();
            for _ in 0..=lines {
                let length = random.below(700);
                raw.extend(random.bytes(length, alphabets[round % 4]));
                raw.extend_from_slice([&b"\r\n"[..], b"\n", b"\r\r\n-", b"-"][random.below(4)]);
            }
            check_batches(&raw);
        }
        for byte in 0..=255 {
            check_batches(&[byte; BLOCK_BYTES]);
            for place in 0..BLOCK_BYTES {
                let mut block = [b' '; BLOCK_BYTES];
                block[place] = byte;
                check_batches(&block);
            }
        }
    }

    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    /// base64 one character after the other.
    fn base64_portable(raw: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        let (mut bits, mut held) = (0_u32, 0_usize);
        for byte in raw.iter().chain(b"=") {
            match (ALPHABET.iter().position(|c| c == byte), byte) {
                (Some(value), _) => {
                    bits = bits << 6 | u32::try_from(value).unwrap();
                    held += 1;
                }
                (None, b'=') => {
                    bits <<= 6 * (4 - held);
                    let kept = [0, 0, 1, 2, 3][held];
                    plain.extend_from_slice(&bits.to_be_bytes()[1..=kept]);
                    (bits, held) = (0, 0);
                }
                _ => {}
            }
            if held == 4 {
                plain.extend_from_slice(&bits.to_be_bytes()[1..]);
                (bits, held) = (0, 0);
            }
        }
        plain
    }

    /// Decoding gives what it gives one character after the other. What counts as clean is so, and no more than one
    /// block of clean bytes is left over where there is a fast way.
    fn check_base64(raw: &[u8]) {
        assert_eq!(decode_base64(raw), base64_portable(raw), "{}", raw.escape_ascii());
        let (done, characters) = clean_base64(raw);
        let good = raw.iter().map(|b| match b {
            b'\r' | b'\n' | b' ' | b'\t' => Some(0),
            other => ALPHABET.contains(other).then_some(1),
        });
        let clean: Vec<usize> = good.map_while(|found| found).collect();
        assert!(done <= clean.len(), "{done} {}", raw.escape_ascii());
        assert_eq!(clean[..done].iter().sum::<usize>(), characters, "{}", raw.escape_ascii());
        if levels().len() > 1 {
            assert!(clean.len() - done < BLOCK_BYTES, "{done} {}", raw.escape_ascii());
        }
    }

    #[test]
    fn base64_twins() {
        let mut random = Random(2);
        let alphabets: [&[u8]; 3] = [
            ALPHABET,
            b"ABCDabcdefghijklmnopqrst01234+/Zz9ABCDabcdefghijklmnopqrst01234+/\r\n",
            b"AZaz09+/=\r\n \t!\0\x80\xff",
        ];
        for length in 0..=200 {
            for round in 0..16 {
                let raw = random.bytes(length + 16, alphabets[round % 3]);
                check_base64(&raw[round..round + length]);
            }
        }
        // As mail has it, with lines of any length, each end of line, and one byte that may be wrong.
        for round in 0..2000 {
            let width = [76, 76, 64, 72, 60, 16, 78][round % 7];
            let mut raw = Vec::new();
            for _ in 0..random.below(5) {
                raw.extend(random.bytes(width, ALPHABET));
                raw.extend_from_slice([&b"\r\n"[..], b"\n", b"\r"][random.below(3)]);
            }
            let last = random.below(90);
            raw.extend(random.bytes(last, ALPHABET));
            if let Some(length) = raw.len().checked_sub(1)
                && round % 2 == 0
            {
                let at = random.below(length + 1);
                raw[at] = u8::try_from(random.below(256)).unwrap();
            }
            check_base64(&raw);
        }
        for byte in 0..=255 {
            for place in 0..78 {
                let mut line = [random.bytes(76, ALPHABET).as_slice(), b"\r\n"].concat();
                line[place] = byte;
                check_base64(&line);
            }
        }
    }

    /// Each fast way gives what the plain one gives.
    fn check_quoted_printable(raw: &[u8]) {
        let expect = quoted_printable_by_lines(raw);
        let mut fast = Vec::new();
        if quoted_printable(raw, &mut fast) {
            assert_eq!(fast, expect, "{}", raw.escape_ascii());
        }
        #[cfg(target_arch = "x86_64")]
        if has_avx2() {
            fast.clear();
            #[expect(
                unsafe_code,
                reason = "calls code for a processor feature, which was looked for"
            )]
            // SAFETY: the processor has what is needed, the line above says so.
            unsafe {
                avx2::quoted_printable(raw, 0, &mut fast);
            }
            assert_eq!(fast, expect, "{}", raw.escape_ascii());
        }
    }

    #[test]
    fn quoted_printable_twins() {
        let mut random = Random(6);
        let alphabets: [&[u8]; 2] = [b"= \t\r\n4Fx", b"abcdefghijklmnop=3D \r\n\xff"];
        for length in 0..=200 {
            for round in 0..16 {
                let raw = random.bytes(length + 16, alphabets[round % 2]);
                check_quoted_printable(&raw[round..round + length]);
            }
        }
        for round in 0..6000 {
            let length = random.below(300);
            let mut raw = random.bytes(length, alphabets[round % 2]);
            for _ in 0..random.below(20) {
                let pieces: [&[u8]; 5] = [b"=C5=bc", b"=\r\n", b"=\n", b" \r\n", b"=3D"];
                let at = random.below(raw.len() + 1);
                raw.splice(at..at, pieces[random.below(5)].iter().copied());
            }
            check_quoted_printable(&raw);
        }
    }
}
