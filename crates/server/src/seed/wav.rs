//! A sound made by code: mono, 8 bits, 8,000 samples a second.

const SAMPLES_PER_S: u32 = 8000;

/// A round for children that everybody knows, hummed with a square wave; about 300 KB.
pub(crate) fn canon() -> Vec<u8> {
    // Half-tones above the first note, and eighths.
    const PHRASES: [&[(u32, u32)]; 4] = [
        &[(0, 2), (2, 2), (4, 2), (0, 2)],
        &[(4, 2), (5, 2), (7, 4)],
        &[(7, 1), (9, 1), (7, 1), (5, 1), (4, 2), (0, 2)],
        &[(0, 2), (0, 2), (0, 4)],
    ];
    let mut samples = Vec::new();
    for (half_tone, eighths) in PHRASES.iter().flat_map(|p| p.iter().chain(p.iter())) {
        note(&mut samples, *half_tone, *eighths);
    }
    riff(&samples)
}

fn note(samples: &mut Vec<u8>, half_tone: u32, eighths: u32) {
    // Hertz of the scale on C4, rounded.
    const HERTZ: [u32; 10] = [262, 277, 294, 311, 330, 349, 370, 392, 415, 440];
    let hertz = HERTZ.get(half_tone as usize).copied().unwrap_or(262);
    let length = SAMPLES_PER_S * eighths * 3 / 5;
    for at in 0..length {
        let loud = (length - at) * 40 / length;
        let high = (at * hertz * 2 / SAMPLES_PER_S).is_multiple_of(2);
        let level = if high { 128 + loud } else { 128 - loud };
        samples.push(u8::try_from(level).unwrap_or(128));
    }
}

fn riff(samples: &[u8]) -> Vec<u8> {
    let length = u32::try_from(samples.len()).unwrap_or(0);
    let mut out = b"RIFF".to_vec();
    out.extend_from_slice(&(36 + length).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt ");
    out.extend_from_slice(&16_u32.to_le_bytes());
    out.extend_from_slice(&[1, 0, 1, 0]); // PCM, one channel
    out.extend_from_slice(&SAMPLES_PER_S.to_le_bytes());
    out.extend_from_slice(&SAMPLES_PER_S.to_le_bytes());
    out.extend_from_slice(&[1, 0, 8, 0]); // one byte a sample
    out.extend_from_slice(b"data");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(samples);
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn lengths_add_up() {
        let wav = super::canon();
        let riff = u32::from_le_bytes(wav[4..8].try_into().unwrap());
        let data = u32::from_le_bytes(wav[40..44].try_into().unwrap());
        assert_eq!(riff as usize, wav.len() - 8);
        assert_eq!(data as usize, wav.len() - 44);
    }
}
