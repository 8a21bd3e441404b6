//! Just enough of HCL's native syntax to judge a file: blocks, attributes, quoted templates, calls, references.

use std::{collections::BTreeMap, iter::Peekable, vec::IntoIter};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Identifier(String),
    Text(String),
    Number(String),
    Mark(char),
    Newline,
}

/// A block with its labels; attributes as they are written, texts in quotes and unescaped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) labels: Vec<String>,
    pub(crate) attributes: BTreeMap<String, String>,
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' => {}
            '\n' => tokens.push(Token::Newline),
            '#' => while chars.next_if(|c| *c != '\n').is_some() {},
            '"' => tokens.push(Token::Text(quoted(&mut chars))),
            '{' | '}' | '=' | '(' | ')' | ',' | '.' => tokens.push(Token::Mark(c)),
            c if c.is_ascii_digit() => {
                let mut number = c.to_string();
                number.extend(std::iter::from_fn(|| chars.next_if(char::is_ascii_digit)));
                tokens.push(Token::Number(number));
            }
            c if c.is_ascii_alphabetic() => {
                let mut name = c.to_string();
                let part = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
                name.extend(std::iter::from_fn(|| chars.next_if(part)));
                tokens.push(Token::Identifier(name));
            }
            other => panic!("{other:?} begins no token"),
        }
    }
    tokens
}

/// A quoted template; what is interpolated stays as it is written.
fn quoted(chars: &mut Peekable<std::str::Chars<'_>>) -> String {
    let mut text = String::new();
    loop {
        match chars.next().expect("the quotes are closed") {
            '"' => return text,
            '\\' => match chars.next().expect("an escape") {
                c @ ('"' | '\\') => text.push(c),
                other => panic!("\\{other} is not used here"),
            },
            '\n' => panic!("a line ends within quotes"),
            '$' if chars.next_if_eq(&'{').is_some() => {
                text.push_str("${");
                text.extend(std::iter::from_fn(|| chars.next_if(|c| *c != '}')));
                text.push(chars.next().expect("the template is closed"));
            }
            c => text.push(c),
        }
    }
}

/// Reads a whole file of blocks.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut tokens = tokens(text).into_iter().peekable();
    let mut blocks = Vec::new();
    loop {
        while tokens.next_if_eq(&Token::Newline).is_some() {}
        let Some(token) = tokens.next() else { return blocks };
        let Token::Identifier(kind) = token else { panic!("{token:?} begins no block") };
        let mut labels = vec![kind];
        while let Some(Token::Text(label)) = tokens.next_if(|token| matches!(token, Token::Text(_))) {
            labels.push(label);
        }
        assert_eq!(tokens.next(), Some(Token::Mark('{')));
        assert_eq!(tokens.next(), Some(Token::Newline));
        blocks.push(Block { labels, attributes: attributes(&mut tokens) });
    }
}

fn attributes(tokens: &mut Peekable<IntoIter<Token>>) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::new();
    loop {
        match tokens.next().expect("the block is closed") {
            Token::Newline => {}
            Token::Mark('}') => {
                assert_eq!(tokens.next(), Some(Token::Newline));
                return attributes;
            }
            Token::Identifier(name) => {
                assert_eq!(tokens.next(), Some(Token::Mark('=')));
                let value = expression(tokens);
                assert_eq!(tokens.next(), Some(Token::Newline), "{name} ends its line");
                assert!(attributes.insert(name, value).is_none(), "an attribute is there once");
            }
            other => panic!("{other:?} begins no attribute"),
        }
    }
}

fn expression(tokens: &mut Peekable<IntoIter<Token>>) -> String {
    match tokens.next().expect("a value") {
        Token::Text(text) => format!("\"{text}\""),
        Token::Number(number) => number,
        Token::Identifier(name) => match tokens.next_if(|next| matches!(next, Token::Mark('.' | '('))) {
            Some(Token::Mark('.')) => format!("{name}.{}", expression(tokens)),
            Some(_) => {
                let mut arguments = vec![expression(tokens)];
                while tokens.next_if_eq(&Token::Mark(',')).is_some() {
                    arguments.push(expression(tokens));
                }
                assert_eq!(tokens.next(), Some(Token::Mark(')')));
                format!("{name}({})", arguments.join(", "))
            }
            None => name,
        },
        other => panic!("{other:?} is no value"),
    }
}
