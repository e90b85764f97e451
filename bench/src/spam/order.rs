//! The order in which letters come: that of Python's `random.Random(seed).shuffle`, so that runs here and elsewhere are of
//! the same order. Mersenne Twister (Matsumoto and Nishimura, 1998), seeded by an array of one number.

const N: usize = 624;
const M: usize = 397;

pub(super) struct Twister {
    state: [u32; N],
    at: usize,
}

impl Twister {
    pub(super) fn new(seed: u32) -> Self {
        let mut state = [0_u32; N];
        let mut last = 19_650_218_u32;
        for (place, number) in (0_u32..).zip(&mut state) {
            if place > 0 {
                last = 1_812_433_253_u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(place);
            }
            *number = last;
        }
        let mut twister = Self { state, at: N };
        twister.mix(N, 1_664_525, |old, mixed| (old ^ mixed).wrapping_add(seed));
        // Six hundred and twenty-three more, beginning where the first pass ended.
        twister.mix_back();
        twister
    }

    fn get(&self, place: usize) -> u32 {
        self.state.get(place).copied().unwrap_or_default()
    }

    fn set(&mut self, place: usize, value: u32) {
        if let Some(number) = self.state.get_mut(place) {
            *number = value;
        }
    }

    fn mix(&mut self, steps: usize, factor: u32, join: impl Fn(u32, u32) -> u32) {
        let mut place = 1;
        for _ in 0..steps {
            let before = self.get(place - 1);
            let mixed = (before ^ (before >> 30)).wrapping_mul(factor);
            self.set(place, join(self.get(place), mixed));
            place += 1;
            if place >= N {
                self.set(0, self.get(N - 1));
                place = 1;
            }
        }
    }

    fn mix_back(&mut self) {
        let mut place = 2;
        for _ in 0..N - 1 {
            let before = self.get(place - 1);
            let mixed = (before ^ (before >> 30)).wrapping_mul(1_566_083_941);
            let number = (self.get(place) ^ mixed).wrapping_sub(u32::try_from(place).unwrap_or(0));
            self.set(place, number);
            place += 1;
            if place >= N {
                self.set(0, self.get(N - 1));
                place = 1;
            }
        }
        self.set(0, 0x8000_0000);
    }

    fn next(&mut self) -> u32 {
        if self.at >= N {
            for place in 0..N {
                let high = self.get(place) & 0x8000_0000;
                let low = self.get((place + 1) % N) & 0x7fff_ffff;
                let y = high | low;
                let odd = if y & 1 == 0 { 0 } else { 0x9908_b0df };
                self.set(place, self.get((place + M) % N) ^ (y >> 1) ^ odd);
            }
            self.at = 0;
        }
        let mut y = self.get(self.at);
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// From 0 to below `limit`, each as likely.
    pub(super) fn below(&mut self, limit: u32) -> u32 {
        let bits = 32 - limit.leading_zeros();
        loop {
            let drawn = self.next() >> (32 - bits);
            if drawn < limit {
                return drawn;
            }
        }
    }

    pub(super) fn shuffle<T>(&mut self, rows: &mut [T]) {
        for last in (1..rows.len()).rev() {
            let other = self.below(u32::try_from(last + 1).unwrap_or(u32::MAX)) as usize;
            rows.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECT: [u32; 12] = [7, 5, 2, 8, 9, 6, 11, 3, 4, 0, 1, 10];

    #[test]
    fn as_python_shuffles() {
        // python3 -c 'import random; a = list(range(12)); random.Random(42).shuffle(a); print(a)'
        let mut rows: Vec<u32> = (0..12).collect();
        Twister::new(42).shuffle(&mut rows);
        assert_eq!(rows, EXPECT);
    }
}
