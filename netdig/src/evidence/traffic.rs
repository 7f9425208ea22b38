//! What packets showed, gathered for the rules.

/// Sums over all packets of a run, as far as a rule asks for them.
#[derive(Debug, Clone, Default)]
pub struct Traffic {}
