//! Properties that hold for every policy, checked with random claims, rules and paths. Hostile
//! characters are frequent.

mod generate;
mod oracle;
mod properties;
