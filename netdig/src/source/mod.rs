//! Where observations come from; each source knows nothing of rules or outputs.
pub mod probe;
