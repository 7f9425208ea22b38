//! Runs a template's tree.

use anyhow::{Context, Result, anyhow, bail};

use super::functions;
use super::parse::{Node, Pipeline, Term};
use super::store::Store;
use super::value::Value;

/// What a list of nodes ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

pub struct Run<'a> {
    store: &'a Store,
    /// `$name` and its value; the innermost last, `$` itself first.
    variables: Vec<(String, Value)>,
    out: String,
}

/// Renders `nodes`; the error says on which line, `LINE: what`.
pub fn render(nodes: &[Node], root: &Value, store: &Store) -> Result<String> {
    let mut run = Run {
        store,
        variables: vec![(String::new(), root.clone())],
        out: String::new(),
    };
    run.list(nodes, root)?;
    Ok(run.out)
}

impl Run<'_> {
    fn list(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow> {
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    /// A list whose variables end with it.
    fn scoped(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow> {
        let scope = self.variables.len();
        let flow = self.list(nodes, dot);
        self.variables.truncate(scope);
        flow
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow> {
        match node {
            Node::Text(text) => self.out += text,
            Node::Print(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                match value {
                    _ if !pipeline.names.is_empty() => {}
                    Value::Nil => self.out += "<no value>",
                    value => self.out += &value.to_string(),
                }
            }
            Node::If { arms, otherwise } => return self.arms(arms, otherwise, dot, false),
            Node::With { arms, otherwise } => return self.arms(arms, otherwise, dot, true),
            Node::Range {
                over,
                body,
                otherwise,
            } => return self.range(over, body, otherwise, dot),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn arms(
        &mut self,
        arms: &[(Pipeline, Vec<Node>)],
        otherwise: &[Node],
        dot: &Value,
        moves_dot: bool,
    ) -> Result<Flow> {
        let scope = self.variables.len();
        let mut flow = None;
        for (condition, nodes) in arms {
            let value = self.pipeline(condition, dot)?;
            if value.is_true() {
                let inner = if moves_dot { &value } else { dot };
                flow = Some(self.scoped(nodes, inner)?);
                break;
            }
        }
        let flow = match flow {
            Some(flow) => flow,
            None => self.scoped(otherwise, dot)?,
        };
        self.variables.truncate(scope);
        Ok(flow)
    }

    fn range(
        &mut self,
        over: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<Flow> {
        let scope = self.variables.len();
        let value = self.value_of(over, dot)?;
        let elements = value.elements().map_err(|error| at(over.line, &error))?;
        if elements.is_empty() {
            return self.scoped(otherwise, dot);
        }
        for (key, element) in elements {
            match &over.names[..] {
                [] => {}
                [only] => self.set(over, only, element.clone())?,
                [first, second, ..] => {
                    self.set(over, first, key)?;
                    self.set(over, second, element.clone())?;
                }
            }
            let flow = self.list(body, &element)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn set(&mut self, pipeline: &Pipeline, name: &str, value: Value) -> Result<()> {
        if pipeline.declares {
            self.variables.push((name.to_owned(), value));
            return Ok(());
        }
        let mut known = self.variables.iter_mut().rev();
        let variable = known
            .find(|(known, _)| known == name)
            .with_context(|| format!("{}: undefined variable: ${name}", pipeline.line))?;
        variable.1 = value;
        Ok(())
    }

    /// The value; it is in the pipeline's variable then.
    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value> {
        let value = self.value_of(pipeline, dot)?;
        for name in &pipeline.names {
            self.set(pipeline, name, value.clone())?;
        }
        Ok(value)
    }

    fn value_of(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value> {
        let mut value = None;
        for command in &pipeline.commands {
            let next = self.command(command, value.take(), dot);
            value = Some(next.map_err(|error| match error.is::<AtLine>() {
                true => error,
                false => at(pipeline.line, &error),
            })?);
        }
        value.context("empty pipeline")
    }

    /// `piped` becomes the last argument.
    fn command(&mut self, terms: &[Term], piped: Option<Value>, dot: &Value) -> Result<Value> {
        let (first, arguments) = terms.split_first().context("empty command")?;
        let Term::Function(name) = first else {
            if !arguments.is_empty() || piped.is_some() {
                bail!("can't give argument to non-function {}", shown(first));
            }
            return self.term(first, dot);
        };
        if name == "and" || name == "or" {
            return self.either(name == "and", arguments, piped, dot);
        }
        let mut values = Vec::with_capacity(arguments.len() + 1);
        for argument in arguments {
            values.push(self.term(argument, dot)?);
        }
        values.extend(piped);
        self.call(name, &values)
    }

    fn call(&self, name: &str, values: &[Value]) -> Result<Value> {
        functions::call(name, values, self.store)
            .map_err(|error| anyhow!("at <{name}>: error calling {name}: {error:#}"))
    }

    /// What is not needed is not looked at.
    fn either(
        &mut self,
        all: bool,
        arguments: &[Term],
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Value> {
        let mut last = None;
        for argument in arguments {
            let value = self.term(argument, dot)?;
            if value.is_true() != all {
                return Ok(value);
            }
            last = Some(value);
        }
        piped
            .or(last)
            .context("wrong number of args for and/or: want at least 1 got 0")
    }

    fn term(&mut self, term: &Term, dot: &Value) -> Result<Value> {
        match term {
            Term::Dot => Ok(dot.clone()),
            Term::Constant(value) => Ok(value.clone()),
            Term::Function(name) => self.call(name, &[]),
            Term::Nested(pipeline) => self.pipeline(pipeline, dot),
            Term::Variable(name) => {
                let mut known = self.variables.iter().rev();
                known
                    .find(|(known, _)| known == name)
                    .map(|(_, value)| value.clone())
                    .with_context(|| format!("undefined variable: ${name}"))
            }
            Term::Fields(base, fields) => {
                let mut value = self.term(base, dot)?;
                for (n, field) in fields.iter().enumerate() {
                    if n > 0 && value == Value::Nil {
                        bail!(
                            "at <{}>: nil pointer evaluating interface {{}}.{field}",
                            shown(term)
                        );
                    }
                    let inner = value.field(field);
                    value = inner.map_err(|error| anyhow!("at <{}>: {error}", shown(term)))?;
                }
                Ok(value)
            }
        }
    }
}

/// An error that says on which line.
#[derive(Debug)]
struct AtLine(String);

impl std::fmt::Display for AtLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AtLine {}

fn at(line: usize, error: &anyhow::Error) -> anyhow::Error {
    anyhow::Error::new(AtLine(format!("{line}: {error:#}")))
}

fn shown(term: &Term) -> String {
    match term {
        Term::Dot => ".".to_owned(),
        Term::Constant(value) => value.to_string(),
        Term::Variable(name) => format!("${name}"),
        Term::Function(name) => name.clone(),
        Term::Nested(_) => "(...)".to_owned(),
        Term::Fields(base, fields) => {
            let base = match **base {
                Term::Dot => String::new(),
                ref other => shown(other),
            };
            format!("{base}.{}", fields.join("."))
        }
    }
}
