//! Bounds the work for one token: what is counted, and how much of it is allowed.
//!
//! Everything that grows with the rules times the token's claims is paid for here before it is
//! done, over all rules. What grows with the file alone, or with the token alone, is bounded by
//! their sizes and not counted.

/// The longest rules file.
pub(super) const MAX_RULES_BYTES: usize = 100 * 1024;
/// Upper bound on the bindings of one rule for one token. A policy of the default size holds fewer.
pub(super) const MAX_BINDINGS: usize = 10_000;
/// Upper bound on the allowed routes, and on the denied routes, of one token. One more is kept if
/// it covers the request. A policy of the default size holds fewer.
pub(super) const MAX_ROUTES: usize = 10_000;
/// The steps for one token. A step is about 10 ns of one CPU.
const STEPS: usize = 500_000;

/// The steps that are left for one token.
#[derive(Debug)]
pub(super) struct Work {
    steps: usize,
}

impl Work {
    pub(super) fn for_one_token() -> Self {
        Self { steps: STEPS }
    }

    /// Pays for comparing one value with the text at a pattern's start and end.
    #[must_use]
    pub(super) fn compare(&mut self) -> bool {
        self.pay(1)
    }

    /// Pays for splitting what is between that text into the captures.
    #[must_use]
    pub(super) fn split(&mut self, middle: &str, captures: usize) -> bool {
        self.pay(40 + 10 * captures + middle.len() / 2)
    }

    /// Pays for as many of `wanted` sets of bindings as possible, and returns how many.
    pub(super) fn bind(&mut self, wanted: usize, captures: usize) -> usize {
        let price = 10 + 2 * captures;
        let paid = wanted.min(self.steps / price);
        self.steps -= paid * price;
        paid
    }

    /// Pays for looking up the pieces of one route in one set of bindings.
    #[must_use]
    pub(super) fn look_up(&mut self, pieces: usize, captures: usize) -> bool {
        self.pay(pieces * captures / 4)
    }

    /// Pays for one resource with this path: for writing it, sorting it and rendering it.
    #[must_use]
    pub(super) fn write(&mut self, path: &str) -> bool {
        self.pay(15 + path.len() / 2)
    }

    fn pay(&mut self, price: usize) -> bool {
        let is_paid = price <= self.steps;
        if is_paid {
            self.steps -= price;
        }
        is_paid
    }
}
