//! The lab's renderer: acts as confd does.

pub mod template;
