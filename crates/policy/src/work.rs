//! Bounds the work for one token: what is counted, and how much of it is allowed.
//!
//! Everything that grows with the rules times the token's claims is paid for here, in steps, before
//! it is done. What grows with the rules file alone, or with the token alone, is bounded by their
//! sizes and not counted. There are three budgets, so that rules that combine very many values
//! leave enough for the others. Each is for all rules together.

/// The longest rules file.
pub(super) const MAX_RULES_BYTES: usize = 100 * 1024;
/// Upper bound on the bindings of one rule for one token. A policy of the default size holds fewer.
pub(super) const MAX_BINDINGS: usize = 10_000;
/// Upper bound on the allowed routes, and on the denied routes, of one token. One more is kept if
/// it covers the request. A policy of the default size holds fewer.
pub(super) const MAX_ROUTES: usize = 10_000;

/// The steps that are left for one token. A step is about 10 ns of one CPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Work {
    /// For patterns and values. Enough to compare 100 groups with 3,000 names, or to split 100
    /// values by 40 patterns.
    matching: usize,
    /// For the combinations of several claims' values. Enough for the bindings of one rule.
    combining: usize,
    /// For routes. Enough for `MAX_ROUTES` routes with 30 characters.
    writing: usize,
}

impl Work {
    pub(super) fn for_one_token() -> Self {
        Self { matching: 300_000, combining: 150_000, writing: 300_000 }
    }

    /// Pays for parsing a claim to find what a JSON Pointer leads to.
    #[must_use]
    pub(super) fn read(&mut self, json: &str) -> bool {
        pay(&mut self.matching, 20 + 2 * json.len())
    }

    /// Pays for comparing one value with the text at a pattern's start and end. A pattern with
    /// captures is in several places of the memory.
    #[must_use]
    pub(super) fn compare(&mut self, captures: usize) -> bool {
        pay(&mut self.matching, if captures == 0 { 1 } else { 12 })
    }

    /// Pays for splitting what is between that text into the captures, and for the binding.
    #[must_use]
    pub(super) fn split(&mut self, middle: &str, captures: usize) -> bool {
        pay(&mut self.matching, 30 + 10 * captures + middle.len() / 2)
    }

    /// Pays for as many of `wanted` combinations as possible, and returns how many.
    pub(super) fn combine(&mut self, wanted: usize, captures: usize) -> usize {
        let price = 10 + 2 * captures;
        let paid = wanted.min(self.combining / price);
        self.combining -= paid * price;
        paid
    }

    /// Pays for a look at one route with one set of bindings.
    #[must_use]
    pub(super) fn look_at(&mut self, pieces: usize) -> bool {
        pay(&mut self.writing, 2 + pieces / 2)
    }

    /// Pays for finding out how many spellings the values of one route have.
    #[must_use]
    pub(super) fn spell(&mut self, pieces: usize) -> bool {
        pay(&mut self.writing, 4 * pieces)
    }

    /// Pays for the encoding of values in a resource.
    #[must_use]
    pub(super) fn encode(&mut self, resource: &str) -> bool {
        pay(&mut self.writing, resource.len() / 2)
    }

    /// Pays for one resource: for writing it, sorting it and rendering it.
    #[must_use]
    pub(super) fn write(&mut self, resource: &str) -> bool {
        pay(&mut self.writing, 10 + resource.len() / 2)
    }
}

fn pay(steps: &mut usize, price: usize) -> bool {
    let is_paid = price <= *steps;
    if is_paid {
        *steps -= price;
    }
    is_paid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_work_has_its_price() {
        let mut work = Work { matching: 1_000, combining: 1_000, writing: 1_000 };
        assert!(work.compare(0) && work.compare(1));
        assert_eq!(work.matching, 1_000 - (1 + 12));
        work.matching = 999;
        assert!(work.read("12345678"));
        assert_eq!(work.matching, 999 - (20 + 16));
        work.matching = 999;
        assert!(work.split("12345678", 3));
        assert_eq!(work.matching, 999 - (30 + 30 + 4));
        assert_eq!(work.combine(4, 3), 4);
        assert_eq!(work.combining, 1_000 - 4 * (10 + 6));
        assert!(work.look_at(6));
        assert_eq!(work.writing, 1_000 - (2 + 3));
        assert!(work.write("/12345678"));
        assert_eq!(work.writing, 995 - (10 + 4));
        assert!(work.encode("/12345678"));
        assert_eq!(work.writing, 981 - 4);
        assert!(work.spell(6));
        assert_eq!(work.writing, 977 - 24);
    }

    #[test]
    fn what_cannot_be_paid_takes_nothing() {
        let mut work = Work { matching: 39, combining: 40, writing: 10 };
        assert!(!work.split("", 1) && !work.read(&"x".repeat(11)));
        assert_eq!((work.combine(5, 1), work.combining), (3, 4));
        assert_eq!((work.combine(1, 0), work.combining), (0, 4));
        assert!(!work.write("/a") && work.write("/") && !work.look_at(1) && !work.spell(1) && !work.encode("/a"));
        assert_eq!(work, Work { matching: 39, combining: 4, writing: 0 });
    }
}
