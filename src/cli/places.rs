//! Where each value of a config file stands: what a fault says with a pointer is found there by eye.
//!
//! Read from the text a second time, and only once something is wrong with what it says.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};
use toml::de::{DeTable, DeValue};

/// A value and where it stands, in bytes; `None` where its reader does not tell.
pub(super) struct Placed {
    at: Option<Range<usize>>,
    node: Node,
}

enum Node {
    Scalar,
    List(Vec<Placed>),
    Map(Vec<Field>),
}

struct Field {
    name: String,
    at: Option<Range<usize>>,
    value: Placed,
}

/// Reads YAML, or JSON, which is YAML too; `None` where it is neither.
pub(super) fn of_yaml(text: &str) -> Option<Placed> {
    let whole: Spanned<Node> = serde_saphyr::from_str(text).ok()?;
    Some(Placed::of(whole))
}

/// Reads TOML.
pub(super) fn of_toml(text: &str) -> Option<Placed> {
    let table = DeTable::parse(text).ok()?;
    let at = Some(table.span());
    let node = Node::of_table(table.into_inner());
    Some(Placed { at, node })
}

impl Placed {
    fn of(spanned: Spanned<Node>) -> Self {
        Self {
            at: range(&spanned.referenced).or_else(|| range(&spanned.defined)),
            node: spanned.value,
        }
    }

    fn of_toml(value: toml::Spanned<DeValue<'_>>) -> Self {
        let at = Some(value.span());
        let node = match value.into_inner() {
            DeValue::Table(table) => Node::of_table(table),
            DeValue::Array(items) => Node::List(items.into_iter().map(Self::of_toml).collect()),
            _ => Node::Scalar,
        };
        Self { at, node }
    }

    /// Where to look for what `pointer` points to, or for whatever is nearest above it: a scalar itself, of anything
    /// else where it begins.
    pub(super) fn find(&self, pointer: &str) -> Option<Range<usize>> {
        let (mut here, mut found) = (self, self.start());
        for token in pointer.split('/').skip(1) {
            let Some((at, below)) = here.step(&token.replace("~1", "/").replace("~0", "~")) else {
                break;
            };
            (here, found) = (below, at.or(found));
        }
        found
    }

    fn step(&self, token: &str) -> Option<(Option<Range<usize>>, &Self)> {
        match &self.node {
            Node::Scalar => None,
            Node::List(items) => {
                let item = items.get(token.parse::<usize>().ok()?)?;
                Some((item.start(), item))
            }
            Node::Map(fields) => {
                let field = fields.iter().find(|field| field.name == token)?;
                let at = match field.value.node {
                    Node::Scalar => &field.value.at,
                    // What is below a key begins on another line, mostly: the key says more.
                    Node::List(_) | Node::Map(_) => &field.at,
                };
                Some((at.clone(), &field.value))
            }
        }
    }

    fn start(&self) -> Option<Range<usize>> {
        let first = match &self.node {
            Node::Map(fields) => fields.first().and_then(|field| field.at.clone()),
            Node::Scalar | Node::List(_) => None,
        };
        first.or_else(|| self.at.clone())
    }
}

impl Node {
    fn of_table(table: DeTable<'_>) -> Self {
        let fields = table.into_iter().map(|(name, value)| Field {
            at: Some(name.span()),
            name: name.into_inner().into_owned(),
            value: Placed::of_toml(value),
        });
        Self::Map(fields.collect())
    }
}

fn range(location: &Location) -> Option<Range<usize>> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let length = usize::try_from(span.byte_len()?).ok()?;
    (*location != Location::UNKNOWN).then(|| start..start + length)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Node>>()? {
            list.push(Placed::of(item));
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(name) = fields.next_key::<Spanned<String>>()? {
            let value = fields.next_value::<Spanned<Node>>()?;
            map.push(Field {
                at: range(&name.referenced).or_else(|| range(&name.defined)),
                name: name.value,
                value: Placed::of(value),
            });
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text that is found for a pointer, with its line.
    fn found<'a>(text: &'a str, places: &Placed, pointer: &str) -> (usize, &'a str) {
        let at = places.find(pointer).unwrap();
        (1 + text[..at.start].matches('\n').count(), &text[at])
    }

    #[test]
    fn a_pointer_finds_what_stands_there_or_what_is_nearest_above() {
        let yaml = "# ä\npools:\n- name: web\n  backends:\n  - id: b1\n    weight: 0777\n  - {id: \"b 2\", x: [1, 'ä']}\n\
                    routes:\n- &r\n  to: no\n- *r\n";
        let places = of_yaml(yaml).unwrap();
        for (pointer, expected) in [
            ("", (2, "pools")),
            ("/pools/0", (3, "name")),
            ("/pools/0/backends", (4, "backends")),
            ("/pools/0/backends/0/weight", (6, "0777")),
            ("/pools/0/backends/0/address", (5, "id")),
            ("/pools/0/backends/1/x/1", (7, "'ä'")),
            ("/pools/7", (2, "pools")),
            ("/routes/0/to", (10, "no")),
        ] {
            assert_eq!(found(yaml, &places, pointer), expected, "{pointer}");
        }
        let json = "{\n\t\"pools\": [\n\t\t{\"name\": \"web\", \"a/b\": 7}\n\t]\n}";
        let places = of_yaml(json).unwrap();
        assert_eq!(found(json, &places, "/pools/0/a~1b"), (3, "7"));
        let toml = "[[pools]]\nname = 'a'\n[[pools.backends]]\nid = 'b1'\nweight = 0x7_7\n[[pools]]\nname = 'b'\n";
        let places = of_toml(toml).unwrap();
        for (pointer, expected) in [
            ("/pools/0/backends/0/weight", (5, "0x7_7")),
            ("/pools/1/name", (7, "'b'")),
            ("/pools/1", (7, "name")),
        ] {
            assert_eq!(found(toml, &places, pointer), expected, "{pointer}");
        }
    }
}
