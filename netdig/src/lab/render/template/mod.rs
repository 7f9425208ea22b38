//! A subset of Go's text/template with the functions of confd: what templates
//! of haproxy's and nginx's configuration are written in.
//! <https://pkg.go.dev/text/template>

mod functions;
mod lex;
mod parse;
mod printf;
mod run;
mod store;
#[cfg(test)]
mod tests;
mod value;

use anyhow::{Result, anyhow};

pub use functions::clean;
pub use store::Store;
pub use value::Value;

/// A template that has been read.
#[derive(Debug)]
pub struct Template {
    name: String,
    nodes: Vec<parse::Node>,
}

impl Template {
    /// `name` is what errors call it.
    pub fn parse(name: &str, text: &str) -> Result<Template> {
        let nodes = lex::pieces(text)
            .and_then(parse::parse)
            .map_err(|error| anyhow!("template: {name}:{error:#}"))?;
        Ok(Template {
            name: name.to_owned(),
            nodes,
        })
    }

    /// The text that it gives for these keys; `root` is what the dot is at first.
    pub fn render(&self, root: &Value, store: &Store) -> Result<String> {
        run::render(&self.nodes, root, store).map_err(|error| {
            let said = error.to_string();
            let (line, what) = said.split_once(": ").unwrap_or(("?", &said));
            let name = &self.name;
            anyhow!("template: {name}:{line}: executing {name:?} {what}")
        })
    }
}
