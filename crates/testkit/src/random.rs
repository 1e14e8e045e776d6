//! Random numbers that are the same in every run.

/// The generator `SplitMix64`. Every run has the same numbers.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// A number less than `bound`.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap() % bound
    }

    /// One of these.
    pub fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// One of these words.
    pub fn word<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        self.of::<&str>(choices)
    }

    /// Two numbers less than `length`, the smaller one first.
    pub fn range(&mut self, length: usize) -> (usize, usize) {
        let (one, other) = (self.below(length), self.below(length));
        (one.min(other), one.max(other))
    }
}
