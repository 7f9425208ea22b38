//! From tokens to a tree.

use anyhow::{Result, bail};

use super::functions;
use super::lex::{Piece, Placed, Token};
use super::value::Value;

/// So deep may blocks and parentheses be in each other: a template is text of
/// somebody's, and each level takes of the stack.
const DEEPEST: usize = 100;

#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    Text(String),
    /// A pipeline whose value is printed, unless it goes into a variable.
    Print(Pipeline),
    If {
        arms: Vec<(Pipeline, Vec<Node>)>,
        otherwise: Vec<Node>,
    },
    With {
        arms: Vec<(Pipeline, Vec<Node>)>,
        otherwise: Vec<Node>,
    },
    Range {
        over: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Break,
    Continue,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    pub line: usize,
    /// Variables that take the value.
    pub names: Vec<String>,
    /// Whether these are new ones.
    pub declares: bool,
    /// Each has one term at least.
    pub commands: Vec<Vec<Term>>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Term {
    Dot,
    Constant(Value),
    Variable(String),
    Function(String),
    Nested(Box<Pipeline>),
    /// Fields of another term.
    Fields(Box<Term>, Vec<String>),
}

/// Reads a whole template; the error says on which line, `LINE: what`.
pub fn parse(pieces: Vec<Piece>) -> Result<Vec<Node>> {
    let mut parser = Parser {
        pieces: pieces.into_iter(),
        variables: Vec::new(),
        loops: 0,
        depth: 0,
        line: 1,
    };
    let (nodes, end) = parser.list()?;
    match end {
        None => Ok(nodes),
        Some(End { line, word, .. }) => bail!("{line}: unexpected {{{{{word}}}}}"),
    }
}

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
    /// Names that are in scope.
    variables: Vec<String>,
    loops: usize,
    /// Blocks and parentheses that are open.
    depth: usize,
    line: usize,
}

/// What ended a list: `end`, or `else` with what follows it.
struct End {
    line: usize,
    word: String,
    rest: Vec<Placed>,
}

/// `if` and `with` have the same arms.
type Arms = (Vec<(Pipeline, Vec<Node>)>, Vec<Node>);

impl Parser {
    /// Nodes up to `else`, `end`, or the end of the text.
    fn list(&mut self) -> Result<(Vec<Node>, Option<End>)> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let (line, tokens) = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action { line, tokens } => (line, tokens),
            };
            self.line = line;
            let word = match tokens.first() {
                Some(Placed {
                    token: Token::Word(word),
                    ..
                }) => word.clone(),
                _ => String::new(),
            };
            let rest = || tokens.get(1..).unwrap_or_default().to_vec();
            match word.as_str() {
                "else" | "end" => {
                    let rest = rest();
                    return Ok((nodes, Some(End { line, word, rest })));
                }
                "if" | "with" => nodes.push(self.arms(&word, line, &rest())?),
                "range" => nodes.push(self.range(line, &rest())?),
                "break" | "continue" if self.loops == 0 => {
                    bail!("{line}: {{{{{word}}}}} outside {{{{range}}}}")
                }
                "break" => nodes.push(Node::Break),
                "continue" => nodes.push(Node::Continue),
                "define" | "template" | "block" => {
                    bail!("{line}: {{{{{word}}}}} is not among what the lab's renderer knows")
                }
                _ => {
                    let pipeline = self.pipeline(line, "command", &tokens)?;
                    nodes.push(Node::Print(pipeline));
                }
            }
        }
        Ok((nodes, None))
    }

    fn deeper(&mut self, line: usize) -> Result<()> {
        self.depth += 1;
        if self.depth > DEEPEST {
            bail!("{line}: more than {DEEPEST} blocks and parentheses in each other");
        }
        Ok(())
    }

    fn block(&mut self, opener: &str, line: usize) -> Result<(Vec<Node>, End)> {
        let scope = self.variables.len();
        self.deeper(line)?;
        let (nodes, end) = self.list()?;
        self.depth -= 1;
        self.variables.truncate(scope);
        match end {
            Some(end) => Ok((nodes, end)),
            None => bail!("{line}: unexpected EOF: {{{{{opener}}}}} has no {{{{end}}}}"),
        }
    }

    /// The list behind a plain `else`, up to its `end`.
    fn otherwise(&mut self, opener: &str, line: usize, end: End) -> Result<Vec<Node>> {
        if end.word == "end" {
            return finished(&end).map(|()| Vec::new());
        }
        finished(&end)?;
        let (nodes, end) = self.block(opener, line)?;
        if end.word != "end" {
            bail!("{}: expected end; found {{{{else}}}}", end.line);
        }
        finished(&end)?;
        Ok(nodes)
    }

    fn arms(&mut self, word: &str, line: usize, tokens: &[Placed]) -> Result<Node> {
        let scope = self.variables.len();
        let mut arms = Vec::new();
        let mut condition = self.pipeline(line, word, tokens)?;
        let otherwise = loop {
            let (nodes, end) = self.block(word, line)?;
            arms.push((condition, nodes));
            match end.rest.first().map(|placed| &placed.token) {
                Some(Token::Word(again)) if end.word == "else" && again == word => {
                    condition = self.pipeline(end.line, word, &end.rest[1..])?;
                }
                _ => break self.otherwise(word, line, end)?,
            }
        };
        self.variables.truncate(scope);
        let (arms, otherwise): Arms = (arms, otherwise);
        Ok(match word {
            "if" => Node::If { arms, otherwise },
            _ => Node::With { arms, otherwise },
        })
    }

    fn range(&mut self, line: usize, tokens: &[Placed]) -> Result<Node> {
        let scope = self.variables.len();
        let over = self.pipeline(line, "range", tokens)?;
        self.loops += 1;
        let (body, end) = self.block("range", line)?;
        self.loops -= 1;
        let otherwise = self.otherwise("range", line, end)?;
        self.variables.truncate(scope);
        Ok(Node::Range {
            over,
            body,
            otherwise,
        })
    }

    /// Reads all of `tokens` as one pipeline.
    fn pipeline(&mut self, line: usize, context: &str, tokens: &[Placed]) -> Result<Pipeline> {
        let mut tokens = Tokens { tokens, at: 0 };
        let pipeline = self.pipe(line, context, &mut tokens)?;
        match tokens.next() {
            None => Ok(pipeline),
            Some(placed) => bail!(
                "{}: unexpected {} in {context}",
                placed.line,
                shown(&placed.token)
            ),
        }
    }

    /// `$i, $e :=` and the like at the beginning.
    fn names(&mut self, context: &str, tokens: &mut Tokens) -> (Vec<String>, bool) {
        let kinds: Vec<_> = tokens.tokens[tokens.at..]
            .iter()
            .take(4)
            .map(|placed| &placed.token)
            .collect();
        let (names, sign) = match kinds[..] {
            [
                Token::Variable(name),
                sign @ (Token::Declare | Token::Assign),
                ..,
            ] => (vec![name.clone()], sign),
            [
                Token::Variable(first),
                Token::Comma,
                Token::Variable(second),
                sign @ (Token::Declare | Token::Assign),
            ] if context == "range" => (vec![first.clone(), second.clone()], sign),
            _ => return (Vec::new(), false),
        };
        let declares = *sign == Token::Declare;
        tokens.at += names.len() * 2;
        (names, declares)
    }

    fn pipe(&mut self, line: usize, context: &str, tokens: &mut Tokens) -> Result<Pipeline> {
        let (names, declares) = self.names(context, tokens);
        if let Some(name) = names.iter().find(|name| !declares && !self.knows(name)) {
            bail!("{line}: undefined variable \"${name}\"");
        }
        let mut commands = Vec::new();
        loop {
            let command = self.command(line, context, tokens)?;
            // Only a function can take what comes through the pipe.
            if let (false, Term::Constant(_) | Term::Dot) = (commands.is_empty(), &command[0]) {
                bail!(
                    "{line}: non executable command in pipeline stage {}",
                    commands.len() + 1
                );
            }
            commands.push(command);
            if !tokens.accept(&Token::Pipe) {
                break;
            }
        }
        if declares {
            self.variables.extend(names.iter().cloned());
        }
        Ok(Pipeline {
            line,
            names,
            declares,
            commands,
        })
    }

    fn knows(&self, name: &str) -> bool {
        name.is_empty() || self.variables.iter().any(|known| known == name)
    }

    /// Terms with spaces between them.
    fn command(&mut self, line: usize, context: &str, tokens: &mut Tokens) -> Result<Vec<Term>> {
        let mut terms = Vec::new();
        while let Some(placed) = tokens.peek() {
            if matches!(placed.token, Token::Pipe | Token::Close) {
                break;
            }
            let placed = placed.clone();
            tokens.at += 1;
            let mut term = self.term(&placed, context, tokens)?;
            let mut fields = Vec::new();
            while let Some(Placed {
                token: Token::Field(field),
                touches: true,
                ..
            }) = tokens.peek()
            {
                fields.push(field.clone());
                tokens.at += 1;
            }
            if !fields.is_empty() {
                term = match term {
                    Term::Fields(base, mut first) => {
                        first.extend(fields);
                        Term::Fields(base, first)
                    }
                    Term::Constant(value) => {
                        bail!("{}: unexpected . after term {value}", placed.line)
                    }
                    other => Term::Fields(Box::new(other), fields),
                };
            }
            terms.push(term);
        }
        match terms.is_empty() {
            true => bail!("{line}: missing value for {context}"),
            false => Ok(terms),
        }
    }

    fn term(&mut self, placed: &Placed, context: &str, tokens: &mut Tokens) -> Result<Term> {
        let line = placed.line;
        match &placed.token {
            Token::Dot => Ok(Term::Dot),
            Token::Constant(value) => Ok(Term::Constant(value.clone())),
            Token::Field(name) => Ok(Term::Fields(Box::new(Term::Dot), vec![name.clone()])),
            Token::Variable(name) if self.knows(name) => Ok(Term::Variable(name.clone())),
            Token::Variable(name) => bail!("{line}: undefined variable \"${name}\""),
            Token::Word(name) if functions::is_known(name) => Ok(Term::Function(name.clone())),
            Token::Word(name) => bail!("{line}: function {name:?} not defined"),
            Token::Open => {
                self.deeper(line)?;
                let nested = self.pipe(line, "parenthesized pipeline", tokens)?;
                self.depth -= 1;
                match tokens.accept(&Token::Close) {
                    true => Ok(Term::Nested(Box::new(nested))),
                    false => bail!("{line}: unclosed left paren"),
                }
            }
            other => bail!("{line}: unexpected {} in {context}", shown(other)),
        }
    }
}

/// Nothing may follow `end` and a plain `else`.
fn finished(end: &End) -> Result<()> {
    match end.rest.first() {
        None => Ok(()),
        Some(placed) => bail!(
            "{}: unexpected {} in {}",
            end.line,
            shown(&placed.token),
            end.word
        ),
    }
}

fn shown(token: &Token) -> String {
    match token {
        Token::Word(word) => format!("<{word}>"),
        Token::Field(name) => format!("<.{name}>"),
        Token::Variable(name) => format!("<${name}>"),
        Token::Dot => "<.>".to_owned(),
        Token::Constant(value) => format!("{:?}", value.to_string()),
        Token::Open => "\"(\"".to_owned(),
        Token::Close => "\")\"".to_owned(),
        Token::Pipe => "\"|\"".to_owned(),
        Token::Comma => "\",\"".to_owned(),
        Token::Declare => "\":=\"".to_owned(),
        Token::Assign => "\"=\"".to_owned(),
    }
}

struct Tokens<'a> {
    tokens: &'a [Placed],
    at: usize,
}

impl<'a> Tokens<'a> {
    fn peek(&self) -> Option<&'a Placed> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<&'a Placed> {
        let placed = self.peek()?;
        self.at += 1;
        Some(placed)
    }

    fn accept(&mut self, token: &Token) -> bool {
        let is = self.peek().is_some_and(|placed| placed.token == *token);
        self.at += usize::from(is);
        is
    }
}
